"""The loop of every method, taken apart while it runs: its networks' passes, the engine, the images, and all else."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import wraps
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from benchmarks import Measurement, at_most
from reid_lib.datasets import load
from reid_lib.training import cadnet, intact
from reid_lib.training.baseline import BaselineConfig
from reid_lib.training.methods import METHODS
from reid_lib.training.mlr_set import MLRSet
from reid_lib.training.run import Run
from reid_lib.training.training_set import UnlabelledSet

PARTS = {  # what is charged to each part; "else" is all that is in none: losses, memories, buffers
    "passes": [(nn.Module, "__call__"), (torch.Tensor, "backward"), (torch.optim.Adam, "step")],
    "engine": [(Run, "descend"), (Run, "note"), (Run, "autocast")],
    "images": [(UnlabelledSet, "images"), (UnlabelledSet, "inputs"), (MLRSet, "pairs"), (MLRSet, "of_hr_space")]
    + [(module, "training_batch") for module in (cadnet, intact)],
}
EPOCHS, STEPS = 4, 6
SETTINGS = {  # of METHODS, so that a short training has all that a long one has
    "cyclegan": {"constant": 1},
    "drfm": {"ps_from": 0, "sr": "bicubic"},
    "intact": {"critic_epochs": EPOCHS},
    "vpfa": {"n_pairs": 32 * STEPS},
}

Step = Counter[str]  # seconds of each part


def loops() -> list[Measurement]:
    """Each method's step, images and all, against the bare passes in it, and the engine's share: the median step.

    Passes are the calls of modules, `backward` and the optimiser's steps, each as long as it took inside the loop.
    """
    cuda = torch.cuda.is_available()
    profile, size = ("paper", (256, 128)) if cuda else ("demo", (128, 64))
    dataset, found = load("synth", identities=60, size=size), []
    for name, method in METHODS.items():
        config = short(name, method.config, profile)
        steps = taken_apart(lambda method=method, config=config: method.train(config, dataset, progress=False))
        found += judged(f"{name}, {profile} profile", steps)
    return found


def short(name: str, config: type, profile: str) -> Any:
    """Return the settings of a short training from a random start."""
    wanted = {"weights": "none", "epochs": EPOCHS, "steps": STEPS, **SETTINGS.get(name, {})}
    if name == "vpfa":
        wanted["frozen"] = BaselineConfig.for_profile(profile, weights="none", epochs=1, steps=STEPS)
    known = {field.name for field in fields(config)}
    return config.for_profile(profile, **{key: value for key, value in wanted.items() if key in known})


def judged(what: str, steps: list[Step]) -> list[Measurement]:
    """Return the two lines of a method; the first half of its steps, in which libraries are loaded, does not count."""
    steps = steps[len(steps) // 2 :]
    bare = [step["passes"] for step in steps]
    part = {
        name: float(np.median([100 * step[name] / passes for step, passes in zip(steps, bare, strict=True)]))
        for name in ("engine", "images", "else")
    }
    whole = float(np.median([100 * sum(step.values()) / passes for step, passes in zip(steps, bare, strict=True)]))
    detail = f"{1000 * np.median(bare):.0f} ms of passes; images {part['images']:.1f} %, all else {part['else']:.1f} %"
    return [
        at_most(f"{what}: a step, of the passes in it", whole, "%", 115, detail),
        at_most(f"{what}: engine, of the passes", part["engine"], "%", 5),
    ]


def taken_apart(train: Callable[[], object]) -> list[Step]:
    """Train, and return where the time of each step went; of several runs in a training, those of the last one."""
    clock, runs = Clock(), {}
    original = Run.batches

    def batches(run: Run, *given: Any) -> Iterator[Any]:
        steps, source = runs.setdefault(run, []), original(run, *given)
        while True:
            before = clock.seconds()
            with clock.inside("engine"):
                batch = next(source, None)
            if batch is None:
                return
            yield batch
            steps.append(clock.seconds() - before)

    with ExitStack() as patches:
        for part, calls in PARTS.items():
            for owner, name in calls:
                patches.enter_context(patch.object(owner, name, clock.charged(part, getattr(owner, name))))
        patches.enter_context(patch.object(Run, "batches", batches))
        train()
    return list(runs.values())[-1]


class Clock:
    """Charges time to the innermost part that has been entered: CPU seconds, or on CUDA seconds until it is done."""

    def __init__(self) -> None:
        self._spent, self._inside, self._since = Counter(), ["else"], self._now()

    def seconds(self) -> Step:
        """Return what each part has taken until now."""
        self._charge()
        return Counter(self._spent)

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Charge what the block does to a part."""
        self._charge()
        self._inside.append(part)
        try:
            yield
        finally:
            self._charge()
            self._inside.pop()

    def charged(self, part: str, call: Callable) -> Callable:
        """Return a function that does the same and is charged to a part."""

        @wraps(call)
        def wrapped(*args: Any, **options: Any) -> Any:
            if self._inside[-1] == part:  # a module in a module
                return call(*args, **options)
            with self.inside(part):
                return call(*args, **options)

        return wrapped

    def _charge(self) -> None:
        now = self._now()
        self._spent[self._inside[-1]] += now - self._since
        self._since = now

    @staticmethod
    def _now() -> float:
        if not torch.cuda.is_available():
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()
