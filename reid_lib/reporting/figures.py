"""Figures for the notebooks, in one style: colour-blind safe, and never told apart by colour alone."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from reid_lib.files import whole

# Okabe and Ito (2008), in an order in which neighbours also differ in lightness; yellow is left out on white.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CORRECT, INCORRECT = "#0072B2", "#D55E00"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_ZERO = {"color": "black", "linestyle": "--", "linewidth": 1}
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


class FigureError(ValueError):
    """What was given cannot be drawn; the message says what was expected."""


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write <folder>/<name>.png, atomically and with the same bytes for the same figure. Returns its path.

    `name` is an artefact's `stem` ("lrar_fig_4"). Raises FigureError when the folder cannot be written.
    """
    path = Path(folder) / f"{name}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            # matplotlib would write its version into the file
            figure.savefig(part, format="png", dpi=120, metadata={"Software": None})
    except OSError as error:
        raise FigureError(f"Cannot write {path} ({error.strerror}): make the folder writable.") from error
    return path


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, the same bytes for the same figure, whichever backend a notebook has."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def jpeg(figure: Figure) -> bytes:
    """Return a figure as JPEG: a fifth of a PNG's size where it shows images of persons, and the same colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", facecolor="white", pil_kwargs={"quality": 90, "optimize": True})
    return buffer.getvalue()


def image_grid(
    images: np.ndarray,
    rows: int,
    columns: int,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    height: float = 1.6,
    correct: Sequence[bool | None] = (),
) -> Figure:
    """rows x columns images, row by row, from uint8 (rows * columns, H, W, 3); `height` of a row in inches.

    With `correct` each image is marked as in `ranked_list`, or not at all where it is None. Raises FigureError for
    another shape or type, or the wrong number of labels.
    """
    images = _check_images(images)
    for labels, count, what in ((row_labels, rows, "row"), (column_labels, columns, "column")):
        if labels and len(labels) != count:
            raise FigureError(f"Expected {count} {what} labels, found {len(labels)}: give one for each {what}.")
    if len(images) != rows * columns:
        raise FigureError(f"Expected {rows} x {columns} = {rows * columns} images, found {len(images)}.")
    figure, axes = _image_axes(rows, columns, images.shape[1:3], height, bool(row_labels), title)
    for axis, image in zip(axes.flat, images, strict=True):
        _draw(axis, image)
    for axis, right in zip(axes.flat, correct, strict=False):
        if right is not None:
            _mark(axis, bool(right))
    _label(axes, row_labels, column_labels)
    return figure


def ranked_list(
    queries: np.ndarray,
    galleries: np.ndarray,
    correct: np.ndarray,
    row_labels: Sequence[str] = (),
    title: str = "",
    height: float = 1.6,
    captions: Sequence[Sequence[str]] = (),
) -> Figure:
    """Queries with their best gallery images, nearest first.

    `queries` uint8 (q, H, W, 3), `galleries` uint8 (q, k, H, W, 3), `correct` bool (q, k). A correct image
    has a solid frame and a tick, an incorrect one a dashed frame and a cross; one of which it is not known (None)
    has neither. `captions`, (q, k) texts if given, stand below the images. Raises FigureError for other shapes.
    """
    queries, correct = _check_images(queries), np.asarray(correct)
    galleries = np.asarray(galleries)
    if galleries.shape != (len(queries), *correct.shape[1:2], *queries.shape[1:]) or len(correct) != len(queries):
        raise FigureError(
            f"Expected galleries (q, k, H, W, 3) and correct (q, k) for queries (q, H, W, 3); found "
            f"{galleries.shape}, {correct.shape} and {queries.shape}."
        )
    count, depth = correct.shape
    figure, axes = _image_axes(count, depth + 1, queries.shape[1:3], height, bool(row_labels), title)
    for row in range(count):
        _draw(axes[row, 0], queries[row])
        for place in range(depth):
            _draw(axes[row, place + 1], galleries[row, place])
            if correct[row, place] is not None:
                _mark(axes[row, place + 1], bool(correct[row, place]))
            if captions:
                axes[row, place + 1].set_xlabel(captions[row][place], fontsize=7)
    _label(axes, row_labels, ["query", *(str(place + 1) for place in range(depth))])
    return figure


def curve_with_interval(
    curves: Mapping[str, pd.DataFrame],
    xlabel: str = "down-sampling rate r of the query",
    ylabel: str = "Rank-1 (%)",
    title: str = "",
) -> Figure:
    """One line per name with its 95 % band. Frames: index x; column value, and low and high if known.

    An index of text stands at equal distances, in the order of the first frame.
    """
    for name, frame in curves.items():
        if "value" not in frame or ("low" in frame) != ("high" in frame):
            raise FigureError(
                f"Curve {name!r} needs the column value, and low and high together or neither; found "
                f"{list(frame.columns)}."
            )
    with mpl.rc_context(STYLE):
        figure, axis = _axis(title, xlabel, ylabel)
        for number, (name, frame) in enumerate(curves.items()):
            x, look = _places(frame.index, curves), look_of(number)
            axis.plot(x, frame["value"].to_numpy(float), label=name, **look)
            if "low" in frame:
                band = frame["low"].to_numpy(float), frame["high"].to_numpy(float)
                axis.fill_between(x, *band, color=look["color"], alpha=0.18, linewidth=0)
        pairs = [zip(_places(f.index, curves), f.index, strict=True) for f in curves.values()]
        ticks = {place: label for pair in pairs for place, label in pair}
        if len(ticks) <= 12:
            axis.set_xticks(
                list(ticks), [label if isinstance(label, str) else f"{label:g}" for label in ticks.values()]
            )
        _percent_axis(axis, ylabel)
        if len(curves) > 1:
            _legend_above(figure, *axis.get_legend_handles_labels())
    return figure


def _places(index: pd.Index, curves: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Where the entries of an index stand on the x axis."""
    if pd.api.types.is_numeric_dtype(index):
        return index.to_numpy(float)
    return pd.Index(next(iter(curves.values())).index).get_indexer(index).astype(float)


