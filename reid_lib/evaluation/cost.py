"""What a Matcher costs at test time: parameters, multiply-adds and images per second, beside what it scores."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from reid_lib.evaluation.ranking import Matcher

aten = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """What a Matcher costs at test time.

    Attributes:
        parameters: numbers in all the parameters that queries or gallery images meet, each counted once. What only
            training needs (a classifier, a discriminator) is not met. A normalisation's running statistics are none.
        query_multiply_adds, gallery_multiply_adds: of one image, the mean over the images given. Convolutions and
            matrix products count; sums, normalisations, activations, interpolations and recurrent layers do not.
        queries_per_second, gallery_per_second: images embedded per second on this machine, as busy as it was.
    """

    parameters: int
    query_multiply_adds: float
    gallery_multiply_adds: float
    queries_per_second: float
    gallery_per_second: float


def cost(matcher: Matcher, images: torch.Tensor, rates: torch.Tensor | Sequence[int], *, repeats: int = 5) -> Cost:
    """Measure what it costs to embed ``images``, as queries and as gallery images, in one batch.

    Pixels make no difference, but a Matcher may do more, or take another model, at another rate: give the rates that it
    will meet. The time is the median of several batches after one that warms up; reading, down-sampling and comparing
    images are not in it.

    Args:
        matcher: the method.
        images: uint8 (n, 3, H, W) at the data set's size, as many as are embedded at a time.
        rates: (n,), the down-sampling rates of the queries, integers >= 1.
        repeats: timed batches of each kind.

    Raises:
        ValueError: no image, images of another type or shape, rates of another length or below 1, no timed batch.
    """
    rates = _check(images, rates, repeats)
    device = getattr(matcher, "device", torch.device("cpu"))
    images, rates = images.to(device), rates.to(device)

    def query() -> None:
        matcher.embed_query(images, rates)

    def gallery() -> None:
        matcher.embed_gallery(images)

    with _MetParameters() as met:  # decision EVAL-16
        products = [_multiply_adds(embed) / len(images) for embed in (query, gallery)]
    seconds = [_median_seconds(embed, repeats, device) for embed in (query, gallery)]
    parameters = sum(parameter.numel() for parameter in met.parameters.values())
    return Cost(parameters, *products, *(len(images) / one for one in seconds))


class _MetParameters(TorchDispatchMode):
    """Keeps every parameter that an operation takes, wherever the Matcher has it: no walk over modules would find all.

    A walk over modules would also find those that only training needs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parameters: dict[int, nn.Parameter] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        self.parameters |= {id(x): x for x in tree_leaves((args, kwargs)) if isinstance(x, nn.Parameter)}
        return func(*args, **kwargs)


def _multiply_adds(embed: Callable[[], None]) -> float:
    with _without_fused_attention(), FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        embed()
    return counter.get_total_flops() / 2  # it counts a product and a sum as two


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Take `nn.MultiheadAttention` apart: its fast path is one operation, which no formula counts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _median_seconds(embed: Callable[[], None], repeats: int, device: torch.device) -> float:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        embed()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Shapes (..., s, e), (..., t, e), (..., t, d)."""
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _matrix_vector(matrix: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


def _added_to(formula: Callable[..., int]) -> Callable[..., int]:
    return lambda _, *factors, **options: formula(*factors, **options)


def _summed_batches(first: Sequence[int], second: Sequence[int], **_: Any) -> int:
    """Shapes (b, n, m), (b, m, p)."""
    return 2 * prod(first) * second[-1]


# what the counter of PyTorch has no formula for; a product and a sum count as two here too
_FORMULAS = {
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.vdot: _matrix_vector,
    aten.addmv: _added_to(_matrix_vector),
    aten.addbmm: _added_to(_summed_batches),
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


def _check(images: torch.Tensor, rates: torch.Tensor | Sequence[int], repeats: int) -> torch.Tensor:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(
            f"expected one or more uint8 images (n, 3, H, W), found {images.dtype} {tuple(images.shape)}: give a "
            "batch as evaluation embeds it"
        )
    rates = torch.as_tensor(rates)
    if rates.shape != (len(images),) or rates.dtype.is_floating_point or (rates < 1).any():
        raise ValueError(
            f"expected the rate of each of {len(images)} images, integers >= 1 (1 = HR), found {rates.tolist()}"
        )
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1 timed batch, found {repeats}")
    return rates
