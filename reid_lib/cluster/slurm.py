"""What is asked of Slurm: submitit's executor, the queue, an end."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from submitit import SlurmExecutor

    from reid_lib.cluster.work import Work

MINUTES = 24 * 60  # that a job may take, unless `time` says otherwise; submitit's own default is five
OWN = (  # what is decided here
    *("additional_parameters", "array", "dependency", "error", "job_name", "map_count", "nodes", "ntasks"),
    *("ntasks_per_node", "output", "requeue", "stderr_to_stdout"),
)
ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
)


class ClusterError(ValueError):
    """The cluster cannot be used in this way; the message says what to do."""


def executor(folder: Path, options: Mapping[str, object]) -> "SlurmExecutor":
    """Return what submits jobs.

    Args:
        folder: for scripts and logs; made if it is not there.
        options: of sbatch by their long names, with "_" for "-"; ``time`` in minutes, and ``setup`` is a line of shell
            that comes first.

    Raises:
        ClusterError: submitit or Slurm is missing, or an option is not the user's to set.
    """
    try:
        import submitit
    except ImportError:
        raise ClusterError("--executor slurm needs submitit, not installed: pip install 'reid-lib[slurm]'") from None
    missing = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise ClusterError(
            f"--executor slurm needs {', '.join(missing)}, not on the PATH: run it where jobs are submitted, on the "
            "cluster's login machine"
        )
    if set(options) & set(OWN):
        raise ClusterError(f"--slurm cannot set {', '.join(sorted(set(options) & set(OWN)))}: reid-lib does that")
    if type(options.get("time", MINUTES)) is not int:
        raise ClusterError(f"--slurm takes the time in minutes, such as time=720, found {options['time']!r}")
    folder.mkdir(parents=True, exist_ok=True)
    found, more = submitit.SlurmExecutor(folder), {"requeue": True}
    found.update_parameters(time=MINUTES, stderr_to_stdout=True)
    for name, value in options.items():
        try:
            found.update_parameters(**{name: [value] if name == "setup" else value})
        except ValueError:  # submitit does not know it; sbatch may
            more[name] = value
    if "cpus_per_task" in options:  # since Slurm 22.05 srun does not take it from the job
        found.update_parameters(srun_args=[f"--cpus-per-task={options['cpus_per_task']}"])
    found.update_parameters(additional_parameters=more)
    return found


def submit(by: "SlurmExecutor", work: "Work", after: Sequence[str]) -> str:  # decision RUN-21
    """Submit a job, which starts when those with the ids ``after`` have ended, well or not; return its id.

    Raises:
        ClusterError: Slurm refuses it.
    """
    more = {name: value for name, value in by.parameters["additional_parameters"].items() if name != "dependency"}
    more |= {"dependency": f"afterany:{':'.join(after)}"} if after else {}
    by.update_parameters(job_name=f"{work.job.name}.{work.options['dataset']}", additional_parameters=more)
    try:
        return by.submit(work).job_id
    except RuntimeError as error:  # what submitit makes of sbatch's answer
        raise ClusterError(" ".join(str(error).split())) from error


def queue() -> dict[str, tuple[str, str]]:
    """Return state and reason of the user's jobs by id: those in the queue, and those that ended minutes ago.

    Raises:
        ClusterError: Slurm does not answer.
    """
    command = ["squeue", "--me", "--noheader", "--states=all", "--format=%i|%T|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ClusterError(f"squeue does not answer: {' '.join(said.split())}") from error
    rows = (line.split("|", 2) for line in done.stdout.splitlines())
    return {number: (state, reason) for number, state, reason in rows}


def lives(states: Mapping[str, tuple[str, str]], number: str) -> bool:
    """Return whether a job waits or runs."""
    return number in states and states[number][0] not in ENDED


def cancel(numbers: Sequence[str]) -> None:
    """End jobs, as far as they are there."""
    if numbers:
        subprocess.run(["scancel", *numbers], check=False)
