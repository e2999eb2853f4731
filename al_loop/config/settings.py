"""The campaign's configuration. Each class is the documentation of its block in the YAML file."""

from pathlib import Path

from pydantic import Field, model_validator

from al_loop.config.align_settings import AlignSettings
from al_loop.config.moments import Moments
from committee.settings import CommitteeSettings, FoundationSettings, Settings, TrainingSettings
from dft_interfaces.settings import EngineSettings, LimitSettings, QueueSettings, RetrySettings


class SystemSettings(Settings):
    """One starting structure."""

    file: Path
    """Any file that ``ase.io.read`` opens, relative to the config file."""
    name: str = ""
    """How the report calls it; the file's stem by default."""
    charge: int = 0
    """Total charge, e."""
    spin_multiplicity: int | None = Field(None, ge=1)
    """2S + 1; by default the lowest that the electron count allows."""
    initial_magnetic_moments: Moments | None = None
    """Where a spin-polarised calculation starts, µB: by element, for example {Fe: 2.2}, or one for each atom of the
    file, for example [2.2, -2.2] for an antiferromagnet. By default those of the file, if it has any."""
    supercell: tuple[int, int, int] = (1, 1, 1)
    strains: tuple[float, ...] = (0.0,)
    """Isotropic strains of the cell that exploration starts from, for example [-0.03, 0, 0.03]."""

    @model_validator(mode="before")
    @classmethod
    def _name_from_file(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("name") and isinstance(data.get("file"), str):
            return {**data, "name": Path(data["file"]).stem}
        return data


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
    """True where reactions are the purpose: fragments may split and merge."""
    max_volume_ratio: float = Field(1.6, gt=1)
    """Largest change of volume (or of the extent of a molecule) against the start, up or down."""
    max_temperature_ratio: float = Field(5.0, gt=1)
    """Largest kinetic temperature in units of the thermostat's."""


class SelectSettings(Settings):
    """Which suspects are sent to DFT."""

    labels_per_round: int = Field(12, ge=1)
    """Budget of each round."""
    audit_fraction: float = Field(0.05, ge=0, le=1)
    """Share of the budget spent on frames drawn at random, which keeps the statistics honest."""
    unphysical_quota: int = Field(2, ge=0)
    """At most this many frames that are unphysical but computable."""


class OutlierSettings(Settings):
    """When a converged label is not believed: it is far from the model and from how the other labels differ from it.

    Generous on purpose: a suspect frame is labelled because the model errs there. What this finds is the energy of
    another system, or an electronic state far from the ground state.
    """

    energy_eV_per_atom: float = Field(0.5, gt=0)
    """Deviation of the energy after reference shifts; the mean force error times 1 Å is allowed besides."""
    forces_eV_per_A: float = Field(100.0, gt=0)
    """Deviation of the forces, a mean over the atoms of the frame. Two codes differed by 50 eV/Å where atoms met at
    half their bond length, with good reason."""
    spreads: float = Field(10.0, gt=0)
    """Both must also exceed so many robust standard deviations of all labels."""


class LabelSettings(Settings):
    """How labels are made."""

    engine: EngineSettings
    workers: int = Field(2, ge=1)
    """Worker processes on this machine; fewer are started where workers times engine.cores exceed its cores."""
    labels_per_job: int = Field(1, ge=1, le=1000)
    """Labels that share one job: more than one for labels of a few seconds. A job that dies loses only the rest."""
    queue: QueueSettings | None = None
    """A cluster's queue instead of this machine."""
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    outliers: OutlierSettings = OutlierSettings()
    lease_s: float = Field(60.0, gt=1)
    """A worker that shows no sign of life for this long loses its request."""
    max_failed_fraction: float = Field(0.5, ge=0, le=1)
    """The campaign stops when more than this share of a round's labels fail."""


class PromoteSettings(Settings):
    """When a candidate model replaces the served one."""

    max_error_ratio: float = Field(1.0, gt=0)
    """Force error of the candidate on the calibration frames, in units of the served model's."""


class StoreSettings(Settings):
    """The ledger."""

    uri: str | None = None
    """MongoDB URI of your own server. Without one (and without MONGODB_URI) the campaign starts a private server."""


class Config(Settings):
    """A whole campaign."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Name of the campaign: letters, digits, - and _."""
    folder: Path
    """Where everything is written, relative to the current folder."""
    seed: int = Field(0, ge=0, lt=2**32)
    rounds: int = Field(3, ge=1)
    threads: int = Field(1, ge=1)
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
    train: TrainingSettings = TrainingSettings()
    promote: PromoteSettings = PromoteSettings()
    store: StoreSettings = StoreSettings()

    @model_validator(mode="before")
    @classmethod
    def _folder_is_named(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("folder"), str) and not data["folder"].strip():
            raise ValueError("folder: received nothing, expected a path such as runs/my-campaign")
        return data
