"""CycleGAN's losses against slow float64 versions."""

import pytest
import torch

from reid_lib.losses.cyclegan import cycle_consistency_loss, discriminator_loss, generator_loss, identity_mapping_loss
from reid_lib.seeds import torch_generator


def draw(name: str, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, name))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_least_squares_adversarial_losses() -> None:
    real, fake = draw("real", 3, 1, 4, 2), draw("fake", 2, 1, 4, 2)
    r, f = real.flatten().tolist(), fake.flatten().tolist()
    assert generator_loss(fake).item() == pytest.approx(mean([(s - 1) ** 2 for s in f]))
    slow = 0.5 * mean([(s - 1) ** 2 for s in r]) + 0.5 * mean([s**2 for s in f])
    assert discriminator_loss(real, fake).item() == pytest.approx(slow)
    assert discriminator_loss(torch.ones(3), torch.zeros(3)) == 0
    assert generator_loss(torch.ones(3)) == 0


@pytest.mark.parametrize("loss", [cycle_consistency_loss, identity_mapping_loss])
def test_both_ways_are_mean_absolute_differences(loss) -> None:
    a, b, c, d = (draw(name, 2, 3, 4, 2) for name in "abcd")
    pairs = [zip(x.flatten().tolist(), y.flatten().tolist(), strict=True) for x, y in ((a, b), (c, d))]
    slow = sum(mean([abs(p - q) for p, q in pair]) for pair in pairs)
    assert loss(a, b, c, d).item() == pytest.approx(slow)
    assert loss(a, a, c, c) == 0
