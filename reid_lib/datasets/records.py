"""`ReIDDataset`: one checked table of images, and the identities of each train/test split."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from reid_lib.datasets.pixels import PixelsError, height_and_width, opened, upright_rgb
from reid_lib.seeds import numpy_generator
from reid_lib.status import bar
from reid_lib.values import JUNK

COLUMNS = ("path", "pid", "camid")
_FILES = {
    ".mat": "a .mat file holds a partition or CUHK03's images: a partition is the option partition=FILE beside the "
    "folder of images, cuhk-03.mat is the root of cuhk03 in its layout mat",
    ".csv": "your own table is --dataset table --data-root FOLDER --options table=FILE",
}


class DatasetError(ValueError):
    """A data set is not as it should be; the message says what was expected and found, and what to do."""


@dataclass(frozen=True)
class Split:
    """The identities of one train/test split, integers in any sequence or array; no identity is in both."""

    train_pids: tuple[int, ...]
    test_pids: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("train_pids", "test_pids"):
            given = getattr(self, name)
            found = np.asarray(given if isinstance(given, np.ndarray) else list(given))
            if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
                raise DatasetError(f"a split's {name} must be integers, as many as there are, found {given!r}")
            object.__setattr__(self, name, tuple(found.tolist()))


@dataclass(frozen=True, eq=False)
class ReIDDataset:  # decision PROTOCOL-1
    """A re-ID data set.

    Attributes:
        name: the data set's name, as `datasets.load` takes it.
        table: one row per image, sorted as the loader documents; columns ``path`` (text, relative to `root`,
            with forward slashes), ``pid`` (identity, integer), ``camid`` (camera, integer from 1), ``split``
            ("train", "test" or "unused" in the first of `splits`). Its index is 0..N-1: a row's number is the
            image's number everywhere (image store, trials). Loaders may add columns (``height``, ``width`` of
            the original image).
        splits: the train/test splits, at least one.
        size: (H, W) in pixels at which an HR image stands; `resolution.degrade` works at this size.
        root: the folder that the paths are relative to; None where nothing is on disk (`synth`).
        reader: ``reader(path, size)`` -> uint8 (H, W, 3) RGB; None reads the file ``root / path`` with
            Pillow.
        genuine_lr_camid: the camera whose images are low-resolution by nature (CAVIAR), or None.
        note: what a number measured on this copy must say (for example that the images are not in original
            size).
    """

    name: str
    table: pd.DataFrame
    splits: tuple[Split, ...]
    size: tuple[int, int]
    root: Path | None = None
    reader: Callable[[str, tuple[int, int]], np.ndarray] | None = field(default=None, repr=False)
    genuine_lr_camid: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", checked_size(self.name, self.size))
        _check_table(self.name, self.table)
        if not self.splits:
            raise DatasetError(f"{self.name}: expected at least one train/test split, found none")
        for number, split in enumerate(self.splits):
            _check_split(f"{self.name}, split {number}", self.table, split)
        table = self.table.reset_index(drop=True)
        object.__setattr__(self, "table", table.assign(split=_split_column(table, self.splits[0])))

    def __len__(self) -> int:
        return len(self.table)

    def part(self, part: str, split: int = 0) -> pd.DataFrame:
        """Return the rows of a ``part`` ("train", "test") of one split; the index keeps the image numbers."""
        if part not in ("train", "test"):
            raise ValueError(f'part must be "train" or "test", found {part!r}')
        if not 0 <= split < len(self.splits):
            raise ValueError(f"{self.name} has splits 0..{len(self.splits) - 1}, found split={split}")
        column = _split_column(self.table, self.splits[split])
        return self.table[column == part].assign(split=part)

    def read(self, path: str) -> np.ndarray:  # decision PROTOCOL-2
        """Return the image of a table's ``path`` as uint8 (H, W, 3) RGB at the data set's size.

        Raises:
            DatasetError: the file is missing or cannot be decoded; the message names it.
        """
        if self.reader is not None:
            return self.reader(path, self.size)
        return read_image(Path(self.root or ".") / path, self.size)

    def fingerprint(self, times: bool = False) -> str:
        """Return a hexadecimal digest of name, size, records and file sizes: the same for every copy.

        Args:
            times: also the files' times of change, which tell whether an image was replaced on this machine.

        Raises:
            DatasetError: a file is missing; the message names it.
        """
        digest = hashlib.sha256(f"{self.name}|{self.size}|{len(self)}".encode())
        digest.update(self.table[list(COLUMNS)].to_csv(index=False, lineterminator="\n").encode())
        for file in self._files():
            with _file_errors(file):
                stat = file.stat()
            digest.update(f"{stat.st_size},{stat.st_mtime_ns if times else ''};".encode())
        return digest.hexdigest()[:16]

    def _files(self) -> list[Path]:
        """The files that the images come from; a reader may name its one file as ``reader.file``."""
        if self.reader is None or getattr(self.reader, "reads_files", False):
            return [Path(self.root or ".") / path for path in self.table["path"]]
        file = getattr(self.reader, "file", None)
        return [] if file is None else [Path(file)]

    def summary(self) -> pd.DataFrame:
        """Return images, identities and cameras of the whole set and of split 0's parts, one row each."""
        parts = {"all": self.table, "train": self.part("train"), "test": self.part("test")}
        return pd.DataFrame(
            [
                {
                    "part": part,
                    "images": len(t),
                    "identities": t["pid"].nunique(),
                    "cameras": t["camid"].nunique(),
                }
                for part, t in parts.items()
            ]
        ).set_index("part")


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DatasetError(f"image missing: {path}; restore it from the data set's own archive") from None
    except PixelsError as error:
        raise DatasetError(f"image cannot be used: {path}: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(
            f"image cannot be read: {path} ({error}); restore it from the data set's own archive"
        ) from None


