"""CycleGAN's losses against slow float64 versions."""

import pytest
import torch

from reid_lib.losses.cyclegan import cycle_consistency_loss, identity_mapping_loss
from reid_lib.seeds import torch_generator


def draw(name: str, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, name))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("loss", [cycle_consistency_loss, identity_mapping_loss])
def test_both_ways_are_mean_absolute_differences(loss) -> None:
    a, b, c, d = (draw(name, 2, 3, 4, 2) for name in "abcd")
    pairs = [zip(x.flatten().tolist(), y.flatten().tolist(), strict=True) for x, y in ((a, b), (c, d))]
    slow = sum(mean([abs(p - q) for p, q in pair]) for pair in pairs)
    assert loss(a, b, c, d).item() == pytest.approx(slow)
    assert loss(a, a, c, c) == 0
