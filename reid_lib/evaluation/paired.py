"""LR and HR features of the same images: the checks and sums of all statistics of them, and what to compare them with.

Row i of both is image i, with identity ``pids[i]``. Where LR and HR images differ (the MLR protocol), give
`directions.identity_means` of both, one row per identity. NumPy arrays and torch tensors (CPU or CUDA) are taken;
tensors come back in float64, on the device of the first argument.

A number without its baseline says little: `baselines` makes, from one pair of feature sets, the sets to compare with.
"""

from typing import Any

import numpy as np
import torch

from reid_lib.seeds import numpy_generator, torch_generator
from reid_lib.values import identities

Array = np.ndarray | torch.Tensor


# ---- Checks and sums -------------------------------------------------------------------------------------------------


def checked_pair(
    first: Array,
    second: Array,
    first_name: str = "LR features",
    second_name: str = "HR features",
    same_width: bool = False,
    same_length: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both as float64 matrices on the device of the first.

    Args:
        first: (n, d).
        second: (m, e).
        first_name, second_name: what messages call them.
        same_width: whether d = e is required.
        same_length: whether n = m is required.

    Raises:
        ValueError: features that are not matrices of finite numbers, or lengths or widths that differ.
    """
    first, second = checked_matrix(first, first_name), checked_matrix(second, second_name)
    if same_length and len(first) != len(second):
        raise ValueError(
            f"{first_name} and {second_name} must be paired row by row, found {len(first)} and {len(second)} rows"
        )
    if same_width and first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{first_name} and {second_name} must have the same width, found {first.shape[1]} and {second.shape[1]}: "
            "take both from one model"
        )
    return first, second.to(first.device)


def checked_matrix(values: Array, name: str) -> torch.Tensor:
    """Return a matrix (rows, width) in float64; ValueError calls it ``name`` if it is none, or not finite."""
    values = values.detach() if isinstance(values, torch.Tensor) else torch.as_tensor(_numeric(values, name))
    values = values.double()
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name} must be (rows, width), at least 1 each, found shape {tuple(values.shape)}")
    bad = int((~values.isfinite()).sum())
    if bad:
        raise ValueError(f"{name} must be finite, found {bad} NaN or infinite of {values.numel()} values")
    return values


def _numeric(values: Any, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers, found {values.dtype}")
    return values.astype(np.float64)


def numbered_identities(pids: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted identities (P,), and each row's index into them (n,).

    Raises:
        ValueError: other than n pids, or such as are no identities (`values.identities`).
    """
    pids = identities(pids)
    if pids.shape != (n,):
        raise ValueError(f"pids must be one per row of the features, expected shape ({n},), found {pids.shape}")
    return np.unique(pids, return_inverse=True)


def pearson(first: torch.Tensor, second: torch.Tensor, what: str) -> torch.Tensor:
    """Return Pearson's r (n,) between rows of two matrices (n, d); ValueError, naming ``what``, for a constant row."""
    first, second = centred(first.T).T, centred(second.T).T
    lengths = first.norm(dim=1) * second.norm(dim=1)
    if (lengths == 0).any():
        raise ValueError(f"{what} has the same value everywhere, so it has no correlation: are features repeated?")
    return ((first * second).sum(1) / lengths).clamp(-1, 1)


def centred(values: torch.Tensor) -> torch.Tensor:
    """Return the columns less their means; zero for a constant column, whose mean may be rounded."""
    shifted = values - values.mean(0)
    return shifted.where(shifted.abs().amax(0) > 1e-12 * values.abs().amax(0), 0)


# ---- Baselines -------------------------------------------------------------------------------------------------------


def shuffled_pairs(lr_features: Array, hr_features: Array, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features with the HR rows in random order: the same two sets, with no link between rows.

    This is "random" of Table 2a in the released script. It is no baseline of a direction: the shift between two sets
    does not depend on how their rows are paired. For that take `exchanged_resolutions`.

    Raises:
        ValueError: as `checked_pair`: the lengths must be the same.
    """
    lr_features, hr_features = checked_pair(lr_features, hr_features)
    return lr_features, hr_features[numpy_generator(seed, "directions", "shuffle").permutation(len(hr_features))]


def random_features(lr_features: Array, hr_features: Array, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return independent normal features with the columns' standard deviations: no pairs, no identities, no shift.

    Both sets have the mean of all features, so that only chance sets them apart. The same numbers on CPU and CUDA.

    Raises:
        ValueError: as `checked_pair`: lengths and widths must be the same; fewer than two rows.
    """
    lr_features, hr_features = checked_pair(lr_features, hr_features, same_width=True)
    if len(lr_features) < 2:
        raise ValueError(f"expected at least two rows to take standard deviations of, found {len(lr_features)}")
    draw, mean = torch_generator(seed, "directions", "random"), (lr_features.mean(0) + hr_features.mean(0)) / 2
    lr, hr = (
        mean + x.std(0) * torch.randn(x.shape, generator=draw, dtype=x.dtype).to(x.device)
        for x in (lr_features, hr_features)
    )
    return lr, hr


def exchanged_resolutions(
    lr_features: Array, hr_features: Array, pids: Any, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features with LR and HR exchanged for identities drawn with a fair coin.

    Pairs, identities and the size of every difference stay; only its sign is drawn. If resolution had no common
    direction, this would change nothing: the baseline for cosine and Pearson. One draw's cosine scatters within [-1, 1]
    (the shift survives with a random sign); its mean over seeds is about zero.

    Raises:
        ValueError: as `checked_pair`: lengths and widths must be the same; another number of identities than of rows;
            fewer than two identities.
    """
    lr_features, hr_features = checked_pair(lr_features, hr_features, same_width=True)
    names, number = numbered_identities(pids, len(lr_features))
    if len(names) < 2:
        raise ValueError(f"expected at least two identities, found {len(names)}")
    coins = numpy_generator(seed, "directions", "exchange").random(len(names)) < 0.5
    exchange = torch.from_numpy(coins[number]).to(lr_features.device)[:, None]
    return torch.where(exchange, hr_features, lr_features), torch.where(exchange, lr_features, hr_features)


def baselines(
    lr_features: Array, hr_features: Array, pids: Any, seed: int = 0
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return what to give each statistic of `directions` and `cca`: the features and what to compare them with.

    Example::

        {name: directions.cosine_of_halves(lr, hr, pids) for name, (lr, hr) in baselines(lr, hr, pids).items()}

    Returns:
        ``features``, ``shuffled pairs``, ``random features``, ``exchanged resolutions``: (LR, HR) of the given shape.

    Raises:
        ValueError: as the functions of these names.
    """
    return {
        "features": checked_pair(lr_features, hr_features, same_width=True),
        "shuffled pairs": shuffled_pairs(lr_features, hr_features, seed),
        "random features": random_features(lr_features, hr_features, seed),
        "exchanged resolutions": exchanged_resolutions(lr_features, hr_features, pids, seed),
    }
