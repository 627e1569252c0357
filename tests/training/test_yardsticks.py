"""The yardsticks against plain NumPy."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reid_lib.training.feature_maps import FeatureMap
from reid_lib.training.yardsticks import MeanShift, RidgeMap, Shift

Estimator = Callable[..., FeatureMap]


def test_shift_adds_one_vector() -> None:
    shift = Shift(3)
    shift.offset.data = torch.tensor([1.0, 0.0, -1.0])
    assert shift(torch.ones(2, 3)).tolist() == [[2, 1, 0], [2, 1, 0]]


def test_mean_shift_is_the_mean_difference_of_the_pairs(data: SimpleNamespace) -> None:
    shift = MeanShift(n_pairs=None).fit(data.lr, data.hr, data.pids)
    means = [[np.float64(f[data.pids == p]).mean(0) for p in range(12)] for f in (data.lr, data.hr)]
    expected = np.mean(means[1], 0) - np.mean(means[0], 0)
    np.testing.assert_allclose(shift.maps_[0].offset.cpu(), expected, atol=1e-6)
    np.testing.assert_allclose(shift.transform(data.lr), data.lr + expected, atol=1e-6)


def test_mean_shift_per_rate_finds_each_direction(data: SimpleNamespace) -> None:
    shift = MeanShift(pairing="image", per_rate=True, n_pairs=None).fit(data.lr, data.hr, rates=data.rates)
    for rate, map_ in shift.maps_.items():
        difference = np.float64(data.hr - data.lr)[data.rates == rate].mean(0)
        np.testing.assert_allclose(map_.offset.cpu(), difference, atol=1e-6)


def test_ridge_map_minimises_its_penalised_error(data: SimpleNamespace) -> None:
    ridge = RidgeMap(pairing="image", alpha=0.5, n_pairs=None, device="cpu").fit(data.lr, data.hr)
    x, y = np.float64(data.lr), np.float64(data.hr - data.lr)
    x_c, y_c = x - x.mean(0), y - y.mean(0)
    stacked = np.vstack([x_c, np.sqrt(0.5 * (x_c**2).mean() * len(x)) * np.eye(8)])  # ridge as plain least squares
    slope = np.linalg.lstsq(stacked, np.vstack([y_c, np.zeros((8, 8))]))[0]
    np.testing.assert_allclose(ridge.transform(data.lr), x + y.mean(0) + x_c @ slope, atol=1e-5)


def test_a_strong_penalty_leaves_the_mean_shift(data: SimpleNamespace) -> None:
    ridge, shift = (k.fit(data.lr, data.hr, data.pids) for k in (RidgeMap(alpha=1e9), MeanShift()))
    np.testing.assert_allclose(ridge.transform(data.lr), shift.transform(data.lr), atol=1e-5)


def test_a_penalty_of_zero_is_refused(data: SimpleNamespace, small: Estimator) -> None:
    with pytest.raises(ValueError, match="alpha must be above 0"):
        small(RidgeMap, alpha=0.0).fit(data.lr, data.hr, data.pids)
