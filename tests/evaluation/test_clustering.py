"""Pseudo-labels, their scores, and re-ranking, against slow versions in float64."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.cluster import DBSCAN

from reid_lib.evaluation import clustering
from reid_lib.evaluation.clustering import Reranked, dbscan, jaccard_distance, pseudo_label_scores, rerank
from reid_lib.evaluation.ranking import rank_metrics
from reid_lib.seeds import numpy_generator, torch_generator

SCORES = {"precision", "recall", "f_score", "clusters", "outliers", "purity"}


def people(n: int, identities: int, seed: int = 0, noise: float = 0.8, duplicates: int = 0) -> torch.Tensor:
    """Features (n, 24) in float64 around one centre for each identity; the last ones repeat the first."""
    draw = numpy_generator(seed, "people")
    features = draw.normal(size=(identities, 24))[draw.integers(0, identities, n)] + noise * draw.normal(size=(n, 24))
    features[n - duplicates :] = features[:duplicates]
    return torch.from_numpy(features)


def squared_distances(features: np.ndarray) -> np.ndarray:
    return np.array([[((one - other) ** 2).sum() for other in features] for one in features])


def slow_jaccard(distances: np.ndarray, k: int, half: int, k2: int) -> np.ndarray:
    """The k-reciprocal Jaccard distance (Zhong et al.) of squared distances (n, n); k and half count the image too."""
    n = len(distances)
    rank = np.argsort(distances, axis=1, kind="stable")

    def reciprocal(i: int, size: int) -> set[int]:
        return {int(j) for j in rank[i, :size] if i in rank[j, :size]}

    encoding = np.zeros((n, n))
    for i in range(n):
        first = reciprocal(i, k)
        expanded = set(first)
        for candidate in first:
            others = reciprocal(candidate, half)
            if len(first & others) > 2 / 3 * len(others):
                expanded |= others
        members = sorted(expanded)
        weights = np.exp(-distances[i, members])
        encoding[i, members] = weights / weights.sum()
    encoding = np.array([encoding[rank[i, :k2]].mean(axis=0) for i in range(n)])
    shared = np.array([[np.minimum(one, other).sum() for other in encoding] for one in encoding])
    return 1 - shared / (2 - shared)


def slow_rerank(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """`re_ranking` of Zhong et al.: squared distances by the largest of their row, k1 neighbours besides the image."""
    distances = squared_distances(np.concatenate([query, gallery]))
    distances /= distances.max(axis=1, keepdims=True)
    jaccard = slow_jaccard(distances, k1 + 1, int(np.around(k1 / 2)) + 1, k2)
    return ((1 - weight) * jaccard + weight * distances)[: len(query), len(query) :]


def dense(distance: csr_matrix) -> np.ndarray:
    """All distances (n, n); those that are not stored are 1."""
    full = np.ones(distance.shape)
    pairs = distance.tocoo()
    full[pairs.row, pairs.col] = pairs.data
    return full


def slow_for(features: torch.Tensor, k1: int, k2: int) -> np.ndarray:
    features = features.double().numpy()
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    return slow_jaccard(squared_distances(features), k1, min(int(np.around(k1 / 2)) + 1, k1), k2)


# --- the distance ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "k1", "k2", "duplicates"),
    [(500, 30, 6, 40), (200, 30, 1, 20), (200, 7, 3, 0), (120, 1, 1, 9), (90, 2, 2, 30)],
)
def test_equals_the_definition(n: int, k1: int, k2: int, duplicates: int) -> None:
    features = people(n, n // 12, duplicates=duplicates)
    distance = jaccard_distance(features, k1, k2)
    assert distance.dtype == np.float32
    assert np.allclose(dense(distance), slow_for(features, k1, k2), rtol=0, atol=1e-5)


def test_equals_the_definition_in_float32() -> None:
    features = people(300, 25, seed=1).float()
    assert np.allclose(dense(jaccard_distance(features)), slow_for(features, 30, 6), rtol=0, atol=1e-5)


def test_every_pair_below_one_is_stored_and_no_other() -> None:
    distance = jaccard_distance(people(300, 25, duplicates=20))
    assert 0 <= distance.data.min() < distance.data.max() < 1
    slow = slow_for(people(300, 25, duplicates=20), 30, 6)
    assert distance.nnz == (slow < 1).sum() < slow.size
    stored = set(zip(*distance.nonzero(), strict=True)) | set(zip(*np.nonzero(dense(distance) == 0), strict=True))
    assert {(i, i) for i in range(300)} <= stored
    assert (dense(distance).diagonal() == 0).all()
    assert (dense(distance)[range(280, 300), range(20)] == 0).all()


def test_is_symmetric_to_the_last_bit() -> None:
    full = dense(jaccard_distance(people(300, 25)))
    assert (full == full.T).all()


@pytest.mark.parametrize("duplicates", [0, 100])
def test_chunks_and_steps_make_no_difference(duplicates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = people(300, 25, duplicates=duplicates)
    expected = jaccard_distance(features)
    monkeypatch.setattr(clustering, "_STEP", 1000)
    monkeypatch.setattr(clustering, "_PAIRS", 7)
    for chunk in (33, 299, 300, 1000):
        found = jaccard_distance(features, chunk=chunk)
        assert (found.indices == expected.indices).all()
        assert (found.indptr == expected.indptr).all()
        assert np.allclose(found.data, expected.data, rtol=0, atol=1e-6)


@pytest.mark.parametrize("k2", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_features_have_distance_zero_even_if_more_than_k1(k2: int, dtype: torch.dtype) -> None:
    features = people(100, 10).to(dtype)
    features[::2] = features[0]
    full = dense(jaccard_distance(features, 12, k2, chunk=32))
    assert (full[::2, ::2] == 0).all()
    assert (full[1::2, ::2] > 0).all()
    assert (dense(jaccard_distance(torch.zeros(40, 8, dtype=dtype), 12, k2)) == 0).all()


def test_equally_near_images_come_in_their_order() -> None:
    corners = torch.tensor([[a, b, c, d] for a in (-1.0, 1) for b in (-1, 1) for c in (-1, 1) for d in (-1, 1)])
    for chunk in (1, 3, 16):
        found = jaccard_distance(corners, k1=3, k2=2, chunk=chunk)  # four corners are next to each
        assert np.allclose(dense(found), slow_for(corners, 3, 2), atol=1e-6)


def test_half_precision_and_length_make_little_difference() -> None:
    features = people(150, 12, noise=0.3)
    longer = features * torch.linspace(1, 50, 150)[:, None]
    assert np.allclose(dense(jaccard_distance(longer)), dense(jaccard_distance(features)), atol=1e-6)
    labels = [dbscan(jaccard_distance(x)) for x in (features, features.bfloat16())]
    assert (labels[0] == labels[1]).mean() > 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_a_gpu() -> None:
    features = people(300, 25)
    assert np.allclose(dense(jaccard_distance(features.cuda())), dense(jaccard_distance(features)), atol=1e-6)
    on_gpu = rerank(features[:50].cuda(), features[50:].cuda())
    assert on_gpu.is_cuda
    assert torch.allclose(on_gpu.cpu(), rerank(features[:50], features[50:]), atol=1e-6)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (np.ones((50, 4)), {}, r"expected features as a float tensor \(N, d\), found ndarray"),
        (torch.ones(50, 4, dtype=torch.int64), {}, r"float tensor \(N, d\), found torch.int64 \(50, 4\)"),
        (torch.ones(50), {}, r"float tensor \(N, d\), found torch.float32 \(50,\)"),
        (torch.ones(50, 0), {}, r"float tensor \(N, d\), found torch.float32 \(50, 0\)"),
        (torch.ones(50, 4).index_fill(0, torch.tensor([7, 9]), torch.nan), {}, "2 of 50 rows .* the first is row 7"),
        (torch.ones(50, 4).index_fill(0, torch.tensor([3]), torch.inf), {}, "1 of 50 rows .* NaN or infinity.* row 3"),
        (torch.ones(30, 4), {}, "fewer samples than k1 needs: expected more than k1=30, found 30: choose a smaller"),
        (torch.ones(50, 4), {"k1": 0, "k2": 0}, "expected 1 <= k2 <= k1, found k1=0 and k2=0"),
        (torch.ones(50, 4), {"k2": 0}, "expected 1 <= k2 <= k1, found k1=30 and k2=0"),
        (torch.ones(50, 4), {"k1": 5, "k2": 6}, "expected 1 <= k2 <= k1, found k1=5 and k2=6"),
        (torch.ones(50, 4), {"chunk": 0}, "expected a chunk of at least one image, found 0"),
    ],
)
def test_bad_features_are_refused(features: torch.Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jaccard_distance(features, **options)


# --- pseudo-labels --------------------------------------------------------------------------------


def groups(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()) - {-1}}


@pytest.mark.parametrize(("eps", "min_samples"), [(0.3, 2), (0.6, 4), (0.75, 8)])
def test_dbscan_equals_that_of_a_dense_matrix(eps: float, min_samples: int) -> None:
    for seed in range(5):
        distance = jaccard_distance(people(240, 20, seed, noise=1.1, duplicates=30))
        labels = dbscan(distance, eps, min_samples)
        expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(dense(distance)).labels_
        assert labels.dtype == np.int64
        assert groups(labels) == groups(expected)
        assert ((labels == -1) == (expected == -1)).all()
        numbers, first = np.unique(labels[labels >= 0], return_index=True)
        assert numbers.tolist() == list(range(len(numbers)))
        assert (np.diff(first) > 0).all()


def test_stored_zeros_are_neighbours_and_absent_pairs_are_not() -> None:
    two = csr_matrix((np.zeros(4, np.float32), ([0, 0, 1, 1], [0, 1, 0, 1])), (3, 3))
    assert dbscan(two, 0.5, 2).tolist() == [0, 0, -1]
    assert dbscan(csr_matrix((3, 3), dtype=np.float32)).tolist() == [-1, -1, -1]
    without_itself = csr_matrix(([0.2, 0.2, 0.9], ([2, 1, 2], [1, 2, 0])), (4, 4))
    assert dbscan(without_itself, 0.5, 2).tolist() == [-1, 0, 0, -1]
    assert dbscan(csr_matrix(([0.3], ([2], [0])), (3, 3)), 0.5, 2).tolist() == [0, -1, 0]
    four = torch.eye(3).repeat_interleave(4, 0)
    assert dbscan(jaccard_distance(four, 4, 2), 0.1, 4).tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_clusters_are_numbered_by_their_first_image() -> None:
    """Image 0 is at the edge of a cluster whose first core is image 2, after the core 1 of another cluster."""
    full = np.ones((7, 7))
    for one, other in [(0, 2), (2, 3), (1, 4), (1, 5), (2, 6)]:
        full[one, other] = full[other, one] = 0.2
    np.fill_diagonal(full, 0)
    rows, columns = np.nonzero(full < 1)
    distance = csr_matrix((full[rows, columns], (rows, columns)), (7, 7))
    assert DBSCAN(eps=0.5, min_samples=3, metric="precomputed").fit(full).labels_.tolist() == [1, 0, 1, 1, 0, 0, 1]
    assert dbscan(distance, 0.5, 3).tolist() == [0, 1, 0, 0, 1, 1, 0]


def test_dbscan_leaves_the_distance_as_it_is() -> None:
    distance = jaccard_distance(people(100, 10))
    before = distance.copy()
    dbscan(distance)
    assert (distance.data == before.data).all()
    assert (distance.indices == before.indices).all()


@pytest.mark.parametrize(
    ("distance", "options", "message"),
    [
        (np.zeros((3, 3)), {}, r"expected a sparse square matrix, .* found \(3, 3\)"),
        ([[0.0]], {}, "expected a sparse square matrix, .* found list"),
        (csr_matrix((3, 4)), {}, r"expected a sparse square matrix, .* found \(3, 4\)"),
        (csr_matrix((3, 3)), {"eps": 0}, r"within 0 and 1 \(a pair that is absent has distance 1\), found 0"),
        (csr_matrix((3, 3)), {"eps": 1.0}, "expected eps within 0 and 1 .* found 1.0"),
        (csr_matrix((3, 3)), {"min_samples": 0}, "expected min_samples >= 1, found 0"),
    ],
)
def test_bad_distances_are_refused(distance: csr_matrix, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dbscan(distance, **options)


# --- scores of pseudo-labels ----------------------------------------------------------------------


def slow_scores(labels: np.ndarray, pids: np.ndarray) -> dict[str, float]:
    pairs = list(combinations(range(len(labels)), 2))
    one_label = {(i, j) for i, j in pairs if labels[i] == labels[j] >= 0}
    one_identity = {(i, j) for i, j in pairs if pids[i] == pids[j]}
    right = len(one_label & one_identity)
    precision, recall = right / len(one_label), right / len(one_identity)
    labelled = [label for label in labels if label >= 0]
    of_main = [max(np.bincount(pids[labels == label])) for label in set(labelled)]
    return {
        "precision": 100 * precision,
        "recall": 100 * recall,
        "f_score": 100 * 2 * precision * recall / (precision + recall),
        "clusters": len(set(labelled)),
        "outliers": 100 * (1 - len(labelled) / len(labels)),
        "purity": 100 * sum(of_main) / len(labelled),
    }


def test_scores_equal_the_definition() -> None:
    for seed in range(20):
        draw = numpy_generator(seed, "scores")
        labels, pids = draw.integers(-2, 8, 80), draw.integers(0, 10, 80)
        assert pseudo_label_scores(labels, pids) == pytest.approx(slow_scores(labels, pids))


def test_scores_by_hand() -> None:
    # same label: 01, 23, 24, 34 (01 and 34 right); same identity: 01, 02, 12, 34, 35, 45
    scores = pseudo_label_scores([7, 7, 3, 3, 3, -1], [0, 0, 0, 5, 5, 5])
    assert scores == pytest.approx(
        {"precision": 50, "recall": 100 / 3, "f_score": 40, "clusters": 2, "outliers": 100 / 6, "purity": 80}
    )


@pytest.mark.parametrize(
    ("labels", "pids", "expected"),
    [
        ([4, 4, 2, 2], [0, 0, 1, 1], [100, 100, 100, 2, 0, 100]),
        ([0, 0, 0, 0], [0, 0, 1, 1], [100 / 3, 100, 50, 1, 0, 50]),  # one label for all
        ([-1, -1, -5, -1], [0, 0, 1, 1], [np.nan, 0, 0, 0, 100, np.nan]),  # no label at all
        ([0, 1, 2, -1], [0, 0, 1, 1], [np.nan, 0, 0, 3, 25, 100]),  # no two with one label
        ([0, 0, 1, 1], [0, 1, 2, 3], [0, np.nan, 0, 2, 0, 50]),  # no two of one identity
        ([0, 1], [0, 1], [np.nan, np.nan, np.nan, 2, 0, 100]),
        ([3], [9], [np.nan, np.nan, np.nan, 1, 0, 100]),
    ],
)
def test_scores_at_the_edges(labels: list[int], pids: list[int], expected: list[float]) -> None:
    scores = pseudo_label_scores(np.array(labels), np.array(pids))
    assert scores.keys() == SCORES
    assert list(scores.values()) == pytest.approx(expected, nan_ok=True)
    assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize(("labels", "pids"), [([0, 1], [0]), ([], []), ([[0]], [[0]])])
def test_lengths_that_differ_are_refused(labels: list, pids: list) -> None:
    with pytest.raises(ValueError, match="one pseudo-label and one identity for each image, at least one, found"):
        pseudo_label_scores(labels, pids)


# --- re-ranking -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (9, 1, 0.3), (5, 5, 0.0), (5, 2, 1.0)])
def test_reranking_equals_the_definition(k1: int, k2: int, weight: float) -> None:
    features = 3 * people(60, 6, duplicates=5)  # of a length that is not 1
    expected = slow_rerank(features[:20].numpy(), features[20:].numpy(), k1, k2, weight)
    for chunk in (7, 2048):
        found = rerank(features[:20], features[20:], k1, k2, weight, chunk)
        assert found.dtype == torch.float32
        assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-5)


def test_steps_of_reranking_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    features = people(90, 8)
    expected = rerank(features[:40], features[40:])
    monkeypatch.setattr(clustering, "_STEP", 100)
    assert torch.allclose(rerank(features[:40], features[40:]), expected, atol=1e-6)


def test_equal_images_are_reranked_without_nan() -> None:
    assert (rerank(torch.ones(10, 4), torch.ones(30, 4)) == 0).all()


class Plain:
    """A matcher that takes an image's first row as its features."""

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0].float() * rates[:, None]

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0].float()

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return torch.cdist(query, gallery)


