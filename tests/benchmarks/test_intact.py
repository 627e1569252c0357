"""What INTACT's benchmark measures; the measurement itself takes too long for a test."""

import copy
from functools import partial

import pytest
import torch

from benchmarks import intact
from reid_lib.datasets import load
from reid_lib.training.intact import INTACTConfig
from reid_lib.training.run import initialise

SMOKE = {"with": INTACTConfig.for_profile("smoke"), "without": INTACTConfig.for_profile("smoke", association="none")}


@pytest.mark.parametrize("which", SMOKE)
def test_a_step_moves_the_networks_and_bare_passes_move_none(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(intact, "initialise", lambda *args: built.append(initialise(*args)) or built[0])
    dataset = load("synth", identities=16, images_per_camera=2, size=(64, 32))
    data, step, passes = intact.work_of(SMOKE[which], dataset, torch.device("cpu"))
    assert list(passes) == ["G", "D", "C"]
    assert data().x_l.shape == (16, 3, 64, 32)
    (network,) = built
    assert (network.phi is None) == (which == "without")
    before = copy.deepcopy(dict(network.named_parameters()))
    for work in passes.values():
        work()
    assert all(torch.equal(before[name], p) for name, p in network.named_parameters())
    step()
    moved = {name.split(".")[0] for name, p in network.named_parameters() if not torch.equal(before[name], p)}
    assert moved == ({"G", "D", "phi", "sigma"} if which == "with" else {"G", "D"})


def test_it_measures_a_step_and_what_the_critic_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"data": 0.1, "step": 1.08, "without": 1.0, "G": 0.5, "D": 0.3, "C": 0.2}

    class Smoke:
        @staticmethod
        def for_profile(profile: str, **changes: object) -> INTACTConfig:
            return INTACTConfig.for_profile("smoke", **changes)

    order = iter(list(times) * intact.ROUNDS)
    monkeypatch.setattr(intact, "INTACTConfig", Smoke)
    monkeypatch.setattr(intact, "load", partial(load, images_per_camera=1))
    monkeypatch.setattr(intact, "seconds", lambda work, **_: times[next(order)])
    whole, added, *shares = intact.intact()
    assert whole.value == pytest.approx(118)  # (1.08 + 0.1) / 1.0
    assert added.value == pytest.approx(8)
    assert (whole.kept, added.kept) == (False, True)
    assert [round(share.value, 2) for share in shares] == [46.3, 27.78, 18.52]
