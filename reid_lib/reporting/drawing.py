"""How an architecture's picture is described: plain data, without torch. `architecture.draw` makes the picture.

Coordinates are pixels of a page 900 wide, from its upper left corner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Box:
    """A part of a network, or a step between parts.

    Attributes:
        name: what arrows call it.
        at: (x, y) of its upper left corner.
        title, kind: its first two lines; the second may be empty.
        output: the submodule ("E.layer4") whose output's shape is printed, "input" for the example itself, a
            parameter ("masks.0") for its own shape, or "" for none.
        part: the submodule whose parameters are counted, or "".
        size: (width, height).
        look: "part", "game" (set apart: an adversary, a mask, a loss), "frozen", "step" (no parameters) or "plain".
    """

    name: str
    at: tuple[float, float]
    title: str
    kind: str = ""
    output: str = ""
    part: str = ""
    size: tuple[float, float] = (150, 94)
    look: str = "part"


@dataclass(frozen=True)
class Arrow:
    """A line with a head, from a place to a place, by the corners `via`.

    A place is a point, or a box's side and how far along it: "E.right", "E.top:0.8". The label stands at `at`.
    """

    start: str | tuple[float, float]
    end: str | tuple[float, float]
    label: str = ""
    at: tuple[float, float] = (0, 0)
    via: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Group:
    """A dashed frame around what belongs together, with a title in its upper left corner, or its lower left one."""

    title: str
    at: tuple[float, float]
    size: tuple[float, float]
    below: bool = False


@dataclass(frozen=True)
class Drawing:
    """The picture of one network.

    Attributes:
        run: calls the network on an example, so that every `Box.output` is computed once.
        height: of the page, in pixels.
        note: the line below the picture, above the one that says how to read a box.
    """

    run: Callable[[Any, Any], Any]
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...] = ()
    groups: tuple[Group, ...] = ()
    note: str = ""
