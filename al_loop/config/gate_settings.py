"""When a frame is trusted, and when the physics is broken."""

from pydantic import Field

from committee.settings import Settings


class GateSettings(Settings):
    """When a frame is trusted, suspect or discarded."""

    force_tolerance_eV_per_A: float = Field(0.15, gt=0)
    """The largest force error on any atom that you accept."""
    confidence: float = Field(0.9, gt=0.5, lt=1)
    """How often the tolerance must hold for trusted frames."""
    discard_factor: float = Field(10.0, gt=1)
    """Predicted force error, in units of the tolerance, beyond which a frame is not worth a label."""
    latent_quantile: float = Field(0.99, gt=0.5, le=1)
    """Quantile of the calibration frames' latent distance beyond which a frame is suspect."""


class PhysicsSettings(Settings):
    """The physics lane: stop at once when the physics breaks."""

    min_distance_factor: float = Field(0.6, gt=0, lt=1)
    """Shortest allowed distance as a fraction of the sum of covalent radii."""
    uncomputable_distance_factor: float = Field(0.35, gt=0, lt=1)
    """Below this fraction DFT is not asked at all."""
    allow_dissociation: bool = False
    """True where reactions are the purpose: molecules may split, and molecules and clusters may merge."""
    max_volume_ratio: float = Field(1.6, gt=1)
    """Largest change against the start, up or down, of a periodic cell's volume and of the volume atoms occupy."""
    max_temperature_ratio: float = Field(5.0, gt=1)
    """Largest kinetic temperature in units of the thermostat's."""
    max_temperature_K: float = Field(10000.0, gt=0, le=1e5)
    """Hottest thermostat: beyond this matter is a plasma, which neither the model nor the labels describe (at 100,000 K
    every atom is ionised)."""
    max_energy_change_eV_per_atom: float = Field(1.0, gt=0)
    """Largest change of the potential energy against the start, per atom that can move, besides what heating to the
    thermostat's temperature adds (3 kT). Larger where reactions that release more are the purpose."""
    max_nve_drift_eV_per_atom_ps: float = Field(0.002, gt=0)
    """Largest drift of the total energy of a run without thermostat; healthy ones drift by less than 0.0002."""
