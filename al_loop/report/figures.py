"""Figures over rounds, and all figures of a report. Each takes plain data and returns a PNG, or None without data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from al_loop.records import RoundReport
from al_loop.report.probability import probability_curve
from al_loop.report.scatter import (
    calibration_curve,
    element_bars,
    energy_parity,
    force_parity,
    stress_parity,
    uncertainty_against_error,
)
from al_loop.report.selected_frames import AuditError
from al_loop.report.style import ACCENT, CHECKS, FOUNDATION, SERVED, axes, legend_beside_title, plain_log_ticks, png
from al_loop.report.tables import calibration_of, element_errors, threshold_of


def figures_of(
    config: Mapping[str, Any],
    rounds: Sequence[RoundReport],
    evaluation: dict[str, Any],
    audit: Sequence[AuditError] = (),
) -> dict[str, bytes | None]:
    """Return every figure as a PNG, None without data; the evaluation is empty while no held-out frame is labelled."""
    figures = {
        "learning_forces": learning_curve(rounds, "force_mae", "Forces against DFT", "eV/Å", audit=audit),
        "learning_energy": learning_curve(rounds, "energy_mae", "Energy against DFT", "meV/atom", 1000.0),
        "verdicts": verdict_bars(rounds),
        "seconds": seconds_bars(rounds),
        **dict.fromkeys(("force_parity", "energy_parity", "stress_parity", "elements")),
        **dict.fromkeys(("uncertainty", "calibration", "probability")),
    }
    if evaluation:
        last = rounds[-1] if rounds else None
        calibration = calibration_of(last)
        at_first = float(config.get("gate", {}).get("force_tolerance_eV_per_A", math.nan))
        tolerance = at_first if calibration is None else calibration.tolerance_eV_per_A
        figures |= {
            "force_parity": force_parity(evaluation),
            "energy_parity": energy_parity(evaluation),
            "stress_parity": stress_parity(evaluation),
            "uncertainty": uncertainty_against_error(evaluation, tolerance, threshold_of(last)),
            "probability": probability_curve(evaluation, calibration),
            "calibration": calibration_curve(evaluation),
            "elements": element_bars(element_errors(evaluation)),
        }
    return figures


def learning_curve(
    rounds: Sequence[RoundReport],
    quantity: str,
    title: str,
    unit: str,
    factor: float = 1.0,
    audit: Sequence[AuditError] = (),
) -> bytes | None:
    """Held-out error of foundation and served model against the number of training labels so far.

    Args:
        rounds: finished rounds in order.
        quantity: ``force_mae`` or ``energy_mae``.
        title: heading.
        unit: of the plotted numbers.
        factor: from the stored unit to the plotted one.
        audit: errors on random audits, each shown at the labels that its model was trained on.
    """
    labels = np.cumsum([report.labels for report in rounds])
    measured = [(n, r.held_out) for n, r in zip(labels, rounds, strict=True) if r.held_out is not None]
    if not measured:
        return None
    x = [int(n) for n, _ in measured]
    before = {report.round: int(n) - report.labels for n, report in zip(labels, rounds, strict=True)}
    audited = [(before[error.round], error.served) for error in audit if error.round in before]
    with axes(title) as panel:
        for name, colour, marker in (("foundation", FOUNDATION, "s"), ("served", SERVED, "o")):
            y = [factor * getattr(figures, f"{quantity}_{name}") for _, figures in measured]
            panel.plot(x, y, marker=marker, color=colour, label=name, clip_on=False, markersize=5)
            place: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
            panel.annotate(f"{y[-1]:.3g}", (x[-1], y[-1]), color=colour, **place)
        if audited:
            panel.plot(*zip(*audited, strict=True), "--D", color=ACCENT, label="random audit", markersize=5)
        if any(y > 0 for line in panel.lines for y in np.asarray(line.get_ydata())):  # a lone atom's forces are all 0
            panel.set_yscale("log")
            plain_log_ticks(panel.yaxis)
        panel.set_xlabel("training labels")
        panel.set_ylabel(f"mean absolute error ({unit})")
        panel.set_xticks(sorted({*x, *(n for n, _ in audited)}))
        panel.margins(x=0.1, y=0.15)
        if audited:  # three names beside the title would cover it
            panel.legend(loc="best")
        else:
            legend_beside_title(panel)
        return png(panel)


def verdict_bars(rounds: Sequence[RoundReport]) -> bytes | None:
    """Stacked verdict counts by check for each round; discarded frames are hatched."""
    if not any(report.frames for report in rounds):
        return None
    x = np.arange(len(rounds))
    floor = np.zeros(len(rounds))
    shown: dict[str, Patch] = {}
    with axes("Verdicts by check") as panel:
        for check, (name, colour) in CHECKS.items():
            for kind in ("trusted", "suspect", "discard"):
                heights = np.array([r.verdicts_by_check.get(check, {}).get(kind, 0) for r in rounds], dtype=float)
                if not heights.any():
                    continue
                hatch = "////" if kind == "discard" else None
                style: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.8}
                panel.bar(x, heights, 0.62, bottom=floor, **style)
                floor += heights
                shown.setdefault(name, Patch(facecolor=colour, label=name))
        panel.set_xticks(x, [str(report.round) for report in rounds])
        panel.set_xlim(-0.6, max(len(rounds), 3) - 0.4)
        panel.grid(visible=False, axis="x")
        panel.set_xlabel("round")
        panel.set_ylabel("frames")
        panel.set_ylim(0, max(floor.max(), 1) * 1.05)
        if any(report.verdicts.get("discard") for report in rounds):
            shown["discarded"] = Patch(facecolor="#d5d9de", hatch="////", edgecolor="white", label="discarded")
        panel.legend(handles=list(shown.values()), loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return png(panel)


def seconds_bars(rounds: Sequence[RoundReport]) -> bytes | None:
    """Stacked wall time by stage for each round."""
    stages = list(dict.fromkeys(stage for report in rounds for stage in report.seconds))
    if not stages:
        return None
    y = np.arange(len(rounds))
    left = np.zeros(len(rounds))
    colours = ["#1b5e9b", "#6f9bc4", "#4f8a72", "#a7c4b5", "#b4542d", "#dba98f", "#7a6aa8", "#b9bfc7"]
    with axes("Wall time by stage") as panel:
        for index, stage in enumerate(stages):
            widths = np.array([report.seconds.get(stage, 0.0) for report in rounds])
            colour = colours[index % len(colours)]
            panel.barh(y, widths, 0.6, left=left, color=colour, label=stage, edgecolor="white", linewidth=0.8)
            left += widths
        panel.set_yticks(y, [str(report.round) for report in rounds])
        panel.set_ylim(max(len(rounds), 3) - 0.4, -0.6)
        panel.grid(visible=False, axis="y")
        panel.set_xlabel("wall time (s)")
        panel.set_ylabel("round")
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return png(panel)
