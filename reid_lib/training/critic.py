"""The identity critic C of INTACT: a re-ID model that learns HR images by cross-entropy, and is frozen then."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from reid_lib.datasets.sampling import draw_rates, pk_batches
from reid_lib.losses.common import identity_loss
from reid_lib.networks.baseline import Baseline
from reid_lib.networks.osnet import OSNet, osnet_x1_0
from reid_lib.training.run import TrainingError, initialise
from reid_lib.training.schedules import adam
from reid_lib.training.starts import build_backbone
from reid_lib.training.training_set import TrainingSet

OSNET_SIZE = (256, 128)  # of torchreid's files


@dataclass(frozen=True)
class CriticConfig:  # decision INTACT-6
    """Settings of C (INTACT, Algorithm 1, initialisation; Fig. 2: "trained with cross-entropy loss").

    Attributes:
        network: "osnet_x1_0", the paper's [52], or one of `starts.build_backbone`.
        width: channels of the first stage of "tiny".
        weights: what the backbone starts from.
        tune: whether the backbone is trained; else it stays as its weights are and C's classifier alone is fitted.
        kernel, p, k, input_size, pad, learning_rate, weight_decay, epochs, steps, warmup, milestones: as in
            `baseline.BaselineConfig`; not given in the paper but for the size and the batch of 32 (4.3).

    Raises:
        ValueError: C would stay untrained.
    """

    network: str = "osnet_x1_0"
    width: int = 32
    weights: str = "none"
    tune: bool = True
    kernel: str = "bicubic"
    p: int = 8
    k: int = 4
    input_size: tuple[int, int] | None = (256, 128)
    pad: int = 10
    learning_rate: float = 1.5e-3
    weight_decay: float = 5e-4
    epochs: int = 150
    steps: int | None = None
    warmup: int = 0
    milestones: tuple[int, ...] = (112,)

    def __post_init__(self) -> None:
        if not self.tune and self.weights == "none":
            raise ValueError(
                'C is to stay as its weights are (tune_critic=False), and they are "none": an untrained critic makes '
                "L_id and L_dis meaningless; name a file of weights, or let C be trained"
            )


class Batches(Protocol):
    """The fields of a configuration that say how a batch is composed."""

    p: int
    k: int
    steps: int | None


def train_critic(
    config: CriticConfig, data: TrainingSet, size: tuple[int, int], seed: int, folder: str | Path | None, progress: bool
) -> Baseline:
    """Train C on HR images with L_id (Eq. 3) and return it in eval mode; seed, folder, progress as `baseline.train`.

    Args:
        config: settings.
        data: the training images.
        size: (H, W) of the images in pixels.

    Raises:
        TrainingError: its loss is not below that of guessing.
    """
    critic = initialise(lambda: build_critic(config, size, data.identities), seed, data.device)
    learning = critic if config.tune else critic.classifier
    optimizer, scheduler = adam([p for p in learning.parameters() if p.requires_grad], config)
    parts = {"critic": critic, "optimizer": optimizer, "scheduler": scheduler}
    run = data.open_run(__name__, config, parts, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        critic.train()
        critic.backbone.train(config.tune)
        for indices in run.batches(hr_batches(data, config, seed, epoch)):
            rates, labels = draw_rates(len(indices), (1,), run.generator), data.labels_of(indices)
            with run.autocast():
                _, logits = critic(data.inputs(indices, rates, config, run.generator))
            run.step(optimizer, {"identity": identity_loss(logits, labels)}, images=len(indices))
        scheduler.step()
    found, guessing = run.history[-1]["identity"], math.log(data.identities)
    if found >= guessing:
        raise TrainingError(
            f"C has learnt nothing: its loss on the training images is {found:.2f} after {config.epochs} epochs, and "
            f"guessing gives {guessing:.2f}; an untrained critic makes L_id and L_dis meaningless: train it longer, or "
            "start it from other weights"
        )
    return critic.eval()


def build_critic(config: CriticConfig, size: tuple[int, int], identities: int) -> Baseline:
    """Build C for images of ``size`` (H, W): a backbone, a BN neck and a classifier; f_c is what leaves the neck."""
    if config.network == "osnet_x1_0":
        backbone = osnet_x1_0(config.weights)
    else:
        backbone = build_backbone(config.network, config.width, config.weights, size)
    if not config.tune and isinstance(backbone, OSNet):
        backbone = AtOwnSize(backbone)
    return Baseline(backbone, identities)


class AtOwnSize(nn.Module):
    """An OSNet whose weights stay as they are, on images enlarged to the size that it was trained for."""

    def __init__(self, backbone: OSNet) -> None:
        super().__init__()
        self.backbone, self.dim = backbone, backbone.dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) of any size to features (N, 512)."""
        enlarged = functional.interpolate(x, size=OSNET_SIZE, mode="bilinear", antialias=True, align_corners=False)
        return self.backbone(enlarged)


def hr_batches(data: TrainingSet, config: Batches, seed: int, epoch: int) -> list[np.ndarray]:
    """Return an epoch of PK batches, indices (p * k,) of HR images: genuine LR ones take no part."""
    hr = np.flatnonzero(~data.genuine.numpy())
    return [hr[indices] for indices in pk_batches(data.pids[hr], config.p, config.k, seed, epoch, config.steps)]
