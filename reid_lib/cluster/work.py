"""What a cluster's job does on its node: it runs one notebook as `reid_lib.reproduce` does."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reid_lib import jobs
from reid_lib.cluster.desk import PATIENCE, Desk, Job
from reid_lib.reproduce import NotebookFailed, gathers, plan
from reid_lib.status import VARIABLE, tell

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_LOOK = 0.5  # seconds between two lines of a job's status


@dataclass(frozen=True)
class Work:
    """A job's work. submitit calls it on the node, and again after a preemption or a time limit.

    Attributes:
        job: the job.
        root: the project's folder.
        desk: the jobs' files.
        results: the results folder that the notebook writes into.
        options: those of `reproduce.plan`.
        force: whether a notebook that gathers runs although it is up to date.
    """

    job: Job
    root: Path
    desk: Desk
    results: Path
    options: Mapping[str, object]
    force: bool

    def __call__(self) -> None:
        """Run the notebook, and note how it ended. Raises NotebookFailed if it did not run through."""
        self.desk.clear(self.job.name)  # what it left before a preemption
        os.environ["REID_LIB_RESULTS"] = str(self.results)
        os.environ[VARIABLE] = str(self.desk.status(self.job.name))
        began = time.monotonic()
        try:
            failure = self._run()
        except Exception as error:  # submitit's own among them: the time limit was met too often
            failure = f"notebook {self.job.notebook.stem}: {error}"
        self.desk.write_end(self.job.name, os.environ["SLURM_JOB_ID"], failure, time.monotonic() - began)
        if failure:
            raise NotebookFailed(failure)

    def checkpoint(self) -> "DelayedSubmission":
        """Return what is queued in place of a job that has to stop: the same, whose trainings go on where they were."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self) -> str:
        """Return why the notebook failed, or ""."""
        name, late = self.job.notebook.stem, gathers(self.job.notebook)
        lost = [] if late else [other for other in self.job.after if not self._ended_well(other)]
        if lost:
            return f"notebook {name} did not run, because {', '.join(lost)} did not end well"
        batch = plan(self.root, _Told(), **self.options, only=name)
        if late and not self.force and batch.up_to_date(batch.chosen[0]):
            return ""
        _, failures = batch.run([(batch.chosen[0], self.job.title)], 1)
        return "\n\n".join(failures)

    def _ended_well(self, name: str) -> bool:
        """Return whether another job has ended well, which its node may have said a moment ago."""
        began = time.monotonic()
        while (end := self.desk.end(name)) is None and time.monotonic() - began < PATIENCE:
            time.sleep(_LOOK)
        return end is not None and not end["failure"]


class _Told(jobs.Log):
    """Progress into a job's log, and its last line into the job's status file as well."""

    def __init__(self) -> None:
        super().__init__(lambda line: print(line, flush=True))
        self._last = 0.0

    def show(self, lines: Mapping[str, str]) -> None:
        super().show(lines)
        if time.monotonic() - self._last > _LOOK:
            self._last = time.monotonic()
            tell("".join(lines.values()))
