"""Rules that every committed notebook keeps, read from the files; nbval runs their code."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from reid_lib.reporting import results, sentences
from reid_lib.reporting.artefacts import NOTEBOOKS

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
BASE_PARAMETERS = {"profile": "demo", "dataset": "synth", "data_root": "", "data_options": {}, "seeds": (0,)}
# nobody's folders: /home/x, /Users/x, /root, /work, /tmp, a drive letter
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|tmp|private|var|mnt)/[\w.-]+|\b[A-Z]:\\\\?\w")


@pytest.fixture(scope="module", params=PATHS, ids=[path.stem for path in PATHS])
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in _code(notebook) if tag in cell.metadata.get("tags", [])]


def _text(output: nbformat.NotebookNode) -> str:
    parts = [output.get("text", "")]
    parts += [content for mime, content in output.get("data", {}).items() if not mime.startswith("image/")]
    return "\n".join(map(str, parts))


def test_names_are_those_of_the_artefact_map() -> None:
    assert [path.stem for path in PATHS if path.stem not in NOTEBOOKS] == []


def test_the_file_is_a_valid_notebook(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_every_code_cell_was_run_in_order(notebook: nbformat.NotebookNode) -> None:
    # nbval passes silently on a cell whose execution_count is null
    counts = [cell.execution_count for cell in _code(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "write outputs with `reid-lib reproduce --write-back`"


def test_there_is_one_cell_of_one_line_parameters(notebook: nbformat.NotebookNode) -> None:
    (cell,) = _tagged(notebook, "parameters")
    found = {}
    for line in cell.source.strip().splitlines():
        assert re.fullmatch(r"\w+: [\w\[\], .|]+ = .+  # \S.*", line), f"not `name: type = literal  # help`: {line}"
        (statement,) = ast.parse(line).body
        found[statement.target.id] = ast.literal_eval(statement.value)
    assert {name: found.get(name) for name in BASE_PARAMETERS} == BASE_PARAMETERS


def test_no_cell_is_long(notebook: nbformat.NotebookNode) -> None:
    for cell in _code(notebook):
        lines = cell.source.strip().splitlines()
        assert len(lines) <= 15, f"{len(lines)} lines: {lines[0]}"


@pytest.mark.parametrize(
    ("name", "paper", "roles"),
    [
        ("11_cadnet", "cadnet", ("CAD-Net", "E and C alone", "HR + LR")),
        ("15_vpfa", "vpfa", ("HR only + VPFA", "HR only", "HR + LR")),
    ],
)
def test_the_result_on_the_first_screen_is_what_all_committed_rows_say(
    name: str, paper: str, roles: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REID_LIB_RESULTS", raising=False)
    (cell,) = [cell for cell in _code(nbformat.read(FOLDER / f"{name}.ipynb", 4)) if "sentences.result" in cell.source]
    assert cell.execution_count <= 5
    (output,) = cell.outputs
    rows = results.read_all(where="demo/synth").query("paper == @paper")
    assert output.data["text/markdown"] == f"**The result.** {sentences.result(rows, *roles)}"


def test_no_cell_defines_what_belongs_in_the_library(notebook: nbformat.NotebookNode) -> None:
    for cell in _code(notebook):
        # magics are no Python
        lines = ["pass" if re.match(r"\s*[%!]", line) else line for line in cell.source.splitlines()]
        for node in ast.walk(ast.parse("\n".join(lines))):
            assert not isinstance(node, ast.ClassDef), f"class {node.name} belongs in reid_lib"
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 6, f"function {node.name} belongs in reid_lib"


def test_imports_come_from_the_library_and_what_it_needs(notebook: nbformat.NotebookNode) -> None:
    names = {path.stem for path in PATHS}
    for cell in _code(notebook):
        assert not any(re.search(rf"(import|from|%run) .*{name}", cell.source) for name in names)


def test_nbval_has_outputs_to_check(notebook: nbformat.NotebookNode) -> None:
    checked = _tagged(notebook, "nbval-check-output")
    assert len(checked) >= 3
    assert all(cell.outputs for cell in checked), "a checked cell without output checks nothing"
    shown = [output for cell in checked for output in cell.outputs]
    # nbval compares a DataFrame's HTML letter by letter, and ignores images
    assert not any("text/html" in output.get("data", {}) for output in shown), "print text in a checked cell"


def test_outputs_hold_nothing_of_the_machine(notebook: nbformat.NotebookNode) -> None:
    for number, cell in enumerate(notebook.cells, start=1):
        assert cell.metadata.keys() <= {"tags", "jupyter"}, f"cell {number}: normalise its metadata"
        for output in cell.get("outputs", []):
            assert output.output_type != "error", f"cell {number} holds an error"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            is_empty = output.output_type == "display_data" and not _text(output).strip()
            assert not is_empty or "image/png" in output.data, f"cell {number} holds what a line of progress left"
            found = ABSOLUTE.search(_text(output))
            assert found is None, f"cell {number} shows a folder of the machine: {found.group()}"
            assert not re.search(r"\d+%\|", _text(output)), f"cell {number} holds a progress bar"


def test_the_first_cell_has_the_title_and_the_last_finishes(notebook: nbformat.NotebookNode) -> None:
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert "run.finish()" in _code(notebook)[-1].source


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/home/ada/x", True),
        ("saved in /tmp/abc", True),
        ("C:\\Users\\ada", True),
        ("./results/demo", False),
        ("https://example.org/home/ada", False),
        ("and/or", False),
    ],
)
def test_the_pattern_for_folders(text: str, found: bool) -> None:
    assert bool(ABSOLUTE.search(text)) == found


def test_the_notebook_with_all_figures_stays_small() -> None:
    assert (FOLDER / "90_all_tables_and_figures.ipynb").stat().st_size < 1_000_000
