import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from reid_lib.reporting import figures, html, papers, provenance, results, verdicts
from reid_lib.site import links


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


def pages(project, **options) -> dict[str, str]:
    """The text of every page by its place."""
    out = project / "site"
    assert html.build(out, project / "notebooks", **options) == out / "index.html"
    return {path.relative_to(out).as_posix(): path.read_text(encoding="utf-8") for path in out.rglob("*.html")}


def gains(project, paper: str, method: str, value: float, seeds: int) -> None:
    """Rows of one method on the field of synth."""
    rows = [
        {"artefact": "One field", "method": method, "setting": "MLR {2,3,4}", "metric": "rank1_gain", "trials": 10}
        | {"value": value + seed / 10, "low": value - 1, "high": value + 1, "seed": seed}
        for seed in range(seeds)
    ]
    results.write(rows, "demo", "synth", paper, provenance.provenance({}, "f00d", 1.0))


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
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_pages_are_whole_and_their_links_resolve(project):
    found = pages(project)
    assert found.keys() == {"index.html", "audit.html", "runs.html", *(f"papers/{key}.html" for key in papers.PAPERS)}
    for text in found.values():
        assert not Page(text).open
        assert len(Page(text).links) > 8
    assert links.problems(project / "site") == []
    assert "../results/demo/synth/lrar_fig_4.png" in Page(found["papers/lrar.html"]).links
    assert (project / "site" / "results" / "demo" / "synth" / "lrar_fig_4.png").is_file()
    assert not (project / "site" / "results" / "smoke").exists()


def test_links_lead_to_rendered_notebooks_and_never_to_their_json(project):
    found = pages(project, rendered={"13_lrar": "LRAR: adapt"}, others=[("docs/index.html", "Documents")])
    assert 'href="../notebooks/13_lrar.html"' in found["papers/lrar.html"]
    assert '<li><a href="notebooks/13_lrar.html">13_lrar</a>: LRAR: adapt</li>' in found["index.html"]
    assert '<a href="../docs/index.html">Documents</a>' in found["papers/lrar.html"]
    assert not any(".ipynb" in text for text in found.values())
    # a notebook without a page is named, not linked
    assert "notebooks/" not in "".join(pages(project).values())


def test_the_papers_pages_show_everything(project):
    found = pages(project)
    for key in papers.PAPERS:
        text = " ".join(Page(found[f"papers/{key}.html"]).words)
        assert all(artefact.caption in text for artefact in papers.ARTEFACTS if artefact.paper == key)
        assert all(claim.text in text for claim in papers.CLAIMS if claim.paper == key)
    lrar = " ".join(Page(found["papers/lrar.html"]).words)
    assert "60.0 [59.0, 61.0]" in lrar
    assert "<summary>Published rows (CAVIAR)</summary>" in found["papers/lrar.html"]
    assert "-3.6 lower" in lrar  # CAVIAR: 63.6 published
    assert "Measured on synth, published on MLR-CUHK03: other images" in lrar
    assert "◔ one seed: indicative" in lrar
    assert "would be inconclusive: w/o val, rank1: 50" in lrar
    assert "CAVIAR <as it is>" in lrar
    assert "r = 3 unseen costs around 2 points" in lrar  # its own audit note
    assert "r = 3 unseen costs" not in found["papers/vpfa.html"]
    assert "86.96" in found["audit.html"]  # VPFA Table 10
    assert "86.96" in found["papers/vpfa.html"]
    assert "f00d" in found["runs.html"]
    assert not any("smoke/" in text or "<script" in text for text in found.values())


def test_the_first_screen_has_five_methods_their_gains_and_what_holds(project):
    gains(project, "cadnet", "CAD-Net", -5.0, seeds=3)
    gains(project, "vpfa", "HR only + VPFA", 2.0, seeds=1)
    gains(project, "vpfa", "HR + LR + VPFA", 4.0, seeds=3)
    index = pages(project)["index.html"]
    table = index[index.index("<table") : index.index("</table>")]
    lines = [" ".join(Page(line).words) for line in re.findall(r"<tr>.*?</tr>", table)[1:]]
    assert [line.partition(" (")[0] for line in lines] == ["CAD-Net", "INTACT", "LRAR", "DRFM", "VPFA", "VPFA"]
    assert "-4.9 [-6" in lines[0]
    assert '<span class="pill bad">-4.9' in table
    assert "not yet" in lines[1]
    assert "not measured" in lines[2]  # its notebook is there
    assert "hold" in lines[2]
    assert "not yet" in lines[3]
    assert "HR only + VPFA" in lines[4]
    assert '<span class="pill plain">+2.0 [+1.0, +3.0]◔' in table  # one training decides nothing
    assert '<span class="pill good">+4.1' in table


