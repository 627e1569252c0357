"""The MLR training set: who is LR, what each space has of an image, and what is refused."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, downsample
from reid_lib.datasets.sampling import augment
from reid_lib.networks.inputs import normalise
from reid_lib.networks.sr import Bicubic, SuperResolution
from reid_lib.seeds import torch_generator
from reid_lib.training.mlr_set import SCALE, MLRSet, super_resolved

CPU = torch.device("cpu")
SIZE = (64, 32)
RATES = (2, 3, 4)
NAME = "reid_lib.training.drfm"


@dataclass(frozen=True)
class Config:
    kernel: str = "bicubic"
    input_size: tuple[int, int] | None = None
    pad: int = 3


class Dark(SuperResolution):
    """Makes black images, and keeps the sizes of those that it got."""

    def __init__(self, scale: int = SCALE) -> None:
        super().__init__(scale)
        self.sizes: list[tuple[int, int]] = []

    def upscale(self, images: torch.Tensor) -> torch.Tensor:
        n, _, height, width = images.shape
        self.sizes.append((height, width))
        return torch.zeros(n, 3, self.scale * height, self.scale * width, dtype=torch.uint8)


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=16, images_per_camera=2, size=SIZE)


@pytest.fixture(scope="module")
def data(people: ReIDDataset) -> MLRSet:
    return MLRSet(people, 0, RATES, "bicubic", Bicubic(SCALE), CPU)


def everything(data: MLRSet) -> np.ndarray:
    return np.arange(len(data))


def test_the_images_of_the_lr_camera_are_lr(people: ReIDDataset, data: MLRSet) -> None:
    rows = people.table.loc[data.numbers]
    camera = mlr.lr_camera(people, people.part("train"))
    assert data.low.tolist() == [camid == camera[number] for number, camid in rows["camid"].items()]
    assert (data.low.sum(), len(data)) == (16, 64)  # one of four cameras of eight identities


def test_an_lr_image_exists_at_one_rate_and_hr_images_are_down_sampled_by_4(data: MLRSet) -> None:
    hh, ll = data.both(everything(data))
    assert (hh.dtype, hh.shape, ll.shape) == (torch.uint8, (64, 3, *SIZE), (64, 3, *SIZE))
    assert set(data.rates[data.low].tolist()) == set(RATES)
    assert set(data.rates[~data.low].tolist()) == {4}
    originals = data.images(everything(data))
    for i in everything(data):
        assert torch.equal(ll[i : i + 1], degrade(originals[i : i + 1], int(data.rates[i])))
    assert torch.equal(hh[~data.low], originals[~data.low])
    assert not torch.equal(hh[data.low], originals[data.low])  # nothing of a camera's HR images is left
    again = data.both(np.array([5, 1]))
    assert torch.equal(again[0], hh[[5, 1]])
    assert torch.equal(again[1], ll[[5, 1]])


def test_shr_images_are_of_lr_images_alone(people: ReIDDataset) -> None:
    sr = Dark()
    data = MLRSet(people, 0, RATES, "bicubic", sr, CPU)
    hh, _ = data.both(everything(data))
    assert torch.equal(hh[~data.low], data.images(everything(data))[~data.low])
    assert not hh[data.low].any()
    assert set(sr.sizes) == {(32, 16)}  # LR images, shrunk by the smallest rate
    MLRSet(people, 0, (4,), "bicubic", sr, CPU)
    assert sr.sizes[-1] == (16, 8)


def test_super_resolution_shrinks_by_the_smallest_rate_and_to_the_hr_size(data: MLRSet) -> None:
    lr = data.both(everything(data))[1][data.low]
    made = super_resolved(Bicubic(4), lr, 2)
    expected = downsample(Bicubic(4).upscale(downsample(lr, (32, 16))), SIZE)
    assert torch.equal(made, expected)
    assert torch.equal(made, data.both(everything(data))[0][data.low])
    assert torch.equal(super_resolved(Bicubic(4), lr, 4), Bicubic(4).upscale(downsample(lr, (16, 8))))


def test_without_super_resolution_lr_images_stay_as_they_are(people: ReIDDataset) -> None:
    data = MLRSet(people, 0, RATES, "bicubic", None, CPU)
    hh, ll = data.both(everything(data))
    assert torch.equal(hh[data.low], ll[data.low])


def test_rates_and_images_do_not_depend_on_the_order_of_rows(people: ReIDDataset, data: MLRSet) -> None:
    order = np.random.default_rng(0).permutation(len(people))
    shuffled = MLRSet(replace(people, table=people.table.iloc[order]), 0, RATES, "bicubic", Bicubic(SCALE), CPU)
    assert shuffled.numbers.tolist() != data.numbers.tolist()
    assert torch.equal(shuffled.low, data.low)
    assert torch.equal(shuffled.rates, data.rates)
    pairs = zip(shuffled.both(everything(data)), data.both(everything(data)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_another_split_has_rates_of_its_own(people: ReIDDataset, data: MLRSet) -> None:
    other = MLRSet(people, 1, RATES, "bicubic", None, CPU)
    assert other.rates.tolist() != data.rates.tolist()


def test_both_spaces_are_cropped_and_flipped_alike(people: ReIDDataset, data: MLRSet) -> None:
    indices = everything(data)[:20]
    plain = data.pairs(indices, Config())
    for found, images in zip(plain, data.both(indices), strict=True):
        assert torch.equal(found, normalise(images))
        assert found.is_contiguous(memory_format=torch.channels_last)
    drawn = data.pairs(indices, Config(), torch_generator(0, "crop"))
    for found, images in zip(drawn, data.both(indices), strict=True):
        assert torch.equal(found, normalise(augment(images, torch_generator(0, "crop"), 3)))
    assert not torch.equal(drawn[0], plain[0])
    assert torch.equal(data.of_hr_space(indices, Config()), plain[0])
    assert torch.equal(data.of_hr_space(indices, Config(), torch_generator(0, "crop")), drawn[0])
    same = MLRSet(people, 0, RATES, "bicubic", None, CPU)
    x_hh, x_ll = same.pairs(np.flatnonzero(same.low), Config(), torch_generator(0, "crop"))
    assert torch.equal(x_hh, x_ll)
    for x in data.pairs(indices, Config(input_size=(48, 24)), torch_generator(0, "crop")):
        assert x.shape == (20, 3, 48, 24)


def test_a_genuine_lr_camera_keeps_its_images() -> None:
    """Camera 2 is the far one."""
    caviar = load("synth-caviar", identities=16, images_per_camera=2, size=SIZE)
    data = MLRSet(caviar, 0, RATES, "bicubic", Bicubic(SCALE), CPU)
    camids = caviar.table.loc[data.numbers]["camid"].to_numpy()
    assert data.low.tolist() == (camids == 2).tolist()
    assert set(data.rates[data.low].tolist()) == {1}
    _, ll = data.both(everything(data))
    originals = data.images(everything(data))
    assert torch.equal(ll[data.low], originals[data.low])
    assert torch.equal(ll[~data.low], degrade(originals[~data.low], 4))


def test_an_mlr_set_knows_no_identity(data: MLRSet) -> None:
    assert not [name for name in vars(data) if "pid" in name or "label" in name or "identit" in name]


def test_the_super_resolution_the_rates_and_the_kernel_name_the_runs_folder(
    people: ReIDDataset, tmp_path: Path
) -> None:
    part = nn.Linear(1, 1)

    def folder(sr: SuperResolution | None, rates: tuple[int, ...] = RATES, kernel: str = "bicubic") -> Path:
        found = MLRSet(people, 0, rates, kernel, sr, CPU)
        return found.open_run(NAME, Config(), {"network": part}, 0, tmp_path, progress=False).folder

    first = folder(Bicubic(4))
    assert folder(Bicubic(4)) == first
    others = [folder(Dark()), folder(None), folder(Bicubic(4), (2,)), folder(Bicubic(4), kernel="area")]
    assert len({first, *others}) == 5


# ---- What is refused -------------------------------------------------------------------------------------------------


def without(dataset: ReIDDataset, camid: int) -> ReIDDataset:
    """Take a camera's images from the training identities."""
    gone = (dataset.table["split"] == "train") & (dataset.table["camid"] == camid)
    return replace(dataset, name=f"synth-without-{camid}", table=dataset.table[~gone])


