"""The plain re-ID baseline: identity + triplet loss on a backbone, trained on HR images or on HR and LR ones.

Not a method of the five papers: it is what they start from, and what shows the problem. Network, losses and schedule
are those of "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (Luo et al., CVPRW 2019) without
its tricks on data (no label smoothing, no random erasing, no centre loss).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.matchers import FeatureMatcher, PerRateMatcher
from reid_lib.networks.encoder import Encoder
from reid_lib.training.field import on_field
from reid_lib.training.identity_triplet import learn
from reid_lib.training.starts import build_backbone
from reid_lib.training.training_set import TrainingSet


@dataclass(frozen=True)
class BaselineConfig:  # decision BASE-1
    """Settings of the baseline; the defaults are the ``paper`` profile.

    Attributes:
        network: "resnet50" (last stride 1), "osnet_x0_25" or "tiny".
        width: channels of the first stage of "tiny"; not used by "resnet50".
        weights: start of the backbone (`starts.build_backbone`).
        rates: down-sampling rates of the training images, drawn per image: (1,) is HR only, (1, 2, 3, 4) HR and LR.
        kernel: down-sampling kernel.
        p, k: identities in a batch, images per identity.
        input_size: (H, W) to which images are resized after their down-sampling; None: the data set's own size.
        pad: zeros on each side before the random crop, in pixels of the network's input.
        margin: of the triplet loss.
        learning_rate, weight_decay: of Adam.
        epochs: length of the training.
        steps: steps in an epoch; None: as many as show about all images once.
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
    steps: int | None = None
    warmup: int = 10
    milestones: tuple[int, ...] = (40, 70)

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "BaselineConfig":
        """Return the settings of a profile: the field's (`field.Field`) but for the paper profile.

        Raises:
            ValueError: unknown profile.
        """
        return cls(**on_field(profile, {"smoke": {"p": 4}, "demo": {"p": 8}}, changes))


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
        folder: parent of the run's own folder (`TrainingSet.open_run`); None keeps nothing.
        device: None takes the CUDA device if there is one.
        progress: whether to show progress bars.

    Raises:
        ValueError: fewer training identities than ``config.p``, unknown network.
        TrainingError: a loss that is not finite.
    """
    data, size = TrainingSet(dataset, split, device), config.input_size or dataset.size

    def build() -> Encoder:
        return build_backbone(config.network, config.width, config.weights, size)

    model = learn(__name__, config, data, build, seed, folder, progress)
    return FeatureMatcher(model.embed, size, data.device, split)


def train_per_rate(
    config: BaselineConfig, dataset: ReIDDataset, rates: tuple[int, ...], **options: object
) -> PerRateMatcher:
    """Train one model for each rate, on images down-sampled by that rate; ``options`` as for `train`."""
    matchers = {rate: train(replace(config, rates=(rate,)), dataset, **options) for rate in rates}
    return PerRateMatcher(matchers, config.kernel)
