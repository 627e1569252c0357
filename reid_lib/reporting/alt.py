"""What a figure shows, in words, for whoever cannot see it."""

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def alt_text(figure: Figure) -> str:
    """A sentence made of a figure's labels, legend and titles; "" where it has none.

    "Rank-1 (%) against resolution of the query, for HR only and HR + LR"
    """
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    panels = [axis for axis in figure.axes if axis not in bars]
    titles = listed(axis.get_title() for axis in panels)
    if bars:
        what = f"{bars[0].get_ylabel()} as colours"
    elif any(axis.images for axis in panels):
        what, titles = _images(panels, titles), ""
    else:
        what = listed(_against(axis) for axis in panels) or figure.get_supxlabel()
    names = listed(text.get_text() for legend in _legends(figure) for text in legend.get_texts())
    told = ", ".join(filter(None, (what, names and f"for {names}")))
    if len(panels) > 1:
        told = f"{told}; panels: {titles}" if titles and told else told or titles
    elif titles:
        told = f"{titles}: {told}" if told else titles
    return f"{figure.get_suptitle()}: {told}" if figure.get_suptitle() and told else told or figure.get_suptitle()


def listed(words: Iterable[str]) -> str:
    """ "a, b and c", each once, without empty ones."""
    *first, last = list(dict.fromkeys(word for word in words if word)) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _against(axis: Axes) -> str:
    x, y = axis.get_xlabel(), axis.get_ylabel()
    if not x and y and axis.patches:  # bars, whose names are the ticks
        return f"{y} of {listed(tick.get_text() for tick in axis.get_xticklabels())}"
    return " against ".join(filter(None, (y, x)))


def _images(panels: list[Axes], columns: str) -> str:
    rows = listed(axis.get_ylabel() for axis in panels)
    told = [columns and f"columns: {columns}", rows and f"rows: {rows}"]
    return "Images" + ", ".join(["", *filter(None, told)])


def _legends(figure: Figure) -> list:
    return [*figure.legends, *filter(None, (axis.get_legend() for axis in figure.axes))]
