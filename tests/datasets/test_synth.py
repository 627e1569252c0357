"""The synthetic pedestrians: what identities differ in, what cameras do, and the tables of the three sets."""

import pickle
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from reid_lib.datasets import synth as module
from reid_lib.datasets.records import DatasetError
from reid_lib.datasets.synth import (
    Calibration,
    SynthReader,
    camera,
    native_size,
    person,
    render,
    synth,
    synth_caviar,
    synth_thermal,
    truth_path,
)
from reid_lib.datasets.synth.cameras import backdrop, digitise
from reid_lib.datasets.synth.people import DETAIL, PATTERNS, Pattern, wave
from reid_lib.seeds import numpy_generator

QUIET = Calibration(noise=0.0, look_jitter=0.0)
GROUP = QUIET.identities_per_look


def lower(image: np.ndarray, rate: int) -> np.ndarray:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((width // rate, height // rate), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference of two images in grey levels."""
    return float(np.sqrt(np.mean((a.astype(float) - b) ** 2)))


def test_same_arguments_give_the_same_image():
    first = render(7, 2, 1)
    person.cache_clear()
    camera.cache_clear()
    backdrop.cache_clear()
    assert np.array_equal(first, render(7, 2, 1))


def test_another_process_gives_the_same_image():
    code = (
        "import zlib; from reid_lib.datasets.synth import render;"
        "print(zlib.crc32(render(5, 3, 2, distance=2.5).tobytes()), zlib.crc32(render(5, 3, 2).tobytes()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = [zlib.crc32(render(5, 3, 2, distance=d).tobytes()) for d in (2.5, 1.0)]
    assert [int(word) for word in out.split()] == here


@pytest.mark.parametrize(
    "other", [{"pid": 8}, {"camid": 3}, {"index": 2}, {"seed": 1}, {"modality": "thermal"}, {"distance": 2.0}]
)
def test_every_argument_changes_the_image(other):
    arguments = {"pid": 7, "camid": 2, "index": 1}
    assert gap(render(**arguments), render(**(arguments | other))) > 2


@pytest.mark.parametrize("size", [(16, 8), (64, 32), (128, 64), (256, 128), (160, 60), (129, 51), (384, 128)])
def test_any_size(size):
    for distance in (1.0, 3.0):
        image = render(1, 1, 0, size, distance=distance)
        assert image.shape == (*size, 3)
        assert image.dtype == np.uint8
        assert image.std() > 10


def test_sizes_show_the_same_scene():
    big, small = render(3, 1, 0, (256, 128), calibration=QUIET), render(3, 1, 0, (128, 64), calibration=QUIET)
    shrunk = np.asarray(Image.fromarray(big).resize((64, 128), Image.Resampling.BOX))
    assert gap(shrunk[20:110, 16:48], small[20:110, 16:48]) < gap(render(4, 1, 0), small) / 2


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_have_zero_mean_and_unit_range(kind):
    v, u = np.mgrid[0:300, 0:300] / 300.0
    found = wave(Pattern(kind, 1 / 10, (1, 1, 1)), u, v)
    assert abs(found.mean()) < 0.04
    assert 0.3 < found.std() < 1
    assert np.abs(found).max() <= 1.05


def test_a_look_group_differs_in_fine_detail_only():
    coarse = [name for name in vars(person(0)) if name not in DETAIL]
    for look in range(5):
        members = [person(GROUP * look + m, 0, QUIET) for m in range(GROUP)]
        assert len({tuple(getattr(who, name) for name in coarse) for who in members}) == 1
        assert len({who.upper_pattern.kind for who in members}) == GROUP
    assert person(0).look == person(GROUP - 1).look != person(GROUP).look


def test_look_jitter_changes_nothing_but_the_colours_of_clothes():
    jitter = 0.03
    shifts = []
    for pid in range(40):
        plain, shifted = (person(pid, 0, Calibration(look_jitter=by)) for by in (0.0, jitter))
        other = {name for name in vars(plain) if getattr(plain, name) != getattr(shifted, name)}
        assert other <= {"upper_colour", "lower_colour"}
        shifts.append(np.subtract(plain.upper_colour, shifted.upper_colour))
    assert 0.5 * jitter < np.std(shifts) < 1.2 * jitter


def test_patterns_keep_the_mean_colour_within_range():
    room = Calibration().detail_contrast
    for pid in range(0, 300, 5):
        for colour in (person(pid).upper_colour, person(pid).lower_colour):
            assert min(colour) >= room
            assert max(colour) <= 1 - room


def in_one_pose(pid: int, look: int) -> np.ndarray:
    """Noise-free image of an identity in a pose that depends on its look alone."""
    scene = module._scene(pid, 1, (128, 64), 0, False, QUIET, numpy_generator(0, "test", look))
    return digitise(scene, 0.0, numpy_generator(0), False)


def test_members_of_a_look_group_are_alike_at_low_resolution_only():
    within = {rate: [] for rate in (1, 2, 3, 4, 8)}
    across = []
    for look in range(20):
        first, second, stranger = (in_one_pose(GROUP * look + member, look) for member in (0, 1, GROUP))
        for rate, gaps in within.items():
            gaps.append(gap(lower(first, rate), lower(second, rate)))
        across.append(gap(lower(first, 8), lower(stranger, 8)))
    mean = {rate: np.mean(gaps) for rate, gaps in within.items()}
    assert mean[1] > mean[2] > mean[3] > mean[4] > mean[8]
    assert mean[2] < 0.7 * mean[1]
    assert mean[4] < 0.25 * mean[1]
    assert mean[8] < 0.1 * mean[1]
    assert np.mean(across) > 8 * mean[8]


def test_cameras_differ_in_place_and_light():
    cameras = [camera(camid) for camid in range(1, 7)]
    assert len({c.place for c in cameras}) == 6
    assert len({c.gains for c in cameras}) == 6
    means = [np.mean([render(pid, c, 0).mean((0, 1)) for pid in range(0, 60, 6)], axis=0) for c in (1, 2, 3, 4)]
    assert all(np.abs(a - b).max() > 8 for i, a in enumerate(means) for b in means[:i])


def test_viewpoints_and_poses_vary_within_a_camera():
    images = [render(0, 1, index, calibration=QUIET) for index in range(6)]
    assert min(gap(a, b) for i, a in enumerate(images) for b in images[:i]) > 8


def test_sensor_noise_is_as_large_as_asked():
    loud, quiet = (render(2, 1, 0, calibration=Calibration(noise=n)) for n in (0.02, 0.0))
    expected = 255 * camera(1, 0, Calibration(noise=0.02)).noise
    assert gap(loud, quiet) == pytest.approx(expected, rel=0.1)


def test_far_camera_loses_detail_and_keeps_the_scene():
    truth = render(4, 2, 0)
    far = {distance: render(4, 2, 0, distance=distance) for distance in (2.0, 3.0, 4.0)}
    sharp = {d: np.abs(np.diff(image.astype(float), axis=0)).mean() for d, image in far.items()}
    assert np.abs(np.diff(truth.astype(float), axis=0)).mean() > sharp[2.0] > sharp[3.0] > sharp[4.0]
    for distance, image in far.items():
        assert gap(lower(image, 8), lower(truth, 8)) < 8, distance
    assert gap(far[3.0], lower(truth, 3)) > 2  # noise, lens and compression: more than a down-sampled image


def test_native_size():
    assert native_size((128, 64), 1.0) == (128, 64)
    assert native_size((128, 64), 2.56) == (50, 25)
    assert native_size((16, 8), 16) == (4, 2)


def test_thermal_loses_colour_and_shows_heat():
    visible, thermal = render(1, 1, 0), render(1, 1, 0, modality="thermal")
    assert np.array_equal(thermal[..., 0], thermal[..., 1])
    assert np.array_equal(thermal[..., 0], thermal[..., 2])
    assert np.abs(visible[..., 0].astype(int) - visible[..., 2]).mean() > 5
    assert thermal[5:120, 24:40].mean() > 1.5 * thermal[:, :8].mean()  # the body is warmer than the place
    far = render(1, 1, 0, modality="thermal", distance=2.0)
    assert np.array_equal(far[..., 0], far[..., 2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pid": -1}, "pid must be an integer >= 0, found -1"),
        ({"pid": 1.5}, "pid must be an integer"),
        ({"camid": 0}, "camid must be an integer >= 1, found 0"),
        ({"index": -2}, "index must be an integer >= 0"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"size": (128,)}, "size must be"),
        ({"size": (8, 8)}, "size must be"),
        ({"size": (128.0, 64)}, "size must be"),
        ({"modality": "sonar"}, "modality must be one of visible, thermal, found 'sonar'"),
        ({"distance": 0.5}, "distance must be between 1"),
        ({"distance": float("nan")}, "distance must be between 1"),
    ],
)
def test_render_refuses(wrong, message):
    with pytest.raises(DatasetError, match=message):
        render(**({"pid": 1, "camid": 1, "index": 0} | wrong))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"identities_per_look": 0}, "identities_per_look"),
        ({"detail_contrast": 0.5}, "detail_contrast must be between 0 and 0.3"),
        ({"detail_contrast": float("nan")}, "detail_contrast"),
        ({"periods": (6.0, 3.0)}, "periods must be two ascending"),
        ({"periods": (1.0, 3.0)}, "periods"),
        ({"noise": -0.1}, "noise must be"),
        ({"look_jitter": -0.1}, "look_jitter must be"),
        ({"colour_cast": float("nan")}, "colour_cast must be"),
    ],
)
def test_calibration_refuses(wrong, message):
    with pytest.raises(DatasetError, match=message):
        Calibration(**wrong)


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
    monkeypatch.setattr(module, "GENERATOR_VERSION", module.GENERATOR_VERSION + 1)
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
