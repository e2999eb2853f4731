"""Candidates and labelled frames with their descriptors: those kept with the visits, the others computed anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ase import Atoms

from al_loop.records import Candidate, VerdictKind
from al_loop.stages.select.selection import LabelledDescriptor
from al_loop.structures.descriptors import Descriptor, frame_descriptor
from committee.potential import CommitteePotential
from committee.prediction import Prediction


def without_descriptor(candidates: Sequence[Candidate]) -> list[str]:
    """Suspects that were stopped before the model was asked."""
    return [c.frame_id for c in candidates if c.descriptor is None and c.kind is VerdictKind.SUSPECT]


def described_candidates(
    candidates: Sequence[Candidate], structures: Mapping[str, Atoms], potential: CommitteePotential
) -> list[Candidate]:
    """Fill in the descriptors of some candidates; a frame that the foundation cannot answer for stays without.

    Args:
        candidates: of the round.
        structures: of those that lack a descriptor (``without_descriptor``), by frame id.
        potential: gives the features; the foundation is frozen, so that they are the same in all rounds.
    """
    computed = _computed(structures, potential)
    return [replace(c, descriptor=computed[c.frame_id]) if c.frame_id in computed else c for c in candidates]


def known_frames(
    taken: Mapping[str, Atoms], stored: Mapping[str, Descriptor], potential: CommitteePotential
) -> list[LabelledDescriptor]:
    """Frames with a label, or for which one is asked, with their descriptors where the foundation has an answer.

    Args:
        taken: structures by frame id.
        stored: descriptors that were kept with the visits.
        potential: as for ``described_candidates``.
    """
    missing = {frame: atoms for frame, atoms in taken.items() if frame not in stored}
    descriptors = {**stored, **_computed(missing, potential)}
    return [
        LabelledDescriptor(frame, atoms.get_chemical_formula(), descriptors.get(frame))
        for frame, atoms in taken.items()
    ]


def _computed(frames: Mapping[str, Atoms], potential: CommitteePotential) -> dict[str, Descriptor]:
    """Descriptors of the frames that the foundation does not refuse."""
    predictions = potential.predict_each(list(frames.values()))
    return {
        frame_id: frame_descriptor(prediction.features, atoms.numbers)
        for (frame_id, atoms), prediction in zip(frames.items(), predictions, strict=True)
        if isinstance(prediction, Prediction)
    }
