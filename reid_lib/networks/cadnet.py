"""The networks of CAD-Net ("Recover and Identify" of cross-resolution re-ID, Li et al., ICCV 2019), Fig. 2.

They carry the paper's letters: encoder E, decoder G, HR encoder F, classifier C, discriminators D_F and D_I. Images are
ImageNet-normalised, those that G recovers too.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

from reid_lib.networks.baseline import bn_neck, neck_classifier
from reid_lib.networks.encoder import Encoder
from reid_lib.networks.inputs import to_network_range
from reid_lib.networks.resnet import ResNet

FEATURES = ("both", "f", "g")


class CADNet(nn.Module):
    """E, G, F, C, D_F and D_I in one module; what a variant does not need is None.

    Args:
        encoder: E.
        hr_encoder: F, of the same kind; None leaves it out, for ``features="f"``.
        identities: training identities; None leaves C out.
        input_size: (H, W) of the images in pixels.
        features: what C and the matching take: "both" is v = [f, g], or "f" or "g" alone (Table 1).
        decode, discriminate_features, discriminate_images: whether there is a G, a D_F, a D_I.
        discriminator_width: channels of the first layer of both, 64 in the paper's.
        neck: whether a batch normalisation stands between u and C, and what is matched is behind it; not in the paper.

    Raises:
        ValueError: images whose sides G cannot reach by doubling the last map.
    """

    def __init__(
        self,
        encoder: Encoder,
        hr_encoder: Encoder | None,
        identities: int | None,
        input_size: tuple[int, int],
        features: str = "both",
        decode: bool = True,
        discriminate_features: bool = True,
        discriminate_images: bool = True,
        discriminator_width: int = 64,
        neck: bool = False,
    ) -> None:
        super().__init__()
        self.features = features
        self.E, self.G, self.F = encoder, Decoder(encoder) if decode else None, hr_encoder
        height, width = map_size(input_size, encoder.strides[-1])
        dim = encoder.channels[-1] * (2 if features == "both" else 1)
        self.neck = bn_neck(dim) if neck else None
        self.C = None if identities is None else (neck_classifier if neck else nn.Linear)(dim, identities)
        self.D_F = self.D_I = None
        if discriminate_features:
            self.D_F = ResolutionDiscriminator(encoder.channels[-1], (height, width), discriminator_width)
        if discriminate_images:
            self.D_I = ImageDiscriminator(discriminator_width)

    def recover(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to recovered HR images G(E(x)), float32 (N, 3, H, W), within the range of images."""
        map_size(tuple(x.shape[2:]), self.E.strides[-1])
        return self.G(self.E.stages(x))

    def joint_feature(self, f: torch.Tensor, recovered: torch.Tensor | None) -> torch.Tensor:
        """Map f (N, d, h, w) and G(f) (N, 3, H, W) to u = GAP(v), float32 (N, 2 d); d for "f" or "g" alone.

        Where ``features`` is "f", ``recovered`` is not looked at.
        """
        maps = [] if self.features == "g" else [f]
        if self.features != "f":
            maps.append(self.F.feature_map(recovered))
        return torch.cat([m.mean((2, 3)) for m in maps], 1).float()  # GAP([f, g]) = [GAP(f), GAP(g)]

    def classify(self, u: torch.Tensor) -> torch.Tensor:
        """Map u (N, 2 d) to C's logits (N, identities)."""
        return self.C(u if self.neck is None else self.neck(u))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to u (N, 2 d), which is matched by Euclidean distance (Section 3.1)."""
        map_size(tuple(x.shape[2:]), self.E.strides[-1])
        maps = self.E.stages(x)
        u = self.joint_feature(maps[-1], None if self.features == "f" else self.G(maps))
        return u if self.neck is None else self.neck(u)


def map_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return (h, w) of E's last map, of ``stride``, for images of ``size`` (H, W); ValueError if it does not divide."""
    height, width = size
    if height % stride or width % stride:
        raise ValueError(
            f"the decoder doubles a map of 1/{stride} of the image's size, so height and width must be multiples of "
            f"{stride}, found {height}x{width}: choose another input_size"
        )
    return height // stride, width // stride


class Decoder(nn.Module):  # decision CADNET-3, decision CADNET-4
    """G: residual up-sampling blocks (Miyato et al.), to which E's maps are added on the way (Ledig et al.).

    A block's output has as many channels as the map of E that is added to it; the last block, which meets none, has
    half as many as the stem.

    Args:
        encoder: E, of which only the channels and strides of its maps are looked at.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        widths = [*reversed(encoder.channels), max(1, encoder.channels[0] // 2)]
        scales = [larger // smaller for larger, smaller in pairwise([*reversed(encoder.strides), 1])]
        self.blocks = nn.ModuleList(
            UpBlock(*channels, scale) for channels, scale in zip(pairwise(widths), scales, strict=True)
        )
        self.to_image = nn.Sequential(
            nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), nn.Conv2d(widths[-1], 3, 3, padding=1)
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Map E's five maps (`Encoder.stages`) to recovered images, float32 (N, 3, H, W), ImageNet-normalised."""
        *skips, x = maps
        for block, skip in zip(self.blocks, [*reversed(skips), None], strict=True):
            x = block(x)
            if skip is not None:
                x = x + skip
        return to_network_range(torch.sigmoid(self.to_image(x).float()))


class UpBlock(nn.Module):
    """Residual up-sampling block (Miyato et al., 2018): the map gets ``scale`` times as high and wide, nearest."""

    def __init__(self, c_in: int, c_out: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.bn1, self.conv1 = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(c_out), nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, c_in, h, w) to (N, c_out, scale h, scale w)."""
        rest = self.conv1(self._up(functional.relu(self.bn1(x))))
        rest = self.conv2(functional.relu(self.bn2(rest)))
        return rest + self._up(self.shortcut(x))  # a 1x1 convolution may stand before the up-sampling: four times less

    def _up(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.scale == 1 else functional.interpolate(x, scale_factor=self.scale, mode="nearest")


class ResolutionDiscriminator(nn.Sequential):  # decision CADNET-5
    """D_F (Tsai et al., 2018): five convolutions, leaky ReLU 0.2 between; one logit ("this is HR") for each position.

    Tsai et al. have 4x4 convolutions of stride 2 and far larger maps. Here a layer has them while both sides of its
    map have at least two positions; the others are 3x3 of stride 1.

    Args:
        dim: channels of the map f.
        size: (h, w) of the map f.
        width: channels of the first layer; they double up to the fourth.
    """

    def __init__(self, dim: int, size: tuple[int, int], width: int = 64) -> None:
        layers, side = [], min(size)
        channels = [dim, width, 2 * width, 4 * width, 8 * width, 1]
        for c_in, c_out in pairwise(channels):
            shrink = side >= 2
            layers += [nn.Conv2d(c_in, c_out, 4 if shrink else 3, stride=2 if shrink else 1, padding=1)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            side = side // 2 if shrink else side
        super().__init__(*layers[:-1])
        for layer in layers[::2]:
            # PyTorch's own start shrinks the signal in every layer, and SGD at the paper's rate hardly moves it then
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)


class ImageDiscriminator(nn.Module):
    """D_I: a ResNet-18 of one logit, "this is a true HR image", with ``width`` channels in its first stage."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.backbone = ResNet(BasicBlock, (2, 2, 2, 2), width)
        self.verdict = nn.Linear(self.backbone.dim, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N,)."""
        return self.verdict(self.backbone(x)).squeeze(1)
