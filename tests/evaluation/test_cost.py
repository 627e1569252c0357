"""What a Matcher costs, against counts by hand on small networks."""

from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from reid_lib.evaluation import cost as module
from reid_lib.evaluation.cost import Cost, cost
from reid_lib.evaluation.matchers import FeatureMatcher, PannedMatcher, PerRateMatcher
from reid_lib.evaluation.recovery import RecoveredMatcher
from reid_lib.networks.baseline import Baseline
from reid_lib.networks.lrar import LRARNetwork
from reid_lib.networks.sr import Bicubic, Generated
from reid_lib.networks.tiny import tiny
from reid_lib.networks.transreid import TransReID
from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.seeds import torch_generator
from reid_lib.training import cadnet, drfm, intact
from reid_lib.training.levels import EstimatedLevelMatcher, estimate_levels, level_classifier
from reid_lib.training.lrar import LRARMatcher
from reid_lib.training.vpfa import VectorPanning
from reid_lib.training.yardsticks import MeanShift, RidgeMap

CPU = torch.device("cpu")
SIZE = (8, 4)
RATES = [2, 3, 4, 1]


def pictures(n: int = 4, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *size), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def measured(matcher: object, rates: list[int] = RATES, size: tuple[int, int] = SIZE) -> Cost:
    return cost(matcher, pictures(len(rates), size), rates, repeats=1)


