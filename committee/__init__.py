"""A calibrated committee of residual heads on one frozen foundation potential.

From labelled frames to an ASE calculator and a checkpoint (eV, Å, eV/Å, eV/Å³):

    >>> from ase.build import bulk
    >>> from ase.io import read
    >>> import committee
    >>> from committee import CommitteeCalculator, CommitteeSettings, FairchemSettings, TrainingFrame, TrainingSettings
    >>> settings = FairchemSettings(kind="fairchem", model="distilled.pt", task_name="omat")
    >>> backbone = committee.load_backbone(settings)
    >>> frames = [
    ...     TrainingFrame(str(i), atoms, atoms.info["REF_energy"], atoms.arrays["REF_forces"], atoms.info["REF_stress"])
    ...     for i, atoms in enumerate(read("labelled.extxyz", ":"))
    ... ]
    >>> potential = committee.train(
    ...     backbone, frames, committee=CommitteeSettings(members=4), training=TrainingSettings(epochs=20)
    ... )
    >>> committee.save(potential, "heads")
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.calc = CommitteeCalculator.load("heads", backbone, uncertainty="exact")
    >>> atoms.get_forces().shape, atoms.calc.results["forces_uncertainty"].shape
    ((4, 3), (4, 3))
    >>> committee.export_fairchem(potential, "committee.pt")  # for fairchem's load_predict_unit

``bake`` fits the foundation's weights to the committee's mean, and ``export_plain`` writes a foundation, baked or
adapted, as a file that needs nothing of this package:

    >>> explored = [bulk("Cu", a=3.6 + 0.01 * i, cubic=True) for i in range(12)]
    >>> baked = committee.bake(potential, explored, committee.AdaptSettings(optimizer="adam", epochs=1))
    >>> written = committee.export_plain(baked.backbone, "plain.pt", shifts=baked.shifts, about=baked.about())
    >>> baked.difference.frames, written.library
    (2, 'fairchem')

Without a calculator, and for a whole batch:

    >>> from committee import CommitteePotential
    >>> (prediction,) = CommitteePotential.untrained(backbone).predict([bulk("Cu")])
    >>> prediction.energy == prediction.foundation_energy
    True

Where the foundation's features are the limit, its own weights are adapted before the heads are trained:

    >>> adapted = committee.adapt(backbone, frames, committee.AdaptSettings(iterations=1))
    >>> potential = committee.train(adapted, frames, training=TrainingSettings(epochs=20))
    >>> committee.save(potential, "adapted")  # with the changed weights
    >>> committee.load("adapted", backbone).backbone.name == adapted.name
    True

``check_backbone`` is the whole test of an adapter to another foundation: it raises the first broken promise.

    >>> atoms.rattle(0.1, seed=0)
    >>> committee.check_backbone(backbone, [atoms])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from committee.adaptation.adapt import adapt
    from committee.backbones import load_backbone
    from committee.baking import bake
    from committee.calculator import CommitteeCalculator
    from committee.checkpoint import load, save
    from committee.export import export_fairchem, export_plain
    from committee.potential import CommitteePotential
    from committee.prediction import Prediction
    from committee.settings import (
        AdaptSettings,
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
    "AdaptSettings",
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
    "adapt",
    "bake",
    "check_backbone",
    "export_fairchem",
    "export_plain",
    "load",
    "load_backbone",
    "save",
    "train",
]

_HOMES = {
    "AdaptSettings": "settings",
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
    "adapt": "adaptation.adapt",
    "bake": "baking",
    "check_backbone": "testing",
    "export_fairchem": "export",
    "export_plain": "export",
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
