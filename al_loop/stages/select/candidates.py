"""Descriptors of candidates and labelled frames: stored ones are reused, missing ones are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ase import Atoms

from al_loop.records import FrameSummary, VerdictKind
from al_loop.structures.descriptors import Descriptor, frame_descriptor
from committee.potential import CommitteePotential
from committee.prediction import Prediction


def without_descriptor(candidates: Sequence[FrameSummary]) -> list[str]:
    """Ids of suspects whose trajectory stopped before the model predicted them."""
    return [c.frame_id for c in candidates if c.descriptor is None and c.kind is VerdictKind.SUSPECT]


def described_candidates(
    candidates: Sequence[FrameSummary], structures: Mapping[str, Atoms], potential: CommitteePotential
) -> list[FrameSummary]:
    """Fill in missing descriptors of candidates; a frame that the foundation refuses stays without.

    ``structures`` are those without a descriptor, by frame id. The foundation is frozen, so that features are the same
    in all rounds.
    """
    computed = _computed(structures, potential)
    return [replace(c, descriptor=computed[c.frame_id]) if c.frame_id in computed else c for c in candidates]


def known_frames(
    taken: Mapping[str, Atoms], stored: Mapping[str, Descriptor], potential: CommitteePotential
) -> list[FrameSummary]:
    """Labelled and requested frames with their descriptors; None where the foundation refuses a frame."""
    missing = {frame: atoms for frame, atoms in taken.items() if frame not in stored}
    descriptors = {**stored, **_computed(missing, potential)}
    return [FrameSummary(frame, atoms.get_chemical_formula(), descriptors.get(frame)) for frame, atoms in taken.items()]


def _computed(frames: Mapping[str, Atoms], potential: CommitteePotential) -> dict[str, Descriptor]:
    """Descriptors by frame id, of the frames that the foundation does not refuse."""
    predictions = potential.predict_each(list(frames.values()))
    return {
        frame_id: frame_descriptor(prediction.features, atoms.numbers)
        for (frame_id, atoms), prediction in zip(frames.items(), predictions, strict=True)
        if isinstance(prediction, Prediction)
    }
