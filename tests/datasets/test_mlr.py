from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reid_lib.datasets.mlr import Trial, settings, split_trials, trials
from reid_lib.datasets.records import DatasetError, ReIDDataset, Split


def small_dataset(cameras: int = 4, images: int = 3, **options: object) -> ReIDDataset:
    rows = [
        {"path": f"{pid}_{camid}_{i}.png", "pid": pid, "camid": camid}
        for pid in range(20)
        for camid in range(1, cameras + 1)
        for i in range(images)
    ]
    splits = (Split(tuple(range(10)), tuple(range(10, 20))), Split(tuple(range(10, 20)), tuple(range(10))))
    return ReIDDataset("small", pd.DataFrame(rows), splits, size=(16, 8), **options)


@pytest.mark.parametrize("cameras", [2, 4])
def test_a_trial_follows_the_protocol(cameras: int) -> None:
    dataset = small_dataset(cameras)
    for trial in trials(dataset, split=1, n=3):
        assert set(trial.query["pid"]) == set(trial.gallery["pid"]) == set(range(10))
        assert trial.gallery["pid"].is_unique  # single-shot
        lr_camera = trial.query.groupby("pid")["camid"].unique()
        assert (lr_camera.map(len) == 1).all()  # the images of one camera are the queries
        assert len(trial.query) == 10 * 3  # all of them
        assert (trial.gallery["camid"].to_numpy() != lr_camera[trial.gallery["pid"]].map(min).to_numpy()).all()
        assert set(trial.query["rate"]) == {2, 3, 4}
        for table in (trial.query, trial.gallery):
            assert dataset.table.loc[table.index, "path"].equals(table["path"])


def test_camera_one_is_the_lr_camera_of_two() -> None:
    assert set(trials(small_dataset(2), n=1)[0].query["camid"]) == {1}


def test_the_lr_camera_of_an_identity_is_drawn_once_for_a_split() -> None:
    drawn = trials(small_dataset(4), n=4)
    assert len(set(drawn[0].query["camid"])) > 1
    assert all(trial.query["camid"].equals(drawn[0].query["camid"]) for trial in drawn)


def test_rates_are_drawn_uniformly() -> None:
    rates = np.concatenate([trial.query["rate"] for trial in trials(small_dataset(), n=100)])
    shares = np.bincount(rates, minlength=5)[2:] / len(rates)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)


