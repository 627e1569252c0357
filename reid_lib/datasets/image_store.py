"""The image store: every image of a data set decoded once, into one memory-mapped array in a cache folder.

The file is an ``.npy`` array followed by one CRC-32 per block of its data and a closing mark. It is written
under another name and moved into place when complete, so a reader never sees half a file and two processes
that start at once do not disturb each other. The first opening in a process compares size, header and every CRC,
and so does one after the file has changed; a damaged file is built again.
"""

import contextlib
import errno
import io
import logging
import os
import shutil
import uuid
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pooch
import torch
from numpy.lib import format as npy

from reid_lib.datasets.records import DatasetError, ReIDDataset
from reid_lib.files import A_DAY, remove_parts
from reid_lib.status import bar

log = logging.getLogger(__name__)
_BLOCK = 1 << 24  # bytes per CRC
_MARK = b"reid-lib image store 1\n"
# files this process has found sound: path, inode, time of change in ns, size in bytes
_sound: set[tuple[Path, int, int, int]] = set()


class ImageStore:
    """All images of a data set, row i = image number i of its table.

    Attributes:
        images: read-only memory map, uint8 (N, H, W, 3) RGB.
        path: the file.
    """

    def __init__(self, path: Path, images: np.memmap) -> None:
        self.path, self.images = path, images

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        """Return the images of ``rows`` (n,), numbers in 0..N-1, as a contiguous torch.uint8 (n, 3, H, W).

        Raises:
            IndexError: a row is outside 0..N-1.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"image numbers run from 0 to {len(self) - 1}, found {rows.min()} to {rows.max()}")
        taken = np.empty((len(rows), *self.images.shape[1:]), np.uint8)
        np.take(self.images, rows, axis=0, out=taken, mode="clip")  # any other mode copies once more
        return torch.from_numpy(np.ascontiguousarray(taken.transpose(0, 3, 1, 2)))  # half the time of torch's copy


def cache_folder(cache: str | Path | None = None) -> Path:
    """Return the cache folder: ``cache``, else REID_LIB_CACHE of the environment, else the user's own."""
    return Path(cache or os.environ.get("REID_LIB_CACHE") or pooch.os_cache("reid-lib")).expanduser()


def open_store(dataset: ReIDDataset, cache: str | Path | None = None) -> ImageStore:
    """Open the data set's image store; build it first where it is absent, out of date or damaged.

    Raises:
        DatasetError: an image is missing or cannot be decoded; the message names it.
        OSError: the cache folder cannot be written, or is full; nothing is left behind.
    """
    shape = (len(dataset), *dataset.size, 3)
    name = f"{dataset.name}-{shape[1]}x{shape[2]}-{dataset.fingerprint(times=True)}.npy"
    path = cache_folder(cache) / name
    images = _open(path, shape)
    if images is None:
        _build(dataset, path, shape)
        images = _open(path, shape)
    if images is None:
        raise OSError(errno.EIO, f"the image store {path} was damaged while it was written; try another REID_LIB_CACHE")
    return ImageStore(path, images)


def _header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _sizes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the sizes in bytes of data and CRCs, and the number of blocks."""
    data = int(np.prod(shape))
    blocks = -(-data // _BLOCK)
    return data, 4 * blocks, blocks


def _open(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """Return the checked memory map, or None where there is no sound file."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            key = (path, found.st_ino, found.st_mtime_ns, found.st_size)
            if key not in _sound:
                _verify(file, shape)
                _sound.add(key)
            return np.memmap(file, np.uint8, "r", len(_header(shape)), shape)
    except (OSError, ValueError) as error:
        log.warning("the image store %s is damaged (%s): building it again", path, error)
    return None


def _verify(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless size, header, every CRC and the closing mark are right."""
    header, (data, crcs, blocks) = _header(shape), _sizes(shape)
    size = os.fstat(file.fileno()).st_size
    if file.read(len(header)) != header or size != len(header) + data + crcs + len(_MARK):
        raise ValueError("size or header is wrong")
    file.seek(len(header) + data)
    expected, mark = np.frombuffer(file.read(crcs), "<u4"), file.read()
    flat = memoryview(np.memmap(file, np.uint8, "r", len(header), (data,)))
    found = [zlib.crc32(flat[i * _BLOCK : (i + 1) * _BLOCK]) for i in range(blocks)]
    if mark != _MARK or not np.array_equal(found, expected):
        raise ValueError("content does not match its checksums")


def _build(dataset: ReIDDataset, path: Path, shape: tuple[int, ...]) -> None:
    needed = sum(_sizes(shape)[:2])
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(path.parent, path.name, A_DAY)
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{free / 1e6:,.0f} MB are free")
        with temporary.open("xb") as file:
            _write(dataset, file, shape)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write the image store of {dataset.name}, {needed / 1e6:,.1f} MB, into {path.parent} "
            f"({error.strerror or error}); make room there, or name another folder in REID_LIB_CACHE",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _write(dataset: ReIDDataset, file: BinaryIO, shape: tuple[int, ...]) -> None:
    # Ordinary writes, not a writable memory map: on a full disk the latter kills the process.
    file.write(_header(shape))
    crcs, pending = [], bytearray()
    for path in bar(dataset.table["path"], what=f"{dataset.name}, decoding once", unit="images"):
        image = dataset.read(path)
        if image.shape != shape[1:] or image.dtype != np.uint8:
            raise DatasetError(
                f"{dataset.name}: expected uint8 {shape[1:]}, found {image.dtype} {image.shape} at {path}"
            )
        pending += image.tobytes()
        while len(pending) >= _BLOCK:
            crcs.append(_write_block(file, pending[:_BLOCK]))
            del pending[:_BLOCK]
    if pending:
        crcs.append(_write_block(file, pending))
    file.write(np.array(crcs, "<u4").tobytes() + _MARK)
    file.flush()
    os.fsync(file.fileno())


def _write_block(file: BinaryIO, block: bytes) -> int:
    file.write(block)
    return zlib.crc32(block)
