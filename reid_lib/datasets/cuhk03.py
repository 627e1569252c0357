"""CUHK03 (Li et al., CVPR 2014): 1,467 identities, five pairs of cameras, boxes drawn by hand or detected."""

import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from reid_lib.datasets.market1501 import FOLDERS, check_roles, split_of
from reid_lib.datasets.partitions import CUHK03_PAIRS, cuhk03_pid, read_new_protocol, read_testsets
from reid_lib.datasets.records import (
    DatasetError,
    ReIDDataset,
    Split,
    check_counts,
    check_root,
    fit,
    match_names,
    random_splits,
)

LAYOUTS = {
    "mat": "the folder that holds cuhk-03.mat, or that file",
    "folders": "the folder that holds images_detected or images_labeled (1_001_1_01.png and so on)",
    "flat": "the folder that holds 0000_00.jpg and so on",
    "np": "the folder that holds bounding_box_train, query and bounding_box_test of CUHK03-NP",
}
IMAGES = {"detected": 14097, "labeled": 14096}
SOURCE = (
    "CUHK03 is given out by its authors: look for 'CUHK person re-identification dataset', Multimedia "
    "Laboratory, The Chinese University of Hong Kong"
)
_LOOKS = {
    "mat": ("cuhk-03.mat", "cuhk03_release/cuhk-03.mat"),
    "folders": ("images_*/?_???_?_??.*",),
    "flat": ("????_??.jpg",),
    "np": ("bounding_box_train",),
}
_NP_NAME = r"(\d{4})_c([12])_\d+\.(?:png|jpg)"
NP_COUNTS = {
    "detected": {"train": (7365, 767), "query": (1400, 700), "gallery": (5332, 700)},
    "labeled": {"train": (7368, 767), "query": (1400, 700), "gallery": (5328, 700)},
}
"""Images and identities of CUHK03-NP's folders (Zhong et al., CVPR 2017)."""
_NAME = r"([1-5])_(\d{3})_([12])_(0[1-9]|10)"


def cuhk03(
    root: str | Path | None = None,
    layout: str = "mat",
    boxes: str = "detected",
    partition: str | Path | None = None,
    size: tuple[int, int] = (128, 64),
    check: bool = True,
) -> ReIDDataset:
    """Load CUHK03 in one of the layouts that people have.

    The table is sorted by pid and image; pid 0..1466 = rank of (camera pair, person); camid 1 or 2 = first or
    second camera of the pair; columns ``pair`` (1..5) and ``number`` (0..9; 0-4 first camera, 5-9 second).
    Identities seen by one camera only are in no part ("unused"); the complete detected set has none.

    Splits: ten of 1,367 training and 100 test identities; of the 20 test sets in cuhk-03.mat the first ten
    with the layout "mat", else seeded. ``partition`` replaces them.

    Args:
        root: the data set's folder; what it must hold depends on the layout.
        layout: "mat" (official ``cuhk-03.mat``), "folders" (``images_detected/1_001_1_01.png`` = pair,
            person, camera, number 01-10, as most re-ID libraries extract it), "flat" (``PPPP_II.jpg`` = pid,
            number) or "np" (CUHK03-NP: bounding_box_train, query, bounding_box_test with ``0003_c1_21.png``; the
            identities are numbered as there, the column is ``role``, the one split is of 767 and 700 identities).
        boxes: "detected" or "labeled"; the flat layout is of the detected ones.
        partition: ``cuhk03_new_protocol_config_*.mat`` (one split of 767 and 700 identities; the table gets
            the column ``role``: train, query or gallery), or ``cuhk-03.mat`` (its official test sets).
        size: (H, W) in pixels at which an HR image stands; the originals have many sizes.
        check: False accepts a partial copy.

    Raises:
        DatasetError: an option is unknown, a folder or file is missing or of another layout, a name is
            unexpected, or the counts are wrong.
    """
    if layout not in LAYOUTS:
        raise DatasetError(f"cuhk03: layout must be one of {', '.join(LAYOUTS)}, found {layout!r}")
    if boxes not in IMAGES or (layout == "flat" and boxes != "detected"):
        allowed = "detected" if layout == "flat" else "detected or labeled"
        raise DatasetError(f"cuhk03: boxes must be {allowed} with the layout {layout}, found {boxes!r}")
    root = check_root("cuhk03", root, LAYOUTS[layout], SOURCE)
    if layout == "np":
        return _np(root, boxes, partition, tuple(size), check)
    rows, reader = {"mat": _mat, "folders": _folders, "flat": _flat}[layout](root, boxes)
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "pair", "number"])
    table = table.sort_values(["pid", "number"], ignore_index=True)
    if check:
        check_counts("cuhk03", table, images=IMAGES[boxes], identities=1467, cameras=2)
    if partition is None and layout == "mat":
        partition = reader.file
    table, splits = _splits(table, partition)
    note = f"CUHK03 ({boxes}) at {size[0]}x{size[1]}"
    return ReIDDataset("cuhk03", table, splits, tuple(size), root=root, reader=reader, note=note)


def _np(root: Path, boxes: str, partition: str | Path | None, size: tuple[int, int], check: bool) -> ReIDDataset:
    if partition is not None:
        raise DatasetError(f"cuhk03: the layout np has its own split, found partition={partition}; leave it out")
    if not (root / "bounding_box_train").is_dir():
        raise _wrong_layout(root, "np", "bounding_box_train")
    rows = [
        (f"{folder}/{match[0]}", int(match[1]), int(match[2]), role)
        for role, folder in FOLDERS.items()
        for match in match_names("cuhk03", root / folder, _NP_NAME, "0003_c1_21.png")
    ]
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "role"])
    if check:
        check_roles("cuhk03", table, NP_COUNTS[boxes])
    note = f"CUHK03-NP ({boxes}) at {size[0]}x{size[1]}"
    return ReIDDataset("cuhk03", table, (split_of(table),), size, root=root, note=note)


