"""What every training loop shares: device, precision, seeds, checkpoints with exact resume, progress, history.

A loop itself stays visible in ``training/<paper>.py``; it looks like this::

    run = Run(folder, config, seed, parts={"network": network, "optimizer": optimizer})
    for epoch in run.epochs(config.epochs):
        for batch in run.batches(pk_batches(...)):
            with run.autocast():
                terms = {"identity": ..., "triplet": ...}
            run.step(optimizer, terms)
"""

import ast
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd
import torch
from tqdm.auto import tqdm

from reid_lib.seeds import torch_generator

Batch = TypeVar("Batch")
_ROOMS = ("datasets", "networks", "losses", "training")
_CHECK_EVERY = 20  # steps between looks at the loss: on CUDA each look makes the host wait for the device


class TrainingError(RuntimeError):
    """A training run cannot go on; the message says where it stopped and what is kept."""


class Stateful(Protocol):
    """A module, an optimiser or a scheduler."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def pick_device() -> torch.device:
    """Return the CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def initialise(build: Callable[[], torch.nn.Module], seed: int, device: torch.device) -> torch.nn.Module:
    """Build a network whose random start depends on ``seed`` alone; put it on ``device`` in channels-last layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, "initialise").initial_seed())
        network = build()
    return network.to(device, memory_format=torch.channels_last)


def code_digest(module: str) -> str:
    """Return a digest of the sources that decide what a loop gives.

    Args:
        module: name of the loop's module ("reid_lib.training.baseline"). Its source counts, and so does that of every
            module of `reid_lib.seeds`, ``datasets``, ``networks``, ``losses`` and ``training`` that it imports, be it
            through another one: a new paper's code leaves the other papers' runs as they are.
    """
    package, sources, waiting = Path(__file__).parents[1], {}, [module]
    while waiting:
        parts = waiting.pop().split(".")[1:]
        path = package.joinpath(*parts).with_suffix(".py")
        if (
            parts[:1] not in (["seeds"], *([room] for room in _ROOMS))
            or "/".join(parts) in sources
            or not path.is_file()
        ):
            continue
        sources["/".join(parts)] = path.read_bytes()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reid_lib"):
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + sources[name])
    return digest.hexdigest()


def run_folder(parent: str | Path, name: str, module: str, *decisive: Any) -> Path:
    """Return the folder of a training run: ``parent / name-digest``.

    The digest covers everything that decides the run's result (pass configuration, data fingerprint, split, seed) and
    the code of the loop's ``module`` (`code_digest`), so a folder's checkpoint always belongs to what is asked for and
    a changed experiment starts anew.
    """
    text = json.dumps([_plain(value) for value in decisive], sort_keys=True, default=str) + code_digest(module)
    return Path(parent) / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


class Run:
    """One training run in one folder: ``last.pt``, ``previous.pt`` (checkpoints) and ``history.csv``.

    The epoch is the unit of resume: a run killed at any moment goes on from its last finished epoch, and on a CPU ends
    with the same weights, bit for bit, as one that was never killed, because all draws of an epoch come from (seed,
    epoch).

    Args:
        folder: where checkpoints and history go; None keeps nothing.
        config: the method's frozen dataclass; a resume under another one is refused.
        seed: seed of all draws.
        parts: every module, optimiser and scheduler whose state a resume needs, by name.
        device: where the parts are.
        progress: whether to show progress bars.
    """

    def __init__(
        self,
        folder: str | Path | None,
        config: Any,
        seed: int,
        parts: dict[str, Stateful],
        device: torch.device,
        progress: bool = True,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.config, self.seed, self.parts, self.device, self.progress = (
            _plain(config),
            seed,
            parts,
            device,
            progress,
        )
        self.history: list[dict[str, float]] = []
        self.epoch = 0
        self.generator = torch_generator(seed, "epoch", 0)
        self._terms: list[dict[str, torch.Tensor]] = []
        self._images = 0
        # once the training data are learnt, gradients get so small that a CPU works ten times slower on them
        torch.set_flush_denormal(True)

    def epochs(self, n: int) -> Iterator[int]:
        """Yield the epochs that are left; after each, write history and checkpoint."""
        first = self._resume()
        with tqdm(total=n, initial=first, desc="train", unit="epoch", disable=not self.progress, leave=False) as bar:
            for self.epoch in range(first, n):
                self.generator = torch_generator(self.seed, "epoch", self.epoch)
                torch.manual_seed(self.generator.initial_seed())  # dropout and the like
                self._terms, started, self._images = [], time.perf_counter(), 0
                yield self.epoch
                self._check_finite(0)
                seconds = time.perf_counter() - started
                means = {name: torch.stack([t[name] for t in self._terms]).mean().item() for name in self._terms[0]}
                speed = {"seconds": round(seconds, 3), "images_per_second": round(self._images / seconds, 1)}
                self.history.append({"epoch": self.epoch, **means, **speed})
                self._save()
                bar.update()
                bar.set_postfix(
                    {name: f"{value:.3g}" for name, value in means.items()} | {"img/s": round(self._images / seconds)}
                )

    def batches(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """Yield the batches of the epoch with a progress bar."""
        yield from tqdm(batches, desc=f"epoch {self.epoch}", unit="batch", disable=not self.progress, leave=False)

    def autocast(self) -> torch.autocast:
        """bfloat16 where it is safe; float32 elsewhere."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def step(self, optimizer: torch.optim.Optimizer, terms: dict[str, torch.Tensor], images: int = 0) -> None:
        """Take one step down the sum of the loss ``terms`` and note them; ``images`` counts into images per second.

        Raises:
            TrainingError: a term is NaN or infinite (looked at every few steps); the last checkpoint stays as it is.
        """
        self.descend(optimizer, terms)
        self.note(terms, images)

    def descend(self, optimizer: torch.optim.Optimizer, terms: dict[str, torch.Tensor]) -> None:
        """Take one step of ``optimizer`` down the sum of the loss ``terms``, without a note.

        For loops with several optimisers: each of them descends, then all terms go into one `note`.
        """
        optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        optimizer.step()

    def note(self, terms: dict[str, torch.Tensor], images: int = 0) -> None:
        """Note the loss ``terms`` of a step in the history."""
        self._terms.append({name: term.detach().float() for name, term in terms.items()})
        self._images += images
        if len(self._terms) % _CHECK_EVERY == 0:
            self._check_finite(len(self._terms) - _CHECK_EVERY)

    def _check_finite(self, start: int) -> None:
        if not self._terms:
            raise TrainingError(f"epoch {self.epoch} had no step: the data set gives no batch")
        recent = torch.stack([torch.stack(list(terms.values())) for terms in self._terms[start:]])
        bad = (~recent.isfinite()).any(1).nonzero()
        if len(bad):
            step = start + int(bad[0])
            values = ", ".join(f"{name} = {value.item():.4g}" for name, value in self._terms[step].items())
            kept = (
                f"the checkpoint of epoch {self.epoch - 1} is kept in {self.folder}"
                if self.epoch and self.folder
                else ""
            )
            raise TrainingError(
                f"the loss is not finite in epoch {self.epoch}, step {step}: {values}; {kept or 'nothing to keep yet'}"
            )

    def _save(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "config": json.dumps(self.config),
            "seed": self.seed,
            "epoch": self.epoch,
            "history": self.history,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        last, new = self.folder / "last.pt", self.folder / "new.pt"
        try:
            torch.save(state, new)
        except (OSError, RuntimeError) as error:
            new.unlink(missing_ok=True)
            raise TrainingError(
                f"cannot write a checkpoint into {self.folder} ({error}); those there are kept"
            ) from error
        if last.exists():
            os.replace(last, self.folder / "previous.pt")
        os.replace(new, last)
        pd.DataFrame(self.history).to_csv(self.folder / "history.csv", index=False)

    def _resume(self) -> int:
        """Load the newest readable checkpoint, if there is one, and return the number of the next epoch."""
        state = None if self.folder is None else self._newest()
        if state is None:
            return 0
        self._check_same(state)
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
                return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises many kinds for a damaged file
                print(
                    f"checkpoint {path} cannot be read ({type(error).__name__}): trying the one before",
                    file=sys.stderr,
                )
        return None

    def _check_same(self, state: dict[str, Any]) -> None:
        then, now = {**json.loads(state["config"]), "seed": state["seed"]}, {**self.config, "seed": self.seed}
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                raise TrainingError(
                    f"{self.folder} holds a run with {name} = {then.get(name)!r}, asked for {now.get(name)!r}: "
                    "use another folder, or delete this one"
                )


def _plain(value: Any) -> Any:
    """A configuration as JSON gives it back."""
    value = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
    return json.loads(json.dumps(value, default=str))
