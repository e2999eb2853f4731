"""Labels that converged to something else: the energy of another system, a wrong electronic state, wrong derivatives.

A suspect frame may differ from the model by a lot, so all tests are generous: a deviation counts only if it exceeds a
limit and many times the spread of the other labels. An energy may besides differ by the mean force error times 1 Å:
where the model misjudges forces it misjudges energies, and an energy that is off while the forces agree is another's.
A stress may besides differ by the virial of the force errors at 1 Å, and by as much as the model's own: a model that
misjudges a compressed cell is off by a part of its pressure, a stress in another unit by many times that. Each part of
a label is judged by itself; where it has no forces, the model's own forces stand for their errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import OutlierSettings
from al_loop.evaluate.errors import dft_energy, dft_forces
from al_loop.records import LabelledFrame, Role
from committee.potential import CommitteePotential

if TYPE_CHECKING:
    from al_loop.ledger import Ledger  # imports mongoengine, which training on files does without

Array = NDArray[np.float64]

MIN_LABELS = 6
"""Fewer have no spread to speak of."""

_REACH_A = 1.0
_MAD_TO_SIGMA = 1.4826  # of normally distributed deviations
_FIT_STEPS = 50
_FLOOR_EV = 1e-3


@dataclass(frozen=True)
class ComparedLabel:
    """A label beside a model's answer for the same structure of n atoms.

    Attributes:
        atoms: the structure.
        energy_eV: total energy of the label; NaN if there is none.
        forces_eV_per_A: (n, 3) of the label; None or NaN if there are none.
        stress_eV_per_A3: (6,) of the label; None or NaN if there is none.
        model_energy_eV: the model's total energy, counted from any zero.
        model_forces_eV_per_A: (n, 3) of the model.
        model_stress_eV_per_A3: (6,) of the model; None or NaN if it has none.
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: Array | None
    stress_eV_per_A3: Array | None
    model_energy_eV: float
    model_forces_eV_per_A: Array
    model_stress_eV_per_A3: Array | None

    @property
    def force_errors(self) -> Array:
        """(n,) eV/Å: norm of label minus model on each atom; NaN where the label has no forces."""
        if self.forces_eV_per_A is None:
            return np.full(len(self.atoms), np.nan)
        return np.asarray(np.linalg.norm(self.forces_eV_per_A - self.model_forces_eV_per_A, axis=1))

    @property
    def possible_force_errors(self) -> Array:
        """(n,) eV/Å: ``force_errors``, or the size of the model's forces where the label has none."""
        errors = self.force_errors
        return errors if np.isfinite(errors).all() else np.asarray(np.linalg.norm(self.model_forces_eV_per_A, axis=1))

    @property
    def stress_error(self) -> float:
        """Largest component of label minus model, eV/Å³; NaN where one of them has no stress."""
        if self.stress_eV_per_A3 is None or self.model_stress_eV_per_A3 is None:
            return float("nan")
        return float(np.abs(self.stress_eV_per_A3 - self.model_stress_eV_per_A3).max())

    @property
    def stress_reach(self) -> float:
        """By how much the stress may differ in any case, eV/Å³; only where both have one."""
        assert self.model_stress_eV_per_A3 is not None  # noqa: S101 - asked only where there is an error
        virial = _REACH_A * self.possible_force_errors.sum() / self.atoms.get_volume()
        return float(virial + np.abs(self.model_stress_eV_per_A3).max())


def mark_outliers(
    ledger: "Ledger", round_: int, served: CommitteePotential, settings: OutlierSettings
) -> dict[str, str]:
    """Keep the outliers among a round's labels from every later use; the same whenever it is asked for.

    Args:
        ledger: the campaign's.
        round_: the round whose labels are judged, against those of all rounds so far.
        served: the model that was served when the round began.
        settings: what counts as an outlier.

    Returns:
        The reason for each frame id that was marked.
    """
    frames = ledger.labelled(tuple(Role), tuple(range(round_ + 1)), with_outliers=True)
    judged = outliers(frames, served, settings)
    found = {frames[i].frame_id: reason for i, reason in judged.items() if frames[i].round == round_}
    ledger.mark_outliers(round_, found)
    return found


def outliers(frames: Sequence[LabelledFrame], served: CommitteePotential, settings: OutlierSettings) -> dict[int, str]:
    """Return the places of the labels that are too far from the model's word, each with the reason.

    Args:
        frames: converged labels; fewer than ``MIN_LABELS`` are not judged.
        served: the model; its reference shifts need not be known.
        settings: what counts as an outlier.
    """
    if len(frames) < MIN_LABELS:
        return {}
    predictions = served.predict([frame.atoms for frame in frames], "energy")
    compared = [
        ComparedLabel(
            frame.atoms,
            dft_energy(frame),
            dft_forces(frame),
            frame.label.stress_eV_per_A3,
            p.energy,
            p.forces,
            p.stress,
        )
        for frame, p in zip(frames, predictions, strict=True)
    ]
    return outliers_among(compared, settings)


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
    reach = _REACH_A * np.array([label.possible_force_errors.mean() for label in judged])
    errors, allowed = judged_energies(_composition([label.atoms for label in judged]), differences, reach, settings)
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
    spread = _MAD_TO_SIGMA * np.median(np.abs(deviations - middle))
    return np.asarray(max(limit, abs(middle) + spreads * spread))


def _named(deviations: Array, allowed: Array, words: str) -> Mapping[int, str]:
    limits = np.broadcast_to(allowed, deviations.shape)
    return {
        int(i): f"{words.format(deviations[i])}, expected at most {limits[i]:.3g} as other labels show"
        for i in np.flatnonzero(deviations > limits)
    }


def _composition(frames: Sequence[Atoms]) -> Array:
    elements = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    return np.array([(atoms.numbers[:, None] == elements).sum(0) for atoms in frames], dtype=np.float64)
