"""Invalid input is refused by every public function with one typed error, and nothing is left on disk."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pydantic import ValidationError

from committee.backbones.contract import Backbone, Evaluation
from committee.calculator import CommitteeCalculator
from committee.checkpoint import load, save
from committee.errors import CheckpointError, StructureError, TrainingDataError, UnknownElementError
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, TrainingSettings
from committee.structures import check_structures
from committee.training.train import TrainingFrame, train


def nan() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.positions[2, 1] = np.nan
    return atoms


def flat() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.pbc = True
    return atoms


def doubled() -> Atoms:
    return molecule("CH3OH") + molecule("CH3OH")


def nearly_doubled() -> Atoms:
    other = molecule("CH3OH")
    other.positions += 0.05 / np.sqrt(3)
    return molecule("CH3OH") + other


BAD = {
    "an unknown element": (lambda: bulk("Fe"), UnknownElementError, r"holds Fe.*covers H C O Na Cl.*Choose"),
    "no element": (lambda: Atoms("X"), UnknownElementError, r"holds X"),
    "NaN positions": (nan, StructureError, r"NaN or infinite positions at atoms 2;.*finite numbers in Å"),
    "a flat cell": (flat, StructureError, r"periodic in a, b, c.*spans no volume.*set pbc to False"),
    "no atoms": (Atoms, StructureError, r"no atoms; leave it out"),
    "doubled atoms": (doubled, StructureError, r"0 Å apart.*Remove duplicate atoms"),
    "atoms at 0.05 Å": (nearly_doubled, StructureError, r"0.05 Å apart.*Remove duplicate atoms"),
}
bad = pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=BAD)


@pytest.fixture
def strict(backbone: Any) -> Backbone:
    """The analytic foundation with the structure check of every adapter."""

    class Strict(type(backbone)):  # type: ignore[misc]
        def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
            check_structures(frames, self.elements)
            return super().evaluate(frames)

    return Strict()


@pytest.fixture
def potential(strict: Backbone, settings: CommitteeSettings) -> CommitteePotential:
    return CommitteePotential.untrained(strict, settings)


@bad
@pytest.mark.parametrize("uncertainty", ["energy", "probe", "exact"])
def test_predict_refuses(
    make: Callable[[], Atoms],
    error: type[StructureError],
    message: str,
    uncertainty: Any,
    potential: CommitteePotential,
) -> None:
    sound = molecule("CH3OH")
    with pytest.raises(error, match=message) as caught:
        potential.predict([sound, sound, make(), sound], uncertainty, batch_atoms=2 * len(sound))
    assert caught.value.frame_index == 2
    assert str(caught.value).startswith("Frame 2 ")


@bad
def test_calculator_refuses_and_answers_again(
    make: Callable[[], Atoms], error: type[StructureError], message: str, potential: CommitteePotential
) -> None:
    sound, broken = molecule("CH3OH"), make()
    calculator = CommitteeCalculator(potential)
    sound.calc = broken.calc = calculator
    before = sound.get_potential_energy()
    with pytest.raises(error, match=message):
        broken.get_forces()
    assert calculator.results == {}
    assert sound.get_potential_energy() == before


@bad
def test_train_refuses_and_writes_nothing(
    make: Callable[[], Atoms],
    error: type[StructureError],
    message: str,
    strict: Backbone,
    settings: CommitteeSettings,
    make_frames: Any,
    tmp_path: Path,
) -> None:
    atoms = make()
    frames = [*make_frames([molecule("CH3OH")]), TrainingFrame("broken", atoms, -1.0, np.zeros((len(atoms), 3)))]
    with pytest.raises(error, match=message) as caught:
        train_on(strict, frames, settings, tmp_path / "cache")
    assert "Frame broken " in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("atoms", [Atoms("Na"), Atoms("Na", cell=[9, 9, 9], pbc=True)], ids=["vacuum", "cell"])
def test_an_isolated_atom_is_predicted_and_trained_on(
    atoms: Atoms, strict: Backbone, settings: CommitteeSettings, make_frames: Any, tmp_path: Path
) -> None:
    frames = make_frames([molecule("CH3OH"), bulk("NaCl", "rocksalt", a=4.2), atoms])
    trained = train_on(strict, frames, settings, tmp_path)
    for potential in (CommitteePotential.untrained(strict, settings), trained):
        (prediction,) = potential.predict([atoms], "exact")
        assert np.isfinite([prediction.energy, prediction.energy_uncertainty]).all()
        np.testing.assert_allclose(prediction.forces, 0, atol=1e-10)
        assert (prediction.stress is not None) == atoms.pbc.all()


@pytest.mark.parametrize("atoms", [Atoms("Na"), Atoms("Na", cell=[9, 9, 9], pbc=True)], ids=["vacuum", "cell"])
def test_training_on_an_isolated_atom_alone(
    atoms: Atoms, strict: Backbone, settings: CommitteeSettings, make_frames: Any, tmp_path: Path
) -> None:
    frames = make_frames([atoms])
    potential = train_on(strict, frames, settings, tmp_path)
    (prediction,) = potential.predict([atoms], "exact")
    assert prediction.energy == pytest.approx(frames[0].energy_eV, abs=1e-6)
    np.testing.assert_allclose(prediction.forces_uncertainty, 0, atol=1e-10)


def test_one_head_is_no_committee() -> None:
    with pytest.raises(ValidationError, match=r"members\n.*greater than or equal to 2"):
        CommitteeSettings(members=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forces_eV_per_A": np.zeros((5, 3))}, r"forces of shape \(5, 3\), expected \(6, 3\)"),
        ({"forces_eV_per_A": np.full((6, 3), np.nan)}, "forces with NaN.*leave the label out"),
        ({"stress_eV_per_A3": np.zeros(9)}, r"stress of shape \(9,\), expected \(6,\)"),
        ({"energy_eV": np.inf}, "infinite energy.*leave the label out"),
        ({"id": "../escape"}, "letters, digits"),
        ({"id": "frame0"}, "some repeat"),
        ({"level_of_theory": "r2SCAN"}, r"'r2SCAN'.*'PBE'.*Train a committee for each"),
    ],
)
def test_labels_that_cannot_be_trained_on(
    change: dict[str, Any],
    message: str,
    strict: Backbone,
    settings: CommitteeSettings,
    make_frames: Any,
    tmp_path: Path,
) -> None:
    sound = [replace(frame, level_of_theory="PBE") for frame in make_frames([molecule("CH3OH"), molecule("CH3OH")])]
    frames = [sound[0], replace(sound[1], **change)]
    with pytest.raises(TrainingDataError, match=message):
        train_on(strict, frames, settings, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_no_frames(strict: Backbone, settings: CommitteeSettings, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="at least one labelled frame"):
        train_on(strict, [], settings, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_a_warm_start_from_another_level_of_theory(
    strict: Backbone, settings: CommitteeSettings, make_frames: Any, tmp_path: Path
) -> None:
    frames = [replace(frame, level_of_theory="PBE") for frame in make_frames([molecule("CH3OH")])]
    first = train_on(strict, frames, settings, tmp_path / "first")
    again = train_on(strict, frames, settings, tmp_path / "first", warm_start=first)
    assert again.provenance.level_of_theory == "PBE"
    others = [replace(frame, level_of_theory="r2SCAN") for frame in frames]
    with pytest.raises(TrainingDataError, match=r"warm start.*PBE.*r2SCAN.*Train without warm_start"):
        train_on(strict, others, settings, tmp_path / "second", warm_start=first)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_a_warm_start_from_another_foundation(
    strict: Backbone, other_backbone: Any, settings: CommitteeSettings, make_frames: Any, tmp_path: Path
) -> None:
    other = CommitteePotential.untrained(other_backbone, settings)
    with pytest.raises(TrainingDataError, match=r"same foundation.*Train without warm_start"):
        train_on(strict, make_frames([molecule("CH3OH")]), settings, tmp_path / "cache", warm_start=other)
    assert list(tmp_path.iterdir()) == []


def test_saving_where_nothing_can_be_written(potential: CommitteePotential, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(CheckpointError, match=r"cannot be written.*Choose another folder"):
            save(potential, place)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_keeps_the_old_checkpoint(trained: CommitteePotential, backbone: Backbone, tmp_path: Path) -> None:
    import resource
    import signal

    save(trained, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written.*File too large"):
            save(trained, tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert load(tmp_path / "model", backbone).provenance == trained.provenance


def test_a_broken_checkpoint_is_refused_and_left_as_it_is(
    trained: CommitteePotential, backbone: Backbone, tmp_path: Path
) -> None:
    save(trained, tmp_path / "model")
    for path in (tmp_path / "model").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    for open_it in (load, CommitteeCalculator.load):
        with pytest.raises(CheckpointError, match=r"model.*restore it or train again"):
            open_it(tmp_path / "model", backbone)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


def train_on(
    backbone: Backbone,
    frames: Sequence[TrainingFrame],
    settings: CommitteeSettings,
    cache_folder: Path,
    warm_start: CommitteePotential | None = None,
) -> CommitteePotential:
    return train(
        backbone,
        frames,
        committee=settings,
        training=TrainingSettings(epochs=5),
        cache_folder=cache_folder,
        seed=0,
        warm_start=warm_start,
    )
