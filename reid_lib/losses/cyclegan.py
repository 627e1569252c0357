"""CycleGAN's own losses (Zhu et al., ICCV 2017): Eq. 2 and Section 5.2.

Its adversarial losses (Eq. 1 in the form of Section 4) are the least-squares ones of `losses.adversarial`.
"""

import torch
from torch.nn import functional


def cycle_consistency_loss(
    cycled_lr: torch.Tensor, lr: torch.Tensor, cycled_hr: torch.Tensor, hr: torch.Tensor
) -> torch.Tensor:
    """Return the mean of |F(G(x)) - x| plus that of |G(F(y)) - y| (Eq. 2) of images (N, 3, H, W)."""
    return functional.l1_loss(cycled_lr, lr) + functional.l1_loss(cycled_hr, hr)


def identity_mapping_loss(
    same_hr: torch.Tensor, hr: torch.Tensor, same_lr: torch.Tensor, lr: torch.Tensor
) -> torch.Tensor:
    """Return the mean of |G(y) - y| plus that of |F(x) - x| (Section 5.2) of images (N, 3, H, W)."""
    return functional.l1_loss(same_hr, hr) + functional.l1_loss(same_lr, lr)
