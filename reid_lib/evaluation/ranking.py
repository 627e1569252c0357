"""Ranking metrics (CMC and mAP), the `Matcher` interface, and the evaluation of a matcher on trials."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from tqdm.std import tqdm

from reid_lib.datasets.image_store import ImageStore, open_store
from reid_lib.datasets.mlr import Trial
from reid_lib.datasets.resolution import Camera, degrade
from reid_lib.devices import images_at_once
from reid_lib.intervals import is_percentage, percent_interval, t_interval
from reid_lib.status import bar
from reid_lib.values import JUNK, identities_of_both

RANKS = (1, 5, 10, 20)
GAIN = "_gain"  # ends the name of a difference of two methods
_CPU_BLOCK, _GPU_BLOCK = 1 << 18, 1 << 24  # distances in a block
_POSITIVES = 32  # of a query, compared with its row at once

Array = np.ndarray | torch.Tensor


class Matcher(Protocol):
    """What evaluation asks of a method.

    Images are uint8 (n, 3, H, W) at the data set's size; a matcher resizes them to what its network takes. Embeddings
    are tensors whose first axis is the image. Two attributes are optional: ``device``, where images go (default: the
    CPU), and ``split``, the split whose training identities it has seen (default None: no identity of the set).
    """

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed query images (LR or HR); ``rates`` int64 (n,) are their down-sampling rates r (1 = HR)."""
        ...

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed HR gallery images."""
        ...

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        """Return the float32 distances (n_query, n_gallery) of embeddings; smaller means more alike."""
        ...


def euclidean(query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances (n_query, n_gallery) of features (n, d), in float32; never negative."""
    query, gallery = query.float(), gallery.float()
    squares = query.square().sum(1, keepdim=True) + gallery.square().sum(1)
    return torch.addmm(squares, query, gallery.T, alpha=-2).clamp_(min=0)


def rank_metrics(  # decision EVAL-1, decision EVAL-19
    distances: Array,
    query_pids: Array | Sequence[int],
    gallery_pids: Array | Sequence[int],
    query_camids: Array | Sequence[int] | None = None,
    gallery_camids: Array | Sequence[int] | None = None,
    ranks: Sequence[int] = RANKS,
) -> dict[str, float]:
    """Return CMC Rank-k and mAP, in percent.

    A sort is not needed: the rank of a positive is the number of gallery images that are not farther. A tie between a
    positive and a negative counts against the query (the negative comes first), so the numbers do not depend on the
    order of the gallery, and equal features for all images score nothing. AP is the mean, over the positives, of the
    precision at their ranks (step-wise sum). With camera ids, gallery images of the query's person and camera are
    removed (the standard multi-shot rule). A query without a positive takes no part, and no image of the identity -1:
    Market-1501's name for junk.

    Args:
        distances: (n_query, n_gallery), smaller means more alike; NumPy or torch, any device.
        query_pids: (n_query,) identities, integers or text.
        gallery_pids: (n_gallery,) identities, of the same kind.
        query_camids: (n_query,) cameras, integers or text, or None to remove nothing.
        gallery_camids: (n_gallery,) cameras, given together with ``query_camids``.
        ranks: the k of Rank-k; a k larger than the gallery gives 100.

    Returns:
        ``{"rank1": ..., "rank5": ..., ..., "map": ...}``.

    Raises:
        ValueError: shapes that do not fit, NaN or infinite distances, a missing identity or camera, integers against
            text, one of the two camera arrays alone, a rank below 1, or no query with a positive.
    """
    _check_ranks(ranks)
    found = rank_queries(distances, query_pids, gallery_pids, query_camids, gallery_camids)
    counted = found["rank"] > 0
    metrics = {f"rank{k}": 100 * (found["rank"][counted] <= k).double().mean().item() for k in ranks}
    return {**metrics, "map": 100 * found["ap"][counted].mean().item()}


