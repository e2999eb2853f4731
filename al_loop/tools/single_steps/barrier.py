"""Find a barrier: ``al_loop.barrier`` and ``al-loop barrier``."""

from dataclasses import replace
from pathlib import Path

from al_loop.tools.open_model import FoundationArgument
from al_loop.tools.ranking.barrier import find_barrier
from al_loop.tools.ranking.barrier_results import Barrier
from al_loop.tools.ranking.dft_labels import label_barrier
from al_loop.tools.ranking.inputs import open_ranking_inputs
from al_loop.tools.ranking.output import write_path
from al_loop.tools.ranking.path import end_notes, read_ends
from al_loop.tools.ranking.settings import BarrierOptions, RelaxOptions
from al_loop.tools.single_steps.arguments import CampaignArgument, campaign_config
from al_loop.utils.paths import check_source, check_target
from al_loop.utils.progress import Announce, Notify, log_note, show_nothing


def barrier(
    initial: str | Path,
    final: str | Path,
    model: str | Path | None = None,
    *,
    config: CampaignArgument | None = None,
    foundation: FoundationArgument | None = None,
    images: int = 7,
    force_tolerance_eV_per_A: float = 0.05,
    steps: int = 300,
    relax_ends: bool = True,
    confidence: float = 0.9,
    labelled: str | Path | None = None,
    output: str | Path | None = None,
    advance: Announce = show_nothing,
    notify: Notify = log_note,
) -> Barrier:
    """Find the barrier between two structures (climbing-image NEB); with ``config`` what the gate doubts goes to DFT.

    Args:
        initial: where the path begins: a file that ASE reads, of which the last structure is taken.
        final: where it ends: the same atoms in the same order.
        model: folder of a committee's checkpoint; by default what the campaign of ``config`` serves.
        config: a campaign, whose engine labels what is sent and whose held-out labels calibrate energy differences.
        foundation: the foundation under the checkpoint; by default that of ``config``, or by name.
        images: between the two ends.
        force_tolerance_eV_per_A: largest force across the path that is left.
        steps: of the band at most.
        relax_ends: relax both ends with the committee first.
        confidence: one-sided, of the interval that is stated.
        labelled: labelled frames that the model has not seen, to calibrate energy differences.
        output: the path as extended XYZ; by default ``<initial>-<final>-path.extxyz`` beside ``initial``. Finished
            labels are kept in ``<output>-labels``.
        advance: called with a word on each part of the work.
        notify: called with each sentence on what was merged, set apart or left out of ``labelled``.

    Returns:
        The images from end to end, energies in eV above the initial end.

    Raises:
        InputError: bad input; nothing was computed.
        FoundationError: a foundation that cannot be loaded.
        GuardStop: there is no barrier to be found.

    Examples:
        >>> from al_loop import barrier
        >>> found = barrier("here.extxyz", "there.extxyz", "model", foundation="fairchem:distilled.pt:omat", images=3)
        >>> len(found.images), found.images[found.saddle].above_initial_eV == found.forward_eV
        (5, True)
    """
    options = BarrierOptions(
        images, confidence, force_tolerance_eV_per_A, steps, relax=RelaxOptions() if relax_ends else None
    )
    files = Path(initial), Path(final)
    for name, end in zip(("INITIAL", "FINAL"), files, strict=True):
        check_source(f"{name} {end}", end, "name a file with a structure")
    result = path_file(*files, output)
    check_target("--output", result, files)
    ends = read_ends(*files)  # refused before a model is loaded
    opened = open_ranking_inputs(model, campaign_config(config), foundation, labelled, notify)
    with opened.labeller(result, ends) as labeller:
        found = find_barrier(
            *ends, opened.potential, options, physics=opened.physics, labelled=opened.labelled, advance=advance
        )
        write_path(result, found)
        if labeller is not None:
            advance(f"label {sum(image.sent for image in found.images)} images")
            found = label_barrier(found, labeller)
            found = replace(found, notes=(*found.notes, *opened.level_notes(labeller)))
            write_path(result, found)
    return replace(found, notes=(*found.notes, *end_notes(*files)))


def path_file(initial: Path, final: Path, output: str | Path | None) -> Path:
    """Where the result goes: beside the initial end if nothing else is said."""
    return initial.with_name(f"{initial.stem}-{final.stem}-path.extxyz") if output is None else Path(output)
