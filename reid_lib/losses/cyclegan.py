"""CycleGAN's losses (Zhu et al., ICCV 2017): Eq. 1 in the least-squares form of Section 4, Eq. 2, and Section 5.2."""

import torch
from torch.nn import functional


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """Return the mean of (D(G(x)) - 1)^2: a generator wants its images taken for real.

    Args:
        fake: the discriminator's scores of generated images, any shape.
    """
    return (fake - 1).square().mean()


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return half the sum of the means of (D(y) - 1)^2 and D(G(x))^2 ("we divide the objective by 2", appendix 7.1).

    Args:
        real, fake: the discriminator's scores of real and generated images, any shape.
    """
    return ((real - 1).square().mean() + fake.square().mean()) / 2


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
