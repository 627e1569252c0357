"""The runner, on tiny notebooks in a project of their own."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reid_lib import reproduce as runner

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


def _notebook(folder: Path, name: str, *sources: str) -> Path:
    cells = [new_markdown_cell("# A title"), new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
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
    assert Path(seen["python"]) == Path(runner.sys.executable)
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
        runner._write_back(project, second, project / "results/demo/synth/notebooks/01_second.ipynb")


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
    assert [path.stem for path in runner.select(runner.notebooks(project), only)] == ["01_second"]


def test_one_notebook_is_chosen_by_artefact(project: Path) -> None:
    _notebook(project, "13_lrar", "1")
    paths = runner.notebooks(project)
    assert [path.stem for path in runner.select(paths, "LRAR Table II")] == ["13_lrar"]
    with pytest.raises(ValueError, match=r"INTACT Table 1 belongs to notebook 12_intact, which is not written yet"):
        runner.select(paths, "INTACT Table 1")
    with pytest.raises(ValueError, match=r"LRAR Fig. 1 is not reproduced"):
        runner.select(paths, "LRAR Fig. 1")


def test_an_unknown_notebook_gets_near_names(project: Path) -> None:
    with pytest.raises(ValueError, match=r"no notebook is called '01_secnd' \(did you mean 01_second"):
        runner.reproduce(project, only="01_secnd")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"overrides": {"seed": 1}},
            r"00_first has no parameter 'seed' \(did you mean seeds\?\); it has profile",
        ),
        ({"profile": "quick"}, "smoke, demo, paper"),
        ({"dataset": "a/b"}, "a/b"),
        ({"dataset": "synht"}, r"unknown data set 'synht' \(did you mean synth"),
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
        runner.notebooks(tmp_path)


def test_only_parameters_that_differ_are_passed(project: Path) -> None:
    path = project / "notebooks" / "00_first.ipynb"
    wanted = {"profile": "demo", "dataset": "synth", "data_root": "", "seeds": [0]}
    assert runner.changed_parameters(path, wanted) == {}
    assert runner.changed_parameters(path, wanted | {"seeds": [0, 1]}) == {"seeds": [0, 1]}


def test_a_tuple_reaches_the_notebook_as_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, parameters, **__: given.update(parameters))
    with pytest.raises(runner.NotebookFailed):  # nothing ran
        runner._run(tmp_path, tmp_path / "x.ipynb", tmp_path, {"rates": (2, 3), "options": {"size": (8, 4)}}, "smoke")
    assert given == {"rates": [2, 3], "options": {"size": [8, 4]}}


def test_the_digest_follows_code_and_parameters_but_not_prose(project: Path) -> None:
    path = project / "notebooks" / "00_first.ipynb"
    first = runner.inputs_digest(project, path, {"profile": "demo"})
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "# Another title"
    notebook.cells[2].outputs = [new_output("stream", name="stdout", text="first\n")]
    nbformat.write(notebook, path)
    assert runner.inputs_digest(project, path, {"profile": "demo"}) == first
    assert runner.inputs_digest(project, path, {"profile": "smoke"}) != first
    notebook.cells[2].source += "  # changed"
    nbformat.write(notebook, path)
    assert runner.inputs_digest(project, path, {"profile": "demo"}) != first


def _executed(root: Path) -> nbformat.NotebookNode:
    """A copy as papermill leaves it, with everything that differs from run to run."""
    html = '<style>#T_3fa9c_row0 { }</style><table id="T_3fa9c">'
    outputs = [
        new_output(
            "stream",
            name="stderr",
            text="\r 10%|#    | 1/10 [00:01<00:09]\rEpoch 100%|#####| 10/10 [00:10]\n",
        ),
        new_output("stream", name="stdout", text="one\n"),
        new_output("stream", name="stderr", text=f"{root}/reid_lib/x.py:3: UserWarning: odd\n"),
        new_output("stream", name="stdout", text="two\n"),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "0%| |"}),
        new_output("display_data", {"image/png": "aGVsbG8=", "text/plain": "<Figure at 0x7f12ab34cd56>"}),
        new_output("execute_result", {"text/html": html, "text/plain": f"{Path.home()}/x"}, execution_count=7),
    ]
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# A title"),
            new_code_cell(PARAMETERS, execution_count=1, metadata={"papermill": {"duration": 0.1}}),
            new_code_cell("seeds = [0]", execution_count=2, metadata={"tags": ["injected-parameters"]}),
            new_code_cell("", execution_count=None),
            new_code_cell("work()", execution_count=7, outputs=outputs),
        ],
        metadata={"papermill": {"duration": 1.5}, "widgets": {"state": {}}},
    )
    return notebook


def test_outputs_written_back_are_the_same_for_equal_runs(tmp_path: Path) -> None:
    own = new_notebook(
        cells=[
            new_markdown_cell("# A title, mended since"),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"], "collapsed": False}),
            new_code_cell(""),
            new_code_cell("work()", metadata={"tags": ["table:x"]}),
        ]
    )
    result = runner.transplant(own, _executed(tmp_path), tmp_path)

    nbformat.validate(result)
    assert [cell.id for cell in result.cells] == [cell.id for cell in own.cells]
    assert result.cells[0].source == "# A title, mended since"
    assert [cell.execution_count for cell in result.cells[1:]] == [1, None, 2]
    assert [dict(cell.metadata) for cell in result.cells[1:]] == [
        {"tags": ["parameters"]},
        {},
        {"tags": ["table:x"]},
    ]
    assert result.metadata.keys() == {"kernelspec", "language_info"}
    stdout, warning, more, figure, table = result.cells[3].outputs
    assert (stdout.text, more.text) == ("one\n", "two\n")
    assert warning.text == "./reid_lib/x.py:3: UserWarning: odd\n"
    assert figure.data == {"image/png": "aGVsbG8=", "text/plain": "<Figure at 0x...>"}
    assert table.data["text/html"] == '<style>#T_0_row0 { }</style><table id="T_0">'
    assert table.data["text/plain"] == "~/x"
    assert table.execution_count == 2
    assert str(tmp_path) not in nbformat.writes(result)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\r  0%|   | 0/5\r100%|###| 5/5 [00:00]\n", ""),
        ("\rembed: 40%|##  | 2/5\r          \rwarned\n", "warned\n"),
        ("\r12it [00:01, 9it/s]\n", ""),
        ("\r50%|#  |\r      \r\nrank1 is 40% | of all\n", "rank1 is 40% | of all\n"),
        ("one\n\ntwo\n", "one\n\ntwo\n"),
    ],
)
def test_progress_bars_are_dropped(text: str, left: str) -> None:
    assert runner._without_progress(text).lstrip("\n") == left


def test_outputs_of_other_code_are_not_written_back(tmp_path: Path) -> None:
    own = new_notebook(cells=[new_code_cell("something_else()")])
    with pytest.raises(ValueError, match="changed since it was run"):
        runner.transplant(own, _executed(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("profile", "dataset", "message"),
    [("demo", "synht", r"unknown data set 'synht' \(did you mean synth"), ("quick", "synth", "smoke, demo, paper")],
)
def test_states_of_an_unknown_data_set_or_profile_are_refused(
    project: Path, profile: str, dataset: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        runner.states(project, profile, dataset)


def test_a_damaged_stamp_means_missing(project: Path) -> None:
    folder = project / "results/demo/synth/notebooks"
    folder.mkdir(parents=True)
    (folder / "00_first.stamp.json").write_text('{"digest": ')
    assert runner.states(project, "demo", "synth")[0].state == "missing"
