"""`reid-lib reproduce --executor slurm`: notebooks as jobs of a Slurm cluster, submitted with submitit and followed.

A notebook is a job, which does on its node what `reid_lib.reproduce` does here. A notebook that goes through several
seeds has one more job for each, before its own: they train networks where its own job then finds them. What else they
write stays in results folders that nobody reads. Notebooks that gather come last.

Jobs go on when nobody follows them: which they are, and how each has ended, stands in files beside the results.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from reid_lib import jobs
from reid_lib.cluster import slurm
from reid_lib.cluster.desk import PATIENCE, Desk, Job
from reid_lib.cluster.slurm import ClusterError
from reid_lib.cluster.work import Work
from reid_lib.digest import plain
from reid_lib.files import locked
from reid_lib.reporting import before, results
from reid_lib.reproduce import Batch, gathers, groups, plan
from reid_lib.status import duration

if TYPE_CHECKING:
    from submitit import SlurmExecutor

FOLDER = "slurm"  # in the results folder; no profile, so nothing that reads results takes it for one
ASK = 5.0  # seconds between two calls of squeue, which the whole cluster shares
_LOOK = 1.0  # seconds between two looks at the jobs' files
_HINTS = {"TIMEOUT": "; --slurm time=MINUTES asks for more", "OUT_OF_MEMORY": "; --slurm mem=32G asks for more"}

States = Mapping[str, tuple[str, str]]  # state and reason of jobs by id


def reproduce(  # decision RUN-20
    root: Path,
    *,
    slurm_options: Mapping[str, object],
    force: bool = False,
    screen: jobs.Log | None = None,
    say: Callable[[str], None] = print,
    **options: object,
) -> list[str]:
    """Do in jobs of a Slurm cluster what `reproduce.reproduce` does here; follow those of an earlier call as well.

    Args:
        root: the project's folder. All machines must see it, the data, the cache folder and this Python.
        slurm_options: as `slurm.executor` takes them.
        force: run also what is up to date.
        screen: shows progress; None makes a `jobs.Log` of ``say``.
        say: takes each line of progress.
        options: the others of `reproduce.plan`.

    Returns:
        The names of the notebooks that were run, in the order of ends.

    Raises:
        ClusterError: submitit or Slurm is missing, an option is refused (then nothing is submitted), or a notebook is
            in the queue with other parameters. What `reproduce.plan` raises, too.
        NotebookFailed: notebooks did not run through; the message names each, and its log.
        KeyboardInterrupt: the user has seen enough; the jobs go on.
    """
    batch = plan(root, screen or jobs.Log(say), **options)
    desk = Desk(results.results_root().resolve() / FOLDER / batch.wanted["profile"] / batch.wanted["dataset"])
    executor = slurm.executor(desk.logs, slurm_options)
    with locked(desk.folder / "lock", lambda process: batch.screen.say("waits for another call that submits jobs")):
        submitted = _submit(batch, executor, desk, options, force)
    ran, failures = [], {}
    for job, failure in _follow(submitted, desk, batch.screen):
        if failure:
            failures.setdefault(job.notebook.stem, []).append(failure)
        elif job.seed is None:
            batch.put_back(job.notebook, job.title)
            ran.append(job.name)
    batch.conclude(["\n\n".join(texts) for texts in failures.values()])
    return ran


def goes_through_seeds(path: Path) -> bool:
    """Return whether a notebook does the same for each of its seeds, so that as many jobs can do it at once."""
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return any(re.search(r"\bfor \w+ in (run\.)?seeds\b(?!\[)", source) for source in sources)


# --- submit ---


def _submit(
    batch: Batch, executor: "SlurmExecutor", desk: Desk, options: Mapping[str, object], force: bool
) -> dict[Job, str]:
    """Submit the jobs that are needed and not in the queue; return the ids of all that are needed.

    If Slurm refuses one, those before it are taken back.
    """
    noted, states = desk.notes(), slurm.queue()
    there = {name: note for name, note in noted.items() if slurm.lives(states, note["id"])}
    needed = _needed(batch, force, there)
    parameters = {job.name: plain(_of_seed(batch, job.seed).wanted) for job in needed}
    for name in sorted(parameters.keys() & there.keys()):
        if there[name]["parameters"] != parameters[name]:
            raise ClusterError(
                f"{name} is in the queue with other parameters, {there[name]['parameters']}: wait for it, or cancel it "
                f"with scancel {there[name]['id']}"
            )
    if parameters.keys() - there.keys():
        before.keep(batch.wanted["profile"], batch.wanted["dataset"])
    ids, new = {name: note["id"] for name, note in there.items()}, {}
    for job in needed:
        if job.name in ids and not (new and gathers(job.notebook)):
            batch.screen.say(f"{job.title}: job {ids[job.name]}, submitted before")
            continue
        after = [ids[name] for name in (*job.after, job.name) if name in ids]  # itself: as an earlier call left it
        try:
            number = slurm.submit(executor, _work(job, batch, desk, options, force), after)
        except ClusterError as error:
            slurm.cancel([note["id"] for note in new.values()])
            desk.note(noted)
            raise ClusterError(f"Slurm does not take {job.name}, and nothing is submitted: {error}") from error
        ids[job.name], new[job.name] = number, {"id": number, "parameters": parameters[job.name]}
        desk.note(noted | new)
        batch.screen.say(f"{job.title}: job {number}" + (f", after {', '.join(after)}" if after else ""))
    return {job: ids[job.name] for job in needed}


def _needed(batch: Batch, force: bool, there: Collection[str]) -> list[Job]:
    """Return the jobs of the notebooks that must run, each after those that it waits for; ``there``: in the queue."""
    early, late = groups(batch.titled())
    found: list[Job] = []
    seeds = batch.wanted.get("seeds")
    seeds = seeds if isinstance(seeds, list | tuple) else ()  # --set may give one number
    for path, title in [one for one in early if one[0].stem in there or batch.waiting([one], force)]:
        parts = [Job(f"{path.stem}-seed{seed}", f"{title}, seed {seed}", path, seed) for seed in seeds]
        if len(parts) < 2 or not goes_through_seeds(path):
            parts = []
        elif path.stem in there:  # what it waits for was submitted with it
            parts = [part for part in parts if part.name in there]
        elif not force:
            parts = [p for p in parts if p.name in there or not _of_seed(batch, p.seed).up_to_date(path)]
        found += [*parts, Job(path.stem, title, path, after=tuple(part.name for part in parts))]
    after = tuple(job.name for job in found if job.seed is None)
    # whether what gathers must run is known when the others have ended: its job asks then
    last = late if found else batch.waiting(late, force)
    return found + [Job(path.stem, title, path, after=after) for path, title in last]


def _of_seed(batch: Batch, seed: int | None) -> Batch:
    """Return the batch of a job that trains for one seed, in results of its own; for None the batch itself."""
    if seed is None:
        return batch
    own = _results(seed) / batch.wanted["profile"] / batch.wanted["dataset"]
    return replace(batch, folder=own / batch.folder.name, wanted={**batch.wanted, "seeds": [seed]})


def _results(seed: int | None) -> Path:
    root = results.results_root().resolve()
    return root if seed is None else root / FOLDER / f"seed{seed}"


def _work(job: Job, batch: Batch, desk: Desk, options: Mapping[str, object], force: bool) -> Work:
    """Return what a job does, and prepare its folder."""
    desk.clear(job.name)
    own = {name: value for name, value in options.items() if name not in ("only", "write_back")}
    own |= {name: batch.wanted[name] for name in ("profile", "dataset", "data_root")}  # the last with its full path
    if job.seed is not None:
        own |= {"seeds": [job.seed]}
        kept = batch.folder.parent.resolve() / "checkpoints"
        link = _of_seed(batch, job.seed).folder.parent / kept.name
        for folder in (kept, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(kept, link.parent))
    return Work(job, batch.root.resolve(), desk, _results(job.seed), own, force)


# --- follow ---


def _follow(submitted: Mapping[Job, str], desk: Desk, screen: jobs.Log) -> Iterator[tuple[Job, str]]:
    """Show how far jobs are; yield each when it has ended, with why it failed ("" if it did not)."""
    running, gone, states, asked = dict(submitted), {}, None, float("-inf")
    try:
        while running:
            if time.monotonic() - asked >= ASK:
                states, asked = _states(states, screen), time.monotonic()
            for job, number in list(running.items()):
                end, now = desk.end(job.name, number), time.monotonic()
                if end and not end["failure"]:
                    screen.say(f"{job.title}: done in {duration(end['seconds'])} (job {number})")
                elif states is None or slurm.lives(states, number):  # one that is queued again has failed before
                    gone.pop(job, None)
                    continue
                elif end is None and now - gone.setdefault(job, now) < PATIENCE:
                    continue
                else:
                    screen.say(f"{job.title}: failed (job {number})")
                del running[job]
                yield job, _failure(job, number, end, states or {}, desk)
            screen.show(_lines(running, states or {}, desk))
            time.sleep(_LOOK if running else 0)
    except KeyboardInterrupt:
        screen.show({})
        screen.say(
            f"the jobs go on; the same command follows them. To cancel them: scancel {' '.join(running.values())}"
        )
        raise
    finally:
        screen.show({})


def _states(last: States | None, screen: jobs.Log) -> States | None:
    """Return what Slurm says now; where it does not answer, which passes, what it said last."""
    try:
        return slurm.queue()
    except ClusterError as error:
        screen.say(f"{error}; trying again")
        return last


def _failure(job: Job, number: str, end: Mapping | None, states: States, desk: Desk) -> str:
    """Return why a job that has ended failed, or ""."""
    if end and not end["failure"]:
        return ""
    state, _ = states.get(number, ("UNKNOWN", ""))
    said = end["failure"] if end else f"notebook {job.notebook.stem}: job {number} ended as {state} without a word"
    return f"{said}{_HINTS.get(state, '')}\n\nlog: {desk.log(number)}"


def _lines(running: Mapping[Job, str], states: States, desk: Desk) -> dict[str, str]:
    """Return a line for each job that runs, by its title, and one for all that wait."""
    lines, reasons = {}, Counter()
    for job, number in running.items():
        state, reason = states.get(number, ("", ""))
        if state == "PENDING":
            reasons[reason] += 1
        elif state:
            lines[job.title] = desk.line(job.name) or f"{job.title}: job {number}, {state.lower()}"
    waiting = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return lines | ({"waiting": f"jobs that wait: {waiting}"} if waiting else {})
