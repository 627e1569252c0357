"""`reid-lib search`: ranked lists of images, and the threshold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reid_lib import cli, datasets
from reid_lib.evaluation import matchers
from reid_lib.evaluation.search import calibrate, embed_files, estimated_rates, image_files

SIZE = (64, 32)


class Colour:
    """Stands for a network: an image's mean colour."""

    input_size, device, split = SIZE, torch.device("cpu"), None

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(images.float().mean((2, 3)))

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        return self.embed_gallery(images)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return torch.cdist(query, gallery)


COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(matchers, "pretrained", lambda weights, device=None: Colour())
    small = datasets.load("synth", identities=12, cameras=2, images_per_camera=1, size=SIZE)
    monkeypatch.setattr(datasets, "load", lambda name, root=None, **options: small)
    (tmp_path / "w.pth").write_text("")
    (tmp_path / "gallery" / "deep").mkdir(parents=True)
    for name, colour in COLOURS.items():
        Image.new("RGB", (32, 64), colour).save(tmp_path / "gallery" / "deep" / f"{name}.png")
    (tmp_path / "gallery" / "notes.txt").write_text("no image")
    (tmp_path / "queries").mkdir()
    Image.new("RGB", (8, 16), (190, 30, 20)).save(tmp_path / "queries" / "b.jpg")
    Image.new("RGB", (16, 32), (10, 30, 180)).save(tmp_path / "queries" / "a.bmp")
    return tmp_path


def run(line: str) -> int:
    return cli.main(["search", *line.split()])


