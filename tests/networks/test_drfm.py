"""DRFM's networks: Eq. 10 to 13 written slowly, sizes at the paper's setting, what a variant lacks, what is refused."""

import math

import pytest
import torch
from torch import nn

from reid_lib.losses.drfm import identity_consistency_loss
from reid_lib.networks.drfm import CRFF, DRFM, FC, ImageEncoder
from reid_lib.networks.resnet import resnet50
from reid_lib.networks.tiny import tiny
from reid_lib.seeds import torch_generator

D = 6


def draw(*shape: int, name: str = "drfm networks") -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(0, name), dtype=torch.float64)


def seeded(module: nn.Module) -> nn.Module:
    for name, parameter in module.named_parameters():
        parameter.data = draw(*parameter.shape, name=name)
    return module


def build(**changes: object) -> DRFM:
    return DRFM(lambda: tiny(width=4), **changes)


def images(n: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, n, 3, 32, 16, generator=torch_generator(0, "images")).unbind()


def layer(fc: nn.Linear, x: list[float]) -> list[float]:
    rows = zip(fc.weight.tolist(), fc.bias.tolist(), strict=True)
    return [b + sum(w * value for w, value in zip(row, x, strict=True)) for row, b in rows]


def test_eq_10_to_13_fusion() -> None:
    crff, f_sh, f_l = seeded(CRFF(D)), draw(3, D, name="sh"), draw(3, D, name="l")
    weights, fused = crff.similarity(f_sh, f_l), crff(f_sh, f_l)
    for sh, lr, weight, found in zip(f_sh.tolist(), f_l.tolist(), weights.tolist(), fused.tolist(), strict=True):
        products = [a * b for a, b in zip(layer(crff.F1, sh), layer(crff.F2, lr), strict=True)]
        exponentials = [math.exp(product - max(products)) for product in products]
        slow = [value / sum(exponentials) for value in exponentials]  # Eq. 10
        assert weight == pytest.approx(slow, rel=1e-9)
        enhanced_sh = [value + value * w for value, w in zip(sh, slow, strict=True)]  # Eq. 11
        enhanced_l = [value + value * w for value, w in zip(lr, slow, strict=True)]  # Eq. 12
        assert found == pytest.approx(layer(crff.F3, enhanced_sh + enhanced_l), rel=1e-9)  # Eq. 13


def test_the_weights_of_eq_10_add_one_part_in_d_on_average_whatever_is_learnt() -> None:
    for scale in (0.0, 0.1, 10.0):
        crff = CRFF(D).double()
        for parameter in crff.parameters():
            parameter.data = scale * draw(*parameter.shape, name="any")
        weights = crff.similarity(draw(5, D, name="sh"), draw(5, D, name="l"))
        assert weights.mean(1).tolist() == pytest.approx([1 / D] * 5, rel=1e-12)
        ones = torch.ones(5, D, dtype=torch.float64)
        enhanced = ones + ones * crff.similarity(ones, draw(5, D, name="l"))  # Eq. 11 of equal elements
        assert enhanced.mean(1).tolist() == pytest.approx([1 + 1 / D] * 5, rel=1e-12)


def test_the_plain_fusion_of_a5_is_one_layer() -> None:
    fc, f_sh, f_l = seeded(FC(D)), draw(2, D, name="sh"), draw(2, D, name="l")
    for sh, lr, found in zip(f_sh.tolist(), f_l.tolist(), fc(f_sh, f_l).tolist(), strict=True):
        assert found == pytest.approx(layer(fc.F3, sh + lr), rel=1e-9)


def test_sizes_are_the_papers() -> None:
    """4.2: Pred, F1 and F2 are 2048 x 2048 layers, F3 is a 4096 x 2048 one."""
    with torch.device("meta"):
        network = DRFM(lambda: resnet50(weights="none"))
        features = network(*torch.empty(2, 2, 3, 256, 128).unbind())
    for module in (network.Pred, network.fusion.F1, network.fusion.F2):
        assert (module.in_features, module.out_features) == (2048, 2048)
    assert (network.fusion.F3.in_features, network.fusion.F3.out_features) == (4096, 2048)
    assert [tuple(f.shape) for f in features] == [(2, 2048)] * 3


def test_each_encoder_has_the_images_of_its_own_space() -> None:
    network = build().eval()
    x_hh, x_ll = images()
    features = network(x_hh, x_ll)
    torch.testing.assert_close(features.hh, network.E_h(x_hh))
    torch.testing.assert_close(features.ll, network.E_l(x_ll))
    torch.testing.assert_close(features.fu, network.fusion(features.hh, features.ll))
    assert network.E_h is not network.E_l
    assert not {id(p) for p in network.E_h.parameters()} & {id(p) for p in network.E_l.parameters()}
    assert network.spaces == {"hh": True, "ll": True, "fu": True}


def test_an_encoder_is_a_backbone_and_a_neck() -> None:
    encoder, (x, _) = ImageEncoder(tiny(width=4)).eval(), images()
    assert isinstance(encoder.neck, nn.BatchNorm1d)
    torch.testing.assert_close(encoder(x), encoder.neck(encoder.backbone(x)))
    assert not encoder.neck.bias.requires_grad


def test_eq_18_reaches_e_h_and_pred_and_not_e_l() -> None:
    network = build().train()
    features = network(*images())
    identity_consistency_loss(network.Pred(features.hh), features.ll).backward()
    learnt = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {name.split(".")[0] for name in learnt} == {"E_h", "Pred"}
    assert all(p.grad is None for p in network.E_l.parameters())


def test_what_a_variant_does_not_need_does_not_exist() -> None:
    sole = build(two_spaces=False, predict=False, fusion="none")
    assert (sole.E_l, sole.Pred, sole.fusion) == (None, None, None)
    assert sole.spaces == {"hh": True, "ll": False, "fu": False}
    x_hh, x_ll = images()
    features = sole(x_hh, x_ll)
    assert (features.ll, features.fu) == (None, None)
    assert features.hh.shape == (4, sole.dim)
    two = build(predict=False, fusion="none")
    assert (two.Pred, two.fusion, two(x_hh, x_ll).fu) == (None, None, None)
    assert isinstance(build(fusion="FC").fusion, FC)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="fusion must be one of CRFF, FC, none, found 'sum'"):
        build(fusion="sum")
    for changes in ({"fusion": "none"}, {"predict": False}, {}):
        with pytest.raises(ValueError, match="Pred and a fusion need the LR space: they come with CPG"):
            build(two_spaces=False, **changes)
