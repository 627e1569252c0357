"""Image files of every mode: read rightly, or refused by name."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_lib.datasets import load
from reid_lib.datasets.records import DatasetError, check_images, native_size, read_image

SIZE = (12, 6)
GREY = np.linspace(0, 255, 72).round().astype(np.uint8).reshape(SIZE)
COLOURS = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_8_bit_modes_are_read_as_pillow_reads_them(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    image.save(tmp_path / "a.tif")
    try:
        with Image.open(tmp_path / "a.tif") as saved:
            saved.load()
    except OSError as error:
        pytest.skip(f"Pillow before 12.1 does not read its own YCbCr files: {error}")
    assert np.array_equal(read_image(tmp_path / "a.tif", SIZE), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_grey(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / f"a.{suffix}")
    found = read_image(tmp_path / f"a.{suffix}", SIZE)
    assert np.array_equal(found, np.repeat(GREY[..., None], 3, axis=2))


def test_a_photo_lying_on_its_side_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    turned = Image.fromarray(np.rot90(COLOURS))
    turned.save(tmp_path / "a.png", exif=exif)
    assert turned.size == (SIZE[0], SIZE[1])
    assert native_size(tmp_path / "a.png") == SIZE
    assert np.array_equal(read_image(tmp_path / "a.png", SIZE), COLOURS)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_an_opaque_alpha_channel_is_dropped(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).convert("RGBA").convert(mode)
    image.save(tmp_path / "a.tif" if mode == "PA" else tmp_path / "a.png")
    file = next(tmp_path.glob("a.*"))
    assert np.array_equal(read_image(file, SIZE), np.asarray(image.convert("RGB")))


def _save(kind: str, file: Path) -> None:
    if kind == "float":
        Image.fromarray(GREY.astype(np.float32) / 255).save(file)
    elif kind == "32-bit":
        Image.fromarray(GREY.astype(np.int32) * 1000).save(file)
    elif kind == "alpha":
        Image.fromarray(np.dstack([COLOURS, GREY])).save(file)
    else:
        image = Image.fromarray(GREY).convert("P")
        image.save(file, transparency=0)


@pytest.mark.parametrize(
    ("kind", "suffix", "message"),
    [
        ("float", "tif", "a.tif: its pixels are float numbers, whose black and white are not known: save it as 8-bit"),
        ("32-bit", "tif", "a.tif: its pixels are 32-bit numbers"),
        ("alpha", "png", "a.png: it is transparent in parts, and what is behind is not known: fill it"),
        ("palette", "png", "a.png: it is transparent in parts"),
    ],
)
def test_pixels_that_are_no_8_bit_colours_are_refused(kind: str, suffix: str, message: str, tmp_path: Path) -> None:
    _save(kind, tmp_path / f"a.{suffix}")
    with pytest.raises(DatasetError, match=message):
        read_image(tmp_path / f"a.{suffix}", SIZE)


@pytest.mark.parametrize("limit", [40, 50])  # above twice the limit Pillow raises, above the limit it warns
def test_a_decompression_bomb_is_named_among_the_bad_images(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["path,pid,camid"]
    for number in range(4):
        size = (10, 9) if number == 2 else (4, 3)
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number // 2},{number % 2 + 1}")
    (tmp_path / "people.csv").write_text("\n".join(lines))
    dataset = load("table", tmp_path, table="people.csv", size=(3, 4))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DatasetError, match=r"1 of 4 images are bad: .*2\.png: a decompression bomb"):
            check_images(dataset, progress=False)
