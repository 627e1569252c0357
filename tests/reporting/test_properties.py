"""What holds for every table of results, not only for the examples of the other tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_lib.reporting import results

RUN = {"commit": "abc", "parameters": {"seed": 0}}
NUMBERS = st.integers(0, 10**8).map(lambda n: n / 10**6)  # a file has six decimals, a percent is 0 to 100
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=6)
WORDS = TEXT.filter(lambda text: text == text.strip() and text)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for results; each example writes its own data set's."""
    root = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REID_LIB_RESULTS", str(root))
        yield root


@st.composite
def tables(draw: st.DrawFn, methods: st.SearchStrategy = WORDS) -> list[dict]:
    """Rows with different keys, of a few methods, settings and seeds, some with an interval."""
    keys = st.tuples(
        st.sampled_from(["Table II", "Fig. 10"]),
        methods,
        st.sampled_from(["", "r = 2", "r = 10"]),
        st.sampled_from(["rank1", "map", "ssim"]),
        st.integers(0, 3),
    )
    rows = []
    for artefact, method, setting, metric, seed in draw(st.lists(keys, min_size=1, max_size=8, unique=True)):
        low, value, high = sorted(draw(st.lists(NUMBERS, min_size=3, max_size=3)))
        row = {"artefact": artefact, "method": method, "setting": setting, "metric": metric, "seed": seed}
        interval = {"low": low, "high": high, "trials": draw(st.integers(1, 20))} if draw(st.booleans()) else {}
        rows.append(row | {"value": value} | interval)
    return rows


EXAMPLES = settings(max_examples=25)  # each writes files, and waits for the disk
FEW = tables(st.sampled_from(["LRAR", "HR + LR"]))


def fresh(folder: Path) -> None:
    for file in folder.rglob("lrar.*"):
        file.unlink()


def written(rows: list[dict]) -> pd.DataFrame:
    results.write(rows, "demo", "synth", "lrar", RUN)
    return results.read("demo", "synth", "lrar")


@EXAMPLES
@given(tables())
def test_what_is_written_is_read(folder: Path, rows: list[dict]) -> None:
    fresh(folder)
    found = written(rows)
    key = ["artefact", "method", "setting", "metric", "seed"]
    given_ = {tuple(row[name] for name in key): row for row in rows}
    assert len(found) == len(given_)
    for row in found.to_dict("records"):
        own = given_[tuple(row[name] for name in key)]
        for name in ("value", "low", "high", "trials"):
            assert row[name] == own[name] if name in own else pd.isna(row[name])
    assert results.doubt("demo", "synth", "lrar") == ""


@EXAMPLES
@given(FEW, st.randoms(use_true_random=False))
def test_the_file_does_not_depend_on_order_or_steps(folder: Path, rows: list[dict], draw: object) -> None:
    fresh(folder)
    path = results.write(rows, "demo", "synth", "lrar", RUN)
    first, record = path.read_bytes(), path.with_suffix(".run.json").read_bytes()
    fresh(folder)
    order, groups = draw.sample(rows, len(rows)), set()
    while order:
        count = draw.randint(1, len(order))
        some, order = order[:count], order[count:]
        results.write(some, "demo", "synth", "lrar", RUN, groups)
        groups |= results.groups(some, "synth")
    assert path.read_bytes() == first
    assert path.with_suffix(".run.json").read_bytes() == record
    results.write(rows, "demo", "synth", "lrar", RUN)  # a run that is repeated
    assert path.read_bytes() == first


@EXAMPLES
@given(FEW, FEW)
def test_a_second_run_replaces_what_it_measures_and_nothing_else(
    folder: Path, old: list[dict], new: list[dict]
) -> None:
    fresh(folder)
    before = written(old)
    after = written(new)
    measured = results.groups(new, "synth")
    kept = [group not in measured for group in results.group_of_each(before)]
    assert len(after) == sum(kept) + len(new)
    columns = [*results.KEY, "value"]
    there = set(after[columns].itertuples(index=False, name=None))
    assert set(before[kept][columns].itertuples(index=False, name=None)) <= there
    covered = [results.read_run("demo", "synth", "lrar"), *results.read_run("demo", "synth", "lrar")["earlier"]]
    assert sum(len(run["covers"]) for run in covered) == len(results.groups(after))


@EXAMPLES
@given(tables(), st.data())
def test_a_byte_that_differs_is_told(folder: Path, rows: list[dict], data: st.DataObject) -> None:
    fresh(folder)
    path = results.write(rows, "demo", "synth", "lrar", RUN)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert "is not what its run.json was written for" in results.doubt("demo", "synth", "lrar")


@EXAMPLES
@given(FEW, st.randoms(use_true_random=False))
def test_merged_seeds_are_means_within_their_interval(folder: Path, rows: list[dict], draw: object) -> None:
    fresh(folder)
    read = written(rows)
    merged = results.merge_seeds(read)
    pd.testing.assert_frame_equal(results.merge_seeds(merged), merged)
    key = [name for name in results.KEY if name != "seed"]
    assert not merged.duplicated(key).any()
    means = read.groupby(key)["value"].mean()
    for row in merged.to_dict("records"):
        assert row["value"] == pytest.approx(means[tuple(row[name] for name in key)])
        assert pd.isna(row["low"]) or row["low"] <= row["value"] + 1e-9 <= row["high"] + 2e-9
        if row["metric"] in ("rank1", "map") and not pd.isna(row["low"]):
            assert row["low"] >= 0
            assert row["high"] <= 100
    assert merged["seeds"].sum() == len(read)
    shuffled = results.merge_seeds(read.sample(frac=1, random_state=draw.randint(0, 99)))
    both = [frame.sort_values(key, ignore_index=True) for frame in (merged, shuffled)]
    np.testing.assert_allclose(*(frame["value"] for frame in both))
    np.testing.assert_allclose(*(frame["low"].astype(float) for frame in both), atol=1e-9)
