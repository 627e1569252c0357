"""What a training tells whoever started it: one line in the file that REID_LIB_STATUS names, replaced as it goes on."""

import os
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "REID_LIB_STATUS"
_EVERY = 1.0  # seconds between two lines within an epoch


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


class TrainingStatus:
    """The line of one training: which network, epoch e of n, and the time that is left at the speed so far.

    Args:
        name: the network's name.
        first: number of the first epoch that is still to be done, from 0.
        total: number of all epochs.
    """

    def __init__(self, name: str, first: int, total: int) -> None:
        self.name, self.first, self.total = name, first, total
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
