"""Eq. 2, 6, 7 and 8 against slow float64 versions, and the sampling of pairs."""

import math

import numpy as np
import pytest
import torch

from reid_lib.losses.vpfa import (
    identity_mean_pairs,
    identity_means,
    law_of_cosines,
    sample_pairs,
    squared_distance,
    vector_panning_loss,
)
from reid_lib.seeds import torch_generator


@pytest.fixture
def both() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch_generator(0, "vpfa losses")
    return tuple(torch.randn(5, 7, dtype=torch.float64, generator=generator) for _ in range(2))


def test_equation_6(both: tuple[torch.Tensor, torch.Tensor]) -> None:
    slow = [
        sum((a - b) ** 2 for a, b in zip(p, t, strict=True))
        for p, t in zip(*map(torch.Tensor.tolist, both), strict=True)
    ]
    np.testing.assert_allclose(squared_distance(*both), slow, rtol=1e-12)
    assert vector_panning_loss(*both).item() == pytest.approx(sum(slow) / (5 * 7), rel=1e-6)


def test_equation_7_is_equation_6(both: tuple[torch.Tensor, torch.Tensor]) -> None:
    slow = []
    for p, t in zip(*map(torch.Tensor.tolist, both), strict=True):
        r, big_r = math.hypot(*p), math.hypot(*t)
        angle = math.acos(sum(a * b for a, b in zip(p, t, strict=True)) / (r * big_r))
        slow.append(r**2 + big_r**2 - 2 * r * big_r * math.cos(angle))
    np.testing.assert_allclose(law_of_cosines(*both), slow, rtol=1e-10)
    np.testing.assert_allclose(law_of_cosines(*both), squared_distance(*both), rtol=1e-10)


def test_the_loss_is_float32_for_half_precision_features(both: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert vector_panning_loss(both[0].bfloat16(), both[1].float()).dtype == torch.float32


def test_equation_2() -> None:
    generator = torch_generator(0, "means")
    features, pids = torch.randn(20, 3, dtype=torch.float64, generator=generator), torch.tensor([7, 3, 9, 3] * 5)
    identities, means, counts = identity_means(features, pids)
    slow = {p: [features[i] for i in range(20) if pids[i] == p] for p in (3, 7, 9)}
    assert identities.tolist() == [3, 7, 9]
    assert counts.tolist() == [10, 5, 5]
    np.testing.assert_allclose(means, np.array([np.mean(slow[p], axis=0) for p in (3, 7, 9)]), rtol=1e-12)


def test_pairs_leave_out_identities_with_few_images_on_either_side() -> None:
    lr, hr = torch.tensor([[1.0], [3.0], [5.0], [7.0], [7.0]]), torch.tensor([[2.0], [4.0], [6.0], [8.0], [9.0]])
    lr_pids, hr_pids = torch.tensor([1, 1, 2, 3, 3]), torch.tensor([1, 1, 2, 2, 3])
    lr_means, hr_means, identities = identity_mean_pairs(lr, hr, lr_pids, hr_pids)
    assert (identities.tolist(), lr_means.tolist(), hr_means.tolist()) == ([1], [[2.0]], [[3.0]])
    lr_means, hr_means, identities = identity_mean_pairs(lr, hr, lr_pids, hr_pids, min_images=1)
    assert identities.tolist() == [1, 2, 3]
    assert lr_means.tolist() == [[2], [5], [7]]
    assert hr_means.tolist() == [[3], [7], [9]]


def test_pairs_need_the_identity_on_both_sides() -> None:
    features = torch.ones(4, 2)
    pairs = identity_mean_pairs(features, features, torch.tensor([1, 1, 2, 2]), torch.tensor([2, 2, 3, 3]))
    assert pairs[2].tolist() == [2]
    assert [len(part) for part in pairs] == [1, 1, 1]


@pytest.mark.parametrize(("pairs", "n"), [(300, 5000), (7, 7), (10, 3), (3, 10)])
def test_sampling_draws_all_pairs_as_often(pairs: int, n: int) -> None:
    rows = sample_pairs(pairs, n, torch_generator(0, "pairs"))
    counts = torch.bincount(rows, minlength=pairs)
    assert len(rows) == n
    assert counts.max() - counts.min() <= 1
    assert rows.tolist() == sample_pairs(pairs, n, torch_generator(0, "pairs")).tolist()
    assert pairs < 100 or rows.tolist() != sample_pairs(pairs, n, torch_generator(1, "pairs")).tolist()
