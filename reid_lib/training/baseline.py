"""The plain re-ID baseline: identity + triplet loss on a backbone, trained on HR images or on HR and LR ones.

Not a method of the five papers: it is what they start from, and what shows the problem. Network, losses and schedule
are those of "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (Luo et al., CVPRW 2019) without
its tricks on data (no label smoothing, no random erasing, no centre loss).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from reid_lib.datasets.image_store import ImageStore, open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, upsample
from reid_lib.datasets.sampling import augment, draw_rates, pk_batches
from reid_lib.evaluation.ranking import euclidean
from reid_lib.losses.common import batch_hard_triplet_loss, identity_loss
from reid_lib.networks.inputs import normalise
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.networks.resnet import resnet50
from reid_lib.networks.tiny import tiny
from reid_lib.training.run import Run, initialise, pick_device, run_folder

PROFILES = ("smoke", "demo", "paper")


@dataclass(frozen=True)
class BaselineConfig:
    """Settings of the baseline; the defaults are the ``paper`` profile.

    Attributes:
        network: "resnet50" (last stride 1) or "tiny".
        width: channels of the first stage of "tiny"; not used by "resnet50".
        weights: start of the backbone: "none", "imagenet" or a path (`networks.resnet.resnet50`).
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


class FeatureMatcher:
    """The Matcher of one network: the same feature for query and gallery, compared by cosine.

    Args:
        embed: maps normalised images (N, 3, h, w) to features (N, d); a network in eval mode, or a method of one.
        input_size: (h, w) that ``embed`` takes.
        device: where it runs.
        split: the split on whose training identities it was trained; None: on no identity of the data set.
    """

    def __init__(
        self,
        embed: Callable[[torch.Tensor], torch.Tensor],
        input_size: tuple[int, int],
        device: torch.device,
        split: int | None = None,
    ) -> None:
        self.embed, self.input_size, self.device, self.split = embed, input_size, device, split

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, H, W) to the network's own features (n, d), of any length."""
        inputs = normalise(images, self.input_size).contiguous(memory_format=torch.channels_last)
        return self.embed(inputs).float()

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) as features (n, d) of length 1."""
        return nn.functional.normalize(self.features(images))

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) as features (n, d) of length 1; the rates make no difference."""
        return self.embed_gallery(images)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        """Squared Euclidean distances (n_query, n_gallery) of features of length 1: they rank as cosines do."""
        return euclidean(query, gallery)


def pretrained_name(weights: str | Path) -> str:
    """Return the method's name in tables: "OSNet x0.25 (msmt17)" for ``osnet_x0_25_msmt17.pth``."""
    return f"OSNet x0.25 ({Path(weights).stem.removeprefix('osnet_x0_25_')})"


def pretrained(weights: str | Path, device: torch.device | None = None) -> FeatureMatcher:
    """Return the Matcher of an OSNet x0.25 checkpoint as it is (256 x 128 pixels, 512-d features).

    Args:
        weights: the checkpoint's file.
        device: None takes the CUDA device if there is one.

    Raises:
        ValueError: weights "none": a random network would be measured.
        WeightsError: the file is absent, cannot be read, holds more than tensors, or is of another network.
    """
    if str(weights) == "none":
        raise ValueError('weights="none" would measure a random network: name an OSNet x0.25 file')
    device = device or pick_device()
    network = osnet_x0_25(weights=weights).to(device, memory_format=torch.channels_last).eval()
    return FeatureMatcher(network, network.input_size, device)


class PerRateMatcher:
    """One model per rate: a query of rate r meets the gallery, down-sampled by r, in the model of r.

    LRAR calls this the naive solution (Section V-D1). A rate without a model goes to the nearest smaller one, or the
    smallest there is. An embedding's last column of a query is the place of its model; a gallery's is (n, models, d).
    """

    def __init__(self, matchers: dict[int, FeatureMatcher], kernel: str = "bicubic") -> None:
        self.rates = sorted(matchers)
        self.matchers = [matchers[rate] for rate in self.rates]
        self.kernel, self.device, self.split = kernel, self.matchers[0].device, self.matchers[0].split

    def model_of(self, rates: torch.Tensor) -> torch.Tensor:
        """Return the place of the model for each rate; int64 (n,)."""
        known = torch.tensor(self.rates, device=rates.device)
        return (torch.searchsorted(known, rates, right=True) - 1).clamp(min=0)

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed each image by the model of its rate: (n, d + 1)."""
        models = self.model_of(rates)
        features = [(models == i).nonzero().squeeze(1) for i in range(len(self.matchers))]
        parts = {i: self.matchers[i].embed_gallery(images[rows]) for i, rows in enumerate(features) if len(rows)}
        width = next(iter(parts.values())).shape[1]
        embedding = torch.empty(len(images), width + 1, device=images.device)
        for i, part in parts.items():
            embedding[features[i], :-1] = part
        embedding[:, -1] = models
        return embedding

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed each image by every model, at that model's rate: (n, models, d)."""
        versions = [
            m.embed_gallery(degrade(images, r, self.kernel)) for r, m in zip(self.rates, self.matchers, strict=True)
        ]
        return torch.stack(versions, dim=1)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        """Squared Euclidean distances (n_query, n_gallery), each in its query's model."""
        distances = torch.empty(len(query), len(gallery), device=query.device)
        for i in range(len(self.matchers)):
            rows = (query[:, -1] == i).nonzero().squeeze(1)
            distances[rows] = euclidean(query[rows, :-1], gallery[:, i])
        return distances


def build_backbone(config: BaselineConfig, size: tuple[int, int], last_stride: int = 1) -> nn.Module:
    """Build the backbone of a configuration for images of ``size`` (H, W); ``last_stride`` is that of "resnet50".

    Raises:
        ValueError: unknown network, or weights for "tiny".
    """
    if config.network == "resnet50":
        backbone = resnet50(last_stride=last_stride, weights=config.weights)
    elif config.network == "tiny" and config.weights == "none":
        backbone = tiny(width=config.width)
    else:
        raise ValueError(
            f"the baseline has resnet50, and tiny without weights; found network {config.network!r} with weights "
            f"{config.weights!r}"
        )
    backbone.input_size = size
    return backbone


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
        folder = run_folder(folder, f"baseline-seed{seed}", __name__, config, dataset.fingerprint(), people, seed)
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


def train_per_rate(
    config: BaselineConfig, dataset: ReIDDataset, rates: tuple[int, ...], **options: object
) -> PerRateMatcher:
    """Train one model for each rate, on images down-sampled by that rate; ``options`` as for `train`."""
    matchers = {rate: train(replace(config, rates=(rate,)), dataset, **options) for rate in rates}
    return PerRateMatcher(matchers, config.kernel)
