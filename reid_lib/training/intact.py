"""INTACT (Cheng et al., CVPR 2020): the critic C, Algorithm 1's alternation, its variants, and its Matcher."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, upsample
from reid_lib.datasets.sampling import augment, draw_rates
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.evaluation.recovery import RecoveredMatcher
from reid_lib.losses import intact as losses
from reid_lib.losses.adversarial import FORMS, adversarial_loss, generator_loss
from reid_lib.losses.common import identity_loss
from reid_lib.networks.baseline import Baseline
from reid_lib.networks.inputs import normalise
from reid_lib.networks.intact import ASSOCIATIONS, INTACT, check_sides
from reid_lib.networks.sr import Generated
from reid_lib.training.adversarial import discriminator_step, parameters
from reid_lib.training.critic import CriticConfig, hr_batches, train_critic
from reid_lib.training.field import FIELDS, on_field
from reid_lib.training.run import Run, initialise
from reid_lib.training.schedules import adam
from reid_lib.training.training_set import TrainingSet

DEMO = {  # decision INTACT-10
    "generator_width": 8,
    "discriminator_width": 8,
    "discriminator_learning_rate": 5e-5,
    "association_learning_rate": 1e-2,
    "lambda_dis": 0.03,
}


@dataclass(frozen=True)
class INTACTConfig:
    """Settings of INTACT; the defaults are the paper's. What a variant leaves out (a term, a network) does not exist.

    Sole SR is ``lambda_g=0, lambda_c=0, association="none"``; SR + ID (MSE+ID) is ``lambda_g=0, association="none"``;
    MSE+ID+GAN is ``association="none"``.

    Raises:
        ValueError: a value that is out of place; the message says what was expected.
    """

    network: str = "osnet_x1_0"  # of C, as `CriticConfig`
    width: int = 32
    weights: str = "none"
    tune_critic: bool = True
    critic_learning_rate: float = 1.5e-3
    critic_epochs: int = 150
    generator_width: int = 64  # channels of G at full size; not given
    discriminator_width: int = 64  # channels of D's first layer, SRGAN's
    residual: bool = False  # whether G adds what it makes to its input; not in the paper
    rates: tuple[int, ...] = (2, 3, 4)  # of the LR images, drawn per image (4.3)
    association: str = "R-to-D"  # one of `networks.intact.ASSOCIATIONS`; "none" leaves Eq. 5 to 8 out
    bridge: bool = True  # whether there is a sigma and L_e (Eq. 6)
    adversarial: str = "non_saturating"  # what G minimises against D, one of `losses.adversarial.FORMS`; not given
    lambda_g: float = 0.1  # weights of Eq. 4, 0 leaves a loss out (4.3)
    lambda_c: float = 0.3
    lambda_dis: float = 1.0  # of L_dis; not given
    kernel: str = "bicubic"  # of the down-sampling; not given
    p: int = 8  # identities, and images of each, in a batch of 32 (4.3); how it is drawn is not given
    k: int = 4
    input_size: tuple[int, int] | None = (256, 128)  # 4.3
    pad: int = 10  # not given
    learning_rate: float = 1e-4  # of G (4.3); Adam, which is not given
    discriminator_learning_rate: float = 1e-4  # of D (4.3)
    association_learning_rate: float = 1e-3  # of phi and sigma (4.3)
    weight_decay: float = 0.0  # not given, as the rest
    epochs: int = 60
    steps: int | None = None
    warmup: int = 0
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.rates or len(set(self.rates)) < len(self.rates) or min(self.rates) < 1:
            raise ValueError(f"rates must be different integers >= 1, at least one, found {self.rates}")
        for name, allowed in (("association", ASSOCIATIONS), ("adversarial", FORMS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        if min(self.lambdas.values()) < 0:
            raise ValueError(f"the lambdas must be >= 0, found {self.lambdas}")
        if self.associated and not self.lambda_g:
            raise ValueError('an association needs D, which lambda_g=0 leaves out: take association="none" too')
        if self.association == "common space" and not self.bridge:
            raise ValueError("in the common space the bridge is the association: it cannot be left out")
        self.critic()

    @property
    def lambdas(self) -> dict[str, float]:
        """The weights of step (3)'s terms by name."""
        return {"adversarial": self.lambda_g, "identity": self.lambda_c, "association": self.lambda_dis}

    @property
    def associated(self) -> bool:
        """Whether there are phi and L_dis."""
        return self.association != "none"

    def critic(self) -> CriticConfig:
        """Return the settings of C, which all variants share."""
        same = ("network", "width", "weights", "p", "k", "input_size", "pad", "steps", "warmup")
        own = {"tune": self.tune_critic, "learning_rate": self.critic_learning_rate, "epochs": self.critic_epochs}
        milestones = (round(3 * self.critic_epochs / 4),)
        return CriticConfig(**{name: getattr(self, name) for name in same}, **own, milestones=milestones)

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "INTACTConfig":
        """Return the settings of a profile; ValueError for an unknown one."""
        own = {"smoke": {**DEMO, "p": 4, "generator_width": 4, "discriminator_width": 4}, "demo": DEMO}
        smaller = {name: {**sizes, "residual": True, "weight_decay": 0.0} for name, sizes in own.items()}
        for name, field in FIELDS.items():
            smaller[name] |= {"critic_learning_rate": field.learning_rate, "critic_epochs": field.epochs}
        return cls(**on_field(profile, smaller, changes))


