"""Find labels that are wrong although they converged: energy of another system, wrong electronic state or derivatives.

Labels of suspect frames may differ a lot from the model, so the limits are wide: a deviation counts only if it exceeds
a limit and many times the spread of the other labels. An energy may differ further by the mean force error times 1 Å:
a model with wrong forces has wrong energies, while a wrong energy with correct forces is that of another system. A
stress may differ further by the virial of the force errors at 1 Å and by the size of the model's stress: in a
compressed cell the model errs by a fraction of the pressure, a stress in another unit by a multiple of it. Each part
of a label is checked by itself; where it has no forces, the model's own forces replace their errors.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from al_loop.config import OutlierSettings
from al_loop.stages.train.compared_labels import composition, robust_spread
from committee.checks.compared_labels import ComparedLabel

Array = NDArray[np.float64]

MIN_LABELS = 6
"""Minimum number of labels for a meaningful spread."""

_FIT_STEPS = 50
_FLOOR_EV = 1e-3


def outliers_among(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> dict[int, str]:
    """Return the indices of the labels that are too far from the model's prediction, each with the reason.

    Fewer than ``MIN_LABELS`` energies, forces or stresses of the level of theory are not checked.
    """
    known = np.flatnonzero([np.isfinite(label.energy_eV) for label in compared])
    found = derivative_outliers(compared, settings)
    if len(known) < MIN_LABELS:
        return found
    labels = [compared[int(i)] for i in known]
    differences = np.array([label.energy_eV - label.model_energy_eV for label in labels])
    reach = np.array([label.energy_reach_eV_per_atom for label in labels])
    errors, allowed = energy_deviations(composition([label.atoms for label in labels]), differences, reach, settings)
    named = _named(np.abs(errors), allowed, "the energy is {:.3g} eV/atom off the model's")
    return {**found, **{int(known[i]): reason for i, reason in named.items()}}


def derivative_outliers(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> dict[int, str]:
    """Return the indices of the labels whose forces or stress are too far from the model's, each with the reason."""
    errors = np.array([label.force_errors.mean() for label in compared])
    allowed = _allowed(errors, settings.forces_eV_per_A, settings.spreads)
    forces = _named(errors, allowed, "forces differ from the model's by {:.3g} eV/Å on average")
    return {**stress_outliers(compared, settings), **forces}


def stress_outliers(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> dict[int, str]:
    """Return the indices of the labels whose stress is too far from the model's, each with the reason."""
    errors = np.array([label.stress_error for label in compared])
    reach = np.array([label.stress_reach for label in compared])
    allowed = _allowed(errors, settings.stress_eV_per_A3, settings.spreads) + reach
    return _named(errors, allowed, "the stress is {:.3g} eV/Å³ off the model's")


def energy_deviations(
    counts: Array, differences_eV: Array, reach_eV_per_atom: Array, settings: OutlierSettings
) -> tuple[Array, Array]:
    """Return energy errors and their limits, (f,) eV/atom each.

    A constant per frame may explain the energies in addition to shifts per element. Then single labels must not be
    removed until the rest looks aligned: the alignment reports the constant. The fit with fewer outliers is used.
    ``reach_eV_per_atom`` (f,) is an additional allowed deviation; ``counts`` and ``differences_eV`` as for
    ``robust_residuals``.
    """
    tried = []
    for explaining in (counts, np.column_stack([counts, np.ones(len(counts))])):
        errors = robust_residuals(explaining, differences_eV) / counts.sum(1)
        tried.append((errors, _allowed(errors, settings.energy_eV_per_atom, settings.spreads) + reach_eV_per_atom))
    return min(tried, key=lambda pair: int((np.abs(pair[0]) > pair[1]).sum()))


def robust_residuals(counts: Array, differences_eV: Array) -> Array:
    """Return the residuals of energy differences after a robust fit of per-element shifts, eV.

    Least absolute deviations by iteratively reweighted least squares (E. J. Schlossmacher, J. Am. Stat. Assoc. 68,
    857 (1973)), started from each composition's median.

    Args:
        counts: (f, e) atoms of each element in each frame.
        differences_eV: (f,) label minus model.
    """
    residuals = differences_eV - _medians(counts, differences_eV)
    for _ in range(_FIT_STEPS):
        weights = 1 / np.sqrt(np.maximum(np.abs(residuals), _FLOOR_EV))
        shifts = np.linalg.lstsq(counts * weights[:, None], differences_eV * weights, rcond=1e-10)[0]
        residuals = differences_eV - counts @ shifts
    return np.asarray(residuals)


def _medians(counts: Array, differences_eV: Array) -> Array:
    """Return the median difference among the frames of each frame's composition, (f,)."""
    _, kind = np.unique(counts, axis=0, return_inverse=True)
    return np.array([np.median(differences_eV[kind == own]) for own in kind])


def _allowed(deviations: Array, limit: float, spreads: float) -> float:
    """Return the larger of the limit and the median plus a number of robust spreads; NaN with too few labels."""
    known = deviations[np.isfinite(deviations)]
    if len(known) < MIN_LABELS:
        return float("nan")
    return max(limit, float(abs(np.median(known))) + spreads * robust_spread(known))


def _named(deviations: Array, allowed: Array | float, message: str) -> dict[int, str]:
    limits = np.broadcast_to(allowed, deviations.shape)
    return {
        int(i): f"{message.format(deviations[i])}, expected at most {limits[i]:.3g} as other labels show"
        for i in np.flatnonzero(deviations > limits)
    }
