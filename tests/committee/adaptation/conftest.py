"""Real foundations, and labels that differ from the foundation's own predictions in a way that weights can learn."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from committee import FairchemSettings, SevenNetSettings, TrainingFrame
from committee.backbones import load_backbone
from committee.backbones.contract import OpenBackbone

DISTILLED = Path(__file__).parents[2] / "data" / "distilled" / "distilled.pt"
SETTINGS = {
    "sevennet": SevenNetSettings(kind="sevennet"),
    "fairchem": FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat"),
}
SHIFT_EV = -300.0  # per atom, between the labels and the foundation


@pytest.fixture(scope="module", params=list(SETTINGS))
def foundation(request: pytest.FixtureRequest) -> OpenBackbone:
    backbone = load_backbone(SETTINGS[request.param])
    assert isinstance(backbone, OpenBackbone)
    return backbone


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """SevenNet's scatter operations are not bitwise reproducible on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def salt(seed: int) -> Atoms:
    """A primitive cell of NaCl, strained and rattled."""
    rng = np.random.default_rng(seed)
    atoms = bulk("NaCl", "rocksalt", 5.6 + rng.uniform(-0.15, 0.15))
    atoms.positions += rng.normal(scale=0.12, size=atoms.positions.shape)
    return atoms


def labelled(foundation: OpenBackbone, count: int) -> list[TrainingFrame]:
    """Frames of NaCl: labels are 1.2 times the foundation's forces, with energies far from the foundation's zero."""
    frames = []
    for i in range(count):
        atoms = salt(i)
        evaluation = foundation.evaluate([atoms])
        forces, stress = (part.detach().numpy().astype(float) * 1.2 for part in evaluation.foundation())
        energy = 1.2 * float(evaluation.energy.detach()) + SHIFT_EV * len(atoms)
        voigt = stress[0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        frames.append(TrainingFrame(f"salt{i}", atoms, energy, forces, voigt, group=f"trajectory{i % 4}"))
    return frames


@pytest.fixture(scope="module")
def frames(foundation: OpenBackbone) -> list[TrainingFrame]:
    return labelled(foundation, 4)


@pytest.fixture(scope="session")
def make_salt() -> Callable[[int], Atoms]:
    return salt


@pytest.fixture(scope="session")
def methane() -> Atoms:
    return molecule("CH4")
