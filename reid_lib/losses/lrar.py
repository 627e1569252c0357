"""LRAR's distance (Eq. 2) and verification loss (Eq. 4); its identity loss is `common.identity_loss`."""

import torch
from torch.nn import functional


def resolution_adaptive_distances(query: torch.Tensor, gallery: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """Return Eq. 2, || z_p - cat(v_1^g, ..., v_k^g) ||^2, for all pairs: what a query lacks is not compared.

    Args:
        query: zero-padded features (n_query, d).
        gallery: features (n_gallery, d) with all their sub-vectors.
        widths: int64 (n_query,), how many numbers of each query are kept: those of v_1 to v_k.

    Returns:
        float32 (n_query, n_gallery), never negative.
    """
    query, gallery = query.float(), gallery.float()
    distances = query.new_empty(len(query), len(gallery))
    for width in widths.unique().tolist():
        rows = (widths == width).nonzero().squeeze(1)
        z, v = query[rows, :width], gallery[:, :width]
        squares = z.square().sum(1, keepdim=True) + v.square().sum(1)
        distances[rows] = torch.addmm(squares, z, v.T, alpha=-2).clamp_(min=0)
    return distances


def feature_differences(  # decision LRAR-15
    query: torch.Tensor,
    gallery: torch.Tensor,
    widths: torch.Tensor,
    query_labels: torch.Tensor,
    gallery_labels: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pair every query with every gallery image of a batch (Eq. 4), on what the query keeps (Eq. 2).

    Args:
        query, gallery: zero-padded features (P, d) and (G, d).
        widths: int64 (P,), how many numbers of each query are kept.
        query_labels, gallery_labels: identities (P,) and (G,).

    Returns:
        v_ij = v_i - v_j, zero-padded behind the query's width, (P G, d), and y, bool (P G,): whether both images show
        the same identity.
    """
    kept = torch.arange(query.shape[1], device=query.device) < widths[:, None]
    same = query_labels[:, None] == gallery_labels
    return ((query[:, None] - gallery) * kept[:, None]).flatten(0, 1), same.flatten()


def verification_loss(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of "same identity?" (Eq. 4, with the y_n that its first logarithm lacks), mean of the pairs.

    Args:
        logits: f(v_ij), (n,), before the sigmoid.
        same: y_n, bool (n,).

    Returns:
        A scalar >= 0.
    """
    return functional.binary_cross_entropy_with_logits(logits.float(), same.float())
