"""What holds for every image, every data set and every table, not only for the examples of the other tests."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from reid_lib.datasets import load
from reid_lib.datasets.mlr import Trial, trials
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.datasets.resolution import KERNELS, degrade, resize_matrix

# --- resolution -----------------------------------------------------------------------------------


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, list[int]]:
    """Images of any size, and a rate for each."""
    shape = draw(array_shapes(min_dims=4, max_dims=4, max_side=12))
    images = draw(arrays(np.uint8, shape))
    rates = draw(st.lists(st.integers(1, min(shape[2:])), min_size=shape[0], max_size=shape[0]))
    return torch.from_numpy(images), rates


def slow_degrade(image: np.ndarray, rate: int, kernel: str) -> np.ndarray:
    """Down and back in float64, one channel (H, W) at a time."""
    if rate == 1:
        return image
    found = []
    for channel in image.astype(np.float64):
        for name, size in ((kernel, [side // rate for side in channel.shape]), ("bilinear", channel.shape)):
            rows, columns = (resize_matrix(name, *pair) for pair in zip(channel.shape, size, strict=True))
            channel = np.clip(np.round(rows.astype(np.float64) @ channel @ columns.T), 0, 255)
        found.append(channel)
    return np.stack(found)


@given(batches(), st.sampled_from(KERNELS))
def test_degraded_images_have_shape_type_and_range(batch: tuple, kernel: str) -> None:
    images, rates = batch
    found = degrade(images, torch.tensor(rates), kernel)
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    for image, rate, one in zip(images.numpy(), rates, found.numpy(), strict=True):
        # a half may be rounded either way, twice; a value beyond 0..255 that is not cut would be off by 256
        assert np.abs(one - slow_degrade(image, rate, kernel)).max() <= 2
        if kernel in ("bilinear", "area"):  # no weight is negative
            assert image.min() <= one.min() <= one.max() <= image.max()


@given(batches(), st.sampled_from(KERNELS))
def test_a_batch_is_its_images_alone(batch: tuple, kernel: str) -> None:
    images, rates = batch
    together = degrade(images, torch.tensor(rates), kernel)
    alone = [degrade(image[None], rate, kernel)[0] for image, rate in zip(images, rates, strict=True)]
    assert together.equal(torch.stack(alone))


@given(batches(), st.sampled_from(KERNELS))
def test_rate_one_is_the_identity(batch: tuple, kernel: str) -> None:
    images, before = batch[0], batch[0].clone()
    found = degrade(images, 1, kernel)
    assert found.equal(before)
    found += 1
    assert images.equal(before)  # not the same memory


@given(batches(), st.integers(0, 255), st.sampled_from(KERNELS))
def test_a_constant_image_stays_constant(batch: tuple, grey: int, kernel: str) -> None:
    images, rates = torch.full_like(batch[0], grey), torch.tensor(batch[1])
    assert degrade(images, rates, kernel).equal(images)


# --- mlr ------------------------------------------------------------------------------------------


@st.composite
def data_sets(draw: st.DrawFn) -> ReIDDataset:
    """People seen by two cameras or more, one to three images each, and a split of them."""
    cameras = draw(st.integers(2, 4))
    people = draw(st.lists(st.integers(-3, 99).filter(lambda pid: pid != -1), min_size=2, max_size=6, unique=True))
    every = range(1, cameras + 1)
    rows = []
    for pid in people:
        # in a set of two cameras the first one is the LR camera of all
        seen = every if cameras == 2 else draw(st.sets(st.sampled_from(every), min_size=2))
        rows += [(pid, camid, n) for camid in sorted(seen) for n in range(draw(st.integers(1, 3)))]
    assume(len({camid for _, camid, _ in rows}) == cameras)
    table = pd.DataFrame([{"path": f"{p}_{c}_{n}", "pid": p, "camid": c} for p, c, n in draw(st.permutations(rows))])
    cut = draw(st.integers(1, len(people) - 1))
    return ReIDDataset("any", table, (Split(tuple(people[:cut]), tuple(people[cut:])),), size=(16, 8))


@given(data_sets(), st.integers(0, 5), st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_a_trial_follows_the_protocol(dataset: ReIDDataset, seed: int, rates: list[int]) -> None:
    (train, test), table = (set(p) for p in vars(dataset.splits[0]).values()), dataset.table
    for trial in trials(dataset, rates=rates, n=2, seed=seed):
        query, gallery = trial.query, trial.gallery
        assert set(query["pid"]) == set(gallery["pid"]) == test
        assert not train & set(query["pid"])
        assert gallery["pid"].is_unique
        camera = dict(zip(query["pid"], query["camid"], strict=True))
        assert all(camera[pid] != camid for pid, camid in zip(gallery["pid"], gallery["camid"], strict=True))
        assert set(query.index) == {n for n, p, c in table[["pid", "camid"]].itertuples() if camera.get(p) == c}
        assert set(query["rate"]) <= set(rates)


@given(data_sets(), st.integers(0, 5))
def test_seeds_decide_and_rates_leave_the_gallery(dataset: ReIDDataset, seed: int) -> None:
    first, again, other = (trials(dataset, rates=rates, n=2, seed=seed) for rates in ((2, 3), (2, 3), (1, 4, 8)))
    for a, b, c in zip(first, again, other, strict=True):
        pd.testing.assert_frame_equal(a.query, b.query)
        pd.testing.assert_frame_equal(a.gallery, b.gallery)
        pd.testing.assert_frame_equal(a.gallery, c.gallery)
        pd.testing.assert_frame_equal(a.query.drop(columns="rate"), c.query.drop(columns="rate"))
    others = [trial for s in range(3) for trial in trials(dataset, rates=range(1, 9), n=3, seed=s)]
    assert len({(*trial.query["rate"], *trial.gallery.index) for trial in others}) > 1


@given(data_sets(), st.integers(0, 5))
def test_a_trial_comes_back_from_csv(tmp_path_factory: pytest.TempPathFactory, dataset: ReIDDataset, seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / "trial.csv"
    trial = trials(dataset, n=2, seed=seed)[1]
    trial.to_csv(path)
    found = Trial.from_csv(path, dataset)
    pd.testing.assert_frame_equal(found.query, trial.query, check_dtype=False)
    pd.testing.assert_frame_equal(found.gallery, trial.gallery, check_dtype=False)
    assert (found.split, found.number) == (0, 1)


# --- table ----------------------------------------------------------------------------------------

# what a CSV in UTF-8 can hold; blanks around a value do not count
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).map(str.strip).filter(bool)
NAMES = WORDS.filter(lambda word: not re.fullmatch(r"-?[0-9]+(\.0+)?", word)) | st.sampled_from(
    ["٣", "1e3", "7a", "nan"]
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files enough; only that they are there matters."""
    folder = tmp_path_factory.mktemp("table")
    for number in range(24):
        (folder / f"{number}.png").touch()
    return folder


