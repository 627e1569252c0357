import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reid_lib.intervals import seeds_interval, t_interval
from reid_lib.reporting import results
from reid_lib.reporting.results import ResultsError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def row(**changes) -> dict:
    cells = {"artefact": "Table II", "method": "mask + val", "metric": "rank1", "value": 63.6}
    return cells | {"seed": 0, "trials": 10, "low": 60.0, "high": 67.0} | changes


RUN = {"commit": "abc", "parameters": {"seed": 0}}


def test_published_rows_are_the_transcribed_file():
    rows = results.published()
    assert rows.shape == (1222, 7)
    assert tuple(rows.columns) == results.PUBLISHED_COLUMNS
    assert set(rows.paper) == {"cadnet", "lrar", "intact", "drfm", "vpfa"}
    assert np.isfinite(rows.value).all()
    assert not rows.duplicated(list(results.PUBLISHED_COLUMNS[:-1])).any()


def test_published_is_byte_for_byte_the_shared_file(shared_data):
    source = shared_data.parent / "published" / "results.csv"
    if not source.is_file():
        pytest.skip("the file that was transcribed is not here")
    assert (results.project_root() / "results" / "published.csv").read_bytes() == source.read_bytes()


def test_write_then_read_gives_the_same_rows(folder):
    path = results.write([row(), row(metric="rank5", value=79.25, low=None, high=None)], "demo", "synth", "lrar", RUN)
    assert path == folder / "demo" / "synth" / "lrar.csv"
    rows = results.read("demo", "synth", "lrar")
    assert list(rows.columns) == list(results.COLUMNS)
    assert list(rows.value) == [63.6, 79.25]
    assert pd.isna(rows.low[1])
    assert rows.seed.dtype == "Int64"
    assert results.available() == [("demo", "synth", "lrar")]
    assert path.read_text().splitlines()[1] == "lrar,Table II,synth,mask + val,,rank1,63.6,demo,0,10,60,67"
    assert list(results.read_all().folder_dataset) == ["synth", "synth"]


def test_other_seeds_and_artefacts_stay_and_same_keys_are_replaced():
    results.write([row(seed=0), row(artefact="Table IV", seed=0)], "demo", "synth", "lrar", RUN)
    results.write([row(seed=1, value=62)], "demo", "synth", "lrar", RUN)
    results.write([row(seed=0, value=65)], "demo", "synth", "lrar", RUN)
    rows = results.read("demo", "synth", "lrar")
    assert list(zip(rows.artefact, rows.seed, rows.value, strict=True)) == [
        ("Table II", 0, 65.0),
        ("Table II", 1, 62.0),
        ("Table IV", 0, 63.6),
    ]


def test_the_file_does_not_depend_on_the_order_of_writing(folder):
    rows = [row(setting=f"r={rate}", seed=seed) for rate in (10, 2, 8) for seed in (1, 0)]
    first = results.write(rows, "demo", "synth", "lrar", RUN).read_bytes()
    written = set()
    for one in reversed(rows):
        again = results.write([one], "smoke", "synth", "lrar", RUN, written)
        written |= results.groups([one], "synth")
    assert again.read_bytes() == first.replace(b",demo,", b",smoke,")
    assert list(results.read("demo", "synth", "lrar").setting.unique()) == ["r=2", "r=8", "r=10"]


def test_run_json_comes_last_and_keeps_the_runs_whose_rows_are_still_there(folder):
    path = results.write([row(seed=0)], "demo", "synth", "lrar", RUN | {"seconds": 1})
    results.write([row(seed=1)], "demo", "synth", "lrar", RUN | {"seconds": 2})
    run = results.read_run("demo", "synth", "lrar")
    assert run["complete"]
    assert run["seconds"] == 2
    assert [one["seconds"] for one in run["earlier"]] == [1]
    results.write([row(seed=0), row(seed=1)], "demo", "synth", "lrar", RUN | {"seconds": 3})
    assert results.read_run("demo", "synth", "lrar")["earlier"] == []
    path.write_text(path.read_text() + "x")  # as after a kill between the two files
    assert not results.read_run("demo", "synth", "lrar")["complete"]
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".") and p.name != ".lock"]


