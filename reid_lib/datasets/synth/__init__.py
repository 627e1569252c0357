"""`synth`: a procedural generator of pedestrians, the data set that needs no download.

Every image is a function of (seed, pid, camid, index): nothing is stored, no asset is read. `people` says who a person
is, `cameras` what a camera does, `figure` turns a person in a pose into shapes, `render` paints them, and `sets` lists
the images of the data sets.
"""

from reid_lib.datasets.synth.cameras import camera, native_size
from reid_lib.datasets.synth.people import DEFAULT, PATTERNS, Calibration, Pattern, person
from reid_lib.datasets.synth.render import render
from reid_lib.datasets.synth.sets import SynthReader, synth, synth_caviar, synth_thermal, truth_path

__all__ = [
    "DEFAULT",
    "PATTERNS",
    "Calibration",
    "Pattern",
    "SynthReader",
    "camera",
    "native_size",
    "person",
    "render",
    "synth",
    "synth_caviar",
    "synth_thermal",
    "truth_path",
]