class INTACTMatcher(RecoveredMatcher):
    """The Matcher of INTACT: queries pass G and then C, gallery images C alone; their rates are not looked at.

    ``network`` is a trained one, ``history`` has the means of every epoch (`train`), the rest is `FeatureMatcher`'s.
    """

    def __init__(
        self,
        network: INTACT,
        history: pd.DataFrame,
        input_size: tuple[int, int],
        device: torch.device,
        split: int | None = None,
    ) -> None:
        self.critic = FeatureMatcher(network.C.embed, input_size, device, split)
        super().__init__(self.critic, Generated(network.G, input_size, device, split))
        self.network, self.history, self.input_size = network.eval(), history, input_size

    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 LR images (n, 3, H, W), resized to the HR size, to G's images, uint8 (n, 3, H, W)."""
        return self.recoverer.recover(images)

    @torch.inference_mode()
    def association_error(self, images: torch.Tensor) -> torch.Tensor:
        """Return Eq. 8 of each of G's images (n,), made of uint8 images (n, 3, H, W).

        Raises:
            ValueError: a variant without an association.
        """
        if self.network.phi is None:
            raise ValueError('this variant was trained without an association: association="none"')
        recovered = self.network.G(normalise(images.to(self.device), self.input_size))
        f_c, f_d = self.network.C.embed(recovered), self.network.D.features(recovered)
        predicted, target = associate(self.network, f_c, f_d)
        return (predicted - target).square().mean(1)


