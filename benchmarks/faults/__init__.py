"""Faults that really happen, counted: ``python -m benchmarks.faults [FAULT ...] [--tries N] [-o FILE]``.

A victim is work that writes files. It is killed at random moments and started again, its files are damaged at random
places, its disk is full after a random number of bytes, two processes do it at once. A fault is survived if everything
is in the end, bit for bit, what undisturbed work leaves; or, for damage that nobody can mend, if a sentence says so.

All work is done in children of this process, forked when everything is imported, on one thread. Every moment and every
place is drawn from one seed; what a moment hits depends on the machine. Linux or macOS.
"""

import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # whoever runs faults says first that NumPy and torch have one thread
    import numpy as np
    import pandas as pd

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"  # of the table in a page
REFUSED, BROKEN, INTERRUPTED = 2, 1, 130  # exit codes of a child: it said in a sentence what is wrong; it raised
# anything else; or Ctrl-C
PATIENCE = 120.0  # seconds after which a child hangs


@dataclass(frozen=True)
class Row:
    """How often a fault was tried on a victim, and how often it was survived."""

    fault: str
    victim: str
    tried: int
    survived: int


@dataclass(frozen=True)
class Victim:
    """Work that writes files.

    Attributes:
        name: what it is called in the table.
        work: does it in a folder that is empty, or goes on with what is there.
        left: what is there when it is done, by name; two folders with the same are equal to the last bit.
    """

    name: str
    work: Callable[[Path], object]
    left: Callable[[Path], dict]


# --- children -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or the signal as a negative number, and what it said."""

    code: int
    said: str


class Child:
    """Work in a forked process.

    Args:
        work: the work.
        largest: size in bytes beyond which it can write no file; None: any.
    """

    def __init__(self, work: Callable[[], object], largest: int | None = None) -> None:
        self._said, out = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _work(work, out, largest)
        os.close(out)

    def end(self, after: float = PATIENCE, sent: signal.Signals = signal.SIGKILL) -> Ended:
        """Wait until it ends; send it a signal if it has not after some seconds."""
        if not select.select([self._said], [], [], after)[0]:
            os.kill(self.pid, sent)
        said = b"".join(iter(partial(os.read, self._said, 1 << 16), b""))
        os.close(self._said)
        return Ended(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), said.decode(errors="replace"))


def _work(work: Callable[[], object], out: int, largest: int | None) -> NoReturn:
    """Do the work in a child, tell what went wrong, and end."""
    code = BROKEN
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's background job
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        work()
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = REFUSED if is_sentence(error) else BROKEN
        os.write(out, (str(error) if code == REFUSED else traceback.format_exc()).encode()[-60000:])
    finally:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        finally:
            os._exit(code)  # whatever happens: a child never goes on as its parent


def is_sentence(error: Exception) -> bool:
    """Whether an error is one for a user: of the project, or one that the command line shows, in one line."""
    own = isinstance(error, ValueError | OSError) or type(error).__module__.startswith("reid_lib.")
    return own and len(str(error).splitlines()) == 1


def done(work: Callable[[], object]) -> None:
    """Do work in a child to its end; RuntimeError with what it said if it does not get there."""
    if (ended := Child(work).end()).code:
        raise RuntimeError(f"undisturbed work ended with {ended.code}: {ended.said}")


@contextmanager
def undisturbed(victim: Victim, folder: Path) -> Iterator[tuple[Path, dict, float]]:
    """Yield an empty folder, what the victim leaves, and the seconds that it takes."""
    sound, started = folder / "sound", time.monotonic()
    sound.mkdir()
    done(partial(victim.work, sound))
    seconds = time.monotonic() - started
    try:
        yield folder / "disturbed", victim.left(sound), seconds
    finally:
        rmtree(sound)


def finished(victim: Victim, place: Path, expected: dict) -> bool:
    """Let the victim go on to its end, and return whether it leaves what it should; its folder is removed."""
    ended = Child(partial(victim.work, place)).end()
    same = ended.code == 0 and victim.left(place) == expected
    if not same:
        found = {} if ended.code else victim.left(place)
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        print(f"{victim.name}: ended with {ended.code} {ended.said}, differs in {wrong[:5]}", file=sys.stderr)
    rmtree(place)
    return same


# --- faults ---------------------------------------------------------------------------------------


