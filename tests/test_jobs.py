"""Notebooks side by side, on tiny ones in a project of their own, with processes and signals as they are."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from reid_lib import cli, jobs
from reid_lib import reproduce as runner
from reid_lib.reporting import results

PARAMETERS = (
    'profile: str = "demo"  # p\ndataset: str = "synth"  # d\ndata_root: str = ""  # r\nseeds: tuple = (0,)  # s'
)
START = """
import json, os, pathlib, time
folder = pathlib.Path(os.environ["REID_LIB_RESULTS"]) / profile / dataset
def note(name, **what):
    (folder / f"{name}.new").write_text(json.dumps(what))
    os.replace(folder / f"{name}.new", folder / name)
def wait_for(name):
    limit = time.monotonic() + 60
    while not (folder / name).exists() and time.monotonic() < limit:
        time.sleep(0.02)
    assert (folder / name).exists()
""".strip()


def notebook(root: Path, name: str, *sources: str, finish: bool = True) -> None:
    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(START)]
    cells += [new_code_cell(source) for source in sources]
    cells += [new_code_cell(f'note("{name}.run.json", seconds=1)')] if finish else []
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the notebooks of the project in ``tmp_path`` leave what they note."""
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results" / "demo" / "synth"


def noted(path: Path) -> dict:
    return json.loads(path.read_text())


