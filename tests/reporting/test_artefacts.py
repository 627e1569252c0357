import json
import os
import re

import pytest

from reid_lib.reporting import artefacts, results
from reid_lib.reporting.artefacts import Artefact, ArtefactError
from reid_lib.reporting.papers import ARTEFACTS, PAPERS, lrar

TEXTS = {
    "cadnet": "cadnet_iccv2019.txt",
    "lrar": "lrar_tip2023.txt",
    "intact": "intact_cvpr2020.txt",
    "drfm": "drfm_mm2024.txt",
    "vpfa": "vpfa_2025.txt",
}


def find(text: str) -> Artefact:
    return artefacts.find(text, ARTEFACTS)


def test_every_published_artefact_has_an_entry():
    rows = results.published()
    assert {(row.paper, row.artefact) for row in rows.itertuples()} <= {(a.paper, a.name) for a in ARTEFACTS}


@pytest.mark.parametrize("paper", TEXTS)
def test_every_caption_in_the_papers_text_has_an_entry(paper, shared_data):
    source = shared_data.parent / "papers" / TEXTS[paper]
    if not source.is_file():
        pytest.skip("the papers' texts are not here")
    captions = re.findall(r"^\s*(Table|TABLE|Figure|Fig\.) ([0-9IVX]+)\s?[.:]", source.read_text(), re.MULTILINE)
    assert captions
    for kind, number in captions:
        name = f"{paper} {'Table' if kind.lower() == 'table' else 'Fig.'} {number}"
        if (paper, number) in {("vpfa", "2"), ("vpfa", "4")} and kind == "Table":
            find(f"{name}a"), find(f"{name}b")
        else:
            assert find(name).paper == paper


def test_entries_are_complete_and_unique():
    tags = [artefact.tag for artefact in ARTEFACTS if artefact.tag]
    assert len(set(tags)) == len(tags)
    assert len({(a.paper, a.name) for a in ARTEFACTS}) == len(ARTEFACTS)
    for artefact in ARTEFACTS:
        assert artefact.paper in PAPERS
        assert artefact.caption
        assert bool(artefact.tag) == bool(artefact.notebook) == (not artefact.reason), artefact.title
        if artefact.tag:
            assert artefact.notebook in artefacts.NOTEBOOKS
            assert find(artefact.tag) is find(artefact.title) is artefact


def test_the_map_and_the_project_agree():
    """A tagged cell without an entry, an entry whose notebook lacks its cell, a cell that left no result."""
    assert artefacts.problems(ARTEFACTS) == []


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("LRAR Table II", "table:lrar:II"),
        ("lrar table 2", "table:lrar:II"),
        ("CAD-Net Figure 3", "fig:cadnet:3"),
        ("cadnet fig.3", "fig:cadnet:3"),
        ("VPFA Table 4a", "table:vpfa:4a"),
        ("VPFA Table 1", "text:vpfa:1"),
        ("vpfa section 5.4", "text:vpfa:5.4"),
        ("Baselines Rank-1 against r", "fig:baselines:rank1-by-rate"),
    ],
)
def test_find_understands_people(text, tag):
    assert find(text).tag == tag


def test_find_offers_near_names():
    with pytest.raises(ArtefactError, match=r"Did you mean: .*VPFA Table 4a"):
        find("VPFA Table 4")
    with pytest.raises(ArtefactError, match="No table or figure is called 'nonsense'"):
        find("nonsense")


def test_one_paper_alone_can_be_looked_through():
    assert artefacts.find("LRAR Table II", lrar.ARTEFACTS) is find("LRAR Table II")
    with pytest.raises(ArtefactError, match=r"No table or figure is called 'VPFA Table 3'\. Did you mean: LRAR "):
        artefacts.find("VPFA Table 3", lrar.ARTEFACTS)


def test_numbered_notebooks(tmp_path):
    with pytest.raises(ValueError, match="no numbered notebook in"):
        artefacts.numbered_notebooks(tmp_path)
    (tmp_path / "notebooks").mkdir()
    for name in ("13_lrar", "02_metrics", "scratch"):
        notebook(tmp_path / "notebooks" / f"{name}.ipynb")
    assert [path.stem for path in artefacts.numbered_notebooks(tmp_path)] == ["02_metrics", "13_lrar"]