def cmc_curve(curves: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """Cumulative match characteristic: for each name, Rank-1 ... Rank-K in percent, (K,)."""
    for name, values in curves.items():
        values = np.asarray(values, float)
        if values.ndim != 1 or not len(values) or (np.diff(values) < -1e-9).any():
            raise FigureError(f"CMC {name!r} must be one non-empty row of values that never fall.")
    with mpl.rc_context(STYLE):
        figure, axis = _axis(title, "rank k", "queries with a match in the first k (%)")
        for number, (name, values) in enumerate(curves.items()):
            ranks = np.arange(1, len(values) + 1)
            step = max(len(values) // 10, 1)
            axis.plot(ranks, values, label=f"{name} (Rank-1 {values[0]:.1f})", markevery=step, **look_of(number))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlim(left=0.5)
        _percent_axis(axis, "%)")
        _legend_above(figure, *axis.get_legend_handles_labels())
    return figure


def bars(table: pd.DataFrame, ylabel: str = "Rank-1 (%)", title: str = "") -> Figure:
    """Bars with their 95 % interval and value. Index: names; columns value and, if known, low and high."""
    with mpl.rc_context(STYLE):
        figure, axis = _axis(title, "", ylabel)
        values = table["value"].to_numpy(float)
        error = np.vstack([values - table["low"], table["high"] - values]) if "low" in table else None
        drawn = axis.bar([str(name) for name in table.index], values, yerr=error, capsize=4, color=OKABE_ITO[0])
        axis.bar_label(drawn, fmt="%.1f", padding=2)
        axis.tick_params(axis="x", rotation=20 if len(table) > 4 else 0)
        axis.grid(visible=False, axis="x")
        _percent_axis(axis, ylabel)
    return figure


def dots_with_interval(
    panels: Mapping[str, pd.DataFrame], names: Sequence[str], zero: str, hollow: str, xlabel: str
) -> Figure:
    """Dots with their 95 % interval beside a zero line: a panel for each frame, in it a line for each name.

    Args:
        panels: title -> columns name, series, value, low, high and hollow (bool). A series has its own colour and
            marker. low and high are NaN where there is no interval.
        names: in their order, from the top.
        zero: what stands at zero.
        hollow: what an open marker means.
        xlabel: of all panels, which share their axes.
    """
    rows = pd.concat(panels.values())
    series = list(rows["series"].unique())
    across = min(len(panels), 4)
    down = -(-len(panels) // across)
    with mpl.rc_context(STYLE):
        size = 1.8 + max(2.3 * across, 4.6), 1.2 + down * (0.6 + 0.28 * len(names) * len(series))
        figure = Figure(figsize=size, layout="constrained")
        axes = list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)
        for axis in axes[len(panels) :]:
            axis.remove()
        for axis, (title, own) in zip(axes, panels.items(), strict=False):
            axis.axvline(0, **_ZERO)
            for row in own.itertuples():
                number = series.index(row.series)
                _dot(axis, row, names.index(row.name) + 0.3 * (number - (len(series) - 1) / 2), look_of(number))
            axis.set_title(title, fontsize=10)
            axis.tick_params(labelbottom=True)
        axes[0].set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        figure.supxlabel(xlabel, fontsize=10)
        marks = [Line2D([], [], label=zero, **_ZERO)]
        if len(series) > 1:
            marks += [Line2D([], [], label=name, **look_of(i) | {"linestyle": "none"}) for i, name in enumerate(series)]
        if rows["hollow"].any():
            marks.append(Line2D([], [], label=hollow, color="grey", marker="o", mfc="white", linestyle="none"))
        figure.legend(handles=marks, loc="outside upper center", ncols=len(marks))  # above: never on a dot
    return figure


def histograms(samples: Mapping[str, np.ndarray], xlabel: str, unit: str, title: str = "") -> Figure:
    """Outlines of how numbers are spread, one line per name; the y axis counts `unit` ("images") in percent."""
    edges = np.histogram_bin_edges(np.concatenate([np.ravel(values) for values in samples.values()]), bins=40)
    with mpl.rc_context(STYLE):
        figure, axis = _axis(title, xlabel, f"{unit} (%)")
        for number, (name, values) in enumerate(samples.items()):
            counts, look = np.histogram(values, edges)[0], look_of(number)
            line = {"color": look["color"], "linestyle": look["linestyle"], "baseline": None}
            axis.stairs(100 * counts / max(counts.sum(), 1), edges, label=name, **line)
        axis.set_ylim(bottom=0)
        _legend_above(figure, *axis.get_legend_handles_labels())
    return figure


def matrix(table: pd.DataFrame, label: str, title: str = "", low: float = -1.0, high: float = 1.0) -> Figure:
    """A table as coloured squares with their numbers. ``label`` names the number; `low` and `high` end its scale."""
    values = table.to_numpy(float)
    with mpl.rc_context(STYLE):
        side = 0.75 * max(table.shape) + 2.2
        figure = Figure(figsize=(side + 1, side), layout="compressed")  # constrained: squares push labels off the edge
        axis = figure.subplots()
        drawn = axis.imshow(values, vmin=low, vmax=high, cmap="cividis")
        axis.set(title=title, xticks=range(table.shape[1]), yticks=range(table.shape[0]))
        axis.set_xticklabels(table.columns, rotation=30, ha="right")
        axis.set_yticklabels(table.index)
        axis.grid(visible=False)
        for (row, column), value in np.ndenumerate(values):
            dark = (value - low) / (high - low) < 0.6
            text = f"{value:.1f}" if max(abs(low), abs(high)) > 2 else f"{value:.2f}"  # points, or shares of 1
            axis.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
        figure.colorbar(drawn, label=label)
    return figure


def features_before_after(panels: Mapping[str, np.ndarray], pids: np.ndarray, lr: np.ndarray) -> Figure:
    """Points of HR features (filled) and LR ones (open) of some identities, one panel per name, on common axes.

    Each panel is (n, 2); `pids` (n,) and `lr` bool (n,) say whose and what the points are. An identity's number stands
    at the mean of its HR points. Raises FigureError for other shapes, or more identities than there are looks.
    """
    pids, lr = np.asarray(pids), np.asarray(lr, bool)
    if any(np.shape(points) != (len(pids), 2) for points in panels.values()) or lr.shape != pids.shape:
        raise FigureError(f"Expected points (n, 2) with n = {len(pids)} identities and resolutions in every panel.")
    with mpl.rc_context(STYLE):
        figure, axes = _scatter_panels(panels)
        for axis, points in zip(axes, panels.values(), strict=True):
            for pid, (colour, marker) in _looks(pids):
                own = pids == pid
                axis.scatter(*points[own & ~lr].T, c=colour, marker=marker, s=30)
                axis.scatter(*points[own & lr].T, facecolors="none", edgecolors=colour, marker=marker, s=30)
                _name_at(axis, pid, points[own & ~lr].mean(0))
        kinds = {"HR image": "grey", "LR image": "none"}
        dots = [Line2D([], [], color="grey", marker="o", mfc=face, linestyle="none") for face in kinds.values()]
        _legend_above(figure, dots, list(kinds))
    return figure


def points_by_group(points: np.ndarray, panels: Mapping[str, np.ndarray]) -> Figure:
    """Points of a t-SNE, (n, 2), once for each way of grouping them: a panel per name, with each point's group (n,).

    Up to seven groups have a legend below their panel; of more, each has its name at one of its points, the one nearest
    their mean. Raises FigureError for other shapes, or more groups than there are looks.
    """
    points = np.asarray(points, float)
    if any(points.shape != (len(groups), 2) for groups in panels.values()):
        raise FigureError(f"Expected points (n, 2) and n groups in every panel, found points {points.shape}.")
    with mpl.rc_context(STYLE):
        figure, axes = _scatter_panels(panels)
        for axis, groups in zip(axes, panels.values(), strict=True):
            looks = _looks(groups)
            for name, (colour, marker) in looks:
                own = points[np.asarray(groups) == name]
                axis.scatter(*own.T, s=16, label=str(name), c=colour, marker=marker)
                if len(looks) > len(OKABE_ITO):
                    middle = own[np.linalg.norm(own - own.mean(0), axis=1).argmin()]  # a group may be in pieces
                    _name_at(axis, name, middle)
            if len(looks) <= len(OKABE_ITO):
                below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}  # the axis label
                axis.legend(**below, ncols=_columns(axis.get_legend_handles_labels()[1], 4.4))
    return figure


def strips(panels: Mapping[str, np.ndarray], rows: Sequence[str], xlabel: str, label: str) -> Figure:
    """Numbers as strips of colour, (rows, n) in each panel, all in one scale. ``label`` names the number.

    Raises FigureError for another number of rows.
    """
    if any(np.ndim(values) != 2 or len(values) != len(rows) for values in panels.values()):
        raise FigureError(f"Expected {len(rows)} rows in every panel, found {[np.shape(v) for v in panels.values()]}.")
    scale = {"vmin": min(map(np.min, panels.values())), "vmax": max(map(np.max, panels.values()))}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, (0.22 * len(rows) + 0.5) * len(panels) + 0.4), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axis, (title, values) in zip(axes, panels.items(), strict=True):
            drawn = axis.imshow(values, aspect="auto", interpolation="nearest", cmap="cividis", **scale)
            axis.set_title(title, fontsize=10)
            axis.set_yticks(range(len(rows)), rows)
            axis.grid(visible=False)
        axes[-1].set_xlabel(xlabel)
        figure.colorbar(drawn, ax=list(axes), label=label)
    return figure


