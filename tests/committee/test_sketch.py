import numpy as np
import pytest
import torch

from committee.backbones import load_backbone
from committee.errors import TrainingDataError
from committee.model.heads import ResidualHeads
from committee.model.tangents import cached_tangents, compute_tangents, is_exact, sketch_of, structure_hash
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, SevenNetSettings, TrainingSettings
from committee.training.losses import member_losses
from committee.training.train import train
from committee.training.training_frame import TrainingFrame
from committee.training.training_set import TrainingSet

SKETCHED = TrainingSettings(exact_up_to_atoms=4, random_directions=12)
COMMITTEE = CommitteeSettings(members=3, hidden_channels=16, switch_start=0.5, switch_end=3.0)


def test_frames_are_sketched_above_the_threshold_and_where_it_saves_something(make_crystal):
    atoms = make_crystal(0)
    assert sketch_of(atoms, "a", TrainingSettings(exact_up_to_atoms=8)).shape == (0, 8, 3)
    assert sketch_of(atoms, "a", SKETCHED).shape == (12, 8, 3)
    assert is_exact(8, TrainingSettings(exact_up_to_atoms=4, random_directions=24))


def test_a_structure_always_has_the_same_directions(make_crystal):
    atoms = make_crystal(0)
    np.testing.assert_array_equal(sketch_of(atoms, "a", SKETCHED), sketch_of(atoms, "a", SKETCHED))
    assert not np.array_equal(sketch_of(atoms, "a", SKETCHED), sketch_of(atoms, "b", SKETCHED))


def test_sketched_tangents_are_the_exact_ones_along_the_directions(backbone, make_crystal):
    frames = [make_crystal(1), make_crystal(2)]
    sketches = np.stack([sketch_of(atoms, structure_hash(atoms), SKETCHED) for atoms in frames])
    exact, sketched = compute_tangents(backbone, frames), compute_tangents(backbone, frames, sketches)
    for one, two in zip(exact, sketched, strict=True):
        along = np.einsum("mc,cnd->mnd", two.sketch.reshape(12, -1), one.tangents[:24])
        np.testing.assert_allclose(two.tangents[:12], along, atol=1e-5)
        np.testing.assert_allclose(two.tangents[12:], one.tangents[24:], atol=1e-6)


@pytest.mark.parametrize("kind", ["crystal", "molecule"])
def test_the_sketched_loss_is_unbiased(backbone, make_crystal, make_methanol, make_frames, kind):
    """The mean over many sketches is the exact loss of forces and stress, within its own standard error."""
    frames = make_frames([make_crystal(1) if kind == "crystal" else make_methanol(1)])
    atoms, directions = frames[0].atoms, 4000
    sketch = np.random.default_rng(2).standard_normal((1, directions, len(atoms), 3)).astype(np.float32)
    exact = _loss(TrainingSet(frames, compute_tangents(backbone, [atoms])))
    labelled = TrainingSet(frames, compute_tangents(backbone, [atoms], sketch))
    sketched = _loss(labelled)
    projected = _errors(labelled).directions[0].values[:, 0, :directions].square() / (3 * len(atoms))
    standard_error = projected.std(1) / directions**0.5
    assert (standard_error < 0.05 * exact).all()
    assert ((sketched - exact).abs() < 3 * standard_error).all()


def _errors(labelled):
    training = TrainingSettings(energy_weight=0.0)
    heads = ResidualHeads(COMMITTEE, 12, (1, 6, 8, 11, 17), seed=3).requires_grad_(False)
    heads.stack.w3.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.2)
    data = labelled.dense(heads, labelled.shifts(training), labelled.latent(), COMMITTEE, training)
    return data.errors(heads)


def _loss(labelled):
    return member_losses(_errors(labelled), TrainingSettings())[:, 0]


def test_changed_settings_never_reuse_the_other_kind(backbone, make_crystal, tmp_path):
    frames = [("a", make_crystal(0))]
    exact = TrainingSettings()
    for settings, directions in ((exact, 30), (SKETCHED, 18), (exact, 30)):
        calls = backbone.calls
        entry = cached_tangents(backbone, frames, tmp_path, settings)[0]
        assert backbone.calls == calls + 1
        assert len(entry.tangents) == directions
        again = cached_tangents(backbone, frames, tmp_path, settings)[0]
        assert backbone.calls == calls + 1
        np.testing.assert_array_equal(entry.sketch, again.sketch)


@pytest.mark.parametrize("loss", ["huber", "likelihood"])
def test_other_losses_refuse_sketched_frames(backbone, make_crystal, make_frames, tmp_path, loss):
    training = TrainingSettings(exact_up_to_atoms=4, random_directions=12, loss=loss)
    with pytest.raises(TrainingDataError, match=r"8 atoms.*exact_up_to_atoms = 4.*set loss to squared"):
        _train(backbone, make_frames([make_crystal(0)]), training, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sketched_and_exact_frames_train_together(backbone, make_crystal, make_methanol, make_frames, tmp_path):
    frames = make_frames([make_methanol(i) for i in range(8)] + [make_crystal(i) for i in range(8)])
    held_out = make_frames([make_methanol(i) for i in range(70, 75)] + [make_crystal(i) for i in range(70, 75)])
    mixed = TrainingSettings(epochs=150, exact_up_to_atoms=6, random_directions=12)
    errors = [
        _force_mae(_train(backbone, frames, training, tmp_path), held_out)
        for training in (TrainingSettings(epochs=150), mixed)
    ]
    assert errors[1] < 1.25 * errors[0]
    assert errors[1] < _force_mae(CommitteePotential.untrained(backbone), held_out) / 3


@pytest.mark.long
def test_half_the_directions_are_nearly_as_good_on_sevennet(make_crystal, tmp_path):
    """8-atom rocksalt, labels of a better SevenNet."""
    backbone = load_backbone(SevenNetSettings(kind="sevennet", model="7net-0"))
    teacher = load_backbone(SevenNetSettings(kind="sevennet", model="7net-l3i5"))
    structures = [make_crystal(i, strain=0.34, amplitude=0.12) for i in range(20)]
    frames = [_labelled(teacher, f"frame{i}", atoms) for i, atoms in enumerate(structures)]
    errors = [
        _force_mae(_train(backbone, frames[:12], training, tmp_path), frames[12:])
        for training in (TrainingSettings(epochs=150), SKETCHED.model_copy(update={"epochs": 150}))
    ]
    assert errors[1] < 1.25 * errors[0]
    assert errors[1] < _force_mae(CommitteePotential.untrained(backbone), frames[12:]) / 2


def _labelled(teacher, name, atoms):
    evaluation = teacher.evaluate([atoms])
    forces, _ = evaluation.foundation()
    return TrainingFrame(name, atoms, float(evaluation.energy.detach()), forces.double().numpy(), group=name)


def _train(backbone, frames, training, folder):
    committee = CommitteeSettings(members=3, hidden_channels=16)
    return train(backbone, frames, committee=committee, training=training, cache_folder=folder, seed=0)


def _force_mae(potential, frames):
    found = potential.predict([frame.atoms for frame in frames])
    return np.mean([np.abs(p.forces - f.forces_eV_per_A).mean() for p, f in zip(found, frames, strict=True)])
