import os
from pathlib import Path

import pytest

from reid_lib.files import whole, write_text


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
