from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from reid_lib.datasets import load
from reid_lib.datasets.records import DatasetError, check_images, native_size


@pytest.fixture
def small_viper(tmp_path: Path) -> Path:
    """Four identities in the official layout."""
    for camera, angle in (("cam_a", 0), ("cam_b", 90)):
        (tmp_path / "VIPeR" / camera).mkdir(parents=True)
        for pid in (3, 0, 871, 45):
            image = Image.new("RGB", (48, 128), (pid % 256, angle, 0))
            image.save(tmp_path / "VIPeR" / camera / f"{pid:03d}_{angle}.bmp")
    return tmp_path / "VIPeR"


def write_partition(path: Path, train: np.ndarray) -> Path:
    """Write the structure of the published files: one reference per split to (2 n, 1) logicals."""
    with h5py.File(path, "w") as file:
        references = np.array(
            [[file.create_dataset(f"#refs#/{i}", data=row[:, None]).ref] for i, row in enumerate(train)]
        )
        file.create_dataset("partition/idx_train", data=references, dtype=h5py.ref_dtype)
    return path


def test_a_small_copy(small_viper: Path) -> None:
    dataset = load("viper", small_viper, check=False)
    assert dataset.table["path"].tolist()[:3] == ["cam_a/000_0.bmp", "cam_b/000_90.bmp", "cam_a/003_0.bmp"]
    assert dataset.table["pid"].tolist() == [0, 0, 3, 3, 45, 45, 871, 871]
    assert dataset.table["camid"].tolist() == [1, 2] * 4
    assert len(dataset.splits) == 10
    assert dataset.read("cam_b/045_90.bmp")[0, 0].tolist() == [45, 90, 0]
    assert load("viper", small_viper.parent, check=False).table.equals(dataset.table)


def test_wrong_counts(small_viper: Path) -> None:
    with pytest.raises(DatasetError, match=r"images: expected 1,264, found 8; identities: expected 632, found 4"):
        load("viper", small_viper)


def test_a_missing_camera_folder(small_viper: Path) -> None:
    (small_viper / "cam_b").rename(small_viper / "cam_c")
    with pytest.raises(DatasetError, match=r"expected the folder .*cam_b, found none"):
        load("viper", small_viper)


def test_an_identity_seen_by_one_camera_only(small_viper: Path) -> None:
    (small_viper / "cam_b" / "045_90.bmp").unlink()
    with pytest.raises(DatasetError, match=r"found 1 identities without, the first is 045 \(cameras \[1\]\)"):
        load("viper", small_viper, check=False)


def test_an_unexpected_name(small_viper: Path) -> None:
    (small_viper / "cam_a" / "0003.bmp").touch()
    with pytest.raises(
        DatasetError, match=r"names like 000_45\.bmp in .*cam_a, found 1 others, the first is 0003\.bmp"
    ):
        load("viper", small_viper)


def test_a_truncated_image(small_viper: Path) -> None:
    bad = small_viper / "cam_a" / "003_0.bmp"
    bad.write_bytes(bad.read_bytes()[:1000])
    with pytest.raises(DatasetError, match=r"1 of 8 images are bad: image cannot be read: .*003_0\.bmp"):
        check_images(load("viper", small_viper, check=False), progress=False)


def test_a_partition_file(small_viper: Path, tmp_path: Path) -> None:
    path = write_partition(tmp_path / "p.mat", np.array([[0, 1, 1, 0] * 2, [1, 1, 0, 0] * 2], np.uint8))
    first, second = load("viper", small_viper, check=False, partition=path).splits
    assert (first.train_pids, first.test_pids) == ((3, 45), (0, 871))
    assert (second.train_pids, second.test_pids) == ((0, 3), (45, 871))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([[0, 1, 0, 1, 0, 1]], "expected a partition of 4 identities in two cameras, found 3"),
        ([[0, 1, 0, 1, 0, 1, 1, 0]], "expected a partition of 4 identities in two cameras"),
    ],
)
def test_a_partition_of_something_else(small_viper: Path, tmp_path: Path, train: list, message: str) -> None:
    path = write_partition(tmp_path / "p.mat", np.array(train, np.uint8))
    with pytest.raises(DatasetError, match=message):
        load("viper", small_viper, check=False, partition=path)


def test_a_partition_file_that_is_none(small_viper: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"partition file missing: .*p\.mat"):
        load("viper", small_viper, check=False, partition=tmp_path / "p.mat")
    (tmp_path / "p.mat").write_text("no partition")
    with pytest.raises(DatasetError, match=r"partition file cannot be read: .*p\.mat"):
        load("viper", small_viper, check=False, partition=tmp_path / "p.mat")
    with h5py.File(tmp_path / "p.mat", "w"):
        pass
    with pytest.raises(DatasetError, match=r"p\.mat .*expected a MATLAB 7\.3 file with partition\.idx_train"):
        load("viper", small_viper, check=False, partition=tmp_path / "p.mat")


def test_the_real_set(shared_data: Path) -> None:
    dataset = load("viper", shared_data / "VIPeR")
    assert dataset.summary().to_numpy().tolist() == [[1264, 632, 2], [632, 316, 2], [632, 316, 2]]
    assert native_size(dataset.root / dataset.table["path"][0]) == dataset.size
    published = load("viper", shared_data / "VIPeR", partition=shared_data / "splits" / "Partition_viper.mat")
    for seeded, split in zip(dataset.splits, published.splits, strict=True):
        assert len(split.train_pids) == len(split.test_pids) == len(seeded.train_pids) == len(seeded.test_pids) == 316
    assert len(set(published.splits)) == len(set(dataset.splits)) == 10
