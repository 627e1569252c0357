"""Canonical correlations: equations against slow loops, what each number can and cannot say, bad inputs."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import ConvergenceWarning

from reid_lib.evaluation.cca import (
    canonical_correlation,
    held_out_correlation,
    released_correlation,
    released_formula,
)
from reid_lib.evaluation.paired import random_features, shuffled_pairs
from reid_lib.seeds import numpy_generator


def linked(n: int, width: int, correlations: tuple[float, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """LR and HR features whose true canonical correlations are ``correlations``, then zeros; mixed linearly."""
    draw = numpy_generator(seed, "test", "linked")
    common, k = draw.normal(size=(n, len(correlations))), len(correlations)
    sides = []
    for _ in range(2):
        side = draw.normal(size=(n, width))
        side[:, :k] = np.sqrt(correlations) * common + np.sqrt(1 - np.array(correlations)) * side[:, :k]
        sides.append(side @ (np.eye(width) + 0.3 * draw.normal(size=(width, width)) / np.sqrt(width)))
    return sides[0], sides[1]


# ---- Table 2a --------------------------------------------------------------------------------------------------------


def slow_canonical_correlations(lr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Square roots of the eigenvalues of Sxx^-1 Sxy Syy^-1 Syx, the covariances summed in a loop."""
    x, y = lr - lr.mean(0), hr - hr.mean(0)
    sxx, syy, sxy = (sum(np.outer(a, b) for a, b in zip(p, q, strict=True)) for p, q in ((x, x), (y, y), (x, y)))
    values = np.linalg.eigvals(np.linalg.inv(sxx) @ sxy @ np.linalg.inv(syy) @ sxy.T).real
    return np.sqrt(np.sort(values)[::-1][: min(lr.shape[1], hr.shape[1])])  # the others are 0, or just below


def test_canonical_correlations_are_the_roots_of_the_eigenvalues() -> None:
    lr, hr = linked(200, 6, (0.9, 0.5))
    for first, second in ((lr, hr), (lr[:, :4], hr), (lr, hr[:, :5])):
        found = canonical_correlation(first, second)
        np.testing.assert_allclose(found.values, slow_canonical_correlations(first, second), atol=1e-10)
    assert found.leading == found.values[:3].tolist()
    assert found.first == found.values[0]
    assert found.mean == pytest.approx(found.values.mean().item())


def test_canonical_correlations_agree_with_scikit_learn_where_it_converges() -> None:
    lr, hr = linked(500, 12, (0.95, 0.8, 0.6))
    model = CCA(n_components=3, max_iter=2000).fit(lr, hr)
    assert max(model.n_iter_) < 2000
    variates = zip(*(x.T for x in model.transform(lr, hr)), strict=True)
    theirs = [np.corrcoef(a, b)[0, 1] for a, b in variates]
    np.testing.assert_allclose(canonical_correlation(lr, hr).leading, theirs, atol=1e-3)


def test_canonical_correlations_do_not_depend_on_linear_maps_or_shifts() -> None:
    lr, hr = linked(300, 8, (0.9, 0.5))
    mixed = 1e3 * lr @ numpy_generator(0, "test", "map").normal(size=(8, 8)) + 7
    torch.testing.assert_close(canonical_correlation(mixed, hr).values, canonical_correlation(lr, hr).values)


def test_dependent_and_constant_columns_are_left_out() -> None:
    lr, hr = (x.astype(np.float32) for x in linked(300, 8, (0.9, 0.5)))
    wider = np.concatenate([lr, lr[:, :3] + lr[:, 3:6], np.full((300, 2), 0.1, np.float32)], 1)
    torch.testing.assert_close(canonical_correlation(wider, hr).values, canonical_correlation(lr, hr).values)
    dead = np.concatenate([lr, np.full((300, 2), 0.1)], 1)  # in float64 the mean of 0.1 is not quite 0.1
    torch.testing.assert_close(released_correlation(dead, hr), released_correlation(lr, hr))


def test_pca_is_that_of_the_covariances() -> None:
    lr, hr = linked(300, 8, (0.9, 0.5, 0.4))
    reduced = []
    for x in (lr, hr):
        _, vectors = np.linalg.eigh(np.cov(x.T))
        reduced.append((x - x.mean(0)) @ vectors[:, -3:])
    slow = slow_canonical_correlations(*reduced)
    np.testing.assert_allclose(canonical_correlation(lr, hr, pca=3).values, slow, atol=1e-10)
    torch.testing.assert_close(canonical_correlation(lr, hr, pca=8).values, canonical_correlation(lr, hr).values)


