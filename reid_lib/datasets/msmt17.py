"""MSMT17 (Wei et al., CVPR 2018): 4,101 identities, 15 cameras."""

import re
from pathlib import Path

import pandas as pd

from reid_lib.datasets.market1501 import check_roles, split_of
from reid_lib.datasets.records import DatasetError, ReIDDataset, check_root

EXPECTED = "the folder that holds train, test and list_train.txt, or mask_train_v2 and mask_test_v2"
SOURCE = (
    "MSMT17 is given out by its authors on a signed agreement: look for 'MSMT17' of the paper 'Person Transfer GAN to "
    "Bridge Domain Gap for Person Re-Identification' (Wei, Zhang, Gao, Tian; Peking University)"
)
COUNTS = {"train": (32621, 1041), "query": (11659, 3060), "gallery": (82161, 3060)}
_LISTS = {"train": ("list_train.txt", "list_val.txt"), "query": ("list_query.txt",), "gallery": ("list_gallery.txt",)}


def msmt17(root: str | Path | None = None, size: tuple[int, int] = (256, 128), check: bool = True) -> ReIDDataset:
    """Load MSMT17 in its official layout: lists of ``PPPP/PPPP_III_CC_...jpg PID``, images in train and test.

    The table is in the lists' order (train, val, query, gallery); training pids are the lists' 0..1040, test pids the
    lists' plus 1041; camid = CC; ``role`` is train (with val), query or gallery. One split: 1,041 and 3,060 identities.

    Args:
        root: the folder that holds the lists, or the one that holds MSMT17_V1. Version 2 (faces masked) has its images
            in mask_train_v2 and mask_test_v2.
        size: (H, W) in pixels at which an HR image stands; the originals have many sizes.
        check: False accepts a partial copy.

    Raises:
        DatasetError: a folder or list is missing, a line is unexpected, or the counts are wrong.
    """
    root = check_root("msmt17", root, EXPECTED, SOURCE)
    root = root / "MSMT17_V1" if (root / "MSMT17_V1").is_dir() else root
    folders = ("mask_train_v2", "mask_test_v2") if (root / "mask_train_v2").is_dir() else ("train", "test")
    for folder in folders:
        if not (root / folder).is_dir():
            raise DatasetError(
                f"msmt17: expected the folder {root / folder}, found none; unpack the official archive again"
            )
    rows = []
    for role, lists in _LISTS.items():
        folder, first = (folders[0], 0) if role == "train" else (folders[1], 1041)
        for name in lists:
            rows += [(f"{folder}/{path}", first + pid, camid, role) for path, pid, camid in _read_list(root / name)]
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "role"])
    if check:
        check_roles("msmt17", table, COUNTS)
    return ReIDDataset("msmt17", table, (split_of(table),), tuple(size), root=root)


def _read_list(path: Path) -> list[tuple[str, int, int]]:
    if not path.is_file():
        raise DatasetError(f"msmt17: expected the list {path}, found none; unpack the official archive again")
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.fullmatch(r"(\d{4}/\d{4}_\d{3}_(\d\d)_\S+\.jpg) (\d+)\s*", line)
        if match is None:
            raise DatasetError(
                f"msmt17: expected lines like 0000/0000_000_01_0303morning_0008_0.jpg 0 in {path}, found {line!r} in "
                f"line {number}; unpack the official archive again"
            )
        rows.append((match[1], int(match[3]), int(match[2])))
    return rows
