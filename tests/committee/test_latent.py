import numpy as np
import pytest
import torch
from sklearn.base import clone

from committee.errors import TrainingDataError
from committee.model.latent import UNKNOWN_DISTANCE, LatentDistance, switching_function


def cloud(frames: int, seed: int, spread: float = 1.0):
    """Correlated features of two elements with different means, three atoms a frame."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(20, 20)) * np.geomspace(1, 0.01, 20)
    numbers = np.tile([6, 1, 1], frames)
    features = spread * rng.normal(size=(3 * frames, 20)) @ mixing.T + numbers[:, None]
    return features, numbers, np.repeat(np.arange(frames), 3)


def test_one_is_typical_of_frames_it_has_not_seen():
    fitted = LatentDistance().fit(*cloud(12, seed=0))
    features, numbers, _ = cloud(200, seed=1)
    distances = fitted.predict(features, numbers)
    for element in (1, 6):
        assert 0.8 < np.median(distances[numbers == element]) < 1.25


def test_distance_grows_away_from_what_is_known():
    fitted = LatentDistance().fit(*cloud(12, seed=0))
    medians = [np.median(fitted.predict(*cloud(50, seed=2, spread=s)[:2])) for s in (1, 3, 10)]
    assert medians[1] > 2 * medians[0]
    assert medians[2] > 2 * medians[1]


def test_elements_have_their_own_metric():
    fitted = LatentDistance().fit(*cloud(12, seed=0))
    features, numbers, _ = cloud(20, seed=1)
    swapped = np.where(numbers == 1, 6, 1)
    assert np.median(fitted.predict(features, swapped)) > 2 * np.median(fitted.predict(features, numbers))


def test_unknown_element_is_beyond_every_fade():
    fitted = LatentDistance().fit(*cloud(5, seed=0))
    features, numbers, _ = cloud(1, seed=1)
    numbers[0] = 8
    distances = fitted.predict(features, numbers)
    assert distances[0] == UNKNOWN_DISTANCE
    assert (distances[1:] < UNKNOWN_DISTANCE / 10).all()


@pytest.mark.parametrize("frames", [1, 2])
def test_very_few_frames_still_give_finite_distances(frames):
    fitted = LatentDistance().fit(*cloud(frames, seed=0))
    distances = fitted.predict(*cloud(5, seed=1)[:2])
    assert np.isfinite(distances).all()


def test_the_distance_is_that_of_its_formula_and_has_a_true_slope():
    fitted = LatentDistance().fit(*cloud(12, seed=0))
    features, numbers, _ = cloud(2, seed=1)
    metric = fitted.metric()
    leaf = torch.tensor(features, requires_grad=True)
    rows = np.searchsorted(fitted.elements_, numbers)
    whitened = np.einsum("nd,nde->ne", features - fitted.means_[rows], fitted.whiteners_[rows])
    np.testing.assert_allclose(fitted.predict(features, numbers), np.linalg.norm(whitened, axis=1), rtol=1e-9)
    assert torch.autograd.gradcheck(lambda x: metric(x, torch.tensor(numbers)), leaf)


def test_slope_is_finite_at_the_centre():
    fitted = LatentDistance().fit(*cloud(12, seed=0))
    leaf = torch.tensor(fitted.means_[:1], requires_grad=True)
    metric = fitted.metric()
    slope = torch.autograd.grad(metric(leaf, torch.tensor(fitted.elements_[:1])).sum(), leaf)[0]
    assert torch.isfinite(slope).all()


def test_it_is_a_scikit_learn_estimator():
    estimator = clone(LatentDistance(folds=3))
    assert estimator.get_params() == {"folds": 3}
    assert estimator.fit(*cloud(4, seed=0)) is estimator


def test_nan_features_are_refused():
    features, numbers, groups = cloud(4, seed=0)
    features[0, 0] = np.nan
    with pytest.raises(TrainingDataError, match="finite"):
        LatentDistance().fit(features, numbers, groups)


def test_fade_is_one_then_falls_then_zero_and_smooth():
    d = torch.tensor([0.0, 3.0, 5.0, 12.0, 1e3], dtype=torch.float64)
    values = switching_function(d, 3.0, 12.0)
    assert values[0] == values[1] == 1
    assert 0 < values[2] < 1
    assert values[3] == values[4] == 0
    inside = torch.linspace(2.5, 12.5, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: switching_function(x, 3.0, 12.0), inside)
