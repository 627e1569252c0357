"""The Matchers that any method can hand out."""

from pathlib import Path

import pytest
import torch

from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.matchers import FeatureMatcher, PerRateMatcher, pretrained, pretrained_name
from reid_lib.evaluation.ranking import euclidean
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.networks.weights import WeightsError
from reid_lib.seeds import torch_generator

CPU = torch.device("cpu")


def pictures(n: int, size: tuple[int, int] = (64, 32)) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *size), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def flat_matcher(scale: float) -> FeatureMatcher:
    """A matcher whose feature is a few pixels, shifted by ``scale`` so that two of them differ."""
    return FeatureMatcher(lambda x: x[:, 0, ::16, ::16].flatten(1) + scale, (64, 32), CPU, split=2)


def test_a_matcher_per_rate_knows_its_split() -> None:
    assert PerRateMatcher({1: flat_matcher(1.0)}).split == 2


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
