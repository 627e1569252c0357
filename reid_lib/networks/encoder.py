"""What the methods ask of a backbone: five maps, from the stem to the last stage, and a feature of the last."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn


class Encoder(Protocol):
    """A backbone that shows its stages; `resnet.ResNet` and `osnet.OSNet` are such modules.

    Attributes:
        channels: of the five maps, the stem's first.
        strides: of the five maps: a map of stride s has H/s x W/s positions.
        dim: width of the feature.
        input_size: (H, W) in pixels that it is meant for.
        maxpool: what stands between the stem's map and the first stage.
        layers: the four stages, in order.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    dim: int
    input_size: tuple[int, int]
    maxpool: nn.Module

    @property
    def layers(self) -> Sequence[nn.Module]: ...

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W), ImageNet-normalised, to the first map, before ``maxpool``."""
        ...

    def stages(self, x: Tensor) -> list[Tensor]:
        """Map images to all five maps."""
        ...

    def feature_map(self, x: Tensor) -> Tensor:
        """Map images to the last map (N, channels[-1], h, w)."""
        ...

    def pool(self, last: Tensor) -> Tensor:
        """Map the last map (N, channels[-1], h, w) to features (N, dim)."""
        ...


def stages(encoder: Encoder, x: Tensor) -> list[Tensor]:
    """Return the five maps of images (N, 3, H, W).

    To change a map on its way, run the parts: ``x = encoder.maxpool(encoder.stem(x))``, then each of
    ``encoder.layers``.
    """
    maps = [encoder.stem(x)]
    x = encoder.maxpool(maps[0])
    for layer in encoder.layers:
        x = layer(x)
        maps.append(x)
    return maps
