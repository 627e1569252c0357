"""Losses of a discriminator D and of the network that plays against it, shared by CAD-Net, CycleGAN and INTACT.

In the logarithmic form (Goodfellow et al., 2014) D gives logits: D(x) = sigmoid(logit), near 1 for real samples. In the
least-squares form (Mao et al., 2017) it gives scores that shall be 1 for real and 0 for generated samples.
"""

import torch
from torch.nn import functional

FORMS = ("non_saturating", "minimax")


def adversarial_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """E[log D(real)] + E[log(1 - D(fake))], which D maximises.

    Args:
        real, fake: D's logits, any shapes.

    Returns:
        A scalar <= 0; 0 for a discriminator that is sure and always right, -2 log 2 for one that guesses.
    """
    return functional.logsigmoid(real.float()).mean() + functional.logsigmoid(-fake.float()).mean()


def generator_loss(fake: torch.Tensor, form: str = "non_saturating") -> torch.Tensor:
    """What a generator minimises against D: -E[log D(fake)], or E[log(1 - D(fake))] in the "minimax" form.

    The gradient of the non-saturating form does not vanish where D is sure and right.
    """
    sign = -1 if form == "minimax" else 1
    return -sign * functional.logsigmoid(sign * fake.float()).mean()


def least_squares_discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """(E[(D(real) - 1)^2] + E[D(fake)^2]) / 2, which D minimises; scores of any shapes."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """E[(D(fake) - 1)^2], which a generator minimises; scores of any shape."""
    return (fake - 1).square().mean()
