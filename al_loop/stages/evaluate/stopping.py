"""Stop criteria of a campaign, evaluated on the reports of its rounds, and how long its trajectories are trusted."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from al_loop.config import Config, StopSettings
from al_loop.records import RoundReport, TimeToSuspect, VerdictKind

STOPPED = "stopped early"  # kind of event


def stop_reason(settings: StopSettings, confidence: float, reports: Sequence[RoundReport]) -> str:
    """The reason why the campaign ends after these rounds, in one sentence; empty if it continues."""
    spent = list(_spent(settings, reports))
    if spent:
        return "; ".join(spent)
    criteria = list(_converged(settings, confidence, reports))
    if criteria and all(fulfilled for fulfilled, _ in criteria):
        return "; ".join(sentence for _, sentence in criteria)
    return ""


def stopped_early(config: Config, reports: Sequence[RoundReport]) -> str:
    """The criterion of ``stop`` that ends a campaign with these finished rounds before its last one; empty if none."""
    if not reports or len(reports) >= config.rounds:
        return ""
    return stop_reason(config.stop, config.gate.confidence, reports)


def requested_labels(reports: Sequence[RoundReport]) -> int:
    """Number of calculations of these rounds, failures included."""
    return sum(report.labels + report.labels_held_out + report.labels_failed for report in reports)


def _spent(settings: StopSettings, reports: Sequence[RoundReport]) -> Iterator[str]:
    labels, hours = requested_labels(reports), sum(report.label_core_hours for report in reports)
    if settings.labels is not None and labels >= settings.labels:
        yield f"the budget of stop.labels is used up: {labels} of {settings.labels}"
    if settings.label_core_hours is not None and hours + hours / max(labels, 1) > settings.label_core_hours:
        yield (
            f"the budget of stop.label_core_hours is used up: {hours:.3g} of {settings.label_core_hours:g} core hours, "
            f"and a label costs {hours / max(labels, 1):.2g}"
        )


def _converged(settings: StopSettings, confidence: float, reports: Sequence[RoundReport]) -> Iterator[tuple[bool, str]]:
    last = reports[-settings.over_rounds :]
    enough = len(last) == settings.over_rounds
    over = f"in the last {settings.over_rounds} rounds" if settings.over_rounds > 1 else f"in round {last[-1].round}"
    if settings.trusted_fraction is not None:
        share = min(report.trusted_fraction for report in last)
        sentence = f"at least {share:.0%} of the explored frames are trusted {over}"
        yield (
            enough and share >= settings.trusted_fraction,
            f"{sentence} (stop.trusted_fraction requires {settings.trusted_fraction:.0%})",
        )
    if settings.time_to_suspect_ps is not None:
        times = [report.time_to_suspect for report in last]
        shortest = min((time.median_ps for time in times if time is not None), default=0.0)
        fulfilled = enough and None not in times and shortest >= settings.time_to_suspect_ps
        sentence = f"the median trajectory is trusted for at least {shortest:.3g} ps {over}"
        yield fulfilled, f"{sentence} (stop.time_to_suspect_ps requires {settings.time_to_suspect_ps:g})"
    if settings.guarantee_proven:
        yield _guarantee(confidence, reports[-1])


def _guarantee(confidence: float, report: RoundReport) -> tuple[bool, str]:
    """Proven, and not contradicted by test frames: the 95 % upper bound of their coverage reaches the confidence.

    A condition that the served model is not calibrated on leaves the guarantee unproven there.
    """
    by_condition = report.guarantee.get("by_condition", {}).values()
    everywhere = all(counts["calibration_frames"] for counts in by_condition)
    if report.coverage is None or not report.guarantee.get("proven") or not everywhere:
        return False, ""
    covered = round(report.coverage * report.coverage_frames)
    from committee.uncertainty.conformal import (
        clopper_pearson_upper,  # loads scipy.stats: half a second of every `al-loop status`
    )

    fulfilled = clopper_pearson_upper(covered, report.coverage_frames) >= confidence
    return fulfilled, (
        f"the guarantee is proven at {confidence:.0%} and {covered} of {report.coverage_frames} test frames are within "
        f"the calibrated bound (stop.guarantee_proven)"
    )


def time_to_suspect(visits: Iterable[tuple[str, int, VerdictKind]], timestep_fs: float) -> TimeToSuspect | None:
    """Median over trajectories of the time until the first frame that is not trusted; None without trajectories.

    A trajectory that was trusted to its end counts with its length, which its true time is at least. ``visits`` are
    trajectory, MD step and verdict of each gated frame, in any order.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for trajectory, step, kind in visits:
        last[trajectory] = max(step, last.get(trajectory, 0))
        if kind is not VerdictKind.TRUSTED:
            first[trajectory] = min(step, first.get(trajectory, step))
    if not last:
        return None
    times_ps = np.array([first.get(name, last[name]) for name in last]) * timestep_fs / 1000
    never = [name for name in last if name not in first]
    median_ps = float(np.median(times_ps))
    open_end = any(last[name] * timestep_fs / 1000 <= median_ps for name in never)
    return TimeToSuspect(median_ps, len(last), len(never), at_least=open_end)