def read_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Decode an image file to uint8 (H, W, 3) RGB (`pixels.upright_rgb`), resized to ``size`` = (H, W) bilinearly.

    Raises:
        DatasetError: the file is missing, cannot be decoded, or holds no 8-bit colours; the message names it.
    """
    with _file_errors(path), opened(path) as image:
        rgb = upright_rgb(image)
    return fit(rgb, size)


def native_size(path: Path) -> tuple[int, int]:
    """Return (H, W) in pixels of an image file as it stands upright, from its header.

    Raises:
        DatasetError: the file is missing or is no image; the message names it.
    """
    with _file_errors(path), opened(path) as image:
        return height_and_width(image)


def fit(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Return an RGB image as uint8 (H, W, 3) at ``size`` = (H, W), resized bilinearly (anti-aliased)."""
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def check_images(dataset: ReIDDataset, progress: bool = True) -> pd.DataFrame:
    """Decode every image of the data set; return its `ReIDDataset.summary`.

    Raises:
        DatasetError: some images are missing or cannot be decoded; the message names up to five and counts
            the rest.
    """
    bad = []
    for path in bar(dataset.table["path"], what=f"{dataset.name}, checking", unit="images", hidden=not progress):
        try:
            dataset.read(path)
        except DatasetError as error:
            bad.append(str(error).removesuffix("; restore it from the data set's own archive"))
    if bad:
        more = f"; and {len(bad) - 5:,} more" if len(bad) > 5 else ""
        raise DatasetError(
            f"{dataset.name}: {len(bad):,} of {len(dataset):,} images are bad: {'; '.join(bad[:5])}{more}. "
            "Restore them from the data set's own archive"
        )
    return dataset.summary()


def check_root(name: str, root: str | Path | None, expected: str, source: str) -> Path:
    """Return the folder of a benchmark.

    Args:
        name: the data set's name.
        root: what the user gave.
        expected: what the folder must be, in words.
        source: where to get the set, in words.

    Raises:
        DatasetError: no folder was given, or it does not exist.
    """
    if root is None:
        raise DatasetError(f"{name}: expected root, {expected}; found none. {source}")
    root = Path(root).expanduser()
    if not root.exists():
        raise DatasetError(f"{name}: expected root, {expected}; there is no folder {root}. {source}")
    if root.is_file() and "or that file" not in expected:
        what = _FILES.get(root.suffix.lower(), "unpack or find the folder of images, and name that")
        raise DatasetError(f"{name}: expected root, {expected}; found the file {root}: {what}. {source}")
    return root


