from pathlib import Path

import pytest

from reid_lib import status


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (3599, "1 h 00 min"), (12000, "3 h 20 min")]
)
def test_a_time_as_people_say_it(seconds: float, text: str) -> None:
    assert status.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (2, ("image",), "2 images"),
        (1, ("query", "queries"), "1 query"),
        (3, ("query", "queries"), "3 queries"),
    ],
)
def test_a_number_with_its_noun(number: int, nouns: tuple[str, ...], text: str) -> None:
    assert status.counted(number, *nouns) == text


def test_a_training_tells_network_epoch_and_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(status.time, "monotonic", lambda: now[0])
    monkeypatch.setenv(status.VARIABLE, str(tmp_path / "status"))

    def told() -> str:
        return (tmp_path / "status").read_text()

    training = status.TrainingStatus("lrar-seed0", first=2, total=6)
    training.epoch(2)
    assert told() == "lrar-seed0: epoch 3 of 6"
    now[0] += 0.5
    training.within(0.1)  # too soon after the last line
    assert told() == "lrar-seed0: epoch 3 of 6"
    now[0] += 4.5
    training.within(0.5)  # half an epoch took 5 s, three and a half are left
    assert told() == "lrar-seed0: epoch 3 of 6, 35 s left"
    now[0] += 5
    training.epoch(3)
    assert told() == "lrar-seed0: epoch 4 of 6, 30 s left"
    assert [path.name for path in tmp_path.iterdir()] == ["status"]


def test_without_a_file_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(status.VARIABLE, raising=False)
    assert not status.tell("x")
    monkeypatch.setenv(status.VARIABLE, str(tmp_path / "gone" / "status"))
    assert not status.tell("x")
