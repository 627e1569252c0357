"""How near a recovered image is to its HR truth: SSIM, PSNR and LPIPS (CAD-Net, Tables 2, 3; INTACT, Table 4).

SSIM and PSNR are torchmetrics', of RGB images with values from 0 to 1 (data range 1). LPIPS is the ``lpips`` package's,
on weights that the user has: nothing is downloaded, and without them there is no number::

    lpips = load_lpips("alex", "alexnet-owt-7be5be79.pth")
    image_quality(recovered, truth, lpips)  # {"ssim": 0.73, "psnr": 20.2, "lpips": 0.07}
    image_quality(recovered, truth)  # {"ssim": 0.73, "psnr": 20.2, "lpips": None}: a table shows "not available"
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import lpips as lpips_package
import pandas as pd
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from reid_lib.digest import file_digest
from reid_lib.networks.weights import WeightsError, load_checked, load_state

# of torchvision's alexnet-owt-7be5be79.pth; of SqueezeNet files several are about, so theirs is noted, not checked
ALEXNET_SHA256 = "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
SSIM_WINDOW = 11  # pixels; a Gaussian of deviation 1.5
_METRIC = {"alex": "lpips", "squeeze": "lpips_squeeze"}
_SMALLEST = {"alex": 31, "squeeze": 17}  # pixels that leave one after the network's last pooling


@dataclass(frozen=True)
class LPIPS:
    """LPIPS (Zhang et al., CVPR 2018) on one network.

    Attributes:
        metric: its name in tables: "lpips" (AlexNet, which the papers have), "lpips_squeeze" (SqueezeNet 1.1).
        network: maps two batches of images with values from -1 to 1 to distances (N, 1, 1, 1).
        sha256: of the weight file, for a result's provenance.
        smallest: the shortest side of an image that it takes, in pixels.
        device: where it is.
    """

    metric: str
    network: torch.nn.Module
    sha256: str
    smallest: int
    device: torch.device

    def __call__(self, recovered: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Return the distance (N,) of each pair of images (N, 3, H, W), floats from 0 to 1."""
        return self.network(2 * recovered - 1, 2 * truth - 1).flatten()


def load_lpips(net: str, weights: str | Path, device: torch.device | str = "cpu") -> LPIPS:  # decision EVAL-6
    """Build LPIPS (version 0.1) on ImageNet weights; its own linear weights come with the ``lpips`` package.

    Args:
        net: "alex", or "squeeze" for those who have no AlexNet weights.
        weights: torchvision's file for AlexNet (alexnet-owt-7be5be79.pth) or SqueezeNet 1.1.
        device: where to compute.

    Raises:
        ValueError: unknown ``net``.
        WeightsError: no such file, a file of another network, or for AlexNet one that is not torchvision's.
    """
    if net not in _METRIC:
        raise ValueError(f"net must be one of {', '.join(_METRIC)}, found {net!r}")
    state = load_state(weights)
    sha256 = file_digest(weights)
    if net == "alex" and sha256 != ALEXNET_SHA256:
        raise WeightsError(
            f"{weights} is not torchvision's alexnet-owt-7be5be79.pth, on which LPIPS is defined: expected sha256 "
            f"{ALEXNET_SHA256}, found {sha256}; copy or download it again"
        )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):  # the random start is overwritten below
        warnings.filterwarnings("ignore", "The parameter 'pretrained' is deprecated|Arguments other than a weight enum")
        network = lpips_package.LPIPS(net=net, pnet_rand=True, verbose=False)
    # "slice2.3.weight" of the lpips package is "features.3.weight" of torchvision
    names = {"features." + name.split(".", 1)[1]: name for name in network.net.state_dict()}
    state = {names.get(name, name): value for name, value in state.items()}
    load_checked(network.net, state, str(weights), ignore=("classifier.",))
    return LPIPS(_METRIC[net], network.to(device).eval(), sha256, _SMALLEST[net], torch.device(device))


