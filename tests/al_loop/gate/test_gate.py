"""Verdicts of the gate."""

from dataclasses import replace

import numpy as np
import pytest

from al_loop.gate.gate import Gate, GatedPrediction
from al_loop.records import Lane, Verdict, VerdictKind
from committee.uncertainty.calibration import Calibration


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(0)
    sigmas = [rng.lognormal(-3, 0.7) * rng.uniform(0.5, 1.5, 5) for _ in range(60)]
    errors = [sigma * np.abs(rng.normal(0, 1, 5)) for sigma in sigmas]
    distances = [rng.uniform(0.5, 2.0, 5) for _ in range(60)]
    # Errors follow the spread alone.
    return Calibration.fit(errors, sigmas, distances, tolerance_eV_per_A=0.2, confidence=0.9)


def verdict_of(calibration, sigma, distance, physics=None):
    lanes = Gate(calibration).lanes(physics, np.asarray(sigma, float), np.asarray(distance, float))
    return GatedPrediction(None, lanes).verdict


def test_before_the_first_labels_everything_is_suspect():
    verdict = GatedPrediction(None, Gate(None).lanes(None, None, None)).verdict
    assert (verdict.kind, verdict.lane) == (VerdictKind.SUSPECT, Lane.UNCALIBRATED)


def test_too_few_calibration_frames_calibrate_nothing():
    few = Calibration.fit([np.ones(3)], [np.ones(3)], [np.ones(3)], tolerance_eV_per_A=0.2)
    assert verdict_of(few, [1e-6] * 3, [0.1] * 3).lane is Lane.UNCALIBRATED


def test_a_quiet_frame_is_trusted(calibration):
    assert verdict_of(calibration, [1e-3] * 3, [0.5] * 3).kind is VerdictKind.TRUSTED


def test_the_force_lane_points_at_the_atom(calibration):
    verdict = verdict_of(calibration, [1e-3, 0.3, 1e-3], [1.5] * 3)
    assert (verdict.kind, verdict.lane, verdict.atoms) == (VerdictKind.SUSPECT, Lane.FORCE_UNCERTAINTY, (1,))
    assert "max_devi_f 0.300 eV/Å" in verdict.reason


def test_beyond_the_discard_threshold_the_trajectory_ends(calibration):
    verdict = verdict_of(calibration, [1e3] * 2, [0.5] * 2)
    assert (verdict.kind, verdict.stop) == (VerdictKind.DISCARD, True)


def test_the_latent_lane_speaks_where_the_committee_is_silent(calibration):
    verdict = verdict_of(calibration, [1e-3] * 3, [0.5, 0.5, 9.0])
    assert (verdict.lane, verdict.atoms) == (Lane.LATENT_DISTANCE, (2,))


def test_the_threshold_is_about_the_most_uncertain_atoms_together(calibration):
    strict = replace(calibration, trust_threshold=0.1, latent_threshold=9.0)
    assert verdict_of(strict, [0.01, 0.01, 0.25], [1.0] * 3).kind is VerdictKind.TRUSTED
    assert verdict_of(strict, [0.01, 0.01, 0.29], [1.0] * 3).atoms == (2,)
    assert verdict_of(strict, [0.01, 0.05, 0.01], [1.0, 6.0, 1.0]).atoms == (1,)


def test_nan_is_never_trusted(calibration):
    assert verdict_of(calibration, [np.nan, 1e-3], [0.5, 0.5]).kind is VerdictKind.DISCARD
    assert verdict_of(calibration, [1e-3, 1e-3], [np.nan, 0.5]).kind is VerdictKind.DISCARD


def test_physics_is_asked_first(calibration):
    broken = Verdict(VerdictKind.DISCARD, Lane.PHYSICS, "broken", stop=True)
    assert verdict_of(calibration, [1e-3] * 2, [0.5] * 2, broken) is broken


def test_each_lane_has_its_own_verdict(calibration):
    broken = Verdict(VerdictKind.SUSPECT, Lane.PHYSICS, "broken", (0,), stop=True)
    lanes = Gate(calibration).lanes(broken, np.array([1e-3, 0.3]), np.array([9.0, 0.5]))
    assert list(lanes) == [Lane.PHYSICS, Lane.FORCE_UNCERTAINTY, Lane.LATENT_DISTANCE]
    assert lanes[Lane.PHYSICS] is broken
    assert (lanes[Lane.FORCE_UNCERTAINTY].kind, lanes[Lane.FORCE_UNCERTAINTY].atoms) == (VerdictKind.SUSPECT, (1,))
    assert (lanes[Lane.LATENT_DISTANCE].kind, lanes[Lane.LATENT_DISTANCE].atoms) == (VerdictKind.SUSPECT, (0,))
    assert all(verdict.reason for verdict in lanes.values())


def test_lanes_that_trust_say_what_they_saw(calibration):
    lanes = Gate(calibration).lanes(None, np.array([1e-3, 2e-3]), np.array([0.5, 0.7]))
    assert {verdict.kind for verdict in lanes.values()} == {VerdictKind.TRUSTED}
    assert "max_devi_f 0.002" in lanes[Lane.FORCE_UNCERTAINTY].reason
    assert "0.7" in lanes[Lane.LATENT_DISTANCE].reason


def test_nan_is_pointed_at(calibration):
    lanes = Gate(calibration).lanes(None, np.array([1e-3, np.nan]), np.array([np.nan, 0.5]))
    assert lanes[Lane.FORCE_UNCERTAINTY].atoms == (0, 1)
    assert (lanes[Lane.LATENT_DISTANCE].kind, lanes[Lane.LATENT_DISTANCE].atoms) == (VerdictKind.SUSPECT, (0,))
