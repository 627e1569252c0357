from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score

from reid_lib.datasets.mlr import settings, trials
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation import ranking
from reid_lib.evaluation.ranking import (
    Evaluation,
    euclidean,
    evaluate,
    evaluate_settings,
    rank_metrics,
    rank_queries,
    summarise,
    with_gain,
)
from reid_lib.intervals import t_interval
from reid_lib.seeds import numpy_generator, torch_generator


def slow_queries(distances, query_pids, gallery_pids, query_camids=None, gallery_camids=None):
    """Rank of the nearest positive and AP from the definitions, one query at a time, in float64; 0 without a positive.

    Ties count against the query.
    """
    first, precisions = [], []
    for q, row in enumerate(np.asarray(distances, np.float64)):
        kept = [
            (distance, gallery_pids[g] == query_pids[q])
            for g, distance in enumerate(row)
            if query_camids is None or (gallery_pids[g], gallery_camids[g]) != (query_pids[q], query_camids[q])
        ]
        kept.sort()  # False sorts before True: at equal distance the negatives come first
        hits = [place for place, (_, same) in enumerate(kept, start=1) if same]
        first.append(hits[0] if hits else 0)
        precisions.append(np.mean([i / place for i, place in enumerate(hits, start=1)]) if hits else 0)
    return first, precisions


def slow_metrics(*ranking, ranks=(1, 5, 10, 20)):
    """CMC and mAP of the queries that have a positive."""
    counted = [(rank, ap) for rank, ap in zip(*slow_queries(*ranking), strict=True) if rank]
    first, precisions = zip(*counted, strict=True)
    metrics = {f"rank{k}": 100 * np.mean([f <= k for f in first]) for k in ranks}
    return {**metrics, "map": 100 * np.mean(precisions)}


def random_ranking(draw: np.random.Generator, levels: int | None = None):
    n_query, n_gallery, people = draw.integers(1, 30), draw.integers(1, 60), draw.integers(1, 8)
    distances = draw.random((n_query, n_gallery))
    if levels:
        distances = np.floor(distances * levels) / levels
    pids = np.r_[0, draw.integers(0, people, n_query - 1)], np.r_[0, draw.integers(0, people, n_gallery - 1)]
    return (
        distances.astype(np.float32),
        *pids,
        np.r_[1, draw.integers(1, 4, n_query - 1)],
        np.r_[2, draw.integers(1, 4, n_gallery - 1)],
    )


@pytest.mark.parametrize("levels", [None, 3], ids=["distinct", "ties"])
@pytest.mark.parametrize("cameras", [False, True])
def test_equals_the_definition(levels: int | None, cameras: bool) -> None:
    draw = numpy_generator(0, "ranking", cameras)
    for _ in range(60):
        ranking = random_ranking(draw, levels)[: 5 if cameras else 3]
        assert rank_metrics(*ranking) == pytest.approx(slow_metrics(*ranking))


@pytest.mark.parametrize("n_gallery", [7, 8, 2040, 2041, 4100])
def test_counts_are_exact_where_bytes_run_full(n_gallery: int) -> None:
    """Each image is a positive that is not farther than all the nearer ones: the counts are 1, 2, ..., n_gallery."""
    nearest_last = np.arange(n_gallery, 0, -1, dtype=np.float32)[None]
    found = rank_queries(nearest_last, [0], np.zeros(n_gallery, int))
    assert found["rank"].tolist() == [1]
    assert found["ap"].tolist() == [1]
    behind = np.append(np.zeros(n_gallery - 1, int), 1)  # the nearest of all is a negative
    expected = np.mean([n / (n + 1) for n in range(1, n_gallery)])
    assert rank_queries(nearest_last, [0], behind)["ap"].item() == pytest.approx(expected)


