"""The published audit: do the five papers agree with one another, and with themselves?

Nothing is measured here. Everything is computed from `results.published()`; the papers' sentences are in our
words, with their section. Words such as "around" and "~" allow one unit of the last digit. `table` has every check,
those that agree too; it stands in results/audit.csv, which `reid-lib readme` writes and `reid-lib verify` checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd

from reid_lib.reporting import claims, papers, results
from reid_lib.reporting.statements import Published

FILE = "audit.csv"  # in the results folder of the project, beside published.csv
COLUMNS = ["kind", "paper", "artefact", "dataset", "what", "stated", "computed", "verdict", "note"]
KINDS = {  # in the order of `table` and `summary`
    "quoted cell": "a cell that several papers print",
    "own cell": "a cell that one paper prints in several tables",
    "average": "the printed average of splits against their rows",
    "prose": "a number in prose against the tables",
    "first": "a method that its paper calls the best, in each column of the comparison",
    "order": "Rank-1 <= Rank-5 <= Rank-10 <= Rank-20",
    "range": "values within what their metric allows",
    "count": "entries of a split as counts of its queries",
    "same numbers": "two methods with the same numbers: no error by itself",
    "claim": "a sentence without numbers, judged on the paper's own tables",
}
_PLAIN = ("", "supervised", "unsupervised")
_ELSEWHERE = "trained on "  # and a data set's name: where that is not the row's own, no other table has the cell
_RANKS = ("rank1", "rank5", "rank10", "rank20")
_RANGES = {  # metric -> what it can be; all that is not here is a percentage
    "ssim": (-1, 1),
    "psnr": (0, 100),
    "lpips": (0, 1),
    **dict.fromkeys(("cca1", "cca2", "cca3", "pearson_mean"), (-1, 1)),
    "pearson_std": (0, 1),
    **dict.fromkeys(
        ("distance_before", "distance_after", "inference_samples_per_second", "parameters_million"), (0, float("inf"))
    ),
}
# (artefact, data set) -> queries of a split: VIPeR has one image for each test identity, CAVIAR ten of 25
_QUERIES = {("Table 9", "MLR-VIPeR"): 316, ("Table 10", "CAVIAR"): 250}


@dataclass(frozen=True)
class _First:
    """Where a paper calls its own method the best: the columns of which table, in which section, beside which rows."""

    paper: str
    artefact: str
    source: str
    metrics: tuple[str, ...] = ("rank1", "rank5", "rank10")
    setting: str = ""
    but: tuple[str, ...] = ()


_FIRSTS = (
    _First("cadnet", "Table 1", "4.4", but=("CAD-Net (f only)", "CAD-Net (g only)")),
    _First("lrar", "Table I", "caption"),
    _First("intact", "Table 1", "4.4 (1)"),
    _First("drfm", "Table 2", "4.4", setting="unsupervised"),
    _First("vpfa", "Table 3", "5.3 (1)", metrics=("rank1",)),
)


def disagreements(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Cells for one data set, method and metric that stand in several tables with different values.

    Columns: dataset, method, metric, values ("94.7 in cadnet Table 1, ...; ..."), spread, own (the value in
    the method's own paper, NaN where that is not among the five), note ("one digit differs").
    """
    found = _cells(_same_names(results.published() if rows is None else rows), ["dataset", "method", "metric"])
    columns = ["dataset", "method", "metric", "values", "spread", "own", "note"]
    return found.loc[~found.agrees, columns].reset_index(drop=True)


