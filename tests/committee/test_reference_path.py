from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from benchmarks.reference_path import accumulate_gradients
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance
from committee.model.tangents import compute_tangents
from committee.settings import CommitteeSettings, SevenNetSettings, TrainingSettings
from committee.training.fitting import bootstrap_weights, training_loss
from committee.training.training_frame import TrainingFrame
from committee.training.training_set import TrainingSet

# An early, wide fade, so that training atoms lie inside it.
COMMITTEE = CommitteeSettings(members=3, hidden_channels=16, prior_scale_eV=0.1, switch_start=0.05, switch_end=2.0)


@pytest.fixture
def frames(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(4)] + [make_crystal(i, amplitude=0.1) for i in range(3)])


@pytest.fixture(scope="session")
def sevennet():
    from committee.backbones import load_backbone

    return load_backbone(SevenNetSettings(kind="sevennet"), torch.float64)  # its own noise in float32 is larger


def small_cells():
    """Water and rocksalt with two atoms in the cell, in turn."""
    generator = np.random.default_rng(0)
    structures = [bulk("NaCl", "rocksalt", a=5.6) if i % 2 else molecule("H2O") for i in range(40)]
    for atoms in structures:
        atoms.rattle(0.1, rng=generator)
    return structures


@pytest.fixture(scope="session")
def sevennet_latent(sevennet):
    """Fit to more frames than are trained on: the covariance of three atoms is too ill-conditioned for float32."""
    structures = small_cells()
    evaluation = sevennet.evaluate(structures)
    groups = evaluation.frame_index.numpy()
    return LatentDistance().fit(evaluation.features.detach().numpy(), evaluation.atomic_numbers.numpy(), groups)


@pytest.fixture(scope="session")
def sevennet_frames():
    """Labels are artificial."""
    structures, generator = small_cells(), np.random.default_rng(1)
    return [
        TrainingFrame(
            f"frame{i}",
            atoms,
            generator.normal() - 3.0 * len(atoms),
            generator.normal(size=(len(atoms), 3)),
            generator.normal(size=6) * 0.02 if atoms.pbc.all() else None,
        )
        for i, atoms in enumerate(structures[:4])
    ]


def masked(frames):
    """The first frame of each kind lacks the energy, the second the forces; none is complete."""
    n = len(frames)
    return [
        replace(
            frame,
            energy_eV=np.nan if i in (0, n - 1) else frame.energy_eV,
            forces_eV_per_A=None if i in (1, n - 2) else frame.forces_eV_per_A,
            stress_eV_per_A3=None if i == n - 1 else frame.stress_eV_per_A3,
        )
        for i, frame in enumerate(frames)
    ]


def both_ways(backbone, frames, training, *, likelihood=False, latent=None):
    """Loss and gradient of heads with random last layers: from tangents in float32, and through the foundation."""
    labelled = TrainingSet(frames, [compute_tangents(backbone, [frame.atoms])[0] for frame in frames])
    heads = ResidualHeads(COMMITTEE, backbone.feature_size, tuple(sorted(backbone.elements)), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        heads.stack.w3.normal_(generator=generator).mul_(0.2)
    shifts, latent = labelled.shifts(training), latent or labelled.latent()
    data = labelled.dense(heads, shifts, latent, COMMITTEE, training)
    assert ((data.switches > 0.01) & (data.switches < 0.99)).any()
    heads.standardise_by(data.features, data.rows)
    heads.center(data.features, data.rows)
    weights = bootstrap_weights(COMMITTEE.members, len(frames), generator)
    plain = deepcopy(heads).to(backbone.dtype)
    dense_loss = training_loss(data.errors(heads), weights, training, likelihood=likelihood)
    dense_loss.backward()
    metric = latent.metric(backbone.dtype)
    loss = accumulate_gradients(
        backbone, plain, metric, shifts, frames, weights, COMMITTEE, training, batch_frames=3, likelihood=likelihood
    )
    return (float(dense_loss.detach()), heads.stack), (loss, plain.stack)


def assert_agreement(dense, plain):
    assert dense[0] == pytest.approx(plain[0], rel=1e-4)
    for (name, one), two in zip(dense[1].named_parameters(), plain[1].parameters(), strict=True):
        scale = float(two.grad.abs().max())
        assert scale > 0, name
        np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), rtol=0, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("loss", ["squared", "huber", "likelihood"])
@pytest.mark.parametrize("change", [list, masked])
def test_the_dense_fit_is_autograds(backbone, frames, loss, change):
    """Molecules and crystals, energies, forces and stress, all of them or with labels missing."""
    training = TrainingSettings(loss=loss, huber_threshold_eV_per_A=0.3)
    assert_agreement(*both_ways(backbone, change(frames), training, likelihood=loss == "likelihood"))


@pytest.mark.parametrize("change", [list, masked])
def test_the_dense_fit_is_autograds_on_sevennet(sevennet, sevennet_frames, sevennet_latent, change):
    frames = change(sevennet_frames)
    assert_agreement(*both_ways(sevennet, frames, TrainingSettings(), latent=sevennet_latent))


@pytest.mark.parametrize("part", ["energy", "forces", "stress"])
def test_each_term_alone_agrees(backbone, frames, part):
    weights = {f"{name}_weight": float(name == part) for name in ("energy", "forces", "stress")}
    assert_agreement(*both_ways(backbone, frames, TrainingSettings(**weights)))
