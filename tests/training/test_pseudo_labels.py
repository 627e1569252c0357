"""Pseudo-labels: how an epoch's are settled, what the memory keeps, how batches are drawn from them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from reid_lib.seeds import torch_generator
from reid_lib.training.pseudo_labels import (
    Memory,
    PseudoLabels,
    check_enough,
    cluster,
    labelled_batches,
    shares,
)


@dataclass(frozen=True)
class Config:
    k1: int = 6
    k2: int = 3
    eps: float = 0.6
    min_samples: int = 4
    p: int = 4
    k: int = 4
    steps: int | None = 3


def draw(*shape: int, name: str = "pseudo-labels") -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(0, name))


def groups(sizes: tuple[int, ...], outliers: int = 0) -> torch.Tensor:
    return torch.tensor([y for y, n in enumerate(sizes) for _ in range(n)] + [-1] * outliers)


# ---- What an epoch's labels are --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "clusters", "few"),
    [
        (groups((10, 10)), 2, False),
        (groups((8, 8), 4), 2, False),  # just enough for a batch
        (groups((8, 7), 5), 2, True),
        (groups((20,)), 1, True),
        (groups((), 20), 0, True),
    ],
)
def test_too_few_clusters_or_images_keep_the_labels_before(found: torch.Tensor, clusters: int, few: bool) -> None:
    labels, alone = PseudoLabels(3, 20), torch.arange(20)
    assert labels.labels.unique().tolist() == [-1]
    assert labels.settle(0, found, clusters, alone, Config()) == few
    assert torch.equal(labels.labels[0], alone if few else found)
    before = groups((5, 5, 5, 5))
    assert not labels.settle(1, before, 4, alone, Config())
    assert labels.settle(2, found, clusters, alone, Config()) == few
    assert torch.equal(labels.labels[2], before if few else found)
    assert torch.equal(labels.labels[1], before)


def test_labels_and_memories_are_part_of_the_state() -> None:
    memory = Memory(["hh", "fu"], 5, epochs=2, images=7)
    state = memory.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {"labels": (2, 7), "hh": (7, 5), "fu": (7, 5)}
    assert not list(memory.parameters())


# ---- The memory ------------------------------------------------------------------------------------------------------


def test_the_memory_takes_the_features_of_an_epoch_and_the_updates_of_eq_1_to_3() -> None:
    memory = Memory(["hh", "ll", "fu"], 3, epochs=1, images=6)
    start = {space: draw(6, 3, name=space) for space in ("hh", "ll", "fu")}
    memory.fill(start)
    assert all(torch.equal(getattr(memory, space), start[space]) for space in start)
    seen = {space: draw(2, 3, name=f"new {space}").requires_grad_() for space in start}
    memory.update(torch.tensor([4, 1]), seen, 0.2)
    for space, before in start.items():
        found = getattr(memory, space)
        assert not found.requires_grad
        for place, row in ((4, 0), (1, 1)):
            for j in range(3):
                slow = 0.2 * before[place, j].item() + 0.8 * seen[space][row, j].item()
                assert found[place, j].item() == pytest.approx(slow, rel=1e-5)
        assert torch.equal(found[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


def test_of_an_image_that_is_twice_in_a_batch_the_memory_takes_the_last() -> None:
    """Also where threads share the writing, which they do from some 30,000 numbers on."""
    memory, indices = Memory(["hh"], 2048, epochs=1, images=8), torch.tensor([3, 0, 3, 5] * 16)
    start, seen = draw(8, 2048), draw(64, 2048, name="seen")
    memory.fill({"hh": start})
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        memory.update(indices, {"hh": seen}, 0.2)
    finally:
        torch.set_num_threads(threads)
    for image, last in ((3, 62), (0, 61), (5, 63)):
        torch.testing.assert_close(memory.hh[image], 0.2 * start[image] + 0.8 * seen[last])


def test_what_a_variant_has_no_space_for_is_not_kept() -> None:
    memory = Memory(["hh"], 3, epochs=1, images=2)
    memory.fill({"hh": torch.ones(2, 3), "ll": None, "fu": None})
    memory.update(torch.tensor([0]), {"hh": torch.zeros(1, 3), "ll": None, "fu": None}, 0.0)
    assert memory.hh.tolist() == [[0.0] * 3, [1.0] * 3]


# ---- Clusters --------------------------------------------------------------------------------------------------------


def test_images_that_look_alike_are_one_cluster_and_others_are_none() -> None:
    centres = torch.eye(3).repeat_interleave(7, 0)
    features = torch.cat([centres + 0.05 * draw(21, 3), draw(2, 3, name="far") - 2])
    found = cluster(features, Config())
    assert found.dtype == torch.int64
    assert found[:21].tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert cluster(features[:21], replace(Config(), min_samples=8)).unique().tolist() == [-1]


def test_identical_features_are_one_cluster() -> None:
    assert cluster(torch.ones(20, 4), Config()).tolist() == [0] * 20


def test_features_that_are_not_finite_are_refused() -> None:
    features = draw(20, 4)
    features[3, 1] = float("nan")
    with pytest.raises(ValueError, match="1 of 20 rows of features hold NaN or infinity, the first is row 3"):
        cluster(features, Config())


def test_fewer_images_than_k1_are_refused() -> None:
    with pytest.raises(ValueError, match="expected more than k1=6, found 6: choose a smaller k1"):
        cluster(draw(6, 4), Config())
    assert len(cluster(draw(7, 4), Config())) == 7


# ---- Batches ---------------------------------------------------------------------------------------------------------


def test_batches_hold_clusters_and_no_image_without_a_label() -> None:
    labels = torch.cat([groups((5, 0, 6, 4, 9, 4)), torch.full((8,), -1)])[
        torch.randperm(36, generator=torch_generator(0))
    ]
    batches = labelled_batches(labels, Config(), 0, 0)
    assert len(batches) == 3
    for indices in batches:
        assert (labels[indices] >= 0).all()
        assert labels[indices].bincount().tolist().count(4) == 4
    assert np.concatenate(batches).tolist() == np.concatenate(labelled_batches(labels, Config(), 0, 0)).tolist()
    for other in (labelled_batches(labels, Config(), 0, 1), labelled_batches(labels, Config(), 1, 0)):
        assert np.concatenate(batches).tolist() != np.concatenate(other).tolist()


@pytest.mark.parametrize("clusters", [1, 2, 3, 4, 5])
def test_with_fewer_clusters_than_p_a_batch_keeps_its_size(clusters: int) -> None:
    labels = groups((10,) * clusters, 3)
    for indices in labelled_batches(labels, Config(), 0, 0):
        assert len(indices) == 16
        assert len(labels[indices].unique()) == min(4, clusters)


def test_a_small_cluster_gives_images_twice() -> None:
    labels = groups((1, 2, 9, 9))
    (indices, *_) = labelled_batches(labels, Config(), 0, 0)
    assert np.bincount(indices, minlength=3)[:3].tolist() == [4, 2, 2]


def test_without_a_number_of_steps_an_epoch_has_about_all_labelled_images() -> None:
    labels = groups((10, 10, 10, 10), 100)
    assert len(labelled_batches(labels, replace(Config(), steps=None), 0, 0)) == 40 // 16


def test_shares_of_hr_and_lr_images_with_a_label() -> None:
    low = torch.tensor([True, False, False, True, False])
    found = shares(torch.tensor([-1, 0, 2, 1, -1]), low)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"labelled_hr": 200 / 3, "labelled_lr": 50.0}
    )


def test_fewer_images_than_a_batch_are_refused() -> None:
    check_enough(16, Config())
    with pytest.raises(ValueError, match="p=4 clusters with k=4 images each needs as many images, found 15: lower p"):
        check_enough(15, Config())
