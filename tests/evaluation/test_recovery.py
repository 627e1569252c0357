"""Re-ID on recovered images, and their quality, with recoverers whose answer is known."""

import numpy as np
import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.image_quality import per_image
from reid_lib.evaluation.ranking import euclidean, evaluate
from reid_lib.evaluation.recovery import QUALITY_TRIALS, AsItIs, RecoveredMatcher, recovery_quality, with_quality
from reid_lib.intervals import t_interval

CPU = torch.device("cpu")


class Recoverer:
    """Turns every image into its negative, and remembers what it was given."""

    def __init__(self, split: int | None = None) -> None:
        self.device, self.split, self.given = CPU, split, []

    def recover(self, images: torch.Tensor) -> torch.Tensor:
        self.given.append(images)
        return 255 - images


class Pixels:
    """A Matcher that compares pixels and remembers the rates it was told."""

    def __init__(self, split: int | None = None) -> None:
        self.split, self.told = split, []

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        self.told += rates.tolist()
        return images.flatten(1).float()

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return 1000 + images.flatten(1).float()

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return euclidean(query, gallery - 1000)


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    return load("synth", identities=8, images_per_camera=2, size=(32, 24))


def test_queries_are_recovered_and_gallery_images_are_not(people: ReIDDataset) -> None:
    inner, images = Pixels(), open_store(people).batch(np.arange(4))
    matcher = RecoveredMatcher(inner, Recoverer())
    rates = torch.tensor([1, 2, 3, 4])
    assert torch.equal(matcher.embed_query(images, rates), inner.embed_query(255 - images, rates))
    assert torch.equal(matcher.embed_gallery(images), inner.embed_gallery(images))
    assert inner.told[:4] == [1, 1, 1, 1]  # a recovered image is HR


def test_ranking_recovered_images(people: ReIDDataset) -> None:
    """With queries turned into negatives twice, the numbers are those without."""

    class Twice(Recoverer):
        def recover(self, images: torch.Tensor) -> torch.Tensor:
            return super().recover(super().recover(images))

    trials = mlr.trials(people, n=3)
    plain = evaluate(Pixels(), trials, progress=False).per_trial
    assert evaluate(RecoveredMatcher(Pixels(), Twice()), trials, progress=False).per_trial.equals(plain)
    assert not evaluate(RecoveredMatcher(Pixels(), Recoverer()), trials, progress=False).per_trial.equals(plain)


def test_the_split_that_either_has_seen(people: ReIDDataset) -> None:
    for matcher, recoverer in ((Pixels(0), Recoverer()), (Pixels(), Recoverer(0)), (Pixels(0), Recoverer(0))):
        assert RecoveredMatcher(matcher, recoverer).split == 0
    assert RecoveredMatcher(Pixels(), Recoverer()).split is None
    with pytest.raises(ValueError, match=r"trained on splits \[0, 1\]: train both on one split"):
        RecoveredMatcher(Pixels(1), Recoverer(0))


def test_quality_of_recovered_queries(people: ReIDDataset) -> None:
    trials, recoverer = mlr.trials(people, n=3), Recoverer()
    values = recovery_quality(recoverer, trials, kernel="area", batch=5)
    shown = {(row, rate) for trial in trials for row, rate in trial.query["rate"].items()}
    assert len(values) == len(shown)
    assert set(zip(values["row"], values["rate"], strict=True)) == shown  # each different query once
    store = open_store(people)
    for line in values.itertuples():
        truth = store.batch(np.array([line.row]))
        slow = per_image(255 - degrade(truth, line.rate, "area"), truth)
        assert (line.ssim, line.psnr) == pytest.approx((slow["ssim"][0], slow["psnr"][0]))
    assert max(map(len, recoverer.given)) == 5


def test_trials_without_a_truth_or_of_another_split(people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="trained on split 1"):
        recovery_quality(Recoverer(1), mlr.trials(people, n=1))
    with pytest.raises(ValueError, match="at least one trial"):
        recovery_quality(Recoverer(), [])
    far = load("synth-caviar", identities=8, images_per_camera=2, size=(32, 24))
    with pytest.raises(ValueError, match="synth-caviar has genuine LR queries: there is no HR image"):
        recovery_quality(Recoverer(), mlr.trials(far, n=1))


def test_quality_joins_the_scores_trial_by_trial(people: ReIDDataset) -> None:
    trials, recoverer = mlr.trials(people, n=5), Recoverer()
    scores = evaluate(Pixels(), trials, progress=False)
    joined = with_quality(scores, trials, recoverer, measured=2, kernel="area")
    assert joined.per_trial[scores.per_trial.columns].equals(scores.per_trial)
    known = recovery_quality(Recoverer(), trials, kernel="area").set_index(["row", "rate"])["psnr"]
    slow = [
        [known[row, rate] for row, rate in zip(trial.query.index, trial.query["rate"], strict=True)] for trial in trials
    ]
    slow = [sum(values) / len(values) for values in slow]
    assert joined.per_trial["psnr"][:2].tolist() == pytest.approx(slow[:2])
    assert joined.per_trial[["ssim", "psnr"]][2:].isna().all(axis=None)
    assert joined.summary.loc["psnr", ["low", "high"]].tolist() == pytest.approx(t_interval(slow[:2]))
    assert joined.summary["trials"].tolist() == [5] * len(scores.per_trial.columns) + [2, 2]
    shown = {(row, rate) for trial in trials[:2] for row, rate in trial.query["rate"].items()}
    assert sum(map(len, recoverer.given)) == len(shown)  # images of other trials are not recovered


def test_an_interval_of_quality_has_as_many_trials_as_it_needs(people: ReIDDataset) -> None:
    trials = mlr.trials(people, n=10)
    joined = with_quality(evaluate(Pixels(), trials, progress=False), trials, AsItIs(CPU))
    assert joined.summary.loc["ssim", "trials"] == QUALITY_TRIALS >= 2
    assert joined.summary.loc["ssim", ["low", "high"]].notna().all()


def test_quality_of_fewer_trials_than_are_measured(people: ReIDDataset) -> None:
    trials = mlr.trials(people, n=1)
    joined = with_quality(evaluate(Pixels(), trials, progress=False), trials, AsItIs(CPU))
    assert joined.summary.loc["ssim", "trials"] == 1
    assert np.isnan(joined.summary.loc["ssim", "low"])


def test_scores_of_other_trials_get_no_quality(people: ReIDDataset) -> None:
    trials = mlr.trials(people, n=3)
    scores = evaluate(Pixels(), trials, progress=False)
    with pytest.raises(ValueError, match="expected scores of these 2 trials, found those of 3"):
        with_quality(scores, trials[:2], AsItIs(CPU))


def test_an_image_as_it_is() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert AsItIs(CPU).recover(images) is images