def rank_queries(
    distances: Array,
    query_pids: Array | Sequence[int],
    gallery_pids: Array | Sequence[int],
    query_camids: Array | Sequence[int] | None = None,
    gallery_camids: Array | Sequence[int] | None = None,
) -> dict[str, torch.Tensor]:
    """Return what `rank_metrics` averages, query by query; its arguments, its rules and its errors but for ``ranks``.

    Returns:
        ``{"rank": ..., "ap": ...}``: int64 (n_query,), the rank of the nearest positive (1 is best; 0 for a query
        without a positive), and float64 (n_query,), the average precision, 0..1.
    """
    distances = _tensor(distances).detach()
    pids = _numbered(query_pids, gallery_pids, "pids", distances.device)
    camids = (query_camids, gallery_camids)
    _check_shapes(distances, *pids, camids)
    if camids[0] is not None:
        camids = _numbered(*camids, "camids", distances.device)
    kept = (pids[1] != JUNK).nonzero()[:, 0]
    if not len(kept):
        raise ValueError("every gallery image has the identity -1, junk by convention: nothing to rank")
    columns, valid, removed = _same_identity(pids, camids, kept)
    own = distances.gather(1, columns)  # (n_query, P): distances to all gallery images of the query's person
    own = own.to(torch.promote_types(own.dtype, torch.float32))
    n_positives = valid.sum(1)
    positives = _sorted(own.masked_fill(~valid, torch.inf))
    own = _sorted(own.masked_fill(~(valid | removed), torch.inf))
    own_not_farther = torch.searchsorted(own, positives, right=True)
    nth = torch.arange(1, valid.shape[1] + 1, device=own.device)  # of a query's positives, the nearest first
    # negatives that are not farther come first, then the nearer positives
    rank = _count_not_farther(distances, kept, positives, n_positives) - own_not_farther + nth
    counted = n_positives > 0
    if not counted.any():
        raise ValueError(
            "no query has an image of its identity in the gallery (after removing its own camera): nothing to rank"
        )
    precision = (nth.double() / rank).masked_fill(nth > n_positives[:, None], 0).sum(1) / n_positives.clamp(min=1)
    return {"rank": rank[:, 0].where(counted, 0), "ap": precision}


