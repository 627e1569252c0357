"""Confidence intervals of a mean."""

import re
from collections.abc import Sequence

import numpy as np
from scipy import stats

_PERCENTAGES = re.compile(r"rank\d+|map")


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


def is_percentage(metric: str) -> bool:
    """Whether a metric runs from 0 to 100, as rank1 and map do; a gain does not, nor does the quality of an image."""
    return _PERCENTAGES.fullmatch(metric) is not None


def standard_error(value: float, low: float, high: float, trials: float, level: float = 0.95) -> float:
    """The standard error of a mean over trials, recovered from its `t_interval`; NaN without an interval or trials.

    A percentage's interval may be cut at 0 or 100: the longer side tells the half width.
    """
    if not trials >= 2:  # NaN too
        return float("nan")
    return float(max(value - low, high - value) / stats.t.ppf((1 + level) / 2, trials - 1))


def seeds_interval(  # decision REPORT-6
    means: Sequence[float], errors: Sequence[float], trials: float, level: float = 0.95
) -> tuple[float, float]:
    """Return (low, high) of the mean over seeds, each measured on the same trials.

    All seeds are tested on the same trials, so what the trials happen to be moves all their means alike: more seeds
    do not take it away, and the spread between seeds does not show it. The variance of the mean is therefore

        s^2 / S + w^2,    s^2: variance of the S seeds' means; w^2: mean of the squared standard errors over trials,

    with the degrees of freedom of Welch and Satterthwaite, from S - 1 of the first part and trials - 1 of the second.
    Where every error is NaN this is `t_interval`. Simulated with three seeds and ten trials, the 95 % interval covers
    the truth in 93 to 98 % of cases; with two seeds that differ far more than trials do, in 90 %.

    Args:
        means: one mean for each seed, two or more.
        errors: the `standard_error` of each over its trials; NaN where unknown.
        trials: how many trials are behind an error.
        level: of confidence.

    Raises:
        ValueError: fewer than two means.
    """
    errors = np.asarray(errors, float)
    known = errors[~np.isnan(errors)]
    if len(means) < 2 or not len(known):
        return t_interval(means, level)
    means = np.asarray(means, float)
    between, within = means.var(ddof=1) / len(means), np.square(known).mean()
    total = between + within
    if total == 0:
        return float(means.mean()), float(means.mean())
    freedom = total**2 / (between**2 / (len(means) - 1) + within**2 / (trials - 1))
    half = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(total)
    return float(means.mean() - half), float(means.mean() + half)
