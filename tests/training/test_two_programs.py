"""Two programs that want the same network: one trains it, the other waits and loads it. With processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from reid_lib.files import locked
from reid_lib.training.run import Run, TrainingError, initialise

CPU = torch.device("cpu")
EPOCHS = 3


def train(folder: Path, pause: float = 0.0) -> dict[str, torch.Tensor]:
    network = initialise(lambda: nn.Linear(4, 1), 0, CPU)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    run = Run(folder, {}, 0, {"network": network, "optimizer": optimizer}, CPU, progress=False)
    for epoch in run.epochs(EPOCHS):
        print(f"epoch {epoch}", flush=True)
        for _ in run.batches(range(2)):
            time.sleep(pause * epoch)  # the first epoch is soon there
            run.step(optimizer, {"loss": network(torch.randn(8, 4, generator=run.generator)).square().mean()}, 8)
    return network.state_dict()


STARTED: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def no_program_stays() -> Iterator[None]:
    """End what a failed test has left."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        if process.stdout and not process.stdout.closed:
            process.communicate()


def program(folder: Path, name: str, pause: float, **environment: str) -> subprocess.Popen:
    """Start a program that trains in ``folder`` and writes its weights into ``<name>.pt`` beside it."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nimport torch\nfrom test_two_programs import train\n"
        f"torch.save(train(Path({str(folder)!r}), {pause}), {str(folder.parent / name)!r} + '.pt')"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environment}, **pipes))
    return STARTED[-1]


def test_a_network_that_two_programs_need_is_trained_once(tmp_path: Path) -> None:
    folder = tmp_path / "lrar-seed0"
    both = [program(folder, name, 1.0) for name in ("one", "two")]
    said, errors = zip(*(one.communicate(timeout=120) for one in both), strict=True)
    assert [one.returncode for one in both] == [0, 0], errors
    assert sorted(said) == ["", "epoch 0\nepoch 1\nepoch 2\n"]  # one of them did it all
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    alone = train(tmp_path / "alone")
    assert all(torch.equal(one[name], two[name]) and torch.equal(one[name], alone[name]) for name in alone)
    assert pd.read_csv(folder / "history.csv")["epoch"].tolist() == [0, 1, 2]
    trained = next(i for i in (0, 1) if said[i])
    assert errors[trained] == ""
    # the one that came second had to wait: the other takes six seconds
    waited = f"waits for lrar-seed0, which process {both[trained].pid} trains in {folder}\n"
    assert errors[1 - trained] == waited


def test_a_program_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    killed = program(folder, "killed", 30)
    assert killed.stdout.readline() == "epoch 0\n"
    assert killed.stdout.readline() == "epoch 1\n"  # so there is a checkpoint
    status = tmp_path / "status"
    waiting = program(folder, "next", 0.0, REID_LIB_STATUS=str(status))
    limit = time.monotonic() + 60
    while not (status.exists() and status.read_text()) and time.monotonic() < limit:
        time.sleep(0.05)
    assert status.read_text() == f"waits for run, which process {killed.pid} trains"
    killed.send_signal(signal.SIGKILL)
    said, errors = waiting.communicate(timeout=60)
    killed.communicate()
    assert (said, errors) == ("epoch 1\nepoch 2\n", "")  # it goes on from the checkpoint
    assert status.read_text() == ""
    assert (folder / "lock").read_text() == str(waiting.pid)
    found, alone = torch.load(tmp_path / "next.pt", weights_only=True), train(tmp_path / "alone")
    assert all(torch.equal(found[name], alone[name]) for name in alone)


def test_a_run_that_failed_is_free_for_others_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", {}, 0, {}, CPU, progress=False)

    def fail() -> None:
        for _ in run.epochs(2):
            raise KeyError("in the loop's own code")

    with pytest.raises(KeyError) as kept:  # the traceback lives on, as it does in a notebook
        fail()
    code = f"import fcntl\nfcntl.lockf(open({str(tmp_path / 'run' / 'lock')!r}, 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert kept.value.args


def test_a_process_does_not_wait_for_itself(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", pytest.fail), locked(tmp_path / "lock", pytest.fail):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_finished_run_in_a_folder_that_takes_no_lock_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    trained = train(tmp_path / "run")

    def read_only(path: Path, waiting: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("reid_lib.training.run.locked", read_only)
    loaded = train(tmp_path / "run")
    assert all(torch.equal(loaded[name], trained[name]) for name in trained)
    assert "cannot be locked" in capsys.readouterr().err


def test_a_disk_that_is_full_stops_the_run_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    """On a file system of 1 MB, where root may mount one; `test_run` has the same with a write that fails."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        run = disk / "run"
        killed = program(run, "killed", 30)
        assert killed.stdout.readline() == "epoch 0\n"
        assert killed.stdout.readline() == "epoch 1\n"
        killed.kill()
        killed.communicate()
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize))
        with pytest.raises(TrainingError, match=r"cannot write a checkpoint into .*; those there are kept"):
            train(run)
        (disk / "filler").unlink()
        assert torch.load(run / "last.pt", weights_only=True)["epoch"] == 0
        assert not list(run.glob("*.part"))
        found, alone = train(run), train(tmp_path / "alone")
        assert all(torch.equal(found[name], alone[name]) for name in alone)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
