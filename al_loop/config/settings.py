"""The campaign's configuration. Each class is the documentation of its block in the YAML file."""

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
    """When a converged label is not believed: it is far from the model and from how the other labels differ from it.

    Generous on purpose: a suspect frame is labelled because the model errs there. What this finds is the energy of
    another system, an electronic state far from the ground state, or a stress in another unit.
    """

    energy_eV_per_atom: float = Field(0.5, gt=0)
    """Deviation of the energy after reference shifts; the mean force error times 1 Å is allowed besides."""
    forces_eV_per_A: float = Field(100.0, gt=0)
    """Deviation of the forces, a mean over the atoms of the frame. Two codes differed by 50 eV/Å where atoms met at
    half their bond length, with good reason."""
    stress_eV_per_A3: float = Field(0.05, gt=0)
    """Deviation of a stress component, 8 GPa; the virial of the force errors at 1 Å and the size of the model's own
    stress are allowed besides. A stress in GPa or kbar among others in eV/Å³ is far beyond."""
    spreads: float = Field(10.0, gt=0)
    """All must also exceed so many robust standard deviations of all labels."""


class LabelSettings(Settings):
    """How labels are made."""

    engine: EngineSettings
    workers: int = Field(2, ge=0, le=1024)
    """Worker processes on this machine; fewer are started where workers times engine.cores exceed its cores. With 0 the
    campaign waits for ``al-loop worker`` elsewhere."""
    labels_per_job: int = Field(1, ge=1, le=1000)
    """Labels that share one job: more than one for labels of a few seconds. A job that dies loses only the rest."""
    queue: QueueSettings | None = None
    """A cluster's queue instead of this machine."""
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    outliers: OutlierSettings = OutlierSettings()
    quorum: float = Field(1.0, gt=0, le=1)
    """A round goes on as soon as this share of its labels has ended, of those to train on and of each kind held out.
    The others enter a later round; the last round waits for all."""
    lease_s: float = Field(60.0, gt=1, le=7 * 86_400)
    """A worker that shows no sign of life for this long, a week at most, loses its request; one of the campaign's own
    is killed with all it started, and replaced. A thread gives the signs, so that a calculation may take longer."""
    max_failed_fraction: float = Field(0.5, ge=0, le=1)
    """The campaign stops when more than this share of a round's labels fail."""


class WatchSettings(Settings):
    """What starts a further round of ``al-loop run --watch``: one of the two is enough."""

    suspects: int = Field(12, ge=1, le=10_000)
    """Suspect frames that were harvested elsewhere; more than 10,000 never wait."""
    labels: int = Field(12, ge=1, le=10**6)
    """Labels that were imported."""
    every_s: float = Field(5.0, ge=0.1, le=3600)
    """Time between two looks."""


class TrainSettings(TrainingSettings):
    """The dense fit of the heads on cached features and tangents, and where it runs."""

    queue: StageQueueSettings | None = Field(None, exclude=True)  # where it runs does not tell one fit apart
    """A cluster's queue instead of the campaign's own process: one job fits, and asks the foundation before."""


class StoreSettings(Settings):
    """The ledger."""

    uri: str | None = Field(None, repr=False)
    """MongoDB URI of your own server. Without one (and without MONGODB_URI) the campaign starts a private server."""
    uri_file: Path | None = None
    """A file that holds the URI, readable by you alone (chmod 600), so that no password stands in the config."""

    @model_validator(mode="after")
    def _one_source(self) -> "StoreSettings":
        if self.uri is not None and self.uri_file is not None:
            raise ValueError("expected either uri or uri_file, received both; remove one of them")
        return self

    wait_s: float = Field(300.0, ge=0, le=7 * 86_400)
    """How long, a week at most, campaign and workers wait for a database that has gone away before they end; nothing is
    lost then."""


class Config(Settings):
    """A whole campaign."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Name of the campaign: letters, digits, - and _."""
    folder: Path
    """Where everything is written, relative to the current folder."""
    seed: int = Field(0, ge=0, lt=2**32)
    rounds: int = Field(3, ge=1, le=10_000)
    """The most rounds that are run, each with a training from scratch on all labels so far."""
    threads: int = Field(1, ge=1, le=1024)
    """Threads of the model's evaluation. One is fastest for small cells while workers label on the other cores."""
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
