"""JupyterLab's "Run All Cells" on every notebook, under the profile smoke, in a real browser: no cell ends in an error.

Networks go to results/smoke, where nbval's run of the same notebooks finds them: whichever comes first trains them.
"""

from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.ipynb"))
PATIENCE = 900.0  # seconds for one notebook; it takes 5 to 45 where nothing else runs
BROKEN = "no_error_is_overlooked"
# of each code cell: whether it was run, and the errors that it shows
STATE = """[...%s.content.model.cells].filter(c => c.type === 'code' && c.sharedModel.getSource().trim()).map(c => [
  c.executionCount !== null,
  c.outputs.toJSON().filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`).join()])"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of all notebooks, without outputs, and one that fails."""
    folder = tmp_path_factory.mktemp("work")
    for name in NAMES:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / f"{name}.ipynb")
    cells = [nbformat.v4.new_code_cell(text) for text in ("print(1)", "1 / 0", "print(2)")]
    broken = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": notebook.metadata.kernelspec})
    nbformat.write(broken, folder / f"{BROKEN}.ipynb")
    return folder


@pytest.fixture(scope="module")
def kernels() -> dict[str, str]:
    """The profile of every kernel."""
    return {"REID_LIB_PROFILE": "smoke"}


def run_all(lab, tab, name: str) -> list[list]:
    """What became of each code cell: [it was run, its errors]."""
    tab.open(lab.url(f"{name}.ipynb"))
    tab.command("notebook:run-all-cells")

    def ended() -> list[list]:
        state = tab.js(STATE % tab.NOTEBOOK) or []
        return state if state and (all(run for run, _ in state) or any(error for _, error in state)) else []

    try:
        return tab.until(ended, f"the last cell of {name}", PATIENCE, pause=0.5)
    finally:
        lab.end_kernels()


@pytest.mark.parametrize("name", NAMES)
def test_run_all_ends_without_an_error(lab, tab, name: str) -> None:
    state = run_all(lab, tab, name)
    assert [error for _, error in state if error] == []
    assert len(state) > 5


def test_an_error_is_not_overlooked(lab, tab) -> None:
    assert run_all(lab, tab, BROKEN)[1] == [True, "ZeroDivisionError: division by zero"]
