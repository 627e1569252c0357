"""Do I get your numbers? The measured rows and verdicts of one results folder against those of another.

Two numbers agree when the 95 % interval of their difference contains 0: the difference is no larger than the root of
the sum of squares of the two half widths that face each other (`claims.compare`). A seed is compared with the same seed
(decision RUN-16): of each number those seeds count that both sides have, merged on each side. Rows without an interval
on both sides have no such test and do not count, and neither do rows of time, nor what one run measured and both sides
hold.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reid_lib.reporting import claims, mixed, results, tables, verdicts
from reid_lib.reporting.claims import Claim

ALL = "*/*"  # profile and data set
NEEDED = 95.0  # percent of the compared rows that must agree
PLACE = ["profile", "folder_dataset", "dataset", "paper", "artefact", "method", "setting", "metric"]
_ROW = [*PLACE, "seed"]
_TIME = re.compile(r"second|minute|hour|throughput")


@dataclass(frozen=True)
class Agreement:
    """What two results folders say, side by side.

    Attributes:
        compared: rows that both have, with an interval on one side at least: PLACE, `here` and `there` as text, agrees.
        without_interval: how many rows both have without one.
        same_run: how many rows both have from one and the same run.
        only_here, only_there: PLACE of rows that only one has, or that both have with other seeds.
        verdicts: profile, data set, paper, artefact, claim, here, there, changed: one line for each claim whose verdict
            is not the same word.
    """

    compared: pd.DataFrame
    without_interval: int
    same_run: int
    only_here: pd.DataFrame
    only_there: pd.DataFrame
    verdicts: pd.DataFrame

    @property
    def percent(self) -> float:
        """The share of compared rows that agree, in percent; 0 when none can be compared."""
        return 100 * float(self.compared.agrees.mean()) if len(self.compared) else 0.0

    @property
    def agrees(self) -> bool:
        """Whether no verdict changed and at least NEEDED percent of the rows agree."""
        return self.percent >= NEEDED and not self.verdicts.changed.any()

    def tables(self) -> dict[str, pd.DataFrame]:
        """What a reader should look at, by title; what is empty is left out."""
        differing = self.compared[~self.compared.agrees].drop(columns=["agrees", "profile", "folder_dataset"])
        changed = self.verdicts[self.verdicts.changed].drop(columns="changed")
        other = self.verdicts[~self.verdicts.changed].drop(columns="changed")
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

    def summary(self) -> str:
        """One paragraph in words."""
        changed = int(self.verdicts.changed.sum())
        said = "The results agree." if self.agrees else "The results do not agree."
        return (
            f"{int(self.compared.agrees.sum())} of {len(self.compared)} rows agree ({self.percent:.1f} %, needed: "
            f"{NEEDED:g} %); {self.without_interval} more have no interval, {self.same_run} come from the same run on "
            f"both sides, and do not count; only here: {len(self.only_here)}, only there: {len(self.only_there)}. "
            f"Verdicts that changed: {changed}. " + (said if len(self.compared) else "Nothing was measured twice.")
        )


def compare(here: Path, there: Path, entries: Sequence[Claim], where: str = ALL) -> Agreement:
    """Compare two results folders, or the part `where` of them ("demo/synth").

    Raises ResultsError when one holds no results there, or a damaged file.
    """
    one, two = _rows(here, where), _rows(there, where)
    pairs = one[_ROW].merge(two[_ROW])
    same = one[one.run != ""].merge(two, on=[*_ROW, "run", "value", "low", "high"])
    again = _left_over(pairs, same, _ROW)
    both = _merged(one.merge(again)).merge(_merged(two.merge(again)), on=PLACE, suffixes=("_here", "_there"))
    return Agreement(
        _compared(both),
        int((both.low_here.isna() & both.low_there.isna()).sum()),
        len(_left_over(pairs, again)),
        _left_over(one, pairs),
        _left_over(two, pairs),
        _verdicts(here, there, entries, _folders(one) & _folders(two)),
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
        runs = mixed.runs_of(rows, json.loads(path.with_suffix(".run.json").read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError):
        return rows.assign(run="")
    groups = rows.groupby(["artefact", "dataset", "method", "seed"], sort=False, dropna=False)
    parts = [part.assign(run=_text(runs.get(*results.groups(part)))) for _, part in groups]
    return pd.concat(parts) if parts else rows.assign(run="")


def _text(run: Mapping | None) -> str:
    added = ("covers", "csv_sha256", "earlier")  # by `results.write`: they change when another run writes the file
    return json.dumps({k: v for k, v in run.items() if k not in added}, sort_keys=True) if run else ""


def _merged(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each number over its seeds: PLACE, value, low, high."""
    parts = [
        results.merge_seeds(part.drop(columns=["folder_dataset", "run"])).assign(folder_dataset=name)
        for name, part in rows.groupby("folder_dataset", sort=True)
    ]
    columns = [*PLACE, "value", "low", "high"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _folders(rows: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(rows.profile, rows.folder_dataset, strict=True))


def _compared(both: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for row in both.itertuples():
        a = claims.Row("", "", "", row.value_here, row.low_here, row.high_here)
        b = claims.Row("", "", "", row.value_there, row.low_there, row.high_there)
        if pd.isna(a.low) and pd.isna(b.low):
            continue
        # "a is larger" and "b is larger" are both undecided, or the two are the same
        agrees = a.value == b.value or "holds" not in (claims.compare(a, b), claims.compare(b, a))
        shown = [tables.with_interval(x.value, x.low, x.high, row.metric) for x in (a, b)]
        lines.append((*(getattr(row, name) for name in PLACE), *shown, agrees))
    return pd.DataFrame(lines, columns=[*PLACE, "here", "there", "agrees"]).astype({"agrees": bool})


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
            changed = {row.leaning_here, row.leaning_there} == {"holds", "fails"}
            changed |= not indicative and "not measured" not in (row.verdict_here, row.verdict_there)
            shown = [_said(row.verdict_here, row.leaning_here), _said(row.verdict_there, row.leaning_there)]
            lines.append((profile, dataset, row.paper, row.artefact, row.claim, *shown, changed))
        opposite = pairs[(pairs.verdict_here == claims.ONE_SEED) & (pairs.verdict_there == claims.ONE_SEED)]
        for row in opposite[opposite.leaning_here != opposite.leaning_there].itertuples():
            shown = [_said(claims.ONE_SEED, row.leaning_here), _said(claims.ONE_SEED, row.leaning_there)]
            changed = {row.leaning_here, row.leaning_there} == {"holds", "fails"}
            lines.append((profile, dataset, row.paper, row.artefact, row.claim, *shown, changed))
    columns = ["profile", "data set", "paper", "artefact", "claim", "here", "there", "changed"]
    return pd.DataFrame(lines, columns=columns).astype({"changed": bool})


def _said(verdict: str, leaning: str) -> str:
    return f"{verdict}, leans to {leaning}" if verdict == claims.ONE_SEED else verdict
