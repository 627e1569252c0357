"""Eq. 2 and Eq. 4 of LRAR against slow float64 versions."""

import math

import numpy as np
import pytest
import torch

from reid_lib.losses.lrar import feature_differences, resolution_adaptive_distances, verification_loss
from reid_lib.seeds import torch_generator

WIDTHS = [2, 4, 8, 2, 6]


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, *shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equation_2(dtype: torch.dtype) -> None:
    query, gallery = draw(5, 8).to(dtype), draw(3, 8).to(dtype)
    for row, width in zip(query, WIDTHS, strict=True):
        row[width:] = 0
    distances = resolution_adaptive_distances(query, gallery, torch.tensor(WIDTHS))
    slow = [
        [sum((z[i].item() - g[i].item()) ** 2 for i in range(width)) for g in gallery]
        for z, width in zip(query, WIDTHS, strict=True)
    ]
    assert distances.dtype == torch.float32
    np.testing.assert_allclose(distances, slow, rtol=1e-4)


def test_what_a_query_lacks_is_not_compared() -> None:
    query, gallery = draw(2, 8), draw(3, 8)
    blind = gallery.clone()
    blind[:, 2:] = torch.nan
    widths = torch.tensor([2, 2])
    distances = resolution_adaptive_distances(query, gallery, widths)
    assert torch.equal(distances, resolution_adaptive_distances(query, blind, widths))
    assert torch.equal(distances[:, 0], resolution_adaptive_distances(query, gallery[:1], widths)[:, 0])


def test_equal_features_have_no_negative_distance() -> None:
    features = 100 + 1e-3 * draw(6, 8)
    assert resolution_adaptive_distances(features, features, torch.full((6,), 8)).min() >= 0


def test_every_query_meets_every_gallery_image() -> None:
    query, gallery = draw(3, 4), draw(2, 4)
    query[0, 2:] = 0  # zero-padded: what it lacks is not compared (Eq. 2)
    widths = torch.tensor([2, 4, 4])
    differences, same = feature_differences(query, gallery, widths, torch.tensor([7, 5, 7]), torch.tensor([5, 7]))
    slow = [
        [a - b if i < width else 0.0 for i, (a, b) in enumerate(zip(z, g, strict=True))]
        for z, width in zip(query.tolist(), widths.tolist(), strict=True)
        for g in gallery.tolist()
    ]
    assert differences.tolist() == slow
    assert same.tolist() == [False, True, True, False, False, True]


def test_equation_4() -> None:
    logits, same = 2 * draw(9), torch.tensor([True, False, False] * 3)
    p = [1 / (1 + math.exp(-f)) for f in logits.tolist()]
    slow = [-(y * math.log(q) + (1 - y) * math.log(1 - q)) for q, y in zip(p, same.tolist(), strict=True)]
    assert verification_loss(logits, same).item() == pytest.approx(sum(slow) / 9, rel=1e-6)
    printed = [-(math.log(q) + (1 - y) * math.log(1 - q)) for q, y in zip(p, same.tolist(), strict=True)]
    assert sum(printed) / 9 > 1.5 * sum(slow) / 9  # without y_n the first logarithm costs for different pairs too


def test_a_sure_and_right_verdict_costs_nothing() -> None:
    assert verification_loss(torch.tensor([80.0, -80.0]).bfloat16(), torch.tensor([True, False])).item() < 1e-6
    assert verification_loss(torch.tensor([200.0]), torch.tensor([False])).item() == pytest.approx(200)


def test_the_squared_length_of_a_difference_is_equation_2() -> None:
    query, gallery, widths = draw(4, 8), draw(3, 8), torch.tensor([2, 4, 6, 8])
    for row, width in zip(query, widths.tolist(), strict=True):
        row[width:] = 0
    differences, _ = feature_differences(query, gallery, widths, torch.zeros(4), torch.zeros(3))
    slow = [
        sum((z[i].item() - g[i].item()) ** 2 for i in range(width))
        for z, width in zip(query, widths.tolist(), strict=True)
        for g in gallery
    ]
    np.testing.assert_allclose(differences.square().sum(1), slow, rtol=1e-5)


def test_what_a_query_lacks_gives_the_gallery_no_gradient() -> None:
    query, gallery = draw(2, 6), draw(2, 6).requires_grad_()
    query[:, 2:] = 0
    differences, _ = feature_differences(query, gallery, torch.tensor([2, 2]), torch.zeros(2), torch.zeros(2))
    differences.square().sum().backward()
    assert gallery.grad[:, :2].all()
    assert not gallery.grad[:, 2:].any()
