"""Notebooks as jobs of a cluster: on a Slurm whose programs are small scripts, and on a real one on this machine."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from reid_lib import cli, cluster, jobs
from reid_lib import reproduce as runner
from reid_lib.cluster import slurm
from reid_lib.cluster.desk import Desk, Job
from reid_lib.cluster.work import Work
from reid_lib.reporting import results
from reid_lib.reporting.artefacts import numbered_notebooks

PARAMETERS = (
    'profile: str = "demo"  # p\ndataset: str = "synth"  # d\ndata_root: str = ""  # r\nseeds: tuple = (0,)  # s'
)
START = """
import json, os, pathlib
folder = pathlib.Path(os.environ["REID_LIB_RESULTS"]) / profile / dataset
""".strip()
EACH = "for seed in seeds:\n    print(seed)"
FAKES = {
    "sbatch": """
if [ -e "$FAKE/refused" ] && grep -q "$(cat "$FAKE/refused")" "$1"; then
  echo "sbatch: error: invalid partition specified: nowhere" >&2; exit 1
fi
number=$(($(cat "$FAKE/last") + 1)); echo $number > "$FAKE/last"
cp "$1" "$FAKE/$number.sh"; echo "$number|PENDING|Priority" >> "$FAKE/queue"
echo "Submitted batch job $number"
""",
    "squeue": """
