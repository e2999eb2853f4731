"""Whether the frames of a round come from the calibrated conditions, and the guarantee condition by condition."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from al_loop.records import Role
from al_loop.stages.evaluate.errors import HeldOutEvaluation, condition_of
from committee.potential import CommitteePotential
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import DriftTest, decorrelated_every

MIN_FRAMES = 8  # uncorrelated frames of a round below which nothing is said


def explored_conditions(
    model: CommitteePotential, explored: Sequence[tuple[str, float, float | None]]
) -> dict[str, Any]:
    """Compare the frames of a round with the calibration frames of the model that explored them.

    Largest latent distance and frame uncertainty are tested each at half the probability of a false alarm. Where the
    correlation along the trajectories is not known, only the last frame of each is used.

    Args:
        model: which explored.
        explored: trajectory, largest latent distance and uncertainty (eV/Å; None if it was not computed) of each
            physical frame, in the order of the steps.

    Returns:
        ``state`` (not tested, inside or outside), the sentence ``text``, and the numbers of the test; plain JSON.
    """
    scores, calibration = model.calibration_scores, model.calibration
    if scores is None or not scores.latent_distance or calibration is None:
        return {"state": "not tested", "text": "the model that explored was not calibrated"}
    series: dict[str, list[tuple[float, float | None]]] = {}
    for trajectory, distance, uncertainty in explored:
        series.setdefault(trajectory, []).append((distance, uncertainty))
    stride = decorrelated_every([[distance for distance, _ in frames] for frames in series.values()])
    test = DriftTest(scores, stride=stride or 1)
    for frames in series.values():
        test.restart()
        for distance, uncertainty in frames if stride is not None else frames[-1:]:
            test.add(distance, uncertainty)
    report = test.report
    if not report.outside and report.used < MIN_FRAMES:
        return {"state": "not tested", "text": f"{report.used} uncorrelated frames of the round are too few to tell"}
    state = "outside" if report.outside else "inside"
    return {"state": state, "text": _text(test, calibration), **asdict(report)}


def guarantee_by_condition(
    evaluation: HeldOutEvaluation, calibration: Calibration, calibrated: Sequence[str], explored: Iterable[str]
) -> dict[str, Any]:
    """Count trusted and exceeding test frames of each condition (structure and temperature), as plain JSON.

    Args:
        evaluation: of the served model.
        calibration: of the served model.
        calibrated: condition of each frame that the served model was calibrated on.
        explored: trajectories of the round; a condition of theirs without held-out frames is counted with zeros.
    """
    conditions = np.array([condition_of(frame.trajectory) for frame in evaluation.frames])
    values = evaluation.atom_errors(), evaluation.atom_uncertainties(), evaluation.atom_distances()
    test, calibrating = evaluation.has_role(Role.TEST), Counter(calibrated)
    known = {*conditions[test].tolist(), *calibrating, *map(condition_of, explored)}
    counted = {}
    for condition in sorted(known):
        mine = np.flatnonzero(test & (conditions == condition))
        counts = calibration.coverage(*([of_frame[i] for i in mine] for of_frame in values))
        counted[condition] = {
            "calibration_frames": calibrating[condition],
            "frames": counts.frames,
            "trusted": counts.trusted,
            "exceeding": counts.trusted_exceeding,
            "upper_bound": counts.trusted_error_bound,
        }
    return counted


def without_calibration(by_condition: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a sentence on the conditions that the served model is not calibrated on; empty if there are none.

    Args:
        by_condition: as ``guarantee_by_condition`` returns it.
    """
    missing = [condition for condition, counts in by_condition.items() if not counts["calibration_frames"]]
    if not missing:
        return ""
    return (
        f"the served model is not calibrated on frames of {', '.join(missing)}: there the guarantee is an estimate "
        "only, until a later model is promoted or al-loop recalibrate is run on such frames"
    )


def _text(test: DriftTest, calibration: Calibration) -> str:
    report = test.report
    odds = f"false alarms in {report.false_alarm_probability:.3g} of rounds at most"
    if not report.outside:
        return f"{report.used} uncorrelated explored frames show no difference from the calibration frames ({odds})"
    return (
        f"the explored frames are outside the calibrated conditions (by the {report.score}; {odds}): the guarantee of "
        f"{calibration.tolerance_eV_per_A:g} eV/Å is withdrawn for them, until a model is promoted that is calibrated "
        "at these conditions (explore.temperatures_K), or al-loop recalibrate is run on such frames"
    )
