import numpy as np
import pytest
import torch

from committee.backbones import load_backbone
from committee.errors import TrainingDataError
from committee.model.directions import orthonormal
from committee.model.heads import ResidualHeads
from committee.model.tangents import TangentCache, compute_tangents, structure_hash
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, SevenNetSettings, TrainingSettings
from committee.training.losses import member_losses
from committee.training.train import train
from committee.training.training_frame import TrainingFrame
from committee.training.training_set import TrainingSet, directions_of

EXACT = TrainingSettings(exact_up_to_atoms=32)
RANDOM = TrainingSettings(exact_up_to_atoms=4, random_directions=12)
FEW = TrainingSettings(exact_up_to_atoms=4, random_directions=6, fitted_directions=4)
COMMITTEE = CommitteeSettings(members=3, hidden_channels=16, switch_start=0.5, switch_end=3.0)


def test_directions_are_random_above_the_threshold_and_where_they_save_something():
    assert TrainingSettings(exact_up_to_atoms=8).random_count(8, strained=True) is None
    assert RANDOM.random_count(8, strained=True) == 12
    for count, expected in ((28, 28), (29, None)):
        training = TrainingSettings(exact_up_to_atoms=4, random_directions=count)
        assert training.random_count(8, strained=True) == expected
    assert FEW.random_count(8, strained=True) == 6
    assert FEW.random_count(6, strained=False) is None


@pytest.mark.parametrize("strained", [True, False])
def test_by_default_frames_of_more_than_32_atoms_have_96_random_directions(strained):
    for default in (TrainingSettings(), TrainingSettings(loss="huber"), TrainingSettings(validation_fraction=0.2)):
        assert default.random_count(32, strained=strained) is None
        assert default.random_count(33, strained=strained) == 96
        assert default.random_count(1000, strained=strained) == 96
    assert TrainingSettings().fitted_directions == 0


def test_a_structure_always_has_the_same_directions(make_crystal, make_frames):
    one, other = make_frames([make_crystal(0), make_crystal(1)])
    first, again, second = (_first(frame) for frame in (one, one, other))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_tangents_along_random_directions_are_combinations_of_the_exact_ones(backbone, make_crystal, make_frames):
    frames = make_frames([make_crystal(1), make_crystal(2)])
    structures = [frame.atoms for frame in frames]
    exact = compute_tangents(backbone, structures)
    random = compute_tangents(backbone, structures, [directions_of(frame, RANDOM) for frame in frames])
    for one, two in zip(exact, random, strict=True):
        assert one.is_exact
        assert not two.is_exact
        assert len(two.directions) == 13
        np.testing.assert_allclose(two.tangents, np.tensordot(two.directions, one.tangents, 1), atol=1e-6)
        np.testing.assert_array_equal(one.forces, two.forces)


def test_the_first_direction_is_that_of_the_foundations_error(backbone, make_crystal, make_frames):
    (frame,) = make_frames([make_crystal(1)])
    entry = compute_tangents(backbone, [frame.atoms], [directions_of(frame, RANDOM)])[0]
    plan = directions_of(frame, RANDOM)
    scales = plan.scales(8, entry.stress, float(entry.volume))
    errors = scales * plan.errors(entry.forces, entry.stress, float(entry.volume))
    combinations, weights = orthonormal(entry.directions, scales, 12)
    directions = combinations @ entry.directions / scales
    np.testing.assert_allclose(directions @ directions.T, np.eye(13), atol=1e-5)
    along = directions @ errors
    assert abs(along[0]) == pytest.approx(np.linalg.norm(errors), rel=1e-5)
    np.testing.assert_allclose(along[1:], 0, atol=1e-5 * abs(along[0]))
    assert weights[0] == 1
    np.testing.assert_allclose(weights[1:], 29 / 12)


