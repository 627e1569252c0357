"""CAD-Net (Li et al., ICCV 2019): the alternating loop, its ablations, and its Matcher."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, upsample
from reid_lib.datasets.sampling import augment, draw_rates, pk_batches
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.losses import cadnet as losses
from reid_lib.losses.adversarial import FORMS, adversarial_loss
from reid_lib.losses.common import identity_loss
from reid_lib.networks.cadnet import FEATURES, CADNet
from reid_lib.networks.inputs import normalise, to_uint8
from reid_lib.seeds import torch_generator
from reid_lib.training.adversarial import check_discriminators, discriminator_step, parameters
from reid_lib.training.field import on_field
from reid_lib.training.run import Run, initialise
from reid_lib.training.schedules import adam, sgd
from reid_lib.training.starts import build_backbone
from reid_lib.training.training_set import TrainingSet

OPTIMIZERS = {"adam": adam, "sgd": sgd}
WEIGHTS = {"d_f": "lambda_adversarial_f", "d_i": "lambda_adversarial_i"}  # of each discriminator's loss


@dataclass(frozen=True)
class CADNetConfig:  # decision CADNET-7, decision CADNET-11, decision CADNET-12
    """Settings of CAD-Net; the defaults are the paper's, and the ``paper`` profile's.

    The variants of Table 1 are ``features="f"`` and ``features="g"``; those of Table 3 are ``lambda_adversarial_i=0``,
    ``lambda_adversarial_f=0``, ``lambda_reconstruction=0`` and ``classify=False``; `alone` gives E and C alone. What a
    variant leaves out (a term, a network) does not exist.

    Raises:
        ValueError: a value that is out of place; the message says what was expected.
    """

    network: str = "resnet50"  # of E and F, with a last stride of 2 (4.1)
    width: int = 32  # of "tiny" in its place
    weights: str = "imagenet"  # what E and F start from, see `starts.build_backbone` (4.1)
    discriminator_width: int = 64  # channels of the first layer of D_F and D_I (4.1)
    rates: tuple[int, ...] = (2, 3, 4)  # of the LR images, drawn per image (4.4)
    features: str = "both"  # what C takes and what is matched: v = [f, g], "f" or "g" (3.3)
    classify: bool = True  # whether there is L_cls; without it F has no loss either and stays as it starts
    adversarial: str = "non_saturating"  # what E and G minimise, one of `losses.adversarial.FORMS`; not given
    lambda_adversarial_f: float = 1.0  # weights of Eq. 6, 0 leaves a loss out (4.1)
    lambda_reconstruction: float = 1.0
    lambda_adversarial_i: float = 1.0
    margin: float = 2.0  # phi of the triplet loss (4.1)
    kernel: str = "bicubic"  # of the down-sampling; not given
    p: int = 4  # identities, and images of each, in the HR half and in the LR half:
    k: int = 4  # a batch of 32 (4.1); how it is drawn is not given
    input_size: tuple[int, int] | None = (256, 128)  # (H, W); None: the data set's own (4.1)
    pad: int = 10  # pixels around an image before the random crop; not given, as the other methods
    neck: bool = False  # whether u is batch-normalised for C and for matching by cosine; not in the paper
    optimizer: str = "sgd"  # of E, G, F and C (4.1); or "adam"
    learning_rate: float = 1e-3  # of it (4.1)
    momentum: float = 0.9  # of SGD (4.1)
    weight_decay: float = 5e-4  # 4.1
    discriminator_learning_rate: float = 1e-4  # of SGD for D_F and D_I (4.1)
    epochs: int = 60  # not given
    steps: int | None = None  # in an epoch; None: as many as show all images once as HR and once as LR
    warmup: int = 0  # the learning rate is constant: the paper has no schedule
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.rates or len(set(self.rates)) < len(self.rates) or min(self.rates) < 2:
            raise ValueError(
                "rates must be different integers >= 2, at least one: half of a batch is LR, and rate 1 is HR; found "
                f"{self.rates}"
            )
        for name, allowed in (("features", FEATURES), ("adversarial", FORMS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        if min(self.lambdas.values()) < 0:
            raise ValueError(f"the lambdas must be >= 0, found {self.lambdas}")
        if min(self.p, self.k) < 2:
            raise ValueError(
                f"p and k must be at least 2, a triplet has two identities and two images of one; found p={self.p} and "
                f"k={self.k}"
            )
        if not self.classify and not (self.lambda_reconstruction or self.lambda_adversarial_i):
            raise ValueError(
                "nothing would train the decoder: set lambda_reconstruction or lambda_adversarial_i above 0, or keep "
                "classify=True"
            )

    @property
    def lambdas(self) -> dict[str, float]:
        """The weights of Eq. 6 by the names of the terms."""
        return {name: getattr(self, f"lambda_{name}") for name in ("adversarial_f", "reconstruction", "adversarial_i")}

    @property
    def decode(self) -> bool:
        """Whether there is a G: whether a loss, or what is matched, asks for it."""
        return bool(self.features != "f" or self.lambda_reconstruction or self.lambda_adversarial_i)

    def alone(self) -> "CADNetConfig":
        """Return the control: E and C alone, trained with L_cls on GAP(f), without G, F, D_F and D_I."""
        return replace(
            self, features="f", lambda_adversarial_f=0.0, lambda_reconstruction=0.0, lambda_adversarial_i=0.0
        )

    @classmethod
    def for_profile(cls, profile: str, recipe: str = "field", **changes: object) -> "CADNetConfig":
        """Return the settings of a profile and a recipe (`field.on_field`)."""
        own = {"neck": True, "optimizer": "adam", "discriminator_learning_rate": 1e-2}  # with 5e-2 D_I wins outright
        smaller = {"smoke": {**own, "p": 2, "discriminator_width": 4}, "demo": {**own, "discriminator_width": 8}}
        paper = {"neck": False, "optimizer": "sgd", "learning_rate": 1e-2, "milestones": ()}
        return cls(**on_field(profile, smaller, changes, recipe, paper))


class CADNetMatcher(FeatureMatcher):  # decision CADNET-6
    """The Matcher of CAD-Net: u of query and gallery alike, compared by Euclidean distance as it is (Section 3.1).

    What comes out of a neck is compared by cosine. ``history`` has the means of every epoch, ``where`` the rest.
    """

    def __init__(self, network: CADNet, history: pd.DataFrame, *where: Any) -> None:
        super().__init__(network.eval(), *where)
        self.network, self.history = network, history

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) as u (n, 2 d)."""
        return self.features(images) if self.network.neck is None else super().embed_gallery(images)

    @torch.inference_mode()
    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Return the HR images G(E(x)) of uint8 images (n, 3, H, W), as such ones; ValueError where there is no G."""
        if self.network.G is None:
            raise ValueError("this variant of CAD-Net recovers no image: its configuration leaves G out, see `decode`")
        inputs = normalise(images, self.input_size).contiguous(memory_format=torch.channels_last)
        return to_uint8(self.network.recover(inputs), images.shape[2:])


class Batch(NamedTuple):
    """A batch: the first half HR, the second half LR, drawn independently; images are normalised."""

    inputs: torch.Tensor  # (2 n, 3, H, W)
    labels: torch.Tensor  # (2 n,)
    paired: torch.Tensor  # indices of inputs with a true HR image: all n HR ones, then LR ones (not the genuine ones)
    truths: torch.Tensor  # those HR images (n + m, 3, H, W)


def train(
    config: CADNetConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> CADNetMatcher:
    """Train CAD-Net on the training identities of a split and return its Matcher.

    The history has the terms of Eq. 6 before their lambdas; of each discriminator its loss (Eq. 1 or 3, with the sign
    turned), its accuracy and the norm of its gradient; and the norm of the gradient of E, G, F and C.

    Args:
        config, dataset, split, seed, folder, device, progress: those of `baseline.train`. Genuine LR images take part
            as LR images without a true HR one.

    Raises:
        ValueError: images whose sides the decoder cannot reach.
        TrainingError: a discriminator's loss is 0 for a whole epoch.
    """
    data, size = TrainingSet(dataset, split, device), config.input_size or dataset.size
    network = initialise(lambda: build_network(config, size, data.identities), seed, data.device)
    optimizers, scheduler = build_optimizers(config, network)
    parts = {"network": network, "scheduler": scheduler, **optimizers}
    run = data.open_run(__name__, config, parts, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        network.train()
        if network.F is not None:
            network.F.train(config.classify)  # an F that no loss trains keeps the batch statistics of its start
        steps = []
        for hr, lr in run.batches(draw_indices(data, config, seed, epoch)):
            batch = training_batch(data, hr, lr, config, run.generator)
            steps.append(iterate(run, network, config, optimizers, batch))
            run.note(steps[-1], images=len(batch.inputs))
        scheduler.step()
        check_discriminators(run, steps, WEIGHTS)
    return CADNetMatcher(network, pd.DataFrame(run.history), size, data.device, split)


def build_network(config: CADNetConfig, size: tuple[int, int], identities: int) -> CADNet:  # decision CADNET-8
    """Build the network of a configuration for images of ``size`` (H, W), without the parts that it does not need."""
    backbone = partial(build_backbone, config.network, config.width, config.weights, size, last_stride=2)
    return CADNet(
        backbone(),
        None if config.features == "f" else backbone(),
        identities if config.classify else None,
        size,
        config.features,
        decode=config.decode,
        discriminate_features=config.lambda_adversarial_f > 0,
        discriminate_images=config.lambda_adversarial_i > 0,
        discriminator_width=config.discriminator_width,
        neck=config.neck and config.classify,
    )


def build_optimizers(
    config: CADNetConfig, network: CADNet
) -> tuple[dict[str, torch.optim.Optimizer], torch.optim.lr_scheduler.LambdaLR]:
    """Return the optimisers of E, G, F and C, "generator", and of each discriminator, and the schedule of the first."""
    learning = parameters(network.E, network.G, *((network.F, network.neck, network.C) if config.classify else ()))
    generator, scheduler = OPTIMIZERS[config.optimizer](learning, config)
    optimizers = {"generator": generator}
    for name, discriminator in (("d_f", network.D_F), ("d_i", network.D_I)):
        if discriminator is not None:
            optimizers[name] = torch.optim.SGD(discriminator.parameters(), lr=config.discriminator_learning_rate)
    return optimizers, scheduler


# decision CADNET-9
def draw_indices(data: TrainingSet, config: CADNetConfig, seed: int, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return an epoch of (HR half, LR half), indices (p * k,) of images, drawn independently ("shuffled", 3.2).

    Genuine LR images are in the LR halves only.
    """
    hr = np.flatnonzero(~data.genuine.numpy())
    other = torch_generator(seed, "cadnet", "lr").initial_seed()
    first = [hr[indices] for indices in pk_batches(data.pids[hr], config.p, config.k, seed, epoch, config.steps)]
    return list(zip(first, pk_batches(data.pids, config.p, config.k, other, epoch, config.steps), strict=False))


