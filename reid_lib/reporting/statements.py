"""Numbers in a paper's prose, each with how its own tables give it: what a paper's file says its statements in.

`audit` judges them, on published rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

import pandas as pd

from reid_lib.reporting.results import ResultsError

CUHK, VIPER, MARKET, DUKE = "MLR-CUHK03", "MLR-VIPeR", "MLR-Market-1501", "MLR-DukeMTMC-reID"
CAVIAR, MSMT = "CAVIAR", "MLR-MSMT17"
FIVE_SETS = (CUHK, VIPER, CAVIAR, MARKET, DUKE)


@dataclass(frozen=True)
class Statement:
    """A number in a paper's prose and how its own tables give it.

    `stated` is what is printed; from `low` to `high` the computed number (same unit) agrees with it as far as
    the words and the tables' rounding allow; `note` says what it is, where that is not plain.
    """

    paper: str
    source: str
    text: str
    stated: str
    compute: Callable[["Published"], float]
    low: float
    high: float
    note: str = ""


class Published:
    """One paper's published cells: `cell(artefact, method, dataset, metric="rank1", setting="")` -> float."""

    def __init__(self, rows: pd.DataFrame, paper: str) -> None:
        self.rows = rows[rows.paper == paper]

    def __call__(self, artefact: str, method: str, dataset: str, metric: str = "rank1", setting: str = "") -> float:
        rows = self.rows
        keep = (rows.artefact == artefact) & (rows.method == method) & (rows.dataset == dataset)
        found = rows[keep & (rows.metric == metric) & (rows.setting == setting)].value
        if len(found) != 1:
            raise ResultsError(
                f"Expected one published cell for {artefact}, {method}, {dataset}, {metric}, {setting!r}; "
                f"found {len(found)}: correct the audit."
            )
        return float(found.iloc[0])

    def others(self, artefact: str, dataset: str, metric: str, but: tuple[str, ...]) -> pd.Series:
        """Values of all methods of a table but those named, indexed by method."""
        rows = self.rows
        keep = (rows.artefact == artefact) & (rows.dataset == dataset) & (rows.metric == metric)
        return rows[keep & ~rows.method.isin(but)].set_index("method").value


Compute = Callable[[Published], float]


def gain(table: str, dataset: str, method: str, over: str, metric: str = "rank1", setting: str = "") -> Compute:
    """How much higher the method is than the one it is compared with."""
    return lambda cell: cell(table, method, dataset, metric, setting) - cell(table, over, dataset, metric, setting)


def gains(pick: Callable, table: str, datasets: tuple[str, ...], method: str, over: str) -> Compute:
    """The smallest (pick=min) or largest gain over the data sets."""
    return lambda cell: pick(gain(table, name, method, over)(cell) for name in datasets)


def least_gain(
    table: str,
    datasets: tuple[str, ...],
    method: str,
    others: tuple[str, ...],
    metrics: tuple[str, ...] = ("rank1", "rank5", "rank10"),
    setting: str = "",
) -> Compute:
    """The smallest of the method's gains over the others, wherever both are printed (of `datasets` and `metrics`)."""

    def compute(cell: Published) -> float:
        found = []
        for dataset, metric in ((d, m) for d in datasets for m in metrics):
            rivals = cell.others(table, dataset, metric, (method,))
            best = rivals[rivals.index.isin(others)].max()
            if not isnan(best):
                found.append(cell(table, method, dataset, metric, setting) - best)
        return min(found)

    return compute


def positive(paper: str, source: str, text: str, compute: Compute, note: str = "") -> Statement:
    """A number that must be above 0, to the 0.1 to which tables are printed: a tie does not agree."""
    return Statement(paper, source, text, "> 0", compute, 0.05, float("inf"), note)


def exact(paper: str, source: str, text: str, stated: float, compute: Compute, note: str = "") -> Statement:
    """A number that the tables must give to 0.05, as far as their rounding goes."""
    return Statement(paper, source, text, f"{stated:g}", compute, stated - 0.051, stated + 0.051, note)
