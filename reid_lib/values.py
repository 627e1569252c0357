"""Values as they come from a command line, a file or a user: what they must be, and the sentence that says so."""

import numbers
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np

JUNK = -1
"""The identity of images that show no person, or no whole one, by Market-1501's convention."""

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NO_NAMES = ("", "nan", "none", "null", "<na>")  # what a missing value becomes when an array of text is made of it


def boolean(value: object, name: str, error: type[Exception] = ValueError) -> bool:
    """Return a boolean that was given as one, as 0 or 1, or as true, yes, on, false, no, off in any case.

    A text is never true because it is not empty.

    Args:
        value: what was given.
        name: what the message calls it.
        error: what is raised.

    Raises:
        ValueError: it is something else (or ``error``).
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    found = _BOOLEANS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if found is None:
        raise error(f"{name} must be true or false (or yes, no, on, off), found {value!r}")
    return found


def number(value: object, default: float, name: str, error: type[Exception] = ValueError) -> object:
    """Return a value in place of a ``default`` that is a number; raise ``error`` for a text. None passes."""
    if isinstance(value, str) or (isinstance(default, int) and isinstance(value, bool)):
        kind = "an integer" if isinstance(default, int) else "a number"
        raise error(f"{name} must be {kind} such as {default}, found {value!r}")
    return value


def like(  # decision HOUSE-15
    value: object, default: object, name: str, error: type[Exception] = ValueError
) -> object:
    """Return a value that stands in place of ``default``: a boolean for a boolean, no text for a number."""
    if isinstance(default, bool):
        return boolean(value, name, error)
    return number(value, default, name, error) if isinstance(default, int | float) else value


def check_parameters(function: Callable, values: Mapping[str, object]) -> None:
    """Refuse parameters of a function that are not of the kind of their defaults.

    Args:
        function: its defaults say which parameters are booleans and which are numbers.
        values: what was given, by name.

    Raises:
        ValueError: a boolean is given as something else (a text is always true), or a number is no number.
    """
    for name, parameter in signature(function).parameters.items():
        default, value = parameter.default, values.get(name, parameter.default)
        if isinstance(default, bool) and not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name} must be True or False, found {value!r}")
        if isinstance(default, bool) or not isinstance(default, int | float) or value is None:
            continue
        kind = numbers.Integral if isinstance(default, int) else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            what = "an integer" if isinstance(default, int) else "a number"
            raise ValueError(f"{name} must be {what} such as {default}, found {value!r}")


def identities(values: Any, name: str = "pids", junk: bool = False) -> np.ndarray:
    """Return identities (or cameras) as an array of int64 or of text.

    Args:
        values: an array, tensor, series or list of integers or of text. Whole floats pass as integers: a table with a
            gap anywhere gives such.
        name: what messages call them.
        junk: whether `JUNK` may be among them.

    Raises:
        ValueError: a missing value (NaN, None, an empty text), a fraction, integers and text together, other things
            than integers and text, or `JUNK` where it may not be.
    """
    given = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    array = _numbers_or_text(given, name)
    if not junk:
        bad = np.flatnonzero(is_junk(array))
        if len(bad):
            raise ValueError(
                f"{name} has the identity -1 in {len(bad)} of {array.size} rows, first in row {bad[0]}: by the "
                "convention of Market-1501 these are junk images, no person; leave those rows out"
            )
    return array


def is_junk(array: np.ndarray) -> np.ndarray:
    """Return which of some identities, as `identities` gives them, are junk."""
    return array == (str(JUNK) if array.dtype.kind == "U" else JUNK)


def numbered(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays of `identities` as int64; text gets the same numbers in both, `JUNK` stays itself.

    Raises:
        ValueError: one holds integers and the other text.
    """
    kinds = [array.dtype.kind for array in (first, second) if array.size]
    if len(set(kinds)) > 1:
        raise ValueError("identities and cameras must be all integers or all text, found one array of each")
    if "U" not in kinds:
        return first.astype(np.int64, copy=False), second.astype(np.int64, copy=False)
    both = np.concatenate([first, second])
    found = np.unique(both, return_inverse=True)[1].astype(np.int64)
    found[is_junk(both)] = JUNK
    return found[: len(first)], found[len(first) :]


def identities_of_both(
    first: Any, second: Any, names: tuple[str, str], junk: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the identities (or cameras) of two sets of images as int64, numbered alike; errors as `identities`."""
    pair = zip((first, second), names, strict=True)
    return numbered(*(identities(values, name, junk) for values, name in pair))


def _numbers_or_text(given: Any, name: str) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind == "S":
        array = given = np.char.decode(array, "utf-8")
    if array.dtype.kind in "OUT" and array.size:
        array = _of_objects(np.asarray(given, dtype=object), name)
    if array.dtype.kind == "f":
        wrong = np.flatnonzero(~(np.isfinite(array) & (array == np.floor(array))))
        if len(wrong):
            raise ValueError(
                f"{name} must be integers or text, found {array.ravel()[wrong[0]]} in {len(wrong)} of {array.size} "
                f"rows, first in row {wrong[0]}: name those identities, or leave the rows out"
            )
        return array.astype(np.int64)
    if array.dtype.kind not in "iuU" and array.size:
        raise ValueError(f"{name} must be integers or text, found {array.dtype}")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit in 64 bits with a sign, found {array.max()}: give such identities as text")
    return array if array.dtype.kind == "U" else array.astype(np.int64, copy=False)


def _of_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of objects, which may hold anything, as integers, floats or text of one kind."""
    flat = array.ravel()
    missing = [row for row, one in enumerate(flat) if _is_missing(one)]
    if missing:
        raise ValueError(
            f"{name} must be integers or text, found {flat[missing[0]]!r} in {len(missing)} of {flat.size} rows, first "
            f"in row {missing[0]}: name those identities, or leave the rows out"
        )
    text = [isinstance(one, str) for one in flat]
    if all(text):
        return array.astype(str)
    if any(text) or any(isinstance(one, bool) or not isinstance(one, numbers.Real) for one in flat):
        kinds = ", ".join(sorted({type(one).__name__ for one in flat}))
        raise ValueError(f"{name} must be all integers or all text, found {kinds}")
    return np.array([int(one) if isinstance(one, numbers.Integral) else float(one) for one in flat]).reshape(
        array.shape
    )


def _is_missing(one: object) -> bool:
    if isinstance(one, str):
        return one.strip().lower() in _NO_NAMES
    # NaN and pandas' NaT are not equal to themselves; pandas' NA has no truth value
    return one is None or type(one).__name__ == "NAType" or bool(one != one)
