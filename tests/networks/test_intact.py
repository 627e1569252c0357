"""INTACT's networks: shapes at the paper's setting, what a variant has, who may learn, and what is refused."""

import re

import pytest
import torch
from torch import nn

from reid_lib.networks.baseline import Baseline
from reid_lib.networks.inputs import to_image_range
from reid_lib.networks.intact import INTACT, LATENT, Association, Discriminator, Generator, ResidualBlock
from reid_lib.networks.tiny import tiny
from reid_lib.seeds import torch_generator


def build(**changes: object) -> INTACT:
    options = {"generator_width": 4, "discriminator_width": 4} | changes
    return INTACT(Baseline(tiny(width=8), 5), (64, 32), **options)


def images(n: int = 2, size: tuple[int, int] = (64, 32)) -> torch.Tensor:
    return torch.randn(n, 3, *size, generator=torch_generator(0, "images"))


def test_the_generator_is_that_of_fig_3() -> None:
    with torch.device("meta"):
        generator, x = Generator(), torch.empty(2, 3, 256, 128)
        h, shapes = generator.stem(x), []
        for group in (*generator.down, *generator.up):
            h = group(h)
            shapes.append(tuple(h.shape[2:]))
        made = generator(x)
    assert shapes[:4] == [(128, 64), (64, 32), (32, 16), (16, 8)]
    assert shapes[4:] == [(32, 16), (64, 32), (128, 64), (256, 128)]
    assert made.shape == x.shape
    groups = [*generator.down, *generator.up]
    assert [sum(isinstance(m, ResidualBlock) for m in group.modules()) for group in groups] == [2] * 8
    assert all(any(isinstance(m, nn.MaxPool2d) for m in group.modules()) for group in generator.down)
    assert all(any(isinstance(m, nn.PixelShuffle) for m in group.modules()) for group in generator.up)


def test_the_discriminators_last_hidden_layer_is_f_d() -> None:
    with torch.device("meta"):
        discriminator = Discriminator((256, 128))
        f_d = discriminator.features(torch.empty(2, 3, 256, 128))
        assert tuple(discriminator.verdict(f_d).shape) == (2, 1)
    assert tuple(f_d.shape) == (2, 1024)
    assert sum(isinstance(m, nn.Conv2d) for m in discriminator.modules()) == 8


def test_phi_has_an_encoder_and_a_decoder_of_three_layers_each_and_sigma_is_like_the_encoder() -> None:
    network = build()
    for part in (network.phi.encoder, network.phi.decoder, network.sigma):
        assert sum(isinstance(m, nn.Linear) for m in part) == 3
        assert sum(isinstance(m, nn.BatchNorm1d) for m in part) == 3
    latent, predicted = network.phi(torch.randn(4, network.C.backbone.dim))
    assert LATENT == 200
    assert latent.shape == (4, LATENT)
    assert predicted.shape == (4, network.D.dim)
    assert network.sigma(torch.randn(4, network.D.dim)).shape == (4, LATENT)
    assert Association(8, 6, decode=False)(torch.randn(4, 8))[1] is None


@pytest.mark.parametrize(
    ("association", "source", "target"), [("R-to-D", 64, 128), ("D-to-R", 128, 64), ("common space", 64, 128)]
)
def test_what_the_association_maps(association: str, source: int, target: int) -> None:
    network = build(association=association, discriminator_width=8)
    assert (network.C.backbone.dim, network.D.dim) == (64, 128)  # f_c and f_d
    f_c, f_d = torch.zeros(2, 64), torch.ones(2, 128)
    given, asked = network.associated(f_c, f_d)
    assert (given.shape[1], asked.shape[1]) == (source, target)
    latent, predicted = network.phi(given)
    assert latent.shape == network.sigma(asked).shape == (2, LATENT)
    assert predicted is None if association == "common space" else predicted.shape == asked.shape


def test_what_a_variant_lacks_does_not_exist() -> None:
    assert build(association="none").phi is None
    assert build(association="none").sigma is None
    assert build(bridge=False).sigma is None
    sole = build(discriminate=False, association="none")
    assert (sole.D, sole.phi, sole.sigma) == (None, None, None)


def test_the_critic_is_frozen() -> None:
    network = build().train()
    assert not any(module.training for module in network.C.modules())
    assert not any(p.requires_grad for p in network.C.parameters())
    assert network.G.training
    assert network.D.training


def test_a_residual_generator_starts_near_its_input_and_the_other_stays_within_the_range_of_images() -> None:
    x = images()
    assert (Generator(4, residual=True).eval()(x) - x).abs().max() < 0.3
    made = to_image_range(Generator(4).eval()(50 * x))
    assert made.min() >= 0
    assert made.max() <= 1


def test_sides_that_four_poolings_do_not_divide_are_refused() -> None:
    message = "G halves an image 4 times, so height and width must be multiples of 16, found 60x32"
    with pytest.raises(ValueError, match=re.escape(message)):
        INTACT(Baseline(tiny(width=8), 5), (60, 32))
    with pytest.raises(ValueError, match=re.escape(message)):
        Generator(4)(images(size=(60, 32)))
