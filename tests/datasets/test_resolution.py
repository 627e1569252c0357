import numpy as np
import pytest
import torch
from PIL import Image

from reid_lib.datasets.resolution import KERNELS, degrade, downsample, resize_matrix, upsample
from reid_lib.seeds import torch_generator

PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


def random_images(n: int, height: int = 48, width: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, height, width), generator=torch_generator(0, "images"), dtype=torch.uint8)


def slow_resize(image: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    """A resize of one (H, W) image in float64, one output pixel at a time, from the kernels' definitions."""

    def weight(x: float) -> float:
        a = abs(x)
        if kernel == "bilinear":
            return max(0.0, 1 - a)
        if kernel == "bicubic":
            if a < 1:
                return 1.5 * a**3 - 2.5 * a**2 + 1
            return -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2 if a < 2 else 0.0
        return float(np.sinc(x) * np.sinc(x / 3)) if a < 3 else 0.0

    def line(values: np.ndarray, n_out: int) -> np.ndarray:
        scale, out = len(values) / n_out, []
        for i in range(n_out):
            if kernel == "area":  # the mean over the output cell, by fine steps
                cell = (i + (np.arange(5000) + 0.5) / 5000) * scale
                out.append(values[np.minimum(cell.astype(int), len(values) - 1)].mean())
                continue
            stretch = max(scale, 1.0)
            w = [weight((j + 0.5 - (i + 0.5) * scale) / stretch) for j in range(len(values))]
            out.append(np.dot(w, values) / np.sum(w))
        return np.array(out)

    columns = np.stack([line(row, size[1]) for row in image.astype(np.float64)])
    return np.stack([line(column, size[0]) for column in columns.T], axis=1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_downsample_equals_the_definition(kernel: str) -> None:
    image = random_images(1, 26, 14)[0, 0]
    slow = slow_resize(image.numpy(), (8, 4), kernel)
    fast = downsample(image[None, None], (8, 4), kernel)[0, 0].double().numpy()
    assert np.abs(fast - np.clip(slow, 0, 255)).max() <= 0.5 + 0.05  # 0.5 is the rounding to whole grey levels


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("rate", [2, 3, 4, 8])
def test_downsample_agrees_with_pillow(kernel: str, rate: int) -> None:
    images = random_images(2) // 2 + 64  # Pillow also clips between its two passes: keep clear of 0 and 255
    size = (48 // rate, 24 // rate)
    ours = downsample(images, size, kernel).permute(0, 2, 3, 1).numpy().astype(int)
    for mine, image in zip(ours, images, strict=True):
        theirs = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], PILLOW[kernel])
        assert np.abs(mine - np.asarray(theirs).astype(int)).max() <= 1  # and rounds


def test_upsample_is_bilinear_as_in_pytorch() -> None:
    images = random_images(2, 9, 5)
    theirs = torch.nn.functional.interpolate(images.float(), (48, 24), mode="bilinear", align_corners=False)
    assert (upsample(images, (48, 24)).float() - theirs).abs().max() <= 0.51


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_of_a_resize_sum_to_one(kernel: str) -> None:
    for n_in, n_out in [(128, 42), (64, 64), (10, 25)]:
        np.testing.assert_allclose(resize_matrix(kernel, n_in, n_out).sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_degrade_keeps_shape_type_and_flat_images(kernel: str) -> None:
    flat = torch.full((2, 3, 50, 21), 77, dtype=torch.uint8)
    degraded = degrade(flat, 4, kernel)
    assert degraded.dtype == torch.uint8
    assert torch.equal(degraded, flat)


def test_rate_one_leaves_images_as_they_are() -> None:
    images = random_images(2)
    degraded = degrade(images, 1)
    assert torch.equal(degraded, images)
    degraded[:] = 0
    assert images.any()  # the caller's images are not the result's memory


def test_larger_rates_leave_less_detail() -> None:
    images = random_images(4)
    detail = [degrade(images, rate).float().diff(dim=3).abs().mean().item() for rate in (1, 2, 3, 4, 8)]
    assert detail == sorted(detail, reverse=True)


def test_one_rate_per_image_equals_one_image_at_a_time() -> None:
    images, rates = random_images(5), torch.tensor([4, 1, 2, 4, 3])
    together = degrade(images, rates)
    for image, rate, result in zip(images, rates.tolist(), together, strict=True):
        assert torch.equal(degrade(image[None], rate)[0], result)


def test_sides_that_a_rate_does_not_divide_are_rounded_down() -> None:
    image = random_images(1, 11, 7)
    assert torch.equal(degrade(image, 3), upsample(downsample(image, (3, 2)), (11, 7)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:
    images, rates = random_images(8), torch.tensor([1, 2, 3, 4, 8, 2, 3, 4])
    difference = degrade(images.cuda(), rates).cpu().int() - degrade(images, rates).int()
    assert difference.abs().max() <= 1


@pytest.mark.parametrize(
    ("images", "rate", "kernel", "message"),
    [
        (torch.zeros(2, 3, 8, 4), 2, "bicubic", "uint8 tensor"),
        (torch.zeros(3, 8, 4, dtype=torch.uint8), 2, "bicubic", "uint8 tensor"),
        (np.zeros((2, 3, 8, 4), np.uint8), 2, "bicubic", "found ndarray"),
        (torch.zeros(2, 3, 8, 4, dtype=torch.uint8), 2, "cubic", "kernel must be one of"),
        (torch.zeros(2, 3, 8, 4, dtype=torch.uint8), 0, "bicubic", "found 0..0"),
        (torch.zeros(2, 3, 8, 4, dtype=torch.uint8), 5, "bicubic", "shorter side, 4 pixels"),
        (torch.zeros(2, 3, 8, 4, dtype=torch.uint8), 0.5, "bicubic", "integer r >= 1"),
        (torch.zeros(2, 3, 8, 4, dtype=torch.uint8), torch.tensor([1, 2, 3]), "bicubic", "one per image"),
    ],
)
def test_bad_input_is_refused(images: torch.Tensor, rate: int, kernel: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        degrade(images, rate, kernel)


def test_no_images_are_no_images() -> None:
    none = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    for rate in (2, torch.zeros(0, dtype=torch.int64)):
        assert torch.equal(degrade(none, rate), none)
