"""What long work tells: one line of text, replaced as it goes on, of which nothing is left in the end.

People read it in the notebook or terminal where they started it; `reid_lib.jobs` reads it in the file that
REID_LIB_STATUS names.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tqdm.std import tqdm

VARIABLE = "REID_LIB_STATUS"
_EVERY = 1.0  # seconds between two lines within an epoch
_LINE = "{desc}: {n:.6g} of {total:.6g} {unit}, {remaining} left{postfix}"
_network: ContextVar[str] = ContextVar("network", default="")


class _Cell:
    """A file of one line, in place of which every write puts another one, in the output of a notebook's cell.

    A widget in its place would be saved as something that no other program can show.
    """

    def __init__(self) -> None:
        self._handle = None

    def write(self, text: str) -> None:
        from IPython.display import display

        line = {"text/plain": text.strip("\r\n ")}
        if self._handle is not None:
            self._handle.update(line, raw=True)
        elif line["text/plain"]:
            self._handle = display(line, raw=True, display_id=True)

    def flush(self) -> None: ...


def bar(iterable: Iterable | None = None, *, what: str, unit: str, hidden: bool = False, **options: Any) -> tqdm:
    """Return tqdm's progress of ``iterable``, or of ``total`` units: a line of text, which goes when it is done.

    Args:
        iterable: what is gone through.
        what: what is being done; the name that `network` has set stands in its place.
        unit: of what there are ``total``.
        hidden: whether nothing is shown.
        **options: those of tqdm.
    """
    in_notebook = _in_notebook()
    file = _Cell() if in_notebook and not os.environ.get(VARIABLE) else sys.stderr
    silent = hidden or bool(in_notebook and os.environ.get(VARIABLE))  # whoever reads the status file shows it
    shown = {"desc": _network.get() or what, "unit": unit, "bar_format": _LINE, "leave": False, "disable": silent}
    return tqdm(iterable, file=file, mininterval=0.3, miniters=0, **shown, **options)


def _in_notebook() -> bool:
    """Whether this code runs in a notebook's kernel: loaded modules alone do not tell.

    A process that was forked from one has its memory, but what it displays reaches nobody; what it prints does.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None and multiprocessing.parent_process() is None


@contextmanager
def network(name: str, number: int, total: int) -> Iterator[None]:
    """Say what is trained in the lines of progress, "3 of 15 networks, w/o mask", in place of a run's own name."""
    before = _network.set(f"{number} of {total} networks, {name}")
    try:
        yield
    finally:
        _network.reset(before)


def tell(line: str) -> bool:
    """Put ``line`` in place of the last one; return whether REID_LIB_STATUS names a file that takes it.

    A reader sees the old line or the new one. Nobody needs the line after a power cut, so nothing waits for the disk.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return False
    part = Path(f"{name}.{os.getpid()}.part")
    with suppress(OSError):  # a status that cannot be written must not end a training
        part.write_text(line, encoding="utf-8")
        os.replace(part, name)
        return True
    return False


def duration(seconds: float) -> str:
    """Return a time as people say it: "12 s", "7 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, "1 image" or "2 images"; ``many`` where it is not ``one`` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


class TrainingStatus:
    """The line of one training: which network, epoch e of n, and the time that is left at the speed so far.

    Args:
        name: the network's name.
        first: number of the first epoch that is still to be done, from 0.
        total: number of all epochs.
    """

    def __init__(self, name: str, first: int, total: int) -> None:
        self.name, self.first, self.total = _network.get() or name, first, total
        self._began = self._told = time.monotonic()

    def epoch(self, number: int) -> None:
        """Tell that epoch ``number``, from 0, begins."""
        self._number = number
        self._tell(0.0)

    def within(self, share: float) -> None:
        """Tell which share of the epoch's batches is done, 0 to 1; at most one line a second."""
        if time.monotonic() - self._told >= _EVERY:
            self._tell(share)

    def _tell(self, share: float) -> None:
        self._told = time.monotonic()
        done = self._number + share
        line = f"{self.name}: epoch {self._number + 1} of {self.total}"
        if done > self.first and self._told > self._began:
            left = (self._told - self._began) / (done - self.first) * (self.total - done)
            line += f", {duration(left)} left"
        tell(line)
