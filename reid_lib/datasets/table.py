"""Your own data: one table of images (CSV or Parquet), or a folder of images in Market-1501's naming."""

import csv
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from reid_lib.datasets import resolution
from reid_lib.datasets.records import (
    COLUMNS,
    DatasetError,
    ReIDDataset,
    Split,
    check_root,
    checked_size,
    match_names,
    native_size,
    random_splits,
    read_image,
)

OPTIONAL = ("split", "rate", "genuine_lr")
EXPECTED = "the folder that the paths of your table are relative to"
SOURCE = "DATA.md says how to bring your own data"
EXAMPLE = "0002_c1s1_000451_03.jpg"
SINGLE_CAMERA = ("refuse", "drop")
_NAME = r"(-1|\d+)_c(\d+)(?:s\d+)?_.+\.(?:jpe?g|png|bmp|JPE?G|PNG|BMP)"
_FOLDERS = {"bounding_box_train": "train", "query": "test", "bounding_box_test": "test"}
_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0+)?")  # pandas writes a column of integers with a gap as 2.0
_TRUTH = {"1": True, "true": True, "0": False, "false": False, "": False}
_JUNK = -1
_LOW = (("genuine_lr", 0), ("rate", 1))  # LR as it is stored: a column's value above this


def table(
    root: str | Path | None = None,
    table: str | Path = "",
    size: tuple[int, int] = (128, 64),
    splits: int = 10,
    train: int = 0,
    seed: int = 0,
    single_camera: str = "refuse",
) -> ReIDDataset:
    """Load your own images, from one table or from a folder in Market-1501's naming.

    The data set's table is sorted by pid, camid and path. Identities and cameras that are text are numbered in
    alphabetical order, from 0 and from 1; the columns ``person`` and ``camera`` keep what the table says. Identity -1
    is junk and left out. ``genuine_lr`` and ``rate`` above 1 mark images that are low-resolution as they are stored;
    they are those of one camera, and no query of it is down-sampled.

    Args:
        root: the folder that the paths are relative to.
        table: a CSV file (UTF-8, commas, a header) or a Parquet file with the columns ``path``, ``pid``, ``camid`` and
            optionally ``split`` ("train", "test" or empty), ``rate`` (by which a stored image was down-sampled) and
            ``genuine_lr`` (1 or 0); relative to ``root``. Empty: the names of the images say it,
            ``0002_c1s1_000451_03.jpg``, in ``root`` itself, or in its folders bounding_box_train, query and
            bounding_box_test, which give the split; identity 0 of bounding_box_test is a distractor, in no part.
        size: (H, W) in pixels at which an HR image stands.
        splits: how many splits by identity are drawn where none is given.
        train: identities for training in each drawn split; 0: half of them.
        seed: of the drawn splits.
        single_camera: "drop" keeps an identity that cannot be a query (seen by one camera, or not by the LR camera and
            another one) for training and leaves it out of tests; "refuse": trials with one are an error.

    Raises:
        DatasetError: the table cannot be read, lacks a column, has an unknown one or a wrong value; paths lie outside
            the root, stand twice or lead to no file; images were down-sampled at another size than ``size``; fewer
            than two identities; an option is wrong.
    """
    if single_camera not in SINGLE_CAMERA:
        raise DatasetError(f"table: single_camera must be one of {', '.join(SINGLE_CAMERA)}, found {single_camera!r}")
    root = check_root("table", root, EXPECTED, SOURCE)
    with _naming(table):
        rows = _read(_file(root, table)) if table else _names(root)
        rows, notes = _without_junk(_checked(rows, root))
        rows = rows.sort_values(["pid", "camid", "path"], ignore_index=True)
        low = _lr_camera(rows)
        lonely = _lonely(rows, low) if single_camera == "drop" else set()
        if "split" in rows:
            given = _given(rows)
            lonely &= set(given.test_pids)
            drawn = (Split(given.train_pids, tuple(pid for pid in given.test_pids if pid not in lonely)),)
        else:
            drawn = _drawn(rows, splits, train, seed, lonely)
        if single_camera == "drop":
            where = "in no part" if "split" in rows else "kept for training"
            notes.append(f"{len(lonely):,} identities that cannot be queries are left out of tests, {where}")
        size = checked_size("table", size)
        notes += _checked_sizes(rows, root, size) if "rate" in rows else []
    rates = dict(zip(rows["path"], rows["rate"], strict=True)) if "rate" in rows else {}
    reader = StoredReader(root, rates) if rates else None
    rows = rows.drop(columns="split", errors="ignore")
    return ReIDDataset("table", rows, drawn, size, root, reader, genuine_lr_camid=low, note="; ".join(notes))


