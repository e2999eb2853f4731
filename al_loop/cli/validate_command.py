"""``al-loop validate``: ``al_loop.validate`` on the command line."""

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer

from al_loop.cli.commands import AsJson, EnergyKey, ForcesKey, StressKey, app, print_note
from al_loop.cli.errors import guarded

FAILED = 3


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
    from al_loop.tools.single_steps.arguments import named_checks
    from al_loop.tools.single_steps.validate import campaign_of, result_file
    from al_loop.tools.single_steps.validate import validate as validate_model
    from al_loop.utils.progress import terminal_progress

    named = named_checks(checks)
    config = campaign_of(model, config_path)
    to = result_file(output, config)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        done = validate_model(
            model,
            structures,
            reference,
            foundations=foundation or (),
            config=config,
            checks=named or None,
            energy_key=energy_key,
            forces_key=forces_key,
            stress_key=stress_key,
            output=to,
            progress=terminal_progress(quiet=quiet or as_json),
            notify=print_note,
        )
    if as_json:
        typer.echo(json.dumps(done.as_dict(), allow_nan=False))
    elif not quiet:
        from al_loop.cli.validation_table import print_validation

        print_validation(done)
        typer.echo(f"Wrote {to}.")
    if not done.passed:
        raise typer.Exit(FAILED)
