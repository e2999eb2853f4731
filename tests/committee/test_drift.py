"""The test for drift: false alarms at the stated rate, alarms soon after a change, with and without correlation."""

from itertools import permutations

import numpy as np
import pytest
from scipy.signal import lfilter

from committee.errors import CheckpointError
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores, DriftTest, ExchangeabilityTest, decorrelated_every

RUNS = 60


def correlated(rng: np.random.Generator, length: int, phi: float) -> np.ndarray:
    """A Gaussian autoregressive process of unit variance, whose correlation after k steps is phi^k."""
    steps = rng.standard_normal(length) * np.sqrt(1 - phi**2)
    steps[0] = rng.standard_normal()
    return lfilter([1.0], [1.0, -phi], steps)


def followed(reference: np.ndarray, stream: np.ndarray, alpha: float = 0.05, **conditions) -> DriftTest:
    scores = CalibrationScores(tuple(reference.tolist()), tuple(reference.tolist()), **conditions)
    test = DriftTest(scores, false_alarm_probability=alpha)
    for value in stream:
        if test.add(value, value):
            break
    return test


def test_the_capital_is_a_martingale_over_all_orders_of_the_scores() -> None:
    """Exchangeable: all orders are equally likely. The mean capital over them is exactly 1, at every frame."""
    paths = []
    for order in permutations(range(7)):
        test = ExchangeabilityTest([float(value) for value in order[:4]])
        path = []
        for value in order[4:]:
            test.add(float(value), 0)
            path.append(test.evidence)
        paths.append(path)
    np.testing.assert_allclose(np.mean(paths, axis=0), 1.0, rtol=1e-12)
    assert np.max(paths) > 4


@pytest.mark.parametrize("frames", [16, 100])
@pytest.mark.parametrize("phi", [0.0, 0.9, 0.97])
def test_false_alarms_stay_at_the_stated_rate(frames: int, phi: float) -> None:
    """At most 5 % of runs; 7 of 60 are beyond what that rate gives in 98 % of such experiments."""
    alarms = 0
    for run in range(RUNS):
        rng = np.random.default_rng([run, frames])
        alarms += followed(rng.standard_normal(frames), correlated(rng, 1000, phi)).report.outside
    assert alarms < 7


@pytest.mark.parametrize("frames", [16, 100])
@pytest.mark.parametrize(("phi", "within"), [(0.0, 120), (0.9, 420)])
def test_a_change_is_found_and_dated(frames: int, phi: float, within: int) -> None:
    delays, dated = [], []
    for run in range(20):
        rng = np.random.default_rng([run, frames])
        stream = correlated(rng, 1500, phi)
        stream[500:] += 4.0
        report = followed(rng.standard_normal(frames), stream).report
        assert report.outside
        assert report.evidence >= 1
        delays.append(report.alarm_step - 500)
        dated.append(abs(report.since_step - 500))
    assert 0 < np.median(delays) < within
    assert np.median(dated) < within / 2


def test_frames_that_are_better_known_raise_no_alarm() -> None:
    rng = np.random.default_rng(0)
    report = followed(rng.standard_normal(100), rng.standard_normal(2000) - 3).report
    assert not report.outside
    assert report.evidence < 0.1


def test_a_run_at_one_of_several_conditions_is_inside_and_beyond_them_outside() -> None:
    rng = np.random.default_rng(1)
    cold, hot = rng.standard_normal(20), rng.standard_normal(20) + 6
    reference = np.concatenate([cold, hot])
    named = {"conditions": ("copper/300K",) * 20 + ("copper/600K",) * 20}
    at_the_hotter = rng.standard_normal(400) + 6
    assert not followed(reference, at_the_hotter, **named).report.outside
    assert followed(reference, at_the_hotter).report.outside  # as one whole they are another mixture
    assert followed(reference, at_the_hotter + 6, **named).report.outside


