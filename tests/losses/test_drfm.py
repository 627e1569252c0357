"""Eq. 1 to 9 and 14 to 20 of DRFM against the same written slowly, in float64 with loops."""

import math
from collections.abc import Sequence

import pytest
import torch

from reid_lib.losses import drfm
from reid_lib.seeds import torch_generator

D = 5
LABELS = (0, 1, -1, 2, 0, 1, 2, 2, -1, 0)
LOW = (False, False, True, False, True, True, True, False, False, False)  # cluster 0: 2 HR, 1 LR; 1: 1, 1; 2: 2, 1


def draw(*shape: int, name: str = "drfm") -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(0, name), dtype=torch.float64)


def directions(n: int, name: str = "directions") -> torch.Tensor:
    return torch.nn.functional.normalize(draw(n, D, name=name))


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def softmax(logits: Sequence[float]) -> list[float]:
    exponentials = [math.exp(value - max(logits)) for value in logits]
    return [value / sum(exponentials) for value in exponentials]


def means(rows: torch.Tensor, labels: Sequence[int], among: Sequence[bool], clusters: int) -> dict[int, list[float]]:
    """The mean of each cluster's rows among those that count; a cluster without one has none."""
    found = {}
    for j in range(clusters):
        own = [row for row, y, counts in zip(rows.tolist(), labels, among, strict=True) if y == j and counts]
        if own:
            found[j] = mean(own)
    return found


def slow_l_cc(
    f: torch.Tensor,
    labels: Sequence[int],
    hsl: dict[int, list[float]],
    lsh: dict[int, list[float]],
    q: int,
    tau: float,
) -> float:
    """Eq. 16, its mean over images."""
    loss = 0.0
    for row, y in zip(f.tolist(), labels, strict=True):
        positive = [c[y] for c in (hsl, lsh) if y in c]
        others = sorted((dot(row, c) for centroids in (hsl, lsh) for j, c in centroids.items() if j != y), reverse=True)
        below = sum(math.exp(dot(row, c) / tau) for c in positive) + sum(math.exp(x / tau) for x in others[:q])
        own = [-math.log(math.exp(dot(row, c) / tau) / below) for c in positive]
        loss += sum(own) / len(own) / len(labels)
    return loss


# ---- The memory and the class vectors --------------------------------------------------------------------------------


def test_eq_1_to_3_update_of_the_memory() -> None:
    v, f = draw(3, D, name="v"), draw(3, D, name="f")
    found = drfm.update(v, f, 0.2)
    for i in range(3):
        for j in range(D):
            assert found[i, j].item() == pytest.approx(0.2 * v[i, j].item() + 0.8 * f[i, j].item(), rel=1e-12)


def test_eq_5_and_7_centroids() -> None:
    f = draw(10, D)
    found = drfm.centroids(f, torch.tensor(LABELS), 3)
    slow = means(f, LABELS, [True] * 10, 3)
    torch.testing.assert_close(found, torch.tensor([slow[j] for j in range(3)], dtype=torch.float64))


def test_a_cluster_without_an_image_has_zeros_and_images_without_a_label_do_not_count() -> None:
    f = draw(3, D)
    found = drfm.centroids(f, torch.tensor([2, -1, 2]), 4)
    torch.testing.assert_close(found[2], (f[0] + f[2]) / 2)
    assert torch.equal(found[[0, 1, 3]], torch.zeros(3, D, dtype=torch.float64))
    assert drfm.centroids(f, torch.full((3,), -1), 0).shape == (0, D)


def test_eq_4_and_6_class_vectors() -> None:
    f, c = directions(4), draw(3, D, name="c")
    found = drfm.class_vectors(f, c, 0.04)
    for row, s in zip(f.tolist(), found.tolist(), strict=True):
        assert s == pytest.approx(softmax([dot(row, centroid) / 0.04 for centroid in c.tolist()]), rel=1e-9)


def slow_fusion(s_l: Sequence[float], s_sh: Sequence[float]) -> list[float]:
    """Eq. 8."""
    products = [a * b for a, b in zip(s_l, s_sh, strict=True)]
    return [value / sum(products) for value in products]


