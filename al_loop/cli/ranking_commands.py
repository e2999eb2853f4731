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
    from al_loop.errors import InputError
    from al_loop.tools.ranking.settings import RankOptions, RelaxOptions

    if dft_steps < 0 or (dft_steps > 0 and config_path is None):
        raise InputError(f"--dft-steps: received {dft_steps}, expected a number above 0 and --config with an engine")
    relaxing = RelaxOptions(fmax, steps, cell, optimizer) if relax or cell else None
    options = RankOptions(top=top, confidence=confidence, relax=relaxing)
    from al_loop.utils.paths import check_source, check_target

    check_source(f"CANDIDATES {candidates}", candidates, "name a file with candidate structures")
    output = output or candidates.with_name(f"{candidates.stem}-ranked.extxyz")
    from al_loop.files.structures import read_structures

    check_target("--output", output, [candidates])
    read_structures(candidates)  # raises before a model is loaded
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
    from al_loop.tools.ranking.settings import BarrierOptions, RelaxOptions

    options = BarrierOptions(images, confidence, fmax, steps, relax=RelaxOptions() if relax_ends else None)
    from al_loop.utils.paths import check_source, check_target

    for name, end in (("INITIAL", initial), ("FINAL", final)):
        check_source(f"{name} {end}", end, "name a file with a structure")
    output = output or initial.with_name(f"{initial.stem}-{final.stem}-path.extxyz")
    from al_loop.tools.ranking.path_ends import read_ends

    check_target("--output", output, [initial, final])
    read_ends(initial, final)  # raises before a model is loaded
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
    """Print progress where standard error is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
