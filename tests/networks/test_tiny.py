import pytest
import torch
from torch.nn import functional as F

from reid_lib.networks.tiny import tiny
from reid_lib.seeds import torch_generator


@pytest.mark.parametrize(("width", "size"), [(32, (128, 64)), (8, (64, 32)), (8, (128, 64))])
def test_shapes(width: int, size: tuple[int, int]):
    network = tiny(width).eval()
    assert (network.dim, network.input_size) == (8 * width, (128, 64))
    x = torch.zeros(2, 3, *size)
    with torch.no_grad():
        assert network(x).shape == (2, network.dim)
        sides = [(m.shape[1], size[0] // m.shape[2], size[1] // m.shape[3]) for m in network.stages(x)]
    channels = (width, width, 2 * width, 4 * width, 8 * width)
    assert sides == [(c, s, s) for c, s in zip(channels, (2, 4, 8, 16, 16), strict=True)]
    assert network.channels == channels


def test_learns_fine_stripes_in_bf16():
    """Stripes of 3, 4 and 6 pixels at any phase, colour averages alike: what may tell identities apart."""
    torch.manual_seed(0)
    network, generator = tiny(8).to(memory_format=torch.channels_last), torch_generator(0, "stripes")
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(3).repeat(8)
        period = torch.tensor([3.0, 4.0, 6.0])[labels].view(-1, 1, 1, 1)
        phase = torch.rand(24, 1, 1, 1, generator=generator)
        rows = torch.arange(64.0).view(1, 1, -1, 1)
        return (6.2832 * (rows / period + phase)).sin().expand(-1, 3, -1, 32), labels

    for _ in range(30):
        x, labels = batch()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(network(x.contiguous(memory_format=torch.channels_last)).float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        x, labels = batch()
        assert (network(x).argmax(1) == labels).float().mean() > 0.9
