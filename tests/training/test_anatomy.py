"""One step taken apart: gradients of each loss in each part, and what a step has changed."""

import pytest
import torch
from torch import nn

from reid_lib.seeds import torch_generator
from reid_lib.training.anatomy import gradient_norms, relative_change, snapshot


def test_gradient_norms_are_those_of_each_loss_alone() -> None:
    first, second, idle = nn.Linear(3, 2), nn.Linear(2, 1), nn.Linear(2, 2)
    for p in idle.parameters():
        p.requires_grad_(False)
    x = torch.randn(4, 3, generator=torch_generator(0))
    hidden = first(x)
    terms = {"both": second(hidden).square().mean(), "first only": hidden.square().mean()}
    parts = {"first": first, "second": list(second.parameters()), "idle": idle}
    found = gradient_norms(terms, parts)
    assert found.index.tolist() == ["both", "first only"]
    assert found.columns.tolist() == ["first", "second", "idle"]
    assert found.loc["first only", "second"] == 0
    assert (found["idle"] == 0).all()
    terms["both"].backward(retain_graph=True)
    by_hand = sum(p.grad.double().square().sum() for p in first.parameters()) ** 0.5
    assert found.loc["both", "first"] == pytest.approx(by_hand.item(), rel=1e-6)
    assert gradient_norms(terms, parts).equals(found)  # the graph is still there


def test_relative_change_is_a_share_of_the_length_before() -> None:
    moved, still = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
    before = snapshot({"moved": moved, "still": still})
    with torch.no_grad():
        moved.weight *= 1.5
    change = relative_change(before, {"moved": moved, "still": still})
    assert change.tolist() == pytest.approx([50.0, 0.0])
    with pytest.raises(ValueError, match="expected the parts of the snapshot, moved, still; found moved"):
        relative_change(before, {"moved": moved})
