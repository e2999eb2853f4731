from dataclasses import replace

import numpy as np
import pytest

from committee.errors import TrainingDataError
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.train import train, training_hash

SHORT = TrainingSettings(epochs=30)


def mae(potential, frames, quantity="forces"):
    predictions = potential.predict([frame.atoms for frame in frames])
    if quantity == "forces":
        return np.mean([np.abs(p.forces - f.forces_eV_per_A).mean() for p, f in zip(predictions, frames, strict=True)])
    if quantity == "energy":
        errors = [abs(p.energy - f.energy_eV) / len(f.atoms) for p, f in zip(predictions, frames, strict=True)]
        return np.mean(errors)
    pairs = [(p.stress, f.stress_eV_per_A3) for p, f in zip(predictions, frames, strict=True) if p.stress is not None]
    return np.mean([np.abs(a - b).mean() for a, b in pairs])


@pytest.fixture
def frames(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(4)] + [make_crystal(i) for i in range(4)])


@pytest.fixture
def held_out(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(70, 76)] + [make_crystal(i) for i in range(70, 76)])


def fit(backbone, frames, folder, training=SHORT, seed=0, **options):
    committee = CommitteeSettings(members=3, hidden_channels=16)
    return train(backbone, frames, committee=committee, training=training, cache_folder=folder, seed=seed, **options)


def test_training_mends_forces_energies_and_stress_on_new_frames(trained, backbone, held_out):
    """500 eV per atom of reference shift included."""
    foundation = CommitteePotential.untrained(backbone)
    assert mae(foundation, held_out, "energy") > 400
    assert mae(trained, held_out, "energy") < 0.02
    assert mae(trained, held_out) < mae(foundation, held_out) / 4
    assert mae(trained, held_out, "stress") < mae(foundation, held_out, "stress") / 4


def test_the_seed_fixes_the_result(backbone, frames, held_out, tmp_path):
    first, again, other = (fit(backbone, frames, tmp_path, seed=seed) for seed in (1, 1, 2))
    atoms = [held_out[0].atoms]
    assert np.array_equal(first.predict(atoms)[0].forces, again.predict(atoms)[0].forces)
    assert not np.array_equal(first.predict(atoms)[0].forces, other.predict(atoms)[0].forces)


def test_retraining_never_touches_the_foundation(backbone, frames, tmp_path):
    fit(backbone, frames, tmp_path)
    calls = backbone.calls
    fit(backbone, frames, tmp_path, seed=9)
    assert backbone.calls == calls


def test_missing_labels_are_left_out_of_the_loss(backbone, frames, held_out, tmp_path):
    partial = [
        replace(
            frame,
            energy_eV=np.nan if i % 2 else frame.energy_eV,
            stress_eV_per_A3=None,
            forces_eV_per_A=None if i == 0 else frame.forces_eV_per_A,
        )
        for i, frame in enumerate(frames)
    ]
    potential = fit(backbone, partial, tmp_path, TrainingSettings(epochs=150))
    assert mae(potential, held_out) < mae(CommitteePotential.untrained(backbone), held_out) / 2
    assert mae(potential, held_out, "energy") < 0.1


def test_forces_alone_can_be_trained_on(backbone, frames, held_out, tmp_path):
    forces_only = [replace(frame, energy_eV=np.nan, stress_eV_per_A3=None) for frame in frames]
    potential = fit(backbone, forces_only, tmp_path, TrainingSettings(epochs=150))
    assert potential.shifts.eV_per_atom == {}
    assert mae(potential, held_out) < mae(CommitteePotential.untrained(backbone), held_out) / 2


def test_a_single_frame_can_be_trained_on(backbone, frames, tmp_path):
    potential = fit(backbone, frames[:1], tmp_path)
    prediction = potential.predict([frames[0].atoms], "exact")[0]
    assert np.isfinite(prediction.forces_uncertainty).all()
    assert np.isfinite(prediction.latent_distance).all()


def test_warm_start_begins_where_the_other_ended(backbone, frames, tmp_path):
    cold = fit(backbone, frames, tmp_path, TrainingSettings(epochs=150))
    warm = fit(backbone, frames, tmp_path, TrainingSettings(epochs=3, learning_rate=1e-4), warm_start=cold)
    fresh = fit(backbone, frames, tmp_path, TrainingSettings(epochs=3, learning_rate=1e-4))
    assert mae(warm, frames) < 1.2 * mae(cold, frames)
    assert mae(fresh, frames) > 2 * mae(warm, frames)


def test_warm_start_leaves_the_served_model_alone(backbone, frames, tmp_path):
    served = fit(backbone, frames, tmp_path)
    before = served.predict([frames[0].atoms])[0].forces
    fit(backbone, frames, tmp_path, warm_start=served)
    assert np.array_equal(served.predict([frames[0].atoms])[0].forces, before)


def test_warm_start_on_another_foundation_is_refused(backbone, frames, tmp_path, other_backbone):
    served = fit(backbone, frames, tmp_path)
    with pytest.raises(TrainingDataError, match="same foundation"):
        fit(other_backbone, frames, tmp_path, warm_start=served)


def test_progress_counts_frames_then_epochs(backbone, frames, tmp_path):
    calls = []
    fit(backbone, frames, tmp_path, progress=lambda *args: calls.append(args))
    assert (8, 8) in calls
    assert calls[-30:] == [(i, 30) for i in range(1, 31)]


def test_training_hash_sees_labels_and_not_their_order(frames):
    assert training_hash(frames) == training_hash(frames[::-1])
    changed = [replace(frames[0], energy_eV=frames[0].energy_eV + 1e-9), *frames[1:]]
    assert training_hash(changed) != training_hash(frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: replace(f, energy_eV=np.inf), "infinite energy"),
        (lambda f: replace(f, forces_eV_per_A=f.forces_eV_per_A * np.nan), "forces with NaN"),
        (lambda f: replace(f, forces_eV_per_A=f.forces_eV_per_A[:-1]), r"forces of shape \(5, 3\), expected \(6, 3\)"),
        (lambda f: replace(f, stress_eV_per_A3=np.zeros((3, 3))), r"stress of shape \(3, 3\), expected \(6,\)"),
        (lambda f: replace(f, stress_eV_per_A3=np.full(6, np.nan)), "stress with NaN"),
        (lambda f: replace(f, id="../elsewhere"), "names a file"),
        (lambda f: replace(f, id="frame1"), "ids"),
    ],
)
def test_bad_labels_are_refused_before_anything_is_written(backbone, frames, tmp_path, change, message):
    with pytest.raises(TrainingDataError, match=message):
        fit(backbone, [change(frames[0]), *frames[1:]], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_frames_are_refused(backbone, tmp_path):
    with pytest.raises(TrainingDataError, match="at least one"):
        fit(backbone, [], tmp_path)


def test_warm_start_keeps_the_inputs_of_known_elements_and_learns_new_ones(backbone, frames, tmp_path):
    molecules, crystals = frames[:4], frames[4:]
    served = fit(backbone, molecules, tmp_path)
    warm = fit(backbone, molecules[:2] + crystals, tmp_path, warm_start=served)
    rows = {z: warm.heads.elements.index(z) for z in (6, 17)}
    assert np.array_equal(warm.heads.mean[rows[6]], served.heads.mean[rows[6]])
    assert not np.array_equal(warm.heads.mean[rows[17]], served.heads.mean[rows[17]])