@pytest.mark.parametrize(("camid", "found"), [(1, "16 HR and 0 LR ones"), (2, "0 HR and 16 LR ones")])
def test_images_of_one_resolution_are_refused(camid: int, found: str) -> None:
    two = without(load("synth", identities=16, cameras=2, images_per_camera=2, size=SIZE), camid)
    with pytest.raises(ValueError, match=f"cross-resolution training needs HR and LR images, found {found}: every"):
        MLRSet(two, 0, RATES, "bicubic", None, CPU)


def test_a_super_resolution_that_does_not_reach_the_hr_size_is_refused(people: ReIDDataset) -> None:
    with pytest.raises(
        ValueError, match="super-resolution by 1 does not reach the HR size from 1/2 of it: take a model of scale 4"
    ):
        MLRSet(people, 0, RATES, "bicubic", Bicubic(1), CPU)
    assert MLRSet(people, 0, RATES, "bicubic", Bicubic(2), CPU).low.any()  # 2 is enough for rates from 2 on


def test_sides_that_the_smallest_rate_does_not_divide_are_refused(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="the smallest rate, 3, must divide the images' sides, found 64x32"):
        MLRSet(people, 0, (3, 4), "bicubic", Bicubic(4), CPU)
    assert MLRSet(people, 0, (3, 4), "bicubic", None, CPU).low.any()  # nothing is super-resolved
