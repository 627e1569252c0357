"""`reid-lib vpfa fit` and `apply` on feature files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from reid_lib import cli, datasets
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.seeds import numpy_generator
from reid_lib.training.run import initialise
from reid_lib.training.vpfa import VectorPanning
from reid_lib.training.yardsticks import MeanShift

FAST = ["--hidden", "8", "--n-pairs", "32", "--epochs", "2"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Feature files as `reid-lib features` writes them, with and without what is optional."""
    monkeypatch.chdir(tmp_path)
    draw = numpy_generator(0, "feature files")
    hr = draw.normal(size=(24, 6)).astype(np.float32)
    lr = hr + draw.normal(size=6).astype(np.float32)
    rows = {
        "pid": np.repeat(np.arange(6), 4),
        "camid": np.tile([1, 2], 12),
        "path": np.array([f"{i}.png" for i in range(24)]),
    }
    np.savez("hr.npz", features=hr, **rows)
    np.savez("lr.npz", features=lr, **rows)
    np.savez("rated.npz", features=lr, rate=np.tile([2, 2, 4, 4], 6), **rows)
    np.savez("blocks.npz", features=np.tile(lr, (2, 1)), rate=np.repeat([2, 4], 24), **_twice(rows))
    np.savez("mixed.npz", features=np.tile(lr, (2, 1)), rate=np.tile([2, 4], 24), **_twice(rows))
    np.savez("turned.npz", features=hr[::-1], **{name: array[::-1] for name, array in rows.items()})
    np.savez("renamed.npz", features=hr, **rows | {"path": rows["path"][::-1]})
    np.savez("flat.npz", features=hr[0])
    np.savez("bare_lr.npz", features=lr)
    np.savez("bare_hr.npz", features=hr)
    np.savez("narrow.npz", features=lr[:, :5], **rows)
    np.savez("nameless.npz", x=lr)
    save_file({"features": lr, "pid": rows["pid"]}, "lr.safetensors")
    Path("text.npz").write_text("no archive")
    Path("text.safetensors").write_text("no tensors")
    return tmp_path


def _twice(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.tile(array, 2) for name, array in rows.items()}


def _run(line: str, *more: str) -> int:
    return cli.main([*line.split(), *more])


