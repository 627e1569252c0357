"""CycleGAN's loop: equations on real networks, unpaired batches, the buffer, resume, genuine LR, bad input."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib.datasets import load
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.losses.adversarial import least_squares_generator_loss
from reid_lib.networks.cyclegan import CycleGAN
from reid_lib.seeds import torch_generator
from reid_lib.training import cyclegan, training_set
from reid_lib.training.cyclegan import (
    CycleGANConfig,
    CycleGANRecoverer,
    ImageBuffer,
    generator_terms,
    learning_rate_factor,
    to_range,
    train,
    unpaired_batches,
)
from reid_lib.training.run import Run, TrainingError, initialise

CPU = torch.device("cpu")
# a buffer of five is full in the first epoch of four steps
SMOKE = CycleGANConfig.for_profile("smoke", width=2, batch=4, buffer=5, epochs=3)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=8, images_per_camera=1, size=(32, 24))


def pictures(n: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 32, 24), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def same(a: CycleGANRecoverer, b: CycleGANRecoverer) -> bool:
    then, now = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(then[name], now[name]) for name in then | now) and torch.equal(
        a.recover(pictures()), b.recover(pictures())
    )


def watch(patch: pytest.MonkeyPatch, look: Callable) -> None:
    """Call ``look(network, lr, hr)`` before every step."""
    terms = cyclegan.generator_terms

    def watched(network, config, lr, hr):
        look(network, lr, hr)
        return terms(network, config, lr, hr)

    patch.setattr(cyclegan, "generator_terms", watched)


def test_defaults_are_the_papers_and_profiles_change_sizes_only() -> None:
    paper = CycleGANConfig.for_profile("paper")
    assert paper == CycleGANConfig()
    weights = (paper.cycle_weight, paper.cycle_weight * paper.identity_weight)
    assert (*weights, paper.batch, paper.buffer, paper.learning_rate) == (10, 5, 1, 50, 2e-4)
    sizes = {"width", "blocks", "batch", "learning_rate", "epochs", "constant", "steps"}
    for profile in ("smoke", "demo"):
        config = CycleGANConfig.for_profile(profile)
        assert {f.name for f in fields(config) if getattr(config, f.name) != getattr(paper, f.name)} <= sizes
    with pytest.raises(ValueError, match="unknown profile 'small': expected one of smoke, demo, paper"):
        CycleGANConfig.for_profile("small")


def test_the_learning_rate_falls_to_zero() -> None:
    paper = CycleGANConfig()
    factors = [learning_rate_factor(paper, epoch) for epoch in (0, 50, 99, 100, 150, 199, 200)]
    assert factors == pytest.approx([1, 1, 1, 100 / 101, 50 / 101, 1 / 101, 0])
    assert [learning_rate_factor(CycleGANConfig(epochs=2, constant=2), epoch) for epoch in (0, 1)] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": ()}, "rates must be integers >= 2"),
        ({"rates": (1, 2)}, r"LR images alone; found \(1, 2\)"),
        ({"width": 0}, "width, buffer, batch and steps must be at least 1"),
        ({"buffer": 0}, "width, buffer, batch and steps must be at least 1"),
        ({"batch": 0}, "width, buffer, batch and steps must be at least 1"),
        ({"steps": 0}, "width, buffer, batch and steps must be at least 1"),
        ({"blocks": -1}, "blocks at least 0"),
        ({"cycle_weight": -1.0}, "weights must be >= 0, found -1.0 and 0.5"),
        ({"constant": 4}, "constant must lie between 0 and epochs=3, found 4"),
    ],
)
def test_values_out_of_place_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMOKE, **changes)


@pytest.mark.parametrize("size", [(32, 22), (20, 24)])
def test_image_sizes_that_are_refused(size: tuple[int, int]) -> None:
    dataset = load("synth", identities=8, images_per_camera=1, size=size)
    with pytest.raises(ValueError, match=rf"multiples of 4 and at least 24 pixels, synth has \({size[0]}, {size[1]}\)"):
        train(SMOKE, dataset, progress=False)


def test_the_generators_loss_is_the_papers() -> None:
    config = replace(SMOKE, cycle_weight=7.0, identity_weight=0.3)
    net = initialise(lambda: CycleGAN(2, 1), 0, CPU).double()
    x, y = (torch.rand(2, 3, 32, 24, generator=torch_generator(0, n)).double() * 2 - 1 for n in "xy")
    terms, fake_hr, fake_lr = generator_terms(net, config, x, y)
    g, f = net.g, net.f
    assert torch.equal(fake_hr, g(x))
    assert torch.equal(fake_lr, f(y))
    adversarial = (net.d_hr(g(x)) - 1).square().mean() + (net.d_lr(f(y)) - 1).square().mean()
    cycle = (f(g(x)) - x).abs().mean() + (g(f(y)) - y).abs().mean()
    identity = (g(y) - y).abs().mean() + (f(x) - x).abs().mean()
    assert terms["adversarial"].item() == pytest.approx(adversarial.item())
    assert terms["cycle"].item() == pytest.approx(7 * cycle.item())
    assert terms["identity"].item() == pytest.approx(7 * 0.3 * identity.item())


def test_each_discriminator_judges_its_own_images(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made, judged = [], []
    terms_of_g, steps_of_d = cyclegan.generator_terms, cyclegan.discriminators

    def generators(network, config, lr, hr):
        terms, fake_hr, fake_lr = terms_of_g(network, config, lr, hr)
        made.append((lr, hr, fake_lr.detach(), fake_hr.detach()))
        return terms, fake_hr, fake_lr

    def discriminators(run, network, optimizers, hr, lr):
        slow = {
            name: ((judge(real) - 1).square().mean() + judge(fake).square().mean()).item() / 2
            for name, judge, (real, fake) in (("loss_d_hr", network.d_hr, hr), ("loss_d_lr", network.d_lr, lr))
        }
        noted = steps_of_d(run, network, optimizers, hr, lr)
        for name, loss in slow.items():
            assert noted[name].item() == pytest.approx(loss)
        judged.append((lr[0], hr[0], lr[1], hr[1]))
        return noted

    monkeypatch.setattr(cyclegan, "generator_terms", generators)
    monkeypatch.setattr(cyclegan, "discriminators", discriminators)
    train(replace(SMOKE, epochs=1, constant=1, buffer=16), people, progress=False)  # the buffers never fill
    assert len(judged) == 4
    assert all(torch.equal(a, b) for step in zip(made, judged, strict=True) for a, b in zip(*step, strict=True))


class Images:
    """As many HR and genuine LR images as are asked for."""

    def __init__(self, hr: int, lr: int) -> None:
        self.genuine = torch.arange(hr + lr) >= hr


def test_batches_are_unpaired_and_show_every_image() -> None:
    data, config = Images(12, 5), replace(SMOKE, batch=4)
    batches = unpaired_batches(data, config, seed=0, epoch=0)
    assert [(len(a), len(b)) for a, b in batches] == [(4, 4)] * 3
    shown_hr, shown_lr = (np.concatenate([pair[n] for pair in batches]) for n in (0, 1))
    assert sorted(shown_hr) == list(range(12))
    assert set(shown_lr) == set(range(12, 17))
    assert set(np.unique(shown_lr, return_counts=True)[1]) <= {2, 3}
    again, later = unpaired_batches(data, config, 0, 0), unpaired_batches(data, config, 0, 1)
    assert all(np.array_equal(a, b) for x, y in zip(batches, again, strict=True) for a, b in zip(x, y, strict=True))
    assert not np.array_equal(np.concatenate([a for a, _ in later]), shown_hr)
    same_set = unpaired_batches(Images(12, 0), replace(SMOKE, batch=12), 0, 0)
    assert len(same_set) == 1
    assert sorted(same_set[0][0]) == sorted(same_set[0][1])
    assert not np.array_equal(*same_set[0])
    assert [len(a) for a, _ in unpaired_batches(data, replace(SMOKE, batch=50), 0, 0)] == [50]  # fewer than a batch
    assert [len(a) for a, _ in unpaired_batches(data, replace(config, steps=5), 0, 0)] == [4] * 5
    assert [len(a) for a, _ in unpaired_batches(data, replace(config, steps=2), 0, 0)] == [4] * 2


def test_the_buffer_by_hand() -> None:
    buffer, run = ImageBuffer(3, CPU), Run(None, {}, 0, {}, CPU, progress=False)
    images = torch.arange(200.0).view(200, 1, 1, 1)
    assert torch.equal(buffer.exchange(images[:3], run), images[:3])
    shown = buffer.exchange(images[3:], run).flatten()
    old = shown < torch.arange(3, 200)
    assert 70 < old.sum() < 127  # half of 197
    assert len(set(shown.tolist())) == 197  # whatever was given out left the buffer
    left = {image.item() for image in buffer.images}
    assert left | set(shown.tolist()) == set(range(200))
    other = ImageBuffer(3, CPU)
    other.load_state_dict(buffer.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.images, buffer.images, strict=True))


def test_images_reach_the_networks_sharp_and_blurred(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    watch(monkeypatch, lambda network, lr, hr: seen.append((lr, hr)))
    train(replace(SMOKE, rates=(3,), epochs=1, constant=1), people, progress=False)
    truth = open_store(people).batch(people.part("train", 0).index.to_numpy())

    def known(images: torch.Tensor) -> set[bytes]:
        return {image.contiguous().numpy().tobytes() for image in torch.cat([images, images.flip(3)])}

    for shown, images in ((1, truth), (0, degrade(truth, 3))):
        found = torch.cat([pair[shown] for pair in seen])
        assert found.abs().max() <= 1
        assert len(found) == len(truth) == 16
        assert known(((found + 1) * 127.5).round().to(torch.uint8)) == known(images)  # each image, some flipped


def test_genuine_lr_images_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load("synth-caviar", identities=8, images_per_camera=2, size=(32, 24))
    rows = dataset.part("train", 0)
    far, seen = rows["camid"] == dataset.genuine_lr_camid, []
    watch(monkeypatch, lambda network, lr, hr: seen.append((lr, hr)))
    train(replace(SMOKE, epochs=1, constant=1), dataset, progress=False)
    for shown, chosen in ((0, far), (1, ~far)):
        images = open_store(dataset).batch(rows.index[chosen].to_numpy())
        images = torch.cat([images, images.flip(3)])
        for found in torch.cat([pair[shown] for pair in seen]):
            assert (to_range(images) == found).flatten(1).all(1).any()


def kill_and_resume(people: ReIDDataset, folder: Path, step: int) -> CycleGANRecoverer:
    with pytest.MonkeyPatch.context() as patch:
        steps = iter(range(step))

        def look(*_: object) -> None:
            if next(steps, None) is None:
                raise Killed

        watch(patch, look)
        with pytest.raises(Killed):
            train(SMOKE, people, folder=folder, progress=False)
    return train(SMOKE, people, folder=folder, progress=False)


def test_a_killed_training_ends_as_an_undisturbed_one(people: ReIDDataset, tmp_path: Path) -> None:
    undisturbed = train(SMOKE, people, progress=False)
    for step in (2, 6, 11):  # in the middle of each epoch
        assert same(kill_and_resume(people, tmp_path / str(step), step), undisturbed)


def test_a_resume_needs_the_buffer(people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = train(SMOKE, people, progress=False)
    monkeypatch.setattr(ImageBuffer, "load_state_dict", lambda self, state: None)
    assert not same(kill_and_resume(people, tmp_path, 6), undisturbed)


def test_a_finished_run_is_used_again(people: ReIDDataset, tmp_path: Path) -> None:
    first = train(SMOKE, people, folder=tmp_path, progress=False)
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "last.pt").stat().st_mtime_ns
    assert same(train(SMOKE, people, folder=tmp_path, progress=False), first)
    assert (folder / "last.pt").stat().st_mtime_ns == stamp
    history = pd.read_csv(folder / "history.csv")
    judged = [f"{what}_{name}" for name in ("d_hr", "d_lr") for what in ("loss", "accuracy", "gradient")]
    terms = ["adversarial", "cycle", "identity", *judged, "gradient_norm"]
    assert history.columns.tolist() == ["epoch", *terms, "seconds", "images_per_second"]
    train(replace(SMOKE, cycle_weight=5.0), people, folder=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_resume_under_another_configuration_names_the_field(
    people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_set, "keyed", lambda parent, *_: parent)
    train(SMOKE, people, folder=tmp_path, progress=False)
    with pytest.raises(TrainingError, match=r"holds a run with identity_weight = 0\.5, asked for 0\.0"):
        train(replace(SMOKE, identity_weight=0.0), people, folder=tmp_path, progress=False)


def test_a_loss_that_is_not_finite_stops_the_training(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = least_squares_generator_loss
    monkeypatch.setattr(cyclegan, "least_squares_generator_loss", lambda fake: inside(fake) * torch.nan)
    with pytest.raises(TrainingError, match=r"not finite in epoch 0, step 0: adversarial = nan"):
        train(SMOKE, people, progress=False)


def test_generators_and_discriminators_learn_in_turn(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step moves all four networks, and the discriminators only down their own loss."""
    seen = []
    watch(monkeypatch, lambda net, *_: seen.append({n: p.detach().clone() for n, p in net.named_parameters()}))
    train(replace(SMOKE, epochs=1, constant=1), people, progress=False)
    for part in ("g.", "f.", "d_hr.", "d_lr."):
        assert any(not torch.equal(seen[0][n], seen[1][n]) for n in seen[0] if n.startswith(part))
    loss = "least_squares_discriminator_loss"
    monkeypatch.setattr(cyclegan, loss, lambda real, fake: 0 * (real.mean() + fake.mean()))
    still = train(replace(SMOKE, epochs=1, constant=1), people, progress=False).network
    for name, parameter in still.named_parameters():
        assert torch.equal(parameter, seen[0][name]) == name.startswith("d_"), name


def test_training_learns_to_return_what_it_is_shown(people: ReIDDataset, tmp_path: Path) -> None:
    config = replace(SMOKE, width=8, epochs=15, constant=15, learning_rate=2e-3)
    train(config, people, folder=tmp_path, progress=False)
    history = pd.read_csv(next(tmp_path.glob("*/history.csv")))
    assert history["cycle"].iloc[-1] < 0.6 * history["cycle"].iloc[0]
    assert history["identity"].iloc[-1] < 0.6 * history["identity"].iloc[0]


def test_recovered_images_are_the_generators(people: ReIDDataset) -> None:
    recoverer = train(SMOKE, people, split=0, progress=False)
    images = pictures(3)
    with torch.no_grad():
        slow = recoverer.network.g(images.float() / 255 * 2 - 1)
    slow = ((slow.double() + 1) / 2 * 255).round()
    recovered = recoverer.recover(images)
    assert (recovered.dtype, recovered.shape, recoverer.split) == (torch.uint8, images.shape, 0)
    assert (recovered - slow).abs().max() <= 1
    assert torch.equal(recoverer.recover(images[:1]), recovered[:1])  # no image sees another
