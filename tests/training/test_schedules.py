from dataclasses import replace

import pytest

from reid_lib.training.baseline import BaselineConfig
from reid_lib.training.schedules import learning_rate_factor, stretch


def test_learning_rate_by_hand() -> None:
    config = BaselineConfig(warmup=10, milestones=(40, 70))
    factors = [learning_rate_factor(config, epoch) for epoch in (0, 5, 10, 39, 40, 69, 70, 119)]
    assert factors == pytest.approx([0.1, 0.55, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_schedule_is_stretched() -> None:
    config = BaselineConfig(epochs=12, warmup=1, milestones=(7, 10))
    assert stretch(config, 36) == replace(config, epochs=36, warmup=3, milestones=(21, 30))
    assert stretch(config, 12) == config
    with pytest.raises(ValueError, match="epochs must be at least 1, found 0"):
        stretch(config, 0)
