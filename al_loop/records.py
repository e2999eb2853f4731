"""Plain data types that the stages of the loop exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.frames.own_entries import NO_ENTRIES, OwnEntries
from dft_interfaces.label import Label, LabelStatus

CONTINUED = "/continued"  # suffix of the name of a trajectory that continues one of a former round
AUDIT, UNPHYSICAL, FARTHEST_POINT, REPRESENTATIVE = "audit", "unphysical", "farthest point", "representative"

Array = NDArray[np.float64]


class Role(StrEnum):
    """Purpose of a frame; a label request has the role of its frame."""

    EXPLORE = "explore"  # may be trained on
    TEST = "test"  # measures the error, never trained on
    CALIBRATION = "calibration"  # calibrates the gate, never trained on
    NEVER_TRAINED = "never_trained"  # a molecule or conformer that no model is trained on
    HARVESTED = "harvested"  # found outside the rounds; labels of selected ones are requested as EXPLORE


class VerdictKind(StrEnum):
    """Classification of a frame by the gate."""

    TRUSTED = "trusted"
    SUSPECT = "suspect"
    DISCARD = "discard"


class GateCheck(StrEnum):
    """Check of the gate that a verdict comes from."""

    NONE = "none"
    UNCALIBRATED = "uncalibrated"
    FORCE_UNCERTAINTY = "force_uncertainty"
    LATENT_DISTANCE = "latent_distance"
    PHYSICS = "physics"


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict on one frame.

    Attributes:
        kind: trusted, suspect or discard.
        check: the check that decided (``none`` for a trusted frame).
        reason: one readable sentence.
        atoms: indices of the atoms concerned; empty for the whole frame.
        stop: the trajectory stops at this frame.
    """

    kind: VerdictKind
    check: GateCheck
    reason: str = ""
    atoms: tuple[int, ...] = ()
    stop: bool = False


UNGATED: Final = Verdict(VerdictKind.SUSPECT, GateCheck.NONE, "not evaluated by the gate")


@dataclass(frozen=True)
class Frame:
    """One frame on its way from exploration, or from a file, to label, training and export.

    What nobody knows of a frame has its default: one from a file has no trajectory, one without a label no label.

    Attributes:
        frame_id: content hash of ``atoms`` (``al_loop.utils.content_hash.frame_id``).
        atoms: n atoms, with ``charge`` and ``spin`` in ``atoms.info``, without calculator or velocities.
        role: purpose of the frame.
        system: name of the starting structure.
        trajectory: name of the trajectory in the round, for example ``methanol/600K/0``, or another origin.
        step: MD step.
        temperature_K: the thermostat's temperature.
        verdict: the gate's verdict.
        force_uncertainty_eV_per_A: largest per-atom force uncertainty, None before the first training.
        latent_distance: largest per-atom latent distance, None before the first training.
        frame_uncertainty_eV_per_A: uncertainty of the frame, to which the gate's threshold applies; None without one.
        descriptor: float32, position in latent space (``al_loop.structures.descriptors``); None without a prediction.
        checks: kind and reason of the single checks (physics, force uncertainty, latent distance), of those that
            were evaluated: frames between two full checks have only physics.
        entries: a user's own entries of a frame from a file; stored with the frame when it is new.
        round: the round that explored it or requested its label.
        label: its outcome; of a frame from a file, parts of it may be missing.
        where: file and number of the frame in it, for messages.
        provenance: origin of a frame in a file, plain JSON values as ``al-loop export`` writes them.
    """

    frame_id: str
    atoms: Atoms
    role: Role = Role.EXPLORE
    system: str = ""
    trajectory: str = ""
    step: int = 0
    temperature_K: float = 0.0
    verdict: Verdict = UNGATED
    force_uncertainty_eV_per_A: float | None = None
    latent_distance: float | None = None
    frame_uncertainty_eV_per_A: float | None = None
    descriptor: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    checks: dict[GateCheck, Verdict] = field(default_factory=dict, repr=False)
    entries: OwnEntries = field(default=NO_ENTRIES, repr=False, compare=False)
    round: int = field(default=0, compare=False, kw_only=True)
    label: Label | None = field(default=None, kw_only=True)
    where: str = field(default="", kw_only=True)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False, kw_only=True)

    @property
    def energy_eV(self) -> float:
        """Total energy of the label, NaN if there is none."""
        return np.nan if self.label is None or self.label.energy_eV is None else self.label.energy_eV

    @property
    def forces_eV_per_A(self) -> Array:
        """Forces (n, 3) of the label, NaN if there are none."""
        forces = None if self.label is None else self.label.forces_eV_per_A
        return np.full((len(self.atoms), 3), np.nan) if forces is None else forces

    @property
    def stress_eV_per_A3(self) -> Array:
        """Stress (6,) of the label in ASE's order, NaN if there is none."""
        stress = None if self.label is None else self.label.stress_eV_per_A3
        return np.full(6, np.nan) if stress is None else stress


@dataclass(frozen=True)
class LabelledFrame(Frame):
    """A frame with an outcome: the accepted label, or the last failure."""

    label: Label = field(kw_only=True)

    @property
    def converged(self) -> bool:
        """True if the label may be trained on."""
        return self.label.status is LabelStatus.CONVERGED


