"""The papers' tables as they are printed, from rows that the tests write."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reid_lib.reporting import artefacts, layout, results
from reid_lib.reporting.papers import ARTEFACTS, CLAIMS, lrar

RUN = {"commit": "a", "parameters": {"epochs": 8}}
HERE = ("demo", "synth")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))
    return tmp_path


def find(title: str) -> artefacts.Artefact:
    return artefacts.find(title, ARTEFACTS)


def save(title: str, method: str, value: float, *, metric: str = "rank1", run: dict = RUN, **changes) -> None:
    row = {"artefact": find(title).name, "method": method, "metric": metric, "value": value, "seed": 0, "trials": 10}
    results.write([row | {"low": value - 1, "high": value + 1} | changes], *HERE, find(title).paper, run)


def lines(title: str) -> list[list[str]]:
    """The cells of what is shown, line by line."""
    body = layout.as_printed(find(title), *HERE).body
    found = re.findall(r"<tr>(.*?)</tr>", body)
    return [[re.sub(r"<.+?>", " ", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", line)] for line in found]


def test_methods_are_rows_and_data_sets_with_metrics_are_columns():
    row = {"artefact": "Table II", "method": "mask + val", "seed": 0, "trials": 10}
    values = {"rank1": 70.0, "rank5": 99.0, "map": 50.0, "rank20": 2.0}
    rows = [row | {"metric": name, "value": v, "low": v - 1, "high": v + 1} for name, v in values.items()]
    results.write(rows, *HERE, "lrar", RUN)
    head, metrics, *body = lines("LRAR Table II")
    assert head == ["method", "CAVIAR, printed", "MLR-CUHK03, printed", "MLR-Market-1501, printed", "synth, measured"]
    assert metrics == ["", *["Rank-1", "Rank-5", "Rank-10"] * 3, "Rank-1", "Rank-5", "mAP"]
    assert [line[0] for line in body] == ["IDE + Verif", "w/o mask", "w/o val", "w/o val (end-to-end)", "mask + val"]
    assert body[-1][1] == "63.6"
    assert body[-1][-3:] == ["70.0 [69.0, 71.0]", "99.0 [98.0, 100.0]", "50.0 [49.0, 51.0]"]
    assert body[0][-3:] == ["", "", ""]


def test_what_the_paper_does_not_have_comes_last_and_is_escaped():
    save("LRAR Table II", "HR <only>", 20.0)
    assert "HR &lt;only&gt;" in layout.as_printed(find("LRAR Table II"), *HERE).body
    assert lines("LRAR Table II")[-1][0] == "HR &lt;only&gt;"


def test_wide_tables_have_the_measured_rows_below():
    save("CAD-Net Table 1", "CAD-Net", 40.0)
    body = layout.as_printed(find("CAD-Net Table 1"), *HERE).body
    assert body.count("<table") == 2
    assert "measured" not in body.partition("</table>")[0]
    assert "synth, measured" in body.partition("</table>")[2]


def test_tables_that_are_printed_in_another_order():
    two, *_, last = lines("CAD-Net Table 2")[1:]
    assert two == ["", "seen r in {2,3,4}", "unseen r=8"]
    assert last[0] == "CAD-Net"
    head, splits, *body = lines("VPFA Table 8")
    assert head == ["metric", "MLR-CUHK03, printed"]
    assert splits == ["", *(f"split={n}" for n in range(10)), "average"]
    assert [line[0] for line in body] == ["Rank-1", "Rank-5", "Rank-10"]
    trained = lines("VPFA Table 11")
    assert trained[0][:2] == ["setting", "dataset"]
    assert ["trained on MLR-Market-1501", "MLR-CUHK03, printed", "94.0", "97.3"] in trained
    rows = [line[:2] for line in lines("DRFM Table 2")]
    assert rows[2:4] == [["unsupervised", "SpCL"], ["", "ICE"]]  # a heading once


@pytest.mark.parametrize("title", [a.title for a in ARTEFACTS if a.printed and a.kind in ("table", "text")])
def test_every_printed_number_is_shown_once(title):
    artefact = find(title)
    printed = results.published()
    printed = printed[(printed.paper == artefact.paper) & (printed.artefact == artefact.name)]
    assert sum(bool(re.match(r"[\d.,]+$", cell)) for line in lines(title) for cell in line) == len(printed)


def test_the_same_images_stand_beside_the_printed_ones():
    save("LRAR Table II", "mask + val", 60.0, dataset="CAVIAR")
    assert lines("LRAR Table II")[0][-1] == "CAVIAR, measured"
    save("VPFA Table 6", "frozen model", 60.0, dataset="synth-thermal", setting="visible-to-infrared")
    assert any("synth-thermal, measured" in line for line in lines("VPFA Table 6"))


def test_missing_rows_are_said():
    sheet = layout.as_printed(find("LRAR Table II"), *HERE)
    assert sheet.status == "not measured"
    assert sheet.said == ("Nothing of LRAR was measured under profile demo on synth.",)
    assert "mask + val" in sheet.body  # the printed rows are there
    save("LRAR Table I", "LRAR", 40.0)
    results.write(
        [{"artefact": "Table II", "method": "m", "metric": "rank1", "value": 1}], "demo", "viper", "lrar", RUN
    )
    said = layout.as_printed(find("LRAR Table II"), *HERE).said
    assert said == ("demo/synth/lrar.csv has no rows of it; demo/viper has it.",)
    text = layout.as_printed(find("LRAR Table II"), *HERE)._repr_html_()
    assert "reid-lib reproduce --only &quot;LRAR Table II&quot;" in text
    with pytest.raises(results.ResultsError, match="unknown profile"):
        layout.as_printed(find("LRAR Table II"), "quick", "synth")


def test_an_edited_file_is_said_at_each_table_and_above_all():
    save("LRAR Table II", "mask + val", 70.0)
    path = results.folder(*HERE) / "lrar.csv"
    path.write_text(path.read_text().replace(",70,", ",71,"))
    sheet = layout.as_printed(find("LRAR Table II"), *HERE)
    assert "Not to be trusted: demo/synth/lrar.csv is not what its run.json was written for" in sheet._repr_html_()
    assert "Not to be trusted: demo/synth/lrar.csv" in layout.Overview(*HERE)._repr_html_()
    assert "Not to be trusted: demo/synth/lrar.csv" in repr(layout.Overview(*HERE))


def test_mixed_rows_are_not_shown():
    save("LRAR Table II", "mask + val", 70.0)
    save("LRAR Table II", "w/o val", 60.0, run={"parameters": {"epochs": 24}})
    sheet = layout.as_printed(find("LRAR Table II"), *HERE)
    assert "one value of epochs is expected" in sheet.said[-1]
    assert "measured" not in sheet.body


def figure(path, noise: bool = False) -> None:
    size = (1200, 1500, 3)
    draw = np.random.default_rng(0).random(size) if noise else np.ones(size)
    plt.imsave(path, draw)


def test_figures_are_small_jpegs_with_words(folder):
    artefact = find("LRAR Fig. 4")
    sheet = layout.as_printed(artefact, *HERE)
    assert sheet.said == ("There is no figure of it under profile demo on synth.",)
    results.folder(*HERE).mkdir(parents=True)
    figure(results.folder(*HERE) / artefact.file)
    sheet = layout.as_printed(artefact, *HERE)
    assert sheet.status == "done"
    content = re.search(r"base64,([^\"]+)\" alt=\"LRAR Fig. 4: Ranked", sheet.body)[1]
    assert Image.open(io.BytesIO(base64.b64decode(content))).size[0] == 640
    figure(results.folder(*HERE) / artefact.file, noise=True)
    large = layout.small_jpeg(results.folder(*HERE) / artefact.file)
    assert Image.open(io.BytesIO(large)).size[0] < 640  # as many bytes as it may have need fewer pixels
    (results.folder(*HERE) / artefact.file).write_bytes(b"no picture")
    assert "demo/synth/lrar_fig_4.png cannot be read as a picture" in layout.as_printed(artefact, *HERE).said[0]


def test_the_symbols_are_the_glossarys(monkeypatch, folder):
    symbols = layout.symbols(find("DRFM Table 1"))
    assert list(symbols.columns) == ["symbol", "meaning", "where", "in the code"]
    assert "f^hsl, f^lsh" in set(symbols.symbol)
    assert all("Table 1" in where for where in symbols["where"])
    sheet = layout.as_printed(find("DRFM Table 1"), *HERE)
    assert (sheet.status, sheet.said) == ("done", ())
    assert "f^hsl" in sheet.body
    with pytest.raises(results.ResultsError, match="no symbol of LRAR Table 9"):
        layout.symbols(lrar.PAPER.symbols("Table 9", "Notation"))
    monkeypatch.setattr(results, "project_root", lambda: folder)
    with pytest.raises(results.ResultsError, match=r"docs/glossary\.md, which is not there"):
        layout.symbols(find("DRFM Table 1"))


def test_what_is_not_reproduced_says_why():
    drawing = lrar.PAPER.left_out("figure", "Fig. 9", "A photograph", "It shows a real person.")
    sheet = layout.as_printed(drawing, *HERE)
    assert sheet.status == "not reproduced"
    assert "It shows a real person." in sheet._repr_html_()
    assert sheet.command == ""


def test_the_overview_has_every_paper_its_states_and_its_claims():
    empty = layout.Overview(*HERE)
    assert set(empty.states.status) == {"not measured", "done"}  # a list of symbols needs no measurement
    assert empty._repr_html_().count("none measured") == len({a.paper for a in ARTEFACTS if a.printed})
    for method, value in (("IDE + Verif", 10.0), ("mask + val", 60.0)):
        save("LRAR Table II", method, value)
    found = layout.Overview(*HERE)
    assert found.states.set_index(["paper", "artefact"]).status["lrar", "Table II"] == "done"
    assert f"{sum(claim.paper == 'lrar' for claim in CLAIMS)} open" in found._repr_html_()
    assert len(found.states) == sum(artefact.printed for artefact in ARTEFACTS)
    assert isinstance(found.claims, pd.DataFrame)


def test_a_papers_sheets_come_in_the_papers_order():
    sheets = layout.of_paper("drfm", *HERE, notebook="90_all_tables_and_figures")
    names = [sheet.artefact.name for sheet in sheets]
    assert names[:3] == ["Fig. 1", "Fig. 2", "Fig. 3"]  # Table 1 has its own cell
    assert "One field" not in names
    assert len(layout.of_paper("drfm", *HERE)) == len(sheets) + 1