@pytest.mark.parametrize("people", [1, 40], ids=["many positives", "few"])
@pytest.mark.parametrize("levels", [None, 50], ids=["distinct", "ties"])
def test_a_gallery_of_several_blocks_equals_the_definition(people: int, levels: int | None) -> None:
    draw = numpy_generator(8, "ranking", people)
    distances = draw.random((5, 2500), np.float32)
    if levels:
        distances = np.floor(distances * levels) / levels
    pids = [draw.integers(-1, people, n) for n in (5, 2500)]
    camids = [draw.integers(1, 4, n) for n in (5, 2500)]
    kept = pids[1] != -1
    found = rank_queries(distances, *pids, *camids)
    rank, ap = slow_queries(distances[:, kept], pids[0], pids[1][kept], camids[0], camids[1][kept])
    assert found["rank"].tolist() == rank
    assert found["ap"].tolist() == pytest.approx(ap)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.uint8])
def test_every_kind_of_number_is_ranked(dtype: torch.dtype) -> None:
    distances, *who = random_ranking(numpy_generator(9, "ranking"))
    found = torch.from_numpy(distances * 200).to(dtype)
    assert rank_metrics(found, *who) == rank_metrics(found.double(), *who)
    transposed = found.T.contiguous().T.requires_grad_(dtype.is_floating_point)
    assert rank_metrics(transposed, *who) == rank_metrics(found, *who)


def test_distances_whose_squares_overflow_are_ranked() -> None:
    distances = np.array([[3e38, 2e38, -3e38]], np.float32)
    assert rank_metrics(distances, [0], [0, 1, 1]) == rank_metrics(distances / 1e38, [0], [0, 1, 1])


def test_map_equals_scikit_learn_without_ties() -> None:
    distances, query_pids, gallery_pids, *_ = random_ranking(numpy_generator(1, "ranking"))
    same = query_pids[:, None] == gallery_pids
    expected = np.mean([average_precision_score(s, -d) for s, d in zip(same, distances, strict=True) if s.any()])
    assert rank_metrics(distances, query_pids, gallery_pids)["map"] == pytest.approx(100 * expected)


def test_by_hand() -> None:
    # query 0: ranks 1 and 3 of 4 -> AP (1 + 2/3) / 2; query 1: rank 2 -> AP 1/2
    distances = np.array([[0.1, 0.2, 0.3, 0.4], [0.9, 0.1, 0.8, 0.5]])
    metrics = rank_metrics(distances, [7, 9], [7, 8, 7, 9], ranks=(1, 2))
    assert metrics == pytest.approx({"rank1": 50, "rank2": 100, "map": 100 * (5 / 6 + 1 / 2) / 2})


def test_own_camera_is_removed_for_the_same_person_only() -> None:
    distances = np.array([[0.1, 0.2, 0.3]])
    pids, camids = np.array([5, 6, 5]), np.array([1, 1, 2])
    with_cameras = rank_metrics(distances, [5], pids, [1], camids, ranks=(1, 2))
    assert with_cameras == pytest.approx({"rank1": 0, "rank2": 100, "map": 50})  # 6 stays in front, though of camera 1


def test_equal_distances_count_against_the_query() -> None:
    metrics = rank_metrics(np.zeros((3, 10)), [0, 1, 2], np.arange(10))
    assert metrics["rank1"] == metrics["rank5"] == 0
    assert metrics["map"] == pytest.approx(10)


def test_order_of_the_gallery_does_not_matter() -> None:
    draw = numpy_generator(2, "ranking")
    distances, query_pids, gallery_pids, *_ = random_ranking(draw, levels=4)
    order = draw.permutation(len(gallery_pids))
    assert rank_metrics(distances[:, order], query_pids, gallery_pids[order]) == rank_metrics(
        distances, query_pids, gallery_pids
    )


def test_cmc_reaches_100_in_a_gallery_smaller_than_the_rank() -> None:
    metrics = rank_metrics(np.array([[0.3, 0.2, 0.1]]), [0], [0, 1, 2])
    assert [metrics[f"rank{k}"] for k in (1, 5, 10, 20)] == [0, 100, 100, 100]


