"""`reid-lib score` on feature files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib import cli
from reid_lib.evaluation.clustering import rerank
from reid_lib.evaluation.ranking import rank_metrics
from reid_lib.evaluation.scoring import over_identities, score_features
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.seeds import numpy_generator
from reid_lib.training.run import initialise


def files(people: int = 12, cameras: int = 3) -> tuple[dict, dict]:
    """Queries of camera 0, and a gallery of all cameras, with distinct lengths that cosine does not look at."""
    draw = numpy_generator(0, "score files")
    own = draw.normal(size=(people, 8))
    pids, cams = np.repeat(np.arange(people), cameras), np.tile(np.arange(cameras), people)
    features = (own[pids] + draw.normal(size=(len(pids), 8))) * draw.uniform(1, 5, size=(len(pids), 1))
    gallery = {"features": features.astype(np.float32), "pid": pids, "camid": cams}
    return {name: array[cams == 0] for name, array in gallery.items()}, gallery


def unit(arrays: dict) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(arrays["features"]))


@pytest.mark.parametrize("reranked", [False, True])
def test_scores_are_those_of_the_metrics(reranked: bool) -> None:
    query, gallery = files()
    distances = rerank(unit(query), unit(gallery)) if reranked else torch.cdist(unit(query), unit(gallery))
    expected = rank_metrics(distances, query["pid"], gallery["pid"], query["camid"], gallery["camid"], (1, 3))
    found = score_features(query, gallery, (1, 3), reranked=reranked)
    assert found["value"].to_dict() == pytest.approx(expected)
    assert (found["low"] <= found["value"]).all()
    assert (found["high"] >= found["value"]).all()
    assert (found["low"] < found["high"]).any()
    assert set(found["identities"]) == {12}


def test_text_identities_and_junk() -> None:
    query, gallery = files()
    expected = score_features(query, gallery)
    text = [
        arrays | {"pid": np.char.add("p", np.char.zfill(arrays["pid"].astype(str), 2))} for arrays in (query, gallery)
    ]
    pd.testing.assert_frame_equal(score_features(*text), expected)
    # a copy of every query as junk would be the nearest of all
    junk = {"features": query["features"], "pid": np.full(len(query["pid"]), -1), "camid": query["camid"] + 5}
    more = {name: np.concatenate([gallery[name], junk[name]]) for name in gallery}
    pd.testing.assert_frame_equal(score_features(query, more), expected)


def test_the_interval_is_over_people_not_over_queries() -> None:
    values = pd.DataFrame({"rank1": np.repeat([0.0, 100.0], 500)})
    wide = over_identities(values, np.repeat([0, 1], 500))
    assert wide.loc["rank1", ["value", "low", "high"]].tolist() == [50, 0, 100]
    narrow = over_identities(values, np.arange(1000))
    assert narrow.loc["rank1", "high"] - narrow.loc["rank1", "low"] < 8
    assert over_identities(values[:500], np.zeros(500))["low"].isna().all()


def test_from_a_data_set_to_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    torch.save(initialise(osnet_x0_25, 0, torch.device("cpu")).state_dict(), "w.pth")
    data = ["--options", "identities=12", "cameras=2", "images_per_camera=1", "size=(64,32)"]
    parts = {"lr": "train --rates 2", "hr": "train", "query": "test --rates 2", "gallery": "test"}
    for name, part in parts.items():
        line = f"features synth --weights w.pth -o {name}.npz --part {part}"
        assert cli.main([*line.split(), *data]) == 0
    fit = "vpfa fit --lr lr.npz --hr hr.npz -o vp.safetensors --hidden 8 --n-pairs 32 --epochs 1 --min-images 1"
    assert cli.main(fit.split()) == 0
    assert cli.main(["vpfa", "apply", "vp.safetensors", "query.npz", "-o", "panned.npz"]) == 0
    capsys.readouterr()
    assert cli.main(["score", "panned.npz", "gallery.npz", "--ranks", "1", "2", "-o", "scores.csv"]) == 0
    said = capsys.readouterr().out
    assert "16 of 16 queries have their person in the gallery; 95 % intervals over 8 identities" in said
    written = pd.read_csv("scores.csv", index_col="metric")
    expected = score_features(dict(np.load("panned.npz")), dict(np.load("gallery.npz")), (1, 2))
    pd.testing.assert_frame_equal(written, expected)
    assert f"{expected.loc['map', 'value']:.1f}" in said


QUERY, GALLERY = files()


@pytest.mark.parametrize(
    ("query", "gallery", "more", "message"),
    [
        ({"pid": None}, {}, "", "the query has no array 'pid', only features, camid"),
        ({}, {"camid": None}, "", "one file has an array 'camid', the other has none"),
        ({"features": QUERY["features"][:, :5]}, {}, "", "must have one width, found 5 and 8"),
        ({"features": np.full_like(QUERY["features"], np.nan)}, {}, "", "query features have NaN or infinite numbers"),
        ({"features": QUERY["features"][0]}, {}, "", "query features must be numbers (rows, width)"),
        ({}, {"pid": GALLERY["pid"][:4]}, "", "gallery array 'pid' must have 36 entries"),
        ({"pid": QUERY["pid"] + 0.5}, {}, "", "query array 'pid' must be integers or text, found"),
        (
            {"pid": np.where(QUERY["pid"] == 0, np.nan, 1)},
            {},
            "",
            "query array 'pid' must be integers or text, found nan",
        ),
        ({"pid": QUERY["pid"].astype(str)}, {}, "", "must be all integers or all text, found one array of each"),
        ({"pid": np.full(12, -1)}, {}, "", "the query has no image of an identity other than -1"),
        ({"pid": QUERY["pid"] + 100}, {}, "", "no query has an image of its identity in the gallery"),
        ({"features": QUERY["features"][:0]}, {}, "", "one row or more, found float32 (0, 8)"),
        (
            {name: array[:4] for name, array in QUERY.items()},
            {name: array[:12] for name, array in GALLERY.items()},
            "--rerank",
            "--rerank needs more than 20 images in both files together",
        ),
        ({}, {}, "--ranks 0", "ranks must be integers >= 1"),
        ({}, {}, "-o none/scores.csv", "the folder of none/scores.csv does not exist"),
        (
            {"camid": None, "path": np.array([f"{i}.png" for i in range(12)])},
            {"camid": None, "path": np.array([f"{i}.png" for i in range(11, 47)])},
            "",
            "1 images are query and gallery, the first is 11.png",
        ),
    ],
)
def test_bad_input(
    query: dict,
    gallery: dict,
    more: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, whole, change in (("q", QUERY, query), ("g", GALLERY, gallery)):
        np.savez(f"{name}.npz", **{part: array for part, array in (whole | change).items() if array is not None})
    assert cli.main(["score", "q.npz", "g.npz", *more.split()]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
