"""Notebooks side by side: each in a process of its own on one thread, with a line that says how far it is.

Processes start as those of `reid_lib.execute`. They are in sessions of their own, so that Ctrl-C reaches this process
alone, which then ends all others: no kernel prints a traceback in between.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import torch

from reid_lib.devices import usable_cores
from reid_lib.execute import FAILED, Order
from reid_lib.status import VARIABLE, duration

# what OpenMP, MKL, OpenBLAS and Apple's Accelerate read when a process starts
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
MOST = 1024  # jobs at once
_LOOK = 0.2  # seconds between looks at the running jobs
_LINE = 30.0  # seconds between two lines of a job in a log file
_PATIENCE = 5.0  # seconds that a job has to end


class Terminated(KeyboardInterrupt):
    """SIGTERM: the system, or a scheduler such as Slurm, wants this process to end."""

    exit_code = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Task:
    """A notebook to run.

    Attributes:
        title: what stands before its lines, for example "[2/7] 01_data_and_protocol".
        notebook: its file.
        executed: where the executed copy goes.
        root: the folder that it works in.
        parameters: values for its parameters, as JSON has them.
        environment: variables that it gets beside this process's own.
    """

    title: str
    notebook: Path
    executed: Path
    root: Path
    parameters: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a task ended: after how many seconds, and why it failed ("" if it did not)."""

    task: Task
    seconds: float
    failure: str


class Log:
    """Progress as lines, for a log file: what happens, and every half minute how far each job is."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: dict[str, float] = {}

    def say(self, line: str) -> None:
        """Show that something happened."""
        self._say(line)

    def show(self, lines: Mapping[str, str]) -> None:
        """Show how far the running jobs are, by their titles."""
        now = time.monotonic()
        for title, line in lines.items():
            if now - self._told.setdefault(title, now) >= _LINE:
                self._told[title] = now
                self._say(line)


class Terminal(Log):
    """Progress on a terminal: what happens, and below it one line for each running job, renewed in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._shown = stream, 0

    def say(self, line: str) -> None:
        """Show that something happened, above the jobs."""
        self._write([], f"{line}\n")

    def show(self, lines: Mapping[str, str]) -> None:
        """Show how far the running jobs are."""
        width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be renewed
        self._write([line[:width] for line in lines.values()])

    def _write(self, lines: list[str], above: str = "") -> None:
        back = f"\x1b[{self._shown}F\x1b[J" if self._shown else ""  # up to the first of the old lines, and clear
        self._stream.write(back + above + "".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._shown = len(lines)


def default_count() -> int:  # decision RUN-11
    """Return how many notebooks run side by side: one for each core that this process may use.

    Where there are CUDA devices they do the work, and there is one notebook for each.
    """
    return torch.cuda.device_count() if torch.cuda.is_available() else usable_cores()


def parse_count(text: str) -> int | None:
    """Return the number of jobs that a command line names; None for "".

    Raises:
        ValueError: it is no whole number, or not within 1 and `MOST`.
    """
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise ValueError(f"jobs must be a whole number from 1 to {MOST}, found {text!r}")
    return int(text)


def run(tasks: Iterable[Task], count: int, show: Callable[[Mapping[str, str]], None]) -> Iterator[Ended]:
    """Run tasks, at most ``count`` at once; yield each when it has ended. What still runs when this is closed is ended.

    Args:
        tasks: the tasks; the next one is asked for when there is a place for it.
        count: how many may run at once.
        show: is called several times a second with a line for each running job, by its title.
    """
    waiting, running, place = iter(tasks), [], deque(range(count))
    with tempfile.TemporaryDirectory(prefix="reid-lib-") as folder:
        try:
            more = True
            while more or running:
                while more and place:
                    task = next(waiting, None)
                    more = task is not None
                    if more:
                        running.append(_Job(task, Path(folder), place.popleft()))
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    place.append(job.place)
                    yield job.ended()
                show({job.task.title: job.line() for job in running})
                if running and not (more and place):
                    time.sleep(_LOOK)
        finally:
            show({})
            _end(running)


class _Job:
    """A running task.

    Attributes:
        task: the task.
        process: its process.
        place: which of the places side by side it has, from 0.
    """

    def __init__(self, task: Task, folder: Path, place: int) -> None:
        self.task, self.place, self._began = task, place, time.monotonic()
        self._cell, self._training, self._failure, self._log = (
            folder / f"{task.notebook.stem}.{name}" for name in ("cell", "training", "failure", "log")
        )
        order = Order(
            notebook=str(task.notebook.resolve()),
            executed=str(task.executed.resolve()),
            root=str(task.root.resolve()),
            parameters=task.parameters,
            cell=str(self._cell),
            failure=str(self._failure),
        )
        own = {**ONE_THREAD, VARIABLE: str(self._training), **_device(place), **task.environment}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reid_lib.execute"],
                cwd=task.root,
                env={**os.environ, **own},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        with suppress(BrokenPipeError):  # it died at once; its end says why
            self.process.stdin.write(order.line())
            self.process.stdin.flush()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def line(self) -> str:
        """Return how far the notebook is: its time, cell k of n, and what a training tells."""
        found = [text for file in (self._cell, self._training) if (text := _text(file).strip())]
        return f"{self.task.title}: {', '.join([duration(self.seconds), *found])}"

    def ended(self) -> Ended:
        """Return how the task ended."""
        with suppress(OSError):
            self.process.stdin.close()
        code, failure = self.process.returncode, ""
        if code == FAILED:
            failure = _text(self._failure)
        elif code:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            cell, said = _text(self._cell) or "the first cell", _text(self._log).strip()
            failure = f"notebook {self.task.notebook.stem}: its process ended in {cell} ({how})"
            failure += f":\n\n{said[-4000:]}" if said else "; most often memory ran out: run fewer at once (--jobs 1)"
        return Ended(self.task, self.seconds, failure)


def _device(place: int) -> dict[str, str]:
    """Return what gives a job one of several CUDA devices to itself; with one or none there is nothing to share."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",")[:count] if visible else [str(i) for i in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[place % len(names)]}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _end(running: list[_Job]) -> None:
    """End jobs and their kernels; a job that does not follow is killed, and its kernel follows within a second."""
    for job in running:
        with suppress(OSError):
            job.process.stdin.close()  # `execute` ends when it sees this
    try:
        for job in running:
            job.process.wait(_PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        for job in running:
            job.process.kill()
            job.process.wait()


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the block, as Ctrl-C raises KeyboardInterrupt."""

    def terminate(signal_number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
