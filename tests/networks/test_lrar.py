"""LRAR's network: Eq. 3, the zero padding and the MLP of Eq. 4 against slow float64 versions; what a level can see."""

import copy

import numpy as np
import pytest
import torch

from reid_lib.networks.lrar import LRARNetwork, scale_by_mask, zero_pad
from reid_lib.networks.resnet import resnet50
from reid_lib.networks.tiny import tiny
from reid_lib.seeds import torch_generator

LEVELS = torch.tensor([1, 2, 3, 4, 2])


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, *shape))


def network(**options: object) -> LRARNetwork:
    """A small network in float64 whose masks lie far apart."""
    torch.manual_seed(0)
    net = LRARNetwork(tiny(8), identities=5, levels=4, hidden=6, mask_std=1.0, **options).double().eval()
    net.neck.running_mean.uniform_(-1, 1)
    net.neck.running_var.uniform_(0.5, 2)
    return net


def test_equation_3() -> None:
    x, masks = draw(5, 3, 2, 2), draw(4, 3)
    slow = np.zeros(x.shape)
    for n, level in enumerate(LEVELS.tolist()):
        for c in range(3):
            # the sum over all levels, with s_k = 1 for the image's own
            scale = sum((k == level) / (1 + np.exp(-masks[k - 1, c].item())) for k in (1, 2, 3, 4))
            for i in range(2):
                for j in range(2):
                    slow[n, c, i, j] = x[n, c, i, j].item() * scale
    np.testing.assert_allclose(scale_by_mask(x, masks, LEVELS), slow, rtol=1e-12)


def test_masks_keep_type_and_layout_of_a_map() -> None:
    x = draw(5, 8, 4, 2).bfloat16().contiguous(memory_format=torch.channels_last)
    scaled = scale_by_mask(x, draw(4, 8).float(), LEVELS)
    assert scaled.dtype == torch.bfloat16
    assert scaled.is_contiguous(memory_format=torch.channels_last)


def test_padding_puts_zeros_behind_the_first_sub_vectors() -> None:
    v = draw(4, 8)
    v[0, 2:] = torch.nan  # what is cut off cannot come through
    padded = zero_pad(v, torch.tensor([2, 4, 6, 8]))
    slow = [[v[n, i].item() if i < (n + 1) * 2 else 0.0 for i in range(8)] for n in range(4)]
    assert padded.tolist() == slow


@pytest.mark.parametrize(("levels", "expected"), [(4, [16, 32, 48, 64]), (3, [21, 42, 64]), (1, [64])])
def test_sub_vectors_are_equal_parts(levels: int, expected: list[int]) -> None:
    k = torch.arange(1, levels + 1)
    assert LRARNetwork(tiny(8), 5, levels).widths(k).tolist() == expected
    assert LRARNetwork(tiny(8), 5, levels, varying_length=False).widths(k).tolist() == [64] * levels


@pytest.mark.parametrize("masked", [0, 1, 2, 3, 4])
def test_a_feature_one_image_and_one_stage_at_a_time(masked: int) -> None:
    net, x = network(), draw(5, 3, 32, 16)
    net.introduce_masks(masked)
    with torch.no_grad():
        features = net(x, LEVELS)
        for n, level in enumerate(LEVELS.tolist()):
            h = net.backbone.stem(x[n : n + 1])
            for place, stage in enumerate(net.backbone.layers):
                h = stage(h)
                if place >= 4 - masked:  # masks enter from the classifier backwards
                    h = h * (1 / (1 + torch.exp(-net.masks[place][level - 1])))[None, :, None, None]
            v = h.mean((2, 3))[0]
            v = (v - net.neck.running_mean) / (net.neck.running_var + net.neck.eps).sqrt()
            expected = torch.cat([v[: 16 * level], torch.zeros(64 - 16 * level)])
            torch.testing.assert_close(features[n], expected, rtol=1e-5, atol=1e-6)


