"""The three synthetic sets: tables, splits, virtual paths."""

import pickle

import numpy as np
import pytest

from reid_lib.datasets import load
from reid_lib.datasets.records import DatasetError
from reid_lib.datasets.synth import (
    Calibration,
    SynthReader,
    person,
    render,
    sets,
    synth,
    synth_caviar,
    synth_thermal,
    truth_path,
)
from reid_lib.datasets.synth.sets import GENERATOR_VERSION

QUIET = Calibration(noise=0.0, look_jitter=0.0)
GROUP = QUIET.identities_per_look


@pytest.mark.parametrize("build", [synth, synth_caviar, synth_thermal])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"root": "somewhere"}, "is drawn, not read from disk: expected no root, found somewhere"),
        ({"identities": 7}, "identities must be an integer >= 8, found 7"),
        ({"identities": 20.0}, "identities must be an integer"),
        ({"images_per_camera": 0}, "images_per_camera must be an integer >= 1, found 0"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"seed": True}, "seed must be an integer >= 0"),
        ({"size": (4, 4)}, "size must be"),
        ({"calibration": None}, "calibration must be a Calibration"),
    ],
)
def test_builders_refuse(build, wrong, message):
    with pytest.raises(DatasetError, match=message):
        build(**wrong)


def test_builders_refuse_their_own_options():
    with pytest.raises(DatasetError, match="cameras must be an integer >= 2, found 1"):
        synth(cameras=1)
    with pytest.raises(DatasetError, match="distances must be two ascending numbers"):
        synth_caviar(distances=(4.0, 2.0))
    with pytest.raises(DatasetError, match="distances must be two ascending numbers"):
        synth_caviar(distances=(1.0, 2.0))


def test_synth_table():
    dataset = synth(identities=30, cameras=5, images_per_camera=2)
    assert dataset.name == "synth"
    assert len(dataset) == 300
    assert sorted(dataset.table["pid"].unique()) == list(range(30))
    assert sorted(dataset.table["camid"].unique()) == [1, 2, 3, 4, 5]
    assert (dataset.table.groupby(["pid", "camid"]).size() == 2).all()
    assert dataset.genuine_lr_camid is None
    row = dataset.table.iloc[17]
    assert np.array_equal(dataset.read(row["path"]), render(row["pid"], row["camid"], 1))


def test_more_than_500_identities():
    dataset = synth(identities=600, images_per_camera=1)
    assert dataset.table["pid"].nunique() == 600
    assert len({person(pid) for pid in range(600)}) == 600


