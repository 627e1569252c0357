"""Files that are there whole or not at all, and the lock that lets one process at a time write them."""

import fcntl
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:  # decision HOUSE-2
    """Yield the name of a new file beside ``path``, which takes its place when the block has written it.

    Readers see the old file or the new one, never a part, also where two processes write at once. If the block fails,
    ``path`` stays as it was and nothing is left beside it.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the new name on an empty file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def try_writing(folder: Path) -> None:
    """Write a file into a folder and remove it: before long work, OSError where nothing can be written there."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
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