def test_uncertainties_alone_raise_the_alarm_and_not_a_number_is_outside() -> None:
    rng = np.random.default_rng(2)
    scores = CalibrationScores(tuple(rng.random(30)), tuple(rng.random(30)))
    for strange in (9.0, np.nan):
        test = DriftTest(scores)
        for _ in range(200):
            if test.add(float(rng.random()), strange):
                break
        assert test.report.score == "uncertainty"


def test_the_alarm_is_kept_and_told_once() -> None:
    test = DriftTest(CalibrationScores((1.0,) * 20, tuple(np.linspace(1, 2, 20))))
    told = [test.add(5.0 + i % 3, None) for i in range(200)]
    assert sum(told) == 1
    assert test.report.alarm_step == told.index(True) + 1
    assert not test.due


def test_nothing_is_decided_before_the_correlation_is_known() -> None:
    rng = np.random.default_rng(3)
    report = followed(rng.standard_normal(16), np.cumsum(rng.standard_normal(60)) * 0.1 + 50).report
    assert (report.stride, report.used, report.outside) == (None, 0, False)


def test_the_correlation_of_a_long_run_is_found_however_long_it_is() -> None:
    """A correlation time of 666 checks; a run of 40000 keeps 4096 frames at most, and is inside."""
    rng = np.random.default_rng(6)
    report = followed(rng.standard_normal(40), correlated(rng, 40_000, 0.997)).report
    assert 700 <= report.stride <= 4000
    assert not report.outside


def test_a_long_run_inside_does_not_hide_a_change() -> None:
    """After 300 or 3000 uncorrelated frames the same change is found after hardly more of them."""
    delays = []
    for before in (300, 3000):
        late = []
        for run in range(20):
            rng = np.random.default_rng([run, before])
            known, stream = rng.standard_normal(40), rng.standard_normal(before + 100)
            stream[before:] += 2.0
            scores = CalibrationScores(tuple(known), tuple(known))
            test = DriftTest(scores, stride=1)
            for value in stream:
                if test.add(value, None):
                    break
            late.append((test.report.alarm_step or np.inf) - before)
        delays.append(np.median(late))
    assert 0 < delays[0] <= 14
    assert 0 < delays[1] <= 18


def test_decorrelation_follows_the_correlation_and_not_a_change_of_level() -> None:
    rng = np.random.default_rng(4)
    assert decorrelated_every([rng.standard_normal(512)]) <= 5
    slow = decorrelated_every([correlated(rng, 4096, 0.9)])
    assert 28 <= slow <= 60  # one and a half times (1 + 0.9)/(1 - 0.9) = 28.5, by the upper limit
    under_a_fast_one = correlated(rng, 8192, 0.97) + rng.standard_normal(8192)
    assert 40 <= decorrelated_every([under_a_fast_one]) <= 120  # the same of 33, of which neighbours show 3
    jump = rng.standard_normal(512)
    jump[300:] += 20
    assert decorrelated_every([jump]) <= 5
    assert decorrelated_every([[1.0, 2.0]]) is None


def test_scores_come_back_from_json_and_wrong_keys_are_refused() -> None:
    rng = np.random.default_rng(5)
    sigmas = [rng.uniform(0.01, 0.1, 4) for _ in range(12)]
    calibration = Calibration.fit([2 * s for s in sigmas], sigmas, sigmas, tolerance_eV_per_A=0.2)
    scores = CalibrationScores.of(calibration, sigmas, sigmas, ["a"] * 6 + ["b"] * 6)
    assert CalibrationScores.from_dict(scores.to_dict()) == scores
    assert set(scores.groups) == {"all", "a", "b"}
    assert scores.uncertainty[0] == pytest.approx(calibration.frame_uncertainty(sigmas[0], sigmas[0]))
    with pytest.raises(CheckpointError, match="calibrate again"):
        CalibrationScores.from_dict({"uncertainty": []})
    with pytest.raises(ValueError, match="between 0 and 1"):
        DriftTest(scores, false_alarm_probability=1.5)
