"""Pseudo-labels of every epoch, which an unsupervised loop learns from: how they are found, kept and drawn from."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from reid_lib.datasets.sampling import pk_batches
from reid_lib.evaluation.clustering import dbscan, jaccard_distance
from reid_lib.losses.drfm import update

CLUSTERING: dict[str, dict[str, object]] = {  # decision DRFM-8: what the smaller profiles change of it
    "smoke": {"k1": 8, "k2": 3, "learning_rate": 1e-4},
    "demo": {"k1": 8, "learning_rate": 1e-4},
}


class Clustering(Protocol):
    """The fields of a configuration that say how images are clustered and drawn."""

    k1: int
    k2: int
    eps: float
    min_samples: int
    p: int
    k: int
    steps: int | None


class PseudoLabels(nn.Module):
    """The pseudo-labels of all epochs, a part of the Run: ``labels``, int64 (epochs, images), -1 for none."""

    def __init__(self, epochs: int, images: int) -> None:
        super().__init__()
        self.register_buffer("labels", torch.full((epochs, images), -1))

    def settle(  # decision DRFM-5
        self, epoch: int, found: torch.Tensor, clusters: int, alone: torch.Tensor, config: Clustering
    ) -> bool:
        """Write the labels of an epoch: those found, or the ones before where they are too few to learn from.

        Args:
            epoch: its number.
            found: int64 (images,), the labels from this epoch's clusters.
            clusters: how many DBSCAN found.
            alone: int64 (images,), labels for a first epoch without clusters: each image is one of its own.
            config: the settings.

        Returns:
            Whether others than those found were taken: for fewer than two clusters, or fewer images than a batch.
        """
        few = clusters < 2 or int((found >= 0).sum()) < config.p * config.k
        before = self.labels[epoch - 1] if epoch else alone
        self.labels[epoch] = before if few else found
        return few


class Memory(PseudoLabels):  # decision DRFM-6
    """The memories of some spaces (DRFM: M_hh, M_ll, M_fu), an entry for each image, and the pseudo-labels.

    Args:
        spaces: their names.
        dim: width of a feature.
        epochs, images: as `PseudoLabels` takes them.
    """

    def __init__(self, spaces: Sequence[str], dim: int, epochs: int, images: int) -> None:
        super().__init__(epochs, images)
        self.spaces = list(spaces)
        for space in spaces:
            self.register_buffer(space, torch.zeros(images, dim))

    def fill(self, features: Mapping[str, torch.Tensor]) -> None:
        """Take the features (N, d) of all images, which an epoch begins with."""
        for space in self.spaces:
            getattr(self, space).copy_(features[space])

    def update(self, indices: torch.Tensor, features: Mapping[str, torch.Tensor], alpha: float) -> None:
        """DRFM's Eq. 1 to 3 for images (n,) and their features (n, d); of an image that is there twice, its last."""
        place = torch.arange(len(indices), device=indices.device)
        last = place.new_zeros(self.labels.shape[1]).scatter_reduce(0, indices, place, "amax")[indices]
        for space in self.spaces:
            memory = getattr(self, space)
            memory[indices] = update(memory[indices], features[space].detach()[last], alpha)


def cluster(features: torch.Tensor, config: Clustering) -> torch.Tensor:
    """Cluster features (n, d) by DBSCAN on their k-reciprocal Jaccard distance; int64 (n,), -1 for outliers."""
    distance = jaccard_distance(features, config.k1, config.k2)
    return torch.from_numpy(dbscan(distance, config.eps, config.min_samples)).to(features.device)


def labelled_batches(labels: torch.Tensor, config: Clustering, seed: int, epoch: int) -> list[np.ndarray]:
    """Return an epoch's batches of images with a pseudo-label, by clusters (`sampling.pk_batches`).

    With fewer than p clusters each gives more images, so that a batch keeps its size.
    """
    known = np.flatnonzero((labels >= 0).cpu().numpy())
    p = min(config.p, len(labels[labels >= 0].unique()))
    size = config.p * config.k
    drawn = pk_batches(labels[known].tolist(), p, -(-size // p), seed, epoch, config.steps)
    return [known[indices[:size]] for indices in drawn]


def shares(labels: torch.Tensor, low: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return how many of the HR and of the LR images have a pseudo-label, in percent, for the history."""
    return {name: 100 * (labels[of] >= 0).float().mean() for name, of in (("labelled_hr", ~low), ("labelled_lr", low))}


def check_enough(images: int, config: Clustering) -> None:
    """Raise ValueError for fewer training images than a batch."""
    if images < config.p * config.k:
        raise ValueError(
            f"a batch of p={config.p} clusters with k={config.k} images each needs as many images, found {images}: "
            "lower p or k"
        )
