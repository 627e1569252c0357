"""The level of a query whose rate is unknown."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.ranking import evaluate
from reid_lib.seeds import torch_generator
from reid_lib.training import levels, training_set
from reid_lib.training.levels import EstimatedLevelMatcher, EstimatedRateMatcher, train_level_classifier
from reid_lib.training.lrar import LRARConfig, LRARMatcher, level_of, train

SMOKE = LRARConfig.for_profile("smoke", hidden=16)
LONGER = replace(SMOKE, epochs=8)


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=16, images_per_camera=2, size=(64, 32))


@pytest.fixture(scope="module")
def matcher(people: ReIDDataset) -> LRARMatcher:
    """A trained matcher whose masks lie far apart."""
    return train(replace(SMOKE, mask_std=1.0), people, progress=False)


def pictures(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 64, 32), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def test_the_level_classifier_sees_blur_on_people_it_has_not_met(people: ReIDDataset) -> None:
    estimate = train_level_classifier(replace(SMOKE, epochs=80), people, progress=False)
    store, numbers = open_store(people), people.part("test").index.to_numpy()
    right = [
        (estimate(training_set.degrade(store.batch(numbers), rate)) == 5 - rate).float().mean() for rate in (1, 2, 3, 4)
    ]
    assert right[0] > 0.8
    assert sum(right) / 4 > 0.5  # guessing: 0.25


def test_the_level_classifier_learns_each_rate_at_its_level(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, seen, degrade, entropy = [], [], training_set.degrade, torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        training_set, "degrade", lambda images, r, kernel: rates.append(r) or degrade(images, r, kernel)
    )
    monkeypatch.setattr(levels.functional, "cross_entropy", lambda x, k: seen.append(k + 1) or entropy(x, k))
    train_level_classifier(replace(SMOKE, rates=(1, 2, 4), epochs=16), people, progress=False)
    assert torch.equal(torch.cat(seen), level_of(torch.cat(rates), (1, 2, 4)))
    assert set(torch.cat(seen).tolist()) == {1, 2, 3}
    rates.clear(), seen.clear()
    caviar = load("synth-caviar", identities=12, images_per_camera=2, size=(64, 32))
    config = replace(SMOKE, rates=(1, 4), genuine_rate=4, p=3, epochs=16)
    with monkeypatch.context() as patch:
        patch.setattr(levels, "draw_rates", lambda n, *_: torch.ones(n, dtype=torch.int64))
        train_level_classifier(config, caviar, progress=False)
    assert (torch.cat(rates) == 1).all()
    assert set(torch.cat(seen).tolist()) == {1, 2}  # LR ones as they are, at the level of rate 4
    with pytest.raises(ValueError, match="taken for rate 2, which has no level"):
        train_level_classifier(replace(config, genuine_rate=2), caviar, progress=False)


def test_a_finished_level_classifier_is_used_again(people: ReIDDataset, tmp_path: Path) -> None:
    images = pictures(8)
    first = train_level_classifier(LONGER, people, folder=tmp_path, progress=False)
    (last,) = tmp_path.glob("levels-seed0-*/last.pt")
    stamp, weights = last.stat().st_mtime_ns, first.args[0].state_dict()
    again = train_level_classifier(LONGER, people, folder=tmp_path, progress=False)
    assert last.stat().st_mtime_ns == stamp
    assert all(torch.equal(weights[name], value) for name, value in again.args[0].state_dict().items())
    assert torch.equal(first(images), again(images))


def test_an_estimated_level_takes_the_place_of_the_rate(people: ReIDDataset, matcher: LRARMatcher) -> None:
    images, given = pictures(4), torch.tensor([1, 3, 4, 2])
    guessing = EstimatedLevelMatcher(matcher, lambda images: given[: len(images)])
    assert torch.equal(guessing.embed_query(images, torch.full((4,), 9)), matcher.embed_query(images, 5 - given))
    assert torch.equal(guessing.embed_gallery(images), matcher.embed_gallery(images))
    trials = mlr.trials(people, rates=(4,), n=2)
    lowest = EstimatedLevelMatcher(matcher, lambda images: torch.ones(len(images), dtype=torch.int64))
    scores = [evaluate(m, trials, progress=False).per_trial for m in (matcher, lowest)]
    pd.testing.assert_frame_equal(*scores)
    with pytest.raises(ValueError, match="trained on split 0"):
        evaluate(lowest, mlr.trials(people, split=1, n=1), progress=False)


def test_a_matcher_that_uses_rates_gets_those_of_the_estimated_levels(matcher: LRARMatcher) -> None:
    images, told = pictures(4), torch.ones(4, dtype=torch.int64)
    blind = EstimatedRateMatcher(matcher, lambda x: torch.tensor([1, 2, 4, 3]), (4, 3, 2, 1))
    expected = matcher.embed_query(images, torch.tensor([4, 3, 1, 2]))
    assert torch.equal(blind.embed_query(images, told), expected)
    assert torch.equal(blind.embed_gallery(images), matcher.embed_gallery(images))
    assert (blind.split, blind.device) == (matcher.split, matcher.device)
