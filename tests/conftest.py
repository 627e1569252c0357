"""Fixtures that several rooms share."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ImportError):  # the files test_properties.py say what is missing
    from hypothesis import settings

    # the same examples each time and everywhere, however slow the machine, and nothing kept in the folder
    settings.register_profile("the same each time", derandomize=True, deadline=None, database=None, max_examples=60)
    settings.load_profile("the same each time")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep image stores of the tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REID_LIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real benchmark images and weights, or a skip that says how to name it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("REID_LIB_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real benchmark data here: name its folder in REID_LIB_DATA to run this test")
    return folder
