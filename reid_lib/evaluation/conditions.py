"""The same trials, with their queries down-sampled in several ways: other kernels, compression, noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.mlr import Trial
from reid_lib.evaluation.ranking import (
    Evaluation,
    Matcher,
    check_trials,
    different_queries,
    embed_gallery,
    embed_queries,
    indices_of,
    score,
)


def evaluate_conditions(
    matcher: Matcher, trials: Sequence[Trial], conditions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Evaluation]:
    """Evaluate a matcher under each condition; gallery images, which no condition changes, are embedded once.

    It gives what `ranking.evaluate` gives under each condition alone.

    Args:
        matcher: the method.
        trials: trials of one data set.
        conditions: by name, ``kernel`` and ``camera`` of `resolution.degrade`; what is left out is its default.

    Raises:
        ValueError: as `ranking.evaluate`; a condition with another key.
    """
    unknown = sorted({key for how in conditions.values() for key in how} - {"kernel", "camera"})
    if unknown:
        raise ValueError(f"a condition has kernel and camera, found {', '.join(unknown)}")
    check_trials(trials, getattr(matcher, "split", None))
    store, queries = open_store(trials[0].dataset), different_queries(trials)
    rows = np.unique(np.concatenate([trial.gallery.index for trial in trials]))
    gallery = embed_gallery(matcher, store, rows)
    places = [torch.from_numpy(np.searchsorted(rows, trial.gallery.index)).to(gallery.device) for trial in trials]
    found = {}
    for name, how in conditions.items():
        query = embed_queries(matcher, store, queries["row"], queries["rate"], **how)
        wanted = [torch.from_numpy(indices_of(trial, queries)).to(query.device) for trial in trials]
        pairs = zip(wanted, places, strict=True)
        found[name] = score(trials, (matcher.distance(query[q], gallery[g]) for q, g in pairs))
    return found
