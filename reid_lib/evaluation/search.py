"""A person's images looked for among others: ranked lists, and a threshold for a stated rate of false matches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset, read_image
from reid_lib.evaluation.ranking import Matcher, embed_gallery, embed_queries
from reid_lib.seeds import numpy_generator

AT_LEAST = 10  # false matches that a threshold stands on; of fewer, one more or less moves it far
CALIBRATION_IMAGES = 1000  # drawn from a larger test part


def image_files(paths: Sequence[Path], what: str) -> list[Path]:
    """Return the image files among files and folders, those of a folder (and below it) sorted by name.

    Args:
        paths: files, taken whatever their suffix is, and folders, of which files with an image format's suffix count.
        what: what they are, for messages.

    Raises:
        ValueError: a path that is not there, or no image at all.
    """
    known, found = Image.registered_extensions(), []
    for path in paths:
        if path.is_dir():
            inside = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")]
            found += sorted(file for file in inside if file.suffix.lower() in known)
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"{what}: there is no file or folder {path}")
    if not found:
        raise ValueError(f"{what}: no image in {', '.join(map(str, paths)) or 'nothing'}: name images or their folder")
    return list(dict.fromkeys(found))


@torch.inference_mode()
def embed_files(
    matcher: Matcher,
    files: Sequence[Path],
    size: tuple[int, int],
    rates: Sequence[int] | None = None,
    batch_size: int = 64,
) -> torch.Tensor:
    """Embed image files: as queries with their rates (n,), or without rates as gallery; images are read at ``size``.

    Raises:
        DatasetError: a file that cannot be decoded; the message names it.
        ValueError: embeddings that are not finite.
    """
    parts, device = [], getattr(matcher, "device", torch.device("cpu"))
    for start in range(0, len(files), batch_size):
        some = slice(start, start + batch_size)
        images = torch.from_numpy(np.stack([read_image(file, size) for file in files[some]])).permute(0, 3, 1, 2)
        images = images.contiguous().to(device)
        if rates is None:
            parts.append(matcher.embed_gallery(images))
        else:
            parts.append(matcher.embed_query(images, torch.tensor(rates[some], device=device)))
    found = torch.cat(parts)
    if not found.isfinite().all():
        raise ValueError("the model gives NaN or infinite embeddings: look at its weights")
    return found


def estimated_rates(queries: Sequence[int], gallery: Sequence[int]) -> list[int]:
    """Return the rate of each query: the gallery's median height over the query's, rounded, at least 1.

    Args:
        queries, gallery: heights of images in pixels.
    """
    middle = float(np.median(gallery))
    return [max(1, round(middle / height)) for height in queries]


@dataclass(frozen=True)
class Threshold:
    """Distances below ``distance`` are called matches.

    Attributes:
        distance: of pairs of different identities, a share of ``rate`` at most is nearer.
        pairs: how many pairs of different identities it stands on.
        identities: how many people these show.
        cross_camera: whether the two images of a pair are of different cameras.
    """

    distance: float
    pairs: int
    identities: int
    cross_camera: bool


def calibrate(  # decision EVAL-20
    matcher: Matcher, dataset: ReIDDataset, false_match_rate: float, rate: int = 1, seed: int = 0
) -> Threshold:
    """Choose a threshold on a data set's test part: the distance below which that share of wrong pairs lies.

    Pairs are of different identities, and of different cameras where there are several. The first image is a query
    down-sampled by ``rate``, or, on a set with genuine LR images, one of these as it is; the second is HR. A pair is
    not independent of another one with the same image, so the rate is that of these people, not of any others.

    Args:
        matcher: the method.
        dataset: read at its own size; of its test part (the matcher's split, else split 0) up to 1000 images count.
        false_match_rate: within 0..1, without the ends.
        rate: down-sampling rate of the queries.
        seed: of the draw of images.

    Raises:
        ValueError: a rate out of range, or one that leaves fewer than ten false matches among the pairs.
    """
    query, gallery, wrong, cross = _wrong_pairs(dataset, getattr(matcher, "split", None) or 0, seed)
    allowed = _allowed(dataset, false_match_rate, int(wrong.sum()))
    store, is_lr = open_store(dataset), query["camid"].iloc[0] == dataset.genuine_lr_camid
    rates = np.full(len(query), 1 if is_lr else rate)
    with torch.inference_mode():
        embedded = embed_queries(matcher, store, query.index, rates)
        distances = matcher.distance(embedded, embed_gallery(matcher, store, gallery.index)).cpu().numpy()
    nearest = np.partition(distances[wrong], allowed)[allowed]  # `allowed` pairs, or fewer where some tie, are nearer
    people = len(set(query["pid"]) | set(gallery["pid"]))
    return Threshold(float(nearest), int(wrong.sum()), people, cross)


def check_calibration(dataset: ReIDDataset, false_match_rate: float, split: int = 0, seed: int = 0) -> None:
    """Raise what `calibrate` raises of this data set and rate, before there is a matcher."""
    wrong = _wrong_pairs(dataset, split, seed)[2]
    _allowed(dataset, false_match_rate, int(wrong.sum()))


def _wrong_pairs(dataset: ReIDDataset, split: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, bool]:
    """Return queries, gallery, which pairs of both (n, m) count, and whether these are of different cameras."""
    table = dataset.part("test", split)
    is_lr = table["camid"] == dataset.genuine_lr_camid
    gallery = _drawn(table[~is_lr], seed)
    query = _drawn(table[is_lr], seed) if is_lr.any() else gallery
    different = query["pid"].to_numpy()[:, None] != gallery["pid"].to_numpy()
    other = query["camid"].to_numpy()[:, None] != gallery["camid"].to_numpy()
    cross = bool((different & other).any())
    return query, gallery, different & other if cross else different, cross


def _allowed(dataset: ReIDDataset, false_match_rate: float, pairs: int) -> int:
    """Return how many wrong pairs may be nearer than the threshold; refuse too few."""
    if not 0 < false_match_rate < 1:
        raise ValueError(f"the false-match rate must be above 0 and below 1, found {false_match_rate:g}")
    allowed = int(false_match_rate * pairs)
    if allowed < AT_LEAST:
        raise ValueError(
            f"a false-match rate of {false_match_rate:g} is {false_match_rate * pairs:.1f} of the {pairs} pairs of "
            f"different identities in {dataset.name}'s test part, too few to choose a threshold: at least {AT_LEAST} "
            f"are needed, a rate of {AT_LEAST / max(pairs, 1):.2g} or more, or a larger data set"
        )
    return allowed


def _drawn(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    if len(table) <= CALIBRATION_IMAGES:
        return table
    chosen = numpy_generator(seed, "calibration").permutation(len(table))[:CALIBRATION_IMAGES]
    return table.iloc[np.sort(chosen)]
