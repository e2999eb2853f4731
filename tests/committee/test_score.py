import numpy as np
import pytest
from scipy.stats import spearmanr

from committee.uncertainty.score import MEAN_OVER_ATOMS, atomic_uncertainty, largest, mean_of_largest


def test_a_distance_below_the_typical_one_changes_nothing():
    sigma = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(atomic_uncertainty(sigma, np.full(3, 0.2)), sigma)
    np.testing.assert_allclose(atomic_uncertainty(sigma, np.full(3, 4.0)), 2 * sigma)


def test_a_frame_counts_its_most_uncertain_atoms_whatever_its_size():
    small = np.linspace(0.1, 1.0, MEAN_OVER_ATOMS)
    assert mean_of_largest(small[:5]) == pytest.approx(small[:5].mean())
    assert mean_of_largest(np.append(np.full(500, 0.05), small)) == pytest.approx(small.mean())
    one_bond = np.append(np.full(500, 0.05), [5.0, 5.0])
    assert mean_of_largest(one_bond) > 10 * mean_of_largest(np.full(502, 0.05))


def test_nan_is_not_lost_among_many_atoms():
    assert np.isnan(mean_of_largest(np.append(np.ones(100), np.nan)))


def test_the_mean_ranks_noisy_spreads_better_than_the_largest():
    """Each frame has one true scale, of which eight members give a noisy estimate on each of twelve atoms."""
    rng = np.random.default_rng(0)
    scales = rng.lognormal(-3, 0.4, 400)
    errors = [scale * np.linalg.norm(rng.normal(size=(12, 3)), axis=1) for scale in scales]
    sigmas = [scale * np.linalg.norm(rng.normal(size=(8, 12, 3)).std(0, ddof=1), axis=1) for scale in scales]
    worst = largest(errors)
    mean = spearmanr([mean_of_largest(sigma) for sigma in sigmas], worst).statistic
    assert mean > spearmanr(largest(sigmas), worst).statistic + 0.01
