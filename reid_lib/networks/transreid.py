"""TransReID: a vision transformer with JPM and SIE (He et al., Transformer-based Object Re-ID, ICCV 2021).

What is relied on of the official code (github: damo-cv/TransReID, `model/make_model.py`,
`build_transformer_local`; `model/backbones/vit_pytorch.py`; `configs/Market/vit_transreid_stride.yml`), since
official checkpoints must load:

- Names: ``base.{cls_token,pos_embed,sie_embed,patch_embed.proj,blocks.N,norm}``, ``b1.0``, ``b2.0`` (a block
  each), ``b1.1``, ``b2.1`` (layer norms), ``bottleneck`` and ``bottleneck_1..4`` (batch norms).
  ``classifier*`` and ``base.fc`` of a file are ignored: they are of its training identities, and of ImageNet.
- With JPM the last block and the norm of ``base`` are in the file, and are not used: ``b1`` (global branch)
  and ``b2`` (the four local ones, shared) began as their copies.
- JPM: the patch tokens are rolled by shift - 1 = 4 positions (the slice begins at the class token, hence the 1),
  written in 2 rows and read by columns, and cut in 4 runs of (number of patches // 4); the class token goes
  before each run. For an odd number of patches the last token but one is appended. The two patches that
  remain of 210 are dropped.
- SIE: 3.0 times a camera embedding, added to every token, the class token included.
- Feature, in evaluation: (global, local 1/4, ..., local 4/4), before the batch norms (``NECK_FEAT: before``).
- Images are normalised there with mean 0.5 and standard deviation 0.5, not with ImageNet's.
"""

import copy
from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_lib.networks.inputs import IMAGENET_MEAN, IMAGENET_STD
from reid_lib.networks.weights import WeightsError, load_checked, load_state

PATCH = 16
SHIFT, GROUPS, LOCALS = 5, 2, 4
SIE_LAMBDA = 3.0


class TransReID(nn.Module):
    """TransReID with JPM: (N, 3, H, W), ImageNet-normalised, to features (N, 5 x width).

    Args:
        input_size: (H, W) in pixels; the position embedding is made for this size, so no other one is taken.
        stride: distance in pixels between two patches (12: patches of 16x16 overlap).
        cameras: number of cameras of the training set, for the SIE; 0 or 1: no SIE.
        width, depth, heads: of the transformer; the defaults are ViT-B/16's.
        after_bn: True gives the feature after the batch norms (``NECK_FEAT: after``) instead of before.
        drop_path: rate of stochastic depth in the last block (rising from 0), in training only.

    Attributes:
        dim: 5 x width (3840). input_size: as given.

    Raises:
        ImportError: timm, of the extra ``vit``, is not installed.
    """

    def __init__(
        self,
        input_size: tuple[int, int] = (256, 128),
        stride: int = 12,
        cameras: int = 0,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        after_bn: bool = False,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.stride = stride
        self.dim = (1 + LOCALS) * width
        self.after_bn = after_bn
        self.base = _Base(patch_grid(input_size, stride), stride, cameras, width, depth, heads, drop_path)
        self.b1 = nn.Sequential(copy.deepcopy(self.base.blocks[-1]), copy.deepcopy(self.base.norm))
        self.b2 = nn.Sequential(copy.deepcopy(self.base.blocks[-1]), copy.deepcopy(self.base.norm))
        # in the file, but on no path to the output: a gradient would be waited for in vain on several GPUs
        self.base.blocks[-1].requires_grad_(False)
        self.base.norm.requires_grad_(False)
        for i in range(1 + LOCALS):
            bottleneck = nn.BatchNorm1d(width)
            bottleneck.bias.requires_grad_(False)
            self.add_module("bottleneck" if i == 0 else f"bottleneck_{i}", bottleneck)
        mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
        self.register_buffer("rescale", std / 0.5, persistent=False)
        self.register_buffer("offset", (mean - 0.5) / 0.5, persistent=False)

    @property
    def bottlenecks(self) -> list[nn.Module]:
        """The five batch norms: global, local 1..4."""
        return [self.bottleneck, self.bottleneck_1, self.bottleneck_2, self.bottleneck_3, self.bottleneck_4]

    def parts(self, x: Tensor, camera: Tensor | int | None = None) -> Tensor:
        """Return (N, 5, width): the global and the four local features before the batch norms, none divided.

        Args:
            x: (N, 3, H, W), ImageNet-normalised (the official 0.5/0.5 normalisation is made from it here).
            camera: the training set's camera of each image, int64 (N,), or one for all, counted from 0; -1
                means the last one, as VPFA's released script has it. None: the mean of all camera embeddings,
                for images of a camera that was not in the training set. Without SIE it is not looked at.
        """
        if tuple(x.shape[-2:]) != tuple(self.input_size):
            raise ValueError(
                f"expected images of {self.input_size} pixels (H, W), found {tuple(x.shape[-2:])}; "
                "resize them, or build the network with that input_size"
            )
        tokens = self.base(x * self.rescale + self.offset, camera)
        class_token = tokens[:, :1]
        length = (tokens.shape[1] - 1) // LOCALS
        runs = jigsaw(tokens)[:, : LOCALS * length].split(length, dim=1)
        local = [self.b2(torch.cat((class_token, run), dim=1))[:, 0] for run in runs]
        return torch.stack([self.b1(tokens)[:, 0], *local], dim=1)

    def forward(self, x: Tensor, camera: Tensor | int | None = None) -> Tensor:
        """Map (N, 3, H, W), ImageNet-normalised, to features (N, dim); the local ones are divided by 4."""
        parts = self.parts(x, camera).unbind(1)
        if self.after_bn:
            parts = [bottleneck(part) for bottleneck, part in zip(self.bottlenecks, parts, strict=True)]
        return torch.cat([parts[0], *(part / LOCALS for part in parts[1:])], dim=1)


class _Base(nn.Module):
    """The transformer up to its last block but one, on overlapping patches, with the camera embedding."""

    def __init__(
        self,
        grid: tuple[int, int],
        stride: int,
        cameras: int,
        width: int,
        depth: int,
        heads: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        block = _timm_block()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid[0] * grid[1] + 1, width))
        self.sie_embed = nn.Parameter(torch.zeros(cameras, 1, width)) if cameras > 1 else None
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, width, PATCH, stride=stride)))
        norm = partial(nn.LayerNorm, eps=1e-6)
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(
            block(width, heads, qkv_bias=True, norm_layer=norm, drop_path=rate) for rate in rates
        )
        self.norm = norm(width)
        self._initialise()

    def forward(self, x: Tensor, camera: Tensor | int | None) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1) + self.pos_embed
        if self.sie_embed is not None:
            x = x + SIE_LAMBDA * self._camera_embedding(camera, len(x))
        for block in self.blocks[:-1]:
            x = block(x)
        return x

    def _camera_embedding(self, camera: Tensor | int | None, n: int) -> Tensor:  # decision BASE-4
        if camera is None:
            return self.sie_embed.mean(0, keepdim=True)
        camera = torch.as_tensor(camera, device=self.sie_embed.device).expand(n)
        cameras = len(self.sie_embed)
        if camera.is_floating_point() or camera.min() < -1 or camera.max() >= cameras:
            raise ValueError(
                f"expected camera numbers 0..{cameras - 1} of the training set (or -1 for the last), found "
                f"{camera.min().item()}..{camera.max().item()}; "
                "for a camera that is not among them pass camera=None"
            )
        return self.sie_embed[camera]

    def _initialise(self) -> None:
        embeddings = [p for p in (self.cls_token, self.pos_embed, self.sie_embed) if p is not None]
        linear = [module for module in self.modules() if isinstance(module, nn.Linear)]
        for weight in [*embeddings, *(module.weight for module in linear)]:
            nn.init.trunc_normal_(weight, std=0.02)
        for module in linear:
            nn.init.zeros_(module.bias)
        nn.init.kaiming_normal_(self.patch_embed.proj.weight, mode="fan_out")


