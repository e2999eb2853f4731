"""Missing parts of a label have no weight: partial labels give the same terms of the loss as whole ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from committee.errors import TrainingDataError
from committee.model.heads import ResidualHeads
from committee.model.tangents import cached_tangents
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.fitting import training_loss
from committee.training.losses import likelihood_losses, member_losses
from committee.training.train import train
from committee.training.training_frame import check_frames
from committee.training.training_set import TrainingSet
from committee.training.validation import split_by_group

COMMITTEE = CommitteeSettings(members=3, hidden_channels=16)


@pytest.fixture
def frames(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(6)] + [make_crystal(i) for i in range(6)])


@pytest.fixture
def held_out(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(70, 74)] + [make_crystal(i) for i in range(70, 74)])


def energy_only(frame, name="energy"):
    return replace(frame, id=f"{frame.id}-{name}", forces_eV_per_A=None, stress_eV_per_A3=None)


def forces_only(frame, name="forces"):
    return replace(frame, id=f"{frame.id}-{name}", energy_eV=np.nan)


def fit(backbone, frames, folder, **settings):
    training = TrainingSettings(**{"epochs": 150, **settings})
    return train(backbone, frames, committee=COMMITTEE, training=training, cache_folder=folder, seed=0)


def errors(potential, frames):
    """Mean absolute errors of forces, eV/Å, and of energies, eV/atom."""
    found = potential.predict([frame.atoms for frame in frames])
    pairs = list(zip(found, frames, strict=True))
    forces = np.mean([np.abs(p.forces - f.forces_eV_per_A).mean() for p, f in pairs])
    return forces, np.mean([abs(p.energy - f.energy_eV) / len(f.atoms) for p, f in pairs])


def perturbed_heads(backbone):
    heads = ResidualHeads(COMMITTEE, backbone.feature_size, tuple(sorted(backbone.elements)), 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in heads.stack.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return heads


def frame_losses(backbone, frames, folder, training, whole):
    """Each member's loss on each frame, (K, B), and the gradient of their sum; shifts and distance of ``whole``."""
    entries = cached_tangents(backbone, [(f.id, f.atoms) for f in frames], folder)
    of_whole = TrainingSet(whole, cached_tangents(backbone, [(f.id, f.atoms) for f in whole], folder))
    heads = perturbed_heads(backbone)
    shifts, latent = of_whole.shifts(training), of_whole.latent()
    data = TrainingSet(frames, entries).dense(heads, shifts, latent, COMMITTEE, training)
    loss = likelihood_losses if training.loss == "likelihood" else member_losses
    losses = loss(data.errors(heads), training)
    losses.sum().backward()
    return losses.detach(), torch.cat([parameter.grad.flatten() for parameter in heads.stack.parameters()])


@pytest.mark.parametrize("loss", ["squared", "huber", "likelihood"])
def test_the_parts_of_a_label_cost_what_the_whole_does(backbone, frames, tmp_path, loss):
    training = TrainingSettings(loss=loss)
    parts = [part(frame) for part in (energy_only, forces_only) for frame in frames]
    whole, slope = frame_losses(backbone, frames, tmp_path, training, frames)
    split, slope_of_parts = frame_losses(backbone, parts, tmp_path, training, frames)
    torch.testing.assert_close(split[:, : len(frames)] + split[:, len(frames) :], whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slope_of_parts, slope, rtol=1e-3, atol=1e-4 * float(slope.abs().max()))
    assert (split[:, : len(frames)] > 0).all()


def test_what_is_masked_cannot_matter(backbone, frames, tmp_path):
    """A frame without forces adds no force error to the loss, for any heads; the same for energies."""
    for part, of_energy in ((energy_only, True), (forces_only, False)):
        given = [part(frame) for frame in frames]
        entries = cached_tangents(backbone, [(f.id, f.atoms) for f in given], tmp_path)
        heads = perturbed_heads(backbone)
        made = TrainingSet(given, entries)
        training = TrainingSettings()
        data = made.dense(heads, made.shifts(training), made.latent(), COMMITTEE, training)
        assert bool(data.energy_weights.any()) is of_energy
        assert any(bool(block.weights.any()) for block in data.blocks) is not of_energy
        loud = replace(data, energies=data.energies + (0 if of_energy else 1e6))
        if of_energy:
            loud = replace(loud, blocks=tuple(replace(block, slopes=block.slopes + 1e6) for block in data.blocks))
        weights = torch.ones(COMMITTEE.members, len(given))
        for likelihood in (False, True):
            quiet, noisy = (
                training_loss(one.errors(heads), weights, training, likelihood=likelihood) for one in (data, loud)
            )
            assert float(quiet) == float(noisy)


def test_energies_of_some_frames_and_forces_of_others_lower_both_errors(backbone, frames, held_out, tmp_path):
    before = errors(CommitteePotential.untrained(backbone), held_out)
    split = [energy_only(frame) if i % 3 == 0 else forces_only(frame) for i, frame in enumerate(frames)]
    forces, energies = errors(fit(backbone, split, tmp_path), held_out)
    assert forces < before[0] / 2
    assert energies < 0.05
    assert before[1] > 400


def test_energies_alone_can_be_trained_on(backbone, frames, held_out, tmp_path):
    potential = fit(backbone, [energy_only(frame) for frame in frames], tmp_path, epochs=60)
    assert errors(potential, held_out)[1] < 0.1
    assert np.isfinite(potential.predict([held_out[0].atoms], "exact")[0].forces_uncertainty).all()


def test_a_held_out_energy_counts_only_where_the_fit_determines_its_zero(frames):
    """Its zero differs by 500 eV per atom: it would outweigh all forces."""
    methanol, crystals = frames[:6], frames[6:]
    for kept, expected in (([forces_only(f) for f in methanol], [False, False]), (methanol, [True, False])):
        held = [energy_only(methanol[0]), energy_only(crystals[0])]
        sets = [TrainingSet(part, [None] * len(part)) for part in (held, kept)]
        comparable = sets[0].comparable_with(sets[1])
        assert [frame.id in {f.id for f in comparable.frames} for frame in held] == expected


def held_groups(frames, training, seed):
    held = split_by_group([frame.independent_group for frame in frames], training.validation_fraction, seed)[1]
    return {frames[i].group for i in held}


def seed_that_holds(frames, training, condition):
    return next(seed for seed in range(100) if condition(held_groups(frames, training, seed)))


def test_held_out_frames_without_comparable_labels_do_not_stop_the_fit(backbone, frames, tmp_path):
    given = [replace(forces_only(frame), group="methanol") for frame in frames[:6]]
    given += [replace(energy_only(frame), group="crystals") for frame in frames[6:]]
    training = TrainingSettings(epochs=40, validation_fraction=0.3, patience_epochs=1)
    seed = seed_that_holds(given, training, lambda held: held == {"crystals"})
    done = []
    train(
        backbone,
        given,
        committee=COMMITTEE,
        training=training,
        cache_folder=tmp_path,
        seed=seed,
        progress=lambda epoch, _: done.append(epoch),
    )
    assert done[-1] == 40


def test_a_frame_without_any_label_is_refused(backbone, frames):
    bare = replace(forces_only(frames[0]), forces_eV_per_A=None, stress_eV_per_A3=None)
    with pytest.raises(TrainingDataError, match="frame0-forces has no label, neither energy, forces nor stress"):
        check_frames([bare, *frames[1:]], backbone.elements)
