"""The ``promote`` block: when a candidate model is served."""

from pydantic import Field

from al_loop.config.validation_settings import ValidationGateSettings
from committee.settings import Settings


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
