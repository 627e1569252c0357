"""Pictures that are drawn again while a slider moves: few artists and no layout engine, so that one takes little time.

Every picture is one of its own, drawn from plain arrays. `reid_lib.explore` says what is in it, and moves it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reid_lib.reporting.figures import CORRECT, INCORRECT, OKABE_ITO, FigureError

_STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "axes.spines.right": False, "axes.spines.top": False}
_DPI = 80
_GREY = "#7F7F7F"
_GAP, _APART = 0.12, 0.5  # between images, and between query and ranked list: shares of an image's width
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LEGEND = {"fontsize": 8, "frameon": False, "handletextpad": 0.2, "borderpad": 0, "loc": "lower center"}


@dataclass(frozen=True, eq=False)
class Map:
    """Points of gallery images in a plane, and a query among them.

    Attributes:
        points: (n, 2), the gallery's.
        query: (2,), the query's.
        own: bool (n,), which of the gallery images show the query's person.
        nearest: int (k,), indices of the gallery images of the ranked list.
        labels: of the two axes.
    """

    points: np.ndarray
    query: np.ndarray
    own: np.ndarray
    nearest: np.ndarray
    labels: tuple[str, str]


def query_and_list(
    queries: Mapping[str, np.ndarray],
    ranked: np.ndarray,
    right: Sequence[bool],
    distances: Sequence[float],
    place: Map,
    title: str = "",
) -> Figure:
    """A query's versions, its ranked list with the distances below, and where its feature lies among the gallery's.

    A right image has a solid frame and a tick, a wrong one a dashed frame and a cross. On the map the query is a star,
    gallery images of its person are squares, the others dots; a number is a place in the ranked list.

    Args:
        queries: images uint8 (H, W, 3) by what stands above them.
        ranked: uint8 (k, H, W, 3), nearest first.
        right: (k,), whether each shows the query's person.
        distances: (k,).
        place: the map.
        title: above the images.

    Raises:
        FigureError: shapes that do not fit.
    """
    images, right = [*queries.values(), *ranked], list(right)
    _check(images, right, distances, place)
    height, width = images[0].shape[:2]
    lefts = [number * (1 + _GAP) + _APART * (number >= len(queries)) for number in range(len(images))]
    tall = height / width  # an image is one unit wide
    inches = 0.9 * (lefts[-1] + 1), 0.9 * tall
    size = inches[0] + 3.7, max(inches[1], 1.8) + 1.4
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=_DPI)
        axis = figure.add_axes((0.1 / size[0], 0.7 / size[1], inches[0] / size[0], inches[1] / size[1]))
        axis.set(xlim=(-0.02, lefts[-1] + 1.02), ylim=(tall, 0))
        axis.set_axis_off()
        for image, left in zip(images, lefts, strict=True):
            axis.imshow(image, extent=(left, left + 1, tall, 0), interpolation="nearest", aspect="auto")
        axis.set(xlim=(-0.02, lefts[-1] + 1.02), ylim=(tall, 0))  # imshow has changed them
        for text, left in zip(queries, lefts, strict=False):
            axis.annotate(text, (left + 0.5, 0), (0, 4), textcoords="offset points", ha="center", va="bottom")
        for number, left in enumerate(lefts[len(queries) :]):
            _frame(axis, left, tall, bool(right[number]), f"{number + 1}", f"{distances[number]:.3g}")
        middle = (lefts[len(queries)] + lefts[-1] + 1) / 2
        below = {"textcoords": "offset points", "ha": "center", "va": "top"}
        axis.annotate("distance to the query (no unit)", (middle, tall), (0, -18), **below)
        figure.text(0.1 / size[0], 1 - 0.12 / size[1], title, fontsize=10, ha="left", va="top")
        left, bottom = inches[0] + 0.75, 0.55
        box = (left / size[0], bottom / size[1], (size[0] - left - 0.12) / size[0], (size[1] - bottom - 0.4) / size[1])
        _draw_map(figure.add_axes(box), place)
    return figure


def _check(images: Sequence[np.ndarray], right: Sequence[bool], distances: Sequence[float], place: Map) -> None:
    shapes = {np.shape(image) for image in images}
    if len(shapes) != 1 or np.shape(images[0])[2:] != (3,) or any(image.dtype != np.uint8 for image in images):
        raise FigureError(f"Expected images as uint8 (H, W, 3) of one size, found {sorted(shapes)}.")
    if not 0 < len(right) == len(distances) == len(place.nearest) < len(images):
        raise FigureError(
            f"Expected a query and k images with as many marks, distances and indices; found {len(images)} images, "
            f"{len(right)} marks, {len(distances)} distances and {len(place.nearest)} indices."
        )
    if np.shape(place.points) != (len(place.own), 2) or np.shape(place.query) != (2,):
        raise FigureError(
            f"Expected points (n, 2) with n = {len(place.own)} and a query (2,); found {np.shape(place.points)} and "
            f"{np.shape(place.query)}."
        )


def _frame(axis: Axes, left: float, tall: float, right: bool, above: str, below: str) -> None:
    """The frame, mark, place and distance of an image of the ranked list."""
    colour = CORRECT if right else INCORRECT
    line = {"edgecolor": colour, "linewidth": 2.5, "linestyle": "-" if right else (0, (3, 2))}
    axis.add_patch(Rectangle((left, 0), 1, tall, facecolor="none", clip_on=False, **line))
    sign, box = "\N{CHECK MARK}" if right else "\N{BALLOT X}", {"facecolor": "white", "edgecolor": colour, "pad": 1.5}
    axis.text(left + 0.93, 0.05, sign, ha="right", va="top", color=colour, bbox=box)
    axis.annotate(above, (left + 0.5, 0), (0, 4), textcoords="offset points", ha="center", va="bottom")
    axis.annotate(below, (left + 0.5, tall), (0, -5), textcoords="offset points", ha="center", va="top")


def _draw_map(axis: Axes, place: Map) -> None:
    others, own = place.points[~place.own], place.points[place.own]
    axis.scatter(*others.T, s=12, c=_GREY, alpha=0.5, linewidths=0, label="gallery")
    axis.scatter(*own.T, s=60, marker="s", facecolors="none", edgecolors=CORRECT, linewidths=2, label="right person")
    axis.scatter(*place.query, s=170, marker="*", c=OKABE_ITO[4], edgecolors="black", linewidths=0.8, label="query")
    for number, point in enumerate(place.points[place.nearest], start=1):
        axis.annotate(str(number), point, (3, 2), textcoords="offset points", fontsize=8)
    axis.set_xlabel(place.labels[0], fontsize=8)
    axis.set_ylabel(place.labels[1], fontsize=8)
    axis.tick_params(labelsize=7)
    axis.locator_params(nbins=4)
    axis.legend(ncols=3, bbox_to_anchor=(0.5, 1.0), columnspacing=0.8, **_LEGEND)


def shift_of_people(
    hr: np.ndarray,
    lr: np.ndarray,
    pids: Sequence[int],
    arrow: tuple[np.ndarray, np.ndarray],
    limits: tuple[tuple[float, float], tuple[float, float]],
    labels: tuple[str, str],
    title: str = "",
) -> Figure:
    """Points of HR (filled) and LR features (open) of some people in a plane, and the mean shift as an arrow.

    Args:
        hr, lr: (n, 2), row i of both from the same image.
        pids: (n,) identities; each has a colour and a marker of its own, and its number at the mean of its HR points.
        arrow: from where (2,) to where (2,).
        limits: of the two axes; the same in all pictures of a slider, else nothing seems to move.
        labels: of the two axes.
        title: above the picture.

    Raises:
        FigureError: shapes that do not fit.
    """
    pids = np.asarray(pids)
    if np.shape(hr) != (len(pids), 2) or np.shape(lr) != (len(pids), 2):
        raise FigureError(f"Expected points (n, 2) with n = {len(pids)}, found {np.shape(hr)} and {np.shape(lr)}.")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.8), dpi=_DPI)
        axis = figure.add_axes((0.12, 0.11, 0.85, 0.75))
        for number, pid in enumerate(np.unique(pids)):
            own, again = pids == pid, number // len(OKABE_ITO)  # a colour that comes again has another marker
            colour, marker = OKABE_ITO[number % len(OKABE_ITO)], _MARKERS[(number + again) % len(_MARKERS)]
            axis.scatter(*hr[own].T, s=30, c=colour, marker=marker)
            axis.scatter(*lr[own].T, s=30, facecolors="none", edgecolors=colour, marker=marker)
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
            axis.text(*hr[own].mean(0), str(pid), fontsize=8, ha="center", va="center", bbox=box)
        style = {"arrowstyle": "-|>,head_width=0.35,head_length=0.7", "linewidth": 3, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", arrow[1], arrow[0], arrowprops=style | {"color": "black"})
        axis.scatter([], [], s=30, c=_GREY, label="HR")
        axis.scatter([], [], s=30, facecolors="none", edgecolors=_GREY, label="LR")
        axis.plot([], [], color="black", linewidth=3, label="mean shift, LR to HR")
        axis.set(xlim=limits[0], ylim=limits[1], xlabel=labels[0], ylabel=labels[1])
        axis.legend(ncols=3, bbox_to_anchor=(0.5, 1.0), **_LEGEND)
        figure.text(0.12, 0.98, title, fontsize=10, ha="left", va="top")
    return figure
