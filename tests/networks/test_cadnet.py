"""CAD-Net's networks: shapes at the paper's setting, G's size, range and skips, D_F's strides, u = GAP([f, g])."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from reid_lib.networks.cadnet import (
    CADNet,
    Decoder,
    ImageDiscriminator,
    ResolutionDiscriminator,
    UpBlock,
    map_size,
)
from reid_lib.networks.inputs import normalise, to_image_range, to_network_range
from reid_lib.networks.resnet import ResNet, resnet50
from reid_lib.networks.tiny import tiny
from reid_lib.seeds import torch_generator

SIZE = (64, 32)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, *shape))


def network(features: str = "both", **options: object) -> CADNet:
    torch.manual_seed(0)
    hr_encoder = None if features == "f" else tiny(8)
    return CADNet(tiny(8), hr_encoder, 5, SIZE, features, discriminator_width=4, **options).double().eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_shapes_and_parameters_at_the_papers_setting() -> None:
    with torch.device("meta"):
        net = CADNet(resnet50(), resnet50(), 1367, (256, 128))
        x = torch.empty(32, 3, 256, 128)
        maps = net.E.stages(x)
        recovered, verdicts = net.G(maps), net.D_F(maps[-1])
        u = net.joint_feature(maps[-1], recovered)
        logits = net.C(u)
    assert maps[-1].shape == (32, 2048, 8, 4)
    assert recovered.shape == x.shape
    assert (u.shape, logits.shape) == ((32, 4096), (32, 1367))
    assert (verdicts.shape, net.D_I(recovered).shape) == ((32, 1, 2, 1), (32,))
    assert count(net.E) == count(net.F) == 25_557_032 - 2_049_000  # torchvision's ResNet-50 less its classifier
    assert count(net.D_I) == 11_689_512 - 513_000 + 513  # its ResNet-18 with one logit for 1000
    widths = [2048, 1024, 512, 256, 64, 32]
    blocks = sum(2 * a + 9 * a * b + 2 * b + 9 * b * b + a * b + b for a, b in pairwise(widths))
    assert count(net.G) == blocks + 2 * 32 + 9 * 32 * 3 + 3
    sides, channels = [4, 4, 3, 3, 3], [2048, 64, 128, 256, 512, 1]
    assert count(net.D_F) == sum(s * s * a * b + b for s, (a, b) in zip(sides, pairwise(channels), strict=True))


@pytest.mark.parametrize("last_stride", [1, 2])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("size", [(64, 32), (128, 96)])
def test_a_recovered_image_has_size_and_range_of_its_input(block: type, last_stride: int, size: tuple) -> None:
    torch.manual_seed(0)
    net = CADNet(ResNet(block, (1, 1, 1, 1), 4, last_stride), None, 5, size, "f", discriminator_width=2)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch_generator(0))
    x = normalise(images)
    assert net.recover(x).shape == x.shape
    nn.init.normal_(net.G.to_image[-1].weight, std=1e3)  # sure of black and white
    recovered = net.recover(x)
    ends = normalise(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    assert (recovered >= ends[0] - 1e-6).all()
    assert (recovered <= ends[1] + 1e-6).all()
    torch.testing.assert_close(recovered.amin((0, 2, 3)), ends[0, :, 0, 0])
    torch.testing.assert_close(recovered.amax((0, 2, 3)), ends[1, :, 0, 0])
    assert recovered.dtype == torch.float32


def test_ranges_are_those_of_normalise() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8, generator=torch_generator(0))
    torch.testing.assert_close(to_network_range(images / 255), normalise(images))
    torch.testing.assert_close(to_image_range(normalise(images)), images / 255)


def test_an_up_sampling_block_is_miyatos() -> None:
    torch.manual_seed(0)
    block, x = UpBlock(3, 2, 2).double(), draw(4, 3, 2, 3)
    for bn in (block.bn1, block.bn2):
        nn.init.normal_(bn.weight), nn.init.normal_(bn.bias)

    def up(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    rest = block.conv2(torch.relu(block.bn2(block.conv1(up(torch.relu(block.bn1(x)))))))
    torch.testing.assert_close(block(x), rest + block.shortcut(up(x)))
    assert UpBlock(3, 2, 1)(x.float()).shape == (4, 2, 2, 3)


@pytest.mark.parametrize("last_stride", [1, 2])
def test_the_maps_of_e_are_added_on_the_way(last_stride: int) -> None:
    torch.manual_seed(0)
    encoder = ResNet(BasicBlock, (1, 1, 1, 1), 4, last_stride).double().eval()
    decoder = Decoder(encoder).double().eval()
    stem, one, two, three, x = maps = encoder.stages(draw(2, 3, 64, 32))
    for block, skip in zip(decoder.blocks, [three, two, one, stem], strict=False):
        x = block(x)
        assert x.shape == skip.shape
        x = x + skip
    x = decoder.to_image(decoder.blocks[4](x))
    torch.testing.assert_close(decoder(maps), to_network_range(torch.sigmoid(x.float())))
    gradients = torch.autograd.grad(decoder(maps).sum(), maps)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("size", "strides", "out"),
    [
        ((8, 4), [2, 2, 1, 1, 1], (2, 1)),
        ((16, 8), [2, 2, 2, 1, 1], (2, 1)),
        ((4, 2), [2, 1, 1, 1, 1], (2, 1)),
        ((64, 32), [2, 2, 2, 2, 2], (2, 1)),
        ((2, 1), [1, 1, 1, 1, 1], (2, 1)),
        ((8, 3), [2, 1, 1, 1, 1], (4, 1)),
    ],
)
def test_d_f_halves_a_map_while_it_can(size: tuple, strides: list[int], out: tuple) -> None:
    net = ResolutionDiscriminator(10, size, 3)
    convolutions, between = list(net)[::2], list(net)[1::2]
    assert [c.stride[0] for c in convolutions] == strides
    assert [c.out_channels for c in convolutions] == [3, 6, 12, 24, 1]
    assert [layer.negative_slope for layer in between] == [0.2] * 4
    assert net(torch.randn(2, 10, *size)).shape == (2, 1, *out)


def test_d_f_starts_with_a_signal() -> None:
    torch.manual_seed(0)
    net, x = ResolutionDiscriminator(64, (8, 4)), torch.randn(64, 64, 8, 4)
    ours = net(x).std()
    for layer in list(net)[::2]:
        layer.reset_parameters()  # PyTorch's own start
    assert ours > 20 * net(x).std()


def test_d_i_gives_one_logit() -> None:
    assert ImageDiscriminator(4)(torch.randn(3, 3, 64, 32)).shape == (3,)


@pytest.mark.parametrize("features", ["both", "f", "g"])
def test_u_is_the_average_of_the_concatenation(features: str) -> None:
    net, x = network(features).float(), draw(3, 3, *SIZE).float()
    with torch.no_grad():
        f = net.E.feature_map(x)
        g = None if features == "f" else net.F.feature_map(net.recover(x))
        v = torch.cat({"both": [f, g], "f": [f], "g": [g]}[features], 1)
        u = net(x)
    slow = [[v[n, c].double().mean().item() for c in range(v.shape[1])] for n in range(3)]
    assert v.shape[2:] == (4, 2)
    assert u.shape == (3, 128 if features == "both" else 64)
    np.testing.assert_allclose(u, slow, rtol=1e-5, atol=1e-7)
    assert net.C.in_features == u.shape[1]


def test_a_variant_has_only_the_parts_that_it_needs() -> None:
    assert network("f").F is None
    assert network(discriminate_features=False).D_F is None
    assert network(discriminate_images=False).D_I is None
    assert CADNet(tiny(8), tiny(8), None, SIZE).C is None
    assert network("f", decode=False).G is None
    assert network().neck is None
    assert network(neck=True).neck.num_features == network(neck=True).C.in_features


@pytest.mark.parametrize("size", [(64, 24), (60, 32)])
def test_sizes_that_the_decoder_cannot_reach_are_refused(size: tuple[int, int]) -> None:
    message = f"multiples of 16, found {size[0]}x{size[1]}: choose another input_size"
    with pytest.raises(ValueError, match=message):
        CADNet(tiny(8), tiny(8), 5, size)
    for use in (network(), network().recover):
        with pytest.raises(ValueError, match=message):
            use(draw(2, 3, *size))
    with pytest.raises(ValueError, match="multiples of 32, found 64x48"):
        map_size((64, 48), 32)
