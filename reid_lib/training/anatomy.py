"""One training step taken apart: where each loss's gradient goes, and what a step has changed; for the notebooks."""

from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from torch import nn

Parts = Mapping[str, nn.Module | Iterable[nn.Parameter]]


def gradient_norms(terms: Mapping[str, torch.Tensor], parts: Parts) -> pd.DataFrame:
    """Return the Euclidean norm of each loss's gradient in each part; 0 where none arrives.

    Args:
        terms: scalars by name, from one forward pass whose graph is still there; it stays.
        parts: modules or parameters by name.

    Returns:
        One row for each term, one column for each part.
    """
    rows = {}
    for name, term in terms.items():
        rows[name] = {part: _norm(_gradients(term, _parameters(module))) for part, module in parts.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("loss")


def snapshot(parts: Parts) -> dict[str, list[torch.Tensor]]:
    """Return a copy of each part's parameters, for `relative_change`."""
    return {part: [p.detach().clone() for p in _parameters(module)] for part, module in parts.items()}


def relative_change(before: Mapping[str, list[torch.Tensor]], parts: Parts) -> pd.Series:
    """Return how far each part's parameters have moved since `snapshot`, in percent of their length before.

    Raises:
        ValueError: other parts than those of the snapshot.
    """
    if list(before) != list(parts):
        raise ValueError(f"expected the parts of the snapshot, {', '.join(before)}; found {', '.join(parts)}")
    moved = {}
    for part, module in parts.items():
        steps = [p.detach() - old for p, old in zip(_parameters(module), before[part], strict=True)]
        moved[part] = 100 * _norm(steps) / max(_norm(before[part]), 1e-12)
    return pd.Series(moved, name="change (%)")


def _parameters(module: nn.Module | Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return list(module.parameters() if isinstance(module, nn.Module) else module)


def _gradients(term: torch.Tensor, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    learning = [p for p in parameters if p.requires_grad]
    if not (learning and term.requires_grad):
        return []
    found = torch.autograd.grad(term, learning, retain_graph=True, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def _norm(tensors: Iterable[torch.Tensor]) -> float:
    return float(sum(tensor.double().square().sum() for tensor in tensors) ** 0.5)
