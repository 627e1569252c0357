import inspect
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_lib.datasets import LOADERS, load, mlr
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.ranking import euclidean, evaluate
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.networks.weights import WeightsError
from reid_lib.seeds import torch_generator
from reid_lib.training import baseline
from reid_lib.training.baseline import (
    PROFILES,
    Baseline,
    BaselineConfig,
    FeatureMatcher,
    PerRateMatcher,
    build_backbone,
    learning_rate_factor,
    pretrained,
    pretrained_name,
    stretch,
    train,
    train_per_rate,
    training_inputs,
)
from reid_lib.training.run import TrainingError, initialise

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


def test_the_paper_profile_has_a_resnet50_with_last_stride_1() -> None:
    backbone = build_backbone(BaselineConfig(), (256, 128))
    assert backbone.dim == 2048
    assert backbone.eval().feature_map(torch.zeros(1, 3, 64, 32)).shape == (1, 2048, 4, 2)


def test_a_synthetic_start_is_trained_once_and_disturbs_no_other_draw(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(baseline, "synth", lambda seed: people)
    monkeypatch.setattr(BaselineConfig, "for_profile", lambda profile, **changes: replace(SMOKE, **changes))
    monkeypatch.setattr(baseline, "cache_folder", lambda: tmp_path)
    config, own = replace(SMOKE, weights="synth", width=4), replace(SMOKE, width=4)
    starts = [initialise(lambda: Baseline(build_backbone(config, (64, 32)), 5), 0, CPU) for _ in range(2)]
    (folder,) = (tmp_path / "starts").iterdir()
    written = (folder / "last.pt").stat().st_mtime_ns
    trained = train(own, people, folder=tmp_path / "starts", device=CPU, progress=False)
    assert (folder / "last.pt").stat().st_mtime_ns == written  # the same run, found again
    expected = trained.embed.__self__.backbone.state_dict()
    for start in starts:  # trained anew, then loaded
        assert all(torch.equal(value, expected[name]) for name, value in start.backbone.state_dict().items())
    assert torch.equal(starts[0].classifier.weight, starts[1].classifier.weight)
    plain = initialise(lambda: Baseline(build_backbone(own, (64, 32)), 5), 0, CPU)
    assert torch.equal(starts[0].classifier.weight, plain.classifier.weight)


def test_no_data_set_holds_the_people_of_the_synthetic_start() -> None:
    for name in ("synth", "synth-caviar", "synth-thermal"):
        seed = inspect.signature(LOADERS[name]).parameters["seed"].default
        assert seed != baseline.START_CROWD


def test_learning_rate_by_hand() -> None:
    config = BaselineConfig(warmup=10, milestones=(40, 70))
    factors = [learning_rate_factor(config, epoch) for epoch in (0, 5, 10, 39, 40, 69, 70, 119)]
    assert factors == pytest.approx([0.1, 0.55, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_schedule_is_stretched() -> None:
    config = BaselineConfig(epochs=12, warmup=1, milestones=(7, 10))
    assert stretch(config, 36) == replace(config, epochs=36, warmup=3, milestones=(21, 30))
    assert stretch(config, 12) == config
    with pytest.raises(ValueError, match="epochs must be at least 1, found 0"):
        stretch(config, 0)


def test_training_learns_its_own_people(people: ReIDDataset) -> None:
    """Trained longer than smoke, the network ranks the people of its training far better than by chance."""
    config = replace(SMOKE, width=16, epochs=40, learning_rate=2e-3, milestones=(30,))
    matcher = train(config, people, progress=False)
    pids = people.splits[0].train_pids
    known = replace(people, splits=(replace(people.splits[0], train_pids=people.splits[0].test_pids, test_pids=pids),))
    rank1 = evaluate(matcher, mlr.trials(known, rates=(1,), n=3), progress=False).summary.loc["rank1", "mean"]
    assert rank1 > 5 * 100 / len(pids)


def test_same_seed_same_network(people: ReIDDataset) -> None:
    images = pictures(4)
    first, again, other = (train(SMOKE, people, seed=s, progress=False).embed_gallery(images) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_images_are_down_sampled_as_asked(people: ReIDDataset) -> None:
    images = pictures(4)
    hr, lr = (train(replace(SMOKE, rates=r), people, progress=False) for r in ((1,), (4,)))
    assert not torch.equal(hr.embed_gallery(images), lr.embed_gallery(images))


def test_a_finished_run_is_used_again(people: ReIDDataset, tmp_path: Path) -> None:
    first = train(SMOKE, people, folder=tmp_path, progress=False)
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "last.pt").stat().st_mtime_ns
    again = train(SMOKE, people, folder=tmp_path, progress=False)
    assert (folder / "last.pt").stat().st_mtime_ns == stamp
    assert torch.equal(first.embed_gallery(pictures(3)), again.embed_gallery(pictures(3)))
    train(replace(SMOKE, rates=(2,)), people, folder=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2


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


def flat_matcher(scale: float) -> FeatureMatcher:
    """A matcher whose feature is a few pixels, shifted by ``scale`` so that two of them differ."""
    return FeatureMatcher(lambda x: x[:, 0, ::16, ::16].flatten(1) + scale, (64, 32), CPU)


def test_images_reach_the_network_at_its_input_size(people: ReIDDataset) -> None:
    config = replace(SMOKE, input_size=(96, 48))
    inputs = training_inputs(open_store(people), np.arange(3), config, torch_generator(0), CPU)
    assert inputs.shape == (3, 3, 96, 48)
    assert train(config, people, progress=False).input_size == (96, 48)


def test_a_matcher_knows_its_split(people: ReIDDataset) -> None:
    matcher = train(SMOKE, people, split=2, progress=False)
    assert matcher.split == PerRateMatcher({1: matcher}).split == 2
    with pytest.raises(ValueError, match="trained on split 2"):
        evaluate(matcher, mlr.trials(people, split=1, n=1), progress=False)


def test_one_model_per_rate_compares_in_the_model_of_the_query() -> None:
    models = {1: flat_matcher(1.0), 2: flat_matcher(2.0), 4: flat_matcher(4.0)}
    matcher, images, rates = PerRateMatcher(models), pictures(5), torch.tensor([4, 1, 2, 8, 3])
    query, gallery = matcher.embed_query(images, rates), matcher.embed_gallery(images)
    distances = matcher.distance(query, gallery)
    for i, used in enumerate([4, 1, 2, 4, 2]):  # 8 and 3 have no model: the nearest smaller one
        model = models[used]
        expected = euclidean(model.embed_gallery(images[i : i + 1]), model.embed_gallery(degrade(images, used)))
        assert torch.allclose(distances[i : i + 1], expected)


def test_a_rate_below_every_model_goes_to_the_smallest() -> None:
    matcher = PerRateMatcher({2: flat_matcher(1.0), 4: flat_matcher(2.0)})
    assert matcher.model_of(torch.tensor([1, 2, 3, 4, 9])).tolist() == [0, 0, 0, 1, 1]


def test_per_rate_training_and_evaluation(people: ReIDDataset) -> None:
    matcher = train_per_rate(SMOKE, people, (1, 4), progress=False)
    assert matcher.rates == [1, 4]
    scores = evaluate(matcher, mlr.trials(people, n=2), progress=False)
    assert scores.per_trial["rank20"].between(0, 100).all()


def test_the_neck_is_what_is_matched() -> None:
    model = Baseline(build_backbone(SMOKE, (64, 32)), identities=5).eval()
    x = torch.rand(2, 3, 64, 32)
    feature, logits = model(x)
    assert logits.shape == (2, 5)
    assert torch.equal(model.embed(x), model.neck(feature))
    assert model.neck.bias.requires_grad is False


def test_a_published_network_as_it_is(tmp_path: Path) -> None:
    network = osnet_x0_25().eval()
    torch.save(network.state_dict(), tmp_path / "osnet_x0_25_somewhere.pth")
    matcher = pretrained(tmp_path / "osnet_x0_25_somewhere.pth", CPU)
    assert matcher.embed_gallery(pictures(2, (128, 64))).shape == (2, 512)
    assert pretrained_name(tmp_path / "osnet_x0_25_somewhere.pth") == "OSNet x0.25 (somewhere)"
    with pytest.raises(ValueError, match="random network"):
        pretrained("none", CPU)
    with pytest.raises(WeightsError, match=r"nowhere\.pth"):
        pretrained(tmp_path / "nowhere.pth", CPU)
