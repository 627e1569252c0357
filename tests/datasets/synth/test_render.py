"""The images: the same from the same arguments; what resolution, cameras and body heat do to them."""

import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from reid_lib.datasets.records import DatasetError
from reid_lib.datasets.synth.cameras import backdrop, camera, digitise
from reid_lib.datasets.synth.people import Calibration, person
from reid_lib.datasets.synth.render import render, scene
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


def in_one_pose(pid: int, look: int) -> np.ndarray:
    """Noise-free image of an identity in a pose that depends on its look alone."""
    image = scene(pid, 1, (128, 64), 0, False, QUIET, numpy_generator(0, "test", look))
    return digitise(image, 0.0, numpy_generator(0), False)


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
    assert mean[2] < 0.8 * mean[1]
    assert 0.3 * mean[1] < mean[4] < 0.5 * mean[1]  # the larger half of the periods is still there
    assert mean[8] < 0.2 * mean[1]
    assert np.mean(across) > 6 * mean[8]


def test_sensor_noise_is_as_large_as_asked():
    loud, quiet = (render(2, 1, 0, calibration=Calibration(noise=n)) for n in (0.02, 0.0))
    expected = 255 * camera(1, 0, Calibration(noise=0.02)).noise
    assert gap(loud, quiet) == pytest.approx(expected, rel=0.1)


def test_viewpoints_and_poses_vary_within_a_camera():
    images = [render(0, 1, index, calibration=QUIET) for index in range(6)]
    assert min(gap(a, b) for i, a in enumerate(images) for b in images[:i]) > 8


def test_far_camera_loses_detail_and_keeps_the_scene():
    truth = render(4, 2, 0)
    far = {distance: render(4, 2, 0, distance=distance) for distance in (2.0, 3.0, 4.0)}
    sharp = {d: np.abs(np.diff(image.astype(float), axis=0)).mean() for d, image in far.items()}
    assert np.abs(np.diff(truth.astype(float), axis=0)).mean() > sharp[2.0] > sharp[3.0] > sharp[4.0]
    for distance, image in far.items():
        assert gap(lower(image, 8), lower(truth, 8)) < 8, distance
    assert gap(far[3.0], lower(truth, 3)) > 2  # noise, lens and compression: more than a down-sampled image


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