@pytest.mark.parametrize("labels", ["all", "forces", "stress", "molecule"])
def test_the_loss_of_random_directions_is_unbiased(backbone, make_crystal, make_methanol, make_frames, labels):
    """The mean over many structures' directions is the exact loss, within its own standard error."""
    atoms = make_methanol(1) if labels == "molecule" else make_crystal(1)
    frame = _part(make_frames([atoms])[0], labels)
    (exact,) = compute_tangents(backbone, [atoms])
    plan = directions_of(frame, TrainingSettings(exact_up_to_atoms=1, random_directions=3))
    scales = plan.scales(len(atoms), exact.stress, float(exact.volume))
    errors = plan.errors(exact.forces, exact.stress, float(exact.volume))
    of_fit = np.random.default_rng(0).normal(size=len(scales)) * np.abs(errors).max()
    losses = []
    for i in range(3000):
        combinations, weights = orthonormal(rows := plan.first(errors, scales, str(i)), scales, plan.count)
        losses.append(weights @ np.square(combinations @ rows @ of_fit))
    standard_error = np.std(losses) / len(losses) ** 0.5
    assert np.mean(losses) == pytest.approx(np.square(scales * of_fit).sum(), abs=3 * standard_error)
    assert standard_error < 0.05 * np.mean(losses)


def test_as_many_directions_as_coordinates_give_the_exact_loss(backbone, make_crystal, make_frames):
    (frame,) = make_frames([make_crystal(1)])
    entries = [compute_tangents(backbone, [frame.atoms], [plan])[0] for plan in (None, directions_of(frame, RANDOM))]
    (more,) = compute_tangents(backbone, [frame.atoms], [_with_count(frame, 40)])
    exact, few, spanning = (_loss(TrainingSet([frame], [entry])) for entry in (*entries, more))
    torch.testing.assert_close(spanning, exact, rtol=1e-4, atol=0)
    assert not torch.allclose(few, exact, rtol=1e-4)


def test_a_fitted_direction_makes_the_gradient_exact(backbone, make_crystal, make_frames, tmp_path):
    """Where the error along it is the whole error, the loss and its gradient are those of the exact tangents."""
    frames = make_frames([make_crystal(1), make_crystal(2)])
    structures = [(frame.id, frame.atoms) for frame in frames]
    plans = [directions_of(frame, RANDOM) for frame in frames]
    cache = TangentCache(backbone, tmp_path)
    exact = TrainingSet(frames, compute_tangents(backbone, [frame.atoms for frame in frames]))
    random = cache.read(structures, plans)
    committee = CommitteeSettings(members=2, hidden_channels=16, switch_start=0.5, switch_end=3.0)
    heads, latent = _heads(committee, 5.0), exact.latent()
    for parameter in heads.stack.parameters():  # one head only: its error is that of the mean
        parameter.data[:] = parameter.data[:1]
    slopes = exact.correction_slopes(heads, latent, committee)
    fitted = TrainingSet(frames, cache.extend(structures, random, plans, slopes))
    assert [entry.n_fitted for entry in fitted.tangents] == [1, 1]
    (wanted, slope), (found, slope_found), (poor, _) = (
        _loss_and_gradient(labelled, heads, latent, committee)
        for labelled in (exact, fitted, TrainingSet(frames, random))
    )
    assert found == pytest.approx(wanted, rel=1e-4)
    assert poor != pytest.approx(wanted, rel=1e-2)
    torch.testing.assert_close(slope_found, slope, rtol=0, atol=2e-4 * float(slope.abs().max()))


