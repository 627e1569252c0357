"""DRFM (Pang et al., MM 2024): pseudo-labels of each epoch, the memories, the loop, its variants, and its Matcher."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.ranking import euclidean
from reid_lib.losses import drfm as losses
from reid_lib.networks.drfm import DRFM, FUSIONS, Spaces
from reid_lib.networks.inputs import normalise
from reid_lib.networks.sr import Bicubic, Checkpoint, SuperResolution
from reid_lib.seeds import numpy_generator
from reid_lib.training.field import on_field
from reid_lib.training.mlr_set import SCALE, MLRSet, super_resolved
from reid_lib.training.pseudo_labels import CLUSTERING, Memory, check_enough, cluster, labelled_batches, shares
from reid_lib.training.run import Run, initialise
from reid_lib.training.schedules import adam
from reid_lib.training.starts import build_backbone

LABELS = ("CPG", "SR+DBSCAN", "DBSCAN")
CONTRASTS = ("L_cc", "L_sc")
VARIANTS: dict[str, dict[str, object]] = {  # Table 3: what differs from DRFM
    "A1": {"labels": "DBSCAN", "consistency": False, "fusion": "none", "contrast": "L_sc", "lambda_ps": 0.0},
    "A2": {"labels": "SR+DBSCAN", "consistency": False, "fusion": "none", "contrast": "L_sc", "lambda_ps": 0.0},
    "A3": {"consistency": False, "fusion": "none", "contrast": "L_sc", "lambda_ps": 0.0},
    "A4": {"fusion": "none", "contrast": "L_sc", "lambda_ps": 0.0},
    "A5": {"fusion": "FC", "contrast": "L_sc", "lambda_ps": 0.0},
    "A6": {"contrast": "L_sc", "lambda_ps": 0.0},
    "A7": {"labels": "SR+DBSCAN", "consistency": False, "fusion": "none", "lambda_ps": 0.0},
    "A8": {"lambda_ps": 0.0},
    "DRFM": {},
}


@dataclass(frozen=True)
class DRFMConfig:
    """Settings of DRFM; the defaults are the paper's (4.2). `VARIANTS` has those of Table 3.

    Raises:
        ValueError: a value that is out of place; the message says what was expected.
    """

    network: str = "resnet50"  # of E_h and E_l
    width: int = 32
    weights: str = "imagenet"
    rates: tuple[int, ...] = (2, 3, 4)  # of the LR images (4.1)
    sr: str = "Swin2SR_ClassicalSR_X4_64.pth"  # which of Swin2SR's files is not given; "bicubic" for none
    labels: str = "CPG"  # one of `LABELS`: what gives the pseudo-labels
    consistency: bool = True  # whether there is L_ic
    fusion: str = "CRFF"  # one of `networks.drfm.FUSIONS`
    contrast: str = "L_cc"  # one of `CONTRASTS`
    lambda_ps: float = 1.5  # lambda, the weight of L_ps; 0 leaves it out
    t: float = 0.7  # of Eq. 9: 0.7 on MLR-CUHK03, 0.8 on MLR-Market-1501 (4.3.2)
    k1: int = 30  # of the Jaccard distance, which is not given, nor is k2 or eps
    k2: int = 6
    eps: float = 0.6
    min_samples: int = 4
    tau_c: float = 0.04
    tau_l: float = 0.04
    tau_h: float = 0.05
    tau_s: float = 0.02
    alpha: float = 0.2
    q: int = 20  # |Q|
    kernel: str = "bicubic"  # of the down-sampling; not given
    p: int = 16  # clusters, and images of each, in a batch of 64; how it is drawn is not given
    k: int = 4
    ps_batch: int = 16  # ambiguous images in a batch of L_ps
    ps_from: int = 10  # the epoch from which there is L_ps
    input_size: tuple[int, int] | None = (256, 128)  # not given
    pad: int = 10
    learning_rate: float = 3.5e-4
    weight_decay: float = 5e-4
    epochs: int = 40
    steps: int | None = None
    warmup: int = 0
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("labels", LABELS), ("contrast", CONTRASTS), ("fusion", FUSIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        if not self.rates or min(self.rates) < 2:
            raise ValueError(f"rates must be integers >= 2, at least one, found {self.rates}")
        if not 0 < self.t <= 1 or not 0 <= self.alpha < 1 or self.lambda_ps < 0:
            raise ValueError(
                f"expected 0 < t <= 1, 0 <= alpha < 1 and lambda_ps >= 0, found t={self.t}, alpha={self.alpha}, "
                f"lambda_ps={self.lambda_ps}"
            )
        if self.q < 0 or self.ps_batch < 2:  # batch statistics need two images
            raise ValueError(f"expected q >= 0 and ps_batch >= 2, found q={self.q}, ps_batch={self.ps_batch}")
        if not 0 < self.tau_s < self.tau_c or min(self.tau_l, self.tau_h) <= 0:
            raise ValueError(
                f"temperatures must be above 0, and tau_s below tau_c (Eq. 19), found tau_s={self.tau_s}, "
                f"tau_c={self.tau_c}, tau_l={self.tau_l}, tau_h={self.tau_h}"
            )
        if self.labels != "CPG" and (self.consistency or self.fusion != "none" or self.lambda_ps):
            raise ValueError('L_ic, a fusion and L_ps need the LR space: labels="CPG"')
        if self.lambda_ps and self.fusion == "none":
            raise ValueError("L_ps needs fusion features (Eq. 19): take a fusion, or lambda_ps=0")

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "DRFMConfig":
        """Return the settings of a profile; ValueError for an unknown one."""
        own = {
            "smoke": {**CLUSTERING["smoke"], "p": 4, "ps_batch": 4, "ps_from": 1, "sr": "bicubic"},
            "demo": {**CLUSTERING["demo"], "p": 8, "ps_batch": 8, "ps_from": 2, "sr": "bicubic"},
        }
        return cls(**on_field(profile, own, changes))


class DRFMMatcher:
    """The Matcher of DRFM: query (LR + SHR) and gallery (HR + SLR) by their fusion features, compared by cosine.

    Without a fusion (A1 to A4, A7) the features of the HR space are compared. ``network`` is a trained one; ``history``
    has the means of every epoch and ``pseudo_labels``, int64 (epochs, N), its labels (-1: none) of the training images
    in the order of `MLRSet`; ``sr`` makes SHR images of queries (None: a query passes E_h as it is).
    """

    def __init__(
        self,
        network: DRFM,
        history: pd.DataFrame,
        pseudo_labels: torch.Tensor,
        config: DRFMConfig,
        sr: SuperResolution | None,
        data: MLRSet,
    ) -> None:
        self.network, self.history, self.pseudo_labels = network.eval(), history, pseudo_labels
        self.config, self.sr = config, sr
        self.input_size, self.device, self.split = config.input_size or data.size, data.device, data.split

    @torch.inference_mode()
    def spaces(self, x_hh: torch.Tensor, x_ll: torch.Tensor) -> Spaces:
        """Map uint8 images (n, 3, H, W) of the HR and the LR space to features (n, d) of length 1 in each space."""
        inputs = (normalise(x.to(self.device), self.input_size) for x in (x_hh, x_ll))
        return unit(self.network(*(x.contiguous(memory_format=torch.channels_last) for x in inputs)))

    def super_resolved(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the HR space has of uint8 LR images (n, 3, H, W): SHR images, or the same in A1."""
        return images if self.sr is None else super_resolved(self.sr, images, min(self.config.rates)).to(self.device)

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 LR images (n, 3, H, W) as features (n, d) of length 1; the rates make no difference."""
        return matched(self.spaces(self.super_resolved(images), images))

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 HR images (n, 3, H, W) as features (n, d) of length 1."""
        return matched(self.spaces(images, degrade(images, SCALE, self.config.kernel)))

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        """Squared Euclidean distances (n_query, n_gallery) of features of length 1: they rank as cosines do."""
        return euclidean(query, gallery)


