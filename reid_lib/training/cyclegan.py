"""CycleGAN (Zhu et al., ICCV 2017) between LR and HR images: a competitor in CAD-Net's Table 2 (Section 4.5).

Its generator G recovers HR images; re-ID on them is `evaluation.recovery.RecoveredMatcher`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.datasets.sampling import augment, draw_rates
from reid_lib.losses.adversarial import least_squares_discriminator_loss, least_squares_generator_loss
from reid_lib.losses.cyclegan import cycle_consistency_loss, identity_mapping_loss
from reid_lib.networks.cyclegan import SMALLEST, CycleGAN
from reid_lib.profiles import settings
from reid_lib.seeds import numpy_generator
from reid_lib.training.adversarial import discriminator_step, parameters
from reid_lib.training.run import Run, initialise
from reid_lib.training.training_set import UnlabelledSet

BETAS = (0.5, 0.999)  # of Adam; not in the paper, of the authors' code


@dataclass(frozen=True)
class CycleGANConfig:  # decision CYCLEGAN-1, decision CYCLEGAN-5
    """Settings of CycleGAN; the defaults are its paper's (section numbers are of it, not of CAD-Net).

    Attributes:
        width: channels of each network's first convolution.
        blocks: residual blocks of a generator.
        rates: down-sampling rates of the LR images, drawn per image.
        kernel: down-sampling kernel.
        cycle_weight: lambda, weight of Eq. 2.
        identity_weight: weight of the identity mapping loss, in units of ``cycle_weight``.
        buffer: generated images kept for each discriminator.
        batch: HR images, and LR images, in a batch.
        learning_rate: of Adam, of generators and discriminators.
        epochs: length of the training.
        steps: steps in an epoch; None: as many as show every image of the larger set once.
        constant: epochs before the learning rate falls, linearly, to zero.

    Raises:
        ValueError: a value that is out of place; the message says what was expected.
    """

    width: int = 64  # 7.2
    blocks: int = 6  # 7.2, "6 residual blocks for 128 x 128 training images"
    rates: tuple[int, ...] = (2, 3, 4)  # CAD-Net, 4.5
    kernel: str = "bicubic"  # not given
    cycle_weight: float = 10.0  # 4
    identity_weight: float = 0.5  # 5.2; on by default in the authors' code
    buffer: int = 50  # 4
    batch: int = 1  # 4
    learning_rate: float = 2e-4  # 4
    epochs: int = 200  # 4
    steps: int | None = None
    constant: int = 100  # 4

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates) < 2:
            raise ValueError(f"rates must be integers >= 2, at least one: LR images alone; found {self.rates}")
        if min(self.width, self.buffer, self.batch, 1 if self.steps is None else self.steps) < 1 or self.blocks < 0:
            raise ValueError(
                "width, buffer, batch and steps must be at least 1, blocks at least 0, found "
                f"{self.width}, {self.buffer}, {self.batch}, {self.steps} and {self.blocks}"
            )
        if min(self.cycle_weight, self.identity_weight) < 0:
            raise ValueError(f"weights must be >= 0, found {self.cycle_weight} and {self.identity_weight}")
        if not 0 <= self.constant <= self.epochs:
            raise ValueError(f"constant must lie between 0 and epochs={self.epochs}, found {self.constant}")

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "CycleGANConfig":
        """Return the settings of a profile; a smaller one has smaller networks and fewer, larger batches.

        Raises:
            ValueError: unknown profile, or a change that is out of place.
        """
        smaller = {
            "smoke": {"width": 4, "blocks": 1, "batch": 8, "epochs": 2, "constant": 1},
            "demo": {
                "width": 8,
                "blocks": 2,
                "batch": 4,
                "learning_rate": 1e-3,
                "epochs": 2,
                "constant": 1,
                "steps": 100,
            },
        }
        return cls(**settings(profile, smaller, changes))


class ImageBuffer:  # decision CYCLEGAN-2, decision ENGINE-11
    """Generated images of earlier steps, shown to a discriminator again (Section 4, after Shrivastava et al., 2017).

    It is a part of the run, so a resumed training goes on with the images that were in it. All processes have the same.

    Args:
        size: how many images it holds.
        device: where they are.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size, self.device, self.images = size, device, []

    def exchange(self, fresh: torch.Tensor, run: Run) -> torch.Tensor:
        """Return images (N, 3, H, W) for the discriminator: of each fresh one, itself or, half the time, an older one.

        Until the buffer is full, all fresh images go in and come back; then a fresh one replaces the one given out. The
        images of all processes go through it one after another, by rank.
        """
        n, shown = len(fresh), []
        before = len(self.images) + run.rank * n
        places = torch.tensor([self._place(before + i, run.generator) for i in range(n)])
        for image, place in zip(run.gathered(fresh), run.gathered(places).tolist(), strict=True):
            if place == len(self.images):
                self.images.append(image.clone())
            elif place >= 0:
                self.images[place], image = image.clone(), self.images[place]
            shown.append(image)
        return torch.stack(shown[run.rank * n : (run.rank + 1) * n])

    def _place(self, number: int, generator: torch.Generator) -> int:
        """Return the place of image ``number`` in the buffer, the next one until it is full; -1 where it gets none."""
        if number < self.size:
            return number
        if torch.rand((), generator=generator) < 0.5:
            return int(torch.randint(self.size, (), generator=generator))
        return -1

    def state_dict(self) -> dict[str, list[torch.Tensor]]:
        """Return the images."""
        return {"images": self.images}

    def load_state_dict(self, state: dict[str, list[torch.Tensor]]) -> None:
        """Take the images of `state_dict`."""
        self.images = [image.to(self.device) for image in state["images"]]