[ -e "$FAKE/mute" ] && { echo "slurm_load_jobs error: Unable to contact" >&2; exit 1; }
cat "$FAKE/queue"
""",
    "scancel": 'echo "$@" >> "$FAKE/cancelled"',
    "srun": ":",
}


def notebook(root: Path, name: str, *sources: str, finish: str = "") -> None:
    """Write a notebook that notes its run."""
    finish = finish or f'(folder / "{name}.run.json").write_text(json.dumps({{"seconds": 1, "seeds": list(seeds)}}))'
    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(START)]
    cells += [new_code_cell(source) for source in (*sources, finish)]
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Slurm that takes jobs and runs none, beside a project of three notebooks."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'reid-lib[slurm]'")
    folder = tmp_path / "fake"
    (folder / "bin").mkdir(parents=True)
    for name, script in FAKES.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script.strip()}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "last").write_text("10")
    (folder / "queue").touch()
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    notebook(tmp_path, "00_each", EACH)
    notebook(tmp_path, "01_one", "print(seeds[0])")
    notebook(tmp_path, "90_all")
    return folder


@pytest.fixture
def unfollowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_follow", lambda submitted, desk, screen: iter(()))


def submit(root: Path, **options: object) -> list[str]:
    """Submit what is needed; return what is said."""
    said: list[str] = []
    given = {"slurm_options": {}, "seeds": [0, 1], "say": said.append} | options
    cluster.reproduce(root, **given)
    return said


def script(fake: Path, number: int) -> dict[str, str]:
    """Return the options of a submitted job."""
    lines = [line for line in (fake / f"{number}.sh").read_text().splitlines() if line.startswith("#SBATCH --")]
    return dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines)


def queue(fake: Path, **states: str) -> None:
    """Say how jobs are: ``_11="RUNNING"``."""
    lines = [f"{name[1:]}|{state}|None\n" for name, state in states.items()]
    (fake / "queue").write_text("".join(lines))


def desk_of(root: Path) -> Desk:
    return Desk(root / "results" / "slurm" / "demo" / "synth")


# --- what is submitted ---


@pytest.mark.usefixtures("unfollowed")
def test_a_job_for_each_seed_then_the_notebook_then_what_gathers(tmp_path: Path, fake: Path) -> None:
    said = submit(tmp_path, slurm_options={"partition": "gpu", "gpus": 1, "account": "us", "setup": "module load cuda"})
    assert said == [
        "[1/3] 00_each, seed 0: job 11",
        "[1/3] 00_each, seed 1: job 12",
        "[1/3] 00_each: job 13, after 11, 12",
        "[2/3] 01_one: job 14",
        "[3/3] 90_all: job 15, after 13, 14",
    ]
    scripts = {number: script(fake, number) for number in range(11, 16)}
    assert [one.get("dependency") for one in scripts.values()] == [None, None, "afterany:11:12", None, "afterany:13:14"]
    for one in scripts.values():
        assert (one["partition"], one["gpus"], one["account"], one["time"]) == ("gpu", "1", "us", str(slurm.MINUTES))
        assert "requeue" in one
    assert scripts[12]["job-name"] == "00_each-seed1.synth"
    assert "\nmodule load cuda\n" in (fake / "11.sh").read_text()
    link = tmp_path / "results/slurm/seed1/demo/synth/checkpoints"
    assert link.resolve() == tmp_path / "results/demo/synth/checkpoints"


@pytest.mark.usefixtures("unfollowed")
@pytest.mark.parametrize("options", [{"seeds": None}, {"seeds": [1]}, {"seeds": None, "overrides": {"seeds": 1}}])
def test_one_seed_needs_one_job(tmp_path: Path, fake: Path, options: dict) -> None:
    assert submit(tmp_path, **options, only="00") == ["[1/1] 00_each: job 11"]


def test_the_notebooks_go_through_their_seeds() -> None:
    root = Path(runner.__file__).parents[1]
    once = {path.stem for path in numbered_notebooks(root) if not cluster.goes_through_seeds(path)}
    assert once == {"22_resolution_directions", "90_all_tables_and_figures"}


@pytest.mark.usefixtures("unfollowed")
def test_what_is_in_the_queue_is_not_submitted_again(tmp_path: Path, fake: Path) -> None:
    first = submit(tmp_path)
    queue(fake, _11="COMPLETED", _12="RUNNING", _13="PENDING", _14="RUNNING", _15="PENDING")
    again = submit(tmp_path)
    assert again == [
        "[1/3] 00_each, seed 1: job 12, submitted before",
        "[1/3] 00_each: job 13, submitted before",
        "[2/3] 01_one: job 14, submitted before",
        "[3/3] 90_all: job 15, submitted before",
    ]
    queue(fake, _11="COMPLETED", _12="FAILED", _14="RUNNING", _15="PENDING")  # 13 has vanished
    assert submit(tmp_path) == [
        "[1/3] 00_each, seed 0: job 16",
        "[1/3] 00_each, seed 1: job 17",
        "[1/3] 00_each: job 18, after 16, 17",
        "[2/3] 01_one: job 14, submitted before",
        "[3/3] 90_all: job 19, after 18, 14, 15",  # the older one may begin before 18 has ended
    ]
    assert len(first) == 5


@pytest.mark.usefixtures("unfollowed")
def test_what_was_forced_is_followed_although_it_is_up_to_date(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner.Batch, "up_to_date", lambda self, path: True)
    assert submit(tmp_path, only="00") == ["[1/1] 00_each: up to date"]
    assert submit(tmp_path, only="00", force=True)[-1] == "[1/1] 00_each: job 13, after 11, 12"
    assert submit(tmp_path, only="00")[-1] == "[1/1] 00_each: job 13, submitted before"


@pytest.mark.usefixtures("unfollowed")
def test_a_notebook_in_the_queue_with_other_parameters_is_refused(tmp_path: Path, fake: Path) -> None:
    submit(tmp_path)
    with pytest.raises(slurm.ClusterError, match=r"00_each is in the queue with other .*'seeds': \[0, 1\].*scancel 13"):
        submit(tmp_path, seeds=[0, 1, 2])
    assert (fake / "last").read_text().strip() == "15"


@pytest.mark.usefixtures("unfollowed")
def test_if_slurm_refuses_a_job_nothing_stays_submitted(tmp_path: Path, fake: Path) -> None:
    (fake / "refused").write_text("job-name=01_one")
    with pytest.raises(slurm.ClusterError) as refused:
        submit(tmp_path)
    message = str(refused.value)
    assert message.startswith("Slurm does not take 01_one, and nothing is submitted: ")
    assert "invalid partition specified: nowhere" in message
    assert "\n" not in message
    assert (fake / "cancelled").read_text() == "11 12 13\n"
    assert desk_of(tmp_path).notes() == {}


# --- what is followed ---


class Screen(jobs.Log):
    """Keeps what is said, and the last lines that are shown."""

    def __init__(self, at_each_look: Callable[[], None] = lambda: None) -> None:
        self.said: list[str] = []
        self.shown: list[dict[str, str]] = []
        self._at_each_look = at_each_look
        super().__init__(self.said.append)

    def show(self, lines: dict[str, str]) -> None:
        self.shown.append(dict(lines))
        self._at_each_look()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("ASK", 0.05), ("_LOOK", 0.02), ("PATIENCE", 0.3)):
        monkeypatch.setattr(cluster, name, seconds)


ONE, TWO = (Job(f"0{n}_x", f"[{n}/2] 0{n}_x", Path(f"0{n}_x.ipynb")) for n in (1, 2))


@pytest.mark.usefixtures("quick")
def test_jobs_are_shown_while_they_run_and_told_when_they_end(tmp_path: Path, fake: Path) -> None:
    desk = Desk(tmp_path / "desk")
    desk.folder.mkdir()
    queue(fake, _11="RUNNING", _12="PENDING")
    desk.status(ONE.name).write_text("[1/2] 01_x: 95 s, cell 3 of 9")

    def next_step() -> None:
        if len(screen.shown) == 2:
            desk.write_end(ONE.name, "11", "", 96)
            queue(fake, _11="COMPLETED", _12="RUNNING")
        if len(screen.shown) == 20:
            desk.write_end(TWO.name, "11", "", 1)  # of a job before it
            desk.write_end(TWO.name, "12", "notebook 02_x, cell 3: KeyError", 3)
        if len(screen.shown) == 30:  # Slurm may queue a job again that has just failed, because it took its node away
            assert not ended
            queue(fake, _12="FAILED")

    screen, ended = Screen(next_step), []
    for job, failure in cluster._follow({ONE: "11", TWO: "12"}, desk, screen):
        ended += [failure] if job == TWO else []
    assert screen.shown[0] == {ONE.title: "[1/2] 01_x: 95 s, cell 3 of 9", "waiting": "jobs that wait: 1 None"}
    assert {TWO.title: "[2/2] 02_x: job 12, running"} in screen.shown
    assert screen.shown[-1] == {}
    assert screen.said == ["[1/2] 01_x: done in 96 s (job 11)", "[2/2] 02_x: failed (job 12)"]
    assert ended == [f"notebook 02_x, cell 3: KeyError\n\nlog: {desk.log('12')}"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("state", "said"),
    [("TIMEOUT", "as TIMEOUT without a word; --slurm time=MINUTES asks for more"), ("", "as UNKNOWN without a word")],
)
def test_a_job_that_vanishes_has_failed(tmp_path: Path, fake: Path, state: str, said: str) -> None:
    queue(fake, **({"_11": state} if state else {}))
    (_, failure), *none = cluster._follow({ONE: "11"}, Desk(tmp_path), Screen())
    assert none == []
    assert failure.startswith(f"notebook 01_x: job 11 ended {said}")


@pytest.mark.usefixtures("quick")
def test_a_slurm_that_does_not_answer_for_a_while_ends_nothing(tmp_path: Path, fake: Path) -> None:
    (fake / "mute").touch()

    def next_step() -> None:
        if len(screen.shown) == 30:
            Desk(tmp_path).write_end(ONE.name, "11", "", 5)

    screen = Screen(next_step)
    assert [failure for _, failure in cluster._follow({ONE: "11"}, Desk(tmp_path), screen)] == [""]
    assert screen.said[0] == "squeue does not answer: slurm_load_jobs error: Unable to contact; trying again"


@pytest.mark.usefixtures("quick")
def test_an_interruption_leaves_the_jobs_and_says_how_to_go_on(tmp_path: Path, fake: Path) -> None:
    queue(fake, _11="RUNNING", _12="PENDING")

    def interrupt() -> None:
        if len(screen.shown) == 3:
            raise KeyboardInterrupt

    screen = Screen(interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(cluster._follow({ONE: "11", TWO: "12"}, Desk(tmp_path), screen))
    assert screen.said == ["the jobs go on; the same command follows them. To cancel them: scancel 11 12"]
    assert not (fake / "cancelled").exists()


# --- what a job does ---


def test_a_job_runs_its_notebook_and_notes_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    for name in ("REID_LIB_RESULTS", "REID_LIB_STATUS"):
        monkeypatch.setenv(name, "")  # so that what the job sets is undone
    notebook(tmp_path, "00_fails", "raise KeyError('lost')")
    desk, options = Desk(tmp_path / "desk"), {"profile": "demo", "dataset": "synth", "seeds": [3]}
    desk.folder.mkdir()
    fails = Job("00_fails-seed3", "[1/1] 00_fails, seed 3", tmp_path / "notebooks/00_fails.ipynb", 3)
    with pytest.raises(runner.NotebookFailed):
        Work(fails, tmp_path, desk, tmp_path / "results", options, False)()
    assert "notebook 00_fails, cell 3 (In [4]): KeyError: 'lost'" in desk.end(fails.name, "11")["failure"]
    after = Job("00_fails", "[1/1] 00_fails", fails.notebook, None, (fails.name,))
    with pytest.raises(runner.NotebookFailed, match="did not run, because 00_fails-seed3 did not end well"):
        Work(after, tmp_path, desk, tmp_path / "results", options, False)()

    notebook(tmp_path, "00_fails")
    Work(fails, tmp_path, desk, tmp_path / "results", options, False)()
    assert desk.end(fails.name, "11")["failure"] == ""
    assert json.loads((tmp_path / "results/demo/synth/00_fails.run.json").read_text())["seeds"] == [3]


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--executor", "pbs"], "executor must be local or slurm, found 'pbs'"),
        (["--slurm", "time=3"], "--slurm belongs to --executor slurm"),
        (["--executor", "slurm", "--jobs", "2"], "--jobs is for this machine"),
        (["--executor", "slurm", "--slurm", "partition"], "NAME=VALUE, found 'partition'"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "12:00:00"}, r"time in minutes, such as time=720, found '12:00:00'"),
        ({"dependency": "afterok:1", "nodes": 2}, "cannot set dependency, nodes"),
    ],
)
def test_options_that_are_not_the_users_are_refused(tmp_path: Path, fake: Path, options: dict, message: str) -> None:
    with pytest.raises(slurm.ClusterError, match=message):
        submit(tmp_path, slurm_options=options)
    assert (fake / "last").read_text().strip() == "10"


def test_without_submitit_the_extra_is_named(tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(slurm.ClusterError, match=r"needs submitit, not installed: pip install 'reid-lib\[slurm\]'"):
        submit(tmp_path)


def test_without_slurm_its_programs_are_named(tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(slurm.ClusterError, match=r"needs sbatch, srun, squeue, scancel, not on the PATH"):
        submit(tmp_path)


def test_a_slurm_that_does_not_answer_is_told(tmp_path: Path, fake: Path) -> None:
    (fake / "mute").touch()
    with pytest.raises(slurm.ClusterError, match="squeue does not answer: slurm_load_jobs error: Unable to contact"):
        submit(tmp_path)


# --- a real Slurm ---

DAEMONS = ("munged", "slurmctld", "slurmd")
UNTIL_CLOSED = '"$@" < /dev/null & read -r line; kill $!; wait $!'  # also when the tests are killed
CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
KillWait=2
SchedulerParameters=sched_min_interval=100000,bf_interval=2,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (one, two)]


def asked(*command: str) -> str:
    """Return what a program of Slurm says; "" if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which a Slurm of this machine alone runs: one node of two places, which are not reserved."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'reid-lib[slurm]'")
    where = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    programs = {name: shutil.which(name, path=where) for name in (*DAEMONS, "sbatch", "srun", "sinfo", "scancel")}
    missing = [name for name, program in programs.items() if program is None]
    if missing:
        pytest.skip(f"no Slurm here ({', '.join(missing)}): on Debian, apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:  # short: a socket's path has 108 characters at most
        folder, daemons = Path(name), []
        given = {"host": socket.gethostname().split(".")[0], "ports": free_ports(), "user": getpass.getuser()}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, **given).lstrip())
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        for below in ("state", "spool"):
            (folder / below).mkdir()
        monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        own = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        munge = ["--foreground", "--force", *(f"--{option}={folder / file}" for option, file in own.items())]
        try:
            for daemon, arguments in zip(DAEMONS, (munge, ["-D"], ["-D", "-N", given["host"]]), strict=True):
                with (folder / f"{daemon}.log").open("wb") as log:
                    command = ["sh", "-c", UNTIL_CLOSED, "sh", programs[daemon], *arguments]
                    pipes = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log}
                    daemons.append(subprocess.Popen(command, **pipes, start_new_session=True))
            limit = time.monotonic() + 30
            while "idle" not in asked("sinfo", "--noheader", "--format=%T"):
                if time.monotonic() > limit:
                    logs = "\n".join(f"{daemon}: {(folder / f'{daemon}.log').read_text()[-800:]}" for daemon in DAEMONS)
                    pytest.skip(f"a Slurm does not start here; its daemons say\n{logs}")
                time.sleep(0.2)
            yield folder
        finally:
            asked("scancel", "--me")
            limit = time.monotonic() + 10
            while asked("squeue", "--noheader", "--states=RUNNING,COMPLETING") and time.monotonic() < limit:
                time.sleep(0.2)
            for daemon in reversed(daemons):
                daemon.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    daemon.wait(5)
                with suppress(ProcessLookupError):
                    os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()


