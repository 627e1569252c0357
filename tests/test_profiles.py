import pytest

from reid_lib.profiles import PROFILES, check_profile, settings


def test_changes_win_over_the_profile() -> None:
    smaller = {"smoke": {"width": 8, "epochs": 2}, "demo": {"width": 16}}
    assert settings("smoke", smaller, {"epochs": 3}) == {"width": 8, "epochs": 3}
    assert settings("paper", smaller, {}) == {}


def test_unknown_profiles_are_refused() -> None:
    for profile in PROFILES:
        check_profile(profile)
    with pytest.raises(KeyError, match="unknown profile 'large': expected one of smoke, demo, paper"):
        check_profile("large", KeyError)
    with pytest.raises(ValueError, match="unknown profile 'large'"):
        settings("large", {}, {})
