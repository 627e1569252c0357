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
        self.backbone, self.neck = backbone, bn_neck(backbone.dim)
        self.classifier = neck_classifier(backbone.dim, identities)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map images (N, 3, H, W) to features (N, dim) for the triplet loss and logits (N, identities)."""
        feature = self.backbone(x)
        return feature, self.classifier(self.neck(feature.float()))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to the features (N, dim) after the batch normalisation, for matching."""
        return self.neck(self.backbone(x).float())


def bn_neck(dim: int) -> nn.BatchNorm1d:
    """Return the batch normalisation of features (N, dim) that stands before a classifier; its bias stays zero."""
    neck = nn.BatchNorm1d(dim)
    neck.bias.requires_grad_(False)
    return neck


def neck_classifier(dim: int, identities: int) -> nn.Linear:
    """Return the classifier behind a neck: without bias, and small at its start."""
    classifier = nn.Linear(dim, identities, bias=False)
    nn.init.normal_(classifier.weight, std=1e-3)
    return classifier
