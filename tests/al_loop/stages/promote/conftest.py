"""A real committee on a real foundation, trained in seconds: EMT, seen through the features of a distilled model.

The labels are the distilled model's own energies and forces, so that EMT has something to learn.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from al_loop.config import PromoteSettings
from al_loop.records import LabelledFrame, Role
from al_loop.stages.evaluate.errors import evaluate
from al_loop.stages.promote.energy_conservation import ConstantEnergyRun, start_replicas, total_energies
from al_loop.stages.promote.forgetting import probe_frames
from al_loop.stages.promote.promotion import Evidence
from al_loop.stages.train.training_frame import training_frame
from al_loop.utils.content_hash import frame_id
from committee import CommitteePotential, CommitteeSettings, FairchemSettings, TrainingSettings, load_backbone, train
from committee.backbones.contract import Backbone
from committee.settings import CalculatorSettings
from committee.uncertainty.calibration import Calibration
from dft_interfaces.label import Label, LabelStatus

DISTILLED = Path(__file__).parents[3] / "data" / "distilled" / "distilled.pt"
COMMITTEE = CommitteeSettings(members=4, hidden_channels=16)
TOLERANCE_eV_per_A = 0.3
TIMESTEP_fs, TEMPERATURE_K = 2.0, 600.0


def crystal(rng: np.random.Generator, rattle_A: float = 0.12) -> Atoms:
    """Four atoms of Cu3Al."""
    atoms = bulk("Cu", cubic=True, a=3.6 * (1 + rng.choice([-0.02, 0.0, 0.02])))
    atoms.numbers[0] = 13
    atoms.positions += rng.normal(0.0, rattle_A, (4, 3))
    return atoms


class Laboratory:
    """Labels frames and trains committees on them."""

    def __init__(self, folder: Path, trained_once: Callable[..., CommitteePotential]) -> None:
        features = FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat")
        emt = CalculatorSettings(
            kind="calculator", import_path="ase.calculators.emt.EMT", features=features, elements=("Al", "Cu")
        )
        self.backbone: Backbone = load_backbone(emt)
        self.foundation = CommitteePotential.untrained(self.backbone, COMMITTEE)
        self.truth = CommitteePotential.untrained(load_backbone(features))
        self._folder = folder
        self._trained_once = trained_once

    def label(self, structures: Sequence[Atoms], role: Role = Role.EXPLORE, round_: int = 0) -> list[LabelledFrame]:
        labels = [
            Label(LabelStatus.CONVERGED, "level", answer.energy, answer.forces, answer.stress)
            for answer in self.truth.predict(structures)
        ]
        return [
            LabelledFrame(frame_id(atoms), atoms, role, "crystal", f"crystal/{i % 5}", round=round_, label=label)
            for i, (atoms, label) in enumerate(zip(structures, labels, strict=True))
        ]

    def frames(self, count: int, seed: int, rattle_A: float = 0.12, **where) -> list[LabelledFrame]:
        rng = np.random.default_rng(seed)
        return self.label([crystal(rng, rattle_A) for _ in range(count)], **where)

    def train(
        self, frames: Sequence[LabelledFrame], settings: CommitteeSettings = COMMITTEE, epochs: int = 120
    ) -> CommitteePotential:
        return train(
            self.backbone,
            [training_frame(frame) for frame in frames],
            committee=settings,
            training=TrainingSettings(epochs=epochs),
            cache_folder=self._folder,
            seed=1,
        )

    def train_once(self, name: str, frames: Sequence[LabelledFrame]) -> CommitteePotential:
        """Train what several files ask for."""
        return self._trained_once(name, lambda _: self.train(frames), self.backbone)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory, trained_once: Callable[..., CommitteePotential]) -> Laboratory:
    return Laboratory(tmp_path_factory.mktemp("tangents"), trained_once)


@pytest.fixture(scope="session")
def foundation(laboratory: Laboratory) -> CommitteePotential:
    return laboratory.foundation


@pytest.fixture(scope="session")
def first_labels(laboratory: Laboratory) -> list[LabelledFrame]:
    return laboratory.frames(10, seed=1)


@pytest.fixture(scope="session")
def new_labels(laboratory: Laboratory) -> list[LabelledFrame]:
    return laboratory.frames(10, seed=2, round_=1)


@pytest.fixture(scope="session")
def held_back(laboratory: Laboratory) -> list[LabelledFrame]:
    return laboratory.frames(20, seed=3, role=Role.CALIBRATION)


@pytest.fixture(scope="session")
def served(laboratory: Laboratory, first_labels: list[LabelledFrame]) -> CommitteePotential:
    return laboratory.train_once("served", first_labels)


@pytest.fixture(scope="session")
def calibrate(held_back: list[LabelledFrame]) -> Callable[..., CommitteePotential]:
    def calibrated(potential: CommitteePotential, frames: Sequence[LabelledFrame] = ()) -> CommitteePotential:
        seen = evaluate(frames or held_back, potential, frozenset())
        calibration = Calibration.fit(
            seen.atom_errors(),
            seen.atom_uncertainties(),
            seen.atom_distances(),
            tolerance_eV_per_A=TOLERANCE_eV_per_A,
        )
        return potential.with_calibration(calibration)

    return calibrated


@pytest.fixture(scope="session")
def good(laboratory, first_labels, new_labels, calibrate) -> CommitteePotential:
    """Trained on all labels, as it should be."""
    return calibrate(laboratory.train_once("good", [*first_labels, *new_labels]))


@pytest.fixture(scope="session")
def evidence(foundation, good, held_back, first_labels, new_labels) -> Evidence:
    rng = np.random.default_rng(0)
    start = crystal(rng, rattle_A=0.0)
    replicas = start_replicas([start], TEMPERATURE_K, rng)
    energies = total_energies(foundation, replicas, TIMESTEP_fs, 20)
    return Evidence(
        foundation=foundation,
        held_back=held_back,
        newest=new_labels,
        earlier=first_labels[:6],
        probe=probe_frames([start], 6, good, PromoteSettings().far_latent_distance, rng),
        run=ConstantEnergyRun(tuple(replicas), TEMPERATURE_K, TIMESTEP_fs, energies),
        elements=frozenset({13, 29}),
    )