class CycleGANRecoverer:
    """A trained G.

    Attributes:
        network: the networks; G is ``network.g``.
        device: where they are.
        split: the split on whose training identities they were trained.
    """

    def __init__(self, network: CycleGAN, device: torch.device, split: int | None = None) -> None:
        self.network, self.device, self.split = network.eval(), device, split

    @torch.inference_mode()
    def recover(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, H, W), LR or HR, to recovered HR images, uint8 (n, 3, H, W) on ``device``."""
        recovered = self.network.g(to_range(images.to(self.device)))
        return ((recovered + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def train(  # decision CYCLEGAN-3
    config: CycleGANConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> CycleGANRecoverer:
    """Train CycleGAN on the training images of a split, unpaired, and return its generator from LR to HR.

    HR images are the training images, LR images the same down-sampled, drawn independently. On a set with genuine LR
    images these are the LR images, as they are, and all others the HR ones. Identities are not looked at. A finished
    run in ``folder`` is loaded, an unfinished one goes on. Computed in float32: bfloat16 has fewer steps than the 256
    grey levels of an image.

    Args:
        config: settings.
        dataset: the data set; the networks work at its size.
        split: number of the train/test split.
        seed: seed of the start and of every draw.
        folder: parent of the run's own folder; None keeps nothing.
        device: None takes the CUDA device if there is one.
        progress: whether to show progress bars.

    Raises:
        ValueError: images whose sides are no multiples of 4, or shorter than `networks.cyclegan.SMALLEST` pixels.
        TrainingError: a loss that is not finite.
    """
    if min(dataset.size) < SMALLEST or any(side % 4 for side in dataset.size):
        raise ValueError(
            f"CycleGAN needs images whose sides are multiples of 4 and at least {SMALLEST} pixels, "
            f"{dataset.name} has {dataset.size}"
        )
    data = UnlabelledSet(dataset, split, device)
    network = initialise(lambda: CycleGAN(config.width, config.blocks), seed, data.device)
    optimizers = build_optimizers(config, network)
    schedules = {
        f"schedule_{name}": LambdaLR(optimizer, lambda epoch: learning_rate_factor(config, epoch))
        for name, optimizer in optimizers.items()
    }
    buffers = {name: ImageBuffer(config.buffer, data.device) for name in ("buffer_hr", "buffer_lr")}
    parts = {"network": network, **optimizers, **schedules, **buffers}
    run = data.open_run(__name__, config, parts, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        network.train()
        for hr_indices, lr_indices in run.batches(unpaired_batches(data, config, seed, epoch)):
            hr = read(data, hr_indices, (1,), config, run.generator)
            lr = read(data, lr_indices, (1,) if data.genuine.any() else config.rates, config, run.generator)
            # Eq. 3: G and F minimise L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc(G, F)
            terms, fake_hr, fake_lr = generator_terms(network, config, lr, hr)
            run.descend(optimizers["generators"], terms)
            old_lr = buffers["buffer_lr"].exchange(fake_lr, run)
            old_hr = buffers["buffer_hr"].exchange(fake_hr, run)
            judged = discriminators(run, network, optimizers, (hr, old_hr), (lr, old_lr))
            noted = {name: term.detach() for name, term in terms.items()} | judged
            run.note(noted, images=len(hr) + len(lr))
        for schedule in schedules.values():
            schedule.step()
    return CycleGANRecoverer(network, data.device, split)


def build_optimizers(config: CycleGANConfig, network: CycleGAN) -> dict[str, torch.optim.Optimizer]:
    """Return Adam of G and F as "generators", and of each discriminator as "d_hr" and "d_lr"."""
    players = {"generators": parameters(network.g, network.f)}
    players |= {"d_hr": parameters(network.d_hr), "d_lr": parameters(network.d_lr)}
    return {name: torch.optim.Adam(own, config.learning_rate, BETAS) for name, own in players.items()}


def read(  # decision CYCLEGAN-4
    data: UnlabelledSet,
    indices: np.ndarray,
    rates: tuple[int, ...],
    config: CycleGANConfig,
    generator: torch.Generator,
) -> torch.Tensor:
    """Read training images (n,), down-sampled by rates drawn from ``rates``: (n, 3, H, W) with values from -1 to 1."""
    images = data.images(indices)
    images = degrade(images, draw_rates(len(images), rates, generator), config.kernel)
    return to_range(augment(images, generator, pad=0))


def generator_terms(
    network: CycleGAN, config: CycleGANConfig, lr: torch.Tensor, hr: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return the weighted terms of the generators' loss (Eq. 3, Section 5.2), G(x) and F(y).

    Args:
        network: the networks.
        config: its weights are taken.
        lr, hr: images (N, 3, H, W) with values from -1 to 1.
    """
    fake_hr, fake_lr = network.g(lr), network.f(hr)
    cycle = cycle_consistency_loss(network.f(fake_hr), lr, network.g(fake_lr), hr)
    identity = identity_mapping_loss(network.g(hr), hr, network.f(lr), lr)
    terms = {
        "adversarial": sum(
            least_squares_generator_loss(scores) for scores in (network.d_hr(fake_hr), network.d_lr(fake_lr))
        ),
        "cycle": config.cycle_weight * cycle,
        "identity": config.cycle_weight * config.identity_weight * identity,
    }
    return terms, fake_hr, fake_lr


