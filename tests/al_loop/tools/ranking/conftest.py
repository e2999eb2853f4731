"""A small real committee: SevenNet-0 corrected towards EMT for a copper atom on Cu(100)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from numpy.typing import NDArray

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

HEIGHTS_A = {"hollow": 1.7, "bridge": 2.0, "ontop": 2.3}
TOLERANCE_EV_PER_A = 0.5  # of the largest error on any atom; the first training of a few small frames allows no less


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def adatom(site: str, lift_A: float = 0.0) -> Atoms:
    """A copper atom on two layers of Cu(100), of which the lower one is fixed."""
    atoms = fcc100("Cu", (2, 2, 2), vacuum=6.0)
    add_adsorbate(atoms, "Cu", HEIGHTS_A[site] + lift_A, site)
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 2))
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, constraint=atoms.constraints)


def hopped() -> Atoms:
    """The adatom in the next hollow."""
    atoms = adatom("hollow")
    atoms.positions[-1, 0] += atoms.cell.lengths()[0] / 2
    return atoms


def on_the_way(seed: int) -> Atoms:
    """The adatom anywhere between the sites, everything rattled."""
    rng = np.random.default_rng([7, seed])
    atoms = adatom("hollow")
    atoms.set_constraint()
    across_A = rng.uniform(0, 1, 2) * atoms.cell.lengths()[0] / 2
    atoms.positions[-1] += [*across_A, rng.uniform(-0.1, 0.6)]
    atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
    return atoms


def emt(atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
    judged = atoms.copy()
    judged.set_constraint()
    judged.calc = EMT()
    return judged.get_potential_energy(), judged.get_forces()


def labelled(frames: Sequence[Atoms]) -> list[TrainingFrame]:
    return [TrainingFrame(f"frame{i}", atoms, *emt(atoms), None, group=f"group{i}") for i, atoms in enumerate(frames)]


def calibrated(potential: CommitteePotential, frames: Sequence[Atoms]) -> CommitteePotential:
    predictions = potential.predict(frames, "exact")
    calibration = Calibration.fit(
        [np.linalg.norm(p.forces - emt(atoms)[1], axis=1) for p, atoms in zip(predictions, frames, strict=True)],
        [p.atomic_force_uncertainty for p in predictions],
        [p.latent_distance for p in predictions],
        tolerance_eV_per_A=TOLERANCE_EV_PER_A,
    )
    return potential.with_calibration(calibration)


@pytest.fixture(scope="session")
def copper(trained_once: Callable[..., CommitteePotential]) -> CommitteePotential:
    def make(cache_folder: Path) -> CommitteePotential:
        potential = train(
            load_backbone(SevenNetSettings(kind="sevennet")),
            labelled([on_the_way(seed) for seed in range(16)]),
            committee=CommitteeSettings(members=6, hidden_channels=16),
            training=TrainingSettings(epochs=150, exact_up_to_atoms=1, random_directions=8),
            cache_folder=cache_folder,
            seed=1,
        )
        return calibrated(potential, [on_the_way(100 + seed) for seed in range(12)])

    return trained_once("adatom", make)


@pytest.fixture(scope="session")
def held_out() -> list[tuple[Atoms, float]]:
    frames = [on_the_way(200 + seed) for seed in range(10)]
    return [(atoms, emt(atoms)[0]) for atoms in frames]


@pytest.fixture(scope="session")
def checkpoint(copper: CommitteePotential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save(copper, folder)
    return folder


@pytest.fixture(scope="session")
def make_adatom() -> Callable[..., Atoms]:
    return adatom


@pytest.fixture(scope="session")
def make_hopped() -> Callable[[], Atoms]:
    return hopped


@pytest.fixture(scope="session")
def ask_emt() -> Callable[[Atoms], tuple[float, NDArray[np.float64]]]:
    return emt


@pytest.fixture
def campaign_file(tmp_path: Path) -> Path:
    """A campaign that never ran, whose engine is EMT."""
    adatom("hollow").write(tmp_path / "start.xyz")
    path = tmp_path / "campaign.yaml"
    path.write_text(
        f"name: copper\nfolder: {tmp_path / 'run'}\nfoundation: {{kind: sevennet}}\n"
        "systems: [{file: start.xyz}]\nexplore: {temperatures_K: [300]}\n"
        "label: {workers: 1, engine: {engine: ase, calculator: ase.calculators.emt.EMT}}\n"
    )
    return path
