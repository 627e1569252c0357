"""The verdicts on what is measured: one set of rows for a profile and a data set, whoever asks.

A notebook, the paper's page and `results/<profile>/<dataset>/claims.csv` all judge every measured row of a paper in
that folder, of all seeds and of all notebooks. So they cannot disagree.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from reid_lib.reporting import claims, results, tables
from reid_lib.reporting.artefacts import Artefact
from reid_lib.reporting.claims import Claim

if TYPE_CHECKING:
    from IPython.display import HTML

SHOWN = ("paper", "demo")  # smoke runs test the code; their numbers mean nothing


class PaperFile(Protocol):
    """A module of `reporting.papers`."""

    ARTEFACTS: tuple[Artefact, ...]
    CLAIMS: tuple[Claim, ...]


def judged(entries: Sequence[Claim], profile: str, dataset: str, root: Path | None = None) -> pd.DataFrame:
    """One line (`claims.COLUMNS`) for each claim of a paper that has measured rows in <root>/<profile>/<dataset>.

    `root` is a results folder, by default `results.results_root`. This is the one place that says which rows a verdict
    stands on: all of them. Raises ResultsError when a result file is damaged.
    """
    rows = results.read_all(root, f"{profile}/{dataset}").drop(columns="folder_dataset")
    return claims.evaluate(rows, [claim for claim in entries if claim.paper in set(rows.paper)])


def of_notebook(paper: PaperFile, notebook: str, profile: str, dataset: str) -> "HTML":
    """The verdicts on the claims about this notebook's artefacts, as a table to show, and what the words mean."""
    from IPython.display import HTML

    own = {artefact.name for artefact in paper.ARTEFACTS if artefact.notebook == notebook}
    found = judged([claim for claim in paper.CLAIMS if claim.artefact in own], profile, dataset)
    shown = tables.to_html(found[["artefact", "claim", "verdict", "detail"]])
    return HTML(f"{tables.NOTEBOOK_STYLE}{shown}<p>{claims.EXPLANATION}</p>")


def folders(root: Path | None = None) -> list[tuple[str, str]]:
    """(profile, data set) of each folder with measured rows whose verdicts are shown."""
    return sorted({(profile, dataset) for profile, dataset, _ in results.available(root) if profile in SHOWN})


def write(entries: Sequence[Claim]) -> list[Path]:
    """Write claims.csv into each folder with measured rows of a paper that claims something; return the paths."""
    paths = []
    for profile, dataset in folders():
        text = _csv(entries, profile, dataset)
        if text:
            paths.append(_path(profile, dataset))
            results.replace_text(paths[-1], text)
    return paths


def problems(entries: Sequence[Claim]) -> list[str]:
    """One sentence for each claims.csv that is not what the rows beside it give."""
    found = []
    for profile, dataset in folders():
        path, text = _path(profile, dataset), _csv(entries, profile, dataset)
        if text and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            found.append(f"{profile}/{dataset}/{path.name} is not what its rows give: `reid-lib readme`")
    return found


def _path(profile: str, dataset: str) -> Path:
    return results.folder(profile, dataset) / f"{results.VERDICTS_FILE}.csv"


def _csv(entries: Sequence[Claim], profile: str, dataset: str) -> str:
    found = judged(entries, profile, dataset)
    return found.to_csv(index=False, lineterminator="\n") if len(found) else ""