def test_held_out_correlation_is_that_of_the_fitted_variates() -> None:
    lr, hr = linked(1000, 6, (0.9, 0.5))
    sxx, syy = np.cov(lr[:600].T), np.cov(hr[:600].T)
    sxy = np.cov(lr[:600].T, hr[:600].T)[:6, 6:]
    values, weights = np.linalg.eig(np.linalg.inv(sxx) @ sxy @ np.linalg.inv(syy) @ sxy.T)
    slow = []
    for i in np.argsort(values)[::-1]:
        other = np.linalg.inv(syy) @ sxy.T @ weights[:, i]
        slow.append(np.corrcoef(lr[600:] @ weights[:, i], hr[600:] @ other)[0, 1])
    found = held_out_correlation(lr[:600], hr[:600], lr[600:], hr[600:])
    np.testing.assert_allclose(found.values, slow, atol=1e-10)
    np.testing.assert_allclose(found.leading[:2], [0.9, 0.5], atol=0.1)


def test_held_out_on_the_rows_of_the_fit_is_in_sample() -> None:
    lr, hr = linked(300, 10, (0.9, 0.5))
    for pca in (None, 4):
        held_out = held_out_correlation(lr, hr, lr, hr, pca)
        torch.testing.assert_close(held_out.values, canonical_correlation(lr, hr, pca).values)


def test_in_sample_is_blind_when_the_width_nears_the_samples_and_held_out_is_not() -> None:
    width, n, n_rest = 100, 110, 1000
    lr, hr = linked(n + n_rest, width, (0.9,) * 50)
    fit, rest = (lr[:n], hr[:n]), (lr[n:], hr[n:])
    shuffled = shuffled_pairs(*fit)
    in_sample, in_sample_shuffled = canonical_correlation(*fit), canonical_correlation(*shuffled)
    assert in_sample.leading == pytest.approx([1, 1, 1])
    assert in_sample_shuffled.leading == pytest.approx([1, 1, 1])
    assert in_sample.mean - in_sample_shuffled.mean < 0.02
    forced = 2 * width - (n - 1)  # so many correlations are 1 whatever the data
    np.testing.assert_allclose(in_sample_shuffled.values[:forced], 1)
    assert in_sample_shuffled.values[forced] < 1 - 1e-6

    noise = 1 / np.sqrt((n_rest - 1) * width)
    held_out, held_out_shuffled = held_out_correlation(*fit, *rest).mean, held_out_correlation(*shuffled, *rest).mean
    assert abs(held_out_shuffled) < 4 * noise
    assert held_out > 10 * noise
    assert held_out_correlation(*fit, *rest, pca=10).mean > 4 * held_out


def test_held_out_nears_the_true_correlation_from_below_and_in_sample_from_above() -> None:
    lr, hr = linked(2000, 100, (0.9,) * 50)  # 50 of 0.9, 50 of 0: mean 0.45
    gaps = []
    for n in (220, 400, 1000):
        above = canonical_correlation(lr[:n], hr[:n]).mean
        below = held_out_correlation(lr[:n], hr[:n], lr[1000:], hr[1000:]).mean
        assert below < 0.45 < above
        gaps.append(above - below)
    assert gaps == sorted(gaps, reverse=True)


def test_unrelated_features_correlate_in_sample_as_documented() -> None:
    lr, hr = linked(400, 50, (0.9,) * 20)
    values = canonical_correlation(*random_features(lr, hr)).values
    assert values.square().mean().item() == pytest.approx(50 / 399, rel=0.05)