def test_fitted_directions_are_computed_once(backbone, make_crystal, make_methanol, make_frames, tmp_path):
    frames = make_frames([make_crystal(i) for i in range(4)] + [make_methanol(i) for i in range(3)])
    training = FEW.model_copy(update={"epochs": 20, "random_directions": 4})
    first = _train(backbone, frames[:6], training, tmp_path)
    calls = backbone.calls
    again = _train(backbone, frames[:6], training, tmp_path)
    assert backbone.calls == calls
    for one, two in zip(first.heads.parameters(), again.heads.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    _train(backbone, frames, training, tmp_path)
    assert backbone.calls == calls + 5  # the new frame: its first directions, then one evaluation for each fitted one


def test_without_fitted_directions_heads_do_not_depend_on_the_cache(backbone, make_crystal, make_frames, tmp_path):
    frames = make_frames([make_crystal(i) for i in range(6)])
    training = RANDOM.model_copy(update={"epochs": 20})
    used, empty = tmp_path / "used", tmp_path / "empty"
    fitted = _train(backbone, frames[:4], training.model_copy(update={"fitted_directions": 1}), used)
    heads = [_train(backbone, frames, training, folder).heads.stack.w1 for folder in (used, used, empty)]
    for other in heads[1:]:
        torch.testing.assert_close(other, heads[0], rtol=0, atol=0)
    assert not torch.equal(fitted.heads.stack.w1, _train(backbone, frames[:4], training, empty).heads.stack.w1)


def test_by_default_large_frames_learn_as_from_all_coordinates(backbone, make_crystal, make_frames, tmp_path):
    """64 atoms: 97 directions of 198 coordinates."""
    structures = [make_crystal(i).repeat(2) for i in range(12)]
    for i, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=i)
    frames = make_frames(structures)
    default, exact = TrainingSettings(epochs=150), TrainingSettings(epochs=150, exact_up_to_atoms=64)
    assert directions_of(frames[0], default).count == 96
    random, full = (_train(backbone, frames[:8], training, tmp_path) for training in (default, exact))
    assert _force_mae(random, frames[8:]) < 1.1 * _force_mae(full, frames[8:])
    assert _stress_mae(random, frames[8:]) < 1.1 * _stress_mae(full, frames[8:])
    assert _force_mae(random, frames[8:]) < _force_mae(CommitteePotential.untrained(backbone), frames[8:]) / 3


def test_a_changed_label_gets_directions_of_its_own(backbone, make_crystal, make_frames, tmp_path):
    (frame,) = make_frames([make_crystal(0)])
    other = TrainingFrame(frame.id, frame.atoms, frame.energy_eV, 2 * frame.forces_eV_per_A, frame.stress_eV_per_A3)
    calls = backbone.calls
    one, two = (TrainingSet.read(backbone, [label], tmp_path, RANDOM).tangents[0] for label in (frame, other))
    assert backbone.calls == calls + 2
    np.testing.assert_array_equal(one.directions[1:], two.directions[1:])
    assert not np.allclose(one.directions[0], two.directions[0])


def test_a_frame_with_an_energy_only_needs_no_directions(backbone, make_crystal, make_frames, tmp_path):
    frames = [_part(frame, "energy") for frame in make_frames([make_crystal(i) for i in range(4)])]
    entries = TrainingSet.read(backbone, frames, tmp_path, RANDOM).tangents
    assert all(len(entry.tangents) == 0 for entry in entries)
    potential = _train(backbone, frames, FEW.model_copy(update={"epochs": 30}), tmp_path)
    found = potential.predict([frame.atoms for frame in frames])
    assert np.mean([abs(p.energy - f.energy_eV) for p, f in zip(found, frames, strict=True)]) < 0.1


def test_changed_settings_never_reuse_the_other_kind(backbone, make_crystal, make_frames, tmp_path):
    frames = make_frames([make_crystal(0)])
    for settings, directions in ((EXACT, 30), (RANDOM, 13), (EXACT, 30), (FEW, 7)):
        calls = backbone.calls
        entry = TrainingSet.read(backbone, frames, tmp_path, settings).tangents[0]
        assert backbone.calls == calls + 1
        assert len(entry.tangents) == directions
        again = TrainingSet.read(backbone, frames, tmp_path, settings).tangents[0]
        assert backbone.calls == calls + 1
        np.testing.assert_array_equal(entry.directions, again.directions)


