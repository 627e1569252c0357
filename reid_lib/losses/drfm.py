"""Eq. 1 to 9 and 14 to 20 of DRFM (Pang et al., MM 2024); Eq. 10 to 13 are `networks.drfm.CRFF`.

Features that are compared have length 1, so a dot product is a cosine (decision DRFM-2).
"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional


def update(v: torch.Tensor, f: torch.Tensor, alpha: float) -> torch.Tensor:
    """Eq. 1 to 3: v <- alpha v + (1 - alpha) f, both (n, d)."""
    return alpha * v + (1 - alpha) * f


def centroids(features: torch.Tensor, labels: torch.Tensor, clusters: int) -> torch.Tensor:
    """Eq. 5 and 7: the mean feature of each cluster, (clusters, d); zeros for a cluster without an image.

    Args:
        features: (n, d).
        labels: int64 (n,), pseudo-labels 0 to ``clusters`` - 1; images with a negative one do not count.
        clusters: how many there are.
    """
    known = labels >= 0
    sums = features.new_zeros(clusters, features.shape[1]).index_add_(0, labels[known], features[known])
    return sums / labels[known].bincount(minlength=clusters).clamp(min=1)[:, None]


def class_vectors(f: torch.Tensor, centroids: torch.Tensor, tau: float) -> torch.Tensor:
    """Eq. 4 and 6: s = Softmax(f C^T / tau), (n, clusters), of features (n, d) and centroids (clusters, d)."""
    return torch.softmax(f @ centroids.T / tau, dim=1)


def fused_class_vectors(s_l: torch.Tensor, s_sh: torch.Tensor) -> torch.Tensor:
    """Eq. 8: s_l * s_sh, scaled to sum 1, (n, clusters).

    As the softmax of the sum of logarithms, which is the same: two vectors that are sure of different clusters have a
    product of 0 everywhere in float32.
    """
    tiny = torch.finfo(s_l.dtype).tiny
    return torch.softmax(s_l.clamp(min=tiny).log() + s_sh.clamp(min=tiny).log(), dim=1)


def confident(s_lsh: torch.Tensor, share: float) -> torch.Tensor:
    """Eq. 9: which LR images get the pseudo-label of max(s_lsh): the ``share`` T with the largest; bool (n,).

    Args:
        s_lsh: fused class vectors (n, clusters).
        share: T = N_1^c / N_1 t, between 0 and 1; of n images floor(T n) are taken.
    """
    n = math.floor(share * len(s_lsh) + 1e-9)
    order = s_lsh.amax(1).sort(descending=True, stable=True).indices  # of equal ones, the first in the set
    return torch.zeros(len(s_lsh), dtype=torch.bool, device=s_lsh.device).index_fill_(0, order[:n], True)


class ResolutionCentroids(NamedTuple):
    """The means of each cluster's memory entries, those of its HR and those of its LR images apart (Eq. 14, 15)."""

    c: torch.Tensor  # (m, d), those that exist
    cluster: torch.Tensor  # int64 (m,), whose they are


def resolution_centroids(
    v: torch.Tensor, labels: torch.Tensor, low: torch.Tensor, clusters: int
) -> ResolutionCentroids:
    """Eq. 14 and 15: c^hsl and c^lsh of every cluster; a cluster with images of one resolution has one of them.

    Args:
        v: memory entries (n, d).
        labels: pseudo-labels int64 (n,), negative for none.
        low: bool (n,), which images are LR.
        clusters: how many clusters there are.
    """
    place = torch.where(labels < 0, labels, 2 * labels + low)  # two for each cluster
    present = place[place >= 0].bincount(minlength=2 * clusters) > 0
    both = torch.arange(2 * clusters, device=v.device) // 2
    return ResolutionCentroids(centroids(v, place, 2 * clusters)[present], both[present])


def cross_resolution_contrastive_loss(
    f: torch.Tensor, labels: torch.Tensor, resolution: ResolutionCentroids, q: int, tau: float
) -> torch.Tensor:
    """Eq. 16: pull f to the centroids P of its cluster, push it from the ``q`` nearest of other clusters, Q.

    Each positive stands against the sum over P and Q (decision DRFM-4).

    Args:
        f: features (n, d) of length 1.
        labels: their pseudo-labels int64 (n,), each of a cluster that has a centroid.
        resolution: the centroids.
        q: |Q|; all centroids of other clusters where there are fewer.
        tau: temperature tau_c.

    Returns:
        A scalar >= 0, the mean over the batch.
    """
    logits = f @ resolution.c.T / tau
    positive = labels[:, None] == resolution.cluster
    others = logits.masked_fill(positive, -torch.inf)
    nearest = others.topk(min(q, others.shape[1]), dim=1).values  # Q; -inf where there are fewer
    both = torch.cat([nearest, logits.masked_fill(~positive, -torch.inf)], dim=1)
    log_p = (logits - both.logsumexp(1, keepdim=True)).masked_fill(~positive, 0)
    return -(log_p.sum(1) / positive.sum(1)).mean()


def softmax_loss(f: torch.Tensor, labels: torch.Tensor, centroids: torch.Tensor, tau: float) -> torch.Tensor:
    """L_sc of A1 to A6: cross-entropy of f against one centroid of the memory for each cluster, (clusters, d)."""
    return functional.cross_entropy(f @ centroids.T / tau, labels)


def identity_consistency_loss(predicted: torch.Tensor, f_l: torch.Tensor) -> torch.Tensor:
    """Eq. 18: minus the cosine of Pred(f_sh) and Stopgrad(f_l), both (n, d); the mean, 0 for no image.

    Returns:
        A scalar between -1 and 1.
    """
    cosine = (functional.normalize(predicted) * functional.normalize(f_l.detach())).sum(1)
    return -cosine.sum() / max(len(cosine), 1)


def probability_sharpening_loss(f_lsh: torch.Tensor, c_hsl: torch.Tensor, tau_s: float, tau_c: float) -> torch.Tensor:
    """Eq. 19: cross-entropy of Softmax(f C^T / tau_c) against Stopgrad(Softmax(f C^T / tau_s)), tau_s < tau_c.

    Args:
        f_lsh: fusion features (n, d) of ambiguous LR images, of length 1.
        c_hsl: the centroids of HR images in the fusion memory, (clusters, d).
        tau_s, tau_c: temperatures.

    Returns:
        A scalar >= 0, the mean over the images.
    """
    logits = f_lsh @ c_hsl.T
    sharp = torch.softmax(logits.detach() / tau_s, dim=1)
    return -(sharp * torch.log_softmax(logits / tau_c, dim=1)).sum(1).mean()


def total(terms: dict[str, torch.Tensor], weight: float) -> dict[str, torch.Tensor]:
    """Eq. 20: L_cc + L_ic + lambda L_ps, as weighted terms whose sum is the objective; lambda weighs "sharpening"."""
    return {name: weight * term if name == "sharpening" else term for name, term in terms.items()}
