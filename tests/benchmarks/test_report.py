"""The benchmarks' command line and report."""

import sys
from functools import partial

import numpy as np
import pytest

from benchmarks import Measurement, at_least, at_most, seconds
from benchmarks import __main__ as command
from benchmarks.__main__ import BENCHMARKS


def _main(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *names])
    command.main()


def test_the_help_names_every_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        _main(monkeypatch, "--help")
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m benchmarks ")
    assert {"ranking", "image_store", "synth", "baseline", "engine", "cadnet", "cca", "vpfa"} <= BENCHMARKS.keys()
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.__name__ == name
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

    monkeypatch.setattr(command, "BENCHMARKS", {name: partial(fake, name) for name in ("one", "two")})
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
        (at_least, "(at least 10)", {9.9: "MISS", 10.0: "ok  ", 11.0: "ok  ", np.nan: "MISS"}),
        (at_most, "(at most 10)", {9.0: "ok  ", 10.0: "ok  ", 10.1: "MISS", np.nan: "MISS"}),
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
    assert seconds(lambda: calls.append(1), repeat=3, clock=lambda: next(ticks)) == 2
    assert len(calls) == 3
