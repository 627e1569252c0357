"""Is there a resolution direction? The statistics of VPFA on mean differences (Sections 1 and 3.2, Tables 2b and 7).

All functions take LR and HR features as `paired` says, which also makes the sets to compare a number with.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from reid_lib.evaluation.paired import (
    Array,
    checked_matrix,
    checked_pair,
    numbered_identities,
    pearson,
)
from reid_lib.seeds import numpy_generator

# ---- Section 1: the direction, and its cosine between halves ---------------------------------------------------------


def identity_means(features: Array, pids: Any) -> tuple[torch.Tensor, np.ndarray]:
    """Return the mean feature of every identity (Eq. 2).

    Args:
        features: (n, d).
        pids: (n,) identities, numbers or text.

    Returns:
        Means (P, d) and their identities (P,), sorted.

    Raises:
        ValueError: features that are not a matrix of finite numbers, or another number of identities than of rows.
    """
    features = checked_matrix(features, "features")
    names, number = numbered_identities(pids, len(features))
    number = torch.from_numpy(number).to(features.device)
    sums = features.new_zeros(len(names), features.shape[1]).index_add_(0, number, features)
    return sums / torch.bincount(number, minlength=len(names))[:, None], names


def resolution_direction(lr_features: Array, hr_features: Array, pids: Any) -> torch.Tensor:
    """Return V_HR - V_LR (Section 1): the mean, over identities, of their mean HR feature less their mean LR feature.

    Args:
        lr_features, hr_features: (n, d), row i of both from the same image.
        pids: (n,) identities.

    Returns:
        (d,).

    Raises:
        ValueError: as `identity_means`; widths or lengths that differ; fewer than two identities.
    """
    return _identity_differences(lr_features, hr_features, pids)[0].mean(0)


def _identity_differences(lr_features: Array, hr_features: Array, pids: Any) -> tuple[torch.Tensor, np.ndarray]:
    """Return the mean HR less the mean LR feature (P, d) of every identity, and the identities (P,)."""
    lr_features, hr_features = checked_pair(lr_features, hr_features, same_width=True)
    differences, names = identity_means(hr_features - lr_features, pids)
    if len(names) < 2:
        raise ValueError(f"expected at least two identities to average over, found {len(names)}")
    return differences, names


def direction_cosine(first: Array, second: Array) -> float:
    """Return the cosine similarity of two directions (d,), within [-1, 1].

    Raises:
        ValueError: widths that differ, NaN or infinite entries, or a direction of length zero.
    """
    first, second = (
        x[0] for x in checked_pair(first[None], second[None], "the first direction", "the second direction", True)
    )
    lengths = first.norm() * second.norm()
    if lengths == 0:
        raise ValueError("a direction has length zero, so it has no cosine: are LR and HR features the same?")
    return ((first @ second) / lengths).clamp(-1, 1).item()


# decision VPFA-6
def halves(pids: Any, by: Literal["identity", "image"] = "identity", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into two random halves.

    The paper ("split each set into two halves") does not say of what. ``identity``: no identity is in both halves, so
    that what the halves share cannot be identity. ``image``: a random half of the rows.

    Args:
        pids: (n,) identities of the rows.
        by: ``identity`` or ``image``.
        seed: of the draw.

    Returns:
        Two sorted arrays of row numbers; the first half is the smaller one when the count is odd.

    Raises:
        ValueError: another ``by``, or fewer than two identities.
    """
    names, number = numbered_identities(pids, len(pids))
    if len(names) < 2:
        raise ValueError(f"expected at least two identities to split into halves, found {len(names)}")
    if by not in ("identity", "image"):
        raise ValueError(f"expected by='identity' or by='image', found {by!r}")
    units = number if by == "identity" else np.arange(len(number))
    order = numpy_generator(seed, "directions", "halves", by).permutation(units.max() + 1)
    chosen = np.isin(units, order[: len(order) // 2])
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def cosine_of_halves(
    lr_features: Array, hr_features: Array, pids: Any, by: Literal["identity", "image"] = "identity", seed: int = 0
) -> float:
    """Return cos(V_HR1 - V_LR1, V_HR2 - V_LR2) (Section 1, Table 1): do two halves of a set agree on the direction?

    Args:
        lr_features, hr_features: (n, d), row i of both from the same image.
        pids: (n,) identities.
        by, seed: see `halves`.

    Raises:
        ValueError: as `resolution_direction` for each half (so at least four identities with ``by="identity"``),
            `halves` and `direction_cosine`.
    """
    lr_features, hr_features = checked_pair(lr_features, hr_features, same_width=True)
    _, pids = numbered_identities(pids, len(lr_features))
    directions = [
        resolution_direction(lr_features[rows], hr_features[rows], pids[rows]) for rows in halves(pids, by, seed)
    ]
    return direction_cosine(*directions)


# ---- Section 3.2, Table 2b: grouped Pearson correlation --------------------------------------------------------------


@dataclass(frozen=True)
class GroupedPearson:
    """Pearson correlations (G,) of groups' mean differences with the global shift."""

    values: torch.Tensor

    @property
    def mean(self) -> float:
        """Mean correlation (r of Table 2b)."""
        return self.values.mean().item()

    @property
    def std(self) -> float:
        """Standard deviation over the groups (std. of r of Table 2b), with divisor G."""
        return self.values.std(correction=0).item()

    def percent_above(self, threshold: float = 0.4) -> float:
        """Groups above ``threshold``, in percent (proportion of r > 0.4 of Table 2b)."""
        return 100 * (self.values > threshold).double().mean().item()


def grouped_pearson(
    lr_features: Array,
    hr_features: Array,
    pids: Any,
    group_size: int = 2,
    identities: int | None = None,
    leave_out: bool = False,
    seed: int = 0,
) -> GroupedPearson:
    """Return Pearson's r, over the d dimensions, between groups' mean HR - LR differences and the global shift.

    The global shift is the mean difference of all identities. With ``leave_out`` the group's own identities are left
    out of it; without, as the paper and its script have it, a group is compared with a mean that it is part of, and
    differences that share nothing give r of about sqrt(group_size / all identities) instead of 0.

    The paper: 50 identities in 25 groups of two (``group_size=2, identities=50``). The released script: every identity
    by itself (``group_size=1``).

    Args:
        lr_features, hr_features: (n, d), row i of both from the same image; d >= 2.
        pids: (n,) identities.
        group_size: identities to a group; groups are drawn, identities that fill no group take part in the shift only.
        identities: how many, drawn, form the groups; None: all.
        leave_out: leave the group's identities out of the global shift.
        seed: of the draws.

    Raises:
        ValueError: as `resolution_direction`; ``group_size`` or ``identities`` out of range; a group or a shift whose
            entries are all the same, so that r is not defined.
    """
    differences, names = _identity_differences(lr_features, hr_features, pids)
    chosen = len(names) if identities is None else identities
    if not 1 <= group_size <= chosen <= len(names):
        raise ValueError(
            f"expected 1 <= group_size <= identities <= {len(names)} (identities there are), found "
            f"group_size {group_size} and identities {chosen}"
        )
    if leave_out and group_size == len(names):
        raise ValueError(f"a group of all {group_size} identities leaves none for the global shift: use smaller groups")
    order = numpy_generator(seed, "directions", "groups").permutation(len(names))[: chosen // group_size * group_size]
    sums = differences[order].unflatten(0, (-1, group_size)).sum(1)
    total = differences.sum(0).expand_as(sums)
    shift = (total - sums) / (len(names) - group_size) if leave_out else total / len(names)
    return GroupedPearson(pearson(sums / group_size, shift, "a mean difference"))


# ---- Appendix A.4, Table 7: distances between centres ----------------------------------------------------------------


def centre_distances(
    lr_features: Array, hr_features: Array, pids: Any, hr_pids: Any = None
) -> tuple[torch.Tensor, np.ndarray]:
    """Return the Euclidean distance between the HR and the LR centre of every identity (Table 7).

    Args:
        lr_features: (n, d), before or after VPFA.
        hr_features: (m, d).
        pids: (n,) identities of the LR features, and of the HR features when ``hr_pids`` is None (then m = n).
        hr_pids: (m,) identities of the HR features; identities that are not in both sets are left out.

    Returns:
        Distances (P,) and their identities (P,), sorted.

    Raises:
        ValueError: as `identity_means`; widths that differ; lengths that differ without ``hr_pids``; no identity in
            both sets.
    """
    lr_features, hr_features = checked_pair(lr_features, hr_features, same_width=True, same_length=hr_pids is None)
    lr_centres, lr_names = identity_means(lr_features, pids)
    hr_centres, hr_names = identity_means(hr_features, pids if hr_pids is None else hr_pids)
    names, lr_rows, hr_rows = np.intersect1d(lr_names, hr_names, assume_unique=True, return_indices=True)
    if len(names) == 0:
        raise ValueError("no identity has both LR and HR features: look at pids and hr_pids")
    return (lr_centres[lr_rows] - hr_centres[hr_rows]).norm(dim=1), names


def reduction_percent(before: Array, after: Array) -> torch.Tensor:
    """Return by how many percent distances (P,) fell (the last row of Table 7); negative where they grew.

    Raises:
        ValueError: lengths that differ, NaN or infinite distances, or a distance before that is not positive.
    """
    before, after = (
        x[:, 0] for x in checked_pair(before[:, None], after[:, None], "distances before", "distances after")
    )
    if (before <= 0).any():
        raise ValueError("distances before must be positive to be reduced, found zero or less")
    return 100 * (1 - after / before)
