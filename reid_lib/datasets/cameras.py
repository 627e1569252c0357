"""What a camera does to the LR image that it keeps: functions for ``resolution.degrade(..., camera=...)``.

No paper down-samples with anything but a kernel. A camera that is far away also compresses and adds noise, at its own
small size: `degrade` calls these before the image is resized back.
"""

import io
import zlib

import numpy as np
import torch
from PIL import Image

from reid_lib.datasets.resolution import Camera
from reid_lib.seeds import torch_generator


def jpeg(quality: int) -> Camera:
    """Return a camera that stores each image as JPEG and reads it again.

    Args:
        quality: 1 to 100, as libjpeg counts it.

    Raises:
        ValueError: another quality.
    """
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"the JPEG quality must be a whole number from 1 to 100, found {quality!r}")

    def camera(images: torch.Tensor) -> torch.Tensor:
        if not len(images):
            return images
        read = [_stored(one, quality) for one in images.permute(0, 2, 3, 1).cpu().numpy()]
        return torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2).contiguous().to(images.device)

    return camera


def sensor_noise(std: float, seed: int) -> Camera:
    """Return a camera that adds Gaussian noise, independent for every image, pixel and channel, and rounds.

    An image's noise depends on the seed and on the image alone, so that it is the same in every batch.

    Args:
        std: standard deviation in grey levels (of 255), > 0.
        seed: an integer >= 0.

    Raises:
        ValueError: a standard deviation that is not above 0, or a negative seed.
    """
    if not 0 < std < float("inf"):
        raise ValueError(f"the standard deviation of noise must be above 0 grey levels, found {std!r}")
    torch_generator(seed)

    def camera(images: torch.Tensor) -> torch.Tensor:
        if not len(images):
            return images
        noise = [
            torch.randn(one.shape, generator=torch_generator(seed, "sensor noise", zlib.crc32(one.numpy().tobytes())))
            for one in images.cpu().contiguous()
        ]
        noisy = images.float() + std * torch.stack(noise).to(images.device)
        return noisy.round_().clamp_(0, 255).to(torch.uint8)

    return camera


def _stored(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
