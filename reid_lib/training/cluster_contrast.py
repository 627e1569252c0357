"""Cluster contrast (Dai et al., ACCV 2022): unsupervised re-ID without a word of resolution, the peer of DRFM.

LR and HR images are clustered and trained together, as DRFM's Table 2 does; all else is shared with DRFM.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.losses import cluster_contrast as losses
from reid_lib.losses.drfm import centroids
from reid_lib.networks.drfm import ImageEncoder
from reid_lib.training.field import on_field
from reid_lib.training.mlr_set import MLRSet
from reid_lib.training.pseudo_labels import CLUSTERING, PseudoLabels, check_enough, cluster, labelled_batches, shares
from reid_lib.training.run import Run, initialise
from reid_lib.training.schedules import adam
from reid_lib.training.starts import build_backbone


@dataclass(frozen=True)
class ClusterContrastConfig:  # decision DRFM-10
    """Settings of cluster contrast; the defaults are those of its authors' code, the clustering is DRFM's.

    Raises:
        ValueError: a value that is out of place; the message says what was expected.
    """

    network: str = "resnet50"
    width: int = 32
    weights: str = "imagenet"
    rates: tuple[int, ...] = (2, 3, 4)  # of the LR images
    k1: int = 30
    k2: int = 6
    eps: float = 0.6
    min_samples: int = 4
    tau: float = 0.05
    momentum: float = 0.1
    kernel: str = "bicubic"
    p: int = 16
    k: int = 16
    input_size: tuple[int, int] | None = (256, 128)
    pad: int = 10
    learning_rate: float = 3.5e-4
    weight_decay: float = 5e-4
    epochs: int = 50
    steps: int | None = None
    warmup: int = 0
    milestones: tuple[int, ...] = (20, 40)

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates) < 2:
            raise ValueError(f"rates must be integers >= 2, at least one, found {self.rates}")
        if self.tau <= 0 or not 0 <= self.momentum < 1:
            raise ValueError(f"expected tau > 0 and 0 <= momentum < 1, found tau={self.tau}, momentum={self.momentum}")

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "ClusterContrastConfig":
        """Return the settings of a profile; ValueError for an unknown one."""
        own = {"smoke": {**CLUSTERING["smoke"], "p": 4, "k": 4}, "demo": {**CLUSTERING["demo"], "p": 8, "k": 4}}
        return cls(**on_field(profile, own, changes))


class ClusterContrastMatcher(FeatureMatcher):
    """The Matcher of cluster contrast, with its ``history`` and the pseudo-labels of all epochs, as `DRFMMatcher`."""

    def __init__(
        self,
        network: ImageEncoder,
        history: pd.DataFrame,
        pseudo_labels: torch.Tensor,
        config: ClusterContrastConfig,
        data: MLRSet,
    ) -> None:
        super().__init__(network.eval(), config.input_size or data.size, data.device, data.split)
        self.history, self.pseudo_labels = history, pseudo_labels


def train(
    config: ClusterContrastConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> ClusterContrastMatcher:
    """Train cluster contrast on the images of a split, without their identities; arguments as `baseline.train`.

    Raises:
        ValueError: images that do not fit (`mlr_set.MLRSet`), fewer of them than a batch or than k1.
        TrainingError: a loss that is not finite.
    """
    data, size = MLRSet(dataset, split, config.rates, config.kernel, None, device), config.input_size or dataset.size
    check_enough(len(data), config)

    def build() -> ImageEncoder:
        return ImageEncoder(build_backbone(config.network, config.width, config.weights, size))

    network = initialise(build, seed, data.device)
    memory = PseudoLabels(config.epochs, len(data)).to(data.device)
    optimizer, scheduler = adam([p for p in network.parameters() if p.requires_grad], config)
    parts = {"network": network, "labels": memory, "optimizer": optimizer, "scheduler": scheduler}
    run = data.open_run(__name__, config, parts, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        features = extract(run, network, data, config)
        found, alone = cluster(features, config), torch.arange(len(data), device=data.device)
        clusters = int(found.max()) + 1
        kept = memory.settle(epoch, found, clusters, alone, config)
        labels = memory.labels[epoch]
        run.from_main(labels)
        counts = {"clusters": torch.tensor(float(clusters)), "kept": torch.tensor(float(kept))}
        noted = counts | shares(labels, data.low)
        phi = normalize(centroids(features, labels, int(labels.max()) + 1))  # the clusters' means, to begin with
        run.from_main(phi)
        network.train()
        for indices in run.batches(labelled_batches(labels, config, seed, epoch)):
            own = labels[torch.from_numpy(indices).to(data.device)]
            with run.autocast():
                f = network(data.of_hr_space(indices, config, run.generator))
            f = normalize(f.float())
            terms = {"contrast": losses.cluster_loss(f, own, phi, config.tau)}
            run.descend(optimizer, terms)
            losses.update_clusters(phi, run.gathered(f), run.gathered(own), config.momentum)
            run.note(terms | noted, images=len(indices))
        scheduler.step()
    return ClusterContrastMatcher(network, pd.DataFrame(run.history), memory.labels, config, data)


@torch.no_grad()
def extract(run: Run, network: ImageEncoder, data: MLRSet, config: ClusterContrastConfig) -> torch.Tensor:
    """Return the features of all training images, (N, d), of length 1; the network is in eval mode."""
    network.eval()
    parts = []
    for indices in np.array_split(np.arange(len(data)), -(-len(data) // 128)):
        with run.autocast():
            parts.append(normalize(network(data.of_hr_space(indices, config)).float()))
    return torch.cat(parts)