def match_names(name: str, folder: Path, pattern: str, example: str) -> list[re.Match]:
    """Return the matches of ``pattern`` with the names in ``folder``, sorted by name.

    Hidden files, ``Thumbs.db`` and ``*.txt`` may lie beside the images.

    Raises:
        DatasetError: the folder is missing or empty, or another name is not as expected.
    """
    if not folder.is_dir():
        raise DatasetError(f"{name}: expected the folder {folder}, found none; unpack the official archive again")
    names = sorted(entry.name for entry in folder.iterdir())
    names = [n for n in names if not n.startswith(".") and n != "Thumbs.db" and not n.endswith(".txt")]
    matches = [re.fullmatch(pattern, n) for n in names]
    wrong = [n for n, match in zip(names, matches, strict=True) if match is None]
    if wrong:
        raise DatasetError(
            f"{name}: expected names like {example} in {folder}, found {len(wrong):,} others, the first is "
            f"{wrong[0]}; move them elsewhere"
        )
    if not names:
        raise DatasetError(f"{name}: expected images in {folder}, found none; unpack the official archive again")
    return matches


def random_splits(pids: Sequence[int], n_train: int, n: int, seed: int, name: str) -> tuple[Split, ...]:
    """Draw ``n`` random splits of ``pids``: ``n_train`` identities for training, the others for the test.

    Raises:
        DatasetError: fewer than one identity would be left for a part.
    """
    pids = sorted({int(pid) for pid in pids})
    if not 0 < n_train < len(pids):
        raise DatasetError(
            f"{name}: cannot take {n_train} training identities of {len(pids)} and leave some for the test"
        )
    splits = []
    for number in range(n):
        order = numpy_generator(seed, name, "split", number).permutation(pids)
        splits.append(Split(tuple(sorted(order[:n_train].tolist())), tuple(sorted(order[n_train:].tolist()))))
    return tuple(splits)


def check_counts(name: str, table: pd.DataFrame, images: int, identities: int, cameras: int) -> None:
    """Compare a table with the documented counts.

    Raises:
        DatasetError: some count differs; the message gives expected and found.
    """
    found = (len(table), table["pid"].nunique(), table["camid"].nunique())
    expected = (images, identities, cameras)
    wrong = [
        f"{what}: expected {e:,}, found {f:,}"
        for what, e, f in zip(("images", "identities", "cameras"), expected, found, strict=True)
        if e != f
    ]
    if wrong:
        raise DatasetError(
            f"{name} is not complete: {'; '.join(wrong)}. Unpack the official archive again, into an empty folder"
        )


def checked_size(name: str, size: object) -> tuple[int, int]:
    """Return (H, W) as a tuple of int; DatasetError, naming the data set, unless they are two integers >= 1."""
    whole = isinstance(size, Sequence | np.ndarray) and all(isinstance(side, int | np.integer) for side in size)
    if not whole or len(size) != 2 or min(size) < 1:
        raise DatasetError(f"{name}: size must be (height, width) in pixels, such as (128, 64), found {size!r}")
    return int(size[0]), int(size[1])


def _split_column(table: pd.DataFrame, split: Split) -> pd.Series:
    column = pd.Series("unused", index=table.index)
    column[table["pid"].isin(split.train_pids)] = "train"
    column[table["pid"].isin(split.test_pids)] = "test"
    return column


def _check_table(name: str, table: pd.DataFrame) -> None:
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise DatasetError(f"{name}: the table needs the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    if table.empty:
        raise DatasetError(f"{name}: expected at least one image, found none")
    for column in ("pid", "camid"):
        if not pd.api.types.is_integer_dtype(table[column]):
            raise DatasetError(f"{name}: column {column} must hold integers, found {table[column].dtype}")
    junk = table[table["pid"] == JUNK]
    if len(junk):
        raise DatasetError(
            f"{name}: {len(junk):,} images have the identity -1, by Market-1501's convention no person, the first is "
            f"{junk['path'].iloc[0]}; leave them out of the table"
        )
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        raise DatasetError(f"{name}: paths that stand twice in the table ({len(twice)}), the first is {twice.iloc[0]}")


def _check_split(name: str, table: pd.DataFrame, split: Split) -> None:
    both = sorted(set(split.train_pids) & set(split.test_pids))
    if both:
        raise DatasetError(f"{name}: {len(both)} identities are in train and test, the first is {both[0]}")
    for part, pids in (("train", split.train_pids), ("test", split.test_pids)):
        absent = sorted(set(pids) - set(table["pid"]))
        if absent or not pids:
            found = f"identity {absent[0]} without an image" if absent else "no identity"
            raise DatasetError(f"{name}: the {part} part names {found}")