def killed(
    victim: Victim, folder: Path, tries: int, draw: "np.random.Generator", sent: signal.Signals = signal.SIGKILL
) -> Row:
    """End the work at random moments, again and again until it has come to its end, as often as asked for in all."""
    tried = survived = 0
    with undisturbed(victim, folder) as (place, expected, seconds):
        while tried < tries:
            place.mkdir()
            times, ends, told = 0, False, True
            while not ends and tried + times < tries:
                ended = Child(partial(victim.work, place)).end(draw.uniform(0, seconds), sent)
                ends = ended.code == 0
                times += not ends
                told = told and ended.code in (0, INTERRUPTED if sent == signal.SIGINT else -sent)
            same = finished(victim, place, expected) and told
            tried, survived = tried + times, survived + times * same
    return Row(sent.name, victim.name, tried, survived)


def full(victim: Victim, folder: Path, tries: int, draw: "np.random.Generator") -> Row:
    """Let no file grow beyond a random size; then, with room again, let the work go on.

    What the first try could not write it must say in a sentence.
    """
    tried = survived = 0
    with undisturbed(victim, folder) as (place, expected, _):
        sound = folder / "sound"
        largest = max(file.stat().st_size for file in sound.rglob("*") if file.is_file())
        while tried < tries:
            place.mkdir()
            ended = Child(partial(victim.work, place), int(draw.integers(largest))).end()
            parts = list(place.rglob("*.part"))
            if ended.code not in (0, REFUSED) or parts:
                print(f"{victim.name}, full disk: {ended.code} {ended.said} {parts}", file=sys.stderr)
            same = finished(victim, place, expected)
            if ended.code:
                tried, survived = tried + 1, survived + (same and ended.code == REFUSED and not parts)
    return Row("full disk", victim.name, tried, survived)


def together(victim: Victim, folder: Path, tries: int, draw: "np.random.Generator") -> Row:
    """Let two processes do the work in one folder, the second a random moment after the first."""
    survived = 0
    with undisturbed(victim, folder) as (place, expected, seconds):
        for _ in range(tries):
            place.mkdir()
            first = Child(partial(victim.work, place))
            time.sleep(draw.uniform(0, seconds / 2))
            second = Child(partial(victim.work, place))
            ended = [child.end() for child in (first, second)]
            if any(one.code for one in ended):
                print(f"{victim.name}, two at once: {ended}", file=sys.stderr)
            same = victim.left(place) == expected
            survived += same and not any(one.code for one in ended)
            rmtree(place)
    return Row("two processes at once", victim.name, tries, survived)


def cut_short(content: bytes, draw: "np.random.Generator") -> bytes:
    return content[: draw.integers(len(content))]


def bit_flipped(content: bytes, draw: "np.random.Generator") -> bytes:
    found = bytearray(content)
    found[draw.integers(len(found))] ^= 1 << draw.integers(8)
    return bytes(found)


def row_edited(content: bytes, draw: "np.random.Generator") -> bytes:
    """Take a row of a CSV away, write it twice, or change a digit of it."""
    header, *rows = content.splitlines(keepends=True)
    at, how = draw.integers(len(rows)), draw.integers(3)
    digits = [place for place, byte in enumerate(rows[at]) if byte in b"0123456789"]
    place = int(draw.choice(digits))
    digit = b"%d" % ((rows[at][place] - ord("0") + draw.integers(1, 10)) % 10)
    changed = [b"", rows[at] * 2, rows[at][:place] + digit + rows[at][place + 1 :]][how]
    return b"".join([header, *rows[:at], changed, *rows[at + 1 :]])


DAMAGES = {"file cut short": cut_short, "bit flipped": bit_flipped}


def damaged(
    name: str, file: Path, read: Callable[[], object], tries: int, draw: "np.random.Generator", **damages: Callable
) -> Iterator[Row]:
    """Damage a file at random places and read it: the answer is that of the sound file, or an error in a sentence."""
    content = file.read_bytes()
    expected = read()
    for fault, damage in (damages or DAMAGES).items():
        survived = 0
        for _ in range(tries):
            file.write_bytes(damage(content, draw))
            try:
                good = read() == expected
                said = "another content, silently"
            except Exception as error:
                good, said = is_sentence(error), traceback.format_exc()
            survived += good
            if not good:
                print(f"{name}, {fault}: {said}", file=sys.stderr)
        file.write_bytes(content)
        yield Row(fault.replace("_", " "), name, tries, survived)


# --- the table ------------------------------------------------------------------------------------


def section(rows: "pd.DataFrame") -> str:
    """Return the rows as the table of a page."""
    lines = ["| Fault | Victim | Tried | Survived |", "|---|---|---:|---:|"]
    lines += [f"| {row.fault} | {row.victim} | {row.tried} | {row.survived} |" for row in rows.itertuples()]
    return "\n".join([BEGIN, "", *lines, "", END])


def renewed(page: str, rows: "pd.DataFrame") -> str:
    """Return a page with the table of these rows in place of the one that it holds."""
    before, _, rest = page.partition(BEGIN)
    return before + section(rows) + rest.partition(END)[2]