def test_a_method_measured_again_leaves_the_run_of_the_others(folder):
    rows = [row(method="A"), row(method="B"), row(method="C")]
    results.write(rows, "demo", "synth", "lrar", RUN | {"seconds": 1})
    results.write([row(method="A")], "demo", "synth", "lrar", RUN | {"seconds": 2})
    run = results.read_run("demo", "synth", "lrar")
    assert run["covers"] == [["Table II", "synth", "A", 0]]
    assert [(one["seconds"], one["covers"]) for one in run["earlier"]] == [
        (1, [["Table II", "synth", "B", 0], ["Table II", "synth", "C", 0]])
    ]
    results.write([row(method="B")], "demo", "synth", "lrar", RUN | {"seconds": 3})
    results.write([row(method="C")], "demo", "synth", "lrar", RUN | {"seconds": 4})
    assert [one["seconds"] for one in results.read_run("demo", "synth", "lrar")["earlier"]] == [2, 3]


@pytest.mark.parametrize(
    "covers",
    [[["Table II", 0], ["Table II", 1]], [["Table II", "mask + val", 0], ["Table II", "mask + val", 1]]],
)
def test_a_run_json_of_before_the_data_set_was_recorded_can_be_followed(folder, covers):
    rows = [row(), row(seed=1), row(seed=1, dataset="CAVIAR")]
    path = results.write(rows, "demo", "synth", "lrar", RUN | {"seconds": 1}).with_name("lrar.run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"covers": covers}))
    assert results.read_run("demo", "synth", "lrar")["complete"]
    results.write([row(), row(seed=1)], "demo", "synth", "lrar", RUN)
    (earlier,) = results.read_run("demo", "synth", "lrar")["earlier"]
    assert earlier["covers"] == [["Table II", "CAVIAR", "mask + val", 1]]


def test_the_committed_runs_can_be_followed(folder):
    """Every row that is committed has a run, and keeps it when another group is written."""
    committed = results.project_root() / "results"
    for profile, dataset, paper in results.available(committed):
        if profile == "smoke":  # left by `make test`, and never committed
            continue
        path = committed / profile / dataset / f"{paper}.csv"
        copy = folder / profile / dataset
        copy.mkdir(parents=True, exist_ok=True)
        for file in (path, path.with_suffix(".run.json")):
            (copy / file.name).write_bytes(file.read_bytes())
        before = results.read(profile, dataset, paper)
        results.write([row(artefact="new")], profile, dataset, paper, RUN)
        found = [tuple(c) for one in results.read_run(profile, dataset, paper)["earlier"] for c in one["covers"]]
        assert len(results.read(profile, dataset, paper)) == len(before) + 1
        assert set(found) == results.groups(before)


def test_a_group_that_is_written_again_keeps_nothing_of_an_earlier_run():
    rows = [row(), row(metric="lpips_squeeze", value=0.3, low=None, high=None), row(setting="unseen r = 8")]
    others = [row(seed=1), row(method="w/o mask"), row(artefact="Table IV"), row(dataset="CAVIAR")]
    results.write([*rows, *others], "demo", "synth", "lrar", RUN | {"seconds": 1})
    results.write([row(value=61)], "demo", "synth", "lrar", RUN | {"seconds": 2})
    found = results.read("demo", "synth", "lrar")
    assert list(zip(found.artefact, found.dataset, found.method, found.seed, found.value, strict=True)) == [
        ("Table II", "CAVIAR", "mask + val", 0, 63.6),
        ("Table II", "synth", "mask + val", 0, 61.0),
        ("Table II", "synth", "mask + val", 1, 63.6),
        ("Table II", "synth", "w/o mask", 0, 63.6),
        ("Table IV", "synth", "mask + val", 0, 63.6),
    ]
    assert set(found.setting) == {""}
    assert set(found.metric) == {"rank1"}
    (earlier,) = results.read_run("demo", "synth", "lrar")["earlier"]
    assert (earlier["seconds"], len(earlier["covers"])) == (1, 4)


def test_two_writes_of_one_run_to_a_group_add_up():
    results.write([row(metric="rank5")], "demo", "synth", "lrar", RUN | {"seconds": 1})
    written = set()
    for rows in ([row()], [row(metric="rank10", value=70, low=None, high=None)], [row(value=64)]):
        results.write(rows, "demo", "synth", "lrar", RUN | {"seconds": 2}, written)
        written |= results.groups(rows, "synth")
    assert written == {("Table II", "synth", "mask + val", 0)}
    found = results.read("demo", "synth", "lrar")
    assert list(zip(found.metric, found.value, strict=True)) == [("rank1", 64.0), ("rank10", 70.0)]
    assert results.read_run("demo", "synth", "lrar")["earlier"] == []


def test_two_data_sets_in_one_file_do_not_disturb_one_another():
    results.write([row(), row(dataset="CAVIAR", value=61)], "demo", "synth", "lrar", RUN | {"seconds": 1})
    results.write([row(dataset="CAVIAR", value=62)], "demo", "synth", "lrar", RUN | {"seconds": 2})
    found = results.read("demo", "synth", "lrar")
    assert list(zip(found.dataset, found.value, strict=True)) == [("CAVIAR", 62.0), ("synth", 63.6)]
    run = results.read_run("demo", "synth", "lrar")
    assert run["covers"] == [["Table II", "CAVIAR", "mask + val", 0]]
    assert [one["covers"] for one in run["earlier"]] == [[["Table II", "synth", "mask + val", 0]]]


def test_groups_of_rows():
    rows = [row(), row(metric="rank5"), row(seed=None, dataset="CAVIAR")]
    expected = {("Table II", "synth", "mask + val", 0), ("Table II", "CAVIAR", "mask + val", None)}
    assert results.groups(rows, "synth") == expected
    results.write(rows, "demo", "synth", "lrar", RUN)
    assert results.groups(results.read("demo", "synth", "lrar")) == expected
    with pytest.raises(ResultsError, match="names no data set"):
        results.groups(rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": np.nan, "low": np.inf}, "finite number"),
        ({"value": "high"}, "finite number"),
        ({"value": 101.0, "high": 102.0}, "percent"),
        ({"value": 59.0}, "low <= value <= high"),
        ({"method": ""}, "empty method"),
        ({"seed": 0.5}, "integer >= 0"),
        ({"trials": 0}, "integer >= 1"),
        ({"method": "a\nb"}, "line break"),
        ({"paper": "cadnet"}, "own file"),
        ({"rank": 1}, "unknown columns"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_written(folder, changes, message):
    with pytest.raises(ResultsError, match=message):
        results.write([row(), row(method="w/o mask") | changes], "demo", "synth", "lrar", RUN)
    assert not folder.exists()


def test_rows_that_stand_twice_are_refused():
    with pytest.raises(ResultsError, match="twice"):
        results.write([row(), row(value=61)], "demo", "synth", "lrar", RUN)


def test_no_rows_are_refused():
    with pytest.raises(ResultsError, match="found 0 rows"):
        results.write([], "demo", "synth", "lrar", RUN)


def test_an_absent_value_may_be_written_as_empty():
    results.write([row(metric="lpips", value=None, low=None, high=None)], "demo", "synth", "cadnet", RUN)
    assert results.read("demo", "synth", "cadnet").value.isna().all()
    assert results.merge_seeds(results.read("demo", "synth", "cadnet")).empty


def test_unknown_profile_bad_names_and_missing_files():
    with pytest.raises(ResultsError, match="unknown profile 'tiny': expected one of smoke, demo, paper"):
        results.write([row()], "tiny", "synth", "lrar", RUN)
    with pytest.raises(ResultsError, match="cannot name a data set"):
        results.write([row()], "demo", "../x", "lrar", RUN)
    with pytest.raises(ResultsError, match="reid-lib reproduce --profile demo --dataset synth"):
        results.read("demo", "synth", "lrar")
    with pytest.raises(ResultsError, match="did not finish"):
        results.read_run("demo", "synth", "lrar")


def test_damaged_files_are_said(folder):
    path = results.write([row()], "demo", "synth", "lrar", RUN)
    (path.parent / "lrar.run.json").write_text("{")
    with pytest.raises(ResultsError, match="damaged"):
        results.read_run("demo", "synth", "lrar")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match="must have the columns"):
        results.read("demo", "synth", "lrar")
    path.write_text(",".join(results.COLUMNS) + "\nlrar,Table II,synth,m,,rank1,many,demo,0,10,,\n")
    with pytest.raises(ResultsError, match="a cell in value that is no number"):
        results.read("demo", "synth", "lrar")


def test_unwritable_folder_is_said_before_work_starts(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"Cannot write results to .*REID_LIB_RESULTS"):
        results.check_writable(tmp_path / "file" / "demo")
    results.check_writable(tmp_path / "new" / "demo")
    assert not list((tmp_path / "new" / "demo").iterdir())


WRITER = """
import sys
from reid_lib.reporting import results

cells = {"artefact": "Table II", "method": "LRAR", "metric": "rank1", "value": 1.0}
for seed in range(int(sys.argv[1]), 12, 2):
    results.write([cells | {"seed": seed}], "demo", "synth", "lrar", {})
"""


def test_two_runs_at_once_lose_nothing(folder):  # the folder reaches them through REID_LIB_RESULTS
    runs = [subprocess.Popen([sys.executable, "-c", WRITER, str(first)]) for first in (0, 1)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    assert list(results.read("demo", "synth", "lrar").seed) == list(range(12))


SUMMARY = pd.DataFrame(
    {"mean": [30.0, 55.0], "low": [28.0, 54.0], "high": [32.0, 56.0], "trials": [10, 10]},
    index=["rank1", "map"],
)


def test_rows_from_summary():
    where = {
        "paper": "baselines",
        "artefact": "Baselines",
        "dataset": "synth",
        "method": "HR only",
        "profile": "demo",
    }
    rows = results.rows_from_summary(SUMMARY, setting="r=2", seed=3, metrics=["map"], **where)
    assert rows.iloc[0].to_dict() == where | {
        "setting": "r=2", "metric": "map", "value": 55.0, "seed": 3, "trials": 10, "low": 54.0, "high": 56.0
    }  # fmt: skip
    with pytest.raises(ResultsError, match="'rank5'"):
        results.rows_from_summary(SUMMARY, metrics=["rank5"], **where)
    with pytest.raises(ResultsError, match="'trials'"):
        results.rows_from_summary(SUMMARY.drop(columns="trials"), **where)


def test_merge_seeds_gives_the_interval_over_seeds_and_trials():
    rows = results.check_rows(
        pd.DataFrame([row(seed=s, value=v, low=v - 2, high=v + 2) for s, v in enumerate((60.0, 62.0, 64.0))]).assign(
            paper="lrar", dataset="synth", setting="", profile="demo"
        )
    )
    merged = results.merge_seeds(rows)
    assert merged.value[0] == 62
    assert merged.seeds[0] == 3
    assert merged.trials[0] == 30
    error = 2 / 2.262157  # t(0.975, 9): each seed has ten trials
    assert (merged.low[0], merged.high[0]) == pytest.approx(seeds_interval([60, 62, 64], [error] * 3, 10), abs=1e-4)
    alone = results.merge_seeds(rows[:1])
    assert (alone.low[0], alone.high[0], alone.seeds[0]) == (58, 62, 1)
    pd.testing.assert_frame_equal(results.merge_seeds(merged), merged)


def test_seeds_without_trials_are_merged_by_their_spread_alone():
    rows = pd.DataFrame([row(seed=s, value=v, trials=None, metric="psnr") for s, v in enumerate((20.0, 21.0))])
    rows = rows.drop(columns=["low", "high"], errors="ignore").assign(low=None, high=None)
    rows = results.check_rows(rows.assign(paper="lrar", dataset="synth", setting="", profile="demo"))
    merged = results.merge_seeds(rows)
    assert (merged.low[0], merged.high[0]) == pytest.approx(t_interval([20, 21]))


def test_merged_rows_where_nothing_was_trained_have_no_seeds():
    rows = pd.DataFrame([row(seed=None, value=65.0)]).assign(paper="lrar", dataset="synth", setting="", profile="demo")
    rows = results.check_rows(rows.reindex(columns=list(results.COLUMNS)))
    assert results.merge_seeds(rows).seeds[0] == 0


def test_results_root_is_beside_pyproject_unless_named(monkeypatch, tmp_path):
    assert results.results_root() == tmp_path / "results"
    monkeypatch.delenv("REID_LIB_RESULTS")
    assert results.results_root() == results.project_root() / "results"
    monkeypatch.setattr(results, "project_root", lambda: None)
    assert results.results_root() == Path("results")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultsError, match=r"published\.csv not found"):
        results.published()


def test_a_stranger_s_pyproject_beside_the_package_is_no_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "__file__", str(tmp_path / "reid_lib" / "reporting" / "results.py"))
    assert results.project_root() is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "somebody"\n')
    assert results.project_root() is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "reid-lib"\n')
    assert results.project_root() == tmp_path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "it holds [1, 2]"),
        ('{"seconds": "12"}', "seconds is '12'"),
        ('{"parameters": null}', "parameters is None"),
        ('{"time": 2026}', "time is 2026"),
        ('{"covers": [3]}', "covers has 3"),
        ('{"earlier": [3]}', "it holds 3"),
        ('{"earlier": [{"hardware": "a CPU"}]}', "hardware is 'a CPU'"),
    ],
)
def test_a_record_of_another_kind_is_refused_by_every_reader(folder, content, said):
    results.write([row()], "demo", "synth", "lrar", RUN)
    path = folder / "demo" / "synth" / "lrar.run.json"
    path.write_text(content)
    with pytest.raises(ResultsError, match=rf"lrar\.run\.json is no record of a run \({re.escape(said)}\): delete it"):
        results.read_run("demo", "synth", "lrar")
    assert "no readable run.json" in results.doubt("demo", "synth", "lrar")
    path.write_text("{}")  # an older run has fewer fields
    assert results.read_run("demo", "synth", "lrar") == {"complete": False}


