import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reid_lib.datasets.records import (
    DatasetError,
    ReIDDataset,
    Split,
    check_counts,
    check_images,
    check_root,
    match_names,
    native_size,
    random_splits,
    read_image,
)

SPLITS = (Split((0, 1), (2, 3)), Split((2, 3), (0,)))


def rows(**columns: object) -> pd.DataFrame:
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(8)], "pid": np.arange(8) // 2, "camid": [1, 2] * 4})
    return table.assign(**columns)


def on_disk(folder: Path) -> ReIDDataset:
    draw = np.random.default_rng(0)
    for path in rows()["path"]:
        Image.fromarray(draw.integers(0, 256, (12, 6, 3), np.uint8)).save(folder / path)
    return ReIDDataset("small", rows(), SPLITS, size=(12, 6), root=folder)


def test_parts_keep_the_image_numbers() -> None:
    dataset = ReIDDataset("small", rows(), SPLITS, size=(12, 6))
    assert len(dataset) == 8
    assert dataset.part("test").index.tolist() == [4, 5, 6, 7]
    assert dataset.part("test", split=1).index.tolist() == [0, 1]
    assert dataset.table["split"].tolist() == ["train"] * 4 + ["test"] * 4
    assert dataset.summary().loc["train"].tolist() == [4, 2, 2]


def test_the_index_is_the_image_number() -> None:
    dataset = ReIDDataset("small", rows().iloc[::-1], SPLITS, size=(12, 6))
    assert dataset.table.index.tolist() == list(range(8))
    assert dataset.table["path"].iloc[0] == "7.png"


@pytest.mark.parametrize(
    ("table", "splits", "message"),
    [
        (rows().drop(columns="camid"), SPLITS, "missing: camid"),
        (rows().iloc[:0], SPLITS, "at least one image"),
        (rows(pid=0.5), SPLITS, "column pid must hold integers"),
        (rows(path="0.png"), SPLITS, r"paths that stand twice in the table \(7\)"),
        (rows(), (), "at least one train/test split"),
        (rows(), (Split((0, 1), (1, 2)),), "1 identities are in train and test, the first is 1"),
        (rows(), (Split((0,), (9,)),), "test part names identity 9 without an image"),
        (rows(), (Split((), (1,)),), "train part names no identity"),
    ],
)
def test_a_bad_table_or_split_is_refused(table: pd.DataFrame, splits: tuple, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ReIDDataset("small", table, splits, size=(12, 6))


@pytest.mark.parametrize("size", [(12,), (0, 6)])
def test_a_bad_size_is_refused(size: tuple) -> None:
    with pytest.raises(DatasetError, match=r"size must be \(height, width\)"):
        ReIDDataset("small", rows(), SPLITS, size=size)


def test_an_unknown_part_or_split_is_refused() -> None:
    dataset = ReIDDataset("small", rows(), SPLITS, size=(12, 6))
    with pytest.raises(ValueError, match='"train" or "test"'):
        dataset.part("query")
    with pytest.raises(ValueError, match=r"splits 0\.\.1"):
        dataset.part("test", 2)


def test_images_are_read_and_fitted(tmp_path: Path) -> None:
    dataset = on_disk(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "3.png"))
    np.testing.assert_array_equal(dataset.read("3.png"), pixels)
    assert read_image(tmp_path / "3.png", (24, 10)).shape == (24, 10, 3)
    assert native_size(tmp_path / "3.png") == (12, 6)


def test_a_grey_image_is_read_as_rgb(tmp_path: Path) -> None:
    Image.new("L", (6, 12), 7).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", (12, 6)), np.full((12, 6, 3), 7))


def test_a_missing_or_truncated_image_is_named(tmp_path: Path) -> None:
    dataset = on_disk(tmp_path)
    content = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r"image cannot be read: .*3\.png"):
        dataset.read("3.png")
    (tmp_path / "3.png").unlink()
    with pytest.raises(DatasetError, match=r"image missing: .*3\.png"):
        dataset.read("3.png")
    with pytest.raises(DatasetError, match=r"image missing: .*3\.png"):
        dataset.fingerprint()


def test_check_images_names_five_bad_ones_and_counts_the_rest(tmp_path: Path) -> None:
    dataset = on_disk(tmp_path)
    pd.testing.assert_frame_equal(check_images(dataset, progress=False), dataset.summary())
    for path in dataset.table["path"].iloc[:7]:
        (tmp_path / path).write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"7 of 8 images are bad: .*0\.png.*4\.png.*and 2 more") as error:
        check_images(dataset, progress=False)
    assert "5.png" not in str(error.value)


