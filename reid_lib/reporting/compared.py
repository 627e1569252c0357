"""Pictures of a comparison of methods: who stands where, what cannot be told apart, what accuracy costs."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from reid_lib.reporting.figures import STYLE, FigureError, dots_with_interval, look_of

_LINE = 0.34  # inches of height for each method
COSTS = {
    "parameters_million": "parameters (million)",
    "multiply_adds_million": "multiply-adds of a query (million)",
    "milliseconds": "time of a query (ms, one thread)",
    "training_seconds": "training (s, one thread)",
}


def places(table: pd.DataFrame, together: Sequence[Sequence[str]]) -> Figure:
    """A critical-difference picture: methods on an axis of mean places, bars over those that cannot be told apart.

    After Demsar (JMLR 2006); which pairs are decided is not Nemenyi's test but the interval of the paired difference.

    Args:
        table: columns mean, low and high; index the methods, best first.
        together: groups of methods in which no pair is decided.

    Raises:
        FigureError: a group names a method that the table lacks, or the table is empty.
    """
    unknown = sorted({name for group in together for name in group} - set(table.index))
    if unknown or not len(table):
        raise FigureError(f"expected groups of the table's methods, found {unknown or 'an empty table'}")
    with mpl.rc_context(STYLE):
        n = len(table)
        figure = Figure(figsize=(7.5, 1.1 + _LINE * (n + 0.6 * len(together))), layout="constrained")
        axis = figure.subplots()
        for y, row in enumerate(table.itertuples()):
            error = [[row.mean - row.low], [row.high - row.mean]]
            axis.errorbar(
                row.mean, y, xerr=None if pd.isna(row.low) else error, capsize=3, **look_of(0) | {"linestyle": "none"}
            )
        for number, group in enumerate(together):
            y, at = n - 0.1 + 0.6 * number, table.loc[list(group), "mean"]
            axis.plot([at.min() - 0.05, at.max() + 0.05], [y, y], color="black", linewidth=4, solid_capstyle="butt")
            axis.vlines(at, [list(table.index).index(name) for name in group], y, color="grey", linewidth=0.6, zorder=0)
        axis.set(yticks=range(n), yticklabels=table.index, ylim=(n - 0.4 + 0.6 * len(together), -0.6))
        axis.set_xlabel("mean place (1 is best); black bars join methods that cannot be told apart")
        axis.grid(visible=False, axis="y")
    return figure


def gains(by: Mapping[str, pd.DataFrame], reference: str) -> Figure:
    """Gains in Rank-1 over ``reference`` with their intervals: one line for each method, a series for each kind.

    Args:
        by: "trials", "people", ... -> columns mean, low and high, index the methods: what an interval is over.
        reference: the method that stands at zero.
    """
    parts = [
        frame[["mean", "low", "high"]]
        .rename_axis("name")
        .reset_index()
        .rename(columns={"mean": "value"})
        .assign(series=f"interval over {kind}", hollow=False)
        for kind, frame in by.items()
    ]
    names = list(next(iter(by.values())).sort_values("mean", ascending=False, kind="stable").index)
    rows = {"": pd.concat(parts, ignore_index=True)}
    return dots_with_interval(rows, names, reference, "", f"gain in Rank-1 over {reference} (points)")


def accuracy_against_cost(table: pd.DataFrame, ylabel: str = "Rank-1 (%)") -> Figure:
    """A panel for each kind of cost, on a logarithmic axis; up and left is better.

    Args:
        table: columns value, low and high, and one or more of `COSTS`, each > 0; index the methods.
        ylabel: what the value is.

    Raises:
        FigureError: no column of costs.
    """
    kinds = [column for column in COSTS if column in table and table[column].notna().any()]
    if not kinds:
        raise FigureError(f"expected one or more of the columns {', '.join(COSTS)}, found {list(table.columns)}")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.2 + 2.9 * min(len(kinds), 2), 0.7 + 2.9 * -(-len(kinds) // 2)), layout="constrained")
        axes = figure.subplots(-(-len(kinds) // 2), min(len(kinds), 2), squeeze=False, sharey=True).flat
        for axis, kind in zip(axes, kinds, strict=False):
            for number, row in enumerate(table.dropna(subset=[kind, "value"]).itertuples()):
                error = None if pd.isna(row.low) else [[row.value - row.low], [row.high - row.value]]
                look = look_of(number) | {"linestyle": "none"}
                axis.errorbar(getattr(row, kind), row.value, yerr=error, capsize=2, label=row.Index, **look)
            axis.set(xscale="log", xlabel=COSTS[kind])
        figure.supylabel(ylabel, fontsize=10)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure
