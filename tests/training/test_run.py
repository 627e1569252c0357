import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from reid_lib.seeds import torch_generator
from reid_lib.training import run as run_module
from reid_lib.training.run import Run, TrainingError, initialise, run_folder

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Config:
    epochs: int = 4
    rate: float = 0.05


class Killed(Exception):
    pass


def train(
    folder: Path | None,
    config: Config = Config(),
    seed: int = 0,
    kill_at: tuple[int, int] | None = None,
    poison: int = -1,
):
    """A small regression with dropout and a schedule; may be killed, or poisoned, in the middle of an epoch."""
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
            run.step(optimizer, {"fit": loss * (float("nan") if epoch == poison and step == 3 else 1)}, images=16)
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


def test_another_configuration_is_refused_naming_the_field(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(TrainingError, match=r"rate = 0\.05, asked for 0\.1"):
        train(tmp_path, replace(Config(), rate=0.1))
    with pytest.raises(TrainingError, match="seed = 0, asked for 1"):
        train(tmp_path, seed=1)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"epoch 2, step 3: fit = nan; the checkpoint of epoch 1 is kept"):
        train(tmp_path, poison=2)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1
    assert same(train(tmp_path)[0], train(None)[0])


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "last.pt", "previous.pt"]
    assert same(train(tmp_path)[0], train(None)[0])


def test_history_is_a_csv_of_means_per_epoch(tmp_path: Path) -> None:
    train(tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.columns.tolist() == ["epoch", "fit", "seconds", "images_per_second"]
    assert history["epoch"].tolist() == [0, 1, 2, 3]


def test_step_goes_down_the_sum_of_the_terms() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    run = Run(None, Config(), 0, {}, CPU, progress=False)
    run.step(optimizer, {"a": weight[0] * 2, "b": weight.sum()})
    assert weight.tolist() == [-2, 0]


def test_two_optimisers_descend_and_one_note_has_all_terms() -> None:
    weights = [nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(2.0))]
    optimizers = [torch.optim.SGD([weight], lr=1.0) for weight in weights]
    run = Run(None, Config(), 0, {}, CPU, progress=False)
    for _ in run.epochs(1):
        terms = {"a": 2 * weights[0], "b": 1 * weights[1]}
        for optimizer, (name, term) in zip(optimizers, terms.items(), strict=True):
            run.descend(optimizer, {name: term, "again": term})
        run.note(terms, images=3)
    assert [weight.item() for weight in weights] == [-3, 0]
    assert [run.history[0][name] for name in ("a", "b")] == [2, 2]
    assert len(run.history) == 1


def test_an_epoch_without_steps_is_an_error() -> None:
    with pytest.raises(TrainingError, match="had no step"):
        list(Run(None, Config(), 0, {}, CPU, progress=False).epochs(1))


def test_folder_depends_on_what_decides_the_run(tmp_path: Path) -> None:
    module = "reid_lib.training.baseline"
    folder = run_folder(tmp_path, "x", module, Config(), "data", 0)
    assert folder == run_folder(tmp_path, "x", module, Config(), "data", 0)
    assert folder != run_folder(tmp_path, "x", module, Config(rate=0.1), "data", 0)
    assert folder != run_folder(tmp_path, "x", module, Config(), "other data", 0)
    assert folder != run_folder(tmp_path, "x", "reid_lib.training.run", Config(), "data", 0)


def test_code_digest_covers_what_a_loop_imports_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(
        Path(run_module.__file__).parents[1], tmp_path / "reid_lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(run_module, "__file__", str(tmp_path / "reid_lib" / "training" / "run.py"))
    digest = run_module.code_digest("reid_lib.training.baseline")
    assert digest == run_module.code_digest("reid_lib.training.baseline")
    for unused in ("training/another_paper.py", "reporting/results.py", "cli.py"):
        (tmp_path / "reid_lib" / unused).write_text("changed = True\n")
        assert run_module.code_digest("reid_lib.training.baseline") == digest
    for used in ("seeds.py", "datasets/resolution.py", "networks/tiny.py", "networks/resnet.py", "training/run.py"):
        path = tmp_path / "reid_lib" / used
        before = path.read_text()
        path.write_text(before + "# changed\n")
        assert run_module.code_digest("reid_lib.training.baseline") != digest, used
        path.write_text(before)
    assert run_module.code_digest("reid_lib.training.baseline") == digest


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
