"""The figure: what its shapes are, and in which order they are painted."""

import math
from dataclasses import replace

import pytest

from reid_lib.datasets.synth.cameras import View
from reid_lib.datasets.synth.figure import Face, Figure, Limb, UpperGarment, draw_pose
from reid_lib.datasets.synth.people import CUTS, person
from reid_lib.seeds import numpy_generator


def standing(yaw: float, **changes) -> Figure:
    pose = draw_pose(numpy_generator(0, "test"), 0.0)
    return Figure(replace(person(0), **changes), pose, View(yaw, 0.2))


@pytest.mark.parametrize(("yaw", "on_top"), [(0.0, Face), (math.pi, Limb)])
def test_what_is_near_is_painted_last(yaw, on_top):
    colour = (0.1, 0.2, 0.3)
    shapes = list(standing(yaw, bag="backpack", bag_colour=colour).shapes())
    head, *_ = (number for number, shape in enumerate(shapes) if isinstance(shape, Face))
    bag, *_ = (number for number, shape in enumerate(shapes) if isinstance(shape, Limb) and shape.colour == colour)
    assert type(shapes[max(head, bag)]) is on_top


@pytest.mark.parametrize("upper", CUTS)
def test_an_upper_garment_reaches_down_to_its_hem(upper):
    garments = [shape for shape in standing(0.0, upper=upper).shapes() if isinstance(shape, UpperGarment)]
    assert [garment.low for garment in garments] == [CUTS[upper].hem]


def test_who_stands_has_the_feet_on_the_ground():
    assert standing(0.0).lowest == pytest.approx(0.0, abs=0.05)
