"""OSNet with torchreid's names (Zhou et al., Omni-Scale Feature Learning for Person Re-ID, ICCV 2019).

A block looks at its input through four streams of 1, 2, 3 and 4 light 3x3 convolutions (receptive fields 3,
5, 7, 9) and adds them, each weighted per channel by one shared gate (Sections 3.2 and 3.3; Table 1 gives the
sizes).
"""

from pathlib import Path

from torch import Tensor, nn

from reid_lib.networks.encoder import stages
from reid_lib.networks.weights import load_weights


class ConvBNReLU(nn.Module):
    """Convolution, batch normalisation and, unless ``relu=False``, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class LightConv3x3(nn.Module):
    """A 1x1 convolution, then a depth-wise 3x3 one, batch normalisation and ReLU (Fig. 3b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv2(self.conv1(x))))


class ChannelGate(nn.Module):
    """The aggregation gate: the input times a weight in (0, 1) per channel, from the channel averages."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.relu(self.fc1(pooled))).sigmoid()


class OSBlock(nn.Module):
    """The omni-scale residual block (Fig. 4): four streams, one gate for all, and a shortcut."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        mid = c_out // 4
        self.conv1 = ConvBNReLU(c_in, mid)
        self.conv2a = LightConv3x3(mid)
        self.conv2b, self.conv2c, self.conv2d = (
            nn.Sequential(*(LightConv3x3(mid) for _ in range(scale))) for scale in (2, 3, 4)
        )
        self.gate = ChannelGate(mid)
        self.conv3 = ConvBNReLU(mid, c_out, relu=False)
        self.downsample = ConvBNReLU(c_in, c_out, relu=False) if c_in != c_out else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y = (
            self.gate(self.conv2a(y))
            + self.gate(self.conv2b(y))
            + self.gate(self.conv2c(y))
            + self.gate(self.conv2d(y))
        )
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv3(y) + shortcut)


class OSNet(nn.Module):
    """OSNet without classifier: (N, 3, H, W), ImageNet-normalised, to features (N, 512) >= 0.

    Args:
        channels: of the stem and the three stages; (64, 256, 384, 512) is width x1.0.

    Attributes:
        channels, strides: of the five maps of `stages`.
        dim: 512. input_size: (256, 128).
    """

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.channels, self.strides = (c1, c2, c3, c4, c4), (2, 8, 16, 16, 16)
        self.dim = 512
        self.input_size = (256, 128)
        self.conv1 = ConvBNReLU(3, c1, kernel=7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = nn.Sequential(OSBlock(c1, c2), OSBlock(c2, c2), _transition(c2))
        self.conv3 = nn.Sequential(OSBlock(c2, c3), OSBlock(c3, c3), _transition(c3))
        self.conv4 = nn.Sequential(OSBlock(c3, c4), OSBlock(c4, c4))
        self.conv5 = ConvBNReLU(c4, c4)
        self.fc = nn.Sequential(nn.Linear(c4, self.dim), nn.BatchNorm1d(self.dim), nn.ReLU(inplace=True))
        self._initialise()

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """What follows the max pooling, in order: three stages and the last convolution."""
        return self.conv2, self.conv3, self.conv4, self.conv5

    def stem(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, channels[0], H/2, W/2), before the max pooling."""
        return self.conv1(x)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to five maps: the stem's and those after each of ``layers``."""
        return stages(self, x)

    def feature_map(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W), ImageNet-normalised, to (N, channels[-1], H/16, W/16), before ``fc``."""
        return self.stages(x)[-1]

    def pool(self, last: Tensor) -> Tensor:
        """Map the last map to features (N, 512) by its global average and ``fc``."""
        return self.fc(last.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W), ImageNet-normalised, to features (N, 512)."""
        return self.pool(self.feature_map(x))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)


def osnet_x0_25(weights: str | Path = "none") -> OSNet:
    """Return OSNet at a quarter of the width (0.2 million parameters), for 256x128 images.

    Args:
        weights: "none" (random start), or a PATH to a torchreid file; its ``classifier.*`` are ignored.

    Raises:
        WeightsError: see `weights.load_weights`.
    """
    return _osnet((16, 64, 96, 128), weights)


def osnet_x1_0(weights: str | Path = "none") -> OSNet:
    """Return OSNet at full width (2.2 million parameters), for 256x128; ``weights`` as `osnet_x0_25`."""
    return _osnet((64, 256, 384, 512), weights)


def _osnet(channels: tuple[int, int, int, int], weights: str | Path) -> OSNet:
    network = OSNet(channels)
    if weights != "none":
        load_weights(network, weights, ignore=("classifier.",))
    return network


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(ConvBNReLU(channels, channels), nn.AvgPool2d(2, stride=2))
