"""CAD-Net (Li et al., ICCV 2019): the alternating loop, its ablations, a look at its two games, and its Matcher."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from reid_lib.datasets.image_store import ImageStore, open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, upsample
from reid_lib.datasets.sampling import augment, draw_rates, pk_batches
from reid_lib.devices import pick_device
from reid_lib.digest import code_digest, keyed
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.losses.cadnet import (
    FORMS,
    adversarial_loss,
    cross_resolution_triplet_loss,
    decoder_adversarial_loss,
    encoder_adversarial_loss,
    full_objective,
    image_adversarial_loss,
    reconstruction_loss,
)
from reid_lib.losses.common import identity_loss
from reid_lib.networks.cadnet import FEATURES, CADNet, to_image_range
from reid_lib.networks.inputs import normalise
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training.baseline import build_backbone
from reid_lib.training.run import Run, TrainingError, initialise

WINS, LOST = 0.95, 0.55  # shares of right verdicts in the last quarter, see `discriminator_report`


@dataclass(frozen=True)
class CADNetConfig:
    """Settings of CAD-Net; the defaults are the paper's, and the ``paper`` profile's.

    The variants of Table 1 are ``features="f"`` and ``features="g"``; those of Table 3 are ``lambda_adversarial_i=0``,
    ``lambda_adversarial_f=0``, ``lambda_reconstruction=0`` and ``classify=False``. What a variant leaves out (a term,
    the discriminator or the classifier behind it) does not exist.

    Attributes:
        network, width, weights: of E and F, as in `baseline.BaselineConfig`; "resnet50" has a last stride of 2.
        discriminator_width: channels of the first layer of D_F and D_I.
        rates: down-sampling rates of the LR images, drawn per image.
        features: "both" (v = [f, g]), "f" or "g": what C takes and what is matched.
        classify: whether there is L_cls. Without it F has no loss either and stays as it starts.
        adversarial: what E and G make small, one of `losses.cadnet.FORMS`.
        lambda_adversarial_f, lambda_reconstruction, lambda_adversarial_i: weights of Eq. 6; 0 leaves a loss out.
        margin: phi of the triplet loss.
        kernel: down-sampling kernel.
        p, k: identities and images of each in the HR half, and in the LR half, of a batch of 2 p k.
        input_size, pad: as in `baseline.BaselineConfig`.
        learning_rate, momentum, weight_decay: of SGD for E, G, F and C.
        discriminator_learning_rate: of SGD for D_F and D_I.
        epochs: length of the training.
        steps: steps in an epoch; None: as many as show all images once as HR and once as LR.

    Raises:
        ValueError: a value that is out of place; the message says what was expected.
    """

    network: str = "resnet50"  # 4.1
    width: int = 32
    weights: str = "imagenet"  # 4.1
    discriminator_width: int = 64  # 4.1
    rates: tuple[int, ...] = (2, 3, 4)  # 4.4
    features: str = "both"  # 3.3
    classify: bool = True
    adversarial: str = "non_saturating"  # not given
    lambda_adversarial_f: float = 1.0  # 4.1
    lambda_reconstruction: float = 1.0  # 4.1
    lambda_adversarial_i: float = 1.0  # 4.1
    margin: float = 2.0  # 4.1
    kernel: str = "bicubic"  # not given
    p: int = 4  # batch of 32 (4.1); how it is drawn is not given
    k: int = 4
    input_size: tuple[int, int] | None = (256, 128)  # 4.1
    pad: int = 10  # not given; as the other methods
    learning_rate: float = 1e-3  # 4.1
    momentum: float = 0.9  # 4.1
    weight_decay: float = 5e-4  # 4.1
    discriminator_learning_rate: float = 1e-4  # 4.1
    epochs: int = 60  # not given
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.rates or len(set(self.rates)) < len(self.rates) or min(self.rates) < 2:
            raise ValueError(
                "rates must be different integers >= 2, at least one: half of a batch is LR, and rate 1 is HR; found "
                f"{self.rates}"
            )
        for name, allowed in (("features", FEATURES), ("adversarial", FORMS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        if min(self.lambdas.values()) < 0:
            raise ValueError(f"the lambdas must be >= 0, found {self.lambdas}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, or None for all images, found {self.steps}")
        if min(self.p, self.k) < 2:
            raise ValueError(
                f"p and k must be at least 2, a triplet has two identities and two images of one; found p={self.p} and "
                f"k={self.k}"
            )
        reached = self.lambda_reconstruction or self.lambda_adversarial_i or (self.classify and self.features != "f")
        if not reached:
            raise ValueError(
                "nothing would train the decoder: set lambda_reconstruction or lambda_adversarial_i above 0, or keep "
                'classify=True with features="both" or "g"'
            )

    @property
    def lambdas(self) -> dict[str, float]:
        """The weights of Eq. 6 by the names of the terms."""
        return {
            "adversarial_f": self.lambda_adversarial_f,
            "reconstruction": self.lambda_reconstruction,
            "adversarial_i": self.lambda_adversarial_i,
        }

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "CADNetConfig":
        """Return the settings of a profile; a smaller one has smaller networks, fewer epochs and larger steps.

        Raises:
            ValueError: unknown profile, or a change that is out of place.
        """
        tiny = {"network": "tiny", "weights": "none", "input_size": None, "learning_rate": 1e-2}
        tiny["discriminator_learning_rate"] = 1e-2  # five times as much, and D_I wins outright
        small = {
            "smoke": {**tiny, "width": 8, "discriminator_width": 4, "pad": 2, "epochs": 2},
            "demo": {
                **tiny,
                "steps": 30,
                "weights": "synth",
                "width": 16,
                "discriminator_width": 8,
                "pad": 5,
                "epochs": 10,
            },
            "paper": {},
        }
        if profile not in small:
            raise ValueError(f"unknown profile {profile!r}: expected one of {', '.join(PROFILES)}")
        return cls(**{**small[profile], **changes})


class CADNetMatcher(FeatureMatcher):
    """The Matcher of CAD-Net: u of query and gallery alike, compared by Euclidean distance as it is (Section 3.1).

    Args:
        network: a trained network.
        input_size: (h, w) that it takes.
        device: where it is.
        split: the split on whose training identities it was trained.
        history: the means of every epoch, see `train`.

    Attributes:
        As the arguments.
    """

    def __init__(
        self,
        network: CADNet,
        input_size: tuple[int, int],
        device: torch.device,
        split: int | None,
        history: pd.DataFrame,
    ) -> None:
        super().__init__(network.eval(), input_size, device, split)
        self.network, self.history = network, history

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) as u (n, 2 d); d for "f" or "g" alone."""
        return self.features(images)

    @torch.inference_mode()
    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Return the HR images G(E(x)) that are recovered from uint8 images, uint8 (n, 3, H, W), at their own size."""
        x = self.network.recover(normalise(images, self.input_size).contiguous(memory_format=torch.channels_last))
        x = to_image_range(x)
        if x.shape != images.shape:
            x = functional.interpolate(x, size=images.shape[2:], mode="bilinear", antialias=True, align_corners=False)
        return (255 * x).round_().clamp_(0, 255).to(torch.uint8)

    # embed_query and distance are those of `FeatureMatcher`: the rates make no difference, squared distances rank alike


class Batch(NamedTuple):
    """A batch: the first half HR, the second half LR, drawn independently.

    Attributes:
        inputs: (2 n, 3, H, W), normalised.
        labels: (2 n,).
        paired: places in ``inputs`` that have a true HR image: all n HR ones, then LR ones (not the genuine ones).
        truths: those HR images (n + m, 3, H, W), normalised.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    paired: torch.Tensor
    truths: torch.Tensor


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

    Each iteration takes one step with the discriminators, then one with E, G, F and C on the same forward pass of E
    and G. The history has the terms of Eq. 6 before their lambdas; of each discriminator its loss (Eq. 1 or 3, with the
    sign turned), the share of its right verdicts and the norm of its gradient; and that of the gradient of E, G, F, C.

    A finished run in ``folder`` is loaded, an unfinished one goes on.

    Args:
        config: settings.
        dataset: the data set. Genuine LR images take part as LR images without a true HR one.
        split: number of the train/test split.
        seed: seed of the start and of every draw.
        folder: parent of the run's own folder; None keeps nothing.
        device: None takes the CUDA device if there is one.
        progress: whether to show progress bars.

    Raises:
        ValueError: fewer training identities than ``config.p``, unknown network, images whose sides the decoder cannot
            reach.
        TrainingError: a term or a gradient that is not finite; a discriminator whose loss is 0 for a whole epoch.
    """
    device, size = device or pick_device(), config.input_size or dataset.size
    rows = dataset.part("train", split)
    pids, genuine = rows["pid"].to_numpy(), (rows["camid"] == dataset.genuine_lr_camid).to_numpy()
    labels = torch.from_numpy(rows["pid"].astype("category").cat.codes.to_numpy(copy=True)).long()
    network = initialise(lambda: build_network(config, size, int(labels.max()) + 1), seed, device)
    optimizers = build_optimizers(config, network)
    if folder is not None:
        people = sorted(set(pids.tolist()))  # another partition of the same images has the same fingerprint
        code = code_digest(__name__)
        folder = keyed(folder, f"cadnet-seed{seed}", config, dataset.fingerprint(), people, seed, code)
    run = Run(folder, config, seed, {"network": network, **optimizers}, device, progress)
    store, numbers = open_store(dataset), rows.index.to_numpy()
    for epoch in run.epochs(config.epochs):
        set_training(network)
        steps = []
        for hr, lr in run.batches(draw_places(pids, genuine, config, seed, epoch)):
            places = np.concatenate([hr, lr])
            is_genuine = torch.from_numpy(genuine[lr])
            batch = training_batch(store, numbers[places], labels[places], is_genuine, config, run.generator, device)
            steps.append(iterate(run, network, config, optimizers, batch))
            run.note(steps[-1], images=len(places))
        check_discriminators(steps, epoch)
    return CADNetMatcher(network, size, device, split, pd.DataFrame(run.history))


def build_network(config: CADNetConfig, size: tuple[int, int], identities: int) -> CADNet:
    """Build the network of a configuration for images of ``size`` (H, W), without the parts that it does not need."""
    return CADNet(
        build_backbone(config, size, last_stride=2),
        None if config.features == "f" else build_backbone(config, size, last_stride=2),
        identities if config.classify else None,
        size,
        config.features,
        discriminate_features=config.lambda_adversarial_f > 0,
        discriminate_images=config.lambda_adversarial_i > 0,
        discriminator_width=config.discriminator_width,
    )


def build_optimizers(config: CADNetConfig, network: CADNet) -> dict[str, torch.optim.Optimizer]:
    """Return SGD of E, G, F and C as "generator", and of D_F and D_I as "discriminators" where there is one."""
    learning = [network.E, network.G, *((network.F, network.C) if config.classify else ())]
    settings = {"lr": config.learning_rate, "momentum": config.momentum, "weight_decay": config.weight_decay}
    optimizers = {"generator": torch.optim.SGD(parameters(*learning), **settings)}
    if against := parameters(network.D_F, network.D_I):
        optimizers["discriminators"] = torch.optim.SGD(against, lr=config.discriminator_learning_rate)
    return optimizers


def parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    """Return the parameters of all modules that there are."""
    return [parameter for module in modules if module is not None for parameter in module.parameters()]


def set_training(network: CADNet) -> None:
    """Put the network into training mode; an F that no loss trains keeps the batch statistics of its start."""
    network.train()
    if network.C is None and network.F is not None:
        network.F.eval()


def draw_places(
    pids: np.ndarray, genuine: np.ndarray, config: CADNetConfig, seed: int, epoch: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return an epoch of (HR half, LR half), each p identities with k images, drawn independently ("shuffled", 3.2).

    Args:
        pids: (N,) identities of the training images.
        genuine: bool (N,), which of them are LR by nature: they are in the LR halves only.

    Returns:
        Pairs of arrays (p * k,) of places in ``pids``.
    """
    hr = np.flatnonzero(~genuine)
    other = torch_generator(seed, "cadnet", "lr").initial_seed()
    first = [hr[places] for places in pk_batches(pids[hr], config.p, config.k, seed, epoch)]
    return list(zip(first, pk_batches(pids, config.p, config.k, other, epoch), strict=False))[: config.steps]


