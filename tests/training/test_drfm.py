"""DRFM's loop: pseudo-labels of each epoch, edges of the clustering, variants, resume, blindness, the Matcher."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.ranking import evaluate
from reid_lib.losses import drfm as losses
from reid_lib.networks.drfm import CRFF, FC, Spaces
from reid_lib.networks.sr import Bicubic
from reid_lib.networks.weights import WeightsError
from reid_lib.profiles import PROFILES
from reid_lib.seeds import torch_generator
from reid_lib.training import drfm
from reid_lib.training.drfm import VARIANTS, DRFMConfig, DRFMMatcher, spread, train
from reid_lib.training.mlr_set import MLRSet, super_resolved
from reid_lib.training.run import Run
from reid_lib.training.training_set import UnlabelledSet

CPU = torch.device("cpu")
SIZE = (64, 32)
SMOKE = DRFMConfig.for_profile("smoke")
FAST = replace(SMOKE, width=4, steps=1)
TABLE_3 = {  # what the paper says of each row: pseudo-labels, L_ic, fusion, L_sc or L_cc, L_ps
    "A1": ("DBSCAN", False, "none", "L_sc", False),
    "A2": ("SR+DBSCAN", False, "none", "L_sc", False),
    "A3": ("CPG", False, "none", "L_sc", False),
    "A4": ("CPG", True, "none", "L_sc", False),
    "A5": ("CPG", True, "FC", "L_sc", False),
    "A6": ("CPG", True, "CRFF", "L_sc", False),
    "A7": ("SR+DBSCAN", False, "none", "L_cc", False),
    "A8": ("CPG", True, "CRFF", "L_cc", False),
    "DRFM": ("CPG", True, "CRFF", "L_cc", True),
}
FOUND = "reid_lib.training.pseudo_labels.dbscan"


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def people() -> ReIDDataset:
    """16 LR and 48 HR training images."""
    return load("synth", identities=16, images_per_camera=2, size=SIZE)


@pytest.fixture(scope="module")
def matcher(people: ReIDDataset) -> DRFMMatcher:
    return fit(people, steps=2, epochs=3)


@pytest.fixture(scope="module")
def data(people: ReIDDataset) -> MLRSet:
    return MLRSet(people, 0, SMOKE.rates, SMOKE.kernel, Bicubic(4), CPU)


def low_of(dataset: ReIDDataset) -> torch.Tensor:
    return MLRSet(dataset, 0, SMOKE.rates, SMOKE.kernel, None, CPU).low


def fit(dataset: ReIDDataset, **changes: object) -> DRFMMatcher:
    return train(replace(FAST, **changes), dataset, device=CPU, progress=False)


def finds(monkeypatch: pytest.MonkeyPatch, *epochs: Callable[[int], np.ndarray]) -> None:
    """Let DBSCAN find what each epoch's function gives for n images; the last one's goes on."""
    turns = iter(epochs)
    last: list[Callable[[int], np.ndarray]] = []

    def dbscan(distance: object, eps: float, min_samples: int) -> np.ndarray:
        last[:] = [next(turns, *last)]
        return last[0](distance.shape[0]).astype(np.int64)

    monkeypatch.setattr(FOUND, dbscan)


def none(n: int) -> np.ndarray:
    return np.full(n, -1)


def one(n: int) -> np.ndarray:
    return np.zeros(n)


def one_and_outliers(n: int) -> np.ndarray:
    return np.where(np.arange(n) < 5, 0, -1)


def six(n: int) -> np.ndarray:
    return np.arange(n) % 6


def two(n: int) -> np.ndarray:
    return np.arange(n) % 2


def small(n: int) -> np.ndarray:
    """Two clusters of three images: with the LR images that join them fewer than a batch."""
    return np.where(np.arange(n) < 6, np.arange(n) % 2, -1)


def same_state(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- Settings --------------------------------------------------------------------------------------------------------


def test_defaults_are_the_papers_settings_and_profiles_change_sizes() -> None:
    paper = DRFMConfig.for_profile("paper")
    assert paper == DRFMConfig()
    assert (paper.tau_c, paper.tau_l, paper.tau_h, paper.tau_s) == (0.04, 0.04, 0.05, 0.02)
    assert (paper.alpha, paper.q, paper.lambda_ps, paper.t) == (0.2, 20, 1.5, 0.7)
    assert (paper.min_samples, paper.k1, paper.k2, paper.eps) == (4, 30, 6, 0.6)
    assert (paper.p * paper.k, paper.ps_batch, paper.ps_from) == (64, 16, 10)
    assert (paper.epochs, paper.learning_rate, paper.weight_decay) == (40, 3.5e-4, 5e-4)
    assert (paper.network, paper.weights, paper.rates) == ("resnet50", "imagenet", (2, 3, 4))
    assert "Swin2SR" in paper.sr
    own = {"labels", "consistency", "fusion", "contrast", "lambda_ps", "t", "tau_c", "tau_l", "tau_h", "tau_s"}
    own |= {"alpha", "q", "eps", "min_samples", "rates", "kernel", "k"}
    for profile in PROFILES:
        config = DRFMConfig.for_profile(profile)
        assert not {f.name for f in fields(config) if getattr(config, f.name) != getattr(paper, f.name)} & own
    assert DRFMConfig.for_profile("smoke").k1 == DRFMConfig.for_profile("demo").k1 == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "k-means"}, "labels must be one of CPG, SR\\+DBSCAN, DBSCAN, found 'k-means'"),
        ({"contrast": "triplet"}, "contrast must be one of L_cc, L_sc, found 'triplet'"),
        ({"fusion": "sum"}, "fusion must be one of CRFF, FC, none, found 'sum'"),
        ({"rates": ()}, r"rates must be integers >= 2, at least one, found \(\)"),
        ({"rates": (1, 2)}, r"rates must be integers >= 2, at least one, found \(1, 2\)"),
        ({"t": 0.0}, "expected 0 < t <= 1, .* found t=0.0"),
        ({"t": 1.1}, "expected 0 < t <= 1, .* found t=1.1"),
        ({"alpha": 1.0}, "0 <= alpha < 1 .* found .* alpha=1.0"),
        ({"alpha": -0.1}, "0 <= alpha < 1 .* found .* alpha=-0.1"),
        ({"lambda_ps": -1.0}, "lambda_ps >= 0, found .* lambda_ps=-1.0"),
        ({"q": -1}, "expected q >= 0 and ps_batch >= 2, found q=-1"),
        ({"ps_batch": 1}, "expected q >= 0 and ps_batch >= 2, found .* ps_batch=1"),
        ({"tau_s": 0.04}, r"tau_s below tau_c \(Eq. 19\), found tau_s=0.04, tau_c=0.04"),
        ({"tau_s": 0.0}, "temperatures must be above 0, .* found tau_s=0.0"),
        ({"tau_l": 0.0}, "temperatures must be above 0, .* tau_l=0.0"),
        ({"tau_h": -1.0}, "temperatures must be above 0, .* tau_h=-1.0"),
        ({"labels": "DBSCAN"}, 'L_ic, a fusion and L_ps need the LR space: labels="CPG"'),
        ({**VARIANTS["A2"], "consistency": True}, "L_ic, a fusion and L_ps need the LR space"),
        ({**VARIANTS["A2"], "fusion": "FC"}, "L_ic, a fusion and L_ps need the LR space"),
        ({**VARIANTS["A2"], "lambda_ps": 1.0}, "L_ic, a fusion and L_ps need the LR space"),
        ({"fusion": "none"}, r"L_ps needs fusion features \(Eq. 19\): take a fusion, or lambda_ps=0"),
    ],
)
def test_settings_that_are_out_of_place_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMOKE, **changes)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown profile 'large': expected one of smoke, demo, paper"):
        DRFMConfig.for_profile("large")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p": 33, "k": 2}, "needs as many images, found 64: lower p or k"),
        ({"k1": 48}, "expected more than k1=48, found 48: choose a smaller k1"),  # there are 64 images, 48 of them HR
        ({"rates": (3,)}, "the smallest rate, 3, must divide the images' sides, found 64x32"),
    ],
)
def test_images_that_do_not_fit_are_refused(people: ReIDDataset, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(people, **changes)


def test_a_super_resolution_that_does_not_fit_is_refused(people: ReIDDataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="super-resolution by 1 does not reach the HR size"):
        train(SMOKE, people, device=CPU, progress=False, sr=Bicubic(1))
    pytest.importorskip("spandrel", reason="the extra 'sr' is not installed")
    with pytest.raises(WeightsError, match="weight file missing"):
        fit(people, sr=str(tmp_path / "Swin2SR_ClassicalSR_X4_64.pth"))
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        models = {scale: RRDBNet(num_filters=4, num_blocks=1, scale=scale) for scale in (2, 4)}
    for scale, model in models.items():
        torch.save(model.state_dict(), tmp_path / f"x{scale}.pth")
    with pytest.raises(WeightsError, match=r"x2.pth is a model of scale 2, the data need scale 4: give another"):
        fit(people, sr=str(tmp_path / "x2.pth"))
    assert fit(people, sr=str(tmp_path / "x4.pth"), epochs=1).sr.scale == 4


# ---- Cross-resolution pseudo-label generation ------------------------------------------------------------------------


def features_of(data: MLRSet) -> Spaces:
    """Features of length 1 that lie near one of six directions in each space."""
    drawn = (torch.randn(len(data), 6, generator=torch_generator(0, space)) for space in ("hh", "ll"))
    near = torch.eye(6)[torch.arange(len(data)) % 6]
    return Spaces(*(torch.nn.functional.normalize(near + 0.6 * noise) for noise in drawn))


@pytest.mark.parametrize(("t", "clustered"), [(0.7, 48), (0.7, 40), (1.0, 48), (1.0, 36), (1.0, 43)])
def test_cpg_is_eq_4_to_9_image_by_image(data: MLRSet, t: float, clustered: int) -> None:
    config, features = replace(SMOKE, t=t), features_of(data)
    high, low = (~data.low).nonzero()[:, 0].tolist(), data.low.nonzero()[:, 0].tolist()
    found = [i % 6 if n < clustered else -1 for n, i in enumerate(high)]
    hh, ll = (f.double().numpy() for f in (features.hh, features.ll))
    clusters: dict[int, list[int]] = {j: [i for i, y in zip(high, found, strict=True) if y == j] for j in range(6)}
    scores = {}
    for i in low:
        s_l = [np.exp(ll[i] @ ll[members].mean(0) / config.tau_l) for members in clusters.values()]  # Eq. 4, 5
        s_sh = [np.exp(hh[i] @ hh[members].mean(0) / config.tau_h) for members in clusters.values()]  # Eq. 6, 7
        products = np.array(s_l) / sum(s_l) * np.array(s_sh) / sum(s_sh)
        scores[i] = products / products.sum()  # Eq. 8
    share = clustered * round(10 * t) * len(low) // (10 * len(high))  # Eq. 9: floor(T N_2), in whole numbers
    confident = sorted(low, key=lambda i: -scores[i].max())[:share]
    slow = torch.full((len(data),), -1)
    slow[high] = torch.tensor(found)
    slow[confident] = torch.tensor([int(scores[i].argmax()) for i in confident])
    labels = spread(torch.tensor(found), features, data, config)
    assert labels.tolist() == slow.tolist()
    assert (labels[low] >= 0).sum() == share


@pytest.mark.parametrize("clustered", range(0, 21, 2))
def test_the_share_of_eq_9_is_exact(clustered: int) -> None:
    """With t = 1 and 10 LR images on 20 HR ones, two clustered images are worth an LR image each."""
    data = SimpleNamespace(low=torch.arange(30) >= 20)
    hh, ll = torch.randn(2, 30, 6, generator=torch_generator(0, "share"))
    found = torch.where(torch.arange(20) < clustered, torch.arange(20) % 3, -1)
    labels = spread(found, Spaces(hh, ll), data, replace(SMOKE, t=1.0))
    assert (labels[data.low] >= 0).sum() == clustered // 2


def test_without_cpg_all_images_are_clustered_together(data: MLRSet) -> None:
    found = torch.arange(len(data)) % 5 - 1
    for variant in ("A1", "A2", "A7"):
        config = replace(SMOKE, **VARIANTS[variant])
        assert torch.equal(spread(found, features_of(data), data, config), found)


def test_clusters_are_of_hr_images_alone_with_cpg(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    finds(monkeypatch, lambda n: seen.append(n) or six(n))
    fit(people, epochs=1)
    fit(people, epochs=1, **VARIANTS["A2"])
    assert seen == [48, 64]


def test_features_that_are_compared_have_length_1(matcher: DRFMMatcher, data: MLRSet) -> None:
    run = Run(None, SMOKE, 0, {}, CPU, progress=False)
    for space in drfm.extract(run, copy.deepcopy(matcher.network), data, FAST):
        torch.testing.assert_close(space.norm(dim=1), torch.ones(len(data)))
        assert not space.requires_grad
    for embedded in (matcher.embed_gallery(pictures(3)), matcher.embed_query(pictures(3), torch.tensor([2, 3, 4]))):
        torch.testing.assert_close(embedded.norm(dim=1), torch.ones(3))


# ---- Epochs in which the clustering gives too little, or all ---------------------------------------------------------


@pytest.mark.parametrize(("found", "clusters"), [(none, 0), (one, 1), (one_and_outliers, 1), (small, 2)])
def test_an_epoch_with_too_little_keeps_the_labels_before(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch, found: Callable[[int], np.ndarray], clusters: int
) -> None:
    finds(monkeypatch, six, found, two)
    matcher = fit(people, epochs=3)
    assert matcher.history["kept"].tolist() == [0, 1, 0]
    assert matcher.history["clusters"].tolist() == [6, clusters, 2]
    labels = matcher.pseudo_labels
    assert torch.equal(labels[1], labels[0])
    assert labels[0].max() == 5
    assert labels[2].max() == 1
    assert labels[2][~low_of(people)].tolist() == two(48).tolist()
    assert np.isfinite(matcher.history.to_numpy(float)).all()


@pytest.mark.parametrize("found", [none, one])
def test_in_a_first_epoch_without_clusters_each_hr_image_is_one(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch, found: Callable[[int], np.ndarray]
) -> None:
    finds(monkeypatch, found, found, six)
    matcher = fit(people, epochs=3)
    assert matcher.history["kept"].tolist() == [1, 1, 0]
    labels, low = matcher.pseudo_labels, low_of(people)
    assert labels[0][~low].tolist() == list(range(48))
    assert (labels[0][low] >= 0).sum() == int(0.7 * 16)
    assert torch.equal(labels[1], labels[0])
    assert labels[2].max() == 5


def test_in_a_first_epoch_without_clusters_a_variant_without_cpg_takes_each_image(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, none)
    matcher = fit(people, epochs=1, **VARIANTS["A7"])
    assert matcher.pseudo_labels[0].tolist() == list(range(64))


def test_where_all_lr_images_are_confident_none_is_ambiguous(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, six)
    matcher = fit(people, epochs=3, t=1.0)
    assert (matcher.pseudo_labels >= 0).all()
    assert matcher.history["labelled_lr"].tolist() == [100.0] * 3
    assert matcher.history["sharpening"].tolist() == [0.0] * 3


def test_where_no_lr_image_is_confident_all_are_ambiguous(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, six)
    matcher = fit(people, epochs=2, t=1e-6)
    assert (matcher.pseudo_labels[:, low_of(people)] == -1).all()
    assert matcher.history["labelled_lr"].tolist() == [0.0] * 2
    assert matcher.history["consistency"].tolist() == [0.0] * 2  # no batch has an LR image
    assert matcher.history["sharpening"][0] == 0  # before `ps_from`
    assert matcher.history["sharpening"][1] > 0


def test_a_single_ambiguous_image_gives_no_batch(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch statistics need two."""
    finds(monkeypatch, six)
    matcher = fit(people, epochs=2, t=15.5 / 16)
    assert (matcher.pseudo_labels[1] < 0).sum() == 1
    assert matcher.history["sharpening"].tolist() == [0.0] * 2


