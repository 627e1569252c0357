"""INTACT's loop: Algorithm 1 step by step, the variants, the critic C, resume, and the Matcher."""

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
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.ranking import evaluate
from reid_lib.losses.intact import association_loss
from reid_lib.networks.inputs import normalise
from reid_lib.networks.intact import INTACT
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.networks.weights import WeightsError
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training.critic import CriticConfig, build_critic, hr_batches, train_critic
from reid_lib.training.intact import (
    INTACTConfig,
    INTACTMatcher,
    Pairs,
    associate,
    build_network,
    build_optimizers,
    first_gradients,
    generator_terms,
    iterate,
    train,
    training_batch,
    update_association,
    update_discriminator,
)
from reid_lib.training.run import Run, TrainingError, initialise
from reid_lib.training.training_set import TrainingSet

CPU = torch.device("cpu")
SIZE = (64, 32)
SMOKE = INTACTConfig.for_profile("smoke")
VARIANTS = {
    "Sole SR": {"lambda_g": 0.0, "lambda_c": 0.0, "association": "none"},
    "SR + ID": {"lambda_g": 0.0, "association": "none"},
    "MSE+ID+GAN": {"association": "none"},
    "common space": {"association": "common space"},
    "D-to-R": {"association": "D-to-R"},
    "w/o bridge": {"bridge": False},
    "INTACT": {},
}


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=16, images_per_camera=2, size=SIZE)


@pytest.fixture(scope="module")
def matcher(people: ReIDDataset) -> INTACTMatcher:
    return train(SMOKE, people, device=CPU, progress=False)


def start(**changes: object) -> tuple[INTACTConfig, INTACT]:
    config = replace(SMOKE, **changes)
    network = initialise(lambda: build_network(config, SIZE, build_critic(config.critic(), SIZE, 4)), 0, CPU)
    return config, network.train()


def batch() -> Pairs:
    x_h, x_l = torch.randn(2, 8, 3, *SIZE, generator=torch_generator(0, "batch"))
    return Pairs(x_h, x_l, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))


def run_of(config: INTACTConfig) -> Run:
    return Run(None, config, 0, {}, CPU, progress=False)


def state(module: nn.Module | None) -> dict[str, torch.Tensor]:
    return {} if module is None else copy.deepcopy(module.state_dict())


def same(before: dict[str, torch.Tensor], module: nn.Module | None) -> bool:
    now = state(module)
    return before.keys() == now.keys() and all(torch.equal(before[name], now[name]) for name in now)


def players(network: INTACT) -> dict[str, nn.Module]:
    return {"C": network.C, "G": network.G, "D": network.D, "phi": network.phi, "sigma": network.sigma}


def moved(before: dict[str, dict[str, torch.Tensor]], network: INTACT) -> set[str]:
    return {name for name, module in players(network).items() if not same(before[name], module)}


def test_defaults_are_the_papers_settings_and_profiles_change_sizes() -> None:
    paper = INTACTConfig.for_profile("paper")
    assert paper == INTACTConfig()
    assert (paper.lambda_g, paper.lambda_c, paper.lambda_dis) == (0.1, 0.3, 1.0)
    assert (paper.learning_rate, paper.discriminator_learning_rate) == (1e-4, 1e-4)
    assert (paper.association_learning_rate, paper.p * paper.k) == (1e-3, 32)
    assert (paper.rates, paper.input_size, paper.network) == ((2, 3, 4), (256, 128), "osnet_x1_0")
    own = {"rates", "association", "bridge", "adversarial", "lambda_g", "lambda_c", "kernel"}
    for profile in PROFILES:
        config = INTACTConfig.for_profile(profile)
        assert not {f.name for f in fields(config) if getattr(config, f.name) != getattr(paper, f.name)} & own
    critic = INTACTConfig.for_profile("demo", weights="none").critic()
    assert (critic.network, critic.width, critic.learning_rate, critic.epochs) == ("tiny", 16, 2e-3, 8)