def test_numpy_torch_and_lists_give_the_same() -> None:
    distances, query_pids, gallery_pids, *_ = random_ranking(numpy_generator(3, "ranking"))
    expected = rank_metrics(distances, query_pids, gallery_pids)
    tensors = (
        torch.from_numpy(distances),
        torch.from_numpy(query_pids).int(),
        torch.from_numpy(gallery_pids),
    )
    assert rank_metrics(*tensors) == expected
    assert rank_metrics(distances.tolist(), query_pids.tolist(), gallery_pids.tolist()) == pytest.approx(expected)


def test_a_query_without_a_positive_takes_no_part() -> None:
    distances = np.array([[0.1, 0.2], [0.1, 0.2]])
    assert rank_metrics(distances, [0, 5], [0, 1])["rank1"] == 100


@pytest.mark.parametrize("levels", [None, 3], ids=["distinct", "ties"])
@pytest.mark.parametrize("cameras", [False, True])
def test_each_query_equals_the_definition(levels: int | None, cameras: bool) -> None:
    draw, without = numpy_generator(6, "ranking", cameras), 0
    for _ in range(60):
        ranking = random_ranking(draw, levels)[: 5 if cameras else 3]
        found, (rank, ap) = rank_queries(*ranking), slow_queries(*ranking)
        assert found["rank"].tolist() == rank
        assert found["ap"].tolist() == pytest.approx(ap)
        assert (found["rank"].dtype, found["ap"].dtype) == (torch.int64, torch.float64)
        without += rank.count(0)
    assert without > 0


