"""The curves of cost, at a few images; the sizes that are measured take too long for a test."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import growth
from reid_lib.reporting import results
from reid_lib.reporting.alt import alt_text

MB = 1e6


@pytest.mark.parametrize("name", growth.CURVES)
def test_every_curve_has_its_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "input"
    folder.mkdir()
    assert growth.CURVES[name].prepare(80, folder)() is not None


def test_images_beyond_the_first_are_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "FILES", 6)
    dataset = growth._jpegs(16, tmp_path)
    assert len(dataset.part("train")) == len(dataset.part("test")) == 8
    assert np.array_equal(dataset.read("000001.jpg"), dataset.read("000013.jpg"))
    assert not np.array_equal(dataset.read("000001.jpg"), dataset.read("000002.jpg"))


def test_a_curve_ends_where_time_or_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_free_memory", lambda: 1000 * MB)
    last = growth.Point(1000, seconds=1.0, memory=10 * MB, held=20 * MB)
    assert growth.fits(last, 3000, power=2)
    assert not growth.fits(last._replace(seconds=14.0), 3000, power=2)
    assert growth.fits(last._replace(seconds=14.0), 3000, power=1)
    assert not growth.fits(last._replace(held=50 * MB), 3000, power=2)
    assert growth.fits(last._replace(held=float("nan")), 3000, power=2)  # where it is not known


def test_the_power_is_that_of_the_last_two_sizes() -> None:
    points = [growth.Point(n, n**2 / 1e6, MB, MB) for n in (1000, 3000)]
    quadratic = growth.at_most_power("ranking n x n", [growth.Point(100, 5, MB, MB), *points])
    assert quadratic.value == pytest.approx(2)
    assert quadratic.kept
    assert not growth.at_most_power("image store from JPEGs", points).kept
    assert quadratic.detail == "3,000 images: 9.0 s, 1 MB"


@pytest.fixture
def table() -> pd.DataFrame:
    points = [growth.Point(n, n / 1000, n * 100.0, 1) for n in (1000, 3000, 10_000)]
    return pd.concat([growth.rows(name, points) for name in growth.CURVES])


def test_rows_have_sizes_costs_and_the_machine(table: pd.DataFrame) -> None:
    assert len(table) == 3 * len(growth.CURVES)
    first = table.iloc[1]
    assert (first["images"], first["cpu_seconds"], first["memory_mb"], first["threads"]) == (3000, "3", "0.3", 1)
    unknown = growth.rows("it", [growth.Point(1000, 1.0, float("nan"), float("nan"))])
    assert unknown["memory_mb"].tolist() == [""]


def test_the_figure_has_labels_units_and_looks_that_differ(table: pd.DataFrame) -> None:
    figure = growth.drawn(table)
    for axis in figure.axes:
        assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
        curves = [line for line in axis.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in curves] == list(growth.CURVES)
        assert len({line.get_color() for line in curves}) == len({line.get_marker() for line in curves}) == len(curves)
        assert [text.get_text() for text in axis.texts] == ["n", "n²"]
    assert "CPU time of one thread (s)" in alt_text(figure)
    assert "number of images n" in alt_text(figure)


def test_the_committed_figure_stands_beside_its_numbers_and_says_in_words_what_it_shows() -> None:
    root = results.project_root()
    kept = pd.read_csv(root / "results" / f"{growth.FILE}.csv")
    assert set(kept["benchmark"]) == set(growth.CURVES)
    sizes = kept.groupby("benchmark")["images"].agg(["min", "count"])
    assert (sizes["min"] == 1000).all()
    assert (sizes["count"] > 1).all()
    assert (root / "results" / f"{growth.FILE}.png").is_file()
    ordered = pd.concat([kept[kept["benchmark"] == name] for name in growth.CURVES])
    shown = f"![{alt_text(growth.drawn(ordered))}](../results/{growth.FILE}.png)"
    assert shown in (root / "docs" / "usage.md").read_text(encoding="utf-8")
