"""Pictures, rows and sentences of a comparison."""

import pandas as pd
import pytest

from reid_lib.reporting import compared, results
from reid_lib.reporting.figures import FigureError

FIXED = {"dataset": "synth", "setting": "MLR {2,3,4}", "profile": "demo"}


def rows(numbers: dict[str, tuple[float, float, float]], gains: dict[str, tuple[float, float, float]], seeds=(0, 1, 2)):
    lines = [
        {"method": m, "metric": metric, "value": v, "low": low, "high": high, "seed": seed, "trials": 10}
        for metric, table in (("rank1", numbers), ("rank1_gain", gains))
        for m, (v, low, high) in table.items()
        for seed in seeds
    ]
    return pd.DataFrame(lines).assign(paper="comparison", artefact="Comparison", **FIXED)


NUMBERS = {"HR + LR": (50, 49, 51), "LRAR": (45, 44, 46), "CAD-Net": (51, 49, 53), "DRFM": (60, 59, 61)}
GAINS = {"LRAR": (-5, -6, -4), "CAD-Net": (1, -1, 3), "DRFM": (10, 9, 11)}


def test_the_sentence_is_chosen_by_the_rows() -> None:
    text = compared.said(rows(NUMBERS, GAINS))
    assert text.startswith("Under MLR {2,3,4} DRFM has the highest Rank-1 of the five methods, 60.0 [")
    assert "above: DRFM; below: LRAR; not to be told from it: CAD-Net." in text
    assert text.endswith("Not measured: INTACT and HR only + VPFA.")
    assert "one seed" not in text
    other = compared.said(rows(NUMBERS, GAINS | {"DRFM": (10, -1, 21)}, seeds=(0,)))
    assert "below: LRAR; not to be told from it: CAD-Net and DRFM." in other
    assert "(one seed: indicative)" in other


def test_what_is_missing_or_mixed_is_said() -> None:
    some = rows(NUMBERS, GAINS)
    assert compared.said(some[some["method"] != "HR + LR"]) == "The five methods are not measured side by side here."
    assert compared.said(some[:0]) == "The five methods are not measured side by side here."
    with pytest.raises(results.ResultsError, match="one dataset at a time"):
        compared.said(pd.concat([some, some.assign(dataset="viper")]))


def pairs() -> pd.DataFrame:
    table = {("A", "B"): (2, 1, 3), ("A", "C"): (3, 2, 4), ("B", "C"): (1, -1, 3)}
    lines = [
        {
            "method": a,
            "over": b,
            "mean": sign * m,
            "low": min(sign * low, sign * high),
            "high": max(sign * low, sign * high),
        }
        for (one, two), (m, low, high) in table.items()
        for a, b, sign in ((one, two, 1), (two, one, -1))
    ]
    return pd.DataFrame(lines).assign(trials=10)


def test_pairs_as_rows_and_back() -> None:
    seeds = {"A": None, "B": 0, "C": None}
    made = compared.pair_rows(pairs(), seeds, **FIXED)
    results.check_rows(made.assign(paper="comparison"))
    by = made.set_index("method")["seed"]
    assert by["A over B"] == by["B over A"] == 0
    assert pd.isna(by["A over C"])
    merged = results.merge_seeds(made.assign(paper="comparison"))
    assert compared.decided(merged) == {("A", "B"), ("B", "A"), ("A", "C"), ("C", "A")}
    square = compared.square(merged)
    assert square.loc["A", "B"] == "+2.0 [+1.0, +3.0]"
    assert square.loc["B", "B"] == ""
    text = compared.told_apart(merged, ["A", "B", "C"])
    assert text == "Of 3 pairs of methods 2 are decided. Neighbours that cannot be told apart: B and C."


