"""Pictures of an idea: LRAR's sub-vectors."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from reid_lib.reporting.concepts import sub_vectors

IMAGES = np.zeros((3, 16, 8, 3), np.uint8)


def shown(figure) -> tuple[list[str], int]:
    axis = figure.axes[0]
    hatched = sum(bool(patch.get_hatch()) for patch in axis.patches if isinstance(patch, Rectangle))
    return [text.get_text() for text in axis.texts if text.get_text()], hatched


def test_each_image_shows_what_it_keeps_and_what_it_lacks() -> None:
    figure = sub_vectors(IMAGES, ["HR", "r = 2", "r = 3"], [3, 2, 1])
    texts, hatched = shown(figure)
    assert texts.count("$v_1$") == 3
    assert texts.count("$v_3$") == 1
    assert {"HR", "r = 2", "r = 3"} <= set(texts)
    assert hatched == 3
    assert len(figure.axes[0].images) == 3


def test_with_the_classifier_zeros_stand_for_what_is_not_kept() -> None:
    texts, hatched = shown(sub_vectors(IMAGES[:2], ["HR", "LR"], [2, 1], classifier=True))
    assert texts.count("0") == hatched == 1
    assert {"$w_1$", "$w_2$", "one classifier"} <= set(texts)


@pytest.mark.parametrize(
    ("labels", "kept"), [(["a"], [1, 1, 1]), (["a", "b", "c"], [1, 2]), (["a", "b", "c"], [0, 1, 2])]
)
def test_numbers_that_do_not_fit_are_refused(labels: list[str], kept: list[int]) -> None:
    with pytest.raises(ValueError, match="for each of 3 images"):
        sub_vectors(IMAGES, labels, kept)
