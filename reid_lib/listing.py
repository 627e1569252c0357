"""The source of a function as a reader of a notebook wants it: without docstring and without argument checks."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator

LONGEST = 25  # lines that one looks at without scrolling
_DECISION = re.compile(r"\s*# decision [A-Z]+-\d+(, decision [A-Z]+-\d+)*$")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def listing(what: Callable) -> str:
    """Return the source lines of a function, or of a class with its methods, that say what it does.

    Docstrings go, and so do argument checks with the comments above them: an ``if`` that does nothing but raise, a
    loop of such, a call of a function named ``check...`` or ``_check...``. A ``# decision`` comment in the signature
    goes too. All other lines stay as they are.

    Raises:
        ValueError: more than `LONGEST` lines are left.
    """
    text = textwrap.dedent(inspect.getsource(what))
    tree, lines = ast.parse(text), text.splitlines()
    dropped = {number for first, last in _dropped(tree) for number in _with_surroundings(first, last, lines)}
    signatures = _signatures(tree)
    kept = [
        _DECISION.sub("", line) if number in signatures else line
        for number, line in enumerate(lines, start=1)
        if number not in dropped
    ]
    if len(kept) > LONGEST:
        raise ValueError(
            f"{what.__qualname__} has {len(kept)} lines without docstring and argument checks, a listing has at most "
            f"{LONGEST}: show a smaller function"
        )
    return "\n".join(kept) + "\n"


def _dropped(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """First and last line of each docstring and each check; of a block at least its last statement stays."""
    for node in ast.walk(tree):
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if not isinstance(block, list):  # of a lambda or a conditional expression
                continue
            for number, statement in enumerate(block[:-1]):
                docstring = number == 0 and isinstance(node, _DEFINITIONS) and _is_text(statement)
                if docstring or _is_check(statement):
                    yield statement.lineno, statement.end_lineno


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def _is_check(statement: ast.stmt) -> bool:
    """Whether a statement can only raise, or passes what it is given to a function that can only raise."""
    if isinstance(statement, (ast.If, ast.For)) and not statement.orelse:
        inner = statement.body
        raises = isinstance(statement, ast.If) and len(inner) == 1 and isinstance(inner[0], ast.Raise)
        return raises or all(_is_check(one) for one in inner)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        return getattr(called, "attr", getattr(called, "id", "")).lstrip("_").startswith("check")
    return False


def _with_surroundings(first: int, last: int, lines: list[str]) -> range:
    """The lines from ``first`` to ``last`` (counted from 1), with comments right above and empty lines below."""
    while lines[first - 2].lstrip().startswith("#"):
        first -= 1
    while last < len(lines) and not lines[last].strip():
        last += 1
    return range(first, last + 1)


def _signatures(tree: ast.Module) -> set[int]:
    """The numbers of all lines between a ``def`` or ``class`` and its body."""
    return {
        number
        for node in ast.walk(tree)
        if isinstance(node, _DEFINITIONS)
        for number in range(node.lineno, max(node.body[0].lineno, node.lineno + 1))
    }
