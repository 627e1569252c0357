from pathlib import Path

import pytest
from PIL import Image

from reid_lib.datasets import load
from reid_lib.datasets.mlr import trials
from reid_lib.datasets.records import DatasetError


@pytest.fixture
def small_caviar(tmp_path: Path) -> Path:
    """Five identities, of which number 2 is seen by the near camera only."""
    folder = tmp_path / "CAVIAR4REID"
    folder.mkdir()
    for pid in range(1, 6):
        for number in (1, 2) if pid == 2 else (1, 2, 11, 12):
            size = (36, 99) if number <= 10 else (20, 57)
            Image.new("RGB", size, (pid, number, 0)).save(folder / f"{pid:04d}{number:03d}.jpg")
    return folder


def test_a_small_copy(small_caviar: Path) -> None:
    dataset = load("caviar", small_caviar, check=False)
    assert dataset.table[["path", "pid", "camid"]].iloc[2].tolist() == ["0001011.jpg", 1, 2]
    assert dataset.table[["height", "width"]].drop_duplicates().to_numpy().tolist() == [[99, 36], [57, 20]]
    assert dataset.read("0001011.jpg").shape == (128, 64, 3)
    assert dataset.genuine_lr_camid == 2
    assert load("caviar", small_caviar.parent, check=False).table.equals(dataset.table)


def test_an_identity_seen_by_one_camera_only_is_in_no_part(small_caviar: Path) -> None:
    dataset = load("caviar", small_caviar, check=False)
    for split in dataset.splits:
        assert sorted(split.train_pids + split.test_pids) == [1, 3, 4, 5]
    assert set(dataset.table[dataset.table["pid"] == 2]["split"]) == {"unused"}


def test_wrong_counts(small_caviar: Path) -> None:
    with pytest.raises(DatasetError, match=r"images: expected 1,220, found 18; identities: expected 72, found 5"):
        load("caviar", small_caviar)


@pytest.mark.parametrize("name", ["0001000.jpg", "0001021.jpg", "1001.jpg", "0001001.png"])
def test_an_unexpected_name(small_caviar: Path, name: str) -> None:
    (small_caviar / name).touch()
    with pytest.raises(DatasetError, match=f"names like 0001001.jpg in .*found 1 others, the first is {name}"):
        load("caviar", small_caviar, check=False)


def test_an_image_without_a_readable_header(small_caviar: Path) -> None:
    (small_caviar / "0001011.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"image cannot be read: .*0001011\.jpg"):
        load("caviar", small_caviar, check=False)


def test_the_real_set(shared_data: Path) -> None:
    root = shared_data / "CAVIAR4REID"
    dataset = load("caviar", root, partition=shared_data / "splits" / "Partition_caviar.mat")
    assert dataset.summary().to_numpy().tolist() == [[1220, 72, 2], [500, 25, 2], [500, 25, 2]]
    used = dataset.table[dataset.table["split"] != "unused"]
    assert used.groupby("camid")["height"].median().to_dict() == {1: 99, 2: 57}
    assert dataset.table[dataset.table["split"] == "unused"]["pid"].nunique() == 22
    seeded = load("caviar", root)
    for splits in (dataset.splits, seeded.splits):
        assert len(set(splits)) == 10
        assert all(len(split.train_pids) == len(split.test_pids) == 25 for split in splits)
    assert set(trials(dataset, n=1)[0].query["camid"]) == {2}
