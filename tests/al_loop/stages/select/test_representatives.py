"""Representative frames by k-medoids."""

from itertools import combinations

import numpy as np
import pytest

from al_loop.stages.select import samplers
from al_loop.stages.select.samplers import Representatives


def picked(points, taken, count, nearest=1e-3):
    sampler = Representatives(points.astype(np.float32), taken.astype(np.float32), nearest)
    picks = []
    for _ in range(count):
        index, _ = sampler.best()
        if index < 0:
            break
        picks.append(index)
        sampler.take(index)
    return picks


def nothing(points):
    return points[:0]


def total(points, chosen):
    return np.linalg.norm(points[:, None] - points[list(chosen)][None], axis=-1).min(axis=1).sum()


def test_the_first_pick_is_the_medoid():
    points = np.random.default_rng(0).normal(size=(40, 3))
    assert picked(points, nothing(points), 1) == [min(range(40), key=lambda i: total(points, [i]))]


def test_three_picks_are_nearly_the_best_three():
    points = np.random.default_rng(1).normal(size=(25, 2))
    best = min(total(points, three) for three in combinations(range(25), 3))
    assert total(points, picked(points, nothing(points), 3)) < 1.2 * best


def test_what_is_taken_needs_no_other_to_stand_for_it():
    points = np.array([[0.0], [0.1], [0.2], [0.3], [5.0], [5.1]])
    assert picked(points, points[1:2], 1)[0] in {4, 5}


def test_near_duplicates_are_never_picked():
    points = np.zeros((4, 2))
    assert picked(points, points[:1], 4) == []
    assert picked(points, nothing(points), 4) == [0]


def test_more_points_than_are_weighed_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr(samplers, "AT_MOST", 11)
    points = np.linspace(0, 1, 101)[:, None]
    assert sorted(picked(points, nothing(points), 3)) == pytest.approx([15, 50, 80], abs=10)
    assert all(index % 10 == 0 for index in picked(points, nothing(points), 9))
