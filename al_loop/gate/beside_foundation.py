"""Predictions beside those of the foundation before any adaptation, with which reports and promotion compare."""

from collections.abc import Sequence
from dataclasses import replace

from ase import Atoms

from committee.errors import RefusedFrameError
from committee.potential import CommitteePotential, Uncertainty
from committee.prediction import Prediction, predict_each


def predict_beside(
    model: CommitteePotential,
    foundation: CommitteePotential | None,
    frames: Sequence[Atoms],
    uncertainty: Uncertainty = "energy",
) -> list[Prediction]:
    """Predict frames; ``foundation_energy`` and ``foundation_forces`` are those before any adaptation.

    Args:
        model: its own foundation may be adapted.
        foundation: without heads and before any adaptation; None for that of the model.
        frames: structures.
        uncertainty: as in ``CommitteePotential.predict``, which raises the same.
    """
    if foundation is None or foundation.backbone.fingerprint == model.backbone.fingerprint:
        return model.predict(frames, uncertainty, foundation=True)
    pairs = zip(model.predict(frames, uncertainty), foundation.predict(frames), strict=True)
    return [
        replace(found, foundation_energy=bare.foundation_energy, foundation_forces=bare.forces) for found, bare in pairs
    ]


def predict_each_beside(
    model: CommitteePotential,
    foundation: CommitteePotential | None,
    frames: Sequence[Atoms],
    uncertainty: Uncertainty = "energy",
) -> list[Prediction | RefusedFrameError]:
    """Predict frames of which some may be refused; for those, return the error that ``predict_beside`` would raise."""
    return predict_each(lambda some: predict_beside(model, foundation, some, uncertainty), frames)
