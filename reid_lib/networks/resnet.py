"""Residual networks that show their stages (He et al., Deep Residual Learning, CVPR 2016).

Methods reach into it: CAD-Net takes skip connections from the stem and the first three stages, LRAR
multiplies the output of every stage by a mask. Names of weights are torchvision's, so its files load.
"""

from pathlib import Path

import pooch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from reid_lib.networks.encoder import stages
from reid_lib.networks.weights import WeightsError, load_weights

# torchvision publishes the first eight digits only, in the file's name
IMAGENET_SHA256 = "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"


class ResNet(nn.Module):
    """A residual network without classifier.

    Args:
        block: torchvision's `BasicBlock` or `Bottleneck`.
        depths: blocks in each of the four stages.
        width: channels of the stem and of the first stage's blocks; they double with each later stage.
        last_stride: stride of the last stage; 1 keeps its map twice as high and wide (16x8 for 256x128).
        stem_kernel: side of the stem's convolution, whose stride is 2.
        max_pool: True as published; False leaves the max pooling after the stem out and gives its stride of 2
            to the first stage instead, so that later maps have the same sizes.
        input_size: (H, W) in pixels that the network is meant for; other sizes work too.

    Attributes:
        layer1, layer2, layer3, layer4: the four stages.
        channels, strides: of the five maps of `stages`.
        dim: width of the feature.
        input_size: as given.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        width: int = 64,
        last_stride: int = 2,
        stem_kernel: int = 7,
        max_pool: bool = True,
        input_size: tuple[int, int] = (256, 128),
    ) -> None:
        super().__init__()
        if last_stride not in (1, 2):
            raise ValueError(f"last_stride must be 1 or 2, found {last_stride}")
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.channels = (width, *(block.expansion * w for w in widths))
        self.strides = (2, 4, 8, 16, 16 * last_stride)
        self.dim = self.channels[-1]
        self.input_size = input_size
        self.conv1 = nn.Conv2d(3, width, stem_kernel, stride=2, padding=stem_kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if max_pool else nn.Identity()
        strides = (1 if max_pool else 2, 2, 2, last_stride)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, self.channels[i], widths[i], depths[i], strides[i]) for i in range(4)
        )
        self._initialise()

    @property
    def layers(self) -> tuple[nn.Sequential, ...]:
        """The four residual stages, in order."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def stem(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, channels[0], H/2, W/2), before the max pooling."""
        return self.relu(self.bn1(self.conv1(x)))

    def stages(self, x: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to five maps: the stem's (before the max pooling) and each stage's."""
        return stages(self, x)

    def feature_map(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W), ImageNet-normalised, to the last stage's (N, dim, h, w)."""
        return self.stages(x)[-1]

    def pool(self, last: Tensor) -> Tensor:
        """Return the global average of the last map (N, dim, h, w): features (N, dim)."""
        return last.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W), ImageNet-normalised, to features (N, dim)."""
        return self.pool(self.feature_map(x))

    def _initialise(self) -> None:
        # as torchvision: PyTorch's own default is smaller and trains slower from nothing
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution with a stride, computed as one without it on the pixels that the stride leaves.

    The same numbers, but for the fault of oneDNN (uxlfoundation/oneDNN issue 6035): on a CPU the weights' gradient of a
    strided 1x1 convolution of 2 to 15 channels-last channels writes behind its buffer, and the process dies later
    somewhere else, or the gradient is wrong (decision ENGINE-10).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) to (N, c_out, ceil(H / stride), ceil(W / stride))."""
        rows, columns = self.stride
        return functional.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias)


def resnet50(last_stride: int = 2, weights: str | Path = "none") -> ResNet:
    """Return a ResNet-50 with a 2048-d feature, for 256x128 images.

    Args:
        last_stride: 2 as published (map 8x4), 1 as re-ID networks often have it (map 16x8).
        weights: "none" (random start), a PATH to a file with torchvision's names, or "imagenet":
            torchvision's IMAGENET1K_V1, downloaded once into the user's cache folder and checked by sha256.

    Raises:
        WeightsError: the download failed, or the file does not fit (see `weights.load_weights`).
    """
    network = ResNet(Bottleneck, (3, 4, 6, 3), last_stride=last_stride)
    if weights != "none":
        path = _imagenet_file() if weights == "imagenet" else weights
        load_weights(network, path, ignore=("fc.", "classifier."))
    return network


def _imagenet_file() -> Path:
    url = ResNet50_Weights.IMAGENET1K_V1.url
    name = url.rsplit("/", 1)[-1]
    try:
        cache = pooch.os_cache("reid-lib")
        return Path(pooch.retrieve(url, f"sha256:{IMAGENET_SHA256}", fname=name, path=cache, progressbar=True))
    except (OSError, ValueError) as error:  # OSError: no network; ValueError: another sha256
        reason = type(error).__name__ if isinstance(error, OSError) else "its sha256 is not the published one"
        raise WeightsError(
            f"the ImageNet weights of ResNet-50 could not be downloaded ({reason}); pass "
            f'weights="none" for a random start, or weights=PATH to a copy of {name}'
        ) from None


def _stage(block: type[BasicBlock] | type[Bottleneck], c_in: int, width: int, depth: int, stride: int) -> nn.Sequential:
    c_out = width * block.expansion
    shortcut = None
    if stride != 1 or c_in != c_out:
        shortcut = nn.Sequential(PointwiseConv2d(c_in, c_out, 1, stride=stride, bias=False), nn.BatchNorm2d(c_out))
    first = block(c_in, width, stride, shortcut)
    return nn.Sequential(first, *(block(c_out, width) for _ in range(depth - 1)))
