"""Super-resolution behind one interface: bicubic, a trained generator, or a checkpoint that spandrel knows.

Each has ``upscale``, from LR images at their own size to HR ones, and ``recover``, from LR images that were resized to
the HR size, as the MLR protocol has them. With ``recover`` each is a `evaluation.recovery.Recoverer`::

    sr = Checkpoint("x4_swin2sr.pth", scale=4)
    RecoveredMatcher(matcher, sr)  # queries pass the model, gallery images do not
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from reid_lib.networks.inputs import normalise, to_uint8
from reid_lib.networks.weights import WeightsError, load_state


class SuperResolution:  # decision INTACT-9
    """Makes images ``scale`` times as high and wide.

    Args:
        scale: an integer >= 1.
        device: where its images go; None: the CPU.

    Attributes:
        split: the split on whose training identities it was trained; None: on no identity of the data set.
    """

    split: int | None = None

    def __init__(self, scale: int, device: torch.device | None = None) -> None:
        if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
            raise ValueError(f"scale must be a whole number >= 1, found {scale!r}")
        self.scale, self.device = scale, device or torch.device("cpu")

    def upscale(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 LR images (n, 3, h, w) to HR images, uint8 (n, 3, scale h, scale w)."""
        raise NotImplementedError

    @torch.inference_mode()
    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, H, W), LR images that were resized, to HR images, uint8 (n, 3, H, W).

        They are shrunk by ``scale`` first: an LR image of that rate or a higher one loses nothing by it.

        Raises:
            ValueError: sides that ``scale`` does not divide.
        """
        height, width = images.shape[2:]
        if height % self.scale or width % self.scale:
            raise ValueError(
                f"a model of scale {self.scale} needs images whose sides it divides, found {height}x{width}: take a "
                "model of another scale, or images of another size"
            )
        images = images.to(self.device)
        return self.upscale(_resize(images, (height // self.scale, width // self.scale), "bicubic"))


class Bicubic(SuperResolution):
    """Bicubic interpolation: the yardstick of every super-resolution."""

    def upscale(self, images: torch.Tensor) -> torch.Tensor:
        """Interpolate uint8 images (n, 3, h, w) to (n, 3, scale h, scale w)."""
        images = images.to(self.device)
        height, width = images.shape[2:]
        return _resize(images, (self.scale * height, self.scale * width), "bicubic")


class Generated(SuperResolution):
    """A trained generator that takes LR images resized to the HR size, as INTACT's does.

    Args:
        generator: maps ImageNet-normalised images (N, 3, H, W) to such images; put into eval mode.
        input_size: (H, W) that it takes.
        device: where it is.
        split: the split on whose training identities it was trained.
        scale: of `upscale`; `recover` needs none.
    """

    def __init__(
        self,
        generator: nn.Module,
        input_size: tuple[int, int],
        device: torch.device,
        split: int | None = None,
        scale: int = 4,
    ) -> None:
        super().__init__(scale, device)
        self.generator, self.input_size, self.split = generator.eval(), input_size, split

    def upscale(self, images: torch.Tensor) -> torch.Tensor:
        """Resize uint8 images (n, 3, h, w) by ``scale``, bilinearly, and recover them."""
        images = images.to(self.device)
        height, width = images.shape[2:]
        return self.recover(_resize(images, (self.scale * height, self.scale * width), "bilinear"))

    @torch.inference_mode()
    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, H, W), resized LR images, to HR images, uint8 (n, 3, H, W)."""
        inputs = normalise(images.to(self.device), self.input_size).contiguous(memory_format=torch.channels_last)
        return to_uint8(self.generator(inputs), tuple(images.shape[2:]))


class Checkpoint(SuperResolution):
    """A super-resolution checkpoint of any architecture that spandrel knows: Swin2SR, ESRGAN, SwinIR and many more.

    Args:
        path: the file (`weights.load_state`: tensors only).
        scale: the scale that the data need; the model must have it.
        device: where it runs; None: the CPU.

    Raises:
        ImportError: spandrel is not installed.
        WeightsError: no such file, a damaged one, one of no architecture that spandrel knows, one that does not map
            colour images to colour images, or a model of another scale.
    """

    def __init__(self, path: str | Path, scale: int, device: torch.device | None = None) -> None:
        super().__init__(scale, device)
        try:
            import spandrel
        except ImportError:
            raise ImportError(
                "a super-resolution checkpoint is read with spandrel, which is not installed: "
                "pip install 'reid-lib[sr]'"
            ) from None
        try:
            model = spandrel.ModelLoader().load_from_state_dict(load_state(path))
        except spandrel.UnsupportedModelError:
            raise WeightsError(
                f"{path} is of no architecture that spandrel {spandrel.__version__} knows: give a super-resolution "
                "checkpoint as its authors publish it (Swin2SR, SwinIR, ESRGAN, ...)"
            ) from None
        colours = (getattr(model, "input_channels", None), getattr(model, "output_channels", None))
        if colours != (3, 3) or not isinstance(model, spandrel.ImageModelDescriptor):
            raise WeightsError(f"{path} does not map colour images to colour images, found {model.architecture.name}")
        if model.scale != scale:
            raise WeightsError(f"{path} is a model of scale {model.scale}, the data need scale {scale}: give another")
        self.model = model.to(self.device).eval()

    @torch.inference_mode()
    def upscale(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, h, w) to uint8 (n, 3, scale h, scale w)."""
        return _to_bytes(self.model(images.to(self.device).float() / 255))


def _resize(images: torch.Tensor, size: tuple[int, int], mode: str) -> torch.Tensor:
    if tuple(images.shape[2:]) == size:
        return images
    resized = functional.interpolate(images.float() / 255, size=size, mode=mode, antialias=True, align_corners=False)
    return _to_bytes(resized)


def _to_bytes(images: torch.Tensor) -> torch.Tensor:
    return (255 * images.float()).round_().clamp_(0, 255).to(torch.uint8)
