from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from reid_lib.seeds import torch_generator
from reid_lib.training import run as run_module
from reid_lib.training.run import Run, TrainingError, initialise

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Config:
    epochs: int = 4
    rate: float = 0.05


PLAIN = Config()


class Killed(Exception):
    pass


def train(
    folder: Path | None,
    config: Config = PLAIN,
    seed: int = 0,
    kill_at: tuple[int, int] | None = None,
    poison: int = -1,
    steep: int = -1,
):
    """A small regression with dropout and a schedule.

    In the middle of an epoch it may be killed, get a loss that is NaN, or a finite one whose gradient is infinite.
    """
    network = initialise(lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1)), seed, CPU)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    run = Run(
        folder,
        config,
        seed,
        {"network": network, "optimizer": optimizer, "scheduler": scheduler},
        CPU,
        progress=False,
    )
    for epoch in run.epochs(config.epochs):
        for step in run.batches(range(5)):
            if (epoch, step) == kill_at:
                raise Killed
            x = torch.randn(16, 4, generator=run.generator)
            loss = (network(x) - x.sum(1, keepdim=True)).square().mean()
            terms = {"fit": loss * (float("nan") if epoch == poison and step == 3 else 1)}
            if epoch == steep and step == 3:
                terms["root"] = (loss * 0).sqrt()
            elif steep >= 0:
                terms["root"] = loss * 0
            run.step(optimizer, terms, images=16)
        scheduler.step()
    return network.state_dict(), run.history


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kill_at", [(0, 3), (1, 0), (2, 4)])
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path, kill_at: tuple[int, int]) -> None:
    undisturbed, history = train(None)
    with pytest.raises(Killed):
        train(tmp_path, kill_at=kill_at)
    resumed, resumed_history = train(tmp_path)
    assert same(undisturbed, resumed)
    assert [h["fit"] for h in history] == [h["fit"] for h in resumed_history]


def test_a_finished_run_is_loaded_not_repeated(tmp_path: Path) -> None:
    first, history = train(tmp_path)
    stamp = (tmp_path / "last.pt").stat().st_mtime_ns
    again, same_history = train(tmp_path)
    assert same(first, again)
    assert history == same_history
    assert (tmp_path / "last.pt").stat().st_mtime_ns == stamp


def test_seed_decides_the_start_and_the_draws() -> None:
    assert same(train(None)[0], train(None)[0])
    assert not same(train(None)[0], train(None, seed=1)[0])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    undisturbed, _ = train(tmp_path)
    last = tmp_path / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    resumed, _ = train(tmp_path)
    assert same(undisturbed, resumed)
    assert "last.pt cannot be read" in capsys.readouterr().err


def test_a_flipped_bit_among_the_weights_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    undisturbed, _ = train(tmp_path)
    last = tmp_path / "last.pt"
    weights = undisturbed["0.weight"].numpy().tobytes()
    content = bytearray(last.read_bytes())
    content[content.index(weights) + 5] ^= 4
    last.write_bytes(content)
    assert not same(torch.load(last, weights_only=True)["parts"]["network"], undisturbed)  # PyTorch does not look
    (tmp_path / f"last.pt.{'0' * 32}.part").touch()  # of a process that was killed
    resumed, _ = train(tmp_path)
    assert same(undisturbed, resumed)
    assert "last.pt cannot be read (ValueError): trying the one before" in capsys.readouterr().err
    assert list(tmp_path.glob("*.part")) == []


def test_another_file_in_a_checkpoint_s_place_is_none(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "last.pt")
    assert same(train(tmp_path)[0], train(None)[0])
    assert "last.pt cannot be read" in capsys.readouterr().err


def test_two_damaged_checkpoints_start_anew(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    undisturbed, _ = train(tmp_path)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:1000])
    restarted, history = train(tmp_path)
    assert same(undisturbed, restarted)
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    first, second = capsys.readouterr().err.splitlines()
    assert "last.pt cannot be read" in first
    assert "trying the one before" in first
    assert "previous.pt cannot be read" in second
    assert "the run starts anew" in second


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_run_killed_while_it_writes_ends_as_an_undisturbed_one(
    tmp_path: Path, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the last epoch's end, when ``moved`` of its files (history, previous, last) are in place."""
    undisturbed, history = train(None)
    with pytest.raises(Killed):
        train(tmp_path, kill_at=(3, 0))
    left = iter(range(moved))

    def move(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise Killed
        Path(source).rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.os, "replace", move)
        with pytest.raises(Killed):
            train(tmp_path)
    assert (tmp_path / "last.pt").exists() == (moved < 2)
    resumed, resumed_history = train(tmp_path)
    assert same(undisturbed, resumed)
    assert [row["fit"] for row in resumed_history] == [row["fit"] for row in history]
    assert pd.read_csv(tmp_path / "history.csv")["fit"].tolist() == pytest.approx([row["fit"] for row in history])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "last.pt", "lock", "previous.pt"]


