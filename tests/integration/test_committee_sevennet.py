"""The committee on a real foundation, with labels of a second real model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from committee import (
    CommitteePotential,
    CommitteeSettings,
    SevenNetSettings,
    TrainingFrame,
    TrainingSettings,
    load,
    load_backbone,
    save,
    train,
)


def crystals(count: int, first_seed: int) -> list[Atoms]:
    frames = []
    for seed in range(first_seed, first_seed + count):
        atoms = bulk("NaCl", "rocksalt", a=5.64 * (1 + 0.01 * (seed % 3 - 1)), cubic=True)
        atoms.rattle(0.15, rng=np.random.default_rng(seed))
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def labelled() -> list[TrainingFrame]:
    """Twelve frames labelled by the larger SevenNet model, 100 eV per atom off."""
    judge = CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet", model="7net-l3i5")))
    frames = crystals(12, 0)
    return [
        TrainingFrame(f"f{i}", atoms, p.energy + 100 * len(atoms), p.forces, p.stress, group=f"g{i}")
        for i, (atoms, p) in enumerate(zip(frames, judge.predict(frames), strict=True))
    ]


@pytest.fixture(scope="module")
def potential(labelled: list[TrainingFrame], tmp_path_factory: pytest.TempPathFactory) -> CommitteePotential:
    cache: Path = tmp_path_factory.mktemp("tangents")
    backbone = load_backbone(SevenNetSettings(kind="sevennet"))
    settings, training = CommitteeSettings(), TrainingSettings(epochs=250)
    return train(backbone, labelled[:8], committee=settings, training=training, cache_folder=cache, seed=0)


def test_held_out_errors_fall(potential, labelled):
    held_out = labelled[8:]
    frames = [frame.atoms for frame in held_out]
    served = potential.predict(frames, "exact", foundation=True)
    forces = np.stack([frame.forces_eV_per_A for frame in held_out])
    before = np.abs(np.stack([p.foundation_forces for p in served]) - forces).mean()
    after = np.abs(np.stack([p.forces for p in served]) - forces).mean()
    assert after < before / 2
    energies = [abs(p.energy - frame.energy_eV) / len(frame.atoms) for p, frame in zip(served, held_out, strict=True)]
    assert np.mean(energies) < 0.005
    assert all(p.forces_uncertainty.min() > 0 for p in served)


def test_checkpoint_opens_without_being_given_the_foundation(potential, labelled, tmp_path):
    save(potential, tmp_path / "model")
    opened = load(tmp_path / "model")
    one, two = (p.predict([labelled[9].atoms], "exact")[0] for p in (potential, opened))
    assert one.energy == pytest.approx(two.energy, abs=1e-4)
    # SevenNet on several threads does not repeat its own forces bit for bit.
    np.testing.assert_allclose(one.forces_ensemble, two.forces_ensemble, atol=2e-5)


def test_forces_and_stress_are_derivatives_in_double_precision(potential, labelled, tmp_path):
    save(potential, tmp_path / "model")
    double = load(tmp_path / "model", potential.backbone.to(torch.float64))
    atoms = labelled[9].atoms
    prediction = double.predict([atoms])[0]

    def energy(displacement: float, strain: float) -> float:
        changed = atoms.copy()
        changed.positions[2, 1] += displacement
        changed.set_cell(changed.cell.array @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
        return double.predict([changed])[0].energy

    assert prediction.forces[2, 1] == pytest.approx(-(energy(1e-4, 0) - energy(-1e-4, 0)) / 2e-4, abs=1e-5)
    numeric = (energy(0, 1e-5) - energy(0, -1e-5)) / 2e-5 / atoms.get_volume()
    assert prediction.stress[0] == pytest.approx(numeric, abs=1e-6)
