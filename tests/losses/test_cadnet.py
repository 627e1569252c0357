"""Eq. 1 to 6 of CAD-Net against slow float64 versions."""

import math

import numpy as np
import pytest
import torch

from reid_lib.losses.adversarial import adversarial_loss
from reid_lib.losses.cadnet import (
    cross_resolution_triplet_loss,
    decoder_adversarial_loss,
    encoder_adversarial_loss,
    full_objective,
    image_adversarial_loss,
    reconstruction_loss,
)
from reid_lib.seeds import torch_generator


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, *shape))


def mean_log(logits: torch.Tensor, real: bool) -> float:
    """E[log D], or E[log(1 - D)] where ``real`` is false."""
    probabilities = [1 / (1 + math.exp(-logit)) for logit in logits.flatten().tolist()]
    return float(np.mean([math.log(p if real else 1 - p) for p in probabilities]))


def test_equation_1() -> None:
    hr, lr = draw(4, 1, 2, 1), 1 + draw(5, 1, 2, 1)
    slow = mean_log(hr, True) + mean_log(lr, False)
    assert adversarial_loss(hr, lr).item() == pytest.approx(slow, rel=1e-6)
    assert encoder_adversarial_loss(hr, lr, "minimax").item() == pytest.approx(slow, rel=1e-6)
    exchanged = -mean_log(lr, True) - mean_log(hr, False)
    assert encoder_adversarial_loss(hr, lr).item() == pytest.approx(exchanged, rel=1e-6)


def test_equation_3() -> None:
    real, hr, lr = draw(6), 1 + draw(3), draw(4) - 1
    slow = mean_log(real, True) + mean_log(lr, False) + mean_log(real, True) + mean_log(hr, False)
    assert image_adversarial_loss(real, hr, lr).item() == pytest.approx(slow, rel=1e-6)
    minimax = mean_log(lr, False) + mean_log(hr, False)
    assert decoder_adversarial_loss(hr, lr, "minimax").item() == pytest.approx(minimax, rel=1e-6)
    plain = -mean_log(lr, True) - mean_log(hr, True)
    assert decoder_adversarial_loss(hr, lr).item() == pytest.approx(plain, rel=1e-6)


def test_a_guess_and_a_sure_discriminator() -> None:
    guess, sure = torch.zeros(3), torch.full((3,), 200.0)
    assert adversarial_loss(guess, guess).item() == pytest.approx(-2 * math.log(2))
    assert adversarial_loss(sure, -sure).item() == 0
    assert image_adversarial_loss(sure, -sure, -sure).item() == 0
    assert adversarial_loss(-sure, sure).item() == pytest.approx(-400)
    assert adversarial_loss(guess.bfloat16(), guess).dtype == torch.float32


@pytest.mark.parametrize("form", ["non_saturating", "minimax"])
def test_both_forms_push_the_same_way(form: str) -> None:
    hr, lr = draw(4).requires_grad_(), draw(5).requires_grad_()
    up_hr, up_lr = torch.autograd.grad(encoder_adversarial_loss(hr, lr, form), (hr, lr))
    assert (up_hr > 0).all()  # down the gradient HR features look less like HR
    assert (up_lr < 0).all()
    gradients = torch.autograd.grad(decoder_adversarial_loss(hr, lr, form), (hr, lr))
    assert all((gradient < 0).all() for gradient in gradients)  # all recovered images look truer


def test_only_the_non_saturating_form_learns_from_a_sure_discriminator() -> None:
    found = {}
    for form in ("non_saturating", "minimax"):
        fake = torch.full((2,), -30.0, requires_grad=True)
        decoder_adversarial_loss(fake, fake, form).backward()
        encoder_adversarial_loss(-fake, fake, form).backward()
        found[form] = fake.grad.abs().max().item()
    assert found["minimax"] < 1e-10
    assert found["non_saturating"] > 0.5


@pytest.mark.parametrize("m", [4, 2])
def test_equation_2(m: int) -> None:
    recovered_hr, truth_hr, recovered_lr, truth_lr = (draw(n, 3, 2, k) for n, k in ((4, 3), (4, 5), (m, 3), (m, 5)))
    truth_hr, truth_lr = truth_hr[..., :3], truth_lr[..., :3]
    slow = sum(
        np.mean([abs(a - b) for a, b in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)])
        for x, y in ((recovered_hr, truth_hr), (recovered_lr, truth_lr))
    )
    loss = reconstruction_loss(recovered_hr, truth_hr, recovered_lr, truth_lr)
    assert loss.item() == pytest.approx(slow, rel=1e-9)


def test_no_lr_image_with_a_true_one_is_no_error() -> None:
    hr, none = draw(2, 3, 2, 2), draw(0, 3, 2, 2)
    assert reconstruction_loss(hr, hr + 0.5, none, none).item() == pytest.approx(0.5)


def test_equation_5() -> None:
    hr, lr = draw(6, 4), 2 * draw(4, 4)
    hr_labels, lr_labels = [0, 0, 1, 1, 2, 2], [1, 1, 2, 2]
    slow = 0.0
    for features, labels in ((hr.tolist(), hr_labels), (lr.tolist(), lr_labels)):
        costs = []
        for anchor, label in zip(features, labels, strict=True):
            distances = [(math.dist(anchor, x), other == label) for x, other in zip(features, labels, strict=True)]
            positive, negative = max(d for d, own in distances if own), min(d for d, own in distances if not own)
            costs.append(max(0.0, 2 + positive - negative))
        slow += sum(costs) / len(costs)
    loss = cross_resolution_triplet_loss(hr, torch.tensor(hr_labels), lr, torch.tensor(lr_labels), 2.0)
    assert loss.item() == pytest.approx(slow, rel=1e-5)


def test_triplets_never_mix_resolutions() -> None:
    hr, lr, labels = draw(4, 3), draw(4, 3), torch.tensor([0, 0, 1, 1])
    near, far = (cross_resolution_triplet_loss(hr, labels, lr + away, labels, 2.0).item() for away in (0, 10))
    assert near == pytest.approx(far, rel=1e-4)
    with pytest.raises(ValueError, match="at least two identities"):
        cross_resolution_triplet_loss(hr, labels, lr, torch.zeros(4), 2.0)


def test_equations_4_and_6() -> None:
    names = ["identity", "triplet", "adversarial_f", "reconstruction", "adversarial_i"]
    terms = dict(zip(names, draw(5), strict=True))
    l_id, l_tri, l_f, l_rec, l_i = (terms[name].item() for name in names)
    lambdas = {"adversarial_f": 0.5, "reconstruction": 3.0, "adversarial_i": 0.25}
    weighted = full_objective(terms, lambdas)
    assert sum(weighted.values()).item() == pytest.approx((l_id + l_tri) + 0.5 * l_f + 3 * l_rec + 0.25 * l_i)
    assert list(weighted) == names
    assert full_objective({"triplet": terms["triplet"]}, lambdas) == {"triplet": terms["triplet"]}
