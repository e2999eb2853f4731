"""Descriptors of frames and farthest-point sampling among them."""

import numpy as np
import pytest

from al_loop.stages.select.samplers import FarthestPoints, nearest_distances
from al_loop.structures.descriptors import frame_descriptor, standardised


def points(*values):
    return np.asarray(values, dtype=np.float32).reshape(len(values), -1)


def picked(candidates, taken, weights, count):
    sampler = FarthestPoints(candidates, taken, np.asarray(weights, dtype=float), nearest=1e-3)
    picks = []
    for _ in range(count):
        index, _ = sampler.best()
        if index < 0:
            break
        picks.append(index)
        sampler.take(index)
    return picks


def test_a_descriptor_holds_the_mean_of_each_element_in_any_order_of_atoms():
    features = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    numbers = np.array([8, 8, 1])
    assert frame_descriptor(features, numbers).tolist() == [5.0, 5.0, 2.0, 1.0]
    assert frame_descriptor(features[::-1], numbers[::-1]).tolist() == [5.0, 5.0, 2.0, 1.0]
    assert frame_descriptor(features, numbers).dtype == np.float32


def test_a_typical_distance_is_one():
    found = standardised(np.random.default_rng(0).normal(7.0, 3.0, size=(300, 40)).astype(np.float32))
    distances = np.linalg.norm(found[:, None] - found[None], axis=-1)[np.triu_indices(300, 1)]
    assert np.sqrt(np.square(distances).mean()) == pytest.approx(1, rel=0.02)


def test_noise_of_equal_frames_is_no_distance():
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.normal(size=(1, 8)), 5, axis=0) + 1e-7 * rng.normal(size=(5, 8))
    assert np.abs(standardised(frames.astype(np.float32))).max() < 1e-2


def test_one_frame_has_a_place_too():
    assert np.isfinite(standardised(points([1.0, 0.0]))).all()


def test_distances_in_blocks_are_the_plain_ones():
    rng = np.random.default_rng(1)
    some, others = rng.normal(size=(9000, 5)).astype(np.float32), rng.normal(size=(7, 5)).astype(np.float32)
    plain = np.linalg.norm(some[:, None].astype(float) - others[None], axis=-1).min(axis=1)
    assert nearest_distances(some, others) == pytest.approx(plain, abs=2e-3)


def test_picks_spread_over_a_line():
    line = points(*np.linspace(0, 1, 11))
    assert sorted(picked(line, line[:1], np.ones(11), 2)) == [5, 10]


def test_weights_decide_between_equal_distances():
    assert picked(points(0.0, 1.0, -1.0), points(0.0), [1, 1, 2], 1) == [2]


def test_duplicates_of_taken_points_are_never_picked():
    assert picked(points(0.0, 0.0, 0.0), points(0.0), np.ones(3), 3) == []


def test_without_anything_taken_each_point_is_picked_once():
    assert sorted(picked(points(0.0, 1.0, 5.0), np.empty((0, 1), np.float32), np.ones(3), 9)) == [0, 1, 2]