def test_with_fewer_clusters_than_p_training_goes_on_with_whole_batches(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, step = [], drfm.step
    monkeypatch.setattr(drfm, "step", lambda *args: (sizes.append([len(part) for part in args[6]]), step(*args)))
    finds(monkeypatch, two, lambda n: np.arange(n) % 3)
    matcher = fit(people, epochs=2)
    assert matcher.history["clusters"].tolist() == [2, 3]
    assert sizes == [[16, 0], [16, 4]]  # L_ps begins with epoch 1


def grey(path: str, size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), 128, np.uint8)


def test_images_that_are_all_the_same_train_on(people: ReIDDataset) -> None:
    """Identical features: one cluster of all in every epoch."""
    matcher = fit(replace(people, name="grey", reader=grey), epochs=2)
    assert matcher.history["clusters"].tolist() == [1, 1]
    assert matcher.history["kept"].tolist() == [1, 1]
    assert np.isfinite(matcher.history.to_numpy(float)).all()


# ---- A step ----------------------------------------------------------------------------------------------------------


def test_the_terms_of_a_step_are_those_of_eq_17_to_20(
    people: ReIDDataset, data: MLRSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same features: L_cc in three spaces, and 1.5 times L_ps in what is descended."""
    descended, descend = [], Run.descend
    monkeypatch.setattr(
        Run, "descend", lambda run, optimizer, terms: (descended.append(terms), descend(run, optimizer, terms))
    )
    noted, note = [], Run.note
    monkeypatch.setattr(Run, "note", lambda run, terms, **options: (noted.append(terms), note(run, terms, **options)))
    finds(monkeypatch, six)
    fit(people, epochs=2)
    first, last = descended
    names = {"contrast_hh", "contrast_ll", "contrast_fu", "consistency", "sharpening"}
    assert set(first) == set(last) == names
    assert set(noted[1]) == names | {"clusters", "kept", "labelled_hr", "labelled_lr"}
    assert first["sharpening"].item() == 0
    assert last["sharpening"].item() == pytest.approx(1.5 * noted[1]["sharpening"].item())
    assert all(last[name].item() == noted[1][name].item() for name in names - {"sharpening"})


def test_c_hsl_is_of_hr_images_alone(people: ReIDDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def watched(f_lsh: torch.Tensor, c_hsl: torch.Tensor, tau_s: float, tau_c: float) -> torch.Tensor:
        given.append((f_lsh, c_hsl, tau_s, tau_c))
        return f_lsh.sum() * 0

    monkeypatch.setattr(losses, "probability_sharpening_loss", watched)
    step, memories = drfm.step, []
    monkeypatch.setattr(drfm, "step", lambda *args: (memories.append(copy.deepcopy(args[2])), step(*args)))
    finds(monkeypatch, six)
    matcher = fit(people, epochs=2)
    ((f_lsh, c_hsl, tau_s, tau_c),) = given
    labels, v = matcher.pseudo_labels[1], memories[1].fu
    for j in range(6):
        slow = v[(labels == j) & ~low_of(people)].mean(0)
        torch.testing.assert_close(c_hsl[j], slow)
    assert (len(c_hsl), len(f_lsh), tau_s, tau_c) == (6, 4, 0.02, 0.04)
    torch.testing.assert_close(f_lsh.norm(dim=1), torch.ones(4))


def test_the_memory_begins_an_epoch_with_its_features_and_is_updated_by_every_step(
    people: ReIDDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled, updated = [], []
    fill, update = drfm.Memory.fill, drfm.Memory.update
    monkeypatch.setattr(
        drfm.Memory, "fill", lambda memory, features: (fill(memory, features), filled.append(memory.hh.clone()))
    )

    def watched(memory: drfm.Memory, indices: torch.Tensor, features: dict, alpha: float) -> None:
        before = memory.hh.clone()
        update(memory, indices, features, alpha)
        updated.append((indices.unique(), before, memory.hh.clone(), alpha))

    monkeypatch.setattr(drfm.Memory, "update", watched)
    finds(monkeypatch, six)
    matcher = fit(people, epochs=2, steps=2)
    assert len(filled) == 2
    assert len(updated) == 4
    assert torch.equal(updated[0][1], filled[0])
    assert torch.equal(updated[2][1], filled[1])
    for indices, before, after, alpha in updated:
        moved = (before != after).any(1).nonzero()[:, 0]
        assert moved.tolist() == indices.tolist()
        assert alpha == 0.2
        assert (matcher.pseudo_labels[:, indices] >= 0).any(0).all()


# ---- Blindness and resume --------------------------------------------------------------------------------------------


def test_training_never_sees_an_identity() -> None:
    """On two cameras, where the LR camera is one for all identities."""
    people = load("synth", identities=16, cameras=2, images_per_camera=4, size=SIZE)
    pids, rows = people.table["pid"].to_numpy(copy=True), people.part("train").index.to_numpy()
    pids[rows] = np.random.default_rng(0).permutation(pids[rows])
    shuffled = replace(people, table=people.table.assign(pid=pids))
    assert (shuffled.table["pid"] != people.table["pid"]).sum() > 40
    a, b = fit(people), fit(shuffled)
    assert torch.equal(low_of(people), low_of(shuffled))
    assert same_state(a.network.state_dict(), b.network.state_dict())
    assert torch.equal(a.pseudo_labels, b.pseudo_labels)
    terms = [name for name in a.history if name not in ("seconds", "images_per_second")]
    pd.testing.assert_frame_equal(a.history[terms], b.history[terms])


@pytest.mark.parametrize("after", [1, 5])
def test_a_killed_training_has_the_weights_memory_and_labels_of_an_undisturbed_one(
    people: ReIDDataset, matcher: DRFMMatcher, tmp_path: Path, after: int
) -> None:
    config = replace(FAST, steps=2, epochs=3)
    whole = train(config, people, device=CPU, folder=tmp_path / "whole", progress=False)
    with pytest.MonkeyPatch.context() as patch:
        steps, step = iter(range(after)), drfm.step

        def watched(*args: object) -> None:
            if next(steps, None) is None:
                raise Killed
            step(*args)

        patch.setattr(drfm, "step", watched)
        with pytest.raises(Killed):
            train(config, people, device=CPU, folder=tmp_path / "killed", progress=False)
    again = train(config, people, device=CPU, folder=tmp_path / "killed", progress=False)
    parts = [
        torch.load(next((tmp_path / name).glob("*/last.pt")), weights_only=True)["parts"]
        for name in ("whole", "killed")
    ]
    assert same_state(parts[0]["network"], parts[1]["network"])
    assert same_state(parts[0]["memory"], parts[1]["memory"])
    assert set(parts[0]["memory"]) == {"labels", "hh", "ll", "fu"}
    for found in (whole, again):
        assert torch.equal(found.pseudo_labels, matcher.pseudo_labels)
        assert same_state(found.network.state_dict(), matcher.network.state_dict())


# ---- Variants and the Matcher ----------------------------------------------------------------------------------------


def test_the_variants_are_the_rows_of_table_3() -> None:
    assert {
        name: (c.labels, c.consistency, c.fusion, c.contrast, c.lambda_ps > 0)
        for name, c in ((name, replace(DRFMConfig(), **changes)) for name, changes in VARIANTS.items())
    } == TABLE_3


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest, people: ReIDDataset) -> Iterator[tuple[str, DRFMMatcher]]:
    return request.param, fit(people, epochs=1, steps=2, ps_from=0, **VARIANTS[request.param])


def pictures(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *SIZE), generator=torch_generator(0, "pictures"), dtype=torch.uint8)


def test_a_variant_trains_and_lacks_what_it_does_not_need(variant: tuple[str, DRFMMatcher]) -> None:
    name, matcher = variant
    labels, consistency, fusion, _, sharpening = TABLE_3[name]
    network, cpg = matcher.network, labels == "CPG"
    assert (network.E_l is not None) == cpg
    assert (network.Pred is not None) == consistency
    assert type(network.fusion) is {"none": type(None), "FC": FC, "CRFF": CRFF}[fusion]
    spaces = {"contrast_hh"} | ({"contrast_ll"} if cpg else set()) | ({"contrast_fu"} if fusion != "none" else set())
    terms = spaces | ({"consistency"} if consistency else set()) | ({"sharpening"} if sharpening else set())
    notes = {"clusters", "kept", "labelled_hr", "labelled_lr"}
    assert set(matcher.history) == terms | notes | {"epoch", "gradient_norm", "seconds", "images_per_second"}
    assert (matcher.sr is None) == (name == "A1")


def test_a_variant_matches_with_the_features_that_it_has(variant: tuple[str, DRFMMatcher], people: ReIDDataset) -> None:
    """By the fusion features; without a fusion by those of E_h, of the SHR image (A1: of the LR image as it is)."""
    name, matcher = variant
    images, unit, network = pictures(3), torch.nn.functional.normalize, matcher.network
    shr = images if name == "A1" else super_resolved(Bicubic(4), images, 2)
    with torch.no_grad():
        pairs = {"query": (shr, images), "gallery": (images, degrade(images, 4))}
        slow = {}
        for role, pair in pairs.items():
            x_hh, x_ll = (drfm.normalise(x, SIZE) for x in pair)
            f = network.E_h(x_hh)
            slow[role] = unit(f if network.fusion is None else network.fusion(f, network.E_l(x_ll)))
    query, gallery = matcher.embed_query(images, torch.tensor([2, 3, 4])), matcher.embed_gallery(images)
    torch.testing.assert_close(query, slow["query"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gallery, slow["gallery"], rtol=1e-4, atol=1e-5)
    order = matcher.distance(query, gallery).argsort(1)
    assert torch.equal(order, (query @ gallery.T).argsort(1, descending=True))  # as cosines rank
    scores = evaluate(matcher, mlr.trials(people, n=1), progress=False)
    assert scores.per_trial["rank1"].between(0, 100).all()


def test_the_rates_of_queries_make_no_difference(matcher: DRFMMatcher) -> None:
    images = pictures(3)
    found = [matcher.embed_query(images, torch.tensor(rates)) for rates in ([2, 2, 2], [4, 3, 8])]
    assert torch.equal(*found)


def test_genuine_lr_images_train_and_match() -> None:
    caviar = load("synth-caviar", identities=16, images_per_camera=4, size=SIZE)
    matcher = fit(caviar, epochs=1)
    assert low_of(caviar).tolist() == UnlabelledSet(caviar, device=CPU).genuine.tolist()
    assert evaluate(matcher, mlr.trials(caviar, n=1), progress=False).summary["mean"].min() >= 0
