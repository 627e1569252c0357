"""The plain re-ID network of "Bag of Tricks" (Luo et al., CVPRW 2019): a backbone, a BN neck and a classifier."""

import torch
from torch import nn


class Baseline(nn.Module):
    """A backbone, batch normalisation of its feature, and a classifier without bias (the "BN neck").

    Args:
        backbone: maps images (N, 3, H, W) to features (N, ``dim``).
        identities: number of training identities.
    """

    def __init__(self, backbone: nn.Module, identities: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = nn.BatchNorm1d(backbone.dim)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(backbone.dim, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=1e-3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map images (N, 3, H, W) to features (N, dim) for the triplet loss and logits (N, identities)."""
        feature = self.backbone(x)
        return feature, self.classifier(self.neck(feature.float()))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to the features (N, dim) after the batch normalisation, for matching."""
        return self.neck(self.backbone(x).float())