SET_UP = "from reid_lib.session import parameters, start\nrun = start({name!r}, **parameters(globals()))"
TRAINS = """
from reid_lib.datasets import mlr
from reid_lib.training.baseline import BaselineConfig, train
config, settings, matchers = BaselineConfig.for_profile(run.profile), {"MLR": mlr.trials(run.dataset, n=2)}, {}
for seed in run.seeds:
    matchers[seed] = train(config, run.dataset, seed=seed, folder=run.folder / "checkpoints", device=run.device)
""".strip()
MEASURES = """
import time
while (run.folder / "wait").exists():
    time.sleep(0.1)
for seed, matcher in matchers.items():
    run.measure(matcher, settings, paper="baselines", artefact="A table", method="HR only", seed=seed)
""".strip()
FIRST = (
    'run.measure(matchers[seeds[0]], settings, paper="baselines", artefact="A figure", method="HR only", seed=seeds[0])'
)
SHOWS = 'from reid_lib.reporting import results\nprint(len(results.read(run.profile, run.dataset_name, "baselines")))'


def real_notebook(project: Path, name: str, *sources: str) -> None:
    notebook(project, name, SET_UP.format(name=name), *sources, finish="run.finish()")


@pytest.mark.usefixtures("real")
def test_a_real_slurm_gives_what_this_machine_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds, a job that must leave its node and goes on, a second call, a notebook that fails."""
    real_notebook(tmp_path, "00_trains", TRAINS, MEASURES)
    real_notebook(tmp_path, "01_first", TRAINS.replace("in run.seeds:", "in run.seeds[:1]:"), FIRST)
    options = {"profile": "smoke", "seeds": [0, 1]}
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "local"))
    runner.reproduce(tmp_path, **options, count=2, say=lambda line: None)
    real_notebook(tmp_path, "90_all", SHOWS)

    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(cluster, "ASK", 1.0)
    own = tmp_path / "results/slurm/seed1/smoke/synth"
    own.mkdir(parents=True)
    (own / "wait").touch()
    left: list[dict[Path, int]] = []

    def trained() -> dict[Path, int]:
        found = (tmp_path / "results/smoke/synth/checkpoints").glob("*seed1*/last.pt")
        return {path: path.stat().st_mtime_ns for path in found}

    def take_the_node_away() -> None:
        if "cell 5 of 6" in screen.shown[-1].get("[1/3] 00_trains, seed 1", "") and not left:
            left.append(trained())
            number = Desk(tmp_path / "results/slurm/smoke/synth").notes()["00_trains-seed1"]["id"]
            subprocess.run(["scancel", "--signal=USR2", number], check=True)  # as before the end of its time
            while "PENDING" not in asked("squeue", "--noheader", "--format=%T", f"--jobs={number}"):
                time.sleep(0.1)
            (own / "wait").unlink()

    screen = Screen(take_the_node_away)
    assert cluster.reproduce(tmp_path, slurm_options={"time": 60}, screen=screen, **options)[-1] == "90_all"
    assert len(left) == len(left[0]) == 1
    assert trained() == left[0]  # it was not trained once more
    ours, theirs = (tmp_path / root / "smoke/synth/baselines.csv" for root in ("results", "local"))
    assert ours.read_text() == theirs.read_text()
    assert results.read_run("smoke", "synth", "baselines")["complete"]

    screen = Screen()
    assert cluster.reproduce(tmp_path, slurm_options={}, screen=screen, **options) == []
    assert screen.said == ["[1/3] 00_trains: up to date", "[2/3] 01_first: up to date", "[3/3] 90_all: up to date"]

    real_notebook(tmp_path, "01_first", "raise KeyError('lost')")
    with pytest.raises(runner.NotebookFailed, match=r"01_first, cell 4 .*KeyError: 'lost'") as failed:
        cluster.reproduce(tmp_path, slurm_options={}, only="01", screen=Screen(), **options)
    log = Path(str(failed.value).rpartition("log: ")[2])
    assert "KeyError" in log.read_text()
