"""Directions: equations against slow loops, facts about what each number can and cannot say, bad inputs."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import ConvergenceWarning

from reid_lib.evaluation.directions import (
    baselines,
    canonical_correlation,
    centre_distances,
    cosine_of_halves,
    direction_cosine,
    exchanged_resolutions,
    grouped_pearson,
    halves,
    held_out_correlation,
    identity_means,
    random_features,
    reduction_percent,
    released_correlation,
    released_formula,
    resolution_direction,
    shuffled_pairs,
)
from reid_lib.seeds import numpy_generator

Features = tuple[np.ndarray, np.ndarray, np.ndarray]


def people(identities: int = 40, images: int = 4, width: int = 30, shift: float = 1.0, seed: int = 0) -> Features:
    """LR, HR and pids: identity, image noise common to both, a common shift, and a difference of each image's own."""
    draw = numpy_generator(seed, "test", "people")
    pids = np.repeat(np.arange(identities) + 10, images)
    hr = draw.normal(size=(identities, width))[pids - 10] + draw.normal(size=(len(pids), width)) / 2
    lr = hr - shift * draw.normal(size=width) + draw.normal(size=hr.shape)
    return lr, hr, pids


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


# ---- Section 1 -------------------------------------------------------------------------------------------------------


def slow_direction(lr: np.ndarray, hr: np.ndarray, pids: np.ndarray) -> np.ndarray:
    total = np.zeros(lr.shape[1])
    for pid in sorted(set(pids)):
        rows = [row for row in range(len(pids)) if pids[row] == pid]
        total += sum(hr[row] for row in rows) / len(rows) - sum(lr[row] for row in rows) / len(rows)
    return total / len(set(pids))


def test_identity_means_are_eq_2() -> None:
    features = np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    means, pids = identity_means(features, ["b", "b", "a"])
    assert pids.tolist() == ["a", "b"]
    assert means.tolist() == [[10.0, 20.0], [2.0, 3.0]]


def test_direction_weighs_identities_equally() -> None:
    lr, hr, pids = people()
    uneven = np.r_[0:50, 57:160]  # identities with four, two and one image
    lr, hr, pids = lr[uneven], hr[uneven], pids[uneven]
    np.testing.assert_allclose(resolution_direction(lr, hr, pids), slow_direction(lr, hr, pids), atol=1e-12)


@pytest.mark.parametrize("by", ["identity", "image"])
def test_cosine_of_halves_is_section_1(by: str) -> None:
    lr, hr, pids = people()
    first, second = (slow_direction(lr[rows], hr[rows], pids[rows]) for rows in halves(pids, by, seed=3))
    slow = sum(a * b for a, b in zip(first, second, strict=True)) / np.sqrt(sum(first**2) * sum(second**2))
    assert cosine_of_halves(lr, hr, pids, by, seed=3) == pytest.approx(slow, abs=1e-12)
    assert cosine_of_halves(*map(torch.from_numpy, (lr, hr, pids)), by, seed=3) == pytest.approx(slow, abs=1e-12)


def test_halves_share_no_identity_unless_split_by_image() -> None:
    pids = np.repeat(np.arange(10), 3)
    first, second = halves(pids, "identity")
    assert not set(pids[first]) & set(pids[second])
    assert sorted([*first, *second]) == list(range(30))
    assert [len(rows) for rows in halves(pids, "image")] == [15, 15]
    assert set(pids[halves(pids, "image")[0]]) & set(pids[halves(pids, "image")[1]])
    np.testing.assert_array_equal(first, halves(pids, "identity", seed=0)[0])
    assert not np.array_equal(first, halves(pids, "identity", seed=1)[0])


def test_a_common_shift_gives_cosine_one_and_none_gives_zero() -> None:
    lr, hr, pids = people(identities=200, shift=3)
    assert cosine_of_halves(lr, hr, pids) > 0.99
    without = [cosine_of_halves(*people(identities=200, shift=0, seed=seed)) for seed in range(30)]
    assert abs(np.mean(without)) < 3 / np.sqrt(30 * 30)  # 30 dimensions, 30 draws


def test_shuffled_pairs_leave_the_direction_as_it_is() -> None:
    lr, hr, pids = people()  # as many images of every identity
    shuffled = shuffled_pairs(lr, hr)
    torch.testing.assert_close(resolution_direction(*shuffled, pids), resolution_direction(lr, hr, pids))


