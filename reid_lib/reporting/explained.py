"""Pictures of what a network saw in an image, and of what an unsupervised method took for one person."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from reid_lib.reporting import figures


def heated(images: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay maps of 0 to 1 over images as light: where a map is 0 the image is dark and grey, where it is 1 bright.

    Args:
        images: uint8 (n, H, W, 3).
        heat: (n, H, W), between 0 and 1.

    Returns:
        uint8 (n, H, W, 3).
    """
    grey = np.asarray(images, float).mean(-1, keepdims=True) / 255
    colour = mpl.colormaps["cividis"](np.asarray(heat))[..., :3]
    return (255 * (0.45 * grey + 0.55 * colour)).round().astype(np.uint8)


def clusters(rows: Mapping[str, tuple[np.ndarray, np.ndarray]], per_row: int = 12) -> Figure:
    """Clusters as rows of images; an image of the most frequent identity of its row has a tick, another a cross.

    Args:
        rows: the row's name -> its cluster's images, uint8 (n, H, W, 3), and their identities (n,).
        per_row: images in a row; of a larger cluster some at equal distances are drawn, the majority is that of all.

    Raises FigureError for a cluster without images.
    """
    if not rows or any(len(images) == 0 for images, _ in rows.values()):
        raise figures.FigureError("Expected at least one image in every cluster.")
    shown, correct = [], []
    for images, pids in rows.values():
        found, counts = np.unique(pids, return_counts=True)
        some = np.linspace(0, len(images) - 1, min(per_row, len(images))).round().astype(int)
        empty = per_row - len(some)
        shown += [images[some], np.full((empty, *images.shape[1:]), 255, np.uint8)]
        correct += [bool(pid == found[counts.argmax()]) for pid in pids[some]] + [None] * empty
    return figures.image_grid(np.concatenate(shown), len(rows), per_row, list(rows), height=1.2, correct=correct)
