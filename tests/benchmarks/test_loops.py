"""How a loop is taken apart; the measurements themselves take too long for a test."""

import time

import pytest
import torch

from benchmarks import loops
from reid_lib.datasets import load
from reid_lib.training.methods import METHODS
from reid_lib.training.run import Run


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(loops.Clock, "_now", staticmethod(lambda: now[0]))
    return now


def test_time_is_charged_to_the_innermost_part(ticks: list[float]) -> None:
    clock = loops.Clock()

    def take(seconds: float) -> float:
        ticks[0] += seconds
        return seconds

    passes = clock.charged("passes", take)
    nested = clock.charged("passes", lambda: passes(2) + take(3))
    engine = clock.charged("engine", lambda: take(1) + nested() + take(4))
    take(7)
    assert engine() == 10
    assert clock.seconds() == {"else": 7, "engine": 5, "passes": 5}
    with pytest.raises(ZeroDivisionError), clock.inside("engine"):
        take(1 / 0)
    take(1)
    assert clock.seconds()["else"] == 8


def test_the_second_half_of_the_steps_is_judged_by_its_median() -> None:
    slow = loops.Step({"passes": 1.0, "else": 9.0})
    steps = [loops.Step({"passes": 0.1, "engine": e, "images": 0.004, "else": 0.006}) for e in (0.001, 0.002, 0.009)]
    whole, engine = loops.judged("it", [slow, slow, slow, *steps])
    assert whole.value == pytest.approx(112)
    assert engine.value == pytest.approx(2)
    assert whole.kept
    assert engine.kept
    assert whole.detail == "100 ms of passes; images 4.0 %, all else 6.0 %"


@pytest.mark.parametrize("name", ["baseline", "vpfa"])
def test_a_training_is_taken_apart_and_left_as_it_was(name: str) -> None:
    before = [getattr(owner, call) for calls in loops.PARTS.values() for owner, call in calls], Run.batches
    dataset = load("synth", identities=16, images_per_camera=2, size=(64, 32))
    method, started = METHODS[name], time.process_time()
    config = loops.short(name, method.config, "smoke")
    steps = loops.taken_apart(lambda: method.train(config, dataset, progress=False, device=torch.device("cpu")))
    assert len(steps) == loops.EPOCHS * loops.STEPS  # VPFA's own, not those of the model before it
    assert all(step["passes"] > 0 and step["engine"] > 0 and step["else"] > 0 for step in steps)
    assert all((step["images"] > 0) == (name == "baseline") for step in steps)
    if not torch.cuda.is_available():
        assert sum(sum(step.values()) for step in steps) < time.process_time() - started
    assert ([getattr(owner, call) for calls in loops.PARTS.values() for owner, call in calls], Run.batches) == before


@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_every_method_has_a_short_training(profile: str) -> None:
    for name, method in METHODS.items():
        config = loops.short(name, method.config, profile)
        assert config.epochs == loops.EPOCHS
        assert getattr(config, "steps", loops.STEPS) == loops.STEPS
