"""The explorer in JupyterLab, in a real browser: the slider moves the picture, and a notebook opened again has it.

The network has random weights: nothing is trained.
"""

import base64
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = """
import torch
from reid_lib.datasets import load, mlr
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.explore import Explorer
from reid_lib.networks.tiny import tiny
trial = mlr.trials(load("synth", identities=8, images_per_camera=2, size=(64, 32)), n=1)[0]
torch.manual_seed(0)
matcher = FeatureMatcher(tiny(8).eval(), (64, 32), torch.device("cpu"))
Explorer({"random weights": matcher}, trial).show()
"""
PICTURE = "[...document.querySelectorAll('.jp-OutputArea img')].map(image => image.src).join()"
HANDLE = "document.querySelector('.reid-lib-controls .noUi-handle')"
OUTPUT = "document.querySelector('.jp-CodeCell .jp-OutputArea').innerText"  # what can be read, without what is hidden


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one notebook."""
    folder = tmp_path_factory.mktemp("work")
    # less than this, and JupyterLab asks which kernel to take
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cell = nbformat.v4.new_code_cell(NOTEBOOK.strip())
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), folder / "one.ipynb")
    return folder


def test_the_slider_moves_the_picture_and_a_notebook_opened_again_has_it(lab, tab, work: Path) -> None:
    tab.open(lab.url("one.ipynb"))
    tab.command("notebook:run-all-cells")
    tab.until(lambda: tab.js(f"!!{HANDLE}"), "the slider")
    first = tab.js(PICTURE)
    assert first.count("data:image/png") == 1

    tab.js(f"{HANDLE}.focus()")
    tab.press("ArrowRight", 39)
    moved = tab.until(lambda: (now := tab.js(PICTURE)) != first and now, "another picture")
    assert moved.count("data:image/png") == 1  # in place of the first
    assert "run the cell in JupyterLab" not in tab.js(OUTPUT)
    tab.command("docmanager:save")

    def saved() -> str:
        outputs = nbformat.read(work / "one.ipynb", as_version=4).cells[0].outputs
        return outputs[-1].data["image/png"].strip() if outputs else ""

    assert tab.until(saved, "the saved notebook") == moved.split(",", 1)[1].strip()  # what was seen last
    assert base64.b64decode(saved()).startswith(b"\x89PNG")

    tab.command("application:close")
    tab.until(lambda: not tab.js(f"!!{tab.CELL}"), "the notebook to close")
    lab.end_kernels()
    tab.command("docmanager:open", path="one.ipynb")
    tab.until(lambda: "model not found" in tab.js("document.body.textContent"), "JupyterLab to look for its widgets")
    assert tab.js(PICTURE) == moved
    assert "To move this picture, run the cell in JupyterLab." in tab.js(OUTPUT)
    assert "widget" not in tab.js(OUTPUT)