def discriminators(
    run: Run,
    network: CycleGAN,
    optimizers: dict[str, torch.optim.Optimizer],
    hr: tuple[torch.Tensor, torch.Tensor],
    lr: tuple[torch.Tensor, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Take a step with both discriminators; return what goes into the history.

    Args:
        run, network, optimizers: those of the training.
        hr, lr: real and generated images (N, 3, H, W).
    """
    noted = {}
    for name, judge, (images, fakes) in (("d_hr", network.d_hr, hr), ("d_lr", network.d_lr, lr)):
        real, fake = judge(images), judge(fakes)
        loss = least_squares_discriminator_loss(real, fake)
        noted |= discriminator_step(run, name, optimizers[name], loss, real, fake, middle=0.5)
    return noted


def unpaired_batches(
    data: UnlabelledSet, config: CycleGANConfig, seed: int, epoch: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return one epoch of pairs of batches, indices (batch,) of HR and of LR images, shuffled independently.

    LR images are the genuine ones where there are any, all images otherwise. There are ``config.steps`` pairs, or as
    many as the longer of the two fills, at least one. What is shown to its end goes round again, shuffled anew.
    """
    genuine = data.genuine.numpy()
    hr = np.flatnonzero(~genuine)
    lr = np.flatnonzero(genuine) if genuine.any() else hr
    draw = numpy_generator(seed, "unpaired", epoch)
    steps = config.steps or max(1, max(len(hr), len(lr)) // config.batch)

    def shuffled(indices: np.ndarray) -> np.ndarray:
        rounds = -(-steps * config.batch // len(indices))
        order = np.concatenate([draw.permutation(indices) for _ in range(rounds)])
        return order[: steps * config.batch].reshape(steps, config.batch)

    return list(zip(shuffled(hr), shuffled(lr), strict=True))


def learning_rate_factor(config: CycleGANConfig, epoch: int) -> float:
    """Return the factor on the learning rate in ``epoch``: 1, then on a line that is 0 after the last epoch."""
    return min(1.0, (config.epochs - epoch) / (config.epochs - config.constant + 1))


def to_range(images: torch.Tensor) -> torch.Tensor:
    """Map uint8 images (N, 3, H, W) to channels-last floats from -1 to 1."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
