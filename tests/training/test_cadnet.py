"""CAD-Net's loop: who learns from what, the variants, resume, the history of the two games, and the Matcher."""

import copy
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from reid_lib.datasets import load, mlr
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.ranking import evaluate
from reid_lib.losses import cadnet as losses_of_cadnet
from reid_lib.losses.adversarial import adversarial_loss
from reid_lib.networks.cadnet import CADNet
from reid_lib.networks.inputs import normalise, to_image_range
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training import cadnet
from reid_lib.training.adversarial import discriminator_report
from reid_lib.training.cadnet import (
    Batch,
    CADNetConfig,
    CADNetMatcher,
    build_network,
    build_optimizers,
    discriminators,
    draw_indices,
    generator_terms,
    iterate,
    train,
    training_batch,
)
from reid_lib.training.run import Run, TrainingError, initialise
from reid_lib.training.training_set import TrainingSet

CPU = torch.device("cpu")
SIZE = (64, 32)
SMOKE = CADNetConfig.for_profile("smoke", recipe="paper")
FIELD = CADNetConfig.for_profile("smoke")
TERMS = ["identity", "triplet", "adversarial_f", "reconstruction", "adversarial_i"]
GAMES = [f"{what}_{name}" for name in ("d_f", "d_i") for what in ("loss", "accuracy", "gradient")]
WITHOUT = {
    "adversarial_f": {"lambda_adversarial_f": 0.0},
    "reconstruction": {"lambda_reconstruction": 0.0},
    "adversarial_i": {"lambda_adversarial_i": 0.0},
    "classification": {"classify": False},
}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=16, images_per_camera=2, size=SIZE)


@pytest.fixture(scope="module")
def matcher(people: ReIDDataset) -> CADNetMatcher:
    return train(SMOKE, people, progress=False)


def pictures(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *SIZE), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def start(config: CADNetConfig = SMOKE, identities: int = 8) -> CADNet:
    return initialise(lambda: build_network(config, SIZE, identities), 0, CPU)


def batch(n: int = 4) -> Batch:
    """A batch of two identities; three of its four LR images have a true one."""
    x = normalise(pictures(2 * n)).contiguous(memory_format=torch.channels_last)
    paired = torch.arange(2 * n - 1)
    return Batch(x, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), paired, x.flip(0)[paired])


def one_step(config: CADNetConfig) -> tuple[CADNet, CADNet, dict[str, torch.Tensor]]:
    """The network before and after one iteration, and its terms."""
    network = start(config)
    before = copy.deepcopy(network)
    run = Run(None, config, 0, {}, CPU, progress=False)
    terms = iterate(run, network, config, build_optimizers(config, network)[0], batch())
    return before, network, terms


def changed(before: nn.Module, after: nn.Module) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def same(a: CADNetMatcher, b: CADNetMatcher) -> bool:
    then, now = a.network.state_dict(), b.network.state_dict()
    return then.keys() == now.keys() and all(torch.equal(then[name], now[name]) for name in then)


