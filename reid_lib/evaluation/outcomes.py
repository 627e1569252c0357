"""Query by query: which ones a method matches right, for questions that a mean over queries cannot answer."""

import numpy as np

from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.mlr import Trial
from reid_lib.evaluation.ranking import Matcher, check_trials, embed_gallery, embed_queries


def matched_right(matcher: Matcher, trial: Trial, kernel: str = "bicubic") -> np.ndarray:
    """Return for each query of a trial whether the nearest gallery image shows its person; bool (n_query,).

    Of images at the same distance the first in the gallery counts; `ranking.rank_metrics` breaks ties against the
    method.

    Args:
        matcher: the method.
        trial: queries are down-sampled by their rates.
        kernel: down-sampling kernel.

    Raises:
        ValueError: a trial of another split than the matcher was trained on.
    """
    check_trials([trial], getattr(matcher, "split", None))
    store = open_store(trial.dataset)
    query = embed_queries(matcher, store, trial.query.index, trial.query["rate"], kernel)
    gallery = embed_gallery(matcher, store, trial.gallery.index)
    nearest = matcher.distance(query, gallery).argmin(1).cpu().numpy()
    return trial.gallery["pid"].to_numpy()[nearest] == trial.query["pid"].to_numpy()


def nearest(matcher: Matcher, trial: Trial, row: int, depth: int = 8, kernel: str = "bicubic") -> np.ndarray:
    """Return the image numbers (k,) of the gallery images nearest to one query of a trial, the nearest first.

    Args:
        matcher: the method.
        trial: the query is down-sampled by its rate there.
        row: the query's image number.
        depth: how many; fewer where the gallery is smaller.
        kernel: down-sampling kernel.

    Raises:
        ValueError: the trial has no such query, or is of another split than the matcher was trained on.
    """
    check_trials([trial], getattr(matcher, "split", None))
    if row not in trial.query.index:
        raise ValueError(f"image {row} is no query of the trial: take one of trial.query's index")
    store = open_store(trial.dataset)
    query = embed_queries(matcher, store, [row], [int(trial.query.loc[row, "rate"])], kernel)
    gallery = embed_gallery(matcher, store, trial.gallery.index)
    order = matcher.distance(query, gallery)[0].argsort(stable=True).cpu().numpy()
    return trial.gallery.index.to_numpy()[order[:depth]]
