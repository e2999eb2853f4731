"""Label what was selected of a ranking or of a path with DFT."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from scipy.stats import t as student

from al_loop.stages.label.direct import Labeller
from al_loop.stages.label.quarantine import failure_in_words
from al_loop.tools.ranking.barrier_results import Barrier, PathImage
from al_loop.tools.ranking.dft_relax import Labelled, relaxed_with_dft
from al_loop.tools.ranking.ranking import comparable_energies
from al_loop.tools.ranking.ranking_results import RankedCandidate, Ranking

SURPRISE = 0.995  # one-sided: deviations beyond it are reported


def label_ranking(
    ranking: Ranking, labeller: Labeller, *, dft_steps: int = 0, force_tolerance_eV_per_A: float = 0.05
) -> Ranking:
    """Label the selected candidates of a ranking with DFT, and rank them by DFT.

    With ``dft_steps`` each is also relaxed with DFT, in a fixed cell.

    Raises:
        InputError: the engine cannot calculate an element.
    """
    sent = ranking.sent
    labeller.check_elements([one.atoms for one in sent])
    if dft_steps > 0:
        made = [relaxed_with_dft(one.atoms, labeller, force_tolerance_eV_per_A, dft_steps) for one in sent]
    else:
        labels = labeller.label_all([one.atoms for one in sent])
        made = [(Labelled(one.atoms, label),) for one, label in zip(sent, labels, strict=True)]
    labelled = dict(zip((one.candidate for one in sent), made, strict=True))
    candidates = [replace(one, labels=labelled.get(one.candidate, ())) for one in ranking.candidates]
    notes = [note for name in ranking.compositions for note in _surprises(_of(candidates, name.name), ranking)]
    ranked = {one.candidate: one for name in ranking.compositions for one in _ranked_by_dft(_of(candidates, name.name))}
    return replace(
        ranking,
        candidates=tuple(ranked.get(one.candidate, one) for one in candidates),
        notes=(*ranking.notes, *notes),
    )


def _of(candidates: Sequence[RankedCandidate], composition: str) -> list[RankedCandidate]:
    """Those of a composition that DFT gave an energy for."""
    return [one for one in candidates if one.composition == composition and one.dft is not None]


def _ranked_by_dft(labelled: Sequence[RankedCandidate]) -> list[RankedCandidate]:
    energies = {one.candidate: (one.dft.energy_eV or 0.0) / one.units for one in labelled if one.dft is not None}
    ordered = sorted(labelled, key=lambda one: energies[one.candidate])
    lowest = min(energies.values(), default=0.0)
    return [
        replace(one, dft_rank=rank, dft_above_best_eV=energies[one.candidate] - lowest)
        for rank, one in enumerate(ordered, start=1)
    ]


def _surprises(labelled: Sequence[RankedCandidate], ranking: Ranking) -> Iterator[str]:
    """Tell where DFT contradicts the committee's differences, on the structures as they were ranked, too much."""
    gated = [one for one in labelled if one.labels[0].energy_eV is not None]
    if len(gated) < 2:  # noqa: PLR2004 - a difference takes two
        return
    energies = comparable_energies(gated, ranking.scale.value, ranking.options.resolution_eV)
    errors = [(one.labels[0].energy_eV or 0.0) / one.units - e for one, e in zip(gated, energies.mean, strict=True)]
    worst = max(range(1, len(gated)), key=lambda i: abs(errors[i] - errors[0]) / energies.difference_std(0, i))
    off, std = abs(errors[worst] - errors[0]), energies.difference_std(0, worst)
    if off <= student.ppf(SURPRISE, energies.freedom) * std:
        return
    yield (
        f"DFT has the difference between candidates {gated[0].candidate} and {gated[worst].candidate} of "
        f"{gated[0].composition} {off:.3f} eV away from the committee's, whose uncertainty is {std:.3f} eV: the "
        "uncertainty is too small here. Train on these labels, or rank again with --labelled."
    )


def label_barrier(barrier: Barrier, labeller: Labeller) -> Barrier:
    """Label the selected images of a barrier with DFT.

    Where the highest labelled image has a neighbour without a label, that one is labelled too: the barrier from DFT is
    the highest of its images, not of those that happened to be chosen.

    Raises:
        InputError: the engine cannot calculate an element.
    """
    labeller.check_elements([barrier.images[0].atoms])
    wanted = [image.image for image in barrier.images if image.sent]
    while wanted:
        labels = labeller.label_all([barrier.images[i].atoms for i in wanted])
        labelled = {i: Labelled(barrier.images[i].atoms, label) for i, label in zip(wanted, labels, strict=True)}
        barrier = replace(barrier, images=_with_labels(barrier.images, labelled))
        wanted = _beside_the_highest(barrier)
        barrier = replace(barrier, images=_marked(barrier.images, wanted))
    return replace(barrier, notes=(*barrier.notes, *_notes(barrier)))


def _with_labels(images: Sequence[PathImage], labelled: dict[int, Labelled]) -> tuple[PathImage, ...]:
    images = [replace(image, labelled=labelled.get(image.image, image.labelled)) for image in images]
    start = images[0].labelled
    zero = None if start is None else start.energy_eV
    return tuple(replace(image, dft_above_initial_eV=_above(image, zero)) for image in images)


def _above(image: PathImage, zero_eV: float | None) -> float | None:
    if zero_eV is None or image.labelled is None or image.labelled.energy_eV is None:
        return None
    return image.labelled.energy_eV - zero_eV


def _beside_the_highest(barrier: Barrier) -> list[int]:
    """Neighbours of the highest labelled image without a label."""
    highest = barrier.dft_saddle
    if highest is None:
        return []
    beside = (barrier.images[highest - 1], barrier.images[highest + 1])
    return [image.image for image in beside if image.labelled is None and image.computable]


def _marked(images: Sequence[PathImage], wanted: Sequence[int]) -> tuple[PathImage, ...]:
    return tuple(
        replace(image, sent=True, reason="next to the highest image of DFT") if image.image in wanted else image
        for image in images
    )


def _notes(barrier: Barrier) -> list[str]:
    notes = [
        f"DFT gave no label for image {image.image}: {failure_in_words(image.labelled.label)}"
        for image in barrier.images
        if image.labelled is not None and image.labelled.energy_eV is None
    ]
    if barrier.dft_saddle is None:
        return [*notes, "there is no barrier from DFT: it needs labels of the initial structure and of an image."]
    if barrier.dft_saddle != barrier.saddle:
        notes.append(
            f"the highest image by DFT is {barrier.dft_saddle}, by the committee {barrier.saddle}: the paths differ. "
            "Train on these labels and search again."
        )
    off = abs((barrier.dft_forward_eV or 0.0) - barrier.forward_eV)
    if off > barrier.half_width_eV:
        notes.append(
            f"DFT's barrier along this path lies {off:.3f} eV from the committee's, outside of the stated "
            f"± {barrier.half_width_eV:.3f} eV. Train on these labels and search again."
        )
    return notes
