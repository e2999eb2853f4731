"""A calibrated copper committee on SevenNet-0, learnt from EMT, and one without calibration."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from committee import (
    CommitteePotential,
    CommitteeSettings,
    SevenNetSettings,
    TrainingFrame,
    TrainingSettings,
    load_backbone,
    save,
    train,
)
from committee.uncertainty.calibration import Calibration


def copper(seed: int = 0, amplitude_A: float = 0.06) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(amplitude_A, rng=np.random.default_rng(seed))
    return atoms


def emt(atoms: Atoms) -> Atoms:
    labelled = atoms.copy()
    labelled.calc = EMT()
    return labelled


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def potential(trained_once: Callable[..., CommitteePotential]) -> CommitteePotential:
    return trained_once("copper", train_and_calibrate)


def train_and_calibrate(cache_folder: Path) -> CommitteePotential:
    known = [copper(seed, 0.02 + 0.012 * (seed % 8)) for seed in range(8)]
    frames = [
        TrainingFrame(f"f{i}", a, emt(a).get_potential_energy(), emt(a).get_forces(), emt(a).get_stress(), group=f"{i}")
        for i, a in enumerate(known)
    ]
    trained = train(
        load_backbone(SevenNetSettings(kind="sevennet")),
        frames,
        committee=CommitteeSettings(members=4, hidden_channels=16),
        training=TrainingSettings(epochs=60, exact_up_to_atoms=1, random_directions=4),
        cache_folder=cache_folder,
        seed=1,
    )
    unseen = [copper(100 + seed, 0.02 + 0.012 * (seed % 8)) for seed in range(12)]
    predictions = trained.predict(unseen, "exact")
    calibration = Calibration.fit(
        [np.linalg.norm(p.forces - emt(a).get_forces(), axis=1) for p, a in zip(predictions, unseen, strict=True)],
        [p.atomic_force_uncertainty for p in predictions],
        [p.latent_distance for p in predictions],
        tolerance_eV_per_A=0.5,
        latent_quantile=1.0,
    )
    return trained.with_calibration(calibration)


@pytest.fixture(scope="session")
def checkpoint(potential: CommitteePotential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("monitored") / "model"
    save(potential, folder)
    return folder


@pytest.fixture(scope="session")
def make_copper() -> Callable[..., Atoms]:
    return copper


@pytest.fixture(scope="session")
def read_log() -> Callable[[Path], list[dict]]:
    return lambda path: [json.loads(line) for line in path.read_text().splitlines()]