def test_eq_8_fused_class_vectors() -> None:
    s_l, s_sh = draw(4, 6, name="l").softmax(1), draw(4, 6, name="sh").softmax(1)
    found = drfm.fused_class_vectors(s_l, s_sh)
    for row, a, b in zip(found.tolist(), s_l.tolist(), s_sh.tolist(), strict=True):
        assert row == pytest.approx(slow_fusion(a, b), rel=1e-9)


def test_eq_8_where_the_products_underflow_in_float32() -> None:
    """Two class vectors that are sure of different clusters: all their products are 0 in float32."""
    s_l = torch.tensor([[0.0, -60.0, -51.0]]).softmax(1)
    s_sh = torch.tensor([[-60.0, 0.0, -58.0]]).softmax(1)
    products = (s_l * s_sh)[0]
    assert products[2] < torch.finfo(torch.float32).tiny
    s_l[0, 0], s_sh[0, 1] = 1e-30, 1e-29
    assert (s_l * s_sh).sum() == 0
    found = drfm.fused_class_vectors(s_l, s_sh)
    assert found.dtype == torch.float32
    expected = slow_fusion(s_l.double()[0].tolist(), s_sh.double()[0].tolist())
    assert found[0].tolist() == pytest.approx(expected, rel=1e-4)
    assert found.sum().item() == pytest.approx(1)


