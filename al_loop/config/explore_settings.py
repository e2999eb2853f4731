"""How trajectories explore, and the held-out ones."""

from pydantic import Field, model_validator

from al_loop.config.system_settings import SystemSettings
from committee.settings import Settings


class ExploreSettings(Settings):
    """Exploratory molecular dynamics (Langevin, NVT) under the served model."""

    temperatures_K: tuple[float, ...] = Field(min_length=1)
    """One set of trajectories for each temperature. Explore hotter than you will produce."""
    timestep_fs: float = Field(0.5, gt=0, le=10)
    steps: int = Field(200, ge=1)
    """MD steps of each trajectory and round."""
    check_every: int = Field(10, ge=1)
    """Steps between two frames that are gated and may be labelled."""
    friction_per_ps: float = Field(20.0, gt=0)
    replicas: int = Field(1, ge=1)
    """Trajectories for each structure, strain and temperature."""
    rattle_A: float = Field(0.05, ge=0)
    """Random displacement of the starting positions, a standard deviation."""

    @model_validator(mode="after")
    def _temperatures_are_physical(self) -> "ExploreSettings":
        for temperature in self.temperatures_K:
            if not temperature > 0:
                raise ValueError(f"temperatures_K must be above 0 K, received {temperature:g}")
        return self


class HoldOutSettings(Settings):
    """Frames that are labelled once and never trained on, from independent trajectories at the same conditions."""

    test_frames: int = Field(16, ge=2)
    """Frames that measure the error, in equal shares over structures, strains and temperatures."""
    calibration_frames: int = Field(16, ge=2)
    """Frames that calibrate the gate: at least 9 for a confidence of 90 %; a proof of it needs 29 trusted ones."""
    never_trained: tuple[SystemSettings, ...] = ()
    """Molecules or conformers that no training frame comes from; reported apart."""
    never_trained_frames: int = Field(6, ge=1)
    """Frames of each of them."""
