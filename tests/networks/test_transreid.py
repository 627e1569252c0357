import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from reid_lib.networks.transreid import TransReID, jigsaw, patch_grid, transreid
from reid_lib.networks.weights import WeightsError
from reid_lib.seeds import torch_generator

SMALL = {"width": 24, "depth": 3, "heads": 3}


def _images(n: int = 2, size: tuple[int, int] = (64, 32)) -> torch.Tensor:
    return torch.randn(n, 3, *size, generator=torch_generator(0, "images"))


def _official_state(width: int, depth: int, tokens: int, cameras: int, identities: int = 5) -> dict[str, torch.Tensor]:
    """A state with the official checkpoint's names and shapes (damo-cv/TransReID), random values."""
    shapes: dict[str, tuple[int, ...]] = {
        "base.cls_token": (1, 1, width),
        "base.pos_embed": (1, tokens, width),
        "base.sie_embed": (cameras, 1, width),
        "base.patch_embed.proj.weight": (width, 3, 16, 16),
        "base.patch_embed.proj.bias": (width,),
    }
    for block in [*(f"base.blocks.{i}" for i in range(depth)), "b1.0", "b2.0"]:
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
        for layer, out, into in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            shapes |= {f"{block}.{layer}.weight": (out, into), f"{block}.{layer}.bias": (out,)}
    for norm in ("base.norm", "b1.1", "b2.1"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    shapes |= {"base.fc.weight": (1000, width), "base.fc.bias": (1000,)}
    for suffix in ("", "_1", "_2", "_3", "_4"):
        shapes[f"classifier{suffix}.weight"] = (identities, width)
        shapes |= {f"bottleneck{suffix}.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"bottleneck{suffix}.num_batches_tracked"] = ()
    generator = torch_generator(0, "official")
    state = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: value.abs() if name.endswith("running_var") else value for name, value in state.items()}


@pytest.fixture
def official_file(tmp_path: Path) -> Path:
    """A small checkpoint for images of 64x32 at stride 12: 5 x 2 patches, 3 cameras."""
    torch.save(_official_state(24, 3, 11, 3), tmp_path / "transreid.pth")
    return tmp_path / "transreid.pth"


def _slow_feature(state: dict[str, torch.Tensor], x: torch.Tensor, camera: int, depth: int, heads: int) -> torch.Tensor:
    """TransReID of one image (3, H, W) as paper and official code have it, in float64 and step by step."""
    state = {name: value.double() for name, value in state.items()}
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    rgb = x.double() * std.view(3, 1, 1) + mean.view(3, 1, 1)
    x = (rgb - 0.5) / 0.5
    kernel = state["base.patch_embed.proj.weight"].flatten(1)
    tokens = [state["base.cls_token"][0, 0]]
    for top in range(0, x.shape[1] - 15, 12):
        for left in range(0, x.shape[2] - 15, 12):
            patch = x[:, top : top + 16, left : left + 16].flatten()
            tokens.append(kernel @ patch + state["base.patch_embed.proj.bias"])
    t = torch.stack(tokens) + state["base.pos_embed"][0] + 3.0 * state["base.sie_embed"][camera, 0]

    def norm(t: torch.Tensor, name: str) -> torch.Tensor:
        return nn.functional.layer_norm(t, t.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    def linear(t: torch.Tensor, name: str) -> torch.Tensor:
        return t @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def block(t: torch.Tensor, name: str) -> torch.Tensor:
        width = t.shape[1]
        q, k, v = linear(norm(t, f"{name}.norm1"), f"{name}.attn.qkv").split(width, dim=1)
        size = width // heads
        seen = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            seen.append((q[:, part] @ k[:, part].T / size**0.5).softmax(1) @ v[:, part])
        t = t + linear(torch.cat(seen, dim=1), f"{name}.attn.proj")
        hidden = nn.functional.gelu(linear(norm(t, f"{name}.norm2"), f"{name}.mlp.fc1"))
        return t + linear(hidden, f"{name}.mlp.fc2")

    for i in range(depth - 1):
        t = block(t, f"base.blocks.{i}")
    feature = [norm(block(t, "b1.0"), "b1.1")[0]]
    patches = list(t[5:]) + list(t[1:5])
    half = len(patches) // 2
    shuffled = [row[i] for i in range(half) for row in (patches[:half], patches[half:])]
    length = len(patches) // 4
    for i in range(4):
        run = torch.stack([t[0], *shuffled[i * length : (i + 1) * length]])
        feature.append(norm(block(run, "b2.0"), "b2.1")[0] / 4)
    return torch.cat(feature)


def test_equals_the_slow_version_with_an_official_file(official_file: Path):
    network = transreid(official_file, input_size=(64, 32), weights_size=(64, 32), **SMALL).eval()
    x = _images(3)
    with torch.no_grad():
        found = network(x, torch.tensor([0, 2, 1]))
    state = torch.load(official_file, weights_only=True)
    for image, camera, feature in zip(x, (0, 2, 1), found, strict=True):
        expected = _slow_feature(state, image, camera, SMALL["depth"], SMALL["heads"])
        torch.testing.assert_close(feature.double(), expected, atol=1e-5, rtol=1e-4)


def test_names_are_the_official_ones(official_file: Path):
    network = transreid(official_file, input_size=(64, 32), weights_size=(64, 32), **SMALL)
    official = torch.load(official_file, weights_only=True)
    ignored = {name for name in official if name.startswith(("classifier", "base.fc."))}
    assert set(network.state_dict()) == set(official) - ignored


def test_full_size_is_3840_wide():
    network = transreid(cameras=6).eval()
    assert (network.dim, network.input_size) == (3840, (256, 128))
    with torch.no_grad():
        assert network(_images(1, (256, 128))).shape == (1, 3840)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    official = _official_state(768, 12, 211, 6)
    assert shapes == {n: tuple(v.shape) for n, v in official.items() if not n.startswith(("classifier", "base.fc."))}


def test_feature_after_the_batch_norms(official_file: Path):
    options = {"input_size": (64, 32), "weights_size": (64, 32), **SMALL}
    before = transreid(official_file, **options).eval()
    after = transreid(official_file, after_bn=True, **options).eval()
    x = _images()
    with torch.no_grad():
        parts = before.parts(x, 0)
        expected = [norm(parts[:, i]) / (4 if i else 1) for i, norm in enumerate(before.bottlenecks)]
        torch.testing.assert_close(after(x, 0), torch.cat(expected, dim=1))
    assert not torch.allclose(after(x, 0), before(x, 0), atol=1e-2)


@pytest.mark.parametrize(("patches", "expected"), [(8, [5, 1, 6, 2, 7, 3, 8, 4]), (7, [5, 2, 6, 3, 7, 4, 1, 3])])
def test_jigsaw_of_few_patches(patches: int, expected: list[int]):
    tokens = torch.arange(patches + 1).view(1, -1, 1)
    assert jigsaw(tokens).flatten().tolist() == expected


def test_camera_embedding():
    network = TransReID((64, 32), cameras=3, **SMALL).eval()
    x = _images()
    with torch.no_grad():
        features = [network(x, camera) for camera in range(3)]
        assert not torch.allclose(features[0], features[1], atol=1e-3)
        assert torch.equal(network(x, -1), features[2])
        assert torch.equal(network(x, torch.tensor([2, 2])), features[2])
        network.base.sie_embed[:] = network.base.sie_embed.mean(0)
        torch.testing.assert_close(network(x), network(x, 1))


@pytest.mark.parametrize("camera", [3, -2, 0.5])
def test_camera_that_is_not_there(camera: float):
    network = TransReID((64, 32), cameras=3, **SMALL)
    with pytest.raises(ValueError, match=r"expected camera numbers 0\.\.2 .*pass camera=None"):
        network(_images(), camera)


def test_position_embedding_is_resized(official_file: Path):
    network = transreid(official_file, input_size=(128, 64), weights_size=(64, 32), **SMALL)
    old = torch.load(official_file, weights_only=True)["base.pos_embed"]
    new = network.base.pos_embed.detach()
    assert new.shape == (1, 1 + 10 * 5, 24)
    assert torch.equal(new[:, 0], old[:, 0])
    # centre of the new grid's outermost patch lies outside that of the old one: bilinear repeats the edge
    torch.testing.assert_close(new[0, 1], old[0, 1])
    torch.testing.assert_close(new[0, -1], old[0, -1])
    with torch.no_grad():
        assert network.eval()(_images(1, (128, 64))).shape == (1, 120)


def test_position_embedding_of_another_size(official_file: Path):
    with pytest.raises(WeightsError, match=r"position embedding of 11 tokens, expected 211 .*weights_size"):
        transreid(official_file, **SMALL)


def test_weights_of_another_depth(official_file: Path):
    with pytest.raises(WeightsError, match=r"another network than TransReID.*: 12 missing \(base.blocks.3"):
        transreid(official_file, input_size=(64, 32), weights_size=(64, 32), **(SMALL | {"depth": 4}))


def test_images_of_another_size():
    with pytest.raises(ValueError, match=r"expected images of \(64, 32\) pixels \(H, W\), found \(128, 64\)"):
        TransReID((64, 32), **SMALL)(_images(1, (128, 64)))


def test_too_small_images():
    with pytest.raises(ValueError, match="too small: fewer than 4 patches"):
        patch_grid((16, 16), 12)


def test_trains_every_parameter_that_wants_a_gradient():
    network = TransReID((64, 32), cameras=3, after_bn=True, **SMALL).train()
    network(_images(4), torch.tensor([0, 1, 2, 0])).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_without_timm(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm.models.vision_transformer", None)
    with pytest.raises(
        ImportError, match=r"needs timm, which is not installed; install it with: pip install reid-lib\[vit\]"
    ):
        transreid()
