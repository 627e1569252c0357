"""Training in two processes on the CPU, against the same training written by hand in one."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from reid_lib.datasets import load
from reid_lib.devices import main_says, pick_device, processes
from reid_lib.seeds import torch_generator
from reid_lib.training import starts
from reid_lib.training.run import Run, TrainingError, initialise
from reid_lib.training.starts import StartConfig

CPU, EPOCHS, SEED = torch.device("cpu"), 3, 5
BATCHES = torch.randn(5, 8, 3, generator=torch_generator(0, "batches"))  # two processes leave the fifth out


class Killed(Exception):
    pass


class Network(nn.Module):
    """Batch statistics, which each process has of its own batches; a layer in the network's channels-last layout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv, self.spare = nn.BatchNorm1d(3), nn.Conv2d(3, 2, (1, 2)), nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.stack([self.norm(x), x], 2)[:, :, None]).square().sum((1, 2, 3))


def batch_loss(network: nn.Module, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return network(batch + torch.randn(batch.shape, generator=generator)).mean()


def start() -> tuple[nn.Module, torch.optim.Optimizer]:
    network = initialise(Network, SEED, CPU)
    return network, torch.optim.Adam(network.parameters(), lr=0.05)


def train(folder: Path | None, kill: bool = False, poison: bool = False, uneven: bool = False) -> tuple[dict, list]:
    """Train through `Run`; in epoch 1 all are killed, or one process has a NaN loss, or one more gradient than others.

    The killed run's folder has the checkpoint of epoch 0.
    """
    network, optimizer = start()
    run = Run(folder, {}, SEED, {"network": network, "optimizer": optimizer}, pick_device())
    assert run.progress == (run.rank == 0)
    for epoch in run.epochs(EPOCHS):
        for step, batch in enumerate(run.batches(BATCHES)):
            if kill and (epoch, step) == (1, 1):
                raise Killed
            odd = (epoch, step, run.rank) == (1, 1, 1)
            loss = batch_loss(network, batch, run.generator) * (float("nan") if odd and poison else 1)
            if odd and uneven:
                loss = loss + network.spare.weight.sum()
            run.step(optimizer, {"loss": loss}, images=len(batch))
    return network.state_dict(), run.history


def by_hand() -> tuple[dict, list[float]]:
    """The same with two copies of the network in this process, whose gradients are averaged."""
    (main, main_step), (other, other_step) = start(), start()
    means = []
    for epoch in range(EPOCHS):
        draws, losses = (torch_generator(SEED, "epoch", epoch), torch_generator(SEED, "epoch", epoch, 1)), []
        for pair in BATCHES[:4].split(2):
            for network, batch, draw in zip((main, other), pair, draws, strict=True):
                network.zero_grad()
                losses.append(batch_loss(network, batch, draw))
                losses[-1].backward()
            for p, q in zip(main.parameters(), other.parameters(), strict=True):
                if p.grad is not None:
                    p.grad = q.grad = (p.grad + q.grad) / 2
            main_step.step()
            other_step.step()
        means.append(torch.stack(losses).mean().item())
        for buffer, from_main in zip(other.buffers(), main.buffers(), strict=True):
            buffer.copy_(from_main)
    return copy.deepcopy(main.state_dict()), means


def exchange(rank: int) -> dict[str, torch.Tensor]:
    run, own = Run(None, {}, SEED, {}, CPU, progress=False), torch.tensor([[rank, 7.0]], requires_grad=True)
    gathered, main = run.gathered(own), own.detach().clone()
    run.from_main(main)
    return {"gathered": gathered, "from_main": main}


def start_of_a_crowd(folder: Path) -> dict[str, torch.Tensor]:
    """Make the synthetic start anew, from a small crowd."""
    few = {"p": 4, "pad": 2, "epochs": 1, "warmup": 0, "milestones": (), "steps": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starts, "synth", lambda seed: load("synth", identities=8, images_per_camera=1, size=(32, 24)))
        patch.setattr(starts, "StartConfig", lambda width: StartConfig(width, **few))
        patch.setattr(starts, "cache_folder", lambda: folder)
        return starts.synthetic_start(2)


def one_process_of_two(folder: Path) -> None:
    """What each process does; what it found goes into ``rank.pt``."""
    written, save = [], torch.save
    torch.save = lambda state, path: (written.append(str(path)), save(state, path))
    state, history = train(folder / "whole")
    torch.save = save
    found = {"written": written, "state": state, "history": history, "device": str(pick_device())}
    try:
        train(folder / "killed", kill=True)
    except Killed:
        found["resumed"], _ = train(folder / "killed")
    for name in ("poison", "uneven"):
        try:
            train(folder / name, **{name: True})
        except TrainingError as error:
            found[name] = str(error)
    rank = processes().process_index
    try:
        next(Run(None, {}, SEED, {}, CPU, progress=False).batches(BATCHES[:1]))
    except TrainingError as error:
        found["few"] = str(error)
    found |= exchange(rank) | {"start": start_of_a_crowd(folder), "main_says": main_says(rank == 0)}
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, in_two_processes: Callable) -> Path:
    """Where two processes have run `one_process_of_two`."""
    folder = tmp_path_factory.mktemp("two")
    errors = in_two_processes(__file__, folder)
    assert "epochs" in errors[0]  # the main process alone shows progress
    assert "whole: " not in errors[1]
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict]:
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_two_processes_go_down_the_mean_of_their_gradients(found: list[dict]) -> None:
    weights, losses = by_hand()
    torch.testing.assert_close(found[0]["state"], weights)
    assert [row["loss"] for row in found[0]["history"]] == pytest.approx(losses)
    assert not same(weights, start()[0].state_dict())


