from dataclasses import fields, replace

import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.ranking import euclidean, evaluate
from reid_lib.networks.baseline import Baseline
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training.baseline import BaselineConfig, train, train_per_rate
from reid_lib.training.run import TrainingError
from reid_lib.training.starts import build_backbone

CPU = torch.device("cpu")
SMOKE = BaselineConfig.for_profile("smoke")


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=24, images_per_camera=2, size=(64, 32))


def pictures(n: int, size: tuple[int, int] = (64, 32)) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *size), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def test_profiles_change_sizes_and_epochs_only() -> None:
    paper = BaselineConfig.for_profile("paper")
    assert paper == BaselineConfig()
    sizes = {"network", "width", "p", "pad", "epochs", "warmup", "milestones", "learning_rate", "input_size"}
    sizes |= {"weights", "steps"}
    for profile in PROFILES:
        config = BaselineConfig.for_profile(profile)
        changed = {f.name for f in fields(config) if getattr(config, f.name) != getattr(paper, f.name)}
        assert changed <= sizes


def test_a_profile_takes_changes() -> None:
    assert BaselineConfig.for_profile("smoke", rates=(1, 2)) == replace(SMOKE, rates=(1, 2))


def test_unknown_profile_and_network_are_refused(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="unknown profile 'small': expected one of smoke, demo, paper"):
        BaselineConfig.for_profile("small")
    for change in ({"network": "vgg"}, {"weights": "imagenet"}):
        with pytest.raises(ValueError, match="tiny with weights none or synth"):
            train(replace(SMOKE, **change), people, progress=False)


def test_training_learns_its_own_people(people: ReIDDataset) -> None:
    """Trained longer than smoke, the network ranks the people of its training far better than by chance."""
    config = replace(SMOKE, width=16, epochs=40, learning_rate=2e-3, milestones=(30,))
    matcher = train(config, people, progress=False)
    pids = people.splits[0].train_pids
    known = replace(people, splits=(replace(people.splits[0], train_pids=people.splits[0].test_pids, test_pids=pids),))
    rank1 = evaluate(matcher, mlr.trials(known, rates=(1,), n=3), progress=False).summary.loc["rank1", "mean"]
    assert rank1 > 5 * 100 / len(pids)


def test_training_images_are_down_sampled_as_asked(people: ReIDDataset) -> None:
    images = pictures(4)
    hr, lr = (train(replace(SMOKE, rates=r), people, progress=False) for r in ((1,), (4,)))
    assert not torch.equal(hr.embed_gallery(images), lr.embed_gallery(images))


def test_fewer_people_than_a_batch_needs(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="p=40 identities with k=4 images each cannot be drawn from 12"):
        train(replace(SMOKE, p=40), people, progress=False)


def test_a_diverging_training_stops(people: ReIDDataset) -> None:
    with pytest.raises(TrainingError, match="not finite"):
        train(replace(SMOKE, learning_rate=float("inf")), people, progress=False)


def test_embeddings_have_length_one_and_rates_make_no_difference(people: ReIDDataset) -> None:
    matcher = train(SMOKE, people, progress=False)
    gallery = matcher.embed_gallery(pictures(5))
    assert torch.allclose(gallery.norm(dim=1), torch.ones(5))
    assert torch.equal(matcher.embed_query(pictures(5), torch.full((5,), 4)), gallery)
    assert torch.equal(matcher.distance(gallery, gallery), euclidean(gallery, gallery))


def test_images_reach_the_network_at_its_input_size(people: ReIDDataset) -> None:
    assert train(replace(SMOKE, input_size=(96, 48)), people, progress=False).input_size == (96, 48)


def test_per_rate_training_and_evaluation(people: ReIDDataset) -> None:
    matcher = train_per_rate(SMOKE, people, (1, 4), progress=False)
    assert matcher.rates == [1, 4]
    scores = evaluate(matcher, mlr.trials(people, n=2), progress=False)
    assert scores.per_trial["rank20"].between(0, 100).all()


def test_the_neck_is_what_is_matched() -> None:
    model = Baseline(build_backbone("tiny", 8, "none", (64, 32)), identities=5).eval()
    x = torch.rand(2, 3, 64, 32)
    feature, logits = model(x)
    assert logits.shape == (2, 5)
    assert torch.equal(model.embed(x), model.neck(feature))
    assert model.neck.bias.requires_grad is False
