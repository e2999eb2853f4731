"""A calibrated committee of residual heads on one frozen foundation potential."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from committee.backbones import load_backbone
    from committee.calculator import CommitteeCalculator
    from committee.checkpoint import load, save
    from committee.export import export_fairchem
    from committee.potential import CommitteePotential
    from committee.prediction import Prediction
    from committee.settings import (
        CalculatorSettings,
        CommitteeSettings,
        FairchemSettings,
        SevenNetSettings,
        TrainingSettings,
    )
    from committee.testing import check_backbone
    from committee.training.train import TrainingFrame, train
    from committee.uncertainty.calibration import Calibration

__all__ = [
    "CalculatorSettings",
    "Calibration",
    "CommitteeCalculator",
    "CommitteePotential",
    "CommitteeSettings",
    "FairchemSettings",
    "Prediction",
    "SevenNetSettings",
    "TrainingFrame",
    "TrainingSettings",
    "check_backbone",
    "export_fairchem",
    "load",
    "load_backbone",
    "save",
    "train",
]

_HOMES = {
    "CalculatorSettings": "settings",
    "Calibration": "uncertainty.calibration",
    "CommitteeCalculator": "calculator",
    "CommitteePotential": "potential",
    "CommitteeSettings": "settings",
    "FairchemSettings": "settings",
    "Prediction": "prediction",
    "SevenNetSettings": "settings",
    "TrainingFrame": "training.train",
    "TrainingSettings": "settings",
    "check_backbone": "testing",
    "export_fairchem": "export",
    "load": "checkpoint",
    "load_backbone": "backbones",
    "save": "checkpoint",
    "train": "training.train",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and ``import committee.settings`` must not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'committee' has no attribute {name!r}")
    return getattr(import_module(f"committee.{_HOMES[name]}"), name)
