import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib import files
from reid_lib.datasets import image_store, load
from reid_lib.datasets.image_store import cache_folder, open_store
from reid_lib.datasets.records import DatasetError, ReIDDataset, Split


class Reader:
    """Draws an image from its number and counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: str, size: tuple[int, int]) -> np.ndarray:
        self.calls += 1
        return np.random.default_rng(int(path)).integers(0, 256, (*size, 3), np.uint8)


def dataset(n: int = 20, size: tuple[int, int] = (16, 8), reader: object = None, name: str = "drawn") -> ReIDDataset:
    table = pd.DataFrame({"path": [str(i) for i in range(n)], "pid": np.arange(n) // 2, "camid": np.arange(n) % 2 + 1})
    return ReIDDataset(name, table, (Split((0,), (1,)),), size, reader=reader or Reader())


def test_rows_are_the_data_set_s_images(tmp_path: Path) -> None:
    data = dataset()
    store = open_store(data, tmp_path)
    assert len(store) == 20
    assert store.images.shape == (20, 16, 8, 3)
    for row, path in enumerate(data.table["path"]):
        np.testing.assert_array_equal(store.images[row], data.read(path))
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


@pytest.mark.parametrize("rows", [[3, 0, 3], np.array([19]), [], pd.Index([1, 2]), torch.tensor([5, 4])])
def test_a_batch_is_contiguous_nchw(tmp_path: Path, rows: object) -> None:
    store = open_store(dataset(), tmp_path)
    batch = store.batch(rows)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous()
    expected = store.images[np.asarray(rows, int)].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(batch.numpy(), expected)


@pytest.mark.parametrize("rows", [[20], [-1, 3]])
def test_a_row_that_is_not_there(tmp_path: Path, rows: list) -> None:
    with pytest.raises(IndexError, match="image numbers run from 0 to 19"):
        open_store(dataset(), tmp_path).batch(rows)


def test_images_are_decoded_once(tmp_path: Path) -> None:
    reader = Reader()
    for _ in range(3):
        open_store(dataset(reader=reader), tmp_path)
    assert reader.calls == 20
    assert len(list(tmp_path.iterdir())) == 1


def test_other_sizes_and_sets_have_other_files(tmp_path: Path) -> None:
    stores = [open_store(data, tmp_path) for data in (dataset(), dataset(18), dataset(size=(8, 8)), dataset(name="x"))]
    assert len({store.path for store in stores}) == 4


def test_a_store_of_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "_BLOCK", 1000)  # not a multiple of an image
    data, reader = dataset(), Reader()
    first = open_store(data, tmp_path)
    image_store._sound.clear()  # as in another process
    again = open_store(dataset(reader=reader), tmp_path)
    assert reader.calls == 0
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.images[13], data.read("13"))


@pytest.mark.parametrize("damage", ["flipped bit", "flipped mark", "truncated", "empty", "longer", "header", "other"])
def test_a_damaged_file_is_built_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path, reader = open_store(dataset(), tmp_path).path, Reader()
    content = bytearray(path.read_bytes())
    sound = bytes(content)
    if damage == "flipped bit":
        content[len(content) // 2] ^= 4
    elif damage == "flipped mark":
        content[-1] ^= 4
    elif damage == "header":
        content[20] ^= 4
    changed = {"truncated": content[:-100], "empty": b"", "longer": content + b"x", "other": b"no store"}
    path.write_bytes(changed.get(damage, content))
    image_store._sound.clear()  # as in another process
    with caplog.at_level(logging.WARNING):
        store = open_store(dataset(reader=reader), tmp_path)
    assert "is damaged" in caplog.text
    assert "building it again" in caplog.text
    assert reader.calls == 20
    assert path.read_bytes() == sound
    np.testing.assert_array_equal(store.images[7], reader("7", (16, 8)))


def test_a_process_verifies_a_file_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verified, verify = [], image_store._verify
    monkeypatch.setattr(image_store, "_verify", lambda *given: [verified.append(1), verify(*given)])
    stores = [open_store(dataset(), tmp_path) for _ in range(3)]
    assert len(verified) == 1
    assert len({id(store.images) for store in stores}) == 3
    path, reader = stores[0].path, Reader()
    content, before = bytearray(path.read_bytes()), path.stat().st_mtime_ns
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(before + 1, before + 1))  # the clock of some file systems is coarse
    store = open_store(dataset(reader=reader), tmp_path)
    assert len(verified) == 3  # the damaged file and the new one
    assert reader.calls == 20
    np.testing.assert_array_equal(store.images[7], reader("7", (16, 8)))


def test_a_leftover_that_another_process_moves_away_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(dataset(), tmp_path)
    store.path.unlink()
    leftover = tmp_path / f"{store.path.name}.{'0' * 32}.part"
    leftover.touch()

    def moved() -> float:
        leftover.unlink(missing_ok=True)
        return time.time()

    monkeypatch.setattr(files, "time", SimpleNamespace(time=moved))
    assert len(open_store(dataset(), tmp_path)) == 20
    assert not leftover.exists()


def test_a_bad_image_leaves_nothing_behind(tmp_path: Path) -> None:
    def reader(path: str, size: tuple[int, int]) -> np.ndarray:
        if path == "11":
            raise DatasetError("image cannot be read: 11")
        return Reader()(path, size)

    with pytest.raises(DatasetError, match="image cannot be read: 11"):
        open_store(dataset(reader=reader), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected uint8 \(16, 8, 3\), found uint8 \(8, 16, 3\) at 0"):
        open_store(dataset(reader=lambda path, size: np.zeros((8, 16, 3), np.uint8)), tmp_path)


def test_a_disk_that_is_full_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    reader = Reader()
    with pytest.raises(OSError, match=r"image store of drawn, 0\.0 MB, into .*make room there, or name another folder"):
        open_store(dataset(reader=reader), tmp_path)
    assert reader.calls == 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # the kernel then refuses to write on
    try:
        with pytest.raises(OSError, match="cannot write the image store of drawn"):
            open_store(dataset(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert len(open_store(dataset(), tmp_path)) == 20


def test_a_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="name another folder in REID_LIB_CACHE"):
        open_store(dataset(), tmp_path / "file" / "cache")


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"
    assert cache_folder(tmp_path) == tmp_path
    assert open_store(dataset()).path.parent == tmp_path / "named"
    monkeypatch.delenv("REID_LIB_CACHE")
    assert cache_folder().name == "reid-lib"


# One process that forks three: only one of them has to import torch.
WORKERS = """
import os, signal, sys, time
from pathlib import Path
import numpy as np, pandas as pd
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset, Split

