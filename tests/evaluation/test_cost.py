import pytest
import torch
from torch import nn

from reid_lib.evaluation.cost import cost
from reid_lib.evaluation.matchers import FeatureMatcher, PerRateMatcher
from reid_lib.networks.tiny import tiny


class Shared:
    """A grouped convolution, and one linear map that query and gallery share; a classifier that nobody runs."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False)
        self.parts = {"maps": [nn.Linear(6, 5)]}
        self.classifier = nn.Linear(5, 100)

    @torch.inference_mode()
    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return self.parts["maps"][0](self.conv(images.float()).mean((2, 3)))

    @torch.inference_mode()
    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        return self.parts["maps"][0](self.embed_gallery(images)[:, [0, 1, 2, 3, 4, 0]])


def test_parameters_and_multiply_adds_by_hand() -> None:
    found = cost(Shared(), torch.zeros(4, 3, 8, 6, dtype=torch.uint8), torch.ones(4, dtype=torch.int64), repeat=1)
    assert found.parameters == 6 * 9 + 6 * 5 + 5  # the linear map counts once, the classifier not at all
    convolution, linear = 8 * 6 * 6 * 9, 6 * 5
    assert found.gallery_multiply_adds == convolution + linear
    assert found.query_multiply_adds == convolution + 2 * linear
    assert found.milliseconds > 0


def test_a_network_and_one_for_each_rate() -> None:
    network = tiny(width=4).eval()
    one = FeatureMatcher(network, (32, 16), torch.device("cpu"))
    images, rates = torch.zeros(3, 3, 32, 16, dtype=torch.uint8), torch.full((3,), 2)
    alone = cost(one, images, rates, repeat=1)
    assert alone.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert alone.query_multiply_adds == alone.gallery_multiply_adds > 0
    other = FeatureMatcher(tiny(width=4).eval(), (32, 16), torch.device("cpu"))
    both = cost(PerRateMatcher({1: one, 2: other}), images, rates, repeat=1)
    assert both.parameters == 2 * alone.parameters  # the gallery passes both
    assert both.query_multiply_adds == alone.query_multiply_adds
    assert both.gallery_multiply_adds > 2 * alone.gallery_multiply_adds  # and is down-sampled by matrix products


@pytest.mark.parametrize(("images", "rates", "repeat"), [(0, 0, 1), (2, 1, 1), (2, 2, 0)])
def test_bad_input(images: int, rates: int, repeat: int) -> None:
    with pytest.raises(ValueError, match=f"found {images} images, {rates} rates and repeat={repeat}"):
        cost(Shared(), torch.zeros(images, 3, 8, 6, dtype=torch.uint8), torch.ones(rates), repeat)
