"""What every training loop shares: device, precision, processes, seeds, checkpoints with exact resume, history.

A loop itself stays visible in ``training/<paper>.py``; it looks like this::

    data = TrainingSet(dataset, split, device)
    run = data.open_run(__name__, config, {"network": network, "optimizer": optimizer}, seed, folder)
    for epoch in run.epochs(config.epochs):
        for indices in run.batches(pk_batches(data.pids, config.p, config.k, seed, epoch)):
            with run.autocast():
                terms = {"identity": ..., "triplet": ...}
            run.step(optimizer, terms)

Under ``accelerate launch`` (or ``torchrun``, or in a notebook ``accelerate.notebook_launcher``) the same loop runs in
several processes: each takes its share of an epoch's batches, and a step goes down the mean of their gradients. Modules
are not wrapped, so a loop may call any part of a network.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd
import torch
from tqdm.std import tqdm

from reid_lib.devices import precision, processes
from reid_lib.digest import plain
from reid_lib.files import check_archive, locked, remove_parts, whole
from reid_lib.seeds import torch_generator
from reid_lib.status import TrainingStatus, bar, counted, tell

Batch = TypeVar("Batch")
_STATE = {"config", "seed", "processes", "epoch", "history", "parts"}  # of a checkpoint
_CHECK_EVERY = 20  # steps between looks at the loss: on CUDA each look makes the host wait for the device


class TrainingError(RuntimeError):
    """A training run cannot go on; the message says where it stopped and what is kept."""


class Stateful(Protocol):
    """A module, an optimiser or a scheduler."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def initialise(build: Callable[[], torch.nn.Module], seed: int, device: torch.device) -> torch.nn.Module:
    """Build a network whose random start depends on ``seed`` alone; put it on ``device`` in channels-last layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, "initialise").initial_seed())
        network = build()
    return network.to(device, memory_format=torch.channels_last)


class Run:
    """One training run in one folder: ``last.pt``, ``previous.pt`` (checkpoints), ``history.csv`` and ``lock``.

    The epoch is the unit of resume: a run killed at any moment goes on from its last finished epoch, and on a CPU ends
    with the same weights, bit for bit, as one that was never killed, because all draws of an epoch come from (seed,
    epoch). So a checkpoint holds no state of a generator or a sampler.

    In ``world`` processes (`processes`) an epoch has 1 / ``world`` of the steps, each with ``world`` times the images:
    the global batch of a step is the batches of all processes together, the learning rate stays. A step is what one
    process would do that goes through these batches one after another and averages their gradients: losses and
    batch-norm statistics are of one batch at a time. What a loop remembers must be the same in all processes: it takes
    what is new in a step from `gathered`, and what each has computed of all images, from `from_main`.
    All processes must see the same folder; the main one writes it. A run goes on in as many processes as it began with.

    Of two programs that ask for the same run the second waits, and then loads what the first has trained.

    Args:
        folder: where checkpoints and history go; None keeps nothing.
        config: the method's frozen dataclass; a resume under another one is refused.
        seed: seed of all draws.
        parts: every module, optimiser and scheduler whose state a resume needs, by name.
        device: where the parts are.
        progress: whether to show progress bars.
        name: what the run is called where its progress is shown (`reid_lib.status`); the folder's name if there is one.

    Attributes:
        generator: of the draws for a process's own batches; it comes from (seed, epoch) and differs between processes.
            What all of them must draw alike comes from `reid_lib.seeds`.
        rank, world: number of this process, 0 for the main one, and of all processes.
        history: one row for each finished epoch: epoch, mean of each term, gradient_norm, seconds, images_per_second.
    """

    def __init__(
        self,
        folder: str | Path | None,
        config: Any,
        seed: int,
        parts: dict[str, Stateful],
        device: torch.device,
        progress: bool = True,
        name: str = "training",
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.name = name if folder is None else self.folder.name
        self._together = processes()
        alone = self._together is None
        self.rank, self.world = (0, 1) if alone else (self._together.process_index, self._together.num_processes)
        self.config, self.seed, self.parts, self.device = plain(config), seed, parts, device
        self.progress = progress and self.rank == 0
        self.history: list[dict[str, float]] = []
        self.epoch = 0
        self.generator = torch_generator(seed, "epoch", 0)
        self._terms: list[dict[str, torch.Tensor]] = []
        self._norms: list[torch.Tensor] = []  # of the gradients since the last note
        self._uneven = torch.zeros((), device=device)  # gradients that some processes had and others not
        self._images = 0
        self._status: TrainingStatus | None = None
        self._bar: tqdm | None = None
        # once the training data are learnt, gradients get so small that a CPU works ten times slower on them
        torch.set_flush_denormal(True)

    def epochs(self, n: int) -> Iterator[int]:  # decision ENGINE-1
        """Yield the epochs that are left; after each, write history and checkpoint."""
        with self._locked():
            first = self._resume(n)
            self._status = TrainingStatus(self.name, first, n) if self.rank == 0 else None
            counted = {"what": self.name, "unit": "epochs", "total": n, "initial": first}
            with bar(hidden=not self.progress, **counted) as self._bar:
                for self.epoch in range(first, n):
                    started = self._begin()
                    yield self.epoch
                    self._bar.set_postfix(self._end(started), refresh=False)
                    self._bar.update(self.epoch + 1 - self._bar.n)

    @contextmanager
    def _locked(self) -> Iterator[None]:  # decision RUN-12
        """Hold the run's folder; wait first where another program holds it. The main process does so for all."""
        with ExitStack() as held:
            if self.rank == 0:
                held.callback(tell, "")
            if self.folder and self.rank == 0:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(locked(self.folder / "lock", self._wait))
                    remove_parts(self.folder)
                except OSError as error:  # read-only, for example: a finished run is loaded all the same
                    self._say(f"{self.folder} cannot be locked ({error}): train it in one program at a time")
            if self._together:
                self._together.wait_for_everyone()
            yield

    def _wait(self, process: str) -> None:
        line = f"waits for {self.name}, which process {process or 'unknown'} trains"
        if not tell(line):  # what is told there needs no place in a notebook's outputs
            self._say(f"{line} in {self.folder}")

    def _begin(self) -> float:
        """Prepare what an epoch draws and notes; return the time."""
        self.generator = torch_generator(self.seed, "epoch", self.epoch, *([self.rank] if self.rank else []))
        torch.manual_seed(self.generator.initial_seed())  # dropout and the like
        self._terms, self._norms, self._images = [], [], 0
        if self._status:
            self._status.epoch(self.epoch)
        return time.perf_counter()

    def _end(self, started: float) -> dict[str, object]:
        """Write the history and checkpoint of an epoch; return what the progress bar shows."""
        values = self._finite(0).T.contiguous()
        seconds = time.perf_counter() - started
        means = {name: value.mean().item() for name, value in zip(self._terms[0], values, strict=True)}
        speed = self._images * self.world / seconds
        times = {"seconds": round(seconds, 3), "images_per_second": round(speed, 1)}
        self.history.append({"epoch": self.epoch, **means, **times})
        self._save()
        return {name: f"{value:.3g}" for name, value in means.items()} | {"img/s": round(speed)}

    def batches(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """Yield the batches of the epoch; of several processes each gets its own, all as many.

        Raises:
            TrainingError: there are fewer than processes.
        """
        if len(batches) < self.world > 1:
            raise TrainingError(
                f"epoch {self.epoch} has {counted(len(batches), 'batch', 'batches')}, and each of {self.world} "
                "processes needs one: start fewer processes, or make the batches smaller"
            )
        share = batches[self.rank : len(batches) // self.world * self.world : self.world]
        for done, batch in enumerate(share, start=1):
            yield batch
            if self._status:
                self._status.within(done / len(share))
            if self._bar is not None:
                self._bar.update(self.epoch + round(done / len(share), 1) - self._bar.n)

    def autocast(self) -> torch.autocast:
        """bfloat16 where it is safe and the device computes with it (`devices.precision`); float32 elsewhere."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision(self.device) == torch.bfloat16)

    def step(self, optimizer: torch.optim.Optimizer, terms: dict[str, torch.Tensor], images: int = 0) -> None:
        """Take one step down the sum of the loss ``terms`` and note them; ``images`` counts into images per second.

        Raises:
            TrainingError: as `note`.
        """
        self.descend(optimizer, terms)
        self.note(terms, images)

    # decision HOUSE-4
    def descend(self, optimizer: torch.optim.Optimizer, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Take one step of one of several optimisers down the sum of the loss ``terms``; `note` ends the loop's step.

        Gradients reach the optimiser's own parameters alone: another player that the terms pass through keeps none.
        They are averaged over the processes, each of which must have a gradient of the same parameters.

        Returns:
            The Euclidean norm of the gradients, a scalar on the device.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward(inputs=parameters)
        if self.world > 1:
            self._average_gradients(parameters)
        self._norms.append(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        optimizer.step()
        return self._norms[-1]

    def note(self, terms: dict[str, torch.Tensor], images: int = 0) -> None:  # decision ENGINE-5
        """Note the loss ``terms`` of a step, and the norm of all its gradients, in the history.

        Raises:
            TrainingError: one of them is NaN or infinite in this or an earlier step of the epoch (looked at every few
                steps and before the epoch's checkpoint is written); the last checkpoint stays as it is.
        """
        self._terms.append({name: term.detach().to(self.device, torch.float32) for name, term in terms.items()})
        if self._norms:
            self._terms[-1]["gradient_norm"] = torch.stack(self._norms).norm()
            self._norms = []
        self._images += images
        if len(self._terms) % _CHECK_EVERY == 0:
            self._finite(len(self._terms) - _CHECK_EVERY)

    def _average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:  # decision ENGINE-2
        """Replace every gradient by its mean over the processes, in one exchange.

        A missing gradient travels as zeros, so that what is exchanged has one size even where processes do not agree;
        who has which is counted on the way, and looked at where that makes no host wait.
        """
        present = torch.tensor([float(p.grad is not None) for p in parameters]).to(self.device)
        gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        sizes = [len(parameters), *(p.numel() for p in parameters)]
        present, *means = self.mean(torch.cat([present, *gradients])).split(sizes)
        self._uneven += ((present > 0) & (present < 1)).sum()
        for p, mean in zip(parameters, means, strict=True):
            if p.grad is not None:
                p.grad.copy_(mean.view_as(p))

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Replace ``values`` by their mean over the processes."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
            values /= self.world
        return values

    def gathered(self, values: torch.Tensor) -> torch.Tensor:  # decision ENGINE-11
        """Return the ``values`` (n, ...) of all processes, (world n, ...), by rank; no gradient passes through.

        Every process must have as many, as it has where they are of its own batch of one size.
        """
        if self.world == 1:
            return values.detach()
        own = values.detach().to(self.device).contiguous()
        parts = [torch.empty_like(own) for _ in range(self.world)]
        torch.distributed.all_gather(parts, own)
        return torch.cat(parts).to(values.device)

    def from_main(self, *tensors: torch.Tensor) -> None:  # decision ENGINE-11
        """Replace contiguous ``tensors`` by those of the main process, which have the same shapes."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

    def _finite(self, start: int) -> torch.Tensor:
        """Return the notes since step ``start``, means over the processes (steps, terms); TrainingError if one is not.

        The means are NaN or infinite in all processes where they are in one, so that all stop.
        """
        if not self._terms:
            raise TrainingError(f"epoch {self.epoch} had no step: the data set gives no batch")
        recent = self.mean(torch.stack([torch.stack(list(terms.values())) for terms in self._terms[start:]]))
        if self._uneven:
            raise TrainingError(
                f"up to step {len(self._terms) - 1} of epoch {self.epoch} a parameter had a gradient in some processes "
                f"only: every process must take the same path through the losses; {self._kept()}"
            )
        bad = (~recent.isfinite()).any(1).nonzero()
        if len(bad):
            step = start + int(bad[0])
            found = zip(self._terms[step], recent[step - start].tolist(), strict=True)
            values = ", ".join(f"{name} = {value:.4g}" for name, value in found)
            raise TrainingError(
                f"the loss or its gradient is not finite in epoch {self.epoch}, step {step}: {values}; {self._kept()}"
            )
        return recent

    def _kept(self) -> str:
        if not (self.epoch and self.folder):
            return "nothing to keep yet"
        return f"the checkpoint of epoch {self.epoch - 1} is kept in {self.folder}"

    def _save(self) -> None:  # decision ENGINE-3
        """Write history and checkpoint in the main process, with its buffers (batch-norm statistics), for all."""
        modules = (part for part in self.parts.values() if isinstance(part, torch.nn.Module))
        self.from_main(*(buffer for module in modules for buffer in module.buffers()))
        if self.folder and self.rank == 0:
            self._write()
        if self._together:
            self._together.wait_for_everyone()

    def _write(self) -> None:  # decision ENGINE-6
        state = {
            "config": json.dumps(self.config),
            "seed": self.seed,
            "processes": self.world,
            "epoch": self.epoch,
            "history": self.history,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        last = self.folder / "last.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(last) as new:
                torch.save(state, new)
                # the history first: a run killed in between does its epoch again, and the history gets its row again
                with whole(self.folder / "history.csv") as table:
                    pd.DataFrame(self.history).to_csv(table, index=False)
                if last.exists():
                    os.replace(last, self.folder / "previous.pt")
        except (OSError, RuntimeError) as error:
            raise TrainingError(
                f"cannot write a checkpoint into {self.folder} ({error}); those there are kept"
            ) from error

    def _resume(self, n: int) -> int:
        """Load the newest readable checkpoint, if there is one, and return the number of the next of ``n`` epochs."""
        state = None if self.folder is None else self._newest()
        if state is None:
            return 0
        self._check_same(state, n)
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.history = state["history"]
        return state["epoch"] + 1

    def _newest(self) -> dict[str, Any] | None:
        for name in ("last.pt", "previous.pt"):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                check_archive(path)  # decision ENGINE-14
                state = torch.load(path, map_location="cpu", weights_only=True)
                if set(state) != _STATE or set(state["parts"]) != set(self.parts):
                    raise ValueError("it is no checkpoint of this training")
                return state
            except (PermissionError, MemoryError):
                raise  # it may be sound, and a new start would write over it
            except Exception as error:  # torch raises many kinds for a damaged file
                instead = "trying the one before" if name == "last.pt" else "the run starts anew"
                self._say(f"checkpoint {path} cannot be read ({type(error).__name__}): {instead}")
        return None

    def _check_same(self, state: dict[str, Any], n: int) -> None:  # decision ENGINE-4
        then, now = {**json.loads(state["config"]), "seed": state["seed"]}, {**self.config, "seed": self.seed}
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                raise TrainingError(
                    f"{self.folder} holds a run with {name} = {then.get(name)!r}, asked for {now.get(name)!r}: "
                    "use another folder, or delete this one"
                )
        if state["processes"] != self.world:
            many = counted(state["processes"], "process", "processes")
            begun = f"{self.folder} holds a run of {many}, this is one of {self.world}"
            if state["epoch"] + 1 < n:
                raise TrainingError(f"{begun}: start as many, or delete the folder")
            self._say(f"{begun}: loaded as it is; the effective batch was that of {state['processes']}")

    def _say(self, line: str) -> None:
        if self.rank == 0:
            print(line, file=sys.stderr)
