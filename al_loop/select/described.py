"""Candidates and labelled frames with their descriptors: those kept with the visits, the others computed anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ase import Atoms

from al_loop.ledger import Ledger
from al_loop.records import Candidate, VerdictKind
from al_loop.select.descriptors import Descriptor, frame_descriptor
from al_loop.select.selection import Known
from committee.potential import CommitteePotential
from committee.prediction import Prediction


def described(
    candidates: Sequence[Candidate], taken: Mapping[str, Atoms], ledger: Ledger, potential: CommitteePotential
) -> tuple[list[Candidate], list[Known]]:
    """Fill in missing descriptors: of frames that were stopped before the model was asked, and in old ledgers.

    Args:
        candidates: of the round; only suspects are looked after.
        taken: frames with a label, or for which one is asked.
        ledger: where descriptors and structures are.
        potential: gives the features; the foundation is frozen, so that they are the same in all rounds.

    Returns:
        The candidates, and the frames that are taken; a frame that the foundation cannot answer for stays without.
    """
    missing = [c.frame_id for c in candidates if c.descriptor is None and c.kind is VerdictKind.SUSPECT]
    computed = _computed(ledger.frames(missing), potential)
    filled = [replace(c, descriptor=computed[c.frame_id]) if c.frame_id in computed else c for c in candidates]
    stored = ledger.descriptors(taken)
    stored |= _computed({frame: atoms for frame, atoms in taken.items() if frame not in stored}, potential)
    known = [Known(frame, atoms.get_chemical_formula(), stored.get(frame)) for frame, atoms in taken.items()]
    return filled, known


def _computed(frames: Mapping[str, Atoms], potential: CommitteePotential) -> dict[str, Descriptor]:
    """Descriptors of the frames that the foundation does not refuse."""
    predictions = potential.predict_each(list(frames.values()))
    return {
        frame_id: frame_descriptor(prediction.features, atoms.numbers)
        for (frame_id, atoms), prediction in zip(frames.items(), predictions, strict=True)
        if isinstance(prediction, Prediction)
    }
