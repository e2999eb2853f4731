"""The message for a tolerance out of reach contains the smallest achievable one."""

import numpy as np
import pytest

from al_loop.gate.achievable_tolerance import achievable_tolerance, out_of_reach
from committee.uncertainty.calibration import Calibration


def frames(count, seed=0):
    """Errors between 0.1 and 1 eV/Å that the spread predicts well."""
    rng = np.random.default_rng(seed)
    sigmas = [np.full(4, value) for value in np.geomspace(0.05, 0.5, count)]
    errors = [2 * sigma * rng.uniform(0.9, 1.1, 4) for sigma in sigmas]
    return errors, sigmas, [np.ones(4) for _ in sigmas]


def calibrated(data, tolerance):
    return Calibration.fit(*data, tolerance_eV_per_A=tolerance)


@pytest.mark.parametrize("count", [16, 120])
def test_the_reachable_tolerance_is_the_smallest_that_holds(count):
    data = frames(count)
    reachable = achievable_tolerance(*data, 0.9)
    assert 0.1 < reachable < 1.0
    assert out_of_reach(calibrated(data, reachable), reachable) is None
    sentence = out_of_reach(calibrated(data, 0.05), reachable)
    assert "0.05 eV/Å is out of reach" in sentence
    named = float(sentence.split("holds is ")[1].split(" ")[0])
    assert reachable <= named <= 1.1 * reachable
    assert out_of_reach(calibrated(data, named), reachable) is None


def test_with_frames_for_a_proof_it_is_proven():
    data = frames(120)
    assert calibrated(data, achievable_tolerance(*data, 0.9)).guarantee_proven


def test_nothing_is_said_before_there_are_frames():
    data = frames(5)
    assert achievable_tolerance(*data, 0.9) is None
    assert out_of_reach(calibrated(data, 0.05), None) is None


def test_an_uncertainty_that_tells_nothing_reaches_the_largest_error_only():
    rng = np.random.default_rng(1)
    errors = [np.full(3, value) for value in rng.permutation(np.linspace(0.1, 1.0, 60))]
    same = [np.full(3, 0.1) for _ in errors]
    assert achievable_tolerance(errors, same, [np.ones(3) for _ in errors], 0.9) > 0.9
