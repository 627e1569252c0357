"""Market-1501 (Zheng et al., ICCV 2015), and the folder layout that DukeMTMC-reID shares with it."""

from pathlib import Path

import pandas as pd

from reid_lib.datasets.records import DatasetError, ReIDDataset, Split, check_root, match_names

EXPECTED = "the folder that holds bounding_box_train, bounding_box_test and query"
SOURCE = (
    "Market-1501 is given out by its authors: look for 'Market-1501' of the paper 'Scalable Person Re-identification: "
    "A Benchmark' (Zheng, Shen, Tian, Wang, Wang, Tian; ICCV 2015)"
)
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
COUNTS = {"train": (12936, 751), "query": (3368, 750), "gallery": (15913, 751)}
"""Images and identities of each role; the gallery's are without junk images, and count identity 0 (distractors)."""


def market1501(root: str | Path | None = None, size: tuple[int, int] = (128, 64), check: bool = True) -> ReIDDataset:
    """Load Market-1501 in its official layout, ``bounding_box_train/PPPP_cCsS_FFFFFF_BB.jpg`` and so on.

    The table is sorted by role (train, query, gallery) and name; pid = PPPP, camid = C, ``role`` = the folder's. One
    split: 751 training identities, 750 test identities. Junk images (-1), which the standard evaluation ignores, are
    left out; distractors (identity 0) stay, in the gallery's role, but belong to no part.

    Args:
        root: the folder that holds bounding_box_train, or the one that holds Market-1501-v15.09.15.
        size: (H, W) in pixels at which an HR image stands; the images are 128x64.
        check: False accepts a partial copy.

    Raises:
        DatasetError: a folder is missing, a name is unexpected, or the counts are wrong.
    """
    root = check_root("market1501", root, EXPECTED, SOURCE)
    inner = root / "Market-1501-v15.09.15"
    root = inner if inner.is_dir() else root
    table = read_roles("market1501", root, r"(-1|\d{4})_c(\d)s\d_\d{6}_\d\d\.jpg")
    if check:
        check_roles("market1501", table, COUNTS)
    return ReIDDataset("market1501", table, (split_of(table),), tuple(size), root=root)


def read_roles(name: str, root: Path, pattern: str) -> pd.DataFrame:
    """Read the three folders of the layout; the pattern's groups are identity and camera. Junk (-1) is left out."""
    example = "0002_c1s1_000451_03.jpg" if name == "market1501" else "0005_c2_f0046985.jpg"
    rows = [
        (f"{folder}/{match[0]}", int(match[1]), int(match[2]), role)
        for role, folder in FOLDERS.items()
        for match in match_names(name, root / folder, pattern, example)
    ]
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "role"])
    return table[table["pid"] >= 0].reset_index(drop=True)


def check_roles(name: str, table: pd.DataFrame, counts: dict[str, tuple[int, int]]) -> None:
    """Compare images and identities of each role with the documented ones.

    Raises:
        DatasetError: some differ; the message gives expected and found.
    """
    wrong = []
    for role, expected in counts.items():
        rows = table[table["role"] == role]
        found = (len(rows), rows["pid"].nunique())
        if found != expected:
            wrong.append(
                f"{role}: expected {expected[0]:,} images of {expected[1]:,} identities, found "
                f"{found[0]:,} of {found[1]:,}"
            )
    if wrong:
        raise DatasetError(
            f"{name} is not complete: {'; '.join(wrong)}. Unpack the official archive again, into an empty folder"
        )


def split_of(table: pd.DataFrame) -> Split:
    """Return the split of a table with roles: identities of the training images, identities of the queries."""
    train, test = (tuple(sorted(set(table["pid"][table["role"] == role]))) for role in ("train", "query"))
    return Split(train, test)
