import pandas as pd
import pytest

from reid_lib.reporting import claims, papers, results
from reid_lib.reporting.claims import Cell, Claim, judge

A, B, C = Cell("a"), Cell("b"), Cell("c")
OWN = "Length by rate"  # a table of which no paper prints a row


def rows(cells: dict, half: float | None = None, dataset: str = "synth") -> pd.DataFrame:
    """Measured rows {method: value} of one table, each with the interval value +- half."""
    table = [
        {"method": m, "value": v, "metric": "rank1"} | ({} if half is None else {"low": v - half, "high": v + half})
        for m, v in cells.items()
    ]
    frame = pd.DataFrame(table).assign(paper="lrar", artefact=OWN, dataset=dataset, profile="demo", setting="")
    return results.check_rows(frame.reindex(columns=list(results.COLUMNS)))


def verdict(check, frame, **kwargs) -> str:
    return judge(Claim("lrar", OWN, "text", "V", check, **kwargs), frame).verdict


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
    found = judge(Claim("lrar", OWN, "", "V", claims.greater(A, C)), rows({"a": 56, "b": 50}))
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


def test_later_looks_at_the_later_half_of_what_both_have():
    one = settings({"epoch 1": 1, "epoch 2": 20, "epoch 3": 20, "epoch 4": 20})
    two = settings({"epoch 1": 10, "epoch 2": 10, "epoch 3": 10, "epoch 4": 10, "epoch 5": 90}, "b")
    both = pd.concat([one, two], ignore_index=True)
    assert verdict(claims.later("a", "b", "rank1"), both) == "holds"
    assert verdict(claims.later("b", "a", "rank1"), both) == "fails"
    early = pd.concat([settings({"epoch 1": 1, "epoch 2": 2, "epoch 3": 2}), two], ignore_index=True)
    assert verdict(claims.later("a", "b", "rank1"), early) == "fails"
    assert verdict(claims.later("a", "b", "rank1"), pd.concat([one[:1], two], ignore_index=True)) == "not measured"


def test_settings_close():
    assert verdict(claims.settings_close("a", "rank1", 4), settings({"x": 10, "y": 11, "z": 12})) == "holds"
    assert verdict(claims.settings_close("a", "rank1", 4), settings({"x": 10, "y": 11, "z": 16})) == "fails"
    assert verdict(claims.settings_close("a", "rank1", 4), settings({"x": 10, "y": 14})) == "inconclusive"
    assert verdict(claims.settings_close("a", "rank1", 4), settings({"x": 10})) == "not measured"


def trained(cells: dict, seeds: int, half: float = 1.0, artefact: str = OWN) -> pd.DataFrame:
    """Rows {method: value} of several seeds, all alike."""
    frame = pd.concat([rows(cells, half).assign(seed=seed) for seed in range(seeds)], ignore_index=True)
    return frame.assign(seed=frame.seed.astype("Int64"), trials=10, artefact=artefact)


@pytest.mark.parametrize(("a", "would"), [(60, "holds"), (40, "fails"), (50.5, "inconclusive")])
def test_one_training_is_indicative_whatever_its_direction(a, would):
    claim = Claim("lrar", OWN, "text", "V", claims.greater(A, B))
    found = judge(claim, trained({"a": a, "b": 50}, seeds=1))
    assert (found.verdict, found.leaning) == (claims.ONE_SEED, would)
    assert found.detail.startswith(claims._WOULD[would] + ": a, rank1")
    three = trained({"a": a, "b": 50}, seeds=3)
    assert judge(claim, three).verdict == would
    assert judge(claim, results.merge_seeds(three)).verdict == would, "merged rows know their seeds"
    assert judge(claim, rows({"a": a, "b": 50}, 1)).verdict == would, "nothing was trained"


def test_one_seed_behind_one_of_two_rows_is_enough_to_be_indicative():
    frame = pd.concat([trained({"a": 60}, 3), trained({"b": 50}, 1)], ignore_index=True)
    assert verdict(claims.greater(A, B), frame) == claims.ONE_SEED


def test_in_a_conjunction_a_firm_no_decides_and_a_yes_needs_all():
    frame = pd.concat([trained({"a": 60, "b": 50}, 3), trained({"c": 40, "d": 70}, 1)], ignore_index=True)
    D = Cell("d")
    assert verdict(claims.all_of(claims.greater(B, A), claims.greater(A, D)), frame) == "fails"
    assert verdict(claims.all_of(claims.greater(A, B), claims.greater(A, D)), frame) == claims.ONE_SEED
    found = judge(Claim("lrar", OWN, "", "V", claims.all_of(claims.greater(A, B), claims.greater(B, C))), frame)
    assert (found.verdict, found.leaning) == (claims.ONE_SEED, "holds")
    missing = claims.greater(A, Cell("nobody"))
    assert verdict(claims.all_of(claims.greater(A, B), missing), frame) == "not measured"
    assert verdict(claims.all_of(claims.greater(B, A), missing), frame) == "fails", "no further row would change it"


