from dataclasses import replace

import numpy as np
import pytest
import torch

from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.losses import DirectionErrors, Errors, likelihood_losses, member_losses, penalty
from committee.training.train import train

EPOCHS = 150


@pytest.fixture
def frames(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(6)] + [make_crystal(i) for i in range(6)])


@pytest.fixture
def held_out(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(70, 76)] + [make_crystal(i) for i in range(70, 76)])


def fit(backbone, frames, folder, **settings):
    return train(
        backbone,
        frames,
        committee=CommitteeSettings(members=4, hidden_channels=16),
        training=TrainingSettings(epochs=EPOCHS, **settings),
        cache_folder=folder,
        seed=0,
    )


def force_mae(potential, frames):
    found = potential.predict([frame.atoms for frame in frames])
    return np.mean([np.abs(p.forces - f.forces_eV_per_A).mean() for p, f in zip(found, frames, strict=True)])


def energy_mae(potential, frames):
    found = potential.predict([frame.atoms for frame in frames])
    return np.mean([abs(p.energy - f.energy_eV) / len(f.atoms) for p, f in zip(found, frames, strict=True)])


def test_huber_is_the_square_and_then_its_tangent():
    settings = TrainingSettings(loss="huber", huber_threshold_eV_per_A=0.2)
    errors = torch.tensor([0.0, -0.1, 0.2, 1.0, -1.0], requires_grad=True)
    costs = penalty(errors, settings, 0.2)
    np.testing.assert_allclose(costs.detach(), [0.0, 0.01, 0.04, 0.36, 0.36], rtol=1e-6)
    (slopes,) = torch.autograd.grad(costs.sum(), errors)
    np.testing.assert_allclose(slopes, [0.0, -0.2, 0.4, 0.4, -0.4], rtol=1e-6)


def test_likelihood_is_the_normal_densitys():
    """Equal up to the constant and the factor in its docstring."""
    settings = TrainingSettings(loss="likelihood", likelihood_floor_eV_per_A=0.05)
    forces = torch.randn(5, 1, 12, generator=torch.Generator().manual_seed(0)) * 0.3
    weights = torch.full((1, 12), 1 / 12)
    errors = Errors(torch.zeros(5, 1), torch.ones(1), [DirectionErrors(torch.tensor([0]), forces, weights, 12)])
    spread = (forces.var(0) + 0.05**2).sqrt()
    density = torch.distributions.Normal(forces.mean(0), spread).log_prob(torch.zeros(()))
    expected = 2 * 0.05**2 * (-density.mean() - np.log(0.05) - 0.5 * np.log(2 * np.pi))
    np.testing.assert_allclose(likelihood_losses(errors, settings), expected.expand(5, 1), rtol=1e-5)


def test_likelihood_of_members_that_agree_is_the_squared_error():
    forces = torch.randn(1, 1, 12, generator=torch.Generator().manual_seed(0)).expand(5, -1, -1)
    stress = torch.randn(5, 1, 6, generator=torch.Generator().manual_seed(1))
    weights = torch.full((1, 18), 0.1)
    direction = DirectionErrors(torch.tensor([0]), torch.cat([forces, stress], dim=-1), weights, 12)
    errors = Errors(torch.ones(5, 1), torch.ones(1), [direction])
    settings = TrainingSettings(loss="likelihood")
    np.testing.assert_allclose(likelihood_losses(errors, settings), member_losses(errors, settings), rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "huber", "likelihood"])
def test_every_loss_mends_the_foundation(backbone, frames, held_out, tmp_path, loss):
    foundation = CommitteePotential.untrained(backbone)
    assert force_mae(fit(backbone, frames, tmp_path, loss=loss), held_out) < force_mae(foundation, held_out) / 3


def test_huber_bears_a_wrong_label(backbone, frames, held_out, tmp_path):
    """A calculation that converged to another state: wrong by 3 eV per atom and by several eV/Å."""
    wrong = replace(
        frames[7],
        energy_eV=frames[7].energy_eV + 24.0,
        forces_eV_per_A=frames[7].forces_eV_per_A + np.random.default_rng(0).normal(size=(8, 3)) * 5,
        stress_eV_per_A3=None,
    )
    spoilt = [*frames[:7], wrong, *frames[8:]]
    squared, huber = (fit(backbone, spoilt, tmp_path, loss=loss) for loss in ("squared", "huber"))
    assert force_mae(huber, held_out) < 0.5 * force_mae(squared, held_out)
    assert energy_mae(huber, held_out) < 0.2 * energy_mae(squared, held_out)
