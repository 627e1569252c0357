"""Eq. 4 to 8 of INTACT (Cheng et al., CVPR 2020).

Eq. 1 and 2 are `adversarial.adversarial_loss` and `adversarial.generator_loss`, with HR images as real and G(x_l) as
fake samples; Eq. 3 is `common.identity_loss` of C's logits of G(x_l). A squared distance is a mean over the batch and
over its elements (decision INTACT-3).
"""

import torch


def content_loss(recovered: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """L_MSE of Eq. 4: |x_h - G(x_l)|^2.

    Args:
        recovered: G(x_l), (N, 3, H, W).
        truth: x_h, (N, 3, H, W).

    Returns:
        A scalar >= 0.
    """
    return (truth - recovered.float()).square().mean()


def association_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Eq. 5, L_intact: |phi(f_c) - f_d|^2 on HR images; Eq. 8, L_dis, is the same on G(x_l), with phi frozen.

    Args:
        predicted: phi(f_c), (N, d).
        target: f_d, (N, d).

    Returns:
        A scalar >= 0.
    """
    return (predicted.float() - target.float()).square().mean()


def bridge_loss(bridged: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """Eq. 6, L_e: |sigma(f_d) - f_e|^2 in phi's latent space.

    Args:
        bridged: sigma(f_d), (N, e).
        latent: f_e, (N, e).

    Returns:
        A scalar >= 0.
    """
    return (bridged.float() - latent.float()).square().mean()


def generator_objective(terms: dict[str, torch.Tensor], lambdas: dict[str, float]) -> dict[str, torch.Tensor]:
    """Step (3) of Algorithm 1: Eq. 4, L_sr = L_MSE + lambda_g L_gan + lambda_c L_id, and L_dis of Eq. 8.

    Returns the weighted terms, whose sum is the objective; a term without a weight counts once.
    """
    return {name: lambdas.get(name, 1.0) * term for name, term in terms.items()}