def image_quality(
    recovered: torch.Tensor, truth: torch.Tensor, lpips: LPIPS | None = None, batch: int = 64
) -> dict[str, float | None]:
    """Return the mean over images of each column of `per_image`.

    Two identical images have an infinite PSNR: the mean leaves them out, and is infinite when all are identical.

    Args:
        recovered, truth, lpips, batch: those of `per_image`.

    Returns:
        "ssim" (at most 1), "psnr" in dB, "lpips" (>= 0, lower is better), None unless ``lpips`` is on AlexNet, and
        "lpips_squeeze" if it is on SqueezeNet.

    Raises:
        ValueError: see `per_image`.
    """
    values = per_image(recovered, truth, lpips, batch)
    differ = values["psnr"] < torch.inf
    psnr = float(values["psnr"][differ].mean()) if differ.any() else torch.inf
    return values.mean().to_dict() | {"psnr": psnr} | ({} if "lpips" in values else {"lpips": None})


@torch.inference_mode()
# TF32, cuDNN's default on CUDA, has three digits: too few for the variances of SSIM
@torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
def per_image(  # decision EVAL-5
    recovered: torch.Tensor, truth: torch.Tensor, lpips: LPIPS | None = None, batch: int = 64
) -> pd.DataFrame:
    """Compare each recovered image with its truth.

    Args:
        recovered, truth: (N, 3, H, W), RGB, uint8 (0..255) or floats from 0 to 1, each on any device.
        lpips: from `load_lpips`; None leaves LPIPS out.
        batch: images compared at a time.

    Returns:
        One line per image: ``ssim`` (Wang et al., 2004: Gaussian window of 11 pixels and deviation 1.5, k1 = 0.01,
        k2 = 0.03, mean over the colours and the windows that lie inside the image), ``psnr`` in dB (one error over all
        pixels and colours; inf for identical images), and the column ``lpips.metric``.

    Raises:
        ValueError: no image, images of different shapes, of another type or range, or smaller than a metric takes.
    """
    _check(recovered, truth, lpips)
    device = recovered.device if lpips is None else lpips.device
    parts = []
    for start in range(0, len(recovered), batch):
        x, y = (_unit(images[start : start + batch].to(device)) for images in (recovered, truth))
        columns = {"ssim": _ssim(x, y), "psnr": _psnr(x, y)}
        if lpips is not None:
            columns[lpips.metric] = lpips(x, y)
        parts.append(pd.DataFrame({name: column.double().cpu().numpy() for name, column in columns.items()}))
    return pd.concat(parts, ignore_index=True)


def _ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # torchmetrics pads an image by its reflection; the windows of the original definition lie inside
    maps = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none", return_full_image=True)[1]
    edge = SSIM_WINDOW // 2
    return maps[:, :, edge:-edge, edge:-edge].mean((1, 2, 3))


def _psnr(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=(1, 2, 3))


def _unit(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _check(recovered: torch.Tensor, truth: torch.Tensor, lpips: LPIPS | None) -> None:
    for name, images in (("recovered", recovered), ("truth", truth)):
        if images.ndim != 4 or images.shape[1] != 3 or not len(images):
            raise ValueError(f"{name} must be images (N, 3, H, W), at least one, found shape {tuple(images.shape)}")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"{name} must be uint8 (0..255) or floats from 0 to 1, found {images.dtype}")
        if images.is_floating_point() and not ((images >= 0) & (images <= 1)).all():  # NaN is in no range
            raise ValueError(
                f"{name} must hold floats from 0 to 1, found {images.min():.4g} to {images.max():.4g}: scale them, or "
                "give uint8 images"
            )
    if recovered.shape != truth.shape:
        raise ValueError(
            f"recovered and truth must have one shape, found {tuple(recovered.shape)} and {tuple(truth.shape)}"
        )
    takers = {f"SSIM's window of {SSIM_WINDOW} pixels": SSIM_WINDOW}
    if lpips is not None:
        takers[f"the network of {lpips.metric}"] = lpips.smallest
    for taker, smallest in takers.items():
        if min(recovered.shape[2:]) < smallest:
            height, width = recovered.shape[2:]
            raise ValueError(f"{taker} needs images of {smallest} x {smallest} or more, found {height} x {width}")
