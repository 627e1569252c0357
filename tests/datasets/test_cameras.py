import io

import numpy as np
import pytest
import torch
from PIL import Image

from reid_lib.datasets.cameras import jpeg, sensor_noise
from reid_lib.datasets.resolution import degrade, downsample, upsample
from reid_lib.seeds import torch_generator


def pictures(n: int, size: tuple[int, int] = (32, 16)) -> torch.Tensor:
    draw = torch_generator(0, "pictures")
    coarse = torch.randint(0, 256, (n, 3, 8, 4), generator=draw, dtype=torch.uint8)
    return upsample(coarse, size)


def test_jpeg_is_what_a_file_would_hold_image_by_image() -> None:
    images = pictures(3)
    for image, found in zip(images, jpeg(40)(images), strict=True):
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=40)
        assert np.array_equal(found.permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))
    loss = [(jpeg(q)(images).float() - images.float()).abs().mean().item() for q in (95, 50, 5)]
    assert loss[0] < loss[1] < loss[2]


def test_noise_has_its_standard_deviation_and_is_rounded() -> None:
    grey = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    grey[1:] += torch.arange(1, 4, dtype=torch.uint8)[:, None, None, None]
    moved = sensor_noise(6.0, 0)(grey).float() - grey.float()
    assert moved.std().item() == pytest.approx(6, rel=0.03)
    assert abs(moved.mean().item()) < 0.1
    assert abs(torch.corrcoef(moved.flatten(1))[0, 1].item()) < 0.05  # every image has its own
    dark = sensor_noise(30.0, 0)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert (dark == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)  # cut, not wrapped around


def test_an_images_noise_depends_on_seed_and_image_alone() -> None:
    images = pictures(5)
    together = sensor_noise(5, 0)(images)
    assert torch.equal(together, torch.cat([sensor_noise(5, 0)(part) for part in images.split(2)]))
    assert torch.equal(together.flip(0), sensor_noise(5, 0)(images.flip(0)))
    assert not torch.equal(together, sensor_noise(5, 1)(images))


def test_degrade_shows_a_camera_the_image_at_its_lr_size() -> None:
    images, seen = pictures(4), []

    def camera(small: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(small.shape))
        return 255 - small

    rates = torch.tensor([1, 2, 4, 2])
    found = degrade(images, rates, "area", camera)
    assert seen == [(1, 3, 32, 16), (2, 3, 16, 8), (1, 3, 8, 4)]
    assert torch.equal(found[0], 255 - images[0])  # rate 1 passes it at its own size
    assert torch.equal(found[2:3], upsample(255 - downsample(images[2:3], (8, 4), "area"), (32, 16)))
    assert torch.equal(degrade(images, 2, camera=camera)[1], degrade(images, rates, camera=camera)[1])


def test_without_a_camera_nothing_changes() -> None:
    images, rates = pictures(3), torch.tensor([1, 2, 3])
    assert torch.equal(degrade(images, rates), degrade(images, rates, camera=lambda small: small))
    assert torch.equal(jpeg(50)(images[:0]), images[:0])
    assert torch.equal(sensor_noise(5, 0)(images[:0]), images[:0])


@pytest.mark.parametrize("quality", [0, 101, 50.0, True, "high"])
def test_bad_qualities(quality: object) -> None:
    with pytest.raises(ValueError, match="from 1 to 100, found"):
        jpeg(quality)


@pytest.mark.parametrize(("std", "seed"), [(0, 0), (-1, 0), (float("nan"), 0), (float("inf"), 0), (5, -1)])
def test_bad_noise(std: float, seed: int) -> None:
    with pytest.raises(ValueError, match="found"):
        sensor_noise(std, seed)
