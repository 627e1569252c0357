import numpy as np
import pytest

from reid_lib.reporting import moving
from reid_lib.reporting.figures import FigureError

IMAGES = np.arange(3 * 8 * 4 * 3, dtype=np.uint8).reshape(3, 8, 4, 3)
POINTS = np.array([[0, 0], [1, 0], [0, 2], [3, 3]], float)
PLACE = moving.Map(POINTS, np.array([5, 5]), np.array([False, True, False, False]), np.array([2, 1]), ("one", "two"))
LIST = {"queries": {"query": IMAGES[0]}, "ranked": IMAGES[1:], "right": [False, True], "distances": [0.25, 1.5]}


def test_right_and_wrong_differ_in_more_than_colour() -> None:
    figure = moving.query_and_list(**LIST, place=PLACE, title="method")
    images, _ = figure.axes
    assert [np.shape(image.get_array()) for image in images.images] == [(8, 4, 3)] * 3
    texts = [text.get_text() for text in images.texts]
    assert texts == ["query", "✗", "1", "0.25", "✓", "2", "1.5", "distance to the query (no unit)"]
    assert [patch.get_linestyle() == "-" for patch in images.patches] == [False, True]
    assert figure.texts[0].get_text() == "method"


def test_on_the_map_each_kind_of_point_has_a_shape() -> None:
    _, axis = moving.query_and_list(**LIST, place=PLACE).axes
    others, own, query = axis.collections
    assert [len(points.get_offsets()) for points in (others, own, query)] == [3, 1, 1]
    assert own.get_offsets()[0].tolist() == [1, 0]
    assert query.get_offsets()[0].tolist() == [5, 5]
    assert len({len(points.get_paths()[0].vertices) for points in (others, own, query)}) == 3
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("one", "two")
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["gallery", "right person", "query"]
    assert [tuple(text.xy) for text in axis.texts] == [(0, 2), (1, 0)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ranked": IMAGES[1:].astype(float)}, "uint8"),
        ({"ranked": IMAGES[1:, :4]}, "of one size"),
        ({"right": [True]}, "found 3 images, 1 marks, 2 distances and 2 indices"),
        ({"queries": {}}, "Expected a query"),
        ({"place": moving.Map(POINTS[:3], *list(vars(PLACE).values())[1:])}, r"points \(n, 2\) with n = 4"),
    ],
)
def test_the_list_refuses(changed: dict, message: str) -> None:
    with pytest.raises(FigureError, match=message):
        moving.query_and_list(**LIST | {"place": PLACE} | changed)


def test_people_are_told_apart_by_shape_and_resolutions_by_filling() -> None:
    pids, limits = [3, 3, 5, 5], ((-1, 4), (-1, 4))
    figure = moving.shift_of_people(POINTS, POINTS + 0.5, pids, (POINTS[0], POINTS[3]), limits, ("one", "two"), "r = 2")
    (axis,) = figure.axes
    hr_3, lr_3, hr_5, lr_5, *_ = axis.collections
    assert len(hr_3.get_paths()[0].vertices) != len(hr_5.get_paths()[0].vertices)
    assert (len(hr_3.get_facecolors()), len(lr_3.get_facecolors())) == (1, 0)
    assert lr_5.get_offsets().tolist() == (POINTS[2:] + 0.5).tolist()
    assert {"3", "5"} <= {text.get_text() for text in axis.texts}
    assert axis.get_xlim() == (-1, 4)
    with pytest.raises(FigureError, match=r"n = 4, found \(3, 2\) and \(4, 2\)"):
        moving.shift_of_people(POINTS[:3], POINTS, pids, (POINTS[0], POINTS[3]), limits, ("", ""))
