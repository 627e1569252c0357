"""The runner, on tiny notebooks in a project of their own."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reid_lib import digest, writeback
from reid_lib import reproduce as runner
from reid_lib.reporting import results
from reid_lib.reporting.artefacts import numbered_notebooks
from reid_lib.reporting.papers import lrar

PARAMETERS = (
    'profile: str = "demo"  # smoke, demo or paper\n'
    'dataset: str = "synth"  # data set\n'
    'data_root: str = ""  # its folder\n'
    "seeds: tuple = (0,)  # seeds"
)
FINISH = """
import json, os, pathlib, sys
folder = pathlib.Path(os.environ["REID_LIB_RESULTS"]) / profile / dataset
seen = {"seeds": list(seeds), "python": sys.executable, "cwd": os.getcwd()}
seen["env"] = os.environ["REID_LIB_PROFILE"]
(folder / "NAME.run.json").write_text(json.dumps(seen))
"""


def _notebook(folder: Path, name: str, *sources: str, parameters: str = PARAMETERS) -> Path:
    cells = [new_markdown_cell("# A title"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in sources]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path = folder / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


def _finish(name: str) -> str:
    return FINISH.replace("NAME", name).strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    _notebook(tmp_path, "00_first", 'print("first")', _finish("00_first"))
    _notebook(tmp_path, "01_second", 'x = 1\nraise KeyError("lost")', _finish("01_second"))
    return tmp_path


def test_a_run_stops_at_the_failing_cell_resumes_and_skips(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = project / "jupyter" / "kernels" / "python3"  # as another environment leaves it behind
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": ["/nowhere/python", "{connection_file}"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(project / "jupyter"))
    monkeypatch.setenv("REID_LIB_PROFILE", "smoke")
    said: list[str] = []

    with pytest.raises(runner.NotebookFailed) as failed:
        runner.reproduce(project, seeds=[3, 4], say=said.append)

    message = str(failed.value)
    assert message.startswith("notebook 01_second, cell 3 (In [3]): KeyError: 'lost'")
    assert "    x = 1" in message
    assert "Traceback" in message
    assert "\x1b" not in message
    seen = json.loads((project / "results/demo/synth/00_first.run.json").read_text())
    assert seen["seeds"] == [3, 4]
    assert Path(seen["python"]) == Path(sys.executable)
    assert (seen["cwd"], seen["env"]) == (str(project), "demo")
    assert os.environ["REID_LIB_PROFILE"] == "smoke"
    assert [state.state for state in runner.states(project, "demo", "synth")] == ["up to date", "missing"]

    second = _notebook(project, "01_second", "x = 1", _finish("01_second"))
    assert runner.reproduce(project, seeds=[3, 4], say=said.append) == ["01_second"]
    assert runner.reproduce(project, seeds=[3, 4], say=said.append) == []
    assert said[-2:] == ["[1/2] 00_first: up to date", "[2/2] 01_second: up to date"]
    assert runner.states(project, "demo", "synth")[0].parameters == "seeds=[3, 4]"

    _notebook(project, "01_second", "x = 2", _finish("01_second"))
    assert [state.state for state in runner.states(project, "demo", "synth")] == ["up to date", "stale"]
    with pytest.raises(ValueError, match="changed since it was run"):
        writeback.write(project, second, project / "results/demo/synth/notebooks/01_second.ipynb")


@pytest.mark.parametrize("gone", ["00_first.run.json", "table.csv", "figure.png"])
def test_a_result_that_is_gone_is_made_again(project: Path, gone: str) -> None:
    written = """
import json, os, pathlib
folder = pathlib.Path(os.environ["REID_LIB_RESULTS"]) / profile / dataset
for name in ("table.csv", "figure.png"):
    (folder / name).touch()
