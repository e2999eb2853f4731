"""Random directions of a frame, which replace its 3n + 6 coordinates in the squared loss of forces and stress.

The loss of a frame is |e|², where e (3n + 6,) are the errors of force and stress components times the roots of their
weights. With orthonormal directions v_j it is Σ_j (v_j·e)², and a few of them estimate it: the first ones, along which
the error is known to be large, count as they are, and m random ones stand for the space that is left, of R dimensions,
with the weight R / m. The estimate has no bias, its gradient is exact where e lies in the first directions, and
displacements and strains share the random directions.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = NDArray[np.floating]

STRESS_SCALE = 20.0  # Å³; a scale of 100 raised the force error by half and did not lower that of the stress
N_STRAINS = 6
_INDEPENDENT = 1e-3  # share of a direction outside the span of the others, below which it is left out


@dataclass(frozen=True)
class RandomDirections:
    """The label of a frame of n atoms, and the number of random directions that its loss needs.

    Attributes:
        forces: (n, 3) label, eV/Å; None without.
        stress: (6,) label, eV/Å³; None without.
        forces_weight: weight of the squared error of a force component (eV/Å).
        stress_weight: weight of the squared error of a stress component (eV/Å³, times ``STRESS_SCALE``).
        count: number of random directions, fewer than the coordinates.
    """

    forces: Array | None
    stress: Array | None
    forces_weight: float
    stress_weight: float
    count: int

    def errors(self, forces: Real, stress: Real, volume_A3: float) -> Array:
        """Return the derivative of (model minus label) along each coordinate, (3n + 6,), 0 where there is no label.

        Args:
            forces: (n, 3) of the model, eV/Å.
            stress: (6,) of the model, eV/Å³; NaN if it has none.
            volume_A3: of the cell; NaN unless the frame is periodic in three directions.
        """
        found = np.zeros(forces.size + N_STRAINS)
        if self.forces is not None:
            found[: forces.size] = -np.asarray(forces - self.forces, dtype=np.float64).ravel()
        if self.stress is not None and np.isfinite(volume_A3) and np.isfinite(stress).all():
            found[forces.size :] = volume_A3 * (stress - self.stress)
        return found

    def scales(self, n_atoms: int, stress: Real, volume_A3: float) -> Array:
        """Return the roots of the weights of ``errors``, (3n + 6,); 0 for coordinates that are not compared."""
        found = np.zeros(3 * n_atoms + N_STRAINS)
        if self.forces is not None:
            found[: 3 * n_atoms] = np.sqrt(self.forces_weight / (3 * n_atoms))
        if self.stress is not None and np.isfinite(volume_A3) and np.isfinite(stress).all():
            found[3 * n_atoms :] = np.sqrt(self.stress_weight / N_STRAINS) * STRESS_SCALE / volume_A3
        return found

    def first(self, errors: Array, scales: Array, structure: str) -> NDArray[np.float32]:
        """Return the foundation's own error and ``count`` random directions, (1 + count, 3n + 6), of any lengths.

        The random ones depend on the structure (its SHA-256) only, so that a retraining uses the same. None are
        needed if nothing is compared: (0, 3n + 6).
        """
        if not scales.any():
            return np.zeros((0, len(scales)), dtype=np.float32)
        random = gaussian(structure, (self.count, len(scales)))
        return np.concatenate([along(errors, scales)[None], (random * scales).astype(np.float32)])


def gaussian(structure: str, shape: tuple[int, ...]) -> Array:
    """Draw standard normal numbers that depend on a structure (its SHA-256, or a text with it) only."""
    seed = int.from_bytes(hashlib.sha256(f"directions {structure}".encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(shape)


def along(errors: Array, scales: Array) -> NDArray[np.float32]:
    """Return the direction (3n + 6,) of the weighted errors, as displacements and strains; zero for no error."""
    direction = scales * scales * errors
    length = np.linalg.norm(scales * errors)
    return np.asarray(direction / length if length > 0 else direction, dtype=np.float32)


def orthonormal(directions: NDArray[np.float32], scales: Array, n_random: int) -> tuple[Array, Array]:
    """Make directions orthonormal in the space of weighted errors: those that are not random first.

    Args:
        directions: (m, 3n + 6) that of the foundation's error, the random ones, then further ones.
        scales: (3n + 6,) roots of the weights.
        n_random: number of random ones.

    Returns:
        (k, m) the orthonormal directions as combinations of the given ones; k < m if those depend on each other.
        (k,) the weight of the squared error along each.
    """
    compared = scales > 0
    rows = directions[:, compared].astype(np.float64) / scales[compared]
    lengths = np.linalg.norm(rows, axis=1)
    order = np.array([0, *range(1 + n_random, len(rows)), *range(1, 1 + n_random)], dtype=int)[: len(rows)]
    order = order[lengths[order] > 0]
    while True:
        triangle = np.linalg.qr((rows[order] / lengths[order, None]).T, mode="r")
        dependent = [*np.flatnonzero(np.abs(np.diag(triangle)) < _INDEPENDENT), rows.shape[1]]
        if dependent[0] >= len(order):
            break
        order = np.delete(order, dependent[0])
    combinations = np.zeros((len(order), len(rows)))
    combinations[:, order] = np.linalg.inv(triangle).T / lengths[order]
    random = (order >= 1) & (order <= n_random)
    weights = np.ones(len(order))
    weights[random] = (compared.sum() - (~random).sum()) / max(random.sum(), 1)
    return combinations, weights
