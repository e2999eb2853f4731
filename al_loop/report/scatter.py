"""Figures over held-out frames. Each takes plain data and returns a PNG, or None without data."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_loop.report.style import ACCENT, FOUNDATION, GOOD, INK, SERVED, axes, plain_log_ticks, png

Arrays = dict[str, NDArray[Any]]
TEST, CALIBRATION, NEVER_TRAINED = 0, 1, 2  # codes of the array "role"
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
        for name, colour in (("foundation", FOUNDATION), ("served", SERVED)):
            error = float(np.abs(models[name][finite] - dft[finite]).mean())
            label = f"{name}, MAE {error:.3g} {unit}"
            panel.scatter(dft[keep], models[name][keep], s=9, alpha=0.55, color=colour, linewidths=0, label=label)
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
    combined = "uncertainty" if "uncertainty" in evaluation else "max_force_uncertainty"
    sigma, error, role = (evaluation[key] for key in (combined, "max_force_error", "role"))
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
                panel.scatter(
                    sigma[chosen],
                    error[chosen],
                    s=26,
                    marker=marker,
                    color=colour,
                    alpha=0.75,
                    linewidths=0,
                    label=name,
                )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.margins(0.08)
        panel.axhline(tolerance, color=INK, linestyle="--", linewidth=1.0, label=f"tolerance, {tolerance:g} eV/Å")
        if threshold is not None and np.isfinite(threshold) and threshold > 0:
            panel.axvline(
                threshold,
                color=GOOD,
                linestyle="-.",
                linewidth=1.2,
                label=f"trusted below {threshold:.3g} eV/Å",
            )
        plain_log_ticks(panel.xaxis)
        plain_log_ticks(panel.yaxis)
        panel.set_xlabel("uncertainty: spread and latent distance (eV/Å)")
        panel.set_ylabel("largest force error (eV/Å)")
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return png(panel)
