"""An MLR set on disk: the trials of memory to the last pixel, the same bytes every time, and what is refused."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reid_lib import cli
from reid_lib.datasets import load, mlr
from reid_lib.datasets.build import BuildSettings, build
from reid_lib.datasets.records import DatasetError, ReIDDataset
from reid_lib.datasets.resolution import degrade

SIZE = (32, 16)
SETTINGS = BuildSettings(trials=3)
NAME = "table-synth-mlr"


@pytest.fixture(scope="module")
def synth() -> ReIDDataset:
    """The small set, each image drawn once."""
    drawn = load("synth", identities=16, size=SIZE)
    pixels = {path: drawn.read(path) for path in drawn.table["path"]}
    return replace(drawn, reader=lambda path, size: pixels[path])


@pytest.fixture(scope="module")
def built(synth: ReIDDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(synth, folder, SETTINGS, progress=False)
    return folder


def again(folder: Path, name: str = NAME) -> ReIDDataset:
    return load(name, folder, table="images.csv", size=SIZE)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def degraded(dataset: ReIDDataset, path: str, rate: int, kernel: str = "bicubic") -> np.ndarray:
    image = torch.from_numpy(dataset.read(path).copy()).permute(2, 0, 1)[None]
    return degrade(image, rate, kernel)[0].permute(1, 2, 0).numpy()


def test_the_trials_of_memory_are_read_back_to_the_last_pixel(synth: ReIDDataset, built: Path) -> None:
    stored = again(built)
    for number, trial in enumerate(mlr.trials(synth, n=3)):
        back = mlr.Trial.from_csv(built / f"trials/trial-{number}.csv", stored)
        assert back.number == number
        assert back.query["pid"].tolist() == trial.query["pid"].tolist()
        assert set(back.query["rate"]) == {1}
        for path, source, rate in zip(back.query["path"], trial.query["path"], trial.query["rate"], strict=True):
            np.testing.assert_array_equal(stored.read(path), degraded(synth, source, rate))
        assert back.gallery["pid"].tolist() == trial.gallery["pid"].tolist()
        for path, source in zip(back.gallery["path"], trial.gallery["path"], strict=True):
            np.testing.assert_array_equal(stored.read(path), synth.read(source))


def test_lr_images_have_their_own_size_and_camera(built: Path) -> None:
    images = pd.read_csv(built / "images.csv")
    for row in images.itertuples():
        with Image.open(built / row.path) as image:
            assert (image.height, image.width) == (SIZE[0] // row.rate, SIZE[1] // row.rate)
    assert set(images["rate"]) == {1, 2, 3, 4}
    assert ((images["camid"] == 5) == (images["rate"] > 1)).all()
    sources = pd.read_csv(built / "sources.csv").set_index("path")
    assert set(sources["camid"]) == {1, 2, 3, 4}
    stored = again(built)
    assert stored.genuine_lr_camid == 5
    assert stored.splits[0] == load("synth", identities=16, size=SIZE).splits[0]
    assert set(mlr.trials(stored)[0].query["camid"]) == {5}


def test_training_images_are_those_that_training_draws(synth: ReIDDataset, built: Path) -> None:
    from reid_lib.training.mlr_set import MLRSet

    drawn = MLRSet(synth, 0, (2, 3, 4), "bicubic", None, torch.device("cpu"))
    rates = dict(zip(synth.table["path"][drawn.numbers], np.where(drawn.low, drawn.rates, 1), strict=True))
    images, sources = pd.read_csv(built / "images.csv"), pd.read_csv(built / "sources.csv")
    train = (images["split"] == "train").to_numpy()
    assert dict(zip(sources["source"][train], images["rate"][train], strict=True)) == rates


@pytest.mark.parametrize("options", [{}, {"size": (64, 32)}])
def test_another_size_than_it_was_built_for_is_refused(built: Path, options: dict) -> None:
    with pytest.raises(DatasetError, match=r"were not down-sampled at \d+x\d+, .*; give the size .* size=\(32,16\)"):
        load(NAME, built, table="images.csv", **options)


def test_every_file_has_its_checksum(built: Path) -> None:
    sums = dict(line.split("  ")[::-1] for line in (built / "SHA256SUMS").read_text().splitlines())
    files = content(built)
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    assert "unfinished.sums" not in files
    assert "The people are drawn" in (built / "README.md").read_text()


def test_the_same_bytes_with_another_hash_seed_and_thread_count(built: Path, tmp_path: Path) -> None:
    line = ["data", "build", "synth", "-o", str(tmp_path / "b"), "--trials", "3"]
    line += ["--options", "identities=16", f"size={SIZE}"]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-m", "reid_lib", *line], check=True, env=environment, capture_output=True)
    assert content(tmp_path / "b") == content(built)


def test_the_same_bytes_from_another_file_system_order(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    for pid in range(4):
        for camid in (1, 2):
            Image.new("RGB", (8, 16), (60 * pid, 90 * camid, 5)).save(folder / f"{pid:04d}_c{camid}s1_0_0.png")
    settings, listed = BuildSettings(trials=2), Path.iterdir
    build(load("table", folder, size=(16, 8)), tmp_path / "a", settings, progress=False)
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(sorted(listed(self))))
    build(load("table", folder, size=(16, 8)), tmp_path / "b", settings, progress=False)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert set(pd.read_csv(tmp_path / "a" / "images.csv").query("rate > 1")["camid"]) == {1}  # two cameras: the first


def test_a_killed_run_goes_on_and_checks_what_is_there(synth: ReIDDataset, built: Path, tmp_path: Path) -> None:
    reads = []

    def dying(path: str, size: tuple[int, int]) -> np.ndarray:
        if len(reads) == 30:
            raise KeyboardInterrupt
        reads.append(path)
        return synth.reader(path, size)

    with pytest.raises(KeyboardInterrupt):
        build(replace(synth, reader=dying), tmp_path, SETTINGS, progress=False)
    written = sorted((tmp_path / "train").iterdir()) + sorted((tmp_path / "test").iterdir())
    assert len(written) >= 30
    written[0].write_bytes(b"damaged")
    (tmp_path / "train" / f"x.png.{'0' * 32}.part").write_bytes(b"left")
    with (tmp_path / "unfinished.sums").open("a") as journal:
        journal.write("0123  torn")
    first, count = set(reads), []
    build(
        replace(synth, reader=lambda p, s: (count.append(p), synth.reader(p, s))[1]), tmp_path, SETTINGS, progress=False
    )
    assert content(tmp_path) == content(built)
    assert len(first & set(count)) <= 1  # the damaged one alone was made anew
    count.clear()
    build(replace(synth, reader=lambda p, s: count.append(p)), tmp_path, SETTINGS, progress=False)
    assert count == []  # all is there


def test_genuine_lr_images_stay_as_they_are(tmp_path: Path) -> None:
    dataset = load("synth-caviar", identities=16, images_per_camera=1, size=SIZE)
    images = build(dataset, tmp_path, BuildSettings(trials=1), progress=False)
    assert set(images["rate"]) == {1}
    stored = again(tmp_path, "table-synth-caviar-mlr")
    assert stored.genuine_lr_camid == 2
    trial, back = mlr.trials(dataset, n=1)[0], mlr.Trial.from_csv(tmp_path / "trials/trial-0.csv", stored)
    for path, source in zip(back.query["path"], trial.query["path"], strict=True):
        np.testing.assert_array_equal(stored.read(path), dataset.read(source))
    other = load("table-synth-caviar-mlr", tmp_path, table="images.csv", size=(64, 32))
    assert other.note == f"{len(images)} images are stored at another size and resized to 64x32"
    assert "LR by nature and stand as they are" in (tmp_path / "README.md").read_text()


def test_jpeg_and_mlrpro(synth: ReIDDataset, tmp_path: Path) -> None:
    images = build(synth, tmp_path, BuildSettings("area", (2, 3, 4, 5, 6, 7), 90, trials=2), progress=False)
    assert set(images["rate"]) == {1, 2, 3, 4, 5, 6, 7}
    with Image.open(tmp_path / images["path"][0]) as image:
        assert image.format == "JPEG"
    one = images[images["rate"] == 3].iloc[0]["path"]
    source = pd.read_csv(tmp_path / "sources.csv").set_index("path")["source"][one]
    difference = np.abs(again(tmp_path).read(one).astype(int) - degraded(synth, source, 3, "area"))
    assert 0 < difference.mean() < 10


def test_the_settings_of_a_set_with_one_hr_image_of_each_identity(tmp_path: Path) -> None:
    dataset = load("synth", identities=12, cameras=2, images_per_camera=1, size=SIZE)
    build(dataset, tmp_path, BuildSettings(trials=1), progress=False)
    found = mlr.settings(again(tmp_path), n=1)
    assert "HR->HR, same camera" not in found  # no HR image is left beside the gallery
    assert all(len(trial.query) for drawn in found.values() for trial in drawn)


# --- refused, before the first image is read ---


@pytest.fixture
def unread(synth: ReIDDataset) -> ReIDDataset:
    def reader(path: str, size: tuple[int, int]) -> np.ndarray:
        raise AssertionError("an image was read")

    return replace(synth, reader=reader)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": "box"}, "kernel must be one of bicubic"),
        ({"rates": (2, 17)}, r"shorter side, 16 pixels, one or more, found \[2, 17\]"),
        ({"rates": ()}, r"one or more, found \[\]"),
        ({"rates": (0, 2)}, "integers >= 1"),
        ({"trials": 0}, "at least 1, found 0"),
        ({"split": 10}, "splits 0..9"),
        ({"seed": -1}, "a seed must be an integer >= 0"),
        ({"quality": 101}, "1 to 100, or 0 for PNG, found 101"),
    ],
)
def test_an_option_out_of_range(unread: ReIDDataset, tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(unread, tmp_path / "out", BuildSettings(**settings), progress=False)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else(unread: ReIDDataset, built: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"expected an empty folder, .* found 1 files, the first is thesis.txt"):
        build(unread, tmp_path, progress=False)
    with pytest.raises(DatasetError, match="found a set with other settings; name another folder"):
        build(unread, built, BuildSettings(trials=4), progress=False)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_target_that_cannot_be_written(unread: ReIDDataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"file cannot be written .*name another folder"):
        build(unread, tmp_path / "file", progress=False)
    with pytest.raises(DatasetError, match="cannot be written"):
        build(unread, "/proc/nowhere", progress=False)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    line = [
        "data",
        "build",
        "synth",
        "-o",
        str(tmp_path),
        "--trials",
        "1",
        "--options",
        "identities=12",
        "size=(32,16)",
    ]
    assert cli.main(line) == 0
    assert "144 images (96 test, 48 train), 1 trial; SHA256SUMS has every file" in capsys.readouterr().out
    read = ["--root", str(tmp_path), "--options", "table=images.csv", "size=(32,16)"]
    assert cli.main(["data", "check", NAME, *read]) == 0
    assert "every image can be read" in capsys.readouterr().out
