import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from reid_lib.datasets import load
from reid_lib.datasets.partitions import cuhk03_pid
from reid_lib.datasets.records import DatasetError

PERSONS = (3, 2, 1, 1, 1)  # in each camera pair of the small copies
KEYS = [
    (pair, person, number)
    for pair, persons in enumerate(PERSONS, 1)
    for person in range(1, persons + 1)
    for number in (1, 2, 6, 10)
]


def pixels(pair: int, person: int, number: int) -> np.ndarray:
    image = np.zeros((40 + pair, 20 + person, 3), np.uint8)  # height and width differ, so that a wrong order shows
    image[: 20 + number, :] = (pair, person, number)
    return image


def name(pair: int, person: int, number: int) -> str:
    return f"{pair}_{person:03d}_{1 + (number > 5)}_{number:02d}.png"


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    """A small file in the structure of cuhk-03.mat: cells of cells of images, in MATLAB's order."""
    path = tmp_path / "cuhk-03.mat"
    with h5py.File(path, "w") as file:

        def put(data: np.ndarray, **kind: object) -> h5py.Reference:
            return file.create_dataset(f"#refs#/{len(file.require_group('#refs#'))}", data=data, **kind).ref

        empty = put(np.zeros(2, np.uint64))
        for boxes in ("detected", "labeled"):
            pairs = []
            for pair, persons in enumerate(PERSONS, 1):
                cells = np.full((10, persons), empty, dtype=h5py.ref_dtype)
                for _, person, number in (key for key in KEYS if key[0] == pair):
                    cells[number - 1, person - 1] = put(pixels(pair, person, number).T)
                pairs.append(put(cells, dtype=h5py.ref_dtype))
            file.create_dataset(boxes, data=np.array([pairs], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
        tests = [put(np.array([[1, 1], [2, 1 + i % 2]], float).T) for i in range(20)]
        file.create_dataset("testsets", data=np.array([tests], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    (tmp_path / "images_detected").mkdir()
    for key in KEYS:
        Image.fromarray(pixels(*key)).save(tmp_path / "images_detected" / name(*key))
    return tmp_path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    for pair, person, number in KEYS:
        path = folder / f"{cuhk03_pid(pair, person):04d}_{number - 1:02d}.jpg"
        Image.fromarray(pixels(pair, person, number)).save(path)
    return folder


def write_protocol(path: Path, keys: list[tuple[int, int, int]]) -> Path:
    train = [i for i, key in enumerate(keys, 1) if key[0] == 1]
    query = [i for i, key in enumerate(keys, 1) if key[0] > 1 and key[2] == 1]
    gallery = [i for i in range(1, len(keys) + 1) if i not in train + query]
    names = np.array([name(*key) for key in keys], dtype=object)
    savemat(path, {"filelist": names, "train_idx": train, "query_idx": query, "gallery_idx": gallery})
    return path


def test_the_three_layouts_hold_the_same_records(mat: Path, folders: Path, flat: Path) -> None:
    columns = ["pid", "camid", "pair", "number"]
    tables = [
        load("cuhk03", root, layout=layout, check=False).table[columns]
        for root, layout in ((mat.parent, "mat"), (folders, "folders"), (flat, "flat"))
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    assert tables[0].drop_duplicates("pid")["pid"].tolist() == [0, 1, 2, 843, 844, 1283, 1360, 1418]
    assert tables[0].iloc[:4].to_numpy().tolist() == [[0, 1, 1, 0], [0, 1, 1, 1], [0, 2, 1, 5], [0, 2, 1, 9]]


@pytest.mark.parametrize("boxes", ["detected", "labeled"])
def test_images_of_the_mat_file(mat: Path, boxes: str) -> None:
    dataset = load("cuhk03", mat, boxes=boxes, check=False, size=(41, 23))
    assert dataset.note == f"CUHK03 ({boxes}) at 41x23"
    np.testing.assert_array_equal(dataset.read(f"{boxes}/1_003_2_06"), pixels(1, 3, 6))
    reader = pickle.loads(pickle.dumps(dataset.reader))
    assert reader(f"{boxes}/2_001_1_01", (128, 64)).shape == (128, 64, 3)
    with pytest.raises(DatasetError, match=r"cuhk03 has no image 0000_00.jpg"):
        dataset.read("0000_00.jpg")


def test_the_official_test_sets(mat: Path, flat: Path) -> None:
    splits = load("cuhk03", mat.parent, check=False).splits
    assert len(splits) == 10
    assert [split.test_pids for split in splits[:2]] == [(0, 843), (0, 844)]
    assert splits[0].train_pids == (1, 2, 844, 1283, 1360, 1418)
    assert load("cuhk03", flat, layout="flat", partition=mat, check=False).splits == splits


def test_seeded_splits(flat: Path) -> None:
    dataset = load("cuhk03", flat, layout="flat", check=False)
    assert len(dataset.splits) == 10
    assert all(len(split.test_pids) == 4 for split in dataset.splits)
    assert dataset.note == "CUHK03 (detected) at 128x64"


@pytest.mark.parametrize("layout", ["mat", "folders", "flat"])
def test_the_new_protocol(mat: Path, folders: Path, flat: Path, layout: str, tmp_path: Path) -> None:
    path = write_protocol(tmp_path / "config.mat", KEYS[::-1])
    root = {"mat": mat, "folders": folders, "flat": flat}[layout]
    dataset = load("cuhk03", root, layout=layout, partition=path, check=False)
    (split,) = dataset.splits
    assert (split.train_pids, split.test_pids) == ((0, 1, 2), (843, 844, 1283, 1360, 1418))
    assert (dataset.table[dataset.table["role"] == "query"]["number"] == 0).all()
    assert dataset.table["role"].value_counts().to_dict() == {"train": 12, "gallery": 15, "query": 5}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (KEYS[:-1], "lists 31 images, the data set has 32: it lacks 1 of them, the first is image 9 of identity 1418"),
        ([*KEYS, (1, 9, 1)], "this copy lacks 1 of them, the first is image 0 of identity 8"),
        ([*KEYS, (5, 50, 1)], "found person 50 of pair 5"),
    ],
)
def test_a_protocol_of_other_images(flat: Path, tmp_path: Path, keys: list, message: str) -> None:
    path = write_protocol(tmp_path / "config.mat", keys)
    with pytest.raises(DatasetError, match=message):
        load("cuhk03", flat, layout="flat", partition=path, check=False)


def test_a_partition_file_that_is_none(flat: Path, tmp_path: Path) -> None:
    for content in (b"", b"no partition"):
        (tmp_path / "p.mat").write_bytes(content)
        with pytest.raises(DatasetError, match=r"partition file cannot be read: .*p\.mat"):
            load("cuhk03", flat, layout="flat", partition=tmp_path / "p.mat", check=False)
    with h5py.File(tmp_path / "h.mat", "w"):
        pass
    with pytest.raises(DatasetError, match=r"h\.mat .*expected cuhk-03\.mat with its testsets"):
        load("cuhk03", flat, layout="flat", partition=tmp_path / "h.mat", check=False)
    with pytest.raises(DatasetError, match="partition file missing"):
        load("cuhk03", flat, layout="flat", partition=tmp_path / "nowhere.mat", check=False)


def test_an_identity_seen_by_one_camera_only_is_in_no_part(flat: Path) -> None:
    for number in (5, 9):
        (flat / f"0001_{number:02d}.jpg").unlink()
    dataset = load("cuhk03", flat, layout="flat", check=False)
    assert set(dataset.table[dataset.table["pid"] == 1]["split"]) == {"unused"}
    assert all(1 not in split.train_pids + split.test_pids for split in dataset.splits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "zip"}, "layout must be one of mat, folders, flat, np, found 'zip'"),
        ({"boxes": "drawn"}, "boxes must be detected or labeled with the layout mat, found 'drawn'"),
        ({"layout": "flat", "boxes": "labeled"}, "boxes must be detected with the layout flat, found 'labeled'"),
    ],
)
def test_unknown_options(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load("cuhk03", tmp_path, **options)


def test_another_layout_is_named_not_guessed(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'mat' expects cuhk-03\.mat in .*it looks like layout='flat'"):
        load("cuhk03", flat)
    with pytest.raises(DatasetError, match=r"'folders' expects images_detected .*it looks like layout='flat'"):
        load("cuhk03", flat, layout="folders")
    (tmp_path / "images_detected").mkdir()
    (tmp_path / "images_detected" / "1_001_1_01.png").touch()
    with pytest.raises(DatasetError, match=r"expects images_labeled in .*found none; known are mat, folders, flat"):
        load("cuhk03", tmp_path, layout="folders", boxes="labeled")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"'flat' expects files like .*known are mat, folders, flat.*authors"):
        load("cuhk03", tmp_path / "empty", layout="flat")


def test_wrong_counts(flat: Path) -> None:
    with pytest.raises(DatasetError, match=r"images: expected 14,097, found 32; identities: expected 1,467, found 8"):
        load("cuhk03", flat, layout="flat")


def test_unexpected_names(flat: Path, folders: Path) -> None:
    (flat / "0001_10.jpg").touch()
    with pytest.raises(DatasetError, match=r"the first is 0001_10\.jpg"):
        load("cuhk03", flat, layout="flat", check=False)
    (flat / "0001_10.jpg").rename(flat / "1467_01.jpg")
    with pytest.raises(DatasetError, match=r"identities 0000 to 1466, found .*1467_01\.jpg"):
        load("cuhk03", flat, layout="flat", check=False)
    (folders / "images_detected" / "1_001_1_07.png").touch()
    with pytest.raises(DatasetError, match=r"06-10 in camera 2, found .*1_001_1_07\.png"):
        load("cuhk03", folders, layout="folders", check=False)


def test_a_mat_file_that_is_none(mat: Path) -> None:
    content = mat.read_bytes()
    mat.write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r"cuhk-03\.mat cannot be read as cuhk-03\.mat"):
        load("cuhk03", mat, check=False)