def _splits(table: pd.DataFrame, partition: str | Path | None) -> tuple[pd.DataFrame, tuple[Split, ...]]:
    seen = table.groupby("pid")["camid"].nunique()
    pids = seen[seen == 2].index.tolist()
    if partition is None:
        n_test = min(100, len(pids) // 2)
        return table, random_splits(pids, len(pids) - n_test, n=10, seed=0, name="cuhk03")
    if h5py.is_hdf5(partition):
        return table, read_testsets(partition, pids)
    role = read_new_protocol(partition, pd.MultiIndex.from_frame(table[["pid", "number"]]))
    table = table.assign(role=role.to_numpy())
    train, test = (set(table["pid"][(table["role"] == "train") == part]) & set(pids) for part in (True, False))
    return table, (Split(tuple(sorted(train)), tuple(sorted(test))),)


@dataclass(frozen=True)
class MatReader:
    """Reads images out of ``cuhk-03.mat`` by paths like ``detected/1_001_1_01``; can be pickled."""

    file: Path

    def __call__(self, path: str, size: tuple[int, int]) -> np.ndarray:
        """Return uint8 (H, W, 3) RGB at ``size`` = (H, W).

        Raises:
            DatasetError: the file cannot be read or has no such image.
        """
        match = re.fullmatch(rf"(detected|labeled)/{_NAME}", path)
        if match is None:
            raise DatasetError(f"cuhk03 has no image {path}; expected a path like detected/1_001_1_01")
        boxes, pair, person, number = match[1], int(match[2]), int(match[3]), int(match[5])
        try:
            with h5py.File(self.file) as file:
                cells = file[file[boxes][0, pair - 1]]
                pixels = file[cells[number - 1, person - 1]][:].T  # MATLAB's order is the other way round
            if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
                raise ValueError(f"expected uint8 (H, W, 3), found {pixels.dtype} {pixels.shape}")
        except Exception as error:  # a damaged file raises nearly anything
            reason = " ".join(str(error).split())
            raise DatasetError(f"image cannot be read: {path} in {self.file} ({reason}); get the file again") from None
        return fit(Image.fromarray(pixels), size)


def _mat(root: Path, boxes: str) -> tuple[list[tuple], MatReader]:
    path = root if root.is_file() else next((p for place in _LOOKS["mat"] for p in root.glob(place)), None)
    if path is None:
        raise _wrong_layout(root, "mat", "cuhk-03.mat")
    rows = []
    try:
        with h5py.File(path) as file:
            for pair, reference in enumerate(file[boxes][0], 1):
                cells = file[reference][:]  # (10, persons) of references; an empty cell has fewer than 3 dimensions
                for person, number in np.ndindex(cells.shape[::-1]):
                    if file[cells[number, person]].ndim == 3:
                        rows.append(_row(f"{boxes}/", pair, person + 1, number + 1, ""))
    except Exception as error:  # a damaged file raises nearly anything
        reason = " ".join(str(error).split())
        raise DatasetError(f"cuhk03: {path} cannot be read as cuhk-03.mat ({reason}); get the file again") from None
    return rows, MatReader(path)


def _folders(root: Path, boxes: str) -> tuple[list[tuple], None]:
    folder = root / f"images_{boxes}"
    if not folder.is_dir():
        raise _wrong_layout(root, "folders", folder.name)
    rows = []
    for match in match_names("cuhk03", folder, rf"{_NAME}(\.png|\.jpg)", "1_001_1_01.png"):
        pair, person, camid, number = (int(text) for text in match.groups()[:4])
        if camid != 1 + (number > 5):
            raise DatasetError(
                f"cuhk03: expected numbers 01-05 in camera 1 and 06-10 in camera 2, found "
                f"{folder / match[0]}; extract cuhk-03.mat again"
            )
        rows.append(_row(f"{folder.name}/", pair, person, number, match[5]))
    return rows, None


def _flat(root: Path, boxes: str) -> tuple[list[tuple], None]:
    if not any(root.glob("????_??.jpg")):
        raise _wrong_layout(root, "flat", "files like 0000_00.jpg")
    first = np.cumsum((0, *CUHK03_PAIRS))
    rows = []
    for match in match_names("cuhk03", root, r"(\d{4})_(0\d)\.jpg", "0000_00.jpg"):
        pid, number = int(match[1]), int(match[2])
        if pid >= first[-1]:
            raise DatasetError(f"cuhk03: expected identities 0000 to {first[-1] - 1}, found {root / match[0]}")
        rows.append((match[0], pid, 1 + (number >= 5), int(np.searchsorted(first, pid, side="right")), number))
    return rows, None


def _row(folder: str, pair: int, person: int, number: int, ending: str) -> tuple[str, int, int, int, int]:
    camid = 1 + (number > 5)
    path = f"{folder}{pair}_{person:03d}_{camid}_{number:02d}{ending}"
    return path, cuhk03_pid(pair, person), camid, pair, number - 1


def _wrong_layout(root: Path, layout: str, expected: str) -> DatasetError:
    looks = [name for name, places in _LOOKS.items() if any(any(root.glob(place)) for place in places)]
    found = next((name for name in looks if name != layout), None)
    hint = f"it looks like layout={found!r}" if found else f"known are {', '.join(LAYOUTS)}. {SOURCE}"
    return DatasetError(f"cuhk03: the layout {layout!r} expects {expected} in {root}, found none; {hint}")
