"""Files that are there whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` in UTF-8, lines ending as they do in it, whole or not at all; OSError if it cannot be written."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
