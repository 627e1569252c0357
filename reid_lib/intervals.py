"""Confidence intervals of a mean."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return (low, high) of the mean of two values or more, by Student's t with n - 1 degrees of freedom.

    Raises:
        ValueError: fewer than two values.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        raise ValueError(f"An interval needs at least two values, found {len(values)}: measure more seeds.")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def percent_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return `t_interval` cut to 0..100, for percentages."""
    low, high = t_interval(values)
    return max(low, 0.0), min(high, 100.0)
