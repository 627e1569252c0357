"""What a loop trains on, and what names the folder of its run."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reid_lib.datasets import load
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.networks.inputs import normalise
from reid_lib.seeds import torch_generator
from reid_lib.training import training_set
from reid_lib.training.baseline import BaselineConfig
from reid_lib.training.intact import INTACTConfig
from reid_lib.training.lrar import LRARConfig
from reid_lib.training.training_set import TrainingSet, UnlabelledSet

CPU = torch.device("cpu")
NAME = "reid_lib.training.baseline"


@dataclass(frozen=True)
class Config:
    kernel: str = "bicubic"
    input_size: tuple[int, int] | None = None
    pad: int = 0


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=8, images_per_camera=2, size=(32, 16))


@pytest.fixture(scope="module")
def data(people: ReIDDataset) -> TrainingSet:
    return TrainingSet(people, 1, CPU)


PLAIN = Config()


def folder(data: UnlabelledSet, where: Path, config: Config = PLAIN, seed: int = 0, weight: float = 1.0) -> Path:
    part = nn.Linear(1, 1)
    nn.init.constant_(part.weight, weight), nn.init.zeros_(part.bias)
    return data.open_run(NAME, config, {"network": part}, seed, where, progress=False).folder


def test_images_and_labels_of_a_split(people: ReIDDataset, data: TrainingSet) -> None:
    rows = people.part("train", 1)
    assert data.numbers.tolist() == rows.index.tolist()
    assert len(data) == len(rows)
    assert data.identities == rows["pid"].nunique() == int(data.labels.max()) + 1
    order = sorted(set(rows["pid"]))
    assert data.labels.tolist() == [order.index(pid) for pid in rows["pid"]]
    indices = np.array([3, 0])
    assert data.labels_of(indices).tolist() == data.labels[[3, 0]].tolist()
    assert torch.equal(data.images(indices), data.store.batch(data.numbers[[3, 0]]))
    assert not data.genuine.any()


def test_genuine_lr_images_are_known() -> None:
    caviar = load("synth-caviar", identities=8, images_per_camera=2, size=(32, 16))
    data = TrainingSet(caviar, 0, CPU)
    assert data.genuine.tolist() == (caviar.part("train")["camid"] == caviar.genuine_lr_camid).tolist()


def test_inputs_are_down_sampled_resized_and_normalised(data: TrainingSet) -> None:
    indices, rates = np.array([0, 1, 2]), torch.tensor([1, 2, 4])
    inputs = data.inputs(indices, rates, Config(), torch_generator(0))
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    for image, expected in zip(inputs, normalise(degrade(data.images(indices), rates)), strict=True):
        assert torch.equal(image, expected) or torch.equal(image, expected.flip(2))
    assert data.inputs(indices, rates, Config(input_size=(48, 24)), torch_generator(0)).shape == (3, 3, 48, 24)


def test_an_unlabelled_set_knows_no_identity(people: ReIDDataset) -> None:
    blind = UnlabelledSet(people, 0, CPU)
    assert not [name for name in dir(blind) if "pid" in name or "label" in name or "identit" in name]
    pids, train = people.table["pid"].to_numpy(copy=True), people.part("train").index.to_numpy()
    pids[train] = np.random.default_rng(0).permutation(pids[train])
    shuffled = UnlabelledSet(replace(people, table=people.table.assign(pid=pids)), 0, CPU)
    assert shuffled.numbers.tolist() == blind.numbers.tolist()
    assert torch.equal(shuffled.images(np.arange(len(blind))), blind.images(np.arange(len(blind))))


def test_what_decides_a_run_names_its_folder(people: ReIDDataset, data: TrainingSet, tmp_path: Path) -> None:
    first = folder(data, tmp_path)
    assert first.name.startswith("baseline-seed0-")
    assert folder(TrainingSet(people, 1, CPU), tmp_path) == first
    others = {
        "configuration": folder(data, tmp_path, Config(pad=1)),
        "seed": folder(data, tmp_path, seed=1),
        "initial weights": folder(data, tmp_path, weight=2.0),
        "split": folder(TrainingSet(people, 0, CPU), tmp_path),
        "no identities": folder(UnlabelledSet(people, 1, CPU), tmp_path),
    }
    assert len({first, *others.values()}) == 6, others
    part = {"network": nn.Linear(1, 1)}
    assert data.open_run(NAME, Config(), part, 0, None, progress=False).folder is None


def test_another_partition_of_the_same_images_is_another_run(people: ReIDDataset, tmp_path: Path) -> None:
    split = people.splits[0]
    exchanged = replace(people, splits=(replace(split, train_pids=split.test_pids, test_pids=split.train_pids),))
    assert exchanged.fingerprint() == people.fingerprint()
    assert folder(TrainingSet(exchanged, 0, CPU), tmp_path) != folder(TrainingSet(people, 0, CPU), tmp_path)


def test_a_network_does_not_depend_on_how_synth_draws_or_on_reports(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(training_set, "code_digest", lambda module, skip: asked.append((module, skip)) or "code")
    folder(data, tmp_path)
    ((module, skip),) = asked
    assert module == NAME
    assert {"reid_lib.datasets.synth", "reid_lib.reporting"} <= set(skip)
    assert not {"reid_lib.evaluation", "reid_lib.losses", "reid_lib.networks", "reid_lib.training"} & set(skip)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            lambda: LRARConfig.for_profile("smoke", varying_length="no"),
            "varying_length must be True or False, found 'no'",
        ),
        (lambda: INTACTConfig.for_profile("smoke", bridge=0), "bridge must be True or False, found 0"),
        (
            lambda: BaselineConfig.for_profile("smoke", learning_rate="fast"),
            "learning_rate must be a number such as",
        ),
        (lambda: BaselineConfig.for_profile("smoke", p=1, k=1), "a batch of p=1 identity with k=1 image"),
    ],
)
def test_settings_that_train_something_else_are_refused(data: TrainingSet, config: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.open_run(NAME, config(), {}, 0, None)