def test_notebooks_run_side_by_side_on_one_thread_each(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    threads = "import torch\nnote('threads', torch=torch.get_num_threads(), omp=os.environ['OMP_NUM_THREADS'])"
    notebook(tmp_path, "00_one", "note('one')", "wait_for('two')", threads)  # done only if the other runs meanwhile
    notebook(tmp_path, "01_two", "note('two')", "wait_for('one')")
    assert sorted(runner.reproduce(tmp_path, count=2, say=lambda line: None)) == ["00_one", "01_two"]
    assert noted(folder / "threads") == {"torch": 1, "omp": "1"}


def test_the_others_finish_where_some_fail(tmp_path: Path, folder: Path) -> None:
    notebook(tmp_path, "00_dies", "note('died')", "os._exit(9)")
    notebook(tmp_path, "01_fails", "note('failed')", "x = 1\nraise KeyError('lost')")
    notebook(tmp_path, "02_works", "wait_for('died')", "wait_for('failed')")
    said: list[str] = []
    with pytest.raises(runner.NotebookFailed) as failed:
        runner.reproduce(tmp_path, count=2, say=said.append)
    message = str(failed.value)
    assert message.startswith("2 of 3 notebooks failed.\n\nnotebook 0")
    assert "notebook 00_dies: the kernel stopped in cell 4 " in message
    assert "memory ran out" in message
    assert "notebook 01_fails, cell 4 (In [4]): KeyError: 'lost'" in message
    assert "Traceback" in message
    assert any(line.startswith("[3/3] 02_works: done in ") for line in said)
    assert any(line.startswith("[1/3] 00_dies: failed after ") for line in said)
    notebook(tmp_path, "00_dies")
    notebook(tmp_path, "01_fails")
    assert runner.reproduce(tmp_path, count=1, say=lambda line: None) == ["00_dies", "01_fails"]


def test_a_process_that_is_killed_is_a_failure(tmp_path: Path, folder: Path) -> None:
    notebook(tmp_path, "00_first", "os.kill(os.getppid(), 9)", "time.sleep(60)")
    with pytest.raises(runner.NotebookFailed, match=r"00_first: its process ended in cell 3 of 5 \(signal 9\)"):
        runner.reproduce(tmp_path, say=lambda line: None)


STARTED: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def no_command_stays() -> Iterator[None]:
    """End what a failed test has left, with all that it has started: a session of its own."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def command(root: Path, *arguments: str) -> subprocess.Popen:
    """Start the command line in a project of its own."""
    code = (
        # a shell that starts the tests in the background has SIGINT ignored, and so have all processes under it
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys\nfrom pathlib import Path\nfrom reid_lib import cli\nfrom reid_lib.cli import project\n"
        f"project.project_root = lambda: Path({str(root)!r})\nsys.exit(cli.main(sys.argv[1:]))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    STARTED.append(subprocess.Popen([sys.executable, "-c", code, "reproduce", *arguments], **pipes))
    return STARTED[-1]


def wait_until(true: object, seconds: float = 90) -> None:
    limit = time.monotonic() + seconds
    while not true() and time.monotonic() < limit:
        time.sleep(0.05)
    assert true()


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interruption_ends_all_and_the_same_command_goes_on(
    tmp_path: Path, folder: Path, sent: signal.Signals, code: int
) -> None:
    notebook(tmp_path, "00_done")
    both = ("01_one", "02_two")
    for name in both:
        notebook(tmp_path, name, f"note('{name}', pid=os.getpid(), parent=os.getppid())", "wait_for('go on')")
    running = command(tmp_path, "--jobs", "2")
    wait_until(lambda: all((folder / name).exists() for name in both))
    if sent == signal.SIGKILL:
        running.send_signal(sent)
    else:
        os.killpg(running.pid, sent)  # as a terminal does it, to the whole group in front
    out, errors = running.communicate(timeout=30)
    assert running.returncode == code
    if sent != signal.SIGKILL:  # which says nothing
        assert errors == "reid-lib: interrupted; the same command goes on from what is done\n"
    assert "[1/3] 00_done: done in" in out
    left = [noted(folder / name) for name in both]
    wait_until(lambda: all(gone(process) for one in left for process in one.values()), 10)

    (folder / "go on").touch()
    again = command(tmp_path, "--jobs", "2")
    out, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "")
    assert "[1/3] 00_done: up to date" in out
    assert out.count("done in") == 2


@pytest.mark.parametrize("wrong", ["0", "99999999999999999999", "-1", "two", "1.5", "²"])
def test_a_number_of_jobs_that_is_none_is_refused(wrong: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["reproduce", f"--jobs={wrong}"]) == 2
    assert capsys.readouterr().err == f"reid-lib: jobs must be a whole number from 1 to 1024, found {wrong!r}\n"


def test_a_running_job_says_cell_and_training(tmp_path: Path, folder: Path) -> None:
    told = (
        "from reid_lib.status import tell\ntell('lrar-seed0: epoch 2 of 8, 3 min left')\nnote('told')\nwait_for('seen')"
    )
    notebook(tmp_path, "00_first", told)
    seen: list[str] = []

    class Screen(jobs.Log):
        def show(self, lines: dict[str, str]) -> None:
            seen.extend(lines.values())
            if (folder / "told").exists():
                (folder / "seen").touch()

    runner.reproduce(tmp_path, screen=Screen(lambda line: None))
    line = next(line for line in seen if "lrar" in line)
    assert line.startswith("[1/1] 00_first: ")
    assert line.endswith(" s, cell 3 of 4, lrar-seed0: epoch 2 of 8, 3 min left")


def test_a_log_has_a_line_of_each_job_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], []
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    log = jobs.Log(said.append)
    for now[0] in range(0, 65, 5):
        log.show({"a": f"a at {now[0]}"} | ({"b": f"b at {now[0]}"} if now[0] >= 20 else {}))
    assert said == ["a at 30", "b at 50", "a at 60"]


def test_a_terminal_renews_its_lines_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "11")
    stream = io.StringIO()
    screen = jobs.Terminal(stream)
    screen.say("begins")
    screen.show({"a": "a 1", "b": "b that is too long"})
    screen.show({"a": "a 2"})
    screen.say("ends")
    screen.show({})
    up = "\x1b[{}F\x1b[J".format
    assert stream.getvalue() == f"begins\na 1\nb that is \n{up(2)}a 2\n{up(1)}ends\n"


def test_the_longest_starts_first_and_what_gathers_comes_last(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, seconds in (("00_a", 5), ("01_b", 50), ("90_all", 500)):
        (folder / f"{name}.run.json").write_text(json.dumps({"seconds": seconds}))
    titled = [(Path(f"{name}.ipynb"), name) for name in ("00_a", "01_b", "02_c", "90_all")]

    def order(count: int) -> list[list[str]]:
        groups = (runner._in_order(group, folder / "notebooks", count) for group in runner.groups(titled))
        return [[name for _, name in group] for group in groups]

    assert order(1) == [["00_a", "01_b", "02_c"], ["90_all"]]
    assert order(2) == [["01_b", "00_a", "02_c"], ["90_all"]]


def test_one_job_for_each_core_or_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(jobs, "usable_cores", lambda: 5)
    assert (jobs.default_count(), jobs._device(3)) == (5, {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert jobs.default_count() == 2
    assert [jobs._device(place)["CUDA_VISIBLE_DEVICES"] for place in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    assert [jobs._device(place)["CUDA_VISIBLE_DEVICES"] for place in range(2)] == ["3", "GPU-ab"]


WRITER = """
import sys
from reid_lib.reporting import results

name, cells = sys.argv[1], {"artefact": f"Table {sys.argv[1]}", "method": "VPFA", "metric": "rank1", "value": 1.0}
for seed in range(6):
    results.write([cells | {"seed": seed}], "demo", "synth", "vpfa", {"parameters": {"notebook": name}})
"""


def test_two_notebooks_share_a_table_and_its_provenance(folder: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in ("15_vpfa", "22_resolution_directions")]
    assert [one.wait(timeout=60) for one in both] == [0, 0]
    run = results.read_run("demo", "synth", "vpfa")
    assert run["complete"]  # it is the run.json of this CSV
    covered = {
        tuple(cover): record["parameters"]["notebook"]
        for record in [*run["earlier"], run]
        for cover in record["covers"]
    }
    rows = results.read("demo", "synth", "vpfa")
    assert len(rows) == len(covered) == 12
    assert covered.keys() == results.groups(rows)
    assert all(artefact == f"Table {name}" for (artefact, *_), name in covered.items())
