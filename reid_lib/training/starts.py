"""What a backbone starts from: nothing, a weight file, ImageNet, or a synthetic crowd of its own."""

from dataclasses import dataclass

import torch

from reid_lib.datasets.image_store import cache_folder
from reid_lib.datasets.synth import synth
from reid_lib.devices import alone
from reid_lib.networks.encoder import Encoder
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.networks.resnet import resnet50
from reid_lib.networks.tiny import tiny
from reid_lib.training.identity_triplet import learn
from reid_lib.training.training_set import TrainingSet

START_CROWD = 1000  # seed of the synthetic crowd that `synthetic_start` learns from; no other data set has it


@dataclass(frozen=True)
class StartConfig:  # decision HOUSE-7
    """Settings of the training behind ``weights="synth"``; the fields are those of `baseline.BaselineConfig`.

    They are the start's own, so that other settings of the baseline leave what all other networks start from as it is.
    """

    width: int = 16
    rates: tuple[int, ...] = (1,)
    kernel: str = "bicubic"
    p: int = 16
    k: int = 4
    input_size: tuple[int, int] | None = None
    pad: int = 5
    margin: float = 0.3
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    epochs: int = 12
    steps: int | None = None
    warmup: int = 1
    milestones: tuple[int, ...] = (7, 10)


def build_backbone(network: str, width: int, weights: str, size: tuple[int, int], last_stride: int = 1) -> Encoder:
    """Build a backbone for images of ``size`` (H, W).

    Args:
        network: "resnet50", "osnet_x0_25" or "tiny".
        width: channels of the first stage of "tiny"; not used by "resnet50".
        weights: "none"; for "resnet50" also "imagenet" or a path (`networks.resnet.resnet50`), for "osnet_x0_25" a path
            to a torchreid file, for "tiny" also "synth" (`synthetic_start`).
        size: (H, W) in pixels.
        last_stride: stride of the last stage of "resnet50".

    Raises:
        ValueError: unknown network, or weights that it cannot have.
    """
    if network == "resnet50" and weights != "synth":
        backbone = resnet50(last_stride=last_stride, weights=weights)
    elif network == "osnet_x0_25" and weights not in ("imagenet", "synth"):
        backbone = osnet_x0_25(weights=weights)
    elif network == "tiny" and weights in ("none", "synth"):
        backbone = tiny(width=width)
        if weights == "synth":
            backbone.load_state_dict(synthetic_start(width))
    else:
        raise ValueError(
            "expected resnet50 with weights none, imagenet or a path, osnet_x0_25 with weights none or a path, or tiny "
            "with weights none or synth; "
            f"found network {network!r} with weights {weights!r}"
        )
    backbone.input_size = size
    return backbone


def synthetic_start(width: int) -> dict[str, torch.Tensor]:  # decision SYNTH-3
    """Return weights for ``tiny(width)`` that do for it what ImageNet does for the papers' ResNet-50.

    They are the backbone's of an HR-only baseline trained on a synthetic crowd of its own, whose identities and cameras
    are in no other data set. It is trained once, in about a minute, and kept in the cache folder. Of several processes
    the first trains it on its own and the others wait, so that it is the same whoever asks for it.
    """
    config = StartConfig(width)
    data = TrainingSet(synth(seed=START_CROWD), device=torch.device("cpu"))
    # the heads' random start must not depend on whether it is kept already
    with alone(), torch.random.fork_rng(devices=[]):
        model = learn(__name__, config, data, lambda: tiny(width=width), 0, cache_folder() / "starts", True)
    return model.backbone.state_dict()
