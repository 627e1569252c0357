"""`reid-lib compare`: methods of this project and your own, from the command line."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from reid_lib import cli, datasets
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.reporting import results
from reid_lib.training.run import initialise

MODEL = """
import torch


class Colour:
    def embed_gallery(self, images):
        return images.float().mean((2, 3))

    def embed_query(self, images, rates):
        return self.embed_gallery(images)

    def distance(self, query, gallery):
        return torch.cdist(query, gallery)


ready = Colour()


def matcher(dataset):
    assert len(dataset)
    return Colour()


class Bad(Colour):
    def __init__(self, dataset):
        self.split = 7
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_colours", raising=False)
    (tmp_path / "my_colours.py").write_text(MODEL)
    small = datasets.load("synth", identities=12, cameras=2, images_per_camera=1, size=(64, 32))
    monkeypatch.setattr(datasets, "load", lambda name, root=None, **options: small)
    return tmp_path


def run(*arguments: str) -> int:
    return cli.main(["compare", *arguments, "--profile", "smoke", "--trials", "2"])


def test_yours_beside_a_method_and_a_published_network(folder: Path, capsys: pytest.CaptureFixture) -> None:
    network = initialise(osnet_x0_25, 0, torch.device("cpu")).eval()
    torch.save(network.state_dict(), folder / "osnet_x0_25_mine.pth")
    code = run("my_colours:matcher", "hr+lr", "osnet_x0_25_mine.pth", "--reference", "HR + LR", "-o", "out")
    said = capsys.readouterr().out
    assert code == 0
    assert "synth, profile smoke; gains over HR + LR" in said
    assert "OSNet x0.25 (mine)" in said
    assert "comparison.csv and 4 pictures in out" in said
    written = pd.read_csv(folder / "out" / "comparison.csv")
    assert set(written["method"]) == {"matcher", "HR + LR", "OSNet x0.25 (mine)"}
    gains = written[written["metric"] == "rank1_gain"]
    assert set(gains["method"]) == {"matcher", "OSNet x0.25 (mine)"}
    assert {path.name for path in (folder / "out").glob("*.png")} == {
        "places.png", "gains.png", "failures.png", "settings.png",
    }  # fmt: skip


def test_several_seeds_are_merged_and_trainings_are_found_again(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("my_colours:ready", "HR + LR", "--seeds", "0", "1", "-o", "out") == 0
    written = pd.read_csv(folder / "out" / "comparison.csv")
    assert set(written["seeds"]) == {2}
    kept = sorted(path.name for path in results.folder("smoke", "synth").glob("checkpoints/*"))
    assert len(kept) == 2
    assert run("my_colours:ready", "HR + LR") == 0
    assert sorted(path.name for path in results.folder("smoke", "synth").glob("checkpoints/*")) == kept
    assert "gains over HR + LR" in capsys.readouterr().out  # the last one named


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["lrar"], "a comparison needs two matchers or more, found 1"),
        (["my_colours:ready", "resnet"], "method must be one of HR only"),
        (["my_colours:nobody", "HR + LR"], "module my_colours has no 'nobody'"),
        (
            ["my_colours:", "HR + LR"],
            "a Matcher of your own is named module:name, as an import has it; found 'my_colours:'",
        ),
        (["my_colours:torch", "HR + LR"], "my_colours:torch must be a Matcher, which has embed_query"),
        (["nowhere:matcher", "HR + LR"], "there is no module 'nowhere' here or installed"),
        (["my_colours:Bad", "my_colours:ready"], "Bad: the matcher was trained on split 7"),
        (["my_colours:ready", "my_colours:ready"], "ready is named twice"),
        (["my_colours:ready", "my_colours:matcher", "--reference", "x"], "reference must be one of ready, matcher"),
    ],
)
def test_bad_input(names: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert run(*names) == 2
    assert message in capsys.readouterr().err


def test_a_target_that_cannot_be_written_is_found_first(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "taken").write_text("")
    assert run("lrar", "HR + LR", "-o", "taken") == 2
    assert "Cannot write results to" in capsys.readouterr().err
    assert not results.folder("smoke", "synth").exists()
