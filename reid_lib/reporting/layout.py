"""The papers' tables and figures as they are printed, published beside measured: one table or figure at a time.

Everything is read: published.csv, the measured rows of one profile and data set, the figures beside them, and the
glossary. What is not there, or cannot be trusted, is said in its place (decision REPORT-18).
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import pandas as pd
from PIL import Image

from reid_lib.reporting import alike, artefacts, results, tables, verdicts
from reid_lib.reporting.artefacts import Artefact
from reid_lib.reporting.pages import escape, pill
from reid_lib.reporting.papers import ARTEFACTS, CLAIMS, PAPERS

HERE = ("done", "not measured", "not reproduced")  # an artefact on one profile and data set
_DIMENSIONS = ("dataset", "method", "setting", "metric")
_USUAL = ("setting", "method")
# what stands in the rows where a paper prints another order than methods x (data sets x metrics)
_ROWS: dict[str, tuple[str, ...]] = {
    "CAD-Net Table 2": ("method",),
    "LRAR Table V": ("method",),
    "VPFA Table 2a": ("setting",),
    "VPFA Table 2b": ("metric",),
    "VPFA Table 6": ("setting", "dataset", "method"),
    "VPFA Table 7": ("metric",),
    "VPFA Table 8": ("metric",),
    "VPFA Table 9": ("metric",),
    "VPFA Table 10": ("metric",),
    "VPFA Table 11": ("setting", "dataset"),
}
_BESIDE = 14  # columns of numbers; with more, the measured ones stand below the published
# of a picture, pixels across and JPEG's quality: the first that is small enough
_SIZES, _BYTES = ((640, 60), (640, 40), (560, 40), (480, 40), (400, 40)), 25_000
_PRINTED, _MEASURED = "printed", "measured"
# for notebooks; the site's own style has the same names
STYLE = (
    "<style>table.sheet.sheet :is(td, th) { text-align: center; vertical-align: top; padding: .2em .5em; "
    "white-space: nowrap } table.sheet.sheet :is(th.row, td.list) { text-align: left; white-space: normal } "
    ".sheet th.row { font-weight: normal; min-width: 7em } .sheet .own { background: rgba(0, 158, 115, .13) } "
    ".sheet small { display: block; opacity: .75 } .pill { border: 1px solid #aab4bb; border-radius: 9px; "
    "padding: 0 .5em; white-space: nowrap; margin: 0 .1em } .pill.good { background: #dff3ec; color: #00664b } "
    ".pill.bad { background: #fde9dd; color: #9c3d00 } .pill.open { background: #fbf1cf; color: #6b5200 }</style>"
)


@dataclass(frozen=True, repr=False)
class Sheet:
    """One artefact as its paper prints it; shows itself in a notebook.

    Attributes:
        artefact: what it is.
        status: one of HERE, on this profile and data set.
        body: its tables or its picture, as HTML.
        said: what a reader must know: what is missing, and what not to trust.
    """

    artefact: Artefact
    status: str
    body: str = ""
    said: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What makes it; "" when it is not reproduced."""
        return f'reid-lib reproduce --only "{self.artefact.title}"' if self.artefact.tag else ""

    def _repr_html_(self) -> str:
        how = f" <code>{escape(self.command)}</code>" if self.command else f" {escape(self.artefact.reason)}"
        head = (
            f"<p><b>{escape(self.artefact.title)}.</b> {escape(self.artefact.caption)}<br>{pill(self.status)}{how}</p>"
        )
        notes = "".join(f"<p><em>{escape(one)}</em></p>" for one in self.said)
        return f"{STYLE}{head}{notes}{self.body}"

    def __repr__(self) -> str:
        return "\n".join((f"{self.artefact.title}: {self.status}", *self.said))


