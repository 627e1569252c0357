"""Faults as they happen: `benchmarks.faults` with few tries, its honesty, and what it has no place for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from jupyter_client import KernelManager

from benchmarks.faults import renewed, section
from reid_lib.datasets import load
from reid_lib.datasets.build import BuildSettings, build
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import DatasetError
from reid_lib.reporting import results
from reid_lib.training.methods import METHODS

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "results" / "faults.csv"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="a process that has loaded torch is forked")


def harness(*arguments: object) -> tuple[pd.DataFrame, str]:
    """Try faults in a process of its own; return the table and what was said."""
    output = arguments[-1]
    line = [sys.executable, "-m", "benchmarks.faults", *map(str, arguments[:-1]), "-o", str(output)]
    run = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode in (0, 1), run.stderr
    return pd.read_csv(output), run.stderr


@on_linux
def test_processes_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    found, said = harness("trainings", "kills", "interruptions", "--tries", 2, "--seed", 1, tmp_path / "faults.csv")
    assert (found["tried"] == found["survived"]).all(), said
    victims = set(found["victim"][found["fault"] == "SIGKILL"])
    assert {f"training of {name}" for name in METHODS} < victims
    assert {"checkpoint write", "image store", "data build", "results file"} < victims
    assert set(found["fault"]) == {"SIGKILL", "SIGINT", "SIGTERM"}
    assert (found["tried"] == 2).all()


@on_linux
def test_other_faults_are_survived_or_told(tmp_path: Path) -> None:
    found, said = harness("workers", "pairs", "disks", "damages", "--tries", 2, "--seed", 1, tmp_path / "faults.csv")
    assert (found["tried"] == found["survived"]).all(), said
    assert (found["tried"] == 2).all()
    assert len(found) > 25


FRAGILE = """
import numpy as np, sys, time
from pathlib import Path
from benchmarks.faults import Victim, damaged, full, killed, together

def work(folder):
    with (folder / "file").open("a") as file:
        for line in range(20):
            file.write(f"{line}\\n")
            file.flush()
            time.sleep(0.01)

victim, draw = Victim("fragile", work, lambda folder: {"file": (folder / "file").read_text()}), np.random.default_rng(0)
folder = Path(sys.argv[1])
for fault in (killed, full, together):
    print(fault(victim, folder, 4, draw).survived)
file = folder / "text"
file.write_text("0123456789" * 10)
for row in damaged("text", file, file.read_bytes, 4, draw):
    print(row.survived)
def raw():
    if file.read_text() != "0123456789" * 10:
        raise KeyError("raw")
for row in damaged("text", file, raw, 4, draw):
    print(row.survived)