def write(root: Path, rows: list[tuple]) -> None:
    with (root / "people.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "pid", "camid"), *rows])


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[str, object, object]]:
    """Rows of a table whose identities and cameras are all integers or all text."""
    people = draw(st.sampled_from([NAMES, st.integers(0, 1 << 60)]))
    people = draw(st.lists(people, min_size=2, max_size=6, unique=True))
    cameras = draw(st.lists(draw(st.sampled_from([NAMES, st.integers(0, 9)])), min_size=1, max_size=3, unique=True))
    images = draw(st.integers(len(people), 24))
    rows = [(f"{n}.png", people[n % len(people)], draw(st.sampled_from(cameras))) for n in range(images)]
    return draw(st.permutations(rows))


@given(tables(), st.randoms(use_true_random=False))
def test_rows_in_any_order_are_the_same_data_set(root: Path, rows: list[tuple], order: object) -> None:
    write(root, rows)
    first = load("table", root, table="people.csv", splits=2)
    order.shuffle(rows)
    write(root, rows)
    second = load("table", root, table="people.csv", splits=2)
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.splits == second.splits
    assert first.fingerprint() == second.fingerprint()


@given(tables())
def test_identities_and_cameras_come_back(root: Path, rows: list[tuple]) -> None:
    write(root, rows)
    table = load("table", root, table="people.csv", splits=1).table.set_index("path")
    for column, kept, at in (("pid", "person", 1), ("camid", "camera", 2)):
        given_ = {row[0]: row[at] for row in rows}
        text = isinstance(rows[0][at], str)
        assert (kept in table) == text
        assert table[kept if text else column].to_dict() == given_
        assert table[column].nunique() == len(set(given_.values()))  # two people are never one
