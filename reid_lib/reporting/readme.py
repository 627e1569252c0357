"""The tables and the figure of README.md and docs/results.md, from results/demo/*/*.csv: nothing in them is typed.

A table stands between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`, NAME being one of TABLES.
"""

import pandas as pd
from matplotlib.figure import Figure

from reid_lib.reporting import alike, compared, headline, results, tables

FILES = ("README.md", "docs/results.md")  # where such tables may stand
PICTURE = "results/demo/headline.png"  # from README.md
NOTHING = "No results are committed yet.\n"

_GAINS = ("VPFA", "VPFA, released form", "mean shift", "ridge")
_OWN = "MLR {2,3,4}"  # the protocol of a row on synth that names no setting
_SETTINGS = {"HR->HR": "HR->HR", _OWN: _OWN, "": _OWN, "r = 8": "r = 8", "unseen r=8": "r = 8"}  # setting -> column
# name -> its rows: (paper, artefact, method); a later entry adds the settings that an earlier one has not measured
_METHODS = {
    "HR only": [("baselines", "Baselines", "HR only")],
    "HR + LR": [("baselines", "Baselines", "HR + LR")],
    "CAD-Net": [("cadnet", "Table 1", "CAD-Net"), ("cadnet", "Table 2", "CAD-Net")],
    "IDE + Verif": [("baselines", "Baselines", "IDE + Verif")],
    # a query's level is its true rate's in Table II too
    "LRAR": [("lrar", "Table II", "mask + val"), ("lrar", "Estimated level", "true rate")],
    "LRAR, masks alone": [("lrar", "Table II", "w/o val")],
    "HR only + VPFA": [("vpfa", "Forms and yardsticks", "HR only + VPFA")],
}


def rebuilt(text: str) -> str:
    """`text` with every table of TABLES that it holds built again; a text without tables comes back as it is.

    Raises ValueError when the two lines around a table are not there once each and in order, ResultsError when a
    result file is damaged.
    """
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if begin not in text and end not in text:
            continue
        head, *rest = text.split(begin)
        tail = rest[0].split(end) if len(rest) == 1 else ()
        if len(tail) != 2 or end in head:
            raise ValueError(f"a text with the table {name} must hold the lines {begin} and {end}, once each, in order")
        text = f"{head}{begin}\n{table()}{end}{tail[1]}"
    return text


def headline_figure() -> Figure | None:
    """The figure of the headline, `PICTURE`; None when no method was measured on one field."""
    return headline.figure(_on_one_field())


# --- tables --------------------------------------------------------------------------------------


def _headline() -> str:
    return headline.text(_on_one_field(), PICTURE) or NOTHING


def _rank1_by_setting() -> str:
    """Methods and baselines on synth: Rank-1 at HR, under the papers' protocol, and at a rate unseen in training."""
    columns, lines = dict.fromkeys(_SETTINGS.values()), []
    for name, cells in _measured().items():
        line = {"Method": name, "Trainings": str(next(iter(cells.values())).seeds)}
        for setting, row in cells.items():
            if setting in _SETTINGS:
                line.setdefault(_SETTINGS[setting], _shown(row))
        lines.append(line)
    frame = pd.DataFrame(lines)
    return _markdown(frame[[name for name in ("Method", "Trainings", *columns) if name in frame]])


def _gains_table() -> str:
    """What each map behind a frozen model adds to its Rank-1 under the data set's own protocol."""
    lines = []
    for _, own in _rows(artefact="Forms and yardsticks").groupby("folder_dataset"):
        setting = tables.protocol(own)
        own = results.merge_seeds(own[own["setting"] == setting]).set_index(["method", "metric"])
        shown = {key: tables.with_interval(row.value, row.low, row.high, key[1]) for key, row in own.iterrows()}
        panned = (method for method, metric in shown if metric == "rank1_gain" and method.endswith(" + VPFA"))
        for frozen in sorted(method.removesuffix(" + VPFA") for method in panned):
            start = {"Data set": f"{own['dataset'].iloc[0]}, {setting}", "Frozen model": frozen}
            line = start | {"Rank-1": shown[frozen, "rank1"]}
            lines.append(line | {f"+ {m}": shown.get((f"{frozen} + {m}", "rank1_gain"), "") for m in _GAINS})
    return _markdown(pd.DataFrame(lines))


def _result() -> str:
    """What the five methods come to on synth, side by side, in words that the rows decide."""
    rows = _rows(paper="comparison", artefact=compared.COMPARISON, folder_dataset="synth", dataset="synth")
    return f"**The result.** On synth: {compared.said(rows)}\n" if len(rows) else NOTHING


