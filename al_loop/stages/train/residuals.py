"""Residuals of label minus foundation after the fit of reference shifts, and whether they are too large to train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_loop.stages.train.compared_labels import composition, robust_spread
from committee.model.reference_shifts import RANK_TOLERANCE, ReferenceShifts
from committee.training.train import TrainingFrame

CONSTANT_SHARE = 0.2  # largest remaining share of the spread if a constant per frame explains it


@dataclass(frozen=True)
class Residuals:
    """Label minus foundation of B frames, before any training.

    Attributes:
        shifts: the fit.
        frames: B, frames with an energy.
        spread_eV_per_atom: standard deviation of the residuals per degree of freedom, from the median absolute
            deviation, which is robust against single frames such as close contacts. NaN if there are as many shifts
            as frames.
        worst_frame: id of the frame with the largest residual.
        worst_eV_per_atom: that residual.
        constant_eV: energy per frame of any size that explains most of the spread; None if none does.
        prior_error_eV_per_atom: root mean square residual of the prior alone; None without one.
    """

    shifts: ReferenceShifts
    frames: int
    spread_eV_per_atom: float
    worst_frame: str = ""
    worst_eV_per_atom: float = 0.0
    constant_eV: float | None = None
    prior_error_eV_per_atom: float | None = None

    @classmethod
    def of(
        cls, frames: Sequence[TrainingFrame], foundation_energies_eV: Sequence[float], prior_eV: Mapping[int, float]
    ) -> "Residuals":
        """Fit the shifts of frames of one level."""
        pairs = zip(frames, foundation_energies_eV, strict=True)
        known = [(frame, frame.energy_eV - energy) for frame, energy in pairs if np.isfinite(frame.energy_eV)]
        if not known:
            return cls(ReferenceShifts(dict(prior_eV)), 0, float("nan"))
        numbers = [frame.atoms.numbers for frame, _ in known]
        differences = np.array([difference for _, difference in known])
        sizes = np.array([len(z) for z in numbers])
        shifts = ReferenceShifts.fit(numbers, differences, prior_eV)
        left = (differences - np.array([shifts.total_eV(z) for z in numbers])) / sizes
        counts = composition([frame.atoms for frame, _ in known])
        spread = _spread(left, counts)
        prior = np.array([sum(prior_eV.get(int(z), 0.0) for z in row) for row in numbers])
        worst = int(np.abs(left).argmax())
        return cls(
            shifts,
            len(known),
            spread,
            known[worst][0].id,
            float(left[worst]),
            _constant(counts, differences, sizes, spread),
            float(np.sqrt(np.mean(((differences - prior) / sizes) ** 2))) if prior_eV else None,
        )

    @property
    def summary(self) -> str:
        """One sentence for the report."""
        if not np.isfinite(self.spread_eV_per_atom):
            return f"Reference shifts explain all of {self.frames} energies: too few to measure how well they fit."
        prior = ""
        if self.prior_error_eV_per_atom is not None:
            prior = f" Isolated atoms alone would leave {self.prior_error_eV_per_atom:.2g} eV/atom."
        return (
            f"Reference shifts fitted to {self.frames} energies leave a spread of "
            f"{1000 * self.spread_eV_per_atom:.0f} meV/atom between labels and foundation.{prior}"
        )

    def objection(self, limit_eV_per_atom: float) -> str:
        """Message that the spread is too large, with the remedy; empty if it is not."""
        if not self.spread_eV_per_atom > limit_eV_per_atom:
            return ""
        constant = ""
        if self.constant_eV is not None:
            constant = f" A constant of {self.constant_eV:.4g} eV per frame of any size explains most of it."
        return (
            f"After a reference shift for each element, labels and foundation still differ by "
            f"{self.spread_eV_per_atom:.2g} eV/atom over {self.frames} frames (accepted: {limit_eV_per_atom:g}); frame "
            f"{self.worst_frame} by {self.worst_eV_per_atom:+.2g} eV/atom.{constant} Nothing was trained. Check that "
            "energies are of the same kind (total, per atom, per cell) and charge, spin and cell are the same; if the "
            "foundation is known to be that far off, set align.accept_residual_spread_eV_per_atom above the spread and "
            "run the same command again."
        )


def _spread(left: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    freedom = len(left) - int(np.linalg.matrix_rank(counts))
    if freedom <= 0:
        return float("nan")
    return float(robust_spread(left) * np.sqrt(len(left) / freedom))


def _constant(
    counts: NDArray[np.float64], differences: NDArray[np.float64], sizes: NDArray[np.int64], spread: float
) -> float | None:
    """Energy per frame that explains the spread; None where compositions do not distinguish it from shifts."""
    extended = np.column_stack([counts, np.ones(len(counts))])
    if np.linalg.matrix_rank(extended) == np.linalg.matrix_rank(counts):
        return None
    fitted = np.linalg.lstsq(extended, differences, rcond=RANK_TOLERANCE)[0]
    left = _spread((differences - extended @ fitted) / sizes, extended)
    return float(fitted[-1]) if left < CONSTANT_SHARE * spread else None