def test_a_mat_file_that_goes_away(mat: Path) -> None:
    dataset = load("cuhk03", mat, check=False)
    first = dataset.fingerprint(times=True)
    mat.write_bytes(b"something else")
    assert dataset.fingerprint(times=True) != first
    with pytest.raises(DatasetError, match="image cannot be read: detected/1_001_1_01 in"):
        dataset.read("detected/1_001_1_01")


def test_the_real_set(shared_data: Path) -> None:
    root = shared_data / "cuhk03_detected_64x128"
    dataset = load("cuhk03", root, layout="flat")
    assert dataset.summary()[["images", "identities"]].loc["all"].tolist() == [14097, 1467]
    assert dataset.summary()["identities"].tolist() == [1467, 1367, 100]
    assert "unused" not in set(dataset.table["split"])  # no identity is seen by one camera only
    assert len(dataset.splits) == 10
    protocol = shared_data / "splits" / "cuhk03_new_protocol_config_detected.mat"
    new = load("cuhk03", root, layout="flat", partition=protocol)
    assert new.summary()["identities"].tolist() == [1467, 767, 700]
    assert new.table["role"].value_counts().to_dict() == {"train": 7365, "gallery": 5332, "query": 1400}


def np_folder(root: Path) -> Path:
    files = {
        "bounding_box_train": ("0003_c1_21.png", "0003_c2_26.png"),
        "query": ("0001_c1_1.png",),
        "bounding_box_test": ("0001_c1_2.png", "0001_c2_6.png"),
    }
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for file in names:
            Image.new("RGB", (20, 40)).save(root / folder / file)
    return root