@pytest.mark.parametrize("lr", ["lr.npz", "lr.safetensors"])
@pytest.mark.parametrize("output", ["panned.npz", "panned.safetensors"])
def test_fit_and_apply(lr: str, output: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert _run(f"vpfa fit --lr {lr} --hr hr.npz -o vp.safetensors", *FAST) == 0
    assert "vp.safetensors: 1 module for features of 6, 6 pairs" in capsys.readouterr().out
    assert _run(f"vpfa apply vp.safetensors lr.npz -o {output}") == 0
    assert f"{output}: 24 features panned, 6 numbers each" in capsys.readouterr().out
    before = dict(np.load("lr.npz"))
    after = dict(np.load(output)) if output.endswith("npz") else load_file(output)
    panning = VectorPanning.load("vp.safetensors")
    assert (
        panning.get_params().items() >= {"hidden": 8, "n_pairs": 32, "epochs": 2, "residual": True, "seed": 0}.items()
    )
    np.testing.assert_array_equal(after["features"], panning.transform(before["features"]))
    np.testing.assert_array_equal(after["pid"], before["pid"])
    assert after.keys() == (before.keys() if output.endswith("npz") else before.keys() - {"path"})


def test_a_module_per_rate(folder: Path, capsys: pytest.CaptureFixture) -> None:
    fit = "vpfa fit --lr rated.npz --hr hr.npz -o vp.safetensors --per-rate --no-residual --seed 3"
    assert _run(fit, *FAST) == 0
    assert "2 modules" in capsys.readouterr().out
    panning = VectorPanning.load("vp.safetensors")
    assert (list(panning.maps_), panning.residual, panning.seed) == ([2, 4], False, 3)
    assert _run("vpfa apply vp.safetensors rated.npz -o panned.npz") == 0
    assert _run("vpfa apply vp.safetensors lr.npz -o panned.npz") == 2
    assert "lr.npz has no array 'rate', and vp.safetensors has a module for each" in capsys.readouterr().err


def test_image_pairs_need_no_identities(folder: Path) -> None:
    fit = "vpfa fit --lr bare_lr.npz --hr bare_hr.npz -o vp.safetensors --pairing image"
    assert _run(fit, *FAST) == 0
    assert VectorPanning.load("vp.safetensors").n_pairs_ == {0: 24}


@pytest.mark.parametrize("hr", ["hr.npz", "bare_hr.npz"])
def test_image_pairs_take_the_hr_rows_once_per_rate(hr: str, folder: Path) -> None:
    blocks, whole = np.load("blocks.npz"), np.load("hr.npz")
    np.savez("hr_twice.npz", features=np.tile(whole["features"], (2, 1)))
    for name, file in (("once", hr), ("twice", "hr_twice.npz")):
        fit = f"vpfa fit --lr blocks.npz --hr {file} -o {name}.safetensors --pairing image --per-rate"
        assert _run(fit, *FAST) == 0
    panning = VectorPanning.load("once.safetensors")
    assert panning.n_pairs_ == {2: 24, 4: 24}
    np.testing.assert_array_equal(
        panning.transform(blocks["features"], blocks["rate"]),
        VectorPanning.load("twice.safetensors").transform(blocks["features"], blocks["rate"]),
    )


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("pairing", ["identity_mean", "image"])
def test_from_a_data_set_to_panned_queries(
    pairing: str, suffix: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REID_LIB_CACHE", str(folder / "cache"))
    torch.save(initialise(osnet_x0_25, 0, torch.device("cpu")).state_dict(), "w.pth")
    options = {"identities": 12, "cameras": 2, "images_per_camera": 1, "size": (64, 32)}
    data = ["--options", *(f"{name}={value}" for name, value in options.items())]
    for name, more in (("lr", "--part train --rates 2 3"), ("hr", "--part train"), ("query", "--part test --rates 2")):
        assert _run(f"features synth --weights w.pth -o {name}.{suffix} {more}", *data) == 0
    fit = f"vpfa fit --lr lr.{suffix} --hr hr.{suffix} -o vp.safetensors --per-rate --pairing {pairing}"
    assert _run(fit, *FAST) == 0
    assert _run(f"vpfa apply vp.safetensors query.{suffix} -o panned.npz") == 0

    synth = datasets.load("synth", **options)
    panning = VectorPanning.load("vp.safetensors")
    pairs = len(synth.part("train")) if pairing == "image" else len(synth.splits[0].train_pids)
    assert panning.n_pairs_ == {2: pairs, 3: pairs}
    query = np.load("query.npz") if suffix == "npz" else load_file("query.safetensors")
    panned = np.load("panned.npz")
    assert query["pid"].tolist() == panned["pid"].tolist() == synth.part("test")["pid"].tolist()
    assert set(panned["rate"].tolist()) == {2}
    np.testing.assert_array_equal(panned["features"], panning.transform(query["features"], query["rate"]))
    assert not np.array_equal(panned["features"], query["features"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit --lr none.npz --hr hr.npz -o vp.safetensors", "no such file: none.npz"),
        ("fit --lr lr.csv --hr hr.npz -o vp.safetensors", "must end in .npz or .safetensors, found lr.csv"),
        ("fit --lr lr.npz --hr hr.npz -o vp.npz", "the output must end in .safetensors, found vp.npz"),
        ("fit --lr lr.npz --hr hr.npz -o none/vp.safetensors", "the folder of none/vp.safetensors does not exist"),
        ("fit --lr text.npz --hr hr.npz -o vp.safetensors", "text.npz cannot be read as a feature file"),
        ("fit --lr text.safetensors --hr hr.npz -o vp.safetensors", "text.safetensors cannot be read"),
        ("fit --lr nameless.npz --hr hr.npz -o vp.safetensors", "has no array 'features', only x"),
        ("fit --lr lr.npz --hr bare_hr.npz -o vp.safetensors", "bare_hr.npz has no array 'pid', which"),
        ("fit --lr lr.npz --hr hr.npz -o vp.safetensors --per-rate", "lr.npz has no array 'rate', which"),
        ("fit --lr narrow.npz --hr hr.npz -o vp.safetensors", "equally wide, found 5 and 6"),
        ("fit --lr lr.npz --hr hr.npz -o vp.safetensors --pairing mean", "one of identity_mean, image, found 'mean'"),
        ("fit --lr lr.npz --hr hr.npz -o vp.safetensors --epochs 0", "epochs must be at least 1, found 0"),
        ("fit --lr hr.npz --hr rated.npz -o vp.safetensors", "rated.npz has features of rate 2, --hr takes those of"),
        ("fit --lr blocks.npz --hr turned.npz -o vp.safetensors --pairing image", "found 48 and 24 rows"),
        ("fit --lr blocks.npz --hr renamed.npz -o vp.safetensors --pairing image", "found 48 and 24 rows"),
        ("fit --lr blocks.npz --hr flat.npz -o vp.safetensors --pairing image", "the shape (rows, width)"),
        ("fit --lr mixed.npz --hr hr.npz -o vp.safetensors --pairing image", "found 48 and 24 rows"),
        ("fit --lr lr.npz --hr turned.npz -o vp.safetensors --pairing image", "found identities 0 and 5 in row 0"),
        ("apply none.safetensors lr.npz -o out.npz", "no such file: none.safetensors"),
        ("apply text.safetensors lr.npz -o out.npz", "text.safetensors is not a whole .safetensors file"),
        ("apply shift.safetensors lr.npz -o out.npz", "holds a MeanShift, asked for a VectorPanning"),
        ("apply shift.safetensors lr.npz -o out.csv", "must end in .npz or .safetensors, found out.csv"),
    ],
)
def test_bad_input_is_one_sentence(line: str, message: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    hr, lr = np.load("hr.npz"), np.load("lr.npz")
    MeanShift(device="cpu").fit(lr["features"], hr["features"], hr["pid"]).save("shift.safetensors")
    assert _run(f"vpfa {line}") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("reid-lib: ")
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert not Path("vp.safetensors").exists()
    assert not Path("out.npz").exists()


@pytest.mark.parametrize("command", ["vpfa", "vpfa fit", "vpfa apply"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        _run(command, "--help")
    assert stopped.value.code == 0
    assert "Example" in capsys.readouterr().out
