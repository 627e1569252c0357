"""Every method of METHODS in two processes: each step is that of one process with the same global batch.

Two real processes note what they exchange. Then this one takes the part of each in turn: it computes what that part
gives to an exchange, and goes on with what the exchange made of both. So every step is compared from the same state.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reid_lib.datasets import load
from reid_lib.devices import PRECISION_VARIABLE, processes
from reid_lib.losses import cluster_contrast
from reid_lib.training import pseudo_labels
from reid_lib.training import run as run_module
from reid_lib.training.methods import METHODS
from reid_lib.training.run import Run

CPU = torch.device("cpu")
MORE = {"vpfa": {"n_pairs": 128}}  # than the one batch of smoke, for two processes
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
EXCHANGES = ("mean", "gathered", "from_main")


class Killed(Exception):
    pass


def fit(name: str, folder: Path | None = None, **changes: object) -> Any:
    method, people = METHODS[name], load("synth", identities=16, images_per_camera=1, size=(64, 32))
    config = method.config.for_profile("smoke", **MORE.get(name, {}), **changes)
    return method.train(config, people, folder=folder, device=CPU, progress=False)


def tensors(state: Any, statistics: bool) -> Iterator[torch.Tensor]:
    """Go through all tensors of nested states; batch statistics, which are a process's own, only if asked for."""
    if isinstance(state, torch.Tensor):
        yield state
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    for name, value in items:
        if statistics or not str(name).endswith(STATISTICS):
            yield from tensors(value, statistics)


def digest(state: Any, statistics: bool = False) -> str:
    bytes_of_all = [tensor.detach().contiguous().numpy().tobytes() for tensor in tensors(state, statistics)]
    return hashlib.sha256(b"".join(bytes_of_all)).hexdigest()


def parts(run: Run) -> dict[str, Any]:
    return {name: part.state_dict() for name, part in run.parts.items()}


def numbers(batch: Any) -> list[int]:
    """Return the indices of a batch: of one array, or of several in a tuple."""
    return np.concatenate([np.asarray(part) for part in (batch if isinstance(batch, tuple) else (batch,))]).tolist()


@contextmanager
def noted() -> Iterator[dict[str, list]]:
    """Note what a training does: all batches of each epoch and the process's own, states, and what it exchanges."""
    notes: dict[str, list] = {"epochs": [], "own": [], "states": [], "saved": [], "exchanged": []}
    batches, note, save, update = Run.batches, Run.note, Run._save, cluster_contrast.update_clusters
    exchanges = {name: getattr(Run, name) for name in EXCHANGES}

    def noted_batches(run: Run, given: Any) -> Iterator[Any]:
        notes["epochs"].append([run.epoch, [numbers(batch) for batch in given]])
        notes["own"].append([])
        for batch in batches(run, given):
            notes["own"][-1].append(numbers(batch))
            yield batch

    def noted_note(run: Run, *args: Any, **options: Any) -> None:
        note(run, *args, **options)
        notes["states"].append(digest(parts(run)))

    def noted_save(run: Run) -> None:
        save(run)
        notes["saved"].append(digest(parts(run), statistics=True))

    def noted_update(phi: torch.Tensor, *args: Any) -> None:  # phi is in no part of the run
        update(phi, *args)
        notes["states"].append(digest(phi))

    def noted_exchange(name: str) -> Callable:
        def exchange(run: Run, *values: torch.Tensor) -> torch.Tensor | None:
            made = exchanges[name](run, *values)
            notes["exchanged"] += [[name, x.clone()] for x in (values if made is None else (made,))]
            return made

        return exchange

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "batches", noted_batches)
        patch.setattr(Run, "note", noted_note)
        patch.setattr(Run, "_save", noted_save)
        patch.setattr(cluster_contrast, "update_clusters", noted_update)
        for name in exchanges:
            patch.setattr(Run, name, noted_exchange(name))
        yield notes


@contextmanager
def part_of(rank: int, exchanged: list[list]) -> Iterator[list[torch.Tensor]]:
    """Let this process be one of two, whose exchanges give what they gave; yield what it gives to each of them."""
    given, coming = [], iter(exchanged)

    def exchange(name: str, values: torch.Tensor) -> torch.Tensor:
        then, made = next(coming)
        assert then == name
        given.append(values.detach().clone())
        return made.clone()

    def from_main(run: Run, *values: torch.Tensor) -> None:
        for value in values:
            value.copy_(exchange("from_main", value))

    one = SimpleNamespace(process_index=rank, num_processes=2, wait_for_everyone=lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "processes", lambda: one)
        patch.setattr(Run, "mean", lambda run, values: values.copy_(exchange("mean", values)))
        patch.setattr(Run, "gathered", lambda run, values: exchange("gathered", values))
        patch.setattr(Run, "from_main", from_main)
        yield given
    assert next(coming, None) is None


