"""Compare models with a reference on the physics of structures: ``al_loop.validate`` and ``al-loop validate``."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from al_loop.config import Config
from al_loop.config.settings import LabelSettings
from al_loop.config.validation_settings import ValidationSettings
from al_loop.errors import InputError
from al_loop.files.labels.names import LabelKeys, given_keys
from al_loop.files.readers.formats import recognised
from al_loop.tools.open_model import YAML
from al_loop.tools.single_steps.arguments import (
    CampaignArgument,
    ChecksArgument,
    EngineArgument,
    campaign_config,
    label_settings,
    named_checks,
)
from al_loop.tools.validation.checks import chosen_checks
from al_loop.tools.validation.dataset_reference import DatasetReference
from al_loop.tools.validation.inputs import named_structures
from al_loop.tools.validation.models import open_models
from al_loop.tools.validation.reference import REFERENCE_NAME, EngineReference, Reference, StoredReference
from al_loop.tools.validation.results import Validation
from al_loop.tools.validation.run import ValidationRun
from al_loop.utils.campaign_folder import VALIDATION_NAME
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import Paths, as_paths, check_source, check_target, writing
from al_loop.utils.progress import Notify, Progress, SilentProgress, log_note

KEPT = "validation-kept"  # by content hashes: validations of one folder share it
ReferenceArgument = EngineArgument | Sequence[str | Path]


def validate(
    model: str | Path,
    structures: Paths,
    reference: ReferenceArgument | None = None,
    *,
    foundations: Sequence[str | Path] = (),
    config: CampaignArgument | None = None,
    checks: ChecksArgument | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    output: str | Path | None = None,
    progress: Progress | None = None,
    notify: Notify = log_note,
) -> Validation:
    """Compare a model, foundations and a reference on the physics of structures.

    What was calculated is kept in ``validation-kept`` beside the result: the same call goes on where it was
    interrupted. The reference's values are written to ``validation-reference.json``, a reference for later calls.

    Args:
        model: a checkpoint's folder; a campaign's YAML file, whose served model is taken; or a foundation as below.
        structures: files that ASE reads.
        reference: the YAML file of an engine or its settings, a ``validation-reference.json``, or labelled frames as
            for ``compare``; by default the engine of ``config``.
        foundations: compare these too: ``sevennet:MODEL``, ``fairchem:MODEL:TASK``, ``emt``,
            ``calculator:IMPORT.PATH``, or campaigns' YAML files.
        config: a campaign: its tolerances, its folder, its engine; by default ``model``, if that is a campaign.
        checks: names (``relaxation``, ``equation-of-state``, ``elasticity``, ``defects``, ``surfaces``,
            ``interfaces``, ``dimers``, ``molecular-dynamics``), ``all``, or settings of each check by its name; by
            default all, with an engine as reference the first two.
        energy_key: name of the energies, eV, in labelled frames.
        forces_key: name of the forces, eV/Å.
        stress_key: name of the stresses, eV/Å³.
        output: the result, .json; by default ``validation.json`` in the folder of ``config``, or here.
        progress: shows how far it is; silent by default.
        notify: called with each sentence on what was merged, set apart or left out of labelled frames.

    Returns:
        The verdicts; ``passed`` says whether something was compared and nothing of the model fails.

    Raises:
        InputError: bad input; nothing was calculated.
        FoundationError: a foundation that cannot be loaded.
        CampaignError: the result cannot be written.

    Examples:
        >>> from al_loop import validate
        >>> validation = validate("emt", "copper.cif", reference="engine.yaml", checks="relaxation")
        >>> validation.passed, validation.conclusion
        (True, 'emt is 0.00 tolerances from the reference (mean deviation in tolerances, each counted as 10 at most).')

        With settings of a check:

        >>> five = {"equation-of-state": {"points": 5}}
        >>> validate("emt", "copper.cif", reference="engine.yaml", checks=five, output="five.json").passed
        True
    """
    named = named_checks(checks)
    campaign = campaign_of(model, config)
    to = result_file(output, campaign)
    frames = named_structures(as_paths(structures))  # refused before a model is loaded
    settings = ValidationSettings() if campaign is None else campaign.validation
    kept, progress = to.with_name(KEPT), progress or SilentProgress()
    with _opened(reference, campaign, kept, given_keys(energy_key, forces_key, stress_key), progress) as opened:
        for note in opened.notes if isinstance(opened, DatasetReference) else ():
            notify(note)
        if isinstance(opened, EngineReference):
            opened.check_elements(list(frames.values()))
        run = ValidationRun(
            models=open_models(str(model), list(map(str, foundations)), campaign),
            structures=frames,
            checks=chosen_checks(list(named) or settings.checks, settings, with_an_engine=opened.pays, given=named),
            reference=opened,
            tolerances=settings.tolerances,
            output=to,
            reference_output=to.with_name(REFERENCE_NAME if to.stem == "validation" else f"{to.stem}-reference.json"),
            folder=kept / "models",
        )
        return run.run(progress)


@contextmanager
def _opened(
    reference: ReferenceArgument | None, config: Config | None, kept: Path, keys: LabelKeys | None, progress: Progress
) -> Iterator[Reference]:
    """Open an engine, the quantities of an earlier validation, or labelled frames."""
    label, files = _engine_or_files(reference, config)
    if label is not None:
        with (
            progress.stage("labels", unit="of the reference") as advance,
            closing(EngineReference(label, kept, advance)) as engine,
        ):
            yield engine
    elif not files:
        raise InputError(
            "--reference: missing; name an engine's YAML, labelled frames or a validation-reference.json, "
            "or give --config of a campaign, whose engine is taken"
        )
    elif len(files) == 1 and files[0].suffix == ".json" and not _is_database(files[0]):
        yield StoredReference(files[0])
    else:
        yield DatasetReference(files, keys)


def _engine_or_files(
    reference: ReferenceArgument | None, config: Config | None
) -> tuple[LabelSettings | None, list[Path]]:
    if reference is None:
        return None if config is None else config.label, []
    if not isinstance(reference, str | Path | Sequence):
        return label_settings(reference), []
    files = as_paths(reference)
    engines = [path for path in files if path.suffix in YAML]
    if engines and len(files) > 1:
        raise InputError(
            f"--reference: received an engine ({engines[0]}) and {len(files) - 1} more; give only one of them"
        )
    return (label_settings(engines[0]), []) if engines else (None, files)


def _is_database(path: Path) -> bool:
    """Whether it is a database of ASE in JSON."""
    check_source(f"reference {path}", path, "name a file that you may read")
    with reading(f"reference {path}", "name a file that you may read"):
        return recognised(path) == "json"


def campaign_of(model: str | Path, config: CampaignArgument | None) -> Config | None:
    """Return the campaign that is given, or the one that ``model`` names."""
    named = Path(model) if str(model).endswith(YAML) else None
    return campaign_config(named if config is None else config)


def result_file(output: str | Path | None, config: Config | None) -> Path:
    """Where the result goes; the folder of a campaign is made, any other has to be there.

    Raises:
        InputError: another ending than .json, or a place that cannot be written.
    """
    if output is None and config is not None:
        folder = config.folder.expanduser()
        with writing("folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        check_target("folder", folder / VALIDATION_NAME)
        return folder / VALIDATION_NAME
    to = Path(output or VALIDATION_NAME)
    if to.suffix != ".json":
        raise InputError(f"--output: received {to}, expected a name that ends in .json")
    check_target("--output", to)
    return to