@dataclass(frozen=True)
class FrameSummary:
    """What the selection needs of a frame among 10^5, without the structure.

    Attributes:
        frame_id: content hash of the structure.
        formula: chemical formula; only frames of one formula have comparable descriptors.
        descriptor: as of ``Frame``; None too where the foundation refuses the frame.
        kind: the gate's verdict.
        check: the check that decided.
        force_uncertainty_eV_per_A: largest per-atom force uncertainty, None before the first training.
    """

    frame_id: str
    formula: str
    descriptor: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    kind: VerdictKind = UNGATED.kind
    check: GateCheck = UNGATED.check
    force_uncertainty_eV_per_A: float | None = None


@dataclass(frozen=True)
class LabelledSet:
    """All frames of a campaign that have an outcome, up to a round.

    Attributes:
        frames: by round, role and order of their requests, failures included.
    """

    frames: tuple[LabelledFrame, ...]

    @property
    def training(self) -> list[LabelledFrame]:
        """Frames that may be trained on, in an order that does not depend on when labels arrived."""
        return self.with_role(Role.EXPLORE)

    def with_role(self, *roles: Role) -> list[LabelledFrame]:
        """Frames with accepted labels that were requested in a role, by round and frame id."""
        accepted = (frame for frame in self.frames if frame.converged and frame.role in roles)
        return sorted(accepted, key=lambda frame: (frame.round, frame.frame_id))

    def of_round(self, round_: int) -> list[LabelledFrame]:
        """Every outcome of one round."""
        return [frame for frame in self.frames if frame.round == round_]


@dataclass(frozen=True)
class ErrorFigures:
    """Mean absolute errors against DFT on frames that were never trained on.

    Attributes:
        frames: number of frames.
        force_mae_foundation: eV/Å.
        force_mae_served: eV/Å.
        energy_mae_foundation: eV/atom, after the reference shifts (a foundation's zero is not the DFT code's).
        energy_mae_served: eV/atom.
    """

    frames: int
    force_mae_foundation: float
    force_mae_served: float
    energy_mae_foundation: float
    energy_mae_served: float


@dataclass(frozen=True)
class TimeToSuspect:
    """Simulated time of a round's trajectories before the first suspect frame.

    Attributes:
        median_ps: median over the trajectories; one that was trusted to its end counts with its length.
        trajectories: number of trajectories.
        never_suspect: number of trajectories that were trusted to their end.
        at_least: the true median may be longer, since too many were trusted to their end.
    """

    median_ps: float
    trajectories: int
    never_suspect: int
    at_least: bool = False

    def __str__(self) -> str:
        bound = "at least " if self.at_least else ""
        never = f", {self.never_suspect} never suspect" if self.never_suspect else ""
        return f"{bound}{self.median_ps:.3g} ps (median of {self.trajectories} trajectories{never})"


@dataclass(frozen=True)
class RoundReport:
    """Results of a round; ``as_dict`` is the JSON of ``al-loop status --json``.

    Attributes:
        round: number of the round, from 0.
        frames: frames explored and gated.
        verdicts: count of each VerdictKind.
        verdicts_by_check: check that decided -> kind -> count.
        labels: accepted labels of this round that were trained on.
        labels_failed: quarantined frames of this round: they have no label that may be trained on.
        labels_held_out: accepted labels of this round that are never trained on.
        held_out: errors on the test frames, None until they are labelled.
        never_trained: errors on each molecule or conformer that is never trained on.
        coverage: share of test frames whose largest force error is within the calibrated bound, None before that.
        coverage_frames: number of frames behind ``coverage``.
        guarantee: error rate among trusted frames with its upper bound and counts, as text and numbers.
        promoted: the round's candidate is served.
        promotion_reason: why it was promoted, or why not.
        seconds: wall time by stage.
        quarantined: the quarantined frames (``al_loop.stages.label.quarantine.quarantined_as_dict``).
        criteria: of the promotion (``al_loop.stages.promote.criterion.Criterion``, as plain data).
        time_to_suspect: simulated time until the first suspect frame.
        label_core_hours: of all calculations of the round.
        checks: check -> kind -> count, of each check by itself.
        adaptation: decision on the foundation's weights (``al_loop.stages.train.adaptation.AdaptationRecord``, as plain
            data); empty if none had to be taken.
    """

    round: int
    frames: int
    verdicts: dict[str, int]
    verdicts_by_check: dict[str, dict[str, int]]
    labels: int
    labels_failed: int
    labels_held_out: int
    held_out: ErrorFigures | None
    never_trained: dict[str, ErrorFigures]
    coverage: float | None
    coverage_frames: int
    guarantee: dict[str, Any]
    promoted: bool
    promotion_reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    criteria: list[dict[str, Any]] = field(default_factory=list)
    time_to_suspect: TimeToSuspect | None = None
    label_core_hours: float = 0.0
    checks: dict[str, dict[str, int]] = field(default_factory=dict)
    adaptation: dict[str, Any] = field(default_factory=dict)

    @property
    def trusted_fraction(self) -> float:
        """Share of the explored frames that the gate trusts."""
        return self.verdicts.get(VerdictKind.TRUSTED.value, 0) / self.frames if self.frames else 0.0


@dataclass(frozen=True)
class LabelOrigin:
    """Time and worker of a label.

    Attributes:
        time: by the clock of the worker's machine; used only to order labels in messages.
        worker: its name; empty for an imported label.
    """

    time: datetime
    worker: str = ""
