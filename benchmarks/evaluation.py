"""Ranking, and canonical correlation."""

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import ConvergenceWarning

from benchmarks import Measurement, at_least, at_most, peak_memory, seconds
from reid_lib.evaluation.cca import canonical_correlation
from reid_lib.evaluation.ranking import rank_metrics
from reid_lib.seeds import numpy_generator, torch_generator


def ranking() -> list[Measurement]:
    """Market-1501's size: 3,368 queries, 15,913 gallery images of 751 people, 6 cameras."""
    distances, ids = _market_size()
    array, threads = distances.numpy(), torch.get_num_threads()

    def argsort() -> None:
        for i in range(0, len(array), 256):
            np.argsort(array[i : i + 256], axis=1)

    torch.set_num_threads(1)  # as NumPy's sort
    # in turn, so that what else the machine does meets both
    pairs = [(seconds(argsort), seconds(lambda: rank_metrics(distances, *ids))) for _ in range(5)]
    torch.set_num_threads(threads)
    plain, ours = map(min, zip(*pairs, strict=True))
    taken = f"{ours:.3f} of {plain:.2f} s"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # a peak is measured once in a process
        memory = fresh.submit(_ranking_memory).result()
    return [
        at_least("ranking 3,368 x 15,913: CPU of NumPy's argsort alone / ours", plain / ours, "times", 8, taken),
        at_most("ranking 3,368 x 15,913: memory above the input", memory / 1e6, "MB", 50),
    ]


def _market_size() -> tuple[torch.Tensor, list[np.ndarray]]:
    n_query, n_gallery = 3368, 15913
    distances = torch.empty(n_query, n_gallery).uniform_(generator=torch_generator(0, "ranking"))
    draw = numpy_generator(0, "ranking")
    return distances, [draw.integers(0, most, n) for most in (751, 6) for n in (n_query, n_gallery)]


def _ranking_memory() -> float:
    distances, ids = _market_size()
    rank_metrics(distances[:8], ids[0][:8], ids[1], ids[2][:8], ids[3])  # the first use loads libraries
    return peak_memory(lambda: rank_metrics(distances, *ids))


def cca() -> list[Measurement]:
    """Canonical correlation against scikit-learn's iterative CCA, which finds one pair of variates after another.

    All 128 of 2,000 x 128 are run on both sides. Of 10,000 x 512, scikit-learn finds four, and all 512 are charged at
    their mean cost: the first three have distinct correlations and converge soon, so 512 would take longer than that.
    """
    small, large = _linked_features(2000, 128), _linked_features(10_000, 512)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its cost and its accuracy are what is measured
        all_small = seconds(lambda: CCA(128, max_iter=500).fit(*small))
        model = CCA(4, max_iter=500)
        four_large = seconds(lambda: model.fit(*large))
    variates = [x[:, :3].T for x in model.transform(*large)]
    theirs = [np.corrcoef(first, second)[0, 1] for first, second in zip(*variates, strict=True)]
    canonical_correlation(*small)  # first use loads libraries
    ours = [seconds(lambda pair=pair: canonical_correlation(*pair), repeat=3) for pair in (small, large)]
    difference = np.abs(np.array(theirs) - canonical_correlation(*large).leading).max()
    four = f"sklearn's four: {four_large:.0f} s, ours: {ours[1]:.1f} s"
    return [
        at_least("CCA 2,000 x 128, all: CPU of scikit-learn / ours", all_small / ours[0], "times", 20),
        at_least("CCA 10,000 x 512: the same, extrapolated from four", 128 * four_large / ours[1], "times", 20, four),
        at_most("CCA 10,000 x 512: difference, the three converged", 1000 * difference, "thousandths", 1),
    ]


def _linked_features(n: int, width: int) -> list[np.ndarray]:
    """Two mixed sets (n, width) with three true canonical correlations, 0.95, 0.8 and 0.65; the others are 0."""
    draw, correlations = numpy_generator(0, "cca"), np.array([0.95, 0.8, 0.65])
    common, sides = draw.normal(size=(n, 3)), []
    for _ in range(2):
        side = draw.normal(size=(n, width))
        side[:, :3] = np.sqrt(correlations) * common + np.sqrt(1 - correlations) * side[:, :3]
        sides.append(side @ (np.eye(width) + 0.3 * draw.normal(size=(width, width)) / np.sqrt(width)))
    return sides
