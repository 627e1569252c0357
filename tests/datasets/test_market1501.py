from pathlib import Path

import pytest
from PIL import Image

from reid_lib.datasets import load
from reid_lib.datasets.mlr import trials
from reid_lib.datasets.records import DatasetError

FILES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000301_01.jpg", "0007_c1s6_028546_04.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c3s1_000551_00.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c1s1_000151_01.jpg",
        "0001_c2s1_000976_01.jpg",
        "0003_c6s1_000551_00.jpg",
    ],
}


@pytest.fixture
def small_market(tmp_path: Path) -> Path:
    folder = tmp_path / "Market-1501-v15.09.15"
    for name, files in FILES.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "Thumbs.db").touch()
        for file in files:
            Image.new("RGB", (64, 128)).save(folder / name / file)
    return folder


def test_a_small_copy(small_market: Path) -> None:
    dataset = load("market1501", small_market, check=False)
    assert dataset.table["pid"].tolist() == [2, 2, 7, 1, 3, 0, 1, 3]  # without junk
    assert dataset.table["camid"].tolist() == [1, 2, 1, 1, 3, 1, 2, 6]
    assert dataset.table["role"].tolist() == ["train"] * 3 + ["query"] * 2 + ["gallery"] * 3
    assert (dataset.splits[0].train_pids, dataset.splits[0].test_pids) == ((2, 7), (1, 3))
    assert dataset.table["split"].tolist() == ["train"] * 3 + ["test"] * 2 + ["unused"] + ["test"] * 2
    assert dataset.read(dataset.table["path"][0]).shape == (128, 64, 3)
    assert set(trials(dataset, n=1)[0].gallery["pid"]) == {1, 3}
    assert load("market1501", small_market.parent, check=False).table.equals(dataset.table)


def test_wrong_counts(small_market: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"train: expected 12,936 images of 751 identities, found 3 of 2; query: exp"
    ):
        load("market1501", small_market)


def test_a_missing_folder(small_market: Path) -> None:
    (small_market / "query").rename(small_market / "queries")
    with pytest.raises(DatasetError, match=r"expected the folder .*query, found none"):
        load("market1501", small_market)


def test_an_unexpected_name(small_market: Path) -> None:
    (small_market / "query" / "0001_c1.jpg").touch()
    with pytest.raises(DatasetError, match=r"found 1 others, the first is 0001_c1\.jpg"):
        load("market1501", small_market)
