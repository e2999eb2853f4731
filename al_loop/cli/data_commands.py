"""``al-loop train``, ``label``, ``export``, ``import`` and ``worker``: thin functions over ``al_loop.tools``."""

import json
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from al_loop.cli.commands import LABELLED, AsJson, ConfigFile, EnergyKey, ForcesKey, StressKey, app, print_notes
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
    adapt: Annotated[
        Literal["auto", "never", "always"] | None,
        typer.Option(
            help="Whether the foundation's own weights are adapted first; auto: if heads alone are not enough on the "
            "frames of --calibrate. By default that of the campaign's YAML, or auto."
        ),
    ] = None,
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
            adapt=adapt,
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
    if done.adaptation:
        typer.echo(done.adaptation["sentence"])
    if done.left_out:
        listed = "\n".join(f"  {sentence}" for sentence in done.left_out)
        typer.echo(f"Labels left out as outliers: {len(done.left_out)} (--no-check keeps them)\n{listed}")
    if done.force_mae_eV_per_A is not None:
        typer.echo(
            f"Force MAE on frames not trained on: {done.force_mae_eV_per_A:.4f} eV/Å, "
            f"of the foundation {done.force_mae_foundation_eV_per_A:.4f}. {done.calibration}"
        )


@app.command()
@guarded
def label(
    structures: Annotated[Path, typer.Argument(metavar="STRUCTURES", help="Structure file that ASE reads.")],
    engine: Annotated[Path, typer.Option(help="YAML file: a campaign's config, a label block or an engine block.")],
    to: Annotated[Path, typer.Option(help="Output, .extxyz; finished labels are also kept in the folder <to>-labels.")],
    as_json: AsJson = False,
) -> None:
    """Label structures with an engine, without a campaign. Runs on this machine; run again to resume."""
    from dataclasses import asdict

    from al_loop.tools.single_steps.label import label as label_structures
    from al_loop.utils.progress import terminal_progress

    with terminal_progress(quiet=as_json).stage("labels", unit="structures") as advance:
        done = label_structures(structures, engine, to, advance=advance)
    if as_json:
        typer.echo(json.dumps(asdict(done), allow_nan=False))
        return
    typer.echo(f"Wrote {done.written} label(s) to {to}: {done.level_of_theory}, {done.cost_s:.1f} s.")
    for index, reason in done.failed.items():
        typer.echo(f"  structure {index} has no label: {reason}")


@app.command("export")
@guarded
def export_command(
    config_path: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="The campaign's YAML file; with --plain also a checkpoint's folder."),
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="File for frames: .extxyz, .xyz or .aselmdb; replaced if it exists.")
    ] = None,
    what: Annotated[
        Literal["labels", "visits", "all"], typer.Option(help="Accepted labels, gated frames, or both.")
    ] = ("labels"),
    round_: Annotated[
        list[int] | None, typer.Option("--round", min=-1, max=1_000_000, help="Frames of this round only; repeatable.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="Frames of this role only, e.g. test; repeatable.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="New file for the served committee, as a fairchem checkpoint.")
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Bake the committee into the foundation: the checkpoint opens with fairchem or SevenNet alone.",
        ),
    ] = False,
    foundation: Annotated[str | None, typer.Option(help="With --plain and a folder: as for predict.")] = None,
    frames: Annotated[
        list[Path] | None,
        typer.Option(help="With --plain: structures to bake on instead of the campaign's explored frames; repeatable."),
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=10, help="With --plain: bake on at most so many frames (2000).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="With --plain: passes over the frames (30).")] = None,
) -> None:
    """Export labels and frames, or the served committee. Frames are written with their provenance."""
    from al_loop.errors import InputError

    if (to is None) == (checkpoint is None):
        raise InputError("expected either --to FILE (frames) or --checkpoint FILE (the served committee)")
    baking = {"foundation": foundation, "frames": frames, "max_frames": max_frames, "epochs": epochs}
    chosen = {name: value for name, value in baking.items() if value is not None}
    if plain:
        if checkpoint is None:
            raise InputError("--plain: expected --checkpoint FILE, the file for the plain checkpoint")
        _export_plain(config_path, checkpoint, chosen)
        return
    if chosen:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise InputError(f"{named}: belongs to --plain; add --plain, or leave it out")
    from al_loop.tools.preflight.load_config import load_config

    config = load_config(config_path)
    if checkpoint is not None:
        from al_loop.tools.exchange.campaign_files import export_served

        with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
            export_served(config, checkpoint)
        typer.echo(f"Wrote {checkpoint}; it opens with fairchem's load_predict_unit where al-loop is installed.")
        return
    from al_loop.tools.exchange.campaign_files import export_frames

    assert to is not None  # noqa: S101 - one of the two
    count = export_frames(config, to, what, rounds=round_, roles=role)
    typer.echo(f"Wrote {count} frames to {to}.")


