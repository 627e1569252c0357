"""Adam and the learning rate's schedule that most loops share (Luo et al., CVPRW 2019; LRAR, Section IV)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from torch.optim.lr_scheduler import LambdaLR


class Schedule(Protocol):
    """The fields of a configuration that a schedule takes."""

    learning_rate: float
    weight_decay: float
    epochs: int
    warmup: int
    milestones: tuple[int, ...]


Config = TypeVar("Config", bound=Schedule)


def adam(parameters: Iterable[Any], config: Schedule) -> tuple[torch.optim.Adam, LambdaLR]:
    """Return Adam on parameters (or groups of them) and its schedule, to be stepped after each epoch."""
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return optimizer, scheduled(optimizer, config)


def sgd(parameters: Iterable[Any], config: Schedule) -> tuple[torch.optim.SGD, LambdaLR]:
    """Return SGD with the configuration's ``momentum``, and its schedule as `adam`."""
    settings = {"lr": config.learning_rate, "momentum": config.momentum, "weight_decay": config.weight_decay}
    optimizer = torch.optim.SGD(parameters, **settings)
    return optimizer, scheduled(optimizer, config)


def scheduled(optimizer: torch.optim.Optimizer, config: Schedule) -> LambdaLR:
    """Return the schedule of any optimiser, to be stepped after each epoch."""
    return LambdaLR(optimizer, lambda epoch: learning_rate_factor(config, epoch))


def learning_rate_factor(config: Schedule, epoch: int) -> float:
    """Return the factor on the learning rate in ``epoch``: a linear warm-up from a tenth, then steps of a tenth."""
    if epoch < config.warmup:
        return 0.1 + 0.9 * epoch / config.warmup
    return 0.1 ** sum(epoch >= milestone for milestone in config.milestones)


def stretch(config: Config, epochs: int) -> Config:
    """Return ``config`` with its schedule (``epochs``, ``warmup``, ``milestones``) stretched to ``epochs``.

    A profile's epochs are meant for a few thousand images; a set of some hundreds needs more of them.

    Raises:
        ValueError: ``epochs`` is below 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, found {epochs}")
    times = epochs / config.epochs
    milestones = tuple(round(times * milestone) for milestone in config.milestones)
    return replace(config, epochs=epochs, warmup=round(times * config.warmup), milestones=milestones)
