"""SSIM, PSNR and LPIPS against their definitions in float64, and what must never give a number."""

import hashlib
import math
from pathlib import Path

import lpips as lpips_package
import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.models import alexnet, squeezenet1_1

from reid_lib.evaluation import image_quality as module
from reid_lib.evaluation.image_quality import ALEXNET_SHA256, LPIPS, image_quality, load_lpips, per_image
from reid_lib.networks.weights import WeightsError
from reid_lib.seeds import torch_generator

NETS = {"alex": alexnet, "squeeze": squeezenet1_1}
# where LPIPS looks at a network: after these of its layers (Zhang et al., Section 3; the ReLU of each stage)
LOOKS = {"alex": (1, 4, 7, 9, 11), "squeeze": (1, 4, 7, 9, 10, 11, 12)}


def pair(n: int = 3, size: tuple[int, int] = (40, 33)) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images and noisy ones, uint8."""
    draw = torch_generator(0, "pair")
    coarse = torch.rand(n, 3, 5, 4, generator=draw)
    truth = functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 255
    noise = (
        torch.randn(n, 3, *size, generator=draw)
        * torch.tensor([2.0, 10.0, 30.0])[torch.arange(n) % 3, None, None, None]
    )
    return (truth + noise).clamp(0, 255).to(torch.uint8), truth.to(torch.uint8)


def made_up(folder: Path, net: str) -> Path:
    """A weight file of a random network: for tests of the arithmetic, no number of it means anything."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = NETS[net](weights=None).features.state_dict(prefix="features.")  # LPIPS has no use for the classifier
    torch.save(state, folder / f"{net}.pth")
    return folder / f"{net}.pth"


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory: pytest.TempPathFactory) -> LPIPS:
    return load_lpips("squeeze", made_up(tmp_path_factory.mktemp("weights"), "squeeze"))


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. (2004), Eq. 13, for one image (3, H, W) with values from 0 to 1, window by window."""
    line = np.array([math.exp(-(i**2) / (2 * 1.5**2)) for i in range(-5, 6)])
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2, found = 0.01**2, 0.03**2, []
    for colour in range(3):
        for top in range(x.shape[1] - 10):
            for left in range(x.shape[2] - 10):
                a, b = (z[colour, top : top + 11, left : left + 11] for z in (x, y))
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
                covariance = (window * (a - mean_a) * (b - mean_b)).sum()
                luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
                found.append(luminance * (2 * covariance + c2) / (var_a + var_b + c2))
    return float(np.mean(found))


def slow_lpips(net: str, weights: Path, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """Zhang et al. (2018), Eq. 1, in float64: squared differences of unit-length features, weighted, averaged."""
    network = NETS[net](weights=None).double()
    network.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    linear = torch.load(
        Path(lpips_package.__file__).parent / "weights" / "v0.1" / f"{net}.pth", "cpu", weights_only=True
    )
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = (((2 * z.double() / 255 - 1).permute(0, 2, 3, 1) - shift) / scale for z in (x, y))
    a, b, total, stage = a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2), torch.zeros(len(x)).double(), 0
    with torch.no_grad():
        for number, layer in enumerate(network.features[: LOOKS[net][-1] + 1]):
            a, b = layer(a), layer(b)
            if number in LOOKS[net]:
                unit_a, unit_b = (z / z.square().sum(1, keepdim=True).sqrt().clamp(min=1e-10) for z in (a, b))
                w = linear[f"lin{stage}.model.1.weight"].double()
                total += ((unit_a - unit_b).square() * w).sum(1).mean((1, 2))
                stage += 1
    assert stage == len(LOOKS[net])
    return total.tolist()


def test_ssim_window_by_window() -> None:
    recovered, truth = pair()
    slow = [slow_ssim(x, y) for x, y in zip(recovered.numpy() / 255, truth.numpy() / 255, strict=True)]
    assert per_image(recovered, truth)["ssim"].tolist() == pytest.approx(slow, abs=2e-5)
    assert image_quality(recovered, truth)["ssim"] == pytest.approx(np.mean(slow), abs=2e-5)
    assert max(slow) - min(slow) > 0.2


def test_psnr_pixel_by_pixel() -> None:
    recovered, truth = pair()
    slow = []
    for x, y in zip(recovered.double(), truth.double(), strict=True):
        error = sum((a - b) ** 2 for a, b in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)) / x.numel()
        slow.append(10 * math.log10(255**2 / error))
    assert per_image(recovered, truth)["psnr"].tolist() == pytest.approx(slow, rel=1e-6)
    # the mean of the images' PSNR, not the PSNR of their mean error
    assert image_quality(recovered, truth)["psnr"] == pytest.approx(np.mean(slow), rel=1e-6)


def test_identical_images() -> None:
    recovered, truth = pair()
    assert image_quality(truth, truth) == {"ssim": pytest.approx(1), "psnr": math.inf, "lpips": None}
    recovered[1] = truth[1]
    values = per_image(recovered, truth)["psnr"]
    assert np.isinf(values).tolist() == [False, True, False]
    assert image_quality(recovered, truth)["psnr"] == pytest.approx((values[0] + values[2]) / 2)


def test_bytes_floats_and_chunks_are_all_the_same(squeeze: LPIPS) -> None:
    recovered, truth = pair(5)
    whole = per_image(recovered, truth, squeeze)
    assert whole.equals(per_image(recovered, truth, squeeze))
    for other in (per_image(recovered / 255, truth.double() / 255, squeeze), per_image(recovered, truth, squeeze, 2)):
        np.testing.assert_allclose(other, whole, rtol=1e-4)
    assert len(whole) == 5


@pytest.mark.parametrize("net", NETS)
def test_lpips_by_its_definition(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = made_up(tmp_path, net)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "ALEXNET_SHA256", digest)
    before = torch.random.get_rng_state()
    lpips = load_lpips(net, weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    recovered, truth = pair()
    slow = slow_lpips(net, weights, recovered, truth)
    assert per_image(recovered, truth, lpips)[lpips.metric].tolist() == pytest.approx(slow, rel=1e-4)
    assert (lpips.metric, lpips.sha256) == ({"alex": "lpips", "squeeze": "lpips_squeeze"}[net], digest)


def test_lpips_on_published_weights(shared_data: Path) -> None:
    weights = shared_data / "weights" / "squeezenet1_1_imagenet_from_npy.pth"
    lpips = load_lpips("squeeze", weights)
    recovered, truth = pair(size=(128, 48))
    found = per_image(recovered, truth, lpips)["lpips_squeeze"].tolist()
    assert found == pytest.approx(slow_lpips("squeeze", weights, recovered, truth), rel=1e-4)
    assert 0 < found[0] < found[1] < found[2]  # more noise, farther
    assert lpips.sha256 == "2fc2ddb28f7f8332f8737b5ffd7eaad78b6dd8fe493fcbe3030dc2f4ae60558f"


def test_no_number_stands_under_lpips_without_alexnet(squeeze: LPIPS) -> None:
    recovered, truth = pair()
    without, beside = image_quality(recovered, truth), image_quality(recovered, truth, squeeze)
    assert (set(without), without["lpips"]) == ({"ssim", "psnr", "lpips"}, None)
    assert (set(beside), beside["lpips"]) == ({"ssim", "psnr", "lpips", "lpips_squeeze"}, None)


def test_weight_files_that_are_refused(tmp_path: Path) -> None:
    assert ALEXNET_SHA256.startswith("7be5be79")  # as torchvision's file name says
    with pytest.raises(ValueError, match="net must be one of alex, squeeze, found 'vgg'"):
        load_lpips("vgg", tmp_path / "vgg.pth")
    with pytest.raises(WeightsError, match=r"weight file missing: .*alex\.pth"):
        load_lpips("alex", tmp_path / "alex.pth")
    other = made_up(tmp_path, "squeeze")
    with pytest.raises(
        WeightsError, match=r"not torchvision's alexnet-owt-7be5be79\.pth.*expected sha256 7be5be79.*, found"
    ):
        load_lpips("alex", other)
    state = torch.load(other, weights_only=True)
    del state["features.3.squeeze.weight"]
    torch.save(state, other)
    with pytest.raises(WeightsError, match=r"1 missing \(slice2\.3\.squeeze\.weight\)"):
        load_lpips("squeeze", other)


@pytest.mark.parametrize(
    ("recovered", "message"),
    [
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), r"one shape, found \(2, 3, 32, 32\) and \(2, 3, 40, 33\)"),
        (torch.zeros(1, 3, 40, 33, dtype=torch.uint8), r"one shape, found \(1, 3, 40, 33\) and \(2"),
        (torch.zeros(0, 3, 40, 33, dtype=torch.uint8), "at least one, found shape"),
        (torch.zeros(3, 40, 33, dtype=torch.uint8), r"recovered must be images \(N, 3, H, W\)"),
        (torch.zeros(2, 1, 40, 33, dtype=torch.uint8), r"recovered must be images \(N, 3, H, W\)"),
        (torch.zeros(2, 3, 40, 33, dtype=torch.int64), r"uint8 \(0\.\.255\) or floats from 0 to 1, found torch\.int64"),
        (torch.full((2, 3, 40, 33), 255.0), "floats from 0 to 1, found 255 to 255: scale them"),
        (torch.full((2, 3, 40, 33), -1.0), "floats from 0 to 1, found -1 to -1"),
        (torch.full((2, 3, 40, 33), torch.nan), "floats from 0 to 1, found nan"),
    ],
)
def test_images_that_are_refused(recovered: torch.Tensor, message: str) -> None:
    truth = pair(2)[1]
    with pytest.raises(ValueError, match=message):
        per_image(recovered, truth)


def test_the_smallest_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = pair(size=(10, 40))
    with pytest.raises(ValueError, match="SSIM's window of 11 pixels needs images of 11 x 11 or more, found 10 x 40"):
        image_quality(*small)
    assert image_quality(*pair(size=(11, 11)))["ssim"] < 1
    for net, smallest in (("alex", 31), ("squeeze", 17)):
        weights = made_up(tmp_path, net)
        monkeypatch.setattr(module, "ALEXNET_SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
        lpips = load_lpips(net, weights)
        assert image_quality(*pair(size=(40, smallest)), lpips)[lpips.metric] > 0
        with pytest.raises(ValueError, match=f"network of {lpips.metric} needs images of {smallest} x {smallest}"):
            image_quality(*pair(size=(smallest - 1, 40)), lpips)
        with pytest.raises(RuntimeError):  # the network itself has no use for less
            lpips.network(*torch.zeros(2, 1, 3, smallest - 1, 40))
