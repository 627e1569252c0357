"""A comparison of methods: its pictures, its rows, and what they show in words that the rows decide."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from reid_lib.reporting import claims, results, tables
from reid_lib.reporting.alt import listed
from reid_lib.reporting.figures import STYLE, FigureError, dots_with_interval, look_of

FIVE = ("CAD-Net", "INTACT", "LRAR", "DRFM", "HR only + VPFA")  # the papers' methods, in the order of the notebooks
YARDSTICK = "HR + LR"
COMPARISON, ORDER, PAIRS, LOST = "Comparison", "Rank order", "Pairs", "Lost people"  # artefacts of notebook 23
_OVER = " over "  # between the two methods of a pair
_NETWORK = r" \(OSNet [^()]+\)"
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
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        figure.supylabel(ylabel, fontsize=10)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def agreement(table: pd.DataFrame, xlabel: str, ylabel: str) -> Figure:
    """Each method as a point with its intervals, and the line on which both numbers are the same.

    Args:
        table: columns x, x_low, x_high, y, y_low and y_high, in percent; index the methods.
        xlabel, ylabel: what x and y are.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 5.6), layout="constrained")
        axis = figure.subplots()
        ends = [0, 5 + max(table["x"].max(), table["y"].max())]
        axis.plot(ends, ends, color="black", linestyle="--", linewidth=1, label="the same on both")
        for number, row in enumerate(table.itertuples()):
            error = {
                f"{name}err": None if pd.isna(low) else [[value - low], [high - value]]
                for name, value, low, high in (("x", row.x, row.x_low, row.x_high), ("y", row.y, row.y_low, row.y_high))
            }
            axis.errorbar(row.x, row.y, capsize=2, label=row.Index, **error, **look_of(number) | {"linestyle": "none"})
        axis.set(xlabel=xlabel, ylabel=ylabel, xlim=ends, ylim=ends, aspect="equal")
        figure.legend(loc="outside upper center", ncols=3)
    return figure


# ---- From rows to what is drawn --------------------------------------------------------------------------------------


def by_rate(rows: pd.DataFrame, metric: str = "rank1") -> dict[str, pd.DataFrame]:
    """Return for each method of some rows (seeds merged) the frame that `figures.curve_with_interval` draws against r.

    Settings are "HR->HR" (r = 1), "r = 2", ... as `mlr.settings` names them; others take no part.
    """
    rate = rows["setting"].str.extract(r"^(?:genuine LR, )?r = (\d+)$")[0].astype(float)
    rate = rate.mask(rows["setting"] == "HR->HR", 1).mask(rows["setting"] == "genuine LR", 1)
    own = rows.assign(rate=rate)[(rows["metric"] == metric) & rate.notna()].sort_values("rate", kind="stable")
    return {method: own[own["method"] == method].set_index("rate") for method in own["method"].unique()}


def wide(rows: pd.DataFrame, metric: str, settings: Sequence[str]) -> pd.DataFrame:
    """Return one line for each method and one column for each setting, "63.6 [60.0, 67.0]"; "" where nothing is."""
    own = rows[(rows["metric"] == metric) & rows["setting"].isin(settings)]
    text = [tables.with_interval(row.value, row.low, row.high, metric) for row in own.itertuples()]
    found = own.assign(text=text).pivot_table(index="method", columns="setting", values="text", aggfunc="first")
    return found.reindex(index=own["method"].unique(), columns=list(settings)).fillna("")


def change(rows: pd.DataFrame, before: str, metric: str = "rank1") -> pd.DataFrame:
    """Return what each setting changes from the setting ``before``: one line for each method, one column for each."""
    own = rows[rows["metric"] == metric].pivot(index="method", columns="setting", values="value")
    own = own.loc[rows["method"].unique(), list(dict.fromkeys(rows["setting"]))]
    return own.sub(own[before], axis=0).drop(columns=before)


