"""Errors of a round on held-out frames, and the complete report of a round."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_loop.config import Config
from al_loop.gate.achievable_tolerance import achievable_tolerance, out_of_reach
from al_loop.records import ErrorFigures, LabelledFrame, Role, RoundReport, VerdictKind
from al_loop.stages.evaluate.conditions import guarantee_by_condition, without_calibration
from al_loop.stages.evaluate.errors import HeldOutEvaluation
from al_loop.stages.evaluate.stopping import time_to_suspect
from al_loop.stages.label.quarantine import quarantined_as_dict
from al_loop.stages.label.resources import label_cores
from committee.uncertainty.calibration import Calibration

_Values = list[NDArray[np.float64]]


def held_out_figures(
    evaluation: HeldOutEvaluation | None,
    calibration: Calibration | None,
    explored: Mapping[str, Any],
    calibrated: Sequence[str] = (),
    trajectories: Sequence[str] = (),
) -> dict[str, Any]:
    """Errors, coverage and guarantee on held-out frames, as plain JSON.

    Args:
        evaluation: the served model on all held-out frames; None if none is labelled.
        calibration: of the served model; None before the first training.
        explored: whether the round's frames are inside the calibrated conditions (``explored_conditions``).
        calibrated: condition of each frame that the served model was calibrated on.
        trajectories: that the round explored.
    """
    if evaluation is None:
        return {"held_out": None, "never_trained": {}, "coverage": None, "coverage_frames": 0, "guarantee": {}}
    test = evaluation.has_role(Role.TEST)
    apart = evaluation.has_role(Role.NEVER_TRAINED)
    figures = _reliability(evaluation, calibration, test)
    guarantee = {**figures["guarantee"], "explored": dict(explored)}
    remarks = [guarantee["text"]]
    if calibration is not None:
        guarantee["by_condition"] = guarantee_by_condition(evaluation, calibration, calibrated, trajectories)
        remarks.append(without_calibration(guarantee["by_condition"]))
    if explored["state"] == "outside":
        remarks.append(explored["text"])
    guarantee["text"] = "; ".join(filter(None, remarks))
    systems = sorted({frame.system for frame, chosen in zip(evaluation.frames, apart, strict=True) if chosen})
    return {
        "held_out": _plain(evaluation.figures(test)),
        "never_trained": {name: _plain(evaluation.figures(apart & evaluation.is_system(name))) for name in systems},
        **figures,
        "guarantee": guarantee,
    }


@dataclass(frozen=True)
class Gated:
    """The gate's verdicts on the explored frames of a round.

    Attributes:
        by_check: deciding check -> kind -> count.
        checks: check -> kind -> count of the verdicts of each check on its own.
        verdicts: trajectory, step and verdict of every frame.
    """

    by_check: dict[str, dict[str, int]]
    checks: dict[str, dict[str, int]]
    verdicts: Sequence[tuple[str, int, VerdictKind]]


def round_report(
    config: Config,
    round_: int,
    gated: Gated,
    ended: Sequence[LabelledFrame],
    stages: Mapping[str, Mapping[str, Any]],
    seconds: Mapping[str, float],
) -> RoundReport:
    """Return the report of a finished round.

    Args:
        config: the campaign.
        round_: the round.
        gated: the gate's verdicts.
        ended: all finished labels of the round, failed ones included.
        stages: results of its stages, by name.
        seconds: wall time by stage.
    """
    totals = {kind.value: sum(counts.get(kind.value, 0) for counts in gated.by_check.values()) for kind in VerdictKind}
    figures, promotion = stages["evaluate"], stages["promote"]
    held_out = figures["held_out"]
    time_passes = config.explore.ensemble != "relax"
    return RoundReport(
        round=round_,
        frames=sum(totals.values()),
        verdicts=totals,
        verdicts_by_check=gated.by_check,
        labels=sum(f.converged and f.role is Role.EXPLORE for f in ended),
        labels_failed=sum(not f.converged for f in ended),
        labels_held_out=sum(f.converged and f.role is not Role.EXPLORE for f in ended),
        held_out=ErrorFigures(**held_out) if held_out else None,
        never_trained={name: ErrorFigures(**values) for name, values in figures["never_trained"].items()},
        coverage=figures["coverage"],
        coverage_frames=figures["coverage_frames"],
        guarantee=figures["guarantee"],
        promoted=bool(promotion["promoted"]),
        promotion_reason=str(promotion["reason"]),
        seconds=dict(seconds),
        quarantined=[quarantined_as_dict(f) for f in ended if not f.converged],
        criteria=list(promotion["criteria"]),
        time_to_suspect=time_to_suspect(gated.verdicts, config.explore.timestep_fs) if time_passes else None,
        checks=gated.checks,
        adaptation=stages["train"]["adaptation"] or {},
        label_core_hours=sum(f.label.cost_s for f in ended) * label_cores(config.label) / 3600,
    )


def _reliability(
    evaluation: HeldOutEvaluation, calibration: Calibration | None, test: NDArray[np.bool_]
) -> dict[str, Any]:
    """Coverage of the calibrated bound on test frames, and of the tolerance among trusted ones."""
    if calibration is None or not test.any():
        return {"coverage": None, "coverage_frames": 0, "guarantee": {"text": "not enough labels yet"}}
    counted = calibration.coverage(*_per_frame(evaluation, test))
    calibrating = _per_frame(evaluation, evaluation.has_role(Role.CALIBRATION))
    reachable = achievable_tolerance(*calibrating, calibration.confidence)
    beyond = out_of_reach(calibration, reachable)
    known = calibration.quantile is not None
    return {
        "coverage": counted.marginal if known else None,
        "coverage_frames": counted.frames if known else 0,
        "guarantee": {
            "text": f"{calibration.summary}; {beyond}" if beyond else calibration.summary,
            "proven": calibration.guarantee_proven,
            "no_frame_trusted": calibration.trusted == 0,
            "threshold_eV_per_A": calibration.trust_threshold,
            "calibration": calibration.to_dict(),
            "test_frames": counted.frames,
            "trusted": counted.trusted,
            "exceeding": counted.trusted_exceeding,
            "upper_bound": counted.trusted_error_bound,
            "reachable_tolerance_eV_per_A": reachable,
        },
    }


def _per_frame(evaluation: HeldOutEvaluation, chosen: NDArray[np.bool_]) -> tuple[_Values, _Values, _Values]:
    """Errors, uncertainties and latent distances of the atoms of selected frames."""

    def of(values: _Values) -> _Values:
        return [values[i] for i in np.flatnonzero(chosen)]

    return of(evaluation.atom_errors()), of(evaluation.atom_uncertainties()), of(evaluation.atom_distances())


def _plain(figures: ErrorFigures | None) -> dict[str, Any] | None:
    return None if figures is None else asdict(figures)