def _export_plain(model: Path, checkpoint: Path, chosen: dict[str, Any]) -> None:
    from al_loop.tools.exchange.plain_export import export_plain_model
    from al_loop.utils.progress import terminal_progress

    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # libraries on their own code
        terminal_progress().stage("baking", unit="steps") as advance,
    ):
        done = export_plain_model(model, checkpoint, advance=advance, **chosen)
    typer.echo("\n".join(done.sentences()))


@app.command("import")
@guarded
def import_command(
    config_path: ConfigFile,
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help=LABELLED)],
    level: Annotated[
        str | None,
        typer.Option(help="Level of theory of the labels: its fingerprint, or 'engine' for that of label.engine."),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    check: Annotated[bool, typer.Option(help="First compare some labels with the foundation model.")] = True,
) -> None:
    """Import labelled and suspect frames into a campaign. Either every frame is imported or none."""
    from al_loop.tools.exchange.campaign_files import import_labels
    from al_loop.tools.preflight.load_config import load_config

    config = load_config(config_path)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        done = import_labels(
            config,
            files,
            level=level,
            energy_key=energy_key,
            forces_key=forces_key,
            stress_key=stress_key,
            check=check,
        )
    print_notes(done.notes)
    for name in done.completes:
        typer.echo(f"An earlier import of {name} was interrupted; this one completes it.")
    typer.echo(
        f"{done.labels} labels, {done.labels_new} of them new; {done.suspects} frames without a label, "
        f"{done.suspects_new} of them new suspects. The next round uses them."
    )
    if done.entries_left:
        typer.echo(
            f"{done.entries_left} of these frames were already stored: their other data in this file (atoms.info, "
            "atoms.arrays) was not imported, the stored data is kept.",
            err=True,
        )
    for other in done.unfinished:
        typer.echo(f"Note: {other}.", err=True)


@app.command()
@guarded
def worker(
    config_path: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="The campaign's YAML file.")] = None,
    uri: Annotated[str | None, typer.Option(help="MongoDB URI without user and password.")] = None,
    uri_file: Annotated[Path | None, typer.Option(help="File that holds the URI, readable by you only.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Name of the campaign.")] = None,
    engine: Annotated[Path | None, typer.Option(help="YAML file: a label block or an engine block.")] = None,
    folder: Annotated[Path, typer.Option(help="Scratch folder of this worker on this machine.")] = Path(
        "al-loop-worker"
    ),
    labels: Annotated[int | None, typer.Option(min=1, help="Exit after this many labels.")] = None,
    idle_exit: Annotated[float | None, typer.Option(min=0.1, help="Exit after this many seconds without work.")] = None,
) -> None:
    """Label frames for a campaign that runs elsewhere. The URI may also come from MONGODB_URI."""
    from al_loop.cli.worker_options import worker_settings
    from al_loop.tools.workers.remote_worker import run_outside

    settings = worker_settings(config_path, uri=uri, uri_file=uri_file, campaign=campaign, engine=engine, folder=folder)
    run_outside(settings.model_copy(update={"labels": labels, "idle_s": idle_exit}))
