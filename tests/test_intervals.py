import numpy as np
import pytest
from scipy import stats

from reid_lib.intervals import is_percentage, percent_interval, seeds_interval, standard_error, t_interval

TRUTH, SEEDS, TRIALS, REPEATS = 50.0, 3, 10, 2000


def test_t_interval_is_that_of_student() -> None:
    half = 4.302653 * 2 / np.sqrt(3)  # t(0.975, 2) s / sqrt(n)
    assert t_interval([60.0, 62.0, 64.0]) == pytest.approx((62 - half, 62 + half), abs=1e-4)


def test_percent_interval_stays_between_0_and_100() -> None:
    assert percent_interval([99.0, 100.0])[1] == 100
    assert percent_interval([0.0, 1.0])[0] == 0


def test_which_metrics_are_percentages() -> None:
    assert all(map(is_percentage, ("rank1", "rank20", "map")))
    assert not any(map(is_percentage, ("rank1_gain", "rank1_over_control_gain", "ssim", "psnr", "lpips_squeeze")))


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two values"):
        t_interval([1.0])
    with pytest.raises(ValueError, match="at least two values"):
        seeds_interval([1.0], [0.5], 10)


def test_the_standard_error_is_recovered_from_the_interval() -> None:
    values = np.random.default_rng(0).normal(50, 3, 10)
    error = values.std(ddof=1) / np.sqrt(10)
    assert standard_error(values.mean(), *t_interval(values), 10) == pytest.approx(error)
    low, _ = t_interval(values)
    assert standard_error(values.mean(), low, values.mean(), 10) == pytest.approx(error), "cut at 100"
    assert np.isnan(standard_error(50, 49, 51, 1))
    assert np.isnan(standard_error(50, 49, 51, float("nan")))
    assert np.isnan(standard_error(50, float("nan"), float("nan"), 10))


def test_seeds_interval_by_hand() -> None:
    """Means 60, 62, 64 and standard errors of 1: 4/3 between seeds, 1 within them."""
    total = 4 / 3 + 1
    freedom = total**2 / ((4 / 3) ** 2 / 2 + 1 / 9)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(total)
    assert seeds_interval([60, 62, 64], [1, 1, 1], 10) == pytest.approx((62 - half, 62 + half))
    assert seeds_interval([60, 62, 64], [np.nan, 1, np.nan], 10) == pytest.approx((62 - half, 62 + half))


def test_seeds_without_trials_have_the_t_interval() -> None:
    assert seeds_interval([60, 62, 64], [np.nan] * 3, 10) == t_interval([60, 62, 64])
    assert seeds_interval([60, 60], [0, 0], 10) == (60, 60)


@pytest.mark.parametrize(
    ("between", "shared", "rest", "old_covers"),
    [
        (0.5, 1.5, 0.8, False),  # trials differ more than trainings: as on the small sets
        (0.2, 1.5, 0.8, False),
        (1.0, 1.5, 0.8, False),
        (2.0, 1.5, 0.8, True),  # trainings differ most
    ],
)
def test_the_interval_over_seeds_covers_the_truth(between: float, shared: float, rest: float, old_covers: bool) -> None:
    """Deviations: of a training, of a trial that all seeds share, of one training on one trial.

    The interval over the seeds' means alone (what stood here before) misses the trials, which all seeds share.
    """
    draw = np.random.default_rng(0)
    found = {"new": [], "old": []}
    for _ in range(REPEATS):
        trainings, trials = draw.normal(0, between, (SEEDS, 1)), draw.normal(0, shared, (1, TRIALS))
        scores = TRUTH + trainings + trials + draw.normal(0, rest, (SEEDS, TRIALS))
        means, errors = scores.mean(1), scores.std(1, ddof=1) / np.sqrt(TRIALS)
        found["new"].append(seeds_interval(means, errors, TRIALS))
        found["old"].append(t_interval(means))
    covered = {name: np.mean([low <= TRUTH <= high for low, high in all_]) for name, all_ in found.items()}
    width = {name: np.mean([high - low for low, high in all_]) for name, all_ in found.items()}
    assert 0.92 <= covered["new"] <= 0.98, covered
    if old_covers:
        assert covered["old"] >= 0.92
        assert width["new"] < width["old"]
    else:
        assert covered["old"] < 0.93, "the old way is too sure"
