import logging
from dataclasses import replace

import numpy as np
import pytest

from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.train import train
from committee.training.validation import split_by_group


def fit(backbone, frames, folder, progress=None, **settings):
    return train(
        backbone,
        frames,
        committee=CommitteeSettings(members=3, hidden_channels=16),
        training=TrainingSettings(**settings),
        cache_folder=folder,
        seed=0,
        progress=progress,
    )


@pytest.fixture
def frames(make_frames, make_crystal, make_methanol):
    """Six trajectories, a molecule and a crystal in each."""
    return make_frames([make_methanol(i) for i in range(6)] + [make_crystal(i) for i in range(6)])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.9])
def test_no_trajectory_is_on_both_sides(seed, fraction):
    groups = [f"trajectory{i // 4}" for i in range(24)]
    kept, held = split_by_group(groups, fraction, seed)
    assert sorted(kept + held) == list(range(24))
    assert not {groups[i] for i in kept} & {groups[i] for i in held}
    assert kept
    assert fraction * 24 <= len(held) <= fraction * 24 + 4 or len(kept) == 4


def test_the_seed_chooses_the_trajectories():
    groups = [str(i) for i in range(50)]
    assert split_by_group(groups, 0.2, 1) == split_by_group(groups, 0.2, 1)
    assert split_by_group(groups, 0.2, 1) != split_by_group(groups, 0.2, 2)


def test_a_single_trajectory_is_not_split_and_that_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        assert split_by_group(["a"] * 5, 0.2, 0) == ([0, 1, 2, 3, 4], [])
    assert "one trajectory" in caplog.text


def test_nothing_is_held_back_by_default():
    assert TrainingSettings().validation_fraction == 0
    assert split_by_group(["a", "b"], 0.0, 0) == ([0, 1], [])


def test_a_hopeless_fit_stops_early_and_returns_the_best_heads(backbone, frames, tmp_path):
    """With a learning rate far too high the best heads are the initial ones, which equal the foundation."""
    epochs = []
    settings = {"learning_rate": 30.0, "epochs": 200, "patience_epochs": 20, "validation_fraction": 0.3}
    potential = fit(backbone, frames, tmp_path, lambda done, _: epochs.append(done), **settings)
    assert epochs[-1] == 20
    found = potential.predict([frames[0].atoms], foundation=True)[0]
    np.testing.assert_allclose(found.forces, found.foundation_forces, atol=1e-9)


def test_frames_held_back_leave_no_trace_but_in_the_shifts(backbone, frames, tmp_path):
    """Other held-out forces and structures leave the latent distance and the scale of the inputs unchanged."""
    settings = {"epochs": 20, "validation_fraction": 0.3, "patience_epochs": 1000}
    _, held = split_by_group([frame.group for frame in frames], 0.3, 0)
    changed = list(frames)
    for i in held:
        moved = frames[i].atoms.copy()
        moved.rattle(0.2, seed=i)
        changed[i] = replace(frames[i], atoms=moved)
    one, two = (fit(backbone, chosen, tmp_path, **settings) for chosen in (frames, changed))
    np.testing.assert_array_equal(one.latent.whiteners_, two.latent.whiteners_)
    np.testing.assert_array_equal(one.heads.mean, two.heads.mean)
    np.testing.assert_array_equal(one.heads.scale, two.heads.scale)


def test_an_element_that_is_only_held_back_keeps_its_reference_shift(backbone, frames, tmp_path):
    """500 eV per atom between the codes, for elements that no frame in the fit holds."""
    crystals = [replace(frame, group="crystals") for frame in frames[6:]]
    molecules = [replace(frame, group="molecules") for frame in frames[:6]]
    potential = fit(backbone, molecules + crystals, tmp_path, epochs=20, validation_fraction=0.4)
    assert {11, 17, 1, 6, 8} <= set(potential.shifts.eV_per_atom)
    found = potential.predict([crystals[0].atoms])[0]
    assert abs(found.energy - crystals[0].energy_eV) / 8 < 1.0


def test_frames_with_random_directions_are_judged_by_their_full_forces(backbone, frames, tmp_path):
    """With exact tangents or random directions the initial score is the same: the foundation's own loss."""
    from committee.training.fitting import fit_heads

    scores = []

    def spy(heads, data, settings, seed, *, score=None, state=None, progress=None):
        if score is not None:
            scores.append(score(heads))
        fit_heads(heads, data, settings, seed, score=score, state=state, progress=progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("committee.training.train.fit_heads", spy)
        for limit in (32, 4):
            settings = {"exact_up_to_atoms": limit, "random_directions": 5, "validation_fraction": 0.3, "epochs": 20}
            fit(backbone, frames, tmp_path, **settings)
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
