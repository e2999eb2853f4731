"""Label the selected images of a path with DFT, and more until the maximum is bracketed."""

from collections.abc import Sequence
from dataclasses import replace

from al_loop.stages.label.direct import Labeller
from al_loop.stages.label.quarantine import failure_in_words
from al_loop.tools.ranking.barrier_results import Barrier, PathImage
from al_loop.tools.ranking.dft_relax import Labelled


def label_barrier(barrier: Barrier, labeller: Labeller) -> Barrier:
    """Label the selected images of a barrier with DFT.

    Where the highest labelled image has a neighbour without a label, that one is labelled too: the barrier from DFT is
    the highest of its images, not of those that happened to be chosen.

    Args:
        barrier: of ``find_barrier``.
        labeller: makes the labels.

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