def test_best_of_all_needs_every_method_of_the_papers_table():
    best = Claim("lrar", "Table IV", "", "V", claims.best(Cell("LRAR")))
    assert judge(best, trained({"LRAR": 60, "w/o L_cls": 50}, 3, artefact="Table IV")).verdict == "not measured"
    full = {"LRAR": 60, "w/o L_cls": 50, "w/o L_verif": 55}
    assert judge(best, trained(full, 3, artefact="Table IV")).verdict == "holds"
    assert judge(best, trained(full | {"ours": 70}, 3, artefact="Table IV")).verdict == "fails"
    beaten = trained({"LRAR": 60, "w/o L_cls": 70}, 3, artefact="Table IV")
    assert judge(best, beaten).verdict == "fails", "a better one decides, whatever is missing"


def test_yardsticks_compete_with_vpfa_and_are_no_part_of_the_papers_own_table():
    (claim,) = [claim for claim in papers.CLAIMS if claim.paper == "vpfa" and claim.artefact == "Table 3"]
    assert judge(claim, results.published()).verdict == "holds"
    names = results.as_roles(results.published().query("paper == 'vpfa' and artefact == 'Table 3'")).method.unique()
    frame = trained(dict.fromkeys(names, 40.0) | {"VPFA": 60.0}, 3, artefact="Table 3").assign(paper="vpfa")
    found = judge(claim, frame)
    assert found.verdict == "not measured"
    assert found.detail == "no row for (mean shift, rank1); no row for (ridge, rank1)"
    yardsticks = trained({"mean shift": 50.0, "ridge": 65.0}, 3, artefact="Table 3").assign(paper="vpfa")
    assert judge(claim, pd.concat([frame, yardsticks], ignore_index=True)).verdict == "fails"


def test_everywhere_needs_both_methods_in_every_setting():
    check = claims.everywhere("a", "b", "rank1")
    both = pd.concat([settings({"e=1": 20, "e=2": 20}), settings({"e=1": 10}, "b")], ignore_index=True)
    assert verdict(check, both) == "not measured"
    found = next(claim for claim in papers.CLAIMS if "every setting" in claim.text)
    one = pd.concat([settings({"1/3 seen": 20}, "progressive"), settings({"1/3 seen": 10}, "end-to-end")])
    assert judge(found, one.reset_index(drop=True).assign(artefact="Table V")).verdict == "not measured"


def test_settings_that_a_claim_names_must_be_there():
    assert verdict(claims.above(A, 9, among=("r=2", "r=3")), settings({"r=2": 10})) == "not measured"
    swept = settings({"l=0": 10, "l=1": 20})
    assert verdict(claims.best_setting(Cell("a", "l=1"), ("l=0", "l=1", "l=2")), swept) == "not measured"
    assert verdict(claims.worst_setting(Cell("a", "l=0"), ("l=0", "l=1")), swept) == "holds"


def test_every_identity_is_not_five_of_them():
    (claim,) = [claim for claim in papers.CLAIMS if "every identity" in claim.text]
    few = settings({f"identity={n}": 30 for n in range(5)} | {"mean of all": 25}, "VPFA")
    few = few.assign(paper="vpfa", artefact="Table 7", metric="reduction_percent")
    assert judge(claim, few).verdict == "not measured"
    apart = few.assign(value=few.value.where(few.setting != "identity=3", -3.0), low=None, high=None)
    assert judge(claim, apart.astype({"low": float, "high": float})).verdict == "fails", "one is enough against it"
    least = few[:1].assign(setting="smallest of all", value=-3.0, low=None, high=None)
    least = least.astype({"low": float, "high": float})
    assert judge(claim, pd.concat([few, least], ignore_index=True)).verdict == "fails"


def test_over_data_sets_the_weakest_verdict_counts():
    good, bad = rows({"a": 60, "b": 50}, 1, "viper"), rows({"a": 50, "b": 60}, 1, "cuhk03")
    both = pd.concat([good, bad], ignore_index=True)
    found = judge(Claim("lrar", OWN, "", "V", claims.greater(A, B)), both)
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
    assert per_paper.min() >= 11
    assert not pd.DataFrame([(c.paper, c.artefact, c.text) for c in papers.CLAIMS]).duplicated().any()


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
    # "every identity": the paper prints five; "considerable improvements on the CAVIAR dataset": no row of CAVIAR
    both = {("vpfa", "Table 7"), ("vpfa", "Table 11")}
    assert set(zip(absent.paper, absent.artefact, strict=True)) & published == both
    assert set(found.verdict) <= set(claims.VERDICTS)
