"""The bank of frozen features and trials scored on it, against one image and one trial at a time."""

import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from reid_lib import digest
from reid_lib.datasets.image_store import cache_folder
from reid_lib.datasets.mlr import trials
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation import features
from reid_lib.evaluation.features import FeatureBank, evaluate_features, frozen_features, trial_features
from reid_lib.evaluation.matchers import FeatureMatcher, PannedMatcher
from reid_lib.evaluation.ranking import evaluate
from reid_lib.networks.baseline import Baseline
from reid_lib.networks.inputs import normalise
from reid_lib.networks.tiny import tiny
from reid_lib.networks.vpfa import MirrorAveraged
from reid_lib.seeds import numpy_generator, torch_generator
from reid_lib.training.panning import fit_to_bank
from reid_lib.training.run import initialise
from reid_lib.training.vpfa import VectorPanning
from reid_lib.training.yardsticks import MeanShift

CPU = torch.device("cpu")
SIZE = (24, 12)
WEIGHT = torch.randn(3 * 24 * 12, 8, generator=torch_generator(0, "projection")) / 30


def noise_reader(path: str, size: tuple[int, int]) -> np.ndarray:
    person = numpy_generator(0, path.split("_")[0]).integers(40, 216, (*size, 3))
    return (person + numpy_generator(0, path).integers(-40, 40, (*size, 3))).astype(np.uint8)


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReIDDataset:
    """16 people, 2 images in each of 2 cameras; the people of training and test change places in split 1."""
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    rows = [(f"{pid}_{c}_{i}", pid, c) for pid in range(16) for c in (1, 2) for i in (0, 1)]
    table = pd.DataFrame(rows, columns=["path", "pid", "camid"])
    halves = tuple(range(8)), tuple(range(8, 16))
    return ReIDDataset("noise", table, (Split(*halves), Split(*halves[::-1])), SIZE, reader=noise_reader)


class Counting(FeatureMatcher):
    """A linear model that notes how many images come at a time."""

    def __init__(self, split: int | None = None, factor: float = 1.0) -> None:
        super().__init__(lambda x: factor * x.flatten(1) @ WEIGHT, SIZE, CPU, split)
        self.batches: list[int] = []

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        return super().features(images)

    @property
    def seen(self) -> int:
        return sum(self.batches)


def _bank(people: ReIDDataset, model: FeatureMatcher | None = None, **options: object) -> FeatureBank:
    return FeatureBank(model or Counting(), people, progress=False, **options)


def slow_features(people: ReIDDataset, rows: list[int], rates: list[int], kernel: str = "bicubic") -> torch.Tensor:
    """One image after the other, in float64."""
    found = []
    for row, rate in zip(rows, rates, strict=True):
        image = torch.from_numpy(people.read(people.table["path"][row])).permute(2, 0, 1)[None]
        found.append(normalise(degrade(image, rate, kernel)).double().flatten() @ WEIGHT.double())
    return torch.stack(found)


def test_a_matchers_features_have_no_length_of_their_own() -> None:
    images = torch.randint(0, 256, (3, 3, 12, 6), dtype=torch.uint8, generator=torch_generator(0, "images"))
    model = Counting()
    found = model.features(images)
    torch.testing.assert_close(found, normalise(images, SIZE).flatten(1) @ WEIGHT)
    assert (found.norm(dim=1) - 1).abs().min() > 0.1
    torch.testing.assert_close(model.embed_gallery(images), normalize(found))
    assert FeatureMatcher(lambda x: x.mean((2, 3)).bfloat16(), SIZE, CPU).features(images).dtype == torch.float32


@pytest.mark.parametrize("kernel", ["bicubic", "area"])
def test_rows_in_any_order_repeated_and_of_mixed_rates(kernel: str, people: ReIDDataset) -> None:
    rows, rates = [9, 2, 9, 40, 9, 2, 63, 0], [2, 1, 4, 2, 2, 4, 3, 1]
    found = _bank(people, kernel=kernel, batch_size=3)(rows, rates)
    torch.testing.assert_close(found, slow_features(people, rows, rates, kernel).float(), atol=1e-4, rtol=1e-4)
    assert (found.dtype, found.device, found.requires_grad) == (torch.float32, CPU, False)
    assert not found.is_inference()
    assert torch.equal(found[0], found[4])


def test_one_rate_for_all_and_hr_by_default(people: ReIDDataset) -> None:
    bank, rows = _bank(people), pd.Index([5, 3])
    assert torch.equal(bank(rows, 3), bank(rows, [3, 3]))
    assert torch.equal(bank(rows), bank(rows, 1))
    assert not torch.equal(bank(rows), bank(rows, 3))


