"""Do I get your numbers? The measured rows and verdicts of one results folder against those of another.

A seed is compared with the same seed (decision RUN-16): of each number those seeds count that both sides have, merged
on each side. Rows without an interval on both sides have no test and do not count, and neither do rows of time, nor
what one run measured and both sides hold.

On another machine a training with the same seed ends like one with another seed. Two numbers over n seeds therefore
agree when the 95 % interval of the difference of two trainings contains 0 (decision RUN-17), which is when they differ
by no more than

    sqrt(a^2 + b^2 + t^2 s^2 (1/n + 1/n))

a and b are the half widths over trials that face each other; over n seeds, which are all tested on the same trials, the
root of their mean square. s is the standard deviation between trainings: the root of the mean variance over seeds, of
all rows of the same profile, data set, paper and metric that have several seeds, on both sides together; what one run
measured and both hold counts there, with the numbers that are asked about. t is Student's, with the degrees of freedom
of these variances. The interval of merged seeds, which tables show, has the seeds in it already and is not used here.
Trials are mostly the same on both sides, so a and b err on the wide side. Where no row has several seeds s is not
known, and a and b stand alone.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from reid_lib.reporting import claims, mixed, results, tables, verdicts
from reid_lib.reporting.claims import Claim

ALL = "*/*"  # profile and data set
NEEDED = 85.0  # percent of the compared rows that must agree; decision RUN-18
PLACE = ["profile", "folder_dataset", "dataset", "paper", "artefact", "method", "setting", "metric"]
_ROW = [*PLACE, "seed"]
_VALUED = [*_ROW, "value"]
_ALIKE = ["profile", "folder_dataset", "paper", "metric"]  # rows whose trainings differ alike
_SET_UP = {
    "CPU": ("hardware", "cpu"),
    "GPU": ("hardware", "gpu"),
    "torch": ("versions", "torch"),
    "precision": ("parameters", "precision"),
}  # where a run.json says it
_TIME = re.compile(r"second|minute|hour|throughput")


@dataclass(frozen=True)
class Agreement:
    """What two results folders say, side by side.

    Attributes:
        compared: rows that both have, with an interval on one side at least: PLACE, `here` and `there` as text, agrees,
            exact (the same number), and `deviation`: the standard deviation between trainings, 0 where
            nothing was trained, NaN where not known.
        without_interval: how many rows both have without one.
        same_run: how many rows both have from one and the same run.
        only_here, only_there: PLACE of rows that only one has, or that both have with other seeds.
        verdicts: profile, data set, paper, artefact, claim, here, there, changed, opposite (holds and
            fails): one line for each claim whose verdict
            is not the same word.
        set_up: in words, how what the compared rows were measured on differs; "" where they do not, or it is not known.
    """

    compared: pd.DataFrame
    without_interval: int
    same_run: int
    only_here: pd.DataFrame
    only_there: pd.DataFrame
    verdicts: pd.DataFrame
    set_up: str = ""

    @property
    def percent(self) -> float:
        """The share of compared rows that agree, in percent; 0 when none can be compared."""
        return 100 * float(self.compared.agrees.mean()) if len(self.compared) else 0.0

    @property
    def agrees(self) -> bool:
        """Whether no verdict turned into its opposite and at least NEEDED percent of the rows agree."""
        return self.percent >= NEEDED and not self.verdicts.opposite.any()

    def tables(self) -> dict[str, pd.DataFrame]:
        """What a reader should look at, by title; what is empty is left out."""
        shown = [name for name in [*PLACE, "here", "there"] if name not in ("profile", "folder_dataset")]
        differing = self.compared.loc[~self.compared.agrees, shown]
        changed = self.verdicts[self.verdicts.changed].drop(columns=["changed", "opposite"])
        other = self.verdicts[~self.verdicts.changed].drop(columns=["changed", "opposite"])
        found = {
            "Rows that do not agree": differing.rename(columns={"dataset": "data set"}),
            "Verdicts that changed": changed,
            "Verdicts that cannot be compared, because one side has fewer seeds or rows": other,
        }
        for side, rows in (("here", self.only_here), ("there", self.only_there)):
            counted = rows.groupby(["profile", "folder_dataset", "paper", "artefact"], sort=True).size()
            found[f"Rows only {side}"] = (
                counted.rename("rows").reset_index().rename(columns={"folder_dataset": "data set"})
            )
        return {title: table for title, table in found.items() if len(table)}

    def notes(self) -> list[str]:
        """What a reader needs to judge the counts, in sentences: how far trainings differ, and what they ran on."""
        found = []
        rank1 = self.compared[(self.compared.metric == "rank1") & (self.compared.deviation > 0)].deviation
        if len(rank1):
            sizes = " to ".join(dict.fromkeys(f"{size:.1f}" for size in (rank1.min(), rank1.max())))
            found.append(
                f"A training's standard deviation in Rank-1 is taken to be {sizes}, from rows of several seeds."
            )
        unknown = int(self.compared.deviation.isna().sum())
        if unknown:
            found.append(
                f"For {unknown} rows no side has several seeds, which would tell how far trainings differ: they are "
                "compared over trials alone."
            )
        return [*found, self.set_up] if self.set_up else found

    def summary(self) -> str:
        """One paragraph in words."""
        agree, exact = int(self.compared.agrees.sum()), int(self.compared.exact.sum())
        said = "The results agree." if self.agrees else "The results do not agree."
        sentences = [
            f"{agree} of {len(self.compared)} rows agree ({self.percent:.1f} %, needed: {NEEDED:g} %), {exact} "
            f"exactly; {self.without_interval} more have no interval, {self.same_run} come from the same run on "
            f"both sides, and do not count; only here: {len(self.only_here)}, only there: {len(self.only_there)}.",
            *self.notes(),
            f"Verdicts that changed: {int(self.verdicts.changed.sum())}, to the opposite: "
            f"{int(self.verdicts.opposite.sum())}.",
            said if len(self.compared) else "Nothing was measured twice.",
        ]
        return " ".join(sentences)


def compare(here: Path, there: Path, entries: Sequence[Claim], where: str = ALL) -> Agreement:
    """Compare two results folders, or the part `where` of them ("demo/synth").

    Raises ResultsError when one holds no results there, or a damaged file.
    """
    one, two = _rows(here, where), _rows(there, where)
    pairs = one[_ROW].merge(two[_ROW])
    same = one[one.run != ""].merge(two, on=[*_ROW, "run", "value", "low", "high"])
    again = _left_over(pairs, same, _ROW)
    both = _merged(one.merge(again)).merge(_merged(two.merge(again)), on=PLACE, suffixes=("_here", "_there"))
    # seed 0, measured again beside seeds 1 and 2 of there, would make its own difference look like chance
    between = _between_trainings([two, _left_over(one, same, _VALUED)])
    return Agreement(
        _compared(both.merge(between, on=_ALIKE, how="left")),
        int((both.low_here.isna() & both.low_there.isna()).sum()),
        len(_left_over(pairs, again)),
        _left_over(one, pairs),
        _left_over(two, pairs),
        _verdicts(here, there, entries, _folders(one) & _folders(two)),
        _set_up(one.merge(again), two.merge(again)),
    )


def _rows(root: Path, where: str) -> pd.DataFrame:
    keys = [key for key in results.available(root, where) if key[0] in verdicts.SHOWN]
    if not keys:
        raise results.ResultsError(
            f"{root if where == ALL else root / where} holds no results of the profiles "
            f"{' and '.join(verdicts.SHOWN)}: name a folder like `results`, with demo/<data set>/<paper>.csv in it."
        )
    rows = pd.concat([_rows_of(root.joinpath(*key).with_suffix(".csv")) for key in keys], ignore_index=True)
    return rows[~rows.metric.str.contains(_TIME)]


def _rows_of(path: Path) -> pd.DataFrame:
    """The rows of one file, with `folder_dataset` and, as text, the `run` that measured each ("": not known)."""
    rows = results.read_csv(path, results.COLUMNS).assign(folder_dataset=path.parent.name)
    try:
        runs = mixed.runs_of(rows, results.record(path.with_suffix(".run.json")))
    except results.ResultsError:
        return rows.assign(run="")
    groups = rows.groupby(["artefact", "dataset", "method", "seed"], sort=False, dropna=False)
    parts = [part.assign(run=_text(runs.get(*results.groups(part)))) for _, part in groups]
    return pd.concat(parts) if parts else rows.assign(run="")


def _text(run: Mapping | None) -> str:
    added = ("covers", "csv_sha256", "earlier")  # by `results.write`: they change when another run writes the file
    return json.dumps({k: v for k, v in run.items() if k not in added}, sort_keys=True) if run else ""


def _merged(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each number over its seeds: PLACE, value, low, high, seeds, and `below` and `above`.

    These are half widths over trials. All seeds are tested on the same trials, so over seeds they are the root of the
    mean square, not divided by the number of seeds.
    """
    parts = [
        results.merge_seeds(part.drop(columns=["folder_dataset", "run"])).assign(folder_dataset=name)
        for name, part in rows.groupby("folder_dataset", sort=True)
    ]
    columns = [*PLACE, "value", "low", "high", "seeds"]
    merged = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    squares = rows.assign(below=(rows.value - rows.low) ** 2, above=(rows.high - rows.value) ** 2)
    return merged.merge(squares.groupby(PLACE)[["below", "above"]].mean().pow(0.5).reset_index(), on=PLACE)


