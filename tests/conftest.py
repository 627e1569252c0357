"""Fixtures that several rooms share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real benchmark images and weights, or a skip that says how to name it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("REID_LIB_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real benchmark data here: name its folder in REID_LIB_DATA to run this test")
    return folder
