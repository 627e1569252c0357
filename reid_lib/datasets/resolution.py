"""Down-sampling and up-sampling of image batches: how a high-resolution (HR) image becomes a low-resolution (LR) one.

The five papers down-sample an HR image by a rate r and resize it back to its original size. They do not name the
down-sampling kernel; here it is a parameter. A resize is separable, so it is two small matrices: one maps the rows of
an image, one its columns. The same matrices serve CPU and CUDA and all four kernels.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

KERNELS = ("bicubic", "bilinear", "area", "lanczos")

Camera = Callable[[torch.Tensor], torch.Tensor]  # what a camera does to the images that it keeps, see `cameras`

_SUPPORT = {"bicubic": 2.0, "bilinear": 1.0, "area": 0.5, "lanczos": 3.0}


# decision PROTOCOL-3
def degrade(
    images: torch.Tensor, rate: int | torch.Tensor, kernel: str = "bicubic", camera: Camera | None = None
) -> torch.Tensor:
    """Down-sample images by ``rate`` and resize them back: what a far camera leaves of an HR image.

    Down-sampling is anti-aliased and rounded to whole grey levels, as a stored LR image would be; the way back is
    bilinear (CAD-Net, Section 3.1; LRAR, Section III-A).

    Args:
        images: uint8 (N, C, H, W).
        rate: the down-sampling rate r, an integer >= 1 (1 leaves an image as it is), one for all images or (N,). The LR
            image has floor(H/r) x floor(W/r) pixels.
        kernel: down-sampling kernel, one of `KERNELS`.
        camera: what happens to the image at its LR size, before it is resized back (`cameras.jpeg`,
            `cameras.sensor_noise`); an image of rate 1 passes it at its own size. None: nothing.

    Returns:
        uint8 (N, C, H, W) on the device of ``images``.

    Raises:
        ValueError: images of another type or shape, an unknown kernel, a rate below 1, not whole, of the wrong length,
            or so large that less than one pixel would be left.
    """
    _check_images(images)
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, found {kernel!r}")
    rates = _check_rates(rate, len(images), min(images.shape[-2:]))
    if isinstance(rates, int):
        return _degrade(images, rates, kernel, camera)
    if not len(images):
        return images.clone()
    found = rates.unique().tolist()
    chosen = [(rates == r).nonzero()[:, 0].to(images.device) for r in found]
    parts = [_degrade(images.index_select(0, some), r, kernel, camera) for some, r in zip(chosen, found, strict=True)]
    return torch.cat(parts).index_select(0, torch.cat(chosen).argsort())


def downsample(images: torch.Tensor, size: tuple[int, int], kernel: str = "bicubic") -> torch.Tensor:
    """Resize images to a smaller ``size`` = (h, w) with anti-aliasing.

    Args:
        images: uint8 (N, C, H, W).
        size: (h, w) in pixels.
        kernel: one of `KERNELS`.

    Returns:
        uint8 (N, C, h, w).
    """
    _check_images(images)
    return _resize(images, size, kernel)


def upsample(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize uint8 images (N, C, h, w) to a larger ``size`` = (H, W), bilinearly; uint8 (N, C, H, W)."""
    _check_images(images)
    return _resize(images, size, "bilinear")


def _degrade(images: torch.Tensor, rate: int, kernel: str, camera: Camera | None) -> torch.Tensor:
    if rate == 1:
        return camera(images) if camera else images.clone()
    height, width = images.shape[-2:]
    small = downsample(images, (height // rate, width // rate), kernel)
    return upsample(camera(small) if camera else small, (height, width))


def _resize(images: torch.Tensor, size: tuple[int, int], kernel: str) -> torch.Tensor:  # decision ENGINE-15
    height, width = images.shape[-2:]
    rows = _matrix_on(images.device, kernel, height, size[0])
    columns = _matrix_on(images.device, kernel, width, size[1])
    resized = rows @ (images.float() @ columns.T)
    return resized.round_().clamp_(0, 255).to(torch.int16).to(torch.uint8)


@lru_cache(maxsize=256)
def _matrix_on(device: torch.device, kernel: str, n_in: int, n_out: int) -> torch.Tensor:
    return torch.from_numpy(resize_matrix(kernel, n_in, n_out)).to(device)


def resize_matrix(kernel: str, n_in: int, n_out: int) -> np.ndarray:  # decision PROTOCOL-4
    """Return the float32 matrix (n_out, n_in) that resizes a line of ``n_in`` samples to ``n_out``.

    Row i holds the weights of the input samples in output sample i; they sum to 1. When the line shrinks, the kernel
    is stretched by the scale (anti-aliasing), as Pillow does.
    """
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    centres = (np.arange(n_out) + 0.5) * scale
    distance = (np.arange(n_in) + 0.5 - centres[:, None]) / stretch
    weights = np.where(np.abs(distance) < _SUPPORT[kernel], _kernel(kernel, distance), 0.0)
    if kernel == "area":
        weights = _overlap(n_in, n_out, scale)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _kernel(kernel: str, x: np.ndarray) -> np.ndarray:
    """Evaluate a kernel at ``x``, in samples of the smaller grid."""
    a = np.abs(x)
    if kernel == "bilinear":
        return 1 - a
    if kernel == "bicubic":  # Keys, a = -0.5, as in Pillow and MATLAB
        return np.where(a < 1, (1.5 * a - 2.5) * a * a + 1, ((-0.5 * a + 2.5) * a - 4) * a + 2)
    if kernel == "lanczos":
        return np.sinc(x) * np.sinc(x / 3)
    return np.ones_like(x)


def _overlap(n_in: int, n_out: int, scale: float) -> np.ndarray:
    """The share of each output cell that each input cell covers: exact area averaging, also for uneven scales."""
    left, cell = np.arange(n_out)[:, None] * scale, np.arange(n_in)
    return np.clip(np.minimum(left + scale, cell + 1) - np.maximum(left, cell), 0, None)


def _check_images(images: torch.Tensor) -> None:
    if not isinstance(images, torch.Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
        found = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, torch.Tensor) else type(images).__name__
        raise ValueError(f"images must be a uint8 tensor (N, C, H, W), found {found}")


def _check_rates(rate: int | torch.Tensor, n: int, shortest: int) -> int | torch.Tensor:
    rates = torch.as_tensor(rate).cpu()
    if rates.is_floating_point() or rates.is_complex() or rates.dtype == torch.bool:
        raise ValueError(f"rate must be an integer r >= 1 (the image becomes H/r x W/r), found {rate!r}")
    if rates.ndim > 1 or (rates.ndim == 1 and len(rates) != n):
        raise ValueError(f"rate must be one integer or one per image ({n}), found shape {tuple(rates.shape)}")
    low, high = (int(rates.min()), int(rates.max())) if rates.numel() else (1, 1)
    if low < 1 or high > shortest:
        raise ValueError(
            f"rate must lie between 1 and the shorter side, {math.floor(shortest)} pixels, found {low}..{high}"
        )
    return int(rates) if rates.ndim == 0 else rates
