"""VPFA's loss (Section 4.3) and the pairs that it is trained on (Section 4.1, 5.2), as functions of tensors."""

import torch
from torch.nn import functional


def vector_panning_loss(panned: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Vector Panning Loss (Eq. 6, 8) as the mean squared error that the text says: `squared_distance` / d, averaged.

    Args:
        panned: pseudo-HR features (N, d).
        target: HR features (N, d).

    Returns:
        A scalar >= 0.
    """
    return functional.mse_loss(panned.float(), target.float())


def squared_distance(panned: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the squared Euclidean distance (Eq. 6) of each row of (N, d) and (N, d), shape (N,)."""
    return (panned - target).square().sum(1)


def law_of_cosines(panned: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return Eq. 7, r^2 + R^2 - 2 r R cos(angle), of each row of (N, d) and (N, d), shape (N,): equal to Eq. 6."""
    r, big_r = panned.norm(dim=1), target.norm(dim=1)
    return r.square() + big_r.square() - 2 * r * big_r * functional.cosine_similarity(panned, target, dim=1)


def identity_means(features: torch.Tensor, pids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Average the features of each identity (Eq. 2).

    Args:
        features: (N, d).
        pids: integers (N,).

    Returns:
        The identities (P,) in ascending order, their mean features (P, d), and how many images (P,) each has.
    """
    identities, index, counts = torch.unique(pids, return_inverse=True, return_counts=True)
    sums = features.new_zeros(len(identities), features.shape[1]).index_add_(0, index, features)
    return identities, sums / counts[:, None], counts  # Eq. 2: z^i = 1 / n_i sum_j f(x_j^i)


def identity_mean_pairs(
    lr: torch.Tensor, hr: torch.Tensor, lr_pids: torch.Tensor, hr_pids: torch.Tensor, min_images: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pair each identity's mean LR feature with its mean HR feature (Eq. 2, Section 5.2).

    Args:
        lr, hr: features (N, d) and (M, d).
        lr_pids, hr_pids: identities (N,) and (M,).
        min_images: identities with fewer LR images, or fewer HR images, are left out ("retaining IDs with at least two
            samples from each").

    Returns:
        LR means (P, d), HR means (P, d), and the identities (P,) in ascending order.
    """
    lr_ids, lr_means, lr_counts = identity_means(lr, lr_pids)
    hr_ids, hr_means, hr_counts = identity_means(hr, hr_pids)
    lr_ids, lr_means = lr_ids[lr_counts >= min_images], lr_means[lr_counts >= min_images]
    hr_ids, hr_means = hr_ids[hr_counts >= min_images], hr_means[hr_counts >= min_images]
    in_hr, in_lr = torch.isin(lr_ids, hr_ids), torch.isin(hr_ids, lr_ids)
    return lr_means[in_hr], hr_means[in_lr], lr_ids[in_hr]


def sample_pairs(pairs: int, n_pairs: int, generator: torch.Generator) -> torch.Tensor:  # decision VPFA-1
    """Sample ``n_pairs`` of ``pairs`` pairs "with identity-level shuffling" (Section 5.2).

    Shuffles of all pairs follow one another until there are enough, so that two pairs differ by at most one in how
    often they are drawn.

    Returns:
        int64 (n_pairs,), indices from 0 to ``pairs`` - 1.
    """
    rounds = -(-n_pairs // pairs)
    return torch.cat([torch.randperm(pairs, generator=generator) for _ in range(rounds)])[:n_pairs]