def test_places_and_losses_as_rows() -> None:
    places = pd.DataFrame({"method": ["A", "B"], "value": [1.0, 2.0], "low": [1, 2], "high": [1, 2], "trials": [3, 3]})
    made = compared.place_rows(places, {"A": 1, "B": None}, **FIXED)
    assert results.check_rows(made.assign(paper="comparison"))["metric"].tolist() == ["place", "place"]
    lost = compared.lost_rows(pd.DataFrame({"A": [True, False], "B": [True, True]}), {"A": 0, "B": 0}, **FIXED)
    assert lost.set_index("method")["value"].to_dict() == {"A": 50, "B": 100}


def test_rates_settings_and_changes() -> None:
    settings = {"HR->HR": 80, "r = 2": 60, "r = 10": 5, "MLR {2,3,4}": 50}
    lines = [
        {"method": "A", "setting": s, "metric": "rank1", "value": v, "low": v - 1, "high": v + 1}
        for s, v in settings.items()
    ]
    frame = pd.DataFrame(lines[::-1])
    curve = compared.by_rate(frame)["A"]
    assert curve.index.tolist() == [1, 2, 10]
    assert curve["value"].tolist() == [80, 60, 5]
    assert compared.wide(frame, "rank1", ["r = 2", "HR->HR"]).loc["A"].tolist() == [
        "60.0 [59.0, 61.0]",
        "80.0 [79.0, 81.0]",
    ]
    assert compared.change(frame, "HR->HR").loc["A", "r = 2"] == -20
    assert compared.beside(frame, "HR->HR", "r = 2").loc["A"].tolist() == [80, 79, 81, 60, 59, 61]


def test_orders_of_two_data_sets() -> None:
    some = rows(NUMBERS, GAINS).assign(folder_dataset="synth")
    other = {"HR + LR": (3, 2, 4), "LRAR": (4, 3, 5), "CAD-Net": (2, 1, 3), "LRAR (OSNet x0.25)": (9, 8, 10)}
    genuine = rows(other, {}, seeds=(0,)).assign(folder_dataset="caviar", dataset="CAVIAR", setting="genuine LR")
    found = compared.orders(pd.concat([some, genuine]))
    assert list(found) == ["CAVIAR, genuine LR", "synth, MLR {2,3,4}"]
    assert found.iloc[0, 1] == -1  # LRAR, HR + LR, CAD-Net, and the other way round
    assert compared.orders(some).shape == (1, 1)


def test_failures_in_words() -> None:
    alike = pd.DataFrame([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1]], list("ABC"), list("ABC"))
    text = compared.failures(alike, 74.0, pd.DataFrame({"method": ["A", "B"], "value": [50.0, 55.0]}))
    assert "Rank-1 of 74.0; the best single one, B, has 55.0" in text
    assert "Most alike fail A and B (phi 0.50), least alike A and C (0.20)." in text


def test_pictures_show_every_method() -> None:
    table = pd.DataFrame({"mean": [1.0, 2.0, 2.5], "low": [1.0, 1.5, 2.0], "high": [1.0, 2.5, 3.0]}, index=list("ABC"))
    figure = compared.places(table, [("B", "C")])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list("ABC")
    assert sum(line.get_linewidth() == 4 for line in figure.axes[0].lines) == 1
    with pytest.raises(FigureError, match=r"found \['D'\]"):
        compared.places(table, [("B", "D")])
    with pytest.raises(FigureError, match="an empty table"):
        compared.places(table[:0], [])
    costs = pd.DataFrame({"value": [50.0], "low": [49.0], "high": [51.0], "milliseconds": [2.0]}, index=["A"])
    assert compared.accuracy_against_cost(costs).axes[0].get_xlabel() == compared.COSTS["milliseconds"]
    with pytest.raises(FigureError, match="one or more of the columns"):
        compared.accuracy_against_cost(costs[["value", "low", "high"]])
    beside = pd.DataFrame([[60, 59, 61, 50, 49, 51]], ["A"], ["x", "x_low", "x_high", "y", "y_low", "y_high"])
    assert compared.agreement(beside, "one", "other").axes[0].get_xlabel() == "one"
