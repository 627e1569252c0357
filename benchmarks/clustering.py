"""The k-reciprocal Jaccard distance."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from torch import nn

from benchmarks import Measurement, at_least, at_most, peak_memory, seconds
from reid_lib.evaluation.clustering import dbscan, jaccard_distance, pseudo_label_scores
from reid_lib.seeds import torch_generator


def clustering() -> list[Measurement]:
    """Jaccard distances of 6,000 and of 12,936 images (Market-1501's training set), 2,048-d, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as NumPy's loops
    features, pids = people(6000)
    jaccard_distance(features[:100])  # the first use loads libraries
    ours = seconds(lambda: jaccard_distance(features), repeat=3)
    plain = seconds(lambda: plain_jaccard_distance(features))
    scores = pseudo_label_scores(dbscan(jaccard_distance(features)), pids)
    market, _ = people(12_936)
    large = seconds(lambda: jaccard_distance(market))
    torch.set_num_threads(threads)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # a peak is measured once in a process
        memory = fresh.submit(_memory).result()
    found = f"{ours:.1f} s; DBSCAN's F {scores['f_score']:.0f} %"
    return [
        at_least("Jaccard 6,000 x 2,048: CPU of the dense loops / ours", plain / ours, "times", 3, found),
        at_most("Jaccard 12,936 x 2,048: CPU", large, "s", 13),
        at_most("Jaccard 12,936 x 2,048: memory above the output", memory / 1e6, "MB", 1000),
    ]


def people(n: int) -> tuple[torch.Tensor, np.ndarray]:
    """Features (n, 2048) and identities: about 12 images of each, that scatter in the 32 dimensions of the centres."""
    generator, width = torch_generator(0, "clustering"), 32
    pids = torch.randint(0, n // 12, (n,), generator=generator)
    latent = torch.randn(n // 12, width, generator=generator)[pids] + 0.7 * torch.randn(n, width, generator=generator)
    features = latent @ torch.randn(width, 2048, generator=generator) / width**0.5
    return features + 0.7 * torch.randn(n, 2048, generator=generator), pids.numpy()


def _memory() -> float:
    torch.set_num_threads(1)
    features, _ = people(12_936)
    jaccard_distance(features[:100])
    kept = []
    peak = peak_memory(lambda: kept.append(jaccard_distance(features)))
    return peak - sum(part.nbytes for part in (kept[0].data, kept[0].indices, kept[0].indptr))


def plain_jaccard_distance(features: torch.Tensor, k1: int = 30, k2: int = 6) -> np.ndarray:
    """Return what `jaccard_distance` does, (N, N) in float32: rows one by one, as cluster-contrast does on a CPU.

    Its faiss search is a matrix product and a selection here, which need as much; all else is a loop there as well.
    """
    features = nn.functional.normalize(features)
    rank = torch.cat([(-rows @ features.T).topk(k1, largest=False).indices for rows in features.split(1024)]).numpy()
    n = len(features)

    def reciprocal(i: int, k: int) -> np.ndarray:
        forward = rank[i, : k + 1]
        return forward[np.where(rank[forward, : k + 1] == i)[0]]

    sets = [reciprocal(i, k1) for i in range(n)]
    small = [reciprocal(i, int(np.around(k1 / 2))) for i in range(n)]
    encoding = np.zeros((n, n), np.float32)
    for i in range(n):
        expanded = sets[i]
        for candidate in sets[i]:
            if len(np.intersect1d(small[candidate], sets[i])) > 2 / 3 * len(small[candidate]):
                expanded = np.append(expanded, small[candidate])
        expanded = np.unique(expanded)
        squared = (features[i] - features[expanded]).square().sum(1)
        encoding[i, expanded] = (-squared).softmax(0).numpy()
    averaged = np.zeros((n, n), np.float32)
    for i in range(n):
        averaged[i] = np.mean(encoding[rank[i, :k2]], axis=0)
    inverted = [np.where(averaged[:, i] != 0)[0] for i in range(n)]
    distance = np.zeros((n, n), np.float32)
    for i in range(n):
        shared = np.zeros(n, np.float32)
        for j in np.where(averaged[i] != 0)[0]:
            images = inverted[j]
            shared[images] = shared[images] + np.minimum(averaged[i, j], averaged[images, j])
        distance[i] = 1 - shared / (2 - shared)
    distance[distance < 0] = 0
    return distance
