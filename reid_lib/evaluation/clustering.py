"""Pseudo-labels by clustering (k-reciprocal Jaccard distance, DBSCAN), their scores, and re-ranking by that distance.

A distance of all pairs is never held as a dense N x N matrix, so that a data set's training images fit in memory.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_matrix, issparse
from sklearn.cluster import DBSCAN
from sklearn.neighbors import sort_graph_by_row_values
from torch import nn

from reid_lib.evaluation.neighbours import nearest
from reid_lib.evaluation.ranking import Matcher, euclidean
from reid_lib.values import identities

_CHUNK = 2048  # images compared with as many others in one step
_PAIRS = 64  # pairs of features that a CPU's cache holds
_STEP = 1 << 20  # entries of a block of sums of minima, and of what is added up for it
_SMALLEST_SUM = 2.0**-24  # gives a distance that float32 rounds to 1


def jaccard_distance(features: torch.Tensor, k1: int = 30, k2: int = 6, chunk: int = _CHUNK) -> csr_matrix:
    """Return the k-reciprocal Jaccard distances of all pairs of images.

    Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017), as unsupervised re-ID
    computes it (`compute_jaccard_distance` of OpenUnReID and cluster-contrast). The k1 nearest include the image
    itself. Images that are equally near come in their order, so equal features have equal neighbours.

    Args:
        features: (N, d), of any length (they get length 1 here); on any device. float64 is kept, all else is float32.
        k1: nearest images that may be reciprocal.
        k2: nearest images whose encodings are averaged (local query expansion); 1 averages nothing.
        chunk: images compared with as many others at a time; it bounds memory and changes nothing else.

    Returns:
        (N, N) float32 within [0, 1), symmetric. Every pair whose distance is below 1 is stored, zeros as well; a pair
        that is absent has distance 1.

    Raises:
        ValueError: features that are not a matrix of finite floats; ``k1``, ``k2`` or ``chunk`` out of range; no more
            images than ``k1``.
    """
    _check_matrix(features, "features")
    _check_options(len(features), k1, k2, chunk)
    features = nn.functional.normalize(_floats(features))
    near, _ = nearest(features, k1, chunk)
    encoding = _encoding(features, near, min(round(k1 / 2) + 1, k1), k2, np.ones(len(features)))  # decision EVAL-12
    del features
    counts, columns, distances = [], [], []
    for _, sums in _sums_of_minima(encoding, encoding):
        stored = sums > _SMALLEST_SUM  # decision EVAL-11
        place, count = np.flatnonzero(stored), np.count_nonzero(stored, axis=1)
        counts.append(count)
        columns.append((place - np.repeat(np.arange(len(sums)) * len(near), count)).astype(np.int32))
        distances.append(_jaccard(sums.ravel()[place]))
    ends = np.r_[0, np.concatenate(counts).cumsum()]
    return csr_matrix((_emptied(distances), _emptied(columns), ends), shape=(len(near), len(near)))


def rerank(  # decision EVAL-14
    query: torch.Tensor,
    gallery: torch.Tensor,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    chunk: int = _CHUNK,
) -> torch.Tensor:
    """Return distances re-ranked by k-reciprocal neighbours among queries and gallery together.

    (1 - weight) x Jaccard + weight x squared Euclidean distance, as `re_ranking` of Zhong et al. (CVPR 2017) has it:
    the squared distances are divided by the image's largest, features are taken at their own length, and an image
    comes on top of its k1 neighbours. The other queries of a trial have a say in a query's ranking.

    Args:
        query: (n_query, d).
        gallery: (n_gallery, d).
        k1, k2, chunk: as `jaccard_distance`.
        weight: share of the Euclidean distance, within [0, 1].

    Returns:
        (n_query, n_gallery) float32 within [0, 1], on the queries' device.

    Raises:
        ValueError: as `jaccard_distance`; widths that differ; ``weight`` out of range.
    """
    _check_matrix(query, "query features")
    _check_matrix(gallery, "gallery features")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query and gallery features must have one width, found {query.shape[1]} and {gallery.shape[1]}: take both "
            "from the same matcher"
        )
    if not 0 <= weight <= 1:
        raise ValueError(f"expected a weight of the Euclidean distance within 0..1, found {weight}")
    n_query, features = len(query), torch.cat([_floats(query), _floats(gallery).to(query.device)])
    _check_options(len(features), k1, k2, chunk)
    near, farthest = nearest(features, k1 + 1, chunk)  # decision EVAL-12
    scale = np.where(farthest > 0, farthest, 1)  # all images are the same: their distances are 0
    encoding = _encoding(features, near, round(k1 / 2) + 1, k2, scale)
    distances = torch.empty(n_query, len(gallery), device=query.device)
    for start in range(0, n_query, chunk):
        rows = slice(start, min(start + chunk, n_query))
        share = torch.from_numpy(weight / scale[rows, None]).to(query.device, torch.float32)
        distances[rows] = share * euclidean(features[rows], features[n_query:])
    for rows, sums in _sums_of_minima(encoding[:n_query], encoding[n_query:]):
        distances[rows] += (1 - weight) * torch.from_numpy(_jaccard(sums)).to(query.device)
    return distances


class Reranked:
    """A Matcher whose distances are re-ranked (`rerank`); embeddings are another Matcher's.

    Args:
        matcher: gives features (n, d) for queries and gallery; its own distance is not used.
        k1, k2, weight: as `rerank` takes them.
    """

    def __init__(self, matcher: Matcher, k1: int = 20, k2: int = 6, weight: float = 0.3) -> None:
        self.matcher, self.k1, self.k2, self.weight = matcher, k1, k2, weight
        self.device, self.split = getattr(matcher, "device", torch.device("cpu")), getattr(matcher, "split", None)

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) of rates (n,) as the matcher does."""
        return self.matcher.embed_query(images, rates)

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) as the matcher does."""
        return self.matcher.embed_gallery(images)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        """Re-ranked distances (n_query, n_gallery) among these queries and this gallery."""
        return rerank(query, gallery, self.k1, self.k2, self.weight)


def dbscan(distance: csr_matrix, eps: float = 0.6, min_samples: int = 4) -> np.ndarray:
    """Return pseudo-labels by DBSCAN (Ester et al., KDD 1996).

    Args:
        distance: (N, N) sparse, as `jaccard_distance` gives it: a pair that is absent is farther than ``eps``.
        eps: largest distance of neighbours, within (0, 1).
        min_samples: neighbours, itself among them, that make an image the core of a cluster.

    Returns:
        int64 (N,): clusters 0, 1, ... in the order of their first images; -1 for an image in no cluster.

    Raises:
        ValueError: a matrix that is not sparse and square; ``eps`` or ``min_samples`` out of range.
    """
    if not issparse(distance) or distance.ndim != 2 or distance.shape[0] != distance.shape[1]:
        found = getattr(distance, "shape", type(distance).__name__)
        raise ValueError(f"expected a sparse square matrix, as jaccard_distance gives it, found {found}")
    if not 0 < eps < 1:
        raise ValueError(f"expected eps within 0 and 1 (a pair that is absent has distance 1), found {eps}")
    if min_samples < 1:
        raise ValueError(f"expected min_samples >= 1, found {min_samples}")
    pairs, own = distance.tocoo(), np.arange(distance.shape[0])
    near = (pairs.data <= eps) & (pairs.row != pairs.col)  # what DBSCAN looks at; it copies and sorts what it gets
    # an image is its own neighbour, stored or not: scikit-learn would add what is absent, and cannot sort empty rows
    row, column = np.r_[pairs.row[near], own], np.r_[pairs.col[near], own]
    values = np.r_[pairs.data[near], np.zeros_like(pairs.data, shape=len(own))]
    graph = csr_matrix((values, (row, column)), shape=distance.shape)
    graph = sort_graph_by_row_values(graph, warn_when_not_sorted=False)
    labels = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(graph).labels_
    clustered = labels >= 0
    _, first, number = np.unique(labels[clustered], return_index=True, return_inverse=True)
    labels[clustered] = first.argsort().argsort()[number]  # scikit-learn numbers them by their first cores
    return labels.astype(np.int64)


def pseudo_label_scores(labels: np.ndarray, pids: np.ndarray) -> dict[str, float]:
    """Compare pseudo-labels with identities, by pairs of images (DRFM, Fig. 6; Goutte and Gaussier, ECIR 2005).

    Args:
        labels: int (n,) pseudo-labels; all negative ones mean "none".
        pids: (n,) identities, integers or text.

    Returns:
        ``precision``: percent of the pairs with one pseudo-label that are of one identity; NaN if there is no such
        pair. ``recall``: percent of the pairs of one identity, among all images, that have one pseudo-label; NaN if no
        identity has two images. ``f_score``: their harmonic mean in percent, 0 where one of them is NaN or no pair is
        right, NaN where both are. ``clusters``: number of pseudo-labels. ``outliers``: percent of images without.
        ``purity``: percent of images with a pseudo-label whose identity is the most frequent one of it; NaN if none is.

    Raises:
        ValueError: lengths that differ, no image, or what is no identity (`values.identities`).
    """
    labels, pids = np.asarray(labels), np.unique(identities(pids), return_inverse=True)[1].reshape(np.shape(pids))
    if labels.shape != pids.shape or labels.ndim != 1 or not labels.size:
        raise ValueError(
            f"expected one pseudo-label and one identity for each image, at least one, found {labels.shape} and "
            f"{pids.shape}"
        )
    kept = labels >= 0
    (label, _), together = np.unique(np.stack([labels, pids])[:, kept], axis=1, return_counts=True)
    clusters, cluster = np.unique(label, return_inverse=True)
    most_frequent = np.zeros(len(clusters), dtype=np.int64)
    np.maximum.at(most_frequent, cluster, together)
    right = _pairs(together)
    same_label = _pairs(np.bincount(cluster, together))
    same_identity = _pairs(np.unique(pids, return_counts=True)[1])  # decision EVAL-13
    return {
        "precision": _percent(right, same_label),
        "recall": _percent(right, same_identity),
        "f_score": _percent(2 * right, same_label + same_identity),
        "clusters": float(len(clusters)),
        "outliers": _percent((~kept).sum(), len(labels)),
        "purity": _percent(most_frequent.sum(), kept.sum()),
    }


def _pairs(sizes: np.ndarray) -> float:
    return float((sizes * (sizes - 1) / 2).sum())


def _percent(part: float, whole: float) -> float:
    return float(100 * part / whole) if whole else float("nan")


def _floats(features: torch.Tensor) -> torch.Tensor:
    return features.detach() if features.dtype == torch.float64 else features.detach().float()


def _check_matrix(features: torch.Tensor, name: str) -> None:
    tensor = isinstance(features, torch.Tensor)
    if not tensor or not features.is_floating_point() or features.ndim != 2 or not features.numel():
        found = f"{features.dtype} {tuple(features.shape)}" if tensor else type(features).__name__
        raise ValueError(f"expected {name} as a float tensor (N, d), found {found}")
    bad = (~features.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"{len(bad)} of {len(features)} rows of {name} hold NaN or infinity, the first is row {bad[0]}: look at "
            "the network's output"
        )


def _check_options(n: int, k1: int, k2: int, chunk: int) -> None:
    if not 1 <= k2 <= k1:
        raise ValueError(f"expected 1 <= k2 <= k1, found k1={k1} and k2={k2}")
    if n <= k1:
        raise ValueError(f"fewer samples than k1 needs: expected more than k1={k1}, found {n}: choose a smaller k1")
    if chunk < 1:
        raise ValueError(f"expected a chunk of at least one image, found {chunk}")


def _encoding(features: torch.Tensor, near: np.ndarray, half: int, k2: int, scale: np.ndarray) -> csr_matrix:
    """Return the encodings (N, N), float64 with rows of sum 1: soft membership in expanded k-reciprocal sets.

    ``half`` is how many neighbours make the smaller sets that expand a set; ``scale`` (N,) divides squared distances.
    """
    n = len(near)
    sets, small = _reciprocal(near), _reciprocal(near[:, :half])
    overlap = (sets @ small.T).multiply(sets).tocoo()
    accepted = 3 * overlap.data > 2 * np.diff(small.indptr)[overlap.col]
    accepted = csr_matrix((overlap.data[accepted], (overlap.row[accepted], overlap.col[accepted])), shape=(n, n))
    expanded = (sets + accepted @ small).tocsr()
    expanded.sort_indices()
    row = np.repeat(np.arange(n), np.diff(expanded.indptr))
    weights = np.exp(-_pair_distances(features, row, expanded.indices) / scale[row])
    weights /= np.bincount(row, weights, n)[row]
    encoding = csr_matrix((weights, expanded.indices, expanded.indptr), shape=(n, n))
    # also where k2 is 1: one row of a group of more than k1 equal ones, the first, then stands for all of them
    encoding = _membership(near[:, :k2]).astype(np.float64) @ encoding / k2
    encoding.sort_indices()  # sums over shared columns run in one order, so that the distance is symmetric
    return encoding


def _membership(near: np.ndarray) -> csr_matrix:
    n, k = near.shape
    return csr_matrix((np.ones(n * k, np.int32), near.ravel(), np.arange(n + 1) * k), shape=(n, n))


def _reciprocal(near: np.ndarray) -> csr_matrix:
    neighbours = _membership(near)
    return neighbours.multiply(neighbours.T).tocsr()


def _pair_distances(features: torch.Tensor, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Squared distances (pairs,) of the rows and columns of some pairs, in float64."""
    values, squares = features.cpu().numpy(), features.square().sum(1).cpu().numpy()
    products = np.empty(len(row), dtype=values.dtype)
    for start in range(0, len(row), _PAIRS):
        part = slice(start, start + _PAIRS)
        np.einsum("ij,ij->i", values[row[part]], values[column[part]], out=products[part])
    return np.maximum(squares[row] + squares[column] - 2 * products, 0).astype(np.float64)


