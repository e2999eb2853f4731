"""Figures over held-out frames. Each takes plain data and returns a PNG, or None without data."""

from typing import Any

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from al_loop.report.style import ACCENT, FOUNDATION, GOOD, INK, SERVED, axes, legend_beside_title, plain_log_ticks, png
from al_loop.report.tables import CALIBRATION, NEVER_TRAINED, TEST, ElementError

Arrays = dict[str, NDArray[Any]]
COLOURS = {"foundation": FOUNDATION, "served": SERVED}
_MOST_POINTS = 6000  # more only make the page heavy


def force_parity(evaluation: Arrays) -> bytes | None:
    """Force components of the test frames: models against DFT."""
    atoms = (evaluation["role"] == TEST)[evaluation["frame_index"]]
    if not atoms.any():
        return None
    dft = evaluation["forces_dft"][atoms].ravel()
    models = {name: evaluation[f"forces_{name}"][atoms].ravel() for name in ("foundation", "served")}
    return _parity("Forces on test frames", "force component", "eV/Å", dft, models)


def energy_parity(evaluation: Arrays) -> bytes | None:
    """Energies per atom of the test frames above the reference shifts, relative to DFT's mean."""
    frames = evaluation["role"] == TEST
    if not frames.any():
        return None
    dft = evaluation["energy_dft"][frames]
    zero = float(dft.mean())
    models = {name: 1000 * (evaluation[f"energy_{name}"][frames] - zero) for name in ("foundation", "served")}
    return _parity("Energies on test frames", "energy above the mean", "meV/atom", 1000 * (dft - zero), models)


def stress_parity(evaluation: Arrays) -> bytes | None:
    """Stress components of the test frames; None where code or model has no stress."""
    test = evaluation["role"] == TEST
    dft, served = (evaluation[f"stress_{name}"][test].ravel() / GPa for name in ("dft", "served"))
    return _parity("Stress on test frames", "stress component", "GPa", dft, {"served": served})


def _parity(title: str, quantity: str, unit: str, dft: NDArray[Any], models: dict[str, NDArray[Any]]) -> bytes | None:
    finite = np.isfinite(dft) & np.logical_and.reduce([np.isfinite(values) for values in models.values()])
    if not finite.any():
        return None
    keep = np.flatnonzero(finite)[:: max(1, int(finite.sum()) // _MOST_POINTS)]
    everything = np.concatenate([dft[keep], *(values[keep] for values in models.values())])
    low, high = float(everything.min()), float(everything.max())
    pad = 0.05 * (high - low) or 1.0
    with axes(title) as panel:
        panel.plot([low - pad, high + pad], [low - pad, high + pad], color=INK, linewidth=0.8, zorder=1)
        for name, values in models.items():
            error = float(np.abs(values[finite] - dft[finite]).mean())
            label, colour = f"{name}, MAE {error:.3g} {unit}", COLOURS[name]
            panel.scatter(dft[keep], values[keep], s=9, alpha=0.55, color=colour, linewidths=0, label=label)
        panel.set_xlim(low - pad, high + pad)
        panel.set_ylim(low - pad, high + pad)
        panel.set_aspect("equal")
        panel.set_xlabel(f"DFT {quantity} ({unit})")
        panel.set_ylabel(f"predicted ({unit})")
        panel.legend(loc="upper left", markerscale=1.8, handletextpad=0.2)
        return png(panel)


def uncertainty_against_error(evaluation: Arrays, tolerance: float, threshold: float | None) -> bytes | None:
    """Largest force error of each held-out frame against the uncertainty that the gate uses.

    Args:
        evaluation: arrays of the served model.
        tolerance: largest force error that the user accepts, eV/Å.
        threshold: uncertainty above which a frame is suspect, eV/Å; None before calibration.
    """
    sigma, error, role = (evaluation[key] for key in ("uncertainty", "max_force_error", "role"))
    usable = np.isfinite(sigma) & np.isfinite(error) & (sigma > 0) & (error > 0)
    if not usable.any():
        return None
    with axes("Uncertainty against error, one point a frame") as panel:
        for code, name, marker, colour in (
            (TEST, "test", "o", SERVED),
            (CALIBRATION, "calibration", "D", FOUNDATION),
            (NEVER_TRAINED, "never trained", "^", ACCENT),
        ):
            chosen = usable & (role == code)
            if chosen.any():
                points = sigma[chosen], error[chosen]
                panel.scatter(*points, s=26, marker=marker, color=colour, alpha=0.75, linewidths=0, label=name)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.margins(0.08)
        panel.axhline(tolerance, color=INK, linestyle="--", linewidth=1.0, label=f"tolerance, {tolerance:g} eV/Å")
        if threshold is not None and np.isfinite(threshold) and threshold > 0:
            label = f"trusted below {threshold:.3g} eV/Å"
            panel.axvline(threshold, color=GOOD, linestyle="-.", linewidth=1.2, label=label)
        plain_log_ticks(panel.xaxis)
        plain_log_ticks(panel.yaxis)
        panel.set_xlabel("uncertainty: spread and latent distance (eV/Å)")
        panel.set_ylabel("largest force error (eV/Å)")
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
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
        if ratios[0] > 0:
            panel.set_xscale("log")
            plain_log_ticks(panel.xaxis)
        panel.margins(x=0.08)
        panel.set_ylim(0, 1.04)
        panel.set_xlabel("largest force error / uncertainty")
        panel.set_ylabel("share of test frames below")
        return png(panel)


def element_bars(errors: list[ElementError]) -> bytes | None:
    """Foundation and served model side by side for each element."""
    if not errors:
        return None
    x = np.arange(len(errors))
    with axes("Force error by element") as panel:
        for offset, (name, colour) in zip((-0.2, 0.2), COLOURS.items(), strict=True):
            heights = np.nan_to_num([getattr(error, name) for error in errors], posinf=0.0)
            panel.bar(x + offset, heights, 0.38, color=colour, label=name)
        panel.set_xticks(x, [error.symbol for error in errors])
        panel.set_xlim(-0.6, max(len(errors), 3) - 0.4)
        panel.grid(visible=False, axis="x")
        panel.set_ylabel("mean absolute error (eV/Å)")
        legend_beside_title(panel)
        return png(panel)