def unit(features: Spaces) -> Spaces:
    """Scale the features of each space to length 1."""
    return Spaces(*(None if f is None else normalize(f.float()) for f in features))


def matched(features: Spaces) -> torch.Tensor:
    """Return the features that are compared at test time."""
    return features.hh if features.fu is None else features.fu


def train(
    config: DRFMConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
    sr: SuperResolution | None = None,
) -> DRFMMatcher:
    """Train DRFM or a variant on the training images of a split, without their identities, and return its Matcher.

    The history has the terms before their weights and, of each epoch's pseudo-labels, ``clusters`` (as DBSCAN found
    them), ``kept`` (1 where they were too few and the labels before stayed) and ``labelled_hr``, ``labelled_lr`` (%).

    Args:
        config: the settings.
        dataset, split, seed, folder, device, progress: as `baseline.train` takes them.
        sr: super-resolution by 4; None: what ``config.sr`` names.

    Raises:
        ValueError: images that do not fit (`mlr_set.MLRSet`), fewer of them than a batch or than k1.
        reid_lib.networks.weights.WeightsError: ``config.sr`` is a file that cannot be read, or of another scale.
        TrainingError: a loss that is not finite.
    """
    if config.labels == "DBSCAN":
        sr = None
    elif sr is None:
        sr = Bicubic(SCALE, device) if config.sr == "bicubic" else Checkpoint(config.sr, SCALE, device)
    data = MLRSet(dataset, split, config.rates, config.kernel, sr, device)
    check_enough(len(data), config)
    size = config.input_size or dataset.size
    network = initialise(lambda: build_network(config, size), seed, data.device)
    spaces = [space for space, there in network.spaces.items() if there]
    memory = Memory(spaces, network.dim, config.epochs, len(data)).to(data.device)
    optimizer, scheduler = adam([p for p in network.parameters() if p.requires_grad], config)
    parts = {"network": network, "memory": memory, "optimizer": optimizer, "scheduler": scheduler}
    run = data.open_run(__name__, config, parts, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        features = extract(run, network, data, config)
        noted = relabel(memory, features, data, config, epoch)
        memory.fill(features._asdict())
        run.from_main(*memory.buffers())
        network.train()
        for indices, ambiguous in run.batches(batches(memory.labels[epoch], data, config, seed, epoch)):
            step(run, network, memory, optimizer, data, config, (indices, ambiguous), noted)
        scheduler.step()
    return DRFMMatcher(network, pd.DataFrame(run.history), memory.labels, config, sr, data)


def build_network(config: DRFMConfig, size: tuple[int, int]) -> DRFM:
    """Build the network of a configuration for images of ``size`` (H, W), without the parts that it does not need."""
    build = partial(build_backbone, config.network, config.width, config.weights, size)
    return DRFM(build, config.labels == "CPG", config.consistency, config.fusion)


@torch.no_grad()
def extract(run: Run, network: DRFM, data: MLRSet, config: DRFMConfig) -> Spaces:
    """Return the features of all training images in each space, (N, d), of length 1; the network is in eval mode."""
    network.eval()
    parts = []
    for indices in np.array_split(np.arange(len(data)), -(-len(data) // 128)):
        with run.autocast():
            parts.append(unit(network(*data.pairs(indices, config))))
    return Spaces(*(None if space[0] is None else torch.cat(space) for space in zip(*parts, strict=True)))


def relabel(memory: Memory, features: Spaces, data: MLRSet, config: DRFMConfig, epoch: int) -> dict[str, torch.Tensor]:
    """Find the pseudo-labels of an epoch, write them into the memory, and return what the history notes of them."""
    of_hr = config.labels == "CPG"  # else DBSCAN takes all images, in the HR space
    found = cluster(features.hh[~data.low] if of_hr else features.hh, config)
    clusters, alone = int(found.max()) + 1, torch.arange(len(found), device=data.device)
    labels, each = (spread(own, features, data, config) for own in (found, alone))
    kept = memory.settle(epoch, labels, clusters, each, config)
    counts = {"clusters": torch.tensor(float(clusters)), "kept": torch.tensor(float(kept))}
    return counts | shares(memory.labels[epoch], data.low)


def spread(found: torch.Tensor, features: Spaces, data: MLRSet, config: DRFMConfig) -> torch.Tensor:
    """Return the pseudo-labels of all images, int64 (N,), from those of the images that were clustered.

    CPG (3.2): an SLR image has the label of its HR image; LR images get theirs by the fusion of their class vectors.
    """
    if config.labels != "CPG":
        return found
    low, clusters = data.low, int(found.max()) + 1
    labels = torch.full_like(data.low, -1, dtype=torch.int64)
    labels[~low] = found
    if clusters:
        c_h, c_sl = (losses.centroids(f[~low], found, clusters) for f in (features.hh, features.ll))  # Eq. 5, 7
        s_l = losses.class_vectors(features.ll[low], c_sl, config.tau_l)  # Eq. 4
        s_sh = losses.class_vectors(features.hh[low], c_h, config.tau_h)  # Eq. 6
        s_lsh = losses.fused_class_vectors(s_l, s_sh)  # Eq. 8
        share = config.t * int((found >= 0).sum()) / len(found)  # Eq. 9: T = N_1^c / N_1 t
        labels[low] = torch.where(losses.confident(s_lsh, share), s_lsh.argmax(1), -1)
    return labels


def batches(
    labels: torch.Tensor, data: MLRSet, config: DRFMConfig, seed: int, epoch: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return an epoch's batches: images with a pseudo-label, and ambiguous LR images for L_ps, or none."""
    ambiguous = np.flatnonzero((data.low & (labels < 0)).cpu().numpy())
    if not config.lambda_ps or epoch < config.ps_from or len(ambiguous) < 2:  # batch statistics need two images
        ambiguous = ambiguous[:0]
    draw, n = numpy_generator(seed, "ambiguous", epoch), min(config.ps_batch, len(ambiguous))
    return [(indices, draw.permutation(ambiguous)[:n]) for indices in labelled_batches(labels, config, seed, epoch)]


def step(
    run: Run,
    network: DRFM,
    memory: Memory,
    optimizer: torch.optim.Optimizer,
    data: MLRSet,
    config: DRFMConfig,
    batch: tuple[np.ndarray, np.ndarray],
    noted: dict[str, torch.Tensor],
) -> None:
    """Take one step down Eq. 20 on a batch (its labelled and its ambiguous images), then update the memories."""
    indices = torch.from_numpy(batch[0]).to(data.device)
    labels, low = memory.labels[run.epoch, indices], data.low[indices]
    with run.autocast():
        features = network(*data.pairs(batch[0], config, run.generator))
        predicted = network.Pred(features.hh[low]) if config.consistency else None
    f = unit(features)
    terms = contrastive_terms(f, labels, memory, data, config, run.epoch)
    if predicted is not None:
        terms["consistency"] = losses.identity_consistency_loss(predicted.float(), features.ll[low])
    if config.lambda_ps:
        terms["sharpening"] = sharpening(run, network, memory, data, config, batch[1])
    run.descend(optimizer, losses.total(terms, config.lambda_ps))
    memory.update(run.gathered(indices), {s: run.gathered(getattr(f, s)) for s in memory.spaces}, config.alpha)
    run.note(terms | noted, images=len(indices))


def contrastive_terms(
    f: Spaces, labels: torch.Tensor, memory: Memory, data: MLRSet, config: DRFMConfig, epoch: int
) -> dict[str, torch.Tensor]:
    """Eq. 17: L_cc, or L_sc, of features f with pseudo-labels (n,) in each space."""
    all_labels, terms = memory.labels[epoch], {}
    clusters = int(all_labels.max()) + 1
    for space in memory.spaces:
        v, own = getattr(memory, space), getattr(f, space)
        if config.contrast == "L_cc":
            resolution = losses.resolution_centroids(v, all_labels, data.low, clusters)  # Eq. 14, 15
            loss = losses.cross_resolution_contrastive_loss(own, labels, resolution, config.q, config.tau_c)  # Eq. 16
        else:
            loss = losses.softmax_loss(own, labels, losses.centroids(v, all_labels, clusters), config.tau_c)
        terms[f"contrast_{space}"] = loss
    return terms


def sharpening(
    run: Run, network: DRFM, memory: Memory, data: MLRSet, config: DRFMConfig, ambiguous: np.ndarray
) -> torch.Tensor:
    """Eq. 19 on ambiguous LR images (n,); 0 where there are none."""
    if not len(ambiguous):
        return torch.zeros((), device=data.device)
    labels = memory.labels[run.epoch].masked_fill(data.low, -1)  # C_hsl is of HR images alone
    c_hsl = losses.centroids(memory.fu, labels, int(labels.max()) + 1)
    with run.autocast():
        features = network(*data.pairs(ambiguous, config, run.generator))
    return losses.probability_sharpening_loss(unit(features).fu, c_hsl, config.tau_s, config.tau_c)
