"""INTACT's step against the bare passes of its networks, and what the association critic adds to a step."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks import Measurement, at_most, seconds, without_bound
from reid_lib.datasets import load
from reid_lib.datasets.records import ReIDDataset
from reid_lib.devices import pick_device
from reid_lib.training.critic import build_critic, hr_batches
from reid_lib.training.intact import INTACTConfig, build_network, build_optimizers, iterate, training_batch
from reid_lib.training.run import Run, initialise
from reid_lib.training.training_set import TrainingSet

Work = Callable[[], object]
ROUNDS = 7


def intact() -> list[Measurement]:
    """A step, data and all, against bare passes; and with the critic against without (the paper, 4.3: no increase)."""
    cuda = torch.cuda.is_available()
    profile, size = ("paper", (256, 128)) if cuda else ("demo", (128, 64))
    dataset, device = load("synth", identities=60, size=size), pick_device()
    config = INTACTConfig.for_profile(profile, weights="none")
    without = INTACTConfig.for_profile(profile, weights="none", association="none")
    data, step, passes = work_of(config, dataset, device)
    _, step_without, _ = work_of(without, dataset, device)
    works = {"data": data, "step": step, "without": step_without, **passes}
    times = _medians(works, cuda)
    bare, what = sum(times[name] for name in passes), f"INTACT, {profile} profile"
    detail = f"{1000 * times['step']:.0f} ms for {config.p * config.k} images of {size[0]}x{size[1]}"
    added = f"{1000 * times['without']:.0f} ms without"
    return [
        at_most(
            f"{what}: a step, of its networks' passes", 100 * (times["step"] + times["data"]) / bare, "%", 115, detail
        ),
        at_most(
            f"{what}: what the critic adds to a step", 100 * (times["step"] / times["without"] - 1), "%", 10, added
        ),
        *(without_bound(f"{what}: share of {name}", 100 * times[name] / times["step"], "%") for name in passes),
    ]


def _medians(works: dict[str, Work], cuda: bool) -> dict[str, float]:
    """Time works in turn, so that what else the machine does meets all; the median of some rounds, in seconds."""
    clock = time.perf_counter if cuda else time.process_time

    def once(work: Work) -> None:
        work()
        if cuda:
            torch.cuda.synchronize()

    for work in works.values():  # the first use loads libraries
        once(work)
    rounds = [{name: seconds(partial(once, work), clock=clock) for name, work in works.items()} for _ in range(ROUNDS)]
    return {name: float(np.median([taken[name] for taken in rounds])) for name in works}


def work_of(config: INTACTConfig, dataset: ReIDDataset, device: torch.device) -> tuple[Work, Work, dict[str, Work]]:
    """Return what prepares a batch, what takes a step on a ready one, and the bare passes of each network in a step."""
    images = TrainingSet(dataset, device=device)
    size = config.input_size or dataset.size
    critic = build_critic(config.critic(), size, images.identities)
    network = initialise(lambda: build_network(config, size, critic), 0, device).train()
    run, (optimizers, _) = Run(None, config, 0, {}, device, progress=False), build_optimizers(config, network)
    indices = hr_batches(images, config, 0, 0)[0]
    batch = training_batch(images, indices, config, run.generator)
    with torch.no_grad(), run.autocast():
        made = network.G(batch.x_l)
    leaf, looked = made.clone().requires_grad_(), {"first_identity": torch.zeros((), device=device)}

    def both(forward: Callable[[], torch.Tensor], inputs: list[torch.Tensor]) -> None:
        for tensor in inputs:
            tensor.grad = None
        with run.autocast():
            output = forward()
        torch.autograd.backward([output], [torch.ones_like(output)], inputs=inputs)

    def forward_alone(module: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with torch.no_grad(), run.autocast():
            module(batch.x_h)

    def discriminator() -> None:
        network.D.train()
        both(lambda: network.D(torch.cat([batch.x_h, made])), list(network.D.parameters()))  # step (1)
        network.D.eval()
        both(lambda: network.D(leaf), [leaf])  # step (3)
        if network.phi is not None:
            forward_alone(network.D.features)  # step (2)

    def critic_passes() -> None:
        both(lambda: network.C.classifier(network.C.embed(leaf)), [leaf])
        if network.phi is not None:
            forward_alone(network.C.embed)

    passes = {
        "G": lambda: both(lambda: network.G(batch.x_l), list(network.G.parameters())),
        "D": discriminator,
        "C": critic_passes,
    }
    data = partial(training_batch, images, indices, config, run.generator)
    return data, lambda: iterate(run, network, config, optimizers, batch, looked), passes
