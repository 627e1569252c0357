import pytest
import torch

from reid_lib.seeds import numpy_generator, torch_generator


def test_same_seed_and_names_give_the_same_stream() -> None:
    assert numpy_generator(1, "a", 2).integers(0, 2**40) == numpy_generator(1, "a", 2).integers(0, 2**40)
    assert torch.equal(*(torch.rand(4, generator=torch_generator(1, "a", 2)) for _ in range(2)))


def test_other_seed_or_name_gives_another_stream() -> None:
    streams = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", "b"), (0, "a", 1)]
    assert len({numpy_generator(*s).integers(0, 2**40) for s in streams}) == len(streams)
    assert len({torch_generator(*s).initial_seed() for s in streams}) == len(streams)


def test_streams_are_the_same_on_every_machine() -> None:
    assert numpy_generator(0, "rates").integers(0, 1000, 5).tolist() == [550, 790, 763, 80, 176]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="integer >= 0, found -1"):
        numpy_generator(-1)
