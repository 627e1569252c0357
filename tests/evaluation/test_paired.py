"""What all statistics of paired features share: baselines, kinds of input, devices, and the refusal of bad features."""

import numpy as np
import pytest
import torch

from reid_lib.evaluation.cca import (
    canonical_correlation,
    held_out_correlation,
    released_correlation,
)
from reid_lib.evaluation.directions import (
    centre_distances,
    cosine_of_halves,
    grouped_pearson,
    resolution_direction,
)
from reid_lib.evaluation.paired import baselines, exchanged_resolutions, random_features, shuffled_pairs
from reid_lib.seeds import numpy_generator


def people(
    identities: int = 40, images: int = 4, width: int = 30, shift: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LR, HR and pids: identity, image noise common to both, a common shift, and a difference of each image's own."""
    draw = numpy_generator(seed, "test", "people")
    pids = np.repeat(np.arange(identities) + 10, images)
    hr = draw.normal(size=(identities, width))[pids - 10] + draw.normal(size=(len(pids), width)) / 2
    lr = hr - shift * draw.normal(size=width) + draw.normal(size=hr.shape)
    return lr, hr, pids


# ---- baselines -------------------------------------------------------------------------------------------------------


def test_baselines_are_seeded_and_keep_what_they_say() -> None:
    lr, hr, pids = people(shift=3)
    first, again, other = baselines(lr, hr, pids, 1), baselines(lr, hr, pids, 1), baselines(lr, hr, pids, 2)
    assert list(first) == ["features", "shuffled pairs", "random features", "exchanged resolutions"]
    for name in first:
        assert torch.equal(first[name][1], again[name][1])
        assert torch.equal(first[name][1], other[name][1]) == (name == "features")
    assert torch.equal(first["features"][0], torch.from_numpy(lr))
    shuffled_lr, shuffled_hr = first["shuffled pairs"]
    assert torch.equal(shuffled_lr, torch.from_numpy(lr))
    assert sorted(map(tuple, shuffled_hr.tolist())) == sorted(map(tuple, hr.tolist()))
    exchanged_lr, exchanged_hr = (x.numpy() for x in first["exchanged resolutions"])
    for pid in set(pids):
        rows = pids == pid
        kept = np.array_equal(exchanged_lr[rows], lr[rows]) and np.array_equal(exchanged_hr[rows], hr[rows])
        swapped = np.array_equal(exchanged_lr[rows], hr[rows]) and np.array_equal(exchanged_hr[rows], lr[rows])
        assert kept != swapped
    scores = {name: canonical_correlation(*pair, pca=5).mean for name, pair in first.items()}
    assert scores["features"] > scores["shuffled pairs"]
    assert scores["features"] > scores["random features"]


def test_the_order_of_an_identitys_images_matters_to_cca_alone() -> None:
    """The scripts pair an identity's images as two folders happen to list them."""
    lr, hr, pids = people(identities=60, images=4, width=10)
    draw = numpy_generator(0, "test", "listing")
    other = hr[np.concatenate([draw.permutation(np.flatnonzero(pids == pid)) for pid in np.unique(pids)])]
    torch.testing.assert_close(grouped_pearson(lr, other, pids).values, grouped_pearson(lr, hr, pids).values)
    torch.testing.assert_close(resolution_direction(lr, other, pids), resolution_direction(lr, hr, pids))
    paired, listed, shuffled = (canonical_correlation(*x).mean for x in ((lr, hr), (lr, other), shuffled_pairs(lr, hr)))
    assert shuffled + 0.05 < listed < paired - 0.05


def test_inputs_are_left_as_they_are_and_any_number_type_is_taken() -> None:
    lr, hr, pids = people()
    before = lr.copy(), hr.copy()
    expected = canonical_correlation(lr, hr).values
    baselines(lr, hr, pids)
    assert np.array_equal(lr, before[0])
    assert np.array_equal(hr, before[1])
    read_only = lr.astype(np.float32)
    read_only.setflags(write=False)
    with_graph = torch.tensor(hr, dtype=torch.float32, requires_grad=True)
    found = canonical_correlation(read_only, with_graph).values
    assert found.dtype == torch.float64
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_gives_the_same_numbers() -> None:
    lr, hr, pids = people()
    on_gpu = torch.from_numpy(lr).cuda(), torch.from_numpy(hr).cuda()
    assert cosine_of_halves(*on_gpu, pids) == pytest.approx(cosine_of_halves(lr, hr, pids))
    torch.testing.assert_close(grouped_pearson(*on_gpu, pids).values.cpu(), grouped_pearson(lr, hr, pids).values)
    torch.testing.assert_close(canonical_correlation(*on_gpu).values.cpu(), canonical_correlation(lr, hr).values)
    torch.testing.assert_close(released_correlation(*on_gpu).cpu(), released_correlation(lr, hr))
    torch.testing.assert_close(random_features(*on_gpu)[0].cpu(), random_features(lr, hr)[0])
    assert exchanged_resolutions(*on_gpu, pids)[0].is_cuda


# ---- bad inputs ------------------------------------------------------------------------------------------------------

LR, HR, PIDS = people(identities=10, images=3, width=6)
WITH_PIDS = [
    resolution_direction,
    cosine_of_halves,
    grouped_pearson,
    centre_distances,
    exchanged_resolutions,
    baselines,
]
WITHOUT_PIDS = [canonical_correlation, released_correlation, shuffled_pairs, random_features]


def analyses() -> list:
    plain = [pytest.param(lambda lr, hr, f=f: f(lr, hr), id=f.__name__) for f in WITHOUT_PIDS]
    with_pids = [pytest.param(lambda lr, hr, f=f: f(lr, hr, PIDS[: len(lr)]), id=f.__name__) for f in WITH_PIDS]
    held_out = pytest.param(lambda lr, hr: held_out_correlation(LR, HR, lr, hr), id="held_out_correlation")
    return [*plain, *with_pids, held_out]


@pytest.mark.parametrize("analysis", analyses())
def test_bad_features(analysis) -> None:
    for bad in (np.nan, np.inf):
        broken = HR.copy()
        broken[2, 1] = bad
        with pytest.raises(ValueError, match="HR features must be finite, found 1 NaN or infinite of 180"):
            analysis(LR, broken)
        with pytest.raises(ValueError, match="LR features must be finite"):
            analysis(torch.from_numpy(broken), HR)
    with pytest.raises(ValueError, match="LR features and HR features must be paired row by row, found 30 and 29 rows"):
        analysis(LR, HR[:29])
    with pytest.raises(ValueError, match=r"must be \(rows, width\), at least 1 each, found shape \(30,\)"):
        analysis(LR[:, 0], HR)
    with pytest.raises(ValueError, match=r"at least 1 each, found shape \(0, 6\)"):
        analysis(LR[:0], HR[:0])
    with pytest.raises(ValueError, match="LR features must be numbers"):
        analysis(LR.astype(str), HR)


@pytest.mark.parametrize("analysis", [*WITH_PIDS, lambda lr, hr, pids: random_features(lr, hr)])
def test_width_mismatch(analysis) -> None:
    with pytest.raises(ValueError, match="must have the same width, found 6 and 5: take both from one model"):
        analysis(LR, HR[:, :5], PIDS)


@pytest.mark.parametrize("analysis", WITH_PIDS)
def test_pids_of_another_length(analysis) -> None:
    with pytest.raises(ValueError, match=r"one per row of the features, expected shape \(30,\), found \(29,\)"):
        analysis(LR, HR, PIDS[:29])


@pytest.mark.parametrize(
    "analysis", [resolution_direction, cosine_of_halves, grouped_pearson, exchanged_resolutions, baselines]
)
def test_one_identity(analysis) -> None:
    with pytest.raises(ValueError, match=r"expected at least two identities.*found 1"):
        analysis(LR, HR, np.zeros(30, int))


def test_too_few_rows_for_random_features() -> None:
    with pytest.raises(ValueError, match="expected at least two rows to take standard deviations of, found 1"):
        random_features(LR[:1], HR[:1])
