"""When a candidate model is served."""

from pydantic import Field

from al_loop.config.validation_settings import ValidationGateSettings
from committee.settings import Settings


class PromoteSettings(Settings):
    """When a candidate model replaces the served one: every criterion must hold."""

    max_error_ratio: float = Field(1.0, gt=0)
    """Force error of the candidate in units of the served model's, on the calibration frames and on the new labels."""
    max_rise: float = Field(0.1, gt=0)
    """How much the error may rise on what was known before: earlier labels, and the foundation's own frames."""
    earlier_labels: int = Field(12, ge=1, le=100_000)
    """Labels of former rounds that are compared, drawn once at random."""
    foundation_frames: int = Field(12, ge=1, le=100_000)
    """Strained and rattled starting structures that the foundation answers once."""
    far_latent_distance: float = Field(7.0, gt=0)
    """Latent distance beyond which little may be left of the correction; with the default fade a fifth is, at most."""
    nve_steps: int = Field(40, ge=10, le=10**6)
    """Steps of the run at constant energy; each is one evaluation of up to three structures."""
    max_energy_ratio: float = Field(2.0, gt=1)
    """Drift and fluctuation of the total energy in that run, in units of the foundation's own at the same time step."""
    validation: ValidationGateSettings | None = None
    """A validation that must pass besides; off by default."""
