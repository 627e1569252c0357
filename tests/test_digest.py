import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from reid_lib import digest
from reid_lib.digest import code_digest, file_digest, keyed, parsed, plain, source_digest, weights_digest

BASELINE = "reid_lib.training.baseline"


@dataclass(frozen=True)
class Config:
    rates: tuple[int, ...] = (1, 2)
    where: Path = Path("here")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of reid_lib that a test may change."""
    copy = tmp_path / "reid_lib"
    shutil.copytree(digest.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", copy)
    return copy


def test_values_as_json_gives_them_back() -> None:
    assert plain(Config()) == {"rates": [1, 2], "where": "here"}
    assert plain({"a": (1, 2.5, None)}) == {"a": [1, 2.5, None]}


def test_what_decides_names_the_folder(tmp_path: Path) -> None:
    folder = keyed(tmp_path, "x", Config(), "data", 0)
    assert folder == keyed(tmp_path, "x", Config((1, 2)), "data", 0)
    assert folder.parent == tmp_path
    assert folder.name.startswith("x-")
    others = [keyed(tmp_path, "x", Config((1, 3)), "data", 0), keyed(tmp_path, "x", Config(), "other data", 0)]
    others += [keyed(tmp_path, "x", Config(), "data", 1), keyed(tmp_path, "y", Config(), "data", 0)]
    assert len({folder, *others}) == 5


def test_words_and_layout_do_not_count() -> None:
    plain_code = 'def f(x):\n    return {"a": x}\n'
    told = '"""A module."""\n\n\ndef f(x):  # why\n    """What."""\n\n    return {\n        "a": x\n    }\n'
    assert parsed(plain_code) == parsed(told)
    assert parsed(plain_code) != parsed(plain_code.replace('"a"', '"b"'))
    assert parsed("class C:\n    x: int\n    'Says what x is.'\n") == parsed("class C:\n    x: int\n")
    assert parsed("%matplotlib inline") == "%matplotlib inline"  # no Python: as it is


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_code_digest_covers_what_a_loop_imports_and_nothing_else(package: Path) -> None:
    before = code_digest(BASELINE, ["reid_lib.reporting"])
    assert before == code_digest(BASELINE, ["reid_lib.reporting"])
    for unused in ("training/another_paper.py", "reporting/results.py", "training/cadnet.py", "losses/lrar.py"):
        (package / unused).write_text("changed = True\n")
        assert code_digest(BASELINE, ["reid_lib.reporting"]) == before, unused
    for used in (
        "seeds.py",
        "datasets/resolution.py",
        "networks/tiny.py",
        "networks/resnet.py",
        "training/run.py",
        "evaluation/matchers.py",
        "evaluation/ranking.py",
    ):
        path = package / used
        source = path.read_text()
        path.write_text(source + "# a comment\n")
        assert code_digest(BASELINE, ["reid_lib.reporting"]) == before, used
        path.write_text(source + "changed = True\n")
        assert code_digest(BASELINE, ["reid_lib.reporting"]) != before, used
        path.write_text(source)
    assert code_digest(BASELINE, ["reid_lib.reporting"]) == before


def test_a_package_that_is_skipped_may_change(package: Path) -> None:
    skip = ["reid_lib.datasets.synth"]
    before = code_digest(BASELINE), code_digest(BASELINE, skip)
    for path in (package / "datasets").glob("synth*"):
        for file in [path] if path.is_file() else path.rglob("*.py"):
            file.write_text(file.read_text() + "changed = True\n")
    assert code_digest(BASELINE) != before[0]
    assert code_digest(BASELINE, skip) == before[1]


def test_a_notebook_depends_on_what_its_cells_import(package: Path) -> None:
    cells = ["from reid_lib.losses import common", "common.identity_loss  # shown"]
    before = source_digest(cells)
    assert source_digest([cells[0], "common.identity_loss"]) == before
    assert source_digest([cells[0], "common.euclidean_distances"]) != before
    (package / "losses" / "lrar.py").write_text("changed = True\n")
    assert source_digest(cells) == before
    (package / "losses" / "common.py").write_text("changed = True\n")
    assert source_digest(cells) != before


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"there is no module reid_lib\.training\.nothing"):
        code_digest("reid_lib.training.nothing")


def test_weights_are_known_by_their_bits() -> None:
    part = torch.nn.BatchNorm1d(2)
    before = weights_digest(part.state_dict())
    assert weights_digest(part.state_dict()) == before
    assert weights_digest({f"a.{name}": value for name, value in part.state_dict().items()}) != before
    part.running_mean[0] = 1e-30
    assert weights_digest(part.state_dict()) != before
