import pandas as pd
import pytest

from reid_lib.reporting import claims, papers, results
from reid_lib.reporting.claims import Cell, Claim, judge

A, B, C = Cell("a"), Cell("b"), Cell("c")


def rows(cells: dict, half: float | None = None, dataset: str = "synth") -> pd.DataFrame:
    """Measured rows {method: value} of one table, each with the interval value +- half."""
    table = [
        {"method": m, "value": v, "metric": "rank1"} | ({} if half is None else {"low": v - half, "high": v + half})
        for m, v in cells.items()
    ]
    frame = pd.DataFrame(table).assign(paper="lrar", artefact="Table II", dataset=dataset, profile="demo", setting="")
    return results.check_rows(frame.reindex(columns=list(results.COLUMNS)))


def verdict(check, frame, **kwargs) -> str:
    return judge(Claim("lrar", "Table II", "text", "V", check, **kwargs), frame).verdict


@pytest.mark.parametrize(
    ("a", "b", "half", "expected"),
    [
        (60, 50, 2, "holds"),
        (50, 60, 2, "fails"),
        (51, 50, 2, "inconclusive"),
        (53, 50, 2, "holds"),  # 3 > sqrt(2**2 + 2**2)
        (52, 50, 2, "inconclusive"),
        (50, 50, 2, "inconclusive"),
        (50.1, 50, None, "holds"),
        (50, 50, None, "fails"),  # a tie is not greater
        (49, 50, None, "fails"),
    ],
)
def test_greater(a, b, half, expected):
    assert verdict(claims.greater(A, B), rows({"a": a, "b": b}, half)) == expected
    assert verdict(claims.less(B, A), rows({"a": a, "b": b}, half)) == expected


def test_greater_by_a_margin_and_without_rows():
    assert verdict(claims.greater(A, B, by=5), rows({"a": 56, "b": 50})) == "holds"
    assert verdict(claims.greater(A, B, by=6), rows({"a": 56, "b": 50})) == "fails"
    found = judge(Claim("lrar", "Table II", "", "V", claims.greater(A, C)), rows({"a": 56, "b": 50}))
    assert found == claims.Verdict("not measured", "no row for (c, rank1)")
    found = judge(Claim("lrar", "Table IV", "", "V", claims.greater(A, C)), rows({"a": 56}))
    assert found == claims.Verdict("not measured", "no rows of Table IV")


def test_the_interval_that_faces_the_other_number_counts():
    frame = rows({"a": 53, "b": 50}, 0)
    frame.loc[0, "high"] = 90  # wide on the side that does not matter
    assert verdict(claims.greater(A, B), frame) == "holds"
    frame.loc[0, "low"] = 40
    assert verdict(claims.greater(A, B), frame) == "inconclusive"


def test_ordered_best_worst():
    frame = rows({"a": 10, "b": 20, "c": 30}, 1)
    assert verdict(claims.ordered(A, B, C), frame) == "holds"
    assert verdict(claims.ordered(B, A, C), frame) == "fails"
    assert verdict(claims.best(C), frame) == "holds"
    assert verdict(claims.best(B), frame) == "fails"
    assert verdict(claims.best(B, but=("c",)), frame) == "holds"
    assert verdict(claims.best(A, lowest=True), frame) == verdict(claims.worst(A), frame) == "holds"
    assert verdict(claims.best(A), rows({"a": 1})) == "not measured"


def test_costs_most():
    frame = rows({"full": 80, "w/o x": 40, "w/o y": 70}, 1)
    assert verdict(claims.costs_most(Cell("w/o x"), [Cell("w/o y")]), frame) == "holds"
    assert verdict(claims.costs_most(Cell("w/o y"), [Cell("w/o x")]), frame) == "fails"


def test_close():
    assert verdict(claims.close(A, B, 2), rows({"a": 50, "b": 51}, 0.1)) == "holds"
    assert verdict(claims.close(A, B, 2), rows({"a": 50, "b": 55}, 0.1)) == "fails"
    assert verdict(claims.close(A, B, 2), rows({"a": 50, "b": 51}, 3)) == "inconclusive"
    assert verdict(claims.close(A, C, 2), rows({"a": 50})) == "not measured"


def test_gains_more():
    frame = rows({"a": 50, "b": 52, "c": 60})
    assert verdict(claims.gains_more((B, C), (A, B)), frame) == "holds"
    assert verdict(claims.gains_more((A, B), (B, C)), frame) == "fails"
    assert verdict(claims.gains_more((B, C), (A, B)), rows({"a": 50, "b": 52, "c": 60}, 5)) == "inconclusive"
    assert verdict(claims.gains_more((B, C), (A, B)), rows({"a": 50, "b": 52})) == "not measured"


