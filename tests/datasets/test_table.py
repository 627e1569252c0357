"""Your own data: the table, the folder of names, and every input that is refused."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reid_lib import cli
from reid_lib.datasets import load, mlr, table
from reid_lib.datasets.records import DatasetError
from reid_lib.datasets.resolution import degrade, downsample

PEOPLE = ("ada", "bob", "cleo", "dan")


def rows(people: tuple = PEOPLE, cameras: tuple = (1, 2)) -> list[dict]:
    return [{"path": f"{p}_{c}.png", "pid": p, "camid": c} for p in people for c in cameras]


def write(root: Path, found: list[dict], name: str = "people.csv", images: bool = True) -> Path:
    """Write a table, and an image of its own colour for each row."""
    for number, row in enumerate(found):
        if images:
            Image.new("RGB", (8, 16), (number, 2 * number, 9)).save(root / Path(row["path"]).name)
    pd.DataFrame(found).to_csv(root / name, index=False)
    return root


def refused(root: Path, message: str, **options: object) -> str:
    with pytest.raises(DatasetError, match=message) as error:
        load("table", root, **{"table": "people.csv", "size": (16, 8), **options})
    return str(error.value)


def test_text_identities_are_numbered_and_kept(tmp_path: Path) -> None:
    dataset = load("table", write(tmp_path, rows(tuple(reversed(PEOPLE)))), table="people.csv", size=(16, 8))
    assert dataset.table["pid"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dataset.table["person"].tolist() == [p for p in PEOPLE for _ in range(2)]
    assert "camera" not in dataset.table
    assert len(dataset.splits) == 10
    assert all(len(split.train_pids) == len(split.test_pids) == 2 for split in dataset.splits)
    assert len({split.train_pids for split in dataset.splits}) > 1
    assert dataset.read("ada_1.png").shape == (16, 8, 3)
    assert set(mlr.trials(dataset)[0].query["camid"]) == {1}


def test_text_cameras_are_numbered_from_one(tmp_path: Path) -> None:
    dataset = load("table", write(tmp_path, rows(cameras=("hall", "gate"))), table="people.csv")
    assert set(zip(dataset.table["camera"], dataset.table["camid"], strict=True)) == {("gate", 1), ("hall", 2)}


def test_the_order_of_the_rows_makes_no_difference(tmp_path: Path) -> None:
    options = {"table": "people.csv", "size": (16, 8), "splits": 3, "train": 1, "seed": 4}
    one = load("table", write(tmp_path, rows()), **options)
    two = load("table", write(tmp_path, rows()[::-1], images=False), **options)
    assert one.table.equals(two.table)
    assert one.splits == two.splits
    assert one.splits != load("table", tmp_path, **{**options, "seed": 5}).splits
    assert {len(split.train_pids) for split in one.splits} == {1}


def test_a_given_split_is_taken(tmp_path: Path) -> None:
    part = {"ada": "train", "bob": "test", "cleo": "test", "dan": ""}
    dataset = load("table", write(tmp_path, [row | {"split": part[row["pid"]]} for row in rows()]), table="people.csv")
    assert [(split.train_pids, split.test_pids) for split in dataset.splits] == [((0,), (1, 2))]
    assert dataset.table["split"].tolist() == ["train"] * 2 + ["test"] * 4 + ["unused"] * 2


def test_a_name_of_your_own_keeps_trials_and_results_apart(tmp_path: Path) -> None:
    dataset = load("table-people", write(tmp_path, rows()), table="people.csv")
    assert dataset.name == "table-people"
    assert dataset.splits == load("table", tmp_path, table="people.csv").splits
    with pytest.raises(DatasetError, match="unknown data set 'table-'"):
        load("table-", tmp_path)


def test_junk_is_left_out_and_counted(tmp_path: Path) -> None:
    found = [row | {"pid": PEOPLE.index(row["pid"]) - 1} for row in rows()]
    dataset = load("table", write(tmp_path, found), table="people.csv")
    assert sorted(set(dataset.table["pid"])) == [0, 1, 2]
    assert dataset.note == "2 images of identity -1 (junk) are left out"


def test_numbers_as_pandas_writes_them_beside_a_gap(tmp_path: Path) -> None:
    found = [row | {"pid": float(PEOPLE.index(row["pid"]))} for row in rows()]
    assert load("table", write(tmp_path, found), table="people.csv").table["pid"].max() == 3


# --- identities that cannot be queries ---


def test_an_identity_of_one_camera_is_an_error_that_says_how_to_drop_it(tmp_path: Path) -> None:
    dataset = load("table", write(tmp_path, rows()[:-1]), table="people.csv")
    split = next(n for n, s in enumerate(dataset.splits) if 3 in s.test_pids)
    with pytest.raises(DatasetError, match=r"1 of 2 test identities .* --options single_camera=drop"):
        mlr.trials(dataset, split)


def test_an_identity_of_one_camera_is_kept_for_training_if_asked(tmp_path: Path) -> None:
    dataset = load("table", write(tmp_path, rows()[:-1]), table="people.csv", single_camera="drop")
    assert all(3 in split.train_pids and 3 not in split.test_pids for split in dataset.splits)
    assert dataset.note == "1 identities that cannot be queries are left out of tests, kept for training"
    assert len(mlr.split_trials(dataset)) == 10


def test_a_given_test_identity_of_one_camera_is_in_no_part(tmp_path: Path) -> None:
    found = [row | {"split": "train" if row["pid"] == "ada" else "test"} for row in rows()[:-1]]
    dataset = load("table", write(tmp_path, found), table="people.csv", single_camera="drop")
    assert dataset.splits[0].test_pids == (1, 2)
    assert dataset.note.startswith("1 identities")
    refused(tmp_path, "single_camera must be one of refuse, drop, found 'keep'", single_camera="keep")


# --- images that are LR as they are stored ---


def test_genuine_lr_is_the_protocols_lr_camera(tmp_path: Path) -> None:
    found = [row | {"genuine_lr": int(row["camid"] == 2)} for row in rows()]
    dataset = load("table", write(tmp_path, found), table="people.csv")
    assert dataset.genuine_lr_camid == 2
    trial = mlr.trials(dataset)[0]
    assert set(trial.query["camid"]) == {2}
    assert set(trial.query["rate"]) == {1}


@pytest.mark.parametrize("rate", [2, 3])
def test_a_stored_lr_image_is_what_degrade_makes(tmp_path: Path, rate: int) -> None:
    found = [row | {"rate": rate if row["camid"] == 1 else 1} for row in rows()]
    root, size = write(tmp_path, found), (32, 16)
    for row in found:
        Image.new("RGB", (size[1] // row["rate"], size[0] // row["rate"])).save(root / row["path"])
    import torch

    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, *size)).astype(np.uint8))
    small = downsample(image, (size[0] // rate, size[1] // rate))
    Image.fromarray(small[0].permute(1, 2, 0).numpy()).save(root / "ada_1.png")
    dataset = load("table", root, table="people.csv", size=size)
    read = pickle.loads(pickle.dumps(dataset)).read("ada_1.png")
    np.testing.assert_array_equal(read, degrade(image, rate)[0].permute(1, 2, 0).numpy())
    assert dataset.genuine_lr_camid == 1


def test_a_rate_that_the_pixels_do_not_have(tmp_path: Path) -> None:
    write(tmp_path, [row | {"rate": 3 - row["camid"]} for row in rows()])
    message = refused(tmp_path, "4 images of a rate above 1 were not down-sampled at 64x32", size=(64, 32))
    assert "ada_1.png has 16x8, not 32x16; give the size" in message
    assert "size=(16,8), or mark them by genuine_lr instead" in message
    dataset = load("table", tmp_path, table="people.csv", size=(32, 16))
    assert dataset.note == "4 images are stored at another size and resized to 32x16"


def test_the_fingerprint_changes_with_a_file_that_is_stored_down_sampled(tmp_path: Path) -> None:
    found = [row | {"rate": 3 - row["camid"]} for row in rows()]
    options = {"table": "people.csv", "size": (16, 8)}
    before = load("table", write(tmp_path, found), **options).fingerprint()
    (tmp_path / "ada_1.png").write_bytes((tmp_path / "ada_1.png").read_bytes() + b"more")
    assert load("table", tmp_path, **options).fingerprint() != before
    (tmp_path / "ada_1.png").unlink()
    refused(tmp_path, r"images missing below .* \(1\): ada_1.png")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("rate", (2, 3), "must be those of one camera, found cameras 1, 2"),
        ("genuine_lr", (1, 1), "must be those of one camera, found cameras 1, 2"),
        ("rate", (0, 1), "rate must be an integer >= 1; 4 rows differ, the first has '0'"),
        ("rate", ("half", 1), "the first has 'half'"),
        ("genuine_lr", (2, 0), "genuine_lr must be 1 or 0; 4 rows differ"),
        ("split", ("validation", "train"), "split must be train, test or empty; 4 rows differ"),
        ("split", ("test", "train"), r"identities with images in several parts of the split \(4\): 0, 1, 2, 3; give"),
        ("split", ("train", "train"), "the test part names no identity"),
    ],
)
def test_a_wrong_value_of_an_optional_column(tmp_path: Path, column: str, values: tuple, message: str) -> None:
    write(tmp_path, [row | {column: values[row["camid"] - 1]} for row in rows()])
    refused(tmp_path, message)


def test_a_camera_with_some_genuine_lr_images_only(tmp_path: Path) -> None:
    write(tmp_path, [row | {"genuine_lr": int(row["path"] == "ada_1.png")} for row in rows()])
    refused(tmp_path, "found 3 others in it")


# --- refused ---


def test_columns(tmp_path: Path) -> None:
    write(tmp_path, [{**row, "age": 3} for row in rows()])
    refused(tmp_path, "expected the columns path, pid, camid and optionally split, .*unknown: age")
    pd.DataFrame(rows()).drop(columns="camid").to_csv(tmp_path / "people.csv", index=False)
    refused(tmp_path, "missing: camid")
    pd.DataFrame(rows()).to_csv(tmp_path / "people.csv", index=False, sep=";")
    refused(tmp_path, "missing: path, pid, camid; unknown: path;pid;camid")
    (tmp_path / "people.csv").write_text("path,pid,pid,camid\na.png,1,1,1\n")
    refused(tmp_path, "a column stands twice")


def test_paths_outside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    found = write(root, rows()) and rows()
    found[0]["path"], found[1]["path"] = "../ada_1.png", str(root / "ada_2.png")
    write(root, found, images=False)
    refused(root, r"paths outside the root .* \(2\): \.\./ada_1.png, .*give paths relative to it")


def test_missing_images_are_counted_at_once_and_five_are_shown(tmp_path: Path) -> None:
    write(tmp_path, rows(), images=False)
    message = refused(tmp_path, r"images missing below .* \(8\):")
    assert message.count(".png") == 5
    assert ", ...; restore them" in message


def test_an_image_twice(tmp_path: Path) -> None:
    write(tmp_path, rows())
    write(tmp_path, [*rows(), {"path": "./ada_1.png", "pid": "bob", "camid": 1}], images=False)
    refused(tmp_path, r"paths that stand twice \(1\): ada_1.png; name every image once")


def test_one_identity(tmp_path: Path) -> None:
    write(tmp_path, rows(("ada",)))
    refused(tmp_path, "at least two identities, found 1")
    write(tmp_path, rows(cameras=(1,)))
    refused(tmp_path, "two identities seen by two cameras .* found 0", single_camera="drop")


@pytest.mark.parametrize(
    ("pids", "message"),
    [
        ((1, 2, "cleo", 4), "pid must be all integers or all text, found both: 6 like '1' and 2 like 'cleo'"),
        ((1, 2, "", 4), r"rows without a pid \(2\), the first is row 5"),
        ((1, "01", 3, 4), "each written in one way; found 01, 1; correct"),
        ((1, 2, 3, -2), "integers from -1 to .* found -2"),
        ((1, 2, 3, 10**30), "found 1000"),
        ((1, 2, "nan", 4), "found both: 6 like '1' and 2 like 'nan'"),
    ],
)
def test_identities_of_mixed_types(tmp_path: Path, pids: tuple, message: str) -> None:
    write(tmp_path, [row | {"pid": pids[PEOPLE.index(row["pid"])]} for row in rows()])
    refused(tmp_path, message)


@pytest.mark.parametrize("content", ["", "path,pid,camid\n"])
def test_an_empty_table(tmp_path: Path, content: str) -> None:
    (tmp_path / "people.csv").write_text(content)
    refused(tmp_path, "expected a header and at least one image in .*, found none")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "people.csv").write_text("path,pid,camid\nzoë.png,zoë,1\n", encoding=encoding)
    refused(tmp_path, "is not UTF-8 .*save it again as CSV in UTF-8")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    write(tmp_path, rows())
    (tmp_path / "people.csv").write_text((tmp_path / "people.csv").read_text(), encoding="utf-8-sig")
    assert len(load("table", tmp_path, table="people.csv")) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,pid,camid\na.png,1\n", "1 rows of .* have not the header's 3 fields, the first is row 1: a.png,1"),
        ("path,pid,camid\na.png,1,1,7\n", "have not the header's 3 fields"),
        ('path,pid,camid\n"a.png,1,1\n', "cannot be read as CSV"),
        ("path,pid,camid\n,1,1\n", r"rows without a path \(1\): 1; fill them in"),
    ],
)
def test_a_torn_table(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "people.csv").write_text(content)
    refused(tmp_path, message)


def test_a_file_that_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path, "there is no file .*people.csv; name the table relative to")
    for name in ("people.xlsx", "people.parquet"):
        (tmp_path / name).write_bytes(b"PAR1")
    refused(tmp_path, r"expected a \.csv or a \.parquet file", table="people.xlsx")
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    refused(tmp_path, "needs the package pyarrow: install it", table="people.parquet")


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    write(tmp_path, rows())
    pd.DataFrame(rows()).to_parquet(tmp_path / "people.parquet")
    read = [load("table", tmp_path, table=f"people.{kind}").table for kind in ("csv", "parquet")]
    assert read[0].equals(read[1])
    (tmp_path / "people.parquet").write_bytes(b"PAR1")
    refused(tmp_path, "cannot be read as Parquet", table="people.parquet")


def test_options_out_of_range(tmp_path: Path) -> None:
    write(tmp_path, rows())
    refused(tmp_path, "the number of splits must be at least 1, found 0", splits=0)
    refused(tmp_path, "cannot take 4 training identities of 4", train=4)


# --- a folder of names ---


def images(folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 16)).save(folder / name)


def test_a_folder_in_market_1501s_naming(tmp_path: Path) -> None:
    images(tmp_path, ("0000_c1s1_000151_01.jpg", "0000_c2s1_0_0.png", "0007_c1_3.jpg", "0007_c4_4.jpg", "-1_c1_0.jpg"))
    dataset = load("table", tmp_path)
    assert dataset.table["pid"].tolist() == [0, 0, 7, 7]
    assert dataset.table["camid"].tolist() == [1, 2, 1, 4]
    images(tmp_path, ("somebody.jpg",))
    with pytest.raises(DatasetError, match=r"names like 0002_c1s1_000451_03.jpg .* 1 others, the first is somebody"):
        load("table", tmp_path)


def test_a_folder_with_market_1501s_three_folders(tmp_path: Path) -> None:
    images(tmp_path / "bounding_box_train", ("0002_c1s1_000451_03.jpg", "0002_c2s1_000301_01.jpg"))
    images(tmp_path / "query", ("0001_c1s1_001051_00.jpg",))
    images(tmp_path / "bounding_box_test", ("0000_c1s1_000151_01.jpg", "0001_c2s1_000976_01.jpg"))
    dataset = load("table", tmp_path)
    assert (dataset.splits[0].train_pids, dataset.splits[0].test_pids) == ((2,), (1,))
    assert dataset.table["split"].tolist() == ["unused", "test", "test", "train", "train"]


# --- on the command line ---


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Twelve people, each seen by two cameras, and the words that name their table."""
    monkeypatch.chdir(tmp_path)
    for variable in ("CACHE", "RESULTS"):
        monkeypatch.setenv(f"REID_LIB_{variable}", str(tmp_path / variable.lower()))
    (tmp_path / "people").mkdir()
    found = [row | {"path": f"{n}.png"} for n, row in enumerate(rows(tuple("abcdefghijkl")))]
    draw = np.random.default_rng(0)
    for row in found:
        pixels = draw.integers(0, 256, (64, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "people" / row["path"])
    write(tmp_path / "people", found, images=False)
    return ["--options", "table=people.csv", "size=(64,32)"]


def test_features_of_a_table(drawn: list[str]) -> None:
    import torch

    from reid_lib.networks.osnet import osnet_x0_25
    from reid_lib.training.run import initialise

    torch.save(initialise(osnet_x0_25, 0, torch.device("cpu")).state_dict(), "w.pth")
    line = "features table-people --root people --weights w.pth --part test -o f.npz"
    assert cli.main([*line.split(), *drawn]) == 0
    arrays = np.load("f.npz")
    assert arrays["features"].shape == (12, 512)
    assert set(arrays["camid"]) == {1, 2}


def test_training_and_comparing_on_a_table(drawn: list[str], capsys: pytest.CaptureFixture) -> None:
    where = ["--profile", "smoke", "--dataset", "table-people", "--data-root", "people", *drawn]
    assert cli.main(["train", "baseline", *where]) == 0
    assert "results/smoke/table-people/checkpoints: baseline, seed 0" in capsys.readouterr().out
    assert cli.main(["compare", "HR only", "HR + LR", "--trials", "2", *where]) == 0
    assert "table-people, profile smoke; gains over HR + LR" in capsys.readouterr().out


def test_reproducing_takes_a_table(drawn: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from reid_lib import reproduce

    asked = {}
    monkeypatch.setattr(reproduce, "reproduce", lambda root, **given: asked.update(given) or ["02"])
    monkeypatch.setattr("reid_lib.cli.project.project_root", lambda: Path.cwd())
    monkeypatch.setattr("reid_lib.reporting.verdicts.write", lambda claims: None)
    monkeypatch.setattr("reid_lib.site.build", lambda *args, **options: "")
    line = "reproduce --profile smoke --only 02 --dataset table-people --data-root people"
    assert cli.main([*line.split(), *drawn]) == 0
    assert (asked["dataset"], asked["data_root"]) == ("table-people", "people")
    assert asked["overrides"] == {"data_options": {"table": "people.csv", "size": (64, 32)}}


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    write(tmp_path, rows())
    own = ["--options", "table=people.csv", "size=(16,8)"]
    assert cli.main(["data", "check", "table", "--root", str(tmp_path), *own]) == 0
    assert "10 splits, images at 16x8" in capsys.readouterr().out
    trial = tmp_path / "trial.csv"
    assert cli.main(["data", "trials", "table-people", "--root", str(tmp_path), *own, "-o", str(trial)]) == 0
    assert set(pd.read_csv(trial)["dataset"]) == {"table-people"}
    assert cli.main(["data", "check", "table", "--root", str(tmp_path), "--options", "table=other.csv"]) == 2
    assert "there is no file" in capsys.readouterr().err
