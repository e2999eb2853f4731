"""Every result key with its shape and unit; uncertainties are always standard deviations (ddof 1).

The member axis comes first in every ``*_ensemble``. Stress follows ASE's Voigt order: xx, yy, zz, yz, xz, xy.
"""

from typing import Final

ENERGY: Final = "energy"  # float, eV
FREE_ENERGY: Final = "free_energy"  # float, eV, equal to energy
FORCES: Final = "forces"  # (n, 3), eV/Å
STRESS: Final = "stress"  # (6,), eV/Å³, periodic in three directions only

ENERGY_UNCERTAINTY: Final = "energy_uncertainty"  # float, eV
FORCES_UNCERTAINTY: Final = "forces_uncertainty"  # (n, 3), eV/Å
STRESS_UNCERTAINTY: Final = "stress_uncertainty"  # (6,), eV/Å³

ENERGY_ENSEMBLE: Final = "energy_ensemble"  # (K,), eV
FORCES_ENSEMBLE: Final = "forces_ensemble"  # (K, n, 3), eV/Å
STRESS_ENSEMBLE: Final = "stress_ensemble"  # (K, 6), eV/Å³

SCREEN_BOUND: Final = "screen_bound"  # (n,), upper bound of force uncertainty over trust threshold, not exact

LATENT_DISTANCE: Final = "latent_distance"  # (n,), 1 = typical of training frames

RESULTS: Final = (
    ENERGY,
    FREE_ENERGY,
    FORCES,
    STRESS,
    ENERGY_UNCERTAINTY,
    FORCES_UNCERTAINTY,
    STRESS_UNCERTAINTY,
    ENERGY_ENSEMBLE,
    FORCES_ENSEMBLE,
    STRESS_ENSEMBLE,
    SCREEN_BOUND,
    LATENT_DISTANCE,
)
"""All result keys."""

CHARGE: Final = "charge"  # atoms.info key: total charge, e
SPIN: Final = "spin"  # atoms.info key: spin multiplicity 2S + 1, as fairchem spells it