"""


@on_linux
def test_what_is_lost_is_not_counted_as_survived(tmp_path: Path) -> None:
    """Work that appends to its file, a file without a checksum, and an error that is no sentence."""
    line = [sys.executable, "-c", FRAGILE, str(tmp_path)]
    run = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["0"] * 7, run.stderr


# --- the committed counts -------------------------------------------------------------------------


def test_the_committed_counts_are_whole_and_the_page_has_them() -> None:
    found = pd.read_csv(COMMITTED)
    assert list(found) == ["fault", "victim", "tried", "survived"]
    assert (found["survived"] == found["tried"]).all()
    killed = found[found["fault"] == "SIGKILL"].set_index("victim")["tried"]
    assert {f"training of {name}" for name in METHODS} | {"checkpoint write", "image store", "data build"} < set(
        killed.index[killed >= 50]
    )
    assert killed["notebook"] >= 5
    assert section(found) in (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")


def test_a_page_gets_the_new_counts_in_place_of_the_old() -> None:
    old, new = (pd.DataFrame([("SIGKILL", "store", n, n)], columns=list("abcd")) for n in (1, 2))
    old.columns = new.columns = ["fault", "victim", "tried", "survived"]
    page = f"before\n{section(old)}\nafter\n"
    assert renewed(page, new) == f"before\n{section(new)}\nafter\n"
    assert "| SIGKILL | store | 2 | 2 |" in renewed(page, new)


# --- a full disk ----------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a few kilobytes, where root may; else skip."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_keeps_what_is_there_and_room_lets_the_work_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = load("synth", identities=16, images_per_camera=1, size=(32, 16))
    settings = BuildSettings(trials=1)
    build(people, tmp_path / "sound", settings, progress=False)
    expected = {str(p.relative_to(tmp_path / "sound")): p.read_bytes() for p in (tmp_path / "sound").rglob("*.*")}
    rows = [{"artefact": "Table II", "method": f"m{n}", "metric": "rank1", "value": 50, "seed": 0} for n in range(500)]
    with small_disk(tmp_path / "disk", "200k") as disk:
        monkeypatch.setenv("REID_LIB_RESULTS", str(disk / "results"))
        results.write(rows[:3], "demo", "synth", "lrar", {})
        kept = results.read("demo", "synth", "lrar")
        with pytest.raises(DatasetError, match=r"cannot be written .*No space left.*name another folder, or make room"):
            build(people, disk / "set", settings, progress=False)
        with pytest.raises(OSError, match=r"image store of synth, .*make room there"):
            open_store(people, disk / "cache")
        with pytest.raises(results.ResultsError, match=r"(Cannot|Could not) write .*results"):
            results.write(rows, "demo", "synth", "lrar", {})
        assert results.read("demo", "synth", "lrar").equals(kept)
        assert results.doubt("demo", "synth", "lrar") == ""
        assert list(disk.rglob("*.part")) == []
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        build(people, disk / "set", settings, progress=False)
        assert {str(p.relative_to(disk / "set")): p.read_bytes() for p in (disk / "set").rglob("*.*")} == expected
        results.write(rows, "demo", "synth", "lrar", {})
        assert len(results.read("demo", "synth", "lrar")) == 500
        assert len(open_store(people, disk / "cache")) == len(people)


# --- a notebook that is interrupted ---------------------------------------------------------------

CELL = """
import time, torch
from pathlib import Path
from torch import nn
from reid_lib.training.run import Run, initialise

def train(folder, pause):
    network = initialise(lambda: nn.Linear(4, 1), 0, torch.device("cpu"))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    parts = {"network": network, "optimizer": optimizer}
    run = Run(folder, {}, 0, parts, torch.device("cpu"), progress=False)
    for epoch in run.epochs(4):
        for _ in run.batches(range(3)):
            time.sleep(pause * epoch)
            run.step(optimizer, {"loss": network(torch.randn(8, 4, generator=run.generator)).square().mean()}, 8)
    return network.state_dict()
"""


@contextmanager
def kernel() -> Iterator[tuple]:
    """A notebook's kernel, and what sends it cells; it is gone afterwards."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_notebook_that_is_interrupted_goes_on_where_it_stopped(tmp_path: Path, sent: signal.Signals) -> None:
    space: dict = {}
    exec(CELL, space)
    undisturbed = space["train"](tmp_path / "alone", 0)
    last = f"torch.save(train(Path({str(tmp_path / 'run')!r}), %g), {str(tmp_path / 'end.pt')!r})"
    with kernel() as (manager, client):
        client.execute(CELL + last % 1, stop_on_error=False)  # else what follows an error at once is aborted
        limit = time.monotonic() + 60
        while not (tmp_path / "run" / "last.pt").exists() and time.monotonic() < limit:
            time.sleep(0.05)
        manager.signal_kernel(sent)
        if sent == signal.SIGINT:  # Jupyter's button: the kernel lives, and the same cell is run again
            assert client.get_shell_msg(timeout=30)["content"]["ename"] == "KeyboardInterrupt"
            client.execute(CELL + last % 0)
            assert client.get_shell_msg(timeout=60)["content"]["status"] == "ok"
        first = pd.read_csv(tmp_path / "run" / "history.csv")
    if sent == signal.SIGTERM:  # the kernel is gone, and another one goes on
        assert not (tmp_path / "end.pt").exists()
        assert len(first) < 4
        with kernel() as (_, client):
            client.execute(CELL + last % 0)
            assert client.get_shell_msg(timeout=60)["content"]["status"] == "ok"
    found = torch.load(tmp_path / "end.pt", weights_only=True)
    assert all(torch.equal(found[name], undisturbed[name]) for name in undisturbed)
