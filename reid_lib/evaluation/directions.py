"""Is there a resolution direction? The statistics of VPFA (Sections 1 and 3.2, Tables 2a, 2b and 7) with baselines.

All functions take LR and HR features of the same images: row i of both is image i, with identity ``pids[i]``. Where LR
and HR images differ (the MLR protocol), give `identity_means` of both, one row per identity. NumPy arrays and torch
tensors (CPU or CUDA) are taken; tensors come back in float64, on the device of the first argument.

A number without its baseline says little: `baselines` makes, from one pair of feature sets, the sets to compare with.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from reid_lib.seeds import numpy_generator, torch_generator

Array = np.ndarray | torch.Tensor


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
    features = _matrix(features, "features")
    names, number = _identities(pids, len(features))
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


def direction_cosine(first: Array, second: Array) -> float:
    """Return the cosine similarity of two directions (d,), within [-1, 1].

    Raises:
        ValueError: widths that differ, NaN or infinite entries, or a direction of length zero.
    """
    first, second = (
        x[0] for x in _pair(first[None], second[None], "the first direction", "the second direction", True)
    )
    lengths = first.norm() * second.norm()
    if lengths == 0:
        raise ValueError("a direction has length zero, so it has no cosine: are LR and HR features the same?")
    return ((first @ second) / lengths).clamp(-1, 1).item()


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
    names, number = _identities(pids, len(pids))
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
    lr_features, hr_features = _pair(lr_features, hr_features, same_width=True)
    _identities(pids, len(lr_features))
    pids = _numpy(pids)
    directions = [
        resolution_direction(lr_features[rows], hr_features[rows], pids[rows]) for rows in halves(pids, by, seed)
    ]
    return direction_cosine(*directions)


# ---- Section 3.2, Table 2a: canonical correlation --------------------------------------------------------------------


@dataclass(frozen=True)
class CanonicalCorrelation:
    """Canonical correlations of LR and HR features.

    Attributes:
        values: (k,) one per pair of canonical variates, in the order of the fit: falling in sample; held out they may
            rise, and be negative.
    """

    values: torch.Tensor

    @property
    def first(self) -> float:
        """The first canonical correlation (R1 of Table 2a)."""
        return self.values[0].item()

    @property
    def leading(self) -> list[float]:
        """The first three (R1, R2, R3 of Table 2a), or fewer where there are fewer."""
        return self.values[:3].tolist()

    @property
    def mean(self) -> float:
        """The mean over all pairs of variates."""
        return self.values.mean().item()


def canonical_correlation(lr_features: Array, hr_features: Array, pca: int | None = None) -> CanonicalCorrelation:
    """Return the true canonical correlations in sample: fitted and measured on the same rows (Section 3.2).

    The columns of both sets are centred; QR and SVD give orthonormal bases of what they span (directions that hold
    nothing but rounding are left out), and the singular values of the bases' product are the correlations.

    In sample, any two sets correlate: of unrelated normal features, the mean square is max(d_lr, d_hr) / (n - 1), and
    d_lr + d_hr - (n - 1) correlations, where that is positive, are 1 whatever the data. Compare with `baselines`, and
    with `held_out_correlation`.

    Args:
        lr_features: (n, d_lr).
        hr_features: (n, d_hr); the widths may differ.
        pca: reduce each set to its ``pca`` leading principal components first; None keeps all.

    Returns:
        min(d_lr, d_hr) correlations within [0, 1], falling; fewer where columns depend on one another.

    Raises:
        ValueError: features that are not matrices of finite numbers; lengths that differ; ``pca`` out of range; so few
            rows that every correlation would be 1.
    """
    lr_features, hr_features = _pair(lr_features, hr_features)
    return CanonicalCorrelation(_fit(lr_features, hr_features, pca).correlations)


def held_out_correlation(
    fit_lr_features: Array, fit_hr_features: Array, lr_features: Array, hr_features: Array, pca: int | None = None
) -> CanonicalCorrelation:
    """Return canonical correlations held out: variates fitted on one part, their Pearson correlation on the other.

    The parts should share no identity (`halves` by identity makes such parts). Unrelated features give about zero, with
    a standard deviation of 1 / sqrt(n - 1), at any width.

    It falls short of the true correlation where the fit has few rows for its width; correlations that are 1 in sample
    whatever the data have arbitrary variates. Reduce the width by ``pca`` then.

    Args:
        fit_lr_features, fit_hr_features: (m, d_lr) and (m, d_hr): the part to fit on.
        lr_features, hr_features: (n, d_lr) and (n, d_hr): the part to measure on, n >= 3.
        pca: as `canonical_correlation`; fitted on the first part.

    Returns:
        One signed correlation within [-1, 1] per pair of variates, in the order of the fit.

    Raises:
        ValueError: as `canonical_correlation`; widths of the parts that differ; fewer than three rows to measure on; a
            variate that is constant on them.
    """
    fit_lr, fit_hr = _pair(fit_lr_features, fit_hr_features)
    lr, hr = (x.to(fit_lr.device) for x in _pair(lr_features, hr_features))
    if lr.shape[1] != fit_lr.shape[1] or hr.shape[1] != fit_hr.shape[1]:
        raise ValueError(
            f"both parts must have the same widths, found LR {fit_lr.shape[1]} and {lr.shape[1]}, "
            f"HR {fit_hr.shape[1]} and {hr.shape[1]}"
        )
    if len(lr) < 3:
        raise ValueError(f"expected at least three held-out pairs to correlate, found {len(lr)}")
    fit = _fit(fit_lr, fit_hr, pca)
    lr_variates = (lr - fit_lr.mean(0)) @ fit.lr_weights
    hr_variates = (hr - fit_hr.mean(0)) @ fit.hr_weights
    return CanonicalCorrelation(_pearson(lr_variates.T, hr_variates.T, "a held-out canonical variate"))


def released_formula(first: Array, second: Array) -> torch.Tensor:
    """Return |cov| / (var + var), what the released script calls the correlation of two canonical variates.

    With the true correlation rho and the standard deviations s and t it is |rho| s t / (s^2 + t^2). Its ceiling is 0.5,
    reached only where |rho| = 1 and s = t; it falls when the variances differ, so 0.35 can stand for a perfect
    correlation. What a value c does say: |rho| is at least 2 c. The script mixes the divisors n - 1 (cov) and n (var),
    which makes its value n / (n - 1) times this one: 1.00008 for Market-1501's 12,936 training images.

    Args:
        first, second: variates, (n,) or (n, k), n >= 2.

    Returns:
        (k,) within [0, 0.5].

    Raises:
        ValueError: shapes that differ, NaN or infinite entries, fewer than two rows, or two constant variates.
    """
    columns = (x[:, None] if x.ndim == 1 else x for x in (first, second))
    first, second = _pair(*columns, "the first variates", "the second variates", same_width=True)
    if len(first) < 2:
        raise ValueError(f"expected at least two rows of variates, found {len(first)}")
    first, second = _centred(first), _centred(second)
    total = first.square().sum(0) + second.square().sum(0)
    if (total == 0).any():
        raise ValueError("both variates are constant, so |cov| / (var + var) is 0 / 0: look for repeated features")
    return (first * second).sum(0).abs() / total


def released_correlation(lr_features: Array, hr_features: Array, components: int = 3) -> torch.Tensor:
    """Return R1, R2, R3 as the script behind Table 2a defines them: `released_formula` of scikit-learn's CCA variates.

    `released_formula` depends on the scale of the variates, which CCA leaves free. scikit-learn fixes it by weights of
    length 1 on standardised features, where the weights of each pair are taken orthogonal to those of the pairs before.
    This is done here without its iterations. In sample only, as the script has it.

    Args:
        lr_features, hr_features: (n, d_lr) and (n, d_hr).
        components: how many pairs of variates.

    Returns:
        (components,) within [0, 0.5]; not necessarily falling.

    Raises:
        ValueError: as `canonical_correlation`; fewer pairs of variates than ``components``.
    """
    lr, hr = (_centred(x) for x in _pair(lr_features, hr_features))
    _check_rows(len(lr))
    fit = _fit(*(x / x.std(0).where(x.std(0) > 0, 1) for x in (lr, hr)), pca=None)
    if not 1 <= components <= len(fit.correlations):
        raise ValueError(f"expected 1 to {len(fit.correlations)} components, found {components}")
    # |diagonal of R|: lengths of the weights less their parts along earlier ones; the variates' deviations are inverse
    lr, hr = (
        1 / torch.linalg.qr(weights[:, :components], mode="r").R.diagonal().abs()
        for weights in (fit.lr_weights, fit.hr_weights)
    )
    return fit.correlations[:components] * lr * hr / (lr.square() + hr.square())


@dataclass(frozen=True)
class _Canonical:
    """Correlations (k,) and the weights (d, k) whose variates have variance 1 on the rows of the fit."""

    correlations: torch.Tensor
    lr_weights: torch.Tensor
    hr_weights: torch.Tensor


def _fit(lr: torch.Tensor, hr: torch.Tensor, pca: int | None) -> _Canonical:
    """QR of both sets side by side leaves two small factors with the sets' inner products; no n x n or n x d factor."""
    n, width = lr.shape
    _check_rows(n)
    if pca is not None and not 1 <= pca <= min(width, hr.shape[1]):
        raise ValueError(f"expected pca within 1 and the width {min(width, hr.shape[1])}, found {pca}")
    both = torch.cat([_centred(lr), _centred(hr)], 1)
    factor = torch.linalg.qr(both, mode="r").R
    lr_basis, lr_unit = _basis(factor[:width, :width], n, pca, "LR")
    hr_basis, hr_unit = _basis(factor[:, width:], n, pca, "HR")
    left, correlations, right = torch.linalg.svd(lr_basis.T @ hr_basis[: len(lr_basis)], full_matrices=False)
    return _Canonical(correlations.clamp(max=1), lr_unit @ left, hr_unit @ right.T)


