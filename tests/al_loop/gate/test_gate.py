"""Verdicts of the gate."""

from dataclasses import replace

import numpy as np
import pytest

from al_loop.gate.gate import Gate, GatedPrediction
from al_loop.records import GateCheck, Verdict, VerdictKind
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
    checks = Gate(calibration).checks(physics, np.asarray(sigma, float), np.asarray(distance, float))
    return GatedPrediction(None, checks).verdict


def test_before_the_first_labels_everything_is_suspect():
    verdict = GatedPrediction(None, Gate(None).checks(None, None, None)).verdict
    assert (verdict.kind, verdict.check) == (VerdictKind.SUSPECT, GateCheck.UNCALIBRATED)


def test_too_few_calibration_frames_calibrate_nothing():
    few = Calibration.fit([np.ones(3)], [np.ones(3)], [np.ones(3)], tolerance_eV_per_A=0.2)
    assert verdict_of(few, [1e-6] * 3, [0.1] * 3).check is GateCheck.UNCALIBRATED


def test_a_quiet_frame_is_trusted(calibration):
    assert verdict_of(calibration, [1e-3] * 3, [0.5] * 3).kind is VerdictKind.TRUSTED


def test_the_force_check_points_at_the_atom(calibration):
    verdict = verdict_of(calibration, [1e-3, 0.3, 1e-3], [1.5] * 3)
    assert (verdict.kind, verdict.check, verdict.atoms) == (VerdictKind.SUSPECT, GateCheck.FORCE_UNCERTAINTY, (1,))
    assert "max_devi_f 0.300 eV/Å" in verdict.reason


def test_beyond_the_discard_threshold_the_trajectory_ends(calibration):
    verdict = verdict_of(calibration, [1e3] * 2, [0.5] * 2)
    assert (verdict.kind, verdict.stop) == (VerdictKind.DISCARD, True)


def test_the_latent_check_speaks_where_the_committee_is_silent(calibration):
    verdict = verdict_of(calibration, [1e-3] * 3, [0.5, 0.5, 9.0])
    assert (verdict.check, verdict.atoms) == (GateCheck.LATENT_DISTANCE, (2,))


def test_the_threshold_is_about_the_most_uncertain_atoms_together(calibration):
    strict = replace(calibration, trust_threshold=0.1, latent_threshold=9.0)
    assert verdict_of(strict, [0.01, 0.01, 0.25], [1.0] * 3).kind is VerdictKind.TRUSTED
    assert verdict_of(strict, [0.01, 0.01, 0.29], [1.0] * 3).atoms == (2,)
    assert verdict_of(strict, [0.01, 0.12, 0.01], [1.0, 6.0, 1.0]).atoms == (1,)


def test_nan_is_never_trusted(calibration):
    assert verdict_of(calibration, [np.nan, 1e-3], [0.5, 0.5]).kind is VerdictKind.DISCARD
    assert verdict_of(calibration, [1e-3, 1e-3], [np.nan, 0.5]).kind is VerdictKind.DISCARD


def test_physics_is_asked_first(calibration):
    broken = Verdict(VerdictKind.DISCARD, GateCheck.PHYSICS, "broken", stop=True)
    assert verdict_of(calibration, [1e-3] * 2, [0.5] * 2, broken) is broken


def test_each_check_has_its_own_verdict(calibration):
    broken = Verdict(VerdictKind.SUSPECT, GateCheck.PHYSICS, "broken", (0,), stop=True)
    checks = Gate(calibration).checks(broken, np.array([1e-3, 0.3]), np.array([9.0, 0.5]))
    assert list(checks) == [GateCheck.PHYSICS, GateCheck.FORCE_UNCERTAINTY, GateCheck.LATENT_DISTANCE]
    assert checks[GateCheck.PHYSICS] is broken
    assert (checks[GateCheck.FORCE_UNCERTAINTY].kind, checks[GateCheck.FORCE_UNCERTAINTY].atoms) == (
        VerdictKind.SUSPECT,
        (1,),
    )
    assert (checks[GateCheck.LATENT_DISTANCE].kind, checks[GateCheck.LATENT_DISTANCE].atoms) == (
        VerdictKind.SUSPECT,
        (0,),
    )
    assert all(verdict.reason for verdict in checks.values())


def test_checks_that_trust_say_what_they_saw(calibration):
    checks = Gate(calibration).checks(None, np.array([1e-3, 2e-3]), np.array([0.5, 0.7]))
    assert {verdict.kind for verdict in checks.values()} == {VerdictKind.TRUSTED}
    assert "max_devi_f 0.002" in checks[GateCheck.FORCE_UNCERTAINTY].reason
    assert "0.7" in checks[GateCheck.LATENT_DISTANCE].reason


def test_nan_is_pointed_at(calibration):
    checks = Gate(calibration).checks(None, np.array([1e-3, np.nan]), np.array([np.nan, 0.5]))
    assert checks[GateCheck.FORCE_UNCERTAINTY].atoms == (0, 1)
    assert (checks[GateCheck.LATENT_DISTANCE].kind, checks[GateCheck.LATENT_DISTANCE].atoms) == (
        VerdictKind.SUSPECT,
        (0,),
    )