def test_each_step_of_algorithm_1_moves_its_own_player_alone() -> None:
    """(1) D; (2) phi and sigma; (3) G. Buffers too: what is frozen keeps its batch statistics."""
    config, network = start()
    optimizers, _ = build_optimizers(config, network)
    run, data = run_of(config), batch()
    recovered = network.G(data.x_l)
    before = {name: state(module) for name, module in players(network).items()}
    update_discriminator(run, network, optimizers["d"], data.x_h, recovered.detach())
    assert moved(before, network) == {"D"}
    before = {name: state(module) for name, module in players(network).items()}
    update_association(run, network, optimizers["association"], data.x_h)
    assert moved(before, network) == {"phi", "sigma"}
    before = {name: state(module) for name, module in players(network).items()}
    terms = generator_terms(network, config, data, recovered)
    run.descend(optimizers["generator"], terms)
    assert moved(before, network) == {"G"}


def test_an_iteration_moves_all_but_the_critic_and_notes_every_term() -> None:
    config, network = start()
    before = {name: state(module) for name, module in players(network).items()}
    noted, first = iterate(run_of(config), network, config, build_optimizers(config, network)[0], batch(), {})
    assert moved(before, network) == {"G", "D", "phi", "sigma"}
    terms = {"content", "adversarial", "identity", "association", "phi", "bridge"}
    assert set(noted) == terms | {"loss_d", "accuracy_d", "gradient_d", "gradient_generator"}
    assert set(first) == {"first_identity", "first_association"}
    assert all(value.isfinite() for value in (noted | first).values())


def test_the_critics_gradient_reaches_g_through_both_representations() -> None:
    config, network = start()
    network.D.eval(), network.phi.eval(), network.sigma.eval()
    data = batch()
    terms = generator_terms(network, config, data, network.G(data.x_l))
    for name in ("content", "adversarial", "identity", "association"):
        found = torch.autograd.grad(terms[name], list(network.G.parameters()), retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in found[:2]), name
    f_c, f_d = torch.randn(4, 64, requires_grad=True), torch.randn(4, 64, requires_grad=True)
    association_loss(*associate(network, f_c, f_d)).backward()
    assert f_c.grad.abs().sum() > 0
    assert f_d.grad.abs().sum() > 0