def test_the_fingerprint_is_of_the_records_and_the_files(tmp_path: Path) -> None:
    dataset = on_disk(tmp_path)
    first, timed = dataset.fingerprint(), dataset.fingerprint(times=True)
    content = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").unlink()
    (tmp_path / "0.png").write_bytes(content)
    os.utime(tmp_path / "0.png", ns=(0, 0))
    assert dataset.fingerprint() == first  # the same copy elsewhere
    assert dataset.fingerprint(times=True) != timed
    (tmp_path / "0.png").write_bytes(content + b" ")
    assert dataset.fingerprint() != first
    other = ReIDDataset("small", rows(camid=[2, 1] * 4), SPLITS, size=(12, 6), root=tmp_path)
    assert other.fingerprint() != dataset.fingerprint()


def test_random_splits_depend_on_the_seed_alone() -> None:
    first, again, other = (random_splits(range(20), 12, 3, seed, "small") for seed in (0, 0, 1))
    assert first == again != other
    assert all(len(s.train_pids) == 12 and len(s.test_pids) == 8 for s in first)
    assert first[0] != first[1]
    assert random_splits(range(19, -1, -1), 12, 1, 0, "small") == first[:1]
    with pytest.raises(DatasetError, match="cannot take 20 training identities of 20"):
        random_splits(range(20), 20, 1, 0, "small")


def test_counts_say_expected_and_found() -> None:
    check_counts("small", rows(), 8, 4, 2)
    with pytest.raises(DatasetError, match=r"images: expected 1,264, found 8; cameras: expected 3, found 2"):
        check_counts("small", rows(), 1264, 4, 3)


def test_a_missing_root_says_where_to_get_the_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"small: expected root, the folder of x; found none. Ask its authors"):
        check_root("small", None, "the folder of x", "Ask its authors")
    with pytest.raises(DatasetError, match=r"there is no folder .*nowhere. Ask its authors"):
        check_root("small", tmp_path / "nowhere", "the folder of x", "Ask its authors")


def test_unexpected_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected images in .*, found none"):
        match_names("small", tmp_path, r"(\d)\.png", "1.png")
    for name in ("2.png", "1.png", ".hidden", "Thumbs.db", "readme.txt"):
        (tmp_path / name).touch()
    assert [m[1] for m in match_names("small", tmp_path, r"(\d)\.png", "1.png")] == ["1", "2"]
    (tmp_path / "copy of 1.png").touch()
    with pytest.raises(DatasetError, match=r"names like 1\.png in .*found 1 others, the first is copy of 1\.png"):
        match_names("small", tmp_path, r"(\d)\.png", "1.png")
    with pytest.raises(DatasetError, match=r"expected the folder .*cam_a, found none"):
        match_names("small", tmp_path / "cam_a", r"(\d)\.png", "1.png")


@pytest.mark.parametrize("pids", [np.arange(2), [0, 1], range(2), (np.int64(0), np.int32(1))])
def test_a_split_takes_any_integers(pids: object) -> None:
    split = Split(pids, np.array([2, 3], np.uint8))
    assert split == Split((0, 1), (2, 3))
    assert all(type(pid) is int for pid in (*split.train_pids, *split.test_pids))


@pytest.mark.parametrize("pids", [np.zeros((2, 2), int), [0.5], ["a"], np.array([0.0, 1.0])])
def test_a_split_of_other_things_is_refused(pids: object) -> None:
    with pytest.raises(DatasetError, match="train_pids must be integers, as many as there are, found"):
        Split(pids, (2,))


@pytest.mark.parametrize("size", [128, None, (128,), (128, 64, 3), (0, 64), "128x64", (128.0, 64.0)])
def test_a_size_is_two_integers(size: object) -> None:
    with pytest.raises(
        DatasetError, match=r"small: size must be \(height, width\) in pixels, such as \(128, 64\), found"
    ):
        ReIDDataset("small", rows(), SPLITS, size=size)
    assert ReIDDataset("small", rows(), SPLITS, size=np.array([12, 6])).size == (12, 6)


def test_junk_is_no_identity_of_a_data_set() -> None:
    table = rows(pid=[-1, 0, 1, 1, 2, 2, 3, 3])
    with pytest.raises(DatasetError, match=r"1 images have the identity -1, by Market-1501's convention .* is 0\.png"):
        ReIDDataset("small", table, SPLITS, size=(12, 6))
