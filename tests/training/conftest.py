"""Features and small estimators that the tests of maps share."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from reid_lib.seeds import numpy_generator
from reid_lib.training.feature_maps import FeatureMap

SMALL = {"hidden": 16, "n_pairs": 64, "epochs": 3, "progress": False, "device": "cpu"}


@pytest.fixture(scope="session")
def small() -> Callable[..., FeatureMap]:
    """Make an estimator of a class with small settings, and with those that are given."""

    def make(kind: type[FeatureMap], **changes: object) -> FeatureMap:
        own = kind().get_params()
        return kind(**({name: value for name, value in SMALL.items() if name in own} | changes))

    return make


@pytest.fixture
def data() -> SimpleNamespace:
    """12 identities x 6 images, 8 numbers a feature: LR = HR + one direction per rate + noise."""
    draw = numpy_generator(0, "vpfa features")
    pids = np.repeat(np.arange(12), 6)
    rates = np.tile([2, 2, 3, 3, 4, 4], 12)
    hr = (draw.normal(size=(12, 8))[pids] + 0.1 * draw.normal(size=(72, 8))).astype(np.float32)
    direction = 0.3 * draw.normal(size=(5, 8))
    lr = (hr - direction[rates] + 0.05 * draw.normal(size=(72, 8))).astype(np.float32)
    return SimpleNamespace(pids=pids, rates=rates, lr=lr, hr=hr)
