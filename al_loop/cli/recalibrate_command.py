"""``al-loop recalibrate``: ``al_loop.recalibrate`` and ``al_loop.choose_frames`` on the command line."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from al_loop.cli.commands import AsJson, EnergyKey, ForcesKey, app, print_notes
from al_loop.cli.errors import guarded
from al_loop.errors import InputError


@app.command()
@guarded
def recalibrate(
    model: Annotated[Path, typer.Option(help="Folder of a checkpoint, or a campaign's YAML (its served model).")],
    to: Annotated[Path | None, typer.Option(help="Output: folder of the new checkpoint.")] = None,
    stream: Annotated[
        Path | None, typer.Option(help="Trajectory of the run, from which frames are drawn at random.")
    ] = None,
    engine: Annotated[
        Path | None, typer.Option(help="Labels them: YAML of a campaign, a label block or an engine block.")
    ] = None,
    write_frames: Annotated[
        Path | None, typer.Option(help="Output instead of both: the drawn frames (.extxyz), to be labelled elsewhere.")
    ] = None,
    labels: Annotated[
        list[Path] | None, typer.Option(help="Instead of a stream: labelled frames drawn from the run; repeatable.")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(help="The file of --write-frames that the labels are of: each must be one of them.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="Frames to label; by default 1.5 times what a proof needs (44 at 90 %).")
    ] = None,
    since_step: Annotated[int, typer.Option(help="Leave out earlier steps: since_step, as the monitor prints it.")] = 0,
    frame_every: Annotated[
        int, typer.Option(help="MD steps between two frames of a stream that does not state its steps.")
    ] = 1,
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
    if write_frames is not None:
        if stream is None or any(one for one in (to, engine, labels, frames, tolerance, energy_key, forces_key)):
            raise InputError(
                "--write-frames: expected --stream beside it, and none of --to, --engine, --labels, --frames, "
                "--tolerance, --energy-key and --forces-key, which are for the labels"
            )
        _write_frames(model, write_frames, stream, count, since_step, frame_every, foundation, seed, as_json=as_json)
        return
    if to is None:
        raise InputError("--to: expected the folder of the new checkpoint, or --write-frames to choose frames only")
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
            frames=frames,
            count=count,
            since_step=since_step,
            frame_every=frame_every,
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


def _write_frames(
    model: Path,
    to: Path,
    stream: Path,
    count: int | None,
    since_step: int,
    frame_every: int,
    foundation: str | None,
    seed: int,
    *,
    as_json: bool,
) -> None:
    from al_loop.tools.single_steps.recalibrate import choose_frames

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        chosen = choose_frames(
            model,
            to,
            stream=stream,
            count=count,
            since_step=since_step,
            frame_every=frame_every,
            foundation=foundation,
            seed=seed,
        )
    print_notes(chosen.notes)
    if as_json:
        typer.echo(json.dumps(asdict(chosen), allow_nan=False))
        return
    typer.echo(
        f"{chosen.frames} frames of {stream} are in {to}. Label them as they are, then: al-loop recalibrate --model "
        f"{model} --labels LABELLED_FRAMES --frames {to} --to NEW_CHECKPOINT"
    )