def train(
    config: INTACTConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> INTACTMatcher:
    """Train C, then INTACT's G, D, phi and sigma by Algorithm 1, and return the Matcher.

    The history has the terms of steps (2) and (3) before their weights, D's loss, accuracy and gradient, and, from the
    first step of each epoch, the norms of the gradients of L_id and L_dis in G's first group (``first_identity``, ...).

    Args:
        config: settings.
        dataset: the data set. Genuine LR images have no HR truth and take no part.
        split, seed, folder, device, progress: those of `baseline.train`.

    Raises:
        ValueError: images whose sides G's poolings do not divide.
        TrainingError: a loss that is not finite, or a C that has learnt nothing.
    """
    data, size = TrainingSet(dataset, split, device), config.input_size or dataset.size
    check_sides(size)
    critic = train_critic(config.critic(), data, size, seed, folder, progress)
    network = initialise(lambda: build_network(config, size, critic), seed, data.device)
    optimizers, schedulers = build_optimizers(config, network)
    run = data.open_run(__name__, config, {"network": network, **optimizers, **schedulers}, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        network.train()
        first = {}
        for indices in run.batches(hr_batches(data, config, seed, epoch)):
            batch = training_batch(data, indices, config, run.generator)
            noted, first = iterate(run, network, config, optimizers, batch, first)
            run.note(noted | first, images=len(indices))
        for scheduler in schedulers.values():
            scheduler.step()
    return INTACTMatcher(network, pd.DataFrame(run.history), size, data.device, split)


class Pairs(NamedTuple):
    """A batch: HR images and their LR pairs, the same down-sampled, both normalised."""

    x_h: torch.Tensor  # (n, 3, H, W)
    x_l: torch.Tensor  # (n, 3, H, W)
    labels: torch.Tensor  # (n,)


def build_network(config: INTACTConfig, size: tuple[int, int], critic: Baseline) -> INTACT:  # decision INTACT-7
    """Build the network of a configuration for images of ``size`` (H, W), without the parts that it does not need."""
    return INTACT(
        critic,
        size,
        config.generator_width,
        config.discriminator_width,
        discriminate=config.lambda_g > 0,
        association=config.association,
        bridge=config.bridge,
        residual=config.residual,
    )


def build_optimizers(
    config: INTACTConfig, network: INTACT
) -> tuple[dict[str, torch.optim.Optimizer], dict[str, torch.optim.lr_scheduler.LambdaLR]]:
    """Return the optimisers of each player that there is, "generator", "d" and "association", and their schedules."""
    rates = {"d": config.discriminator_learning_rate, "association": config.association_learning_rate}
    players = {"generator": [network.G], "d": [network.D], "association": [network.phi, network.sigma]}
    optimizers, schedulers = {}, {}
    for name, modules in players.items():
        if learning := parameters(*modules):
            own = replace(config, learning_rate=rates.get(name, config.learning_rate))
            optimizers[name], schedulers[f"schedule_{name}"] = adam(learning, own)
    return optimizers, schedulers


def training_batch(data: TrainingSet, indices: np.ndarray, config: INTACTConfig, generator: torch.Generator) -> Pairs:
    """Read HR images (n,), down-sample a copy by rates drawn per image, and augment both alike."""
    truth = data.images(indices)
    pairs = torch.cat([degrade(truth, draw_rates(len(indices), config.rates, generator), config.kernel), truth], 1)
    if config.input_size not in (None, data.size):
        pairs = upsample(pairs, config.input_size)
    pairs = augment(pairs, generator, config.pad)  # six channels: one crop for both
    x_l, x_h = (normalise(x).contiguous(memory_format=torch.channels_last) for x in pairs.split(3, 1))
    return Pairs(x_h, x_l, data.labels_of(indices))


def iterate(  # decision INTACT-8
    run: Run,
    network: INTACT,
    config: INTACTConfig,
    optimizers: dict[str, torch.optim.Optimizer],
    batch: Pairs,
    first: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Take the three steps of Algorithm 1 on one batch; return what goes into the history.

    Args:
        run, network, config, optimizers: those of the training.
        batch: HR and LR images.
        first: the gradients in G's first group from the epoch's first step; empty in that step, which measures them.
    """
    noted = {}
    with run.autocast():
        recovered = network.G(batch.x_l)  # G(x_l), for steps (1) and (3)
    if network.D is not None:  # (1) D maximises Eq. 1
        noted |= update_discriminator(run, network, optimizers["d"], batch.x_h, recovered.detach())
    if network.phi is not None:  # (2) phi and sigma minimise Eq. 7 on HR images
        noted |= update_association(run, network, optimizers["association"], batch.x_h)
    with run.autocast():
        terms = generator_terms(network, config, batch, recovered)
    if not first:
        first = first_gradients(network, terms)
    # (3) G minimises Eq. 4 and Eq. 8: L_MSE + lambda_g L_gan + lambda_c L_id + L_dis
    gradient = run.descend(optimizers["generator"], losses.generator_objective(terms, config.lambdas))
    noted |= {name: term.detach() for name, term in terms.items()}
    return noted | {"gradient_generator": gradient}, first


def update_discriminator(
    run: Run, network: INTACT, optimizer: torch.optim.Optimizer, x_h: torch.Tensor, recovered: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Step (1): D tells x_h from G(x_l), both (n, 3, H, W); it is a fixed function in steps (2) and (3)."""
    network.D.train()
    with run.autocast():
        # one pass: its batch statistics are of both kinds, as those that steps (2) and (3) use
        real, fake = network.D(torch.cat([x_h, recovered])).chunk(2)
        loss = -adversarial_loss(real, fake)  # Eq. 1: E[log D(x_h)] + E[log(1 - D(G(x_l)))]
    noted = discriminator_step(run, "d", optimizer, loss, real, fake)
    network.D.eval()
    return noted


def update_association(
    run: Run, network: INTACT, optimizer: torch.optim.Optimizer, x_h: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Step (2): phi and sigma learn the association on HR images (n, 3, H, W); they are frozen in step (3)."""
    with torch.no_grad(), run.autocast():
        source, target = network.associated(network.C.embed(x_h), network.D.features(x_h))
    learning, terms = [part for part in (network.phi, network.sigma) if part is not None], {}
    for part in learning:
        part.train()
    latent, predicted = network.phi(source.float())
    if predicted is not None:
        terms["phi"] = losses.association_loss(predicted, target)  # Eq. 5: |phi(f_c) - f_d|^2
    if network.sigma is not None:
        terms["bridge"] = losses.bridge_loss(network.sigma(target.float()), latent)  # Eq. 6: |sigma(f_d) - f_e|^2
    run.descend(optimizer, terms)  # Eq. 7: L_intact + L_e
    for part in learning:
        part.eval()
    return {name: term.detach() for name, term in terms.items()}


def generator_terms(
    network: INTACT, config: INTACTConfig, batch: Pairs, recovered: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the terms of step (3) that the configuration keeps, before their weights."""
    terms = {"content": losses.content_loss(recovered, batch.x_h)}  # L_MSE = |x_h - G(x_l)|^2
    if network.D is not None:
        f_d = network.D.features(recovered)  # f'_d
        terms["adversarial"] = generator_loss(network.D.verdict(f_d), config.adversarial)  # Eq. 2, G's side
    if config.lambda_c or network.phi is not None:
        f_c = network.C.embed(recovered)  # f'_c
        if config.lambda_c:
            terms["identity"] = identity_loss(network.C.classifier(f_c), batch.labels)  # Eq. 3: -log p_y
    if network.phi is not None:
        terms["association"] = losses.association_loss(*associate(network, f_c, f_d))  # Eq. 8
    return terms


def associate(network: INTACT, f_c: torch.Tensor, f_d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return phi(f_c) and f_d (n, d), which Eq. 8 compares; in the common space f_e and sigma(f_d)."""
    source, target = network.associated(f_c.float(), f_d.float())
    latent, predicted = network.phi(source)
    return (latent, network.sigma(target)) if predicted is None else (predicted, target)


def first_gradients(network: INTACT, terms: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the norms of the gradients of L_id and of L_dis, where they are, in G's stem and first group."""
    layers = parameters(network.G.stem, network.G.down[0])
    return {
        f"first_{name}": torch.nn.utils.get_total_norm(torch.autograd.grad(terms[name], layers, retain_graph=True))
        for name in ("identity", "association")
        if name in terms
    }
