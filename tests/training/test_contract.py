"""What every method of METHODS keeps to; whoever adds a method gets these tests with its line there."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.ranking import evaluate
from reid_lib.evaluation.recovery import recovery_quality
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training import training_set
from reid_lib.training.methods import METHODS, Method
from reid_lib.training.run import Run, TrainingError

SIZE = (64, 32)
CPU = torch.device("cpu")


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=16, images_per_camera=2, size=SIZE)


@pytest.fixture(scope="module", params=METHODS)
def method(request: pytest.FixtureRequest) -> Method:
    return METHODS[request.param]


@pytest.fixture(scope="module")
def trained(method: Method, people: ReIDDataset) -> Any:
    return fit(method, people)


def fit(method: Method, dataset: ReIDDataset, changes: dict[str, object] | None = None, **options: object) -> Any:
    config = method.config.for_profile("smoke", **(changes or {}))
    return method.train(config, dataset, **{"device": CPU, "progress": False} | options)


def pictures(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *SIZE), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def outputs(method: Method, result: Any) -> list[torch.Tensor]:
    """What a Matcher or a Recoverer gives for a few images."""
    images, rates = pictures(6), torch.tensor([1, 2, 3, 4, 2, 4])
    if method.gives == "recoverer":
        return [result.recover(images)]
    query, gallery = result.embed_query(images, rates), result.embed_gallery(images[:4])
    return [query, gallery, result.distance(query, gallery)]


def same(method: Method, a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(outputs(method, a), outputs(method, b), strict=True))


def test_every_profile_is_a_configuration_and_the_defaults_are_the_papers(method: Method) -> None:
    configs = [method.config.for_profile(profile) for profile in PROFILES]
    assert configs[-1] == method.config()
    assert len(set(configs)) == len(PROFILES)
    with pytest.raises(ValueError, match="unknown profile 'small': expected one of smoke, demo, paper"):
        method.config.for_profile("small")


@pytest.mark.parametrize("after", [1, 5])
def test_a_killed_training_ends_as_an_undisturbed_one(
    method: Method, trained: Any, people: ReIDDataset, tmp_path: Path, after: int
) -> None:
    """Killed in the first epoch, and in a later one."""
    with pytest.MonkeyPatch.context() as patch:
        steps, note = iter(range(after)), Run.note

        def watched(*args: object, **options: object) -> None:
            if next(steps, None) is None:
                raise Killed
            note(*args, **options)

        patch.setattr(Run, "note", watched)
        with pytest.raises(Killed):
            fit(method, people, folder=tmp_path)
    assert same(method, fit(method, people, folder=tmp_path), trained)


def test_a_finished_run_is_loaded_and_another_configuration_has_its_own(
    method: Method, trained: Any, people: ReIDDataset, tmp_path: Path
) -> None:
    first = fit(method, people, folder=tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/last.pt")}
    again = fit(method, people, folder=tmp_path)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/last.pt")}
    assert same(method, first, trained)
    assert same(method, again, trained)
    fit(method, people, {"kernel": "area"}, folder=tmp_path)
    assert len(list(tmp_path.glob("*/last.pt"))) == len(written) + 1


def test_a_resume_under_another_configuration_is_refused(
    method: Method, people: ReIDDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        training_set, "keyed", lambda parent, name, *_: Path(parent) / name
    )  # else each configuration has its own folder
    fit(method, people, folder=tmp_path)
    with pytest.raises(TrainingError, match="holds a run with kernel = 'bicubic', asked for 'area'"):
        fit(method, people, {"kernel": "area"}, folder=tmp_path)


def test_seed_decides_the_training(method: Method, trained: Any, people: ReIDDataset) -> None:
    torch.manual_seed(12345)  # the caller's own draws make no difference
    assert same(method, fit(method, people), trained)
    assert not same(method, fit(method, people, seed=1), trained)


def test_the_order_of_rows_makes_no_difference(method: Method, trained: Any, people: ReIDDataset) -> None:
    order = np.random.default_rng(0).permutation(len(people))
    shuffled = replace(people, table=people.table.iloc[order])
    assert shuffled.table["path"].tolist() != people.table["path"].tolist()
    assert same(method, fit(method, shuffled), trained)


def test_shapes_of_what_a_method_gives(method: Method, trained: Any) -> None:
    assert (trained.split, trained.device) == (0, CPU)
    if method.gives == "recoverer":
        (recovered,) = outputs(method, trained)
        assert (recovered.dtype, tuple(recovered.shape)) == (torch.uint8, (6, 3, *SIZE))
        return
    query, gallery, distances = outputs(method, trained)
    assert (len(query), len(gallery)) == (6, 4)
    assert (distances.dtype, tuple(distances.shape)) == (torch.float32, (6, 4))
    assert distances.isfinite().all()
    assert (distances >= 0).all()
    one = trained.embed_query(pictures(6)[2:3], torch.tensor([3]))
    torch.testing.assert_close(one, query[2:3], rtol=1e-3, atol=1e-4)  # no image sees another


def test_trials_of_another_split_are_refused(method: Method, people: ReIDDataset) -> None:
    found = fit(method, people, split=2)
    assert found.split == 2
    look = recovery_quality if method.gives == "recoverer" else partial(evaluate, progress=False)
    with pytest.raises(ValueError, match="trained on split 2"):
        look(found, mlr.trials(people, split=1, n=1))


def test_a_method_that_needs_no_identities_does_not_look_at_them(method: Method) -> None:
    """With two cameras: of more, the protocol draws the LR camera of each identity."""
    if "identities" in method.needs:
        pytest.skip("the method is supervised")
    people = load("synth", identities=16, cameras=2, images_per_camera=4, size=SIZE)
    pids = people.table["pid"].to_numpy(copy=True)
    train = people.part("train").index.to_numpy()
    pids[train] = np.random.default_rng(0).permutation(pids[train])
    shuffled = replace(people, table=people.table.assign(pid=pids))
    assert same(method, fit(method, people), fit(method, shuffled))
