"""A committee's mean in the weights of its foundation: the distilled checkpoint, labels that are stiffer than it."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from committee import (
    AdaptSettings,
    CommitteePotential,
    CommitteeSettings,
    FairchemSettings,
    TrainingFrame,
    TrainingSettings,
    bake,
    export_plain,
    load_backbone,
    train,
)
from committee.backbones.contract import Backbone
from committee.baking import Baked, MeanErrors
from committee.errors import FoundationError, TrainingDataError

DISTILLED = Path(__file__).parents[1] / "data" / "distilled" / "distilled.pt"
SHIFT_eV = -1000.0
SETTINGS = AdaptSettings(optimizer="adam", epochs=8, batch_frames=4, learning_rate=2e-3, replay_share=0.0)


def copper(seed: int) -> Atoms:
    atoms = bulk("Cu", a=3.6 + 0.02 * (seed % 3), cubic=True)
    atoms.rattle(0.12, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def foundation() -> Backbone:
    return load_backbone(FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat"))


def label(foundation: Backbone, seed: int) -> TrainingFrame:
    """Half as stiff again as the foundation, a thousand eV per atom below it."""
    atoms = copper(seed)
    evaluation = foundation.evaluate([atoms])
    reference = foundation.evaluate([bulk("Cu", a=3.6, cubic=True)]).energy.item()
    energy = reference + 1.5 * (evaluation.energy.item() - reference) + SHIFT_eV * len(atoms)
    return TrainingFrame(f"label-{seed}", atoms, energy, 1.5 * evaluation.foundation()[0].numpy().astype(float))


@pytest.fixture(scope="module")
def potential(foundation: Backbone, tmp_path_factory: pytest.TempPathFactory) -> CommitteePotential:
    return train(
        foundation,
        [label(foundation, seed) for seed in range(8)],
        committee=CommitteeSettings(members=3, hidden_channels=16),
        training=TrainingSettings(epochs=100),
        cache_folder=tmp_path_factory.mktemp("tangents"),
        level_of_theory="stiff",
    )


@pytest.fixture(scope="module")
def explored() -> list[Atoms]:
    return [copper(seed) for seed in range(100, 140)]


@pytest.fixture(scope="module")
def baked(potential: CommitteePotential, explored: list[Atoms], foundation: Backbone) -> Baked:
    labelled = [label(foundation, seed) for seed in range(200, 206)]
    return bake(potential, explored, SETTINGS, held_back=0.2, labelled=labelled)


def force_difference(potential: CommitteePotential, frames: list[Atoms]) -> float:
    """Mean absolute force of the committee's correction, eV/Å."""
    predictions = potential.predict(frames, foundation=True)
    return float(np.mean([np.abs(one.forces - one.foundation_forces).mean() for one in predictions]))


def test_the_weights_take_over_the_correction(
    baked: Baked, potential: CommitteePotential, explored: list[Atoms]
) -> None:
    difference = baked.difference
    assert (baked.fitted_frames, difference.frames) == (32, 8)
    assert difference.forces_eV_per_A is not None
    assert difference.forces_eV_per_A < 0.35 * force_difference(potential, explored)
    assert difference.energy_eV_per_atom is not None
    assert difference.energy_eV_per_atom < 0.01
    assert baked.shifts.eV_per_atom[29] == pytest.approx(SHIFT_eV, abs=2.0)
    assert baked.backbone.level_of_theory == "stiff"


