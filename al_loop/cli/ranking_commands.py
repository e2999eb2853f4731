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
    Path | None, typer.Option(help="Folder of a committee's checkpoint; by default what --config's campaign serves.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="CONFIG", help="A campaign's YAML: its engine labels what is sent.")
]
FoundationOption = Annotated[
    str | None, typer.Option(help="Foundation under the checkpoint, as for predict; by default that of --config.")
]
LabelledOption = Annotated[
    Path | None, typer.Option(help="Labelled frames (REF_energy, REF_forces) the model has not seen: calibrate.")
]
OutputOption = Annotated[Path | None, typer.Option(help="Result as extended XYZ; by default beside the input.")]
Confidence = Annotated[float, typer.Option(help="One-sided: when a candidate counts as worse than another.")]


@app.command()
@guarded
def rank(
    candidates: Annotated[Path, typer.Argument(metavar="CANDIDATES", help="Structures, such as candidates.extxyz.")],
    model: Model = None,
    config_path: ConfigOption = None,
    foundation: FoundationOption = None,
    relax: Annotated[bool, typer.Option("--relax", help="Relax each candidate with the committee first.")] = False,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cells as well (implies --relax).")] = False,
    optimizer: Annotated[Literal["fire", "lbfgs"], typer.Option(help="For --relax.")] = "fire",
    fmax: Annotated[float, typer.Option(help="Largest force that --relax leaves, eV/Å.")] = 0.03,
    steps: Annotated[int, typer.Option(help="Steps of --relax at most.")] = 300,
    top: Annotated[int, typer.Option(help="How many of each composition you want.")] = 3,
    confidence: Confidence = 0.9,
    labelled: LabelledOption = None,
    dft_steps: Annotated[int, typer.Option(help="Steps of a relaxation with DFT of what is sent (--config).")] = 0,
    output: OutputOption = None,
    as_json: AsJson = False,
) -> None:
    """Rank candidates by the committee; the best, and what it cannot tell from them, go to DFT."""
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
    initial: Annotated[Path, typer.Argument(metavar="INITIAL", help="Where the path begins.")],
    final: Annotated[Path, typer.Argument(metavar="FINAL", help="Where it ends: the same atoms in the same order.")],
    model: Model = None,
    config_path: ConfigOption = None,
    foundation: FoundationOption = None,
    images: Annotated[int, typer.Option(help="Between the two ends.")] = 7,
    fmax: Annotated[float, typer.Option(help="Largest force across the path that is left, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(help="Steps of the band at most.")] = 300,
    relax_ends: Annotated[bool, typer.Option(help="Relax both ends with the committee first.")] = True,
    confidence: Confidence = 0.9,
    labelled: LabelledOption = None,
    output: OutputOption = None,
    as_json: AsJson = False,
) -> None:
    """Find the barrier between two structures (climbing-image NEB); what the gate doubts goes to DFT."""
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
    """Tell how far a long command is, where somebody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
