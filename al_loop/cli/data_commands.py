"""``al-loop export``, ``import`` and ``worker``: thin functions over ``al_loop.files`` and ``al_loop.stages.label``."""

import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from al_loop.cli.commands import LABELLED, ConfigFile, EnergyKey, ForcesKey, StressKey, app, print_notes
from al_loop.cli.errors import guarded


@app.command("export")
@guarded
def export_command(
    config_path: ConfigFile,
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
) -> None:
    """Export labels and frames, or the served committee. Frames are written with their provenance."""
    from al_loop.errors import InputError
    from al_loop.tools.preflight.load_config import load_config

    if (to is None) == (checkpoint is None):
        raise InputError("expected either --to FILE (frames) or --checkpoint FILE (the served committee)")
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
