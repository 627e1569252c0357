"""The measured rows that stand in a results folder when `reid-lib reproduce` starts: kept, and compared in the end.

They are kept in results/before/<profile>/<data set>, in the layout of the results folder, so that `reid-lib verify
--against` reads them. A file there says that the run has not ended whole; as long as it is there, what is kept stays.
"""

import filecmp
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from reid_lib.files import write_text
from reid_lib.reporting import agreement, results
from reid_lib.reporting.agreement import Agreement
from reid_lib.reporting.claims import Claim
from reid_lib.reporting.verdicts import SHOWN

FOLDER = "before"  # no profile, so nothing that reads results takes it for one
NAMED = 3  # rows, and verdicts, that are told; `verify` has them all
_UNFINISHED = "unfinished"


def keep(profile: str, dataset: str) -> None:  # decision RUN-15
    """Copy each paper's rows and run.json, unless those from before an unfinished run are there: call it before a run.

    All papers of the folder are kept, because a notebook may write rows of several. Nothing is kept of "smoke".

    Raises:
        ResultsError: the folder cannot be written; OSError: a file cannot be copied.
    """
    kept, folder = _kept(profile, dataset), results.folder(profile, dataset)
    if profile not in SHOWN or (kept / _UNFINISHED).is_file():
        return
    shutil.rmtree(kept, ignore_errors=True)
    results.check_writable(kept)
    for _, _, paper in results.available(where=f"{profile}/{dataset}"):
        for path in (folder / f"{paper}.csv", folder / f"{paper}.run.json"):
            if path.is_file():
                shutil.copyfile(path, kept / path.name)
    write_text(kept / _UNFINISHED, "`reid-lib reproduce` has not ended whole: these rows stay until one has\n")


def told(profile: str, dataset: str, entries: Sequence[Claim]) -> list[str]:
    """Return, in a few lines, whether the rows of now agree with those that `keep` kept for this run.

    Nothing is told where nothing was kept, or nothing was measured since.
    """
    kept = _kept(profile, dataset)
    if not (kept / _UNFINISHED).is_file() or not any(kept.glob("*.csv")):
        return []
    try:
        there = results.results_root() / FOLDER
        found = agreement.compare(results.results_root(), there, entries, f"{profile}/{dataset}")
    except results.ResultsError as error:
        return [f"The rows of now cannot be compared with those of before: {error}"]
    if len(found.compared) + found.without_interval:
        return [*_lines(found), f"  in full: {_command(profile, dataset)}"]
    moved = _moved(found)
    return [f"Rows that stood here and were measured again with the same seed: none; {moved}"] if moved else []


def close(profile: str, dataset: str) -> None:
    """Say that the run has ended whole. What was kept stays until the next run, unless nothing was measured since."""
    kept, folder = _kept(profile, dataset), results.folder(profile, dataset)
    if not (kept / _UNFINISHED).is_file():
        return
    (kept / _UNFINISHED).unlink()
    names = sorted(path.name for path in kept.iterdir())
    same, _, _ = filecmp.cmpfiles(kept, folder, names, shallow=False)
    if same == names:
        shutil.rmtree(kept)


def _kept(profile: str, dataset: str) -> Path:
    return results.results_root() / FOLDER / profile / dataset


def _lines(found: Agreement) -> list[str]:
    differing = found.compared[~found.compared.agrees]
    changed = found.verdicts[found.verdicts.changed]
    counts = [
        f"Rows that stood here and were measured again: {len(found.compared) + found.without_interval}",
        f"{len(found.compared) - len(differing)} agree ({int(found.compared.exact.sum())} exactly), "
        f"{len(differing)} do not",
        f"{found.without_interval} have no interval" if found.without_interval else "",
        _moved(found),
        f"verdicts that changed: {len(changed)}",
    ]
    rows = [
        f"{', '.join(filter(None, (row.dataset, row.paper, row.artefact, row.method, row.setting, row.metric)))}: "
        f"{row.here}, before {row.there}"
        for row in differing.itertuples()
    ]
    verdicts = [
        f"{row.paper}, {row.artefact}, {row.claim}: {row.here}, before {row.there}" for row in changed.itertuples()
    ]
    notes = [f"  {sentence}" for sentence in found.notes()]
    return ["; ".join(filter(None, counts)), *_few("differs", rows), *_few("verdict", verdicts), *notes]


def _moved(found: Agreement) -> str:
    counts = {"new": len(found.only_here), "gone": len(found.only_there)}
    return ", ".join(f"{count} {how}" for how, count in counts.items() if count)


def _few(what: str, lines: Sequence[str]) -> list[str]:
    more = [f"  and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return [*(f"  {what}: {line}" for line in lines[:NAMED]), *more]


def _command(profile: str, dataset: str) -> str:
    """Return what repeats the comparison from the folder where `reid-lib reproduce` was typed."""
    root = os.environ.get("REID_LIB_RESULTS", "")
    where = results.results_root() / FOLDER
    where = where.relative_to(Path.cwd()) if where.is_relative_to(Path.cwd()) else where
    own = f"REID_LIB_RESULTS={shlex.quote(root)} " if root else ""
    return f"{own}reid-lib verify --against {shlex.quote(str(where))} --only {profile}/{dataset}"
