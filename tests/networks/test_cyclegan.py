"""CycleGAN's networks: layer by layer against the paper's appendix, shapes, start, and what a patch sees."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from reid_lib.networks.cyclegan import SMALLEST, CycleGAN, ResidualBlock, discriminator, generator
from reid_lib.seeds import torch_generator
from reid_lib.training.run import initialise

CPU = torch.device("cpu")


def draw(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch_generator(0, *shape)) * 2 - 1


def network(width: int = 4, blocks: int = 2) -> CycleGAN:
    return initialise(lambda: CycleGAN(width, blocks), 0, CPU)


def normed(x: torch.Tensor) -> torch.Tensor:
    """Instance normalisation, by hand."""
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


def reflected(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A convolution of x, padded by its reflection."""
    return functional.conv2d(functional.pad(x, (weight.shape[-1] // 2,) * 4, mode="reflect"), weight, bias)


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [layer.weight for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def test_the_generator_layer_by_layer() -> None:
    g, x = network().g.double(), draw(2, 3, 32, 24).double()
    w = weights(g)
    assert [tuple(v.shape[:2]) for v in w] == [(4, 3), (8, 4), (16, 8), *[(16, 16)] * 4, (16, 8), (8, 4), (3, 4)]
    assert [v.shape[-1] for v in w] == [7, 3, 3, 3, 3, 3, 3, 3, 3, 7]
    with torch.no_grad():
        h = normed(reflected(x, w[0])).relu()
        for v in w[1:3]:
            h = normed(functional.conv2d(h, v, stride=2, padding=1)).relu()
        for first, second in ((w[3], w[4]), (w[5], w[6])):
            h = h + normed(reflected(normed(reflected(h, first)).relu(), second))
        for v in w[7:9]:
            h = normed(functional.conv_transpose2d(h, v, stride=2, padding=1, output_padding=1)).relu()
        torch.testing.assert_close(g(x), reflected(h, w[9], g[-2].bias).tanh())


def test_the_discriminator_layer_by_layer() -> None:
    d, x = network().d_hr.double(), draw(2, 3, 40, 32).double()
    w = weights(d)
    assert [tuple(v.shape[:2]) for v in w] == [(4, 3), (8, 4), (16, 8), (32, 16), (1, 32)]
    assert {v.shape[-1] for v in w} == {4}
    with torch.no_grad():
        h = functional.leaky_relu(functional.conv2d(x, w[0], d[0].bias, stride=2, padding=1), 0.2)
        for v, stride in zip(w[1:4], (2, 2, 1), strict=True):
            h = functional.leaky_relu(normed(functional.conv2d(h, v, stride=stride, padding=1)), 0.2)
        torch.testing.assert_close(d(x), functional.conv2d(h, w[4], d[-1].bias, padding=1))


def test_a_patch_is_70_pixels_wide() -> None:
    d, x = discriminator(2), torch.zeros(1, 3, 160, 160, requires_grad=True)
    # instance normalisation lets every pixel see every other: the patch is that of the convolutions alone
    alone = nn.Sequential(*(layer for layer in d if not isinstance(layer, nn.InstanceNorm2d)))
    for weight in weights(alone):
        nn.init.ones_(weight)
    alone(x)[0, 0, 9, 9].backward()
    seen = x.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


@pytest.mark.parametrize("size", [(128, 64), (128, 48), (SMALLEST, SMALLEST)])
def test_images_keep_their_size_and_range(size: tuple[int, int]) -> None:
    net, x = network(), draw(2, 3, *size)
    with torch.no_grad():
        assert net.g(x).shape == x.shape
        assert net.f(10 * x).abs().max() <= 1
        assert net.d_lr(x).shape == (2, 1, size[0] // 8 - 2, size[1] // 8 - 2)
    with pytest.raises((RuntimeError, ValueError)):
        net.d_lr(draw(2, 3, SMALLEST - 4, 64))


def test_papers_sizes_and_start() -> None:
    assert [len(weights(generator(4, blocks))) for blocks in (6, 9)] == [6 + 12, 6 + 18]
    net = network(width=16)
    assert not torch.equal(net.g[1].weight, net.f[1].weight)
    for weight in weights(net):
        if weight.numel() > 5000:
            assert weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert all((p == 0).all() for name, p in net.named_parameters() if name.endswith("bias"))
    assert sum(p.numel() for p in ResidualBlock(8).parameters()) == 2 * 9 * 64
