"""Who a person is: what the members of a look group share, and what they differ in."""

import numpy as np
import pytest

from reid_lib.datasets.records import DatasetError
from reid_lib.datasets.synth.people import DETAIL, PATTERNS, Calibration, Pattern, person, wave

QUIET = Calibration(noise=0.0, look_jitter=0.0)
GROUP = QUIET.identities_per_look


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_have_zero_mean_and_unit_range(kind):
    v, u = np.mgrid[0:300, 0:300] / 300.0
    found = wave(Pattern(kind, 1 / 10, (1, 1, 1)), u, v)
    assert abs(found.mean()) < 0.04
    assert 0.3 < found.std() < 1
    assert np.abs(found).max() <= 1.05


def test_a_look_group_differs_in_fine_detail_only():
    coarse = [name for name in vars(person(0)) if name not in DETAIL]
    for look in range(5):
        members = [person(GROUP * look + m, 0, QUIET) for m in range(GROUP)]
        assert len({tuple(getattr(who, name) for name in coarse) for who in members}) == 1
        assert len({who.upper_pattern.kind for who in members}) == GROUP
    assert person(0).look == person(GROUP - 1).look != person(GROUP).look


def test_look_jitter_changes_nothing_but_the_colours_of_clothes():
    jitter = 0.03
    shifts = []
    for pid in range(40):
        plain, shifted = (person(pid, 0, Calibration(look_jitter=by)) for by in (0.0, jitter))
        other = {name for name in vars(plain) if getattr(plain, name) != getattr(shifted, name)}
        assert other <= {"upper_colour", "lower_colour"}
        shifts.append(np.subtract(plain.upper_colour, shifted.upper_colour))
    assert 0.5 * jitter < np.std(shifts) < 1.2 * jitter


def test_patterns_keep_the_mean_colour_within_range():
    room = Calibration().detail_contrast
    for pid in range(0, 300, 5):
        for colour in (person(pid).upper_colour, person(pid).lower_colour):
            assert min(colour) >= room
            assert max(colour) <= 1 - room


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"identities_per_look": 0}, "identities_per_look"),
        ({"detail_contrast": 0.5}, "detail_contrast must be between 0 and 0.3"),
        ({"detail_contrast": float("nan")}, "detail_contrast"),
        ({"periods": (6.0, 3.0)}, "periods must be two ascending"),
        ({"periods": (1.0, 3.0)}, "periods"),
        ({"noise": -0.1}, "noise must be"),
        ({"look_jitter": -0.1}, "look_jitter must be"),
        ({"colour_cast": float("nan")}, "colour_cast must be"),
    ],
)
def test_calibration_refuses(wrong, message):
    with pytest.raises(DatasetError, match=message):
        Calibration(**wrong)