def test_cosine_is_about_zero_for_random_features_and_over_exchanged_resolutions() -> None:
    lr, hr, pids = people(shift=3)
    seeds = range(60)
    random = [cosine_of_halves(*random_features(lr, hr, seed), pids) for seed in seeds]
    exchanged = [cosine_of_halves(*exchanged_resolutions(lr, hr, pids, seed), pids) for seed in seeds]
    assert abs(np.mean(random)) < 3 / np.sqrt(60 * 30)
    assert abs(np.mean(exchanged)) < 3 / np.sqrt(60)
    assert cosine_of_halves(lr, hr, pids) > 0.98


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


# ---- Table 2b --------------------------------------------------------------------------------------------------------


def slow_pearson(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - sum(x) / len(x), y - sum(y) / len(y)
    return sum(x * y) / np.sqrt(sum(x * x) * sum(y * y))


@pytest.mark.parametrize("leave_out", [False, True])
@pytest.mark.parametrize(("group_size", "identities"), [(2, 50), (2, 7), (1, None), (3, None)])
def test_grouped_pearson_is_section_3_2(group_size: int, identities: int | None, leave_out: bool) -> None:
    lr, hr, pids = people(identities=53)
    names = sorted(set(pids))
    own = {pid: (hr[pids == pid] - lr[pids == pid]).mean(0) for pid in names}
    order = numpy_generator(5, "directions", "groups").permutation(53)[:identities]
    slow = []
    for start in range(0, len(order) - group_size + 1, group_size):
        group = [names[i] for i in order[start : start + group_size]]
        shift = np.mean([own[pid] for pid in names if not leave_out or pid not in group], axis=0)
        slow.append(slow_pearson(np.mean([own[pid] for pid in group], axis=0), shift))
    found = grouped_pearson(lr, hr, pids, group_size, identities, leave_out, seed=5)
    np.testing.assert_allclose(found.values, slow, atol=1e-12)
    assert found.mean == pytest.approx(np.mean(slow))
    assert found.std == pytest.approx(np.std(slow))
    assert found.percent_above(0.4) == pytest.approx(100 * np.mean(np.array(slow) > 0.4))


def test_the_papers_setting_has_25_groups() -> None:
    assert len(grouped_pearson(*people(identities=60), group_size=2, identities=50).values) == 25


def test_a_group_that_is_part_of_the_shift_correlates_with_it_by_itself() -> None:
    lr, hr, pids = people(identities=50, images=1, width=2000)
    lr, hr = random_features(lr, hr)
    for group_size in (1, 2):
        with_own = grouped_pearson(lr, hr, pids, group_size)
        left_out = grouped_pearson(lr, hr, pids, group_size, leave_out=True)
        assert with_own.mean == pytest.approx(np.sqrt(group_size / 50), abs=0.02)
        assert abs(left_out.mean) < 0.02


def test_pearson_falls_to_chance_when_resolutions_are_exchanged() -> None:
    lr, hr, pids = people(identities=200, shift=2)
    assert grouped_pearson(lr, hr, pids, leave_out=True).mean > 0.7
    chance = [grouped_pearson(*exchanged_resolutions(lr, hr, pids, s), pids, leave_out=True).mean for s in range(20)]
    assert abs(np.mean(chance)) < 0.1


def test_the_order_of_an_identitys_images_matters_to_cca_alone() -> None:
    """The scripts pair an identity's images as two folders happen to list them."""
    lr, hr, pids = people(identities=60, images=4, width=10)
    draw = numpy_generator(0, "test", "listing")
    other = hr[np.concatenate([draw.permutation(np.flatnonzero(pids == pid)) for pid in np.unique(pids)])]
    torch.testing.assert_close(grouped_pearson(lr, other, pids).values, grouped_pearson(lr, hr, pids).values)
    torch.testing.assert_close(resolution_direction(lr, other, pids), resolution_direction(lr, hr, pids))
    paired, listed, shuffled = (canonical_correlation(*x).mean for x in ((lr, hr), (lr, other), shuffled_pairs(lr, hr)))
    assert shuffled + 0.05 < listed < paired - 0.05


# ---- Table 7 ---------------------------------------------------------------------------------------------------------


def test_centre_distances_are_euclidean_between_identity_means() -> None:
    lr, hr, pids = people(identities=6)
    found, names = centre_distances(lr, hr, pids)
    for pid, distance in zip(names, found, strict=True):
        difference = hr[pids == pid].mean(0) - lr[pids == pid].mean(0)
        assert distance.item() == pytest.approx(np.sqrt(sum(x * x for x in difference)))
    few = np.isin(pids, [12, 13])
    unpaired, common = centre_distances(lr, hr[few][1:], pids, pids[few][1:])
    assert common.tolist() == [12, 13]
    assert unpaired[1] == found[3]
    assert unpaired[0] != found[2]


def test_reductions_are_those_of_table_7() -> None:
    before = np.array([17.87, 22.53, 15.32, 15.26, 15.15])
    after = np.array([13.78, 16.34, 11.28, 11.10, 10.87])
    found = reduction_percent(before, after)
    np.testing.assert_allclose(found, [22.92, 27.46, 26.35, 27.24, 28.18], atol=0.1)
    assert found.mean().item() == pytest.approx(26.4, abs=0.05)  # "approximately 25 %"
    assert reduction_percent(torch.tensor([2.0]), torch.tensor([3.0])).item() == pytest.approx(-50)


def test_random_features_say_what_distance_chance_alone_gives() -> None:
    lr, hr, pids = people(identities=300, images=5, shift=5)
    chance = centre_distances(*random_features(lr, hr), pids)[0].square().mean()
    expected = (lr.var(0, ddof=1).sum() + hr.var(0, ddof=1).sum()) / 5
    assert chance.item() == pytest.approx(expected, rel=0.05)
    assert centre_distances(lr, hr, pids)[0].square().mean() > 2 * chance


# ---- baselines -------------------------------------------------------------------------------------------------------


def test_baselines_are_seeded_and_keep_what_they_say() -> None:
    lr, hr, pids = people(shift=3)
    first, again, other = baselines(lr, hr, pids, 1), baselines(lr, hr, pids, 1), baselines(lr, hr, pids, 2)
    assert list(first) == ["features", "shuffled pairs", "random features", "exchanged resolutions"]
    for name in first:
        assert torch.equal(first[name][1], again[name][1])
        assert torch.equal(first[name][1], other[name][1]) == (name == "features")
    assert torch.equal(first["features"][0], torch.from_numpy(lr))
    shuffled_lr, shuffled_hr = first["shuffled pairs"]
    assert torch.equal(shuffled_lr, torch.from_numpy(lr))
    assert sorted(map(tuple, shuffled_hr.tolist())) == sorted(map(tuple, hr.tolist()))
    exchanged_lr, exchanged_hr = (x.numpy() for x in first["exchanged resolutions"])
    for pid in set(pids):
        rows = pids == pid
        kept = np.array_equal(exchanged_lr[rows], lr[rows]) and np.array_equal(exchanged_hr[rows], hr[rows])
        swapped = np.array_equal(exchanged_lr[rows], hr[rows]) and np.array_equal(exchanged_hr[rows], lr[rows])
        assert kept != swapped
    scores = {name: canonical_correlation(*pair, pca=5).mean for name, pair in first.items()}
    assert scores["features"] > scores["shuffled pairs"]
    assert scores["features"] > scores["random features"]


def test_inputs_are_left_as_they_are_and_any_number_type_is_taken() -> None:
    lr, hr, pids = people()
    before = lr.copy(), hr.copy()
    expected = canonical_correlation(lr, hr).values
    baselines(lr, hr, pids)
    assert np.array_equal(lr, before[0])
    assert np.array_equal(hr, before[1])
    read_only = lr.astype(np.float32)
    read_only.setflags(write=False)
    with_graph = torch.tensor(hr, dtype=torch.float32, requires_grad=True)
    found = canonical_correlation(read_only, with_graph).values
    assert found.dtype == torch.float64
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_gives_the_same_numbers() -> None:
    lr, hr, pids = people()
    on_gpu = torch.from_numpy(lr).cuda(), torch.from_numpy(hr).cuda()
    assert cosine_of_halves(*on_gpu, pids) == pytest.approx(cosine_of_halves(lr, hr, pids))
    torch.testing.assert_close(grouped_pearson(*on_gpu, pids).values.cpu(), grouped_pearson(lr, hr, pids).values)
    torch.testing.assert_close(canonical_correlation(*on_gpu).values.cpu(), canonical_correlation(lr, hr).values)
    torch.testing.assert_close(released_correlation(*on_gpu).cpu(), released_correlation(lr, hr))
    torch.testing.assert_close(random_features(*on_gpu)[0].cpu(), random_features(lr, hr)[0])
    assert exchanged_resolutions(*on_gpu, pids)[0].is_cuda


# ---- bad inputs ------------------------------------------------------------------------------------------------------

LR, HR, PIDS = people(identities=10, images=3, width=6)
WITH_PIDS = [
    resolution_direction,
    cosine_of_halves,
    grouped_pearson,
    centre_distances,
    exchanged_resolutions,
    baselines,
]
WITHOUT_PIDS = [canonical_correlation, released_correlation, shuffled_pairs, random_features]


def analyses() -> list:
    plain = [pytest.param(lambda lr, hr, f=f: f(lr, hr), id=f.__name__) for f in WITHOUT_PIDS]
    with_pids = [pytest.param(lambda lr, hr, f=f: f(lr, hr, PIDS[: len(lr)]), id=f.__name__) for f in WITH_PIDS]
    held_out = pytest.param(lambda lr, hr: held_out_correlation(LR, HR, lr, hr), id="held_out_correlation")
    return [*plain, *with_pids, held_out]


@pytest.mark.parametrize("analysis", analyses())
def test_bad_features(analysis) -> None:
    for bad in (np.nan, np.inf):
        broken = HR.copy()
        broken[2, 1] = bad
        with pytest.raises(ValueError, match="HR features must be finite, found 1 NaN or infinite of 180"):
            analysis(LR, broken)
        with pytest.raises(ValueError, match="LR features must be finite"):
            analysis(torch.from_numpy(broken), HR)
    with pytest.raises(ValueError, match="LR features and HR features must be paired row by row, found 30 and 29 rows"):
        analysis(LR, HR[:29])
    with pytest.raises(ValueError, match=r"must be \(rows, width\), at least 1 each, found shape \(30,\)"):
        analysis(LR[:, 0], HR)
    with pytest.raises(ValueError, match=r"at least 1 each, found shape \(0, 6\)"):
        analysis(LR[:0], HR[:0])
    with pytest.raises(ValueError, match="LR features must be numbers"):
        analysis(LR.astype(str), HR)


@pytest.mark.parametrize("analysis", [*WITH_PIDS, lambda lr, hr, pids: random_features(lr, hr)])
def test_width_mismatch(analysis) -> None:
    with pytest.raises(ValueError, match="must have the same width, found 6 and 5: take both from one model"):
        analysis(LR, HR[:, :5], PIDS)


@pytest.mark.parametrize("analysis", WITH_PIDS)
def test_pids_of_another_length(analysis) -> None:
    with pytest.raises(ValueError, match=r"one per row of the features, expected shape \(30,\), found \(29,\)"):
        analysis(LR, HR, PIDS[:29])


@pytest.mark.parametrize(
    "analysis", [resolution_direction, cosine_of_halves, grouped_pearson, exchanged_resolutions, baselines]
)
def test_one_identity(analysis) -> None:
    with pytest.raises(ValueError, match=r"expected at least two identities.*found 1"):
        analysis(LR, HR, np.zeros(30, int))


def test_one_identity_in_a_half() -> None:
    with pytest.raises(ValueError, match="expected at least two identities to average over, found 1"):
        cosine_of_halves(LR[:9], HR[:9], PIDS[:9])
    with pytest.raises(ValueError, match="expected by='identity' or by='image', found 'camera'"):
        halves(PIDS, "camera")


def test_a_direction_without_length_or_of_another_width() -> None:
    with pytest.raises(ValueError, match="a direction has length zero"):
        cosine_of_halves(LR, LR, PIDS)
    with pytest.raises(ValueError, match="must have the same width, found 6 and 5"):
        direction_cosine(LR[0], LR[0, :5])
    with pytest.raises(ValueError, match="the second direction must be finite"):
        direction_cosine(LR[0], np.full(6, np.nan))


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


def test_groups_out_of_range() -> None:
    for options in ({"group_size": 0}, {"identities": 11}, {"group_size": 3, "identities": 2}):
        with pytest.raises(ValueError, match=r"expected 1 <= group_size <= identities <= 10 \(identities there are\)"):
            grouped_pearson(LR, HR, PIDS, **options)
    with pytest.raises(ValueError, match="leaves none for the global shift"):
        grouped_pearson(LR, HR, PIDS, group_size=10, leave_out=True)
    with pytest.raises(ValueError, match="a mean difference has the same value everywhere"):
        grouped_pearson(LR, LR, PIDS)


def test_bad_distances() -> None:
    with pytest.raises(ValueError, match="no identity has both LR and HR features"):
        centre_distances(LR, HR, PIDS, PIDS + 100)
    with pytest.raises(ValueError, match="distances before must be positive"):
        reduction_percent(np.array([0.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="found 1 and 2 rows"):
        reduction_percent(np.ones(1), np.ones(2))


def test_too_few_rows_for_random_features() -> None:
    with pytest.raises(ValueError, match="expected at least two rows to take standard deviations of, found 1"):
        random_features(LR[:1], HR[:1])


def test_scikit_learn_does_not_converge_where_correlations_are_close() -> None:
    """Why the script's 500 iterations are no guarantee: chance correlations lie close together."""
    lr, hr = linked(200, 30, (), seed=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CCA(n_components=3, max_iter=20).fit(lr, hr)
    assert any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