def linear(dim: int = 5) -> nn.Sequential:
    """96 numbers of an image to ``dim`` numbers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(96, dim))


def numbers(*parts: nn.Module | nn.Parameter) -> int:
    each = [part.parameters() if isinstance(part, nn.Module) else [part] for part in parts]
    return sum(parameter.numel() for parameters in each for parameter in parameters)


@pytest.mark.parametrize(
    ("network", "parameters", "products"),
    [
        (linear(), 96 * 5 + 5, 96 * 5),
        (nn.Linear(4, 6), 4 * 6 + 6, 3 * 8 * 4 * 6),
        (nn.Conv2d(3, 7, 3, padding=1), 3 * 9 * 7 + 7, 8 * 4 * 3 * 9 * 7),
        (nn.Conv2d(3, 7, 2, stride=2, bias=False), 3 * 4 * 7, 4 * 2 * 3 * 4 * 7),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 9 * 6 + 6, 8 * 4 * 9 * 6),
        (nn.ConvTranspose2d(3, 5, 2, stride=2), 3 * 4 * 5 + 5, 8 * 4 * 3 * 4 * 5),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)),
            16 + 8 + 258,
            640,
        ),
    ],
    ids=["linear", "linear of maps", "convolution", "stride", "groups", "transposed", "together"],
)
def test_one_network_by_hand(network: nn.Module, parameters: int, products: int) -> None:
    found = measured(FeatureMatcher(lambda x: network.eval()(x).flatten(1), SIZE, CPU))
    assert found.parameters == parameters
    assert found.query_multiply_adds == found.gallery_multiply_adds == products
    assert found.queries_per_second > 0
    assert found.gallery_per_second > 0


WEIGHT = nn.Parameter(torch.randn(8, 8), requires_grad=False)


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (lambda x: x @ WEIGHT[:4], 3 * 8 * 4 * 8),
        (lambda x: WEIGHT @ x, 3 * 8 * 8 * 4),
        (lambda x: torch.einsum("nchw,hk->nckw", x, WEIGHT), 3 * 8 * 8 * 4),
        (lambda x: torch.stack([WEIGHT @ one[0, :, 0] for one in x]), 8 * 8),
        (lambda x: torch.stack([torch.addmv(WEIGHT[0], WEIGHT, one[0, :, 0]) for one in x]), 8 * 8),
        (lambda x: torch.stack([one[0, :, 0] @ WEIGHT[0] for one in x])[:, None], 8),
        (lambda x: torch.stack([torch.addbmm(WEIGHT[:, :4], WEIGHT.expand(3, 8, 8), one) for one in x]), 3 * 8 * 8 * 4),
        (lambda x: functional.scaled_dot_product_attention(x, x, x), 2 * 3 * 8 * 8 * 4),
    ],
    ids=["matmul", "broadcast", "einsum", "mv", "addmv", "dot", "addbmm", "attention"],
)
def test_matrix_products_of_all_kinds(product, expected: int) -> None:
    assert measured(FeatureMatcher(product, SIZE, CPU)).query_multiply_adds == expected


def test_attention_counts_on_its_fast_path_too() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 16, batch_first=True).eval()
    found = measured(FeatureMatcher(lambda x: layer(x[:, 0]), SIZE, CPU))
    tokens, dim = 8, 4
    assert found.query_multiply_adds == tokens * 4 * dim * dim + 2 * tokens * tokens * dim + 2 * tokens * dim * 16
    assert found.parameters == numbers(layer)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_vision_transformer_by_hand() -> None:
    pytest.importorskip("timm")
    width, depth, size = 24, 3, (64, 32)
    network = TransReID(input_size=size, stride=16, width=width, depth=depth, heads=2).eval()
    found = measured(FeatureMatcher(network, size, CPU), size=size)
    patches = 4 * 2

    def block(tokens: int) -> int:
        return 12 * tokens * width**2 + 2 * tokens**2 * width

    blocks = depth * block(patches + 1) + 4 * block(patches // 4 + 1)  # the last one again on each local part
    assert found.query_multiply_adds == patches * 3 * 16**2 * width + blocks
    unused = [network.base.blocks[-1], network.base.norm, *network.bottlenecks]
    assert found.parameters == numbers(network) - numbers(*unused)


def test_what_only_training_needs_is_not_counted() -> None:
    network = Baseline(tiny(width=4), 1000).eval()
    found = measured(FeatureMatcher(network.embed, (32, 16), CPU), size=(32, 16))
    assert found.parameters == numbers(network.backbone, network.neck)
    assert found.parameters < numbers(network.classifier)


def test_shared_parameters_count_once_and_their_work_each_time() -> None:
    network = linear()
    twice = FeatureMatcher(lambda x: network(x) + network(x.flip(3)), SIZE, CPU)
    assert (measured(twice).parameters, measured(twice).query_multiply_adds) == (485, 2 * 480)
    one = linear()
    per_rate = PerRateMatcher({r: FeatureMatcher(one, SIZE, CPU) for r in (1, 2)})
    assert measured(per_rate).parameters == 485


def test_a_map_costs_the_queries_alone() -> None:
    lr, hr = torch.randn(40, 5, generator=torch_generator(0)), torch.randn(40, 5, generator=torch_generator(1))
    pids, network = [i // 2 for i in range(40)], linear()
    module_ = VectorPanningModule(5, 6, 3)
    for panning, parameters, products in (
        (VectorPanning(hidden=6, epochs=1, n_pairs=8, progress=False), numbers(module_), 5 * 6 + 2 * 36 + 6 * 5),
        (MeanShift(), 5, 0),
        (RidgeMap(), 30, 25),
    ):
        panning.set_params(device="cpu").fit(lr, hr, pids)
        found = measured(PannedMatcher(network, SIZE, CPU, panning))
        assert found.parameters == 485 + parameters
        assert (found.query_multiply_adds, found.gallery_multiply_adds) == (480 + products, 480)


def test_one_map_per_rate_costs_those_of_the_rates_that_come() -> None:
    lr, hr = torch.randn(40, 5, generator=torch_generator(0)), torch.randn(40, 5, generator=torch_generator(1))
    panning = RidgeMap(pairing="image", per_rate=True, device="cpu").fit(lr, hr, rates=[2, 3] * 20)
    matcher = PannedMatcher(linear(), SIZE, CPU, panning)
    assert measured(matcher, [2, 2]).parameters == 485 + 30
    assert measured(matcher, [2, 3]).parameters == 485 + 60


def test_one_model_per_rate_costs_the_gallery_all_of_them() -> None:
    matcher = PerRateMatcher({r: FeatureMatcher(linear(), SIZE, CPU) for r in (1, 2, 4)})
    found = measured(matcher, [2, 2])
    assert found.parameters == 3 * 485
    assert found.query_multiply_adds == 480
    down = [3 * (8 * 4 * 4 // r + 8 // r * 8 * (4 // r)) for r in (2, 4)]  # a resize is two matrices
    up = [3 * (8 // r * (4 // r) * 4 + 8 * 8 // r * 4) for r in (2, 4)]
    assert found.gallery_multiply_adds == 3 * 480 + sum(down + up)


def test_a_query_that_is_recovered_costs_the_generator_too() -> None:
    generator, network = nn.Conv2d(3, 3, 3, padding=1), linear()
    matcher = RecoveredMatcher(FeatureMatcher(network, SIZE, CPU), Generated(generator, SIZE, CPU))
    found = measured(matcher)
    assert found.parameters == 485 + 84
    assert (found.query_multiply_adds, found.gallery_multiply_adds) == (480 + 8 * 4 * 81, 480)


def lrar(masks: bool = True) -> LRARMatcher:
    return LRARMatcher(LRARNetwork(tiny(width=4), 50, 4, hidden=8, masks=masks), (1, 2, 3, 4), (32, 16), CPU)


def test_lrars_masks_count_and_its_classifier_and_verifier_do_not() -> None:
    matcher = lrar()
    network = matcher.network
    expected = numbers(network.backbone, network.neck, network.masks)
    assert measured(matcher, size=(32, 16)).parameters == expected
    network.introduce_masks(1)
    assert measured(matcher, size=(32, 16)).parameters == expected - numbers(*list(network.masks)[:3])


def test_the_classifier_of_levels_costs_the_queries() -> None:
    matcher, classifier = lrar(), level_classifier(4).eval()
    found = measured(EstimatedLevelMatcher(matcher, partial(estimate_levels, classifier, (32, 16))), size=(32, 16))
    plain, alone = (measured(one, size=(32, 16)) for one in (matcher, FeatureMatcher(classifier, (32, 16), CPU)))
    assert found.parameters == plain.parameters + numbers(classifier)
    assert found.query_multiply_adds == plain.query_multiply_adds + alone.query_multiply_adds
    assert found.gallery_multiply_adds == plain.gallery_multiply_adds


@pytest.mark.parametrize("features", ["both", "f", "g"])
def test_cadnet_costs_what_its_feature_needs_and_no_discriminator(features: str) -> None:
    size, config = (64, 32), cadnet.CADNetConfig.for_profile("smoke", features=features)
    network = cadnet.build_network(config, size, 20)
    found = measured(cadnet.CADNetMatcher(network, pd.DataFrame(), size, CPU), size=size)
    used = [network.E] if features == "f" else [network.E, network.G, network.F]
    assert network.D_F is not None
    assert found.parameters == numbers(*used, *([] if network.neck is None else [network.neck]))
    assert found.query_multiply_adds == found.gallery_multiply_adds


def test_intact_costs_its_gallery_no_generator() -> None:
    size, critic = (64, 32), Baseline(tiny(width=4), 30)
    network = intact.build_network(intact.INTACTConfig.for_profile("smoke"), size, critic)
    found = measured(intact.INTACTMatcher(network, pd.DataFrame(), size, CPU), size=size)
    assert found.parameters == numbers(network.G, critic.backbone, critic.neck)
    alone = measured(FeatureMatcher(critic.embed, size, CPU), size=size)
    assert found.gallery_multiply_adds == alone.gallery_multiply_adds
    assert found.query_multiply_adds > 2 * found.gallery_multiply_adds


def test_drfm_costs_both_encoders_and_the_fusion() -> None:
    size, config = (64, 32), drfm.DRFMConfig.for_profile("smoke")
    network = drfm.build_network(config, size)
    data = SimpleNamespace(size=size, device=CPU, split=0)
    matcher = drfm.DRFMMatcher(network, pd.DataFrame(), torch.zeros(1, 1), config, Bicubic(4), data)
    assert network.Pred is not None
    assert measured(matcher, size=size).parameters == numbers(network.E_h, network.E_l, network.fusion)


class Clocked:
    """A Matcher whose batches take known times; there is no other clock."""

    def __init__(self, queries: list[float], gallery: list[float]) -> None:
        self.now, self.queries, self.gallery = 0.0, iter(queries), iter(gallery)

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        self.now += next(self.queries)
        return images

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        self.now += next(self.gallery)
        return images


def test_speed_is_the_median_of_the_timed_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    # first the batch that is counted, then the one that warms up
    matcher = Clocked([90, 90, 1, 4, 2], [50, 50, 8, 3, 16])
    monkeypatch.setattr(module.time, "perf_counter", lambda: matcher.now)
    found = cost(matcher, pictures(4), RATES, repeats=3)
    assert (found.queries_per_second, found.gallery_per_second) == (4 / 2, 4 / 8)
    assert (found.parameters, found.query_multiply_adds, found.gallery_multiply_adds) == (0, 0, 0)
    assert next(matcher.queries, None) is None


def test_the_cost_of_an_image_does_not_depend_on_how_many_there_are() -> None:
    matcher = FeatureMatcher(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), SIZE, CPU)
    one, many = measured(matcher, [2]), measured(matcher, [2] * 7)
    assert (one.parameters, one.query_multiply_adds) == (many.parameters, many.query_multiply_adds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": pictures(4)[:0], "rates": []},
            r"one or more uint8 images \(n, 3, H, W\), found torch.uint8 \(0, 3",
        ),
        ({"images": pictures(4).float()}, "found torch.float32"),
        ({"images": pictures(4)[:, :1]}, r"found torch.uint8 \(4, 1, 8, 4\)"),
        ({"images": pictures(4)[0]}, r"found torch.uint8 \(3, 8, 4\)"),
        ({"rates": [2, 3]}, r"the rate of each of 4 images, integers >= 1 \(1 = HR\), found \[2, 3\]"),
        ({"rates": torch.tensor(2)}, "found 2"),
        ({"rates": [2, 3, 4, 0]}, r"found \[2, 3, 4, 0\]"),
        ({"rates": [2.0, 3.0, 4.0, 1.0]}, "integers >= 1"),
        ({"repeats": 0}, "at least 1 timed batch, found 0"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    arguments = {"images": pictures(4), "rates": RATES, **change}
    with pytest.raises(ValueError, match=message):
        cost(FeatureMatcher(linear(), SIZE, CPU), **arguments)
