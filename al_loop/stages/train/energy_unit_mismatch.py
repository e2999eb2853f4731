"""Find single energies in another unit among energies that are correct."""

from collections.abc import Sequence

import numpy as np

from al_loop.stages.train.compared_labels import ComparedLabel, composition
from al_loop.stages.train.outliers import MAD_TO_SIGMA, robust_residuals
from committee.checks.force_check import ENERGY_UNITS
from committee.checks.unit_mismatch import MIN_FRAMES

LEFT = 1 / 3  # largest remaining difference, relative to the difference before the unit is converted
FACTOR = 1.25  # largest deviation of the ratio of energies from a unit's factor
SPREADS = 4.0  # robust standard deviations by which an energy must be off, and differ from zero
SMALLEST_EV_PER_ATOM = 0.01


def energy_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Return the indices of the labels whose energy looks like one in another unit, each with a description.

    The expected energy is the model's plus reference shifts that most labels agree on.

    Args:
        compared: labels of one engine.
    """
    places = [i for i, label in enumerate(compared) if np.isfinite(label.energy_eV - label.model_energy_eV)]
    if len(places) < 2 * MIN_FRAMES:
        return {}
    labels = [compared[i] for i in places]
    counts = composition([label.atoms for label in labels])
    given = np.array([label.energy_eV for label in labels])
    residuals = robust_residuals(counts, given - np.array([label.model_energy_eV for label in labels]))
    expected, per_atom = given - residuals, residuals / counts.sum(1)
    spread = MAD_TO_SIGMA * float(np.median(np.abs(per_atom - np.median(per_atom))))
    least = max(SMALLEST_EV_PER_ATOM, SPREADS * spread) * counts.sum(1)
    off = (np.abs(residuals) > least) & (np.abs(expected) > least) & (given != 0)
    if len(places) - int(off.sum()) < MIN_FRAMES:
        return {}
    found: dict[int, str] = {}
    for k in np.flatnonzero(off):
        for unit, factor in ENERGY_UNITS.items():
            is_near = abs(np.log(max(given[k] / (factor * expected[k]), 1e-9))) < np.log(FACTOR)
            if is_near and abs(given[k] / factor - expected[k]) < LEFT * abs(residuals[k]):
                found[places[int(k)]] = f"the energy is in {unit} instead of eV"
    return found
