"""``al-loop rank`` and ``al-loop barrier``: thin functions over ``al_loop.tools.ranking``."""

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from al_loop.cli.commands import AsJson, app, print_notes
from al_loop.cli.errors import guarded

if TYPE_CHECKING:
    from al_loop.tools.ranking.inputs import RankingInputs

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
    from al_loop.errors import InputError
    from al_loop.tools.ranking.settings import RankOptions, RelaxOptions

    if dft_steps < 0 or (dft_steps > 0 and config_path is None):
        raise InputError(f"--dft-steps: received {dft_steps}; it takes a number above 0, and --config for the engine")
    relaxing = RelaxOptions(fmax, steps, cell, optimizer) if relax or cell else None
    options = RankOptions(top=top, confidence=confidence, relax=relaxing)
    from al_loop.utils.paths import check_source, check_target

    check_source(f"CANDIDATES {candidates}", candidates, "name a file with candidate structures")
    output = output or candidates.with_name(f"{candidates.stem}-ranked.extxyz")
    from al_loop.files.structures import read_structures

    check_target("--output", output, [candidates])
    read_structures(candidates)  # refused before a model is loaded
    from al_loop.cli.ranking_tables import print_ranking
    from al_loop.tools.ranking.run import rank_file

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        bench = _opened(model, config_path, foundation, labelled)
        ranking = rank_file(candidates, bench, output, options, dft_steps=dft_steps, advance=_say)
    if as_json:
        typer.echo(json.dumps(ranking.as_dict(), allow_nan=False))
    else:
        print_ranking(ranking)
        typer.echo(f"Wrote {output}.")


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
    from al_loop.tools.ranking.settings import BarrierOptions, RelaxOptions

    options = BarrierOptions(images, confidence, fmax, steps, relax=RelaxOptions() if relax_ends else None)
    from al_loop.utils.paths import check_source, check_target

    for name, end in (("INITIAL", initial), ("FINAL", final)):
        check_source(f"{name} {end}", end, "name a file with a structure")
    output = output or initial.with_name(f"{initial.stem}-{final.stem}-path.extxyz")
    from al_loop.tools.ranking.path_ends import read_ends

    check_target("--output", output, [initial, final])
    read_ends(initial, final)  # refused before a model is loaded
    from al_loop.cli.ranking_tables import print_barrier
    from al_loop.tools.ranking.run import barrier_of_files

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        bench = _opened(model, config_path, foundation, labelled)
        found = barrier_of_files(initial, final, bench, output, options, advance=_say)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), allow_nan=False))
    else:
        print_barrier(found)
        typer.echo(f"Wrote {output}.")


def _opened(
    model: Path | None, config_path: Path | None, foundation: str | None, labelled: Path | None
) -> "RankingInputs":
    from al_loop.tools.preflight.load_config import load_config
    from al_loop.tools.ranking.inputs import open_ranking_inputs

    config = load_config(config_path) if config_path is not None else None
    opened = open_ranking_inputs(model, config, foundation, labelled)
    print_notes(opened.notes)
    return opened


def _say(text: str) -> None:
    """Tell how far a long command is, where somebody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
