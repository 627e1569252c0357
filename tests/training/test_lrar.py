"""LRAR's loop: phases of Algorithm 1, resume, ablations, levels of seen and unseen rates, and the Matcher."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.evaluation.matchers import PerRateMatcher
from reid_lib.evaluation.ranking import evaluate
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training import lrar, training_set
from reid_lib.training.lrar import (
    LRARConfig,
    LRARMatcher,
    batch_rates,
    level_of,
    masked_stages,
    train,
    train_naive,
)
from reid_lib.training.run import TrainingError, initialise
from reid_lib.training.schedules import learning_rate_factor

CPU = torch.device("cpu")
SMOKE = LRARConfig.for_profile("smoke", hidden=16)
LONGER = replace(SMOKE, epochs=8)  # two epochs of four steps in each phase


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=16, images_per_camera=2, size=(64, 32))


@pytest.fixture(scope="module")
def matcher(people: ReIDDataset) -> LRARMatcher:
    """A trained matcher whose masks lie far apart."""
    return train(replace(SMOKE, mask_std=1.0), people, progress=False)


def pictures(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 64, 32), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def same(a: LRARMatcher, b: LRARMatcher) -> bool:
    then, now = a.network.state_dict(), b.network.state_dict()
    images, rates = pictures(4), torch.tensor([1, 2, 3, 4])
    return all(torch.equal(then[name], now[name]) for name in then | now) and torch.equal(
        a.embed_query(images, rates), b.embed_query(images, rates)
    )


def watch(monkeypatch: pytest.MonkeyPatch, look: Callable) -> None:
    """Call ``look(network, levels, labels)`` before every step's losses."""
    losses = lrar.losses

    def watched(network, config, inputs, levels, labels):
        look(network, levels, labels)
        return losses(network, config, inputs, levels, labels)

    monkeypatch.setattr(lrar, "losses", watched)


def test_defaults_are_the_papers_settings_and_profiles_change_sizes_only() -> None:
    paper = LRARConfig.for_profile("paper")
    assert paper == LRARConfig()
    assert (paper.p * paper.k, paper.epochs, paper.milestones, paper.verification_weight) == (32, 120, (40, 70), 0.5)
    factors = [learning_rate_factor(paper, epoch) * paper.learning_rate for epoch in (10, 39, 40, 69, 70, 119)]
    assert factors == pytest.approx([3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6])
    sizes = {"network", "width", "p", "pad", "epochs", "warmup", "milestones", "learning_rate", "input_size"}
    sizes |= {"weights", "mask_learning_rate", "steps"}
    for profile in PROFILES:
        config = LRARConfig.for_profile(profile)
        assert {f.name for f in fields(config) if getattr(config, f.name) != getattr(paper, f.name)} <= sizes
    assert LRARConfig.for_profile("smoke", rates=(1, 2), masks="none").rates == (1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": ()}, "rates must be different integers >= 1"),
        ({"rates": (1, 2, 2)}, "rates must be different integers >= 1"),
        ({"rates": (0, 1)}, "rates must be different integers >= 1"),
        ({"rates": (2, 4)}, "rates must hold 1, the gallery is HR"),
        ({"masks": "some"}, "masks must be one of progressive, end_to_end, none, found 'some'"),
        ({"epochs": 3}, "needs at least 4 epochs, one for each stage, found epochs=3"),
        ({"identity_weight": 0.0, "verification_weight": 0.0}, "one of them above"),
        ({"identity_weight": -1.0}, "must be >= 0"),
        ({"k": 1}, "k must be at least 2, a query and a gallery image"),
    ],
)
def test_values_out_of_place_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LRARConfig.for_profile("smoke", **changes)


def test_unknown_profile_and_network_are_refused(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="unknown profile 'small': expected one of smoke, demo, paper"):
        LRARConfig.for_profile("small")
    with pytest.raises(ValueError, match="found network 'vgg'"):
        train(replace(SMOKE, network="vgg"), people, progress=False)


@pytest.mark.parametrize(
    ("seen", "rule", "expected"),
    [
        ((1, 2, 3, 4), None, {1: 4, 2: 3, 3: 2, 4: 1}),
        ((4, 1, 2), None, {1: 3, 2: 2, 4: 1}),
        # Table V: 1/3 -> 1/2 and 1/6 -> 1/4 are "higher", 1/3 -> 1/4 and 1/6 -> 1/8 "lower"
        ((1, 2, 4, 8), "higher", {1: 4, 2: 3, 3: 3, 4: 2, 6: 2, 8: 1, 9: 1}),
        ((1, 2, 4, 8), "lower", {1: 4, 2: 3, 3: 2, 4: 2, 6: 1, 8: 1, 9: 1}),
        ((2, 4), "higher", {1: 2, 2: 2, 3: 2, 4: 1, 7: 1}),
        ((2, 4), "lower", {1: 2, 2: 2, 3: 1, 4: 1, 7: 1}),
    ],
)
def test_levels_rise_with_resolution(seen: tuple[int, ...], rule: str | None, expected: dict[int, int]) -> None:
    assert level_of(torch.tensor(list(expected)), seen, rule).tolist() == list(expected.values())