def test_the_first_gradients_are_of_the_losses_before_their_weights() -> None:
    config, network = start()
    network.D.eval(), network.phi.eval(), network.sigma.eval()
    data = batch()
    terms = generator_terms(network, config, data, network.G(data.x_l))
    found = first_gradients(network, terms)["first_identity"]
    layers = [*network.G.stem.parameters(), *network.G.down[0].parameters()]
    slow = torch.autograd.grad(terms["identity"], layers, retain_graph=True)
    assert found.item() == pytest.approx(math.sqrt(sum(g.double().square().sum().item() for g in slow)), rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_trains_and_lacks_what_it_leaves_out(variant: str) -> None:
    config, network = start(**VARIANTS[variant])
    optimizers, schedulers = build_optimizers(config, network)
    noted, first = iterate(run_of(config), network, config, optimizers, batch(), {})
    there = {"content"}
    there |= {"adversarial"} if config.lambda_g else set()
    there |= {"identity"} if config.lambda_c else set()
    there |= {"association"} if config.associated else set()
    assert {name for name in noted if name in {"content", "adversarial", "identity", "association"}} == there
    assert ("bridge" in noted) == (network.sigma is not None) == (config.associated and config.bridge)
    assert ("phi" in noted) == (config.associated and variant != "common space")
    expected = ["generator"] + ["d"] * (network.D is not None) + ["association"] * (network.phi is not None)
    assert list(optimizers) == expected
    assert list(schedulers) == [f"schedule_{name}" for name in expected]
    assert set(first) == {f"first_{name}" for name in there & {"identity", "association"}}


def test_the_learning_rates_are_those_of_each_player() -> None:
    config, network = start(learning_rate=1e-4, discriminator_learning_rate=2e-4, association_learning_rate=1e-3)
    optimizers, _ = build_optimizers(config, network)
    assert {name: o.defaults["lr"] for name, o in optimizers.items()} == {
        "generator": 1e-4,
        "d": 2e-4,
        "association": 1e-3,
    }


def test_a_batch_is_the_same_images_twice_with_one_crop(people: ReIDDataset) -> None:
    data = TrainingSet(people, device=CPU)
    indices = np.arange(6)
    batch = training_batch(data, indices, replace(SMOKE, rates=(1,)), torch_generator(0, "crop"))
    assert torch.equal(batch.x_h, batch.x_l)  # at r = 1 there is no difference, so the crops are one
    blurred = training_batch(data, indices, replace(SMOKE, rates=(4,)), torch_generator(0, "crop"))
    assert torch.equal(blurred.x_h, batch.x_h)
    assert not torch.equal(blurred.x_l, batch.x_h)
    assert torch.equal(blurred.labels, data.labels_of(indices))


def test_genuine_lr_images_take_no_part() -> None:
    dataset = load("synth-caviar", identities=16, images_per_camera=2, size=SIZE)
    data = TrainingSet(dataset, device=CPU)
    assert data.genuine.any()
    for indices in hr_batches(data, SMOKE, seed=0, epoch=0):
        assert not data.genuine[indices].any()
    matcher = train(SMOKE, dataset, device=CPU, progress=False)
    trials = mlr.trials(dataset, n=2)
    assert evaluate(matcher, trials, progress=False).summary["mean"].min() >= 0


# ---- The critic C ----------------------------------------------------------------------------------------------------


def test_the_critic_is_trained_on_hr_images_and_shared_by_the_variants(people: ReIDDataset, tmp_path: Path) -> None:
    for changes in ({}, VARIANTS["Sole SR"]):
        train(replace(SMOKE, epochs=1, **changes), people, device=CPU, folder=tmp_path, progress=False)
    assert len(list(tmp_path.glob("critic-seed0-*/last.pt"))) == 1
    assert len(list(tmp_path.glob("intact-seed0-*/last.pt"))) == 2


def test_a_critic_as_it_is_keeps_its_backbone_and_fits_its_classifier(people: ReIDDataset, tmp_path: Path) -> None:
    network = osnet_x0_25()
    torch.save(network.state_dict(), tmp_path / "osnet.pth")
    own = {"weights": str(tmp_path / "osnet.pth"), "tune": False, "learning_rate": 1e-2}
    config = CriticConfig("osnet_x0_25", **own, p=4, input_size=None, pad=2, epochs=6, steps=8)
    data = TrainingSet(people, device=CPU)
    start = build_critic(config, SIZE, data.identities)
    before = state(start.backbone), state(start.classifier)
    found = train_critic(config, data, SIZE, 0, None, False)
    assert same(before[0], found.backbone)
    assert not same(before[1], found.classifier)


def test_an_osnet_as_it_is_sees_images_at_its_own_size(tmp_path: Path) -> None:
    torch.save(osnet_x0_25().state_dict(), tmp_path / "osnet.pth")
    config = CriticConfig("osnet_x0_25", weights=str(tmp_path / "osnet.pth"), tune=False, input_size=None)
    frozen, tuned = (build_critic(replace(config, tune=tune), SIZE, 4).backbone.eval() for tune in (False, True))
    image, sizes = torch.randn(1, 3, *SIZE), []
    frozen.backbone.conv1.register_forward_hook(lambda _, inputs, __: sizes.append(tuple(inputs[0].shape[2:])))
    assert frozen(image).shape == tuned(image).shape == (1, 512)
    assert sizes == [(256, 128)]
    enlarged = torch.nn.functional.interpolate(image, size=(256, 128), mode="bilinear", align_corners=False)
    torch.testing.assert_close(frozen(image), tuned(enlarged))


def test_a_critic_that_would_stay_untrained_is_refused() -> None:
    with pytest.raises(ValueError, match=r'tune_critic=False.*"none": an untrained critic makes L_id and L_dis'):
        replace(SMOKE, tune_critic=False, weights="none")


def test_a_critic_that_has_learnt_nothing_is_refused(people: ReIDDataset) -> None:
    data = TrainingSet(people, device=CPU)
    config = replace(SMOKE.critic(), learning_rate=0.0, epochs=1)
    with pytest.raises(TrainingError, match=r"C has learnt nothing: its loss .* guessing gives 2\.08"):
        train_critic(config, data, SIZE, 0, None, False)


def test_osnet_weights_of_another_width_are_refused(people: ReIDDataset, tmp_path: Path) -> None:
    torch.save(osnet_x0_25().state_dict(), tmp_path / "narrow.pth")
    config = replace(SMOKE, network="osnet_x1_0", weights=str(tmp_path / "narrow.pth"))
    with pytest.raises(WeightsError, match="holds the weights of another network than OSNet"):
        train(config, people, device=CPU, progress=False)


# ---- The Matcher -----------------------------------------------------------------------------------------------------


def pictures(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *SIZE), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def test_queries_pass_g_and_gallery_images_do_not(matcher: INTACTMatcher) -> None:
    images, rates = pictures(4), torch.tensor([2, 3, 4, 1])
    assert torch.equal(matcher.embed_gallery(images), matcher.critic.embed_gallery(images))
    by_hand = matcher.critic.embed_gallery(matcher.recover(images))
    assert torch.equal(matcher.embed_query(images, rates), by_hand)
    assert not torch.allclose(by_hand, matcher.embed_gallery(images))
    assert (matcher.recover(images).dtype, matcher.recover(images).shape) == (torch.uint8, images.shape)


def test_the_association_error_is_eq_8_image_by_image(matcher: INTACTMatcher) -> None:
    found = matcher.association_error(pictures(3))
    network = matcher.network
    with torch.no_grad():
        for image, error in zip(pictures(3), found, strict=True):
            made = network.G(normalise(image[None]))
            predicted = network.phi(network.C.embed(made))[1]
            assert error.item() == pytest.approx(
                (predicted - network.D.features(made)).square().mean().item(), rel=1e-3
            )


def test_a_variant_without_association_has_no_association_error(people: ReIDDataset) -> None:
    network = build_network(replace(SMOKE, association="none"), SIZE, build_critic(SMOKE.critic(), SIZE, 4))
    without = INTACTMatcher(network, pd.DataFrame(), SIZE, CPU)
    with pytest.raises(ValueError, match="trained without an association"):
        without.association_error(pictures(1))


def test_the_history_has_the_first_gradients_of_every_epoch(matcher: INTACTMatcher) -> None:
    assert len(matcher.history) == SMOKE.epochs
    assert (matcher.history[["first_identity", "first_association"]] > 0).all().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": ()}, "rates must be different integers >= 1, at least one, found"),
        ({"association": "both"}, "association must be one of R-to-D, D-to-R, common space, none, found 'both'"),
        ({"adversarial": "hinge"}, "adversarial must be one of non_saturating, minimax, found 'hinge'"),
        ({"lambda_c": -1.0}, "the lambdas must be >= 0, found"),
        ({"lambda_g": 0.0}, "an association needs D, which lambda_g=0 leaves out"),
        ({"association": "common space", "bridge": False}, "in the common space the bridge is the association"),
    ],
)
def test_settings_that_are_out_of_place_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMOKE, **changes)


def test_images_whose_sides_do_not_divide_are_refused_before_anything_is_trained(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="must be multiples of 16, found 60x32"):
        train(replace(SMOKE, input_size=(60, 32)), people, device=CPU, progress=False)