def test_defaults_are_the_papers_settings_and_profiles_change_sizes_only() -> None:
    paper = CADNetConfig.for_profile("paper")
    assert paper == CADNetConfig()
    assert (2 * paper.p * paper.k, paper.margin, paper.rates, paper.input_size) == (32, 2.0, (2, 3, 4), (256, 128))
    assert set(paper.lambdas.values()) == {1.0}
    generator, *against = build_optimizers(paper, start())[0].values()
    assert [generator.defaults[name] for name in ("lr", "momentum", "weight_decay")] == [1e-3, 0.9, 5e-4]
    for discriminator in against:
        assert [discriminator.defaults[name] for name in ("lr", "momentum", "weight_decay")] == [1e-4, 0, 0]
    assert len(against) == 2
    sizes = {"network", "width", "weights", "discriminator_width", "p", "pad", "epochs", "steps", "input_size"}
    sizes |= {"learning_rate", "discriminator_learning_rate"}
    for profile in PROFILES:
        config = CADNetConfig.for_profile(profile, recipe="paper")
        assert {f.name for f in fields(config) if getattr(config, f.name) != getattr(paper, f.name)} <= sizes
    assert CADNetConfig.for_profile("smoke", rates=(2,), features="g") == replace(FIELD, rates=(2,), features="g")
    assert CADNetConfig.for_profile("paper", recipe="field") == paper


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": ()}, "rates must be different integers >= 2"),
        ({"rates": (1,)}, r"half of a batch is LR, and rate 1 is HR; found \(1,\)"),
        ({"rates": (1, 2)}, "rates must be different integers >= 2"),
        ({"rates": (2, 2)}, "rates must be different integers >= 2"),
        ({"features": "v"}, "features must be one of both, f, g, found 'v'"),
        ({"adversarial": "wasserstein"}, "adversarial must be one of non_saturating, minimax, found 'wasserstein'"),
        ({"lambda_reconstruction": -1.0}, "the lambdas must be >= 0, found .*'reconstruction': -1.0"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of adam, sgd, found 'rmsprop'"),
        ({"p": 1}, "p and k must be at least 2, .* found p=1 and k=4"),
        ({"k": 1}, "found p=2 and k=1"),
        ({"classify": False, "lambda_reconstruction": 0, "lambda_adversarial_i": 0}, "nothing would train the dec"),
    ],
)
def test_values_out_of_place_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CADNetConfig.for_profile("smoke", **changes)


def test_what_cannot_be_trained_is_refused(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="unknown profile 'small': expected one of smoke, demo, paper"):
        CADNetConfig.for_profile("small")
    with pytest.raises(ValueError, match="found network 'vgg'"):
        train(replace(SMOKE, network="vgg"), people, progress=False)
    with pytest.raises(ValueError, match="multiples of 16, found 64x24: choose another input_size"):
        train(replace(SMOKE, input_size=(64, 24)), people, progress=False)
    with pytest.raises(ValueError, match="p=9 identities with k=4 images each cannot be drawn from 8"):
        train(replace(SMOKE, p=9), people, progress=False)


