"""What a backbone starts from."""

import inspect
from pathlib import Path

import pytest
import torch

from reid_lib.datasets import LOADERS, load, mlr
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.ranking import evaluate
from reid_lib.networks.baseline import Baseline
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.training import starts
from reid_lib.training.baseline import BaselineConfig, train
from reid_lib.training.methods import METHODS
from reid_lib.training.run import initialise
from reid_lib.training.starts import StartConfig, build_backbone

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=24, images_per_camera=2, size=(64, 32))


def test_the_paper_profile_has_a_resnet50_with_last_stride_1() -> None:
    config = BaselineConfig()
    backbone = build_backbone(config.network, config.width, config.weights, (256, 128))
    assert backbone.dim == 2048
    assert backbone.input_size == (256, 128)
    assert backbone.eval().feature_map(torch.zeros(1, 3, 64, 32)).shape == (1, 2048, 4, 2)


@pytest.mark.parametrize(
    ("network", "weights"), [("vgg", "none"), ("tiny", "imagenet"), ("resnet50", "synth"), ("osnet_x0_25", "synth")]
)
def test_unknown_networks_and_weights_are_refused(network: str, weights: str) -> None:
    with pytest.raises(ValueError, match=f"tiny with weights none or synth; found network '{network}' with weights"):
        build_backbone(network, 8, weights, (64, 32))


def test_a_synthetic_start_is_trained_once_and_disturbs_no_other_draw(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(starts, "synth", lambda seed: people)
    smoke = {"p": 4, "pad": 2, "epochs": 2, "warmup": 0, "milestones": (1,), "learning_rate": 3.5e-4, "steps": 3}
    monkeypatch.setattr(starts, "StartConfig", lambda width: StartConfig(width, **smoke))
    monkeypatch.setattr(starts, "cache_folder", lambda: tmp_path)

    def start(weights: str) -> Baseline:
        return initialise(lambda: Baseline(build_backbone("tiny", 4, weights, (64, 32)), 5), 0, CPU)

    first = start("synth")
    (folder,) = (tmp_path / "starts").iterdir()
    written = (folder / "last.pt").stat().st_mtime_ns
    again = start("synth")
    assert (folder / "last.pt").stat().st_mtime_ns == written  # the same run, found again
    trained = train(BaselineConfig.for_profile("smoke", width=4, **smoke), people, device=CPU, progress=False)
    expected = trained.embed.__self__.backbone.state_dict()  # the HR-only baseline with the same settings
    for found in (first, again):
        assert all(torch.equal(value, expected[name]) for name, value in found.backbone.state_dict().items())
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert torch.equal(first.classifier.weight, start("none").classifier.weight)


def test_no_data_set_holds_the_identities_of_the_synthetic_start() -> None:
    for name in ("synth", "synth-caviar", "synth-thermal"):
        seed = inspect.signature(LOADERS[name]).parameters["seed"].default
        assert seed != starts.START_CROWD


@pytest.mark.parametrize("name", ["baseline", "lrar", "cadnet"])
def test_a_published_osnet_is_the_encoder_of_every_method(people: ReIDDataset, tmp_path: Path, name: str) -> None:
    file = tmp_path / "osnet_x0_25_somewhere.pth"
    torch.save(initialise(osnet_x0_25, 7, CPU).state_dict(), file)
    method = METHODS[name]
    settings = {"network": "osnet_x0_25", "weights": str(file), "learning_rate": 1e-6}
    matcher = method.train(method.config.for_profile("smoke", **settings), people, device=CPU, progress=False)
    network = matcher.embed.__self__.backbone if name == "baseline" else matcher.network
    network = {"lrar": lambda: network.backbone, "cadnet": lambda: network.E}.get(name, lambda: network)()
    started = osnet_x0_25(weights=file).conv3[0].conv1.conv.weight
    torch.testing.assert_close(network.conv3[0].conv1.conv.weight, started, atol=2e-3, rtol=0)  # it began there
    scores = evaluate(matcher, mlr.trials(people, n=1), progress=False)
    assert scores.per_trial["rank20"].between(0, 100).all()
