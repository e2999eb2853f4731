"""``al-loop validate``: a thin function over ``al_loop.tools.validation``."""

import json
import warnings
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from al_loop.cli.commands import AsJson, EnergyKey, ForcesKey, StressKey, app, print_notes
from al_loop.cli.errors import guarded

if TYPE_CHECKING:
    from al_loop.config import Config
    from al_loop.config.settings import LabelSettings
    from al_loop.files.labels.names import LabelKeys
    from al_loop.tools.validation.results import Validation

FAILED = 3
KEPT = "validation-kept"  # by content hashes: validations of one folder share it
YAML = (".yaml", ".yml")


@app.command()
@guarded
def validate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Folder of a checkpoint, a campaign's YAML (its served model), or a foundation: sevennet:7net-0, ...",
        ),
    ],
    structures: Annotated[
        list[Path], typer.Argument(metavar="STRUCTURES...", help="Structure files that ASE reads, such as silicon.cif.")
    ],
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            help="YAML file of an engine, a validation-reference.json, or labelled frames as for predict; "
            "repeatable. By default the engine of --config."
        ),
    ] = None,
    foundation: Annotated[
        list[str] | None,
        typer.Option(
            help="Further model to compare: sevennet:MODEL, fairchem:MODEL:TASK, emt, calculator:IMPORT.PATH, or a "
            "YAML file; repeatable."
        ),
    ] = None,
    config_path: Annotated[
        Path | None,
        typer.Option("--config", metavar="CONFIG", help="A campaign's YAML: gives tolerances, folder and engine."),
    ] = None,
    checks: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated names, or all: relaxation, equation-of-state, elasticity, defects, surfaces, "
            "interfaces, dimers, molecular-dynamics. By default all; with an engine as reference, the first two."
        ),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    output: Annotated[
        Path | None, typer.Option(help="Output, .json; by default validation.json in the campaign's folder, or here.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only: no progress bars, no tables.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a model with a reference on physical properties. Exits with 3 if the model fails."""
    from al_loop.files.labels.names import given_keys
    from al_loop.tools.preflight.load_config import load_config
    from al_loop.tools.validation.inputs import named_structures

    names = _names(checks)
    config_file = config_path or (Path(model) if model.endswith(YAML) else None)
    config = None if config_file is None else load_config(config_file)
    to = _output(output, config)
    named_structures(structures)  # raises before a model is loaded
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        keys = given_keys(energy_key, forces_key, stress_key)
        done = _run(
            model, structures, reference or [], keys, foundation or [], config, names, to, quiet=quiet or as_json
        )
    if as_json:
        typer.echo(json.dumps(done.as_dict(), allow_nan=False))
    elif not quiet:
        from al_loop.cli.validation_table import print_validation

        print_validation(done)
        typer.echo(f"Wrote {to}.")
    if not done.passed:
        raise typer.Exit(FAILED)


def _run(
    model: str,
    structures: list[Path],
    reference: list[Path],
    keys: "LabelKeys | None",
    foundations: list[str],
    config: "Config | None",
    names: list[str],
    to: Path,
    *,
    quiet: bool,
) -> "Validation":
    from al_loop.config.validation_settings import ValidationSettings
    from al_loop.tools.validation.checks import chosen_checks
    from al_loop.tools.validation.dataset_reference import DatasetReference
    from al_loop.tools.validation.inputs import named_structures, open_reference
    from al_loop.tools.validation.models import open_models
    from al_loop.tools.validation.reference import REFERENCE_NAME, EngineReference
    from al_loop.tools.validation.run import ValidationRun
    from al_loop.utils.progress import terminal_progress

    settings = ValidationSettings() if config is None else config.validation
    frames = named_structures(structures)
    label = _engine(reference, config)
    kept = to.with_name(KEPT)
    progress = terminal_progress(quiet=quiet)
    with ExitStack() as opened:
        shown = progress.stage("labels", unit="of the reference") if label is not None else nullcontext(_ignore)
        advance = opened.enter_context(shown)
        held = opened.enter_context(closing(open_reference(reference, label, kept, advance, keys)))
        if isinstance(held, DatasetReference):
            print_notes(held.notes)
        if isinstance(held, EngineReference):
            held.check_elements(list(frames.values()))
        run = ValidationRun(
            subjects=open_models(model, foundations, config),
            structures=frames,
            checks=chosen_checks(names or settings.checks, settings, with_an_engine=held.pays),
            reference=held,
            tolerances=settings.tolerances,
            output=to,
            reference_output=to.with_name(REFERENCE_NAME if to.stem == "validation" else f"{to.stem}-reference.json"),
            folder=kept / "models",
        )
        return run.run(progress)


def _names(text: str | None) -> list[str]:
    """Names of checks; empty for the default checks."""
    if text is None:
        return []
    from al_loop.config.keys import nearest
    from al_loop.config.validation_settings import CHECK_NAMES
    from al_loop.errors import InputError

    names = list(CHECK_NAMES) if text.strip() == "all" else [word.strip() for word in text.split(",") if word.strip()]
    for name in names:
        if name not in CHECK_NAMES:
            guess = nearest(name, CHECK_NAMES)
            raise InputError(f"--checks: unknown check {name!r}{guess}; valid: all, {', '.join(CHECK_NAMES)}")
    if not names:
        raise InputError(f"--checks: received {text!r}, expected comma-separated names: {', '.join(CHECK_NAMES)}")
    return names


def _engine(reference: list[Path], config: "Config | None") -> "LabelSettings | None":
    """The engine settings, if the reference is an engine."""
    if not reference:
        return None if config is None else config.label
    engines = [path for path in reference if path.suffix in YAML]
    if not engines:
        return None
    if len(reference) > 1:
        from al_loop.errors import InputError

        raise InputError(
            f"--reference: received an engine ({engines[0]}) and {len(reference) - 1} more; give only one of them"
        )
    from al_loop.cli.worker_options import label_settings

    return label_settings(engines[0])


def _output(output: Path | None, config: "Config | None") -> Path:
    """Path of the result; a campaign's folder is created, any other must exist."""
    from al_loop.errors import InputError
    from al_loop.report.validation import VALIDATION_NAME
    from al_loop.utils.paths import check_target, writing

    if output is None and config is not None:
        folder = config.folder.expanduser()
        to = folder / VALIDATION_NAME
        with writing("folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        check_target("folder", to)
        return to
    to = output or Path(VALIDATION_NAME)
    if to.suffix != ".json":
        raise InputError(f"--output: received {to}, expected a name that ends in .json")
    check_target("--output", to)
    return to


def _ignore(_count: int) -> None:
    """Show no progress."""
