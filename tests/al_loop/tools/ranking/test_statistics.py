"""What a ranking is worth, against what it claims."""

import numpy as np
import pytest
from scipy.stats import t as student

from al_loop.tools.ranking.statistics import Energies, rank_statistics

MEMBERS = 8


def energies(mean, deviations, scale=1.0, resolution=1e-6) -> Energies:
    deviations = np.asarray(deviations, dtype=float)
    deviations = deviations - deviations.mean(axis=1, keepdims=True)
    return Energies(np.asarray(mean, dtype=float), deviations, scale, resolution)


def spread(seed: int, count: int, size_eV: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=size_eV, size=(count, MEMBERS))


def ranked(given: Energies, top: int = 1, confidence: float = 0.9):
    return rank_statistics(given, top, confidence, np.random.default_rng(0))


def test_an_error_that_all_share_separates_nothing_less() -> None:
    """Each candidate alone is uncertain by 1 eV, their difference by none of it."""
    shared = np.tile(spread(0, 1, 1.0), (2, 1))
    given = energies([0.0, 0.01], shared)
    assert given.separates(0, 1, 0.99)
    apart = energies([0.0, 0.01], spread(1, 2, 1.0))
    assert not apart.separates(0, 1, 0.6)


def test_the_difference_of_two_is_the_spread_of_the_difference() -> None:
    given = energies([0.0, 0.1], spread(2, 2, 0.05), scale=2.0, resolution=0.03)
    plain = np.std(given.deviations[1] - given.deviations[0], ddof=1)
    assert given.difference_std(0, 1) == pytest.approx(np.hypot(2 * plain, 0.03))
    assert given.difference_std(1, 1) == 0.0


def test_the_probability_of_the_better_of_two_is_students() -> None:
    given = energies([0.0, 0.05], spread(3, 2, 0.05))
    found = ranked(given)
    expected = student.cdf(0.05 / given.difference_std(0, 1), MEMBERS - 1)
    np.testing.assert_allclose(found.probability_top, [expected, 1 - expected], atol=0.01)


def test_an_ambiguous_pair_is_sent_and_a_clearly_worse_one_is_not() -> None:
    found = ranked(energies([0.02, 0.0, 0.9], spread(4, 3, 0.05)))
    assert found.order.tolist() == [1, 0, 2]
    assert found.inseparable_from == {0: 1}
    assert found.probability_kept > 0.999
    assert found.probability_top.sum() == pytest.approx(1.0)


def test_more_confidence_sends_more() -> None:
    given = energies(np.arange(10) * 0.03, spread(5, 10, 0.05))
    sent = [len(ranked(given, 2, confidence).inseparable_from) for confidence in (0.6, 0.9, 0.99)]
    assert sent[0] < sent[1] < sent[2]


def test_energies_closer_than_the_resolution_are_not_told_apart() -> None:
    same = np.tile(spread(6, 1, 0.05), (2, 1))
    assert not energies([0.0, 0.0005], same, resolution=0.001).separates(0, 1, 0.9)
    assert energies([0.0, 0.0050], same, resolution=0.001).separates(0, 1, 0.9)


def test_with_no_more_candidates_than_wanted_all_are_kept() -> None:
    found = ranked(energies([0.1, 0.0], spread(7, 2, 0.1)), top=5)
    assert found.probability_kept == 1.0
    assert found.probability_top.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("top", [1, 3])
def test_the_true_best_is_sent_as_often_as_claimed(top: int) -> None:
    """Candidates whose errors are correlated, and truths drawn with the same covariance as the members."""
    rng = np.random.default_rng(8)
    kept, claimed, sent = [], [], []
    for _ in range(120):
        mixing = rng.normal(scale=0.03, size=(8, 8)) + 0.1
        mean = rng.uniform(0, 0.4, 8)
        found = ranked(energies(mean, mixing @ rng.normal(size=(8, MEMBERS))), top)
        truth = mean + mixing @ rng.normal(size=8)
        chosen = {*found.order[:top].tolist(), *found.inseparable_from}
        kept.append(set(np.argsort(truth)[:top].tolist()) <= chosen)
        claimed.append(found.probability_kept)
        sent.append(len(chosen))
    assert np.mean(kept) > 0.9
    assert np.mean(kept) == pytest.approx(np.mean(claimed), abs=0.05)
    assert np.mean(sent) < 7
