"""Recovered images: re-ID on them, and how near they are to the truth (CAD-Net, Section 4.5; INTACT, Section 4.3)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import pandas as pd
import torch

from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.mlr import Trial
from reid_lib.datasets.resolution import degrade
from reid_lib.devices import images_at_once
from reid_lib.evaluation.image_quality import LPIPS, per_image
from reid_lib.evaluation.ranking import Evaluation, Matcher, check_trials, different_queries, indices_of, summarise

QUALITY_TRIALS, QUALITY_IMAGES = 5, 120  # decision EVAL-10


class Recoverer(Protocol):
    """What makes HR images of LR ones.

    Attributes:
        device: where its images go.
        split: the split on whose training identities it was trained; None: on no identity of the data set.
    """

    device: torch.device
    split: int | None

    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, H, W) to recovered HR images, uint8 (n, 3, H, W)."""
        ...


class AsItIs:
    """The recoverer that leaves an image as it is: a yardstick for those that do something.

    Args:
        device: where images go.
    """

    split = None

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images."""
        return images


class RecoveredMatcher:  # decision EVAL-7
    """The Matcher that recovers a query's image and then matches as another Matcher does with an HR query.

    Every query is recovered, an HR one too: its rate is unknown. Gallery images are HR and are taken as they are.

    Args:
        matcher: the re-ID method.
        recoverer: makes HR images of queries.

    Raises:
        ValueError: both were trained, on different splits: one has seen the other's test identities.
    """

    def __init__(self, matcher: Matcher, recoverer: Recoverer) -> None:
        splits = {split for split in (getattr(matcher, "split", None), recoverer.split) if split is not None}
        if len(splits) > 1:
            raise ValueError(
                f"matcher and recoverer were trained on splits {sorted(splits)}: train both on one split, each has "
                "seen test identities of the other"
            )
        self.matcher, self.recoverer, self.split = matcher, recoverer, next(iter(splits), None)
        self.device = getattr(matcher, "device", torch.device("cpu"))
        self.embed_gallery, self.distance = matcher.embed_gallery, matcher.distance

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Recover uint8 images (n, 3, H, W) and embed them as HR queries; ``rates`` are not looked at."""
        recovered = self.recoverer.recover(images.to(self.recoverer.device)).to(self.device)
        return self.matcher.embed_query(recovered, torch.ones_like(rates))


def recovery_quality(
    recoverer: Recoverer,
    trials: Sequence[Trial],
    lpips: LPIPS | None = None,
    *,
    kernel: str = "bicubic",
    batch: int | None = None,
) -> pd.DataFrame:
    """Down-sample the queries of trials, recover them, and compare them with the HR images that they were.

    Args:
        recoverer: the method.
        trials: trials of one data set.
        lpips: from `image_quality.load_lpips`; None leaves LPIPS out.
        kernel: down-sampling kernel.
        batch: images at a time; None: `devices.images_at_once`.

    Returns:
        `image_quality.per_image` of each different query, with its image number ``row`` and ``rate`` before it.

    Raises:
        ValueError: no trial, trials of several data sets or of another split than the recoverer's, genuine LR images.
    """
    check_trials(trials, recoverer.split)
    dataset, queries = trials[0].dataset, different_queries(trials)
    if dataset.genuine_lr_camid is not None:
        raise ValueError(f"{dataset.name} has genuine LR queries: there is no HR image to compare a recovered one with")
    store, parts, batch = open_store(dataset), [], batch or images_at_once(recoverer.device)
    for start in range(0, len(queries), batch):
        chosen = queries[start : start + batch]
        truth = store.batch(chosen["row"].to_numpy()).to(recoverer.device)
        recovered = recoverer.recover(degrade(truth, torch.from_numpy(chosen["rate"].to_numpy(copy=True)), kernel))
        parts.append(per_image(recovered, truth, lpips, batch))
    return queries.join(pd.concat(parts, ignore_index=True))


def with_quality(  # decision EVAL-10
    scores: Evaluation,
    trials: Sequence[Trial],
    recoverer: Recoverer,
    lpips: LPIPS | None = None,
    *,
    measured: int = QUALITY_TRIALS,
    images: int = QUALITY_IMAGES,
    **options: Any,
) -> Evaluation:
    """Add the mean image quality of recovered queries of each of the first trials; the others have NaN.

    Args:
        scores: of ``trials``.
        trials: those of ``scores``.
        recoverer: the method.
        lpips: from `image_quality.load_lpips`; None leaves LPIPS out.
        measured: on how many of the trials; without two there is no interval.
        images: queries of each, at most, at equal distances; each trial begins with another one.
        **options: the others of `recovery_quality`.

    Raises:
        ValueError: scores of another number of trials, or what `recovery_quality` refuses.
    """
    if len(scores.per_trial) != len(trials):
        raise ValueError(f"expected scores of these {len(trials)} trials, found those of {len(scores.per_trial)}")
    steps = [-(-len(trial.query) // images) for trial in trials[:measured]]
    starts = [number % step for number, step in enumerate(steps)]
    first = [
        replace(trial, query=trial.query.iloc[start::step])
        for trial, start, step in zip(trials, starts, steps, strict=False)
    ]
    quality = recovery_quality(recoverer, first, lpips, **options)
    values = quality.drop(columns=["row", "rate"])
    means = pd.DataFrame([values.iloc[indices_of(trial, quality)].mean() for trial in first])
    per_trial = scores.per_trial.join(means)
    return Evaluation(per_trial, summarise(per_trial))
