"""The networks of INTACT (Cheng et al., CVPR 2020), Figs. 2, 3 and 5, with the paper's letters.

G is the super-resolution model, D the discriminator, C the re-ID model, phi the inter-task association network and
sigma its bridge. Images are ImageNet-normalised, those that G makes too.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from reid_lib.networks.baseline import Baseline
from reid_lib.networks.inputs import to_network_range

GROUPS = 4  # of residual blocks on the way down, as many on the way up (Fig. 3)
LATENT = 200  # width of f_e (Section 4.3)
ASSOCIATIONS = ("R-to-D", "D-to-R", "common space", "none")  # Fig. 5 (c), (b), (a); no association


class INTACT(nn.Module):
    """G, D, C, phi and sigma in one module; what a variant does not need is None.

    Args:
        critic: C, with its classifier.
        input_size: (H, W) of the images in pixels.
        generator_width, discriminator_width: channels of the first convolution of G and of D.
        discriminate: whether there is a D.
        association: one of `ASSOCIATIONS`; "R-to-D" is the paper's.
        bridge: whether there is a sigma; without it phi is not split at f_e (Fig. 5 (d)).
        residual: whether G adds what it makes to its input; not in the paper.

    Raises:
        ValueError: images whose sides four poolings do not divide.
    """

    def __init__(
        self,
        critic: Baseline,
        input_size: tuple[int, int],
        generator_width: int = 64,
        discriminator_width: int = 64,
        discriminate: bool = True,
        association: str = "R-to-D",
        bridge: bool = True,
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_sides(input_size)
        self.association = association
        self.C = critic.requires_grad_(False)
        self.G = Generator(generator_width, residual)
        self.D = Discriminator(input_size, discriminator_width) if discriminate else None
        self.phi = self.sigma = None
        if association != "none":
            source, target = critic.backbone.dim, self.D.dim
            if association == "D-to-R":
                source, target = target, source
            self.phi = Association(source, target, decode=association != "common space")
            self.sigma = fully_connected(target, target, target, LATENT) if bridge else None

    def train(self, mode: bool = True) -> "INTACT":
        """Put all in training mode but C, which is frozen: its batch normalisation too."""
        super().train(mode)
        self.C.eval()
        return self

    def associated(self, f_c: torch.Tensor, f_d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the association maps from and to: (f_c, f_d), or (f_d, f_c) for "D-to-R"."""
        return (f_d, f_c) if self.association == "D-to-R" else (f_c, f_d)


def check_sides(size: tuple[int, int]) -> None:
    """Raise ValueError for images of ``size`` (H, W) whose sides G's four poolings do not divide."""
    if any(side % 2**GROUPS for side in size):
        raise ValueError(
            f"G halves an image {GROUPS} times, so height and width must be multiples of {2**GROUPS}, found "
            f"{size[0]}x{size[1]}: choose another input_size"
        )


class Generator(nn.Module):  # decision INTACT-1, decision INTACT-2
    """G (Fig. 3): 16 residual blocks in 8 groups of two; four groups with max pooling, four with pixel shuffling.

    A group on the way down doubles the channels, one on the way up halves them.

    Args:
        width: channels at the image's full size.
        residual: whether what it makes is added to its input; without it a sigmoid keeps it within the range of images.
    """

    def __init__(self, width: int = 64, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        widths = [width * 2**i for i in range(GROUPS)]
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        down = [(width, width), *pairwise(widths)]
        up = list(pairwise([*reversed(widths), width]))
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), *blocks(*channels)) for channels in down)
        self.up = nn.ModuleList(nn.Sequential(*blocks(c, c), shuffle(c, c_out)) for c, c_out in up)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        if residual:  # so that an untrained G leaves an image nearly as it is
            nn.init.normal_(self.to_image.weight, std=1e-3)
            nn.init.zeros_(self.to_image.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map LR images at full size (N, 3, H, W) to super-resolved ones, float32 (N, 3, H, W)."""
        check_sides(tuple(x.shape[2:]))
        h = self.stem(x)
        for group in (*self.down, *self.up):
            h = group(h)
        made = self.to_image(h).float()
        return x + made if self.residual else to_network_range(torch.sigmoid(made))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut (He et al., 2016)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, c_in, h, w) to (N, c_out, h, w)."""
        return functional.relu(self.body(x) + self.shortcut(x))


def blocks(c_in: int, c_out: int) -> tuple[nn.Module, nn.Module]:
    """Return a group's two residual blocks; the first changes the number of channels."""
    return ResidualBlock(c_in, c_out), ResidualBlock(c_out, c_out)


def shuffle(c_in: int, c_out: int) -> nn.Sequential:
    """Return SRGAN's sub-pixel convolution: (N, c_in, h, w) to (N, c_out, 2 h, 2 w)."""
    return nn.Sequential(nn.Conv2d(c_in, 4 * c_out, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())


class Discriminator(nn.Module):  # decision INTACT-4
    """D, "similar as" SRGAN's (Ledig et al., 2017): eight convolutions, then two fully connected layers.

    Args:
        size: (H, W) of the images in pixels.
        width: channels of the first convolution; 64 in SRGAN.

    Attributes:
        dim: width of f_d, the last hidden layer: 1024 for ``width`` 64.
    """

    def __init__(self, size: tuple[int, int], width: int = 64) -> None:
        super().__init__()
        self.dim = 16 * width
        layers = [nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2)]
        for c_in, c_out, stride in ((1, 1, 2), (1, 2, 1), (2, 2, 2), (2, 4, 1), (4, 4, 2), (4, 8, 1), (8, 8, 2)):
            layers += [nn.Conv2d(c_in * width, c_out * width, 3, stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(c_out * width), nn.LeakyReLU(0.2)]
        self.convolutions = nn.Sequential(*layers)
        positions = (size[0] // 16) * (size[1] // 16)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(8 * width * positions, self.dim), nn.LeakyReLU(0.2))
        self.verdict = nn.Linear(self.dim, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to f_d (N, dim)."""
        return self.hidden(self.convolutions(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to the logits (N, 1) of "this is an HR image"."""
        return self.verdict(self.features(x))


class Association(nn.Module):  # decision INTACT-5
    """phi: an encoder to the latent f_e and a decoder, three fully connected layers each (Section 4.3).

    Args:
        source, target: widths of what it maps from and to: f_c and f_d.
        decode: whether there is a decoder; the common space of Fig. 5 (a) has none: source and target meet in f_e.
    """

    def __init__(self, source: int, target: int, decode: bool = True) -> None:
        super().__init__()
        self.encoder = fully_connected(source, source, source, LATENT)
        self.decoder = fully_connected(LATENT, target, target, target) if decode else None

    def forward(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map f_c (N, d_c) to f_e (N, 200) and phi(f_c) (N, d_d); None without a decoder."""
        latent = self.encoder(source)
        return latent, None if self.decoder is None else self.decoder(latent)


def fully_connected(*widths: int) -> nn.Sequential:
    """Return fully connected layers, each with batch normalisation behind it, and ReLU between them."""
    layers = [
        layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU())
    ]
    return nn.Sequential(*layers[:-1])
