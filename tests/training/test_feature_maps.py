"""What all maps share: pairs, scikit-learn's conventions, arrays and tensors, files, and every bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from reid_lib.losses.vpfa import identity_mean_pairs
from reid_lib.training.feature_maps import FeatureMap
from reid_lib.training.vpfa import VectorPanning
from reid_lib.training.yardsticks import MeanShift, RidgeMap

CLASSES = [VectorPanning, MeanShift, RidgeMap]
Estimator = Callable[..., FeatureMap]


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(np.asarray(a) - np.asarray(b)).mean())


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("pairing", ["identity_mean", "image"])
@pytest.mark.parametrize("per_rate", [False, True])
def test_panned_features_come_nearer(
    kind: type, pairing: str, per_rate: bool, data: SimpleNamespace, small: Estimator
) -> None:
    more = {"epochs": 40, "learning_rate": 5e-3} if kind is VectorPanning else {}
    panning = small(kind, pairing=pairing, per_rate=per_rate, **more).fit(data.lr, data.hr, data.pids, data.rates)
    panned = panning.transform(data.lr, data.rates)
    assert _gap(panned, data.hr) < 0.75 * _gap(data.lr, data.hr)
    assert list(panning.maps_) == ([2, 3, 4] if per_rate else [0])
    if per_rate:
        assert _gap(panned, data.hr) < 0.2 * _gap(data.lr, data.hr)


def test_all_estimators_see_the_same_pairs(
    data: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, small: Estimator
) -> None:
    seen = []
    for kind in CLASSES:
        real = kind._fit_map
        monkeypatch.setattr(
            kind, "_fit_map", lambda self, lr, hr, rate, real=real: seen.append((lr, hr)) or real(self, lr, hr, rate)
        )
        small(kind, n_pairs=64).fit(data.lr, data.hr, data.pids)
    assert all(torch.equal(lr, seen[0][0]) and torch.equal(hr, seen[0][1]) for lr, hr in seen)
    assert seen[0][0].shape == (64, 8)


def test_pids_of_lr_and_hr_may_differ(data: SimpleNamespace) -> None:
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
def test_arrays_in_arrays_out(kind: type, dtype: type, data: SimpleNamespace, small: Estimator) -> None:
    panning = small(kind).fit(data.lr, data.hr, data.pids)
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
def test_cuda_tensors_stay_there(kind: type, data: SimpleNamespace, small: Estimator) -> None:
    lr, hr = (torch.from_numpy(f).cuda() for f in (data.lr, data.hr))
    own = small(kind, device="cuda").fit(lr, hr, torch.from_numpy(data.pids).cuda())
    assert own.transform(lr).device.type == "cuda"
    np.testing.assert_allclose(own.transform(data.lr), own.transform(lr).cpu(), atol=1e-5)
    on_cpu = small(kind).fit(data.lr, data.hr, data.pids)
    np.testing.assert_allclose(own.transform(data.lr), on_cpu.transform(data.lr), atol=2e-2)


def test_rows_go_through_in_pieces(data: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, small: Estimator) -> None:
    panning = small(VectorPanning, per_rate=True).fit(data.lr, data.hr, data.pids, data.rates)
    whole = panning.transform(data.lr, data.rates)
    monkeypatch.setattr("reid_lib.training.feature_maps.ROWS_AT_ONCE", {"cpu": 5, "cuda": 5})
    np.testing.assert_allclose(panning.transform(data.lr, data.rates), whole, atol=1e-6)
    one = [panning.transform(data.lr[i : i + 1], data.rates[i : i + 1])[0] for i in range(10)]
    np.testing.assert_allclose(one, whole[:10], atol=1e-6)


def test_inputs_stay_as_they_are(data: SimpleNamespace, small: Estimator) -> None:
    before = data.lr.copy()
    panning = small(VectorPanning).fit(data.lr, data.hr, data.pids)
    tensor = torch.from_numpy(data.lr)
    panning.transform(tensor)
    np.testing.assert_array_equal(data.lr, before)


@pytest.mark.parametrize("kind", CLASSES)
def test_scikit_learns_conventions(kind: type, data: SimpleNamespace, small: Estimator) -> None:
    estimator = small(kind, n_pairs=32)
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
def test_save_and_load(kind: type, per_rate: bool, data: SimpleNamespace, tmp_path: Path, small: Estimator) -> None:
    estimator = small(kind, per_rate=per_rate).fit(data.lr, data.hr, data.pids, data.rates)
    estimator.save(tmp_path / "one.safetensors")
    again = kind.load(str(tmp_path / "one.safetensors"), device="cpu")
    np.testing.assert_array_equal(again.transform(data.lr, data.rates), estimator.transform(data.lr, data.rates))
    assert again.get_params() == estimator.get_params() | {"device": "cpu"} | (
        {"progress": True} if kind is VectorPanning else {}
    )
    assert (again.n_features_in_, again.n_pairs_) == (8, estimator.n_pairs_)
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


def _saved(folder: Path, data: SimpleNamespace, **metadata: str) -> Path:
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
def test_files_that_do_not_fit(metadata: dict[str, str], message: str, data: SimpleNamespace, tmp_path: Path) -> None:
    path = _saved(tmp_path, data, **metadata)
    with pytest.raises(ValueError, match=message):
        MeanShift.load(path)


def test_files_that_are_none(data: SimpleNamespace, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, lambda d: (d.lr, d.hr[:, :7], d.pids), "equally wide, found 8 and 7"),
        (
            {},
            lambda d: (_with(d.lr, np.nan), d.hr, d.pids),
            "lr_features must be finite in float32, .* 1 of 72 rows, first in row 7",
        ),
        ({}, lambda d: (d.lr, _with(d.hr, np.inf), d.pids), "hr_features must be finite"),
        ({}, lambda d: (d.lr, d.hr.astype(float) * 1e300, d.pids), "hr_features must be finite in float32"),
        ({}, lambda d: (d.lr[0], d.hr, d.pids), r"shape \(rows, width\), both above 0, found \(8,\)"),
        ({}, lambda d: (d.lr[:0], d.hr, d.pids), r"both above 0, found \(0, 8\)"),
        ({}, lambda d: (d.lr.astype(str), d.hr, d.pids), "must be numbers, found an array of <U32"),
        (
            {},
            lambda d: (d.lr[:6], d.hr[:6], d.pids[:6]),
            "at least two identities with 2 or more images .*, found 1 of 1",
        ),
        ({}, lambda d: (d.lr[::6], d.hr[::6], d.pids[::6]), "found 0 of 12: .* or lower min_images"),
        ({}, lambda d: (d.lr, d.hr), "needs the identity of every feature, found pids=None"),
        ({}, lambda d: (d.lr, d.hr, d.pids[:-1]), r"each of the 72 rows of lr_features, found shape \(71,\)"),
        ({}, lambda d: (d.lr, d.hr, (d.pids, d.pids[:-1])), r"each of the 72 rows of hr_features, found shape \(71,\)"),
        ({}, lambda d: (d.lr, d.hr[:-1], d.pids), r"each of the 71 rows of hr_features, found shape \(72,\)"),
        ({"pairing": "image"}, lambda d: (d.lr, d.hr[:-1]), "needs the same image in row i .*, found 72 and 71 rows"),
        ({"pairing": "image"}, lambda d: (d.lr, d.hr, (d.pids, d.pids[::-1])), "found identities 0 and 11 in row 0"),
        (
            {"pairing": "image"},
            lambda d: (d.lr[:6], d.hr[:6], d.pids[:6]),
            "at least two identities are needed, found 1",
        ),
        ({"pairing": "image"}, lambda d: (d.lr[:1], d.hr[:1]), "at least two pairs are needed, found 1"),
        ({"per_rate": True}, lambda d: (d.lr, d.hr, d.pids), "needs the rate of every LR feature, found rates=None"),
        (
            {"per_rate": True},
            lambda d: (d.lr, d.hr, d.pids, d.rates[:5]),
            r"rate of each of 72 features, found shape \(5,\)",
        ),
        ({"per_rate": True}, lambda d: (d.lr, d.hr, d.pids, d.rates / 4), "rates must be integers >= 1"),
        ({"per_rate": True}, lambda d: (d.lr, d.hr, d.pids, np.arange(72) + 2), "are needed at rate 2, found 0 of 1"),
        (
            {"pairing": "mean"},
            lambda d: (d.lr, d.hr, d.pids),
            "pairing must be one of identity_mean, image, found 'mean'",
        ),
        ({"n_pairs": 0}, lambda d: (d.lr, d.hr, d.pids), "n_pairs must be at least 1, or None"),
        ({"min_images": 0}, lambda d: (d.lr, d.hr, d.pids), "min_images must be at least 1"),
        ({"seed": -1}, lambda d: (d.lr, d.hr, d.pids), "a seed must be an integer >= 0"),
    ],
)
@pytest.mark.parametrize("kind", CLASSES)
def test_bad_input_to_fit(
    kind: type, changes: dict, arguments: Callable, message: str, data: SimpleNamespace, small: Estimator
) -> None:
    with pytest.raises(ValueError, match=message):
        small(kind, **changes).fit(*arguments(data))


@pytest.mark.parametrize("kind", CLASSES)
def test_bad_input_to_transform(kind: type, data: SimpleNamespace, small: Estimator) -> None:
    panning = small(kind, per_rate=True).fit(data.lr, data.hr, data.pids, data.rates)
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


def test_a_data_frame_s_columns_are_known(data: SimpleNamespace, tmp_path: Path) -> None:
    names = [f"f{i}" for i in range(8)]
    frame = pd.DataFrame(data.lr, columns=names)
    shift = MeanShift().fit(frame, data.hr, data.pids)
    assert list(shift.feature_names_in_) == list(shift.get_feature_names_out()) == names
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*same order"):
        shift.transform(frame[names[::-1]])
    shift.save(tmp_path / "shift.safetensors")
    kept = MeanShift.load(tmp_path / "shift.safetensors")
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*same order"):
        kept.transform(frame[names[::-1]])
    panned = kept.set_output(transform="pandas").transform(frame)
    assert list(panned.columns) == names
    assert np.array_equal(panned.to_numpy(), shift.transform(frame))
    without = MeanShift().fit(data.lr, data.hr, data.pids)
    assert list(without.get_feature_names_out()) == [f"x{i}" for i in range(8)]
    assert not hasattr(without, "feature_names_in_")


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x[::-1][::-1],
        lambda x: np.flip(np.flip(x, 1), 1),
        np.asfortranarray,
        lambda x: x.astype(">f4"),
        lambda x: x.astype(">f8"),
        lambda x: x.astype(object),
        lambda x: x.tolist(),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: pd.DataFrame(x),
    ],
)
def test_any_form_of_the_same_numbers_gives_the_same(form: Callable, data: SimpleNamespace) -> None:
    plain, other = (RidgeMap().fit(lr, data.hr, data.pids) for lr in (data.lr, form(data.lr)))
    assert torch.equal(plain.maps_[0].weight, other.maps_[0].weight)
    assert np.array_equal(plain.transform(data.lr), np.asarray(other.transform(form(data.lr)), np.float32))
    one = np.zeros((1, 8), np.float32)[::-1]
    assert np.array_equal(plain.transform(one), plain.transform(one.copy()))


@pytest.mark.parametrize("wrong", ["a", b"a", 1j, None])
def test_objects_that_are_no_numbers_are_refused(wrong: object, data: SimpleNamespace) -> None:
    features = data.lr.astype(object)
    features[3, 2] = wrong
    with pytest.raises(ValueError, match=r"lr_features must be (numbers|finite)"):
        MeanShift().fit(features, data.hr, data.pids)


def test_numpy_scalars_as_parameters_survive_save(data: SimpleNamespace, tmp_path: Path) -> None:
    settings = {"alpha": np.float32(2), "n_pairs": np.int64(64), "per_rate": np.bool_(False), "seed": np.uint8(3)}
    ridge = RidgeMap(**settings).fit(data.lr, data.hr, data.pids)
    ridge.save(tmp_path / "ridge.safetensors")
    kept = RidgeMap.load(tmp_path / "ridge.safetensors")
    assert (kept.alpha, kept.n_pairs, kept.per_rate, kept.seed) == (2, 64, False, 3)
    assert np.array_equal(kept.transform(data.lr), ridge.transform(data.lr))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_failed_refit_leaves_the_estimator_as_it_was(
    kind: type, data: SimpleNamespace, small: Estimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    panning = small(kind).fit(data.lr, data.hr, data.pids)
    before, panned = dict(vars(panning)), panning.transform(data.lr)
    with pytest.raises(ValueError, match="at least two identities"):
        panning.fit(data.lr[:, :4], data.hr[:, :4], np.arange(72))
    assert vars(panning) == before
    monkeypatch.setattr(kind, "_fit_map", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        panning.fit(data.lr[:, :4], data.hr[:, :4], data.pids)
    assert vars(panning) == before
    assert np.array_equal(panning.transform(data.lr), panned)


def test_identities_that_are_none_are_refused(data: SimpleNamespace) -> None:
    missing = data.pids.astype(float)
    missing[5] = np.nan
    for pids, message in (
        (missing, "the identities of lr_features must be integers or text, found nan in 1 of 72 rows, first in row 5"),
        (np.where(data.pids == 2, -1, data.pids), "the identities of lr_features has the identity -1 in"),
    ):
        with pytest.raises(ValueError, match=message):
            MeanShift().fit(data.lr, data.hr, pids)
    text = np.array([f"person {pid:02d}" for pid in data.pids])
    named, numbered = (MeanShift().fit(data.lr, data.hr, pids) for pids in (text, data.pids))
    assert torch.allclose(named.maps_[0].offset, numbered.maps_[0].offset, atol=1e-6)


@pytest.mark.parametrize("name", ["per_rate", "residual"])
def test_a_text_is_no_boolean(name: str, data: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=f"{name} must be True or False, found 'no'"):
        VectorPanning(**{name: "no"}).fit(data.lr, data.hr, data.pids)


@pytest.mark.parametrize("alpha", [float("inf"), float("nan"), 0.0, -1.0])
def test_a_ridge_needs_a_finite_penalty(alpha: float, data: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="alpha must be above 0 and finite, found"):
        RidgeMap(alpha=alpha).fit(data.lr, data.hr, data.pids)