def work(killed_at, start):
    def reader(path, size):
        if int(path) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.005)
        return np.random.default_rng(int(path)).integers(0, 256, (*size, 3), np.uint8)
    table = {"path": [str(i) for i in range(20)], "pid": np.arange(20) // 2, "camid": np.arange(20) % 2 + 1}
    data = ReIDDataset("drawn", pd.DataFrame(table), (Split((0,), (1,)),), (16, 8), reader=reader)
    time.sleep(max(0, start - time.time()))
    store = open_store(data, sys.argv[1])
    return all((store.images[i] == reader(str(i), (16, 8))).all() for i in range(20))

children, start = [], time.time() + 0.3
for killed_at in (-1, -1, 11):
    children.append(os.fork())
    if not children[-1]:
        status = 1
        try:
            status = 0 if work(killed_at, start) else 2
        finally:
            os._exit(status)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def test_processes_that_start_at_once_and_one_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKERS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[0] == f"[0, 0, {-signal.SIGKILL}]", done.stderr
    leftovers = list(tmp_path.glob("*.part"))
    reader = Reader()
    store = open_store(dataset(reader=reader), tmp_path)
    assert reader.calls == 0  # sound, though a third process died while it wrote
    assert len(leftovers) == 1
    store.path.unlink()
    os.utime(leftovers[0], (time.time() - 2 * 86400,) * 2)
    open_store(dataset(), tmp_path)
    assert not leftovers[0].exists()


def test_real_images(shared_data: Path, tmp_path: Path) -> None:
    data = load("viper", shared_data / "VIPeR")
    store = open_store(data, tmp_path)
    for row in (0, 631, 1263):
        np.testing.assert_array_equal(store.images[row], data.read(data.table["path"][row]))