def test_eq_8_of_zeros_is_finite() -> None:
    found = drfm.fused_class_vectors(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    assert found[0].tolist() == pytest.approx([0.5, 0.5])


# ---- Which LR images get a pseudo-label ------------------------------------------------------------------------------


def rows(*largest: float) -> torch.Tensor:
    """Fused class vectors (n, 3) with these largest elements, each in another place."""
    found = [[x if j == i % 3 else (1 - x) / 2 for j in range(3)] for i, x in enumerate(largest)]
    return torch.tensor(found, dtype=torch.float64)


def slow_confident(s: torch.Tensor, clustered: int, hr: int, t: float) -> list[bool]:
    """Eq. 9: sort by the largest element, take the first T n."""
    largest = [max(row) for row in s.tolist()]
    order = sorted(range(len(largest)), key=lambda i: (-largest[i], i))
    n = math.floor(round(clustered / hr * t * len(largest), 6))
    return [i in order[:n] for i in range(len(largest))]


@pytest.mark.parametrize(
    ("clustered", "hr", "t"), [(8, 10, 0.7), (10, 10, 0.7), (9, 10, 1.0), (3, 7, 0.8), (1, 3, 1.0)]
)
def test_eq_9_the_share_t_of_the_most_confident(clustered: int, hr: int, t: float) -> None:
    s = draw(10, 6, name="s").softmax(1)
    found = drfm.confident(s, t * clustered / hr)
    assert found.tolist() == slow_confident(s, clustered, hr, t)
    assert found.dtype == torch.bool


def test_eq_9_where_t_n_is_whole_all_of_them_are_taken() -> None:
    """0.29 x 100 and others are a little less than whole in floating point."""
    assert math.floor(0.29 * 100) == 28
    for percent in range(101):
        assert drfm.confident(draw(100, 3).softmax(1), percent / 100).sum() == percent


def test_eq_9_of_equally_confident_ones_the_first_are_taken() -> None:
    s = rows(0.6, 0.9, 0.6, 0.6, 0.9, 0.6)
    assert drfm.confident(s, 0.5).tolist() == [True, True, False, False, True, False]
    assert drfm.confident(torch.full((6, 3), 1 / 3), 0.5).tolist() == [True] * 3 + [False] * 3


def test_eq_9_none_and_all() -> None:
    s = rows(0.6, 0.9, 0.5)
    assert drfm.confident(s, 0.0).tolist() == [False] * 3
    assert drfm.confident(s, 1.0).tolist() == [True] * 3
    assert drfm.confident(s[:0], 1.0).tolist() == []


# ---- The losses ------------------------------------------------------------------------------------------------------


def resolutions(labels: Sequence[int] = LABELS, low: Sequence[bool] = LOW, clusters: int = 3) -> tuple:
    """A memory's centroids, as Eq. 14 and 15 have them and slowly."""
    v = draw(len(labels), D, name="memory")
    found = drfm.resolution_centroids(v, torch.tensor(labels), torch.tensor(low), clusters)
    return found, means(v, labels, [not x for x in low], clusters), means(v, labels, low, clusters)


@pytest.mark.parametrize("low", [LOW, [False] * 10, [y in (1, -1) for y in LABELS]])
def test_eq_14_and_15_resolution_centroids(low: Sequence[bool]) -> None:
    """In the second case no cluster has an LR image; in the third clusters are of one resolution each."""
    found, hsl, lsh = resolutions(low=low)
    slow = [(j, c) for j in range(3) for c in (hsl.get(j), lsh.get(j)) if c is not None]
    assert found.cluster.tolist() == [j for j, _ in slow]
    torch.testing.assert_close(found.c, torch.tensor([c for _, c in slow], dtype=torch.float64))


CASES = {
    "two centroids a cluster": (LABELS, LOW, 3, 2),
    "Q is all there is": (LABELS, LOW, 3, 4),
    "fewer others than Q": (LABELS, LOW, 3, 20),
    "no Q": (LABELS, LOW, 3, 0),
    "one resolution": (LABELS, [False] * 10, 3, 20),
    "some of one resolution": (LABELS, [y == 1 or (y == 2 and i > 3) for i, y in enumerate(LABELS)], 3, 3),
    "one cluster": ([0 if y >= 0 else -1 for y in LABELS], LOW, 1, 20),
    "one cluster of one resolution": ([0 if y >= 0 else -1 for y in LABELS], [True] * 10, 1, 20),
}


@pytest.mark.parametrize("case", CASES)
def test_eq_16_cross_resolution_contrastive_loss(case: str) -> None:
    labels, low, clusters, q = CASES[case]
    resolution, hsl, lsh = resolutions(labels, low, clusters)
    own = [y for y in labels if y >= 0]
    f = directions(len(own)).requires_grad_()
    found = drfm.cross_resolution_contrastive_loss(f, torch.tensor(own), resolution, q, 0.1)
    assert found.item() == pytest.approx(slow_l_cc(f.detach(), own, hsl, lsh, q, 0.1), rel=1e-9, abs=1e-12)
    found.backward()
    assert f.grad.isfinite().all()
    assert (f.grad.abs().max() > 1e-3) == (case != "one cluster of one resolution")


def test_eq_16_of_one_centroid_and_no_other_is_0() -> None:
    resolution, *_ = resolutions([0, 0], [True, True], 1)
    f = directions(2).requires_grad_()
    found = drfm.cross_resolution_contrastive_loss(f, torch.tensor([0, 0]), resolution, 20, 0.04)
    found.backward()
    assert found.item() == 0
    assert torch.equal(f.grad, torch.zeros_like(f))


def test_eq_16_is_finite_in_float32_at_the_papers_temperature() -> None:
    resolution, *_ = resolutions()
    resolution = drfm.ResolutionCentroids(torch.nn.functional.normalize(resolution.c).float(), resolution.cluster)
    f = (-resolution.c).requires_grad_()  # as far as a feature can be from its centroid
    found = drfm.cross_resolution_contrastive_loss(f, resolution.cluster, resolution, 20, 0.04)
    found.backward()
    assert found.item() > 10
    assert f.grad.isfinite().all()


def test_the_nearest_of_the_other_clusters_are_those_of_q() -> None:
    """A centroid beyond the |Q| nearest has no say."""
    c = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [-1.0, 0.0]])
    f, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])

    def loss(c: torch.Tensor, q: int) -> float:
        resolution = drfm.ResolutionCentroids(c, torch.tensor([0, 1, 1, 2]))
        return drfm.cross_resolution_contrastive_loss(f, labels, resolution, q, 0.5).item()

    moved = c.clone()
    moved[3] = torch.tensor([-0.5, 0.2])
    assert loss(c, 2) == loss(moved, 2)
    assert loss(c, 3) != loss(moved, 3)
    assert loss(c, 1) < loss(c, 2) < loss(c, 3) == loss(c, 99)


def test_l_sc_is_cross_entropy_of_one_centroid_a_cluster() -> None:
    f, c, labels = directions(4), draw(3, D, name="c"), [2, 0, 0, 1]
    slow = 0.0
    for row, y in zip(f.tolist(), labels, strict=True):
        slow -= math.log(softmax([dot(row, centroid) / 0.1 for centroid in c.tolist()])[y]) / 4
    assert drfm.softmax_loss(f, torch.tensor(labels), c, 0.1).item() == pytest.approx(slow, rel=1e-9)


