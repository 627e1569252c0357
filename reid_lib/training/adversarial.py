"""A discriminator's step in the alternation of two players, and what its history tells; shared by the GANs here.

The other player, the generator, takes its step by `Run.descend`: gradients reach its own parameters alone.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import nn

from reid_lib.training.run import Run, TrainingError

WINS, LOST = 0.95, 0.55  # accuracies in the last quarter, see `discriminator_report`
MEANINGS = {  # of a discriminator that wins, and of one that has lost
    "d_f": ("HR and LR features can still be told apart", "HR and LR features look alike to it"),
    "d_i": ("recovered images are easily told from true ones", "recovered images look true to it"),
}


def discriminator_step(
    run: Run,
    name: str,
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    real: torch.Tensor,
    fake: torch.Tensor,
    middle: float = 0.0,
) -> dict[str, torch.Tensor]:
    """Take one step of a discriminator down its loss.

    Args:
        run: the run.
        name: of the discriminator in the history ("d_f").
        optimizer: of its parameters alone.
        loss: what it minimises, from samples that are detached from the other player.
        real, fake: its logits (or scores) of real and generated samples, any shapes.
        middle: what lies above it is called real: 0 for logits, 1/2 for least-squares scores.

    Returns:
        ``loss_<name>``, ``accuracy_<name>`` and ``gradient_<name>`` for the history, detached.
    """
    gradient = run.descend(optimizer, {name: loss})
    return {
        f"loss_{name}": loss.detach(),
        f"accuracy_{name}": accuracy(real, fake, middle),
        f"gradient_{name}": gradient,
    }


@torch.no_grad()
def accuracy(real: torch.Tensor, fake: torch.Tensor, middle: float = 0.0) -> torch.Tensor:
    """Return the accuracy of logits of any shape, with real and generated samples in equal parts."""
    return ((real > middle).float().mean() + (fake < middle).float().mean()) / 2


def parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    """Return the parameters of all modules that there are."""
    return [parameter for module in modules if module is not None for parameter in module.parameters()]


# decision CADNET-10
def check_discriminators(run: Run, steps: Sequence[Mapping[str, torch.Tensor]], weights: Mapping[str, str]) -> None:
    """Stop where a discriminator has won outright.

    Args:
        run: the run, in its epoch.
        steps: the noted terms of each step of the epoch.
        weights: for each discriminator's name the setting that leaves its loss out when it is 0.

    Raises:
        TrainingError: a discriminator's loss was exactly 0 in every step, of all processes.
    """
    for name, weight in weights.items():
        # a loss is never below 0: its mean is 0 where it is 0 in all processes, and then all of them stop
        if f"loss_{name}" in steps[0] and not run.mean(torch.stack([step[f"loss_{name}"] for step in steps])).any():
            raise TrainingError(
                f"{name.upper()} has won outright: its loss was exactly 0 in every step of epoch {run.epoch}, so that "
                "it learns nothing more and gives the other player no gradient to follow. Lower "
                f"discriminator_learning_rate or discriminator_width, or leave it out with {weight}=0; the checkpoint "
                "of the epoch before, if there is one, is kept"
            )


def discriminator_report(history: pd.DataFrame) -> list[str]:
    """Say which of D_F and D_I wins and which has lost, by its accuracy in the last quarter of the epochs.

    Args:
        history: a row per epoch.

    Returns:
        One sentence for each discriminator with an accuracy above 95 % (it wins) or below 55 % (it has lost).
    """
    tail, sentences = history.tail(max(1, len(history) // 4)), []
    epochs = "the last epoch" if len(tail) == 1 else f"the last {len(tail)} of {len(history)} epochs"
    for name, (if_wins, if_lost) in MEANINGS.items():
        mean = tail[f"accuracy_{name}"].mean() if f"accuracy_{name}" in tail else None
        if mean is not None and not LOST <= mean <= WINS:
            verdict = f"wins: {if_wins}" if mean > WINS else f"has lost: {if_lost}, or it learns too slowly to see"
            sentences.append(f"{name.upper()} {verdict} (accuracy {100 * mean:.0f} % in {epochs}, 50 % by chance).")
    return sentences
