"""A campaign's worth of synthetic results, and a SevenNet that is built once."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import molecule
from numpy.typing import NDArray

from al_loop.ledger import EventRecord, ModelRecord
from al_loop.records import ErrorFigures, LabelledFrame, Role, RoundReport
from al_loop.report.page import ReportData
from al_loop.report.selected_frames import ChosenFrame
from al_loop.report.tables import PhysicsAlarm, label_costs
from al_loop.report.validation import Table
from committee.uncertainty.calibration import Calibration
from dft_interfaces.label import Label, LabelStatus

if TYPE_CHECKING:
    from committee import SevenNetSettings
    from committee.backbones.sevennet_checkpoint import OpenSevenNet

_SEVENNETS: "dict[str, OpenSevenNet]" = {}
HOSTILE = "<script>alert('x')</script>"


def make_calibration(frames: int = 40, tolerance_eV_per_A: float = 0.15) -> Calibration:
    """Frames of four atoms, whose errors grow with their uncertainty."""
    rng = np.random.default_rng(3)
    sigmas = [np.full(4, sigma) for sigma in np.geomspace(0.01, 0.3, frames)]
    errors = [2 * sigma * np.exp(0.3 * rng.normal(size=4)) for sigma in sigmas]
    return Calibration.fit(errors, sigmas, [np.ones(4)] * frames, tolerance_eV_per_A=tolerance_eV_per_A)


def make_report(round_: int = 1, force_mae: float = 0.031) -> RoundReport:
    calibration = {"calibration": make_calibration().to_dict()}
    return RoundReport(
        round=round_,
        frames=120,
        verdicts={"trusted": 60, "suspect": 50, "discard": 10},
        verdicts_by_check={
            "none": {"trusted": 60},
            "force_uncertainty": {"suspect": 34},
            "latent_distance": {"suspect": 12},
            "physics": {"suspect": 4, "discard": 10},
        },
        checks={
            "physics": {"trusted": 106, "suspect": 4, "discard": 10},
            "force_uncertainty": {"trusted": 71, "suspect": 39},
            "latent_distance": {"trusted": 79, "suspect": 31},
        },
        labels=12,
        labels_failed=1,
        labels_held_out=38 if round_ == 0 else 0,
        held_out=ErrorFigures(16, 0.25, force_mae, 0.0123, 0.0011),
        never_trained={HOSTILE: ErrorFigures(6, 0.30, 0.20, 0.02, 0.011)},
        coverage=0.9375,
        coverage_frames=16,
        guarantee={"text": "1 of 12 trusted test frames", "threshold_eV_per_A": 0.05, **calibration},
        promoted=True,
        promotion_reason="promoted: force MAE 0.031 < 0.05 eV/Å",
        seconds={"explore": 12.3, "label": 80.0, "train": 20.2},
        adaptation={
            "mode": "auto",
            "foundation": "7net-0",
            "tried": False,
            "kept": False,
            "sentence": f"The foundation is not adapted: {HOSTILE}.",
            "frames": 10,
            "within_tolerance": 0.4,
            "force_mae_heads": force_mae,
            "force_mae_half": 0.0456,
            "force_mae_adapted": None,
            "attempted_labels": 0,
        },
    )


def make_evaluation(frames: int = 30, atoms: int = 6) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    forces = rng.normal(size=(frames * atoms, 3))
    energy = rng.normal(size=frames) * 0.02
    return {
        "forces_dft": forces,
        "forces_foundation": forces + rng.normal(size=forces.shape) * 0.25,
        "forces_served": forces + rng.normal(size=forces.shape) * 0.03,
        "forces_uncertainty": np.abs(rng.normal(size=forces.shape)) * 0.03,
        "frame_index": np.repeat(np.arange(frames), atoms),
        "atomic_numbers": np.full(frames * atoms, 6),
        "energy_dft": energy,
        "energy_foundation": energy + rng.normal(size=frames) * 0.01,
        "energy_served": energy + rng.normal(size=frames) * 0.001,
        "role": np.arange(frames) % 3,
        "home": np.arange(frames) % 3 < 2,
        "max_force_error": np.exp(rng.normal(size=frames) - 3),
        "max_force_uncertainty": np.exp(rng.normal(size=frames) - 3),
        "uncertainty": np.exp(rng.normal(size=frames) - 3),
        "latent_distance": np.ones(frames),
        "stress_dft": rng.normal(size=(frames, 6)) * 0.01,
        "stress_served": rng.normal(size=(frames, 6)) * 0.01,
    }


def make_chosen(round_: int = 1, reason: str = "audit", *, known: bool = True) -> ChosenFrame:
    atoms = molecule("CH3OH")
    forces = np.zeros((len(atoms), 3))
    sigma = np.linspace(0.01, 0.4, len(atoms)) if known else np.full(len(atoms), np.nan)
    label = Label(LabelStatus.CONVERGED, "x", energy_eV=-1.0, forces_eV_per_A=forces, cost_s=2.0)
    return ChosenFrame(
        f"{round_}{'f' * 15}",
        round_,
        reason,
        f"suspect: {HOSTILE}</script>",
        atoms,
        sigma,
        forces + 0.25,
        forces + 0.75,
        label,
    )


def make_failure() -> LabelledFrame:
    label = Label(LabelStatus.UNCONVERGED, "x", cost_s=33.3, message="SCF not converged after 100 cycles & <more>")
    return LabelledFrame("abcdef0123456789", molecule("CH3OH"), Role.EXPLORE, HOSTILE, "m/300K/0", round=1, label=label)


def make_data() -> ReportData:
    return ReportData(
        config={
            "name": "test",
            "rounds": 3,
            "foundation": {"kind": "sevennet", "model": "7net-0"},
            "committee": {"members": 8},
            "gate": {"force_tolerance_eV_per_A": 0.15, "confidence": 0.9},
            "label": {"engine": {"engine": "pyscf"}},
            "systems": [{"name": HOSTILE}],
            "store": {"uri": "mongodb://me:hunter2@host/db"},
        },
        rounds=[make_report(0, 0.07), make_report(1)],
        evaluation=make_evaluation(),
        failures=[make_failure()],
        events=[EventRecord("promotion", HOSTILE, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 1)],
        chosen=[make_chosen(0, "representative", known=False), make_chosen(), make_chosen(reason=HOSTILE)],
        costs=label_costs([make_failure()]),
        models=[
            ModelRecord("a" * 16, 0, "round-0", "x", {"labels": 12}, served_since=0),
            ModelRecord("b" * 16, 1, "round-1", "x", {"labels": 24}),
        ],
        alarms=[PhysicsAlarm(1, "discard", "close contact: #", "close contact: 0.31 of radii", 9)],
        validation=[Table(HOSTILE, ["quantity", "passed"], [["bulk modulus", HOSTILE]])],
        open_round="round 2 is open; finished stages: explore",
    )


@pytest.fixture(autouse=True)
def _sevennet_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped model is built once for all commands of the session that serve it, which takes a second each time.

    It is frozen and keeps no state between calls; how it is opened is tested with the committee.
    """
    adapter = sys.modules.get("committee.backbones.sevennet")
    if adapter is None:
        return
    from committee.sevennet_names import is_shipped

    build = adapter.open_sevennet

    def opened(settings: "SevenNetSettings") -> "OpenSevenNet":
        if not is_shipped(settings.model):
            return build(settings)
        key = settings.model_dump_json()
        if key not in _SEVENNETS:
            _SEVENNETS[key] = build(settings)
        return _SEVENNETS[key]

    monkeypatch.setattr(adapter, "open_sevennet", opened)


@pytest.fixture
def report() -> RoundReport:
    return make_report()


@pytest.fixture
def reports() -> Callable[..., RoundReport]:
    return make_report


@pytest.fixture
def report_data() -> ReportData:
    return make_data()


@pytest.fixture
def hostile() -> str:
    return HOSTILE
