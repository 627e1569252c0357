"""Image files as they are met outside benchmarks: any bit depth, transparency, rotation and size, read rightly or not.

Pillow's own ``convert("RGB")`` clips 16-bit images to white, turns float images black, shows what an alpha channel
hides and ignores the rotation that a phone writes beside the pixels.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values that swap height and width
_OPAQUE = (255, 255)
_AS_8_BIT = "save it as 8-bit RGB or grey"


class PixelsError(ValueError):
    """An image file whose pixels are no 8-bit colours; the message says why, and what to do."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file.

    Raises:
        PixelsError: it has far more pixels than a person image (Pillow's limit against decompression bombs).
        OSError, SyntaxError, ValueError: it is missing or no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PixelsError(f"a decompression bomb, or no person image: {error}") from None
    with image:
        yield image


def height_and_width(image: Image.Image) -> tuple[int, int]:
    """Return (H, W) in pixels of an image as it stands upright, from its header."""
    swapped = image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    return (image.width, image.height) if swapped else (image.height, image.width)


def upright_rgb(image: Image.Image) -> Image.Image:  # decision PROTOCOL-11
    """Return an image as 8-bit RGB, turned as its EXIF data says.

    16-bit grey is divided by 257, which takes white to white.

    Raises:
        PixelsError: float or 32-bit pixels, whose range nobody knows, or transparent ones, behind which nothing is.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        wide = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(wide.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("F", "I"):
        kind = "float" if image.mode == "F" else "32-bit"
        raise PixelsError(f"its pixels are {kind} numbers, whose black and white are not known: {_AS_8_BIT}")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != _OPAQUE:
        raise PixelsError(f"it is transparent in parts, and what is behind is not known: fill it, and {_AS_8_BIT}")
    return image.convert("RGB")
