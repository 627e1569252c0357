"""How cost grows with the number of images: CPU seconds and memory of one thread, and notebooks side by side."""

import contextlib
import io
import math
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from PIL import Image

from benchmarks import Measurement, at_most, peak_memory, seconds
from benchmarks.clustering import people
from benchmarks.records import keep, machine, shown
from reid_lib.datasets.build import build
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.evaluation.clustering import dbscan, jaccard_distance
from reid_lib.evaluation.features import FeatureBank
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.evaluation.ranking import rank_metrics
from reid_lib.reporting import figures, results
from reid_lib.reproduce import reproduce
from reid_lib.seeds import numpy_generator, torch_generator
from reid_lib.training.run import initialise
from reid_lib.training.starts import build_backbone

FILE = "benchmarks_growth"  # in the results folder
SIZES = (1000, 3000, 10_000, 30_000, 100_000)
LONGEST = 120.0  # CPU seconds that the largest size may take, about
SHARE = 0.4  # of the free memory that it may take
FILES = 1000  # different JPEGs; more images than these are links to them
SIZE = (128, 64)
NOTEBOOKS = ("00_start_here", "01_data_and_protocol")

Work = Callable[[], object]


class Curve(NamedTuple):
    """A cost that grows: ``prepare(n, folder)`` makes the input of n images; no faster than n to the ``power``."""

    prepare: Callable[[int, Path], Work]
    power: int


class Point(NamedTuple):
    """What n images cost.

    Attributes:
        images: n.
        seconds: of CPU.
        memory: bytes above the input; the output is among them.
        held: bytes with the input, above what the process needs for its libraries.
    """

    images: int
    seconds: float
    memory: float
    held: float


def growth() -> list[Measurement]:
    """Curves of five costs, from 1,000 images to as many as fit, into a CSV and a figure: about 20 minutes."""
    found = {}
    for name in CURVES:
        found[name] = measured(name)
        keep(results.results_root() / f"{FILE}.csv", rows(name, found[name]))
    table = pd.concat([rows(name, points) for name, points in found.items()])
    figures.save(drawn(table), results.results_root(), FILE)
    slopes = [at_most_power(name, points) for name, points in found.items()]
    return [*slopes, *side_by_side()]


def rows(name: str, points: Sequence[Point]) -> pd.DataFrame:
    """Return a row for each size of a curve."""
    return pd.DataFrame(
        {
            "benchmark": name,
            "images": point.images,
            "cpu_seconds": shown(point.seconds),
            "memory_mb": "" if math.isnan(point.memory) else shown(point.memory / 1e6),
            **machine(),
            "threads": 1,
        }
        for point in points
    )


def at_most_power(name: str, points: Sequence[Point]) -> Measurement:
    """Return the line of the power of n with which the seconds grow from the last size but one to the last."""
    before, last = points[-2:]
    power = math.log(last.seconds / before.seconds) / math.log(last.images / before.images)
    detail = f"{last.images:,} images: {last.seconds:.1f} s, {last.memory / 1e6:.0f} MB"
    return at_most(f"{name}: power of n with which its CPU grows", power, "", CURVES[name].power + 0.2, detail)


def measured(name: str) -> list[Point]:
    """Measure a curve, each size in a process of its own: a peak of memory is seen once in a process."""
    points: list[Point] = []
    for n in SIZES:
        if points and not fits(points[-1], n, CURVES[name].power):
            break
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            points.append(fresh.submit(point, name, n).result())
    return points


def fits(last: Point, n: int, power: int) -> bool:
    """Whether n images will take neither too long nor too much memory, if cost grows as it should."""
    more = (n / last.images) ** power
    too_much = more * last.held > SHARE * _free_memory()  # NaN, where it is not known, is not
    return more * last.seconds < LONGEST and not too_much


