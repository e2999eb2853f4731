"""What the tables of a report hold, derived from plain data: totals, alarms, costs, models, errors by element."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.stats import binomtest

from al_loop.ledger import Ledger, ModelRecord
from al_loop.records import GateCheck, LabelledFrame, Role, RoundReport
from al_loop.stages.label.quarantine import failure_kind
from committee.uncertainty.calibration import Calibration

TEST, CALIBRATION, NEVER_TRAINED = 0, 1, 2  # codes of the array "role" of an evaluation

_NUMBER = re.compile(r"(?<![A-Za-z])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class PhysicsAlarm:
    """One kind of failure of the physics check in one round.

    Attributes:
        round: the round.
        kind: ``suspect`` or ``discard``.
        reason: with # in place of each number.
        example: one full reason.
        frames: number of frames.
    """

    round: int
    kind: str
    reason: str
    example: str
    frames: int


def physics_alarms(ledger: Ledger) -> list[PhysicsAlarm]:
    """Return the failures of all rounds, the most frequent of each round first."""
    alarms: list[PhysicsAlarm] = []
    for round_ in ledger.rounds():
        counts: Counter[tuple[str, str]] = Counter()
        examples: dict[tuple[str, str], str] = {}
        for kind, reason, frames in ledger.check_reasons(round_, Role.EXPLORE, GateCheck.PHYSICS):
            key = (kind.value, _NUMBER.sub("#", reason))
            counts[key] += frames
            examples.setdefault(key, reason)
        alarms += [PhysicsAlarm(round_, *key, examples[key], frames) for key, frames in counts.most_common()]
    return alarms


@dataclass(frozen=True)
class LabelCosts:
    """Calculations of one round that have ended, failures included; wall times in s, and counts by kind of failure."""

    round: int
    calculations: int
    total_s: float
    median_s: float
    longest_s: float
    failed_s: float
    failures: dict[str, int]


def label_costs(ended: Sequence[LabelledFrame]) -> list[LabelCosts]:
    """Return the costs by round, in order."""
    found = []
    for round_ in sorted({frame.round for frame in ended}):
        frames = [frame for frame in ended if frame.round == round_]
        failed = [frame for frame in frames if not frame.converged]
        costs = [frame.label.cost_s for frame in frames]
        failed_s = sum(frame.label.cost_s for frame in failed)
        kinds = dict(Counter(str(failure_kind(frame)) for frame in failed))
        found.append(LabelCosts(round_, len(frames), sum(costs), median(costs), max(costs), failed_s, kinds))
    return found


@dataclass(frozen=True)
class TrainedModel:
    """One trained committee.

    Attributes:
        model_id: content hash.
        round: the round that trained it.
        labels: number of training labels, None if not recorded.
        foundation: name of the foundation under its heads.
        fate: the rounds in which it was served, or rejected and the model that was kept.
        served: it is the currently served model.
        reason: why it was promoted or not.
    """

    model_id: str
    round: int
    labels: int | None
    foundation: str
    fate: str
    served: bool
    reason: str


def lineage(models: Sequence[ModelRecord], rounds: Sequence[RoundReport]) -> list[TrainedModel]:
    """Return all committees in the order of the rounds, without the foundation."""
    reasons = {report.round: report.promotion_reason for report in rounds}
    promoted = sorted((m for m in models if m.served_since is not None), key=lambda m: m.served_since or 0)
    latest = promoted[-1].model_id if promoted else None
    return [
        TrainedModel(
            model_id=model.model_id,
            round=model.round,
            labels=model.info.get("labels"),
            foundation=model.info.get("foundation", ""),
            fate=_fate(model, promoted, decided=model.round in reasons),
            served=model.model_id == latest,
            reason=reasons.get(model.round, ""),
        )
        for model in models
    ]


def _fate(model: ModelRecord, promoted: Sequence[ModelRecord], *, decided: bool) -> str:
    if model.served_since is None:
        before = [m for m in promoted if (m.served_since or 0) <= model.round]
        stays = f"the model of round {before[-1].round}" if before else "the foundation"
        return f"rejected; {stays} stays" if decided else "not evaluated yet"
    after = [m for m in promoted if (m.served_since or 0) > model.served_since]
    until = f", replaced in round {after[0].served_since}" if after else ", served now"
    return f"promoted in round {model.served_since}{until}"


@dataclass(frozen=True)
class ElementError:
    """Mean absolute errors (eV/Å) of the force components on the atoms of one element, and what they rest on."""

    symbol: str
    atoms: int
    frames: int
    foundation: float
    served: float


def element_errors(evaluation: dict[str, NDArray[Any]]) -> list[ElementError]:
    """Return the errors on test frames and those never trained on, in the order of atomic numbers."""
    if not evaluation:
        return []
    index, numbers = evaluation["frame_index"], evaluation["atomic_numbers"]
    measured = np.isin(evaluation["role"], (TEST, NEVER_TRAINED))[index]
    dft = evaluation["forces_dft"]
    errors = [np.abs(evaluation[f"forces_{name}"] - dft) for name in ("foundation", "served")]
    found = []
    for number in sorted({int(n) for n in numbers[measured]}):
        mine = measured & (numbers == number)
        means = (float(error[mine].mean()) for error in errors)
        found.append(ElementError(chemical_symbols[number], int(mine.sum()), len(set(index[mine])), *means))
    return found


def threshold_of(report: RoundReport | None) -> float | None:
    """Return the force uncertainty (eV/Å) above which a frame is suspect, None before calibration."""
    value = report.guarantee.get("threshold_eV_per_A") if report else None
    return float(value) if value is not None else None


def calibration_of(report: RoundReport | None) -> Calibration | None:
    """Return the served model's calibration after a round, None before there is one."""
    values = report.guarantee.get("calibration") if report else None
    return None if values is None else Calibration.from_dict(values)


def totals_of(rounds: Sequence[RoundReport]) -> dict[str, float]:
    """Return sums over rounds: frames, labels, failed and held-out labels, seconds."""
    return {
        "frames": sum(report.frames for report in rounds),
        "labels": sum(report.labels for report in rounds),
        "failed": sum(report.labels_failed for report in rounds),
        "held_out": sum(report.labels_held_out for report in rounds),
        "seconds": sum(sum(report.seconds.values()) for report in rounds),
    }


def coverage_interval(report: RoundReport) -> tuple[float, float] | None:
    """Return the 95 % Wilson score interval of the coverage, None before there is one."""
    frames, share = report.coverage_frames, report.coverage
    if share is None or frames == 0 or not math.isfinite(share):
        return None
    interval = binomtest(round(share * frames), frames).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
