"""RegDB (Nguyen et al., Sensors 2017): 412 identities, ten visible and ten thermal images of each."""

import re
from pathlib import Path

import pandas as pd

from reid_lib.datasets.records import DatasetError, ReIDDataset, Split, check_counts, check_root, random_splits

EXPECTED = "the folder that holds Visible and Thermal (and idx)"
SOURCE = (
    "RegDB is given out by its authors on a signed agreement: look for 'Dongguk Body-based Person Recognition "
    "Database (DBPerson-Recog-DB1)', Dongguk University"
)
MODALITIES = ("visible", "thermal")
EXAMPLE = "Visible/1/male_back_v_00001_1.bmp"
_LINE = re.compile(r"(?:Visible|Thermal)/(\d+)/\S+ (\d+)\s*")


def regdb(
    root: str | Path | None = None, query: str = "visible", size: tuple[int, int] = (256, 128), check: bool = True
) -> ReIDDataset:
    """Load RegDB in the layout of its papers, ``Visible/PPP/*.bmp`` and ``Thermal/PPP/*.bmp``.

    The table is sorted by pid, camid and path; pid = PPP (1 to 412). The camera of the ``query`` modality has camid 1
    and stands where genuine LR images stand elsewhere: its images are the queries, as they are, and the other
    modality's are the gallery. Ten splits, 206 identities for training and 206 for the test: those of ``idx`` where
    that folder is, else seeded.

    Args:
        root: the folder that holds Visible and Thermal.
        query: "visible" (visible-to-infrared) or "thermal" (infrared-to-visible).
        size: (H, W) in pixels at which an image stands.
        check: False accepts a partial copy.

    Raises:
        DatasetError: a folder or list is missing, a name or line is unexpected, the counts or ``query`` are wrong.
    """
    if query not in MODALITIES:
        raise DatasetError(f"regdb: query must be one of {', '.join(MODALITIES)}, found {query!r}")
    root = check_root("regdb", root, EXPECTED, SOURCE)
    root = root / "RegDB" if (root / "RegDB").is_dir() else root
    rows = []
    for modality in MODALITIES:
        camid = 1 if modality == query else 2
        rows += [(*row, camid, modality) for row in _images(root, modality.capitalize())]
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "modality"])
    table = table.sort_values(["pid", "camid", "path"], ignore_index=True)
    if check:
        check_counts("regdb", table, images=8240, identities=412, cameras=2)
    pids = sorted(set(table["pid"]))
    given = sorted((root / "idx").glob("train_visible_*.txt"), key=lambda path: int(re.sub(r"\D", "", path.stem)))
    splits = tuple(_split(path, pids) for path in given)
    splits = splits or random_splits(pids, len(pids) // 2, n=10, seed=0, name="regdb")
    note = "visible and thermal images: no rate, a query's modality is what differs"
    return ReIDDataset("regdb", table, splits, size, root=root, genuine_lr_camid=1, note=note)


def _images(root: Path, folder: str) -> list[tuple[str, int]]:
    if not (root / folder).is_dir():
        raise DatasetError(f"regdb: expected the folder {root / folder}, found none; unpack the official archive again")
    people = sorted(entry for entry in (root / folder).iterdir() if not entry.name.startswith("."))
    wrong = [entry.name for entry in people if not (entry.is_dir() and entry.name.isdigit())]
    if wrong or not people:
        found = f"{len(wrong)} others, the first is {wrong[0]}" if wrong else "none"
        raise DatasetError(f"regdb: expected one numbered folder per identity in {root / folder}, found {found}")
    files = [(file, int(person.name)) for person in people for file in sorted(person.glob("*.bmp"))]
    if not files:
        raise DatasetError(f"regdb: expected images like {EXAMPLE} below {root / folder}, found none")
    return [(file.relative_to(root).as_posix(), pid) for file, pid in files]


def _split(path: Path, pids: list[int]) -> Split:
    matches = [_LINE.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not matches or None in matches:
        raise DatasetError(f"regdb: expected lines like {EXAMPLE} 0 in {path}; unpack the official archive again")
    train = {int(match[1]) for match in matches}
    return Split(tuple(sorted(train)), tuple(pid for pid in pids if pid not in train))