def test_file_names():
    assert find("LRAR Table II").file == "lrar.csv"
    assert find("LRAR Fig. 4").file == "lrar_fig_4.png"
    assert find("fig:baselines:rank1-by-rate").stem == "baselines_fig_rank1_by_rate"
    assert find("DRFM Table 1").file == ""


def notebook(path, *tags):
    cells = [{"cell_type": "code", "metadata": {"tags": [tag]}, "source": ""} for tag in tags]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


def test_status_follows_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    table, figure = find("LRAR Table II"), find("LRAR Fig. 4")
    drawing = lrar.PAPER.left_out("figure", "Fig. 9", "A photograph", "It shows a real person.")
    assert artefacts.status(table, tmp_path) == "planned"
    assert artefacts.status(drawing, tmp_path) == "not reproduced"
    notebook(tmp_path / "13_lrar.ipynb", "table:lrar:II", "fig:lrar:4", "fig:lrar:99")
    assert artefacts.status(table, tmp_path) == artefacts.status(figure, tmp_path) == "missing"
    assert artefacts.status(find("LRAR Table IV"), tmp_path) == "missing"
    said = "\n".join(artefacts.problems(ARTEFACTS, tmp_path))
    assert "LRAR Table II: no results/<profile>/<data set>/lrar.csv holds it" in said
    assert "LRAR Fig. 4: no results/<profile>/<data set>/lrar_fig_4.png holds it" in said
    assert "LRAR Table IV: 13_lrar.ipynb has no cell tagged 'table:lrar:IV'" in said
    assert "the tag 'fig:lrar:99' has no entry" in said

    cells = {"artefact": "Table II", "method": "LRAR", "metric": "rank1", "value": 1.0}
    path = results.write([cells], "demo", "synth", "lrar", {})
    (path.parent / figure.file).write_bytes(b"")
    assert artefacts.files(table) == [path]
    assert artefacts.files(figure) == [path.parent / "lrar_fig_4.png"]
    assert artefacts.files(find("LRAR Table IV")) == []  # the CSV is there, its rows are not
    assert artefacts.status(table, tmp_path) == artefacts.status(figure, tmp_path) == "done"
    assert artefacts.status(table, tmp_path, tmp_path / "elsewhere") == "missing"
    notebook(tmp_path / "13_lrar.ipynb", "table:lrar:IV")
    os.utime(tmp_path / "13_lrar.ipynb", ns=(1, 1))  # else the clock of some file systems is too coarse
    assert artefacts.status(table, tmp_path) == "missing"  # the rows are there, the cell is not
    said = artefacts.problems(ARTEFACTS, tmp_path)
    assert [line for line in said if "LRAR Table II:" in line] == [
        "LRAR Table II: 13_lrar.ipynb has no cell tagged 'table:lrar:II'."
    ]
    assert any(line.startswith("LRAR Table IV: no results/") for line in said)


def test_a_table_of_words_needs_its_cell_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    symbols = find("DRFM Table 1")
    assert artefacts.status(symbols, tmp_path) == "planned"
    notebook(tmp_path / f"{symbols.notebook}.ipynb")
    assert artefacts.status(symbols, tmp_path) == "missing"
    notebook(tmp_path / f"{symbols.notebook}.ipynb", symbols.tag)
    os.utime(tmp_path / f"{symbols.notebook}.ipynb", ns=(1, 1))  # else the clock of some file systems is too coarse
    assert artefacts.status(symbols, tmp_path) == "done"


def test_what_the_papers_print_and_what_is_our_own():
    assert find("LRAR Table II").printed
    assert find("VPFA Section 5.4").printed
    assert find("DRFM Fig. 4").printed
    assert not find("LRAR One field").printed
    assert not find("DRFM Training").printed
    assert {a.title for a in ARTEFACTS if a.printed and a.paper == "baselines"} == set()


def test_a_file_that_is_no_notebook(tmp_path):
    (tmp_path / "13_lrar.ipynb").write_text("[]")
    with pytest.raises(ArtefactError, match="not a Jupyter notebook"):
        artefacts.status(find("LRAR Table II"), tmp_path)
