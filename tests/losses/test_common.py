import math

import numpy as np
import pytest
import torch

from reid_lib.losses.common import batch_hard_triplet_loss, euclidean_distances, identity_loss
from reid_lib.seeds import torch_generator


def slow_triplet(features: np.ndarray, labels: list[int], margin: float) -> float:
    losses = []
    for anchor, label in zip(features, labels, strict=True):
        distances = [math.dist(anchor, other) for other in features]
        farthest = max(d for d, other in zip(distances, labels, strict=True) if other == label)
        nearest = min(d for d, other in zip(distances, labels, strict=True) if other != label)
        losses.append(max(0.0, margin + farthest - nearest))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2]], ids=["equal", "unequal"])
@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_triplet_equals_the_definition(labels: list[int], margin: float, dtype: torch.dtype) -> None:
    features = torch.randn(6, 8, generator=torch_generator(0, "features")).to(dtype)
    loss = batch_hard_triplet_loss(features, torch.tensor(labels), margin)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow_triplet(features.double().numpy(), labels, margin), rel=1e-5)


def test_triplet_has_a_finite_gradient_for_equal_features() -> None:
    features = torch.ones(4, 8, requires_grad=True)
    batch_hard_triplet_loss(features, torch.tensor([0, 0, 1, 1]), 0.3).backward()
    assert features.grad.isfinite().all()


def test_triplet_gradient_draws_the_positive_nearer() -> None:
    features = torch.tensor([[0.0, 0], [1, 0], [3, 0], [3, 0.5]], requires_grad=True)
    batch_hard_triplet_loss(features, torch.tensor([0, 0, 1, 1]), 2.0).backward()
    assert features.grad[1, 0] > 0  # going down the gradient, image 1 moves towards image 0, away from 2


def test_triplet_needs_two_identities() -> None:
    with pytest.raises(ValueError, match="at least two identities"):
        batch_hard_triplet_loss(torch.rand(4, 8), torch.zeros(4, dtype=torch.long), 0.3)


def test_distances_equal_the_definition() -> None:
    features = torch.randn(5, 7, generator=torch_generator(1, "features"))
    expected = [[math.dist(a, b) for b in features.tolist()] for a in features.tolist()]
    np.testing.assert_allclose(euclidean_distances(features), expected, rtol=1e-5, atol=2e-6)


def test_identity_loss_equals_the_definition() -> None:
    logits = torch.randn(5, 4, generator=torch_generator(2, "logits"))
    labels = [0, 3, 1, 1, 2]
    expected = np.mean(
        [-math.log(math.exp(r[i]) / sum(map(math.exp, r))) for r, i in zip(logits.tolist(), labels, strict=True)]
    )
    assert identity_loss(logits, torch.tensor(labels)).item() == pytest.approx(expected, rel=1e-5)
