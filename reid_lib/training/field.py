"""The field: what all that is trained under `smoke` and `demo` shares, so that two rows differ by their methods alone.

A method keeps what is its own: its modules and losses, and how a batch is composed. Where the field departs from what
a paper prints, ``for_profile(..., recipe="paper")`` gives the paper's optimiser, schedule, neck and distance on the
field's network and budget; under `paper` every method has its paper's recipe.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reid_lib.profiles import settings

RECIPES = ("field", "paper")


@dataclass(frozen=True)
class Field:  # decision FIELD-1, decision FIELD-4
    """One setting for all methods and baselines; chosen on the plain baseline and a development crowd alone.

    Attributes:
        network, width, weights: the backbone and what it starts from (`starts.build_backbone`).
        input_size: (H, W) of the network's input; None: the data set's own.
        pad: zeros on each side before the random crop, in pixels.
        batch: images in a batch; a method says of what it is composed.
        steps: steps in an epoch, whatever the number of training images.
        epochs: length of the training, so ``images`` are seen on every data set.
        learning_rate, weight_decay: of Adam.
        warmup, milestones: of the schedule (`schedules.learning_rate_factor`), in epochs.
    """

    network: str = "tiny"
    width: int = 16
    weights: str = "synth"
    input_size: tuple[int, int] | None = None
    pad: int = 5
    batch: int = 32
    steps: int = 40
    epochs: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    warmup: int = 0
    milestones: tuple[int, ...] = (6,)

    @property
    def images(self) -> int:
        """Images that a training sees."""
        return self.batch * self.steps * self.epochs


FIELDS = {
    "smoke": Field(width=8, weights="none", pad=2, batch=16, steps=4, epochs=4, milestones=(3,)),
    "demo": Field(),
}


def on_field(
    profile: str,
    own: Mapping[str, Mapping[str, object]],
    changes: Mapping[str, object],
    recipe: str = "field",
    paper: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return what differs from a method's defaults, which are the ``paper`` profile's and its paper's recipe.

    Args:
        profile: one of `profiles.PROFILES`.
        own: what a smaller profile changes besides the field: the composition of a batch, sizes of modules.
        changes: what the caller changes; they win.
        recipe: "field", or "paper" for what ``paper`` has in its place.
        paper: settings of the printed recipe where the field departs from it, at this profile's scale.

    Raises:
        ValueError: unknown profile or recipe.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, found {recipe!r}")
    shared = {name: {k: v for k, v in asdict(field).items() if k != "batch"} for name, field in FIELDS.items()}
    printed = paper or {} if recipe == "paper" else {}
    smaller = {name: {**shared[name], **own.get(name, {}), **printed} for name in shared}
    return settings(profile, smaller, changes)


def started_from(network: str = "", weights: str = "") -> dict[str, object]:  # decision FIELD-2
    """Return what a notebook's parameters ``backbone`` and ``start_weights`` change of the field.

    Args:
        network: another backbone, for all methods alike: "osnet_x0_25" with a published file, say; "": the field's.
        weights: what the backbone starts from (`starts.build_backbone`); "": the field's.
    """
    changes: dict[str, object] = {"network": network} if network else {}
    if network == "osnet_x0_25":
        changes["learning_rate"] = 1e-3  # a trained network is tuned with smaller steps
    return changes | ({"weights": weights} if weights else {})


def suffix(network: str) -> str:
    """Return what is added to a method's name in tables where its backbone is another one than the field's."""
    return {"": "", "osnet_x0_25": " (OSNet x0.25)"}.get(network, f" ({network})")


def described(config: Any, losses: str, *, batches: int = 1, knows_rate: bool = False) -> dict[str, str]:
    """Return what a row of the field's table says of a training, by column.

    Args:
        config: a configuration with the field's settings, and ``p`` and ``k``.
        losses: what the method minimises, in words.
        batches: how many batches of p k images stand behind a step: 2 for the HR and the LR half of CAD-Net, and for
            INTACT, whose C and G see one each, in a step of its own.
        knows_rate: whether the method is told the rate of a query.
    """
    steps = None if config.steps is None else config.steps * config.epochs
    batch = batches * config.p * config.k
    start = Path(config.weights).stem
    return {
        "images": f"{config.epochs} epochs" if steps is None else f"{steps * batch:,}",
        "steps": "" if steps is None else f"{steps:,}",
        "backbone": f"tiny, width {config.width}" if config.network == "tiny" else config.network,
        "start": start,
        "losses": losses,
        "rate known": "yes" if knows_rate else "no",
    }