def _between_trainings(sides: Sequence[pd.DataFrame]) -> pd.DataFrame:  # decision RUN-17
    """How far trainings differ in each metric, pooled over sides: _ALIKE, `deviation`, its degrees of `freedom`."""
    found = []
    for side in sides:
        number = side[side.seed.notna()].groupby(PLACE).value.agg(["var", "size"]).reset_index()
        found.append(number[number["size"] > 1].assign(freedom=number["size"] - 1))
    pooled = pd.concat(found).groupby(_ALIKE).agg(deviation=("var", "mean"), freedom=("freedom", "sum")).reset_index()
    return pooled.assign(deviation=pooled.deviation.astype(float) ** 0.5)


def _set_up(here: pd.DataFrame, there: pd.DataFrame) -> str:
    """One sentence on what of _SET_UP the runs of the two sides do not share; "" where all is alike or unknown."""
    sides = [[json.loads(run) for run in side.run.unique() if run] for side in (here, there)]
    said = []
    for name, (part, key) in _SET_UP.items():
        found = [sorted({str(run[part][key] or "none") for run in runs if key in run.get(part, {})}) for runs in sides]
        if all(found) and found[0] != found[1]:
            said.append(f"{name} ({' against '.join(' and '.join(values) for values in found)})")
    return f"The two sides differ in {', '.join(said)}." if said else ""


