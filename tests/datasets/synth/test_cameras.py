"""Cameras: places, light, and the size of what is far away."""

import numpy as np

from reid_lib.datasets.synth.cameras import camera, native_size
from reid_lib.datasets.synth.render import render


def test_cameras_differ_in_place_and_light():
    cameras = [camera(camid) for camid in range(1, 7)]
    assert len({c.place for c in cameras}) == 6
    assert len({c.gains for c in cameras}) == 6
    means = [np.mean([render(pid, c, 0).mean((0, 1)) for pid in range(0, 60, 6)], axis=0) for c in (1, 2, 3, 4)]
    assert all(np.abs(a - b).max() > 8 for i, a in enumerate(means) for b in means[:i])


def test_native_size():
    assert native_size((128, 64), 1.0) == (128, 64)
    assert native_size((128, 64), 2.56) == (50, 25)
    assert native_size((16, 8), 16) == (4, 2)
