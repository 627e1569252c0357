"""The training loops against bare PyTorch steps of the same networks, and VPFA's module against its products."""

import contextlib
import copy
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import Measurement, at_least, at_most, seconds, without_bound
from reid_lib.datasets import load
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.devices import pick_device, precision
from reid_lib.losses.common import batch_hard_triplet_loss, identity_loss
from reid_lib.losses.vpfa import vector_panning_loss
from reid_lib.networks.baseline import Baseline
from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.seeds import torch_generator
from reid_lib.training import lrar
from reid_lib.training.baseline import BaselineConfig, train
from reid_lib.training.cadnet import (
    Batch,
    CADNetConfig,
    build_network,
    build_optimizers,
    draw_indices,
    iterate,
    training_batch,
)
from reid_lib.training.run import Run, initialise
from reid_lib.training.starts import build_backbone
from reid_lib.training.training_set import TrainingSet
from reid_lib.training.vpfa import FASTER, VectorPanning

VPFA_SPEED = 4_424_371.31  # samples per second in VPFA, Section 5.4, which names neither device nor precision
VPFA_ROWS = {"cpu": 1024, "cuda": 32768}  # features multiplied at a time, as many as `VectorPanning.transform` maps


def baseline() -> list[Measurement]:
    """The baseline's loop against a bare PyTorch step of the same network and losses on ready inputs."""
    cuda = torch.cuda.is_available()
    profile, size = ("paper", (256, 128)) if cuda else ("demo", (128, 64))
    dataset = load("synth", size=size)
    config = BaselineConfig.for_profile(profile, epochs=3, weights="none")
    device = torch.device("cuda" if cuda else "cpu")
    open_store(dataset)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        train(config, dataset, folder=folder, progress=False)
        history = next(Path(folder).glob("*/history.csv")).read_text().splitlines()
    loop = max(float(line.rsplit(",", 1)[1]) for line in history[1:])
    bare = _bare_images_per_second(config, size, device)
    memory = (
        []
        if not cuda
        else [at_most("baseline, paper profile: peak memory", torch.cuda.max_memory_allocated() / 1e9, "GB", 80)]
    )
    what = f"baseline, {profile} profile: share of the bare step's rate"
    return [
        at_least(what, 100 * loop / bare, "%", 90, f"{loop:.0f} of {bare:.0f} images/s on {device.type}"),
        *memory,
    ]


def _bare_images_per_second(config: BaselineConfig, size: tuple[int, int], device: torch.device) -> float:
    step = _baseline_step(config, size, device)
    step.bare(3)
    return 20 * step.images / seconds(lambda: step.bare(20), repeat=3, clock=time.perf_counter)