def _side_by_side() -> str:
    """Rank-1 of all methods and baselines under each data set's own protocol, in the comparison of notebook 23."""
    rows = _rows(paper="comparison", artefact=compared.COMPARISON, metric="rank1")
    lines: dict[str, dict[str, str]] = {}
    for _, own in rows.groupby("folder_dataset"):
        own = results.merge_seeds(own[own["setting"] == tables.protocol(own)])
        for row in own.itertuples():
            name = f"{row.dataset}, {row.setting}{'' if own.seeds.max() > 1 else ' ' + headline.INDICATIVE}"
            lines.setdefault(row.method, {"Method": row.method})[name] = _shown(row)
    return _markdown(pd.DataFrame(list(lines.values())))


def _rank1_table(paper: str, artefact: str) -> str:
    """Rank-1 of a paper's own variants, one line for each data set, in the order of its table."""
    rows, printed = _rows(paper=paper, artefact=artefact, metric="rank1"), results.published()
    printed = printed[(printed["paper"] == paper) & (printed["artefact"] == artefact)]
    methods = [method for method in printed["method"].unique() if method in set(rows["method"])]
    lines = []
    for _, own in rows.groupby("folder_dataset"):
        own = results.merge_seeds(own).set_index("method")
        shown = {m: _shown(own.loc[m]) for m in methods if m in own.index}
        seeds = rows.loc[rows["dataset"] == own["dataset"].iloc[0], "seed"].nunique()
        lines.append({"Data set": own["dataset"].iloc[0], "Trainings": str(seeds)} | shown)
    return _markdown(pd.DataFrame(lines))


def _results_table() -> str:
    """One table of Rank-1 for the sets with simulated LR, one for those with genuine LR: their columns differ."""
    rows = _rows(paper="baselines", artefact="Baselines", metric="rank1")
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for name, own in rows.groupby("folder_dataset"):
        note = "" if name.startswith("synth") else results.read_run("demo", name, "baselines").get("data_note", "")
        for row in results.merge_seeds(own).itertuples():
            start = {"Data set": f"{row.dataset} ({note})" if note else row.dataset, "Method": row.method}
            lines.setdefault((row.dataset, row.method), start)[row.setting] = _shown(row)
    genuine = ["genuine LR" in line for line in lines.values()]
    parts = [[line for line, far in zip(lines.values(), genuine, strict=True) if far is kind] for kind in (False, True)]
    return "\n".join(_markdown(pd.DataFrame(part)) for part in parts if part) or NOTHING


TABLES = {
    "result": _result,
    "headline": _headline,
    "side by side": _side_by_side,
    "field": lambda: _markdown(headline.table(_on_one_field())),
    "rank1": _rank1_by_setting,
    "results": _results_table,
    "gains": _gains_table,
    "cadnet": lambda: _rank1_table("cadnet", "Table 1"),
    "lrar": lambda: _rank1_table("lrar", "Table II"),
}


# --- helpers -------------------------------------------------------------------------------------


def _rows(**wanted: str) -> pd.DataFrame:
    """Measured rows of profile demo, on all data sets, whose columns have the wanted values."""
    rows = results.read_all()
    for column, value in {"profile": "demo", **wanted}.items():
        rows = rows[rows[column] == value]
    return rows


def _on_one_field() -> pd.DataFrame:
    return headline.measured(alike.with_fields(_rows(artefact=tables.ONE_FIELD)))


def _measured() -> dict[str, dict[str, pd.Series]]:
    """The Rank-1 rows on synth of each of _METHODS: {method: {setting: row}}, seeds merged.

    All rows of a method have the same number of trainings behind them: that of its first entry in _METHODS.
    """
    rows = results.merge_seeds(_rows(folder_dataset="synth", dataset="synth", metric="rank1"))
    found = {}
    for name, sources in _METHODS.items():
        cells: dict[str, pd.Series] = {}
        for source in sources:
            own = rows[(rows[["paper", "artefact", "method"]] == list(source)).all(axis=1)]
            for _, row in own.iterrows():
                if all(row.seeds == other.seeds for other in cells.values()):
                    cells.setdefault(row.setting, row)
        if cells:
            found[name] = cells
    return found


def _shown(row) -> str:
    return tables.with_interval(row.value, row.low, row.high)


def _markdown(frame: pd.DataFrame) -> str:
    return tables.to_markdown(frame.fillna("")) if len(frame) else NOTHING