def test_cuhk03_nps_folders(tmp_path: Path) -> None:
    dataset = load("cuhk03", np_folder(tmp_path), layout="np", check=False)
    assert (dataset.splits[0].train_pids, dataset.splits[0].test_pids) == ((3,), (1,))
    assert dataset.table["role"].tolist() == ["train", "train", "query", "gallery", "gallery"]
    assert dataset.table["camid"].tolist() == [1, 2, 1, 1, 2]
    assert dataset.read("query/0001_c1_1.png").shape == (128, 64, 3)


def test_cuhk03_nps_folders_are_checked(tmp_path: Path, folders: Path) -> None:
    with pytest.raises(DatasetError, match=r"expects bounding_box_train in .*it looks like layout='folders'"):
        load("cuhk03", folders, layout="np")
    root = np_folder(tmp_path / "np")
    with pytest.raises(DatasetError, match="expected 7,368 images of 767 identities, found 2 of 1"):
        load("cuhk03", root, layout="np", boxes="labeled")
    with pytest.raises(DatasetError, match="it looks like layout='np'"):
        load("cuhk03", root)
    with pytest.raises(DatasetError, match=r"has its own split, found partition=x\.mat; leave it out"):
        load("cuhk03", root, layout="np", partition="x.mat")
    (root / "query" / "0001.png").touch()
    with pytest.raises(DatasetError, match=r"names like 0003_c1_21\.png"):
        load("cuhk03", root, layout="np", check=False)
