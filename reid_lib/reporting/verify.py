"""What is committed, read again: is it whole, and does it belong together?"""

from contextlib import suppress
from pathlib import Path

import nbformat

from reid_lib.digest import file_digest
from reid_lib.reporting import artefacts, audit, papers, results, verdicts
from reid_lib.status import counted

PUBLISHED_SHA256 = "4ae9a96e66c97836023aadc7da2951febd9f187fc17786ff52505e40932d627a"


def verify(root: Path) -> tuple[list[str], str]:
    """One sentence for each problem of the project in `root`, and what was read.

    Checked: published.csv by its hash, that audit.csv is what it gives, the schema of every measured file and its
    run.json, that each folder's claims.csv is what its rows give, every artefact that is done, and that each numbered
    notebook was run to its end.
    Results are read from `results.results_root()`. Raises ValueError when there is no numbered notebook,
    ArtefactError when one is damaged.
    """
    problems, rows = [], 0
    published = root / "results" / "published.csv"
    if not published.is_file():
        problems.append(f"{published} is missing: restore it from git")
    elif file_digest(published) != PUBLISHED_SHA256:
        problems.append(f"{published} differs from the papers' transcribed numbers: restore it from git")
    else:
        problems += audit.problems(root / "results")
    for key in results.available():
        try:
            rows += len(results.check_rows(results.read(*key)))
            if said := results.doubt(*key):
                problems.append(said)
        except results.ResultsError as error:
            problems.append(f"{'/'.join(key)}: {error}")
    with suppress(results.ResultsError):  # a damaged file is said above
        problems += verdicts.problems(papers.CLAIMS)
    problems += artefacts.problems(papers.ARTEFACTS, root / "notebooks")
    notebooks = artefacts.numbered_notebooks(root)
    for path in notebooks:
        problems += notebook_problems(path)
    files = counted(len(results.available()), "result file")
    return problems, f"{files} with {counted(rows, 'row')}, {counted(len(notebooks), 'notebook')}"


def notebook_problems(path: Path) -> list[str]:
    """One sentence when a committed notebook has cells that were not run, one when its last run did not finish."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    found = []
    if any(cell.execution_count is None for cell in cells if cell.source.strip()):
        found.append(f"{path.name} has code cells that were not run: `reid-lib reproduce --write-back`")
    record = results.folder("demo", "synth") / f"{path.stem}.run.json"
    if not record.is_file():
        found.append(f"{path.name} was not run to its end, {record} is missing: `reid-lib reproduce`")
    return found
