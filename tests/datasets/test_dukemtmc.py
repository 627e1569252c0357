from functools import partial
from pathlib import Path

import pytest

from reid_lib.datasets import load
from reid_lib.datasets.dukemtmc import dukemtmc
from reid_lib.datasets.records import DatasetError


@pytest.fixture
def small_duke(tmp_path: Path) -> Path:
    files = {
        "bounding_box_train": ["0001_c2_f0046182.jpg", "0001_c5_f0051341.jpg"],
        "query": ["0005_c2_f0046985.jpg"],
        "bounding_box_test": ["0003_c1_f0044158.jpg", "0005_c1_f0051341.jpg"],
    }
    for folder, names in files.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    return tmp_path


def test_the_withdrawn_set_needs_an_opt_in(small_duke: Path) -> None:
    with pytest.raises(DatasetError, match=r"accept_withdrawn=True.*withdrew the set.*DATA\.md"):
        load("dukemtmc", small_duke)
    with pytest.raises(DatasetError, match=r"expected root, .*withdrawn by its authors in 2019"):
        load("dukemtmc", accept_withdrawn=True)


@pytest.mark.parametrize("refused", ["false", "no", "off", "0", "False", " NO ", 0, False])
def test_a_no_in_any_form_does_not_open_the_withdrawn_set(small_duke: Path, refused: object) -> None:
    for open_set in (partial(load, "dukemtmc"), dukemtmc):
        with pytest.raises(DatasetError, match="its authors withdrew the set"):
            open_set(small_duke, accept_withdrawn=refused, check=False)


@pytest.mark.parametrize("unclear", ["", "nope", "maybe", 2, None, 1.0])
def test_an_opt_in_that_is_no_boolean_is_refused(small_duke: Path, unclear: object) -> None:
    for open_set in (partial(load, "dukemtmc"), dukemtmc):
        with pytest.raises(DatasetError, match="dukemtmc: accept_withdrawn must be true or false"):
            open_set(small_duke, accept_withdrawn=unclear, check=False)


def test_a_yes_opens_it(small_duke: Path) -> None:
    assert len(load("dukemtmc", small_duke, accept_withdrawn="yes", check="off")) == 5


def test_a_small_copy(small_duke: Path) -> None:
    dataset = load("dukemtmc", small_duke, accept_withdrawn=True, check=False)
    assert dataset.table["pid"].tolist() == [1, 1, 5, 3, 5]
    assert dataset.table["camid"].tolist() == [2, 5, 2, 1, 1]
    assert dataset.table["split"].tolist() == ["train", "train", "test", "unused", "test"]


def test_wrong_counts(small_duke: Path) -> None:
    with pytest.raises(DatasetError, match=r"gallery: expected 17,661 images of 1,110 identities, found 2 of 2"):
        load("dukemtmc", small_duke, accept_withdrawn=True)