@dataclass(frozen=True)
class StoredReader:
    """Reads images of which some are stored down-sampled; can be pickled.

    Attributes:
        root: the folder of the images.
        rates: the rate of each path.
        reads_files: every path is a file below the data set's root.
    """

    root: Path
    rates: dict[str, int]
    reads_files: bool = True

    def __call__(self, path: str, size: tuple[int, int]) -> np.ndarray:
        """Return uint8 (H, W, 3) RGB at ``size`` = (H, W).

        An image of H/r x W/r pixels is resized as `resolution.degrade` does on its way back, to the last bit.

        Raises:
            DatasetError: the file is missing or cannot be decoded.
        """
        file, rate = self.root / path, self.rates[path]
        small = (size[0] // rate, size[1] // rate)
        if rate == 1 or not min(small) or _size(file) != small:
            return read_image(file, size)
        stored = torch.from_numpy(read_image(file, small).copy()).permute(2, 0, 1)[None]
        return resolution.upsample(stored, size)[0].permute(1, 2, 0).contiguous().numpy()


def _checked_sizes(rows: pd.DataFrame, root: Path, size: tuple[int, int]) -> list[str]:  # decision PROTOCOL-12
    """Refuse images that were down-sampled at another size; return a note where HR images have another one."""
    found = [_size(root / path) for path in rows["path"]]
    wrong, other, high = [], 0, None
    for path, rate, own in zip(rows["path"], rows["rate"], found, strict=True):
        small = (size[0] // rate, size[1] // rate)
        if own in (None, size, small):
            continue
        other += rate == 1
        high = high or (own if rate == 1 else None)
        wrong += [f"{path} has {_shown(own)}, not {_shown(small)}"] * (rate > 1)
    if wrong:
        named = high or ("height", "width")
        raise DatasetError(
            f"table: {len(wrong):,} images of a rate above 1 were not down-sampled at {_shown(size)}, the first: "
            f"{wrong[0]}; give the size at which they were, such as size=({named[0]},{named[1]}), or mark them by "
            "genuine_lr instead of rate"
        )
    return [f"{other:,} images are stored at another size and resized to {_shown(size)}"] if other else []


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _size(file: Path) -> tuple[int, int] | None:
    try:
        return native_size(file)
    except DatasetError:
        return None  # read_image says what is wrong with it


# --- read ---


@contextmanager
def _naming(table: str | Path) -> Iterator[None]:
    """Let an error name the table's file: that is what has to be corrected."""
    try:
        yield
    except DatasetError as error:
        name = Path(str(table)).name
        raise DatasetError(str(error) if not name or name in str(error) else f"{error} (in {name})") from None


def _file(root: Path, table: str | Path) -> Path:
    file = root / Path(str(table)).expanduser()
    if not file.is_file():
        raise DatasetError(f"table: there is no file {file}; name the table relative to {root}, or with its full path")
    return file


def _read(file: Path) -> pd.DataFrame:
    """Return a file's columns as text, "" where a value is missing."""
    if file.suffix.lower() == ".csv":
        return _read_csv(file)
    if file.suffix.lower() not in (".parquet", ".pq"):
        raise DatasetError(f"table: expected a .csv or a .parquet file, found {file}")
    if find_spec("pyarrow") is None:
        raise DatasetError(f"table: {file} needs the package pyarrow: install it (pip install pyarrow) or write CSV")
    try:
        found = pd.read_parquet(file)
        # a text is decoded when it is looked at
        return pd.DataFrame({name: [_text(value) for value in found[name]] for name in found.columns})
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # a damaged file raises nearly anything: KeyError, NotImplementedError, ...
        reason = " ".join(str(error).split())
        raise DatasetError(f"table: {file} cannot be read as Parquet ({reason}); write it again") from None


def _text(value: object) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)


def _read_csv(file: Path) -> pd.DataFrame:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header, *rows = [row for row in csv.reader(lines, strict=True) if row] or [[]]
    except UnicodeDecodeError as error:
        place = error.object[error.start]
        raise DatasetError(
            f"table: {file} is not UTF-8 (byte 0x{place:02x} at {error.start}); save it again as CSV in UTF-8"
        ) from None
    except (OSError, csv.Error) as error:
        raise DatasetError(f"table: {file} cannot be read as CSV ({error}); save it again") from None
    if not rows:
        raise DatasetError(f"table: expected a header and at least one image in {file}, found none")
    uneven = [number for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if uneven:
        raise DatasetError(
            f"table: {len(uneven):,} rows of {file} have not the header's {len(header)} fields, the first is row "
            f"{uneven[0]}: {','.join(rows[uneven[0] - 1])}; put text with commas in quotes"
        )
    names = [name.strip() for name in header]
    if len(set(names)) < len(names):
        raise DatasetError(f"table: a column stands twice in {file}: {', '.join(names)}; name each once")
    return pd.DataFrame([[value.strip() for value in row] for row in rows], columns=names)


def _names(root: Path) -> pd.DataFrame:
    """Read the names of the images, as Market-1501 has them."""
    if not (root / "bounding_box_train").is_dir():
        rows = [(match[0], match[1], match[2]) for match in match_names("table", root, _NAME, EXAMPLE)]
        return pd.DataFrame(rows, columns=list(COLUMNS))
    rows = [
        (
            f"{folder}/{match[0]}",
            match[1],
            match[2],
            "" if folder == "bounding_box_test" and not int(match[1]) else part,
        )
        for folder, part in _FOLDERS.items()
        for match in match_names("table", root / folder, _NAME, EXAMPLE)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "split"])


# --- check ---


def _checked(rows: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return rows of text as the columns of a `ReIDDataset`."""
    known, missing = (*COLUMNS, *OPTIONAL), [name for name in COLUMNS if name not in rows]
    unknown = [str(name) for name in rows.columns if name not in known]
    if missing or unknown:
        wrong = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        raise DatasetError(
            f"table: expected the columns {', '.join(COLUMNS)} and optionally {', '.join(OPTIONAL)}, separated by "
            f"commas; {'; '.join(wrong)}. Rename or remove them"
        )
    if rows.empty:
        raise DatasetError("table: expected at least one image, found none; check the table")
    rows = rows.assign(path=_paths(rows["path"], root))
    pid, camid = _numbered(rows["pid"], "pid", 0), _numbered(rows["camid"], "camid", 1)
    kept = {"person": rows["pid"]} if pid.attrs.get("text") else {}
    kept |= {"camera": rows["camid"]} if camid.attrs.get("text") else {}
    rows = rows.assign(pid=pid.to_numpy(), camid=camid.to_numpy(), **kept)
    if "rate" in rows:
        _refuse(rows, ~rows["rate"].str.fullmatch(r"0*[1-9]\d{0,3}(\.0+)?"), "rate", "an integer >= 1")
        rows["rate"] = rows["rate"].astype(float).astype(int)
    if "genuine_lr" in rows:
        rows["genuine_lr"] = rows["genuine_lr"].str.lower()
        _refuse(rows, ~rows["genuine_lr"].isin(_TRUTH), "genuine_lr", "1 or 0")
        rows["genuine_lr"] = rows["genuine_lr"].map(_TRUTH).astype(bool)
    if "split" in rows:
        _refuse(rows, ~rows["split"].isin(["train", "test", ""]), "split", "train, test or empty")
    return rows


def _refuse(rows: pd.DataFrame, wrong: pd.Series, column: str, expected: str) -> None:
    if wrong.any():
        first = rows[wrong].iloc[0]
        raise DatasetError(
            f"table: {column} must be {expected}; {int(wrong.sum()):,} rows differ, the first has {first[column]!r} "
            f"({first['path']}); correct the table"
        )


def _paths(paths: pd.Series, root: Path) -> list[str]:
    """Return paths in one form; refuse those that leave the root, stand twice or lead to no file."""
    _together(paths[paths == ""].index + 1, "rows without a path", "fill them in")
    plain = [os.path.normpath(path).replace(os.sep, "/") for path in paths]
    outside = [path for path in plain if os.path.isabs(path) or path.split("/")[0] == ".."]
    _together(outside, f"paths outside the root {root}", "give paths relative to it")
    seen = pd.Series(plain)
    _together(seen[seen.duplicated()], "paths that stand twice", "name every image once")
    absent = [path for path in plain if not (root / path).is_file()]
    _together(absent, f"images missing below {root}", "restore them, or take them out of the table")
    return plain


def _together(bad: object, what: str, todo: str) -> None:
    """Refuse all of ``bad`` at once: how many, and the first five."""
    bad = [str(one) for one in bad]
    if bad:
        more = ", ..." if len(bad) > 5 else ""
        raise DatasetError(f"table: {what} ({len(bad):,}): {', '.join(bad[:5])}{more}; {todo}")


def _numbered(texts: pd.Series, column: str, first: int) -> pd.Series:  # decision PROTOCOL-13
    """Return integers as they are, and text numbered alphabetically from ``first``, with attrs["text"] = True."""
    whole = texts.map(lambda text: _WHOLE.fullmatch(text) is not None)
    if (texts == "").any():
        row = int((texts == "").to_numpy().argmax()) + 1
        raise DatasetError(
            f"table: rows without a {column} ({int((texts == '').sum()):,}), the first is row {row}; fill it in"
        )
    if whole.any() and not whole.all():
        raise DatasetError(
            f"table: {column} must be all integers or all text, found both: {int(whole.sum()):,} like "
            f"{texts[whole].iloc[0]!r} and {int((~whole).sum()):,} like {texts[~whole].iloc[0]!r}; write all as text"
        )
    if not whole.any():
        known = {text: number for number, text in enumerate(sorted(set(texts)), first)}
        found = texts.map(known).astype(int)
        found.attrs["text"] = True
        return found
    found = texts.map(lambda text: int(_WHOLE.fullmatch(text)[1]))
    spelt = texts.groupby(found).nunique()
    lowest = _JUNK if column == "pid" else 0
    if (spelt > 1).any() or found.min() < lowest or found.max() >= 1 << 62:
        wrong = texts[(found < lowest) | (found >= 1 << 62) | found.isin(spelt[spelt > 1].index)]
        raise DatasetError(
            f"table: {column} must be integers from {lowest} to 2^62, each written in one way; found "
            f"{', '.join(sorted(set(wrong))[:5])}; correct the table"
        )
    return found.astype(int)


def _without_junk(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    junk = rows["pid"] == _JUNK
    rows = rows[~junk]
    if rows["pid"].nunique() < 2:
        raise DatasetError(
            f"table: expected at least two identities, found {rows['pid'].nunique()}; check the column pid"
        )
    return rows, [f"{int(junk.sum()):,} images of identity -1 (junk) are left out"] if junk.any() else []


# --- protocol ---


def _lr_camera(rows: pd.DataFrame) -> int | None:  # decision PROTOCOL-13
    """Return the camera whose images are LR as they are stored; None if there is none."""
    genuine, stored = (rows.get(name, pd.Series(0, index=rows.index)) > least for name, least in _LOW)
    low = genuine | stored
    if not low.any():
        return None
    cameras = sorted(set(rows["camid"][low]))
    partly = rows[(rows["camid"] == cameras[0]) & ~low]
    if len(cameras) > 1 or (len(partly) and "rate" not in rows):
        found = f"cameras {', '.join(map(str, cameras))}" if len(cameras) > 1 else f"{len(partly)} others in it"
        raise DatasetError(
            f"table: images that are LR as they are (genuine_lr, or rate above 1) must be those of one camera, found "
            f"{found}; give them a camid of their own, or remove the column"
        )
    return cameras[0]


def _lonely(rows: pd.DataFrame, low: int | None) -> set[int]:
    """Return the identities that cannot be queries: `mlr.trials` needs the LR camera and another one."""
    seen = rows.groupby("pid")["camid"].agg(set)
    return {int(pid) for pid, cameras in seen.items() if len(cameras) < 2 or (low is not None and low not in cameras)}


def _given(rows: pd.DataFrame) -> Split:
    parts = rows.groupby("pid")["split"].agg(set)
    torn = parts.index[parts.map(len) > 1]
    _together(torn, "identities with images in several parts of the split", "give each identity one part")
    train, test = (
        tuple(parts.index[parts.map(lambda found, p=part: p in found)].tolist()) for part in ("train", "test")
    )
    return Split(train, test)


def _drawn(rows: pd.DataFrame, splits: int, train: int, seed: int, lonely: set[int]) -> tuple[Split, ...]:
    if splits < 1:
        raise DatasetError(f"table: the number of splits must be at least 1, found {splits}")
    pids = set(rows["pid"]) - lonely
    if len(pids) < 2:
        raise DatasetError(
            f"table: expected at least two identities seen by two cameras (the LR camera and another one), found "
            f"{len(pids)}; without them there is no test"
        )
    found = random_splits(sorted(pids), train or len(pids) // 2, splits, seed, "table")
    return tuple(Split(tuple(sorted({*split.train_pids, *lonely})), split.test_pids) for split in found)