def test_merged_rows_stand_where_their_first_row_stood():
    cells = (("a", 0, 50.0), ("b", 0, 60.0), ("a", 1, 52.0), ("c", None, 70.0), ("b", 1, 62.0))
    rows = pd.DataFrame([row(method=m, seed=s, value=v, low=v - 1, high=v + 1) for m, s, v in cells])
    rows = results.check_rows(rows.assign(paper="lrar", dataset="synth", setting="", profile="demo"))
    merged = results.merge_seeds(rows.set_index(pd.Index([7, 7, 1, 3, 7])))  # an index that says nothing
    assert merged[["method", "value", "seeds"]].values.tolist() == [["a", 51, 2], ["b", 61, 2], ["c", 70, 0]]
    assert merged.seed.isna().all()


def test_a_run_that_writes_in_steps_has_one_entry(folder):
    first, second = [row(method="a", seed=0)], [row(method="b", seed=0)]
    results.write(first, "demo", "synth", "lrar", RUN | {"commit": "before"})
    later = RUN | {"commit": "now"}
    results.write(second, "demo", "synth", "lrar", later)
    results.write([row(method="c", seed=0)], "demo", "synth", "lrar", later, written=results.groups(second, "synth"))
    run = results.read_run("demo", "synth", "lrar")
    assert [cover[2] for cover in run["covers"]] == ["b", "c"]
    assert [(own["commit"], [cover[2] for cover in own["covers"]]) for own in run["earlier"]] == [("before", ["a"])]
