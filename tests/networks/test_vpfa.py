"""The VP module against Eq. 3-5 written out slowly in float64, its size and its start."""

import numpy as np
import pytest
import torch
from torch import nn

from reid_lib.networks.vpfa import MirrorAveraged, VectorPanningModule
from reid_lib.reporting import results
from reid_lib.seeds import torch_generator


def _slow(module: VectorPanningModule, z: np.ndarray, residual: bool) -> np.ndarray:
    """Eq. 3-5, one feature and one number at a time."""
    state = {name: value.double().numpy() for name, value in module.state_dict().items()}
    rows = []
    for row in z:
        h = row
        for block in range(len(module.blocks)):
            weight, bias = state[f"blocks.{block}.0.weight"], state[f"blocks.{block}.0.bias"]
            h = np.array([sum(w * v for w, v in zip(line, h, strict=True)) for line in weight]) + bias
            centred = h - h.mean()
            h = centred / np.sqrt((centred**2).mean() + 1e-5)
            h = h * state[f"blocks.{block}.1.weight"] + state[f"blocks.{block}.1.bias"]
            h = np.array([max(v, 0.0) for v in h])
        gate = np.array(
            [np.tanh(line @ h + b) for line, b in zip(state["back.weight"], state["back.bias"], strict=True)]
        )
        rows.append(row + gate if residual else gate)
    return np.array(rows)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("blocks", [1, 3])
def test_equations_3_to_5(blocks: int, residual: bool) -> None:
    torch.manual_seed(0)
    module = VectorPanningModule(6, hidden=10, blocks=blocks, residual=residual, init_std=0.3).double()
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    z = torch.randn(4, 6, dtype=torch.float64)
    np.testing.assert_allclose(module(z).detach().numpy(), _slow(module, z.numpy(), residual), rtol=1e-9)


def test_parameters_at_3840_numbers_a_feature() -> None:
    with torch.device("meta"):
        module = VectorPanningModule(3840)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == 24_139_520
    published = results.published().query("paper == 'vpfa' and metric == 'parameters_million'").value.item()
    assert round(count / 1e6, 2) == published == 24.14


def test_every_block_is_linear_layer_norm_relu() -> None:
    module = VectorPanningModule(6, hidden=10, blocks=3)
    assert [[type(layer) for layer in block] for block in module.blocks] == [[nn.Linear, nn.LayerNorm, nn.ReLU]] * 3


def test_the_start_is_gaussian_with_zero_biases_and_nearly_the_identity() -> None:
    torch.manual_seed(0)
    module = VectorPanningModule(512, hidden=256)
    linears = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert len(linears) == 4
    for layer in linears:
        assert layer.weight.std().item() == pytest.approx(1e-3, rel=0.02)
        assert layer.weight.mean().abs() < 1e-4
        assert (layer.bias == 0).all()
    z = torch.randn(8, 512)
    assert (module(z) - z).abs().max() < 0.1


def test_pytorchs_own_start_is_kept_for_none() -> None:
    torch.manual_seed(0)
    module = VectorPanningModule(64, hidden=32, blocks=1, init_std=None)
    assert module.back.weight.abs().max() <= 32**-0.5
    assert module.back.weight.std() > 0.05


def test_only_a_standard_deviation_of_1e_3_starts_near_zero_at_the_papers_width() -> None:
    """ "This leads to f(z_LR) ~ 0" (Section 4.2): not so with 1e-3 as the variance, nor with PyTorch's start."""
    torch.manual_seed(0)
    z = torch.randn(16, 512)
    with torch.no_grad():
        sizes = [VectorPanningModule(512, init_std=std).gate(z).abs().mean() for std in (1e-3, 1e-3**0.5, None)]
    assert sizes[0] < 0.05
    assert min(sizes[1:]) > 0.25


def test_the_gate_is_bounded() -> None:
    module = VectorPanningModule(4, hidden=8, init_std=100.0)
    assert module.gate(1000 * torch.randn(16, 4)).abs().max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, found 0"),
        ({"dim": 4, "hidden": 0}, "hidden must be at least 1"),
        ({"dim": 4, "blocks": 0}, "blocks must be at least 1"),
        ({"dim": 4, "init_std": 0.0}, "init_std must be above 0, or None"),
    ],
)
def test_bad_sizes(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorPanningModule(**arguments)


def test_mirror_averaged_is_the_mean_of_both_sides() -> None:
    weight = torch.randn(3 * 4 * 2, 5, generator=torch_generator(0))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24, 5, bias=False))
    network[1].weight.data = weight.T.contiguous()
    images = torch.randn(2, 3, 4, 2, generator=torch_generator(1))
    mirrored = torch.stack([images[..., 1], images[..., 0]], 3)
    expected = (images.flatten(1) @ weight + mirrored.flatten(1) @ weight) / 2
    found = MirrorAveraged(network)(images)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(MirrorAveraged(network)(mirrored), found)
