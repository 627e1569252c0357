"""What each method gains over HR + LR trained on the same field, on every data set: the headline of README.md.

A field is a data set, a network and how it is trained. The words around the numbers are chosen by the rows.
"""

import pandas as pd
from matplotlib.figure import Figure

from reid_lib.reporting import alike, claims, figures, results, tables

YARDSTICK = "HR + LR"
# method -> its matched control: all else equal, without what the paper adds
CONTROLS = {
    "CAD-Net": "E and C alone",
    "INTACT": "C alone",
    "LRAR": "IDE + Verif",
    "DRFM": "CC",
    "HR only + VPFA": "HR only",
    "HR + LR + VPFA": "HR + LR",
}
SMALL = "small network"  # the network of a method whose name says no other, as in "LRAR (OSNet x0.25)"
_CONTROL_GAIN = "rank1_over_control_gain"
INDICATIVE = "\N{CIRCLE WITH UPPER RIGHT QUADRANT BLACK}"  # the pages' sign


def measured(rows: pd.DataFrame) -> pd.DataFrame:  # decision REPORT-12
    """Rows of the artefact "One field" under each data set's own protocol, seeds merged; built-in data first.

    `rows` are rows of one profile with `folder_dataset`. The network leaves the method's name and gets its own column.
    Raises alike.MixedError when methods on a data set were measured under several protocols, or on fields that differ
    in more than their length: a gain is over HR + LR of the same length.
    """
    parts, places = [], {name: place for place, name in enumerate((SMALL, *CONTROLS))}  # others come last
    rows = rows[rows.artefact == tables.ONE_FIELD]
    for _, own in sorted(rows.groupby("folder_dataset"), key=lambda part: (not part[0].startswith("synth"), part[0])):
        title = f"{tables.ONE_FIELD} on {own.dataset.iloc[0]}"
        alike.check_protocol(own, title)
        alike.check_field(own, title, alike.FIELD)
        merged = results.merge_seeds(own[own.setting == tables.protocol(own)])
        names = merged.method.str.extract(r"^(?P<method>.+?)(?: \((?P<network>OSNet [^()]+)\))?$")
        merged = merged.assign(method=names.method, network=names.network.fillna(SMALL))
        parts.append(merged.sort_values(["network", "method"], key=lambda column: column.map(places)))
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*results.COLUMNS, "seeds", "network"])
    )


def figure(found: pd.DataFrame) -> Figure | None:
    """The gains over HR + LR of all methods, data sets and networks; None when there is none."""
    rows = _gains(found)
    if not len(rows):
        return None
    drawn = rows.rename(columns={"method": "name", "network": "series"}).assign(hollow=rows.seeds < 2)
    return figures.dots_with_interval(
        {dataset: drawn[drawn.dataset == dataset] for dataset in drawn.dataset.unique()},
        [method for method in CONTROLS if method in set(rows.method)],
        zero=f"{YARDSTICK} (same field)",
        hollow=claims.ONE_SEED,
        xlabel=f"gain in Rank-1 over {YARDSTICK} (points)",
    )


def text(found: pd.DataFrame, picture: str) -> str:
    """README's block: the figure at the path `picture`, a table of methods x data sets (`shown`), a line on both.

    The figure and `table` have all networks. "" when there is no gain.
    """
    rows, cells = _gains(found), shown(found)
    if not len(rows):
        return ""
    texts = dict(zip(zip(cells.method, cells.column, strict=True), cells.text, strict=True))
    methods = [method for method in CONTROLS if method in set(cells.method)]
    columns = list(dict.fromkeys(cells.column))
    lines = [{"Method": m} | {column: texts.get((m, column), "") for column in columns} for m in methods]
    alt = f"Gains over {YARDSTICK} on {', '.join(rows.dataset.unique())}"
    return f"![{alt}]({picture})\n\n{tables.to_markdown(pd.DataFrame(lines))}\n{_said(rows)}\n"


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """The gains that a table of methods x data sets shows, one row each, with `column` and `text`.

    A data set that was measured with a published network, as photographs should be, has that one, and else the small.
    """
    rows = _gains(found)
    published = set(rows[rows.network != SMALL].dataset)
    rows = rows[(rows.network == SMALL) != rows.dataset.isin(published)]
    names = rows.dataset.where(rows.network == SMALL, rows.dataset + ", " + rows.network)
    return rows.assign(column=names, text=[_shown(row) for row in rows.itertuples()])


def table(found: pd.DataFrame) -> pd.DataFrame:
    """One line for each data set, network and method: Rank-1 of HR + LR and of the method, and both its gains."""
    rows = {(row.paper, row.dataset, row.network, row.method, row.metric): row for row in found.itertuples()}
    lines = []
    for (*field, method, metric), row in rows.items():
        if metric == "rank1" and method in CONTROLS:
            over, gained = (_shown(rows.get((*field, method, gain))) for gain in ("rank1_gain", _CONTROL_GAIN))
            line = {"Data set": f"{row.dataset}, {row.setting}", "Network": row.network, "Method": method}
            line |= {"Trainings": str(row.seeds), YARDSTICK: _shown(rows.get((*field, YARDSTICK, metric)))}
            line |= {"Rank-1": _shown(row), f"Gain over {YARDSTICK}": over}
            lines.append(line | {"Control": CONTROLS[method] if gained else "", "Gain over control": gained})
    return pd.DataFrame(lines)


# --- helpers -------------------------------------------------------------------------------------


def _gains(found: pd.DataFrame) -> pd.DataFrame:
    return found[(found.metric == "rank1_gain") & found.method.isin(list(CONTROLS))]


def _shown(row) -> str:
    """A number with its interval, "" for None; a gain in one training has a sign."""
    if row is None:
        return ""
    mark = INDICATIVE if row.metric.endswith("_gain") and row.seeds < 2 else ""
    return tables.with_interval(row.value, row.low, row.high, row.metric) + mark


def _said(gains: pd.DataFrame) -> str:
    """What the numbers are, and how many of them are above and below zero in more than one training."""
    said = [
        f"Points of Rank-1 over {YARDSTICK} of the same network, start and schedule, under each set's own protocol."
    ]
    firm = gains[gains.seeds > 1]
    if len(firm):
        above, below = (firm.low > 0).sum(), (firm.high < 0).sum()
        counts = f"{above} above zero, {below} below, {len(firm) - above - below} undecided"
        said.append(f"In the figure, of the gains with several trainings: {counts}.")
    if len(firm) < len(gains):
        said.append(f"{INDICATIVE} {claims.ONE_SEED}.")
    return " ".join(said)