def test_the_first_screen_counts_the_verdicts_of_the_file(project):
    verdicts.write(papers.CLAIMS)
    written = pd.read_csv(project / "results" / "demo" / "synth" / "claims.csv").verdict
    holds, fails = (written == "holds").sum(), (written == "fails").sum()
    text = " ".join(Page(pages(project)["index.html"]).words)
    assert f"✓ {holds} hold   ✗ {fails} fail   ≈ {len(written) - holds - fails} open" in text


def test_a_wide_table_scrolls_by_itself_and_can_be_reached_by_key(project):
    found = pages(project)
    for text in found.values():
        opened = text.count('<div class="scroll" role="region" tabindex="0"')
        assert opened + text.count("<details><summary>Published rows") >= text.count("<table")
    style = (project / "site" / "style.css").read_text()
    assert ".scroll::-webkit-scrollbar-thumb" in style
    assert "scrollbar-color" in style


def test_the_same_files_give_the_same_bytes(project):
    assert pages(project) == pages(project)


def test_pages_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    found = pages(tmp_path)
    assert "Nothing has been measured yet." in found["runs.html"]
    assert found["index.html"].count("not yet") == 5
    assert "Its notebook is not written yet." in found["papers/lrar.html"]


def test_rows_without_their_run_are_marked(project):
    (project / "results" / "demo" / "synth" / "lrar.run.json").unlink()
    found = pages(project)
    assert "its run did not finish" in found["papers/lrar.html"]
    assert "✗ differs" in found["runs.html"]
    assert not any(str(project) in text for text in found.values())


def test_a_damaged_result_file_is_said(project):
    (project / "results" / "demo" / "synth" / "lrar.csv").write_text("broken")
    with pytest.raises(results.ResultsError, match="must have the columns"):
        pages(project)


def test_a_folder_that_cannot_be_written_is_said(project):
    (project / "site").mkdir()
    (project / "site" / "index.html").mkdir()
    with pytest.raises(results.ResultsError, match="Could not write"):
        pages(project)


def test_a_file_that_was_edited_is_said_wherever_its_numbers_are(project):
    path = project / "results" / "demo" / "synth" / "lrar.csv"
    path.write_text(path.read_text().replace("60,", "61,", 1))
    found = pages(project)
    said = "demo/synth/lrar.csv is not what its run.json was written for"
    assert said in found["index.html"]
    assert f"Not to be trusted: {said}" in found["papers/lrar.html"]
    assert "demo/caviar/lrar.csv is not" not in "".join(found.values())
    assert "✗ differs" in found["runs.html"]


def test_rows_that_are_not_there_are_said(project):
    found = pages(project)["papers/lrar.html"]
    table = found[found.index("<h3>Table IV</h3>") :]
    assert "No rows of it are in the results" in table
    assert "reid-lib reproduce --only &quot;LRAR Table IV&quot;" in table
    assert "Published rows (MLR-CUHK03)" in table
    row = {"artefact": "Table IV", "method": "LRAR", "metric": "rank1", "value": 1.0}
    results.write([row], "demo", "synth", "lrar", {})
    found = pages(project)["papers/lrar.html"]
    assert "Not measured on caviar (demo)." in found[found.index("<h3>Table IV</h3>") :]
    (project / "results" / "demo" / "synth" / "lrar.csv").unlink()
    (project / "results" / "demo" / "caviar" / "lrar.csv").unlink()
    assert "No rows of it are in the results" in pages(project)["papers/lrar.html"]


def test_mixed_rows_are_not_shown_and_the_pages_are_built(project):
    row = {"artefact": "Table IV", "metric": "rank1", "value": 12.3}
    for method, epochs in (("LRAR", 8), ("only L_cls", 24)):
        results.write([row | {"method": method}], "demo", "synth", "lrar", {"parameters": {"epochs": epochs}})
    for paper, protocol in (("lrar", "genuine LR"), ("cadnet", "MLR {2,3,4}")):
        gain = {"artefact": "One field", "method": "HR + LR", "setting": protocol, "metric": "rank1", "value": 1.0}
        results.write([gain | {"method": paper}], "demo", "synth", paper, {"parameters": {}})
    found = pages(project)
    lrar = found["papers/lrar.html"]
    table = lrar[lrar.index("<h3>Table IV</h3>") :].partition("</article>")[0]
    assert "LRAR Table IV: one value of epochs is expected for all rows" in table
    assert "12.3" not in table
    assert "One field on synth: one protocol is expected" in found["index.html"]
