"""From uint8 images to what every network here takes: float32, ImageNet-normalised, at its input size."""

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor, size: tuple[int, int] | None = None) -> Tensor:  # decision BASE-3
    """Resize to ``size`` (if needed), scale to 0..1, subtract ImageNet's mean, divide by its deviation.

    The resize is bilinear with antialias: a smaller size averages over all the pixels that a new pixel
    covers, as Pillow does; for a larger size (the usual case, 128x64 to 256x128) antialias changes nothing.
    The resized values are not rounded to integers.

    Args:
        images: uint8 (N, 3, H, W), RGB, on any device.
        size: (h, w) in pixels, usually the network's ``input_size``; None keeps (H, W).

    Returns:
        float32 (N, 3, h, w) on the device of ``images``.

    Raises:
        TypeError: ``images`` is not uint8.
        ValueError: ``images`` is not (N, 3, H, W).
    """
    if images.dtype != torch.uint8:
        raise TypeError(
            f"expected uint8 images (0..255), found {images.dtype}; give the images before any normalisation"
        )
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"expected images of shape (N, 3, H, W), found {tuple(images.shape)}; put the 3 colours second"
        )
    x = images.float()
    if size is not None and tuple(size) != tuple(x.shape[-2:]):
        x = F.interpolate(x, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
    return x.sub_(255 * _of_channels(IMAGENET_MEAN, x)).div_(255 * _of_channels(IMAGENET_STD, x))


def to_network_range(images: Tensor) -> Tensor:
    """Map images (N, 3, H, W) of 0..1 to ImageNet-normalised ones, what `normalise` makes of 0..255."""
    return (images - _of_channels(IMAGENET_MEAN, images)).div_(_of_channels(IMAGENET_STD, images))


def to_image_range(x: Tensor) -> Tensor:
    """Map ImageNet-normalised images (N, 3, H, W) to 0..1."""
    return (x * _of_channels(IMAGENET_STD, x)).add_(_of_channels(IMAGENET_MEAN, x))


def to_uint8(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Map ImageNet-normalised images (N, 3, h, w) to uint8 images (N, 3, H, W) of ``size`` (H, W)."""
    x = to_image_range(x)
    if x.shape[2:] != size:
        x = F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
    return (255 * x).round_().clamp_(0, 255).to(torch.uint8)


def _of_channels(values: tuple[float, ...], x: Tensor) -> Tensor:  # decision ENGINE-15
    """Return a number for each channel as a line (1, 3, 1, W) that lies in memory as the lines of ``x`` do."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    line = x.new_tensor(values).view(1, -1, 1, 1).expand(-1, -1, -1, x.shape[3])
    return line.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