def as_printed(artefact: Artefact, profile: str, dataset: str) -> Sheet:
    """A table or figure of a paper, published and as measured in results/<profile>/<dataset>.

    Raises ResultsError for an unknown profile, or when a result file is damaged.
    """
    folder = results.folder(profile, dataset)
    if artefact.kind == "symbols":
        return Sheet(artefact, "done", tables.to_html(symbols(artefact)))
    if artefact.kind == "figure":
        return _figure(artefact, folder, profile, dataset)
    rows = measured(profile, dataset, artefact.paper)
    sheet = Sheet(artefact, status(artefact, profile, dataset), said=_doubts(artefact, rows, profile, dataset))
    rows = rows[rows.artefact == artefact.name]
    try:
        alike.check(rows, artefact.title)
    except alike.MixedError as error:
        sheet, rows = replace(sheet, said=(*sheet.said, str(error))), rows[:0]
    return replace(sheet, body=table(artefact, rows))


def of_paper(paper: str, profile: str, dataset: str, notebook: str = "") -> list[Sheet]:
    """`as_printed` for every table and figure that a paper prints, without those of `notebook`."""
    chosen = [a for a in ARTEFACTS if a.paper == paper and a.printed and (not notebook or a.notebook != notebook)]
    return [as_printed(artefact, profile, dataset) for artefact in chosen]


def status(artefact: Artefact, profile: str, dataset: str) -> str:
    """One of HERE: whether an artefact's result lies in results/<profile>/<dataset>; words need no result."""
    if not artefact.tag:
        return "not reproduced"
    folder = results.folder(profile, dataset)
    here = artefact.kind == "symbols" or any(path.parent == folder for path in artefacts.files(artefact))
    return "done" if here else "not measured"


class Overview:
    """Papers and what they print, each with its status here, and how many of the papers' claims hold.

    Args:
        profile, dataset: which results folder.
    """

    def __init__(self, profile: str, dataset: str) -> None:
        chosen = [artefact for artefact in ARTEFACTS if artefact.printed]
        self.states = pd.DataFrame(
            [(a.paper, a.name, a.kind, status(a, profile, dataset)) for a in chosen],
            columns=["paper", "artefact", "kind", "status"],
        )
        self.claims = verdicts.judged(CLAIMS, profile, dataset)
        self.doubts = [said for key in results.available(where=f"{profile}/{dataset}") if (said := results.doubt(*key))]

    def _repr_html_(self) -> str:
        lines = []
        for paper, own in self.states.groupby("paper", sort=False):
            cells = " ".join(pill(one.status, f"{one.artefact}") for one in own.itertuples())
            name = f"<th class=row><b>{escape(PAPERS[paper].name)}</b></th>"
            lines.append(f"<tr>{name}<td class=list>{cells}</td>{self._held(paper)}</tr>")
        key = " ".join(pill(word) for word in HERE if word in set(self.states.status))
        notes = "".join(f"<p><em>Not to be trusted: {escape(said)}</em></p>" for said in self.doubts)
        head = "<tr><th class=row>paper</th><th>what it prints</th><th>its claims</th></tr>"
        return f"{STYLE}{notes}<table class='sheet'>{head}{''.join(lines)}</table><p>{key}</p>"

    def __repr__(self) -> str:
        counts = self.states.groupby("paper", sort=False).status.value_counts().unstack(fill_value=0)
        return "\n".join([*(f"Not to be trusted: {said}" for said in self.doubts), counts.to_string()])

    def _held(self, paper: str) -> str:
        own = self.claims[self.claims.paper == paper].verdict
        counts = {"holds": (own == "holds").sum(), "fails": (own == "fails").sum()}
        said = [pill(word, f"{number} {word.removesuffix('s')}") for word, number in counts.items()]
        open_ = pill("inconclusive", f"{len(own) - sum(counts.values())} open")
        return f"<td>{' '.join([*said, open_]) if len(own) else 'none measured'}</td>"


# --- tables --------------------------------------------------------------------------------------