def _check_rows(n: int) -> None:
    if n < 3:
        raise ValueError(f"expected at least three pairs for a canonical correlation, found {n}")


def _basis(factor: torch.Tensor, n: int, pca: int | None, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal basis (m, k) of the columns of ``factor``, and the weights (d, k) that give it variance 1."""
    left, scale, right = torch.linalg.svd(factor, full_matrices=False)
    rank = int((scale > 1e-6 * scale[0]).sum())  # below stands the rounding of float32 features
    if rank == 0:
        raise ValueError(f"all {name} features are the same, so they correlate with nothing: look for repeated rows")
    if pca is not None and pca > rank:
        raise ValueError(f"{name} features span {rank} dimensions, fewer than pca={pca}: choose a smaller pca")
    rank = pca or rank
    if rank >= n - 1:
        raise ValueError(
            f"{n} pairs of {rank} dimensions ({name}) always correlate perfectly: expected at least {rank + 2} pairs, "
            "or reduce the width by pca"
        )
    return left[:, :rank], right[:rank].T / scale[:rank] * (n - 1) ** 0.5


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
    return GroupedPearson(_pearson(sums / group_size, shift, "a mean difference"))


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
    lr_features, hr_features = _pair(lr_features, hr_features, same_width=True, same_length=hr_pids is None)
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
    before, after = (x[:, 0] for x in _pair(before[:, None], after[:, None], "distances before", "distances after"))
    if (before <= 0).any():
        raise ValueError("distances before must be positive to be reduced, found zero or less")
    return 100 * (1 - after / before)


# ---- Baselines -------------------------------------------------------------------------------------------------------


def shuffled_pairs(lr_features: Array, hr_features: Array, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features with the HR rows in random order: the same two sets, with no link between rows.

    This is "random" of Table 2a in the released script. It is no baseline of a direction: the shift between two sets
    does not depend on how their rows are paired. For that take `exchanged_resolutions`.

    Raises:
        ValueError: as `canonical_correlation`.
    """
    lr_features, hr_features = _pair(lr_features, hr_features)
    return lr_features, hr_features[numpy_generator(seed, "directions", "shuffle").permutation(len(hr_features))]


def random_features(lr_features: Array, hr_features: Array, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return independent normal features with the columns' standard deviations: no pairs, no identities, no shift.

    Both sets have the mean of all features, so that only chance sets them apart. The same numbers on CPU and CUDA.

    Raises:
        ValueError: as `resolution_direction`, and fewer than two rows.
    """
    lr_features, hr_features = _pair(lr_features, hr_features, same_width=True)
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
        ValueError: as `resolution_direction`.
    """
    lr_features, hr_features = _pair(lr_features, hr_features, same_width=True)
    names, number = _identities(pids, len(lr_features))
    if len(names) < 2:
        raise ValueError(f"expected at least two identities, found {len(names)}")
    coins = numpy_generator(seed, "directions", "exchange").random(len(names)) < 0.5
    exchange = torch.from_numpy(coins[number]).to(lr_features.device)[:, None]
    return torch.where(exchange, hr_features, lr_features), torch.where(exchange, lr_features, hr_features)


def baselines(
    lr_features: Array, hr_features: Array, pids: Any, seed: int = 0
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return what to give each statistic of this module: the features themselves and what to compare them with.

    Example::

        {name: cosine_of_halves(lr, hr, pids) for name, (lr, hr) in baselines(lr, hr, pids).items()}

    Returns:
        ``features``, ``shuffled pairs``, ``random features``, ``exchanged resolutions``: (LR, HR) of the given shape.

    Raises:
        ValueError: as the functions of these names.
    """
    return {
        "features": _pair(lr_features, hr_features, same_width=True),
        "shuffled pairs": shuffled_pairs(lr_features, hr_features, seed),
        "random features": random_features(lr_features, hr_features, seed),
        "exchanged resolutions": exchanged_resolutions(lr_features, hr_features, pids, seed),
    }


# ---- Input -----------------------------------------------------------------------------------------------------------


def _identity_differences(lr_features: Array, hr_features: Array, pids: Any) -> tuple[torch.Tensor, np.ndarray]:
    """Mean HR less mean LR feature (P, d) of every identity, and the identities."""
    lr_features, hr_features = _pair(lr_features, hr_features, same_width=True)
    differences, names = identity_means(hr_features - lr_features, pids)
    if len(names) < 2:
        raise ValueError(f"expected at least two identities to average over, found {len(names)}")
    return differences, names


def _pearson(first: torch.Tensor, second: torch.Tensor, what: str) -> torch.Tensor:
    """Pearson's r between the rows of two matrices."""
    first, second = _centred(first.T).T, _centred(second.T).T
    lengths = first.norm(dim=1) * second.norm(dim=1)
    if (lengths == 0).any():
        raise ValueError(f"{what} has the same value everywhere, so it has no correlation: are features repeated?")
    return ((first * second).sum(1) / lengths).clamp(-1, 1)


def _centred(values: torch.Tensor) -> torch.Tensor:
    """Columns less their means; zero for a constant column, whose mean may be rounded."""
    centred = values - values.mean(0)
    return centred.where(centred.abs().amax(0) > 1e-12 * values.abs().amax(0), 0)


def _pair(
    first: Array,
    second: Array,
    first_name: str = "LR features",
    second_name: str = "HR features",
    same_width: bool = False,
    same_length: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as checked float64 matrices on the device of the first."""
    first, second = _matrix(first, first_name), _matrix(second, second_name)
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


def _matrix(values: Array, name: str) -> torch.Tensor:
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


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _identities(pids: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The sorted identities (P,), and the place of each row's identity among them (n,)."""
    pids = _numpy(pids)
    if pids.shape != (n,):
        raise ValueError(f"pids must be one per row of the features, expected shape ({n},), found {pids.shape}")
    return np.unique(pids, return_inverse=True)
