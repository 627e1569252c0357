"""VPFA's loop against Algorithm 1 written out slowly, its settings, and what it does with random numbers."""

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

import reid_lib
from reid_lib.evaluation.matchers import PannedMatcher
from reid_lib.losses.vpfa import sample_pairs
from reid_lib.networks.inputs import normalise
from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training.run import TrainingError, initialise
from reid_lib.training.vpfa import VectorPanning, train
from reid_lib.training.yardsticks import MeanShift

Estimator = Callable[..., VectorPanning]


def test_algorithm_1_against_a_slow_float64_version(data: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity means, sampling, Adam with L2 decay, halving of the learning rate: plain loops, same order of pairs."""
    monkeypatch.setattr(
        "reid_lib.training.run.Run.autocast", lambda self: torch.autocast("cpu", dtype=torch.bfloat16, enabled=False)
    )
    settings = {"hidden": 5, "blocks": 2, "n_pairs": 10, "epochs": 4, "batch_size": 4, "weight_decay": 0.01, "seed": 3}
    settings |= {"learning_rate": 0.01, "init_std": 0.3, "device": "cpu", "progress": False}
    panning = VectorPanning(**settings).fit(data.lr, data.hr, data.pids)

    module = initialise(lambda: VectorPanningModule(8, 5, 2, init_std=0.3), 3, torch.device("cpu")).double()
    lr, hr = (torch.from_numpy(f).double() for f in (data.lr, data.hr))
    means = [torch.stack([f[data.pids == p].mean(0) for p in range(12)]) for f in (lr, hr)]
    rows = sample_pairs(12, 10, torch_generator(3, "pairs", 0))
    lr, hr = (m[rows] for m in means)
    state = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in module.parameters()}
    t = 0
    for epoch in range(4):
        rate = 0.01 * 0.5**epoch  # epochs // 4 = 1
        for batch in torch.randperm(10, generator=torch_generator(3, "epoch", epoch)).split(4):
            t += 1
            loss = ((lr[batch] + module.gate(lr[batch]) - hr[batch]) ** 2).sum() / (len(batch) * 8)  # Eq. 8
            gradients = torch.autograd.grad(loss, list(module.parameters()))
            for p, gradient in zip(module.parameters(), gradients, strict=True):
                gradient = gradient + 0.01 * p.data
                m, v = state[p]
                m.mul_(0.9).add_(0.1 * gradient)
                v.mul_(0.999).add_(0.001 * gradient**2)
                p.data -= rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    expected = module(torch.from_numpy(data.lr).double()).detach().numpy()
    np.testing.assert_allclose(panning.transform(data.lr), expected, atol=2e-5)


def test_the_seed_decides_everything(data: SimpleNamespace, small: Estimator) -> None:
    def panned(**changes: object) -> np.ndarray:
        return small(VectorPanning, **changes).fit(data.lr, data.hr, data.pids).transform(data.lr)

    np.testing.assert_array_equal(panned(), panned())
    assert not np.array_equal(panned(), panned(seed=1))


def test_the_callers_own_draws_go_on(data: SimpleNamespace, small: Estimator) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    small(VectorPanning).fit(data.lr, data.hr, data.pids)
    assert torch.equal(torch.rand(3), expected)


def test_the_learning_rate_is_halved_every_30_of_120_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    settings = VectorPanning().get_params()
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")
    module = VectorPanningModule(4, hidden=4)
    history = train(module, torch.randn(8, 4), torch.randn(8, 4), **{n: settings[n] for n in names}, progress=False)
    assert rates == [2e-4 * 0.5 ** (epoch // 30) for epoch in range(120)]
    assert len(history) == 120
    assert {"epoch", "loss", "seconds"} <= history[0].keys()


def test_the_defaults_are_the_papers() -> None:
    paper = {"pairing": "identity_mean", "per_rate": False, "hidden": 2048, "blocks": 3, "residual": True}
    paper |= {"n_pairs": 5000, "epochs": 120, "batch_size": 32, "learning_rate": 2e-4, "weight_decay": 1e-5}
    assert paper.items() <= VectorPanning().get_params().items()


def test_profiles_train_for_fewer_steps() -> None:
    paper = VectorPanning().get_params()
    assert VectorPanning.for_profile("paper").get_params() == paper
    sizes, steps = {"hidden", "n_pairs", "epochs"}, []
    for profile in PROFILES:
        found = VectorPanning.for_profile(profile).get_params()
        assert {name for name in paper if found[name] != paper[name]} <= sizes
        steps.append(found["n_pairs"] * found["epochs"])
    assert steps[0] < steps[1] < steps[2]
    changed = VectorPanning.for_profile("smoke", hidden=7, per_rate=True).get_params()
    assert changed == VectorPanning.for_profile("smoke").get_params() | {"hidden": 7, "per_rate": True}
    with pytest.raises(ValueError, match="unknown profile 'small': expected one of smoke, demo, paper"):
        VectorPanning.for_profile("small")


def test_a_progress_bar_is_shown(data: SimpleNamespace, capfd: pytest.CaptureFixture, small: Estimator) -> None:
    small(VectorPanning, progress=True).fit(data.lr, data.hr, data.pids)
    assert "epochs" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, found 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_bad_parameters(changes: dict, message: str, data: SimpleNamespace, small: Estimator) -> None:
    with pytest.raises(ValueError, match=message):
        small(VectorPanning, **changes).fit(data.lr, data.hr, data.pids)


def test_a_loss_that_explodes_stops_with_the_step(data: SimpleNamespace, small: Estimator) -> None:
    panning = small(VectorPanning)
    with pytest.raises(TrainingError, match=r"not finite in epoch 0"):
        panning.fit(data.lr * 1e25, data.hr * 1e25, data.pids)
    with pytest.raises(NotFittedError):
        panning.transform(data.lr)


def test_only_the_query_is_panned() -> None:
    weight = torch.randn(8, 3, generator=torch_generator(0, "embed"))
    images = torch.randint(0, 256, (4, 3, 6, 4), dtype=torch.uint8, generator=torch_generator(0, "images"))
    embed = lambda x: x.mean((2, 3)) @ weight.T  # noqa: E731
    features = torch.randn(8, 8)
    shift = MeanShift(pairing="image", device="cpu").fit(features, features + 1)
    matcher = PannedMatcher(embed, (6, 4), torch.device("cpu"), shift, split=0)
    gallery = matcher.embed_gallery(images)
    query = matcher.embed_query(images, torch.full((4,), 2))
    raw = embed(normalise(images))
    torch.testing.assert_close(gallery, torch.nn.functional.normalize(raw))
    torch.testing.assert_close(query, torch.nn.functional.normalize(raw + 1))
    assert matcher.distance(query, gallery).shape == (4, 4)
    assert matcher.split == 0


def test_reid_lib_stays_light_and_has_the_estimator() -> None:
    assert reid_lib.VectorPanning is VectorPanning
    with pytest.raises(AttributeError, match="has no attribute 'Panning'"):
        _ = reid_lib.Panning
    code = "import sys, reid_lib; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
