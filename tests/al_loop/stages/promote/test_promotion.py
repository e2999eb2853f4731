"""Each criterion accepts a good candidate and rejects one that is bad in its own way."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from al_loop.config import PromoteSettings
from al_loop.stages.evaluate.errors import evaluate
from al_loop.stages.promote.dimer_repulsion import dimers, repulsion
from al_loop.stages.promote.energy_conservation import (
    ConstantEnergyRun,
    EnergyConservation,
    conserves_energy,
    start_replicas,
    total_energies,
)
from al_loop.stages.promote.error_guarantee import error_guarantee
from al_loop.stages.promote.forgetting import ProbeFrames, no_harm
from al_loop.stages.promote.label_errors import earlier, held_back, newest
from al_loop.stages.promote.predictions import ForceErrors, FoundationDeviation
from al_loop.stages.promote.promotion import evaluate_candidate
from committee import CommitteePotential, CommitteeSettings
from committee.uncertainty.calibration import Calibration
from dft_interfaces.label import Label, LabelStatus

SETTINGS = PromoteSettings()
FAR = SETTINGS.far_latent_distance
WITHOUT_FADE = CommitteeSettings(members=4, hidden_channels=16, switch_start=1e6, switch_end=2e6)
ELEMENTS = frozenset({13, 29})
FEW_EPOCHS = 60
NAMES = (
    "held-back labels",
    "newest labels",
    "earlier labels",
    "foundation's frames",
    "dimers repel",
    "energy conserved",
    "error guarantee",
)


@pytest.fixture(scope="module")
def wrong_sign(laboratory, first_labels, new_labels):
    """Trained on forces of the wrong sign."""
    return laboratory.train([_turned(frame) for frame in (*first_labels, *new_labels)], epochs=FEW_EPOCHS)


@pytest.fixture(scope="module")
def hot_without_fade(laboratory):
    """Trained on hot frames only, and trusted everywhere."""
    return laboratory.train(laboratory.frames(8, seed=5, rattle_A=0.3), WITHOUT_FADE, epochs=FEW_EPOCHS)


@pytest.fixture(scope="module")
def without_fade(laboratory, first_labels):
    """Trained correctly, but the correction does not vanish where there are no labels."""
    return laboratory.train(first_labels, WITHOUT_FADE, epochs=FEW_EPOCHS)


@pytest.fixture(scope="module")
def attracting(laboratory, foundation, first_labels):
    """Trained on labels with attraction at short distances."""
    pairs = [atoms for a, b in ((13, 13), (13, 29), (29, 29)) for atoms in dimers(a, b)]
    labels = [
        replace(frame, label=Label(LabelStatus.CONVERGED, "level", -prediction.energy, -prediction.forces))
        for frame, prediction in zip(laboratory.label(pairs), foundation.predict(pairs), strict=True)
    ]
    return laboratory.train([*first_labels, *labels], epochs=FEW_EPOCHS)


@pytest.fixture(scope="module")
def rough(good):
    """Scaled weights: an energy surface too rough for the time step."""
    heads = deepcopy(good.heads)
    heads.stack.w1.mul_(30)
    heads.stack.w3.mul_(30)
    return _with_heads(good, heads)


@pytest.fixture(scope="module")
def undefined(good):
    heads = deepcopy(good.heads)
    heads.stack.w3.fill_(np.nan)
    return _with_heads(good, heads)


def test_a_good_candidate_is_served_and_every_criterion_has_its_number(good, served, evidence):
    promotion = evaluate_candidate(good, served, evidence, SETTINGS)
    assert promotion.promoted
    assert tuple(criterion.name for criterion in promotion.criteria) == NAMES
    assert all(criterion.passed for criterion in promotion.criteria)
    for criterion in promotion.criteria:
        assert criterion.value is not None
        assert criterion.limit is not None
        assert criterion.value <= criterion.limit
    assert promotion.force_mae_candidate < promotion.force_mae_served
    assert promotion.reason.startswith("held-back labels: force MAE 0.0")


def test_every_criterion_is_evaluated_after_one_has_failed(wrong_sign, served, evidence):
    promotion = evaluate_candidate(wrong_sign, served, evidence, SETTINGS)
    assert not promotion.promoted
    assert tuple(criterion.name for criterion in promotion.criteria) == NAMES
    failed = [criterion for criterion in promotion.criteria if not criterion.passed]
    assert len(failed) >= 4
    assert all(f"{criterion.name}: {criterion.sentence}" in promotion.reason for criterion in failed)


def test_a_candidate_without_finite_numbers_is_rejected_by_all_that_ask_it(undefined, served, evidence):
    promotion = evaluate_candidate(undefined, served, evidence, SETTINGS)
    assert [c.name for c in promotion.criteria if c.passed] == ["error guarantee"]  # which was calibrated before
    assert promotion.force_mae_candidate is None
    assert "not finite" in promotion.reason


def test_held_back_labels(good, wrong_sign, served, evidence):
    assert held_back(ForceErrors.of(good, served, evidence.held_back), evidence.held_back, 1.0).passed
    worse = held_back(ForceErrors.of(wrong_sign, served, evidence.held_back), evidence.held_back, 1.0)
    assert not worse.passed
    assert worse.value > 5
    assert "on 20 calibration frames" in worse.sentence


def test_without_held_back_labels_nothing_is_served(good, evidence):
    errors = ForceErrors({})
    criteria = (
        held_back(errors, (), 1.0),
        no_harm(good, evidence.probe, errors.foundation_error(()), 0.1, FAR),
    )
    for criterion in criteria:
        assert not criterion.passed
        assert "there are no calibration labels" in criterion.sentence


def test_newest_labels(good, wrong_sign, served, evidence):
    assert newest(ForceErrors.of(good, served, evidence.newest), evidence.newest, 1.0).passed
    assert not newest(ForceErrors.of(wrong_sign, served, evidence.newest), evidence.newest, 1.0).passed


def test_a_model_that_learnt_nothing_new_is_not_served(served, evidence):
    same = newest(ForceErrors.of(served, served, evidence.newest), evidence.newest, 1.0)
    assert not same.passed
    assert same.value == 1.0
    assert not newest(ForceErrors({}), (), 1.0).passed


def test_earlier_labels(good, hot_without_fade, served, evidence):
    assert looked_back(good, served, evidence.earlier, evidence).passed
    forgetful = looked_back(hot_without_fade, served, evidence.earlier, evidence)
    assert not forgetful.passed
    assert forgetful.value > 1.5
    assert "6 labels of former rounds" in forgetful.sentence


def test_a_model_that_has_learnt_few_labels_by_heart_is_no_measure(laboratory, good, first_labels, evidence):
    """The error on labels that were trained on rises as labels are added, while every other error falls."""
    by_heart = laboratory.train(first_labels[:3], epochs=300)
    errors = ForceErrors.of(good, by_heart, (*first_labels[:3], *evidence.held_back))
    new, old, _ = errors.mae(first_labels[:3])
    assert new > 1.1 * old
    assert held_back(errors, evidence.held_back, 1.0).passed
    assert earlier(errors, first_labels[:3], evidence.held_back, 0.1).passed


def looked_back(candidate, served, frames, evidence):
    errors = ForceErrors.of(candidate, served, (*frames, *evidence.held_back))
    return earlier(errors, frames, evidence.held_back, 0.1)


def test_before_there_are_earlier_labels_none_can_be_forgotten():
    criterion = earlier(ForceErrors({}), (), (), 0.1)
    assert criterion.passed
    assert criterion.value is None


def test_foundations_frames(good, wrong_sign, without_fade, served, evidence):
    foundation = ForceErrors.of(good, served, evidence.held_back).foundation_error(evidence.held_back)
    fine = no_harm(good, evidence.probe, foundation, 0.1, FAR)
    assert fine.passed
    assert 0 < fine.value < fine.limit
    for bad in (wrong_sign, without_fade):
        harmful = no_harm(bad, evidence.probe, foundation, 0.1, FAR)
        assert not harmful.passed
        assert harmful.value > harmful.limit
        assert harmful.limit >= 0.4583 * foundation.rmse  # sqrt(1.1² - 1)


def test_the_foundations_error_grows_with_the_forces_and_never_shrinks():
    error = FoundationDeviation(rmse=0.2, rms_force=2.0)
    assert error.expected(6.0) == pytest.approx(0.6)
    assert error.expected(0.5) == 0.2
    assert FoundationDeviation(rmse=0.2, rms_force=0.0).expected(6.0) == 0.2


def test_a_correction_near_the_labels_is_not_called_forgetting(good, foundation, evidence):
    """It is as large as the foundation's error there, many times what is allowed far away."""
    at_home = [frame.atoms for frame in evidence.newest]
    forces = tuple(prediction.forces for prediction in foundation.predict(at_home))
    criterion = no_harm(good, ProbeFrames(tuple(at_home), forces), FoundationDeviation(0.01, 1.0), 0.1, FAR)
    assert criterion.passed
    assert "0 of 10 probe frames are far" in criterion.sentence


