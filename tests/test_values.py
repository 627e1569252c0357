"""What values must be: booleans, numbers, identities."""

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib.values import JUNK, boolean, check_parameters, identities, like, numbered


@pytest.mark.parametrize("yes", [True, np.True_, 1, "true", "True", "YES", " on ", "1"])
def test_a_yes(yes: object) -> None:
    assert boolean(yes, "x") is True


@pytest.mark.parametrize("no", [False, np.False_, 0, "false", "False", "NO", " off ", "0"])
def test_a_no(no: object) -> None:
    assert boolean(no, "x") is False


@pytest.mark.parametrize("other", ["", "nope", "y", "2", 2, -1, 1.0, None, [], float("nan")])
def test_neither(other: object) -> None:
    with pytest.raises(ValueError, match=r"x must be true or false \(or yes, no, on, off\), found"):
        boolean(other, "x")


def test_the_default_says_the_kind() -> None:
    assert like("no", True, "x") is False
    assert like("no", "yes", "x") == "no"
    assert like("no", None, "x") == "no"
    assert like(None, 3, "x") is None
    with pytest.raises(ValueError, match=r"x must be a number such as 0\.5, found 'half'"):
        like("half", 0.5, "x")
    with pytest.raises(ValueError, match="x must be an integer such as 3, found True"):
        like(True, 3, "x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"flag": "no"}, "flag must be True or False, found 'no'"),
        ({"flag": 0}, "flag must be True or False, found 0"),
        ({"rate": "1"}, r"rate must be a number such as 0\.5, found '1'"),
        ({"rate": True}, "found True"),
        ({"n": 2.5}, "n must be an integer such as 3, found 2.5"),
        ({"n": True}, "found True"),
    ],
)
def test_parameters_are_of_the_kind_of_their_defaults(given: dict, message: str) -> None:
    def function(*, flag: bool = True, rate: float = 0.5, n: int = 3, what: str = "x") -> None: ...

    check_parameters(function, {"flag": np.False_, "rate": np.float32(1), "n": np.int64(4), "what": 7})
    check_parameters(function, {"rate": 1, "n": None})
    with pytest.raises(ValueError, match=message):
        check_parameters(function, given)


@pytest.mark.parametrize(
    "given",
    [
        [3, 0, 3],
        np.array([3, 0, 3], np.uint8),
        np.array([3, 0, 3], ">i4"),
        np.array([3.0, 0.0, 3.0]),
        np.array([3, 0, 3], object),
        pd.Series([3, 0, 3], dtype="Int64"),
        torch.tensor([3, 0, 3]),
        torch.tensor([3.0, 0.0, 3.0]),
    ],
)
def test_integers_in_any_form(given: object) -> None:
    found = identities(given)
    assert (found.dtype, found.tolist()) == (np.int64, [3, 0, 3])


@pytest.mark.parametrize(
    "given", [["b", "a"], np.array(["b", "a"]), np.array(["b", "a"], object), pd.Series(["b", "a"])]
)
def test_text_in_any_form(given: object) -> None:
    found = identities(given)
    assert (found.dtype.kind, found.tolist()) == ("U", ["b", "a"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0.0, np.nan], r"found nan in 1 of 2 rows, first in row 1: name those identities, or leave the rows out"),
        (torch.tensor([0.0, torch.nan]), "found nan in 1 of 2 rows"),
        (torch.tensor([torch.inf, 0.0]), "found inf"),
        ([1.5, 2.0], r"found 1\.5 in 1 of 2 rows, first in row 0"),
        (["a", None], "found None in 1 of 2 rows"),
        (["a", float("nan")], "found nan"),
        (["a", ""], "found ''"),
        (np.array(["a", np.nan]), "found 'nan'"),
        (pd.Series([1, None], dtype="Int64"), "found (<NA>|nan) in 1 of 2"),
        (pd.Series(["a", None]), "found None|found nan"),
        ([1, "a"], "all integers or all text, found int, str"),
        ([True, False], "must be integers or text, found bool"),
        (np.array([1 + 2j]), "found complex128"),
        (np.array([2**64 - 1], np.uint64), "fit in 64 bits"),
        ([0, -1], r"identity -1 in 1 of 2 rows, first in row 1: by the convention of Market-1501 these are junk"),
        (["-1", "a"], "identity -1 in 1 of 2 rows, first in row 0"),
    ],
)
def test_what_is_no_identity(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        identities(given)


def test_junk_may_be_let_through() -> None:
    assert identities([0, JUNK], junk=True).tolist() == [0, -1]
    first, second = numbered(identities(["b", "-1"], junk=True), identities(["a", "b", "-1"], junk=True))
    assert (first[0], first[1]) == (second[1], JUNK)
    assert second[0] != second[1]
    assert second[2] == JUNK


def test_numbers_and_text_are_not_compared() -> None:
    with pytest.raises(ValueError, match="all integers or all text, found one array of each"):
        numbered(identities([1]), identities(["1"]))