def killed_and_resumed(folder: Path) -> dict[str, list]:
    """Train CycleGAN, whose memory outlives an epoch; all processes are killed in the second one, and begin again."""
    with noted() as notes:
        note = Run.note

        def kill(run: Run, *args: Any, **options: Any) -> None:
            if (run.epoch, len(notes["own"][-1])) == (1, 2):
                raise Killed
            note(run, *args, **options)

        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            patch.setattr(Run, "note", kill)
            fit("cyclegan", folder, buffer=12)
        fit("cyclegan", folder, buffer=12)
    return notes


def one_process_of_two(folder: Path) -> None:
    """What each process does; what it notes goes into ``rank.pt``."""
    if processes().process_index == 1:  # another card may number the clusters in another way
        found = pseudo_labels.dbscan
        pseudo_labels.dbscan = lambda *args: np.where((labels := found(*args)) < 0, labels, labels.max() - labels)
    notes = {}
    for name in METHODS:
        with noted() as notes[name]:
            fit(name)
    with noted() as notes["undisturbed"]:
        fit("cyclegan", buffer=12)
    notes["resumed"] = killed_and_resumed(folder / "killed")
    torch.save(notes, folder / f"{processes().process_index}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module", autouse=True)
def as_the_two_compute() -> Iterator[None]:
    """In float32 on one thread: sums depend on how many threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PRECISION_VARIABLE, "float32")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, in_two_processes: Callable, as_the_two_compute: None) -> list[dict]:
    folder = tmp_path_factory.mktemp("methods")
    in_two_processes(__file__, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(params=METHODS)
def both(request: pytest.FixtureRequest, found: list[dict]) -> tuple[str, list[dict]]:
    """A method's name, and what each of two processes noted."""
    return request.param, [notes[request.param] for notes in found]


def test_each_step_is_that_of_one_process_with_the_global_batch(both: tuple[str, list[dict]]) -> None:
    name, notes = both
    given = []
    for rank in (0, 1):
        with part_of(rank, notes[rank]["exchanged"]) as own, noted() as again:
            fit(name)
        given.append(own)
        assert again["own"] == notes[rank]["own"]
        assert again["states"] == notes[rank]["states"]
    for (kind, made), main, other in zip(notes[0]["exchanged"], *given, strict=True):
        together = {"mean": lambda a, b: (a + b) / 2, "gathered": lambda a, b: torch.cat([a, b])}
        expected = together[kind](main, other) if kind in together else main
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-6)


def test_what_is_exchanged_and_remembered_is_the_same_in_both(both: tuple[str, list[dict]]) -> None:
    _, notes = both
    assert notes[0]["states"] == notes[1]["states"]
    assert notes[0]["saved"] == notes[1]["saved"]
    assert len(notes[0]["states"]) == len(set(notes[0]["states"])) >= 4
    pairs = zip(notes[0]["exchanged"], notes[1]["exchanged"], strict=True)
    assert all(kind == other and torch.equal(a, b) for (kind, a), (other, b) in pairs)


def test_both_share_the_batches_of_one_process(both: tuple[str, list[dict]]) -> None:
    name, notes = both
    assert notes[0]["epochs"] == notes[1]["epochs"]
    for (_, drawn), *shares in zip(notes[0]["epochs"], notes[0]["own"], notes[1]["own"], strict=True):
        dealt = [batch for pair in zip(*shares, strict=True) for batch in pair]
        assert dealt == drawn[: len(drawn) // 2 * 2]
    with noted() as alone:
        fit(name)
    for one, (epoch, drawn) in zip(alone["epochs"], notes[0]["epochs"], strict=True):
        # pseudo-labels of later epochs come from other networks: one process takes twice as many steps
        assert one == [epoch, drawn] or (epoch and "identities" not in METHODS[name].needs)


def test_a_killed_training_of_two_goes_on_with_the_same_memory(found: list[dict]) -> None:
    for notes in found:
        assert len(notes["resumed"]["states"]) == len(notes["undisturbed"]["states"]) + 1  # that of the killed epoch
        assert notes["resumed"]["saved"] == notes["undisturbed"]["saved"]


if __name__ == "__main__":
    one_process_of_two(Path(sys.argv[1]))
