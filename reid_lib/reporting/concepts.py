"""Pictures of an idea, drawn from images and numbers at hand: what an overview figure says, in our own layout."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reid_lib.reporting.figures import OKABE_ITO

_HATCH = "////"  # what is not there is marked by more than a colour


def sub_vectors(images: np.ndarray, labels: Sequence[str], kept: Sequence[int], *, classifier: bool = False) -> Figure:
    """Draw which sub-vectors of its feature each image keeps (LRAR, Figs. 1 and 3).

    Args:
        images: uint8 (n, H, W, 3), one line each.
        labels: n texts, one for each image.
        kept: n numbers of sub-vectors; the largest of them is how many there are.
        classifier: whether the shared classifier stands below, and zeros in the place of what is not kept.

    Raises:
        ValueError: another number of labels or of ``kept`` than of images, or a number below 1.
    """
    if not len(images) == len(labels) == len(kept) > 0 or min(kept) < 1:
        raise ValueError(
            f"expected one label and one number of sub-vectors, at least 1, for each of {len(images)} images, found "
            f"{len(labels)} labels and {list(kept)}"
        )
    parts, lines = max(kept), len(images) + (1 if classifier else 0)
    figure = Figure(figsize=(1.6 + 1.1 * parts + 1.2, 1.25 * lines), layout="constrained")
    axis = figure.add_subplot()
    axis.set(xlim=(-1.9, parts + 0.1), ylim=(-0.15 - (1 if classifier else 0), len(images)), aspect="auto")
    axis.axis("off")
    for line, (image, label, k) in enumerate(zip(images, labels, kept, strict=True)):
        y = len(images) - 1 - line
        axis.imshow(image, extent=(-0.75, -0.25, y + 0.05, y + 0.95), aspect="auto", zorder=2)
        axis.text(-0.85, y + 0.5, label, ha="right", va="center")
        for part in range(parts):
            missing = "0" if classifier else ""
            _cell(axis, part, y, f"$v_{part + 1}$" if part < k else missing, part if part < k else None)
    if classifier:
        axis.text(-0.85, -0.55, "one classifier", ha="right", va="center")
        for part in range(parts):
            _cell(axis, part, -1.05, f"$w_{part + 1}$", part)
    axis.set(xlim=(-1.9, parts + 0.1), ylim=(-0.15 - (1 if classifier else 0), len(images)))
    return figure


def one_model(images: np.ndarray, rates: Sequence[int], known: Sequence[int], gallery: np.ndarray) -> Figure:
    """Draw what it takes to match queries of several rates: a model for each rate, or one for all (CAD-Net, Fig. 1).

    Args:
        images: uint8 (n, H, W, 3), one query for each rate.
        rates: n down-sampling rates.
        known: the rates that a super-resolution model was trained for; the others have none.
        gallery: uint8 (H, W, 3), the HR image of the same person.

    Raises:
        ValueError: another number of rates than of images, or no image.
    """
    if not len(images) == len(rates) > 0:
        raise ValueError(f"expected one rate for each of {len(images)} images, found {list(rates)}")
    figure = Figure(figsize=(9.6, 1.15 * len(images) + 0.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, title in ((left, "a model for each rate"), (right, "CAD-Net: one model for all")):
        for line, (image, rate) in enumerate(zip(images, rates, strict=True)):
            _person(axis, image, (0.0, len(images) - 1 - line))
            axis.text(-0.15, len(images) - 0.5 - line, f"r = {rate}", ha="right", va="center")
        _person(axis, gallery, (4.6, (len(images) - 1) / 2))
        axis.text(4.85, (len(images) - 1) / 2 - 0.05, "HR gallery", ha="center", va="top")
        axis.set(xlim=(-0.9, 5.6), ylim=(-0.25, len(images) + 0.1), title=title)
        axis.axis("off")
    _a_model_each(left, rates, known)
    _one_for_all(right, len(images))
    return figure


def _a_model_each(axis, rates: Sequence[int], known: Sequence[int]) -> None:
    for line, rate in enumerate(rates):
        y, there = len(rates) - 1 - line, rate in known
        _box(axis, (1.1, y + 0.2), (2.0, 0.6), f"SR for r = {rate}" if there else "no model", 1 if there else None)
        _arrow(axis, (0.6, y + 0.5), (1.05, y + 0.5))
        if there:
            _arrow(axis, (3.15, y + 0.5), (4.5, len(rates) / 2))
        else:
            axis.text(3.35, y + 0.5, "?", ha="center", va="center", fontsize=14)


def _one_for_all(axis, lines: int) -> None:
    _box(axis, (1.1, 0.1), (1.15, lines - 0.2), "E, G, F\n\nany r,\nunknown", 0)
    for y in range(lines):
        _arrow(axis, (0.6, y + 0.5), (1.05, y + 0.5))
    for y, text, colour in ((lines * 0.72, "f: no\nresolution", 2), (lines * 0.28, "G(f), g:\ndetails", 4)):
        _box(axis, (2.65, y - 0.45), (1.15, 0.9), text, colour)
        _arrow(axis, (2.28, y), (2.62, y))
        _arrow(axis, (3.83, y), (4.5, lines / 2))


def panning(people: np.ndarray, blurred: np.ndarray) -> Figure:
    """Draw the idea of a resolution direction, by that of words (VPFA, Fig. 1); places are a sketch, not measured.

    Args:
        people: uint8 (3, H, W, 3), HR images of three persons.
        blurred: uint8 (3, H, W, 3), the same in LR.

    Raises:
        ValueError: not three images of one size.
    """
    if people.shape != blurred.shape or len(people) != 3:
        raise ValueError(f"expected 3 HR and 3 LR images of one size, found {people.shape} and {blurred.shape}")
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    titles = ("words have directions", "so has resolution", "VPFA pans along it")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xlim=(0, 4), ylim=(0, 4), xticks=[], yticks=[], title=title)
    words, shift = {"man": (0.6, 0.9), "woman": (2.2, 0.4)}, (0.8, 2.3)
    for (low, (x, y)), high in zip(words.items(), ("king", "queen"), strict=True):
        axes[0].text(x, y, low, ha="center", va="center")
        axes[0].text(x + shift[0], y + shift[1], high, ha="center", va="center")
        _arrow(axes[0], (x + 0.06, y + 0.2), (x + shift[0] - 0.06, y + shift[1] - 0.2), 0)
    for number, (x, y) in enumerate(((0.15, 0.55), (1.3, 0.2), (2.4, 0.6))):
        _person(axes[1], blurred[number], (x, y))
        _person(axes[1], people[number], (x + 0.85, y + 2.1))
        _arrow(axes[1], (x + 0.4, y + 1.05), (x + 0.95, y + 2.05), 0)
    axes[1].text(0.1, 0.1, "LR", va="bottom")
    axes[1].text(0.1, 3.85, "HR", va="top")
    _panned(axes[2], people, blurred)
    return figure


def _panned(axis, people: np.ndarray, blurred: np.ndarray) -> None:
    """A query's feature, the correction that is added to it, and the gallery."""
    _person(axis, blurred[0], (0.3, 0.5))
    axis.text(0.9, 0.7, "query $z_{LR}$", va="center")
    for number, place in enumerate(((1.85, 2.65), (3.2, 2.3), (0.35, 2.7))):
        _person(axis, people[number], place)
    axis.text(0.1, 3.85, "HR gallery", va="top")
    axis.plot([1.55], [2.3], marker="o", markersize=9, markerfacecolor="none", color=OKABE_ITO[1])
    axis.text(1.7, 2.2, r"$\hat z_{LR} = z_{LR} + f(z_{LR})$", va="center", fontsize=9)
    _arrow(axis, (0.75, 1.35), (1.48, 2.22), 0)


