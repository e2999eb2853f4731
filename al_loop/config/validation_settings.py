"""The ``validation`` and ``promote`` blocks: how models are compared with a reference, and when one is served."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from committee.settings import Settings

CheckName = Literal[
    "relaxation", "equation-of-state", "elasticity", "defects", "surfaces", "interfaces", "dimers", "molecular-dynamics"
]
CHECK_NAMES: tuple[str, ...] = get_args(CheckName)


class ToleranceSettings(Settings):
    """Largest deviations of a model from the reference. Numbers without a unit are fractions of the reference value."""

    lattice_constant: float = Field(0.02, gt=0)
    """Lattice constants a, b and c."""
    cell_angle_deg: float = Field(1.0, gt=0)
    """Largest change of an angle between lattice vectors."""
    volume: float = Field(0.03, gt=0)
    """Volumes and densities."""
    bond_length: float = Field(0.02, gt=0)
    """Bond lengths, and the position of the first peak of g(r)."""
    energy_difference_eV_per_atom: float = Field(0.02, gt=0)
    """Energy of a structure relative to the reference's lowest one of the same composition."""
    bulk_modulus: float = Field(0.2, gt=0)
    """Bulk modulus of the equation of state."""
    elastic_constant: float = Field(0.25, gt=0)
    """Elastic constants and moduli."""
    elastic_constant_GPa: float = Field(10.0, gt=0)
    """Absolute tolerance of elastic constants; the larger of the two applies, since some constants are near zero."""
    defect_energy: float = Field(0.2, gt=0)
    """Energies of vacancies, substitutions and exchanges."""
    defect_energy_eV: float = Field(0.2, gt=0)
    """Absolute tolerance of defect energies; the larger of the two applies."""
    surface_energy: float = Field(0.2, gt=0)
    """Energies of surfaces and interfaces."""
    coordination: float = Field(0.1, gt=0)
    """Coordination numbers in molecular dynamics."""
    dimer_distance: float = Field(0.05, gt=0)
    """Equilibrium distance of a dimer."""
    dimer_depth: float = Field(0.3, gt=0)
    """Well depth of a dimer, which is far from the training data of most models."""
    frame_energy_eV_per_atom: float = Field(0.01, gt=0)
    """Mean absolute error of energy differences within one composition, if labelled frames are the reference."""
    frame_force_eV_per_A: float = Field(0.1, gt=0)
    """Mean absolute error of a force component of these frames."""
    frame_stress_eV_per_A3: float = Field(0.005, gt=0)
    """Mean absolute error of a stress component of these frames; 0.005 eV/Å³ are 0.8 GPa."""
    other: float = Field(0.2, gt=0)
    """Any other quantity."""
    tie: float = Field(0.25, ge=0)
    """The order of two reference values is compared if they differ by more than this fraction of their tolerance; the
    sign of an elastic constant, if it differs from zero by more."""


class ValidationSettings(Settings):
    """``al-loop validate``: which checks are run, and the tolerances."""

    checks: tuple[CheckName, ...] = ()
    """Checks to run. By default all; with an engine as reference, those that need few calculations."""
    force_tolerance_eV_per_A: float = Field(0.01, gt=0)
    """Force convergence of relaxations."""
    tolerances: ToleranceSettings = ToleranceSettings()


class ValidationGateSettings(Settings):
    """A validation that a candidate model must pass before it is served."""

    structures: tuple[Path, ...] = Field(min_length=1)
    """Structure files, relative to the config file: the structures of the reference."""
    reference: Path
    """Reference quantities: the ``validation-reference.json`` that ``al-loop validate`` wrote."""
    checks: tuple[CheckName, ...] = Field(("relaxation", "equation-of-state"), min_length=1)
    """Checks that must pass; the candidate model is checked in each round."""


class PromoteSettings(Settings):
    """When a candidate model replaces the served one: every criterion must hold."""

    max_error_ratio: float = Field(1.0, gt=0)
    """Largest ratio of force errors, candidate to served model, on the calibration frames and on the new labels."""
    max_rise: float = Field(0.1, gt=0)
    """Largest relative rise of the error on earlier labels and on frames labelled by the foundation (forgetting)."""
    earlier_labels: int = Field(12, ge=1, le=100_000)
    """Number of labels of earlier rounds that are compared, drawn once at random."""
    foundation_frames: int = Field(12, ge=1, le=100_000)
    """Number of strained and rattled starting structures that the foundation labels once."""
    far_latent_distance: float = Field(7.0, gt=0)
    """Latent distance beyond which the correction must be small; by default at most a fifth of it is left."""
    nve_steps: int = Field(40, ge=10, le=10**6)
    """Steps of the NVE run; each is one evaluation of up to three structures."""
    max_energy_ratio: float = Field(2.0, gt=1)
    """Largest ratio of total-energy drift and fluctuation in the NVE run, candidate to foundation."""
    validation: ValidationGateSettings | None = None
    """A validation that must also pass; off by default."""
