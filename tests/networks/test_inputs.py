import numpy as np
import pytest
import torch
from PIL import Image

from reid_lib.networks.inputs import IMAGENET_MEAN, IMAGENET_STD, normalise, to_image_range, to_network_range, to_uint8
from reid_lib.seeds import torch_generator


def _images(n: int = 2, height: int = 32, width: int = 16) -> torch.Tensor:
    return torch.randint(256, (n, 3, height, width), dtype=torch.uint8, generator=torch_generator(0, "images"))


def _pixels(x: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation: values in 0..255."""
    return (x * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) * 255


def test_each_channel_is_scaled_with_its_own_mean_and_deviation():
    images = _images()
    x = normalise(images)
    assert x.dtype == torch.float32
    assert x.shape == images.shape
    for c in range(3):
        expected = (images[:, c].double() / 255 - IMAGENET_MEAN[c]) / IMAGENET_STD[c]
        torch.testing.assert_close(x[:, c].double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(64, 32), (16, 8), (20, 12)])
def test_resize_is_that_of_pillow(size: tuple[int, int]):
    images = _images()
    found = _pixels(normalise(images, size)).permute(0, 2, 3, 1).numpy()
    for image, result in zip(images.permute(0, 2, 3, 1).numpy(), found, strict=True):
        pillow = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
        # Pillow rounds to integers after each of its two passes
        assert np.abs(np.asarray(pillow) - result).max() < 1.5


def test_size_that_is_there_already_changes_nothing():
    images = _images()
    assert torch.equal(normalise(images, (32, 16)), normalise(images))


@pytest.mark.parametrize("size", [None, (20, 12)])
def test_the_images_may_lie_in_memory_in_either_way(size: tuple[int, int] | None):
    plain, last = _images(), _images().contiguous(memory_format=torch.channels_last)
    assert torch.equal(normalise(last, size), normalise(plain, size))
    assert normalise(last).is_contiguous(memory_format=torch.channels_last)
    x = normalise(plain)
    for convert in (to_network_range, to_image_range):
        assert torch.equal(convert(x.contiguous(memory_format=torch.channels_last)), convert(x))
    assert torch.equal(last, plain)


def test_floats_are_refused():
    with pytest.raises(TypeError, match="expected uint8 images"):
        normalise(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\)"):
        normalise(torch.zeros(shape, dtype=torch.uint8))


def test_what_was_normalised_comes_back():
    images = _images()
    found = to_uint8(normalise(images), (32, 16))
    assert found.dtype == torch.uint8
    assert torch.equal(found, images)


def test_values_beyond_the_range_of_images_are_cut():
    x = to_network_range(torch.tensor([-0.2, 0.0, 0.4999, 1.0, 1.3]).view(1, 1, 1, 5).expand(1, 3, 1, 5))
    before = x.clone()
    assert to_uint8(x, (1, 5))[0, 0, 0].tolist() == [0, 0, 127, 255, 255]
    assert torch.equal(x, before)


@pytest.mark.parametrize("size", [(64, 32), (16, 8), (20, 12)])
def test_images_of_another_size_are_resized_as_pillow_does(size: tuple[int, int]):
    images = _images()
    found = to_uint8(normalise(images), size)
    assert found.shape == (2, 3, *size)
    for image, result in zip(images.permute(0, 2, 3, 1).numpy(), found.permute(0, 2, 3, 1).numpy(), strict=True):
        pillow = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(pillow, float) - result).max() <= 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu():
    images = _images()
    torch.testing.assert_close(normalise(images.cuda(), (64, 32)).cpu(), normalise(images, (64, 32)), atol=1e-4, rtol=0)