def test_each_image_is_embedded_once_per_rate(people: ReIDDataset) -> None:
    model = Counting()
    bank = _bank(people, model, batch_size=4)
    for rows, rates, more in (
        ([4, 1, 4], 2, 2),
        ([1, 4], 2, 0),
        ([1, 5, 5], 2, 1),
        ([1, 5], [1, 2], 1),
        (range(64), 2, 61),
        (range(64), [1, 2] * 32, 32),  # of the even images none has been seen at HR
    ):
        before = model.seen
        bank(np.array(rows), rates)
        assert model.seen - before == more
    assert max(model.batches) == 4


def test_what_was_returned_may_be_changed(people: ReIDDataset) -> None:
    bank = _bank(people)
    first = bank([1, 2], 2)
    before = first.clone()
    first.zero_()
    assert torch.equal(bank([1, 2], 2), before)


def test_a_second_bank_finds_the_features(people: ReIDDataset, tmp_path: Path) -> None:
    first = _bank(people, folder=tmp_path / "bank")([7, 3, 7, 1], [2, 2, 1, 2])
    model = Counting(factor=5.0)  # what it would give is not what is kept
    again = _bank(people, model, folder=str(tmp_path / "bank"))([7, 3, 7, 1], [2, 2, 1, 2])
    assert torch.equal(again, first)
    assert model.seen == 0
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == ["r1.safetensors", "r2.safetensors"]
    _bank(people, model)([7, 3], 2)
    assert model.seen == 2  # without the folder


def test_a_partial_file_is_completed(people: ReIDDataset, tmp_path: Path) -> None:
    _bank(people, folder=tmp_path)(np.arange(10), 2)
    second, third = Counting(), Counting()
    _bank(people, second, folder=tmp_path)(np.arange(5, 15), 2)
    assert second.seen == 5
    found = _bank(people, third, folder=tmp_path)(np.arange(15), 2)
    assert third.seen == 0
    expected = slow_features(people, list(range(15)), [2] * 15).float()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:5],
        lambda whole: whole[:40],
        lambda whole: whole[:-3],
        lambda whole: b"x" * len(whole),
    ],
    ids=["empty", "no header", "half a header", "cut short", "other content"],
)
def test_a_damaged_file_is_made_again(damage, people: ReIDDataset, tmp_path: Path) -> None:
    first, file = _bank(people, folder=tmp_path)([3, 8], 2), tmp_path / "r2.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    _expect_made_again(first, people, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: {name: tensor[:-1] for name, tensor in kept.items()},
        lambda kept: kept | {"done": kept["done"][:-1]},
        lambda kept: {"features": kept["features"]},
        lambda kept: {"x": kept["features"]},
    ],
    ids=["fewer images", "lengths differ", "nothing done", "other names"],
)
def test_a_file_of_something_else_is_made_again(change, people: ReIDDataset, tmp_path: Path) -> None:
    first, file = _bank(people, folder=tmp_path)([3, 8], 2), tmp_path / "r2.safetensors"
    kept = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file({name: tensor.contiguous() for name, tensor in change(kept).items()}, file)
    _expect_made_again(first, people, tmp_path)


def _expect_made_again(first: torch.Tensor, people: ReIDDataset, folder: Path) -> None:
    model = Counting()
    assert torch.equal(_bank(people, model, folder=folder)([3, 8], 2), first)
    assert model.seen == 2
    assert torch.equal(_bank(people, model, folder=folder)([3, 8], 2), first)
    assert model.seen == 2