@dataclass(frozen=True)
class Step:
    """A step of a loop on ready inputs, of ``images`` images: ``terms`` gives its losses."""

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    images: int
    terms: Callable[[], dict[str, torch.Tensor]]
    device: torch.device

    def bare(self, count: int) -> None:
        """Take ``count`` steps in plain PyTorch."""
        for _ in range(count):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=precision(self.device) == torch.bfloat16):
                terms = self.terms()
            self.optimizer.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _baseline_step(config: BaselineConfig, size: tuple[int, int], device: torch.device) -> Step:
    def build() -> Baseline:
        return Baseline(build_backbone(config.network, config.width, config.weights, size), 100)

    model = initialise(build, 0, device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    inputs, labels = _inputs(config, size, device)

    def terms() -> dict[str, torch.Tensor]:
        features, logits = model(inputs)
        return {
            "identity": identity_loss(logits, labels),
            "triplet": batch_hard_triplet_loss(features, labels, config.margin),
        }

    return Step(model, optimizer, len(inputs), terms, device)


def _lrar_step(config: lrar.LRARConfig, size: tuple[int, int], device: torch.device) -> Step:
    """A step of the last phase, in which all stages have masks."""
    network = initialise(lambda: lrar.build_network(config, size, 100), 0, device)
    network.introduce_masks(*lrar.masked_stages(config, config.epochs - 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    inputs, labels = _inputs(config, size, device)
    rates = lrar.batch_rates(config, torch_generator(0, "lrar step"))
    levels = lrar.level_of(rates, config.rates).to(device)
    return Step(network, optimizer, len(inputs), lambda: lrar.losses(network, config, inputs, levels, labels), device)


def _vpfa_step(device: torch.device) -> Step:
    """A step on 32 pairs of 512-d features."""
    module = initialise(lambda: VectorPanningModule(512), 0, device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)
    lr, hr = torch.randn(2, 32, 512, generator=torch_generator(0, "vpfa step")).to(device)
    return Step(module, optimizer, len(lr), lambda: {"loss": vector_panning_loss(module(lr), hr)}, device)


def _inputs(
    config: BaselineConfig | lrar.LRARConfig, size: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images (p k, 3, H, W) and their labels (p k,)."""
    inputs = torch.rand(config.p * config.k, 3, *size, generator=torch_generator(0, "inputs")).to(device)
    labels = torch.arange(config.p, device=device).repeat_interleave(config.k)
    return inputs.contiguous(memory_format=torch.channels_last), labels


def engine() -> list[Measurement]:
    """What `training.run.Run` adds to a step: notes, guard, gradient norm, progress bars, a checkpoint per epoch.

    An epoch is 40 steps, as of the field, or 200 on CUDA, as on Market-1501. VPFA's has 157, and its
    run keeps no checkpoints. Its step is the hardest: 32 vectors, and 10.5 million gradients whose norm is taken.
    """
    cuda = torch.cuda.is_available()
    profile, size = ("paper", (256, 128)) if cuda else ("demo", (128, 64))
    device = torch.device("cuda" if cuda else "cpu")
    steps = {
        "baseline": _baseline_step(BaselineConfig.for_profile(profile, weights="none"), size, device),
        "LRAR": _lrar_step(lrar.LRARConfig.for_profile(profile, weights="none"), size, device),
    }
    what, count = f"{profile} profile: what Run adds to bare steps", 200 if cuda else 40
    results = [_overhead(f"{name}, {what}", step, count) for name, step in steps.items()]
    return [*results, _overhead("VPFA, 512-d: what Run adds to bare steps", _vpfa_step(device), 157, keep=False)]


def _overhead(what: str, step: Step, count: int, repeat: int = 3, keep: bool = True) -> Measurement:
    """Measure epochs of ``count`` steps in turn with as many bare steps, so that what else runs meets both."""
    clock = time.perf_counter if step.device.type == "cuda" else time.process_time
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):  # the progress bars
        run = Run(folder if keep else None, {}, 0, {"network": step.network, "optimizer": step.optimizer}, step.device)
        epochs = run.epochs(repeat + 2)
        next(epochs)

        def epoch() -> None:
            for _ in run.batches(range(count)):
                with run.autocast():
                    terms = step.terms()
                run.step(step.optimizer, terms, step.images)
            next(epochs)  # ends this one

        epoch()
        pairs = [(seconds(lambda: step.bare(count), clock=clock), seconds(epoch, clock=clock)) for _ in range(repeat)]
    bare, ours = map(min, zip(*pairs, strict=True))
    detail = f"{1000 * ours / count:.2f} of {1000 * bare / count:.2f} ms a step on {step.device.type}"
    return at_most(what, 100 * (ours / bare - 1), "%", 5, detail)


def cadnet() -> list[Measurement]:
    """A step of CAD-Net's loop, data and all, against the bare passes of its networks, and the share of each part."""
    cuda = torch.cuda.is_available()
    profile, size = ("paper", (256, 128)) if cuda else ("demo", (128, 64))
    config = CADNetConfig.for_profile(profile, weights="none")
    data, step, passes = _cadnet_work(config, load("synth", identities=60, size=size), pick_device())
    clock = time.perf_counter if cuda else time.process_time

    def several(work: Callable[[], object]) -> None:
        for _ in range(3):
            work()
        if cuda:
            torch.cuda.synchronize()

    works = {"step": step, "data": data, **passes}
    for work in works.values():  # the first use loads libraries
        several(work)
    # in turn, and the median of five rounds, so that what else the machine does meets all
    rounds = [
        {name: seconds(partial(several, work), clock=clock) / 3 for name, work in works.items()} for _ in range(5)
    ]
    times = {name: float(np.median([taken[name] for taken in rounds])) for name in works}
    whole, bare = times["step"] + times["data"], sum(times[name] for name in passes)
    what, images = f"CAD-Net, {profile} profile", 2 * config.p * config.k
    detail = f"{1000 * whole:.0f} ms for {images} images of {size[0]}x{size[1]}"
    shares = [without_bound(f"{what}: share of {name}", 100 * times[name] / whole, "%") for name in (*passes, "data")]
    return [at_most(f"{what}: a step, of its networks' passes", 100 * whole / bare, "%", 115, detail), *shares]


def _cadnet_work(
    config: CADNetConfig, dataset: ReIDDataset, device: torch.device
) -> tuple[Callable[[], object], Callable[[], object], dict[str, Callable[[], object]]]:
    """Return what prepares a batch, what takes a step on a ready one, and the bare passes of each network in a step."""
    images = TrainingSet(dataset, device=device)
    network = initialise(lambda: build_network(config, dataset.size, images.identities), 0, device)
    network.train()
    run, (optimizers, _) = Run(None, config, 0, {}, device, progress=False), build_optimizers(config, network)
    hr, lr = draw_indices(images, config, 0, 0)[0]

    def data() -> Batch:
        return training_batch(images, hr, lr, config, run.generator)

    batch = data()
    with torch.no_grad(), run.autocast():
        maps = network.E.stages(batch.inputs)
        recovered = network.G(maps)
        u = network.joint_feature(maps[-1], recovered)
    f, image = maps[-1].clone(), recovered.clone()  # detached, for the discriminators' step
    leaves = [tensor.requires_grad_() for tensor in (*maps, recovered, u)]

    def both(forward: Callable[[], list[torch.Tensor]], inputs: list[torch.Tensor] | None = None) -> None:
        for leaf in (*leaves, *network.parameters()):
            leaf.grad = None
        with run.autocast():
            outputs = forward()
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs], inputs=inputs)

    def discriminator(net: torch.nn.Module, first: list[torch.Tensor], second: torch.Tensor) -> None:
        both(lambda: [net(x) for x in first])
        both(lambda: [net(second)], [second])

    passes = {
        "E": lambda: both(lambda: network.E.stages(batch.inputs)),
        "G": lambda: both(lambda: [network.G(maps)]),
        "F": lambda: both(lambda: [network.F.feature_map(recovered)]),
        "C": lambda: both(lambda: [network.classify(u)]),
        "D_F": lambda: discriminator(network.D_F, [f], maps[-1]),
        "D_I": lambda: discriminator(network.D_I, [batch.truths, image], recovered),
    }
    return data, lambda: iterate(run, network, config, optimizers, batch), passes


def vpfa() -> list[Measurement]:
    """VPFA's module at 3,840 numbers a feature (Section 5.4), and fits of 512: the default, and the faster setting."""
    features = torch.randn(131_072 if torch.cuda.is_available() else 4096, 3840, generator=torch_generator(0, "vpfa"))
    panning = VectorPanning(pairing="image", n_pairs=32, epochs=1, progress=False).fit(features[:32], features[32:64])
    features = features.to(pick_device())
    results = [_parameters(panning), _transform_speed(panning, features)]
    results += [_fit_time("the paper's width"), _fit_time("half of it", **FASTER)]
    if features.is_cuda:
        results += [_module_speed(panning, features, dtype) for dtype in (torch.bfloat16, torch.float32)]
    return results


def _parameters(panning: VectorPanning) -> Measurement:
    count = sum(parameter.numel() for parameter in panning.maps_[0].parameters())
    what, kept = "VP module at 3,840-d: parameters", 24.135e6 <= count <= 24.145e6
    return Measurement(what, count / 1000, "thousand", "within 24,135 and 24,145", kept, "the paper: 24.14 million")


def _transform_speed(panning: VectorPanning, features: torch.Tensor) -> Measurement:
    weights = [parameter for parameter in panning.maps_[0].parameters() if parameter.ndim == 2]

    def products() -> None:
        for rows in features.split(VPFA_ROWS[features.device.type]):
            for weight in weights:
                rows = rows @ weight.T
        _wait(features)

    def transform() -> None:
        panning.transform(features)
        _wait(features)

    clock = time.perf_counter if features.is_cuda else time.process_time
    for work in (products, transform):  # the first use loads libraries
        work()
    # in turn, so that what else the machine does meets both
    pairs = [(seconds(products, clock=clock), seconds(transform, clock=clock)) for _ in range(3)]
    plain, ours = map(min, zip(*pairs, strict=True))
    speed = len(features) / seconds(transform, repeat=3, clock=time.perf_counter)
    detail = f"{speed:,.0f} samples/s on {features.device.type}; the paper: {VPFA_SPEED:,.2f}"
    return at_least("VP transform at 3,840-d: share of its products' rate", 100 * plain / ours, "%", 70, detail)


def _fit_time(width: str, **settings: object) -> Measurement:
    """On a CPU, where all 120 epochs take minutes, those after the first of a short fit stand for all."""
    cuda = torch.cuda.is_available()
    hr = torch.randn(10_000, 512, generator=torch_generator(0, "vpfa fit"))
    lr = hr + 0.5 * torch.randn(10_000, 512, generator=torch_generator(1, "vpfa fit"))
    panning = VectorPanning(epochs=120 if cuda else 4, progress=False, **settings)
    taken = seconds(lambda: panning.fit(lr, hr, np.arange(5000).repeat(2)), clock=time.perf_counter)
    if not cuda:
        taken = 120 * np.mean([epoch["seconds"] for epoch in panning.history_[0][1:]])
    what = f"VP fit, {width}, 5,000 pairs of 512-d, 120 epochs" + ("" if cuda else " (scaled from 3)")
    device = "cuda" if cuda else f"cpu, {torch.get_num_threads()} threads"
    return at_most(what, taken, "s", 180, f"wall clock, {device}")


def _module_speed(panning: VectorPanning, features: torch.Tensor, dtype: torch.dtype) -> Measurement:
    module = copy.deepcopy(panning.maps_[0]).to(dtype)
    parts = features.to(dtype).split(VPFA_ROWS[features.device.type])

    def forward() -> None:
        for rows in parts:
            module(rows)
        _wait(features)

    forward()
    speed, name = len(features) / seconds(forward, repeat=3, clock=time.perf_counter), str(dtype).removeprefix("torch.")
    what, detail = f"VP module at 3,840-d in {name}", f"the paper: {VPFA_SPEED:,.2f} samples/s"
    if dtype == torch.float32:  # more than a GPU's float32 units can do
        return without_bound(what, speed / 1000, "thousand/s", detail)
    return at_least(what, speed / 1000, "thousand/s", VPFA_SPEED / 1000, detail)


def _wait(features: torch.Tensor) -> None:
    if features.is_cuda:
        torch.cuda.synchronize()