def training_batch(
    store: ImageStore,
    rows: np.ndarray,
    labels: torch.Tensor,
    genuine: torch.Tensor,
    config: CADNetConfig,
    generator: torch.Generator,
    device: torch.device,
) -> Batch:
    """Read a batch, down-sample its second half, resize, augment (an LR image as its HR one) and normalise.

    Args:
        rows: numbers of the images (2 n,).
        labels: (2 n,).
        genuine: bool (n,), which images of the LR half are LR by nature: they are left as they are.
    """
    half = len(rows) // 2
    hr, truth = store.batch(rows).to(device, non_blocking=True).chunk(2)
    rates = draw_rates(half, config.rates, generator).where(~genuine, 1)
    pairs = torch.cat([degrade(truth, rates, config.kernel), truth], 1)  # six channels: one crop for both
    if config.input_size not in (None, tuple(hr.shape[2:])):
        hr, pairs = upsample(hr, config.input_size), upsample(pairs, config.input_size)
    hr, pairs = augment(hr, generator, config.pad), augment(pairs, generator, config.pad)
    known = (~genuine).nonzero().squeeze(1)
    paired = torch.cat([torch.arange(half), half + known]).to(device, non_blocking=True)
    inputs = normalise(torch.cat([hr, pairs[:, :3]])).contiguous(memory_format=torch.channels_last)
    truths = torch.cat([inputs[:half], normalise(pairs[:, 3:])[known.to(device, non_blocking=True)]])
    labels = labels.to(device, non_blocking=True)
    return Batch(inputs, labels, paired, truths.contiguous(memory_format=torch.channels_last))


