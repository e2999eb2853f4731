"""Evaluation of the student: errors on held-out series, and stability in MD."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from benchmarks.distill.jobs import run_jobs
from benchmarks.distill.labels import OMAT, OMOL, Example
from benchmarks.distill.structures import CRYSTALS, MOLECULES
from committee.backbones.fairchem import FairchemBackbone

_BATCH_FRAMES = 32
_TEMPERATURE_K = 300.0
_STRETCH = 1.5  # of a bond, beyond which a system is no longer whole
_BONDED = 1.2  # times the nearest neighbour's distance
MD_SYSTEMS = ((OMAT, "NaCl"), (OMAT, "Si"), (OMOL, "CH3OH"))


def held_out_errors(backbone: FairchemBackbone, examples: Sequence[Example]) -> dict[str, Any]:
    """Mean absolute errors of one task, over all frames and over each kind.

    Returns:
        frames, ``forces_MAE_eV_per_A`` over components, ``energy_MAE_eV_per_atom``, beside them the mean size of the
        force components, and the same for each kind of frame under ``kinds``.
    """
    predictions = [prediction for batch in _batches(examples) for prediction in _predict(backbone, batch)]
    kinds = sorted({example.kind for example in examples})
    pairs = list(zip(examples, predictions, strict=True))
    by_kind = {kind: _errors([pair for pair in pairs if pair[0].kind == kind]) for kind in kinds}
    return _errors(pairs) | {"kinds": by_kind}


def _batches(examples: Sequence[Example]) -> list[Sequence[Example]]:
    return [examples[start : start + _BATCH_FRAMES] for start in range(0, len(examples), _BATCH_FRAMES)]


def _predict(backbone: FairchemBackbone, batch: Sequence[Example]) -> list[tuple[float, NDArray[np.float64]]]:
    """Energy (eV) and forces (n, 3) of each frame."""
    evaluation = backbone.evaluate([example.atoms for example in batch])
    forces = evaluation.foundation()[0].detach().split([len(example.atoms) for example in batch])
    return [(energy, part.numpy()) for energy, part in zip(evaluation.energy.tolist(), forces, strict=True)]


def _errors(pairs: Sequence[tuple[Example, tuple[float, NDArray[np.float64]]]]) -> dict[str, Any]:
    labels = np.concatenate([example.forces_eV_per_A for example, _ in pairs])
    forces = np.concatenate([prediction[1] for _, prediction in pairs])
    energies = [abs(prediction[0] - example.energy_eV) / len(example.atoms) for example, prediction in pairs]
    return {
        "frames": len(pairs),
        "forces_MAE_eV_per_A": float(np.abs(forces - labels).mean()),
        "mean_force_component_eV_per_A": float(np.abs(labels).mean()),
        "energy_MAE_eV_per_atom": float(np.mean(energies)),
    }


def check_md(checkpoint: Path, picoseconds: float, seed: int, workers: int) -> list[dict[str, Any]]:
    """Run Langevin MD at 300 K with fairchem's own calculator on a salt, a semiconductor and a molecule.

    Returns:
        for each system its name, steps, mean temperature (K), the largest stretch of an initial bond, the smallest
        ratio of any distance to the shortest initial one, and whether it stayed whole.
    """
    jobs = [
        partial(_run_md, checkpoint, task, name, picoseconds, (seed, index))
        for index, (task, name) in enumerate(MD_SYSTEMS)
    ]
    return list(run_jobs(jobs, workers))


def _run_md(checkpoint: Path, task: str, name: str, picoseconds: float, seed: tuple[int, ...]) -> dict[str, Any]:
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import load_predict_unit

    rng = np.random.default_rng(seed)
    atoms = CRYSTALS[name].build() if task == OMAT else MOLECULES[name].build()
    unit = load_predict_unit(str(checkpoint), inference_settings="batch", device="cpu")
    atoms.calc = FAIRChemCalculator(unit, task_name=task)
    timestep_fs = 1.0 if task == OMOL else 2.0
    thermalize_momenta(atoms, temperature_K=_TEMPERATURE_K, rng=rng)
    dynamics = Langevin(
        atoms,
        timestep_fs * units.fs,
        temperature_K=_TEMPERATURE_K,
        friction=0.01 / units.fs,
        fixcm=False,
        rng=rng,
    )
    bonds = _Bonds(atoms)
    temperatures = []
    steps = round(picoseconds * 1000 / timestep_fs)
    for _ in range(max(1, steps // 10)):
        dynamics.run(10)
        bonds.look(atoms)
        temperatures.append(atoms.get_temperature())
    return {
        "system": f"{name} ({task})",
        "steps": steps,
        "mean_temperature_K": float(np.mean(temperatures)),
        "largest_stretch": bonds.longest,
        "closest_approach": bonds.shortest,
        "whole": bool(np.isfinite(temperatures).all() and bonds.longest < _STRETCH and bonds.shortest > 1 / _STRETCH),
    }


class _Bonds:
    """Initial bonds of a system and their largest extension."""

    def __init__(self, atoms: Atoms):
        self._first, self._second, self._shift, distances = neighbor_list("ijSd", atoms, 4.0)
        bonded = distances < _BONDED * distances.min()
        self._first, self._second = self._first[bonded], self._second[bonded]
        self._shift, self._initial = self._shift[bonded], distances[bonded]
        self.longest, self.shortest = 1.0, 1.0

    def look(self, atoms: Atoms) -> None:
        """Measure the bonds and the closest approach; NaN counts as broken."""
        if not np.isfinite(atoms.positions).all():
            self.longest, self.shortest = np.inf, 0.0
            return
        vectors = atoms.positions[self._second] - atoms.positions[self._first] + self._shift @ atoms.cell.array
        self.longest = max(self.longest, float((np.linalg.norm(vectors, axis=1) / self._initial).max()))
        distances = neighbor_list("d", atoms, 4.0)
        nearest = float(distances.min()) if len(distances) else np.inf
        self.shortest = min(self.shortest, nearest / float(self._initial.min()))
