from pathlib import Path

import pooch
import pytest
import torch
import torchvision

from reid_lib.networks.resnet import resnet50
from reid_lib.networks.weights import WeightsError
from reid_lib.seeds import torch_generator


def _images(n: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(n, 3, height, width, generator=torch_generator(0, "images"))


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    """torchvision's ResNet-50 with batch norm statistics that are not trivial."""
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def reference_file(reference: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(reference.state_dict(), path)
    return path


def test_equals_torchvision(reference: torch.nn.Module, reference_file: Path):
    network = resnet50(weights=reference_file).eval()
    names = [name for name in reference.state_dict() if not name.startswith("fc.")]
    assert list(network.state_dict()) == names
    x = _images(2, 96, 64)
    reference.fc = torch.nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(network(x), reference(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("last_stride", "size"), [(1, (16, 8)), (2, (8, 4))])
def test_map_and_feature_of_256x128(last_stride: int, size: tuple[int, int]):
    network = resnet50(last_stride).eval()
    assert network.input_size == (256, 128)
    x = _images(1, 256, 128)
    with torch.no_grad():
        maps = network.stages(x)
        assert [tuple(m.shape[1:]) for m in maps] == [
            (64, 128, 64),
            (256, 64, 32),
            (512, 32, 16),
            (1024, 16, 8),
            (2048, *size),
        ]
        assert network.channels == tuple(m.shape[1] for m in maps)
        assert torch.equal(network.feature_map(x), maps[-1])
        assert network(x).shape == (1, network.dim)


def test_last_stride_1_takes_the_same_weights(reference_file: Path):
    network = resnet50(last_stride=1, weights=reference_file)
    assert torch.equal(network.conv1.weight, torch.load(reference_file, weights_only=True)["conv1.weight"])


def test_starts_with_the_spread_of_torchvision(reference: torch.nn.Module):
    for name, weight in resnet50().state_dict().items():
        if weight.ndim == 4:
            assert weight.std() == pytest.approx(reference.state_dict()[name].std().item(), rel=0.1), name


def test_unknown_last_stride():
    with pytest.raises(ValueError, match="last_stride must be 1 or 2, found 3"):
        resnet50(last_stride=3)


def test_imagenet_weights_offline(monkeypatch: pytest.MonkeyPatch):
    def offline(*args, **kwargs):
        raise OSError("name resolution failed")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(
        WeightsError, match=r'could not be downloaded \(OSError\); pass weights="none".* or weights=PATH'
    ):
        resnet50(weights="imagenet")


def test_imagenet_weights_that_were_changed_on_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def download(url: str, output_file: str, _: object) -> None:
        Path(output_file).write_bytes(b"something else")

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *args, **kwargs: download)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    with pytest.raises(WeightsError, match="its sha256 is not the published one"):
        resnet50(weights="imagenet")
    assert not list(tmp_path.glob("resnet50*"))


def test_imagenet_weights_are_taken_from_the_cache(monkeypatch: pytest.MonkeyPatch, reference_file: Path):
    monkeypatch.setattr(pooch, "retrieve", lambda *args, **kwargs: str(reference_file))
    network = resnet50(weights="imagenet")
    assert torch.equal(network.conv1.weight, torch.load(reference_file, weights_only=True)["conv1.weight"])