def test_the_probe_set_is_far_from_the_labels_and_healthy(good, evidence):
    assert len(evidence.probe.atoms) == 6
    for atoms, prediction in zip(evidence.probe.atoms, good.predict(list(evidence.probe.atoms)), strict=True):
        assert prediction.latent_distance.min() > SETTINGS.far_latent_distance
        assert atoms.get_all_distances(mic=True)[np.triu_indices(4, 1)].min() > 1.6


def test_the_probe_set_is_kept_as_it_is(evidence):
    molecule = Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]], info={"charge": -1, "spin": 1}, magmoms=[1.0, 0.0])
    frames = ProbeFrames((*evidence.probe.atoms, molecule), (*evidence.probe.forces, np.ones((2, 3))))
    again = ProbeFrames.from_arrays(frames.to_arrays())
    assert again.atoms[-1].info == molecule.info
    assert again.atoms[-1].get_initial_magnetic_moments().tolist() == [1.0, 0.0]
    for old, new, forces, kept in zip(frames.atoms, again.atoms, frames.forces, again.forces, strict=True):
        assert new == old
        assert kept.tobytes() == forces.tobytes()
    assert ProbeFrames.from_arrays(ProbeFrames((), ()).to_arrays()).atoms == ()


def test_dimers(good, attracting):
    criterion = repulsion(good, ELEMENTS)
    assert criterion.passed
    assert "0 of 3 pairs attract" in criterion.sentence
    bad = repulsion(attracting, ELEMENTS)
    assert not bad.passed
    assert bad.value >= 1
    assert "eV/Å, the foundation" in bad.sentence