def training_batch(
    data: TrainingSet, hr: np.ndarray, lr: np.ndarray, config: CADNetConfig, generator: torch.Generator
) -> Batch:
    """Read a batch of indices (n,) of both halves, down-sample its LR half (not what is LR by nature), augment it."""
    half, genuine = len(hr), data.genuine[lr]
    hr_images, truth = data.images(np.concatenate([hr, lr])).chunk(2)
    rates = draw_rates(half, config.rates, generator).where(~genuine, 1)
    pairs = torch.cat([degrade(truth, rates, config.kernel), truth], 1)  # six channels: one crop for both
    if config.input_size not in (None, data.size):
        hr_images, pairs = upsample(hr_images, config.input_size), upsample(pairs, config.input_size)
    hr_images, pairs = augment(hr_images, generator, config.pad), augment(pairs, generator, config.pad)
    known = (~genuine).nonzero().squeeze(1)
    paired = torch.cat([torch.arange(half), half + known]).to(data.device, non_blocking=True)
    inputs = normalise(torch.cat([hr_images, pairs[:, :3]])).contiguous(memory_format=torch.channels_last)
    truths = torch.cat([inputs[:half], normalise(pairs[:, 3:])[known.to(data.device, non_blocking=True)]])
    labels = data.labels_of(np.concatenate([hr, lr]))
    return Batch(inputs, labels, paired, truths.contiguous(memory_format=torch.channels_last))


