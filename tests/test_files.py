import errno
import os
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from reid_lib.files import A_DAY, check_archive, folder_locked, remove_parts, try_writing, whole, write_text


def test_a_file_is_there_whole(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    with whole(target) as part:
        part.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    write_text(target, "old")

    def fail() -> None:
        with whole(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    with whole(target) as first, whole(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # the outer block ends last


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "a\nü\r\n")
    assert (tmp_path / "x").read_bytes() == "a\nü\r\n".encode()
    with pytest.raises(OSError, match="No such file"):
        write_text(tmp_path / "nowhere" / "x", "text")


def test_a_disk_without_room_is_told_with_the_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the kernel then refuses to write on
    try:
        with pytest.raises(OSError, match="too large") as plain:
            write_text(tmp_path / "x.txt", "x" * 1000)
        with pytest.raises(OSError, match="too large") as tensors, whole(tmp_path / "x.safetensors") as part:
            save_file({"x": np.zeros(1000)}, part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [error.value.errno for error in (plain, tensors)] == [errno.EFBIG] * 2
    assert plain.value.filename == str(tmp_path / "x.txt")
    assert tensors.value.filename == str(tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "said", ["I/O error: No space left on device (os error 28)", "IoError(Os { code: 28, kind: StorageFull })"]
)
def test_what_safetensors_says_of_a_full_disk_is_understood(said: str, tmp_path: Path) -> None:
    """Older releases, such as 0.4.3, say it in the second way."""
    with pytest.raises(OSError, match="No space left") as found, whole(tmp_path / "x.safetensors"):
        raise SafetensorError(f"Error while serializing: {said}")
    assert found.value.errno == errno.ENOSPC


def test_parts_of_killed_processes_go_and_other_files_stay(tmp_path: Path) -> None:
    old, young, other, own = (tmp_path / f"{name}.{'0' * 32}.part" for name in ("a.csv", "a.csv.b", "c.csv", "x"))
    for file in (old, young, other, own, tmp_path / "mine.part"):
        file.touch()
    os.utime(old, (time.time() - 2 * A_DAY,) * 2)
    remove_parts(tmp_path, age=A_DAY)
    assert not old.exists()
    remove_parts(tmp_path, "c.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([young.name, own.name, "mine.part"])
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]


def test_trying_to_write_leaves_nothing(tmp_path: Path) -> None:
    try_writing(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="nowhere"):
        try_writing(tmp_path / "nowhere")


def test_an_archive_is_compared_with_its_checksums(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("weights", "0123456789")
    check_archive(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"345", b"346"))
    with pytest.raises(ValueError, match="weights does not match its checksum"):
        check_archive(tmp_path / "a.zip")
    (tmp_path / "text").write_text("no archive")
    check_archive(tmp_path / "text")


def test_a_folder_is_held_by_one_and_the_next_one_is_told(tmp_path: Path) -> None:
    class Waited(Exception):
        pass

    def wait() -> None:
        raise Waited

    with folder_locked(tmp_path), pytest.raises(Waited), folder_locked(tmp_path, wait):
        pytest.fail("two hold it")
    with folder_locked(tmp_path, wait):
        assert list(tmp_path.iterdir()) == []
