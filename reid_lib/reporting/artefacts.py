"""The map of tables and figures: which notebook cell makes each one, and which file it ends in.

The entries stand in `papers`, one file for each paper. Status is never typed. It is read from what exists: the
notebook, a cell with the artefact's tag, and, under results/<profile>/<data set>/, rows with the artefact's name
(tables) or a PNG (figures).
"""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reid_lib.reporting import results

NOTEBOOKS = (
    "00_start_here",
    "01_data_and_protocol",
    "02_metrics_and_baselines",
    "11_cadnet",
    "12_intact",
    "13_lrar",
    "14_drfm",
    "15_vpfa",
    "21_unseen_resolutions",
    "22_resolution_directions",
    "23_unified_comparison",
    "90_all_tables_and_figures",
)
STATUSES = ("done", "planned", "missing", "not reproduced")


class ArtefactError(LookupError):
    """No artefact goes by that name; the message lists near ones."""


@dataclass(frozen=True)
class Artefact:
    """One table, figure or numbered result.

    Attributes:
        paper: key of the paper ("lrar").
        name: as in `published.csv` and in the rows' `artefact` column ("Table II", "Fig. 3", "Section 5.4").
        title: the name with its paper's ("LRAR Table II").
        kind: "table", "figure", "text" (a result in prose) or "symbols" (a table of words, for which nothing is
            measured).
        caption: what it shows, in our words.
        notebook: stem of the notebook that makes it; "" when it is not reproduced.
        tag: tag of the one cell that makes it ("table:lrar:II"); "" when it is not reproduced.
        reason: why it is not reproduced; "" otherwise.
        alias: another name that the paper uses for the same thing.
    """

    paper: str
    name: str
    title: str
    kind: str
    caption: str
    notebook: str = ""
    tag: str = ""
    reason: str = ""
    alias: str = ""

    @property
    def printed(self) -> bool:
        """Whether the paper prints it; the others are this project's own."""
        return bool(_PRINTED.match(self.name))

    @property
    def stem(self) -> str:
        """The figure's file name without suffix ("lrar_fig_4"): pass it to `figures.save`."""
        return "_".join(self.tag.split(":")[i] for i in (1, 0, 2)).replace("-", "_") if self.tag else ""

    @property
    def file(self) -> str:
        """Result file inside results/<profile>/<data set>/: the paper's CSV, the figure's PNG, "" without either."""
        if not self.tag or self.kind == "symbols":
            return ""
        return f"{self.stem}.png" if self.kind == "figure" else f"{self.paper}.csv"


@dataclass(frozen=True)
class Paper:
    """What all artefacts of a paper share; its methods make them.

    Attributes:
        key: as in rows, file names and module names ("lrar").
        short: what a reader calls it ("LRAR").
        name: the same, with where it appeared ("LRAR (TIP 2023)").
        notebook: stem of the notebook that makes its artefacts, unless they name another one.
    """

    key: str
    short: str
    name: str
    notebook: str = ""

    def table(self, name: str, caption: str, **changes: str) -> Artefact:
        """A table that the paper prints; `changes` are further attributes of the artefact."""
        return self._printed("table", name, caption, **changes)

    def figure(self, name: str, caption: str, **changes: str) -> Artefact:
        """A figure that the paper prints."""
        return self._printed("figure", name, caption, **changes)

    def text(self, name: str, caption: str, **changes: str) -> Artefact:
        """A result in prose; its name is the section's ("Section 5.4")."""
        return self._printed("text", name, caption, **changes)

    def symbols(self, name: str, caption: str, **changes: str) -> Artefact:
        """A table of words that the paper prints: its list of symbols."""
        return self._printed("symbols", name, caption, **changes)

    def own(self, kind: str, tag: str, name: str, caption: str, notebook: str = "") -> Artefact:
        """A "table" or "figure" that this project adds to the paper's; `tag` is the last part of its cell's tag."""
        where = notebook or self.notebook
        return self._make(kind, name, caption, notebook=where, tag=f"{_PREFIXES[kind]}:{self.key}:{tag}")

    def left_out(self, kind: str, name: str, caption: str, reason: str) -> Artefact:
        """What is not reproduced, and why."""
        return self._make(kind, name, caption, reason=reason)

    def _printed(self, kind: str, name: str, caption: str, **changes: str) -> Artefact:
        number = name.split(" ", 1)[1]
        usual = {"notebook": self.notebook, "tag": f"{_PREFIXES[kind]}:{self.key}:{number}"}
        return self._make(kind, name, caption, **(usual | changes))

    def _make(self, kind: str, name: str, caption: str, **others: str) -> Artefact:
        return Artefact(self.key, name, f"{self.short} {name}", kind, caption, **others)


_PRINTED = re.compile(r"(Table|Fig\.|Section) ")
_PREFIXES = {"table": "table", "figure": "fig", "text": "text", "symbols": "table"}


# --- look up --------------------------------------------------------------------------------------


