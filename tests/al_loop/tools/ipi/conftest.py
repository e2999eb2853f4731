"""A copper committee on the distilled model, learnt from EMT in seconds, as a checkpoint beside a start."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from committee import (
    CommitteePotential,
    CommitteeSettings,
    FairchemSettings,
    TrainingFrame,
    TrainingSettings,
    load,
    load_backbone,
    save,
    train,
)

DISTILLED = Path(__file__).parents[3] / "data" / "distilled" / "distilled.pt"
FOUNDATION = FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat")


def copper(seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.06, rng=np.random.default_rng(seed))
    return atoms


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ipi")
    frames = []
    for seed in range(8):
        atoms = copper(seed)
        atoms.calc = EMT()
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        frames.append(TrainingFrame(f"f{seed}", copper(seed), energy, forces, stress, group=str(seed)))
    potential = train(
        load_backbone(FOUNDATION),
        frames,
        committee=CommitteeSettings(members=3, hidden_channels=8),
        training=TrainingSettings(epochs=20, exact_up_to_atoms=1, random_directions=4),
        cache_folder=folder / "tangents",
        seed=1,
    )
    save(potential, folder / "model")
    return folder / "model"


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A folder with ``model`` and ``start.extxyz``, in which i-PI runs."""
    shutil.copytree(made, tmp_path / "model")
    write(tmp_path / "start.extxyz", copper(50))
    return tmp_path


@pytest.fixture
def start() -> Atoms:
    return copper(50)


@pytest.fixture
def foundation() -> str:
    return f"fairchem:{DISTILLED}:omat"


@pytest.fixture(scope="session")
def potential(made: Path) -> CommitteePotential:
    return load(made, load_backbone(FOUNDATION))
