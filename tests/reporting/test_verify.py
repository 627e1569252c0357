from pathlib import Path

import nbformat
import pandas as pd
import pytest

from reid_lib.digest import file_digest
from reid_lib.reporting import artefacts, results
from reid_lib.reporting.verify import PUBLISHED_SHA256, verify

ROOT = Path(__file__).parents[2]
RUN = {"commit": "0123456789abcdef", "time": "2026-01-02T03:04:05Z", "parameters": {}}


def project(folder: Path, executed: bool = True) -> Path:
    """A checkout with one notebook, the published numbers and the notebook's run.json."""
    cell = nbformat.v4.new_code_cell("1", execution_count=1 if executed else None)
    (folder / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "notebooks" / "00_start_here.ipynb")
    (folder / "results" / "demo" / "synth").mkdir(parents=True)
    (folder / "results" / "demo" / "synth" / "00_start_here.run.json").write_text("{}")
    for name in ("published.csv", "audit.csv"):
        (folder / "results" / name).write_bytes((ROOT / "results" / name).read_bytes())
    return folder


def save_rows(dataset: str = "synth") -> Path:
    row = {"artefact": "Baselines", "method": "HR only", "metric": "rank1", "seed": 0, "trials": 10}
    rows = [row | {"setting": setting, "value": value} for setting, value in (("HR", 80.5), ("r=2", 60), ("r=3", 50))]
    return results.write(rows, "demo", dataset, "baselines", RUN)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    return tmp_path


@pytest.fixture
def no_map(monkeypatch):
    """The one notebook of the test is not the project's: the map of artefacts is not about it."""
    monkeypatch.setattr(artefacts, "problems", lambda entries, notebooks: [])


@pytest.mark.usefixtures("no_map")
def test_whole_results_have_no_problem(folder):
    project(folder)
    save_rows()
    assert verify(folder) == ([], "1 result file with 3 rows, 1 notebook")


@pytest.mark.usefixtures("no_map")
def test_what_is_wrong_is_named(folder):
    project(folder, executed=False)
    path = save_rows()
    path.write_text(path.read_text().replace("80.5", "90.5"))
    save_rows("synth-caviar").with_name("baselines.run.json").unlink()
    (folder / "results" / "published.csv").write_text("paper\n")
    (folder / "results" / "demo" / "synth" / "00_start_here.run.json").unlink()
    problems, _ = verify(folder)
    said = "\n".join(problems)
    assert "published.csv differs from the papers' transcribed numbers" in said
    assert "demo/synth/baselines" in said
    assert "demo/synth-caviar/baselines" in said
    assert "00_start_here.ipynb has code cells that were not run" in said
    assert "00_start_here.run.json is missing" in said
    (folder / "results" / "published.csv").unlink()
    assert "published.csv is missing: restore it from git" in "\n".join(verify(folder)[0])


def test_cells_and_entries_that_do_not_meet_are_named(folder):
    project(folder)
    problems, _ = verify(folder)
    assert any("00_start_here.ipynb has no cell tagged 'fig:baselines:people'" in problem for problem in problems)


def test_a_project_without_notebooks_is_refused(folder):
    with pytest.raises(ValueError, match="no numbered notebook"):
        verify(folder)


def test_the_published_numbers_are_the_transcribed_ones():
    assert file_digest(ROOT / "results" / "published.csv") == PUBLISHED_SHA256
    assert len(pd.read_csv(ROOT / "results" / "published.csv")) == 1222


def test_what_is_committed_has_no_problem(monkeypatch):
    monkeypatch.delenv("REID_LIB_RESULTS")
    assert verify(ROOT)[0] == []
