"""The estimators: what they learn, scikit-learn's conventions, files, data sets, and every bad input."""

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import reid_lib
from reid_lib.datasets import mlr
from reid_lib.datasets.image_store import cache_folder
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.features import FeatureBank, evaluate_features
from reid_lib.losses.vpfa import identity_mean_pairs, sample_pairs
from reid_lib.networks.tiny import tiny
from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.seeds import numpy_generator, torch_generator
from reid_lib.training.baseline import PROFILES, Baseline, FeatureMatcher
from reid_lib.training.run import TrainingError, initialise
from reid_lib.training.vpfa import (
    MeanShift,
    PannedMatcher,
    RidgeMap,
    VectorPanning,
    fit_and_evaluate,
    fit_to_bank,
    frozen_features,
    train,
)

SMALL = {"hidden": 16, "n_pairs": 64, "epochs": 3, "progress": False, "device": "cpu"}
CLASSES = [VectorPanning, MeanShift, RidgeMap]


def _estimator(kind: type, **changes: object):
    own = kind().get_params()
    return kind(**({name: value for name, value in SMALL.items() if name in own} | changes))


class Data:
    """12 identities x 6 images, 8 numbers a feature: LR = HR + one direction per rate + noise."""

    draw = numpy_generator(0, "vpfa features")
    pids = np.repeat(np.arange(12), 6)
    rates = np.tile([2, 2, 3, 3, 4, 4], 12)
    hr = (draw.normal(size=(12, 8))[pids] + 0.1 * draw.normal(size=(72, 8))).astype(np.float32)
    direction = 0.3 * draw.normal(size=(5, 8))
    lr = (hr - direction[rates] + 0.05 * draw.normal(size=(72, 8))).astype(np.float32)


@pytest.fixture
def data() -> type[Data]:
    return Data


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(np.asarray(a) - np.asarray(b)).mean())


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("pairing", ["identity_mean", "image"])
@pytest.mark.parametrize("per_rate", [False, True])
def test_panned_features_come_nearer(kind: type, pairing: str, per_rate: bool, data: type[Data]) -> None:
    more = {"epochs": 40, "learning_rate": 5e-3} if kind is VectorPanning else {}
    panning = _estimator(kind, pairing=pairing, per_rate=per_rate, **more).fit(data.lr, data.hr, data.pids, data.rates)
    panned = panning.transform(data.lr, data.rates)
    assert _gap(panned, data.hr) < 0.75 * _gap(data.lr, data.hr)
    assert list(panning.maps_) == ([2, 3, 4] if per_rate else [0])
    if per_rate:
        assert _gap(panned, data.hr) < 0.2 * _gap(data.lr, data.hr)


