from pathlib import Path

import pandas as pd
import pytest

from reid_lib.reporting import audit, papers, results
from reid_lib.reporting.statements import Published

ROOT = Path(__file__).parents[2]


def test_the_rank5_average_of_vpfa_table_10_does_not_match_its_rows():
    wrong = audit.averages()[lambda t: ~t.agrees]
    assert wrong.values.tolist() == [["vpfa", "Table 10", "CAVIAR", "rank5", 87.9, 86.96, False]]
    assert len(audit.averages()) == 9


def test_vpfa_table_10_counts_250_queries():
    """25 identities with ten LR images each: every entry is a multiple of 1/250, so exact."""
    rows = results.published()
    splits = rows[(rows.artefact == "Table 10") & rows.setting.str.startswith("split=")]
    assert len(splits) == 30
    assert ((splits.value * 2.5 - (splits.value * 2.5).round()).abs() < 1e-9).all()


def test_cells_that_papers_quote_differently():
    found = audit.disagreements().set_index(["dataset", "method", "metric"])
    assert set(found.index) == {
        ("MLR-CUHK03", "SING", "rank10"),
        ("CAVIAR", "FD-GAN", "rank10"),
        ("MLR-CUHK03", "INTACT", "rank10"),
        ("MLR-Market-1501", "INTACT", "rank10"),
        ("MLR-Market-1501", "PyrNet", "rank1"),
        ("MLR-Market-1501", "PyrNet", "rank5"),
        ("MLR-Market-1501", "PyrNet", "rank10"),
        ("MLR-Market-1501", "VPFA", "rank5"),
    }
    fd_gan = found.loc["CAVIAR", "FD-GAN", "rank10"]
    assert fd_gan["values"] == "86.5 in cadnet Table 1, lrar Table I, intact Table 1; 96.5 in vpfa Table 3"
    assert fd_gan.spread == 10
    assert found.loc["MLR-Market-1501", "INTACT", "rank10"].own == 96.9
    assert found.note.value_counts().to_dict() == {"one digit differs": 6, "": 2}  # 84.1 and 83.8, 96.2 and 95.6


def test_a_planted_disagreement_is_found():
    rows = results.published()
    assert len(audit.disagreements(rows[rows.paper == "cadnet"])) == 0
    changed = rows.copy()
    changed.loc[(rows.paper == "lrar") & (rows.method == "RAIN") & (rows.dataset == "CAVIAR"), "value"] += 1
    assert len(audit.disagreements(changed)) == len(audit.disagreements()) + 3


def test_methods_that_share_all_their_numbers():
    assert set(audit.repeated().methods) == {"INTACT = CRGAN", "HRNet-ReID = PS-HRNet"}


def test_numbers_in_prose():
    found = audit.statements()
    assert not found.duplicated(["paper", "source", "text"]).any()
    differ = found[~found.agrees]
    assert list(zip(differ.paper, differ.source, differ.stated, differ.computed, strict=True)) == [
        ("cadnet", "4.4", "> 0", 0),  # [f, g] over g alone: a tie
        ("lrar", "V-E.1", "2", 0.6),
        ("lrar", "V-F", "4", 2.5),  # r = 6 unseen, end to end
        ("lrar", "V-D.1", "> 0", -4.4),  # DDGAN, a standard re-ID method by V-C
        ("intact", "4.4 (2)", "15.1", 25.9),
        ("intact", "4.4 (3)", "> 0", -0.2),  # RAIN at Rank-10 on MLR-CUHK03
        ("vpfa", "5.3 (1)", "3", 2),
        ("vpfa", "5.3 (3)", "50.6", 50.5),
        ("vpfa", "5.3 (3)", "84.5", 87.3),
        ("vpfa", "A.2", "> 0", -1.1),
        ("vpfa", "Table 7", "28.18", 28.25),
        ("vpfa", "3.2", "> 0.4", 0.35),  # R2 at r = 4
        ("vpfa", "3.2", "0", 1.47),  # shares of 25 groups
        ("vpfa", "5.1", "5", 4),  # MLR-DukeMTMC
        ("vpfa", "5.3 (4)", "> -1", -3),  # LRAR at Rank-10 on CAVIAR
        ("vpfa", "A.4", "6", 5),  # sample identities
        ("vpfa", "A.7", "> 0", 0),  # CAVIAR in Table 11
    ]
    assert (differ.note != "").sum() == len(differ) - 1


def test_the_order_of_cadnets_losses_is_the_texts():
    """4.6: "significant" without L_adv^DF, "severe" without L_rec, and Table 3 has the same order."""
    (found,) = [row for row in audit.statements().itertuples() if "severe without L_rec" in row.text]
    assert (found.computed, found.agrees) == (0.9, True)


def test_one_papers_cells_in_several_of_its_tables():
    found = audit.own_cells()
    assert len(found) == 41
    wrong = found[~found.agrees]
    assert wrong[["paper", "dataset", "method", "metric", "spread"]].values.tolist() == [
        ["vpfa", "MLR-Market-1501", "VPFA", "rank5", 0.2]
    ]
    assert wrong["values"].item().endswith("; 97.8 in vpfa Table 11")


