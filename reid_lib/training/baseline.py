"""The plain re-ID baseline: identity + triplet loss on a backbone, trained on HR images or on HR and LR ones.

Not a method of the five papers: it is what they start from, and what shows the problem. Network, losses and schedule
are those of "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (Luo et al., CVPRW 2019) without
its tricks on data (no label smoothing, no random erasing, no centre loss).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from reid_lib.datasets.image_store import ImageStore, cache_folder, open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, upsample
from reid_lib.datasets.sampling import augment, draw_rates, pk_batches
from reid_lib.datasets.synth import synth
from reid_lib.devices import pick_device
from reid_lib.digest import code_digest, keyed
from reid_lib.evaluation.matchers import FeatureMatcher, PerRateMatcher
from reid_lib.losses.common import batch_hard_triplet_loss, identity_loss
from reid_lib.networks.inputs import normalise
from reid_lib.networks.resnet import resnet50
from reid_lib.networks.tiny import tiny
from reid_lib.profiles import PROFILES
from reid_lib.training.run import Run, initialise

Config = TypeVar("Config")
START_CROWD = 1000  # seed of the synthetic crowd that `synthetic_start` learns from; no other data set has it


@dataclass(frozen=True)
class BaselineConfig:
    """Settings of the baseline; the defaults are the ``paper`` profile.

    Attributes:
        network: "resnet50" (last stride 1) or "tiny".
        width: channels of the first stage of "tiny"; not used by "resnet50".
        weights: start of the backbone: "none"; for "resnet50" also "imagenet" or a path (`networks.resnet.resnet50`),
            for "tiny" also "synth" (`synthetic_start`).
        rates: down-sampling rates of the training images, drawn per image: (1,) is HR only, (1, 2, 3, 4) HR and LR.
        kernel: down-sampling kernel.
        p, k: identities in a batch, images per identity.
        input_size: (H, W) to which images are resized after their down-sampling; None: the data set's own size.
        pad: zeros on each side before the random crop, in pixels of the network's input.
        margin: of the triplet loss.
        learning_rate, weight_decay: of Adam.
        epochs: length of the training.
        warmup: epochs in which the learning rate grows from a tenth of its value.
        milestones: epochs at which it is divided by 10.
    """

    network: str = "resnet50"
    width: int = 32
    weights: str = "none"
    rates: tuple[int, ...] = (1,)
    kernel: str = "bicubic"
    p: int = 16
    k: int = 4
    input_size: tuple[int, int] | None = (256, 128)
    pad: int = 10
    margin: float = 0.3
    learning_rate: float = 3.5e-4
    weight_decay: float = 5e-4
    epochs: int = 120
    warmup: int = 10
    milestones: tuple[int, ...] = (40, 70)

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "BaselineConfig":
        """Return the settings of a profile; a smaller one has a smaller network and fewer epochs.

        Raises:
            ValueError: unknown profile.
        """
        tiny = {"network": "tiny", "input_size": None}
        small = {
            "smoke": {**tiny, "width": 8, "p": 4, "pad": 2, "epochs": 2, "warmup": 0, "milestones": (1,)},
            "demo": {**tiny, "pad": 5, "learning_rate": 2e-3, "epochs": 12, "warmup": 1, "milestones": (7, 10)},
            "paper": {},
        }
        if profile not in small:
            raise ValueError(f"unknown profile {profile!r}: expected one of {', '.join(PROFILES)}")
        return replace(cls(**small[profile]), **changes)


class Baseline(nn.Module):
    """A backbone, batch normalisation of its feature, and a classifier without bias (the "BN neck")."""

    def __init__(self, backbone: nn.Module, identities: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = nn.BatchNorm1d(backbone.dim)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(backbone.dim, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=1e-3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map images (N, 3, H, W) to features (N, dim) for the triplet loss and logits (N, identities)."""
        feature = self.backbone(x)
        return feature, self.classifier(self.neck(feature.float()))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to the features (N, dim) after the batch normalisation, for matching."""
        return self.neck(self.backbone(x).float())


def build_backbone(config: BaselineConfig, size: tuple[int, int], last_stride: int = 1) -> nn.Module:
    """Build the backbone of a configuration for images of ``size`` (H, W); ``last_stride`` is that of "resnet50".

    Raises:
        ValueError: unknown network, or other weights for "tiny" than "none" and "synth".
    """
    if config.network == "resnet50" and config.weights != "synth":
        backbone = resnet50(last_stride=last_stride, weights=config.weights)
    elif config.network == "tiny" and config.weights in ("none", "synth"):
        backbone = tiny(width=config.width)
        if config.weights == "synth":
            backbone.load_state_dict(synthetic_start(config.width))
    else:
        raise ValueError(
            "expected resnet50 with weights none, imagenet or a path, or tiny with weights none or synth; "
            f"found network {config.network!r} with weights {config.weights!r}"
        )
    backbone.input_size = size
    return backbone


def synthetic_start(width: int) -> dict[str, torch.Tensor]:
    """Return weights for ``tiny(width)`` that do for it what ImageNet does for the papers' ResNet-50.

    They are the backbone's of an HR-only baseline (profile demo) trained on a synthetic crowd of its own, whose people
    and cameras are in no other data set. It is trained once, in about a minute, and kept in the cache folder.
    """
    config = BaselineConfig.for_profile("demo", width=width)
    with torch.random.fork_rng(devices=[]):  # the heads' random start must not depend on whether it is kept already
        crowd = synth(seed=START_CROWD)
        matcher = train(config, crowd, folder=cache_folder() / "starts", device=torch.device("cpu"))
    return matcher.embed.__self__.backbone.state_dict()


def train(
    config: BaselineConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> FeatureMatcher:
    """Train the baseline on the training identities of a split and return its Matcher.

    A finished run in ``folder`` is loaded, an unfinished one goes on.

    Args:
        config: the settings.
        dataset: the data set; images are down-sampled at its size.
        split: number of the train/test split.
        seed: seed of all draws.
        folder: parent of the run's own folder (`run.run_folder`); None keeps nothing.
        device: None takes the CUDA device if there is one.
        progress: whether to show progress bars.

    Raises:
        ValueError: fewer training identities than ``config.p``, unknown network.
        TrainingError: a loss that is not finite.
    """
    device, size = device or pick_device(), config.input_size or dataset.size
    rows = dataset.part("train", split)
    pids = rows["pid"].to_numpy()
    labels = torch.from_numpy(rows["pid"].astype("category").cat.codes.to_numpy(copy=True)).long()
    model = initialise(lambda: Baseline(build_backbone(config, size), int(labels.max()) + 1), seed, device)
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: learning_rate_factor(config, epoch))
    if folder is not None:
        people = sorted(set(pids.tolist()))  # another partition of the same images has the same fingerprint
        code = code_digest(__name__)
        folder = keyed(folder, f"baseline-seed{seed}", config, dataset.fingerprint(), people, seed, code)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    run, store = Run(folder, config, seed, parts, device, progress), open_store(dataset)
    numbers, labels = rows.index.to_numpy(), labels.to(device)
    for epoch in run.epochs(config.epochs):
        model.train()
        for places in run.batches(pk_batches(pids, config.p, config.k, seed, epoch)):
            inputs = training_inputs(store, numbers[places], config, run.generator, device)
            with run.autocast():
                features, logits = model(inputs)
            target = labels[torch.from_numpy(places).to(device)]
            terms = {
                "identity": identity_loss(logits, target),
                "triplet": batch_hard_triplet_loss(features, target, config.margin),
            }
            run.step(optimizer, terms, images=len(places))
        scheduler.step()
    return FeatureMatcher(model.eval().embed, size, device, split)


def training_inputs(
    store: ImageStore,
    rows: np.ndarray,
    config: BaselineConfig,
    generator: torch.Generator,
    device: torch.device,
) -> torch.Tensor:
    """Read, down-sample, resize, augment and normalise a batch: channels-last floats (N, 3, H, W) on ``device``."""
    images = store.batch(rows).to(device, non_blocking=True)
    images = degrade(images, draw_rates(len(rows), config.rates, generator), config.kernel)
    if config.input_size not in (None, store.images.shape[1:3]):
        images = upsample(images, config.input_size)
    images = augment(images, generator, config.pad)
    return normalise(images).contiguous(memory_format=torch.channels_last)


def learning_rate_factor(config: BaselineConfig, epoch: int) -> float:
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


def train_per_rate(
    config: BaselineConfig, dataset: ReIDDataset, rates: tuple[int, ...], **options: object
) -> PerRateMatcher:
    """Train one model for each rate, on images down-sampled by that rate; ``options`` as for `train`."""
    matchers = {rate: train(replace(config, rates=(rate,)), dataset, **options) for rate in rates}
    return PerRateMatcher(matchers, config.kernel)
