"""`reid-lib export`: ONNX files that give what PyTorch gives."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reid_lib import cli, datasets, export
from reid_lib.datasets.image_store import open_store
from reid_lib.evaluation.features import frozen_features
from reid_lib.evaluation.matchers import FeatureMatcher, PannedMatcher, PerRateMatcher
from reid_lib.networks.lrar import LRARNetwork
from reid_lib.training import roster
from reid_lib.training.lrar import LRARMatcher
from reid_lib.training.starts import build_backbone
from reid_lib.training.vpfa import VectorPanning

SIZE, CPU = (64, 32), torch.device("cpu")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in export.PACKAGES), reason="the extra onnx is not installed"
)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    dataset = datasets.load("synth", identities=12, cameras=2, images_per_camera=1, size=SIZE)
    return open_store(dataset).batch(np.arange(5))


def baseline(size: tuple[int, int] = SIZE) -> FeatureMatcher:
    return FeatureMatcher(build_backbone("tiny", 8, "none", SIZE).eval(), size, CPU)


def lrar() -> LRARMatcher:
    return LRARMatcher(LRARNetwork(build_backbone("tiny", 8, "none", SIZE), 6, 4), (1, 2, 3, 4), SIZE, CPU)


def panned(per_rate: bool = False) -> PannedMatcher:
    own = baseline()
    hr = np.random.default_rng(0).normal(size=(24, own.embed.dim)).astype(np.float32)
    panning = VectorPanning(hidden=8, n_pairs=16, epochs=1, per_rate=per_rate, device="cpu", progress=False)
    panning.fit(hr - 1, hr, np.arange(24) // 4, np.full(24, 2) if per_rate else None)
    return PannedMatcher(own.embed, SIZE, CPU, panning)


def test_the_parts_give_what_the_matcher_gives(images: torch.Tensor) -> None:
    for matcher in (baseline(), lrar(), panned()):
        for name, part in export.parts(matcher).items():
            with torch.no_grad():
                own = part.module.eval()(images)
            torch.testing.assert_close(own, part.reference(images), rtol=1e-4, atol=1e-5, msg=name)


def test_a_weight_files_features_are_those_that_vpfa_was_fitted_on(images: torch.Tensor) -> None:
    matcher = baseline()
    dataset = datasets.load("synth", identities=12, cameras=2, images_per_camera=1, size=SIZE)
    part = export.weight_file_parts(matcher)[""]
    with torch.no_grad():
        own = part.module.eval()(images)
    written = frozen_features(matcher, dataset)(np.arange(5), np.ones(5, int))
    torch.testing.assert_close(own, written.float(), rtol=1e-4, atol=1e-4)
    assert (own.norm(dim=1) - 1).abs().min() > 0.01
    assert part.metadata["length"] == "as the network gives it"


def test_levels_say_what_they_are() -> None:
    found = export.parts(lrar())
    assert list(found) == ["level1", "level2", "level3", "level4"]
    assert [part.metadata["rates"] for part in found.values()] == [[4], [3], [2], [1]]
    assert [part.metadata["side"] for part in found.values()] == ["query"] * 3 + ["query and gallery"]


@needs_onnx
@pytest.mark.parametrize("size", [SIZE, (96, 48), (40, 24)])
def test_a_file_is_the_network_with_its_resize(size: tuple[int, int], images: torch.Tensor, tmp_path: Path) -> None:
    import onnx

    file = tmp_path / "model.onnx"
    part = export.parts(baseline(size))[""]
    assert export.export(part, images, file) >= export.COSINE
    metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert metadata["input"] == "[3, 64, 32]"
    assert metadata["size"] == str(list(size))
    assert metadata["rates"] == "any"


@needs_onnx
def test_a_file_that_differs_is_not_written(images: torch.Tensor, tmp_path: Path) -> None:
    part, other = export.parts(lrar())["level1"], export.parts(lrar())["level4"]
    wrong = export.Part(part.module, other.reference, part.metadata)
    with pytest.raises(export.ExportError, match="onnxruntime differs from PyTorch"):
        export.export(wrong, images, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_what_is_several_networks_is_refused() -> None:
    with pytest.raises(export.ExportError, match="PerRateMatcher is not one feed-forward network"):
        export.parts(PerRateMatcher({1: baseline()}))
    with pytest.raises(export.ExportError, match="a map for each rate is several networks"):
        export.parts(panned(per_rate=True))


@needs_onnx
def test_a_warning_of_the_network_itself_is_seen(images: torch.Tensor, tmp_path: Path) -> None:
    class Speaking(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            warnings.warn("the network's own", UserWarning, stacklevel=1)
            return x.float().flatten(1)

    part = export.Part(Speaking(), lambda x: x.float().flatten(1), {})
    with pytest.warns(UserWarning, match="the network's own"):
        export.export(part, images, tmp_path / "model.onnx")


def test_the_names_are_known_before_the_training() -> None:
    known = roster.roster("smoke")
    assert export.part_names("LRAR", known["LRAR"].config) == tuple(export.parts(lrar()))
    assert export.part_names("HR only + VPFA", known["HR only + VPFA"].config) == tuple(export.parts(panned()))
    assert export.part_names("HR + LR", known["HR + LR"].config) == tuple(export.parts(baseline()))
    assert export.part_names("INTACT", known["INTACT"].config) == ("query", "gallery", "G")


@needs_onnx
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("drfm", "DRFM is not one feed-forward network: what can be exported is"),
        ("naive", "one model per rate is not one feed-forward network"),
        ("lrar --part level9", "part must be one of level1, level2, level3, level4; found 'level9'"),
        ("cadnet --part query", "CAD-Net is one network: leave --part out; found 'query'"),
        ("none.pth", "there is no weight file none.pth: give its path"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_it_is_trained(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(roster, "train_all", lambda *args, **options: pytest.fail("it was trained"))
    assert cli.main(["export", *line.split(), "--profile", "smoke", "-o", str(tmp_path / "x.onnx")]) == 2
    assert message in capsys.readouterr().err


def test_a_weight_file_is_told_from_vpfas_module(tmp_path: Path) -> None:
    panned().panning.save(tmp_path / "vpfa.safetensors")
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "osnet.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"x")
    found = {file.stem: export.is_panning(file) for file in tmp_path.glob("*.safetensors")}
    assert found == {"vpfa": True, "osnet": False, "torn": False}


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "PACKAGES", ("no_such_package",))
    assert cli.main(["export", "lrar", "-o", "lrar.onnx"]) == 2
    assert "an export needs no_such_package, not installed: pip install 'reid-lib[onnx]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "message"),
    [("lrar.pt", "the output must end in .onnx"), ("none/lrar.onnx", "the folder of none/lrar.onnx does not exist")],
)
def test_bad_output(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "lrar", "-o", output]) == 2
    assert message in capsys.readouterr().err
