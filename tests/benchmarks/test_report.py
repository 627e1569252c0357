"""The benchmarks' command line and report."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import Measurement, at_least, at_most, records, seconds, without_bound
from benchmarks import __main__ as command
from benchmarks.__main__ import BENCHMARKS
from reid_lib.reporting import results
from reid_lib.reporting.provenance import provenance


@pytest.fixture(autouse=True)
def results_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Benchmarks here keep nothing in the project's own results."""
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))
    return tmp_path


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


def _kept(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "benchmarks.csv", keep_default_na=False)


def test_what_was_found_is_kept_with_the_machine(
    results_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    found = [
        at_least("a, or b", 1234.567, "times", 8, "0.1 s"),
        at_most("c", 6, "%", 5),
        without_bound("d", 0.000123449, "s"),
    ]
    monkeypatch.setattr(command, "BENCHMARKS", {"one": lambda: found})
    _main(monkeypatch, "one")
    kept = _kept(results_folder)
    assert kept["what"].tolist() == ["a, or b", "c", "d"]
    assert kept["value"].tolist() == [1235, 6, 0.0001234]
    assert kept["goal"].tolist() == ["at least 8", "at most 5", "no bound"]
    assert kept["met"].tolist() == ["yes", "no", ""]
    assert kept["note"].tolist() == ["0.1 s", "", ""]
    made = provenance({}, "", 0.0)
    for name, value in {"cpu": made["hardware"]["cpu"], "cores": made["hardware"]["cores"]}.items():
        assert set(kept[name]) == {value}
    assert set(kept["torch"]) == {made["versions"]["torch"]}
    assert set(kept["threads"]) == {torch.get_num_threads()}
    if made["commit"]:
        assert set(kept["commit"]) == {made["commit"][:10] + "+" * made["dirty"]}


def test_rows_of_the_same_benchmark_are_replaced_and_others_stay(
    results_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    values = {"two": [1.0, 2.0], "one": [3.0]}
    own = {name: lambda name=name: [at_most(f"{name} {v:g}", v, "s", 9) for v in values[name]] for name in values}
    monkeypatch.setattr(command, "BENCHMARKS", own)
    _main(monkeypatch)
    before = (results_folder / "benchmarks.csv").read_text().splitlines()
    assert _kept(results_folder)["what"].tolist() == ["one 3", "two 1", "two 2"]
    values["two"] = [4.0]
    _main(monkeypatch, "two")
    after = (results_folder / "benchmarks.csv").read_text().splitlines()
    assert after[:2] == before[:2]  # the columns, and the row of the other one as it was
    assert _kept(results_folder)["what"].tolist() == ["one 3", "two 4"]


def test_what_ended_before_a_failure_is_kept(
    results_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken() -> list[Measurement]:
        raise MemoryError

    monkeypatch.setattr(command, "BENCHMARKS", {"one": lambda: [at_most("a", 1, "s", 2)], "two": broken})
    with pytest.raises(MemoryError):
        _main(monkeypatch)
    assert _kept(results_folder)["benchmark"].tolist() == ["one"]


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "file"))
    monkeypatch.setitem(BENCHMARKS, "synth", lambda: pytest.fail("it ran"))
    with pytest.raises(results.ResultsError, match="Cannot write results"):
        _main(monkeypatch, "synth")


@pytest.mark.parametrize(
    ("value", "text"), [(24139.6, "24140"), (0.5, "0.5"), (8.0, "8"), (1.23456e-5, "0.00001235"), (np.nan, "nan")]
)
def test_values_are_kept_with_four_digits(value: float, text: str) -> None:
    assert records.shown(value) == text


def test_the_committed_rows_are_of_benchmarks_that_there_are_and_say_rightly_what_is_met() -> None:
    path = results.project_root() / "results" / "benchmarks.csv"
    kept = pd.read_csv(path, keep_default_na=False)
    assert {"ranking", "loops", "growth"} <= set(kept["benchmark"]) <= set(BENCHMARKS)
    assert not kept.duplicated(["benchmark", "what"]).any()
    goals = kept[kept["goal"].str.match("at (least|most) ")]
    bound = goals["goal"].str.split().str[2].astype(float)
    most = goals["goal"].str.startswith("at most")
    kept_goals = (goals["value"] <= bound).where(most, goals["value"] >= bound)
    close = (goals["value"] - bound).abs() <= 1e-3 * bound.abs()  # values are rounded
    assert ((goals["met"] == "yes") == kept_goals)[~close].all()
    assert set(kept.loc[kept["goal"] == "no bound", "met"]) <= {""}
