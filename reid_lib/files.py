"""Files that are there whole or not at all, and the lock that lets one process at a time write them."""

import errno
import fcntl
import os
import re
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

A_DAY = 86400.0  # seconds
_PART = re.compile(r".+\.[0-9a-f]{32}\.part")


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:  # decision HOUSE-2
    """Yield the name of a new file beside ``path``, which takes its place when the block has written it.

    Readers see the old file or the new one, never a part, also where two processes write at once. If the block fails,
    ``path`` stays as it was and nothing is left beside it. What a killed process leaves, `remove_parts` takes away.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the new name on an empty file
        os.replace(part, path)
    except OSError as error:
        if error.errno and not error.filename:  # a full disk is told of the bytes, not of the file
            error.filename = str(path)
        raise
    except SafetensorError as error:  # what safetensors raises where it cannot write
        found = re.search(r"(?:os error |code: )(\d+)", str(error))  # a newer or an older one
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path, name: str = "*", age: float = 0.0) -> None:  # decision RUN-23
    """Remove what killed processes have left in a folder of files that `whole` wrote.

    Args:
        folder: the folder.
        name: the file, or a glob's pattern.
        age: seconds that a part has not changed for. 0 only with the lock of all who write there; else `A_DAY`: a
            younger part may still be growing.
    """
    for left in folder.glob(f"{name}.*.part"):
        with suppress(FileNotFoundError):  # another process may have just put it in place
            if _PART.fullmatch(left.name) and (not age or time.time() - left.stat().st_mtime > age):
                left.unlink()


def check_archive(path: str | Path) -> None:
    """Compare every entry of a zip archive, such as `torch.save` writes, with its checksum: PyTorch does not look.

    A file that is no zip archive has no checksums, and passes.

    Raises:
        ValueError: an entry is not what its checksum says.
        Exception: of nearly any kind where the archive itself is damaged.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
        with zipfile.ZipFile(file) as archive:
            if (bad := archive.testzip()) is not None:
                raise ValueError(f"{bad} does not match its checksum")


def try_writing(folder: Path) -> None:
    """Write a file into a folder and remove it: before long work, OSError where nothing can be written there."""
    with tempfile.TemporaryFile(dir=folder):  # without a name on Linux: a kill leaves nothing
        pass


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` in UTF-8, lines ending as they do in it, whole or not at all; OSError if it cannot be written."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


@contextmanager
def locked(path: str | Path, waiting: Callable[[str], None]) -> Iterator[None]:  # decision RUN-12
    """Hold the lock file ``path`` while the block runs; another process that wants it waits.

    The system takes the lock from a process that ends, however it ends, so a killed one leaves none behind. The file
    stays; it holds the number of the process that had the lock last. A process does not wait for itself.

    Args:
        path: the lock file, made if it is not there; its folder must be.
        waiting: called before the wait, if there is one, with the number of the process that holds the lock.

    Raises:
        OSError: the file cannot be opened, or the file system has no locks.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # lockf, not flock: its locks are the process's own. A training that failed in a notebook may still be in
        # memory when its cell is run again, and no child that is forked meanwhile keeps the lock.
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # which of the two depends on the system
            waiting(os.pread(file, 20, 0).decode(errors="replace"))
            fcntl.lockf(file, fcntl.LOCK_EX)
        with suppress(OSError):  # on a full disk the lock has no number, and is a lock still
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)


@contextmanager
def folder_locked(folder: str | Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a folder for one writer while the block runs, without a file in it; others that want it wait.

    The lock goes with the process, so a killed one leaves none behind.

    Args:
        folder: the folder, which must be there.
        waiting: called before the wait, if there is one.

    Raises:
        OSError: the folder cannot be opened, or the file system has no locks.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
