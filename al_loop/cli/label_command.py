"""``al-loop label``: ``al_loop.label`` on the command line."""

import json
from pathlib import Path
from typing import Annotated

import typer

from al_loop.cli.commands import AsJson, app
from al_loop.cli.errors import guarded


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
