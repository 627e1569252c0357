"""Loss terms that several methods share."""

import torch
from torch.nn import functional


def identity_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the identity classifier: mean over the batch of -log softmax(logits)[label].

    Args:
        logits: (N, number of training identities).
        labels: int64 (N,), the index of each image's identity among the training identities.

    Returns:
        A scalar >= 0.
    """
    return functional.cross_entropy(logits.float(), labels)


def euclidean_distances(features: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean distances (N, N) of features (N, d), in float32, with a finite gradient at distance 0."""
    features = features.float()
    squares = features.square().sum(1)
    squared = squares[:, None] + squares - 2 * features @ features.T
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)  # where rounding would leave a rest
    return squared.masked_fill(itself, 0).clamp(min=1e-12).sqrt()


def batch_hard_triplet_loss(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Triplet loss with the hardest pairs of the batch (Hermans et al., 2017; CAD-Net, Eq. 5, uses the same).

    For every anchor: max(0, margin + distance to the farthest image of its identity - distance to the nearest image of
    another identity), then the mean over the batch. Identities may differ in their number of images.

    Args:
        features: (N, d).
        labels: (N,) identities.
        margin: >= 0, in units of the features' Euclidean distance.

    Returns:
        A scalar >= 0.

    Raises:
        ValueError: the batch holds one identity only: there is no negative.
    """
    distances = euclidean_distances(features)
    same = labels[:, None] == labels
    if labels.device.type == "cpu" and same.all():  # on CUDA the look would make the host wait
        raise ValueError("the triplet loss needs at least two identities in a batch, found one")
    positive = distances.masked_fill(~same, 0).amax(1)
    negative = distances.masked_fill(same, torch.inf).amin(1)
    return (margin + positive - negative).clamp(min=0).mean()