def _tensor(values: Array | Sequence[float]) -> torch.Tensor:
    """Share the memory of ``values`` where torch can: it takes no array that may not be written to."""
    if isinstance(values, torch.Tensor):
        return values
    values = np.ascontiguousarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"expected numbers, found {values.dtype}")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _numbered(query: Any, gallery: Any, what: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    found = identities_of_both(query, gallery, (f"query_{what}", f"gallery_{what}"), junk=True)
    return tuple(torch.tensor(array, device=device) for array in found)


def _same_identity(
    pids: tuple[torch.Tensor, torch.Tensor],
    camids: tuple[torch.Tensor, torch.Tensor] | tuple[None, None],
    kept: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each query, the ``kept`` gallery columns of its identity (n_query, P); which are positives; which removed."""
    order = kept[pids[1][kept].argsort(stable=True)]
    start = torch.searchsorted(pids[1][order], pids[0])
    end = torch.searchsorted(pids[1][order], pids[0], right=True)
    index = start[:, None] + torch.arange(max(int((end - start).max()), 1), device=order.device)
    same = index < end[:, None]
    columns = order[index.clamp(max=len(order) - 1)]
    if camids[0] is None:
        return columns, same, torch.zeros_like(same)
    removed = same & (camids[1][columns] == camids[0][:, None])
    return columns, same & ~removed, removed


def _sorted(rows: torch.Tensor) -> torch.Tensor:
    """Sort each row; on a CPU by NumPy, which is ten times as fast where the order is not asked for."""
    return torch.from_numpy(np.sort(rows.numpy())) if rows.device.type == "cpu" else rows.sort(1).values


# decision EVAL-2, decision EVAL-23
def _count_not_farther(
    distances: torch.Tensor, kept: torch.Tensor, positives: torch.Tensor, n_positives: torch.Tensor
) -> torch.Tensor:
    """Count, for the first ``n_positives`` of each query (n_query, P), the ``kept`` gallery images not farther.

    Rows go in blocks, and each block is looked through for NaN on the way, so that a large matrix is read once.
    """
    on_cpu, width = distances.device.type == "cpu", distances.shape[1]
    count = _Counter(len(kept)) if on_cpu else _count_on_gpu
    counts = torch.zeros_like(positives, dtype=torch.int64)  # one piece: small ones would lie between what is freed
    rows = max(1, (_CPU_BLOCK if on_cpu else _GPU_BLOCK) // width)
    parts = (x.split(rows) for x in (distances, positives, n_positives, counts))
    for block, nearest, n, found in zip(*parts, strict=True):
        block = block.to(positives.dtype).contiguous()
        flat = block.flatten()
        if not flat.dot(flat).isfinite():  # half as long as a look at each distance
            _check_finite(distances)
        found[:] = count(block if len(kept) == width else block[:, kept], nearest, n)
    return counts


def _count_on_gpu(block: torch.Tensor, positives: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return torch.stack([(block <= column[:, None]).sum(1) for column in positives.T], 1)


class _Counter:
    """Counts on a CPU, a row at a time.

    NumPy compares with vector instructions and writes bytes, 0 or 1; eight bytes are added as one integer. A sum of at
    most 255 such integers has eight sums in its bytes, none of which runs into the next.
    """

    def __init__(self, n_gallery: int) -> None:
        self.groups = -(-n_gallery // (8 * 255))
        words = torch.zeros(_POSITIVES, self.groups, -(-n_gallery // (8 * self.groups)), dtype=torch.int64)
        marks = words.view(torch.bool).flatten(1).numpy()[:, :n_gallery]
        self.first = [(marks[:n], words[:n]) for n in range(_POSITIVES + 1)]

    def __call__(self, block: torch.Tensor, positives: torch.Tensor, n_positives: torch.Tensor) -> torch.Tensor:
        """Return the counts (n_query, P) for a block (n_query, n_gallery); 0 beyond ``n_positives``."""
        sums = np.zeros((*positives.shape, self.groups), np.int64)
        for query, (row, own, n) in enumerate(zip(block.numpy(), positives.numpy(), n_positives.tolist(), strict=True)):
            for start in range(0, n, _POSITIVES):
                marks, words = self.first[min(n - start, _POSITIVES)]
                stop = start + len(marks)
                np.less_equal(row, own[start:stop, None], out=marks)
                sums[query, start:stop] = words.sum(-1).numpy()
        return torch.from_numpy(sums).view(torch.uint8).sum(-1)


def _check_ranks(ranks: Sequence[int]) -> None:
    if len(ranks) == 0 or min(ranks) < 1:
        raise ValueError(f"ranks must be integers >= 1, at least one, found {tuple(ranks)}")


def _check_shapes(
    distances: torch.Tensor,
    query_pids: torch.Tensor,
    gallery_pids: torch.Tensor,
    camids: tuple[Any, Any],
) -> None:
    expected = (len(query_pids), len(gallery_pids))
    if tuple(distances.shape) != expected or 0 in expected:
        raise ValueError(
            f"distances must have one row per query and one column per gallery image: expected {expected}, each "
            f"at least 1, found {tuple(distances.shape)}"
        )
    if (camids[0] is None) != (camids[1] is None):
        raise ValueError("give query_camids and gallery_camids together, or neither (then nothing is removed)")
    if camids[0] is not None and (len(camids[0]), len(camids[1])) != expected:
        raise ValueError(f"camera ids must be as many as images, expected {expected}, found {tuple(map(len, camids))}")


def _check_finite(distances: torch.Tensor) -> None:
    bad = sum(int((~block.isfinite()).sum()) for block in distances.split(256))
    if bad:
        raise ValueError(f"{bad} of {distances.numel()} distances are NaN or infinite: look for NaN in the embeddings")


@dataclass(frozen=True)
class Evaluation:
    """Scores of one matcher.

    Attributes:
        per_trial: one row per trial, columns ``rank1``, ..., ``map``, in percent.
        summary: one row per metric, columns ``mean``, ``low``, ``high`` (95 % interval), ``trials`` (`summarise`).
    """

    per_trial: pd.DataFrame
    summary: pd.DataFrame


def summarise(per_trial: pd.DataFrame) -> pd.DataFrame:
    """Return mean, 95 % Student interval and number of trials of every column of ``per_trial``; index ``metric``.

    A trial without a value (NaN) does not count in that column. The interval is NaN for one trial; that of a
    percentage is cut to 0..100, that of a gain or of an image quality is not. It tells how much the drawing of rates,
    gallery images and (with `mlr.split_trials`) identities moves the mean; trials on one split share their test
    identities, so there it says nothing about other identities.
    """
    rows = {}
    for metric, column in per_trial.items():
        values = column.dropna()
        interval = percent_interval if is_percentage(metric) else t_interval
        low, high = interval(values) if len(values) > 1 else (np.nan, np.nan)
        rows[metric] = (values.mean(), low, high, len(values))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high", "trials"]).rename_axis("metric")


def with_gain(  # decision EVAL-9
    scores: Evaluation, reference: Evaluation, metric: str = "rank1", over: str = ""
) -> Evaluation:
    """Add what a method gains over another one on the same trials, in the unit of ``metric``.

    Its interval is that of the paired differences, far narrower than the two methods' own: most of what trials differ
    in moves both alike.

    Args:
        scores, reference: of the method and of the other one, on the same trials.
        metric: what is compared.
        over: a word for the other method, so that gains over several stand side by side: "rank1_gain" without it,
            "rank1_over_control_gain" with "control".

    Raises:
        ValueError: another number of trials.
    """
    if len(scores.per_trial) != len(reference.per_trial):
        raise ValueError(
            f"a gain needs both methods on the same trials, found {len(scores.per_trial)} and "
            f"{len(reference.per_trial)} of them"
        )
    name = metric + (f"_over_{over}" if over else "") + GAIN
    per_trial = scores.per_trial.assign(**{name: scores.per_trial[metric] - reference.per_trial[metric]})
    return Evaluation(per_trial, summarise(per_trial))


def evaluate(
    matcher: Matcher,
    trials: Sequence[Trial],
    *,
    ranks: Sequence[int] = RANKS,
    kernel: str = "bicubic",
    camera: Camera | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Embed the images of ``trials``, rank each trial, and average.

    An image that several trials show at the same rate is embedded once.

    Args:
        matcher: the method.
        trials: trials of one data set (`mlr.trials`, `mlr.split_trials`, `Trial.from_csv`).
        ranks: the k of Rank-k.
        kernel, camera: of the queries' down-sampling (`resolution.degrade`).
        batch_size: images embedded at a time; None: `devices.images_at_once`.
        progress: whether to show a progress bar.

    Raises:
        ValueError: no trial, trials of different data sets, trials of another split than the matcher was trained on, or
            embeddings that give NaN distances.
    """
    return score(trials, trial_distances(matcher, trials, kernel, camera, batch_size, progress), ranks)


def trial_distances(
    matcher: Matcher,
    trials: Sequence[Trial],
    kernel: str = "bicubic",
    camera: Camera | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Iterator[torch.Tensor]:
    """Embed the images of ``trials`` and yield each trial's distances (n_query, n_gallery); arguments as `evaluate`."""
    check_trials(trials, getattr(matcher, "split", None))
    store = open_store(trials[0].dataset)
    queries = different_queries(trials)
    gallery_rows = np.unique(np.concatenate([trial.gallery.index for trial in trials]))
    total = len(queries) + len(gallery_rows)
    with bar(what="embedding", unit="images", hidden=not progress, total=total) as counter:
        query = embed_queries(matcher, store, queries["row"], queries["rate"], kernel, batch_size, counter, camera)
        gallery = embed_gallery(matcher, store, gallery_rows, batch_size, counter)
    for trial in trials:
        q = _tensor(indices_of(trial, queries))
        g = _tensor(np.searchsorted(gallery_rows, trial.gallery.index))
        yield matcher.distance(query[q.to(query.device)], gallery[g.to(gallery.device)])


def different_queries(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return the different queries of some trials: columns ``row`` (image number) and ``rate``, sorted by rate, row."""
    queries = pd.concat([trial.query["rate"] for trial in trials]).rename_axis("row").reset_index().drop_duplicates()
    return queries.sort_values(["rate", "row"]).reset_index(drop=True)


def indices_of(trial: Trial, queries: pd.DataFrame) -> np.ndarray:
    """Return the index of each query of a trial in `different_queries`, int64 (n_query,)."""
    wanted = pd.MultiIndex.from_arrays([trial.query.index, trial.query["rate"]])
    return pd.MultiIndex.from_frame(queries[["row", "rate"]]).get_indexer(wanted)


def score(trials: Sequence[Trial], distances: Iterable[torch.Tensor], ranks: Sequence[int] = RANKS) -> Evaluation:
    """Rank each trial by its distances (n_query, n_gallery), and average."""
    per_trial = pd.DataFrame(
        [
            rank_metrics(found, trial.query["pid"].to_numpy(), trial.gallery["pid"].to_numpy(), ranks=ranks)
            for trial, found in zip(trials, distances, strict=True)
        ]
    )
    return Evaluation(per_trial, summarise(per_trial))


def check_trials(trials: Sequence[Trial], split: int | None) -> None:
    """Refuse what cannot be averaged, or was trained on.

    Args:
        trials: the trials of an evaluation.
        split: the split on whose training identities something was trained; None: on none.

    Raises:
        ValueError: no trial, trials of different data sets, or trials of another split than ``split``.
    """
    if len({id(trial.dataset) for trial in trials}) != 1:
        raise ValueError("evaluate needs at least one trial, and all trials of the same data set object")
    if split is not None and any(trial.split != split for trial in trials):
        raise ValueError(
            f"the matcher was trained on split {split}: trials of other splits show its training identities"
        )


# decision EVAL-4
def evaluate_settings(matcher: Matcher, settings: dict[str, Sequence[Trial]], **options: Any) -> dict[str, Evaluation]:
    """Evaluate several settings (`mlr.settings`) at once: an image that they share is embedded once.

    ``options`` are those of `evaluate`.
    """
    names = [name for name, trials in settings.items() for _ in trials]
    together = evaluate(matcher, [trial for trials in settings.values() for trial in trials], **options).per_trial
    parts = {name: together[[n == name for n in names]].reset_index(drop=True) for name in settings}
    return {name: Evaluation(part, summarise(part)) for name, part in parts.items()}


def embed_queries(
    matcher: Matcher,
    store: ImageStore,
    rows: Sequence[int],
    rates: Sequence[int],
    kernel: str = "bicubic",
    batch_size: int | None = None,
    counter: tqdm | None = None,
    camera: Camera | None = None,
) -> torch.Tensor:
    """Embed images of a store as queries, each down-sampled by its rate; the first axis follows ``rows``."""
    rows, rates, parts = np.asarray(rows), _tensor(rates), []
    batch_size = batch_size or images_at_once(_device(matcher))
    for batch, rate in zip(_batches(rows, batch_size), rates.split(batch_size), strict=True):
        images = degrade(store.batch(batch).to(_device(matcher)), rate, kernel, camera)
        parts.append(matcher.embed_query(images, rate.to(_device(matcher))))
        if counter is not None:
            counter.update(len(batch))
    return torch.cat(parts)


def embed_gallery(
    matcher: Matcher, store: ImageStore, rows: Sequence[int], batch_size: int | None = None, counter: tqdm | None = None
) -> torch.Tensor:
    """Embed HR images of a store as gallery; the first axis follows ``rows``."""
    parts = []
    for batch in _batches(np.asarray(rows), batch_size or images_at_once(_device(matcher))):
        parts.append(matcher.embed_gallery(store.batch(batch).to(_device(matcher))))
        if counter is not None:
            counter.update(len(batch))
    return torch.cat(parts)


def _device(matcher: Matcher) -> torch.device:
    return getattr(matcher, "device", torch.device("cpu"))


def _batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
