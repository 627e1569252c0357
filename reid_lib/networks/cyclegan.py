"""CycleGAN's networks (Zhu et al., ICCV 2017, Section 4 and appendix 7.2): two generators and two discriminators."""

import torch
from torch import nn

SMALLEST = 24  # pixels: the discriminator's five convolutions leave one patch


class CycleGAN(nn.Module):
    """G maps LR to HR images, F HR to LR ones; d_hr and d_lr judge HR and LR images (the paper's D_Y and D_X).

    All weights start from a Gaussian of deviation 0.02.

    Args:
        width: channels of the first convolution of each network.
        blocks: residual blocks of a generator.
    """

    def __init__(self, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.g, self.f = generator(width, blocks), generator(width, blocks)
        self.d_hr, self.d_lr = discriminator(width), discriminator(width)
        self.apply(_start)


class ResidualBlock(nn.Module):
    """x plus two 3 x 3 convolutions of x, as many channels as it has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        pad, conv = nn.ReflectionPad2d, nn.Conv2d
        self.body = nn.Sequential(
            *(pad(1), conv(width, width, 3, bias=False), nn.InstanceNorm2d(width), nn.ReLU()),
            *(pad(1), conv(width, width, 3, bias=False), nn.InstanceNorm2d(width)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, width, h, w) to the same shape."""
        return x + self.body(x)


def generator(width: int, blocks: int) -> nn.Sequential:
    """c7s1-64, d128, d256, ``blocks`` times R256, u128, u64, c7s1-3 (for width 64) with instance normalisation.

    It maps images (N, 3, H, W) with values from -1 to 1 to such images; H and W are multiples of 4.
    """
    layers = [nn.ReflectionPad2d(3), *_normed(nn.Conv2d(3, width, 7, bias=False), nn.ReLU())]
    for w in (width, 2 * width):
        layers += _normed(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1, bias=False), nn.ReLU())
    layers += [ResidualBlock(4 * width) for _ in range(blocks)]
    for w in (4 * width, 2 * width):
        up = nn.ConvTranspose2d(w, w // 2, 3, stride=2, padding=1, output_padding=1, bias=False)
        layers += _normed(up, nn.ReLU())
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())


def discriminator(width: int) -> nn.Sequential:
    """70 x 70 PatchGAN: C64, C128, C256, C512 (for width 64) and a convolution to one number per patch.

    It maps images (N, 3, H, W), H and W at least `SMALLEST`, to scores (N, 1, H // 8 - 2, W // 8 - 2).
    """
    layers = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for w, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
        layers += _normed(nn.Conv2d(w, 2 * w, 4, stride, padding=1, bias=False), nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))


def _normed(convolution: nn.Module, activation: nn.Module) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(convolution.out_channels), activation]


def _start(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
