"""Features and small estimators that the tests of maps share, and how a file is run in two processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


@pytest.fixture(scope="session")
def free_port() -> Callable[[], str]:
    def find() -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return str(free.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def in_two_processes(free_port: Callable[[], str], pytestconfig: pytest.Config) -> Callable[[str, Path], list[str]]:
    """Run a file, with a folder as its argument, in two processes on the CPU; return what each wrote to stderr."""
    filters = ("error", *(pytestconfig.getoption("pythonwarnings") or ()))
    warnings = [part for one in filters for part in ("-W", one)]

    def launch(file: str, folder: Path) -> list[str]:
        shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        shared |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "REID_LIB_CACHE": str(folder / "cache")}
        both = [
            subprocess.Popen(
                [sys.executable, *warnings, file, str(folder)],
                env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank},
                cwd=Path(file).parents[2],
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in "01"
        ]
        try:
            errors = [process.communicate(timeout=1800)[1] for process in both]
        finally:
            for process in both:
                process.kill()
        assert [process.returncode for process in both] == [0, 0], "\n".join(errors)
        return errors

    return launch
