"""``al-loop train``: ``al_loop.train`` on the command line."""

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer

from al_loop.cli.commands import LABELLED, AsJson, EnergyKey, ForcesKey, StressKey, app, print_notes
from al_loop.cli.errors import guarded


@app.command()
@guarded
def train(
    labelled: Annotated[list[Path], typer.Argument(metavar="LABELLED...", help=LABELLED)],
    foundation: Annotated[
        str,
        typer.Option(help="As for predict; a campaign's YAML also gives its committee, train and gate blocks."),
    ],
    to: Annotated[Path, typer.Option(help="Output: folder of the checkpoint.")],
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="Labelled frames of other trajectories; repeatable. Without any, no frame is trusted."),
    ] = None,
    tolerance: Annotated[float | None, typer.Option(help="Largest acceptable force error, eV/Å.")] = None,
    level: Annotated[str, typer.Option(help="Level of theory of the labels, as free text.")] = "not stated",
    seed: Annotated[int, typer.Option(help="Random seed of the committee heads.", min=0, max=2**32 - 1)] = 0,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    check: Annotated[bool, typer.Option(help="Leave out labels far from the foundation model.")] = True,
    as_json: AsJson = False,
) -> None:
    """Train a committee on labelled frames, without a campaign. Run again to resume."""
    from dataclasses import asdict

    from al_loop.tools.single_steps.train import train as train_committee
    from al_loop.utils.progress import terminal_progress

    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # libraries on their own code
        terminal_progress(quiet=as_json).stage("training", unit="frames and epochs") as advance,
    ):
        done = train_committee(
            labelled,
            foundation,
            to,
            calibrate=calibrate or (),
            tolerance_eV_per_A=tolerance,
            level=level,
            seed=seed,
            energy_key=energy_key,
            forces_key=forces_key,
            stress_key=stress_key,
            check=check,
            advance=advance,
        )
    print_notes(done.notes)
    if as_json:
        typer.echo(json.dumps(asdict(done), allow_nan=False))
        return
    of_which = f" ({done.labels})" if done.labels.partial else ""
    typer.echo(f"Trained on {done.frames} frames{of_which}; the checkpoint is {to}.")
    if done.left_out:
        listed = "\n".join(f"  {sentence}" for sentence in done.left_out)
        typer.echo(f"Labels left out as outliers: {len(done.left_out)} (--no-check keeps them)\n{listed}")
    if done.force_mae_eV_per_A is not None:
        typer.echo(
            f"Force MAE on frames not trained on: {done.force_mae_eV_per_A:.4f} eV/Å, "
            f"of the foundation {done.force_mae_foundation_eV_per_A:.4f}. {done.calibration}"
        )
