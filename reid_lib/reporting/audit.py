"""The published audit: do the five papers agree with one another, and with themselves?

Nothing is measured here. Everything is computed from `results.published()`; the papers' sentences are in our
words, with their section. Words such as "around" and "~" allow one unit of the last digit.
"""

import pandas as pd

from reid_lib.reporting import claims, papers, results
from reid_lib.reporting.statements import Published

_PLAIN = ("", "supervised", "unsupervised")
_ELSEWHERE = "trained on "  # and a data set's name: where that is not the row's own, no other table has the cell


def disagreements(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Cells for one data set, method and metric that stand in several tables with different values.

    Columns: dataset, method, metric, values ("94.7 in cadnet Table 1, ...; ..."), spread, own (the value in
    the method's own paper, NaN where that is not among the five).
    """
    rows = _same_names(results.published() if rows is None else rows)
    owners = {paper.short: key for key, paper in papers.PAPERS.items()}
    lines = []
    for (dataset, method, metric), group in rows.groupby(["dataset", "method", "metric"], sort=False):
        if group.value.nunique() < 2:
            continue
        places = group.assign(place=group.paper + " " + group.artefact).groupby("value", sort=False).place.agg(list)
        own = group[group.paper == owners.get(method)].value
        lines.append(
            {
                "dataset": dataset,
                "method": method,
                "metric": metric,
                "values": "; ".join(f"{value:g} in {', '.join(dict.fromkeys(p))}" for value, p in places.items()),
                "spread": round(group.value.max() - group.value.min(), 4),
                "own": own.iloc[0] if len(own) else float("nan"),
            }
        )
    return pd.DataFrame(lines, columns=["dataset", "method", "metric", "values", "spread", "own"])


def averages(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """The printed average of each table that lists its splits, against the mean of those rows.

    Columns: paper, artefact, dataset, metric, printed, computed, agrees. Both are printed to 0.1: the two
    may differ by 0.05 + 0.05.
    """
    rows = results.published() if rows is None else rows
    splits = rows[rows.setting.str.startswith("split=")]
    lines = []
    for key, group in splits.groupby(["paper", "artefact", "dataset", "method", "metric"], sort=False):
        table = rows[(rows[["paper", "artefact", "dataset", "method", "metric"]] == list(key)).all(axis=1)]
        printed = table[table.setting == "average"].value
        if len(printed):
            mean = group.value.mean()
            agrees = abs(mean - printed.iloc[0]) <= 0.1 + 1e-9
            lines.append((*key[:3], key[4], printed.iloc[0], round(mean, 2), agrees))
    return pd.DataFrame(lines, columns=["paper", "artefact", "dataset", "metric", "printed", "computed", "agrees"])


def repeated(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Two different methods that share every number (three or more) of one data set, anywhere.

    Columns: dataset, methods, where, values. Such a pair is not an error by itself: it is worth a look.
    """
    rows = _same_names(results.published() if rows is None else rows)
    found: dict[tuple, list[tuple[str, str]]] = {}
    for key, group in rows.groupby(["paper", "artefact", "dataset", "method", "setting"], sort=False):
        numbers = tuple(sorted(zip(group.metric, group.value, strict=True)))
        if len(numbers) >= 3:
            found.setdefault((key[2], numbers), []).append((key[3], f"{key[0]} {key[1]}"))
    lines = []
    for (dataset, numbers), users in found.items():
        methods = list(dict.fromkeys(method for method, _ in users))
        if len(methods) > 1:
            where = ", ".join(dict.fromkeys(f"{method} in {place}" for method, place in users))
            lines.append((dataset, " = ".join(methods), where, ", ".join(f"{m} {v:g}" for m, v in numbers)))
    return pd.DataFrame(lines, columns=["dataset", "methods", "where", "values"])


def statements(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Numbers in prose against the tables: paper, source, text, stated, computed, agrees, note."""
    rows = results.published() if rows is None else rows
    lines = []
    for item in papers.STATEMENTS:
        value = item.compute(Published(rows, item.paper))
        agrees = item.low - 1e-9 <= value <= item.high + 1e-9
        lines.append((item.paper, item.source, item.text, item.stated, round(value, 2), agrees, item.note))
    return pd.DataFrame(lines, columns=["paper", "source", "text", "stated", "computed", "agrees", "note"])


def claims_against_tables(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every verbal claim judged on the published rows themselves (see `claims.evaluate`)."""
    return claims.evaluate(results.published() if rows is None else rows, papers.CLAIMS)


def summary(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """How many checks there are and how many differ, per kind: check, checked, differ."""
    rows = results.published() if rows is None else rows
    verdicts = claims_against_tables(rows).verdict
    cells = _same_names(rows).groupby(["dataset", "method", "metric"]).value.agg(["size", "nunique"])
    lines = [
        (
            "cells printed in several tables",
            int((cells["size"] > 1).sum()),
            int((cells["nunique"] > 1).sum()),
        ),
        ("averages over splits", len(averages(rows)), int((~averages(rows).agrees).sum())),
        ("numbers in prose", len(papers.STATEMENTS), int((~statements(rows).agrees).sum())),
        ("claims in words", int((verdicts != "not measured").sum()), int((verdicts == "fails").sum())),
    ]
    return pd.DataFrame(lines, columns=["check", "checked", "differ"])


def _same_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of plain settings, methods under one name; variants ("w/o ...") belong to their paper alone."""
    kept, names = [], []
    for row in rows.itertuples():
        place = (row.paper, row.artefact, row.method, row.setting)
        elsewhere = row.setting.startswith(_ELSEWHERE) and row.setting != f"{_ELSEWHERE}{row.dataset}"
        kept.append((place in papers.SAME_METHOD or row.setting in _PLAIN) and not elsewhere)
        variant = row.method.startswith("w/o")
        names.append(f"{row.paper} {row.method}" if variant else papers.SAME_METHOD.get(place, row.method))
    return rows.assign(method=names, setting="")[kept]
