"""How trajectories explore, and the held-out ones."""

from pydantic import Field, model_validator

from al_loop.config.ensembles import Ensemble
from al_loop.config.system_settings import SystemSettings
from committee.settings import Settings
from dft_interfaces.settings import StageQueueSettings


class ExploreSettings(Settings):
    """Exploratory molecular dynamics, or relaxations, under the served model."""

    temperatures_K: tuple[float, ...] = Field(min_length=1)
    """One set of trajectories for each temperature. Explore hotter than you will produce."""
    ensemble: Ensemble = "langevin"
    """langevin or bussi (NVT), npt (crystals and liquids at pressure_GPa, the cell keeps its shape), nve (the
    temperature is that of the first velocities), or relax (to the nearest minimum, whatever the temperatures)."""
    timestep_fs: float = Field(0.5, ge=1e-3, le=10)
    """Below 0.001 fs nothing moves: a bond to hydrogen vibrates in 9 fs. Above 10 fs no atom's motion is resolved."""
    steps: int = Field(200, ge=1, le=10**9)
    """MD steps of each trajectory and round; 10⁹ are a microsecond, longer than any model's dynamics that was seen."""
    check_every: int = Field(10, ge=1, le=10**9)
    """Steps between two frames that are gated and may be labelled."""
    friction_per_ps: float = Field(20.0, gt=0, le=1e4)
    """Of the Langevin thermostat, that of npt included. At 10⁴ velocities are forgotten within 0.1 fs."""
    bussi_relaxation_fs: float = Field(100.0, ge=1e-3, le=1e9)
    """Time in which Bussi's thermostat acts: from the shortest time step to a microsecond."""
    barostat_relaxation_fs: float = Field(500.0, ge=1e-3, le=1e9)
    """Time in which the volume of npt follows; at least 50 time steps, at most a microsecond."""
    ramp_to_K: float | None = Field(None, gt=0, le=1e5)
    """Heat or cool each trajectory evenly from its temperature to this one."""
    pressure_GPa: float = Field(0.0, ge=-1e3, le=1e4)
    """Of npt, and of relaxations with their cell: from a tension that tears every crystal to what no label may have."""
    ramp_to_GPa: float | None = Field(None, ge=-1e3, le=1e4)
    """Compress or release each npt trajectory evenly from pressure_GPa to this pressure."""
    relax_cell: bool = False
    """Relaxations change the cell as well."""
    relaxed_below_eV_per_A: float = Field(0.03, ge=1e-5)
    """A relaxation ends at the first gated frame with no larger force; single precision resolves no less than 1e-5."""
    replicas: int = Field(1, ge=1, le=100_000)
    """Trajectories for each structure, variant, strain and temperature; each has a file of its own."""
    rattle_A: float = Field(0.05, ge=0, le=1)
    """Random displacement of the starting positions, a standard deviation; at 1 Å atoms lie on top of each other."""
    batches: int | None = Field(None, ge=1, le=1000)
    """A round explores in so many batches: the labels of one are calculated while the next is explored. By default at
    most 4, of at least 2 trajectories and 4 labels each. On a GPU that few trajectories leave idle, 1 may be faster."""
    from_failures: float = Field(0.0, ge=0, le=1)
    """Share of a later round's trajectories that start, with fresh velocities, from the last sound frame before
    theirs was stopped in the round before; the others start from the structures again."""
    queue: StageQueueSettings | None = Field(None, exclude=True)  # where it runs does not tell one exploration apart
    """A cluster's queue instead of the campaign's own process: one job for each exploration."""

    @model_validator(mode="after")
    def _temperatures_are_physical(self) -> "ExploreSettings":
        for temperature in self.temperatures_K:
            if not temperature > 0:
                raise ValueError(f"temperatures_K must be above 0 K, received {temperature:g}")
        return self


class HoldOutSettings(Settings):
    """Frames that are labelled once and never trained on, from independent trajectories at the same conditions."""

    test_frames: int = Field(16, ge=2, le=100_000)
    """Frames that measure the error, in equal shares over structures, strains and temperatures."""
    calibration_frames: int = Field(16, ge=2, le=100_000)
    """Frames that calibrate the gate: at least 9 for a confidence of 90 %; a proof of it needs 29 trusted ones."""
    never_trained: tuple[SystemSettings, ...] = ()
    """Molecules or conformers that no training frame comes from; reported apart."""
    never_trained_frames: int = Field(6, ge=1, le=100_000)
    """Frames of each of them."""
