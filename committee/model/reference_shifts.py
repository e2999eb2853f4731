"""Per-element energy shifts between the labelling code and the foundation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from committee.errors import TrainingDataError

RANK_TOLERANCE = 1e-10  # relative; compositions are integers, so true zeros are far below
NO_PRIOR_SCALE = 1e3  # scale of the shift of an element without a prior, relative to one with a prior


@dataclass(frozen=True)
class ReferenceShifts:
    """ε of E = E_foundation + Σ_i ε(Z_i), and how well the data determine it.

    Attributes:
        eV_per_atom: atomic number -> shift, eV; an element that is not listed has shift 0.
        undetermined: symbols of elements whose individual shifts the data do not determine.
        residual_spread_eV_per_atom: standard deviation over frames of the residuals, eV/atom.
    """

    eV_per_atom: Mapping[int, float] = field(default_factory=dict)
    undetermined: tuple[str, ...] = ()
    residual_spread_eV_per_atom: float = 0.0

    @classmethod
    def fit(
        cls,
        atomic_numbers: Sequence[NDArray[np.integer]],
        differences_eV: NDArray[np.float64],
        prior_eV: Mapping[int, float] | None = None,
    ) -> "ReferenceShifts":
        """Fit by minimum-norm least squares.

        A ridge penalty would leave errors of eV per atom when two codes differ by 500 eV per atom; the solution
        closest to the prior is exact wherever the compositions determine the sum, and the prior decides only the rest.

        Args:
            atomic_numbers: atomic numbers of each of B frames, (n_b,).
            differences_eV: (B,) label minus foundation, total energies.
            prior_eV: atomic number -> shift, eV, for example from isolated atoms; 0 by default, which divides the
                undetermined part evenly. If it has some elements only, the others receive the undetermined part.
                Elements absent from all frames keep their prior.

        Raises:
            TrainingDataError: no frame, or a difference that is not finite.
        """
        differences = np.asarray(differences_eV, dtype=np.float64)
        if len(atomic_numbers) == 0 or differences.shape != (len(atomic_numbers),):
            raise TrainingDataError(
                f"Reference shifts need one energy difference per frame, received {len(atomic_numbers)} frames "
                f"and differences of shape {differences.shape}."
            )
        if not np.isfinite(differences).all():
            raise TrainingDataError("Reference shifts need finite energies; remove the labels with NaN or infinity.")
        elements = np.unique(np.concatenate(list(atomic_numbers)))
        counts = np.array([[np.sum(numbers == z) for z in elements] for numbers in atomic_numbers], dtype=float)
        prior = dict(prior_eV or {})
        start = np.array([prior.get(int(z), 0.0) for z in elements])
        scale = np.array([1.0 if not prior or int(z) in prior else NO_PRIOR_SCALE for z in elements])
        changes = scale * np.linalg.lstsq(counts * scale, differences - counts @ start, rcond=RANK_TOLERANCE)[0]
        shifts = start + changes
        residuals = (differences - counts @ shifts) / counts.sum(1)
        return cls(
            {**prior, **{int(z): float(shift) for z, shift in zip(elements, shifts, strict=True)}},
            tuple(chemical_symbols[z] for z in elements[_undetermined(counts)]),
            float(np.std(residuals)),
        )

    @staticmethod
    def determined(atomic_numbers: Sequence[NDArray[np.integer]], composition: NDArray[np.integer]) -> bool:
        """Whether energies of some compositions determine the sum of the shifts of another one."""
        if not atomic_numbers:
            return False
        elements = np.unique(np.concatenate([composition, *atomic_numbers]))
        rows = np.unique([[np.sum(numbers == z) for z in elements] for numbers in atomic_numbers], axis=0)
        extended = np.vstack([rows, [np.sum(composition == z) for z in elements]])
        return bool(np.linalg.matrix_rank(extended) == np.linalg.matrix_rank(rows))

    def total_eV(self, atomic_numbers: NDArray[np.integer]) -> float:
        """Return Σ_i ε(Z_i) of one frame, eV."""
        return float(sum(self.eV_per_atom.get(int(z), 0.0) for z in atomic_numbers))

    @property
    def warning(self) -> str:
        """A warning about elements whose shifts the data do not determine; empty if there are none."""
        if not self.undetermined:
            return ""
        return (
            f"The labels do not determine the reference shifts of {', '.join(self.undetermined)} separately: energies "
            "are correct for the training compositions and undetermined by a constant for others. "
            "Label a frame of another composition."
        )


def _undetermined(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return True for each element whose unit vector has a component in the null space of the composition matrix."""
    _, values, directions = np.linalg.svd(counts, full_matrices=True)
    rank = int(np.sum(values > RANK_TOLERANCE * values.max()))
    return np.asarray(np.square(directions[rank:]).sum(0) > RANK_TOLERANCE)