def test_algorithm_1_against_a_slow_float64_version(data: type[Data], monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity means, sampling, Adam with L2 decay, halving of the learning rate: plain loops, same order of pairs."""
    monkeypatch.setattr(
        "reid_lib.training.run.Run.autocast", lambda self: torch.autocast("cpu", dtype=torch.bfloat16, enabled=False)
    )
    settings = {"hidden": 5, "blocks": 2, "n_pairs": 10, "epochs": 4, "batch_size": 4, "weight_decay": 0.01, "seed": 3}
    settings |= {"learning_rate": 0.01, "init_std": 0.3, "device": "cpu", "progress": False}
    panning = VectorPanning(**settings).fit(data.lr, data.hr, data.pids)

    module = initialise(lambda: VectorPanningModule(8, 5, 2, init_std=0.3), 3, torch.device("cpu")).double()
    lr, hr = (torch.from_numpy(f).double() for f in (data.lr, data.hr))
    means = [torch.stack([f[data.pids == p].mean(0) for p in range(12)]) for f in (lr, hr)]
    rows = sample_pairs(12, 10, torch_generator(3, "pairs", 0))
    lr, hr = (m[rows] for m in means)
    state = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in module.parameters()}
    t = 0
    for epoch in range(4):
        rate = 0.01 * 0.5**epoch  # epochs // 4 = 1
        for batch in torch.randperm(10, generator=torch_generator(3, "epoch", epoch)).split(4):
            t += 1
            loss = ((lr[batch] + module.gate(lr[batch]) - hr[batch]) ** 2).sum() / (len(batch) * 8)  # Eq. 8
            gradients = torch.autograd.grad(loss, list(module.parameters()))
            for p, gradient in zip(module.parameters(), gradients, strict=True):
                gradient = gradient + 0.01 * p.data
                m, v = state[p]
                m.mul_(0.9).add_(0.1 * gradient)
                v.mul_(0.999).add_(0.001 * gradient**2)
                p.data -= rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    expected = module(torch.from_numpy(data.lr).double()).detach().numpy()
    np.testing.assert_allclose(panning.transform(data.lr), expected, atol=2e-5)


def test_mean_shift_is_the_mean_difference_of_the_pairs(data: type[Data]) -> None:
    shift = MeanShift(n_pairs=None).fit(data.lr, data.hr, data.pids)
    means = [[np.float64(f[data.pids == p]).mean(0) for p in range(12)] for f in (data.lr, data.hr)]
    expected = np.mean(means[1], 0) - np.mean(means[0], 0)
    np.testing.assert_allclose(shift.maps_[0].offset.cpu(), expected, atol=1e-6)
    np.testing.assert_allclose(shift.transform(data.lr), data.lr + expected, atol=1e-6)


def test_mean_shift_per_rate_finds_each_direction(data: type[Data]) -> None:
    shift = MeanShift(pairing="image", per_rate=True, n_pairs=None).fit(data.lr, data.hr, rates=data.rates)
    for rate, map_ in shift.maps_.items():
        difference = np.float64(data.hr - data.lr)[data.rates == rate].mean(0)
        np.testing.assert_allclose(map_.offset.cpu(), difference, atol=1e-6)


def test_ridge_map_minimises_its_penalised_error(data: type[Data]) -> None:
    ridge = RidgeMap(pairing="image", alpha=0.5, n_pairs=None, device="cpu").fit(data.lr, data.hr)
    x, y = np.float64(data.lr), np.float64(data.hr - data.lr)
    x_c, y_c = x - x.mean(0), y - y.mean(0)
    stacked = np.vstack([x_c, np.sqrt(0.5 * (x_c**2).mean() * len(x)) * np.eye(8)])  # ridge as plain least squares
    slope = np.linalg.lstsq(stacked, np.vstack([y_c, np.zeros((8, 8))]))[0]
    np.testing.assert_allclose(ridge.transform(data.lr), x + y.mean(0) + x_c @ slope, atol=1e-5)


def test_a_strong_penalty_leaves_the_mean_shift(data: type[Data]) -> None:
    ridge, shift = (k.fit(data.lr, data.hr, data.pids) for k in (RidgeMap(alpha=1e9), MeanShift()))
    np.testing.assert_allclose(ridge.transform(data.lr), shift.transform(data.lr), atol=1e-5)


def test_all_estimators_see_the_same_pairs(data: type[Data], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for kind in CLASSES:
        real = kind._fit_map
        monkeypatch.setattr(
            kind, "_fit_map", lambda self, lr, hr, rate, real=real: seen.append((lr, hr)) or real(self, lr, hr, rate)
        )
        _estimator(kind, n_pairs=64).fit(data.lr, data.hr, data.pids)
    assert all(torch.equal(lr, seen[0][0]) and torch.equal(hr, seen[0][1]) for lr, hr in seen)
    assert seen[0][0].shape == (64, 8)


def test_pids_of_lr_and_hr_may_differ(data: type[Data]) -> None:
    keep = np.arange(72) % 6 != 5
    one = MeanShift(n_pairs=None).fit(data.lr, data.hr[keep], (data.pids, data.pids[keep]))
    pids = [torch.from_numpy(p) for p in (data.pids, data.pids[keep])]
    lr, hr, _ = identity_mean_pairs(torch.from_numpy(data.lr), torch.from_numpy(data.hr[keep]), *pids)
    np.testing.assert_allclose(one.maps_[0].offset.cpu(), (hr - lr).mean(0), atol=1e-6)
    names = np.array([f"person {p}" for p in data.pids])
    two = MeanShift(n_pairs=None).fit(data.lr, data.hr[keep], (names, names[keep]))
    np.testing.assert_allclose(two.transform(data.lr), one.transform(data.lr), atol=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_in_arrays_out(kind: type, dtype: type, data: type[Data]) -> None:
    panning = _estimator(kind).fit(data.lr, data.hr, data.pids)
    features = data.lr.astype(dtype)
    features.flags.writeable = False
    panned = panning.transform(features)
    assert isinstance(panned, np.ndarray)
    assert (panned.dtype, panned.shape) == (dtype, features.shape)
    tensor = panning.transform(torch.from_numpy(data.lr.astype(dtype)))
    assert isinstance(tensor, torch.Tensor)
    assert not tensor.requires_grad
    np.testing.assert_array_equal(tensor.numpy(), panned)
    assert panning.transform(torch.from_numpy(data.lr).bfloat16()).dtype == torch.bfloat16
    assert panning.transform(np.ones((2, 8), dtype=int)).dtype == np.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", CLASSES)
def test_cuda_tensors_stay_there(kind: type, data: type[Data]) -> None:
    lr, hr = (torch.from_numpy(f).cuda() for f in (data.lr, data.hr))
    own = _estimator(kind, device="cuda").fit(lr, hr, torch.from_numpy(data.pids).cuda())
    assert own.transform(lr).device.type == "cuda"
    np.testing.assert_allclose(own.transform(data.lr), own.transform(lr).cpu(), atol=1e-5)
    on_cpu = _estimator(kind).fit(data.lr, data.hr, data.pids)
    np.testing.assert_allclose(own.transform(data.lr), on_cpu.transform(data.lr), atol=2e-2)


def test_rows_go_through_in_pieces(data: type[Data], monkeypatch: pytest.MonkeyPatch) -> None:
    panning = _estimator(VectorPanning, per_rate=True).fit(data.lr, data.hr, data.pids, data.rates)
    whole = panning.transform(data.lr, data.rates)
    monkeypatch.setattr("reid_lib.training.vpfa._ROWS", {"cpu": 5, "cuda": 5})
    np.testing.assert_allclose(panning.transform(data.lr, data.rates), whole, atol=1e-6)
    one = [panning.transform(data.lr[i : i + 1], data.rates[i : i + 1])[0] for i in range(10)]
    np.testing.assert_allclose(one, whole[:10], atol=1e-6)


def test_inputs_stay_as_they_are(data: type[Data]) -> None:
    before = data.lr.copy()
    panning = _estimator(VectorPanning).fit(data.lr, data.hr, data.pids)
    tensor = torch.from_numpy(data.lr)
    panning.transform(tensor)
    np.testing.assert_array_equal(data.lr, before)


def test_the_seed_decides_everything(data: type[Data]) -> None:
    def panned(**changes: object) -> np.ndarray:
        return _estimator(VectorPanning, **changes).fit(data.lr, data.hr, data.pids).transform(data.lr)

    np.testing.assert_array_equal(panned(), panned())
    assert _gap(panned(), panned(seed=1)) > 0


def test_the_callers_own_draws_go_on(data: type[Data]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _estimator(VectorPanning).fit(data.lr, data.hr, data.pids)
    assert torch.equal(torch.rand(3), expected)


def test_the_learning_rate_is_halved_every_30_of_120_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    settings = VectorPanning().get_params()
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")
    module = VectorPanningModule(4, hidden=4)
    history = train(module, torch.randn(8, 4), torch.randn(8, 4), **{n: settings[n] for n in names}, progress=False)
    assert rates == [2e-4 * 0.5 ** (epoch // 30) for epoch in range(120)]
    assert len(history) == 120
    assert {"epoch", "loss", "seconds"} <= history[0].keys()


def test_the_defaults_are_the_papers() -> None:
    paper = {"pairing": "identity_mean", "per_rate": False, "hidden": 2048, "blocks": 3, "residual": True}
    paper |= {"n_pairs": 5000, "epochs": 120, "batch_size": 32, "learning_rate": 2e-4, "weight_decay": 1e-5}
    assert paper.items() <= VectorPanning().get_params().items()


def test_profiles_train_for_fewer_steps() -> None:
    paper = VectorPanning().get_params()
    assert VectorPanning.for_profile("paper").get_params() == paper
    sizes, steps = {"hidden", "n_pairs", "epochs"}, []
    for profile in PROFILES:
        found = VectorPanning.for_profile(profile).get_params()
        assert {name for name in paper if found[name] != paper[name]} <= sizes
        steps.append(found["n_pairs"] * found["epochs"])
    assert steps[0] < steps[1] < steps[2]
    changed = VectorPanning.for_profile("smoke", hidden=7, per_rate=True).get_params()
    assert changed == VectorPanning.for_profile("smoke").get_params() | {"hidden": 7, "per_rate": True}
    with pytest.raises(ValueError, match="unknown profile 'small': expected one of smoke, demo, paper"):
        VectorPanning.for_profile("small")


def test_a_progress_bar_is_shown(data: type[Data], capfd: pytest.CaptureFixture) -> None:
    _estimator(VectorPanning, progress=True).fit(data.lr, data.hr, data.pids)
    assert "train" in capfd.readouterr().err


@pytest.mark.parametrize("kind", CLASSES)
def test_scikit_learns_conventions(kind: type, data: type[Data]) -> None:
    estimator = _estimator(kind, n_pairs=32)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.set_params(per_rate=True) is copy
    assert (copy.per_rate, estimator.per_rate) == (True, False)
    with pytest.raises(ValueError, match="Invalid parameter"):
        copy.set_params(perrate=True)
    for unfitted in (lambda: estimator.transform(data.lr), lambda: estimator.save("never")):
        with pytest.raises(NotFittedError, match=kind.__name__):
            unfitted()
    assert estimator.fit(data.lr, data.hr, data.pids) is estimator
    assert estimator.n_features_in_ == 8
    assert estimator.n_pairs_ == {0: 12}
    assert kind.__name__ in repr(estimator)
    both = clone(estimator).fit_transform(data.lr, data.hr, data.pids)
    np.testing.assert_array_equal(both, estimator.transform(data.lr))


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("per_rate", [False, True])
def test_save_and_load(kind: type, per_rate: bool, data: type[Data], tmp_path: Path) -> None:
    estimator = _estimator(kind, per_rate=per_rate).fit(data.lr, data.hr, data.pids, data.rates)
    estimator.save(tmp_path / "one.safetensors")
    again = kind.load(str(tmp_path / "one.safetensors"), device="cpu")
    np.testing.assert_array_equal(again.transform(data.lr, data.rates), estimator.transform(data.lr, data.rates))
    assert again.get_params() == estimator.get_params() | {"device": "cpu"} | (
        {"progress": True} if kind is VectorPanning else {}
    )
    assert (again.n_features_in_, again.n_pairs_) == (8, estimator.n_pairs_)
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


def _saved(folder: Path, data: type[Data], **metadata: str) -> Path:
    """Save a MeanShift whose metadata are changed."""
    path = folder / "shift.safetensors"
    MeanShift(device="cpu").fit(data.lr, data.hr, data.pids).save(path)
    own = {
        "class": "MeanShift",
        "format": "1",
        "parameters": "{}",
        "fitted": json.dumps({"n_features_in": 8, "n_pairs": {0: 9}}),
    }
    save_file(load_file(path), path, {k: v for k, v in (own | metadata).items() if v})
    return path


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"class": "RidgeMap"}, "holds a RidgeMap, asked for a MeanShift: use RidgeMap.load"),
        ({"class": ""}, "was not written by MeanShift.save: it names no class"),
        ({"format": "2"}, "has format 2, this version of reid_lib reads format 1"),
        ({"parameters": '{"colour": 1}'}, "does not hold what a MeanShift needs .*colour"),
        (
            {"fitted": '{"n_features_in": 9, "n_pairs": {"0": 9}}'},
            "does not hold what a MeanShift needs .*size mismatch",
        ),
        ({"fitted": ""}, "does not hold what a MeanShift needs"),
    ],
)
def test_files_that_do_not_fit(metadata: dict[str, str], message: str, data: type[Data], tmp_path: Path) -> None:
    path = _saved(tmp_path, data, **metadata)
    with pytest.raises(ValueError, match=message):
        MeanShift.load(path)


def test_files_that_are_none(data: type[Data], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        VectorPanning.load(tmp_path / "none.safetensors")
    path = _saved(tmp_path, data)
    assert MeanShift.load(path).n_features_in_ == 8
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"is not a whole \.safetensors file"):
        MeanShift.load(path)
    with pytest.raises(OSError, match="nowhere"):
        MeanShift(device="cpu").fit(data.lr, data.hr, data.pids).save(tmp_path / "nowhere" / "x.safetensors")


def _with(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[7, 2] = value
    return array


D = Data
ONE, TWO = D.pids[:6], np.repeat([0, 1], 36)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, (D.lr, D.hr[:, :7], D.pids), "equally wide, found 8 and 7"),
        (
            {},
            (_with(D.lr, np.nan), D.hr, D.pids),
            "lr_features must be finite in float32, .* 1 of 72 rows, first in row 7",
        ),
        ({}, (D.lr, _with(D.hr, np.inf), D.pids), "hr_features must be finite"),
        ({}, (D.lr, D.hr.astype(float) * 1e300, D.pids), "hr_features must be finite in float32"),
        ({}, (D.lr[0], D.hr, D.pids), r"shape \(rows, width\), both above 0, found \(8,\)"),
        ({}, (D.lr[:0], D.hr, D.pids), r"both above 0, found \(0, 8\)"),
        ({}, (D.lr.astype(str), D.hr, D.pids), "must be numbers, found an array of <U32"),
        ({}, (D.lr[:6], D.hr[:6], ONE), "at least two identities with 2 or more images .*, found 1 of 1"),
        ({}, (D.lr[::6], D.hr[::6], D.pids[::6]), "found 0 of 12: .* or lower min_images"),
        ({}, (D.lr, D.hr), "needs the identity of every feature, found pids=None"),
        ({}, (D.lr, D.hr, D.pids[:-1]), r"each of the 72 rows of lr_features, found shape \(71,\)"),
        ({}, (D.lr, D.hr, (D.pids, D.pids[:-1])), r"each of the 72 rows of hr_features, found shape \(71,\)"),
        ({}, (D.lr, D.hr[:-1], D.pids), r"each of the 71 rows of hr_features, found shape \(72,\)"),
        ({"pairing": "image"}, (D.lr, D.hr[:-1]), "needs the same image in row i .*, found 72 and 71 rows"),
        ({"pairing": "image"}, (D.lr, D.hr, (D.pids, D.pids[::-1])), "found identities 0 and 11 in row 0"),
        ({"pairing": "image"}, (D.lr[:6], D.hr[:6], ONE), "at least two identities are needed, found 1"),
        ({"pairing": "image"}, (D.lr[:1], D.hr[:1]), "at least two pairs are needed, found 1"),
        ({"per_rate": True}, (D.lr, D.hr, D.pids), "needs the rate of every LR feature, found rates=None"),
        ({"per_rate": True}, (D.lr, D.hr, D.pids, D.rates[:5]), r"rate of each of 72 features, found shape \(5,\)"),
        ({"per_rate": True}, (D.lr, D.hr, D.pids, D.rates / 4), "rates must be integers >= 1"),
        ({"per_rate": True}, (D.lr, D.hr, D.pids, np.arange(72) + 2), "are needed at rate 2, found 0 of 1"),
        ({"pairing": "mean"}, (D.lr, D.hr, D.pids), "pairing must be one of identity_mean, image, found 'mean'"),
        ({"n_pairs": 0}, (D.lr, D.hr, D.pids), "n_pairs must be at least 1, or None"),
        ({"min_images": 0}, (D.lr, D.hr, D.pids), "min_images must be at least 1"),
        ({"seed": -1}, (D.lr, D.hr, D.pids), "a seed must be an integer >= 0"),
    ],
)
@pytest.mark.parametrize("kind", CLASSES)
def test_bad_input_to_fit(kind: type, changes: dict, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _estimator(kind, **changes).fit(*arguments)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (VectorPanning, {"epochs": 0}, "epochs must be at least 1, found 0"),
        (VectorPanning, {"batch_size": 0}, "batch_size must be at least 1"),
        (VectorPanning, {"learning_rate": 0.0}, "learning_rate must be above 0"),
        (RidgeMap, {"alpha": 0.0}, "alpha must be above 0"),
    ],
)
def test_bad_parameters(kind: type, changes: dict, message: str, data: type[Data]) -> None:
    with pytest.raises(ValueError, match=message):
        _estimator(kind, **changes).fit(data.lr, data.hr, data.pids)


@pytest.mark.parametrize("kind", CLASSES)
def test_bad_input_to_transform(kind: type, data: type[Data]) -> None:
    panning = _estimator(kind, per_rate=True).fit(data.lr, data.hr, data.pids, data.rates)
    rates = data.rates
    for arguments, message in (
        ((data.lr[:, :7], rates), "features must be 8 wide, as those of the fit, found 7"),
        ((_with(data.lr, np.nan), rates), "features must be finite"),
        ((data.lr, None), "one map per rate, found rates=None"),
        ((data.lr, np.where(rates == 4, 8, rates)), "rate 8 was never fitted, only 2, 3, 4"),
        ((data.lr, rates[:3]), r"found shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            panning.transform(*arguments)


def test_a_loss_that_explodes_stops_with_the_step(data: type[Data]) -> None:
    panning = _estimator(VectorPanning)
    with pytest.raises(TrainingError, match=r"not finite in epoch 0"):
        panning.fit(data.lr * 1e25, data.hr * 1e25, data.pids)
    with pytest.raises(NotFittedError):
        panning.transform(data.lr)


def test_only_the_query_is_panned() -> None:
    weight = torch.randn(8, 3, generator=torch_generator(0, "embed"))
    images = torch.randint(0, 256, (4, 3, 6, 4), dtype=torch.uint8, generator=torch_generator(0, "images"))
    embed = lambda x: x.mean((2, 3)) @ weight.T  # noqa: E731
    features = torch.randn(8, 8)
    shift = MeanShift(pairing="image", device="cpu").fit(features, features + 1)
    matcher = PannedMatcher(embed, (6, 4), torch.device("cpu"), shift, split=0)
    gallery = matcher.embed_gallery(images)
    query = matcher.embed_query(images, torch.full((4,), 2))
    from reid_lib.networks.inputs import normalise

    raw = embed(normalise(images))
    torch.testing.assert_close(gallery, torch.nn.functional.normalize(raw))
    torch.testing.assert_close(query, torch.nn.functional.normalize(raw + 1))
    assert matcher.distance(query, gallery).shape == (4, 4)
    assert matcher.split == 0


def _noise(path: str, size: tuple[int, int]) -> np.ndarray:
    person = numpy_generator(0, path.split("_")[0]).integers(40, 216, (*size, 3))
    return (person + numpy_generator(0, path).integers(-40, 40, (*size, 3))).astype(np.uint8)


PROJECTION = torch.randn(3 * 24 * 12, 8, generator=torch_generator(0, "projection")) / 30


@pytest.fixture(params=[None, 2], ids=["simulated LR", "genuine LR"])
def people(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReIDDataset:
    """12 people, 8 of them for training, 2 or 3 images in camera 1 and 2 in camera 2, genuinely LR or not."""
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    rows = [(f"{p}_{c}_{i}", p, c) for p in range(12) for c in (1, 2) for i in range(2 + (p + c) % 2)]
    table = pd.DataFrame(rows, columns=["path", "pid", "camid"]).sample(frac=1, random_state=0)
    splits = Split(tuple(range(8)), tuple(range(8, 12))), Split(tuple(range(4, 12)), tuple(range(4)))
    return ReIDDataset("noise", table, splits, (24, 12), reader=_noise, genuine_lr_camid=request.param)


def _bank(people: ReIDDataset, folder: Path | None = None, split: int | None = None) -> FeatureBank:
    model = FeatureMatcher(lambda x: x.flatten(1) @ PROJECTION, (24, 12), torch.device("cpu"), split)
    return FeatureBank(model, people, folder=folder, progress=False)


def _by_hand(people: ReIDDataset, pids: list[int], pairing: str, rates: tuple[int, ...]) -> dict[str, list]:
    """LR and HR features of some identities, one image after the other, in the order that image pairs need."""
    model, genuine = _bank(people).model, people.genuine_lr_camid is not None
    found = {"lr": [], "hr": [], "lr_pids": [], "hr_pids": [], "rates": []}

    def add(to: str, row: pd.Series, rate: int) -> None:
        image = torch.from_numpy(people.read(row["path"])).permute(2, 0, 1)[None]
        found[to].append(model.features(degrade(image, rate))[0].numpy())
        found[f"{to}_pids"].append(row["pid"])

    for rate in rates:
        for _, row in people.table.iterrows():
            if row["pid"] not in pids:
                continue
            if genuine and pairing == "identity_mean":
                if rate == rates[0]:
                    add("lr" if row["camid"] == 2 else "hr", row, 1)
                    found["rates"] += [1] * (row["camid"] == 2)
            elif not (genuine and row["camid"] == 2):
                add("lr", row, rate)
                found["rates"].append(rate)
                if pairing == "image" or rate == rates[0]:
                    add("hr", row, 1)
    return found


def _slow_pairs(found: dict[str, list], pairing: str, rate: int) -> np.ndarray:
    """LR and HR half of each pair side by side, (P, 2 d), in float64 and in no order."""
    rows = [i for i, r in enumerate(found["rates"]) if rate in (0, r)]
    if pairing == "image":
        pairs = [[*found["lr"][i], *found["hr"][i]] for i in rows]
    else:
        pairs = []
        for pid in set(found["lr_pids"]):
            lr = [found["lr"][i] for i in rows if found["lr_pids"][i] == pid]
            hr = [f for f, p in zip(found["hr"], found["hr_pids"], strict=True) if p == pid]
            pairs.append([*np.mean(np.float64(lr), 0), *np.mean(np.float64(hr), 0)])
    return np.array(sorted(pairs))


@pytest.mark.parametrize("pairing", ["identity_mean", "image"])
@pytest.mark.parametrize("per_rate", [False, True])
@pytest.mark.parametrize("split", [0, 1])
def test_a_bank_gives_the_pairs_of_a_splits_training_identities(
    split: int, per_rate: bool, pairing: str, people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, real = {}, MeanShift._fit_map

    def fit_map(self: MeanShift, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> torch.nn.Module:
        seen[rate] = np.array(sorted(torch.cat([lr, hr], 1).tolist()))
        return real(self, lr, hr, rate)

    monkeypatch.setattr(MeanShift, "_fit_map", fit_map)
    shift = MeanShift(pairing=pairing, per_rate=per_rate, n_pairs=None, device="cpu")
    assert fit_to_bank(shift, _bank(people), split, rates=(2, 4)) is shift
    assert (shift.split_, shift.fitted_on_) == (split, people.fingerprint())
    genuine_means = people.genuine_lr_camid is not None and pairing == "identity_mean"
    assert list(seen) == list(shift.maps_) == ([0] if not per_rate else [1] if genuine_means else [2, 4])
    found = _by_hand(people, people.splits[split].train_pids, pairing, (2, 4))
    for rate, pairs in seen.items():
        np.testing.assert_allclose(pairs, _slow_pairs(found, pairing, rate), atol=1e-4)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("pairing", ["identity_mean", "image"])
def test_a_bank_fits_as_features_by_hand_do(kind: type, pairing: str, people: ReIDDataset) -> None:
    found = _by_hand(people, people.splits[0].train_pids, pairing, mlr.MLR_RATES)
    faster = {"epochs": 10, "learning_rate": 1e-2} if kind is VectorPanning else {}
    ours = fit_to_bank(_estimator(kind, pairing=pairing, **faster), _bank(people))
    pids = np.array(found["lr_pids"]), np.array(found["hr_pids"])
    theirs = _estimator(kind, pairing=pairing, **faster)
    theirs.fit(np.array(found["lr"]), np.array(found["hr"]), pids, found["rates"])
    queries = np.array(found["lr"])
    panned = ours.transform(queries)
    # training in bfloat16 makes more of the last digits of the features
    tolerance = 5e-3 if kind is VectorPanning else 1e-4
    np.testing.assert_allclose(panned, theirs.transform(queries), atol=tolerance)
    assert np.abs(panned - queries).max() > 10 * tolerance
    assert ours.n_pairs_ == theirs.n_pairs_


@pytest.mark.parametrize("pairing", ["identity_mean", "image"])
def test_some_identities_alone(pairing: str, people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, real = [], MeanShift.fit
    monkeypatch.setattr(
        MeanShift, "fit", lambda self, lr, hr, pids, rates: taken.append(pids) or real(self, lr, hr, pids, rates)
    )

    def drawn(n: int, seed: int = 0) -> set[int]:
        shift = fit_to_bank(
            MeanShift(pairing=pairing, seed=seed, n_pairs=None, device="cpu"), _bank(people), 1, identities=n
        )
        lr, hr = (set(pids.tolist()) for pids in taken[-1])
        assert lr == hr
        found = _by_hand(people, lr, pairing, mlr.MLR_RATES)
        pairs = _slow_pairs(found, pairing, 0)
        np.testing.assert_allclose(shift.maps_[0].offset, (pairs[:, 8:] - pairs[:, :8]).mean(0), atol=1e-4)
        return lr

    sets = [drawn(n) for n in (2, 5, 8)]
    assert [len(pids) for pids in sets] == [2, 5, 8]
    assert sets[0] < sets[1] < sets[2] == set(range(4, 12))  # more are the same ones and others
    assert drawn(5) == sets[1]
    assert any(drawn(5, seed) != sets[1] for seed in (1, 2))


def test_a_bank_that_does_not_fit(people: ReIDDataset) -> None:
    shift = MeanShift(device="cpu")
    with pytest.raises(ValueError, match="model was trained on split 1, found split 0: take the same"):
        fit_to_bank(shift, _bank(people, split=1))
    assert fit_to_bank(shift, _bank(people, split=1), 1).split_ == 1
    for n in (0, 1, 9, -1):
        with pytest.raises(ValueError, match=f"within 2 and the 8 training identities, found {n}"):
            fit_to_bank(shift, _bank(people), identities=n)
    with pytest.raises(ValueError, match=r"noise has splits 0\.\.1, found split=2"):
        fit_to_bank(shift, _bank(people), 2)
    with pytest.raises(ValueError, match="pairing must be one of"):
        fit_to_bank(MeanShift(pairing="mean", device="cpu"), _bank(people))


@pytest.mark.parametrize("per_rate", [None, False, True], ids=["frozen", "one map", "a map per rate"])
def test_every_split_is_ranked_with_its_own_fit(per_rate: bool | None, people: ReIDDataset) -> None:
    bank, drawn = _bank(people), mlr.settings(people, rates=(1, 2, 3), mlr_rates=(2, 4), every_split=True)

    def make() -> MeanShift:
        return MeanShift(per_rate=per_rate, device="cpu")

    found = fit_and_evaluate(None if per_rate is None else make, bank, drawn, rates=(2, 4))
    known = ["r = 2", "MLR {2,4}"] if people.genuine_lr_camid is None else ["HR->HR, same camera", "genuine LR"]
    assert list(found) == (known if per_rate else list(drawn))
    for name, scores in found.items():
        assert [trial.split for trial in drawn[name]] == [0, 1]
        for trial, row in zip(drawn[name], scores.per_trial.to_dict("records"), strict=True):
            shift = None if per_rate is None else fit_to_bank(make(), bank, trial.split, (2, 4))
            assert row == evaluate_features(bank, [trial], shift).per_trial.loc[0].to_dict()
        assert scores.summary.loc["map", "mean"] == pytest.approx(scores.per_trial["map"].mean())


def _never(*_: object, **__: object) -> None:
    raise AssertionError("trained again")


@pytest.mark.parametrize("per_rate", [False, True])
def test_a_fitted_estimator_is_kept(
    per_rate: bool, people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"
    first = fit_to_bank(_estimator(VectorPanning, per_rate=per_rate, progress=True), bank, 1, folder=fits)
    (file,) = fits.iterdir()
    monkeypatch.setattr("reid_lib.training.vpfa.train", _never)
    again = _estimator(VectorPanning, per_rate=per_rate, device=torch.device("cpu"), progress=False)
    # a bank of the same folder, not the same object
    assert fit_to_bank(again, _bank(people, tmp_path / "bank"), 1, folder=str(fits)) is again
    assert list(fits.iterdir()) == [file]
    rates = None if not per_rate else np.resize(list(first.maps_), 6)
    queries = numpy_generator(0, "queries").normal(size=(6, 8))
    np.testing.assert_array_equal(again.transform(queries, rates), first.transform(queries, rates))
    assert (again.n_pairs_, again.n_features_in_) == (first.n_pairs_, first.n_features_in_)
    assert (again.split_, again.fitted_on_) == (first.split_, first.fitted_on_) == (1, people.fingerprint())
    assert (again.device, again.progress) == (torch.device("cpu"), False)


def test_a_damaged_fit_is_made_again(people: ReIDDataset, tmp_path: Path) -> None:
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"
    first = fit_to_bank(_estimator(MeanShift), bank, folder=fits)
    (file,) = fits.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again = fit_to_bank(_estimator(MeanShift), bank, folder=fits)
    torch.testing.assert_close(again.maps_[0].offset, first.maps_[0].offset)
    assert len(file.read_bytes()) == len(whole)


@pytest.mark.parametrize("people", [None], indirect=True)
def test_another_setting_is_fitted_anew(people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"
    own = _estimator(VectorPanning)
    fit_to_bank(own, bank, folder=fits)
    other_partition = replace(people, splits=people.splits[::-1])
    assert other_partition.fingerprint() == people.fingerprint()
    for estimator, its_bank, options in (
        (_estimator(VectorPanning, seed=1), bank, {}),
        (_estimator(VectorPanning, pairing="image"), bank, {}),
        (_estimator(MeanShift), bank, {}),
        (_estimator(RidgeMap), bank, {}),
        (_estimator(RidgeMap, alpha=2.0), bank, {}),
        (_estimator(VectorPanning), bank, {"split": 1}),
        (_estimator(VectorPanning), bank, {"rates": (2, 3)}),
        (_estimator(VectorPanning), bank, {"identities": 5}),
        (_estimator(VectorPanning), _bank(people, tmp_path / "other features"), {}),
    ):
        before = set(fits.iterdir())
        fit_to_bank(estimator, its_bank, folder=fits, **options)
        assert len(set(fits.iterdir()) - before) == 1
    kept = set(fits.iterdir())
    swapped = fit_to_bank(_estimator(MeanShift), _bank(other_partition, tmp_path / "bank"), folder=fits)
    second = fit_to_bank(_estimator(MeanShift), bank, 1)  # the same training identities
    assert len(set(fits.iterdir()) - kept) == 1
    assert torch.equal(swapped.maps_[0].offset, second.maps_[0].offset)
    # nothing tells whose features these are, so nothing is kept
    fit_to_bank(own, _bank(people), folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("reid_lib.training.vpfa.train", _never)
    fit_to_bank(_estimator(VectorPanning), bank, folder=fits)  # and the first is still there


@pytest.mark.parametrize("people", [None], indirect=True)
def test_frozen_features_are_found_by_the_weights(people: ReIDDataset, tmp_path: Path) -> None:
    network = initialise(lambda: Baseline(tiny(width=4), 5), 0, torch.device("cpu")).eval()
    first = frozen_features(FeatureMatcher(network.embed, (24, 12), torch.device("cpu"), 1), people, progress=False)
    before = first([3, 1], [2, 1])
    assert first.folder.parent == cache_folder() / "features"
    assert first.folder.name.startswith("noise-")
    assert (first.split, first.kernel) == (1, "bicubic")

    def matcher(change: float = 0.0, size: tuple[int, int] = (24, 12), method: str = "embed") -> FeatureMatcher:
        copy = deepcopy(network)
        copy.neck.running_mean[2] += change
        return FeatureMatcher(getattr(copy, method), size, torch.device("cpu"))

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
        frozen_features(FeatureMatcher(network.backbone, (24, 12), torch.device("cpu")), people),
        frozen_features(matcher(), larger),
        frozen_features(matcher(), replace(people, name="other")),
    ]
    assert len({first.folder, *(bank.folder for bank in others)}) == 1 + len(others)
    assert others[1].kernel == "area"


def test_reid_lib_stays_light_and_has_the_estimator() -> None:
    assert reid_lib.VectorPanning is VectorPanning
    with pytest.raises(AttributeError, match="has no attribute 'Panning'"):
        _ = reid_lib.Panning
    code = "import sys, reid_lib; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