def iterate(  # decision CADNET-1
    run: Run,
    network: CADNet,
    config: CADNetConfig,
    optimizers: dict[str, torch.optim.Optimizer],
    batch: Batch,
) -> dict[str, torch.Tensor]:
    """Take a step with D_F and D_I, then one with E, G, F and C; return what goes into the history.

    E and G see HR and LR images in one pass, so that a batch's statistics are of both, as those used in tests are.
    """
    with run.autocast():
        maps = network.E.stages(batch.inputs)  # f = E(x) is the last one
        recovered = None if network.G is None else network.G(maps)  # G(f)
    f = maps[-1]
    # D_F and D_I maximise Eq. 1 and 3 on f and G(f), detached from E and G
    judged = discriminators(run, network, optimizers, f.detach(), recovered, batch.truths)
    with run.autocast():
        terms = generator_terms(network, config, batch, f, recovered)
    # E, G, F and C minimise Eq. 6: L_cls + lambda L_adv^DF + lambda L_rec + lambda L_adv^DI
    gradient = run.descend(optimizers["generator"], losses.full_objective(terms, config.lambdas))
    return {name: term.detach() for name, term in terms.items()} | judged | {"gradient_generator": gradient}


def discriminators(
    run: Run,
    network: CADNet,
    optimizers: dict[str, torch.optim.Optimizer],
    f: torch.Tensor,
    recovered: torch.Tensor | None,
    truths: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """Take a step with each discriminator that there is; return what goes into the history.

    It sees f (2 n, d, h, w), detached, G's images (2 n, 3, H, W) in the same order, HR first, and true HR images.
    """
    noted = {}
    if network.D_F is not None:
        with run.autocast():
            hr, lr = network.D_F(f).chunk(2)
            loss = -adversarial_loss(hr, lr)  # Eq. 1: E[log D_F(f_H)] + E[log(1 - D_F(f_L))]
        noted |= discriminator_step(run, "d_f", optimizers["d_f"], loss, hr, lr)
    if network.D_I is not None:
        with run.autocast():
            # two passes: true and recovered images in one would share its batch statistics
            real, fake = network.D_I(truths), network.D_I(recovered.detach())
            loss = -losses.image_adversarial_loss(real, *fake.chunk(2))  # Eq. 3
        noted |= discriminator_step(run, "d_i", optimizers["d_i"], loss, real, fake)
    return noted


def generator_terms(
    network: CADNet, config: CADNetConfig, batch: Batch, f: torch.Tensor, recovered: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return the terms of Eq. 6 that the configuration keeps, before their weights; f and G(f) are of the batch."""
    terms, half = {}, len(batch.inputs) // 2
    if config.classify:  # Eq. 4: L_cls = L_id + L_tri on u = GAP([f, g]), g = F(G(f))
        u = network.joint_feature(f, recovered)
        terms["identity"] = identity_loss(network.classify(u), batch.labels)
        terms["triplet"] = losses.cross_resolution_triplet_loss(  # Eq. 5
            u[:half], batch.labels[:half], u[half:], batch.labels[half:], config.margin
        )
    if config.lambda_adversarial_f:  # Eq. 1, E's side
        terms["adversarial_f"] = losses.encoder_adversarial_loss(*network.D_F(f).chunk(2), config.adversarial)
    if config.lambda_reconstruction:  # Eq. 2
        paired, truths = recovered[batch.paired], batch.truths
        terms["reconstruction"] = losses.reconstruction_loss(paired[:half], truths[:half], paired[half:], truths[half:])
    if config.lambda_adversarial_i:  # Eq. 3, E's and G's side
        terms["adversarial_i"] = losses.decoder_adversarial_loss(*network.D_I(recovered).chunk(2), config.adversarial)
    return terms
