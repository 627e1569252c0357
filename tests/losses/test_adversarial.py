"""The adversarial losses that several methods share, against slow float64 versions."""

import math

import pytest
import torch

from reid_lib.losses.adversarial import (
    adversarial_loss,
    generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from reid_lib.seeds import torch_generator


def draw(name: str, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, name))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_logarithmic_adversarial_losses() -> None:
    real, fake = draw("real", 3, 2), draw("fake", 5)
    d_real = [1 / (1 + math.exp(-x)) for x in real.flatten().tolist()]
    d_fake = [1 / (1 + math.exp(-x)) for x in fake.tolist()]
    slow = mean([math.log(d) for d in d_real]) + mean([math.log(1 - d) for d in d_fake])
    assert adversarial_loss(real, fake).item() == pytest.approx(slow, rel=1e-6)
    assert generator_loss(fake).item() == pytest.approx(-mean([math.log(d) for d in d_fake]), rel=1e-6)
    assert generator_loss(fake, "minimax").item() == pytest.approx(mean([math.log(1 - d) for d in d_fake]), rel=1e-6)


def test_least_squares_adversarial_losses() -> None:
    real, fake = draw("real", 3, 1, 4, 2), draw("fake", 2, 1, 4, 2)
    r, f = real.flatten().tolist(), fake.flatten().tolist()
    assert least_squares_generator_loss(fake).item() == pytest.approx(mean([(s - 1) ** 2 for s in f]))
    slow = 0.5 * mean([(s - 1) ** 2 for s in r]) + 0.5 * mean([s**2 for s in f])
    assert least_squares_discriminator_loss(real, fake).item() == pytest.approx(slow)
    assert least_squares_discriminator_loss(torch.ones(3), torch.zeros(3)) == 0
    assert least_squares_generator_loss(torch.ones(3)) == 0