(folder / "00_first.run.json").write_text(json.dumps({"written": ["figure.png", "table.csv"]}))
"""
    _notebook(project, "00_first", written.strip())
    assert runner.reproduce(project, only="00", say=lambda line: None) == ["00_first"]
    assert runner.reproduce(project, only="00", say=lambda line: None) == []
    (project / "results/demo/synth" / gone).unlink()
    assert runner.states(project, "demo", "synth")[0].state == "missing"
    assert runner.reproduce(project, only="00", say=lambda line: None) == ["00_first"]
    assert (project / "results/demo/synth" / gone).is_file()


def test_a_notebook_that_does_not_finish_is_not_done(project: Path) -> None:
    _notebook(project, "00_first", 'print("no provenance")')
    with pytest.raises(runner.NotebookFailed, match=r"wrote no 00_first\.run\.json"):
        runner.reproduce(project, only="first", say=lambda line: None)
    assert runner.states(project, "demo", "synth")[0].state == "missing"


def test_a_dead_kernel_is_a_failure(project: Path) -> None:
    _notebook(project, "00_first", _finish("00_first"), "import os\nos._exit(9)")
    with pytest.raises(runner.NotebookFailed, match=r"00_first: the kernel stopped in cell 4 .*memory"):
        runner.reproduce(project, only="00", say=lambda line: None)
    assert runner.states(project, "demo", "synth")[0].state == "missing"


@pytest.mark.parametrize("only", ["01_second", "01", "second", "01_second.ipynb"])
def test_one_notebook_is_chosen_by_number_or_name(project: Path, only: str) -> None:
    assert [path.stem for path in runner.select(numbered_notebooks(project), only)] == ["01_second"]


def test_one_notebook_is_chosen_by_artefact(project: Path) -> None:
    _notebook(project, "13_lrar", "1")
    paths = numbered_notebooks(project)
    assert [path.stem for path in runner.select(paths, "LRAR Table II")] == ["13_lrar"]
    with pytest.raises(ValueError, match=r"INTACT Table 1 belongs to notebook 12_intact, which is not written yet"):
        runner.select(paths, "INTACT Table 1")


def test_what_is_not_reproduced_says_why(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = lrar.PAPER.left_out("figure", "Fig. 9", "A photograph", "It shows a real person.")
    monkeypatch.setattr(runner, "ARTEFACTS", (drawing,))
    with pytest.raises(ValueError, match=r"LRAR Fig. 9 is not reproduced: It shows a real person"):
        runner.select(numbered_notebooks(project), "LRAR Fig. 9")


def test_an_unknown_notebook_gets_near_names(project: Path) -> None:
    with pytest.raises(ValueError, match=r"no notebook is called '01_secnd' \(did you mean '01_second'"):
        runner.reproduce(project, only="01_secnd")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"overrides": {"seed": 1}},
            r"00_first has no parameter 'seed' \(did you mean 'seeds'\?\); it has profile",
        ),
        ({"profile": "quick"}, "smoke, demo, paper"),
        ({"dataset": "a/b"}, "a/b"),
        ({"dataset": "synht"}, r"unknown data set 'synht' \(did you mean 'synth'"),
        ({"dataset": "viper"}, "name its folder with --data-root"),
        ({"dataset": "viper", "data_root": ".", "write_back": True}, "real people"),
        ({"seeds": [1], "write_back": True}, "seeds would differ in 00_first"),
        ({"profile": "paper", "write_back": True}, "profile would differ"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(project: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runner.reproduce(project, **options)
    assert not list(project.rglob("*.run.json"))


def test_a_results_folder_that_cannot_be_written_is_refused(project: Path) -> None:
    (project / "results").write_text("a file in the way")
    with pytest.raises(ValueError, match="Cannot write results"):
        runner.reproduce(project)


def test_a_folder_without_notebooks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no numbered notebook"):
        runner.reproduce(tmp_path)


def test_only_parameters_that_differ_are_passed(project: Path) -> None:
    path = project / "notebooks" / "00_first.ipynb"
    wanted = {"profile": "demo", "dataset": "synth", "data_root": "", "seeds": [0]}
    assert runner.changed_parameters(path, wanted) == {}
    assert runner.changed_parameters(path, wanted | {"seeds": [0, 1]}) == {"seeds": [0, 1]}


def test_a_boolean_of_a_notebook_stays_one(project: Path) -> None:
    path = _notebook(project, "03_third", "pass", parameters="networks = True\nepochs = 3\nkernel = 'box'")
    for off in ("false", "no", "OFF", False, 0):
        assert runner.changed_parameters(path, {"networks": off}) == {"networks": False}
    assert runner.changed_parameters(path, {"networks": "yes", "kernel": "no"}) == {"kernel": "no"}
    with pytest.raises(ValueError, match=r"03_third: networks must be true or false .*, found 'some'"):
        runner.changed_parameters(path, {"networks": "some"})
    with pytest.raises(ValueError, match="03_third: epochs must be an integer such as 3, found 'three'"):
        runner.changed_parameters(path, {"epochs": "three"})


@pytest.mark.parametrize("seeds", [(0, 0), (), (-1,), (0.5,)])
def test_seeds_are_checked_before_anything_runs(project: Path, seeds: tuple) -> None:
    with pytest.raises(ValueError, match="seeds must"):
        runner.reproduce(project, seeds=seeds, say=lambda line: pytest.fail(line))


def test_a_tuple_reaches_the_notebook_as_a_list(project: Path) -> None:
    given = "import json, os, pathlib\nfolder = pathlib.Path(os.environ['REID_LIB_RESULTS']) / profile / dataset\n"
    given += "(folder / '00_first.run.json').write_text(json.dumps({'given': seeds}))"
    _notebook(project, "00_first", given)
    runner.reproduce(project, only="00", overrides={"seeds": (2, 3)}, say=lambda line: None)
    assert json.loads((project / "results/demo/synth/00_first.run.json").read_text()) == {"given": [2, 3]}


def test_the_digest_follows_code_and_parameters_but_not_prose(project: Path) -> None:
    path = project / "notebooks" / "00_first.ipynb"
    first = runner.inputs_digest(project, path, {"profile": "demo"})
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "# Another title"
    notebook.cells[2].outputs = [new_output("stream", name="stdout", text="first\n")]
    nbformat.write(notebook, path)
    assert runner.inputs_digest(project, path, {"profile": "demo"}) == first
    assert runner.inputs_digest(project, path, {"profile": "smoke"}) != first
    notebook.cells[2].source += "  # mended"
    nbformat.write(notebook, path)
    assert runner.inputs_digest(project, path, {"profile": "demo"}) == first
    notebook.cells[2].source += "\nchanged = True"
    nbformat.write(notebook, path)
    assert runner.inputs_digest(project, path, {"profile": "demo"}) != first


ROOT = Path(runner.__file__).parents[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of reid_lib, whose files may be changed."""
    copy = tmp_path / "reid_lib"
    shutil.copytree(digest.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", copy)
    return copy


def _inputs(*only: str, dataset: str = "synth", **more: object) -> dict[str, str]:
    parameters = {"profile": "demo", "dataset": dataset, **more}
    paths = [path for path in numbered_notebooks(ROOT) if not only or path.stem in only]
    return {path.stem: runner.inputs_digest(ROOT, path, parameters) for path in paths}


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if after[name] != before[name]}


