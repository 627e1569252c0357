"""Query by query: the mean of what is matched right is Rank-1."""

from types import SimpleNamespace

import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.evaluation.outcomes import matched_right
from reid_lib.evaluation.ranking import euclidean, evaluate


class MeanColour:
    """Compares the mean colours of images."""

    device = torch.device("cpu")
    split: int | None = None

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        return self.embed_gallery(images)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return euclidean(query, gallery)


@pytest.fixture(scope="module")
def trial() -> mlr.Trial:
    return mlr.trials(load("synth", identities=16, images_per_camera=2, size=(64, 32)), n=1)[0]


def test_the_share_of_right_matches_is_rank_1(trial: mlr.Trial) -> None:
    right = matched_right(MeanColour(), trial)
    assert (right.dtype, right.shape) == (bool, (len(trial.query),))
    rank1 = evaluate(MeanColour(), [trial], progress=False).per_trial["rank1"].iloc[0]
    assert 100 * right.mean() == pytest.approx(rank1)
    assert 0 < rank1 < 100


def test_a_matcher_that_knows_the_answer_is_always_right(trial: mlr.Trial) -> None:
    query, gallery = (torch.tensor(part["pid"].to_numpy()) for part in (trial.query, trial.gallery))
    knows = SimpleNamespace(
        embed_query=lambda images, rates: images.float().mean((2, 3)),
        embed_gallery=lambda images: images.float().mean((2, 3)),
        distance=lambda *_: (query[:, None] != gallery).float(),
    )
    assert matched_right(knows, trial).all()


def test_a_trial_of_another_split_is_refused(trial: mlr.Trial) -> None:
    other = MeanColour()
    other.split = 5
    with pytest.raises(ValueError, match="trained on split 5"):
        matched_right(other, trial)