def _folders(rows: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(rows.profile, rows.folder_dataset, strict=True))


def _compared(both: pd.DataFrame) -> pd.DataFrame:
    both = both[both.low_here.notna() | both.low_there.notna()]
    gap = both.value_here - both.value_there
    a = both.below_here.where(gap > 0, both.above_here).fillna(0.0)
    b = both.above_there.where(gap > 0, both.below_there).fillna(0.0)
    trained = both.seeds_here > 0
    per_seed = 1 / both.seeds_here.where(trained) + 1 / both.seeds_there.where(trained)
    training = (stats.t.ppf(0.975, both.freedom) * both.deviation) ** 2 * per_seed  # t^2 s^2 (1/n + 1/n)
    shown = {
        side: [
            tables.with_interval(*cells)
            for cells in zip(*(both[f"{name}_{side}"] for name in ("value", "low", "high")), both.metric, strict=True)
        ]
        for side in ("here", "there")
    }
    return both[PLACE].assign(
        **shown,
        agrees=gap.abs() - np.sqrt(a**2 + b**2 + training.fillna(0.0)) <= 1e-9,
        exact=gap == 0,
        deviation=both.deviation.where(trained, 0.0),
    )


def _left_over(rows: pd.DataFrame, others: pd.DataFrame, names: Sequence[str] = PLACE) -> pd.DataFrame:
    """The distinct `names` of `rows` that `others` have not."""
    marked = rows[names].drop_duplicates().merge(others[names].drop_duplicates(), how="left", indicator=True)
    return marked[marked["_merge"] == "left_only"].drop(columns="_merge")


def _verdicts(here: Path, there: Path, entries: Sequence[Claim], folders: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Claims that have not the same verdict on both sides, in `folders`, where both sides have rows of the paper.

    A verdict changed when both sides may be compared and differ. Where one side has one seed, only the opposite counts
    (holds and would fail); where one side has not measured it, nothing does.
    """
    lines = []
    for profile, dataset in sorted(folders):
        one, two = (verdicts.judged(entries, profile, dataset, root) for root in (here, there))
        pairs = one.merge(two, on=["paper", "artefact", "claim", "source"], suffixes=("_here", "_there"))
        for row in pairs[pairs.verdict_here != pairs.verdict_there].itertuples():
            indicative = claims.ONE_SEED in (row.verdict_here, row.verdict_there)
            opposite = {row.leaning_here, row.leaning_there} == {"holds", "fails"}
            changed = opposite or (not indicative and "not measured" not in (row.verdict_here, row.verdict_there))
            shown = [_said(row.verdict_here, row.leaning_here), _said(row.verdict_there, row.leaning_there)]
            lines.append((profile, dataset, row.paper, row.artefact, row.claim, *shown, changed, opposite))
        opposite = pairs[(pairs.verdict_here == claims.ONE_SEED) & (pairs.verdict_there == claims.ONE_SEED)]
        for row in opposite[opposite.leaning_here != opposite.leaning_there].itertuples():
            shown = [_said(claims.ONE_SEED, row.leaning_here), _said(claims.ONE_SEED, row.leaning_there)]
            opposite = {row.leaning_here, row.leaning_there} == {"holds", "fails"}
            lines.append((profile, dataset, row.paper, row.artefact, row.claim, *shown, opposite, opposite))
    columns = ["profile", "data set", "paper", "artefact", "claim", "here", "there", "changed", "opposite"]
    return pd.DataFrame(lines, columns=columns).astype({"changed": bool, "opposite": bool})


def _said(verdict: str, leaning: str) -> str:
    return f"{verdict}, leans to {leaning}" if verdict == claims.ONE_SEED else verdict
