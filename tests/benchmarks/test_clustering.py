"""What the benchmark of clustering compares; the measurements themselves take too long for a test."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch

from benchmarks import clustering, peak_memory
from reid_lib.evaluation.clustering import jaccard_distance


def test_the_plain_way_gives_the_same_distances() -> None:
    features, pids = clustering.people(240)
    assert features.shape == (240, 2048)
    assert len(pids) == 240
    distance = np.ones((240, 240))
    pairs = jaccard_distance(features).tocoo()
    distance[pairs.row, pairs.col] = pairs.data
    assert np.allclose(clustering.plain_jaccard_distance(features), distance, atol=1e-5)


def test_a_peak_of_memory_is_seen_after_it_is_over() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # here it may find memory left
        peak = fresh.submit(peak_memory, partial(torch.ones, 50_000_000)).result()  # 200 MB
    assert np.isnan(peak) or 150e6 < peak < 300e6
