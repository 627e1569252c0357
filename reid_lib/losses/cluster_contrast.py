"""The loss and the memory of cluster contrast (Dai et al., ACCV 2022), the peer of DRFM."""

import torch
from torch.nn import functional


def cluster_loss(f: torch.Tensor, labels: torch.Tensor, phi: torch.Tensor, tau: float) -> torch.Tensor:
    """ClusterNCE (Eq. 1 there): cross-entropy of features against one representation for each cluster.

    Args:
        f: features (n, d) of length 1.
        labels: int64 (n,), their clusters.
        phi: the clusters' representations (clusters, d) of length 1.
        tau: temperature.

    Returns:
        A scalar >= 0, the mean over the batch.
    """
    return functional.cross_entropy(f @ phi.T / tau, labels)


@torch.no_grad()
def update_clusters(phi: torch.Tensor, f: torch.Tensor, labels: torch.Tensor, momentum: float) -> None:
    """Eq. 4 there: phi_k <- m phi_k + (1 - m) q, at length 1, for each feature q of cluster k in turn; in place."""
    for q, k in zip(f, labels.tolist(), strict=True):
        phi[k] = functional.normalize(momentum * phi[k] + (1 - momentum) * q, dim=0)
