"""The ``explore`` and ``hold_out`` blocks: exploration and held-out frames."""

from pydantic import Field, model_validator

from al_loop.config.system_settings import Ensemble, SystemSettings
from committee.settings import Settings
from dft_interfaces.settings import StageQueueSettings


class ExploreSettings(Settings):
    """Exploratory molecular dynamics, or relaxations, under the served model."""

    temperatures_K: tuple[float, ...] = Field(min_length=1)
    """Temperatures of exploration, each with its own trajectories. Explore hotter than your production runs."""
    ensemble: Ensemble = "langevin"
    """langevin or bussi (NVT), npt (crystals and liquids at pressure_GPa, isotropic cell changes), nve (temperatures_K
    sets the initial velocities), or relax (to the nearest minimum; temperatures_K has no effect)."""
    timestep_fs: float = Field(0.5, ge=1e-3, le=10)
    """MD time step. A bond to hydrogen vibrates with a period of 9 fs; above 10 fs no atomic motion is resolved."""
    steps: int = Field(200, ge=1, le=10**9)
    """MD steps of each trajectory in each round, at most 10⁹ (about a microsecond)."""
    check_every: int = Field(10, ge=1, le=10**9)
    """Steps between frames that the gate checks and that may be labelled."""
    friction_per_ps: float = Field(20.0, gt=0, le=1e4)
    """Friction of the Langevin thermostat, also for npt. At 10⁴ velocities decorrelate within 0.1 fs."""
    bussi_relaxation_fs: float = Field(100.0, ge=1e-3, le=1e9)
    """Relaxation time of the Bussi thermostat."""
    barostat_relaxation_fs: float = Field(500.0, ge=1e-3, le=1e9)
    """Relaxation time of the barostat of npt; at least 50 time steps."""
    ramp_to_K: float | None = Field(None, gt=0, le=1e5)
    """Heat or cool each trajectory linearly from its temperature to this one."""
    pressure_GPa: float = Field(0.0, ge=-1e3, le=1e4)
    """Pressure of npt, and of relaxations with relax_cell; negative values are tension."""
    ramp_to_GPa: float | None = Field(None, ge=-1e3, le=1e4)
    """Change the pressure of each npt trajectory linearly from pressure_GPa to this value."""
    relax_cell: bool = False
    """Relaxations change the cell as well."""
    relaxed_below_eV_per_A: float = Field(0.03, ge=1e-5)
    """A relaxation ends at the first gated frame whose largest force is below this; single precision allows 1e-5."""
    replicas: int = Field(1, ge=1, le=100_000)
    """Trajectories for each structure, variant, strain and temperature, each in its own file."""
    rattle_A: float = Field(0.05, ge=0, le=1)
    """Standard deviation of random displacements of the starting positions; at 1 Å atoms overlap."""
    batches: int | None = Field(None, ge=1, le=1000)
    """Number of batches of a round: the labels of one are calculated while the next is explored. By default at most 4,
    of at least 2 trajectories and 4 labels each. On a GPU that few trajectories leave idle, 1 may be faster."""
    from_failures: float = Field(0.0, ge=0, le=1)
    """Share of a later round's trajectories that restart, with new velocities, from the last valid frame of a
    trajectory that was stopped in the previous round; the others start from the structures again."""
    queue: StageQueueSettings | None = Field(None, exclude=True)  # where it runs does not change the exploration
    """Run each exploration as one job of a cluster's queue instead of in the campaign's own process."""

    @model_validator(mode="after")
    def _temperatures_are_physical(self) -> "ExploreSettings":
        for temperature in self.temperatures_K:
            if not temperature > 0:
                raise ValueError(f"temperatures_K must be above 0 K, received {temperature:g}")
        return self


class HoldOutSettings(Settings):
    """Frames of independent trajectories at the same conditions that are labelled once and never trained on."""

    test_frames: int = Field(16, ge=2, le=100_000)
    """Test frames, in equal shares over structures, strains and temperatures."""
    calibration_frames: int = Field(16, ge=2, le=100_000)
    """Frames that calibrate the gate: at least 9 for a confidence of 90 %, at least 29 trusted ones to prove it."""
    never_trained: tuple[SystemSettings, ...] = ()
    """Molecules or conformers that no training frame comes from; their errors are reported separately."""
    never_trained_frames: int = Field(6, ge=1, le=100_000)
    """Frames of each structure in never_trained."""
