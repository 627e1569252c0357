import numpy as np
import pytest

from reid_lib.intervals import percent_interval, t_interval


def test_t_interval_is_that_of_student() -> None:
    half = 4.302653 * 2 / np.sqrt(3)  # t(0.975, 2) s / sqrt(n)
    assert t_interval([60.0, 62.0, 64.0]) == pytest.approx((62 - half, 62 + half), abs=1e-4)


def test_percent_interval_stays_between_0_and_100() -> None:
    assert percent_interval([99.0, 100.0])[1] == 100
    assert percent_interval([0.0, 1.0])[0] == 0


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two values"):
        t_interval([1.0])