def test_rates_without_a_level_are_refused() -> None:
    for rate in (3, 9):
        with pytest.raises(ValueError, match=f"rate {rate} has no level, the network has seen 1, 2, 4: .*rule='lower'"):
            level_of(torch.tensor([1, 2, rate]), (1, 2, 4))
    with pytest.raises(ValueError, match=r"integers >= 1 .*, found 0"):
        level_of(torch.tensor([0, 2]), (1, 2), "lower")
    with pytest.raises(ValueError, match="rule must be None or one of lower, higher, found 'near'"):
        level_of(torch.tensor([1]), (1, 2), "near")


def test_phases_by_hand() -> None:
    phases = [masked_stages(LRARConfig(), epoch) for epoch in (0, 29, 30, 59, 60, 89, 90, 119)]
    assert phases == [(1, 0), (1, 0), (2, 1), (2, 1), (3, 2), (3, 2), (4, 3), (4, 3)]
    assert [masked_stages(replace(SMOKE, epochs=6), epoch)[0] for epoch in range(6)] == [1, 1, 2, 3, 3, 4]
    assert masked_stages(LRARConfig(masks="end_to_end"), 0) == (4, 0)
    assert masked_stages(LRARConfig(masks="none"), 119) == (0, 0)


def test_half_of_a_batch_is_hr() -> None:
    config = LRARConfig(p=200)
    rates = batch_rates(config, torch_generator(0)).view(200, 4)
    assert (rates[:, 2:] == 1).all()
    counts = torch.bincount(rates[:, :2].flatten())
    assert counts[:2].tolist() == [0, 0]
    assert ((counts[2:] / 400 - 1 / 3).abs() < 0.08).all()
    assert (batch_rates(LRARConfig(rates=(3,)), torch_generator(0)) == 3).all()