def test_the_stated_difference_is_that_of_the_written_file(
    baked: Baked, potential: CommitteePotential, foundation: Backbone, tmp_path: Path
) -> None:
    written = export_plain(baked.backbone, tmp_path / "plain.pt", shifts=baked.shifts, about=baked.about())
    plain = CommitteePotential.untrained(
        load_backbone(FairchemSettings(kind="fairchem", model=str(written.path), task_name="omat"))
    )
    labelled = [label(foundation, seed) for seed in range(200, 206)]
    frames = [frame.atoms for frame in labelled]
    pairs = list(zip(plain.predict(frames), potential.predict(frames), strict=True))
    errors = baked.label_errors
    assert errors is not None
    forces = float(np.mean([np.abs(one.forces - other.forces).mean() for one, other in pairs]))
    energy = float(np.mean([abs(one.energy - other.energy) / 4 for one, other in pairs]))
    stress = float(np.mean([np.abs(one.stress - other.stress).mean() for one, other in pairs]))
    assert errors.difference.forces_eV_per_A == pytest.approx(forces, rel=1e-3)
    assert errors.difference.energy_eV_per_atom == pytest.approx(energy, rel=1e-2, abs=1e-6)
    assert errors.difference.stress_eV_per_A3 == pytest.approx(stress, rel=1e-3)
    against = float(
        np.mean([np.abs(one.forces - f.forces_eV_per_A).mean() for (one, _), f in zip(pairs, labelled, strict=True)])
    )
    assert errors.baked.forces_eV_per_A == pytest.approx(against, rel=1e-3)
    assert errors.ratio == pytest.approx(forces / errors.committee.forces_eV_per_A)


def test_the_file_states_the_difference(baked: Baked, tmp_path: Path) -> None:
    import torch

    written = export_plain(baked.backbone, tmp_path / "plain.pt", shifts=baked.shifts, about=baked.about())
    about = torch.load(written.path, weights_only=False).about
    assert about["difference"]["forces_eV_per_A"] == baked.difference.forces_eV_per_A
    assert about["label_errors"]["ratio"] == baked.label_errors.ratio
    assert about["level_of_theory"] == "stiff"


def test_whole_trajectories_are_kept_back(potential: CommitteePotential, explored: list[Atoms]) -> None:
    untouched = AdaptSettings(epochs=0, iterations=0)
    groups = [f"trajectory {i // 10}" for i in range(40)]
    baked = bake(potential, explored, untouched, groups=groups)
    assert (baked.fitted_frames, baked.difference.frames) == (30, 10)
    single = bake(potential, explored, untouched, groups=["one"] * 40)
    assert (single.fitted_frames, single.difference.frames) == (36, 4)


def test_without_a_fit_the_difference_is_the_correction(potential: CommitteePotential, explored: list[Atoms]) -> None:
    baked = bake(potential, explored, AdaptSettings(epochs=0, iterations=0))
    assert baked.backbone.fingerprint == potential.backbone.fingerprint
    assert baked.difference.forces_eV_per_A == pytest.approx(force_difference(potential, explored), rel=0.5)


def test_frames_that_the_committee_refuses_are_left_out(potential: CommitteePotential, explored: list[Atoms]) -> None:
    baked = bake(potential, [Atoms("Og"), *explored[:12]], AdaptSettings(epochs=0, iterations=0))
    assert baked.fitted_frames + baked.difference.frames == 12
    with pytest.raises(TrainingDataError, match=r"at least 10 frames that the committee predicts, received 9 of 10"):
        bake(potential, [Atoms("Og"), *explored[:9]], AdaptSettings(epochs=0, iterations=0))


def test_closed_foundation(backbone: Backbone, explored: list[Atoms]) -> None:
    with pytest.raises(FoundationError, match=r"test:analytic cannot be baked: its weights are not open"):
        bake(CommitteePotential.untrained(backbone), explored)


def test_an_interrupted_fit_resumes_and_gives_the_same(
    potential: CommitteePotential, explored: list[Atoms], tmp_path: Path
) -> None:
    settings = AdaptSettings(optimizer="adam", epochs=2, batch_frames=6, replay_share=0.0)
    whole = bake(potential, explored[:12], settings)

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bake(potential, explored[:12], settings, state_folder=tmp_path / "state", progress=interrupt)
    assert list((tmp_path / "state").iterdir())
    steps: list[int] = []
    resumed = bake(
        potential, explored[:12], settings, state_folder=tmp_path / "state", progress=lambda done, _: steps.append(done)
    )
    assert min(steps) == 3
    assert resumed.backbone.fingerprint == whole.backbone.fingerprint
    assert not list((tmp_path / "state").iterdir())


def test_errors_in_words() -> None:
    assert str(MeanErrors(3, 0.00123, 0.0456, None)) == "0.0012 eV/atom, 0.046 eV/Å (mean absolute, 3 frames)"
