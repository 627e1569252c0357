"""Pictures of explanations and of clusters."""

import numpy as np
import pytest

from reid_lib.reporting import explained
from reid_lib.reporting.figures import FigureError


def people(n: int) -> np.ndarray:
    return np.full((n, 8, 4, 3), 100, np.uint8)


def test_heat_is_brighter_where_it_is_warm() -> None:
    heat = np.zeros((1, 8, 4))
    heat[0, 2, 1] = 1
    seen = explained.heated(people(1), heat)
    assert seen.dtype == np.uint8
    assert seen.shape == (1, 8, 4, 3)
    assert seen[0, 2, 1].sum() > seen[0, 0, 0].sum()


def test_a_cluster_is_marked_by_its_majority_even_where_not_all_of_it_is_drawn() -> None:
    pids = np.array([1, 2, 2, 2, 2, 2, 1])
    figure = explained.clusters({"epoch 1": (people(7), pids), "epoch 2": (people(2), np.array([5, 5]))}, per_row=3)
    signs = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    tick, cross = ["\N{CHECK MARK}"], ["\N{BALLOT X}"]
    assert signs == [cross, tick, cross, tick, tick, []]  # images 0, 3 and 6; then two images and an empty place
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["epoch 1", "epoch 2"]


def test_a_cluster_without_images_is_refused() -> None:
    with pytest.raises(FigureError, match="at least one image in every cluster"):
        explained.clusters({"epoch 1": (people(0), np.array([]))})
