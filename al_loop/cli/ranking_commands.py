"""``al-loop rank`` and ``al-loop barrier``: ``al_loop.rank`` and ``al_loop.barrier`` on the command line."""

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from al_loop.cli.commands import AsJson, app, print_note
from al_loop.cli.errors import guarded

Model = Annotated[
    Path | None, typer.Option(help="Folder of a committee checkpoint; by default the model that --config serves.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="CONFIG", help="A campaign's YAML: its engine labels with DFT.")
]
FoundationOption = Annotated[
    str | None, typer.Option(help="Foundation of the checkpoint, as for predict; by default that of --config.")
]
LabelledOption = Annotated[
    Path | None, typer.Option(help="Calibration frames: labelled (REF_energy, REF_forces), not trained on.")
]
OutputOption = Annotated[Path | None, typer.Option(help="Output, extended XYZ; by default beside the input.")]
Confidence = Annotated[float, typer.Option(help="One-sided confidence of comparisons and error bars.")]


@app.command()
@guarded
def rank(
    candidates: Annotated[Path, typer.Argument(metavar="CANDIDATES", help="Structures, such as candidates.extxyz.")],
    model: Model = None,
    config_path: ConfigOption = None,
    foundation: FoundationOption = None,
    relax: Annotated[bool, typer.Option("--relax", help="Relax each candidate with the committee first.")] = False,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cells as well (implies --relax).")] = False,
    optimizer: Annotated[Literal["fire", "lbfgs"], typer.Option(help="Optimizer of --relax.")] = "fire",
    fmax: Annotated[float, typer.Option(help="Force convergence of --relax, eV/Å.")] = 0.03,
    steps: Annotated[int, typer.Option(help="Maximum steps of --relax.")] = 300,
    top: Annotated[int, typer.Option(help="Number of best candidates to find for each composition.")] = 3,
    confidence: Confidence = 0.9,
    labelled: LabelledOption = None,
    dft_steps: Annotated[int, typer.Option(help="DFT relaxation steps of selected candidates (--config).")] = 0,
    output: OutputOption = None,
    as_json: AsJson = False,
) -> None:
    """Rank candidate structures by committee energy. The best, and those within its error bars, go to DFT."""
    from al_loop.cli.ranking_tables import print_ranking
    from al_loop.tools.single_steps.rank import rank as rank_candidates
    from al_loop.tools.single_steps.rank import ranked_file

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        ranking = rank_candidates(
            candidates,
            model,
            config=config_path,
            foundation=foundation,
            relax=relax,
            cell=cell,
            optimizer=optimizer,
            force_tolerance_eV_per_A=fmax,
            steps=steps,
            top=top,
            confidence=confidence,
            labelled=labelled,
            dft_steps=dft_steps,
            output=output,
            advance=_say,
            notify=print_note,
        )
    if as_json:
        typer.echo(json.dumps(ranking.as_dict(), allow_nan=False))
    else:
        print_ranking(ranking)
        typer.echo(f"Wrote {ranked_file(candidates, output)}.")


@app.command()
@guarded
def barrier(
    initial: Annotated[Path, typer.Argument(metavar="INITIAL", help="Initial structure.")],
    final: Annotated[Path, typer.Argument(metavar="FINAL", help="Final structure: the same atoms in the same order.")],
    model: Model = None,
    config_path: ConfigOption = None,
    foundation: FoundationOption = None,
    images: Annotated[int, typer.Option(help="Number of images between the end points.")] = 7,
    fmax: Annotated[float, typer.Option(help="Convergence of the NEB force, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(help="Maximum steps of the NEB.")] = 300,
    relax_ends: Annotated[bool, typer.Option(help="Relax both end points with the committee first.")] = True,
    confidence: Confidence = 0.9,
    labelled: LabelledOption = None,
    output: OutputOption = None,
    as_json: AsJson = False,
) -> None:
    """Find a reaction barrier by climbing-image NEB. Images that the gate does not trust go to DFT."""
    from al_loop.cli.ranking_tables import print_barrier
    from al_loop.tools.single_steps.barrier import barrier as find_barrier
    from al_loop.tools.single_steps.barrier import path_file

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        found = find_barrier(
            initial,
            final,
            model,
            config=config_path,
            foundation=foundation,
            images=images,
            force_tolerance_eV_per_A=fmax,
            steps=steps,
            relax_ends=relax_ends,
            confidence=confidence,
            labelled=labelled,
            output=output,
            advance=_say,
            notify=print_note,
        )
    if as_json:
        typer.echo(json.dumps(found.as_dict(), allow_nan=False))
    else:
        print_barrier(found)
        typer.echo(f"Wrote {path_file(initial, final, output)}.")


def _say(text: str) -> None:
    """Print progress where standard error is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