def test_an_untrained_committee_attracts_no_more_than_its_foundation(laboratory):
    """The distilled model itself attracts Cu2 at 0.5 of the sum of radii."""
    bare = CommitteePotential.untrained(laboratory.backbone._features)
    (closest, *_) = bare.predict(dimers(29, 29))
    assert closest.forces[1, 2] < 0
    assert repulsion(bare, {29}).passed


def test_pairs_that_the_foundation_refuses_are_reported(good):
    criterion = repulsion(good, {29, 118})
    assert criterion.passed
    assert "0 of 1 pairs attract" in criterion.sentence
    assert "the foundation refuses them: Cu-Og, Og-Og" in criterion.sentence


def test_dimers_of_a_molecular_foundation_have_the_lowest_multiplicity():
    assert [atoms.info["spin"] for atoms in (dimers(1, 1, spin=True)[0], dimers(1, 8, spin=True)[0])] == [1, 2]
    assert dimers(1, 8)[0].info == {}


def test_energy_is_conserved(good, rough, evidence):
    criterion = conserves_energy(good, evidence.run, 2.0)
    assert criterion.passed
    assert "20 steps of 2 fs" in criterion.sentence
    heated = conserves_energy(rough, evidence.run, 2.0)
    assert not heated.passed
    assert heated.value is None or heated.value > 10 * heated.limit


def test_an_atom_that_cannot_move_conserves_its_energy(good, foundation):
    replicas = start_replicas([bulk("Cu")], 600.0, np.random.default_rng(0))
    run = ConstantEnergyRun(tuple(replicas), 600.0, 2.0, total_energies(foundation, replicas, 2.0, 3))
    assert conserves_energy(good, run, 2.0).passed


def test_drift_and_fluctuation_of_a_known_energy():
    time_ps = np.arange(101) * 0.001
    wave = 0.002 * np.cos(2 * np.pi * time_ps / 0.01)
    measured = EnergyConservation.of(np.stack([-3.0 + 0.5 * time_ps + wave, np.zeros(101)], axis=1), 1.0)
    assert measured.drift == pytest.approx(0.5, rel=0.02)
    assert measured.fluctuation == pytest.approx(0.002 / 2**0.5, rel=0.02)


def test_a_foundation_that_breaks_sets_no_limit(good, evidence):
    broken = replace(evidence.run, foundation=np.full_like(evidence.run.foundation, np.nan))
    criterion = conserves_energy(good, broken, 2.0)
    assert criterion.passed
    assert "the foundation itself" in criterion.sentence


def test_the_guarantee(laboratory, good, calibrate):
    """With three labels of another electronic state among the surest frames, the gate trusts no frame any more."""
    frames = laboratory.frames(40, seed=11)
    healthy = calibrate(good, frames)
    assert error_guarantee(healthy.calibration).passed
    assert healthy.calibration.trusted > 10
    seen = evaluate(frames, good, frozenset())
    checks = zip(seen.atom_uncertainties(), seen.atom_distances(), strict=True)
    surest = np.argsort([healthy.calibration.frame_uncertainty(*check) for check in checks])[:3]
    shifted = [_shifted(frame) if i in surest else frame for i, frame in enumerate(frames)]
    broken = calibrate(good, shifted).calibration
    assert (broken.trust_threshold, broken.trusted) == (0.0, 0)
    assert "no frame can be trusted at 90%" in error_guarantee(broken).sentence


