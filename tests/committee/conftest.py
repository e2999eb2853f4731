"""A small analytic foundation in float64: fast enough for finite differences, for periodic cells and molecules."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from committee.backbones.contract import Evaluation
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.train import TrainingFrame, train


class AnalyticBackbone:
    """Pair energy A/r² · c(r) and Gaussian radial features weighted by the neighbour's atomic number."""

    name = "test:analytic"
    elements = frozenset({1, 6, 8, 11, 17})
    cutoff_A = 4.0
    feature_size = 12
    level_of_theory = "analytic pair energy"

    def __init__(self, dtype: torch.dtype = torch.float64, version: str = "1"):
        self.dtype = dtype
        self.fingerprint = hashlib.sha256(f"analytic {version}".encode()).hexdigest()
        self.calls = 0

    def to(self, dtype: torch.dtype) -> "AnalyticBackbone":
        return AnalyticBackbone(dtype)

    def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
        self.calls += 1
        sizes = torch.tensor([len(atoms) for atoms in frames])
        frame_index = torch.repeat_interleave(torch.arange(len(frames)), sizes)
        numbers = torch.tensor(np.concatenate([atoms.numbers for atoms in frames]))
        positions = torch.tensor(np.concatenate([atoms.positions for atoms in frames]), dtype=self.dtype)
        positions.requires_grad_()
        strain = torch.zeros(len(frames), 3, 3, dtype=self.dtype, requires_grad=True)
        first, second, distance = self._pairs(frames, positions, strain, frame_index)
        smooth = (1 - (distance / self.cutoff_A) ** 2).clamp_min(0) ** 3
        charge = numbers.to(self.dtype).sqrt()
        pair = charge[first] * charge[second] / distance**2 * smooth
        per_atom = torch.zeros(len(numbers), dtype=self.dtype).index_add(0, first, pair / 2)
        energy = torch.zeros(len(frames), dtype=self.dtype).index_add(0, frame_index, per_atom)
        centers = torch.linspace(0.8, 3.8, self.feature_size, dtype=self.dtype)
        radial = torch.exp(-4 * (distance[:, None] - centers) ** 2) * (smooth * charge[second])[:, None]
        features = torch.zeros(len(numbers), self.feature_size, dtype=self.dtype).index_add(0, first, radial)
        volumes = [atoms.get_volume() if atoms.pbc.all() else np.nan for atoms in frames]
        return Evaluation(
            positions=positions,
            strain=strain,
            energy=energy,
            features=torch.tanh(features / 8) * 3,
            atomic_numbers=numbers,
            frame_index=frame_index,
            volumes=torch.tensor(volumes, dtype=self.dtype),
        )

    def _pairs(self, frames, positions, strain, frame_index):
        symmetric = (strain + strain.transpose(1, 2)) / 2
        moved = positions + torch.einsum("ni,nij->nj", positions, symmetric[frame_index])
        firsts, seconds, vectors, start = [], [], [], 0
        for b, atoms in enumerate(frames):
            i, j, shift = (torch.as_tensor(a) for a in neighbor_list("ijS", atoms, self.cutoff_A))
            cell = torch.tensor(atoms.cell.array, dtype=self.dtype)
            cell = cell + cell @ symmetric[b]
            firsts.append(i + start)
            seconds.append(j + start)
            vectors.append(moved[j + start] - moved[i + start] + shift.to(self.dtype) @ cell)
            start += len(atoms)
        return torch.cat(firsts), torch.cat(seconds), torch.cat(vectors).norm(dim=-1)


def crystal(seed: int, strain: float = 0.0, amplitude: float = 0.1) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=4.2 * (1 + strain), cubic=True)
    atoms.rattle(amplitude, rng=np.random.default_rng(seed))
    return atoms


def methanol(seed: int, amplitude: float = 0.08) -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(amplitude, rng=np.random.default_rng(seed))
    return atoms


def planted_label(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray | None]:
    """A label that differs from the foundation by an energy of the features and 500 eV per atom."""
    evaluation = AnalyticBackbone().evaluate([atoms])
    extra = torch.sin(evaluation.features).sum() * 0.3
    energy = evaluation.energy.sum() + extra
    forces, stress = evaluation.derivatives(energy)
    voigt = stress[0].numpy()[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] if atoms.pbc.all() else None
    return float(energy.detach()) + 500.0 * len(atoms), forces.numpy(), voigt


def training_frames(structures: Sequence[Atoms]) -> list[TrainingFrame]:
    frames = []
    for i, atoms in enumerate(structures):
        energy, forces, stress = planted_label(atoms)
        frames.append(TrainingFrame(f"frame{i}", atoms, energy, forces, stress, group=f"trajectory{i % 6}"))
    return frames


@pytest.fixture
def backbone() -> AnalyticBackbone:
    return AnalyticBackbone()


@pytest.fixture(scope="session")
def settings() -> CommitteeSettings:
    return CommitteeSettings(members=4, hidden_channels=16)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, settings: CommitteeSettings):
    """A committee trained on molecules and strained crystals, whose fade is active on strongly rattled frames.

    Each worker trains its own, in a second: one that came out of a checkpoint could not tell what checkpoints lose.
    """
    structures = [methanol(i) for i in range(10)] + [crystal(i, strain=0.01 * (i % 3 - 1)) for i in range(10)]
    folder: Path = tmp_path_factory.mktemp("tangents")
    return train(
        AnalyticBackbone(),
        training_frames(structures),
        committee=settings,
        training=TrainingSettings(epochs=150),
        cache_folder=folder,
        seed=1,
    )


@pytest.fixture
def other_backbone() -> AnalyticBackbone:
    return AnalyticBackbone(version="2")


@pytest.fixture(scope="session")
def make_crystal():
    return crystal


@pytest.fixture(scope="session")
def make_methanol():
    return methanol


@pytest.fixture(scope="session")
def make_frames():
    return training_frames
