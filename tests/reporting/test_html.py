import json
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from reid_lib.reporting import figures, html, papers, provenance, results


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A results folder with rows and a figure, and a notebook that made them."""
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    rows = [
        {"artefact": "Table II", "method": m, "metric": "rank1", "value": v, "low": v - 1, "high": v + 1, "seed": 0}
        for m, v in {"IDE + Verif": 40.0, "w/o val": 50.0, "w/o val (end-to-end)": 51.0, "mask + val": 60.0}.items()
    ]
    run = provenance.provenance({}, "f00d", 12.0, note="CAVIAR <as it is>")
    for profile, dataset in (("demo", "caviar"), ("demo", "synth"), ("smoke", "synth")):
        path = results.write(rows, profile, dataset, "lrar", run)
        figures.save(figures.bars(pd.DataFrame({"value": [1.0]}, index=["a"])), path.parent, "lrar_fig_4")
    (tmp_path / "notebooks").mkdir()
    cells = [{"metadata": {"tags": [artefact.tag]}} for artefact in papers.ARTEFACTS if artefact.notebook == "13_lrar"]
    (tmp_path / "notebooks" / "13_lrar.ipynb").write_text(json.dumps({"cells": cells}))
    return tmp_path


class Page(HTMLParser):
    """Collects links, ids and visible text, and checks that elements are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.ids, self.open, self.words = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [value for name, value in attrs.items() if name in ("href", "src")]
        self.ids.add(attrs.get("id"))
        assert tag != "img" or attrs.get("alt")
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_its_links_resolve(project):
    path = html.build(project / "notebooks")
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.open
    assert len(page.links) > 10
    for link in page.links:
        parts = urlsplit(link)
        assert not parts.scheme, "the page needs no network"
        if parts.path:
            assert (path.parent / unquote(parts.path)).resolve().is_file(), link
        else:
            assert parts.fragment in page.ids, link
    assert "../notebooks/13_lrar.ipynb" in page.links
    assert "demo/synth/lrar_fig_4.png" in page.links


def test_the_page_shows_everything(project):
    source = html.build(project / "notebooks").read_text(encoding="utf-8")
    text = " ".join(Page(source).words)
    for artefact in papers.ARTEFACTS:
        assert artefact.caption in text
    for claim in papers.CLAIMS:
        assert claim.text in text
    assert "60.0 [59.0, 61.0]" in text
    assert "<summary>Published rows (CAVIAR)</summary>" in source
    assert "-3.6 lower" in text  # CAVIAR: 63.6 published
    assert "Measured on synth, published on MLR-CUHK03: other images" in text
    assert "◔ one seed: indicative" in text
    assert "would be inconclusive: w/o val, rank1: 50" in text
    assert "CAVIAR <as it is>" in text
    assert "86.96" in text  # the audit: VPFA Table 10
    assert "f00d" in text
    assert "smoke/" not in source
    assert "<script" not in source


def test_the_same_files_give_the_same_bytes(project):
    first = html.build(project / "notebooks").read_bytes()
    assert html.build(project / "notebooks").read_bytes() == first


def test_a_page_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    text = html.build(tmp_path).read_text(encoding="utf-8")
    assert "Nothing has been measured yet." in text
    assert "planned" in text


def test_rows_without_their_run_are_marked(project):
    (project / "results" / "demo" / "synth" / "lrar.run.json").unlink()
    text = html.build(project / "notebooks").read_text(encoding="utf-8")
    assert "The run did not finish" in text
    assert str(project) not in text
    assert "✗ differs" in text


def test_a_damaged_result_file_is_said(project):
    (project / "results" / "demo" / "synth" / "lrar.csv").write_text("broken")
    with pytest.raises(results.ResultsError, match="must have the columns"):
        html.build(project / "notebooks")
