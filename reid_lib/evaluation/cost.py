"""What matching costs: parameters, multiply-adds and time of a Matcher, found by running it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from reid_lib.evaluation.ranking import Matcher


@dataclass(frozen=True)
class Cost:
    """Costs of a Matcher.

    Attributes:
        parameters: numbers of all parameters that embedding a query or a gallery image looks at; each counts once.
        query_multiply_adds, gallery_multiply_adds: of one image, those of convolutions and matrix products.
        milliseconds: time of one query in a batch of the given size, on this machine with torch's threads.
    """

    parameters: int
    query_multiply_adds: float
    gallery_multiply_adds: float
    milliseconds: float


class _Parameters(TorchDispatchMode):
    """Collects the parameters that any operation takes, whoever owns them."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs or {})):
            if isinstance(leaf, torch.nn.Parameter):
                self.sizes[id(leaf)] = leaf.numel()
        return func(*args, **(kwargs or {}))


def cost(matcher: Matcher, images: torch.Tensor, rates: torch.Tensor, repeat: int = 5) -> Cost:  # decision EVAL-16
    """Return what a Matcher costs on some images.

    What only the training needs (classifiers, discriminators) is not run, and so does not count.

    Args:
        matcher: the method.
        images: uint8 (n, 3, H, W), queries at the data set's size.
        rates: int64 (n,), their rates; a method that treats rates differently costs what these cost.
        repeat: how often the time is taken, after one run that does not count; the median is returned.

    Raises:
        ValueError: no image, another number of rates than of images, or ``repeat`` below 1.
    """
    if not len(images) or len(rates) != len(images) or repeat < 1:
        raise ValueError(
            f"expected one or more images, one rate for each, and repeat >= 1; found {len(images)} images, "
            f"{len(rates)} rates and repeat={repeat}"
        )
    query, gallery = (lambda: matcher.embed_query(images, rates)), (lambda: matcher.embed_gallery(images))
    with _Parameters() as parameters:
        query(), gallery()
    return Cost(
        sum(parameters.sizes.values()),
        _multiply_adds(query) / len(images),
        _multiply_adds(gallery) / len(images),
        1000 * _seconds(query, repeat, images.device) / len(images),
    )


def _multiply_adds(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 2  # it counts a multiplication and an addition as two


def _seconds(work: Callable[[], object], repeat: int, device: torch.device) -> float:
    taken = []
    for _ in range(repeat + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])