def test_trials_depend_on_the_seed_alone() -> None:
    first, again, other = (trials(small_dataset(), n=2, seed=seed) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(a.query, b.query)
        pd.testing.assert_frame_equal(a.gallery, b.gallery)
    assert not first[0].gallery.equals(other[0].gallery)
    assert not first[0].gallery.equals(first[1].gallery)


def test_more_trials_and_other_rates_leave_the_gallery_as_it_was() -> None:
    short, long, hr = (
        trials(small_dataset(), n=1),
        trials(small_dataset(), n=3),
        trials(small_dataset(), rates=(1,), n=1),
    )
    assert short[0].gallery.equals(long[0].gallery)
    assert short[0].gallery.equals(hr[0].gallery)
    assert set(hr[0].query["rate"]) == {1}


def test_genuine_lr_images_keep_rate_one() -> None:
    dataset = small_dataset(2, genuine_lr_camid=2)
    genuine, simulated = trials(dataset, n=1)[0], trials(dataset, n=1, simulate=True)[0]
    assert set(genuine.query["camid"]) == {2}
    assert set(genuine.query["rate"]) == {1}
    assert set(simulated.query["rate"]) == {2, 3, 4}
    with pytest.raises(ValueError, match="only with simulate=True"):
        trials(dataset, rates=(8,))


def test_split_trials_gives_one_trial_per_split() -> None:
    first, second = split_trials(small_dataset())
    assert (first.split, second.split) == (0, 1)
    assert not set(first.query["pid"]) & set(second.query["pid"])


def test_settings_share_their_galleries() -> None:
    drawn = settings(small_dataset(), rates=(1, 2, 8), n=2)
    assert list(drawn) == ["HR->HR", "r = 2", "r = 8", "MLR {2,3,4}"]
    assert set(drawn["r = 8"][1].query["rate"]) == {8}
    assert all(drawn["HR->HR"][1].gallery.equals(trials_[1].gallery) for trials_ in drawn.values())


def test_settings_on_every_split() -> None:
    drawn = settings(small_dataset(), every_split=True)["HR->HR"]
    assert [trial.split for trial in drawn] == [0, 1]


def test_settings_of_a_genuine_set() -> None:
    drawn = settings(small_dataset(2, genuine_lr_camid=2), rates=(1, 2), n=1)
    assert list(drawn) == ["HR->HR, same camera", "genuine LR", "genuine LR, r = 2", "genuine LR, MLR {2,3,4}"]
    same = drawn["HR->HR, same camera"][0]
    assert set(same.query["camid"]) == {1}
    assert not set(same.query.index) & set(same.gallery.index)
    assert len(same.query) == 10 * 2  # three HR images of each identity, one of them in the gallery


def test_csv_round_trip(tmp_path: Path) -> None:
    dataset = small_dataset()
    trial = trials(dataset, split=1, n=2)[1]
    trial.to_csv(tmp_path / "trial.csv")
    again = Trial.from_csv(tmp_path / "trial.csv", dataset)
    pd.testing.assert_frame_equal(again.query, trial.query, check_dtype=False)
    pd.testing.assert_frame_equal(again.gallery, trial.gallery)
    assert (again.split, again.number) == (1, 1)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("dataset", "other", "expected a trial of small"),
        ("path", "nobody.png", "not in small"),
        ("pid", 99, "identity or camera"),
        ("rate", None, "needs the column rate"),
        ("rate", 0, "integer r >= 1"),
        ("rate", 0.5, "column rate must hold integers, found 0.5"),
        ("rate", "HR", "column rate must hold integers, found HR"),
        ("trial", "one", "column trial must hold integers, found one"),
        ("camid", np.nan, "column camid must hold integers, found nan"),
        ("role", "probe", "found probe"),
        ("trial", range(40), "one trial of one split"),
    ],
)
def test_a_trial_of_something_else_is_refused(tmp_path: Path, column: str, value: object, message: str) -> None:
    dataset, path = small_dataset(), tmp_path / "trial.csv"
    trials(dataset, n=1)[0].to_csv(path)
    rows = pd.read_csv(path)
    rows = rows.drop(columns=column) if value is None else rows.assign(**{column: value})
    if column == "path":
        rows["path"] = [f"nobody{i}.png" for i in range(len(rows))]
    rows.to_csv(path, index=False)
    with pytest.raises(DatasetError, match=message):
        Trial.from_csv(path, dataset)


def test_an_identity_seen_by_one_camera_only_is_refused() -> None:
    whole = small_dataset(2)
    table = whole.table[(whole.table["pid"] != 12) | (whole.table["camid"] == 1)]
    dataset = ReIDDataset("small", table[["path", "pid", "camid"]], whole.splits, whole.size)
    with pytest.raises(DatasetError, match=r"1 of 10 test identities .* identity 12 \(cameras \[1\]\)"):
        trials(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": ()}, "rates"),
        ({"rates": (2, 1000)}, r"at most the shorter side, .*1000"),
        ({"rates": (0, 2)}, "rates"),
        ({"n": 0}, "trials n"),
    ],
)
def test_bad_input_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trials(small_dataset(), **options)


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"splits 0\.\.1"):
        trials(small_dataset(), split=2)


def test_a_trial_from_elsewhere_may_have_a_mark_and_floats(tmp_path: Path) -> None:
    dataset = small_dataset(2)
    trial, path = trials(dataset)[0], tmp_path / "trial.csv"
    trial.to_csv(path)
    pd.read_csv(path).astype({"pid": float, "rate": float}).to_csv(path, index=False, encoding="utf-8-sig")
    again = Trial.from_csv(path, dataset)
    pd.testing.assert_frame_equal(again.query, trial.query, check_dtype=False)
    assert all(again.query[column].dtype.kind == "i" for column in ("pid", "camid", "rate"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "trial.csv is empty"),
        ("dataset,split,trial,role,path,pid,camid,rate\n".encode("utf-16"), "trial.csv is not UTF-8"),
        (
            "dataset,split,trial,role,path,pid,camid,rate\nsmall,0,0,query,Jörg.png,1,1,2\n".encode("latin-1"),
            "not UTF-8",
        ),
        (b"dataset,split,trial,role,path,pid,camid,rate\n", "trial.csv has no image"),
        (b'dataset,split\n"a,1\n2\n', "trial.csv cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_trial(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "trial.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        Trial.from_csv(tmp_path / "trial.csv", small_dataset(2))