def point(name: str, n: int) -> Point:
    """Measure n images, after a few that load libraries."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stderr(io.StringIO()):  # the progress bars
        os.environ["REID_LIB_CACHE"] = temporary  # this process's own
        _measure(name, 100, Path(temporary, "few"))
        base = _process_memory()
        taken, memory = _measure(name, n, Path(temporary, "all"))
        return Point(n, taken, memory, _process_memory() - base)


def _measure(name: str, n: int, folder: Path) -> tuple[float, float]:
    """CPU seconds and bytes above the input."""
    folder.mkdir()
    work, taken = CURVES[name].prepare(n, folder), []
    memory = peak_memory(lambda: taken.append(seconds(work)))
    return taken[0], memory


def _ranking(n: int, folder: Path) -> Work:
    distances = torch.empty(n, n).uniform_(generator=torch_generator(0, "growth"))
    draw = numpy_generator(0, "growth")
    ids = [draw.integers(0, most, n) for most in (max(1, n // 20), 6) for _ in range(2)]
    return lambda: rank_metrics(distances, *ids)


def _clustering(n: int, folder: Path) -> Work:
    features, _ = people(n)
    return lambda: dbscan(jaccard_distance(features))


def _store(n: int, folder: Path) -> Work:
    dataset = _jpegs(n, folder)
    return lambda: open_store(dataset)


def _mlr_set(n: int, folder: Path) -> Work:
    dataset = _jpegs(n, folder)
    return lambda: build(dataset, folder / "mlr", progress=False)


def _features(n: int, folder: Path) -> Work:
    dataset, cpu = _jpegs(n, folder), torch.device("cpu")
    network = initialise(lambda: build_backbone("osnet_x0_25", 0, "none", SIZE), 0, cpu).eval()
    bank = FeatureBank(FeatureMatcher(network, SIZE, cpu), dataset, progress=False)
    open_store(dataset)
    return lambda: bank(np.arange(n))


CURVES = {
    "ranking n x n": Curve(_ranking, 2),
    "Jaccard distance and DBSCAN": Curve(_clustering, 2),
    "image store from JPEGs": Curve(_store, 1),
    "MLR set (data build)": Curve(_mlr_set, 1),
    "features of OSNet x0.25": Curve(_features, 1),
}


def _jpegs(n: int, folder: Path) -> ReIDDataset:
    """A set of n JPEGs, four of each person, by two cameras; half of the people are for training."""
    draw = numpy_generator(0, "growth, images")
    for number in range(n):
        file = folder / f"{number:06d}.jpg"
        if number < FILES:
            coarse = Image.fromarray(draw.integers(0, 256, (16, 8, 3), np.uint8))
            coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(file, quality=90)
        else:
            os.link(folder / f"{number % FILES:06d}.jpg", file)
    numbers = np.arange(n)
    table = pd.DataFrame({"path": [f"{i:06d}.jpg" for i in numbers], "pid": numbers // 4, "camid": 1 + numbers % 2})
    pids = range(-(-n // 4))
    splits = (Split(tuple(pids[::2]), tuple(pids[1::2])),)
    return ReIDDataset("growth", table, splits, SIZE, folder)


def _free_memory() -> float:
    """Bytes; infinite where not on Linux."""
    there = Path("/proc/meminfo")
    return 1024 * int(there.read_text().split("MemAvailable:")[1].split()[0]) if there.exists() else math.inf


def _process_memory() -> float:
    """The peak of this process in bytes; NaN where not on Linux."""
    there = Path("/proc/self/status")
    return 1024 * int(there.read_text().split("VmHWM:")[1].split()[0]) if there.exists() else math.nan


def drawn(table: pd.DataFrame) -> Figure:
    """CPU seconds and memory of every curve against the number of images, with lines that show what n and n^2 are."""
    panels = {"cpu_seconds": "CPU time of one thread (s)", "memory_mb": "memory above the input (MB)"}
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(9.6, 4.8), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True)
        for axis, (column, label) in zip(axes, panels.items(), strict=True):
            for number, (name, own) in enumerate(table.groupby("benchmark", sort=False)):
                values = pd.to_numeric(own[column], errors="coerce")
                axis.plot(own["images"], values, label=name, **figures.look_of(number))
            axis.set(xlabel="number of images n", ylabel=label, xscale="log", yscale="log")
            axis.set_xticks(SIZES, [f"{n:,}" for n in SIZES])
            axis.xaxis.set_minor_locator(NullLocator())
            _guides(axis)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _guides(axis) -> None:
    """Grey lines of slope 1 and 2 from the lower left corner, inside the limits that the curves have given."""
    low, high = axis.get_ylim()
    n = np.array(SIZES[:: len(SIZES) - 1], float)
    for power, name in ((1, "n"), (2, "n²")):
        end = min(n[1], n[0] * (high / low) ** (1 / power))
        axis.plot([n[0], end], [low, low * (end / n[0]) ** power], color="grey", linestyle=":", linewidth=1, zorder=0)
        axis.annotate(name, (end, low * (end / n[0]) ** power), color="dimgrey", ha="right", va="bottom")
    axis.set_ylim(low, high)


def side_by_side() -> list[Measurement]:
    """`reid-lib reproduce` of two short notebooks under profile smoke, one at a time and both at once: wall clock."""
    one, two = (_reproduced(count) for count in (1, 2))
    what = f"reproduce {' and '.join(NOTEBOOKS)}, smoke"
    return [at_most(f"{what}: wall clock of 2 jobs, of 1 job", 100 * two / one, "%", 80, f"{two:.1f} of {one:.1f} s")]


def _reproduced(count: int) -> float:
    with tempfile.TemporaryDirectory() as temporary, mpl.rc_context():
        root = Path(temporary)
        (root / "notebooks").mkdir()
        for name in NOTEBOOKS:
            shutil.copy(results.project_root() / "notebooks" / f"{name}.ipynb", root / "notebooks")
        own = {"REID_LIB_RESULTS": str(root / "results"), "REID_LIB_CACHE": str(root / "cache")}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            run = partial(reproduce, root, profile="smoke", count=count, say=lambda line: None)
            return seconds(run, clock=time.perf_counter)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