def test_resnet50_keeps_its_published_last_stride(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        network = build_network(replace(CADNetConfig(), weights="none"), (256, 128), 10)
        assert network.E.feature_map(torch.empty(1, 3, 256, 128)).shape == (1, 2048, 8, 4)
    given, tiny = [], start().E
    monkeypatch.setattr(cadnet, "build_backbone", lambda _, __, weights, *___, **____: given.append(weights) or tiny)
    build_network(CADNetConfig(), SIZE, 10)
    assert given == ["imagenet", "imagenet"]


class Images:
    """20 identities with 8 images each."""

    pids, genuine = np.repeat(np.arange(20), 8), torch.zeros(160, dtype=torch.bool)


def test_halves_are_drawn_independently() -> None:
    data, pids, config = Images(), Images.pids, replace(SMOKE, p=4, k=4, steps=None)
    halves = draw_indices(data, config, seed=0, epoch=0)
    assert len(halves) == 10
    for hr, lr in halves:
        assert [len(set(pids[half])) for half in (hr, lr)] == [4, 4]
        assert all((pids[half].reshape(4, 4) == pids[half].reshape(4, 4)[:, :1]).all() for half in (hr, lr))
        assert set(hr) != set(lr)
    shared = np.mean([len(set(pids[hr]) & set(pids[lr])) for hr, lr in halves])
    assert shared < 2.5  # 0.8 of 4 by chance
    few = draw_indices(data, replace(config, steps=2), seed=0, epoch=0)
    assert [hr.tolist() for hr, _ in few] == [hr.tolist() for hr, _ in halves[:2]]
    again = draw_indices(data, config, seed=0, epoch=1)
    assert not all(
        (a == b).all() for one, two in zip(halves, again, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_a_batch_is_hr_then_lr_with_its_true_images(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data, hr, lr = TrainingSet(people, device=CPU), np.array([0, 1, 2, 3]), np.array([4, 5, 6, 7])
    data.genuine[5] = True
    config = replace(SMOKE, rates=(2, 4))
    made = training_batch(data, hr, lr, config, torch_generator(0))
    assert made.inputs.shape == (8, 3, *SIZE)
    assert made.inputs.is_contiguous(memory_format=torch.channels_last)
    assert made.labels.tolist() == data.labels[:8].tolist()
    assert made.paired.tolist() == [0, 1, 2, 3, 4, 6, 7]  # image 5 is LR by nature
    assert torch.equal(made.inputs[:4], made.truths[:4])
    assert not torch.equal(made.inputs[4], made.truths[4])
    blurred = [made.inputs[i].diff(dim=2).abs().mean() for i in made.paired.tolist()]
    sharp = [truth.diff(dim=2).abs().mean() for truth in made.truths]
    assert all(b < s for b, s in zip(blurred[4:], sharp[4:], strict=True))
    # without down-sampling an LR image is its true one, cropped and flipped alike
    monkeypatch.setattr(cadnet, "degrade", lambda images, rates, kernel: images)
    made = training_batch(data, hr, lr, config, torch_generator(1))
    assert torch.equal(made.inputs[made.paired], made.truths)
    same_size = training_batch(data, hr, lr, replace(config, pad=0), torch_generator(1))
    plain = normalise(data.images(np.arange(8)))
    for image, expected in zip(same_size.inputs, plain, strict=True):
        assert torch.equal(image, expected) or torch.equal(image, expected.flip(2))
    larger = training_batch(data, hr, lr, replace(config, input_size=(96, 48)), torch_generator(1))
    assert larger.inputs.shape[2:] == larger.truths.shape[2:] == (96, 48)


def test_rates_are_drawn_and_genuine_lr_images_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    caviar = load("synth-caviar", identities=12, images_per_camera=2, size=SIZE)
    rates, drawn, halves = [], [], []
    degrade, inside = cadnet.degrade, cadnet.draw_indices
    monkeypatch.setattr(cadnet, "degrade", lambda images, r, kernel: rates.append(r) or degrade(images, r, kernel))
    monkeypatch.setattr(cadnet, "draw_indices", lambda *args: drawn.extend(inside(*args)) or inside(*args))
    terms = cadnet.generator_terms
    monkeypatch.setattr(cadnet, "generator_terms", lambda *args: halves.append(args[2]) or terms(*args))
    train(replace(SMOKE, p=3, epochs=4), caviar, progress=False)
    genuine = caviar.part("train")["camid"].to_numpy() == caviar.genuine_lr_camid
    assert not any(genuine[hr].any() for hr, _ in drawn)
    is_genuine = torch.from_numpy(np.concatenate([genuine[lr] for _, lr in drawn]))
    rates = torch.cat(rates)
    assert is_genuine.any()
    assert (rates[is_genuine] == 1).all()
    assert set(rates[~is_genuine].tolist()) == {2, 3, 4}
    assert [len(half.truths) for half in halves] == [12 + int((~genuine[lr]).sum()) for _, lr in drawn]


def test_one_iteration_by_hand() -> None:
    """Both steps, from gradients taken one loss at a time: D_F and D_I first, E, G, F and C against the new ones."""
    config = replace(SMOKE, lambda_adversarial_f=0.5, lambda_reconstruction=2.0, lambda_adversarial_i=0.25)
    network, made = start(config), batch()
    by_hand = copy.deepcopy(network)
    run = Run(None, config, 0, {}, CPU, progress=False)
    terms = iterate(run, network, config, build_optimizers(config, network)[0], made)

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        maps = by_hand.E.stages(made.inputs)
        return maps[-1], by_hand.G(maps)

    with run.autocast():
        f, recovered = forward()
        hr, lr = by_hand.D_F(f.detach()).chunk(2)
        real, fakes = by_hand.D_I(made.truths), by_hand.D_I(recovered.detach()).chunk(2)
    losses = {
        "loss_d_f": -adversarial_loss(hr, lr),
        "loss_d_i": -adversarial_loss(real, fakes[0]) - adversarial_loss(real, fakes[1]),
    }
    norms = {}
    for name, module in (("d_f", by_hand.D_F), ("d_i", by_hand.D_I)):
        gradients = torch.autograd.grad(losses[f"loss_{name}"], list(module.parameters()))
        norms[name] = math.sqrt(sum(g.double().square().sum().item() for g in gradients))
        with torch.no_grad():
            for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                parameter -= config.discriminator_learning_rate * gradient
    with run.autocast():
        expected = generator_terms(by_hand, config, made, f, recovered)
    weights = {"identity": 1, "triplet": 1, "adversarial_f": 0.5, "reconstruction": 2, "adversarial_i": 0.25}
    loss = sum(weights[name] * term for name, term in expected.items())
    learning = [p for part in (by_hand.E, by_hand.G, by_hand.F, by_hand.C) for p in part.parameters()]
    gradients = torch.autograd.grad(loss, learning)
    norms["generator"] = math.sqrt(sum(g.double().square().sum().item() for g in gradients))
    with torch.no_grad():
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter -= config.learning_rate * (gradient + config.weight_decay * parameter)
    for ours, theirs in zip(network.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert sorted(terms) == sorted([*TERMS, *GAMES, "gradient_generator"])
    for name, term in {**expected, **losses}.items():
        assert terms[name].item() == pytest.approx(term.item(), rel=1e-3)
    for name, norm in norms.items():
        assert terms[f"gradient_{name}"].item() == pytest.approx(norm, rel=2e-2)


def test_discriminators_step_leaves_e_and_g_alone_and_the_other_way_round() -> None:
    only_discriminators = replace(SMOKE, learning_rate=0.0)
    before, after, _ = one_step(only_discriminators)
    parts = ("E", "G", "F", "C", "D_F", "D_I")
    moved = {part for part in parts if changed(getattr(before, part), getattr(after, part))}
    assert moved == {"D_F", "D_I"}
    before, after, _ = one_step(replace(SMOKE, discriminator_learning_rate=0.0))
    moved = {part for part in parts if changed(getattr(before, part), getattr(after, part))}
    assert moved == {"E", "G", "F", "C"}


def test_no_gradient_crosses_between_the_players() -> None:
    network, made = start(), batch()
    run, optimizers = Run(None, SMOKE, 0, {}, CPU, progress=False), build_optimizers(SMOKE, network)[0]
    maps = network.E.stages(made.inputs)
    f, recovered = maps[-1], network.G(maps)
    discriminators(run, network, optimizers, f.detach(), recovered.detach(), made.truths)
    assert all(p.grad is None for part in (network.E, network.G, network.F, network.C) for p in part.parameters())
    assert all(p.grad is not None for part in (network.D_F, network.D_I) for p in part.parameters())
    network.zero_grad(set_to_none=True)
    terms = generator_terms(network, SMOKE, made, f, recovered)
    run.descend(optimizers["generator"], losses_of_cadnet.full_objective(terms, SMOKE.lambdas))
    assert all(p.grad is None for part in (network.D_F, network.D_I) for p in part.parameters())
    assert all(p.grad is not None for part in (network.E, network.G, network.F, network.C) for p in part.parameters())


def reached_by(term: str) -> set[str]:
    """The parts of the generator's side that a term of Eq. 6 gives a gradient."""
    network, made = start(), batch()
    run, optimizers = Run(None, SMOKE, 0, {}, CPU, progress=False), build_optimizers(SMOKE, network)[0]
    maps = network.E.stages(made.inputs)
    terms = generator_terms(network, SMOKE, made, maps[-1], network.G(maps))
    run.descend(optimizers["generator"], {term: terms[term]})
    return {
        part
        for part in ("E", "G", "F", "C", "D_F", "D_I")
        if any(p.grad is not None and p.grad.any() for p in getattr(network, part).parameters())
    }


@pytest.mark.parametrize(
    ("term", "parts"),
    [
        ("identity", {"E", "G", "F", "C"}),  # "re-ID oriented": L_id refines G
        ("triplet", {"E", "G", "F"}),
        ("adversarial_f", {"E"}),
        ("reconstruction", {"E", "G"}),
        ("adversarial_i", {"E", "G"}),
    ],
)
def test_what_each_term_reaches(term: str, parts: set[str]) -> None:
    assert reached_by(term) == parts


@pytest.mark.parametrize("form", ["non_saturating", "minimax"])
def test_the_form_of_the_adversarial_losses_is_the_configurations(form: str) -> None:
    network, made = start(), batch()
    with torch.no_grad():
        maps = network.E.stages(made.inputs)
        f, recovered = maps[-1], network.G(maps)
        terms = generator_terms(network, replace(SMOKE, adversarial=form), made, f, recovered)
        (hr, lr), fakes = network.D_F(f).chunk(2), network.D_I(recovered).chunk(2)
    assert terms["adversarial_f"] == losses_of_cadnet.encoder_adversarial_loss(hr, lr, form)
    assert terms["adversarial_i"] == losses_of_cadnet.decoder_adversarial_loss(*fakes, form)


@pytest.mark.parametrize("left_out", WITHOUT)
def test_a_loss_that_is_left_out_is_gone(people: ReIDDataset, left_out: str) -> None:
    config = replace(SMOKE, **WITHOUT[left_out])
    matcher = train(config, people, progress=False)
    gone = ["identity", "triplet"] if left_out == "classification" else [left_out]
    gone += {"adversarial_f": GAMES[:3], "adversarial_i": GAMES[3:]}.get(left_out, [])
    kept = [name for name in [*TERMS, *GAMES, "gradient_generator"] if name not in gone]
    assert sorted(matcher.history.columns) == sorted(["epoch", *kept, "gradient_norm", "seconds", "images_per_second"])
    network, part = matcher.network, {"adversarial_f": "D_F", "adversarial_i": "D_I", "classification": "C"}
    assert [name for name in ("D_F", "D_I", "C") if getattr(network, name) is None] == [
        part[name] for name in [left_out] if name in part
    ]
    scores = evaluate(matcher, mlr.trials(people, n=2), progress=False)
    assert scores.per_trial["rank20"].between(0, 100).all()


def test_on_the_field_a_neck_learns_and_what_comes_out_is_matched_by_cosine(people: ReIDDataset) -> None:
    before, after, _ = one_step(FIELD)
    assert changed(before.neck, after.neck)
    assert not after.neck.bias.any()
    matcher = train(FIELD, people, progress=False)
    with torch.no_grad():
        u = matcher.network.joint_feature(*maps_of(matcher.network, pictures(3)))
        expected = nn.functional.normalize(matcher.network.neck(u))
    torch.testing.assert_close(matcher.embed_gallery(pictures(3)), expected)


def maps_of(network: CADNet, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        maps = network.E.stages(normalise(images).contiguous(memory_format=torch.channels_last))
        return maps[-1], network.G(maps)


def test_the_learning_rate_of_the_field_falls_and_that_of_the_paper_does_not(people: ReIDDataset) -> None:
    for config, factors in ((FIELD, [1, 1, 1, 0.1]), (SMOKE, [1, 1, 1, 1])):
        optimizers, scheduler = build_optimizers(config, start(config))
        found = []
        for _ in range(config.epochs):
            found.append(optimizers["generator"].param_groups[0]["lr"] / config.learning_rate)
            optimizers["generator"].step()
            scheduler.step()
        assert found == pytest.approx(factors)


def test_the_control_is_e_and_c_alone(people: ReIDDataset) -> None:
    config = FIELD.alone()
    matcher = train(config, people, progress=False)
    parts = {name: getattr(matcher.network, name) is not None for name in ("E", "C", "neck", "G", "F", "D_F", "D_I")}
    assert [name for name, there in parts.items() if there] == ["E", "C", "neck"]
    shown = ["epoch", "identity", "triplet", "gradient_generator", "gradient_norm", "seconds", "images_per_second"]
    assert sorted(matcher.history.columns) == sorted(shown)
    assert matcher.embed_gallery(pictures(2)).shape == (2, 64)
    network = start(config)
    assert changed(network.E, matcher.network.E)


def test_without_l_cls_f_stays_as_it_starts_and_e_learns(people: ReIDDataset) -> None:
    config = replace(SMOKE, classify=False)
    network, untrained = train(config, people, progress=False).network, start(config)
    assert all(torch.equal(value, untrained.F.state_dict()[name]) for name, value in network.F.state_dict().items())
    assert changed(network.E, untrained.E)
    assert changed(network.G, untrained.G)
    assert not set(map(id, network.F.parameters())) & {
        id(p) for group in build_optimizers(config, network)[0]["generator"].param_groups for p in group["params"]
    }


def test_without_both_discriminators_there_is_no_game(people: ReIDDataset) -> None:
    matcher = train(replace(SMOKE, lambda_adversarial_f=0, lambda_adversarial_i=0), people, progress=False)
    assert discriminator_report(matcher.history) == []
    assert list(build_optimizers(SMOKE, matcher.network)[0]) == ["generator"]


@pytest.mark.parametrize("features", ["f", "g"])
def test_one_modality_alone(people: ReIDDataset, features: str) -> None:
    config = replace(SMOKE, features=features)
    matcher = train(config, people, progress=False)
    assert (matcher.network.F is None) == (features == "f")
    assert matcher.embed_gallery(pictures(2)).shape == (2, 64)
    assert matcher.network.C.in_features == 64
    assert matcher.recover(pictures(2)).shape == (2, 3, *SIZE)


def test_what_has_no_decoder_recovers_nothing(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="recovers no image: its configuration leaves G out"):
        train(SMOKE.alone(), people, progress=False).recover(pictures(2))


def test_the_decoder_learns_to_recover(people: ReIDDataset) -> None:
    config = replace(SMOKE, epochs=16, classify=False, lambda_adversarial_f=0, lambda_adversarial_i=0)
    matcher = train(config, people, progress=False)
    error = matcher.history["reconstruction"]
    assert error.iloc[-1] < 0.6 * error.iloc[0]
    store, rows = open_store(people), people.part("test").index.to_numpy()
    truths = store.batch(rows)
    lr, plain = cadnet.degrade(truths, 4), truths.float().mean((0, 2, 3), keepdim=True)  # one colour for all
    errors = [(x.float() - truths).abs().mean() for x in (matcher.recover(lr), plain.expand_as(truths))]
    assert errors[0] < 0.6 * errors[1]


def test_identities_are_learnt(people: ReIDDataset) -> None:
    config = replace(SMOKE, epochs=20, learning_rate=3e-2, lambda_adversarial_f=0, lambda_adversarial_i=0)
    history = train(config, people, progress=False).history
    assert history["identity"].iloc[-1] < 0.95 * history["identity"].iloc[0]
    assert history["triplet"].iloc[-1] < 0.8 * history["triplet"].iloc[0]


def kill(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    steps, inside = iter(range(after)), cadnet.iterate

    def watched(*args: object) -> dict[str, torch.Tensor]:
        if next(steps, None) is None:
            raise Killed
        return inside(*args)

    monkeypatch.setattr(cadnet, "iterate", watched)


@pytest.mark.parametrize("after", [2, 6])
def test_a_killed_training_ends_as_an_undisturbed_one(
    people: ReIDDataset, matcher: CADNetMatcher, tmp_path: Path, after: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, after)
        with pytest.raises(Killed):
            train(SMOKE, people, folder=tmp_path, progress=False)
    resumed = train(SMOKE, people, folder=tmp_path, progress=False)
    assert same(resumed, matcher)
    times = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(resumed.history.drop(columns=times), matcher.history.drop(columns=times))


def test_a_finished_run_is_used_again_with_its_history(people: ReIDDataset, tmp_path: Path) -> None:
    first = train(SMOKE, people, folder=tmp_path, progress=False)
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "last.pt").stat().st_mtime_ns
    again = train(SMOKE, people, folder=tmp_path, progress=False)
    assert same(first, again)
    assert (folder / "last.pt").stat().st_mtime_ns == stamp
    pd.testing.assert_frame_equal(again.history, first.history)
    train(replace(SMOKE, features="g"), people, folder=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2


class Oracle(nn.Module):
    """A discriminator of features that has won: the first half of a batch is HR."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        verdicts = torch.full((len(f),), 500.0)
        verdicts[len(f) // 2 :] *= -1
        return verdicts + self.weight * f.float().mean()


def test_a_discriminator_that_has_won_outright_stops_the_training(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*args: object) -> CADNet:
        network = build_network(*args)
        network.D_F = Oracle()
        return network

    monkeypatch.setattr(cadnet, "build_network", build)
    message = "D_F has won outright: its loss was exactly 0 in every step of epoch 0.*lambda_adversarial_f=0"
    with pytest.raises(TrainingError, match=message):
        train(SMOKE, people, progress=False)


@pytest.mark.parametrize("name", ["learning_rate", "discriminator_learning_rate"])
def test_a_diverging_game_stops_with_its_terms(people: ReIDDataset, name: str) -> None:
    with pytest.raises(TrainingError, match=r"not finite in epoch 0, .*loss_d_i = "):
        train(replace(SMOKE, **{name: float("inf")}), people, progress=False)


def test_an_infinite_gradient_stops_too(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Run.descend
    monkeypatch.setattr(Run, "descend", lambda run, o, terms: inside(run, o, terms) / (0 if "identity" in terms else 1))
    with pytest.raises(TrainingError, match="gradient_generator = inf"):
        train(SMOKE, people, progress=False)


def test_u_is_matched_by_euclidean_distance_whatever_the_rate(matcher: CADNetMatcher) -> None:
    images = pictures(5)
    query, gallery = matcher.embed_query(images[:2], torch.tensor([2, 4])), matcher.embed_gallery(images)
    assert torch.equal(query, matcher.embed_gallery(images[:2]))
    assert gallery.shape == (5, 128)
    assert not torch.allclose(gallery.norm(dim=1), torch.ones(5))
    slow = [[math.dist(a, b) ** 2 for b in gallery.tolist()] for a in query.tolist()]
    np.testing.assert_allclose(matcher.distance(query, gallery), slow, rtol=1e-3, atol=1e-4)
    expected = matcher.network(normalise(images).contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(gallery, expected)


def test_recovered_images_are_images(matcher: CADNetMatcher) -> None:
    images = pictures(3)
    recovered = matcher.recover(images)
    assert (recovered.shape, recovered.dtype) == (images.shape, torch.uint8)
    with torch.no_grad():
        expected = to_image_range(matcher.network.recover(normalise(images)))
    torch.testing.assert_close(recovered / 255, expected, atol=0.51 / 255, rtol=0)
    larger = CADNetMatcher(matcher.network, matcher.history, (96, 48), CPU, 0)
    assert larger.recover(images).shape == images.shape
    assert larger.features(images).shape == (3, 128)
