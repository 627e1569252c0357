"""Several matchers on the same trials, against what is counted by hand."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

import reid_lib
from reid_lib.datasets import load, mlr
from reid_lib.datasets.cameras import jpeg
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.comparison import Comparison, compare, decided, groups
from reid_lib.evaluation.conditions import evaluate_conditions
from reid_lib.evaluation.outcomes import nearest
from reid_lib.evaluation.ranking import evaluate, evaluate_settings, rank_metrics, rank_queries, with_gain
from reid_lib.seeds import numpy_generator


class Pixels:
    """Compares images, averaged to a few cells, pixel by pixel."""

    def __init__(self, cells: tuple[int, int] = (8, 4), split: int | None = None) -> None:
        self.cells, self.split = cells, split

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images.float(), self.cells).flatten(1)

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        return self.embed_gallery(images)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return torch.cdist(query, gallery)


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=32, images_per_camera=1, size=(32, 16))


@pytest.fixture(scope="module")
def settings(people: ReIDDataset) -> dict:
    return mlr.settings(people, rates=(1, 4), n=3)


@pytest.fixture(scope="module")
def matchers() -> dict[str, Pixels]:
    return {"fine": Pixels(), "coarse": Pixels((2, 1)), "split 0": Pixels((4, 2), split=0)}


@pytest.fixture(scope="module")
def found(matchers: dict, settings: dict) -> Comparison:
    return compare(matchers, settings, progress=False)


def test_scores_are_those_of_evaluate(found: Comparison, matchers: dict, settings: dict) -> None:
    for method, matcher in matchers.items():
        expected = evaluate_settings(matcher, settings, progress=False)
        for setting in settings:
            pd.testing.assert_frame_equal(found.scores(setting)[method].per_trial, expected[setting].per_trial)
            pd.testing.assert_frame_equal(found.scores(setting)[method].summary, expected[setting].summary)


def test_a_query_has_its_rank_and_average_precision() -> None:
    draw = numpy_generator(0, "ranks")
    distances, query_pids = draw.integers(0, 6, (20, 30)).astype(float), draw.integers(0, 8, 20)
    gallery_pids = draw.integers(0, 7, 30)
    ranked = rank_queries(distances, query_pids, gallery_pids)
    for row, own, pid in zip(distances, zip(ranked["rank"], ranked["ap"], strict=True), query_pids, strict=True):
        order = sorted(range(30), key=lambda j: (row[j], gallery_pids[j] == pid))  # of a tie the negative comes first
        places = [place for place, j in enumerate(order, start=1) if gallery_pids[j] == pid]
        precision = [number / place for number, place in enumerate(places, start=1)]
        assert own[0].item() == (places[0] if places else 0)
        assert own[1].item() == pytest.approx(np.mean(precision) if places else 0)
    assert (ranked["rank"] == 0).any()
    counted = ranked["rank"] > 0
    metrics = rank_metrics(distances, query_pids, gallery_pids)
    assert metrics["map"] == pytest.approx(100 * ranked["ap"][counted].mean().item())
    assert metrics["rank5"] == pytest.approx(100 * (ranked["rank"][counted] <= 5).double().mean().item())


def test_table_pairs_and_places_by_hand(found: Comparison, settings: dict) -> None:
    setting = "MLR {2,3,4}"
    scores = found.scores(setting)
    rank1 = pd.DataFrame({method: own.per_trial["rank1"] for method, own in scores.items()})
    pairs = found.pairs(setting).set_index(["method", "over"])
    assert len(pairs) == 6
    for a, b in combinations(found.methods, 2):
        expected = with_gain(scores[a], scores[b]).summary.loc["rank1_gain"]
        assert pairs.loc[(a, b), "mean"] == pytest.approx((rank1[a] - rank1[b]).mean())
        assert tuple(pairs.loc[(a, b), ["low", "high"]]) == pytest.approx(tuple(expected[["low", "high"]]))
        assert pairs.loc[(a, b), "mean"] == -pairs.loc[(b, a), "mean"]
    places = found.places(setting)
    for method in found.methods:
        by_hand = [np.mean([1 + sum(row > row[method]), sum(row >= row[method])]) for _, row in rank1.iterrows()]
        assert places.loc[method, "mean"] == pytest.approx(np.mean(by_hand))
    assert places["mean"].is_monotonic_increasing
    table = found.table("coarse")
    assert set(table["setting"]) == set(settings)
    gain = table[(table["setting"] == setting) & (table["metric"] == "rank1_gain")].set_index("method")["mean"]
    assert gain["fine"] == pairs.loc[("fine", "coarse"), "mean"]
    assert "coarse" not in gain


def test_people_are_drawn_with_all_their_queries(found: Comparison) -> None:
    setting = "MLR {2,3,4}"
    gain = found.over_people("coarse", setting, draws=400)
    expected = found.pairs(setting).query("over == 'coarse'").set_index("method")["mean"]
    assert gain["mean"].to_dict() == pytest.approx(expected.to_dict())
    of = found.outcomes.query("setting == @setting").assign(right=lambda t: t["rank"] == 1)
    by_person = of.groupby(["method", "pid"])["right"].mean().unstack(0)
    spread = 100 * (by_person["fine"] - by_person["coarse"]).std() / len(by_person) ** 0.5
    assert (gain.loc["fine", "high"] - gain.loc["fine", "low"]) / 3.92 == pytest.approx(spread, rel=0.15)
    pd.testing.assert_frame_equal(gain, found.over_people("coarse", setting, draws=400))


def test_failures_losses_and_the_best_of_all_by_hand() -> None:
    right = {"A": [1, 1, 0, 0], "B": [1, 0, 1, 0]}
    lines = [
        {"method": m, "setting": s, "trial": 0, "row": i, "pid": i // 2, "rate": 1, "rank": 1 if ok else 3, "ap": 0.5}
        for m, own in right.items()
        for s, flags in (("high", [1, 1, 1, 1]), ("low", own))
        for i, ok in enumerate(flags)
    ]
    found = Comparison(pd.DataFrame(lines))
    assert found.failures("low").loc["A", "B"] == pytest.approx(0)
    assert found.failures("low").loc["A", "A"] == 1
    assert found.best_of_all("low").summary.loc["rank1", "mean"] == 75
    assert found.lost("high", "low").to_dict() == {"A": {0: False, 1: True}, "B": {0: True, 1: True}}


def test_groups_are_runs_in_which_no_pair_is_decided() -> None:
    order = ["A", "B", "C", "D"]
    assert groups(order, {("A", "D")}) == [("A", "B", "C"), ("B", "C", "D")]
    assert groups(order, {("D", "A"), ("B", "C")}) == [("A", "B"), ("C", "D")]
    assert groups(order, set()) == [tuple(order)]
    assert groups(order, set(combinations(order, 2))) == []
    table = pd.DataFrame({"method": ["A", "B", "C"], "over": ["B", "A", "A"], "low": [1, -3, -1], "high": [2, -1, 1]})
    assert decided(table) == {("A", "B"), ("B", "A")}


def test_pictures_and_the_way_in(found: Comparison) -> None:
    assert reid_lib.compare is compare
    pictures = found.pictures("MLR {2,3,4}", "coarse")
    assert list(pictures) == ["places", "gains", "failures", "settings"]
    labels = [text.get_text() for text in pictures["places"].axes[0].get_yticklabels()]
    assert sorted(labels) == sorted(found.methods)


def test_one_setting_needs_no_name(matchers: dict, settings: dict) -> None:
    one = compare(matchers, settings["r = 4"], progress=False)
    assert one.settings == ["all trials"]
    assert "settings" not in one.pictures("all trials", "fine")


def test_conditions_are_evaluations_with_one_gallery(matchers: dict, settings: dict) -> None:
    conditions = {"bicubic": {}, "area": {"kernel": "area"}, "JPEG": {"camera": jpeg(20)}}
    found = evaluate_conditions(matchers["fine"], settings["r = 4"], conditions)
    for name, how in conditions.items():
        expected = evaluate(matchers["fine"], settings["r = 4"], progress=False, **how)
        pd.testing.assert_frame_equal(found[name].per_trial, expected.per_trial)
    assert not found["JPEG"].per_trial.equals(found["bicubic"].per_trial)
    with pytest.raises(ValueError, match="a condition has kernel and camera, found rate"):
        evaluate_conditions(matchers["fine"], settings["r = 4"], {"x": {"rate": 2}})


def test_the_nearest_images_of_a_query(matchers: dict, settings: dict) -> None:
    trial, matcher = settings["HR->HR"][0], matchers["fine"]
    row = int(trial.query.index[0])
    found = nearest(matcher, trial, row, depth=3)
    assert len(found) == 3
    assert set(found) <= set(trial.gallery.index)
    best = compare({"a": matcher, "b": matcher}, [trial], progress=False).outcomes.query("row == @row")["rank"].iloc[0]
    is_right = trial.gallery.loc[found[0], "pid"] == trial.query.loc[row, "pid"]
    assert is_right == (best == 1)
    assert len(nearest(matcher, trial, row, depth=10**6)) == len(trial.gallery)
    with pytest.raises(ValueError, match="is no query of the trial"):
        nearest(matcher, trial, int(trial.gallery.index[0]))


# ---- Bad input -------------------------------------------------------------------------------------------------------


class Bad(Pixels):
    def __init__(self, gallery=None, query=None, distance=None) -> None:
        super().__init__()
        self._gallery, self._query, self._distance = gallery, query, distance

    def embed_gallery(self, images):
        own = super().embed_gallery(images)
        return own if self._gallery is None else self._gallery(own)

    def embed_query(self, images, rates):
        own = super().embed_gallery(images)
        return own if self._query is None else self._query(own)

    def distance(self, query, gallery):
        return super().distance(query, gallery) if self._distance is None else self._distance(query, gallery)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Bad(gallery=lambda x: x[:1]), r"mine: embed_gallery must give a tensor \(2, ...\) for 2 images"),
        (Bad(query=lambda x: x.mean()), r"mine: embed_query must give a tensor"),
        (Bad(query=lambda x: x.numpy()), r"mine: embed_query must give a tensor .* found ndarray"),
        (Bad(query=lambda x: x * float("nan")), "mine: embed_query gives NaN or infinite numbers"),
        (Bad(gallery=lambda x: x / 0), "mine: embed_gallery gives NaN or infinite numbers"),
        (Bad(query=lambda x: x[:, :5]), r"mine: distance cannot compare embeddings of shapes \(2, 5\) and \(2, 96\)"),
        (Bad(distance=lambda q, g: torch.zeros(2)), r"mine: distance must give \(2, 2\), found \(2,\)"),
        (Pixels(split=3), "mine: the matcher was trained on split 3"),
        (object(), "mine: a matcher needs embed_query, embed_gallery, distance; object has no embed_query and no"),
    ],
)
def test_a_matcher_that_cannot_be_ranked_is_named(bad: object, message: str, settings: dict) -> None:
    with pytest.raises(ValueError, match=message):
        compare({"good": Pixels(), "mine": bad}, settings, progress=False)


def test_a_matcher_whose_distances_turn_nan_later_is_named(settings: dict) -> None:
    late = Bad(distance=lambda q, g: torch.cdist(q, g) if len(q) == 2 else torch.full((len(q), len(g)), torch.nan))
    with pytest.raises(ValueError, match=r"mine: .* distances are NaN or infinite"):
        compare({"good": Pixels(), "mine": late}, settings, progress=False)


def test_what_is_asked_for_must_be_there(found: Comparison, settings: dict) -> None:
    with pytest.raises(ValueError, match="needs two matchers or more, found 1: one"):
        compare({"one": Pixels()}, settings)
    with pytest.raises(ValueError, match="at least one trial"):
        compare({"a": Pixels(), "b": Pixels()}, {})
    with pytest.raises(ValueError, match="setting must be one of HR->HR, r = 4"):
        found.pairs("r = 5")
    with pytest.raises(ValueError, match="method must be one of fine, coarse, split 0, found 'x'"):
        found.over_people("x", "r = 4")
    with pytest.raises(ValueError, match="method must be one of"):
        found.table("x")