@pytest.mark.parametrize("build", [synth, synth_caviar, synth_thermal])
def test_splits_keep_look_groups_together(build):
    dataset = build(identities=66, images_per_camera=1)
    assert len(dataset.splits) == 10
    assert len({split.train_pids for split in dataset.splits}) == 10
    for split in dataset.splits:
        assert not {pid // GROUP for pid in split.train_pids} & {pid // GROUP for pid in split.test_pids}
        assert sorted(split.train_pids + split.test_pids) == list(range(66))


def test_fewer_identities_are_a_part_of_more():
    few, many = synth(identities=12, images_per_camera=1), synth(identities=24, images_per_camera=1)
    assert set(few.table["path"]) < set(many.table["path"])


def test_settings_are_in_the_fingerprint():
    small = {"identities": 12, "images_per_camera": 1}
    options = [
        {},
        {"seed": 1},
        {"size": (64, 32)},
        {"calibration": QUIET},
        {"cameras": 3},
        {"identities": 18},
    ]
    prints = {synth(**(small | option)).fingerprint() for option in options}
    prints |= {build(**small).fingerprint() for build in (synth_caviar, synth_thermal)}
    prints.add(synth_caviar(**small, distances=(2.0, 3.0)).fingerprint())
    assert len(prints) == 9
    assert synth(**small).fingerprint() == synth(**small).fingerprint()


def test_another_generator_version_has_other_paths(monkeypatch):
    before = synth(identities=12).fingerprint()
    monkeypatch.setattr(sets, "GENERATOR_VERSION", sets.GENERATOR_VERSION + 1)
    assert synth(identities=12).fingerprint() != before


def test_caviar_has_genuine_low_resolution_with_known_truth():
    dataset = synth_caviar(identities=12, images_per_camera=3)
    assert dataset.name == "synth-caviar"
    assert dataset.genuine_lr_camid == 2
    near, far = (dataset.table[dataset.table["camid"] == camid] for camid in (1, 2))
    assert set(near["height"]) == {128}
    assert far["height"].between(32, 64).all()
    assert far["height"].nunique() > 5
    assert (far["width"] * 2 - far["height"]).abs().max() <= 2
    row = far.iloc[4]
    low, truth = dataset.read(row["path"]), dataset.read(truth_path(row["path"]))
    assert low.shape == truth.shape == (128, 64, 3)
    assert np.array_equal(truth, render(row["pid"], 2, 1))
    assert np.array_equal(low, render(row["pid"], 2, 1, distance=row["distance"]))
    assert truth_path(near["path"].iloc[0]) == near["path"].iloc[0]


def test_thermal_table():
    dataset = synth_thermal(identities=12, images_per_camera=1)
    assert dataset.name == "synth-thermal"
    modality = dataset.table.groupby("camid")["modality"].unique().str[0]
    assert modality.tolist() == ["visible", "visible", "thermal", "thermal"]
    path = dataset.table.loc[dataset.table["modality"] == "thermal", "path"].iloc[0]
    image = dataset.read(path)
    assert np.array_equal(image[..., 0], image[..., 1])


def test_reader_survives_pickling():
    dataset = synth(identities=12, calibration=QUIET)
    reader = pickle.loads(pickle.dumps(dataset.reader))
    path = dataset.table["path"].iloc[5]
    assert np.array_equal(reader(path, (128, 64)), dataset.read(path))


@pytest.mark.parametrize("path", ["p0001_c1_i00.png", "synth-v1/s9/p0001_c1_i00.png", "synth-v1/s0/x.png", ""])
def test_reader_refuses_foreign_paths(path):
    with pytest.raises(DatasetError, match="synth has no image"):
        SynthReader()(path, (128, 64))


GOLDEN = {  # grey levels of eight blocks, mean red, green and blue, mean difference of pixels below and beside
    ("synth", 97): ([90, 81, 98, 93, 107, 109, 99, 110], [97, 101, 98], [7.9, 9.8]),
    ("synth", 211): ([155, 205, 135, 166, 126, 131, 136, 144], [162, 145, 143], [9.1, 9.1]),
    ("synth-caviar", 97): ([111, 103, 118, 95, 110, 107, 126, 127], [106, 118, 112], [6.8, 10.1]),
    ("synth-caviar", 211): ([100, 103, 119, 106, 117, 117, 114, 109], [111, 114, 107], [7.9, 10.4]),
    ("synth-thermal", 211): ([81, 71, 86, 78, 82, 68, 64, 61], [74, 74, 74], [7.0, 7.9]),
}


@pytest.mark.parametrize(("name", "number"), GOLDEN)
def test_a_changed_drawing_has_a_new_generator_version(name: str, number: int) -> None:
    """Stores, trained networks and notebooks know the drawing by its version: raise it, then renew these numbers."""
    assert GENERATOR_VERSION == 2
    dataset = load(name)
    image = dataset.read(dataset.table["path"][number]).astype(float)
    blocks = image.reshape(4, 32, 2, 32, 3).mean((1, 3))
    detail = [np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)]
    grey, colour, expected = GOLDEN[name, number]
    np.testing.assert_allclose(blocks.mean(2).ravel(), grey, atol=1)
    np.testing.assert_allclose(blocks.mean((0, 1)), colour, atol=1)
    np.testing.assert_allclose(detail, expected, atol=0.15)