def test_history_stays_in_step_with_the_checkpoint_that_is_left(tmp_path: Path) -> None:
    train(tmp_path)
    (tmp_path / "last.pt").write_bytes(b"cut short")
    with pytest.raises(Killed):
        train(tmp_path, kill_at=(3, 2))
    _, history = train(tmp_path)
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == [0, 1, 2, 3]
    assert torch.load(tmp_path / "last.pt", weights_only=True)["history"] == history


def test_another_configuration_is_refused_naming_the_field(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(TrainingError, match=r"rate = 0\.05, asked for 0\.1"):
        train(tmp_path, replace(Config(), rate=0.1))
    with pytest.raises(TrainingError, match="seed = 0, asked for 1"):
        train(tmp_path, seed=1)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"epoch 2, step 3: fit = nan, gradient_norm = nan; the checkpoint of epoch 1"
    ):
        train(tmp_path, poison=2)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1
    assert same(train(tmp_path)[0], train(None)[0])


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is(tmp_path: Path) -> None:
    message = r"epoch 1, step 3: fit = [\d.]+, root = 0, gradient_norm = nan; the checkpoint of epoch 0 is kept"
    with pytest.raises(TrainingError, match=message):
        train(tmp_path, steep=1)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 0


def test_a_loss_that_is_not_finite_stops_within_the_epoch() -> None:
    weight = nn.Parameter(torch.ones(()))
    optimizer, run = torch.optim.SGD([weight]), Run(None, Config(), 0, {}, CPU, progress=False)
    factors = [1.0] * 2 * run_module._CHECK_EVERY
    factors[25] = float("inf")
    for factor in factors[:-1]:
        run.step(optimizer, {"fit": weight * factor})
    with pytest.raises(TrainingError, match=r"step 25: fit = inf, .*; nothing to keep yet"):
        run.step(optimizer, {"fit": weight})


def test_a_full_disk_keeps_the_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        train(tmp_path, kill_at=(2, 0))

    def full(state: dict, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(TrainingError, match="No space left"):
            train(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "last.pt", "lock", "previous.pt"]
    assert same(train(tmp_path)[0], train(None)[0])


def test_history_is_a_csv_of_means_per_epoch(tmp_path: Path) -> None:
    train(tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.columns.tolist() == ["epoch", "fit", "gradient_norm", "seconds", "images_per_second"]
    assert history["epoch"].tolist() == [0, 1, 2, 3]


def test_step_goes_down_the_sum_of_the_terms() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    run = Run(None, Config(), 0, {}, CPU, progress=False)
    run.step(optimizer, {"a": weight[0] * 2, "b": weight.sum()})
    assert weight.tolist() == [-2, 0]


def test_gradient_norm_is_that_of_all_gradients_of_a_step() -> None:
    first, second = nn.Parameter(torch.tensor([1.0, 1.0])), nn.Parameter(torch.tensor(1.0))
    optimizers = [torch.optim.SGD([p], lr=0.1) for p in (first, second)]
    run = Run(None, Config(), 0, {}, CPU, progress=False)
    for _ in run.epochs(2):
        run.descend(optimizers[0], {"a": first[0] * 2, "b": first.sum()})  # a gradient of (3, 1)
        run.descend(optimizers[1], {"c": second * 4})
        run.note({"c": second}, images=1)
        run.step(optimizers[1], {"c": second * 6})
    norms = [row["gradient_norm"] for row in run.history]
    assert norms == pytest.approx([(26**0.5 + 6) / 2] * 2)


def test_descend_leaves_other_optimisers_alone() -> None:
    first, second = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
    run = Run(None, Config(), 0, {}, CPU, progress=False)
    run.descend(torch.optim.SGD([first], lr=0.5), {"product": first * second * 2})
    assert (first.item(), second.item()) == (0, 1)
    assert run.history == []
    run.descend(torch.optim.SGD([second], lr=0.5), {"sum": second})  # its gradient of before is cleared
    assert second.item() == 0.5


def test_an_epoch_without_steps_is_an_error() -> None:
    with pytest.raises(TrainingError, match="had no step"):
        list(Run(None, Config(), 0, {}, CPU, progress=False).epochs(1))


def test_descend_returns_the_norm_and_reaches_no_other_player() -> None:
    generator, judge = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.tensor(2.0))
    run = Run(None, Config(), 0, {}, CPU, progress=False)
    norm = run.descend(torch.optim.SGD([generator], lr=0.5), {"fooled": (judge * generator).sum()})
    assert norm.item() == pytest.approx(8**0.5)
    assert judge.grad is None
    assert generator.tolist() == [2.0, 3.0]


def test_initialise_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    initialise(lambda: nn.Linear(3, 3), 0, CPU)
    assert torch.equal(torch.rand(1), expected)


def test_random_draws_come_from_seed_and_epoch() -> None:
    run = Run(None, Config(), 7, {}, CPU, progress=False)
    for epoch in run.epochs(2):
        assert run.generator.initial_seed() == torch_generator(7, "epoch", epoch).initial_seed()
        run.note({"x": torch.zeros(())})