def test_where_a_paper_is_not_the_best_as_it_says():
    found = audit.firsts()
    assert len(found) == 52
    wrong = found[~found.agrees]
    assert wrong[["paper", "dataset", "metric", "own", "best", "by"]].values.tolist() == [
        ["lrar", "CAVIAR", "rank5", 79.2, 84.5, "HRNet-ReID"],
        ["intact", "MLR-CUHK03", "rank10", 98.5, 98.8, "CAD-Net"],
    ]
    shared = found[found.note == "shared"]
    assert shared[["paper", "dataset", "metric", "by"]].values.tolist() == [
        ["intact", "MLR-CUHK03", "rank5", "CAD-Net"]
    ]


def change(cell: tuple[str, ...], value: float) -> pd.DataFrame:
    """The published rows with another value in one cell (paper, artefact, dataset, method, setting, metric)."""
    rows = results.published()
    here = (rows[["paper", "artefact", "dataset", "method", "setting", "metric"]] == list(cell)).all(axis=1)
    assert here.sum() == 1
    return rows.assign(value=rows.value.where(~here, value))


def test_planted_errors_of_each_further_kind_are_found():
    assert audit.orders().agrees.all()
    assert audit.ranges().agrees.all()
    assert audit.counts().agrees.all()
    sdf = ("cadnet", "Table 1", "CAVIAR", "SDF", "", "rank1")
    broken = audit.orders(change(sdf, 60.0))
    assert broken[~broken.agrees].values.tolist() == [["cadnet", "Table 1", "CAVIAR", 10, 1, False]]
    for cell, value in ((sdf, 114.3), (("cadnet", "Table 2", "MLR-CUHK03", "SING", "unseen r=8", "ssim"), 52.0)):
        out = audit.ranges(change(cell, value))
        assert out[~out.agrees][["paper", "artefact", "broken"]].values.tolist() == [["cadnet", cell[1], 1]]
    split = ("vpfa", "Table 9", "MLR-VIPeR", "VPFA", "split=0", "rank1")
    off = audit.counts(change(split, 57.8))  # 183 of 316 are 57.9
    assert off[~off.agrees][["artefact", "broken"]].values.tolist() == [["Table 9", 1]]
    rank5 = audit.own_cells(change(("lrar", "Table IV", "MLR-CUHK03", "LRAR", "", "rank5"), 98.8))
    assert (~rank5.agrees).sum() == 2


def test_the_table_has_every_finding_as_text():
    found = audit.table()
    assert list(found.columns) == audit.COLUMNS
    assert found.map(lambda cell: isinstance(cell, str)).all(axis=None)
    assert list(found.kind.unique()) == list(audit.KINDS)
    assert not found.drop(columns=["computed", "note"]).duplicated().any()
    assert (found.verdict == "differs").sum() == 31
    assert set(found.verdict) == {"agrees", "differs", "worth a look", "undecided"}
    table_10 = found[(found.artefact == "Table 10") & (found.kind == "average") & (found.what == "rank5")]
    assert table_10[["stated", "computed", "verdict"]].values.tolist() == [["87.9", "86.96", "differs"]]
    assert (found.kind == "prose").sum() == len(papers.STATEMENTS)


def test_the_committed_file_is_what_the_published_rows_give():
    assert audit.problems(ROOT / "results") == []


def test_a_missing_or_changed_file_is_a_problem(tmp_path):
    said = [f"{tmp_path.name}/audit.csv is not what the published rows give: `reid-lib readme`"]
    assert audit.problems(tmp_path) == said
    path = audit.write(tmp_path)
    assert audit.problems(tmp_path) == []
    assert pd.read_csv(path, keep_default_na=False, dtype=str).equals(audit.table())
    path.write_text(path.read_text(encoding="utf-8").replace("86.96", "87.9"), encoding="utf-8")
    assert audit.problems(tmp_path) == said


def test_the_file_is_no_measured_file(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))
    audit.write(tmp_path)
    assert results.available() == []


def test_a_cell_that_is_not_published_is_said():
    cell = Published(results.published(), "lrar")
    assert cell("Table I", "LRAR", "CAVIAR") == 63.6
    with pytest.raises(results.ResultsError, match="Expected one published cell for Table I, LRRA"):
        cell("Table I", "LRRA", "CAVIAR")


def test_summary_counts():
    found = audit.summary().set_index("check")[["checked", "differ"]]
    assert found.to_dict("index") == {
        "quoted cell": {"checked": 164, "differ": 7},
        "own cell": {"checked": 41, "differ": 1},
        "average": {"checked": 9, "differ": 1},
        "prose": {"checked": len(papers.STATEMENTS), "differ": 17},
        "first": {"checked": 52, "differ": 2},
        "order": {"checked": 44, "differ": 0},
        "range": {"checked": 28, "differ": 0},
        "count": {"checked": 2, "differ": 0},
        "same numbers": {"checked": 2, "differ": 2},
        "claim": {"checked": 52, "differ": 3},
    }