def find(text: str, artefacts: Sequence[Artefact]) -> Artefact:
    """The one of the artefacts that text means: "LRAR Table II", "lrar table 2", "CAD-Net Figure 3", or a cell tag.

    Raises ArtefactError with the nearest names when nothing, or more than one thing, fits.
    """
    wanted = _normal(text)
    names = {_normal(name): artefact for artefact in artefacts for name in _names(artefact)}
    if wanted in names:
        return names[wanted]
    near = difflib.get_close_matches(wanted, names, n=5, cutoff=0.6)
    titles = list(dict.fromkeys(names[name].title for name in near)) or [artefact.title for artefact in artefacts[:5]]
    raise ArtefactError(f"No table or figure is called {text!r}. Did you mean: {', '.join(titles)}?")


def _names(artefact: Artefact) -> Iterable[str]:
    yield artefact.title
    yield f"{artefact.paper} {artefact.name}"
    if artefact.alias:
        yield f"{artefact.paper} {artefact.alias}"
    if artefact.tag:
        yield artefact.tag


def _normal(text: str) -> str:
    """Lower case; "Figure 3" and "Fig. 3", "II" and "2", "CAD-Net" and "cadnet" become the same."""
    text = re.sub(r"\bfig(?:ure)?\b\.?", "fig", text.lower().strip())
    text = text.replace("cad-net", "cadnet").replace("§", "section ")
    text = re.sub(r"\b(table|fig|section)\s*(?=[\divx])", r"\1 ", text)
    roman = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5"}
    return " ".join(roman.get(word, word) for word in text.split())


# --- status ---------------------------------------------------------------------------------------


def notebooks_folder() -> Path:
    """`notebooks` beside the package's pyproject.toml, else ./notebooks."""
    return (results.project_root() or Path()) / "notebooks"


def numbered_notebooks(root: Path) -> list[Path]:
    """The numbered notebooks of the project in `root`, in order. Raises ValueError when there is none."""
    found = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise ValueError(f"no numbered notebook in {root / 'notebooks'}: run this from the project's folder")
    return found


def status(artefact: Artefact, notebooks: Path | None = None, root: Path | None = None) -> str:
    """One of STATUSES: "planned" without a notebook yet, "missing" when that lacks the tagged cell or left no result.

    `root` is the results folder. Raises ArtefactError when the notebook's file is not one.
    """
    if not artefact.tag:
        return "not reproduced"
    path = (notebooks or notebooks_folder()) / f"{artefact.notebook}.ipynb"
    if not path.is_file():
        return "planned"
    made = artefact.kind == "symbols" or files(artefact, root)
    return "done" if artefact.tag in tags(path) and made else "missing"


def files(artefact: Artefact, root: Path | None = None) -> list[Path]:
    """The result files of one artefact in every profile and data set; a CSV counts when it has its rows."""
    if not artefact.file:
        return []
    found = sorted((root or results.results_root()).glob(f"*/*/{artefact.file}"))
    return [p for p in found if artefact.kind == "figure" or artefact.name in _artefacts_in(p, p.stat().st_mtime_ns)]


def problems(artefacts: Sequence[Artefact], notebooks: Path | None = None, root: Path | None = None) -> list[str]:
    """One sentence for each entry that resolves to nothing, and for each tagged cell that no entry names."""
    notebooks = notebooks or notebooks_folder()
    said = []
    for artefact in artefacts:
        if artefact.tag and artefact.notebook not in NOTEBOOKS:
            said.append(f"{artefact.title}: {artefact.notebook!r} is not in the list of notebooks.")
        if status(artefact, notebooks, root) != "missing":
            continue
        if artefact.tag not in tags(notebooks / f"{artefact.notebook}.ipynb"):
            said.append(f"{artefact.title}: {artefact.notebook}.ipynb has no cell tagged {artefact.tag!r}.")
        else:
            said.append(f"{artefact.title}: no results/<profile>/<data set>/{artefact.file} holds it; run it.")
    known = {(artefact.notebook, artefact.tag) for artefact in artefacts}
    for path in sorted(notebooks.glob("*.ipynb")):
        for tag in sorted(tags(path)):
            if tag.startswith(("table:", "fig:", "text:")) and (path.stem, tag) not in known:
                said.append(f"{path.name}: the tag {tag!r} has no entry for this notebook in reporting/papers.")
    return said


def tags(notebook: Path) -> set[str]:
    """All cell tags of a notebook. Raises ArtefactError when the file is not a notebook."""
    return set(_tags(notebook, notebook.stat().st_mtime_ns))


@cache
def _tags(notebook: Path, changed: int) -> frozenset[str]:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return frozenset(tag for cell in cells for tag in cell.get("metadata", {}).get("tags", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{notebook} is not a Jupyter notebook ({error}): restore it from git.") from error


@cache
def _artefacts_in(path: Path, changed: int) -> frozenset[str]:
    return frozenset(results.read_csv(path, results.COLUMNS).artefact)