def test_scikit_learn_does_not_converge_where_correlations_are_close() -> None:
    """Why the script's 500 iterations are no guarantee: chance correlations lie close together."""
    lr, hr = linked(200, 30, (), seed=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CCA(n_components=3, max_iter=20).fit(lr, hr)
    assert any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


# ---- the released formula --------------------------------------------------------------------------------------------


def test_released_formula_is_cov_over_the_sum_of_variances() -> None:
    draw = numpy_generator(0, "test", "released")
    first, second = draw.normal(size=(2, 50))
    second += first
    slow = abs(np.cov(first, second)[0, 1]) / (np.var(first) + np.var(second))  # the script's two divisors
    assert released_formula(first, second).item() * 50 / 49 == pytest.approx(slow)
    assert released_formula(first[:, None], -second[:, None]).item() * 50 / 49 == pytest.approx(slow)


def test_the_released_formula_reaches_one_half_only_for_equal_variances_and_perfect_correlation() -> None:
    draw = numpy_generator(0, "test", "ceiling")
    x, noise = draw.normal(size=(2, 1000))
    assert released_formula(x, x).item() == pytest.approx(0.5)
    assert released_formula(x, 3 - x).item() == pytest.approx(0.5)
    assert released_formula(x, 1.1 * x).item() < 0.4978  # perfect correlation, other variances
    assert released_formula(x, 3 * x).item() == pytest.approx(3 / 10)
    same_variance = (x + 0.1 * noise) * x.std() / (x + 0.1 * noise).std()
    assert released_formula(x, same_variance).item() < 0.4995  # equal variances, other correlation
    for scale in (0.2, 1, 5):
        for amount in (0, 0.5, 2):
            y = scale * (x + amount * noise)
            value, rho = released_formula(x, y).item(), abs(np.corrcoef(x, y)[0, 1])
            assert value <= 0.5 + 1e-12
            assert 2 * value <= rho + 1e-12
            assert value == pytest.approx(rho * x.std() * y.std() / (x.var() + y.var()))


@pytest.mark.parametrize("n", [3, 10, 1000])
def test_the_scripts_two_divisors_lift_its_ceiling_by_n_over_n_minus_1(n: int) -> None:
    def script(first: np.ndarray, second: np.ndarray) -> float:
        return abs(np.cov(first, second)[0, 1]) / (np.var(first) + np.var(second))

    draw = numpy_generator(0, "test", "divisors", n)
    x, noise = draw.normal(size=(2, n))
    assert script(x, -x) == pytest.approx(0.5 * n / (n - 1))
    for y in (x, 3 * x, x + noise, noise):
        value, rho = script(x, y), abs(np.corrcoef(x, y)[0, 1])
        assert value == pytest.approx(released_formula(x, y).item() * n / (n - 1))
        assert 2 * value * (n - 1) / n <= rho + 1e-12


def test_released_correlation_is_the_scripts_on_scikit_learns_variates() -> None:
    lr, hr = linked(500, 12, (0.95, 0.8, 0.6))
    hr = hr * np.arange(1, 13) + 5
    a, b = CCA(n_components=3, max_iter=2000, tol=1e-12).fit(lr, hr).transform(lr, hr)
    script = [abs(np.cov(a[:, i], b[:, i])[0, 1]) / (np.var(a[:, i]) + np.var(b[:, i])) for i in range(3)]
    np.testing.assert_allclose(released_correlation(lr, hr) * 500 / 499, script, atol=1e-3)
    torch.testing.assert_close(released_formula(a, b), released_correlation(lr, hr), atol=1e-3, rtol=0)


def test_a_perfect_correlation_can_have_a_low_released_value() -> None:
    draw = numpy_generator(0, "test", "perfect")
    lr = draw.normal(size=(500, 10))
    hr = lr @ draw.normal(size=(10, 10))  # a linear map: every canonical correlation is 1
    assert canonical_correlation(lr, hr).values.min() > 1 - 1e-9
    released = released_correlation(lr, hr, components=10)
    assert released.max() < 0.5
    assert released.min() < 0.35


# ---- bad inputs ------------------------------------------------------------------------------------------------------

LR, HR = linked(30, 6, ())


@pytest.mark.parametrize("analysis", [canonical_correlation, released_correlation])
def test_too_few_pairs_for_canonical_correlations(analysis) -> None:
    with pytest.raises(ValueError, match="expected at least three pairs for a canonical correlation, found 2"):
        analysis(LR[:2], HR[:2])
    with pytest.raises(
        ValueError, match=r"7 pairs of 6 dimensions \(LR\) always correlate .* at least 8 pairs, or red"
    ):
        analysis(LR[:7], HR[:7])
    assert len(analysis(LR[:8], HR[:8]).values if analysis is canonical_correlation else analysis(LR[:8], HR[:8])) > 0
    with pytest.raises(ValueError, match="all HR features are the same"):
        analysis(LR, np.full_like(HR, 0.1))


def test_pca_and_components_out_of_range() -> None:
    for pca in (0, 7):
        with pytest.raises(ValueError, match=f"expected pca within 1 and the width 6, found {pca}"):
            canonical_correlation(LR, HR, pca)
    with pytest.raises(ValueError, match="LR features span 2 dimensions, fewer than pca=3: choose a smaller pca"):
        canonical_correlation(LR[:, [0, 1, 0, 1]], HR, pca=3)
    for components in (0, 7):
        with pytest.raises(ValueError, match=f"expected 1 to 6 components, found {components}"):
            released_correlation(LR, HR, components)


def test_held_out_parts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="the same widths, found LR 6 and 6, HR 6 and 5"):
        held_out_correlation(LR, HR, LR, HR[:, :5])
    with pytest.raises(ValueError, match="expected at least three held-out pairs to correlate, found 2"):
        held_out_correlation(LR, HR, LR[:2], HR[:2])
    with pytest.raises(ValueError, match="a held-out canonical variate has the same value everywhere"):
        held_out_correlation(LR, HR, np.full((7, 6), 0.1), HR[:7])


def test_bad_variates() -> None:
    with pytest.raises(ValueError, match="expected at least two rows of variates, found 1"):
        released_formula(LR[:1], HR[:1])
    with pytest.raises(ValueError, match="both variates are constant"):
        released_formula(np.full(7, 0.1), np.zeros(7))
    with pytest.raises(ValueError, match="must be paired row by row, found 30 and 29 rows"):
        released_formula(LR[:, 0], HR[:29, 0])
