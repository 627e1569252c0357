"""The network of LRAR ("Learning Resolution-Adaptive Representations", Wu et al., TIP 2023), Section III.

The resolution of an image is its level k: 1 for the lowest resolution, m for HR.
"""

import torch
from torch import nn

from reid_lib.networks.baseline import bn_neck, neck_classifier
from reid_lib.networks.encoder import Encoder


class LRARNetwork(nn.Module):  # decision LRAR-1
    """A residual network whose maps and whose feature depend on each image's level (Fig. 2).

    Args:
        backbone: its feature of ``dim`` numbers, batch-normalised, is v = cat(v_1, ..., v_m).
        identities: C, training identities.
        levels: m, levels of resolution.
        hidden: width of the verification MLP.
        masks: Mechanism 2 (III-C): one mask for each level after each of the four stages.
        varying_length: Mechanism 1 (III-B): an image of level k keeps v_1 to v_k. Without it, it keeps all of v.
        mask_std: deviation of the masks' Gaussian start, before the sigmoid (IV, which does not give it).

    Attributes:
        masked: how many stages use their masks, counted from the classifier (`introduce_masks`).

    Raises:
        ValueError: ``levels`` is below 1 or above the feature's width.
    """

    def __init__(
        self,
        backbone: Encoder,
        identities: int,
        levels: int,
        hidden: int = 512,
        masks: bool = True,
        varying_length: bool = True,
        mask_std: float = 0.01,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= backbone.dim:
            raise ValueError(f"levels must lie between 1 and the feature's width {backbone.dim}, found {levels}")
        self.backbone, self.levels, self.parts = backbone, levels, levels if varying_length else 1
        sizes = backbone.channels[1:] if masks else ()
        self.masks = nn.ParameterList(nn.Parameter(mask_std * torch.randn(levels, channels)) for channels in sizes)
        self.masked = len(self.masks)
        self.neck = bn_neck(backbone.dim)  # of [33], whose training IV takes
        self.classifier = neck_classifier(backbone.dim, identities)
        self.verifier = nn.Sequential(nn.Linear(backbone.dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1))

    def introduce_masks(self, stages: int, frozen: int = 0) -> None:
        """Use the masks of the ``stages`` stages nearest the classifier; fix those of the ``frozen`` nearest (Alg. 1).

        Raises:
            ValueError: not 0 <= ``frozen`` <= ``stages`` <= number of masked stages the network was built with.
        """
        if not 0 <= frozen <= stages <= len(self.masks):
            raise ValueError(
                f"expected 0 <= frozen <= stages <= {len(self.masks)} stages with masks, found frozen={frozen} and "
                f"stages={stages}"
            )
        self.masked = stages
        for index, mask in enumerate(reversed(list(self.masks))):
            mask.requires_grad_(index >= frozen)

    def widths(self, levels: torch.Tensor) -> torch.Tensor:
        """Return how many numbers of v are kept at levels (N,), int64 (N,): v is cut into equal parts."""
        return self.backbone.dim * levels.clamp(max=self.parts) // self.parts

    def forward(self, x: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) of levels (N,), int64 from 1 to m, to features z (N, dim), zero-padded."""
        x = self.backbone.maxpool(self.backbone.stem(x))
        for index, stage in enumerate(self.backbone.layers):
            x = stage(x)
            if len(self.backbone.layers) - index <= self.masked:
                x = scale_by_mask(x, self.masks[index], levels)
        return zero_pad(self.neck(self.backbone.pool(x).to(self.neck.weight.dtype)), self.widths(levels))

    def verify(self, differences: torch.Tensor) -> torch.Tensor:
        """Map differences v_i - v_j (P, dim) of zero-padded features to f(v_ij) (P,), before Eq. 4's sigmoid."""
        return self.verifier(differences).squeeze(1)


def scale_by_mask(x: torch.Tensor, masks: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Scale the channels of each map by the sigmoid of its level's mask (Eq. 3).

    Args:
        x: maps (N, c, h, w).
        masks: (m, c), any real values.
        levels: int64 (N,), 1 to m.

    Returns:
        Maps (N, c, h, w) of the type of ``x``.
    """
    return x * torch.sigmoid(masks)[levels - 1].to(x.dtype)[:, :, None, None]


def zero_pad(features: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """Put zeros behind the first ``widths`` (N,) numbers of features (N, d) (III-E)."""
    indices = torch.arange(features.shape[1], device=features.device)
    return features.masked_fill(indices >= widths[:, None], 0)
