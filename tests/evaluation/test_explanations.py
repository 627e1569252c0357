"""Grad-CAM against its definition, and the distances of positive pairs."""

import numpy as np
import pytest
import torch

from reid_lib.evaluation.explanations import grad_cam, positive_distances
from reid_lib.seeds import torch_generator


def pool(maps: torch.Tensor) -> torch.Tensor:
    return maps.mean((2, 3))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(0, "explanations", *shape))


def test_grad_cam_against_its_definition() -> None:
    """alpha_k is the mean of the gradient of map k; the heat is the positive part of the weighted sum of the maps."""
    maps, directions = drawn(2, 3, 4, 2).double(), drawn(2, 3).double()
    heat = grad_cam(lambda x: x.double(), pool, maps, directions)
    for n in range(2):
        feature, c = maps[n].mean((1, 2)), directions[n]
        length = feature.norm()
        of_feature = (c / c.norm() - feature / length * (feature @ c) / (length * c.norm())) / length
        expected = sum(of_feature[k] / 8 * maps[n, k] for k in range(3)).clamp(min=0)
        torch.testing.assert_close(heat[n].double(), expected / expected.max(), rtol=1e-4, atol=1e-5)


def test_grad_cam_finds_the_place_that_speaks_for_the_direction() -> None:
    maps = torch.zeros(1, 2, 4, 2)
    maps[0, 0, 1, 1], maps[0, 1, 3, 0] = 5.0, 5.0
    heat = grad_cam(lambda x: x, pool, maps, torch.tensor([[1.0, 0.0]]))
    assert heat.shape == (1, 4, 2)
    assert heat[0].flatten().argmax() == 1 * 2 + 1
    assert heat[0, 3, 0] == 0


def test_grad_cam_has_the_inputs_size_and_is_zero_where_nothing_speaks_for_it() -> None:
    images = torch.ones(2, 3, 8, 4)
    heat = grad_cam(lambda x: torch.zeros(2, 5, 2, 1), pool, images, torch.ones(1, 5))
    assert heat.shape == (2, 8, 4)
    assert not heat.any()


def test_positive_distances_against_a_loop() -> None:
    features, pids = drawn(7, 3), np.array([4, 4, 9, 4, 9, 1, 9])
    low = np.array([True, False, False, False, True, True, True])
    expected = {"same resolution": [], "cross resolution": []}
    for i in range(7):
        for j in range(i + 1, 7):
            if pids[i] == pids[j]:
                kind = "same resolution" if low[i] == low[j] else "cross resolution"
                expected[kind].append((features[i] - features[j]).norm().item())
    found = positive_distances(features, pids, low)
    for kind, distances in expected.items():
        np.testing.assert_allclose(sorted(found[kind]), sorted(distances), rtol=1e-5)


def test_positive_distances_need_an_identity_and_a_resolution_for_each() -> None:
    with pytest.raises(ValueError, match="each of 3 features, found 2 and 3"):
        positive_distances(drawn(3, 2), np.zeros(2), np.zeros(3))