def test_both_end_with_the_same_weights_and_statistics(found: list[dict]) -> None:
    assert same(found[0]["state"], found[1]["state"])
    assert [f["device"] for f in found] == ["cpu", "cpu"]


def test_fewer_batches_than_processes_are_refused_in_both(found: list[dict]) -> None:
    expected = "epoch 0 has 1 batch, and each of 2 processes needs one: start fewer processes, or make the batches"
    assert all(f["few"].startswith(expected) for f in found)


def test_exchanges(found: list[dict]) -> None:
    for f in found:
        assert f["gathered"].tolist() == [[0, 7], [1, 7]]
        assert not f["gathered"].requires_grad
        assert f["from_main"].tolist() == [[0, 7]]
        assert f["main_says"] is True


def test_the_synthetic_start_is_trained_by_one_process(found: list[dict], folder: Path) -> None:
    (checkpoint,) = (folder / "starts").glob("*/last.pt")
    assert torch.load(checkpoint, weights_only=True)["processes"] == 1
    assert same(found[0]["start"], found[1]["start"])


def test_the_main_process_alone_writes(found: list[dict], folder: Path) -> None:
    assert [len(f["written"]) for f in found] == [EPOCHS, 0]
    assert sorted(path.name for path in (folder / "whole").iterdir()) == [
        "history.csv",
        "last.pt",
        "lock",
        "previous.pt",
    ]
    state = torch.load(folder / "whole" / "last.pt", weights_only=True)
    assert same(state["parts"]["network"], found[0]["state"])


def test_a_killed_run_of_two_ends_as_an_undisturbed_one(found: list[dict]) -> None:
    assert all(same(f["resumed"], found[0]["state"]) for f in found)


def test_a_loss_that_is_nan_in_one_process_stops_both(found: list[dict]) -> None:
    assert found[0]["poison"] == found[1]["poison"]
    assert "in epoch 1, step 1: loss = nan, gradient_norm = nan; the checkpoint of epoch 0" in found[0]["poison"]


def test_a_gradient_in_one_process_only_stops_both(found: list[dict]) -> None:
    assert found[0]["uneven"] == found[1]["uneven"]
    assert "epoch 1 a parameter had a gradient in some processes only" in found[0]["uneven"]


def test_a_process_on_its_own_loads_what_two_have_finished(
    found: list[dict], folder: Path, capsys: pytest.CaptureFixture
) -> None:
    weights, history = train(folder / "whole")
    assert same(weights, found[0]["state"])
    assert history == found[0]["history"]
    assert "a run of 2 processes, this is one of 1: loaded as it is" in capsys.readouterr().err


def test_a_process_on_its_own_does_not_go_on_with_it(folder: Path, found: list[dict]) -> None:
    with pytest.raises(TrainingError, match=r"a run of 2 processes, this is one of 1: start as many"):
        train(folder / "poison")


def test_a_process_on_its_own_makes_no_group(tmp_path: Path) -> None:
    train(tmp_path)
    assert processes() is None
    assert not torch.distributed.is_initialized()


if __name__ == "__main__":
    one_process_of_two(Path(sys.argv[1]))