@pytest.mark.parametrize("loss", ["huber", "likelihood"])
def test_other_losses_refuse_random_directions(backbone, make_crystal, make_frames, tmp_path, loss):
    training = TrainingSettings(exact_up_to_atoms=4, random_directions=12, loss=loss)
    with pytest.raises(TrainingDataError, match=r"8 atoms.*exact_up_to_atoms = 4.*set loss to squared"):
        _train(backbone, make_frames([make_crystal(0)]), training, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_random_and_exact_frames_train_together(backbone, make_crystal, make_methanol, make_frames, tmp_path):
    frames = make_frames([make_methanol(i) for i in range(8)] + [make_crystal(i) for i in range(8)])
    held_out = make_frames([make_methanol(i) for i in range(70, 75)] + [make_crystal(i) for i in range(70, 75)])
    mixed = FEW.model_copy(update={"epochs": 150, "exact_up_to_atoms": 6})
    errors = [
        _force_mae(_train(backbone, frames, training, tmp_path), held_out)
        for training in (TrainingSettings(epochs=150, exact_up_to_atoms=32), mixed)
    ]
    assert errors[1] < 1.1 * errors[0]
    assert errors[1] < _force_mae(CommitteePotential.untrained(backbone), held_out) / 3


@pytest.mark.long
def test_few_directions_are_as_good_as_all_on_sevennet(make_crystal, tmp_path):
    """8-atom rocksalt, labels of a better SevenNet."""
    backbone = load_backbone(SevenNetSettings(kind="sevennet", model="7net-0"))
    teacher = load_backbone(SevenNetSettings(kind="sevennet", model="7net-l3i5"))
    structures = [make_crystal(i, strain=0.34, amplitude=0.12) for i in range(20)]
    frames = [_labelled(teacher, f"frame{i}", atoms) for i, atoms in enumerate(structures)]
    errors = [
        _force_mae(_train(backbone, frames[:12], training, tmp_path), frames[12:])
        for training in (TrainingSettings(epochs=150), FEW.model_copy(update={"epochs": 150}))
    ]
    assert errors[1] < 1.1 * errors[0]
    assert errors[1] < _force_mae(CommitteePotential.untrained(backbone), frames[12:]) / 2


def _first(frame):
    plan = directions_of(frame, RANDOM)
    scales = plan.scales(8, np.zeros(6), 100.0)
    return plan.first(plan.errors(np.zeros((8, 3)), np.zeros(6), 100.0), scales, structure_hash(frame.atoms))


def _part(frame, labels):
    return TrainingFrame(
        frame.id,
        frame.atoms,
        frame.energy_eV if labels == "energy" else np.nan,
        frame.forces_eV_per_A if labels in {"all", "forces", "molecule"} else None,
        frame.stress_eV_per_A3 if labels in {"all", "stress"} else None,
        group=frame.group,
    )


def _with_count(frame, count):
    from dataclasses import replace

    return replace(directions_of(frame, RANDOM), count=count)


def _heads(committee, scale=0.2):
    heads = ResidualHeads(committee, 12, (1, 6, 8, 11, 17), seed=3)
    with torch.no_grad():
        heads.stack.w3.normal_(generator=torch.Generator().manual_seed(0)).mul_(scale)
    return heads


def _loss(labelled):
    training, heads = TrainingSettings(energy_weight=0.0), _heads(COMMITTEE).requires_grad_(False)
    data = labelled.dense(heads, labelled.shifts(training), labelled.latent(), COMMITTEE, training)
    return member_losses(data.errors(heads), training)[:, 0]


def _loss_and_gradient(labelled, heads, latent, committee):
    training = TrainingSettings(energy_weight=0.0)
    heads.zero_grad()
    data = labelled.dense(heads, labelled.shifts(training), latent, committee, training)
    loss = member_losses(data.errors(heads), training).sum()
    loss.backward()
    return float(loss.detach()), heads.stack.w1.grad.clone()


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


def _stress_mae(potential, frames):
    found = potential.predict([frame.atoms for frame in frames])
    return np.mean([np.abs(p.stress - f.stress_eV_per_A3).mean() for p, f in zip(found, frames, strict=True)])
