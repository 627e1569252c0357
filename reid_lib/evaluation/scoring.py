"""Feature files ranked as any re-ID code ranks them: CMC and mAP, with intervals over the test identities."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from reid_lib.evaluation.clustering import rerank
from reid_lib.evaluation.ranking import RANKS, euclidean, rank_queries
from reid_lib.seeds import numpy_generator
from reid_lib.values import identities, is_junk, numbered


def score_features(  # decision EVAL-21
    query: Mapping[str, np.ndarray],
    gallery: Mapping[str, np.ndarray],
    ranks: Sequence[int] = RANKS,
    *,
    reranked: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank queries by the cosine of features, and average over queries.

    With ``camid`` in both, gallery images of the query's person and camera are removed (`ranking.rank_metrics`). Images
    of the identity -1 take no part.

    Args:
        query, gallery: arrays by name: ``features`` (n, d), ``pid`` (n,), integers or text, and, in both or in neither,
            ``camid`` (n,).
        ranks: the k of Rank-k.
        reranked: whether distances are re-ranked by k-reciprocal neighbours (`clustering.rerank`, at its defaults).
        seed: of the draws of identities for the interval.

    Returns:
        Columns value, low, high (95 % over identities), queries, identities; index metric (rank1, ..., map).

    Raises:
        ValueError: arrays that are missing or do not fit, features that are not finite, a rank below 1, or no query
            with an image of its person in the gallery.
    """
    if not len(ranks) or min(ranks) < 1:
        raise ValueError(f"ranks must be integers >= 1, at least one, found {tuple(ranks)}")
    query, gallery = (_checked(arrays, name) for arrays, name in ((query, "query"), (gallery, "gallery")))
    if query["features"].shape[1] != gallery["features"].shape[1]:
        widths = query["features"].shape[1], gallery["features"].shape[1]
        raise ValueError(f"query and gallery features must have one width, found {widths[0]} and {widths[1]}")
    if ("camid" in query) != ("camid" in gallery):
        raise ValueError("one file has an array 'camid', the other has none: give it in both, or in neither")
    pids = numbered(query["pid"], gallery["pid"])
    features = [normalize(torch.from_numpy(arrays["features"])) for arrays in (query, gallery)]
    cameras = numbered(query["camid"], gallery["camid"]) if "camid" in query else (None, None)
    found = rank_queries((rerank if reranked else euclidean)(*features), *pids, *cameras)
    rank, precision = found["rank"].numpy(), found["ap"].numpy()
    values = pd.DataFrame({**{f"rank{k}": rank <= k for k in ranks}, "map": precision}).astype(float)
    return over_identities(100 * values[rank > 0], pids[0][rank > 0], seed=seed)


def over_identities(values: pd.DataFrame, pids: np.ndarray, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return means over queries with their 95 % intervals over identities.

    Identities are drawn anew with replacement, all queries of one at once (a cluster bootstrap, percentiles): queries
    of one person are alike. With one identity there is no interval.

    Args:
        values: a row for each query, a column for each metric.
        pids: (n,) whose query it is.
        draws: how often identities are drawn.
        seed: of the draws.

    Returns:
        Columns value, low, high, queries, identities; index metric.
    """
    people = values.groupby(np.asarray(pids))
    sums, counts = people.sum().to_numpy(float), people.size().to_numpy(float)
    draw = numpy_generator(seed, "comparison", "people")
    weights = draw.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=draws)
    drawn = (weights @ sums) / (weights @ counts)[:, None]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0) if len(counts) > 1 else (np.nan, np.nan)
    found = {"value": values.mean(), "low": low, "high": high, "queries": len(values), "identities": len(counts)}
    return pd.DataFrame(found, index=values.columns).rename_axis("metric")


def _checked(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return the arrays that are looked at, checked, without the rows of junk."""
    for needed in ("features", "pid"):
        if needed not in arrays:
            raise ValueError(f"the {name} has no array {needed!r}, only {', '.join(arrays) or 'nothing'}: add it")
    found = {part: np.asarray(arrays[part]) for part in ("features", "pid", "camid") if part in arrays}
    features = found["features"]
    if features.ndim != 2 or 0 in features.shape or features.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} features must be numbers (rows, width), one row or more, found {features.dtype} {features.shape}"
        )
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and refused as that
        found["features"] = features.astype(np.float32)
    if not np.isfinite(found["features"]).all():
        raise ValueError(f"{name} features have NaN or infinite numbers: look at the model that wrote them")
    for part in found.keys() - {"features"}:
        if found[part].shape != features.shape[:1]:
            raise ValueError(f"{name} array {part!r} must have {len(features)} entries, found {found[part].shape}")
        found[part] = identities(found[part], f"{name} array {part!r}", junk=True)
    kept = ~is_junk(found["pid"])
    if not kept.any():
        raise ValueError(f"the {name} has no image of an identity other than -1: nothing to rank")
    return {part: array[kept] for part, array in found.items()}
