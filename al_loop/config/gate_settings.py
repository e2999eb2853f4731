"""The ``gate`` and ``physics`` blocks: when a frame is trusted, and when it is unphysical."""

from pydantic import Field

from committee.settings import Settings


class GateSettings(Settings):
    """When a frame is trusted, suspect or discarded."""

    force_tolerance_eV_per_A: float = Field(0.15, gt=0)
    """Largest force error on any atom that you accept."""
    confidence: float = Field(0.9, gt=0.5, lt=1)
    """Probability, given its own uncertainty, that a trusted frame is within the tolerance."""
    discard_factor: float = Field(10.0, gt=1)
    """Frames whose predicted force error exceeds this many tolerances are discarded instead of labelled."""
    latent_quantile: float = Field(0.99, gt=0.5, le=1)
    """Quantile of the latent distances of calibration frames; frames beyond it are suspect."""


class PhysicsSettings(Settings):
    """The physics check: a trajectory is stopped as soon as a frame is unphysical."""

    min_distance_factor: float = Field(0.6, gt=0, lt=1)
    """Shortest allowed distance as a fraction of the sum of covalent radii."""
    uncomputable_distance_factor: float = Field(0.35, gt=0, lt=1)
    """Frames with distances below this fraction are not sent to DFT."""
    allow_dissociation: bool = False
    """Set true for reactions: molecules may split, and molecules and clusters may merge."""
    max_volume_ratio: float = Field(1.6, gt=1)
    """Largest ratio to the starting volume, up or down, of a periodic cell and of the volume occupied by atoms."""
    max_temperature_ratio: float = Field(5.0, gt=1)
    """Largest ratio of the kinetic temperature to the thermostat's temperature."""
    max_temperature_K: float = Field(10000.0, gt=0, le=1e5)
    """Largest thermostat temperature. Hotter matter is a plasma, which neither model nor labels describe (at 100,000 K
    every atom is ionised)."""
    max_energy_change_eV_per_atom: float = Field(1.0, gt=0)
    """Largest change of the potential energy from the start, per mobile atom, in addition to thermal energy (3 kT at
    the thermostat's temperature). Raise it for strongly exothermic reactions."""
    max_nve_drift_eV_per_atom_ps: float = Field(0.002, gt=0)
    """Largest drift of the total energy in a run without thermostat; stable runs drift by less than 0.0002."""
