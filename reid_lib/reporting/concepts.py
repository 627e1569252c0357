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


def _cell(axis, part: int, y: float, text: str, colour: int | None) -> None:
    """A sub-vector in its column; without a colour it is not there."""
    there = colour is not None
    look = {"facecolor": OKABE_ITO[colour % 6], "alpha": 0.35} if there else {"facecolor": "none", "hatch": _HATCH}
    edge = "black" if there else "0.75"
    axis.add_patch(Rectangle((part + 0.06, y + 0.2), 0.88, 0.6, edgecolor=edge, linewidth=1, **look))
    box = None if there else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axis.text(part + 0.5, y + 0.5, text, ha="center", va="center", bbox=box if text else None)
