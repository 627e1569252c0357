from pathlib import Path

import pytest

from reid_lib.datasets import load
from reid_lib.datasets.records import DatasetError

LISTS = {
    "list_train.txt": "0000/0000_000_01_0303morning_0008_0.jpg 0\n0001/0001_000_02_0303morning_0008_0.jpg 1\n",
    "list_val.txt": "0000/0000_001_15_0303noon_0008_0.jpg 0\n",
    "list_query.txt": "0000/0000_002_04_0303morning_0008_0.jpg 0\n",
    "list_gallery.txt": "0000/0000_003_05_0303morning_0008_0.jpg 0\n",
}


@pytest.fixture
def small_msmt(tmp_path: Path) -> Path:
    root = tmp_path / "MSMT17_V1"
    for folder in ("train", "test"):
        (root / folder).mkdir(parents=True)
    for name, text in LISTS.items():
        (root / name).write_text(text)
    return root


def test_a_small_copy(small_msmt: Path) -> None:
    dataset = load("msmt17", small_msmt, check=False)
    assert dataset.table["pid"].tolist() == [0, 1, 0, 1041, 1041]
    assert dataset.table["camid"].tolist() == [1, 2, 15, 4, 5]
    assert dataset.table["role"].tolist() == ["train"] * 3 + ["query", "gallery"]
    assert dataset.table["path"][3] == "test/0000/0000_002_04_0303morning_0008_0.jpg"
    assert load("msmt17", small_msmt.parent, check=False).table.equals(dataset.table)


def test_version_two(small_msmt: Path) -> None:
    for folder in ("train", "test"):
        (small_msmt / folder).rename(small_msmt / f"mask_{folder}_v2")
    assert load("msmt17", small_msmt, check=False).table["path"][0].startswith("mask_train_v2/0000/")


def test_wrong_counts(small_msmt: Path) -> None:
    with pytest.raises(DatasetError, match=r"query: expected 11,659 images of 3,060 identities, found 1 of 1"):
        load("msmt17", small_msmt)


def test_missing_or_unexpected_parts(small_msmt: Path) -> None:
    (small_msmt / "list_val.txt").write_text("0000_001.jpg 0")
    with pytest.raises(DatasetError, match=r"list_val\.txt, found '0000_001\.jpg 0' in line 1"):
        load("msmt17", small_msmt)
    (small_msmt / "list_val.txt").unlink()
    with pytest.raises(DatasetError, match=r"expected the list .*list_val\.txt, found none"):
        load("msmt17", small_msmt)
    (small_msmt / "test").rmdir()
    with pytest.raises(DatasetError, match=r"expected the folder .*test, found none"):
        load("msmt17", small_msmt)
