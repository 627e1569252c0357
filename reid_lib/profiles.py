"""The profiles: "smoke" (a check, seconds), "demo" (minutes on a CPU), "paper" (the papers' settings, on a GPU)."""

from collections.abc import Mapping

PROFILES = ("smoke", "demo", "paper")


def check_profile(profile: str, error: type[Exception] = ValueError) -> None:
    """Raise ``error`` for a profile that does not exist."""
    if profile not in PROFILES:
        raise error(f"unknown profile {profile!r}: expected one of {', '.join(PROFILES)}")


def settings(
    profile: str, smaller: Mapping[str, Mapping[str, object]], changes: Mapping[str, object]
) -> dict[str, object]:
    """Return what differs from a method's defaults, which are the ``paper`` profile's.

    Args:
        profile: one of `PROFILES`.
        smaller: what "smoke" and "demo" change.
        changes: what the caller changes; they win.

    Raises:
        ValueError: unknown profile.
    """
    check_profile(profile)
    return {**smaller.get(profile, {}), **changes}
