"""RegDB, on a small copy with drawn images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import DatasetError


@pytest.fixture
def small_regdb(tmp_path: Path) -> Path:
    root = tmp_path / "RegDB"
    for folder, letter in (("Visible", "v"), ("Thermal", "t")):
        for pid in (1, 2, 10, 11):
            (root / folder / str(pid)).mkdir(parents=True)
            for number in (1, 2):
                grey = np.full((40, 20, 3), 10 * pid + number, np.uint8)
                Image.fromarray(grey).save(root / folder / str(pid) / f"male_back_{letter}_{number:05d}_{pid}.bmp")
    return root


def test_who_is_seen_where(small_regdb: Path) -> None:
    dataset = load("regdb", small_regdb, check=False, size=(32, 16))
    assert dataset.table["pid"].unique().tolist() == [1, 2, 10, 11]
    assert dataset.table.groupby("camid")["modality"].unique().map(list).to_dict() == {1: ["visible"], 2: ["thermal"]}
    turned = load("regdb", small_regdb.parent, check=False, query="thermal")
    assert turned.table.groupby("camid")["modality"].unique().map(list).to_dict() == {1: ["thermal"], 2: ["visible"]}
    assert int(dataset.read(dataset.table["path"][0]).mean()) == 11


def test_queries_are_of_one_modality_and_stay_as_they_are(small_regdb: Path) -> None:
    trial = mlr.trials(load("regdb", small_regdb, check=False, query="thermal"), n=1)[0]
    assert trial.query["path"].str.startswith("Thermal/").all()
    assert trial.gallery["path"].str.startswith("Visible/").all()
    assert set(trial.query["rate"]) == {1}
    assert len(trial.gallery) == 2


def test_the_splits_are_those_of_idx_in_the_order_of_their_numbers(small_regdb: Path) -> None:
    assert len(load("regdb", small_regdb, check=False).splits) == 10
    (small_regdb / "idx").mkdir()
    for number, pids in ((1, (1, 2)), (2, (1, 10)), (10, (2, 11))):
        lines = [f"Visible/{pid}/male_back_v_0000{i}_{pid}.bmp {n}" for n, pid in enumerate(pids) for i in (1, 2)]
        (small_regdb / "idx" / f"train_visible_{number}.txt").write_text("\n".join(lines) + "\n")
    splits = load("regdb", small_regdb, check=False).splits
    assert [split.train_pids for split in splits] == [(1, 2), (1, 10), (2, 11)]
    assert splits[1].test_pids == (2, 11)


def test_what_is_no_regdb(small_regdb: Path) -> None:
    with pytest.raises(DatasetError, match=r"images: expected 8,240, found 16; identities: expected 412, found 4"):
        load("regdb", small_regdb)
    with pytest.raises(DatasetError, match="query must be one of visible, thermal, found 'red'"):
        load("regdb", small_regdb, query="red")
    (small_regdb / "idx").mkdir()
    (small_regdb / "idx" / "train_visible_1.txt").write_text("nobody\n")
    with pytest.raises(DatasetError, match="expected lines like Visible"):
        load("regdb", small_regdb, check=False)
    (small_regdb / "Thermal" / "notes").mkdir()
    with pytest.raises(DatasetError, match=r"one numbered folder per identity in .*Thermal, found 1 others, the first"):
        load("regdb", small_regdb, check=False)
    with pytest.raises(DatasetError, match=r"expected the folder .*Visible, found none"):
        load("regdb", small_regdb / "Thermal", check=False)
