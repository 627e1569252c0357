"""The super-resolution interface: bicubic, a generator, and a checkpoint that spandrel knows."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid_lib.networks.intact import Generator
from reid_lib.networks.sr import Bicubic, Checkpoint, Generated
from reid_lib.networks.weights import WeightsError
from reid_lib.seeds import torch_generator

CPU = torch.device("cpu")


def images(n: int = 2, size: tuple[int, int] = (32, 16)) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *size), generator=torch_generator(0, "sr"), dtype=torch.uint8)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small ESRGAN of scale 4 with random weights, as a file."""
    pytest.importorskip("spandrel", reason="the extra 'sr' is not installed")
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RRDBNet(num_filters=8, num_blocks=1, scale=4)
    torch.save(model.state_dict(), tmp_path / "x4.pth")
    return tmp_path / "x4.pth"


def pillow(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize one image (3, h, w) with Pillow's bicubic filter."""
    array = np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BICUBIC))
    return torch.from_numpy(array).permute(2, 0, 1)


def test_bicubic_is_pillows() -> None:
    image = images(1) // 4 + 96  # where nothing is cut off at 0 and 255
    found = Bicubic(2).upscale(image)
    assert found.shape == (1, 3, 64, 32)
    assert (found[0].int() - pillow(image[0], (64, 32)).int()).abs().max() <= 2


def test_recover_shrinks_first_and_gives_the_size_that_it_got() -> None:
    image = images(1) // 4 + 96
    found = Bicubic(2).recover(image)[0]
    assert (found.int() - pillow(pillow(image[0], (16, 8)), (32, 16)).int()).abs().max() <= 2
    assert torch.equal(Bicubic(1).recover(image), image)


def test_a_generator_recovers_at_any_size_and_upscales_by_its_scale() -> None:
    sr = Generated(Generator(4, residual=True), (32, 16), CPU, split=3, scale=4)
    assert sr.split == 3
    assert not sr.generator.training
    for size in ((32, 16), (64, 32)):  # the input is resized, the image comes back at its own size
        found = sr.recover(images(size=size))
        assert (found.dtype, tuple(found.shape[2:])) == (torch.uint8, size)
    assert (sr.recover(images()).int() - images().int()).abs().max() < 20  # untrained, it leaves an image nearly alone
    assert sr.upscale(images(size=(8, 4))).shape == (2, 3, 32, 16)


def test_a_checkpoint_is_read_through_spandrel(checkpoint: Path) -> None:
    sr = Checkpoint(checkpoint, scale=4)
    found = sr.upscale(images(size=(8, 4)))
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (2, 3, 32, 16))
    assert sr.recover(images()).shape == images().shape
    assert sr.split is None


def test_a_model_of_another_scale_is_refused(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match="is a model of scale 4, the data need scale 2: give another"):
        Checkpoint(checkpoint, scale=2)


def test_a_checkpoint_that_spandrel_does_not_know_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("spandrel", reason="the extra 'sr' is not installed")
    torch.save({"some.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other.pth is of no architecture that spandrel .* knows: give a super-"):
        Checkpoint(tmp_path / "other.pth", scale=4)
    with pytest.raises(WeightsError, match="weight file missing"):
        Checkpoint(tmp_path / "none.pth", scale=4)


def test_without_spandrel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ImportError, match=r"spandrel, which is not installed: pip install 'reid-lib\[sr\]'"):
        Checkpoint(tmp_path / "x4.pth", scale=4)


def test_sides_that_the_scale_does_not_divide_and_wrong_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="a model of scale 4 needs images whose sides it divides, found 30x16"):
        Bicubic(4).recover(images(size=(30, 16)))
    for scale in (0, 1.5, True):
        with pytest.raises(ValueError, match="scale must be a whole number >= 1, found"):
            Bicubic(scale)
