"""The level of a query whose rate is unknown, estimated from its pixels.

LRAR takes the rate as given (Wu et al., TIP 2023, III-A); this is not in the paper.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR

from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.sampling import draw_rates, pk_batches
from reid_lib.evaluation.ranking import Matcher
from reid_lib.networks.inputs import normalise
from reid_lib.networks.tiny import tiny
from reid_lib.training.lrar import LRARConfig, LRARMatcher, check_genuine, level_of
from reid_lib.training.run import initialise
from reid_lib.training.training_set import TrainingSet


class EstimatedLevelMatcher:
    """LRAR's Matcher where a query's rate is unknown: its level is estimated from its pixels.

    Args:
        matcher: LRAR's.
        estimate: maps uint8 images (n, 3, H, W) to levels, int64 (n,) from 1 to m (`train_level_classifier`).
    """

    def __init__(self, matcher: LRARMatcher, estimate: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.matcher, self.estimate, self.device, self.split = matcher, estimate, matcher.device, matcher.split
        self.embed_gallery, self.distance = matcher.embed_gallery, matcher.distance

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) at their estimated levels: (n, d + 1). ``rates`` are not looked at."""
        return self.matcher.embed_at(images, self.estimate(images))


class EstimatedRateMatcher:
    """A Matcher that is told the rate of each query, where the rate is unknown: it gets that of the estimated level.

    Args:
        matcher: what uses rates; `matchers.PerRateMatcher` is one.
        estimate: maps uint8 images (n, 3, H, W) to levels, int64 (n,) from 1 to m (`train_level_classifier`).
        rates: the rate of each level, the largest (level 1) first.
    """

    def __init__(
        self, matcher: Matcher, estimate: Callable[[torch.Tensor], torch.Tensor], rates: Sequence[int]
    ) -> None:
        self.matcher, self.estimate, self.rates = matcher, estimate, torch.tensor(rates)
        self.device, self.split = matcher.device, matcher.split
        self.embed_gallery, self.distance = matcher.embed_gallery, matcher.distance

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) at their estimated rates. ``rates`` are not looked at."""
        return self.matcher.embed_query(images, self.rates[self.estimate(images).cpu() - 1].to(rates.device))


def train_level_classifier(  # decision LRAR-13
    config: LRARConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Train a small classifier of an image's level.

    It sees LRAR's training images, each at a rate drawn from ``config.rates`` (a genuine LR image as it is), for a
    quarter of the epochs.

    Args:
        config, dataset, split, seed, folder, device, progress: those of `lrar.train`.

    Returns:
        A function that maps uint8 images (n, 3, H, W) to their levels, int64 (n,).
    """
    data, size = TrainingSet(dataset, split, device), config.input_size or dataset.size
    check_genuine(config, data)
    epochs = max(1, config.epochs // 4)
    network = initialise(lambda: level_classifier(len(config.rates)), seed, data.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    scheduler = CosineAnnealingLR(optimizer, epochs)
    parts = {"network": network, "optimizer": optimizer, "scheduler": scheduler}
    run = data.open_run(__name__, config, parts, seed, folder, progress)
    for epoch in run.epochs(epochs):
        network.train()
        for indices in run.batches(pk_batches(data.pids, config.p, config.k, seed, epoch, config.steps)):
            rates, genuine = draw_rates(len(indices), config.rates, run.generator), data.genuine[indices]
            inputs = data.inputs(indices, rates.where(~genuine, 1), config, run.generator)
            levels = level_of(rates.where(~genuine, config.genuine_rate), config.rates).to(data.device)
            with run.autocast():
                logits = network(inputs)
            run.step(optimizer, {"level": functional.cross_entropy(logits.float(), levels - 1)}, images=len(indices))
        scheduler.step()
    return partial(estimate_levels, network.eval(), size)


def level_classifier(levels: int) -> nn.Module:
    """Build the network that tells ``levels`` levels apart: blur is local, so a small one will do."""
    backbone = tiny(width=16)
    return nn.Sequential(backbone, nn.Linear(backbone.dim, levels))


@torch.inference_mode()
def estimate_levels(network: nn.Module, input_size: tuple[int, int], images: torch.Tensor) -> torch.Tensor:
    """Return the level, int64 (n,), that a `level_classifier` finds most likely for uint8 images (n, 3, H, W)."""
    return network(normalise(images, input_size).contiguous(memory_format=torch.channels_last)).argmax(1) + 1
