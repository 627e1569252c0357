"""The estimators: what they learn, scikit-learn's conventions, files, and every bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import reid_lib
from reid_lib.losses.vpfa import identity_mean_pairs, sample_pairs
from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.seeds import numpy_generator, torch_generator
from reid_lib.training.run import TrainingError, initialise
from reid_lib.training.vpfa import MeanShift, PannedMatcher, RidgeMap, VectorPanning, train

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
    with pytest.raises(TrainingError, match=r"the loss is not finite in epoch 0"):
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


def test_reid_lib_stays_light_and_has_the_estimator() -> None:
    assert reid_lib.VectorPanning is VectorPanning
    with pytest.raises(AttributeError, match="has no attribute 'Panning'"):
        _ = reid_lib.Panning
    code = "import sys, reid_lib; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
