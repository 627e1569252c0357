"""A discriminator's step, and what its history tells."""

from collections.abc import Callable

import pandas as pd
import pytest
import torch
from torch import nn

from reid_lib.training.adversarial import accuracy, check_discriminators, discriminator_report, discriminator_step
from reid_lib.training.run import Run, TrainingError


def test_a_discriminators_step_by_hand() -> None:
    judge = nn.Linear(3, 1)
    generator = nn.Parameter(torch.ones(2, 3))
    before, x = judge.weight.detach().clone(), torch.arange(12.0).view(4, 3)
    real, fake = judge(x), judge(generator.detach())
    loss = (real - 1).square().mean() + fake.square().mean()
    (expected,) = torch.autograd.grad(loss, judge.weight, retain_graph=True)
    run, optimizer = Run(None, {}, 0, {}, torch.device("cpu"), progress=False), torch.optim.SGD(judge.parameters(), 0.1)
    noted = discriminator_step(run, "d", optimizer, loss, real, fake, middle=0.5)
    torch.testing.assert_close(judge.weight, before - 0.1 * expected)
    assert noted["loss_d"] == loss
    assert not noted["loss_d"].requires_grad
    assert noted["accuracy_d"] == accuracy(real, fake, 0.5)
    norm = (judge.weight.grad.square().sum() + judge.bias.grad.square().sum()).sqrt()
    torch.testing.assert_close(noted["gradient_d"], norm)
    assert generator.grad is None


def test_one_step_with_a_loss_is_no_outright_win() -> None:
    zero, some = torch.tensor(0.0), torch.tensor(1e-30)
    weights, run = {"d_f": "lambda_f", "d_i": "lambda_i"}, Run(None, {}, 0, {}, torch.device("cpu"), progress=False)
    run.epoch = 3
    check_discriminators(run, [{"loss_d_f": zero, "loss_d_i": some}, {"loss_d_f": some, "loss_d_i": zero}], weights)
    with pytest.raises(TrainingError, match=r"D_I has won .* epoch 3, .* leave it out with lambda_i=0"):
        check_discriminators(run, [{"loss_d_f": some, "loss_d_i": zero}] * 2, weights)
    check_discriminators(run, [{"identity": zero}], weights)


def test_accuracy_by_hand() -> None:
    real, fake = torch.tensor([1.0, 2, -1, 3]), torch.tensor([[-1.0], [4.0]])
    assert accuracy(real, fake).item() == pytest.approx((0.75 + 0.5) / 2)
    assert accuracy(torch.zeros(4), torch.zeros(4)) == 0  # undecided is not right


def test_least_squares_scores_are_parted_at_one_half() -> None:
    real, fake = torch.tensor([0.9, 0.4]), torch.tensor([0.1, 0.6, 0.2, 0.3])
    assert accuracy(real, fake, middle=0.5).item() == pytest.approx((0.5 + 0.75) / 2)


def played(f: Callable[[int], float], i: Callable[[int], float], epochs: int = 8) -> pd.DataFrame:
    rows = [{"epoch": e, "accuracy_d_f": f(e), "accuracy_d_i": i(e)} for e in range(epochs)]
    return pd.DataFrame(rows)


def test_the_report_names_who_wins_and_who_has_lost() -> None:
    assert discriminator_report(played(lambda e: 0.8, lambda e: 0.6)) == []
    wins, lost = discriminator_report(played(lambda e: 0.97, lambda e: 0.51))
    assert wins.startswith("D_F wins: HR and LR features can still be told apart")
    assert "accuracy 97 % in the last 2 of 8 epochs" in wins
    assert lost.startswith("D_I has lost: recovered images look true to it")
    late = played(lambda e: 0.5 if e < 6 else 0.8, lambda e: 0.7 if e < 6 else 0.99)
    assert [sentence[:8] for sentence in discriminator_report(late)] == ["D_I wins"]
    assert "in the last epoch" in discriminator_report(played(lambda e: 1.0, lambda e: 0.8, epochs=2))[0]
    assert discriminator_report(late.drop(columns="accuracy_d_i")) == []