def own_cells(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Cells that one paper prints in several of its tables, its comparison and its ablations, say.

    Columns: paper, dataset, method, metric, values (as in `disagreements`), spread, note, agrees.
    """
    rows = _same_names(results.published() if rows is None else rows)
    found = _cells(rows, ["paper", "dataset", "method", "metric"])
    return found.drop(columns=["papers", "own"])


def _cells(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """What is printed more than once for the keys: keys, papers, values, spread, own, note, agrees."""
    owners = {paper.short: key for key, paper in papers.PAPERS.items()}
    lines = []
    for key, group in rows.groupby(keys, sort=False):
        if len(group) < 2:
            continue
        line = dict(zip(keys, key, strict=True))
        places = group.assign(place=group.paper + " " + group.artefact).groupby("value", sort=False).place.agg(list)
        own = group[group.paper == owners.get(line["method"])].value
        line |= {
            "papers": ", ".join(dict.fromkeys(group.paper)),
            "values": "; ".join(f"{value:g} in {', '.join(dict.fromkeys(p))}" for value, p in places.items()),
            "spread": round(group.value.max() - group.value.min(), 4),
            "own": own.iloc[0] if len(own) else float("nan"),
            "note": _one_digit(list(places.index)),
            "agrees": len(places) == 1,
        }
        lines.append(line)
    return pd.DataFrame(lines, columns=[*keys, "papers", "values", "spread", "own", "note", "agrees"])


def _one_digit(values: Sequence[float]) -> str:
    """Whether two values differ in one digit, as after a slip in copying: in words, or ""."""
    if len(values) != 2:
        return ""
    one, two = (f"{value:.1f}" for value in values)
    return (
        "one digit differs" if len(one) == len(two) and sum(a != b for a, b in zip(one, two, strict=True)) == 1 else ""
    )


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


def firsts(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Columns of the comparisons in which a paper calls its own method the best.

    Columns: paper, artefact, source, dataset, metric, own, best (of the others), by, agrees, note. A first place that
    is shared agrees, and the note says so.
    """
    rows = results.published() if rows is None else rows
    lines = []
    for said in _FIRSTS:
        own = papers.PAPERS[said.paper].short
        part = rows[(rows.paper == said.paper) & (rows.artefact == said.artefact) & (rows.setting == said.setting)]
        part = part[part.metric.isin(said.metrics) & ~part.method.isin(said.but)]
        for (dataset, metric), group in part.groupby(["dataset", "metric"], sort=False):
            value, others = group[group.method == own].value.iloc[0], group[group.method != own]
            best = others.value.max()
            by = ", ".join(others[others.value == best].method)
            note = "shared" if best == value else ""
            place = (said.paper, said.artefact, said.source, dataset, metric)
            lines.append((*place, value, best, by, bool(value >= best), note))
    columns = ["paper", "artefact", "source", "dataset", "metric", "own", "best", "by", "agrees", "note"]
    return pd.DataFrame(lines, columns=columns)


def orders(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Does Rank-k rise with k in every row of a table? paper, artefact, dataset, checked, broken, agrees."""
    rows = results.published() if rows is None else rows
    rows = rows[rows.metric.isin(_RANKS)]
    lines = []
    for place, table in rows.groupby(["paper", "artefact", "dataset"], sort=False):
        series = [
            dict(zip(g.metric, g.value, strict=True)) for _, g in table.groupby(["method", "setting"], sort=False)
        ]
        ranked = [[one[rank] for rank in _RANKS if rank in one] for one in series]
        ranked = [values for values in ranked if len(values) > 1]
        broken = sum(any(a > b for a, b in pairwise(values)) for values in ranked)
        if ranked:
            lines.append((*place, len(ranked), broken, broken == 0))
    return pd.DataFrame(lines, columns=["paper", "artefact", "dataset", "checked", "broken", "agrees"])


def ranges(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Values that their metric cannot have: paper, artefact, checked, broken, where, agrees."""
    rows = results.published() if rows is None else rows
    low, high = (rows.metric.map(lambda name, end=end: _RANGES.get(name, (0, 100))[end]) for end in (0, 1))
    rows = rows.assign(out=~rows.value.between(low, high))
    lines = []
    for place, table in rows.groupby(["paper", "artefact"], sort=False):
        out = table[table.out]
        where = "; ".join(f"{row.method}, {row.metric}: {row.value:g}" for row in out.itertuples())
        lines.append((*place, len(table), len(out), where, out.empty))
    return pd.DataFrame(lines, columns=["paper", "artefact", "checked", "broken", "where", "agrees"])


def counts(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Are the entries of a split counts of its queries, rounded to 0.1?

    Columns: paper, artefact, dataset, queries, checked, broken, agrees. Only where the number of queries is known.
    """
    rows = results.published() if rows is None else rows
    lines = []
    for (artefact, dataset), queries in _QUERIES.items():
        table = rows[(rows.artefact == artefact) & (rows.dataset == dataset) & rows.setting.str.startswith("split=")]
        nearest = (table.value * queries / 100).round() * 100 / queries
        broken = int(((nearest - table.value).abs() > 0.05 + 1e-9).sum())
        for paper in table.paper.unique():
            lines.append((paper, artefact, dataset, queries, len(table), broken, broken == 0))
    return pd.DataFrame(lines, columns=["paper", "artefact", "dataset", "queries", "checked", "broken", "agrees"])


def claims_against_tables(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every verbal claim judged on the published rows themselves (see `claims.evaluate`)."""
    return claims.evaluate(results.published() if rows is None else rows, papers.CLAIMS)


def summary(rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """How many checks there are and how many differ, per kind: check, what it looks at, checked, differ."""
    found = table(rows)
    found = found[found.verdict != "undecided"]
    lines = []
    for kind, words in KINDS.items():
        own = found[found.kind == kind].verdict
        lines.append((kind, words, len(own), int((own != "agrees").sum())))
    return pd.DataFrame(lines, columns=["check", "what", "checked", "differ"])


# --- one table, and its file ----------------------------------------------------------------------


def table(rows: pd.DataFrame | None = None) -> pd.DataFrame:  # decision REPORT-16
    """Every finding, those that agree too: COLUMNS, all text, sorted by kind and paper, else as published.

    The verdict is "agrees" or "differs", "worth a look" for two methods with the same numbers, and "undecided" for a
    claim of which a row is not printed.
    """
    rows = results.published() if rows is None else rows
    parts = (_quoted, _own, _averages, _prose, _first, _order, _range, _count, _same, _claims)
    lines = [line for part in parts for line in part(rows)]
    found = pd.DataFrame(lines, columns=COLUMNS)
    places = {key: number for number, key in enumerate(papers.PAPERS)}
    order = found.assign(k=found.kind.map(list(KINDS).index), p=found.paper.map(lambda p: places[p.split(", ")[0]]))
    return found.loc[order.sort_values(["k", "p"], kind="stable").index].reset_index(drop=True)


def write(folder: Path) -> Path:
    """Write `table` of the published rows to audit.csv in the results folder, which is made; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    results.replace_text(folder / FILE, _csv())
    return folder / FILE


def problems(folder: Path) -> list[str]:
    """One sentence when audit.csv is missing in `folder` or is not what the published rows give."""
    path = folder / FILE
    same = path.is_file() and path.read_text(encoding="utf-8") == _csv()
    return [] if same else [f"{folder.name}/{FILE} is not what the published rows give: `reid-lib readme`"]


def _csv() -> str:
    return table().to_csv(index=False, lineterminator="\n")


Line = tuple[str, ...]  # one text for each of COLUMNS


def _said(agrees: bool) -> str:
    return "agrees" if agrees else "differs"


def _quoted(rows: pd.DataFrame) -> list[Line]:
    found = _cells(_same_names(rows), ["dataset", "method", "metric"])
    found = found[found.papers.str.contains(", ")]
    found = found.rename(columns={"values": "printed"}).assign(
        own=lambda f: f.own.map("{:g}".format).replace("nan", "")
    )
    return [
        ("quoted cell", r.papers, "", r.dataset, f"{r.method}, {r.metric}", r.own, r.printed, _said(r.agrees), r.note)
        for r in found.itertuples()
    ]


def _own(rows: pd.DataFrame) -> list[Line]:
    found = own_cells(rows).rename(columns={"values": "printed"})
    return [
        ("own cell", r.paper, "", r.dataset, f"{r.method}, {r.metric}", "", r.printed, _said(r.agrees), r.note)
        for r in found.itertuples()
    ]


def _averages(rows: pd.DataFrame) -> list[Line]:
    return [
        ("average", r.paper, r.artefact, r.dataset, r.metric, f"{r.printed:g}", f"{r.computed:g}", _said(r.agrees), "")
        for r in averages(rows).itertuples()
    ]


def _prose(rows: pd.DataFrame) -> list[Line]:
    return [
        ("prose", r.paper, r.source, "", r.text, r.stated, f"{r.computed:g}", _said(r.agrees), r.note)
        for r in statements(rows).itertuples()
    ]


def _first(rows: pd.DataFrame) -> list[Line]:
    found = firsts(rows).assign(what=lambda f: "best " + f.metric + " (" + f.source + ")")
    return [
        (
            "first",
            r.paper,
            r.artefact,
            r.dataset,
            r.what,
            f"{r.own:g}",
            f"{r.best:g} of {r.by}",
            _said(r.agrees),
            r.note,
        )
        for r in found.itertuples()
    ]


def _order(rows: pd.DataFrame) -> list[Line]:
    return [
        ("order", r.paper, r.artefact, r.dataset, f"{r.checked} rows", "0", f"{r.broken} broken", _said(r.agrees), "")
        for r in orders(rows).itertuples()
    ]


def _range(rows: pd.DataFrame) -> list[Line]:
    return [
        ("range", r.paper, r.artefact, "", f"{r.checked} values", "0", f"{r.broken} outside", _said(r.agrees), r.where)
        for r in ranges(rows).itertuples()
    ]


def _count(rows: pd.DataFrame) -> list[Line]:
    what = "{} entries as counts of {} queries".format
    return [
        (
            "count",
            r.paper,
            r.artefact,
            r.dataset,
            what(r.checked, r.queries),
            "0",
            f"{r.broken} off",
            _said(r.agrees),
            "",
        )
        for r in counts(rows).itertuples()
    ]


def _same(rows: pd.DataFrame) -> list[Line]:
    found = repeated(rows).rename(columns={"values": "numbers"})
    lines = []
    for r in found.itertuples():
        keys = [part.rsplit(" in ", 1)[1].split(" ")[0] for part in r.where.split(", ")]
        lines.append(("same numbers", ", ".join(dict.fromkeys(keys)), "", r.dataset, r.methods, "", r.numbers))
    return [(*line, "worth a look", place) for line, place in zip(lines, found["where"], strict=True)]


def _claims(rows: pd.DataFrame) -> list[Line]:
    verdicts = {"holds": "agrees", "fails": "differs"}
    return [
        (
            "claim",
            r.paper,
            r.artefact,
            "",
            f"{r.claim} ({r.source})",
            "",
            r.detail,
            verdicts.get(r.verdict, "undecided"),
            "",
        )
        for r in claims_against_tables(rows).itertuples()
    ]


# --- helpers --------------------------------------------------------------------------------------


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
