"""Stress parity, and calibration of the uncertainty."""

from typing import Any

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from al_loop.report.scatter import TEST
from al_loop.report.style import INK, SERVED, axes, png

Arrays = dict[str, NDArray[Any]]


def stress_parity(evaluation: Arrays) -> bytes | None:
    """Stress components of the test frames; None where code or model has no stress."""
    test = evaluation["role"] == TEST
    dft, served = (evaluation[f"stress_{name}"][test].ravel() / GPa for name in ("dft", "served"))
    finite = np.isfinite(dft) & np.isfinite(served)
    if not finite.any():
        return None
    dft, served = dft[finite], served[finite]
    low, high = float(min(dft.min(), served.min())), float(max(dft.max(), served.max()))
    pad = 0.05 * (high - low) or 1.0
    with axes("Stress on test frames") as panel:
        panel.plot([low - pad, high + pad], [low - pad, high + pad], color=INK, linewidth=0.8, zorder=1)
        label = f"served, MAE {np.abs(served - dft).mean():.3g} GPa"
        panel.scatter(dft, served, s=9, alpha=0.55, color=SERVED, linewidths=0, label=label)
        panel.set_aspect("equal")
        panel.set_xlabel("DFT stress component (GPa)")
        panel.set_ylabel("predicted (GPa)")
        panel.legend(loc="upper left", markerscale=1.8, handletextpad=0.2)
        return png(panel)


def calibration_curve(evaluation: Arrays) -> bytes | None:
    """Share of test frames whose largest force error is below z times the uncertainty, for growing z.

    A steep rise to 1 near z = 1 is an uncertainty of the right size; a late one means that it is too small.
    """
    sigma, error = evaluation["uncertainty"], evaluation["max_force_error"]
    usable = (evaluation["role"] == TEST) & np.isfinite(sigma) & np.isfinite(error) & (sigma > 0)
    if not usable.any():
        return None
    ratios = np.sort(error[usable] / sigma[usable])
    count = len(ratios)
    with axes(f"Error over uncertainty, {count} test frames") as panel:
        panel.step(ratios, np.arange(1, count + 1) / count, where="post", color=SERVED, marker=".", markersize=4)
        panel.axvline(1.0, color=INK, linestyle="--", linewidth=1.0)
        panel.set_xscale("log" if ratios[0] > 0 else "linear")
        panel.margins(x=0.08)
        panel.set_ylim(0, 1.04)
        panel.set_xlabel("largest force error / uncertainty")
        panel.set_ylabel("share of test frames below")
        return png(panel)