def table(artefact: Artefact, rows: pd.DataFrame) -> str:
    """The published rows of a table as they are printed, and measured ones in the same order, as HTML."""
    printed = results.as_roles(results.published())
    printed = printed[(printed.paper == artefact.paper) & (printed.artefact == artefact.name)]
    own = _in_order(_own(results.merge_seeds(rows), printed), printed)
    cells = pd.concat([_cells(printed, _PRINTED), _cells(own, _MEASURED)], ignore_index=True)
    across = _ROWS.get(artefact.title, _USUAL)
    columns = [name for name in _DIMENSIONS if name not in across]
    beside = "dataset" not in across and len(cells[[*columns, "source"]].drop_duplicates()) <= _BESIDE
    parts = [cells] if beside else [cells[cells.source == source] for source in (_PRINTED, _MEASURED)]
    return "".join(_grid(part, across, columns) for part in parts if len(part))


def measured(profile: str, dataset: str, paper: str) -> pd.DataFrame:
    """All measured rows of a paper in one results folder, with `field`; none where there is no file."""
    rows = results.read_all(where=f"{profile}/{dataset}")
    return alike.with_fields(rows[rows.paper == paper])


def _own(merged: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Of measured rows the metrics that the paper prints, and mAP beside Rank-1; all where it prints none."""
    shown = set(printed.metric)
    if shown:
        shown |= {"map"} if "rank1" in shown else set()
        return merged[merged.metric.isin(shown)]
    return merged[~merged.metric.isin(("rank5", "rank10", "rank20"))]


def _in_order(own: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Measured rows with methods and metrics in the printed order; what the paper lacks comes last."""
    for column, known in (("metric", [*printed.metric, *tables.METRICS]), ("method", printed.method)):
        place = {name: number for number, name in enumerate(dict.fromkeys(known))}
        own = own.sort_values(column, key=lambda names, place=place: names.map(place).fillna(len(place)), kind="stable")
    return own


def _cells(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """One line per number: where it stands (_DIMENSIONS and `source`), and how it is shown."""
    if source == _PRINTED:
        shown = [tables.number(row.value, row.metric) for row in rows.itertuples()]
    else:
        texts = (tables.with_interval(row.value, row.low, row.high, row.metric) for row in rows.itertuples())
        shown = [text.replace(" [", "<small>[").replace("]", "]</small>") for text in texts]
    return rows[list(_DIMENSIONS)].assign(source=source, text=shown)


def _grid(cells: pd.DataFrame, across: Sequence[str], columns: Sequence[str]) -> str:
    """Cells as one table, in the order in which they come; what is the same in all of them needs no heading."""
    cells = cells.assign(
        dataset=(cells.dataset + ", " + cells.source).str.removeprefix(", "),
        metric=cells.metric.map(lambda name: tables.METRICS.get(name, name.replace("_", " "))),
    )
    varied = {name for name in _DIMENSIONS if cells[name].nunique() > 1}
    across = [name for name in across if name in varied or name != "setting"]
    columns = ["source", *(name for name in columns if name in varied or name in ("dataset", "metric"))]
    lines: dict[tuple, dict[tuple, str]] = {}
    for cell in cells.to_dict("records"):
        line = lines.setdefault(tuple(cell[name] for name in across), {})
        line[tuple(cell[name] for name in columns)] = cell["text"]
    places = _sorted({place for line in lines.values() for place in line}, cells, columns)
    names = _sorted(lines, cells, across)
    before = [(), *names]
    body = "".join(_line(name, last, places, lines[name]) for name, last in zip(names, before, strict=False))
    return f"<table class='sheet'><thead>{_head(across, places)}</thead><tbody>{body}</tbody></table>"


def _sorted(keys: Iterable[tuple], cells: pd.DataFrame, names: Sequence[str]) -> list[tuple]:
    """Keys by the order in which the values of each of their columns come in `cells`."""
    ranks = [{value: place for place, value in enumerate(cells[name].unique())} for name in names]
    return sorted(keys, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)])


def _line(name: tuple, last: tuple, places: Sequence[tuple], texts: Mapping[tuple, str]) -> str:
    """One line; of its headings those that the line above has too, but for the last, stay empty."""
    heads = [
        "" if level < len(name) - 1 and last[: level + 1] == name[: level + 1] else part
        for level, part in enumerate(name)
    ]
    cells = "".join(f"<td{_look(place)}>{texts.get(place, '')}</td>" for place in places)
    return f"<tr>{''.join(f'<th class=row>{escape(head)}</th>' for head in heads)}{cells}</tr>"


