"""How a model is compared with a reference by ``al-loop validate``, and when a campaign asks for it."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from committee.settings import Settings

CheckName = Literal[
    "relaxation", "equation-of-state", "elasticity", "defects", "surfaces", "interfaces", "dimers", "molecular-dynamics"
]
CHECK_NAMES: tuple[str, ...] = get_args(CheckName)


class ToleranceSettings(Settings):
    """How far a model may be from the reference. A number without a unit is a share of the reference's value."""

    lattice_constant: float = Field(0.02, gt=0)
    """Of a, b and c."""
    cell_angle_deg: float = Field(1.0, gt=0)
    """Of the largest change of an angle between lattice vectors."""
    volume: float = Field(0.03, gt=0)
    """Of volumes and densities."""
    bond_length: float = Field(0.02, gt=0)
    """Of bond lengths, and of the place of the first peak of g(r)."""
    energy_difference_eV_per_atom: float = Field(0.02, gt=0)
    """Of the energy of a structure above the reference's lowest one of the same composition."""
    bulk_modulus: float = Field(0.2, gt=0)
    """Of the equation of state."""
    elastic_constant: float = Field(0.25, gt=0)
    """Of elastic constants and moduli."""
    elastic_constant_GPa: float = Field(10.0, gt=0)
    """Elastic constants may deviate by so much too, where that is more: a share of a small constant means little."""
    defect_energy: float = Field(0.2, gt=0)
    """Of the energies of vacancies, substitutions and exchanges."""
    defect_energy_eV: float = Field(0.2, gt=0)
    """Defect energies may deviate by so much too, where that is more."""
    surface_energy: float = Field(0.2, gt=0)
    """Of surfaces and interfaces."""
    coordination: float = Field(0.1, gt=0)
    """Of the number of neighbours in molecular dynamics."""
    dimer_distance: float = Field(0.05, gt=0)
    """Of where a dimer comes to rest."""
    dimer_depth: float = Field(0.3, gt=0)
    """Of how deep its well is: two atoms alone are far from what most models were trained on."""
    frame_energy_eV_per_atom: float = Field(0.01, gt=0)
    """Of labelled frames as the reference: mean absolute error of energy differences within one composition."""
    frame_force_eV_per_A: float = Field(0.1, gt=0)
    """The same of a force component."""
    frame_stress_eV_per_A3: float = Field(0.005, gt=0)
    """The same of a stress component; 0.005 eV/Å³ are 0.8 GPa."""
    other: float = Field(0.2, gt=0)
    """Of what is not named above."""
    tie: float = Field(0.25, ge=0)
    """Two values of the reference have an order if they are further apart than this share of their tolerance; an
    elastic constant has a sign if it is further from zero."""


class ValidationSettings(Settings):
    """``al-loop validate``: which checks, and how far from the reference is too far."""

    checks: tuple[CheckName, ...] = ()
    """Which checks are made; none named: all, or for an engine as reference those that need few calculations."""
    force_tolerance_eV_per_A: float = Field(0.01, gt=0)
    """Largest force that relaxations leave."""
    tolerances: ToleranceSettings = ToleranceSettings()


class ValidationGateSettings(Settings):
    """A validation that a candidate model must pass before it is served."""

    structures: tuple[Path, ...] = Field(min_length=1)
    """Files of structures, relative to the config file: those that the reference was asked about."""
    reference: Path
    """The quantities of a reference, as ``al-loop validate`` wrote them into ``validation-reference.json``."""
    checks: tuple[CheckName, ...] = Field(("relaxation", "equation-of-state"), min_length=1)
    """Which checks must pass. The candidate answers them in each round."""