def transreid(
    weights: str | Path = "none",
    input_size: tuple[int, int] = (256, 128),
    cameras: int | None = None,
    weights_size: tuple[int, int] = (256, 128),
    **options: int | float | bool,
) -> TransReID:
    """Return TransReID (ViT-B/16, stride 12, JPM: 5 x 768 = 3840-d; 100 million parameters).

    Args:
        weights: "none" (random start), or the PATH of an official checkpoint.
        input_size: (H, W) in pixels of the images that the network shall take.
        cameras: number of cameras for the SIE; None: as many as the file has, and without a file no SIE.
        weights_size: (H, W) of the images that the file was trained on. Where it gives another grid of
            patches than ``input_size``, the position embedding is resized, with bilinear interpolation.
        options: other arguments of `TransReID`.

    Raises:
        ImportError: timm is not installed.
        WeightsError: the file does not fit (see `weights.load_weights`), or its position embedding is of
            another size than ``weights_size`` tells.
    """
    state = None if weights == "none" else load_state(weights)
    if cameras is None:
        cameras = len(state["base.sie_embed"]) if state and "base.sie_embed" in state else 0
    network = TransReID(input_size=input_size, cameras=cameras, **options)
    if state is not None:
        if "base.pos_embed" in state:
            state["base.pos_embed"] = _resized(state["base.pos_embed"], network, weights_size, weights)
        load_checked(network, state, str(weights), ignore=("classifier", "base.fc."))
    return network


def patch_grid(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return how many patches of 16x16 fit below and beside one another: (21, 10) for 256x128, stride 12."""
    grid = tuple((side - PATCH) // stride + 1 for side in size)
    if min(size) < PATCH or grid[0] * grid[1] < LOCALS:
        raise ValueError(
            f"images of {tuple(size)} pixels (H, W) are too small: fewer than {LOCALS} patches of "
            "16x16 fit in; take larger images"
        )
    return grid


def jigsaw(tokens: Tensor) -> Tensor:
    """Shift and shuffle the patches of (N, 1 + P, width) tokens (JPM); returns (N, P, width), P made even."""
    patches = tokens[:, 1:].roll(1 - SHIFT, dims=1)
    if patches.shape[1] % GROUPS:
        patches = torch.cat((patches, patches[:, -2:-1]), dim=1)
    return patches.unflatten(1, (GROUPS, -1)).transpose(1, 2).flatten(1, 2)


def _resized(embedding: Tensor, network: TransReID, weights_size: tuple[int, int], source: str | Path) -> Tensor:
    old, new = patch_grid(weights_size, network.stride), patch_grid(network.input_size, network.stride)
    if embedding.shape[1] != old[0] * old[1] + 1:
        raise WeightsError(
            f"{source} has a position embedding of {embedding.shape[1]} tokens, expected "
            f"{old[0] * old[1] + 1} for images of {weights_size} pixels (H, W) at stride {network.stride}; "
            "pass the weights_size and stride it was trained with"
        )
    if old == new:
        return embedding
    patches = embedding[:, 1:].unflatten(1, old).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=new, mode="bilinear", align_corners=False)
    return torch.cat((embedding[:, :1], patches.flatten(2).transpose(1, 2)), dim=1)


def _timm_block() -> type[nn.Module]:
    try:
        from timm.models.vision_transformer import Block
    except ImportError:
        raise ImportError(
            "TransReID needs timm, which is not installed; install it with: pip install reid-lib[vit]"
        ) from None
    return Block
