import subprocess
import sys
from pathlib import Path

import pooch
import pytest
import torch
import torchvision

from reid_lib.networks.cadnet import Decoder, ImageDiscriminator
from reid_lib.networks.cyclegan import CycleGAN
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.networks.resnet import PointwiseConv2d, resnet50
from reid_lib.networks.tiny import tiny
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


@pytest.mark.parametrize("channels", [2, 4, 15, 16])
@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_a_strided_pointwise_convolution_is_the_plain_one(channels: int, size: tuple[int, int]) -> None:
    ours = PointwiseConv2d(channels, 8, 1, stride=2, bias=False).double()
    x = torch.randn(3, channels, *size, dtype=torch.float64, generator=torch_generator(0)).requires_grad_()
    weight = ours.weight.detach().clone().requires_grad_()
    # float64 and contiguous: not the kernels of the fault
    expected = torch.nn.functional.conv2d(x, weight, stride=2)
    signs = torch.randn(expected.shape, dtype=torch.float64, generator=torch_generator(1))
    (wanted_x, wanted_weight) = torch.autograd.grad((expected * signs).sum(), (x, weight))
    found = ours(x)
    (found_x, found_weight) = torch.autograd.grad((found * signs).sum(), (x, ours.weight))
    for a, b in ((found, expected), (found_x, wanted_x), (found_weight, wanted_weight)):
        torch.testing.assert_close(a, b)


def test_no_network_here_has_the_convolution_that_corrupts_memory() -> None:
    """A plain 1x1 convolution with a stride; see `PointwiseConv2d`."""
    with torch.device("meta"):
        networks = [tiny(4), resnet50(), osnet_x0_25(), CycleGAN(2, 1), ImageDiscriminator(4), Decoder(tiny(4))]
    for network in networks:
        for module in network.modules():
            strided = isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1)
            assert not strided or isinstance(module, PointwiseConv2d), module


def test_a_small_network_survives_its_backward_pass_on_two_threads() -> None:
    """The plain form of this convolution kills the process, here or later (decision ENGINE-10)."""
    code = (
        "import torch; from reid_lib.networks.resnet import PointwiseConv2d; torch.set_num_threads(2)\n"
        "net = PointwiseConv2d(8, 16, 1, stride=2, bias=False).to(memory_format=torch.channels_last)\n"
        "x = torch.randn(8, 8, 128, 64).to(memory_format=torch.channels_last)\n"
        "for _ in range(20):\n"
        "    with torch.autocast('cpu', torch.bfloat16): y = net(x)\n"
        "    y.float().sum().backward()\n"
        "print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
