"""The cell of docs/usage.md that trains in several processes, run in a Jupyter kernel."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from reid_lib.devices import processes

ROOT = Path(__file__).parents[2]
(CELL,) = re.findall(r"^```python notebook\n(.*?)^```", (ROOT / "docs" / "usage.md").read_text("utf-8"), re.M | re.S)
DEFINED, LAUNCHED, ALONE = CELL.partition("notebook_launcher(fit_together, num_processes=2)\n")
# what libraries do when they are imported: the kernel shares work among threads that no process will have
THREADS = "import torch\ntorch.set_num_threads(2)\ntorch.ones(1000, 1000) @ torch.ones(1000, 1000)\n"
NOTE = """
def noted():
    import os
    torch.save(fit("again").network.state_dict(), f"{os.environ['RANK']}.pt")

notebook_launcher(noted, num_processes=2)
torch.save(matcher.network.state_dict(), "alone.pt")
"""


@pytest.fixture
def execute(free_port: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Execute cells in a kernel of this interpreter, which works in a folder; return what they print."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def execute(*cells: str) -> str:
        port = f'num_processes=2, use_port="{free_port()}"'  # the usual one may be taken
        notebook = new_notebook(cells=[new_code_cell(cell.replace("num_processes=2", port)) for cell in cells])
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
        return "".join(output.get("text", "") for cell in notebook.cells for output in cell.outputs)

    return execute


def train_as_the_cell_does(folder: Path) -> None:
    """What each of two processes without a notebook does."""
    names: dict = {}
    exec(DEFINED, names)
    weights = names["fit"](folder / "checkpoints").network.state_dict()
    torch.save(weights, folder / f"{processes().process_index}.pt")
    torch.distributed.destroy_process_group()


def test_the_cell_trains_as_two_processes_do(execute: Callable, in_two_processes: Callable, tmp_path: Path) -> None:
    (launched := tmp_path / "launched").mkdir()
    in_two_processes(__file__, launched)
    assert LAUNCHED
    assert ALONE
    said = execute(THREADS, CELL, NOTE)
    assert "0 of 4 epochs" in said  # the main process's progress
    assert "a run of 2 processes, this is one of 1: loaded as it is" in said
    names = ("0.pt", "1.pt", "alone.pt", "launched/0.pt", "launched/1.pt")
    first, *others = (torch.load(tmp_path / name, weights_only=True) for name in names)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first | other)


if __name__ == "__main__":
    train_as_the_cell_does(Path(sys.argv[1]))
