"""The settings of a campaign. Each class documents its block of the YAML file."""

from pathlib import Path

from pydantic import Field, model_validator

from al_loop.config.align_settings import AlignSettings
from al_loop.config.explore_settings import ExploreSettings, HoldOutSettings
from al_loop.config.gate_settings import GateSettings, PhysicsSettings
from al_loop.config.promote_settings import PromoteSettings
from al_loop.config.select_settings import SelectSettings
from al_loop.config.stop_settings import StopSettings
from al_loop.config.system_settings import SystemSettings
from al_loop.config.validation_settings import ValidationSettings
from committee.settings import CommitteeSettings, FoundationSettings, Settings, TrainingSettings
from dft_interfaces.settings import EngineSettings, LimitSettings, QueueSettings, RetrySettings, StageQueueSettings


class OutlierSettings(Settings):
    """When a converged label is an outlier: far from the model, and unlike the deviations of the other labels.

    The limits are wide, since a suspect frame is labelled because the model errs there. They find the energy of another
    system, an electronic state far from the ground state, or a stress in another unit.
    """

    energy_eV_per_atom: float = Field(0.5, gt=0)
    """Limit of the energy deviation after reference shifts, in addition to the mean force error times 1 Å."""
    forces_eV_per_A: float = Field(100.0, gt=0)
    """Limit of the force deviation, a mean over the atoms of the frame. Correct labels of two codes differed by 50 eV/Å
    where atoms were at half their bond length."""
    stress_eV_per_A3: float = Field(0.05, gt=0)
    """Limit of the deviation of a stress component (8 GPa), in addition to the virial of the force errors at 1 Å and
    the model's own stress. A stress in GPa or kbar among others in eV/Å³ is far beyond it."""
    spreads: float = Field(10.0, gt=0)
    """An outlier must also exceed this many robust standard deviations of all labels."""


class LabelSettings(Settings):
    """How labels are calculated."""

    engine: EngineSettings
    workers: int = Field(2, ge=0, le=1024)
    """Worker processes on this machine; fewer are started if workers times engine.cores exceeds its cores. With 0 the
    campaign waits for ``al-loop worker`` on other machines."""
    labels_per_job: int = Field(1, ge=1, le=1000)
    """Labels per job; use more than one for labels of a few seconds. A job that dies loses only unfinished labels."""
    queue: QueueSettings | None = None
    """Calculate labels on a cluster's queue instead of this machine."""
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    outliers: OutlierSettings = OutlierSettings()
    quorum: float = Field(1.0, gt=0, le=1)
    """A round continues as soon as this share of its labels is finished, of training frames and of each kind of
    held-out frames. The others join a later round; the last round waits for all."""
    lease_s: float = Field(60.0, gt=1, le=7 * 86_400)
    """A worker without a heartbeat for this long loses its request; one of the campaign's own is killed with its
    child processes and replaced. Heartbeats come from a thread, so calculations may take longer."""
    max_failed_fraction: float = Field(0.5, ge=0, le=1)
    """The campaign stops when more than this share of a round's labels fail."""


class WatchSettings(Settings):
    """When ``al-loop run --watch`` starts a further round: at either number."""

    suspects: int = Field(12, ge=1, le=10_000)
    """Number of new suspect frames harvested from monitored runs or imported; at most 10,000 are kept."""
    labels: int = Field(12, ge=1, le=10**6)
    """Number of new imported labels."""
    every_s: float = Field(5.0, ge=0.1, le=3600)
    """Time between checks of the database."""


class TrainSettings(TrainingSettings):
    """The fit of the heads on cached features and tangents, and where it runs."""

    queue: StageQueueSettings | None = Field(None, exclude=True)  # where it runs does not change the fit
    """Run each training, with its foundation evaluations, as one job of a cluster's queue."""


class StoreSettings(Settings):
    """The ledger."""

    uri: str | None = Field(None, repr=False)
    """MongoDB URI of your own server. Without one (and without MONGODB_URI) the campaign starts a private server."""
    uri_file: Path | None = None
    """A file that holds the URI, readable by you only (chmod 600), so that the config holds no password."""

    @model_validator(mode="after")
    def _one_source(self) -> "StoreSettings":
        if self.uri is not None and self.uri_file is not None:
            raise ValueError("expected either uri or uri_file, received both; remove one of them")
        return self

    wait_s: float = Field(300.0, ge=0, le=7 * 86_400)
    """How long campaign and workers wait for a lost database before they exit (at most a week); nothing is lost."""


class Config(Settings):
    """A whole campaign."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Name of the campaign: letters, digits, - and _."""
    folder: Path
    """Folder for all output, relative to the current folder."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Random seed of the campaign."""
    rounds: int = Field(3, ge=1, le=10_000)
    """Largest number of rounds; each trains from scratch on all labels so far."""
    threads: int = Field(1, ge=1, le=1024)
    """CPU threads of model evaluations. One is fastest for small cells while workers label on the other cores."""
    foundation: FoundationSettings
    committee: CommitteeSettings = CommitteeSettings()
    systems: tuple[SystemSettings, ...] = Field(min_length=1)
    explore: ExploreSettings
    hold_out: HoldOutSettings = HoldOutSettings()
    gate: GateSettings = GateSettings()
    physics: PhysicsSettings = PhysicsSettings()
    select: SelectSettings = SelectSettings()
    label: LabelSettings
    align: AlignSettings = AlignSettings()
    train: TrainSettings = TrainSettings()
    promote: PromoteSettings = PromoteSettings()
    validation: ValidationSettings = ValidationSettings()
    stop: StopSettings = StopSettings()
    watch: WatchSettings = WatchSettings()
    store: StoreSettings = StoreSettings()

    @model_validator(mode="before")
    @classmethod
    def _folder_is_named(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("folder"), str) and not data["folder"].strip():
            raise ValueError("folder: received nothing, expected a path such as runs/my-campaign")
        return data
