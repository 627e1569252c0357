"""Cluster contrast's loop: its settings, its memory of clusters, blindness, edges of the clustering."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.ranking import evaluate
from reid_lib.losses import cluster_contrast as losses
from reid_lib.profiles import PROFILES
from reid_lib.training.cluster_contrast import ClusterContrastConfig, ClusterContrastMatcher, train
from reid_lib.training.drfm import DRFMConfig

CPU = torch.device("cpu")
SIZE = (64, 32)
FAST = ClusterContrastConfig.for_profile("smoke", width=4, steps=1)
FOUND = "reid_lib.training.pseudo_labels.dbscan"


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    """Two cameras, the first of them LR; 32 LR and 32 HR training images."""
    return load("synth", identities=16, cameras=2, images_per_camera=4, size=SIZE)


def fit(dataset: ReIDDataset, **changes: object) -> ClusterContrastMatcher:
    return train(replace(FAST, **changes), dataset, device=CPU, progress=False)


def test_it_is_set_as_drfm_is_but_for_its_own() -> None:
    assert ClusterContrastConfig.for_profile("paper") == ClusterContrastConfig()
    for profile in PROFILES:
        own, drfm = ClusterContrastConfig.for_profile(profile), DRFMConfig.for_profile(profile)
        shared = {f.name for f in fields(own)} & {f.name for f in fields(drfm)}
        differ = {name for name in shared if getattr(own, name) != getattr(drfm, name)}
        assert differ <= ({"k", "epochs", "milestones"} if profile == "paper" else set())
    with pytest.raises(ValueError, match="unknown profile 'large'"):
        ClusterContrastConfig.for_profile("large")


def test_training_never_sees_an_identity(people: ReIDDataset) -> None:
    pids, rows = people.table["pid"].to_numpy(copy=True), people.part("train").index.to_numpy()
    pids[rows] = np.random.default_rng(0).permutation(pids[rows])
    a, b = fit(people), fit(replace(people, table=people.table.assign(pid=pids)))
    states = [found.embed.state_dict() for found in (a, b)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert torch.equal(a.pseudo_labels, b.pseudo_labels)
    terms = [name for name in a.history if name not in ("seconds", "images_per_second")]
    pd.testing.assert_frame_equal(a.history[terms], b.history[terms])


def test_lr_images_are_clustered_with_the_others(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(FOUND, lambda distance, *_: seen.append(distance.shape[0]) or np.arange(distance.shape[0]) % 6)
    matcher = fit(people, epochs=1)
    assert seen == [64]
    scores = evaluate(matcher, mlr.trials(people, n=1), progress=False)
    assert scores.per_trial["rank1"].between(0, 100).all()


def test_the_memory_begins_with_the_clusters_means_and_follows_every_step(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, loss = [], losses.cluster_loss

    def watched(f: torch.Tensor, labels: torch.Tensor, phi: torch.Tensor, tau: float) -> torch.Tensor:
        seen.append((f.detach().clone(), labels.clone(), phi.clone(), tau))
        return loss(f, labels, phi, tau)

    monkeypatch.setattr(losses, "cluster_loss", watched)
    monkeypatch.setattr(FOUND, lambda distance, *_: np.arange(distance.shape[0]) % 6)
    fit(people, epochs=1, steps=3)
    for (f, labels, phi, tau), (*_, after, _) in pairwise(seen):
        assert tau == 0.05
        torch.testing.assert_close(phi.norm(dim=1), torch.ones(6))
        torch.testing.assert_close(f.norm(dim=1), torch.ones(16))
        slow = phi.clone()
        for q, k in zip(f, labels.tolist(), strict=True):
            slow[k] = 0.1 * slow[k] + 0.9 * q
            slow[k] /= slow[k].norm()
        torch.testing.assert_close(after, slow)


@pytest.mark.parametrize("clusters", [0, 1])
def test_an_epoch_with_too_few_clusters_keeps_the_labels_before(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch, clusters: int
) -> None:
    few, turns = [-1, 0][clusters], iter([False, True, False, True])
    monkeypatch.setattr(FOUND, lambda d, *_: np.arange(d.shape[0]) % 6 if next(turns) else np.full(d.shape[0], few))
    matcher = fit(people)
    assert matcher.history["kept"].tolist() == [1, 0, 1, 0]
    assert matcher.history["clusters"].tolist() == [clusters, 6, clusters, 6]
    labels = matcher.pseudo_labels
    assert labels[0].tolist() == list(range(64))  # each image on its own
    assert torch.equal(labels[2], labels[1])
    assert np.isfinite(matcher.history.to_numpy(float)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p": 33, "k": 2}, "needs as many images, found 64: lower p or k"),
        ({"k1": 64}, "expected more than k1=64, found 64: choose a smaller k1"),
    ],
)
def test_images_that_do_not_fit_are_refused(people: ReIDDataset, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(people, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": ()}, "rates must be integers >= 2"),
        ({"rates": (1, 2)}, "rates must be integers >= 2"),
        ({"tau": 0.0}, "expected tau > 0 and 0 <= momentum < 1, found tau=0.0"),
        ({"momentum": 1.0}, "found tau=0.05, momentum=1.0"),
    ],
)
def test_settings_that_are_out_of_place_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterContrastConfig(**changes)
