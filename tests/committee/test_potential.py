"""The prediction: untrained it equals the foundation, forces are derivatives, the spread is consistent."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell

from committee.errors import FoundationEvaluationError
from committee.model.correction import correct
from committee.model.latent import switching_function
from committee.model.tangents import VOIGT
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings


@pytest.fixture
def structures(make_crystal, make_methanol) -> list[Atoms]:
    return [make_methanol(40), make_crystal(41), make_methanol(42, amplitude=0.12), make_crystal(43, amplitude=0.15)]


@pytest.fixture
def faded(trained, structures) -> CommitteePotential:
    """The trained committee with the test structures inside the fade."""
    distances = np.concatenate([p.latent_distance for p in trained.predict(structures)])
    settings = trained.settings.model_copy(
        update={"switch_start": float(distances.min() / 2), "switch_end": float(distances.max() * 1.2)}
    )
    return CommitteePotential(
        trained.backbone, settings, trained.heads, trained.latent, trained.shifts, trained.provenance
    )


def energy(potential: CommitteePotential, atoms: Atoms) -> float:
    return potential.predict([atoms])[0].energy


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_untrained_mean_is_the_foundation_bit_for_bit(backbone, structures, dtype):
    model = backbone.to(dtype)
    evaluation = model.evaluate(structures)
    forces, stress = evaluation.foundation()
    predictions = CommitteePotential.untrained(model, seed=5).predict(structures, "exact", foundation=True)
    start = 0
    for b, (atoms, prediction) in enumerate(zip(structures, predictions, strict=True)):
        mine = forces[start : start + len(atoms)].double().numpy()
        start += len(atoms)
        assert prediction.energy == prediction.foundation_energy == float(evaluation.energy[b].detach())
        assert np.array_equal(prediction.forces, mine)
        assert np.array_equal(prediction.foundation_forces, mine)
        assert prediction.latent_distance is None
        if atoms.pbc.all():
            rows, columns = zip(*VOIGT, strict=True)
            symmetric = (stress[b] + stress[b].T) / 2
            assert np.array_equal(prediction.stress, symmetric[list(rows), list(columns)].double().numpy())
        else:
            assert prediction.stress is None


def test_priors_spread_an_untrained_committee_and_keep_its_mean(backbone, structures):
    settings = CommitteeSettings(members=4, hidden_channels=16, prior_scale_eV=0.1)
    with_prior = CommitteePotential.untrained(backbone, settings).predict(structures, "exact")
    plain = CommitteePotential.untrained(backbone).predict(structures)
    for left, right, atoms in zip(with_prior, plain, structures, strict=True):
        assert abs(left.energy - right.energy) < 1e-6 * len(atoms)
        np.testing.assert_allclose(left.forces, right.forces, atol=1e-9)
        assert left.forces_uncertainty.max() > 1e-3


def test_forces_are_the_gradient_of_the_mean_with_the_fade_on(faded, structures):
    for atoms in structures:
        prediction = faded.predict([atoms])[0]
        distances, settings = torch.tensor(prediction.latent_distance), faded.settings
        factors = switching_function(distances, settings.switch_start, settings.switch_end)
        assert ((factors > 0.01) & (factors < 0.99)).any()
        for i, axis in ((0, 0), (1, 2), (len(atoms) - 1, 1)):
            moved = [atoms.copy(), atoms.copy()]
            moved[0].positions[i, axis] += 1e-4
            moved[1].positions[i, axis] -= 1e-4
            numeric = -(energy(faded, moved[0]) - energy(faded, moved[1])) / 2e-4
            assert prediction.forces[i, axis] == pytest.approx(numeric, abs=2e-6)


def test_stress_is_the_strain_derivative_of_the_mean_with_the_fade_on(faded, structures):
    for atoms in (a for a in structures if a.pbc.all()):
        prediction = faded.predict([atoms])[0]
        for j, (row, column) in enumerate(VOIGT):
            energies = []
            for sign in (1, -1):
                strain = np.zeros((3, 3))
                strain[row, column] += sign * 5e-6
                strain[column, row] += sign * 5e-6
                strained = atoms.copy()
                strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
                energies.append(energy(faded, strained))
            numeric = (energies[0] - energies[1]) / 2e-5 / atoms.get_volume()
            assert prediction.stress[j] == pytest.approx(numeric, abs=2e-6)


def test_reported_spread_is_that_of_the_reported_ensemble(faded, structures):
    for atoms, p in zip(structures, faded.predict(structures, "exact"), strict=True):
        assert p.energy_ensemble.shape == (4,)
        assert p.energy_uncertainty == pytest.approx(p.energy_ensemble.std(ddof=1), rel=1e-9)
        assert p.energy_ensemble.mean() == pytest.approx(p.energy, abs=1e-8)
        np.testing.assert_allclose(p.forces_uncertainty, p.forces_ensemble.std(0, ddof=1), rtol=1e-9)
        np.testing.assert_allclose(p.forces_ensemble.mean(0), p.forces, atol=1e-10)
        assert p.forces_uncertainty.min() > 0
        if atoms.pbc.all():
            np.testing.assert_allclose(p.stress_uncertainty, p.stress_ensemble.std(0, ddof=1), rtol=1e-9)
            np.testing.assert_allclose(p.stress_ensemble.mean(0), p.stress, atol=1e-12)
        else:
            assert p.stress_uncertainty is None


def test_stress_spread_is_in_eV_per_cubic_angstrom(trained, make_crystal):
    """The members' stresses are the strain derivatives of the members' energies over the volume."""
    atoms = make_crystal(44)
    ensembles = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ np.diag([1 + sign * 1e-5, 1, 1]), scale_atoms=True)
        ensembles.append(trained.predict([strained])[0].energy_ensemble)
    numeric = (ensembles[0] - ensembles[1]) / 2e-5 / atoms.get_volume()
    prediction = trained.predict([atoms], "exact")[0]
    np.testing.assert_allclose(prediction.stress_ensemble[:, 0], numeric, atol=1e-6)


def test_exact_equals_a_loop_over_members(faded, structures):
    """Unfaded member minus unfaded mean, each differentiated by itself."""
    evaluation = faded.backbone.evaluate(structures)
    values, _ = faded.heads(evaluation.features, faded.heads.rows(evaluation.atomic_numbers))
    deviations = values - values.mean(0)
    forces, stress = zip(*(evaluation.derivatives(d.sum(), retain_graph=True) for d in deviations), strict=True)
    predictions = faded.predict(structures, "exact")
    mean = np.concatenate([p.forces for p in predictions])
    reported = np.concatenate([p.forces_ensemble for p in predictions], axis=1)
    np.testing.assert_allclose(reported, mean + torch.stack(forces).numpy(), atol=1e-9)
    xy = np.stack([s[1][0, 1].numpy() for s in stress])
    np.testing.assert_allclose(predictions[1].stress_ensemble[:, 5], predictions[1].stress[5] + xy, atol=1e-9)


def test_probe_is_unbiased(faded, structures):
    exact = faded.predict(structures[:1], "exact")[0]
    probed = faded.predict(structures[:1], "probe", probes=1500, seed=1)[0]
    ratio = probed.forces_uncertainty**2 / exact.forces_uncertainty**2
    # The mean of n squares of normal numbers scatters by √(2/n) = 3.7 %.
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / 1500)
    assert abs(ratio.mean() - 1) < 3 * np.sqrt(2 / 1500)
    assert faded.predict(structures[:1], "probe")[0].forces_ensemble is None


def test_stress_probe_is_unbiased(faded, structures):
    exact = faded.predict(structures[1:2], "exact")[0]
    probed = faded.predict(structures[1:2], "probe", probes=800, seed=2)[0]
    assert np.abs(probed.stress_uncertainty**2 / exact.stress_uncertainty**2 - 1).max() < 5 * np.sqrt(2 / 800)


def test_probes_follow_their_seed(faded, structures):
    first, again, other = (faded.predict(structures[:1], "probe", seed=s)[0].forces_uncertainty for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_doubled_cell_doubles_the_energy(faded, make_crystal):
    atoms = make_crystal(50)
    doubled = make_supercell(atoms, np.diag([2, 1, 1]))
    one, two = faded.predict([atoms, doubled], "exact")
    assert two.energy == pytest.approx(2 * one.energy, abs=1e-8)
    assert two.energy_uncertainty == pytest.approx(2 * one.energy_uncertainty, rel=1e-8)
    np.testing.assert_allclose(two.stress, one.stress, atol=1e-10)


def test_permuted_atoms_permute_the_results(faded, structures):
    for atoms in structures:
        order = np.random.default_rng(0).permutation(len(atoms))
        one, two = faded.predict([atoms, atoms[order]], "exact")
        assert two.energy == pytest.approx(one.energy, abs=1e-8)
        for name in ("forces", "forces_uncertainty", "latent_distance", "features"):
            np.testing.assert_allclose(getattr(two, name), getattr(one, name)[order], atol=1e-10)


def test_batches_of_any_size_agree_and_leave_the_structures_alone(faded, structures):
    before = [atoms.copy() for atoms in structures]
    together = faded.predict(structures, "exact")
    apart = faded.predict(structures, "exact", batch_atoms=1)
    for one, two in zip(together, apart, strict=True):
        assert one.energy == pytest.approx(two.energy, abs=1e-9)
        np.testing.assert_allclose(one.forces, two.forces, atol=1e-10)
        np.testing.assert_allclose(one.forces_ensemble, two.forces_ensemble, atol=1e-10)
    assert before == structures


def test_far_away_only_the_foundation_is_left_but_the_spread_stays(trained, make_methanol):
    settings = trained.settings.model_copy(update={"switch_start": 1e-6, "switch_end": 2e-6})
    gone = CommitteePotential(
        trained.backbone, settings, trained.heads, trained.latent, trained.shifts, trained.provenance
    )
    atoms = make_methanol(60)
    prediction = gone.predict([atoms], "exact", foundation=True)[0]
    np.testing.assert_array_equal(prediction.forces, prediction.foundation_forces)
    assert prediction.energy == prediction.foundation_energy + trained.shifts.total_eV(atoms.numbers)
    assert prediction.forces_uncertainty.min() > 0


def test_element_never_trained_on_is_left_to_the_foundation(trained):
    atoms = Atoms("FH", positions=[[0, 0, 0], [0, 0, 0.95]])
    atoms.numbers[0] = 6
    evaluation = trained.backbone.evaluate([atoms])
    metric_without_carbon = CommitteePotential(
        trained.backbone,
        trained.settings,
        trained.heads,
        _without(trained.latent, 6),
        trained.shifts,
        trained.provenance,
    )
    correction = correct(evaluation, trained.heads, metric_without_carbon.metric, trained.settings)
    assert correction.distance[0] > trained.settings.switch_end
    assert metric_without_carbon.predict([atoms])[0].latent_distance[0] > trained.settings.switch_end


def test_unknown_mode_is_refused(trained, structures):
    with pytest.raises(ValueError, match="'energy', 'probe' or 'exact'"):
        trained.predict(structures, "variance")


def test_a_frame_that_the_foundation_fails_on_is_named_whatever_the_batch(trained, structures, monkeypatch):
    """The index refers to all frames of the call; without that frame the others are predicted."""
    original = trained.backbone.evaluate

    def evaluate(frames):
        for index, atoms in enumerate(frames):
            if np.abs(atoms.positions).max() > 1e4:
                raise FoundationEvaluationError("a model of finite reach", index, str(atoms.symbols), "it failed.")
        return original(frames)

    monkeypatch.setattr(trained.backbone, "evaluate", evaluate)
    frames = [atoms.copy() for atoms in structures]
    frames[2].positions += 1e5
    for batch_atoms in (1, 16, 256):
        with pytest.raises(FoundationEvaluationError, match=r"on frame 2 \(COH4\) it failed") as caught:
            trained.predict(frames, batch_atoms=batch_atoms)
        assert caught.value.frame_index == 2
    del frames[2]
    assert len(trained.predict(frames, batch_atoms=16)) == 3


def test_nan_of_one_frame_stays_in_that_frame(trained, structures):
    frames = [atoms.copy() for atoms in structures]
    frames[1].positions[0] = frames[1].positions[1]
    together = trained.predict(frames, "exact")
    assert not np.isfinite(together[1].energy)
    assert np.isnan(together[1].forces).any()
    for b in (0, 2, 3):
        alone = trained.predict([frames[b]], "exact")[0]
        assert together[b].energy == pytest.approx(alone.energy, abs=1e-9)
        np.testing.assert_allclose(together[b].forces_ensemble, alone.forces_ensemble, atol=1e-10)


def _without(latent, element):
    from sklearn.base import clone

    keep = latent.elements_ != element
    other = clone(latent)
    for name in ("elements_", "means_", "whiteners_", "scales_"):
        setattr(other, name, getattr(latent, name)[keep])
    return other