def test_masks_enter_one_stage_at_a_time_and_are_then_fixed(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    watch(monkeypatch, lambda network, *_: seen.append((network.masked, [m.detach().clone() for m in network.masks])))
    end = train(LONGER, people, progress=False)
    steps = [*seen, (4, list(end.network.masks))]
    assert [masked for masked, _ in seen] == sorted([1, 2, 3, 4] * 8)
    for (masked, before), (_, after) in zip(seen, steps[1:], strict=True):
        changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert changed == [place == 4 - masked for place in range(4)]


def test_masks_learn_together_end_to_end(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    watch(monkeypatch, lambda network, *_: seen.append([mask.detach().clone() for mask in network.masks]))
    train(replace(SMOKE, masks="end_to_end"), people, progress=False)
    for before, after in pairwise(seen):
        assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_weight_decay_leaves_masks_alone(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = lrar.losses
    monkeypatch.setattr(lrar, "losses", lambda *args: {name: 0 * term for name, term in losses(*args).items()})
    config = replace(SMOKE, masks="end_to_end")
    network = train(config, people, progress=False).network
    start = initialise(lambda: lrar.build_network(config, (64, 32), identities=8), 0, CPU)
    assert network.classifier.weight.norm() < start.classifier.weight.norm()
    assert all(torch.equal(a, b) for a, b in zip(network.masks, start.masks, strict=True))


def kill_and_resume(people: ReIDDataset, folder: Path, step: int) -> LRARMatcher:
    with pytest.MonkeyPatch.context() as patch:
        steps = iter(range(step))

        def look(*_: object) -> None:
            if next(steps, None) is None:
                raise Killed

        watch(patch, look)
        with pytest.raises(Killed):
            train(LONGER, people, folder=folder, progress=False)
    return train(LONGER, people, folder=folder, progress=False)


def test_a_killed_training_ends_as_an_undisturbed_one(people: ReIDDataset, tmp_path: Path) -> None:
    undisturbed = train(LONGER, people, progress=False)
    for step in (2, 9, 22, 29):  # in the middle of an epoch of each phase
        assert same(kill_and_resume(people, tmp_path / str(step), step), undisturbed)


def test_a_checkpoint_cut_short_gives_way_to_the_one_before(
    people: ReIDDataset, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = train(SMOKE, people, folder=tmp_path, progress=False)
    (last,) = tmp_path.glob("*/last.pt")
    last.write_bytes(last.read_bytes()[:1000])
    assert same(train(SMOKE, people, folder=tmp_path, progress=False), first)
    assert "last.pt cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"masks": "none"}, {"verification_weight": 0.25}, {"mask_std": 1.0}])
def test_a_resume_under_another_configuration_names_the_field(
    people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict
) -> None:
    monkeypatch.setattr(training_set, "keyed", lambda parent, *_: parent)  # else each configuration has its own
    train(SMOKE, people, folder=tmp_path, progress=False)
    (name,) = change
    with pytest.raises(TrainingError, match=f"holds a run with {name} = .*, asked for"):
        train(replace(SMOKE, **change), people, folder=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("changes", "masks", "parts", "terms"),
    [
        ({}, 4, 4, ["identity", "verification"]),
        ({"masks": "none"}, 0, 4, ["identity", "verification"]),
        ({"varying_length": False}, 4, 1, ["identity", "verification"]),
        ({"masks": "none", "varying_length": False}, 0, 1, ["identity", "verification"]),
        ({"identity_weight": 0.0}, 4, 4, ["verification"]),
        ({"verification_weight": 0.0}, 4, 4, ["identity"]),
    ],
    ids=["whole", "w/o mask", "w/o val", "IDE + Verif", "w/o L_cls", "w/o L_verif"],
)
def test_ablations(
    people: ReIDDataset, tmp_path: Path, changes: dict, masks: int, parts: int, terms: list[str]
) -> None:
    matcher = train(replace(SMOKE, **changes), people, folder=tmp_path, progress=False)
    assert (matcher.network.masked, len(matcher.network.masks), matcher.network.parts) == (masks, masks, parts)
    history = pd.read_csv(next(tmp_path.glob("*/history.csv")))
    assert history.columns.tolist() == ["epoch", *terms, "gradient_norm", "seconds", "images_per_second"]
    scores = evaluate(matcher, mlr.trials(people, n=2), progress=False)
    assert scores.per_trial["rank20"].between(0, 100).all()
    images, rates = pictures(2), torch.tensor([4, 4])
    assert torch.equal(matcher.embed_query(images, rates)[:, :-1], matcher.embed_gallery(images)) == (
        masks == 0 and parts == 1  # then a level makes no difference
    )


def test_the_loss_is_the_weighted_sum_over_queries_and_gallery() -> None:
    config = replace(SMOKE, p=2, k=3, identity_weight=2.0)
    torch.manual_seed(0)
    network = lrar.build_network(config, (64, 32), identities=5)
    x = torch.randn(6, 3, 64, 32, generator=torch_generator(0))
    levels, labels = torch.tensor([2, 4, 4, 1, 4, 4]), torch.tensor([3, 3, 3, 0, 0, 0])
    terms = lrar.losses(network, config, x, levels, labels)
    with torch.no_grad():
        z, network = network(x, levels).double(), network.double()
        logits = network.classifier(z)
        identity = -sum(logits[n].log_softmax(0)[labels[n]] for n in range(6)) / 6
        verification = 0.0
        for query in (0, 3):  # the first image of each identity
            for gallery in (1, 2, 4, 5):
                v = z[query] - z[gallery]
                v[16 * levels[query] :] = 0  # Eq. 2: the top k of four sub-vectors of 16 numbers
                p = torch.sigmoid(network.verify(v[None]))[0]
                verification -= torch.log(p if labels[query] == labels[gallery] else 1 - p) / 8
    assert terms["identity"].item() == pytest.approx(2 * identity.item(), rel=1e-5)
    assert terms["verification"].item() == pytest.approx(0.5 * verification.item(), rel=1e-5)


def test_a_query_is_compared_as_equation_2_says(matcher: LRARMatcher) -> None:
    images, rates = pictures(6), torch.tensor([4, 1, 2, 3, 4, 1])
    distances = matcher.distance(matcher.embed_query(images, rates), matcher.embed_gallery(images))
    network, inputs = matcher.network, lrar.normalise(images)
    with torch.no_grad():
        gallery = network(inputs, torch.full((6,), 4))  # HR images: their own level, whatever the query's
        for n, rate in enumerate(rates.tolist()):
            level = 5 - rate
            z = network(inputs[n : n + 1], torch.tensor([level]))[0, : 16 * level]
            slow = [sum((a - b) ** 2 for a, b in zip(z.tolist(), g.tolist(), strict=False)) for g in gallery]
            assert distances[n].tolist() == pytest.approx(slow, rel=1e-3, abs=1e-4)


def test_an_unseen_rate_is_taken_as_its_neighbour(people: ReIDDataset) -> None:
    matcher = train(replace(SMOKE, rates=(1, 2, 4, 8), mask_std=1.0), people, progress=False)
    images = pictures(2)

    def query(rate: int) -> torch.Tensor:
        return matcher.embed_query(images, torch.full((2,), rate))

    with pytest.raises(ValueError, match="rate 3 has no level"):
        query(3)
    matcher.rule = "higher"
    assert torch.equal(query(3), query(2))
    matcher.rule = "lower"
    assert torch.equal(query(3), query(4))
    assert not torch.equal(query(2), query(4))


def test_training_learns_its_own_people(people: ReIDDataset) -> None:
    """Trained longer than smoke, the network ranks the people of its training far better than by chance."""
    config = replace(SMOKE, width=16, epochs=40, learning_rate=2e-3, milestones=(30,))
    matcher = train(config, people, progress=False)
    pids = people.splits[0].train_pids
    known = replace(people, splits=(Split(people.splits[0].test_pids, pids),))
    scores = evaluate(matcher, mlr.trials(known, n=3), progress=False).summary["mean"]
    assert scores["rank1"] > 3 * 100 / len(pids)


def test_fewer_people_than_a_batch_needs(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="p=9 identities with k=4 images each cannot be drawn from 8"):
        train(replace(SMOKE, p=9), people, progress=False)


def test_an_identity_with_one_image_is_its_own_query_and_gallery(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely = people.splits[0].train_pids[0]
    table = people.table.drop(index=people.table.index[people.table["pid"] == lonely][1:])
    seen = []
    watch(monkeypatch, lambda network, levels, labels: seen.append(levels[labels == 0]))
    train(SMOKE, replace(people, table=table), progress=False)
    turns = torch.cat(seen).view(-1, 4)
    assert len(turns) > 0
    assert (turns[:, :2] < 4).all()
    assert (turns[:, 2:] == 4).all()


def test_genuine_lr_images_have_a_level_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    people = load("synth-caviar", identities=12, images_per_camera=2, size=(64, 32))
    levels, rates, places = [], [], []
    watch(monkeypatch, lambda network, k, labels: levels.append(k))
    degrade, pk_batches = training_set.degrade, lrar.pk_batches
    monkeypatch.setattr(
        training_set, "degrade", lambda images, r, kernel: rates.append(r) or degrade(images, r, kernel)
    )
    monkeypatch.setattr(lrar, "pk_batches", lambda *args: places.extend(pk_batches(*args)) or pk_batches(*args))
    matcher = train(replace(SMOKE, rates=(1, 2), genuine_rate=2, p=3), people, progress=False)
    levels, rates = torch.cat(levels), torch.cat(rates)
    genuine = people.part("train")["camid"].to_numpy()[np.concatenate(places)] == people.genuine_lr_camid
    genuine = torch.from_numpy(genuine)
    assert (levels[genuine] == 1).all()
    assert (rates[genuine] == 1).all()
    assert (levels[~genuine] == 3 - rates[~genuine]).all()
    assert set(levels[~genuine].tolist()) == {1, 2}
    images, one = pictures(2), torch.tensor([1, 1])
    as_genuine = matcher.embed_query(images, one)
    matcher.genuine_rate = 1
    assert torch.equal(as_genuine, matcher.embed_query(images, 2 * one))
    with pytest.raises(ValueError, match=r"taken for rate 3, which has no level: add it to rates \(1, 2\)"):
        train(replace(SMOKE, rates=(1, 2), genuine_rate=3, p=3), people, progress=False)


def test_the_naive_solution_is_one_ide_verif_for_each_rate(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    degrade, see = training_set.degrade, rates.append
    monkeypatch.setattr(training_set, "degrade", lambda images, r, _: see(set(r.tolist())) or degrade(images, r))
    matcher = train_naive(replace(SMOKE, rates=(1, 4)), people, progress=False)
    assert isinstance(matcher, PerRateMatcher)
    assert matcher.rates == [1, 4]
    assert {tuple(r) for r in rates} == {(1,), (4,)}
    assert [(m.network.masked, m.network.parts) for m in matcher.matchers] == [(0, 1)] * 2
    scores = evaluate(matcher, mlr.trials(people, rates=(1, 4), n=2), progress=False)
    assert scores.per_trial["rank20"].between(0, 100).all()
    assert train_naive(replace(SMOKE, rates=(1, 2)), people, rates=(3,), progress=False).rates == [3]


def test_images_reach_the_network_at_its_input_size(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, losses = set(), lrar.losses
    monkeypatch.setattr(lrar, "losses", lambda n, c, x, *rest: shapes.add(tuple(x.shape)) or losses(n, c, x, *rest))
    matcher = train(replace(SMOKE, input_size=(96, 48)), people, progress=False)
    assert shapes == {(16, 3, 96, 48)}
    assert matcher.input_size == (96, 48)