def test_a_query_without_a_positive_has_rank_0_and_no_precision() -> None:
    distances = np.array([[0.2, 0.1, 0.3], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    found = rank_queries(distances, [0, 5, 1], [0, 1, 1], [1, 1, 1], [2, 1, 2])
    assert found["rank"].tolist() == [
        2,
        0,
        2,
    ]  # of the last query's positives, one is removed and stands in no one's way
    assert found["ap"].tolist() == [0.5, 0, 0.5]


def test_metrics_are_the_means_of_the_queries() -> None:
    ranking = random_ranking(numpy_generator(7, "ranking"), levels=5)
    found, metrics = rank_queries(*ranking), rank_metrics(*ranking, ranks=(1, 3))
    counted = found["rank"] > 0
    assert metrics["map"] == pytest.approx(100 * found["ap"][counted].mean().item())
    for k in (1, 3):
        assert metrics[f"rank{k}"] == pytest.approx(100 * (found["rank"][counted] <= k).double().mean().item())


def test_both_ways_of_counting_give_the_same() -> None:
    """Without a CUDA device its way is followed on the CPU."""
    generator = torch_generator(0, "counts")
    block, positives = (torch.rand(6, n, generator=generator) for n in (3000, 70))
    n_positives = torch.tensor([0, 1, 31, 32, 33, 70])
    here = ranking._Counter(3000)(block, positives, n_positives)
    there = ranking._count_on_gpu(block, positives, n_positives)
    assert torch.equal(here, there.where(torch.arange(70) < n_positives[:, None], 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:
    ranking = random_ranking(numpy_generator(4, "ranking"), levels=20)
    on_device = rank_metrics(torch.from_numpy(ranking[0]).cuda(), *ranking[1:])
    assert on_device == pytest.approx(rank_metrics(*ranking))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distances": np.array([[0.1, np.nan], [0.2, 0.3]])}, "1 of 4 distances are NaN or infinite"),
        ({"distances": np.array([[0.1, np.inf], [0.2, 0.3]])}, "NaN or infinite"),
        ({"distances": np.array([[0.1, -np.inf], [0.2, np.nan]])}, "2 of 4 distances are NaN or infinite"),
        ({"distances": np.array([[0.1, np.nan], [0.2, 0.3]]), "gallery_pids": [0, -1]}, "1 of 4 distances"),
        ({"distances": np.zeros((2, 3))}, r"expected \(2, 2\)"),
        ({"distances": np.zeros((0, 2)), "query_pids": []}, "at least 1"),
        ({"query_camids": [1, 1]}, "together"),
        ({"query_camids": [1, 1], "gallery_camids": [1]}, "as many as images"),
        ({"query_pids": [5, 6]}, "nothing to rank"),
        ({"query_camids": [1, 1], "gallery_camids": [1, 1]}, "nothing to rank"),
        ({"ranks": (0,)}, "ranks must be"),
        ({"ranks": ()}, "ranks must be"),
        ({"query_pids": ["a", "b"]}, "integers"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    arguments = {"distances": np.eye(2), "query_pids": [0, 1], "gallery_pids": [0, 1], **change}
    with pytest.raises(ValueError, match=message):
        rank_metrics(**arguments)
    if "ranks" not in change:
        with pytest.raises(ValueError, match=message):
            rank_queries(**arguments)


def test_euclidean_equals_the_definition() -> None:
    draw = numpy_generator(5, "features")
    query, gallery = draw.normal(size=(7, 16)), draw.normal(size=(9, 16))
    expected = ((query[:, None] - gallery[None]) ** 2).sum(2)
    np.testing.assert_allclose(euclidean(torch.tensor(query), torch.tensor(gallery)), expected, rtol=1e-5)


def test_summary_by_hand() -> None:
    summary = summarise(pd.DataFrame({"rank1": [1.0, 2.0, 3.0], "map": [0.0, 0.5, 0.0]}))
    half = 4.302653 / np.sqrt(3)  # t(0.975, 2) = 4.302653
    assert summary.loc["rank1"].tolist() == pytest.approx([2, 0, 2 + half, 3])  # cut at 0
    assert summary.loc["map", "high"] == pytest.approx(1 / 6 + 4.302653 * 0.288675 / np.sqrt(3))


def test_one_trial_has_no_interval() -> None:
    assert summarise(pd.DataFrame({"rank1": [50.0]})).loc["rank1", ["low", "high"]].isna().all()


class Pixels:
    """A matcher that compares images as they are, and counts what it is asked."""

    seen = 0

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        assert len(images) == len(rates)
        self.seen += len(images)
        return images.flatten(1).float() / 255

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return images.flatten(1).float() / 255

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return euclidean(query, gallery)


def noise_reader(path: str, size: tuple[int, int]) -> np.ndarray:
    pid = path.split("_")[0]
    person = numpy_generator(0, pid).integers(40, 216, (*size, 3))
    noise = numpy_generator(0, path).integers(-40, 40, (*size, 3))
    return (person + noise).astype(np.uint8)


@pytest.fixture
def noise_people(tmp_path, monkeypatch) -> ReIDDataset:
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path))
    rows = [{"path": f"{pid}_{camid}", "pid": pid, "camid": camid} for pid in range(30) for camid in (1, 2, 3)]
    return ReIDDataset("noise", pd.DataFrame(rows), (Split((0,), tuple(range(1, 30))),), (24, 12), reader=noise_reader)


def test_evaluate_equals_one_trial_at_a_time(noise_people: ReIDDataset) -> None:
    drawn, matcher = trials(noise_people, n=3), Pixels()
    result = evaluate(matcher, drawn, progress=False)
    for trial, row in zip(drawn, result.per_trial.to_dict("records"), strict=True):
        query = torch.stack([torch.from_numpy(noise_people.read(p)).permute(2, 0, 1) for p in trial.query["path"]])
        gallery = torch.stack([torch.from_numpy(noise_people.read(p)).permute(2, 0, 1) for p in trial.gallery["path"]])
        query = degrade(query, torch.tensor(trial.query["rate"].tolist()))
        distances = euclidean(query.flatten(1) / 255, gallery.flatten(1) / 255)
        assert row == pytest.approx(
            slow_metrics(distances, trial.query["pid"].to_numpy(), trial.gallery["pid"].to_numpy())
        )
    assert result.summary.loc["rank1", "mean"] == pytest.approx(result.per_trial["rank1"].mean())
    assert result.summary.equals(summarise(result.per_trial))
    assert set(result.summary["trials"]) == {3}


def test_evaluate_embeds_an_image_once_per_rate(noise_people: ReIDDataset) -> None:
    matcher = Pixels()
    evaluate(matcher, trials(noise_people, rates=(2,), n=10), batch_size=7, progress=False)
    n_query = 29  # one image per identity and camera
    assert matcher.seen <= n_query + 2 * 29


def test_settings_together_equal_each_alone(noise_people: ReIDDataset) -> None:
    drawn = settings(noise_people, rates=(1, 4), n=2)
    assert list(drawn) == ["HR->HR", "r = 4", "MLR {2,3,4}"]
    for name, result in evaluate_settings(Pixels(), drawn, progress=False).items():
        assert result.per_trial.equals(evaluate(Pixels(), drawn[name], progress=False).per_trial)


def test_kernel_reaches_the_queries(noise_people: ReIDDataset) -> None:
    drawn = trials(noise_people, rates=(4,), n=2)
    area, lanczos = (evaluate(Pixels(), drawn, kernel=k, progress=False).per_trial for k in ("area", "lanczos"))
    assert not area.equals(lanczos)


def test_a_camera_reaches_the_queries_and_no_gallery_image(noise_people: ReIDDataset) -> None:
    class Noting(Pixels):
        def __init__(self) -> None:
            self.queries, self.gallery = [], []

        def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
            self.queries += list(zip(images, rates.tolist(), strict=True))
            return super().embed_query(images, rates)

        def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
            self.gallery += list(images)
            return super().embed_gallery(images)

    def black(images: torch.Tensor) -> torch.Tensor:
        heights.append(images.shape[2])
        return torch.zeros_like(images)

    heights, drawn, seen, plain = [], trials(noise_people, rates=(1, 2, 4), n=2), Noting(), Noting()
    evaluate(seen, drawn, camera=black, progress=False)
    evaluate(plain, drawn, progress=False)
    assert {rate for _, rate in seen.queries} == {1, 2, 4}
    assert set(heights) == {24, 12, 6}
    assert all(image.max() == 0 for image, _ in seen.queries)
    assert torch.equal(torch.stack(seen.gallery), torch.stack(plain.gallery))
    assert min(image.max() for image, _ in plain.queries) > 0


def test_a_matcher_is_not_tested_on_its_training_identities(noise_people: ReIDDataset) -> None:
    two = replace(noise_people, splits=(noise_people.splits[0], Split(tuple(range(1, 30)), (0,))))
    matcher = Pixels()
    matcher.split = 1
    with pytest.raises(ValueError, match="trained on split 1"):
        evaluate(matcher, trials(two, n=1), progress=False)


def test_integer_and_reversed_distances_are_taken() -> None:
    distances = np.array([[3, 2, 1], [1, 2, 3]])
    expected = rank_metrics(distances.astype(float), [0, 1], [0, 1, 2])
    assert rank_metrics(distances, [0, 1], [0, 1, 2]) == expected
    assert rank_metrics(distances[::-1], [1, 0], [0, 1, 2]) == expected


def test_evaluate_refuses_no_trial_and_mixed_trials(noise_people: ReIDDataset) -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        evaluate(Pixels(), [])
    mixed = [trials(noise_people, n=1)[0], trials(replace(noise_people, name="other"), n=1)[0]]
    with pytest.raises(ValueError, match="same data set"):
        evaluate(Pixels(), mixed)


def test_nan_embeddings_are_refused(noise_people: ReIDDataset) -> None:
    class Broken(Pixels):
        def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
            return super().embed_gallery(images) * float("nan")

    with pytest.raises(ValueError, match="NaN"):
        evaluate(Broken(), trials(noise_people, n=1), progress=False)


def test_only_the_interval_of_a_percentage_is_cut() -> None:
    values = [0.0, 1.0]
    low, high = t_interval(values)
    summary = summarise(pd.DataFrame(dict.fromkeys(("rank1", "map", "rank1_gain", "ssim", "psnr", "lpips"), values)))
    assert summary["low"].tolist() == [0, 0, low, low, low, low]
    assert summarise(pd.DataFrame({"rank5": [99.0, 100.0], "psnr": [99.0, 100.0]}))["high"].tolist() == [100, 99 + high]


def test_a_trial_without_a_value_does_not_count() -> None:
    summary = summarise(
        pd.DataFrame({"rank1": [10.0, 20, 60], "psnr": [20.0, 21, np.nan], "ssim": [0.5] + 2 * [np.nan]})
    )
    assert summary["trials"].tolist() == [3, 2, 1]
    assert summary.loc["psnr", ["mean", "low", "high"]].tolist() == [20.5, *t_interval([20.0, 21.0])]
    assert summary.loc["ssim", "mean"] == 0.5
    assert np.isnan(summary.loc["ssim", "low"])


def test_a_gain_is_a_paired_difference() -> None:
    one = pd.DataFrame({"rank1": [10.0, 20.0, 60.0], "map": [5.0, 5.0, 5.0]})
    two = Evaluation(one.assign(rank1=one["rank1"] - [1.0, 2.0, 3.0]), summarise(one))
    gained = with_gain(Evaluation(one, summarise(one)), two).summary.loc["rank1_gain"]
    assert (gained["mean"], gained["trials"]) == (2, 3)
    assert (gained["low"], gained["high"]) == pytest.approx(t_interval([1.0, 2.0, 3.0]))
    lost = with_gain(two, Evaluation(one, summarise(one))).summary.loc["rank1_gain"]
    assert lost["low"] == -gained["high"]  # not cut at 0
    with pytest.raises(ValueError, match="found 3 and 2 of them"):
        with_gain(two, Evaluation(one[:2], summarise(one[:2])))


def test_gains_over_two_methods_stand_side_by_side() -> None:
    own, plain, control = (
        Evaluation(one, summarise(one))
        for one in (pd.DataFrame({"rank1": values}) for values in ([10.0, 20.0], [8.0, 17.0], [11.0, 22.0]))
    )
    both = with_gain(with_gain(own, plain), control, over="control")
    assert both.per_trial["rank1_gain"].tolist() == [2, 3]
    assert both.per_trial["rank1_over_control_gain"].tolist() == [-1, -2]
    assert list(both.summary.index) == ["rank1", "rank1_gain", "rank1_over_control_gain"]


def test_junk_in_the_gallery_is_passed_over_and_junk_queries_take_no_part() -> None:
    distances = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], np.float32)
    junk = rank_metrics(distances, [7, -1], [-1, 7, 8, -1], [1, 1], [2, 2, 2, 2])
    assert junk == rank_metrics(distances[:1, 1:3], [7], [7, 8], [1], [2, 2])
    assert junk["rank1"] == 100
    assert rank_queries(distances, [7, -1], [-1, 7, 8, -1])["rank"].tolist() == [1, 0]


def test_identities_may_be_text() -> None:
    distances = np.array([[0.1, 0.2, 0.3]], np.float32)
    text = rank_metrics(distances, ["eve"], ["ann", "eve", "eve"], ["east"], ["east", "east", "west"])
    assert text == rank_metrics(distances, [7], [5, 7, 7], [1], [1, 1, 2])


@pytest.mark.parametrize(
    ("query", "gallery", "message"),
    [
        ([np.nan], [1.0, 2.0], "query_pids must be integers or text, found nan in 1 of 1 rows"),
        ([1], [1.0, np.nan], "gallery_pids must be integers or text, found nan in 1 of 2 rows, first in row 1"),
        (["a"], ["a", ""], "gallery_pids must be integers or text, found ''"),
        (["a"], [1, 2], "must be all integers or all text"),
        ([1.5], [1, 2], "found 1.5"),
    ],
)
def test_what_is_no_identity_is_refused(query: list, gallery: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_metrics(np.zeros((1, 2), np.float32), query, gallery)


def test_distances_in_another_byte_order_are_taken() -> None:
    distances = np.array([[0.1, 0.2]], np.float32)
    assert rank_metrics(distances.astype(">f4"), [1], [1, 2]) == rank_metrics(distances, [1], [1, 2])


def test_a_gallery_of_junk_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="every gallery image has the identity -1, junk by convention"):
        rank_metrics(np.zeros((1, 2), np.float32), [1], [-1, -1])
