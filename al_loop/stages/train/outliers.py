"""Labels that converged to something else: the energy of another system, a wrong electronic state, wrong derivatives.

A suspect frame may differ from the model by a lot, so all tests are generous: a deviation counts only if it exceeds a
limit and many times the spread of the other labels. An energy may besides differ by the mean force error times 1 Å:
where the model misjudges forces it misjudges energies, and an energy that is off while the forces agree is another's.
A stress may besides differ by the virial of the force errors at 1 Å, and by as much as the model's own: a model that
misjudges a compressed cell is off by a part of its pressure, a stress in another unit by many times that. Each part of
a label is judged by itself; where it has no forces, the model's own forces stand for their errors.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from al_loop.config import OutlierSettings
from al_loop.records import LabelledFrame
from al_loop.stages.train.compared_labels import ComparedLabel, compared_with, composition
from committee.potential import CommitteePotential

Array = NDArray[np.float64]

MIN_LABELS = 6
"""Fewer have no spread to speak of."""

MAD_TO_SIGMA = 1.4826  # of normally distributed deviations
_FIT_STEPS = 50
_FLOOR_EV = 1e-3


def outliers(frames: Sequence[LabelledFrame], served: CommitteePotential, settings: OutlierSettings) -> dict[int, str]:
    """Return the places of the labels that are too far from the model's word, each with the reason.

    Args:
        frames: converged labels; fewer than ``MIN_LABELS`` are not judged.
        served: the model; its reference shifts need not be known.
        settings: what counts as an outlier.
    """
    if len(frames) < MIN_LABELS:
        return {}
    return outliers_among(compared_with(served, frames), settings)


def outliers_among(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> dict[int, str]:
    """Return the places of the labels that are too far from the model's word, each with the reason.

    Args:
        compared: labels of one level of theory; fewer than ``MIN_LABELS`` energies, forces or stresses are not judged.
        settings: what counts as an outlier.
    """
    known = np.flatnonzero([np.isfinite(label.energy_eV) for label in compared])
    found = derivative_outliers(compared, settings)
    if len(known) < MIN_LABELS:
        return found
    judged = [compared[int(i)] for i in known]
    differences = np.array([label.energy_eV - label.model_energy_eV for label in judged])
    reach = np.array([label.energy_reach_eV_per_atom for label in judged])
    errors, allowed = judged_energies(composition([label.atoms for label in judged]), differences, reach, settings)
    named = _named(np.abs(errors), allowed, "the energy is {:.3g} eV/atom off the model's")
    return {**found, **{int(known[i]): reason for i, reason in named.items()}}


def derivative_outliers(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> dict[int, str]:
    """Return the places of the labels whose forces or stress are too far from the model's, each with the reason.

    Args:
        compared: as for ``outliers_among``.
        settings: what counts as an outlier.
    """
    forces = _named(*_judged_forces(compared, settings), "forces differ from the model's by {:.3g} eV/Å on average")
    return {**stress_outliers(compared, settings), **forces}


def _judged_forces(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> tuple[Array, Array]:
    """Mean force errors and what is allowed, (f,) eV/Å each; NaN where there are no forces to compare."""
    errors = np.array([label.force_errors.mean() for label in compared])
    known = np.isfinite(errors)
    allowed = np.full(len(compared), np.nan)
    if known.sum() >= MIN_LABELS:
        allowed[known] = _allowed(errors[known], settings.forces_eV_per_A, settings.spreads)
    return errors, allowed


def stress_outliers(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> dict[int, str]:
    """Return the places of the labels whose stress is too far from the model's, each with the reason.

    Args:
        compared: labels of one level of theory; fewer than ``MIN_LABELS`` with a stress are not judged.
        settings: what counts as an outlier.
    """
    return dict(_named(*judged_stresses(compared, settings), "the stress is {:.3g} eV/Å³ off the model's"))


def judged_stresses(compared: Sequence[ComparedLabel], settings: OutlierSettings) -> tuple[Array, Array]:
    """Return stress errors and what is allowed, (f,) eV/Å³ each; NaN where there is no stress to compare.

    Args:
        compared: labels beside a model's answers.
        settings: what counts as an outlier.
    """
    errors = np.array([label.stress_error for label in compared])
    allowed = np.full(len(compared), np.nan)
    known = np.flatnonzero(np.isfinite(errors))
    if len(known) >= MIN_LABELS:
        limit = _allowed(errors[known], settings.stress_eV_per_A3, settings.spreads)
        allowed[known] = limit + np.array([compared[int(i)].stress_reach for i in known])
    return errors, allowed


def judged_energies(
    counts: Array, differences_eV: Array, reach_eV_per_atom: Array, settings: OutlierSettings
) -> tuple[Array, Array]:
    """Return energy errors and what is allowed, (f,) eV/atom each.

    Beside shifts per element a constant per frame may explain the energies. Then it is not for single labels to go
    until what is left looks aligned, but for the alignment to name it. The explanation with fewer outliers is taken.

    Args:
        counts: as for ``robust_residuals``.
        differences_eV: as for ``robust_residuals``.
        reach_eV_per_atom: (f,) what an energy may differ by besides.
        settings: what counts as an outlier.
    """
    tried = []
    for explaining in (counts, np.column_stack([counts, np.ones(len(counts))])):
        errors = robust_residuals(explaining, differences_eV) / counts.sum(1)
        tried.append((errors, _allowed(errors, settings.energy_eV_per_atom, settings.spreads) + reach_eV_per_atom))
    return min(tried, key=lambda pair: int((np.abs(pair[0]) > pair[1]).sum()))


def robust_residuals(counts: Array, differences_eV: Array) -> Array:
    """Return what per-element shifts leave of energy differences, eV, without letting outliers draw the shifts.

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


def _allowed(deviations: Array, limit: float, spreads: float) -> Array:
    """Return the larger of the limit and so many robust spreads around the median."""
    middle = np.median(deviations)
    spread = MAD_TO_SIGMA * np.median(np.abs(deviations - middle))
    return np.asarray(max(limit, abs(middle) + spreads * spread))


def _named(deviations: Array, allowed: Array, words: str) -> Mapping[int, str]:
    limits = np.broadcast_to(allowed, deviations.shape)
    return {
        int(i): f"{words.format(deviations[i])}, expected at most {limits[i]:.3g} as other labels show"
        for i in np.flatnonzero(deviations > limits)
    }
