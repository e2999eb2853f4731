"""The settings of a campaign. Each class documents its block of the YAML file."""

from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import atomic_numbers
from pydantic import Field, model_validator

from al_loop.config.explore_settings import ExploreSettings, HoldOutSettings, SystemSettings
from al_loop.config.validation_settings import PromoteSettings, ValidationSettings
from committee.settings import AdaptSettings, CommitteeSettings, FoundationSettings, Settings, TrainingSettings
from dft_interfaces.bounds import largest_energy_eV
from dft_interfaces.settings import EngineSettings, LimitSettings, QueueSettings, RetrySettings, StageQueueSettings

AdaptMode = Literal["auto", "never", "always"]


class OtherLabelsSettings(Settings):
    """Labelled frames of another level of theory that join the training set."""

    file: Path | tuple[Path, ...]
    """Labelled frames: DFT outputs, extxyz, aselmdb or ASE databases, as files, folders or patterns such as
    ``runs/**/OUTCAR``, one or a list of them; relative to the config file. Frames may lack energies or forces. Isolated
    atoms among them give the reference energies of the elements at this level."""
    level: str = Field(min_length=1)
    """Their level of theory as free text, for example "PBE, VASP, OMat24 settings". Files of one level share one energy
    reference."""
    align: Literal["shifts"]
    """How their energies are aligned with the engine's. shifts: one constant per element, fitted against the foundation
    for each level; forces and stress are used unchanged. Use it only if the functionals are the same or close."""
    energy_key: str | None = None
    """Key of the energies (eV) in extxyz files and databases; by default REF_energy, else ASE's own results."""
    forces_key: str | None = None
    """Key of the forces (eV/Å); by default REF_forces, else ASE's own results."""
    stress_key: str | None = None
    """Key of the stresses (eV/Å³); by default REF_stress, else ASE's own results."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths in ``file``, as a tuple."""
        return (self.file,) if isinstance(self.file, Path) else self.file


class AlignSettings(Settings):
    """Comparison of labels with the foundation model before training."""

    accept_residual_spread_eV_per_atom: float = Field(0.3, gt=0)
    """Largest accepted standard deviation over frames of label minus foundation energy, after fitting one constant per
    element. Above it the campaign stops before the first training: either the labels are wrong, or the foundation is
    inaccurate here and you confirm that by raising this value."""
    on_unit_mismatch: Literal["stop", "leave_out", "warn"] = "stop"
    """What to do when energies, forces or stresses look like a mismatch of unit, sign or atom order. leave_out
    continues without labels of an engine that was corrected since; if all labels are affected it stops too. warn trains
    on them."""
    isolated_atoms_eV: dict[str, float] = Field(default_factory=dict)
    """The engine's energy of an isolated atom of each element, eV, in its ground-state multiplicity. They are used only
    where the labels do not determine an element's reference: for compositions unlike those trained on. The result is as
    good as the foundation's own isolated atoms (models of crystals: errors of eV per atom, instead of hundreds between
    codes). Isolated atoms in imported files are used for elements not named here."""
    other_labels: tuple[OtherLabelsSettings, ...] = ()
    """Labelled frames of other levels of theory; without this block, levels are never mixed."""

    @model_validator(mode="after")
    def _elements_exist(self) -> "AlignSettings":
        unknown = [symbol for symbol in self.isolated_atoms_eV if not atomic_numbers.get(symbol)]
        if unknown:
            raise ValueError(f"isolated_atoms_eV: expected symbols such as Na, received {', '.join(unknown)}")
        for symbol, energy in self.isolated_atoms_eV.items():
            largest = largest_energy_eV(np.array([atomic_numbers[symbol]]))
            if abs(energy) > largest:
                raise ValueError(
                    f"isolated_atoms_eV: received {energy:.3g} eV for {symbol}, expected at most {largest:.2g} eV in "
                    "size (about twice its total electronic energy)"
                )
        return self


class StopSettings(Settings):
    """When the campaign ends before its last round; without this block it runs all ``rounds``.

    The quality criteria given here must all hold; each budget ends the campaign by itself.
    """

    trusted_fraction: float | None = Field(None, gt=0, le=1)
    """At least this share of the explored frames is trusted, in each of the last ``over_rounds`` rounds."""
    time_to_suspect_ps: float | None = Field(None, gt=0)
    """The median time until a trajectory's first untrusted frame is at least this long, in the same rounds."""
    over_rounds: int = Field(1, ge=1, le=10_000)
    """Number of last rounds in which trusted_fraction and time_to_suspect_ps must hold."""
    guarantee_proven: bool = False
    """The error guarantee (tolerance at the confidence) is proven on the calibration frames, and the coverage of the
    test frames does not contradict it."""
    labels: int | None = Field(None, ge=1)
    """Budget of DFT labels in total, held-out frames and failed calculations included; never exceeded."""
    label_core_hours: float | None = Field(None, gt=0)
    """Budget of core hours of all calculations. The number of labels of a round follows from the mean cost so far, so
    that the budget is exceeded by no more than costs scatter. The first round waits for the first label; the engine's
    estimate is used only if no label is being calculated."""


class SelectSettings(Settings):
    """Which suspect frames are sent to DFT."""

    labels_per_round: int = Field(12, ge=1, le=100_000)
    """Largest number of labels per round; training holds the derivatives of all labels in memory."""
    audit_fraction: float = Field(0.05, ge=0, le=1)
    """Share of the labels for frames drawn at random, which keeps error statistics unbiased."""
    unphysical_quota: int = Field(2, ge=0, le=100_000)
    """Largest number of frames per round that are unphysical but computable."""
    uncertainty_power: float = Field(1.0, ge=0, le=4)
    """A frame's distance to labelled frames is multiplied by its uncertainty to this power; 0 ignores uncertainty."""
    near_duplicate_distance: float = Field(0.02, ge=0, lt=1)
    """Frames closer than this to a labelled or selected frame are not sent; 1 is the typical distance of two frames of
    that composition. The rest of the budget is then not spent."""


class GateSettings(Settings):
    """When a frame is trusted, suspect or discarded."""

    force_tolerance_eV_per_A: float = Field(0.15, gt=0)
    """Largest force error on any atom that you accept. It may be changed between two runs of a campaign, for the models
    that are trained from the next round on."""
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
    """The fit of the heads on cached features and tangents, adaptation of the foundation, and where they run."""

    adapt: AdaptMode = "auto"
    """Whether the foundation's own weights are adapted before the heads, which takes an open foundation. never: heads
    only. auto: when fewer calibration frames than gate.confidence are within gate.force_tolerance_eV_per_A, and the
    heads' force error on them with half of the labels is at most 1.3 times that with all, so that more labels would
    help slowly; of the two candidates the better on calibration frames is kept. always: in every round, without
    comparison. A started campaign may change it."""
    adaptation: AdaptSettings = AdaptSettings()
    """How the weights are adapted."""
    queue: StageQueueSettings | None = Field(None, exclude=True)  # where it runs does not change the fit
    """Run each training, with its foundation evaluations, as one job of a cluster's queue."""

    @property
    def fit(self) -> TrainingSettings:
        """The fit of the heads alone."""
        return TrainingSettings(**{name: getattr(self, name) for name in TrainingSettings.model_fields})


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
