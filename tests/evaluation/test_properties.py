"""What holds for every ranking and every clustering, not only for the examples of the other tests."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_matrix

from reid_lib.evaluation.clustering import dbscan, jaccard_distance, pseudo_label_scores, rerank
from reid_lib.evaluation.ranking import rank_metrics, rank_queries
from reid_lib.seeds import numpy_generator

Ranking = tuple[np.ndarray, ...]  # distances, identities of queries and gallery, their cameras

# --- ranking --------------------------------------------------------------------------------------


@st.composite
def rankings(draw: st.DrawFn, levels: int = 6) -> Ranking:
    """A ranking with ties, junk and queries without a positive; the first query has one."""
    n_query, n_gallery = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    distances = draw(arrays(np.float32, (n_query, n_gallery), elements=st.integers(0, levels).map(float)))
    people, cameras = st.integers(-1, 4), st.integers(1, 3)
    pids, camids = (
        [draw(arrays(np.int64, n, elements=kind)) for n in (n_query, n_gallery)] for kind in (people, cameras)
    )
    pids[0][0] = pids[1][0] = 4
    camids[0][0], camids[1][0] = 1, 2
    return distances, *pids, *camids


def slow_metrics(ranking: Ranking, ranks: tuple[int, ...] = (1, 5, 10, 20)) -> dict[str, float]:
    """CMC and mAP as the definitions say it, one query at a time."""
    firsts, precisions = [], []
    for row, pid, camid in zip(ranking[0], ranking[1], ranking[3], strict=True):
        shown = [
            (float(distance), own == pid)
            for distance, own, camera in zip(row, ranking[2], ranking[4], strict=True)
            if own != -1 and not (own == pid and camera == camid)
        ]
        places = [place for place, (_, right) in enumerate(sorted(shown), 1) if right]  # a tie is a wrong one's
        if pid != -1 and places:
            firsts.append(places[0])
            precisions.append(sum(n / place for n, place in enumerate(places, 1)) / len(places))
    cmc = {f"rank{k}": 100 * sum(first <= k for first in firsts) / len(firsts) for k in ranks}
    return cmc | {"map": 100 * sum(precisions) / len(precisions)}


@given(rankings())
def test_metrics_equal_the_definition(ranking: Ranking) -> None:
    assert rank_metrics(*ranking) == pytest.approx(slow_metrics(ranking))
    apart = (*ranking[:3], np.zeros_like(ranking[3]), np.ones_like(ranking[4]))  # removes nothing
    assert rank_metrics(*ranking[:3]) == rank_metrics(*apart) == pytest.approx(slow_metrics(apart))


@given(rankings(), st.randoms(use_true_random=False))
def test_the_gallery_s_order_makes_no_difference(ranking: Ranking, draw: object) -> None:
    order = np.array(draw.sample(range(len(ranking[2])), len(ranking[2])))
    moved = (ranking[0][:, order], ranking[1], ranking[2][order], ranking[3], ranking[4][order])
    before, after = rank_queries(*ranking), rank_queries(*moved)
    assert all(before[name].equal(after[name]) for name in before)


@given(rankings(), st.sampled_from([np.exp, np.cbrt, lambda d: d**3 - 100, lambda d: -1 / (d + 1)]))
def test_a_monotone_map_of_distances_makes_no_difference(ranking: Ranking, monotone: object) -> None:
    assert rank_metrics(monotone(ranking[0]), *ranking[1:]) == rank_metrics(*ranking)


@given(rankings(), st.permutations(["Ada", "7", "ß", "-2", "nobody"]))
def test_names_of_people_and_cameras_make_no_difference(ranking: Ranking, names: list[str]) -> None:
    called = np.array([*names, "-1"])  # junk stays junk
    text = [called[ranking[1]], called[ranking[2]], called[ranking[3]], called[ranking[4]]]
    assert rank_metrics(ranking[0], *text) == rank_metrics(*ranking)


@given(rankings(), st.integers(1, 5), st.sampled_from([-1, 99]))
def test_farther_negatives_and_junk_change_nothing(ranking: Ranking, count: int, pid: int) -> None:
    distance = 0 if pid == -1 else 7  # junk may be near
    more = np.full((len(ranking[0]), count), distance, np.float32)
    pids, camids = np.r_[ranking[2], [pid] * count], np.r_[ranking[4], [1] * count]
    assert rank_metrics(np.c_[ranking[0], more], ranking[1], pids, ranking[3], camids) == rank_metrics(*ranking)


@given(rankings())
def test_a_nearer_negative_never_helps(ranking: Ranking) -> None:
    pids, camids = np.r_[ranking[2], 99], np.r_[ranking[4], 1]
    distances = np.c_[ranking[0], np.full(len(ranking[0]), -1, np.float32)]
    before, after = rank_metrics(*ranking), rank_metrics(distances, ranking[1], pids, ranking[3], camids)
    assert after["rank1"] == 0
    assert all(after[name] <= before[name] for name in before)


# --- clustering -----------------------------------------------------------------------------------


@st.composite
def sparse_distances(draw: st.DrawFn) -> np.ndarray:
    """Symmetric distances of a few images, 1 where a pair is absent; many are equal."""
    n = draw(st.integers(1, 10))
    found = np.ones((n, n), np.float32)
    for i, j in combinations(range(n), 2):
        found[i, j] = found[j, i] = draw(st.sampled_from([0.2, 0.5, 0.55, 1, 1, 1, 1]))
    np.fill_diagonal(found, 0)
    return found


def sparse(distances: np.ndarray) -> csr_matrix:
    rows, columns = np.nonzero(distances < 1)
    return csr_matrix((distances[rows, columns], (rows, columns)), shape=distances.shape)


def slow_cores(distances: np.ndarray, eps: float, least: int) -> list[frozenset[int]]:
    """The cores of each cluster, by joining near cores until nothing changes."""
    cores = [i for i, row in enumerate(distances) if (row <= eps).sum() >= least]
    groups = [frozenset([i]) for i in cores]
    while True:
        near = [(a, b) for a, b in combinations(groups, 2) if any(distances[i, j] <= eps for i in a for j in b)]
        if not near:
            return groups
        a, b = near[0]
        groups = [group for group in groups if group not in (a, b)] + [a | b]


@given(sparse_distances(), st.sampled_from([0.3, 0.52, 0.6]), st.integers(1, 4))
def test_labels_are_the_partition_that_dbscan_defines(distances: np.ndarray, eps: float, least: int) -> None:
    labels = dbscan(sparse(distances), eps, least)
    groups = slow_cores(distances, eps, least)
    cores = {i: group for group in groups for i in group}
    together = {frozenset(i for i in np.flatnonzero(labels == label) if i in cores) for label in set(labels) - {-1}}
    assert together == set(groups)  # every cluster is named, once
    for image in set(range(len(distances))) - cores.keys():
        reached = {cores[other] for other in cores if distances[image, other] <= eps}
        own = [group for group in groups if labels[image] == labels[min(group)]]
        assert (labels[image] == -1) == (not reached)
        assert set(own) <= reached  # an edge of two clusters is in one of them
    clustered = labels[labels >= 0].tolist()
    assert list(dict.fromkeys(clustered)) == list(range(len(groups)))  # numbered as they come


@given(sparse_distances(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_another_order_only_renames_clusters(distances: np.ndarray, least: int, draw: object) -> None:
    order = np.array(draw.sample(range(len(distances)), len(distances)))
    one, two = dbscan(sparse(distances), 0.6, least), dbscan(sparse(distances[order][:, order]), 0.6, least)
    assert ((one == -1)[order] == (two == -1)).all()
    cores = np.flatnonzero(((distances <= 0.6).sum(1) >= least)[order])  # an edge may go to either of its clusters
    pairs = set(zip(one[order][cores].tolist(), two[cores].tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 14))
    return tuple(draw(arrays(np.int64, n, elements=st.integers(least, 3))) for least in (-1, 0))


def slow_scores(labels: np.ndarray, pids: np.ndarray) -> dict[str, float]:
    pairs = [(labels[i] == labels[j] >= 0, pids[i] == pids[j]) for i, j in combinations(range(len(labels)), 2)]
    both, label, person = (sum(map(counts, pairs)) for counts in (all, lambda p: p[0], lambda p: p[1]))
    clusters = [pids[labels == label].tolist() for label in set(labels[labels >= 0].tolist())]
    kept = sum(map(len, clusters))
    most = sum(max(cluster.count(pid) for pid in cluster) for cluster in clusters)
    found = {"precision": (both, label), "recall": (both, person), "f_score": (2 * both, label + person)}
    found |= {"outliers": (len(labels) - kept, len(labels)), "purity": (most, kept)}
    shares = {name: 100 * part / whole if whole else np.nan for name, (part, whole) in found.items()}
    return shares | {"clusters": len(clusters)}


@given(labelled(), st.permutations(["Ada", "7", "ß", "no"]), st.randoms(use_true_random=False))
def test_scores_equal_the_definition_whatever_things_are_called(both: tuple, names: list[str], draw: object) -> None:
    labels, pids = both
    found = pseudo_label_scores(labels, pids)
    assert found == pytest.approx(slow_scores(labels, pids), nan_ok=True)
    order = np.array(draw.sample(range(len(labels)), len(labels)))
    renamed = np.array([*draw.sample(range(9), 4), -5])  # all negative labels mean none
    again = pseudo_label_scores(renamed[labels][order], np.array(names)[pids][order])
    assert again == pytest.approx(found, nan_ok=True)


def dense(distance: csr_matrix) -> np.ndarray:
    pairs, found = distance.tocoo(), np.ones(distance.shape)
    found[pairs.row, pairs.col] = pairs.data
    return found


@given(st.integers(0, 1000), st.integers(8, 16), st.integers(1, 7), st.randoms(use_true_random=False))
def test_distances_of_neighbours_move_with_their_images(seed: int, n: int, k1: int, draw: object) -> None:
    features = torch.from_numpy(numpy_generator(seed, "properties").normal(size=(n, 4)))
    order, k2 = draw.sample(range(n), n), max(1, k1 // 2)
    one, two = (dense(jaccard_distance(some, k1, k2)) for some in (features, features[order]))
    np.testing.assert_allclose(two, one[np.ix_(order, order)], atol=1e-6)
    query, gallery = features[-3:], features[:-3]
    order = draw.sample(range(n - 3), n - 3)
    moved = rerank(query, gallery[order], k1, k2)
    np.testing.assert_allclose(moved, rerank(query, gallery, k1, k2)[:, order], atol=1e-5)
