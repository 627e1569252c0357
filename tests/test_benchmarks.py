"""The benchmarks' command line and report; what they measure takes too long for a test."""

import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reid_lib import benchmarks
from reid_lib.benchmarks import BENCHMARKS, Measurement
from reid_lib.datasets import load
from reid_lib.training.cadnet import CADNetConfig
from reid_lib.training.run import initialise
from reid_lib.training.vpfa import VectorPanning


def _main(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *names])
    benchmarks.main()


def test_the_help_names_every_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        _main(monkeypatch, "--help")
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert {"ranking", "image_store", "synth", "baseline", "engine", "cadnet", "cca", "vpfa"} <= BENCHMARKS.keys()
    for name, benchmark in BENCHMARKS.items():
        assert benchmark is getattr(benchmarks, name)
        assert benchmark.__doc__
        assert name in shown.split("which: ")[1]


@pytest.mark.parametrize(("names", "run"), [(["two", "one"], ["two", "one"]), ([], ["one", "two"])])
def test_the_named_ones_run_in_their_order_or_all(
    names: list[str], run: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fake(name: str) -> list[Measurement]:
        return [
            Measurement(name, 1.0, "s", "at most 2", kept=True),
            Measurement(name, 3.0, "s", "at most 2", kept=False),
        ]

    monkeypatch.setattr(benchmarks, "BENCHMARKS", {name: partial(fake, name) for name in ("one", "two")})
    _main(monkeypatch, *names)
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [[mark, name] for name in run for mark in ("ok", "MISS")]


def test_an_unknown_name_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(BENCHMARKS, "synth", lambda: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as stopped:
        _main(monkeypatch, "synth", "vpf")
    assert stopped.value.code == 2
    assert f"unknown benchmark 'vpf': expected {', '.join(BENCHMARKS)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "bound", "values"),
    [
        (benchmarks._at_least, "(at least 10)", {9.9: "MISS", 10.0: "ok  ", 11.0: "ok  ", np.nan: "MISS"}),
        (benchmarks._at_most, "(at most 10)", {9.0: "ok  ", 10.0: "ok  ", 10.1: "MISS", np.nan: "MISS"}),
    ],
)
def test_a_line_tells_whether_the_bound_was_kept(make, bound: str, values: dict[float, str]) -> None:
    for value, mark in values.items():
        line = str(make("an epoch", value, "times", 10, "on this machine"))
        assert line.startswith(f"{mark} an epoch ")
        assert f" {value:.1f} times " in line
        assert bound in line
        assert line.endswith("  on this machine")


def test_seconds_takes_the_fastest_call() -> None:
    ticks, calls = iter([0, 5, 10, 12, 20, 23]), []
    assert benchmarks.seconds(lambda: calls.append(1), repeat=3, clock=lambda: next(ticks)) == 2
    assert len(calls) == 3


def test_vpfa_measures_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    class Small(VectorPanning):
        def fit(self, *features: object) -> "Small":
            self.hidden, self.n_pairs = 4, 32
            fitted.append(self)
            return super().fit(*features)

    monkeypatch.setattr(benchmarks, "VectorPanning", Small)
    parameters, speed, fit, *_ = benchmarks.vpfa()
    count = 3840 * 4 + 4 + 2 * (4 * 4 + 4) + 4 * 3840 + 3840 + 3 * 2 * 4
    assert parameters.value == count / 1000
    assert not parameters.kept
    assert speed.value > 0
    assert "the paper: 4,424,371.31" in speed.detail
    if not fitted[1].maps_[0].back.weight.is_cuda:
        assert len(fitted[1].history_[0]) == 4
        assert "scaled" in fit.what
        assert fit.value == pytest.approx(120 / 3 * sum(row["seconds"] for row in fitted[1].history_[0][1:]))


def test_overhead_takes_the_same_steps_both_ways() -> None:
    asked = []

    def new_step() -> benchmarks._Step:
        network = initialise(lambda: torch.nn.Linear(3, 1), 0, torch.device("cpu"))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1)

        def terms() -> dict[str, torch.Tensor]:
            asked.append(torch.is_autocast_enabled("cpu"))
            return {"a": network.weight.square().sum(), "b": (network.bias - 1).square().sum()}

        return benchmarks._Step(network, optimizer, 1, terms, torch.device("cpu"))

    measured, bare = new_step(), new_step()
    line = benchmarks._overhead("small", measured, count=3, repeat=2)
    assert len(asked) == 3 * (1 + 2 + 2)
    assert all(asked)
    assert np.isfinite(line.value)
    bare.bare(15)
    assert torch.equal(bare.network.weight, measured.network.weight)


def test_cadnet_measures_a_step_and_every_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"step": 0.9, "data": 0.3, "E": 0.15, "G": 0.3, "F": 0.15, "C": 0.1, "D_F": 0.1, "D_I": 0.2}
    order, done = iter(list(times) * 5), []

    def smoke(profile: str, **changes: object) -> CADNetConfig:
        done.append(profile)
        return CADNetConfig.for_profile("smoke", **changes)

    def taken(work: Callable[[], object], **_: object) -> float:
        return 3 * times[next(order)]  # of three calls; the works have run before

    monkeypatch.setattr(benchmarks, "CADNetConfig", SimpleNamespace(for_profile=smoke))
    monkeypatch.setattr(benchmarks, "load", partial(load, images_per_camera=1))
    monkeypatch.setattr(benchmarks, "seconds", taken)
    whole, *shares = benchmarks.cadnet()
    assert whole.value == pytest.approx(120)  # (0.9 + 0.3) / 1.0
    assert not whole.kept
    assert "1200 ms for 32 images" in whole.detail
    names = ["E", "G", "F", "C", "D_F", "D_I", "data"]
    assert [share.what for share in shares] == [f"CAD-Net, {done[0]} profile: share of {name}" for name in names]
    assert [share.value for share in shares] == pytest.approx([100 * times[name] / 1.2 for name in names])


def test_the_papers_module_has_24_14_million_parameters() -> None:
    panning = VectorPanning(device="cpu")
    panning.maps_ = {0: panning._new_map(3840)}
    assert benchmarks._parameters(panning).kept


def test_the_printed_speed_needs_half_precision() -> None:
    module = VectorPanning(device="cpu")._new_map(3840)
    weights = sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, torch.nn.Linear))
    rate = 2 * weights * benchmarks.VPFA_SPEED  # a multiplication and an addition for each weight
    assert rate == pytest.approx(214e12, rel=0.005)
    assert 156e12 < rate < 312e12  # an A100 in TF32, and in half precision