def test_a_write_that_breaks_leaves_the_old_file(
    people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = _bank(people, folder=tmp_path)
    bank([1], 2)

    def full(tensors: dict, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(features, "save_file", full)
        with pytest.raises(OSError, match="no space"):
            bank([2], 2)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["r2.safetensors"]
    model = Counting()
    _bank(people, model, folder=tmp_path)([1], 2)
    assert model.seen == 0


def test_nan_features_are_refused_and_not_kept(people: ReIDDataset, tmp_path: Path) -> None:
    class Broken(Counting):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            found = super().features(images)
            found[-1, 3] = float(self.bad)
            return found

    model = Broken()
    bank = _bank(people, model, batch_size=3, folder=tmp_path / "bank")
    message = "NaN or infinite features for 1 of 3 images of noise at rate 2, first for image 6: look at its weights"
    for model.bad in ("nan", "inf"):
        with pytest.raises(ValueError, match=message):
            bank([8, 6, 4, 5, 7], 2)  # in batches of 4, 5, 6 and 7, 8, the last one of each bad
    assert not (tmp_path / "bank").exists()
    good = _bank(people, folder=tmp_path / "bank")([8, 6], 2)
    assert good.isfinite().all()


def _network() -> Baseline:
    return initialise(lambda: Baseline(tiny(width=4), 5), 0, CPU).eval()


def _never(*_: object, **__: object) -> None:
    raise AssertionError("embedded again")


def test_frozen_features_are_found_by_the_weights(people: ReIDDataset) -> None:
    network = _network()
    first = frozen_features(FeatureMatcher(network.embed, (24, 12), CPU, 1), people, progress=False)
    before = first([3, 1], [2, 1])
    assert first.folder.parent == cache_folder() / "features"
    assert first.folder.name.startswith("noise-")
    assert (first.split, first.kernel) == (1, "bicubic")

    def matcher(change: float = 0.0, size: tuple[int, int] = (24, 12), method: str = "embed") -> FeatureMatcher:
        copy = deepcopy(network)
        copy.neck.running_mean[2] += change
        return FeatureMatcher(getattr(copy, method), size, CPU)

    again = frozen_features(matcher(), people, progress=False)
    assert again.folder == first.folder
    again.model.features = _never
    assert torch.equal(again([3, 1], [2, 1]), before)
    larger = replace(people, size=(30, 15))
    others = [
        frozen_features(matcher(change=1e-3), people),
        frozen_features(matcher(), people, "area"),
        frozen_features(matcher(size=(30, 15)), people),
        frozen_features(matcher(method="forward"), people),
        frozen_features(FeatureMatcher(network.backbone, (24, 12), CPU), people),
        frozen_features(matcher(), larger),
        frozen_features(matcher(), replace(people, name="other")),
    ]
    assert len({first.folder, *(bank.folder for bank in others)}) == 1 + len(others)
    assert others[1].kernel == "area"


def test_frozen_features_are_made_anew_when_the_networks_code_changes(
    people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = shutil.copytree(digest.PACKAGE, tmp_path / "reid_lib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", package)
    network = _network()
    plain = FeatureMatcher(network.embed, SIZE, CPU)
    mirrored = FeatureMatcher(MirrorAveraged(network.backbone), SIZE, CPU)

    def changes(*files: Path, line: str = "changed = True") -> list[bool]:
        folders = [frozen_features(matcher, people).folder for matcher in (plain, mirrored)]
        before = {file: file.read_text() for file in files}
        for file, text in before.items():
            file.write_text(f"{text}\n{line}\n")
        changed = [
            frozen_features(matcher, people).folder != folder
            for matcher, folder in zip((plain, mirrored), folders, strict=True)
        ]
        for file, text in before.items():
            file.write_text(text)
        return changed

    for both in ("networks/resnet.py", "evaluation/matchers.py", "evaluation/features.py", "datasets/resolution.py"):
        assert changes(package / both) == [True, True], both
    assert changes(package / "networks/baseline.py") == [True, False]
    assert changes(package / "networks/vpfa.py") == [False, True]
    generator = [file for file in package.rglob("*.py") if "synth" in str(file.relative_to(package))]
    assert generator
    assert changes(*generator, package / "networks/transreid.py", package / "training/vpfa.py") == [False, False]
    assert changes(package / "networks/resnet.py", line="# a comment") == [False, False]


@pytest.mark.parametrize(
    ("rows", "rates", "error", "message"),
    [
        ([], 1, ValueError, "expected one or more images, at integer rates, found 0"),
        ([3], 1.5, ValueError, r"integer rates, found 1 at \[1.5\]"),
        ([3, 4], [2, 2.5], ValueError, r"found 2 at \[2.  2.5\]"),
        ([3], 0, ValueError, "rate must lie between 1 and"),
        ([3], 13, ValueError, "rate must lie between 1 and the shorter side, 12 pixels"),
        ([3, 4], [1, 2, 3], ValueError, "shape"),
        ([64], 1, IndexError, "out of bounds|from 0 to 63"),
        ([-1], 1, IndexError, "from 0 to 63"),
    ],
)
def test_bad_rows_and_rates(rows: list, rates: object, error: type, message: str, people: ReIDDataset) -> None:
    with pytest.raises(error, match=message):
        _bank(people)(rows, rates)


def test_a_progress_bar_names_the_rate(people: ReIDDataset, capfd: pytest.CaptureFixture) -> None:
    FeatureBank(Counting(), people)([1, 2], 3)
    assert "features, r = 3" in capfd.readouterr().err
    _bank(people)([1, 2], 3)
    assert "features at" not in capfd.readouterr().err


def test_query_features_are_panned_and_gallery_features_are_not(people: ReIDDataset) -> None:
    bank, trial = _bank(people), trials(people, n=1)[0]
    shift = MeanShift(pairing="image", device="cpu").fit(torch.zeros(2, 8), torch.ones(2, 8))
    rows, rates = trial.query.index.tolist(), trial.query["rate"].tolist()
    query = slow_features(people, rows, rates).float()
    gallery = slow_features(people, trial.gallery.index.tolist(), [1] * len(trial.gallery)).float()
    for panning, expected in ((None, query), (shift, query + 1)):
        found = trial_features(bank, trial, panning)
        torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found[1], gallery, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("per_rate", [False, True])
@pytest.mark.parametrize("kind", [None, MeanShift, VectorPanning])
def test_equal_to_evaluate_with_a_matcher(kind: type | None, per_rate: bool, people: ReIDDataset) -> None:
    drawn, model = trials(people, n=4), Counting(split=0)
    bank, panning = _bank(people, model), None
    plain = FeatureMatcher(model.embed, SIZE, CPU, split=0)
    matcher = plain
    if kind is not None:
        small = {"hidden": 16, "epochs": 5, "n_pairs": 64, "learning_rate": 1e-2, "progress": False}
        panning = kind(per_rate=per_rate, device="cpu", **small if kind is VectorPanning else {})
        fit_to_bank(panning, bank)
        matcher = PannedMatcher(model.embed, SIZE, CPU, panning, split=0)
    expected = evaluate(matcher, drawn, ranks=(1, 3), progress=False)
    found = evaluate_features(bank, drawn, panning, ranks=(1, 3))
    pd.testing.assert_frame_equal(found.per_trial, expected.per_trial)
    pd.testing.assert_frame_equal(found.summary, expected.summary)
    assert found.per_trial["rank1"].between(1, 99).any()  # neither all right nor all wrong: something is compared
    if kind is not None:
        assert not found.per_trial.equals(evaluate(plain, drawn, ranks=(1, 3), progress=False).per_trial)


def test_evaluate_embeds_no_image_twice(people: ReIDDataset) -> None:
    drawn, model = trials(people, n=10), Counting()
    bank = _bank(people, model)
    evaluate_features(bank, drawn)
    queries = {pair for t in drawn for pair in zip(t.query.index, t.query["rate"], strict=True)}
    gallery = {row for t in drawn for row in t.gallery.index}
    assert model.seen == len(queries) + len(gallery)
    evaluate_features(bank, drawn, MeanShift(device="cpu").fit(torch.randn(8, 8), torch.randn(8, 8), [0, 1] * 4))
    assert model.seen == len(queries) + len(gallery)


def test_what_was_trained_on_other_identities_is_refused(people: ReIDDataset) -> None:
    own, other = trials(people, split=0, n=1), trials(people, split=1, n=1)
    with pytest.raises(ValueError, match="trained on split 1: trials of other splits show its training identities"):
        evaluate_features(_bank(people, Counting(split=1)), own)
    bank = _bank(people)
    shift = fit_to_bank(MeanShift(device="cpu"), bank, split=1)
    evaluate_features(bank, other, shift)
    for mixed in (own, other + own):
        with pytest.raises(ValueError, match="trained on split 1"):
            evaluate_features(bank, mixed, shift)
    evaluate_features(bank, own + other)  # a model that was trained elsewhere takes all


def test_a_map_from_another_data_set_knows_no_identity(people: ReIDDataset) -> None:
    elsewhere = replace(people, name="elsewhere")
    shift = fit_to_bank(MeanShift(device="cpu"), _bank(elsewhere), split=1)
    evaluate_features(_bank(people), trials(people, split=0, n=1), shift)


def test_no_trial_and_another_data_set_are_refused(people: ReIDDataset) -> None:
    bank, elsewhere = _bank(people), replace(people, name="elsewhere")
    with pytest.raises(ValueError, match="at least one trial"):
        evaluate_features(bank, [])
    with pytest.raises(ValueError, match="expected trials of the bank's own noise, found elsewhere"):
        evaluate_features(bank, trials(elsewhere, n=1))
    with pytest.raises(ValueError, match="same data set"):
        evaluate_features(bank, trials(people, n=1) + trials(elsewhere, n=1))
