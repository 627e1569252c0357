"""The loop of identity and triplet loss, which the baseline and the synthetic start share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from reid_lib.datasets.sampling import draw_rates, pk_batches
from reid_lib.losses.common import batch_hard_triplet_loss, identity_loss
from reid_lib.networks.baseline import Baseline
from reid_lib.training.run import initialise
from reid_lib.training.schedules import adam
from reid_lib.training.training_set import TrainingSet


def learn(
    name: str,
    config: Any,
    data: TrainingSet,
    build: Callable[[], nn.Module],
    seed: int,
    folder: str | Path | None,
    progress: bool,
) -> Baseline:
    """Train a backbone with a BN neck on the sum of identity and triplet loss; return the network in eval mode.

    Args:
        name: the caller's module, whose code names the run (`TrainingSet.open_run`).
        config: `baseline.BaselineConfig`, or a dataclass with its fields but those of the network.
        data: the training images.
        build: builds the backbone.
        seed, folder, progress: as `baseline.train` takes them.
    """
    model = initialise(lambda: Baseline(build(), data.identities), seed, data.device)
    optimizer, scheduler = adam([p for p in model.parameters() if p.requires_grad], config)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    run = data.open_run(name, config, parts, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        model.train()
        for indices in run.batches(pk_batches(data.pids, config.p, config.k, seed, epoch, config.steps)):
            rates = draw_rates(len(indices), config.rates, run.generator)
            inputs, labels = data.inputs(indices, rates, config, run.generator), data.labels_of(indices)
            with run.autocast():
                features, logits = model(inputs)
            terms = {
                "identity": identity_loss(logits, labels),
                "triplet": batch_hard_triplet_loss(features, labels, config.margin),
            }
            run.step(optimizer, terms, images=len(indices))
        scheduler.step()
    return model.eval()
