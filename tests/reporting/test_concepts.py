"""Pictures of an idea: LRAR's sub-vectors, CAD-Net's one model, VPFA's direction."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from reid_lib.reporting.concepts import one_model, panning, sub_vectors

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


def words(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts if text.get_text()]


def test_one_model_in_place_of_one_for_each_rate() -> None:
    figure = one_model(IMAGES, [2, 3, 8], [2, 3], IMAGES[0])
    texts = words(figure)
    assert texts.count("SR for r = 2") == texts.count("SR for r = 3") == texts.count("no model") == 1
    assert "SR for r = 8" not in texts
    assert texts.count("r = 8") == 2  # the query stands on both sides
    assert texts.count("HR gallery") == 2
    left, right = figure.axes
    assert [sum(bool(patch.get_hatch()) for patch in axis.patches) for axis in (left, right)] == [1, 0]
    assert len(left.images) == len(right.images) == 4


def test_one_model_needs_a_rate_for_each_image() -> None:
    with pytest.raises(ValueError, match=r"one rate for each of 3 images, found \[2, 3\]"):
        one_model(IMAGES, [2, 3], [2], IMAGES[0])
    with pytest.raises(ValueError, match="for each of 0 images"):
        one_model(IMAGES[:0], [], [], IMAGES[0])


def test_panning_shows_words_pairs_and_a_query() -> None:
    figure = panning(IMAGES, IMAGES)
    assert {"man", "king", "woman", "queen", "LR", "HR"} <= set(words(figure))
    assert [len(axis.images) for axis in figure.axes] == [0, 6, 4]
    arrows = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    directions = [tuple(np.round(np.subtract(arrow.xy, arrow.xyann), 6)) for arrow in arrows]
    assert len(directions) == 2
    assert directions[0] == directions[1]  # the two words move alike


@pytest.mark.parametrize(("people", "blurred"), [(IMAGES[:2], IMAGES[:2]), (IMAGES, IMAGES[:, :8])])
def test_panning_needs_three_persons_twice(people: np.ndarray, blurred: np.ndarray) -> None:
    with pytest.raises(ValueError, match="3 HR and 3 LR images of one size"):
        panning(people, blurred)
