"""Eq. 1 to 6 of CAD-Net (Li et al., ICCV 2019); its identity loss is `common.identity_loss`.

D_F gives logits of "this is a feature of an HR image", D_I of "this is a true HR image" (`losses.adversarial`).
"""

import torch

from reid_lib.losses.adversarial import adversarial_loss, generator_loss
from reid_lib.losses.common import batch_hard_triplet_loss


def image_adversarial_loss(real: torch.Tensor, recovered_hr: torch.Tensor, recovered_lr: torch.Tensor) -> torch.Tensor:
    """Eq. 3, L_adv^DI: E[log D_I(x_H)] twice, with E[log(1 - D_I(G(f_L)))] and with E[log(1 - D_I(G(f_H)))].

    Args:
        real: logits of true HR images.
        recovered_hr, recovered_lr: logits of G(f_H) and G(f_L).

    Returns:
        A scalar <= 0, which D_I maximises.
    """
    return adversarial_loss(real, recovered_lr) + adversarial_loss(real, recovered_hr)


# decision CADNET-2
def encoder_adversarial_loss(hr: torch.Tensor, lr: torch.Tensor, form: str = "non_saturating") -> torch.Tensor:
    """What E minimises against D_F (Eq. 1); both terms depend on E.

    Args:
        hr, lr: D_F's logits of f_H and f_L.
        form: "minimax" is Eq. 1 as printed; "non_saturating" exchanges the two, -E[log D_F(f_L)] -
            E[log(1 - D_F(f_H))], so that the gradient does not vanish where D_F is sure and right.
    """
    return adversarial_loss(hr, lr) if form == "minimax" else -adversarial_loss(lr, hr)


def decoder_adversarial_loss(
    recovered_hr: torch.Tensor, recovered_lr: torch.Tensor, form: str = "non_saturating"
) -> torch.Tensor:
    """What E and G minimise against D_I (Eq. 3), without its terms of true images, which do not depend on them.

    Args:
        recovered_hr, recovered_lr: D_I's logits of G(f_H) and G(f_L).
        form: of `adversarial.generator_loss`; a sum over HR and LR.
    """
    return generator_loss(recovered_hr, form) + generator_loss(recovered_lr, form)


def reconstruction_loss(
    recovered_hr: torch.Tensor, truth_hr: torch.Tensor, recovered_lr: torch.Tensor, truth_lr: torch.Tensor
) -> torch.Tensor:
    """Eq. 2, L_rec: the l1 distance of G(f_H), and of G(f_L), from its HR image; each a mean over images and pixels.

    Args:
        recovered_hr, truth_hr: (n, 3, H, W).
        recovered_lr, truth_lr: (m, 3, H, W); m may be 0, which counts as no error.
    """
    pairs = ((recovered_hr, truth_hr), (recovered_lr, truth_lr))
    return sum((recovered - truth).abs().sum() / max(1, truth.numel()) for recovered, truth in pairs)


def cross_resolution_triplet_loss(
    hr: torch.Tensor, hr_labels: torch.Tensor, lr: torch.Tensor, lr_labels: torch.Tensor, margin: float
) -> torch.Tensor:
    """Eq. 5, L_tri: the triplet loss with the hardest pairs of the HR images, plus that of the LR images.

    Args:
        hr, lr: features u (n, 2 d) and (m, 2 d).
        hr_labels, lr_labels: their identities (n,) and (m,).
        margin: phi.
    """
    return batch_hard_triplet_loss(hr, hr_labels, margin) + batch_hard_triplet_loss(lr, lr_labels, margin)


def full_objective(terms: dict[str, torch.Tensor], lambdas: dict[str, float]) -> dict[str, torch.Tensor]:
    """Eq. 6, L = L_cls + lambda L_adv^DF + lambda L_rec + lambda L_adv^DI, with L_cls = L_id + L_tri (Eq. 4).

    Args:
        terms: scalars by name; a term that a variant leaves out is not there.
        lambdas: weights by name; a term without one counts once.

    Returns:
        The weighted terms; L is their sum.
    """
    return {name: lambdas.get(name, 1.0) * term for name, term in terms.items()}
