"""Predictions of the selecting model on the selected frames, saved for the report before retraining."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_loop.gate.beside_foundation import predict_each_beside
from al_loop.records import AUDIT, Frame
from committee.potential import CommitteePotential
from committee.prediction import Prediction

MOST_FRAMES = 24  # of one selection; the audit's first, since they measure the quality of the selection
MOST_ATOMS = 4000  # of all these frames


def selected_frame_arrays(
    visits: Sequence[Frame], reasons: Mapping[str, str], model: CommitteePotential, foundation: CommitteePotential
) -> dict[str, NDArray[Any]]:
    """Return the report's data on the frames of one selection.

    A frame that the ``foundation``, that before any adaptation, refuses is left out.

    Returns:
        For f frames of N atoms in all: ``frame_id``, ``reason`` and ``said`` (the gate's verdict) as text (f,),
        ``natoms`` (f,), ``uncertainty`` (N,) force uncertainty of each atom in eV/Å, NaN where there is none, and
        ``forces_served``, ``forces_foundation`` (N, 3) in eV/Å.
    """
    bounded = _bounded(visits, reasons)
    predictions = predict_each_beside(model, foundation, [visit.atoms for visit in bounded], "exact")
    predicted = [(visit, one) for visit, one in zip(bounded, predictions, strict=True) if isinstance(one, Prediction)]
    shapes = [prediction.forces.shape for _, prediction in predicted]
    return {
        "frame_id": np.array([visit.frame_id for visit, _ in predicted], dtype=np.str_),
        "reason": np.array([reasons[visit.frame_id] for visit, _ in predicted], dtype=np.str_),
        "said": np.array([_verdict_text(visit) for visit, _ in predicted], dtype=np.str_),
        "natoms": np.array([shape[0] for shape in shapes], dtype=np.int64),
        "uncertainty": _joined([_uncertainty(prediction) for _, prediction in predicted], (0,)),
        "forces_served": _joined([prediction.forces for _, prediction in predicted], (0, 3)),
        "forces_foundation": _joined(
            [
                np.full(s, np.nan) if p.foundation_forces is None else p.foundation_forces
                for s, (_, p) in zip(shapes, predicted, strict=True)
            ],
            (0, 3),
        ),
    }


def _bounded(visits: Sequence[Frame], reasons: Mapping[str, str]) -> list[Frame]:
    in_order = sorted(visits, key=lambda visit: reasons[visit.frame_id] != AUDIT)[:MOST_FRAMES]
    atoms = np.cumsum([len(visit.atoms) for visit in in_order])
    return [visit for visit, so_far in zip(in_order, atoms, strict=True) if so_far <= MOST_ATOMS]


def _verdict_text(visit: Frame) -> str:
    verdict = visit.verdict
    return f"{verdict.kind.value}: {verdict.reason}" if verdict.reason else verdict.kind.value


def _uncertainty(prediction: Prediction) -> NDArray[np.float64]:
    sigma = prediction.forces_uncertainty
    if sigma is None or (prediction.latent_distance is None and not sigma.any()):  # untrained and without priors
        return np.full(len(prediction.forces), np.nan)
    return np.asarray(np.linalg.norm(sigma, axis=1))


def _joined(parts: list[NDArray[np.float64]], empty: tuple[int, ...]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.zeros(empty)
