"""Speed as ratios against the plain way, measured in one run: ``python -m benchmarks [NAME ...]``.

CPU seconds are the process's own (all threads), so a busy machine changes them little. The real CUHK03 images take part
when their folder is named in REID_LIB_DATA (as ``cuhk03_detected_64x128`` inside it); else synthetic ones are written
as JPEGs to a temporary folder.

What was measured goes into results/benchmarks.csv, where it replaces the rows of the same benchmarks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NO_BOUND = "no bound"


@dataclass(frozen=True)
class Measurement:
    """One line of the report: what was measured, the value with its unit, and the bound it should keep."""

    what: str
    value: float
    unit: str
    bound: str
    kept: bool
    detail: str = ""

    def __str__(self) -> str:
        mark = "ok  " if self.kept else "MISS"
        return f"{mark} {self.what:<58} {self.value:>10.1f} {self.unit:<14} ({self.bound})  {self.detail}"


def at_least(what: str, value: float, unit: str, bound: float, detail: str = "") -> Measurement:
    """Return the line of a value that should be ``bound`` or more."""
    return Measurement(what, value, unit, f"at least {bound:g}", value >= bound, detail)


def at_most(what: str, value: float, unit: str, bound: float, detail: str = "") -> Measurement:
    """Return the line of a value that should be ``bound`` or less."""
    return Measurement(what, value, unit, f"at most {bound:g}", value <= bound, detail)


def without_bound(what: str, value: float, unit: str, detail: str = "") -> Measurement:
    """Return the line of a value that explains others."""
    return Measurement(what, value, unit, NO_BOUND, True, detail)


def seconds(work: Callable[[], object], repeat: int = 1, clock: Callable[[], float] = time.process_time) -> float:
    """Return the smallest time of ``repeat`` calls of ``work``."""
    times = []
    for _ in range(repeat):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def peak_memory(work: Callable[[], object]) -> float:
    """Return the bytes that ``work`` needs above what the process holds, at its peak; NaN where not on Linux.

    Measure in a fresh process: memory that an earlier step has left there is used again and does not count.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():  # Linux alone can forget an earlier peak
        return float("nan")
    reset.write_text("5")
    before = int(status.read_text().split("VmHWM:")[1].split()[0])
    work()
    return 1024 * (int(status.read_text().split("VmHWM:")[1].split()[0]) - before)
