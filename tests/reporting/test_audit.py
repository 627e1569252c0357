import pandas as pd
import pytest

from reid_lib.reporting import audit, papers, results
from reid_lib.reporting.statements import Published


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
    assert list(zip(differ.paper, differ.stated, differ.computed, strict=True)) == [
        ("lrar", "2", 0.6),
        ("intact", "15.1", 25.9),
        ("vpfa", "3", 2),
        ("vpfa", "50.6", 50.5),
        ("vpfa", "84.5", 87.3),
        ("vpfa", "> 0", -1.1),
        ("vpfa", "28.18", 28.25),
    ]
    assert (differ.note != "").sum() >= 5


def test_a_cell_that_is_not_published_is_said():
    cell = Published(results.published(), "lrar")
    assert cell("Table I", "LRAR", "CAVIAR") == 63.6
    with pytest.raises(results.ResultsError, match="Expected one published cell for Table I, LRRA"):
        cell("Table I", "LRRA", "CAVIAR")


def test_summary_counts():
    found = audit.summary().set_index("check")
    assert found.loc["averages over splits"].tolist() == [9, 1]
    assert found.loc["numbers in prose", "checked"] == len(papers.STATEMENTS)
    assert (found.differ <= found.checked).all()
    assert isinstance(audit.claims_against_tables(), pd.DataFrame)
