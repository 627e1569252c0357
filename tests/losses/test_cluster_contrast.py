"""The loss and the memory of cluster contrast against the same written slowly, in float64 with loops."""

import math

import pytest
import torch

from reid_lib.losses.cluster_contrast import cluster_loss, update_clusters
from reid_lib.seeds import torch_generator


def directions(n: int, name: str) -> torch.Tensor:
    found = torch.randn(n, 4, generator=torch_generator(0, "cluster contrast", name), dtype=torch.float64)
    return torch.nn.functional.normalize(found)


def test_the_loss_is_cross_entropy_against_the_clusters() -> None:
    f, phi, labels = directions(5, "f"), directions(3, "phi"), [0, 2, 2, 1, 0]
    slow = 0.0
    for row, y in zip(f.tolist(), labels, strict=True):
        terms = [math.exp(sum(a * b for a, b in zip(row, other, strict=True)) / 0.05) for other in phi.tolist()]
        slow -= math.log(terms[y] / sum(terms)) / 5
    assert cluster_loss(f, torch.tensor(labels), phi, 0.05).item() == pytest.approx(slow, rel=1e-9)


def test_the_memory_takes_the_features_in_their_order() -> None:
    f, phi, labels = directions(5, "f"), directions(3, "phi"), [0, 2, 2, 1, 2]
    slow = phi.tolist()
    for q, k in zip(f.tolist(), labels, strict=True):
        mixed = [0.1 * a + 0.9 * b for a, b in zip(slow[k], q, strict=True)]
        slow[k] = [x / math.sqrt(sum(y * y for y in mixed)) for x in mixed]
    found = phi.clone()
    update_clusters(found, f, torch.tensor(labels), 0.1)
    torch.testing.assert_close(found, torch.tensor(slow, dtype=torch.float64))
    backwards = phi.clone()
    update_clusters(backwards, f.flip(0), torch.tensor(labels[::-1]), 0.1)
    assert not torch.allclose(backwards[2], found[2])  # cluster 2 has three features
    torch.testing.assert_close(backwards[:2], found[:2])  # the others one each


def test_a_cluster_without_a_feature_stays_and_the_features_get_no_gradient() -> None:
    f, phi = directions(2, "f").requires_grad_(), directions(3, "phi")
    found = phi.clone()
    update_clusters(found, f, torch.tensor([1, 1]), 0.1)
    assert torch.equal(found[[0, 2]], phi[[0, 2]])
    assert not found.requires_grad
    assert found.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