def test_eq_18_identity_consistency_loss_and_its_stop_gradient() -> None:
    predicted, f_l = draw(4, D, name="pred").requires_grad_(), draw(4, D, name="f_l").requires_grad_()
    found = drfm.identity_consistency_loss(predicted, f_l)
    pairs = zip(predicted.tolist(), f_l.tolist(), strict=True)
    assert found.item() == pytest.approx(-mean([[cosine(a, b)] for a, b in pairs])[0], rel=1e-9)
    found.backward()
    assert predicted.grad.abs().sum() > 0
    assert f_l.grad is None


def test_eq_18_without_an_image_is_0_and_gives_pred_a_gradient() -> None:
    pred = torch.nn.Linear(D, D)
    found = drfm.identity_consistency_loss(pred(torch.zeros(0, D)), torch.zeros(0, D))
    assert found.item() == 0
    found.backward()
    assert torch.equal(pred.weight.grad, torch.zeros(D, D))


def slow_l_ps(f: torch.Tensor, c: torch.Tensor, tau_s: float, tau_c: float) -> float:
    """Eq. 19, its mean over images."""
    loss = 0.0
    for row in f.tolist():
        products = [dot(row, centroid) for centroid in c.tolist()]
        sharp, plain = softmax([x / tau_s for x in products]), softmax([x / tau_c for x in products])
        loss -= sum(p * math.log(q) for p, q in zip(sharp, plain, strict=True)) / len(f)
    return loss


def test_eq_19_probability_sharpening_loss() -> None:
    f, c = directions(4), directions(3, "c")
    found = drfm.probability_sharpening_loss(f, c, 0.1, 0.2)
    assert found.item() == pytest.approx(slow_l_ps(f, c, 0.1, 0.2), rel=1e-9)


def test_eq_19_stops_the_gradient_of_the_sharp_side() -> None:
    """Its gradient is (plain - sharp) C / tau_c, as if the sharp side were constant."""
    f, c = directions(4).requires_grad_(), directions(3, "c")
    drfm.probability_sharpening_loss(f, c, 0.1, 0.2).backward()
    for row, gradient in zip(f.tolist(), f.grad.tolist(), strict=True):
        products = [dot(row, centroid) for centroid in c.tolist()]
        sharp, plain = softmax([x / 0.1 for x in products]), softmax([x / 0.2 for x in products])
        slow = [
            sum((plain[j] - sharp[j]) * c[j, d].item() for j in range(3)) / 0.2 / len(f)  # of the mean
            for d in range(D)
        ]
        assert gradient == pytest.approx(slow, rel=1e-8, abs=1e-12)


def entropy(logits: torch.Tensor) -> float:
    p = logits.softmax(-1)
    return -(p * p.log()).sum().item()


@pytest.mark.parametrize(("tau_s", "sharper"), [(0.1, True), (0.2, None), (0.4, False)])
def test_eq_19_sharpens_where_tau_s_is_below_tau_c_alone(tau_s: float, sharper: bool | None) -> None:
    f, c = directions(1).requires_grad_(), directions(3, "c")
    drfm.probability_sharpening_loss(f, c, tau_s, 0.2).backward()
    before, after = (entropy(x @ c.T / 0.2) for x in (f.detach(), f.detach() - 0.01 * f.grad))
    if sharper is None:  # equal temperatures: nothing moves
        assert f.grad.abs().max() < 1e-12
    else:
        assert (after < before - 1e-6) if sharper else (after > before + 1e-6)


def test_eq_17_and_20_the_sum_and_its_weights() -> None:
    names = ("contrast_hh", "contrast_ll", "contrast_fu", "consistency", "sharpening")
    terms = {name: torch.tensor(value) for name, value in zip(names, (2.0, 3.0, 5.0, -0.5, 7.0), strict=True)}
    found = drfm.total(terms, 1.5)
    assert {name: value.item() for name, value in found.items()} == {
        **{name: terms[name].item() for name in names[:4]},
        "sharpening": 1.5 * 7.0,
    }
    assert sum(found.values()).item() == pytest.approx(2 + 3 + 5 - 0.5 + 1.5 * 7)
    assert terms["sharpening"].item() == 7.0  # the history has the terms before their weights
