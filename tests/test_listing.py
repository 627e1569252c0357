"""What of a function's source a notebook shows."""

import inspect
from collections.abc import Callable

import pytest

from reid_lib import listing
from reid_lib.listing import LONGEST


def _check_all(values: list) -> None: ...


def mean(  # decision EVAL-1, decision EVAL-2
    values: list,
    scale: float = 1.0,
) -> float:
    """Return the mean.

    Raises:
        ValueError: no values.
    """
    _check_all(values)
    if not values:
        raise ValueError("no values")
    # a comment about the check
    if scale <= 0:  # with its own
        raise ValueError(
            "scale must be above 0"
        )  # fmt: skip

    # Eq. 2
    total  =  0.0  # fmt: skip
    for value in values:
        if value != value:
            raise ValueError("NaN")
        total += value * scale  # Eq. 3; decision EVAL-3
    if total > 3:
        total = 3.0
    else:
        raise ValueError("a branch that is no check")

    return total / len(values)


class Doubler:  # decision HOUSE-8
    """Doubles.

    Args:
        start: anything.
    """

    def __init__(self, start: int) -> None:
        """Keep it."""
        for value in (start,):
            if value < 0:
                raise ValueError("start")
        self.start = start

    @property
    def value(self) -> int:
        """Return it."""
        return 2 * self.start

    def empty(self) -> None:
        """Only told."""


def only_raises() -> None:
    if LONGEST:
        raise ValueError


def _of_length(lines: int) -> Callable:
    def long() -> None: ...

    long.source = "def long():\n" + "    pass\n" * (lines - 1)
    return long


def test_docstring_and_checks_go_and_comments_stay() -> None:
    assert listing.listing(mean) == (
        "def mean(\n"
        "    values: list,\n"
        "    scale: float = 1.0,\n"
        ") -> float:\n"
        "    # Eq. 2\n"
        "    total  =  0.0  # fmt: skip\n"
        "    for value in values:\n"
        "        total += value * scale  # Eq. 3; decision EVAL-3\n"
        "    if total > 3:\n"
        "        total = 3.0\n"
        "    else:\n"
        '        raise ValueError("a branch that is no check")\n'
        "\n"
        "    return total / len(values)\n"
    )


def test_a_class_shows_its_methods_in_the_same_way() -> None:
    assert listing.listing(Doubler) == (
        "class Doubler:\n"
        "    def __init__(self, start: int) -> None:\n"
        "        self.start = start\n"
        "\n"
        "    @property\n"
        "    def value(self) -> int:\n"
        "        return 2 * self.start\n"
        "\n"
        "    def empty(self) -> None:\n"
        '        """Only told."""\n'
    )


def test_a_method_is_dedented() -> None:
    assert listing.listing(Doubler.__init__).startswith("def __init__(self, start: int) -> None:\n    self.start")


def test_a_block_keeps_its_last_statement() -> None:
    assert listing.listing(only_raises) == inspect.getsource(only_raises)


@pytest.mark.parametrize("lines", [LONGEST, LONGEST + 1])
def test_a_long_function_is_refused(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "getsource", lambda function: function.source)
    if lines <= LONGEST:
        assert listing.listing(_of_length(lines)).count("\n") == lines
    else:
        with pytest.raises(ValueError, match=r"_of_length.<locals>.long has 26 lines .* at most 25: show a smaller"):
            listing.listing(_of_length(lines))
