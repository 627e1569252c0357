"""Canonical correlation of LR and HR features (VPFA, Section 3.2, Table 2a): in sample, held out, and as released.

All functions take LR and HR features as `paired` says, which also makes the sets to compare a number with.
"""

from dataclasses import dataclass

import torch

from reid_lib.evaluation.paired import Array, centred, checked_pair, pearson


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
    d_lr + d_hr - (n - 1) correlations, where that is positive, are 1 whatever the data. Compare with
    `paired.baselines` and with `held_out_correlation`.

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
    lr_features, hr_features = checked_pair(lr_features, hr_features)
    return CanonicalCorrelation(_fit(lr_features, hr_features, pca).correlations)


def held_out_correlation(
    fit_lr_features: Array, fit_hr_features: Array, lr_features: Array, hr_features: Array, pca: int | None = None
) -> CanonicalCorrelation:
    """Return canonical correlations held out: variates fitted on one part, their Pearson correlation on the other.

    The parts should share no identity (`directions.halves` by identity makes such parts). Unrelated features give
    about zero, with a standard deviation of 1 / sqrt(n - 1), at any width.

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
    fit_lr, fit_hr = checked_pair(fit_lr_features, fit_hr_features)
    lr, hr = (x.to(fit_lr.device) for x in checked_pair(lr_features, hr_features))
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
    return CanonicalCorrelation(pearson(lr_variates.T, hr_variates.T, "a held-out canonical variate"))


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
    first, second = checked_pair(*columns, "the first variates", "the second variates", same_width=True)
    if len(first) < 2:
        raise ValueError(f"expected at least two rows of variates, found {len(first)}")
    first, second = centred(first), centred(second)
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
    lr, hr = (centred(x) for x in checked_pair(lr_features, hr_features))
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
    both = torch.cat([centred(lr), centred(hr)], 1)
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