# --- helpers -------------------------------------------------------------------------------------


def _axis(title: str, xlabel: str, ylabel: str):
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axis


def look_of(number: int) -> dict[str, object]:
    """Colour, marker and line of the series of this number, as keywords of ``axis.plot``."""
    pick, turn = number % len(OKABE_ITO), number // len(OKABE_ITO)  # a colour that comes again looks another way
    marker, line = _MARKERS[(pick + turn) % len(_MARKERS)], _LINES[(pick + turn) % len(_LINES)]
    return {"color": OKABE_ITO[pick], "marker": marker, "linestyle": line, "markersize": 5}


def _looks(groups: np.ndarray) -> list[tuple[object, tuple[str, str]]]:
    """Each group's colour and marker: a colour that comes again has another marker, and no two groups look alike."""
    names, count = np.unique(groups), len(OKABE_ITO)
    if len(names) > count * len(_MARKERS):
        raise FigureError(f"Expected at most {count * len(_MARKERS)} groups, found {len(names)}: show fewer of them.")
    return [
        (name, (OKABE_ITO[number % count], _MARKERS[(number + number // count) % len(_MARKERS)]))
        for number, name in enumerate(names)
    ]


def _scatter_panels(panels: Mapping[str, object]):
    figure = Figure(figsize=(5.2 * len(panels), 4.8), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axis, title in zip(axes, panels, strict=True):
        axis.set(title=title, xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    return figure, axes


def _name_at(axis, name: object, place: np.ndarray) -> None:
    halo = [withStroke(linewidth=2, foreground="white")]  # it stands on points
    axis.annotate(str(name), place, fontsize=8, ha="center", va="center", path_effects=halo)


def _legend_above(figure: Figure, handles: Sequence, labels: Sequence[str]) -> None:
    """A legend of the whole figure, above its axes: never on a line. The figure grows by its further lines."""
    columns = _columns(labels, figure.get_figwidth() - 0.4)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * (-(-len(labels) // columns) - 1))


def _columns(labels: Sequence[str], inches: float) -> int:
    """How many labels of a legend stand side by side."""
    return min(len(labels), max(1, int(inches / (0.6 + 0.072 * max(map(len, labels))))))


def _dot(axis, row, y: float, look: dict) -> None:
    """One dot of `dots_with_interval`; without an interval it stands alone."""
    half = np.nan_to_num(np.array([[row.value - row.low], [row.high - row.value]], float)).clip(0)
    face = "white" if row.hollow else look["color"]
    axis.errorbar(row.value, y, xerr=half, mfc=face, capsize=3, **look | {"linestyle": "none"})


def _percent_axis(axis, label: str) -> None:
    if label.endswith("%)"):
        axis.set_ylim(0, 103)


def _check_images(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise FigureError(f"Expected images as uint8 (n, H, W, 3), found {images.dtype} {images.shape}.")
    return images


def _image_axes(rows: int, columns: int, size: tuple[int, int], height: float, labelled: bool, title: str):
    width = height * size[1] / size[0]
    with mpl.rc_context(STYLE):
        # room for row labels on the left, for column labels and the title above
        inches = (columns * width * 1.12 + 0.9 * labelled, rows * height * 1.08 + 0.3 + 0.3 * bool(title))
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        if title:
            figure.suptitle(title)
    return figure, axes


def _draw(axis, image: np.ndarray) -> None:
    axis.imshow(image, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _mark(axis, correct: bool) -> None:
    colour = CORRECT if correct else INCORRECT
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=2.5, linestyle="-" if correct else (0, (3, 2)))
    sign = "\N{CHECK MARK}" if correct else "\N{BALLOT X}"
    box = {"facecolor": "white", "edgecolor": colour, "boxstyle": "round,pad=0.15"}
    axis.text(0.95, 0.97, sign, transform=axis.transAxes, ha="right", va="top", fontsize=9, color=colour, bbox=box)


def _label(axes: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    for axis, label in zip(axes[:, 0], rows, strict=False):
        axis.set_ylabel(label, rotation=0, ha="right", va="center")
    for axis, label in zip(axes[0], columns, strict=False):
        axis.set_title(label, fontsize=10)
