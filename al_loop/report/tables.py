"""Figures, totals and intervals derived from the data of a report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from al_loop.records import RoundReport
from al_loop.report.elements import element_bars, element_errors
from al_loop.report.figures import learning_curve, seconds_bars, verdict_bars
from al_loop.report.reliability import calibration_curve, stress_parity
from al_loop.report.scatter import energy_parity, force_parity, uncertainty_against_error
from al_loop.report.selected_frames import AuditError

_Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution


def figures_of(
    config: Mapping[str, Any],
    rounds: Sequence[RoundReport],
    evaluations: Mapping[int, dict[str, Any]],
    audit: Sequence[AuditError] = (),
) -> dict[str, bytes | None]:
    """Return every figure as a PNG, None without data."""
    figures = {
        "learning_forces": learning_curve(rounds, "force_mae", "Forces against DFT", "eV/Å", audit=audit),
        "learning_energy": learning_curve(rounds, "energy_mae", "Energy against DFT", "meV/atom", 1000.0),
        "verdicts": verdict_bars(rounds),
        "seconds": seconds_bars(rounds),
        "force_parity": None,
        "energy_parity": None,
        "stress_parity": None,
        "uncertainty": None,
        "calibration": None,
        "elements": None,
    }
    if evaluations:
        latest = evaluations[max(evaluations)]
        tolerance = float(config.get("gate", {}).get("force_tolerance_eV_per_A", math.nan))
        figures["force_parity"] = force_parity(latest)
        figures["energy_parity"] = energy_parity(latest)
        figures["stress_parity"] = stress_parity(latest)
        figures["calibration"] = calibration_curve(latest)
        figures["elements"] = element_bars(element_errors(latest))
        figures["uncertainty"] = uncertainty_against_error(
            latest, tolerance, threshold_of(rounds[-1] if rounds else None)
        )
    return figures


def threshold_of(report: RoundReport | None) -> float | None:
    """Return the force uncertainty (eV/Å) above which a frame is suspect, None before calibration."""
    value = report.promise.get("threshold_eV_per_A") if report else None
    return float(value) if value is not None else None


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
    """Return the 95 % Wilson score interval of the coverage, None before there is one.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    n, share = report.coverage_frames, report.coverage
    if share is None or n == 0 or not math.isfinite(share):
        return None
    z2 = _Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
