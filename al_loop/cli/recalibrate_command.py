"""``al-loop recalibrate``: ``al_loop.recalibrate`` on the command line."""

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer

from al_loop.cli.commands import AsJson, EnergyKey, ForcesKey, app, print_notes
from al_loop.cli.errors import guarded


@app.command()
@guarded
def recalibrate(
    model: Annotated[Path, typer.Option(help="Folder of a checkpoint, or a campaign's YAML (its served model).")],
    to: Annotated[Path, typer.Option(help="Output: folder of the new checkpoint.")],
    stream: Annotated[
        Path | None, typer.Option(help="Trajectory of the run, from which frames are drawn at random.")
    ] = None,
    engine: Annotated[
        Path | None, typer.Option(help="Labels them: YAML of a campaign, a label block or an engine block.")
    ] = None,
    labels: Annotated[
        list[Path] | None, typer.Option(help="Instead of both: labelled frames drawn from the run; repeatable.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="Frames to label; by default 1.5 times what a proof needs (44 at 90 %).")
    ] = None,
    skip: Annotated[int, typer.Option(help="Frames at the beginning of the stream that are left out.")] = 0,
    foundation: Annotated[str | None, typer.Option(help="Foundation of a checkpoint, as for predict.")] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest acceptable force error, eV/Å; by default as before.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the choice of frames.", min=0, max=2**32 - 1)] = 0,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate a model again, on a few labelled frames of the run that it is used in."""
    from dataclasses import asdict

    from al_loop.tools.single_steps.recalibrate import recalibrate as calibrate_again
    from al_loop.utils.progress import terminal_progress

    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # libraries on their own code
        terminal_progress(quiet=as_json).stage("labels", unit="structures") as advance,
    ):
        done = calibrate_again(
            model,
            to,
            stream=stream,
            engine=engine,
            labels=labels or (),
            count=count,
            skip=skip,
            foundation=foundation,
            tolerance_eV_per_A=tolerance,
            seed=seed,
            energy_key=energy_key,
            forces_key=forces_key,
            advance=advance,
        )
    print_notes(done.notes)
    if as_json:
        typer.echo(json.dumps(asdict(done), allow_nan=False))
        return
    typer.echo(f"Before: {done.before}.\nNow:    {done.after}.")
    typer.echo(
        f"It holds for frames like these {done.frames}; the earlier calibration frames are replaced. "
        f"The checkpoint is {to}."
    )
