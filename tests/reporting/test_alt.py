"""A figure in words."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from reid_lib.reporting import figures
from reid_lib.reporting.alt import alt_text, listed

CURVE = pd.DataFrame({"value": [80.0, 60.0]}, index=[1, 2])
IMAGES = np.zeros((4, 8, 4, 3), np.uint8)
PEOPLE = np.array([1, 1, 2, 2])
DOTS = pd.DataFrame(
    [("a", "small", 2.0, 1.0, 3.0, False)], columns=["name", "series", "value", "low", "high", "hollow"]
)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (
            figures.curve_with_interval({"HR only": CURVE, "HR + LR": CURVE}, xlabel="resolution of the query"),
            "Rank-1 (%) against resolution of the query, for HR only and HR + LR",
        ),
        (
            figures.curve_with_interval({"a": CURVE, "b": CURVE, "c": CURVE}, "r", "mAP (%)", "Curves"),
            "Curves: mAP (%) against r, for a, b and c",
        ),
        (figures.curve_with_interval({"HR only": CURVE}, xlabel="r"), "Rank-1 (%) against r"),
        (figures.bars(CURVE.set_axis(["HR", "LR"])), "Rank-1 (%) of HR and LR"),
        (
            figures.points_by_group(np.eye(4)[:, :2], {"by identity": PEOPLE, "by rate": PEOPLE[::-1]}),
            "t-SNE 2 (no unit) against t-SNE 1 (no unit), for 1 and 2; panels: by identity and by rate",
        ),
        (
            figures.image_grid(IMAGES, 2, 2, ["HR", "r = 4"], ["camera 1", "camera 2"]),
            "Images, columns: camera 1 and camera 2, rows: HR and r = 4",
        ),
        (figures.image_grid(IMAGES, 2, 2, title="People"), "People: Images"),
        (figures.matrix(CURVE.T, "cosine", "Rates"), "Rates: cosine as colours"),
        (
            figures.dots_with_interval({"synth": DOTS, "caviar": DOTS}, ["a"], "zero", "open", "gain (points)"),
            "gain (points), for zero; panels: synth and caviar",
        ),
        (Figure(), ""),
    ],
)
def test_the_words_are_the_labels(figure: Figure, said: str) -> None:
    assert alt_text(figure) == said


def test_lists() -> None:
    assert listed([]) == listed([""]) == ""
    assert listed(["a", "", "a", "b"]) == "a and b"