def test_a_reranked_matcher_embeds_as_its_matcher_and_ranks_better() -> None:
    images = torch.randint(0, 256, (9, 3, 4, 6), generator=torch_generator(0, "images"), dtype=torch.uint8)
    rates = torch.tensor([1, 2, 3] * 3)
    matcher = Reranked(Plain(), k1=8, k2=3, weight=0.2)
    assert (matcher.embed_query(images, rates) == Plain().embed_query(images, rates)).all()
    assert (matcher.embed_gallery(images) == Plain().embed_gallery(images)).all()
    draw = numpy_generator(0, "reranked")
    pids = np.repeat(np.arange(30), 9)
    features = torch.from_numpy(draw.normal(size=(30, 24))[pids] + 1.3 * draw.normal(size=(270, 24)))
    query, gallery = features[::9], features[np.arange(270) % 9 > 0]
    found = matcher.distance(query, gallery)
    assert (found == rerank(query, gallery, 8, 3, 0.2)).all()
    ids = pids[::9], pids[np.arange(270) % 9 > 0]
    assert rank_metrics(found, *ids)["map"] > rank_metrics(Plain().distance(query, gallery), *ids)["map"] + 5


def test_a_reranked_matcher_keeps_device_and_split() -> None:
    inner = Plain()
    assert (Reranked(inner).device, Reranked(inner).split) == (torch.device("cpu"), None)
    inner.device, inner.split = torch.device("meta"), 3
    assert (Reranked(inner).device, Reranked(inner).split) == (torch.device("meta"), 3)


@pytest.mark.parametrize(
    ("query", "gallery", "options", "message"),
    [
        (torch.ones(9, 4, 2), torch.ones(40, 4), {}, r"expected query features as a float tensor .*\(9, 4, 2\)"),
        (torch.ones(9, 4), torch.full((40, 4), torch.nan), {}, "40 of 40 rows of gallery features .* row 0"),
        (torch.ones(9, 4), torch.ones(40, 5), {}, "must have one width, found 4 and 5"),
        (torch.ones(9, 4), torch.ones(11, 4), {}, "fewer samples than k1 needs: expected more than k1=20, found 20"),
        (torch.ones(9, 4), torch.ones(40, 4), {"k2": 21}, "expected 1 <= k2 <= k1, found k1=20 and k2=21"),
        (torch.ones(9, 4), torch.ones(40, 4), {"weight": 1.1}, "Euclidean distance within 0..1, found 1.1"),
        (torch.ones(9, 4), torch.ones(40, 4), {"weight": -0.1}, "Euclidean distance within 0..1, found -0.1"),
    ],
)
def test_bad_input_of_reranking_is_refused(
    query: torch.Tensor, gallery: torch.Tensor, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rerank(query, gallery, **options)