def beside(rows: pd.DataFrame, x: str, y: str, metric: str = "rank1") -> pd.DataFrame:
    """Return what `agreement` draws: each method's number in setting ``x`` and in setting ``y``."""
    parts = []
    for name, setting in (("x", x), ("y", y)):
        own = rows[(rows["metric"] == metric) & (rows["setting"] == setting)].set_index("method")
        parts.append(own[["value", "low", "high"]].set_axis([name, f"{name}_low", f"{name}_high"], axis=1))
    return parts[0].join(parts[1], how="inner")


def orders(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how alike two data sets order the methods: Spearman's rank correlation of Rank-1, -1..1, square.

    Args:
        rows: measured rows of one profile with ``folder_dataset`` (`results.read_all`); of the artefact "Comparison"
            count Rank-1 under each set's own protocol, and the methods of the small network that all sets have.
    """
    own = rows[(rows["artefact"] == COMPARISON) & (rows["metric"] == "rank1")]
    own = own[~own["method"].str.contains("OSNet")]
    columns = {}
    for _, part in own.groupby("folder_dataset", sort=True):
        setting = tables.protocol(part)
        merged = results.merge_seeds(part[part["setting"] == setting].drop(columns="folder_dataset"))
        if len(merged):
            columns[f"{merged['dataset'].iloc[0]}, {setting}"] = merged.set_index("method")["value"]
    return pd.DataFrame(columns).dropna().corr(method="spearman")


def place_rows(places: pd.DataFrame, seeds: Mapping[str, int | None], **fixed: str) -> pd.DataFrame:
    """Return the rows of the artefact "Rank order" (`results.write`).

    Args:
        places: columns method, value, low, high and trials (`comparison.Comparison.places`).
        seeds: each method's seed, None where nothing was trained.
        **fixed: further columns that all rows share.
    """
    own = places.assign(artefact=ORDER, metric="place", seed=places["method"].map(seeds), **fixed)
    return own.reset_index(drop=True)


def pair_rows(pairs: pd.DataFrame, seeds: Mapping[str, int | None], **fixed: str) -> pd.DataFrame:
    """Return the rows of the artefact "Pairs": method "A over B", metric rank1_gain.

    Args:
        pairs: `comparison.Comparison.pairs`.
        seeds: each method's seed, None where nothing was trained: a pair has one if one of the two has.
        **fixed: further columns that all rows share.
    """
    both = [seeds[a] if seeds[a] is not None else seeds[b] for a, b in zip(pairs["method"], pairs["over"], strict=True)]
    own = pairs.rename(columns={"mean": "value"}).assign(method=pairs["method"] + _OVER + pairs["over"], seed=both)
    return own.drop(columns="over").assign(artefact=PAIRS, metric="rank1_gain", **fixed)


def lost_rows(lost: pd.DataFrame, seeds: Mapping[str, int | None], **fixed: str) -> pd.DataFrame:
    """Return the rows of the artefact "Lost people": the share (%) of people that each method loses.

    Args:
        lost: `comparison.Comparison.lost`.
        seeds: each method's seed, None where nothing was trained.
        **fixed: further columns that all rows share.
    """
    share = (100 * lost.mean()).rename_axis("method").rename("value").reset_index()
    return share.assign(artefact=LOST, metric="lost_percent", seed=share["method"].map(seeds), **fixed)


def decided(pairs: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the pairs of methods, of rows of the artefact "Pairs" (seeds merged), whose interval does not hold 0."""
    firm = pairs[(pairs["low"] > 0) | (pairs["high"] < 0)]
    return {tuple(name.split(_OVER)) for name in firm["method"]}


def square(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return what the line's method gains over the column's, as text; index and columns the methods."""
    names = pairs["method"].str.split(_OVER, expand=True)
    text = [tables.with_interval(row.value, row.low, row.high, row.metric) for row in pairs.itertuples()]
    found = pairs.assign(method=names[0], over=names[1], text=text)
    return found.pivot(index="method", columns="over", values="text").fillna("")


# ---- In words --------------------------------------------------------------------------------------------------------


def said(rows: pd.DataFrame) -> str:
    """Say which of the five methods is first, and which are above, below or not to be told from HR + LR trained alike.

    Args:
        rows: measured rows of one profile and data set; those of other artefacts take no part.

    Raises:
        ResultsError: rows of several profiles or data sets.
    """
    own = rows[rows["artefact"] == COMPARISON]
    tables.check_alone(own, COMPARISON)
    merged = results.merge_seeds(own)
    merged = merged[merged["setting"] == tables.protocol(merged)]
    merged = merged.assign(plain=merged["method"].str.replace(_NETWORK, "", regex=True))
    first = merged[merged["plain"].isin(FIVE)].drop_duplicates(["plain", "metric"])
    rank1 = first[first["metric"] == "rank1"].sort_values("value", ascending=False)
    line = merged[(merged["plain"] == YARDSTICK) & (merged["metric"] == "rank1")]
    if not len(rank1) or not len(line):
        return "The five methods are not measured side by side here."
    best, line = rank1.iloc[0], line.iloc[0]
    told = [f"Under {best.setting} {best.method} has the highest Rank-1 of the five methods, {_shown(best)}."]
    gains = first[first["metric"] == "rank1_gain"]
    kinds = {"above": gains["low"] > 0, "below": gains["high"] < 0}
    kinds["not to be told from it"] = ~(kinds["above"] | kinds["below"])
    parts = [f"{kind}: {listed(list(gains[which]['method']))}" for kind, which in kinds.items() if which.any()]
    told.append(f"Against {line.method} trained alike, {_shown(line)}, stand {'; '.join(parts)}.")
    top = merged[merged["metric"] == "rank1"].sort_values("value").iloc[-1]
    if top["method"] not in (best["method"], line["method"]):
        told.append(f"The highest of all is {top['method']}, {_shown(top)}.")
    if (first["seeds"] == 1).any():
        told.append(f"({claims.ONE_SEED})")
    absent = [name for name in FIVE if name not in set(rank1["plain"])]
    return " ".join([*told, f"Not measured: {listed(absent)}." if absent else ""]).strip()


def told_apart(pairs: pd.DataFrame, order: Sequence[str]) -> str:
    """Say how many pairs are decided, and which neighbours in an order (best first) are not."""
    firm = decided(pairs)
    firm |= {(b, a) for a, b in firm}
    total = len(order) * (len(order) - 1) // 2
    apart = sum((a, b) in firm for number, a in enumerate(order) for b in order[number + 1 :])
    close = [f"{a} and {b}" for a, b in pairwise(order) if (a, b) not in firm]
    text = f"Of {total} pairs of methods {apart} are decided."
    return f"{text} Neighbours that cannot be told apart: {'; '.join(close)}." if close else text


def failures(alike: pd.DataFrame, together: float, rank1: pd.DataFrame) -> str:
    """Say what the best of all methods would reach, and which two fail most and least alike.

    Args:
        alike: `comparison.Comparison.failures`.
        together: Rank-1 (%) of one who takes for each query the best of all methods.
        rank1: measured rows of the methods' Rank-1 in one setting.
    """
    single = rank1.sort_values("value").iloc[-1]
    names = list(alike.index)
    pairs = {(a, b): alike.loc[a, b] for number, a in enumerate(names) for b in names[number + 1 :]}
    most, least = max(pairs, key=pairs.get), min(pairs, key=pairs.get)
    return (
        f"Whoever took for each query the best of all methods would reach a Rank-1 of {together:.1f}; the best single "
        f"one, {single['method']}, has {single['value']:.1f}: what one misses, another often finds. Most alike fail "
        f"{' and '.join(most)} (phi {pairs[most]:.2f}), least alike {' and '.join(least)} ({pairs[least]:.2f})."
    )


def _shown(row: pd.Series) -> str:
    return tables.with_interval(row["value"], row["low"], row["high"], row["metric"])