def _head(across: Sequence[str], places: Sequence[tuple]) -> str:
    """A line of headings for each level below the source, equal neighbours in one cell."""
    lines = []
    for level in range(1, len(places[0])):
        spans = [(key, len(list(same))) for key, same in groupby(place[: level + 1] for place in places)]
        start = "".join(f"<th class=row>{escape(name) if level == 1 else ''}</th>" for name in across)
        cells = "".join(f"<th colspan={span}{_look(key)}>{escape(key[-1])}</th>" for key, span in spans)
        lines.append(f"<tr>{start}{cells}</tr>")
    return "".join(lines)


def _look(place: tuple) -> str:
    return " class=own" if place[0] == _MEASURED else ""


# --- figures, words and doubts -------------------------------------------------------------------


def symbols(artefact: Artefact) -> pd.DataFrame:
    """The symbols of the glossary whose place is this artefact: symbol, meaning, where, in the code.

    Raises ResultsError when the glossary is not there or names none.
    """
    path = (results.project_root() or Path()) / "docs" / "glossary.md"
    if not path.is_file():
        raise results.ResultsError(
            f"{artefact.title} is read from docs/glossary.md, which is not there: use a checkout."
        )
    section = (
        path.read_text(encoding="utf-8").partition(f"\n## {PAPERS[artefact.paper].short}\n")[2].partition("\n## ")[0]
    )
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    found = [line for line in lines[2:] if artefact.name in line[2].split(", ")]
    if not found:
        raise results.ResultsError(f"docs/glossary.md has no symbol of {artefact.title}: write its place beside it.")
    return pd.DataFrame([[part.replace("`", "") for part in line] for line in found], columns=lines[0])


def small_jpeg(path: Path) -> bytes:
    """A saved figure, made smaller for a page with many. Raises OSError when it is no picture."""
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    for width, quality in _SIZES:
        shown, stream = whole.copy(), io.BytesIO()
        shown.thumbnail((width, 2 * width), Image.Resampling.LANCZOS)
        shown.save(stream, "JPEG", quality=quality, optimize=True)
        if stream.tell() <= _BYTES:
            break
    return stream.getvalue()


def _figure(artefact: Artefact, folder: Path, profile: str, dataset: str) -> Sheet:
    sheet, path = Sheet(artefact, status(artefact, profile, dataset)), folder / artefact.file
    if not artefact.tag:
        return sheet
    if sheet.status != "done":
        said = f"There is no figure of it under profile {profile} on {dataset}{_elsewhere(artefact)}."
        return replace(sheet, said=(said,))
    try:
        content = base64.b64encode(small_jpeg(path)).decode()
    except OSError:
        return replace(sheet, said=(f"{profile}/{dataset}/{path.name} cannot be read as a picture: run it again.",))
    alt = escape(f"{artefact.title}: {artefact.caption}, on {dataset}")
    return replace(sheet, body=f'<img src="data:image/jpeg;base64,{content}" alt="{alt}">')


def _doubts(artefact: Artefact, rows: pd.DataFrame, profile: str, dataset: str) -> tuple[str, ...]:
    """Why there are no measured rows of an artefact among its paper's, or why those that are there are doubtful."""
    if not artefact.tag:
        return ()
    if not len(rows):
        return (f"Nothing of {PAPERS[artefact.paper].short} was measured under profile {profile} on {dataset}.",)
    said = [results.doubt(profile, dataset, artefact.paper)]
    said = [f"Not to be trusted: {one}" for one in said if one]
    if artefact.name not in set(rows.artefact):
        said.append(f"{profile}/{dataset}/{artefact.paper}.csv has no rows of it{_elsewhere(artefact)}.")
    return tuple(said)


def _elsewhere(artefact: Artefact) -> str:
    """Where results of an artefact are, in words; "" where there is none."""
    found = [path.relative_to(results.results_root()).parent.as_posix() for path in artefacts.files(artefact)]
    return f"; {', '.join(found)} has it" if found else ""
