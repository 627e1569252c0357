"""Notebook, the papers' pages and claims.csv say the same of the committed results."""

from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from reid_lib.reporting import claims, html, papers, results, verdicts
from reid_lib.reporting.papers import cadnet, lrar, vpfa

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {"11_cadnet": cadnet, "13_lrar": lrar, "15_vpfa": vpfa, "22_resolution_directions": vpfa}
RUN = {"commit": "0" * 40, "time": "2026-01-02T03:04:05Z", "parameters": {}}


@pytest.fixture
def committed(monkeypatch):
    monkeypatch.delenv("REID_LIB_RESULTS", raising=False)


class Tables(HTMLParser):
    """Rows of all tables of a page: per row the texts of its cells, a pill's sign left out, small print too."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows, self.small, self.cell = [], False, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True
        self.small = self.small or tag == "small"

    def handle_endtag(self, tag):
        self.small = self.small and tag != "small"
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self.cell and not self.small:
            self.rows[-1][-1] += data


def on_the_pages(folder: Path) -> dict[tuple[str, str, str, str], str]:
    """(folder, paper, place, claim) -> the verdict that stands on the paper's page."""
    found = {}
    html.build(folder)
    for page in (folder / "papers").glob("*.html"):
        text = page.read_text(encoding="utf-8").partition("<h2 id=claims>")[2].partition("</section>")[0]
        head, *lines = Tables(text).rows or [[]]
        for line in lines:
            for column, cell in list(zip(head, line, strict=True))[3:]:  # after claim, place, the paper's own tables
                dataset, profile = column.split(", ")
                found[f"{profile}/{dataset}", page.stem, line[1], line[0]] = cell[1:].strip()
    return found


def in_files() -> dict[tuple[str, str, str, str], str]:
    """The same from each claims.csv."""
    found = {}
    for profile, dataset in verdicts.folders():
        for row in pd.read_csv(results.folder(profile, dataset) / "claims.csv", keep_default_na=False).itertuples():
            place = row.artefact if row.artefact.startswith("Section") else f"{row.artefact}, Sec. {row.source}"
            found[f"{profile}/{dataset}", row.paper, place, row.claim] = row.verdict
    return found


@pytest.mark.usefixtures("committed")
def test_the_papers_pages_and_the_files_agree(tmp_path):
    page = on_the_pages(tmp_path)
    assert page == in_files()
    assert len(page) > 60
    assert set(page.values()) <= set(claims.VERDICTS)


@pytest.mark.usefixtures("committed")
def test_the_files_are_what_the_rows_give():
    assert verdicts.problems(papers.CLAIMS) == []


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_committed_notebook_and_the_file_agree(name):
    """The table under the verdict cell of a committed notebook, against results/demo/synth/claims.csv."""
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if cell.cell_type == "code" and "verdicts.of_notebook" in cell.source]
    head, *lines = Tables("".join(output["data"]["text/html"] for output in cell.outputs)).rows
    assert head == ["artefact", "claim", "verdict", "detail"]
    own = {artefact.name for artefact in NOTEBOOKS[name].ARTEFACTS if artefact.notebook == name}
    file = pd.read_csv(ROOT / "results" / "demo" / "synth" / "claims.csv", keep_default_na=False)
    file = file[(file.paper == NOTEBOOKS[name].PAPER.key) & file.artefact.isin(own)]
    assert lines == file[head].to_numpy().tolist()


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A results folder in which two sessions measured LRAR's Table II, seed 0 and then seeds 1 and 2."""
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))
    values = {"IDE + Verif": 40.0, "w/o mask": 45.0, "w/o val": 46.0, "w/o val (end-to-end)": 44.0, "mask + val": 60.0}
    for seed in range(3):
        rows = [
            {"artefact": "Table II", "method": m, "metric": "rank1", "value": v, "low": v - 1, "high": v + 1}
            | {"seed": seed, "trials": 10}
            for m, v in values.items()
        ]
        results.write(rows, "demo", "synth", "lrar", RUN)
    return tmp_path


def test_a_notebook_judges_all_rows_of_the_folder(measured):
    (file,) = verdicts.write(papers.CLAIMS)
    assert file == measured / "demo" / "synth" / "claims.csv"
    assert on_the_pages(measured / "site") == in_files()
    shown = verdicts.of_notebook(lrar, "13_lrar", "demo", "synth").data
    written = pd.read_csv(file)
    assert Tables(shown).rows[1:] == written[["artefact", "claim", "verdict", "detail"]].to_numpy().tolist()
    assert "<p>holds, fails: three trainings or more" in shown
    assert written.verdict[2] == "holds"


def test_a_file_that_its_rows_do_not_give_is_a_problem(measured):
    said = ["demo/synth/claims.csv is not what its rows give: `reid-lib readme`"]
    assert verdicts.problems(papers.CLAIMS) == said
    (file,) = verdicts.write(papers.CLAIMS)
    assert verdicts.problems(papers.CLAIMS) == []
    file.write_text(file.read_text().replace("holds", "fails"))
    assert verdicts.problems(papers.CLAIMS) == said


def test_the_file_is_no_measured_file(measured):
    verdicts.write(papers.CLAIMS)
    assert results.available() == [("demo", "synth", "lrar")]


def test_no_claims_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))
    row = {"artefact": "Baselines", "method": "HR only", "metric": "rank1", "value": 50.0, "seed": 0}
    results.write([row], "demo", "synth", "baselines", RUN)
    assert verdicts.write(papers.CLAIMS) == verdicts.problems(papers.CLAIMS) == []