def test_ranked_lists(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("queries --gallery gallery --model w.pth -o out --depth 2") == 0
    said = capsys.readouterr().out
    assert "by height against the gallery's median: 2 (1), 4 (1)" in said
    assert "ranked.csv with 2 queries against 3 images, 1 picture" in said
    found = pd.read_csv("out/ranked.csv")
    assert list(found.columns) == ["query", "rate", "rank", "gallery", "distance"]
    assert found["query"].tolist() == ["queries/a.bmp"] * 2 + ["queries/b.jpg"] * 2  # sorted
    assert found["rate"].tolist() == [2, 2, 4, 4]
    best = found[found["rank"] == 1]["gallery"].tolist()
    assert best == ["gallery/deep/blue.png", "gallery/deep/red.png"]
    assert found["distance"][0] < found["distance"][1]
    with Image.open("out/ranked-1.png") as picture:
        assert picture.width > 100


def test_a_query_of_the_gallery_is_not_in_its_own_list(capsys: pytest.CaptureFixture) -> None:
    assert run("gallery --gallery gallery --model w.pth -o out --rate 3 --pictured 0") == 0
    said = capsys.readouterr().out
    assert "3 queries are gallery images too" in said
    assert "rate of the queries: 3 (as given)" in said
    found = pd.read_csv("out/ranked.csv")
    assert len(found) == 6
    assert not (found["query"] == found["gallery"]).any()
    assert not Path("out/ranked-1.png").exists()


def test_a_feature_file_as_gallery(folder: Path, capsys: pytest.CaptureFixture) -> None:
    files = image_files([folder / "gallery"], "gallery")
    features = 7 * embed_files(Colour(), files, SIZE).numpy()
    np.savez("gallery.npz", features=features, path=np.array([file.name for file in files]))
    assert run("queries --gallery gallery.npz --model w.pth -o out") == 0
    assert "nothing is drawn" in capsys.readouterr().out
    found = pd.read_csv("out/ranked.csv")
    assert found[found["rank"] == 1]["gallery"].tolist() == ["blue.png", "red.png"]
    assert run("queries --gallery gallery --model w.pth -o images") == 0
    same = pd.read_csv("images/ranked.csv")["distance"]
    np.testing.assert_allclose(found["distance"], same, rtol=1e-4, atol=1e-5)


def test_the_threshold_keeps_the_stated_rate(capsys: pytest.CaptureFixture) -> None:
    dataset, matcher = datasets.load("synth"), Colour()
    chosen = calibrate(matcher, dataset, 0.2)
    table = dataset.part("test")
    images = torch.from_numpy(np.stack([dataset.read(path) for path in table["path"]])).permute(0, 3, 1, 2)
    distances = matcher.distance(matcher.embed_gallery(images), matcher.embed_gallery(images)).numpy()
    pid, camid = table["pid"].to_numpy(), table["camid"].to_numpy()
    wrong = distances[(pid[:, None] != pid) & (camid[:, None] != camid)]
    assert (chosen.pairs, chosen.identities, chosen.cross_camera) == (len(wrong), len(set(pid)), True)
    assert 0 < (wrong < chosen.distance).mean() <= 0.2
    assert run("queries --gallery gallery --model w.pth -o out --false-match-rate 0.2 --calibrate synth --rate 1") == 0
    said = capsys.readouterr().out
    assert f"false-match rate 0.2 on {len(wrong)} pairs of different identities ({len(set(pid))} people" in said
    found = pd.read_csv("out/ranked.csv")
    assert found["threshold"].to_numpy() == pytest.approx(chosen.distance)
    assert (found["match"] == (found["distance"] < found["threshold"])).all()


def test_a_threshold_on_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    small, asked = datasets.load("synth"), {}
    monkeypatch.setattr(datasets, "load", lambda name, root=None, **given: asked.update({name: (root, given)}) or small)
    line = "queries --gallery gallery --model w.pth -o out --rate 2 --false-match-rate 0.2 --calibrate table-shop"
    assert run(f"{line} --calibrate-root shop --calibrate-options table=shop.csv size=(64,32)") == 0
    assert asked == {"table-shop": ("shop", {"table": "shop.csv", "size": (64, 32)})}


def test_a_threshold_that_cannot_be_chosen_is_refused_before_the_model_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(matchers, "pretrained", lambda weights, device=None: pytest.fail("the model was read"))
    assert run("queries --gallery gallery --model w.pth -o out --false-match-rate 0.001 --calibrate synth") == 2
    assert "too few to choose a threshold" in capsys.readouterr().err


def test_rates_are_estimated_from_heights() -> None:
    assert estimated_rates([128, 64, 30, 300], [128, 100, 200]) == [1, 2, 4, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("none.jpg --gallery gallery --model w.pth", "queries: there is no file or folder none.jpg"),
        ("queries --gallery empty --model w.pth", "gallery: no image in empty"),
        ("w.pth --gallery gallery --model w.pth", "image cannot be read: w.pth"),
        ("queries --gallery gallery --model w.pth --depth 0", "expected depth >= 1"),
        ("queries --gallery gallery --model w.pth --false-match-rate 0.1", "needs both --false-match-rate and"),
        ("queries --gallery gallery --model w.pth --calibrate synth", "needs both --false-match-rate and"),
        ("queries --gallery gallery --model w.pth --false-match-rate 2 --calibrate synth", "below 1, found 2"),
        ("queries --gallery gallery --model w.pth --false-match-rate 0 --calibrate synth", "below 1, found 0"),
        ("queries --gallery gallery/deep/red.png --model w.pth", "the gallery must be a folder of images or a feature"),
        ("queries --gallery gallery --model none.pth --profile smoke", "there is no weight file none.pth"),
        (
            "queries --gallery gallery --model w.pth --false-match-rate 0.001 --calibrate synth",
            "too few to choose a threshold: at least 10 are needed",
        ),
        ("queries --gallery wide.npz --model w.pth", "3 numbers wide, as the model's are, found (2, 9)"),
        ("queries --gallery lr.npz --model w.pth", "lr.npz has features of down-sampled images"),
        ("queries --gallery lr.npz --model lrar", "goes with a weight file as model"),
        ("queries --gallery gallery --model resnet --profile smoke", "method must be one of HR only"),
    ],
)
def test_bad_input(
    line: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("REID_LIB_RESULTS", str(folder / "results"))
    (folder / "empty").mkdir()
    np.savez("wide.npz", features=np.ones((2, 9), np.float32))
    np.savez("lr.npz", features=np.ones((2, 3), np.float32), rate=np.array([1, 2]))
    assert run(f"{line} -o out") == 2
    assert message in capsys.readouterr().err
    assert not Path("out/ranked.csv").exists()