def iterate(
    run: Run,
    network: CADNet,
    config: CADNetConfig,
    optimizers: dict[str, torch.optim.Optimizer],
    batch: Batch,
) -> dict[str, torch.Tensor]:
    """Take a step with D_F and D_I, then one with E, G, F and C; return what goes into the history.

    E and G see HR and LR images in one pass, so that a batch's statistics are of both, as those used in tests are.
    """
    noted = {}
    with run.autocast():
        maps = network.E.stages(batch.inputs)
        recovered = network.G(maps)
    f = maps[-1]
    if "discriminators" in optimizers:
        with run.autocast():
            losses, accuracies = discriminator_losses(network, f.detach(), recovered.detach(), batch.truths)
        run.descend(optimizers["discriminators"], losses)
        noted |= losses | accuracies
        noted |= {
            f"gradient_{name}": gradient_norm(module)
            for name, module in (("d_f", network.D_F), ("d_i", network.D_I))
            if module is not None
        }
    with run.autocast(), frozen(network.D_F, network.D_I):
        terms = generator_terms(network, config, batch, f, recovered)
    run.descend(optimizers["generator"], full_objective(terms, config.lambdas))
    trained = (network.E, network.G, *((network.F, network.C) if config.classify else ()))
    noted = {**terms, **noted, "gradient_generator": gradient_norm(*trained)}
    return {name: value.detach() for name, value in noted.items()}