@pytest.mark.parametrize(
    ("changes", "passed", "value", "text"),
    [
        ({"guarantee_proven": True, "trusted": 40, "trusted_error_bound": 0.07}, True, 0.07, "proven at 90%"),
        ({"quantile": None, "frames": 4, "trusted": 0}, True, None, "nothing is guaranteed yet: not enough labels yet"),
        ({"trusted": 0}, True, None, "no frame can be trusted at 90%"),
        ({"trusted": 3, "trusted_exceeding": 1}, True, 0.1, "not contradicted"),
        ({"trusted": 3, "trusted_exceeding": 2}, False, 0.2, "contradicted"),
        ({"trusted": 50, "trusted_exceeding": 6}, False, 0.12, "contradicted: share 12%, at most 10% may"),
    ],
)
def test_a_guarantee_with_few_labels(good, changes, passed, value, text):
    start = {"guarantee_proven": False, "trusted_exceeding": 0, "trusted_error_bound": 0.5}
    criterion = error_guarantee(replace(good.calibration, **{**start, **changes}))
    assert criterion.passed is passed
    assert criterion.value == (None if value is None else pytest.approx(value))
    assert text in criterion.sentence


@pytest.mark.parametrize(
    ("served_is_proven", "ratio", "passed"),
    [(True, 0.9, False), (True, None, False), (True, float("nan"), False), (True, 0.4, True), (False, 0.9, True)],
)
def test_a_proven_model_is_not_replaced_by_one_that_trusts_nothing(good, served_is_proven, ratio, passed):
    served = replace(good.calibration, guarantee_proven=served_is_proven, trusted=40)
    candidate = replace(good.calibration, guarantee_proven=False, trusted=0, trust_threshold=0.0)
    criterion = error_guarantee(candidate, served, ratio)
    assert criterion.passed is passed
    assert "no frame can be trusted at 90%" in criterion.sentence
    assert "label more frames, or raise gate.force_tolerance_eV_per_A" in criterion.sentence
    assert ("the served model's guarantee is proven (0.3 eV/Å)" in criterion.sentence) is served_is_proven
    trusting = replace(candidate, trusted=20, trust_threshold=0.1)
    assert error_guarantee(trusting, served, ratio).passed
    assert error_guarantee(replace(candidate, tolerance_eV_per_A=0.1), served, ratio).passed  # proven at 0.3 eV/Å only


def test_a_promoted_candidate_that_trusts_nothing_says_so(good, served, evidence):
    """On real predictions: a tolerance that no error reaches; the served model has no proof to lose."""
    strict = _calibrated_at(good, evidence.held_back, 1e-4)
    assert strict.calibration.trusted == 0
    promotion = evaluate_candidate(strict, served, evidence, SETTINGS)
    assert promotion.promoted
    assert promotion.reason.startswith("held-back labels: force MAE 0.0")
    assert "error guarantee: nothing is guaranteed yet: no frame can be trusted at 90%" in promotion.reason
    as_strict = replace(good.calibration, guarantee_proven=True, tolerance_eV_per_A=1e-4)
    kept = evaluate_candidate(strict, served.with_calibration(as_strict), evidence, SETTINGS)
    assert not kept.promoted
    assert kept.reason.startswith("error guarantee: ")


def test_what_could_not_be_calibrated_guarantees_nothing():
    assert not error_guarantee(None).passed


def _turned(frame):
    return replace(frame, label=replace(frame.label, forces_eV_per_A=-frame.label.forces_eV_per_A))


def _shifted(frame):
    return replace(frame, label=replace(frame.label, forces_eV_per_A=frame.label.forces_eV_per_A + 3.0))


def _with_heads(potential, heads):
    return CommitteePotential(
        potential.backbone,
        potential.settings,
        heads,
        potential.latent,
        potential.shifts,
        potential.provenance,
        potential.calibration,
    )


def _calibrated_at(potential, frames, tolerance_eV_per_A):
    seen = evaluate(frames, potential, frozenset())
    values = seen.atom_errors(), seen.atom_uncertainties(), seen.atom_distances()
    return potential.with_calibration(Calibration.fit(*values, tolerance_eV_per_A=tolerance_eV_per_A))
