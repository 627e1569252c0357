"""Exact nearest neighbours of features among themselves, in chunks, with ties in a fixed order."""

import numpy as np
import torch


def nearest(features: torch.Tensor, k: int, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest rows of each row, and how far its farthest row is, by squared Euclidean distance.

    Rows that are equally near come in rising order. Equal rows are compared once: a matrix product may round them
    differently, and they must not be told apart.

    Args:
        features: (N, d) finite, float32 or float64, on any device.
        k: how many; at most N.
        chunk: rows compared with as many others at a time.

    Returns:
        Nearest rows, int64 (N, k), nearest first: the row itself or one that equals it; and the squared distances of
        the farthest, float64 (N,).
    """
    first, group = _different(features)
    different = features if len(first) == len(features) else features[torch.from_numpy(first).to(features.device)]
    near, farthest = _among_different(different, min(k, len(first)), chunk)
    return _with_equals(near, group, k)[group], farthest[group]


def _different(features: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each group of equal rows, rising, and the group of each row (N,)."""
    values = np.ascontiguousarray((features + 0).cpu().numpy())  # + 0: minus zero has other bytes
    rows = values.view(np.dtype((np.void, values.shape[1] * values.itemsize)))[:, 0]
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    order = first.argsort()
    return first[order], order.argsort()[group]


def _among_different(features: torch.Tensor, k: int, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Do `nearest` for rows that differ. A tile of distances serves both its rows and its columns."""
    n = len(features)
    smallest = torch.full((n, k), torch.inf, dtype=features.dtype, device=features.device)
    index = torch.zeros((n, k), dtype=torch.int64, device=features.device)
    farthest = torch.zeros(n, dtype=features.dtype, device=features.device)

    def add(tile: torch.Tensor, start: int, columns: int) -> None:
        rows = slice(start, start + len(tile))
        farthest[rows] = torch.maximum(farthest[rows], tile.amax(1))
        values, found = _smallest(tile, k)
        # columns come in rising order: a stable sort keeps ties in theirs
        both = torch.cat([smallest[rows], values], 1)
        smallest[rows], order = (x[:, :k] for x in both.sort(stable=True))
        index[rows] = torch.cat([index[rows], found + columns], 1).gather(1, order)

    for start in range(0, n, chunk):
        for other in range(start, n, chunk):
            tile = _squared(features[start : start + chunk], features[other : other + chunk])
            if start == other:
                tile.fill_diagonal_(-1)  # rounding must not put another image before the image itself
            add(tile, start, other)
            if start != other:
                add(tile.T.contiguous(), other, start)
    return index.cpu().numpy(), farthest.double().cpu().numpy()


def _squared(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    squares = first.square().sum(1, keepdim=True) + second.square().sum(1)
    return torch.addmm(squares, first, second.T, alpha=-2).clamp_(min=0)


def _smallest(tile: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k smallest values of each row (all, if there are fewer) and their columns; ties by column."""
    k, width = min(k, tile.shape[1]), tile.shape[1]
    values, index = tile.topk(min(k + 1, width), largest=False)
    if width > k:
        tied = (values[:, k - 1] == values[:, k]).nonzero().flatten()  # topk takes any of them
        index[tied, :k] = tile[tied].argsort(stable=True)[:, :k]
    index = index[:, :k].sort().values
    values, order = tile.gather(1, index).sort(stable=True)
    return values, index.gather(1, order)


def _with_equals(near: np.ndarray, group: np.ndarray, k: int) -> np.ndarray:
    """Replace nearest groups (U, m) by their rows, in rising order, and keep k of them: (U, k)."""
    size = np.bincount(group)
    if len(size) == len(group):
        return near
    rows, begin = group.argsort(kind="stable"), size.cumsum() - size
    ends = size[near].cumsum(1)
    slot = np.stack([(ends <= place).sum(1) for place in range(k)], 1)
    chosen = np.take_along_axis(near, slot, 1)
    before = np.take_along_axis(ends, slot, 1) - size[chosen]
    return rows[begin[chosen] + np.arange(k) - before]