def discriminator_losses(
    network: CADNet, f: torch.Tensor, recovered: torch.Tensor, truths: torch.Tensor
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return what D_F and D_I make small, Eq. 1 and 3 with the sign turned, and their shares of right verdicts.

    Args:
        f: features (2 n, d, h, w), the first half of HR images, cut off from E.
        recovered: G's images (2 n, 3, H, W) in the same order, cut off from G.
        truths: true HR images (m, 3, H, W).
    """
    losses, accuracies = {}, {}
    if network.D_F is not None:
        hr, lr = network.D_F(f).chunk(2)
        losses["loss_d_f"], accuracies["accuracy_d_f"] = -adversarial_loss(hr, lr), right_verdicts(hr, lr)
    if network.D_I is not None:
        # two passes: true and recovered images in one would share its batch statistics
        real, fake = network.D_I(truths), network.D_I(recovered)
        losses["loss_d_i"] = -image_adversarial_loss(real, *fake.chunk(2))
        accuracies["accuracy_d_i"] = right_verdicts(real, fake)
    return losses, accuracies


def generator_terms(
    network: CADNet, config: CADNetConfig, batch: Batch, f: torch.Tensor, recovered: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the terms of Eq. 6 that the configuration keeps, before their weights.

    Args:
        f: E's features of the batch (2 n, d, h, w).
        recovered: G's images of it (2 n, 3, H, W).
    """
    terms, half = {}, len(batch.inputs) // 2
    if config.classify:
        u = network.joint_feature(f, recovered)
        terms["identity"] = identity_loss(network.C(u), batch.labels)
        terms["triplet"] = cross_resolution_triplet_loss(
            u[:half], batch.labels[:half], u[half:], batch.labels[half:], config.margin
        )
    if config.lambda_adversarial_f:
        terms["adversarial_f"] = encoder_adversarial_loss(*network.D_F(f).chunk(2), config.adversarial)
    if config.lambda_reconstruction:
        paired, truths = recovered[batch.paired], batch.truths
        terms["reconstruction"] = reconstruction_loss(paired[:half], truths[:half], paired[half:], truths[half:])
    if config.lambda_adversarial_i:
        terms["adversarial_i"] = decoder_adversarial_loss(*network.D_I(recovered).chunk(2), config.adversarial)
    return terms


@contextmanager
def frozen(*modules: nn.Module | None) -> Iterator[None]:
    """Let gradients pass through the modules and leave none in them."""
    inside = parameters(*modules)
    for parameter in inside:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in inside:
            parameter.requires_grad_(True)


def gradient_norm(*modules: nn.Module | None) -> torch.Tensor:
    """Return the Euclidean norm of all gradients in the modules."""
    return nn.utils.get_total_norm([p.grad for p in parameters(*modules) if p.grad is not None])


@torch.no_grad()
def right_verdicts(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the share of right verdicts, of real ones and of fakes in equal parts; logits of any shape."""
    return ((real > 0).float().mean() + (fake < 0).float().mean()) / 2


def check_discriminators(steps: list[dict[str, torch.Tensor]], epoch: int) -> None:
    """Stop where a discriminator has won outright.

    Args:
        steps: what `iterate` returned for each step of the epoch.

    Raises:
        TrainingError: a loss was exactly 0 in every step of the epoch.
    """
    for name, (letter, against) in {"d_f": ("D_F", "E"), "d_i": ("D_I", "G")}.items():
        if f"loss_{name}" in steps[0] and not torch.stack([step[f"loss_{name}"] for step in steps]).any():
            raise TrainingError(
                f"{letter} has won outright: its loss was exactly 0 in every step of epoch {epoch}, so that it learns "
                f"nothing more and tells {against} nothing but that it fails. Lower discriminator_learning_rate or "
                f"discriminator_width, or leave it out with lambda_adversarial_{name[-1]}=0; the checkpoint of the "
                "epoch before, if there is one, is kept"
            )


def discriminator_report(history: pd.DataFrame) -> list[str]:
    """Say which discriminator wins and which has lost, by its right verdicts in the last quarter of the epochs.

    Args:
        history: of `train`, a row per epoch.

    Returns:
        One sentence for each discriminator that is right in more than 95 % (it wins) or less than 55 % (it has lost) of
        its verdicts; none for an even game.
    """
    tail, sentences = history.tail(max(1, len(history) // 4)), []
    found = {
        "d_f": ("D_F", "HR and LR features can still be told apart", "HR and LR features look alike to it"),
        "d_i": ("D_I", "recovered images are easily told from true ones", "recovered images look true to it"),
    }
    for name, (letter, if_wins, if_lost) in found.items():
        if f"accuracy_{name}" not in history:
            continue
        right = tail[f"accuracy_{name}"].mean()
        verdict = f"wins: {if_wins}" if right > WINS else f"has lost: {if_lost}, or it learns too slowly to see"
        if right > WINS or right < LOST:
            epochs = "the last epoch" if len(tail) == 1 else f"the last {len(tail)} of {len(history)} epochs"
            sentences.append(f"{letter} {verdict} ({100 * right:.0f} % right verdicts in {epochs}, 50 % by chance).")
    return sentences
