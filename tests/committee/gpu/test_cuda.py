"""Everything that computes, on a CUDA device and on the CPU: the same numbers to the tolerance of single precision."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from numpy.testing import assert_allclose

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.records import Role
from al_loop.stages.explore.lockstep import Lockstep
from al_loop.structures.start import Start
from committee import CommitteeCalculator, CommitteePotential, TrainingFrame, TrainingSettings, load_backbone, train
from committee.backbones.contract import device_of, twice_differentiable
from committee.model.tangents import compute_tangents
from committee.settings import FairchemSettings, SevenNetSettings
from committee.uncertainty.screen import ForceScreen
from tests.committee.gpu.conftest import DEVICE, DISTILLED

pytestmark = pytest.mark.gpu
FOUNDATIONS = {
    "sevennet": SevenNetSettings(kind="sevennet", model="7net-0"),
    "fairchem": FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat"),
}
TRAINING = TrainingSettings(epochs=60)


@pytest.fixture(params=FOUNDATIONS, scope="module")
def settings(request):
    return FOUNDATIONS[request.param]


@pytest.fixture(scope="module")
def backbones(settings):
    """The foundation on the CPU and on the device."""
    return load_backbone(settings), load_backbone(settings.model_copy(update={"device": DEVICE}))


@pytest.fixture(scope="module")
def potentials(backbones, tmp_path_factory):
    """Committees trained on the CPU and on the device."""
    frames = [
        TrainingFrame(f"frame{i}", atoms, *_label(backbones[0], atoms), group=f"group{i % 4}")
        for i, atoms in enumerate(_salt(i) for i in range(10))
    ]
    return [train(b, frames, training=TRAINING, cache_folder=tmp_path_factory.mktemp("tangents")) for b in backbones]


def test_one_setting_chooses_the_device(backbones):
    assert [device_of(backbone).type for backbone in backbones] == ["cpu", DEVICE]


def test_evaluations_agree(backbones):
    frames = [_salt(0), _salt(1), molecule("H2O")]
    one, two = (backbone.evaluate(frames) for backbone in backbones)
    assert_allclose(_array(two.energy), _array(one.energy), rtol=1e-6)
    assert_allclose(_array(two.features), _array(one.features), atol=2e-4)
    for expected, found in zip(one.foundation(), two.foundation(), strict=True):
        assert_allclose(_array(found), _array(expected), atol=2e-4)


def test_serving_in_a_fast_mode_is_the_general_one(backbones):
    frames = [_salt(0), _salt(1)]
    one, two = (backbone.evaluate(frames) for backbone in (twice_differentiable(backbones[1]), backbones[1]))
    assert_allclose(_array(two.features), _array(one.features), atol=2e-4)
    for expected, found in zip(one.foundation(), two.foundation(), strict=True):
        assert_allclose(_array(found), _array(expected), atol=2e-4)


def test_tangents_agree(backbones):
    frames = [_salt(0), _salt(1)]
    for one, two in zip(*(compute_tangents(backbone, frames) for backbone in backbones), strict=True):
        assert_allclose(two.tangents, one.tangents, atol=1e-3 * np.abs(one.tangents).max())
        assert_allclose(two.forces, one.forces, atol=2e-4)


def test_trained_committees_agree(potentials):
    frames = [_salt(i) for i in range(20, 26)]
    one, two = (potential.predict(frames) for potential in potentials)
    bare = CommitteePotential.untrained(potentials[0].backbone).predict(frames)
    correction = np.abs(np.concatenate([p.forces - f.forces for p, f in zip(one, bare, strict=True)]))
    for expected, found in zip(one, two, strict=True):
        assert_allclose(found.forces, expected.forces, atol=0.1 * correction.mean())


@pytest.mark.parametrize("uncertainty", ["energy", "probe", "exact"])
def test_predictions_agree(potentials, backbones, uncertainty):
    served = potentials[0]
    moved = CommitteePotential(
        backbones[1], served.settings, served.heads, served.latent, served.shifts, served.provenance
    )
    frames = [_salt(i) for i in range(30, 33)]
    on_device = moved.predict(frames, uncertainty, foundation=True, seed=3)
    for expected, found in zip(served.predict(frames, uncertainty, foundation=True, seed=3), on_device, strict=True):
        for name in ("energy", "forces", "stress", "latent_distance", "foundation_forces", "energy_uncertainty"):
            assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-3, atol=5e-4, err_msg=name)
        if uncertainty != "energy":
            assert_allclose(found.forces_uncertainty, expected.forces_uncertainty, rtol=0.01, atol=5e-4)


def test_a_calculator_follows_a_trajectory_with_a_screen(potentials):
    for potential in potentials[1:]:
        atoms = _salt(5)
        atoms.calc = CommitteeCalculator(potential, screen=ForceScreen(1e3))
        for step in range(4):
            atoms.rattle(0.01, seed=step)
            assert np.isfinite(atoms.get_forces()).all()
        assert atoms.calc.screen.checks == 4
        assert atoms.calc.screen.confirmations == 1


def test_replicas_in_lockstep_agree(potentials):
    found = []
    for potential in potentials:
        starts = [Start(str(i), str(i), Role.EXPLORE, _salt(i), _salt(i), 300.0, (i,)) for i in range(3)]
        exploration = ExploreSettings(temperatures_K=(300.0,), steps=5, check_every=5)
        lockstep = Lockstep(potential, starts, exploration, PhysicsSettings())
        while not lockstep.ended:
            reached = lockstep.advance()
        found.append([frame.atoms.positions for _, frame in reached])
    for one, two in zip(*found, strict=True):
        assert_allclose(two, one, atol=1e-3)


def _salt(seed: int) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True)
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    return atoms


def _label(backbone, atoms):
    """A label that differs from the foundation by an energy of its features."""
    evaluation = backbone.evaluate([atoms])
    energy = evaluation.energy.sum() + 0.05 * torch.sin(evaluation.features).sum()
    forces, _ = evaluation.derivatives(energy)
    return float(energy.detach()), _array(forces).astype(float), None


def _array(tensor):
    return tensor.detach().cpu().numpy()
