"""Several matchers on the same trials: who is better, how surely, and whether they fail on the same people.

    found = compare({"mine": matcher, "HR + LR": baseline}, mlr.settings(dataset))
    found.table("HR + LR")
    found.pictures("MLR {2,3,4}")

What it keeps is one line for each query of each trial; all else is counted from them. Every difference is paired: the
same query, at the same rate, against the same gallery.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.mlr import Trial
from reid_lib.datasets.resolution import Camera
from reid_lib.evaluation.ranking import (
    RANKS,
    Evaluation,
    Matcher,
    check_trials,
    rank_queries,
    summarise,
    trial_distances,
    with_gain,
)
from reid_lib.evaluation.scoring import over_identities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("embed_query", "embed_gallery", "distance")  # of a `ranking.Matcher`
COLUMNS = ["method", "setting", "trial", "row", "pid", "rate", "rank", "ap"]


def compare(  # decision EVAL-15
    matchers: Mapping[str, Matcher],
    trials: Sequence[Trial] | Mapping[str, Sequence[Trial]],
    *,
    kernel: str = "bicubic",
    camera: Camera | None = None,
    progress: bool = True,
) -> "Comparison":
    """Rank the same trials with each matcher.

    Args:
        matchers: two or more by their names; your own needs ``embed_query``, ``embed_gallery`` and ``distance``
            (`ranking.Matcher`), and ``split`` if it was trained on identities of the data set.
        trials: trials (`mlr.trials`), or several settings of them by name (`mlr.settings`).
        kernel, camera: of the queries' down-sampling (`resolution.degrade`).
        progress: whether to show progress bars.

    Raises:
        ValueError: fewer than two matchers, no trial, trials of several data sets, a matcher that lacks a part, was
            trained on another split than the trials', or gives embeddings or distances of the wrong shape, or NaN. It
            names the matcher. Shapes are tried on two images of each before the long work.
    """
    settings = dict(trials) if isinstance(trials, Mapping) else {"all trials": trials}
    drawn = [trial for own in settings.values() for trial in own]
    if len(matchers) < 2:
        raise ValueError(f"a comparison needs two matchers or more, found {len(matchers)}: {', '.join(matchers)}")
    check_trials(drawn, None)
    for name, matcher in matchers.items():
        _named(name, _check, matcher, drawn)
    parts = [_named(name, _outcomes, matcher, settings, kernel, camera, progress) for name, matcher in matchers.items()]
    together = [part.assign(method=name) for name, part in zip(matchers, parts, strict=True)]
    return Comparison(pd.concat(together, ignore_index=True)[COLUMNS])


@dataclass(frozen=True, repr=False)
class Comparison:
    """Outcomes of several methods on the same trials.

    Attributes:
        outcomes: one row for each method, setting, trial and query: ``method``, ``setting``, ``trial`` (number within
            the setting), ``row`` (image number in the data set's table), ``pid``, ``rate``, ``rank`` of the nearest
            image of the person (1 is best) and ``ap``, the average precision (0..1).
    """

    outcomes: pd.DataFrame

    @property
    def methods(self) -> list[str]:
        """The methods, in the order in which they were given."""
        return list(self.outcomes["method"].unique())

    @property
    def settings(self) -> list[str]:
        """The settings, in their order."""
        return list(self.outcomes["setting"].unique())

    def scores(self, setting: str) -> dict[str, Evaluation]:
        """Return each method's scores, trial by trial, as `ranking.evaluate` gives them."""
        return {method: _evaluation(part) for method, part in self._of(setting).groupby("method", sort=False)}

    def table(self, reference: str = "") -> pd.DataFrame:
        """Return Rank-k and mAP of every method in every setting, and its paired gain over ``reference`` if given.

        Columns: method, setting, metric, mean, low, high (95 % interval over trials), trials.
        """
        lines = []
        for setting in self.settings:
            scores = self.scores(setting)
            self._known(reference or self.methods[0])
            for method, own in scores.items():
                own = with_gain(own, scores[reference]) if reference not in ("", method) else own
                lines.append(own.summary.reset_index().assign(method=method, setting=setting))
        found = pd.concat(lines, ignore_index=True)
        return found[["method", "setting", "metric", "mean", "low", "high", "trials"]]

    def pairs(self, setting: str, metric: str = "rank1") -> pd.DataFrame:
        """Return what each method gains over each other one: columns method, over, mean, low, high, trials.

        The interval is that of the paired differences over trials (decision EVAL-9).
        """
        scores = self.scores(setting)
        lines = []
        for method, over in permutations(scores, 2):
            gain = with_gain(scores[method], scores[over], metric).summary.loc[f"{metric}_gain"]
            lines.append({"method": method, "over": over, **gain})
        return pd.DataFrame(lines).astype({"trials": int})

    def places(self, setting: str, metric: str = "rank1") -> pd.DataFrame:
        """Return each method's mean place among all (1 is best, ties share theirs) over trials, best first.

        Columns mean, low, high (95 % interval), trials; index method (Demsar, JMLR 2006, takes data sets for trials).
        """
        per_trial = pd.DataFrame({method: own.per_trial[metric] for method, own in self.scores(setting).items()})
        found = summarise(per_trial.rank(axis=1, ascending=False)).rename_axis("method")
        found["low"] = found["low"].clip(lower=1)
        found["high"] = found["high"].clip(upper=len(found))
        return found.sort_values("mean", kind="stable").astype({"trials": int})

    def over_people(self, reference: str, setting: str, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
        """Return each method's Rank-1 gain over ``reference`` with the 95 % interval over test identities.

        Trials of one split show the same people, so an interval over trials says nothing of others. Here identities
        are drawn anew with replacement, all queries of one at once (a cluster bootstrap, percentiles).

        Returns:
            Columns mean, low, high, identities; index method.
        """
        of = self._of(setting).assign(right=lambda rows: 100.0 * (rows["rank"] == 1))
        right = of.pivot(index=["pid", "trial", "row"], columns="method", values="right")[self.methods]
        gains = right.sub(right[self._known(reference)], axis=0).drop(columns=reference)
        found = over_identities(gains, right.index.get_level_values("pid"), draws, seed)
        return found.rename_axis("method").rename(columns={"value": "mean"})[["mean", "low", "high", "identities"]]

    def best_of_all(self, setting: str) -> Evaluation:
        """Return the scores of one who takes for every query the best rank of all methods: the most they can reach."""
        of = self._of(setting)
        best = of.groupby(["setting", "trial", "row", "pid", "rate"], sort=False).agg({"rank": "min", "ap": "max"})
        return _evaluation(best.reset_index())

    def failures(self, setting: str) -> pd.DataFrame:
        """Return how alike two methods fail: the correlation (phi, -1..1) of "nearest image is another person", square.

        0: they fail independently of one another; 1: on the same queries.
        """
        wrong = self._of(setting).assign(wrong=lambda rows: (rows["rank"] > 1).astype(float))
        wide = wrong.pivot_table(index=["trial", "row"], columns="method", values="wrong")[self.methods]
        return wide.corr().rename_axis(index="method", columns="with")

    def lost(self, before: str, after: str) -> pd.DataFrame:
        """Return whether each person is lost from one setting to another: bool, index pid, one column for each method.

        A person is found where more than half of the queries have the right one nearest; lost: found before, not after.
        """
        found = [
            self._of(setting).assign(right=lambda rows: rows["rank"] == 1).groupby(["pid", "method"])["right"].mean()
            for setting in (before, after)
        ]
        first, then = (share.unstack()[self.methods] > 0.5 for share in found)
        return first & ~then.reindex(first.index, fill_value=False)

    def pictures(self, setting: str, reference: str) -> "dict[str, Figure]":
        """Return the comparison's figures by name.

        "places": mean places, with bars over methods that cannot be told apart; "gains" over ``reference``, with
        intervals over trials and over people; "failures": how alike methods fail; "settings", where there are several.
        """
        from reid_lib.reporting import compared, figures

        places, pairs = self.places(setting), self.pairs(setting)
        over = pairs[pairs["over"] == self._known(reference)].set_index("method")
        by = {"trials": over, "people": self.over_people(reference, setting)}
        found = {
            "places": compared.places(places, groups(list(places.index), decided(pairs))),
            "gains": compared.gains(by, reference),
            "failures": figures.matrix(self.failures(setting), "correlation of failures (phi)", low=0),
        }
        if len(self.settings) > 1:
            rank1 = self.table().query("metric == 'rank1'").rename(columns={"mean": "value"}).set_index("setting")
            curves = {method: rank1[rank1["method"] == method] for method in self.methods}
            found["settings"] = figures.curve_with_interval(curves, xlabel="setting")
        return found

    def _of(self, setting: str) -> pd.DataFrame:
        return self.outcomes[self.outcomes["setting"] == self._known_setting(setting)]

    def _known_setting(self, setting: str) -> str:
        if setting not in self.settings:
            raise ValueError(f"setting must be one of {', '.join(self.settings)}, found {setting!r}")
        return setting

    def _known(self, method: str) -> str:
        if method not in self.methods:
            raise ValueError(f"method must be one of {', '.join(self.methods)}, found {method!r}")
        return method


def groups(order: Sequence[str], decided: set[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return the longest runs of neighbours in an order of methods in which no pair is decided, two or more in each.

    Args:
        order: methods, best first.
        decided: pairs (either way round) of which the interval tells which one is better.
    """
    both = decided | {(b, a) for a, b in decided}
    runs: list[tuple[str, ...]] = []
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and all((other, order[end]) not in both for other in order[start:end]):
            end += 1
        run = tuple(order[start:end])
        if len(run) > 1 and not (runs and set(run) <= set(runs[-1])):
            runs.append(run)
    return runs


def decided(pairs: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the pairs of `Comparison.pairs` whose interval does not hold 0."""
    firm = pairs[(pairs["low"] > 0) | (pairs["high"] < 0)]
    return set(zip(firm["method"], firm["over"], strict=True))


# ---- Helpers ---------------------------------------------------------------------------------------------------------


def _outcomes(
    matcher: Matcher, settings: Mapping[str, Sequence[Trial]], kernel: str, camera: Camera | None, progress: bool
) -> pd.DataFrame:
    """One row for each query of each trial that has an image of its person in the gallery."""
    places = [(name, number, trial) for name, own in settings.items() for number, trial in enumerate(own)]
    found = trial_distances(matcher, [trial for *_, trial in places], kernel, camera, progress=progress)
    parts = []
    for (name, number, trial), distances in zip(places, found, strict=True):
        ranked = rank_queries(distances, trial.query["pid"].to_numpy(), trial.gallery["pid"].to_numpy())
        ranked = {column: values.cpu().numpy() for column, values in ranked.items()}
        part = trial.query[["pid", "rate"]].rename_axis("row").reset_index()
        parts.append(part.assign(setting=name, trial=number, **ranked))
    together = pd.concat(parts, ignore_index=True)
    return together[together["rank"] > 0]


def _evaluation(outcomes: pd.DataFrame) -> Evaluation:
    """`ranking.evaluate`'s scores, from the outcomes of one method in one setting."""
    trials = outcomes.groupby("trial", sort=True)
    columns = {f"rank{k}": 100 * trials["rank"].agg(lambda ranks, k=k: (ranks <= k).mean()) for k in RANKS}
    per_trial = pd.DataFrame({**columns, "map": 100 * trials["ap"].mean()}).reset_index(drop=True)
    return Evaluation(per_trial, summarise(per_trial))


def _named(name: str, function: Any, *arguments: Any) -> Any:
    """Call a function; what it refuses names the matcher."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _check(matcher: Matcher, trials: Sequence[Trial]) -> None:
    """Refuse a matcher that cannot be ranked, by two queries and two gallery images."""
    lacks = [part for part in PARTS if not callable(getattr(matcher, part, None))]
    if lacks:
        raise ValueError(
            f"a matcher needs {', '.join(PARTS)}; {type(matcher).__name__} has no {' and no '.join(lacks)}"
        )
    check_trials(trials, getattr(matcher, "split", None))
    trial = trials[0]
    device = getattr(matcher, "device", torch.device("cpu"))
    images = open_store(trial.dataset).batch(trial.gallery.index[:2].to_numpy()).to(device)
    rates = torch.tensor(trial.query["rate"].tolist()[:2], device=device)
    query, gallery = matcher.embed_query(images[: len(rates)], rates), matcher.embed_gallery(images)
    for part, embedding, n in (("embed_query", query, len(rates)), ("embed_gallery", gallery, len(images))):
        if not isinstance(embedding, torch.Tensor) or embedding.ndim < 2 or len(embedding) != n:
            shape = tuple(embedding.shape) if isinstance(embedding, torch.Tensor) else type(embedding).__name__
            raise ValueError(f"{part} must give a tensor ({n}, ...) for {n} images, one row for each; found {shape}")
        if not embedding.isfinite().all():
            raise ValueError(f"{part} gives NaN or infinite numbers: look at the model's weights and its input")
    try:
        distances = matcher.distance(query, gallery)
    except RuntimeError as error:
        widths = f"{tuple(query.shape)} and {tuple(gallery.shape)}"
        raise ValueError(f"distance cannot compare embeddings of shapes {widths}: {error}") from error
    if tuple(distances.shape) != (len(query), len(gallery)):
        raise ValueError(f"distance must give {(len(query), len(gallery))}, found {tuple(distances.shape)}")
