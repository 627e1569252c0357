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
from reid_lib.evaluation.recovery import AsItIs, RecoveredMatcher, recovery_quality, with_quality

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
    trials = mlr.trials(people, n=3)
    scores, quality = evaluate(Pixels(), trials, progress=False), recovery_quality(AsItIs(CPU), trials)
    joined = with_quality(scores, trials, quality)
    assert joined.per_trial[scores.per_trial.columns].equals(scores.per_trial)
    known = quality.set_index(["row", "rate"])["psnr"]
    for index, trial in enumerate(trials):
        slow = [known[row, rate] for row, rate in zip(trial.query.index, trial.query["rate"], strict=True)]
        assert joined.per_trial["psnr"][index] == pytest.approx(sum(slow) / len(slow))
    assert joined.summary.loc["ssim", "mean"] == pytest.approx(joined.per_trial["ssim"].mean())


def test_quality_of_other_trials_is_refused(people: ReIDDataset) -> None:
    trials = mlr.trials(people, n=3)
    scores, quality = evaluate(Pixels(), trials, progress=False), recovery_quality(AsItIs(CPU), trials)
    with pytest.raises(ValueError, match=r"scores and quality must be of these 2 trials .* found scores of 3 trials"):
        with_quality(scores, trials[:2], quality)
    with pytest.raises(ValueError, match="scores and quality must be of these 3 trials"):
        with_quality(scores, trials, quality.iloc[1:])


def test_an_image_as_it_is() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert AsItIs(CPU).recover(images) is images
