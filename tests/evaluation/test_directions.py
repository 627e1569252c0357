"""Directions: equations against slow loops, facts about what each number can and cannot say, bad inputs."""

import numpy as np
import pytest
import torch

from reid_lib.evaluation.directions import (
    centre_distances,
    cosine_of_halves,
    direction_cosine,
    grouped_pearson,
    halves,
    identity_means,
    reduction_percent,
    resolution_direction,
)
from reid_lib.evaluation.paired import exchanged_resolutions, random_features, shuffled_pairs
from reid_lib.seeds import numpy_generator


def people(
    identities: int = 40, images: int = 4, width: int = 30, shift: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LR, HR and pids: identity, image noise common to both, a common shift, and a difference of each image's own."""
    draw = numpy_generator(seed, "test", "people")
    pids = np.repeat(np.arange(identities) + 10, images)
    hr = draw.normal(size=(identities, width))[pids - 10] + draw.normal(size=(len(pids), width)) / 2
    lr = hr - shift * draw.normal(size=width) + draw.normal(size=hr.shape)
    return lr, hr, pids


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


# ---- bad inputs ------------------------------------------------------------------------------------------------------

LR, HR, PIDS = people(identities=10, images=3, width=6)


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
