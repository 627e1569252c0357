"""Eq. 1 to 8 of INTACT against the same written slowly, in float64 with loops."""

import math

import pytest
import torch

from reid_lib.losses import adversarial, common, intact
from reid_lib.seeds import torch_generator


def draw(*shape: int, name: str = "intact") -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(0, name), dtype=torch.float64)


def slow_square(a: torch.Tensor, b: torch.Tensor) -> float:
    """The mean of (a_ij - b_ij)^2."""
    pairs = list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    return sum((x - y) ** 2 for x, y in pairs) / len(pairs)


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_eq_1_and_2_the_game_of_g_and_d() -> None:
    real, fake = draw(5, 1, name="real"), draw(7, 1, name="fake")
    gan = sum(math.log(probability(x.item())) for x in real) / 5
    gan += sum(math.log(1 - probability(x.item())) for x in fake) / 7
    assert adversarial.adversarial_loss(real, fake).item() == pytest.approx(gan, rel=1e-6)
    minimax = sum(math.log(1 - probability(x.item())) for x in fake) / 7
    assert adversarial.generator_loss(fake, "minimax").item() == pytest.approx(minimax, rel=1e-6)


def test_eq_3_identity_of_the_super_resolved_image() -> None:
    logits, labels = draw(4, 6), torch.tensor([0, 5, 2, 2])
    slow = 0.0
    for row, y in zip(logits.tolist(), labels.tolist(), strict=True):
        slow -= math.log(math.exp(row[y]) / sum(math.exp(value) for value in row)) / 4
    assert common.identity_loss(logits, labels).item() == pytest.approx(slow, rel=1e-6)


def test_eq_4_content_loss_and_the_weighted_sum_with_eq_8() -> None:
    recovered, truth = draw(2, 3, 4, 2, name="recovered"), draw(2, 3, 4, 2, name="truth")
    assert intact.content_loss(recovered, truth).item() == pytest.approx(slow_square(recovered, truth), rel=1e-6)
    terms = {name: torch.tensor(value) for name, value in (("content", 2.0), ("adversarial", 5.0), ("identity", 7.0))}
    terms["association"] = torch.tensor(11.0)
    lambdas = {"adversarial": 0.1, "identity": 0.3, "association": 1.0}
    found = sum(intact.generator_objective(terms, lambdas).values()).item()
    assert found == pytest.approx(2.0 + 0.1 * 5.0 + 0.3 * 7.0 + 11.0)
    del terms["adversarial"], terms["association"]  # SR + ID
    assert sum(intact.generator_objective(terms, lambdas).values()).item() == pytest.approx(2.0 + 0.3 * 7.0)


def test_eq_5_and_8_association_loss() -> None:
    predicted, target = draw(3, 8, name="phi"), draw(3, 8, name="f_d")
    assert intact.association_loss(predicted, target).item() == pytest.approx(slow_square(predicted, target), rel=1e-6)


def test_eq_6_and_7_bridge_loss_and_its_sum_with_eq_5() -> None:
    bridged, latent = draw(3, 5, name="sigma"), draw(3, 5, name="f_e")
    predicted, target = draw(3, 8, name="phi"), draw(3, 8, name="f_d")
    found = intact.association_loss(predicted, target) + intact.bridge_loss(bridged, latent)
    assert found.item() == pytest.approx(slow_square(predicted, target) + slow_square(bridged, latent), rel=1e-6)


def test_both_sides_of_eq_8_move() -> None:
    """G is told by f'_c, through phi, and by f'_d."""
    predicted, target = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    intact.association_loss(predicted, target).backward()
    assert (predicted.grad < 0).all()
    assert (target.grad > 0).all()