def test_a_level_sees_no_other_levels_masks_and_no_later_sub_vector() -> None:
    net, x, second = network(), draw(3, 3, 32, 16), torch.tensor([2, 2, 2])
    changed = copy.deepcopy(net)
    for mask in changed.masks:
        mask.data[[0, 2, 3]] = draw(3, mask.shape[1]) * 9
    # channels behind the second sub-vector: the last batch norm's shift changes them all
    changed.backbone.layer4[-1].bn2.bias.data[32:] += 7
    with torch.no_grad():
        assert torch.equal(net(x, second), changed(x, second))
        for other in (1, 3, 4):
            levels = torch.full((3,), other)
            assert not torch.equal(net(x, levels), changed(x, levels))


def test_only_the_images_own_masks_learn() -> None:
    net = network()
    net(draw(2, 3, 32, 16), torch.tensor([2, 4])).square().sum().backward()
    for mask in net.masks:
        assert (mask.grad[[0, 2]] == 0).all()
        assert (mask.grad[[1, 3]] != 0).any(1).all()


def test_introducing_masks_fixes_those_nearest_the_classifier() -> None:
    net = network()
    net.introduce_masks(3, frozen=2)
    assert [mask.requires_grad for mask in net.masks] == [True, True, False, False]
    net(draw(2, 3, 32, 16), torch.tensor([1, 3])).sum().backward()
    assert [mask.grad is not None for mask in net.masks] == [False, True, False, False]
    net.introduce_masks(4)
    assert all(mask.requires_grad for mask in net.masks)


def test_the_shared_classifier_adds_the_sub_classifiers_of_the_kept_sub_vectors() -> None:
    """III-D, III-E.1: logits = w_1^T v_1 + ... + w_k^T v_k."""
    net, v = network(), draw(5, 64)
    w = net.classifier.weight.detach().numpy()
    logits = net.classifier(zero_pad(v, net.widths(LEVELS))).detach()
    slow = [
        [sum(w[c, i] * v[n, i].item() for part in range(k) for i in range(16 * part, 16 * part + 16)) for c in range(5)]
        for n, k in enumerate(LEVELS.tolist())
    ]
    np.testing.assert_allclose(logits, slow, rtol=1e-9)
    assert net.classifier.bias is None


def test_the_verification_mlp() -> None:
    net, differences = network(), draw(7, 64)
    state = {name: value.numpy() for name, value in net.verifier.state_dict().items()}
    slow = [
        state["2.bias"][0]
        + sum(
            state["2.weight"][0, h] * max(0.0, float(state["0.weight"][h] @ row + state["0.bias"][h])) for h in range(6)
        )
        for row in differences.numpy()
    ]
    np.testing.assert_allclose(net.verify(differences).detach(), slow, rtol=1e-9)


def test_masks_at_the_papers_setting() -> None:
    with torch.device("meta"):
        net = LRARNetwork(resnet50(last_stride=1), identities=751, levels=4)
    assert [tuple(mask.shape) for mask in net.masks] == [(4, 256), (4, 512), (4, 1024), (4, 2048)]
    assert net.widths(torch.arange(1, 5)).tolist() == [512, 1024, 1536, 2048]


def test_masks_start_gaussian() -> None:
    torch.manual_seed(0)
    net = LRARNetwork(tiny(32), 5, 4, mask_std=0.1)
    for mask in net.masks:
        assert mask.std().item() == pytest.approx(0.1, rel=0.2)


def test_a_network_without_masks_has_none() -> None:
    net, x = network(masks=False), draw(2, 3, 32, 16)
    assert not [name for name, _ in net.named_parameters() if "mask" in name]
    with torch.no_grad():
        low, high = (net(x, torch.full((2,), k)) for k in (1, 4))
    assert torch.equal(low[:, :16], high[:, :16])
    with pytest.raises(ValueError, match="<= 0 stages with masks"):
        net.introduce_masks(1)


def test_bad_arguments() -> None:
    for levels in (0, 65):
        with pytest.raises(ValueError, match=f"levels must lie between 1 and the feature's width 64, found {levels}"):
            LRARNetwork(tiny(8), 5, levels)
    for stages, frozen in ((5, 0), (1, 2), (1, -1)):
        with pytest.raises(ValueError, match=f"found frozen={frozen} and stages={stages}"):
            network().introduce_masks(stages, frozen)
