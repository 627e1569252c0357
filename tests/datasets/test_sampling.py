import numpy as np
import pytest
import torch

from reid_lib.datasets import sampling
from reid_lib.datasets.sampling import augment, draw_rates, pk_batches
from reid_lib.seeds import torch_generator

PIDS = np.repeat(np.arange(10) * 7, np.arange(1, 11))  # identity 0 has one image, 63 has ten


def test_a_batch_holds_p_identities_with_k_images() -> None:
    batches = pk_batches(PIDS, p=4, k=3, seed=0, epoch=0)
    assert len(batches) == len(PIDS) // 12
    for batch in batches:
        groups = PIDS[batch].reshape(4, 3)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == 4


def test_identities_take_turns() -> None:
    pids = np.repeat(np.arange(10), 12)
    batches = pk_batches(pids, p=4, k=2, seed=0, epoch=0)  # 15 batches: 60 turns for 10 identities
    turns = np.bincount(np.concatenate([pids[batch][::2] for batch in batches]))
    assert turns.min() == turns.max() == 6


def test_images_repeat_only_where_there_are_too_few() -> None:
    for batch in pk_batches(PIDS, p=10, k=4, seed=1, epoch=3):
        for pid in set(PIDS):
            chosen = batch[PIDS[batch] == pid]
            assert len(set(chosen)) == min(4, list(PIDS).count(pid))


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def flat(seed: int, epoch: int) -> list[int]:
        return np.concatenate(pk_batches(PIDS, 4, 3, seed, epoch)).tolist()

    assert flat(0, 1) == flat(0, 1)
    assert flat(0, 1) != flat(0, 2)
    assert flat(0, 1) != flat(1, 1)


@pytest.mark.parametrize(("p", "k"), [(11, 2), (0, 2), (2, 0)])
def test_batches_that_cannot_be_drawn_are_refused(p: int, k: int) -> None:
    with pytest.raises(ValueError, match="from 10 identities"):
        pk_batches(PIDS, p, k, 0, 0)


def slow_augment(image: np.ndarray, top: int, left: int, flip: bool, pad: int) -> np.ndarray:
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    crop = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
    return crop[:, :, ::-1] if flip else crop


def test_augment_pads_crops_and_flips() -> None:
    images = torch.randint(1, 256, (40, 3, 9, 5), generator=torch_generator(0, "x"), dtype=torch.uint8)
    results = augment(images, torch_generator(0, "augment"), pad=2)
    seen = set()
    for image, result in zip(images.numpy(), results.numpy(), strict=True):
        ways = [(t, left, f) for t in range(5) for left in range(5) for f in (False, True)]
        matches = [way for way in ways if np.array_equal(slow_augment(image, *way, pad=2), result)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 20
    assert {flip for *_, flip in seen} == {False, True}


@pytest.mark.parametrize("channels", [3, 6])
def test_both_ways_of_cropping_give_the_same(channels: int) -> None:
    """Without a CUDA device its way is followed on the CPU."""
    generator = torch_generator(0, "crops")
    padded = torch.randint(0, 256, (9, channels, 14, 10), generator=generator, dtype=torch.uint8)
    offset = torch.randint(0, 5, (2, 9), generator=generator)
    flipped = torch.rand(9, generator=generator) < 0.5
    each, at_once = (crop(padded, offset, flipped, (10, 6)) for crop in (sampling._crop_each, sampling._crop_at_once))
    assert torch.equal(each, at_once)
    assert flipped.any()
    assert not flipped.all()


def test_augment_without_pad_and_flip_changes_nothing() -> None:
    images = torch.randint(0, 256, (4, 3, 9, 5), generator=torch_generator(0, "x"), dtype=torch.uint8)
    assert torch.equal(augment(images, torch_generator(0), pad=0, flip=0), images)


def test_rates_are_drawn_from_those_given() -> None:
    rates = draw_rates(3000, (1, 3, 4), torch_generator(0, "rates"))
    assert set(rates.tolist()) == {1, 3, 4}
    np.testing.assert_allclose(rates.bincount()[[1, 3, 4]] / 3000, 1 / 3, atol=0.04)


@pytest.mark.parametrize("steps", [1, 3, 25])
def test_an_epoch_may_have_a_number_of_steps_of_its_own(steps: int) -> None:
    pids = np.repeat(np.arange(10), 4)
    batches = pk_batches(pids, 4, 2, seed=0, epoch=0, steps=steps)
    assert len(batches) == steps
    turns = np.bincount(np.concatenate([pids[batch][::2] for batch in batches]), minlength=10)
    assert turns.max() - turns.min() <= 1  # over more than one pass as well
    assert all(len(set(pids[batch])) == 4 for batch in batches)
    whole = pk_batches(pids, 4, 2, seed=0, epoch=0)
    assert all((a == b).all() for a, b in zip(batches, whole, strict=False))


def test_an_epoch_without_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, or None for about all images, found 0"):
        pk_batches([0, 0, 1, 1], 2, 2, seed=0, epoch=0, steps=0)
