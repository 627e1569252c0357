"""Maps behind any Matcher."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.behind import MatcherBank
from reid_lib.evaluation.features import FeatureBank, evaluate_features
from reid_lib.evaluation.matchers import FeatureMatcher, PerRateMatcher
from reid_lib.networks.tiny import tiny
from reid_lib.seeds import torch_generator
from reid_lib.training.panning import fit_to_bank
from reid_lib.training.yardsticks import MeanShift


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=24, images_per_camera=2, size=(32, 16))


@pytest.fixture(scope="module")
def plain() -> FeatureMatcher:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = tiny(width=4).eval()
    return FeatureMatcher(network, (32, 16), torch.device("cpu"), split=0)


class Levelled:
    """As LRAR's Matcher: a query keeps a part of the feature, and says how much in a last number."""

    device, split = torch.device("cpu"), 0

    def __init__(self) -> None:
        self.weights = torch.randn(3, 6, generator=torch_generator(0, "levelled"))

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3)) @ self.weights

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        keep = (torch.arange(6) < (6 - rates[:, None])).float()
        return torch.cat([self.embed_gallery(images) * keep, rates[:, None].float()], 1)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return torch.cdist(query[:, :-1], gallery)


def test_behind_a_plain_network_it_is_a_feature_bank(people: ReIDDataset, plain: FeatureMatcher) -> None:
    trials = mlr.trials(people, n=2)
    unit = SimpleNamespace(device=plain.device, split=0, features=plain.embed_gallery)  # features of length 1
    banks = MatcherBank(plain, people, progress=False), FeatureBank(unit, people, progress=False)
    rows, rates = np.arange(6), np.array([1, 2, 3, 4, 2, 1])
    assert torch.allclose(banks[0](rows, rates), banks[1](rows, rates), atol=1e-6)
    found = [evaluate_features(bank, trials, fit_to_bank(MeanShift(), bank, 0)).summary for bank in banks]
    assert found[0]["mean"].to_dict() == pytest.approx(found[1]["mean"].to_dict(), abs=1e-6)


def test_the_level_of_a_query_is_left_out_and_its_zeros_stay(people: ReIDDataset) -> None:
    bank = MatcherBank(Levelled(), people, progress=False)
    query, gallery = bank([0, 1], [4, 2]), bank([0, 1])
    assert query.shape == gallery.shape == (2, 6)
    assert (query != 0).sum(1).tolist() == [2, 4]
    panning = fit_to_bank(MeanShift(per_rate=True), bank, 0)
    assert (panning.transform(query, [4, 2]) != 0).all()  # a map fills them


def test_genuine_lr_images_are_queries_at_rate_1() -> None:
    far = load("synth-caviar", identities=8, images_per_camera=1, size=(32, 16))
    bank = MatcherBank(Levelled(), far, progress=False)
    genuine = (far.table["camid"] == far.genuine_lr_camid).to_numpy()
    kept = (bank(far.table.index) != 0).sum(1).numpy()
    assert set(kept[genuine]) == {5}
    assert set(kept[~genuine]) == {6}


def test_split_and_shapes_are_checked(people: ReIDDataset, plain: FeatureMatcher) -> None:
    bank = MatcherBank(plain, people, progress=False)
    with pytest.raises(ValueError, match="trained on split 0"):
        evaluate_features(bank, mlr.trials(people, split=1, n=1))
    with pytest.raises(ValueError, match=r"one vector of one length .* gallery \(1, 2, 32\)"):
        MatcherBank(PerRateMatcher({1: plain, 2: plain}), people)
    broken = Levelled()
    broken.weights = broken.weights * torch.nan
    with pytest.raises(ValueError, match="NaN or infinite embeddings for 2 of 2 images of synth at rate 3"):
        MatcherBank(broken, people, progress=False)([0, 1], 3)


def test_a_matcher_need_not_name_a_device_or_a_split(people: ReIDDataset, plain: FeatureMatcher) -> None:
    bare = SimpleNamespace(embed_query=plain.embed_query, embed_gallery=plain.embed_gallery, distance=plain.distance)
    rows = people.table.index[:3].to_numpy()
    found = MatcherBank(bare, people, progress=False)
    assert found.split is None
    assert torch.equal(found(rows, 2), MatcherBank(plain, people, progress=False)(rows, 2))
