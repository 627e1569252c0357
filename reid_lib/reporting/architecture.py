"""Draws a network's architecture from the network itself: shapes and numbers of parameters are measured, not typed.

The only module of `reporting` that knows torch. It gets networks and examples as arguments and imports none.
"""

from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from reid_lib.reporting.drawing import Arrow, Box, Drawing
from reid_lib.reporting.figures import OKABE_ITO

WIDTH, DPI = 900, 120  # of the page in pixels, as figures.save writes it
_LOOKS = {  # edge, face, line
    "part": (OKABE_ITO[0], "#E6F0F8", "-"),
    "game": (OKABE_ITO[1], "#FBEBDD", "-"),
    "frozen": ("#555555", "#EEEEEE", "--"),
    "step": ("#555555", "#FFFFFF", "-"),
    "plain": ("none", "none", "-"),
}
_READ = "In a box: shape of the output at the paper's setting, at this run's (here), and the numbers of parameters."
Setting = tuple[nn.Module, torch.Tensor]


class ArchitectureError(ValueError):
    """A description does not fit the network; the message says where."""


def measure(drawing: Drawing, network: nn.Module, example: torch.Tensor) -> dict[str, tuple[str, int]]:
    """Run the network once; return for each box its shape without the batch ("2048×8×4", or "") and its parameters.

    Raises:
        ArchitectureError: a box names a submodule that is not there, or whose output `drawing.run` does not compute.
    """
    shapes = {"input": tuple(example.shape[1:])}
    hooks = []
    for name in dict.fromkeys(box.output for box in drawing.boxes if box.output not in ("", "input")):
        found = _find(network, name)
        if isinstance(found, nn.Module):
            hooks.append(found.register_forward_hook(_Keep(shapes, name)))
        else:
            shapes[name] = tuple(found.shape)
    training = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            drawing.run(network.eval(), example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    measured = {}
    for box in drawing.boxes:
        if box.output and box.output not in shapes:
            raise ArchitectureError(f"box {box.name!r}: {box.output!r} was not called; let the drawing's run call it")
        part = _find(network, box.part) if box.part else None
        count = sum(p.numel() for p in part.parameters()) if isinstance(part, nn.Module) else 0
        count = part.numel() if isinstance(part, torch.Tensor) else count
        measured[box.name] = ("×".join(map(str, shapes[box.output])) if box.output else "", count)
    return measured


def draw(drawing: Drawing, published: Setting, here: Setting) -> Figure:
    """Draw a network with its shapes at the paper's setting and, below them, at this run's.

    Args:
        drawing: what stands where.
        published: the network at the paper's setting and an example input; both may be on the meta device.
        here: the same at this run's setting.

    Raises:
        ArchitectureError: the description does not fit the network, or an arrow names no box.
    """
    both = [measure(drawing, *setting) for setting in (published, here)]
    with mpl.rc_context({"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"}):
        figure = Figure(figsize=(WIDTH / DPI, drawing.height / DPI), dpi=DPI)
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, WIDTH), ylim=(drawing.height, 0))
        axis.axis("off")
        for group in drawing.groups:
            _frame(axis, group.at, group.size, "#888888", "none", "--")
            y = group.at[1] + (group.size[1] - 4 if group.below else 4)
            va = "bottom" if group.below else "top"
            axis.text(group.at[0] + 7, y, group.title, fontsize=7, va=va, color="#444444")
        for box in drawing.boxes:
            _box(axis, box, *(m[box.name] for m in both))
        for arrow in drawing.arrows:
            _arrow(axis, arrow, {box.name: box for box in drawing.boxes})
        for text, above in ((drawing.note, 28), (_READ, 8)):
            axis.text(WIDTH / 2, drawing.height - above, text, fontsize=7, ha="center", va="bottom")
    return figure


class _Keep:
    """A forward hook that keeps the shape of a submodule's output."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], name: str) -> None:
        self.shapes, self.name = shapes, name

    def __call__(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        self.shapes[self.name] = tuple(output.shape[1:])


def _find(network: nn.Module, name: str) -> nn.Module | torch.Tensor:
    known = {**dict(network.named_modules()), **dict(network.named_parameters())}
    if name not in known:
        there = ", ".join(child for child, _ in network.named_children())
        raise ArchitectureError(f"{type(network).__name__} has no submodule {name!r}; it has {there}")
    return known[name]


def _box(axis, box: Box, published: tuple[str, int], here: tuple[str, int]) -> None:
    edge, face, line = _LOOKS[box.look]
    _frame(axis, box.at, box.size, edge, face, line)
    lines = [box.title, *box.kind.splitlines()]
    if box.output:
        lines += [published[0], f"here {here[0]}"]
    if box.part:
        lines += [f"{_short(published[1])}; here {_short(here[1])}"]
    x, y = box.at[0] + box.size[0] / 2, box.at[1] + box.size[1] / 2
    for number, text in enumerate(lines):
        place = y + 15 * (number - (len(lines) - 1) / 2)
        weight = "bold" if number == 0 and len(lines) > 1 else "normal"
        axis.text(x, place, text, fontsize=7.5 if weight == "bold" else 7, weight=weight, ha="center", va="center")


def _short(count: int) -> str:
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            return f"{count / unit:.{1 if count < 100 * unit else 0}f} {letter}"
    return str(count)


def _frame(axis, at: tuple[float, float], size: tuple[float, float], edge: str, face: str, line: str) -> None:
    style = "round,pad=0,rounding_size=5"
    axis.add_patch(FancyBboxPatch(at, *size, boxstyle=style, edgecolor=edge, facecolor=face, linestyle=line, lw=1.1))


def _arrow(axis, arrow: Arrow, boxes: dict[str, Box]) -> None:
    points = [_place(arrow.start, boxes), *arrow.via, _place(arrow.end, boxes)]
    if len(points) > 2:
        axis.plot(*zip(*points[:-1], strict=True), color="#333333", lw=1.1, solid_capstyle="butt")
    look = {"arrowstyle": "-|>", "color": "#333333", "lw": 1.1, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axis.annotate("", points[-1], points[-2], arrowprops=look)
    if arrow.label:
        axis.text(*arrow.at, arrow.label, fontsize=7, ha="center", va="center", color="#8A3B00", linespacing=1.2)


def _place(place: str | tuple[float, float], boxes: dict[str, Box]) -> tuple[float, float]:
    if not isinstance(place, str):
        return place
    name, _, side = place.partition(".")
    side, _, along = side.partition(":")
    if name not in boxes or side not in ("left", "right", "top", "bottom"):
        raise ArchitectureError(f"an arrow ends at {place!r}: expected BOX.SIDE with one of {', '.join(boxes)}")
    (x, y), (width, height) = boxes[name].at, boxes[name].size
    part = float(along or 0.5)
    if side in ("left", "right"):
        return x + width * (side == "right"), y + height * part
    return x + width * part, y + height * (side == "bottom")