def _add(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def _synth(package: Path) -> list[Path]:
    rooms = package / "datasets"
    return sorted(rooms.glob("synth/*.py")) or [rooms / "synth.py"]


def test_code_that_decides_no_number_makes_no_notebook_stale(package: Path) -> None:
    before = _inputs()
    for path in (*_synth(package), package / "training" / "run.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith('"""')
        path.write_text(text.replace('"""', '"""Mended. ', 1) + "\n\n# a comment\n", encoding="utf-8")
    for unused in ("reproduce.py", "writeback.py", "cli/train.py", "__main__.py"):
        _add(package / unused, "\nchanged = True\n")
    assert _changed(before, _inputs()) == set()


def test_a_changed_line_makes_stale_what_reaches_it(package: Path) -> None:
    first = _inputs()
    _add(package / "training" / "lrar.py", "\nchanged = True\n")
    second = _inputs()
    imported = re.compile(
        r"from reid_lib\.training import (?:\w+, )*(?:lrar|roster)\b|from reid_lib\.training\.lrar import"
    )
    named = {path.stem for path in numbered_notebooks(ROOT) if imported.search(path.read_text(encoding="utf-8"))}
    assert "13_lrar" in named
    assert "11_cadnet" not in named
    assert _changed(first, second) == named

    _add(package / "evaluation" / "ranking.py", "\nchanged = True\n")
    assert _changed(second, _inputs()) == set(first)  # every notebook evaluates


def test_only_the_loader_of_the_runs_own_data_set_counts(package: Path) -> None:
    def all_inputs() -> dict[str, str]:
        elsewhere = {"elsewhere": {"viper": ["/data/VIPeR", {}]}}
        runs = {name: {"dataset": name} for name in ("synth", "viper", "dukemtmc")} | {"elsewhere": elsewhere}
        return {name: _inputs("13_lrar", **more)["13_lrar"] for name, more in runs.items()}

    first = all_inputs()
    _add(package / "datasets" / "viper.py", "\nchanged = True\n")
    second = all_inputs()
    assert _changed(first, second) == {"viper", "elsewhere"}
    _add(package / "datasets" / "market1501.py", "\nchanged = True\n")  # dukemtmc reads with its functions
    third = all_inputs()
    assert _changed(second, third) == {"dukemtmc"}
    drawing = _inputs("01_data_and_protocol", dataset="viper")  # imports synth itself, and draws people on any data
    for path in _synth(package):
        _add(path, "\nchanged = True\n")
    assert _changed(third, all_inputs()) == {"synth", "elsewhere"}
    assert _changed(drawing, _inputs("01_data_and_protocol", dataset="viper")) == set(drawing)


def test_a_users_own_table_counts(project: Path, package: Path, tmp_path: Path) -> None:
    path = _notebook(project, "00_first", "from reid_lib import datasets")
    own = {"dataset": "table-mine", "data_root": str(tmp_path), "data_options": {"table": "people.csv"}}
    (tmp_path / "people.csv").write_text("path,pid,camid\n")
    first = runner.inputs_digest(project, path, own)
    (tmp_path / "people.csv").write_text("path,pid,camid\na.png,1,1\n")
    second = runner.inputs_digest(project, path, own)
    _add(package / "datasets" / "table.py", "\nchanged = True\n")
    assert len({first, second, runner.inputs_digest(project, path, own)}) == 3


def test_imports_beside_a_magic_count(project: Path, package: Path) -> None:
    path = _notebook(project, "00_first", "%matplotlib inline\nfrom reid_lib import intervals")
    before = runner.inputs_digest(project, path, {})
    _add(package / "intervals.py", "\nchanged = True\n")
    assert runner.inputs_digest(project, path, {}) != before


@pytest.mark.parametrize(
    ("profile", "dataset", "message"),
    [("demo", "synht", r"unknown data set 'synht' \(did you mean 'synth'"), ("quick", "synth", "smoke, demo, paper")],
)
def test_states_of_an_unknown_data_set_or_profile_are_refused(
    project: Path, profile: str, dataset: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        runner.states(project, profile, dataset)


SOUND_STAMP = '{"digest": "0", "parameters": {}, "finished": "2026", "seconds": 1.5}'


@pytest.mark.parametrize(
    ("stamp", "record", "state"),
    [
        (SOUND_STAMP, "{}", "stale"),
        ('{"digest": ', "{}", "missing"),
        (SOUND_STAMP.replace("1.5", '"1.5"'), "{}", "missing"),
        (SOUND_STAMP.replace("{}", "[]"), "{}", "missing"),
        (SOUND_STAMP, '{"written": null}', "missing"),
        (SOUND_STAMP, '{"written": [3]}', "missing"),
        (SOUND_STAMP, "[]", "missing"),
    ],
)
def test_a_damaged_stamp_means_missing(project: Path, stamp: str, record: str, state: str) -> None:
    folder = project / "results/demo/synth/notebooks"
    folder.mkdir(parents=True)
    (folder / "00_first.ipynb").touch()
    (folder / "00_first.stamp.json").write_text(stamp)
    (folder.parent / "00_first.run.json").write_text(record)
    assert runner.states(project, "demo", "synth")[0].state == state


# --- the rows of before ---

MEASURE = """
from reid_lib.reporting import results
for value, seed in VALUES:
    row = {"artefact": "ARTEFACT", "method": "m", "metric": "rank1", "seed": seed, "trials": 10}
    row |= {"value": value, "low": value - 1, "high": value + 1}
    run = {"commit": "", "time": "TIME", "parameters": {}}
    results.write([row], profile, dataset, "lrar", run)
"""


def _measuring(project: Path, name: str, time: str, *values: tuple[float, int], then: str = "") -> None:
    """A notebook that measures a number of its own, with these values and seeds, and then does something else."""
    source = MEASURE.replace("VALUES", repr(list(values))).replace("ARTEFACT", name).replace("TIME", time)
    _notebook(project, name, source.strip(), then, _finish(name))


def _told(project: Path, **options: object) -> list[str]:
    """What `reproduce` says that is not about one notebook."""
    said: list[str] = []
    runner.reproduce(project, say=said.append, **options)
    return [line for line in said if not line.startswith("[")]


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_ends_with_how_its_rows_agree_with_those_of_before(project: Path, count: int) -> None:
    """Decision RUN-15; seed 0 is compared with seed 0, and the seeds that were not measured again stay."""
    _measuring(project, "00_first", "one", (50, 0), (50, 1), (50, 2))
    _measuring(project, "01_second", "one", (50, 0))
    assert _told(project, count=count) == []
    _measuring(project, "00_first", "two", (53, 0))
    _measuring(project, "01_second", "two", (50.5, 0))
    first, row, command = _told(project, count=count)
    assert first == (
        "Rows that stood here and were measured again: 2; 1 agree (0 exactly), 1 do not; verdicts that changed: 0"
    )
    assert row == "  differs: synth, lrar, 00_first, m, rank1: 53.0 [52.0, 54.0], before 50.0 [49.0, 51.0]"
    assert command.endswith("before --only demo/synth")
    rows = results.read("demo", "synth", "lrar")
    assert rows[rows.artefact == "00_first"].value.tolist() == [53, 50, 50]
    kept = project / "results/before/demo/synth"
    assert sorted(path.name for path in kept.iterdir()) == ["lrar.csv", "lrar.run.json"]
    assert _told(project, count=count) == []  # up to date
    assert kept.is_dir()


def test_what_was_made_before_a_failure_is_compared_and_the_first_rows_stay(project: Path) -> None:
    for name in ("00_first", "01_second"):
        _measuring(project, name, "one", (50, 0))
    runner.reproduce(project, say=lambda line: None)
    committed = (project / "results/demo/synth/lrar.csv").read_text()
    _measuring(project, "00_first", "two", (53, 0))
    _measuring(project, "01_second", "two", (53, 0), then="raise KeyError('lost')")
    said: list[str] = []
    with pytest.raises(runner.NotebookFailed):
        runner.reproduce(project, say=said.append)
    assert any("measured again: 2; 0 agree" in line for line in said)

    _measuring(project, "01_second", "three", (50, 0))
    assert "measured again: 2; 1 agree" in _told(project)[0]
    assert (project / "results/before/demo/synth/lrar.csv").read_text() == committed
    _measuring(project, "01_second", "four", (50, 0))
    assert "measured again: 1; 1 agree" in _told(project)[0]  # the last run had ended whole


def test_an_interrupted_run_keeps_the_first_rows(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _measuring(project, "00_first", "one", (50, 0))
    _notebook(project, "01_second", _finish("01_second"))
    runner.reproduce(project, say=lambda line: None)
    _measuring(project, "00_first", "two", (53, 0))

    def interrupted(*arguments: object) -> list[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner.before, "told", interrupted)  # as late as it can be
        with pytest.raises(KeyboardInterrupt):
            runner.reproduce(project, say=lambda line: None)
    assert "measured again: 1; 0 agree" in _told(project)[0]  # nothing was left to run
    assert _told(project) == []


# --- the notebook that gathers ---


def test_what_gathers_runs_after_the_others_and_whenever_a_result_changed(project: Path) -> None:
    _measuring(project, "00_first", "one", (50, 0))
    _notebook(project, "01_second", _finish("01_second"))
    reads = "from reid_lib.reporting import results\nprint(results.read_all(where='demo/synth').value.tolist())"
    gathering = _notebook(project, "90_all", reads, _finish("90_all"))

    def ran(**options: object) -> list[str]:
        return runner.reproduce(project, say=lambda line: None, count=2, **options)

    assert ran()[-1] == "90_all"
    assert ran() == []
    (project / "results/demo/synth/claims.csv").write_text("verdicts, which follow from the rows\n")
    assert ran() == []
    _measuring(project, "00_first", "two", (60, 0))  # it was up to date when the run began
    assert ran() == ["00_first", "90_all"]
    executed = nbformat.read(project / "results/demo/synth/notebooks/90_all.ipynb", as_version=4)
    assert "[60.0]" in str(executed.cells)
    _measuring(project, "00_first", "two", (60, 0), then="x = 1")  # runs again, with the same rows
    assert ran() == ["00_first"]
    (project / "results/demo/synth/lrar_fig_1.png").write_bytes(b"another figure")
    assert [state.state for state in runner.states(project, "demo", "synth")] == ["up to date", "up to date", "stale"]
    assert ran(only="90") == [gathering.stem]


def test_only_what_gathers_depends_on_results(project: Path) -> None:
    digests = []
    for value in (50, 60):
        _measuring(project, "00_first", "one", (value, 0))
        runner.reproduce(project, only="00", say=lambda line: None)
        second = project / "notebooks" / "01_second.ipynb"
        digests.append(runner.inputs_digest(project, second, {"profile": "demo", "dataset": "synth"}))
    assert digests[0] == digests[1]
