"""The networks of DRFM (Pang et al., MM 2024), Figs. 2 and 3, with the paper's letters.

E_h encodes HR and super-resolved (SHR) images, E_l LR and down-sampled (SLR) ones, Pred predicts an LR feature from an
SHR one, and CRFF fuses the features of both spaces.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from reid_lib.networks.baseline import bn_neck
from reid_lib.networks.encoder import Encoder

FUSIONS = ("CRFF", "FC", "none")


class Spaces(NamedTuple):
    """The features of images in each space, (n, d); None where a variant has no such space."""

    hh: torch.Tensor  # f^h of HR, f^sh of super-resolved images
    ll: torch.Tensor | None = None  # f^l of LR, f^sl of down-sampled images
    fu: torch.Tensor | None = None  # f^hsl and f^lsh, their fusion


class DRFM(nn.Module):
    """E_h, E_l, Pred and the fusion in one module; what a variant does not need is None.

    Args:
        build: builds a backbone; E_h and E_l have one each.
        two_spaces: whether there is an E_l; else all images pass E_h.
        predict: whether there is a Pred (for L_ic).
        fusion: "CRFF" (Eq. 10-13), "FC" (one layer on both features, variant A5) or "none".

    Raises:
        ValueError: an unknown fusion, or a Pred or a fusion without E_l.
    """

    def __init__(
        self, build: Callable[[], Encoder], two_spaces: bool = True, predict: bool = True, fusion: str = "CRFF"
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, found {fusion!r}")
        if not two_spaces and (predict or fusion != "none"):
            raise ValueError("Pred and a fusion need the LR space: they come with CPG")
        self.E_h = ImageEncoder(build())
        self.E_l = ImageEncoder(build()) if two_spaces else None
        self.Pred = nn.Linear(self.dim, self.dim) if predict else None
        self.fusion = {"CRFF": CRFF, "FC": FC}[fusion](self.dim) if fusion != "none" else None

    @property
    def dim(self) -> int:
        """Width of a feature, in every space."""
        return self.E_h.backbone.dim

    @property
    def spaces(self) -> dict[str, bool]:
        """Which of the spaces "hh", "ll" and "fu" there are."""
        return {"hh": True, "ll": self.E_l is not None, "fu": self.fusion is not None}

    def forward(self, x_hh: torch.Tensor, x_ll: torch.Tensor) -> Spaces:
        """Map images to their features in each space.

        Args:
            x_hh: (n, 3, H, W), what the HR space has of each image: the HR or the SHR image.
            x_ll: (n, 3, H, W), what the LR space has of it: the SLR or the LR image. Not used without E_l.
        """
        f_hh = self.E_h(x_hh)
        if self.E_l is None:
            return Spaces(f_hh)
        f_ll = self.E_l(x_ll)
        return Spaces(f_hh, f_ll, None if self.fusion is None else self.fusion(f_hh, f_ll))


class ImageEncoder(nn.Module):
    """A backbone and the batch normalisation of its feature: E_h or E_l."""

    def __init__(self, backbone: Encoder) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, bn_neck(backbone.dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (n, 3, H, W) to features (n, d), of any length."""
        return self.neck(self.backbone(x).float())


class CRFF(nn.Module):
    """Cross-resolution feature fusion (Fig. 3, Eq. 10-13) of features of width ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.F1, self.F2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.F3 = nn.Linear(2 * dim, dim)

    def similarity(self, f_sh: torch.Tensor, f_l: torch.Tensor) -> torch.Tensor:
        """Eq. 10: f~ = Softmax[F1(f_sh) * F2(f_l)], (n, d), rows of sum 1."""
        return torch.softmax(self.F1(f_sh) * self.F2(f_l), dim=1)

    def forward(self, f_sh: torch.Tensor, f_l: torch.Tensor) -> torch.Tensor:
        """Fuse features of the HR and the LR space, both (n, d), to (n, d)."""
        weight = self.similarity(f_sh, f_l)  # Eq. 10
        enhanced_sh = f_sh + f_sh * weight  # Eq. 11
        enhanced_l = f_l + f_l * weight  # Eq. 12
        return self.F3(torch.cat([enhanced_sh, enhanced_l], dim=1))  # Eq. 13


class FC(nn.Module):
    """The plain fusion of variant A5 (4.5): one fully connected layer on both features."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.F3 = nn.Linear(2 * dim, dim)

    def forward(self, f_sh: torch.Tensor, f_l: torch.Tensor) -> torch.Tensor:
        """Fuse features of the HR and the LR space, both (n, d), to (n, d)."""
        return self.F3(torch.cat([f_sh, f_l], dim=1))