def _sums_of_minima(left: csr_matrix, right: csr_matrix) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of ``left`` and the sums over columns of min(left, right), float32 (rows, n_right).

    An inverted index finds, for each entry of a row, the entries of its column in ``right``.
    """
    n_right, inverted = right.shape[0], right.T.tocsr()
    found = np.r_[0, np.diff(inverted.indptr)[left.indices].cumsum()]
    work = found[left.indptr] + np.arange(len(left.indptr)) * n_right  # until each row
    start = 0
    while start < left.shape[0]:
        stop = max(start + 1, int(np.searchsorted(work, work[start] + _STEP, side="right")) - 1)
        rows = left[start:stop]
        listed = inverted[rows.indices]
        count = np.diff(listed.indptr)
        minima = np.minimum(np.repeat(rows.data, count), listed.data)
        begin = np.repeat(np.arange(len(rows.indptr) - 1) * n_right, np.diff(rows.indptr))
        place = np.repeat(begin, count) + listed.indices
        sums = np.bincount(place, minima, (stop - start) * n_right).astype(np.float32)
        yield slice(start, stop), sums.reshape(stop - start, n_right)
        start = stop


def _jaccard(sums: np.ndarray) -> np.ndarray:
    return 1 - sums / (2 - sums)  # never negative: rounded to float32, a sum is at most 1


def _emptied(parts: list[np.ndarray]) -> np.ndarray:
    """Join the parts and let go of them, so that no more than one of a matrix's arrays is in memory twice."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole
