"""The files of a cluster's jobs: which there are, how far each is, how it ended. All machines see them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reid_lib.files import write_text

PATIENCE = 90.0  # seconds until a file that another machine wrote must be seen: NFS remembers what is not there


@dataclass(frozen=True)
class Job:
    """A notebook's job, or that of one of its seeds.

    Attributes:
        name: "13_lrar", or "13_lrar-seed1".
        title: what stands before its lines, "[6/12] 13_lrar, seed 1".
        notebook: the notebook's file.
        seed: the only one that it trains for; None: this is the notebook's own job, for all its seeds.
        after: names of the jobs that it waits for.
    """

    name: str
    title: str
    notebook: Path
    seed: int | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Desk:
    """A folder with ``jobs.json``, for each job ``<name>.status`` and ``<name>.end.json``, and ``logs``."""

    folder: Path

    @property
    def logs(self) -> Path:
        """The folder of submitit."""
        return self.folder / "logs"

    def log(self, number: str) -> Path:
        """Return where Slurm puts what the job ``number`` prints."""
        return self.logs / f"{number}_0_log.out"

    def notes(self) -> dict[str, dict]:
        """Return id and parameters of the job that was last submitted under each name."""
        return _read(self.folder / "jobs.json") or {}

    def note(self, notes: Mapping[str, Mapping]) -> None:
        """Put ``notes`` in place of those of before."""
        write_text(self.folder / "jobs.json", json.dumps(notes, indent=1) + "\n")

    def status(self, name: str) -> Path:
        """Return the file of the line that says how far a job is."""
        return self.folder / f"{name}.status"

    def line(self, name: str) -> str:
        """Return the line that says how far a job is; "" if there is none."""
        try:
            return self.status(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def end(self, name: str, number: str = "") -> dict | None:
        """Return how a job ended: "failure" ("" if it did not fail) and "seconds"; None if it has not.

        With a ``number`` it is the end of the job with that id, not of one of the same name before.
        """
        end = _read(self.folder / f"{name}.end.json")
        return end if end and number in ("", end["job"]) else None

    def write_end(self, name: str, number: str, failure: str, seconds: float) -> None:
        """Write how a job ended."""
        end = {"job": number, "failure": failure, "seconds": seconds}
        write_text(self.folder / f"{name}.end.json", json.dumps(end) + "\n")

    def clear(self, name: str) -> None:
        """Remove what an earlier job of this name has left."""
        for file in (self.status(name), self.folder / f"{name}.end.json"):
            file.unlink(missing_ok=True)


def _read(file: Path) -> dict | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it is not there, or damaged
        return None