def settings(values: dict, method: str = "a", half: float = 0.5) -> pd.DataFrame:
    frame = pd.concat([rows({method: value}, half).assign(setting=name) for name, value in values.items()])
    return frame.reset_index(drop=True)


def test_checks_over_settings():
    peak = settings({"t=0.5": 10, "t=0.7": 20, "t=0.9": 12})
    assert verdict(claims.peak_inside("a"), peak) == "holds"
    assert verdict(claims.peak_inside("a"), settings({"t=0.5": 10, "t=0.7": 11, "t=0.9": 12})) == "fails"
    assert verdict(claims.peak_inside("a"), peak[:2]) == "not measured"
    assert verdict(claims.best_setting(Cell("a", "t=0.7")), peak) == "holds"
    assert verdict(claims.worst_setting(Cell("a", "t=0.5")), peak) == "holds"
    assert verdict(claims.worst_setting(Cell("a", "t=0.9")), peak) == "fails"
    assert verdict(claims.best_setting(Cell("b", "t=0.7")), peak) == "not measured"
    assert verdict(claims.above(A, 9), peak) == "holds"
    assert verdict(claims.above(A, 15), peak) == "fails"
    assert verdict(claims.above(B, 9), peak) == "not measured"
    both = pd.concat([peak, settings({"t=0.5": 8, "t=0.7": 25}, "b")], ignore_index=True)
    assert verdict(claims.everywhere("a", "b", "rank1"), both) == "fails"
    assert verdict(claims.everywhere("b", "c", "rank1"), both) == "not measured"


def test_over_data_sets_the_weakest_verdict_counts():
    good, bad = rows({"a": 60, "b": 50}, 1, "viper"), rows({"a": 50, "b": 60}, 1, "cuhk03")
    both = pd.concat([good, bad], ignore_index=True)
    found = judge(Claim("lrar", "Table II", "", "V", claims.greater(A, B)), both)
    assert found.verdict == "fails"
    assert found.detail.startswith("cuhk03: a, rank1: 50 [49, 51]")
    assert verdict(claims.greater(A, B), both, datasets=("viper",)) == "holds"
    assert verdict(claims.greater(A, B), both, datasets=("caviar",)) == "not measured"
    half = pd.concat([good, rows({"a": 50}, 1, "cuhk03")], ignore_index=True)
    assert verdict(claims.greater(A, B), half) == "holds"  # where it was measured


def test_seeds_are_merged_and_profiles_are_not():
    frame = pd.concat([rows({"a": 60 + s, "b": 58 - s}).assign(seed=s) for s in (0, 1)], ignore_index=True)
    frame["seed"] = frame.seed.astype("Int64")
    assert verdict(claims.greater(A, B), frame) == "inconclusive"
    mixed = pd.concat([frame, frame.assign(profile="smoke")], ignore_index=True)
    with pytest.raises(results.ResultsError, match="one profile"):
        verdict(claims.greater(A, B), mixed)


def test_claims_are_about_known_artefacts():
    known = {(artefact.paper, artefact.name) for artefact in papers.ARTEFACTS}
    assert {(claim.paper, claim.artefact) for claim in papers.CLAIMS} <= known
    assert all(claim.text and claim.source for claim in papers.CLAIMS)
    per_paper = pd.Series([claim.paper for claim in papers.CLAIMS]).value_counts()
    assert set(per_paper.index) == {"cadnet", "lrar", "intact", "drfm", "vpfa"}
    assert per_paper.min() >= 4


def test_the_papers_own_tables():
    """Claims about published numbers can be judged; these three are not borne out by the tables."""
    found = claims.evaluate(results.published(), papers.CLAIMS)
    fails = found[found.verdict == "fails"]
    assert list(zip(fails.paper, fails.artefact, strict=True)) == [
        ("lrar", "Table I"),  # "consistently": Rank-5 on CAVIAR is 79.2, below 84.5
        ("intact", "Table 4"),  # "fairly similar": 83.4, 84.3, 88.1
        ("drfm", "Table 2"),  # CC, not Purification, is the best earlier one on MLR-CUHK03
    ]
    published = set(zip(results.published().paper, results.published().artefact, strict=True))
    absent = found[found.verdict == "not measured"]
    assert not set(zip(absent.paper, absent.artefact, strict=True)) & published
    assert set(found.verdict) <= set(claims.VERDICTS)