def _person(axis, image: np.ndarray, at: tuple[float, float]) -> None:
    """An image half as wide as high, its lower left corner at `at`."""
    x, y = at
    axis.imshow(image, extent=(x, x + 0.5, y + 0.05, y + 0.95), aspect="auto", zorder=2)


def _box(axis, at: tuple[float, float], size: tuple[float, float], text: str, colour: int | None) -> None:
    """A part with a name; without a colour it is not there."""
    there = colour is not None
    look = {"facecolor": OKABE_ITO[colour], "alpha": 0.3} if there else {"facecolor": "none", "hatch": _HATCH}
    axis.add_patch(Rectangle(at, *size, edgecolor="black" if there else "0.6", linewidth=1, **look))
    place = at[0] + size[0] / 2, at[1] + size[1] / 2
    box = None if there else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axis.text(*place, text, ha="center", va="center", bbox=box, linespacing=1.1)


def _arrow(axis, start: tuple[float, float], end: tuple[float, float], colour: int | None = None) -> None:
    look = {"arrowstyle": "-|>", "color": "0.25" if colour is None else OKABE_ITO[colour], "linewidth": 1.3}
    axis.annotate("", end, start, arrowprops=look, zorder=3)


def _cell(axis, part: int, y: float, text: str, colour: int | None) -> None:
    """A sub-vector in its column; without a colour it is not there."""
    there = colour is not None
    look = {"facecolor": OKABE_ITO[colour % 6], "alpha": 0.35} if there else {"facecolor": "none", "hatch": _HATCH}
    edge = "black" if there else "0.75"
    axis.add_patch(Rectangle((part + 0.06, y + 0.2), 0.88, 0.6, edgecolor=edge, linewidth=1, **look))
    box = None if there else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axis.text(part + 0.5, y + 0.5, text, ha="center", va="center", bbox=box if text else None)
