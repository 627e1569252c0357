"""Maps fitted on a data set's training identities, against features and pairs taken one by one; kept fits."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib import digest
from reid_lib.datasets import mlr
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.features import FeatureBank, evaluate_features
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.seeds import numpy_generator, torch_generator
from reid_lib.training.feature_maps import FeatureMap
from reid_lib.training.panning import fit_and_evaluate, fit_to_bank
from reid_lib.training.vpfa import VectorPanning
from reid_lib.training.yardsticks import MeanShift, RidgeMap

CLASSES = [VectorPanning, MeanShift, RidgeMap]
PROJECTION = torch.randn(3 * 24 * 12, 8, generator=torch_generator(0, "projection")) / 30
Estimator = Callable[..., FeatureMap]


def _noise(path: str, size: tuple[int, int]) -> np.ndarray:
    person = numpy_generator(0, path.split("_")[0]).integers(40, 216, (*size, 3))
    return (person + numpy_generator(0, path).integers(-40, 40, (*size, 3))).astype(np.uint8)


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
    """LR and HR features of some identities by identity and path, in the order that image pairs need."""
    model, genuine = _bank(people).model, people.genuine_lr_camid is not None
    found = {"lr": [], "hr": [], "lr_pids": [], "hr_pids": [], "rates": []}

    def add(to: str, row: pd.Series, rate: int) -> None:
        image = torch.from_numpy(people.read(row["path"])).permute(2, 0, 1)[None]
        found[to].append(model.features(degrade(image, rate))[0].numpy())
        found[f"{to}_pids"].append(row["pid"])

    for rate in rates:
        for _, row in people.table.sort_values(["pid", "path"]).iterrows():
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
def test_a_bank_fits_as_features_by_hand_do(kind: type, pairing: str, people: ReIDDataset, small: Estimator) -> None:
    found = _by_hand(people, people.splits[0].train_pids, pairing, mlr.MLR_RATES)
    faster = {"epochs": 10, "learning_rate": 1e-2} if kind is VectorPanning else {}
    ours = fit_to_bank(small(kind, pairing=pairing, **faster), _bank(people))
    pids = np.array(found["lr_pids"]), np.array(found["hr_pids"])
    theirs = small(kind, pairing=pairing, **faster)
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
    per_rate: bool, people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Estimator
) -> None:
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"
    first = fit_to_bank(small(VectorPanning, per_rate=per_rate, progress=True), bank, 1, folder=fits)
    (file,) = fits.iterdir()
    monkeypatch.setattr("reid_lib.training.vpfa.train", _never)
    again = small(VectorPanning, per_rate=per_rate, device=torch.device("cpu"), progress=False)
    # a bank of the same folder, not the same object
    assert fit_to_bank(again, _bank(people, tmp_path / "bank"), 1, folder=str(fits)) is again
    assert list(fits.iterdir()) == [file]
    rates = None if not per_rate else np.resize(list(first.maps_), 6)
    queries = numpy_generator(0, "queries").normal(size=(6, 8))
    np.testing.assert_array_equal(again.transform(queries, rates), first.transform(queries, rates))
    assert (again.n_pairs_, again.n_features_in_) == (first.n_pairs_, first.n_features_in_)
    assert (again.split_, again.fitted_on_) == (first.split_, first.fitted_on_) == (1, people.fingerprint())
    assert (again.device, again.progress) == (torch.device("cpu"), False)


def test_a_fit_is_of_one_precision(
    people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Estimator
) -> None:
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"
    for count, precision in enumerate(("bfloat16", "float32"), 1):
        monkeypatch.setenv("REID_LIB_PRECISION", precision)
        fit_to_bank(small(VectorPanning), bank, folder=fits)
        assert len(list(fits.iterdir())) == count


def test_a_damaged_fit_is_made_again(people: ReIDDataset, tmp_path: Path, small: Estimator) -> None:
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"
    first = fit_to_bank(small(MeanShift), bank, folder=fits)
    (file,) = fits.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again = fit_to_bank(small(MeanShift), bank, folder=fits)
    torch.testing.assert_close(again.maps_[0].offset, first.maps_[0].offset)
    assert len(file.read_bytes()) == len(whole)


@pytest.mark.parametrize("people", [None], indirect=True)
def test_another_setting_is_fitted_anew(
    people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Estimator
) -> None:
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"
    own = small(VectorPanning)
    fit_to_bank(own, bank, folder=fits)
    other_partition = replace(people, splits=people.splits[::-1])
    assert other_partition.fingerprint() == people.fingerprint()
    for estimator, its_bank, options in (
        (small(VectorPanning, seed=1), bank, {}),
        (small(VectorPanning, pairing="image"), bank, {}),
        (small(MeanShift), bank, {}),
        (small(RidgeMap), bank, {}),
        (small(RidgeMap, alpha=2.0), bank, {}),
        (small(VectorPanning), bank, {"split": 1}),
        (small(VectorPanning), bank, {"rates": (2, 3)}),
        (small(VectorPanning), bank, {"identities": 5}),
        (small(VectorPanning), _bank(people, tmp_path / "other features"), {}),
    ):
        before = set(fits.iterdir())
        fit_to_bank(estimator, its_bank, folder=fits, **options)
        assert len(set(fits.iterdir()) - before) == 1
    kept = set(fits.iterdir())
    swapped = fit_to_bank(small(MeanShift), _bank(other_partition, tmp_path / "bank"), folder=fits)
    second = fit_to_bank(small(MeanShift), bank, 1)  # the same training identities
    assert len(set(fits.iterdir()) - kept) == 1
    assert torch.equal(swapped.maps_[0].offset, second.maps_[0].offset)
    # nothing tells whose features these are, so nothing is kept
    fit_to_bank(own, _bank(people), folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("reid_lib.training.vpfa.train", _never)
    fit_to_bank(small(VectorPanning), bank, folder=fits)  # and the first is still there


@pytest.mark.parametrize("people", [None], indirect=True)
def test_a_change_of_code_costs_the_fits_that_it_decides(
    people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Estimator
) -> None:
    package = shutil.copytree(digest.PACKAGE, tmp_path / "reid_lib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", package)
    bank, fits = _bank(people, tmp_path / "bank"), tmp_path / "fits"

    def fitted_anew() -> list[str]:
        new = []
        for kind in (VectorPanning, MeanShift):
            before = set(fits.iterdir()) if fits.exists() else set()
            fit_to_bank(small(kind), bank, folder=fits)
            new += [kind.__name__] * len(set(fits.iterdir()) - before)
        return new

    assert fitted_anew() == ["VectorPanning", "MeanShift"]
    for file, expected in (
        ("training/vpfa.py", ["VectorPanning"]),
        ("networks/vpfa.py", ["VectorPanning"]),
        ("training/yardsticks.py", ["MeanShift"]),
        ("training/feature_maps.py", ["VectorPanning", "MeanShift"]),
        ("training/panning.py", ["VectorPanning", "MeanShift"]),
        ("networks/transreid.py", []),
    ):
        with (package / file).open("a") as code:
            code.write("changed = True\n")
        assert fitted_anew() == expected, file
        assert fitted_anew() == []


def test_an_estimator_from_elsewhere_is_not_kept(people: ReIDDataset, tmp_path: Path) -> None:
    class Own(MeanShift):
        """Nothing tells when its code changes."""

    fitted = fit_to_bank(Own(device="cpu"), _bank(people, tmp_path / "bank"), folder=tmp_path / "fits")
    assert fitted.split_ == 0
    assert not (tmp_path / "fits").exists()
