"""What the papers say in words, as checks on rows.

The same check runs on published rows (does the paper's own table say so?) and on measured rows (does it
happen here?). Verdicts: "holds", "fails", "inconclusive" (the intervals do not decide), "one seed: indicative"
(one training stands behind a row that decides) and "not measured" (a row is missing of which the claim speaks). A
check looks at each data set by itself; over several, a claim holds only if it holds on all. docs/verdicts.md tells
this in words; decision REPORT-7.

Two numbers are compared by the 95 % interval of their difference: the root of the sum of squares of the two
half widths that face each other (methods measured on the same trials differ less than that: this errs on the
careful side). Numbers without an interval are compared as they stand, and a tie then fails "greater".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from math import hypot, isnan
from typing import NamedTuple

import pandas as pd

from reid_lib.reporting import results

ONE_SEED = "one seed: indicative"
VERDICTS = ("fails", "not measured", "inconclusive", ONE_SEED, "holds")  # of two, a conjunction has the first
EXPLANATION = (
    "holds, fails: three trainings or more, or rows that need none, and the 95 % interval of the difference decides. "
    "inconclusive: it does not decide. one seed: indicative: one training stands behind a row; the detail tells what "
    "the verdict would be. not measured: a row is missing of which the claim speaks. More in docs/verdicts.md."
)
COLUMNS = ["paper", "artefact", "claim", "source", "verdict", "leaning", "detail"]
_MISSING_NAMED = 4
_WOULD = {"holds": "would hold", "fails": "would fail", "inconclusive": "would be inconclusive"}
GENUINE_LR = ("CAVIAR", "caviar", "synth-caviar")


@dataclass(frozen=True)
class Verdict:
    """One of VERDICTS and the numbers behind it, in words.

    `one_seed`: a row that decides has one training behind it. `judge` then gives ONE_SEED for the verdict, and
    `leaning` is what the verdict would be.
    """

    verdict: str
    detail: str
    one_seed: bool = False
    leaning: str = field(default="", compare=False)

    def told(self) -> "Verdict":
        """The verdict as a reader may have it: never holds or fails by one training; few of many missing rows."""
        facts = self.detail.split("; ")
        if self.verdict == "not measured" and len(facts) > _MISSING_NAMED:
            rest = len(facts) - _MISSING_NAMED
            return Verdict(self.verdict, f"{'; '.join(facts[:_MISSING_NAMED])}; and {rest} more", leaning=self.verdict)
        if not self.one_seed or self.verdict not in _WOULD:
            return Verdict(self.verdict, self.detail, leaning=self.verdict)
        return Verdict(ONE_SEED, f"{_WOULD[self.verdict]}: {self.detail}", True, self.verdict)


class Row(NamedTuple):
    """One number of one data set, with its interval (NaN: none) and how many trainings are behind it (0: none).

    A value of NaN is a row that the paper's table has and that was not measured.
    """

    method: str
    setting: str
    metric: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    seeds: int = 0


Check = Callable[[Sequence[Row]], Verdict]


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper.

    Attributes:
        paper: key of the paper ("lrar"); artefact: the table or figure whose rows decide it ("Table II").
        text: the claim in our words; where it needs a reading ("similar"), the reading stands in brackets.
        source: section of the paper that says it.
        check: judges the rows of one data set.
        datasets: the only data sets that it is about; empty = every one that is measured.
        yardsticks: methods of this project that compete with the paper's where something is measured here.
    """

    paper: str
    artefact: str
    text: str
    source: str
    check: Check
    datasets: tuple[str, ...] = ()
    yardsticks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One number of a table: its method, setting and metric."""

    method: str
    setting: str = ""
    metric: str = "rank1"

    def __str__(self) -> str:
        return ", ".join(part for part in (self.method, self.setting, self.metric) if part)


# --- the vocabulary -------------------------------------------------------------------------------


def greater(a: Cell, b: Cell, by: float = 0.0) -> Check:
    """a is larger than b by more than `by` (in the metric's unit)."""

    def check(rows: Sequence[Row]) -> Verdict:
        first, second = _look_up(rows, a), _look_up(rows, b)
        if first is None or second is None:
            absent = " and ".join(f"({cell})" for cell, row in ((a, first), (b, second)) if row is None)
            return Verdict("not measured", f"no row for {absent}")
        detail = f"{a}: {_show(first)}; {b}: {_show(second)}"
        return Verdict(compare(first, second, by), detail, _one_seed(first, second))

    return check


def less(a: Cell, b: Cell) -> Check:
    """a is smaller than b (for LPIPS, distances, losses)."""
    return greater(b, a)


def ordered(*cells: Cell) -> Check:
    """Each cell is larger than the one before it."""
    return all_of(*(greater(after, before) for before, after in pairwise(cells)))


def best(cell: Cell, lowest: bool = False, but: Sequence[str] = ()) -> Check:
    """`cell` is the largest (or lowest) of its metric among all methods of the table but those in `but`.

    All methods: those of the paper's table, whether measured or not, the claim's yardsticks, and whatever else was
    measured beside them. One that is better decides against; "holds" needs them all.
    """

    def check(rows: Sequence[Row]) -> Verdict:
        others = _others(rows, cell, but)
        if not others:
            return Verdict("not measured", f"nothing to compare ({cell}) with")
        return all_of(*(less(cell, o) if lowest else greater(cell, o) for o in others))(rows)

    return check


def worst(cell: Cell, but: Sequence[str] = ()) -> Check:
    """`cell` is the smallest of its metric among all methods of the table."""
    return best(cell, lowest=True, but=but)


def best_setting(cell: Cell, among: Sequence[str] = ()) -> Check:
    """Among all settings of its method, `cell` has the largest value; those in `among` must be there."""
    return _against_settings(cell, greater, among)


def worst_setting(cell: Cell, among: Sequence[str] = ()) -> Check:
    """Among all settings of its method, `cell` has the smallest value; those in `among` must be there."""
    return _against_settings(cell, less, among)


def costs_most(removed: Cell, others: Sequence[Cell]) -> Check:
    """Of all removals, `removed` leaves the least."""
    return all_of(*(less(removed, other) for other in others))


def close(a: Cell, b: Cell, within: float) -> Check:
    """a and b differ by at most `within`: decided when the whole interval of their difference agrees."""

    def check(rows: Sequence[Row]) -> Verdict:
        first, second = _look_up(rows, a), _look_up(rows, b)
        if first is None or second is None:
            return greater(a, b)(rows)
        gap, half = abs(first.value - second.value), hypot(_half(first), _half(second))
        verdict = "holds" if gap + half <= within + 1e-9 else "fails" if gap - half > within else "inconclusive"
        detail = f"{a}: {_show(first)}; {b}: {_show(second)}; at most {within:g} apart"
        return Verdict(verdict, detail, _one_seed(first, second))

    return check


def gains_more(first: tuple[Cell, Cell], second: tuple[Cell, Cell]) -> Check:
    """The step first[0] -> first[1] gains more than the step second[0] -> second[1]."""

    def check(rows: Sequence[Row]) -> Verdict:
        cells = [*first, *second]
        found = [_look_up(rows, cell) for cell in cells]
        if any(row is None for row in found):
            return Verdict(
                "not measured",
                "no row for " + ", ".join(f"({c})" for c, r in zip(cells, found, strict=True) if r is None),
            )
        a, b, c, d = found
        gap, half = (b.value - a.value) - (d.value - c.value), hypot(*(_half(row) for row in found))
        verdict = "holds" if gap > half else "fails" if gap < -half or half == 0 else "inconclusive"
        detail = f"{b.value - a.value:+.4g} ({first[1]}) against {d.value - c.value:+.4g} ({second[1]})"
        return Verdict(verdict, detail, _one_seed(*found))

    return check


def above(cell: Cell, level: float, among: Sequence[str] = ()) -> Check:
    """Every row of the cell's method and metric (all settings when it names none) lies above `level`.

    The settings in `among` must be there.
    """

    def check(rows: Sequence[Row]) -> Verdict:
        chosen = [row for row in _series(rows, cell.method, cell.metric) if cell.setting in ("", row.setting)]
        limit = Row("", "", "", level)
        found = [Verdict(compare(row, limit), f"{row.setting}: {_show(row)}", _one_seed(row)) for row in chosen]
        absent = [name for name in among if name not in {row.setting for row in chosen}]
        found += [Verdict("not measured", f"no row for ({Cell(cell.method, name, cell.metric)})") for name in absent]
        return _join(found) if found else Verdict("not measured", f"no row for ({cell})")

    return check


def everywhere(a: str, b: str, metric: str, lower: bool = False) -> Check:
    """Method a is larger (lower) than method b in every setting that one of them has, here or in the paper's table."""

    def check(rows: Sequence[Row]) -> Verdict:
        settings = dict.fromkeys(row.setting for row in rows if row.method in (a, b) and row.metric == metric)
        of = {method: {row.setting for row in _series(rows, method, metric)} for method in (a, b)}
        if not of[a] & of[b]:
            return Verdict("not measured", f"no setting in which both {a} and {b} have {metric}")
        judge = less if lower else greater
        return all_of(*(judge(Cell(a, setting, metric), Cell(b, setting, metric)) for setting in settings))(rows)

    return check


def later(a: str, b: str, metric: str) -> Check:
    """Method a is larger than method b in the later half of the settings (epochs) in which both were measured."""

    def check(rows: Sequence[Row]) -> Verdict:
        first, second = ([row.setting for row in _series(rows, method, metric)] for method in (a, b))
        both = [setting for setting in first if setting in second]
        if len(both) < 2:
            return Verdict("not measured", f"fewer than two settings in which both {a} and {b} have {metric}")
        return all_of(*(greater(Cell(a, name, metric), Cell(b, name, metric)) for name in both[len(both) // 2 :]))(rows)

    return check


def settings_close(method: str, metric: str, within: float) -> Check:
    """No two settings of the method differ by more than `within`."""

    def check(rows: Sequence[Row]) -> Verdict:
        cells = [Cell(method, row.setting, metric) for row in _series(rows, method, metric)]
        if len(cells) < 2:
            return Verdict("not measured", f"fewer than two settings of {method} with {metric}")
        return all_of(*(close(a, b, within) for a, b in combinations(cells, 2)))(rows)

    return check


def peak_inside(method: str, metric: str = "rank1") -> Check:
    """Over the method's settings, in their order, the largest value is neither the first nor the last."""

    def check(rows: Sequence[Row]) -> Verdict:
        chosen = _series(rows, method, metric)
        if len(chosen) < 3:
            return Verdict("not measured", f"fewer than three settings of {method} with {metric}")
        first, *inner, last = chosen
        top = Cell(method, max(inner, key=lambda row: row.value).setting, metric)
        return all_of(*(greater(top, Cell(method, end.setting, metric)) for end in (first, last)))(rows)

    return check


def all_of(*checks: Check) -> Check:
    """Holds when all hold, fails when one fails; not measured when a row is missing; else the weakest counts."""
    return lambda rows: _join([check(rows) for check in checks])


# --- the logic ------------------------------------------------------------------------------------


def judge(claim: Claim, rows: pd.DataFrame) -> Verdict:  # decision REPORT-7
    """The verdict on `rows` (published or measured; seeds are merged first), over all its data sets."""
    return _judge(claim, rows, _printed(rows)).told()


def _judge(claim: Claim, rows: pd.DataFrame, printed: pd.DataFrame) -> Verdict:
    """`judge`, with the papers' own rows, all of which must be there; none where those are judged themselves."""
    rows = rows[(rows.paper == claim.paper) & (rows.artefact == claim.artefact)]
    if claim.datasets:
        rows = rows[rows.dataset.isin(claim.datasets)]
    rows = _with_intervals(results.as_roles(rows))
    if rows.empty:
        where = f" on {', '.join(claim.datasets)}" if claim.datasets else ""
        return Verdict("not measured", f"no rows of {claim.artefact}{where}")
    columns, parts = list(Row._fields), {}
    for name, part in rows.groupby("dataset", sort=False):
        found = [Row(*cells) for cells in part[columns].itertuples(index=False)]
        parts[name] = claim.check([*found, *_absent(claim, found, printed, name)])
    decided = {name: part for name, part in parts.items() if part.verdict != "not measured"} or parts
    joined = _join(list(decided.values()))
    if len(decided) == 1:
        return joined
    decisive = [f"{name}: {part.detail}" for name, part in decided.items() if part.verdict == joined.verdict]
    detail = "; ".join(decisive) if joined.verdict != "holds" else f"on {', '.join(decided)}"
    return Verdict(joined.verdict, detail, joined.one_seed)


def _printed(rows: pd.DataFrame) -> pd.DataFrame:
    """The published rows beside measured ones; of published rows themselves nothing is absent."""
    published = results.as_roles(results.published())
    return published if "profile" in rows else published[:0]


def _absent(claim: Claim, rows: Sequence[Row], printed: pd.DataFrame, dataset: str) -> list[Row]:
    """Rows without a value: what the paper's table has, on this data set or else on any, and is not among `rows`.

    The claim's yardsticks are among them, in every setting and metric of the table.
    """
    printed = printed[(printed.paper == claim.paper) & (printed.artefact == claim.artefact)]
    printed = printed[printed.dataset == dataset] if (printed.dataset == dataset).any() else printed
    wanted = dict.fromkeys(zip(printed.method, printed.setting, printed.metric, strict=True))
    places = dict.fromkeys((setting, metric) for _, setting, metric in wanted)
    wanted |= dict.fromkeys((method, *place) for method in claim.yardsticks for place in places)
    there = {row[:3] for row in rows}
    return [Row(*names, value=float("nan")) for names in wanted if names not in there]


def evaluate(rows: pd.DataFrame, claims: Sequence[Claim]) -> pd.DataFrame:
    """One line per claim: paper, artefact, claim, source, verdict, leaning, detail.

    `leaning` is the verdict, or what it would be where one seed is behind it.
    """
    lines, printed = [], _printed(rows)
    for claim in claims:
        found = _judge(claim, rows, printed).told()
        lines.append(
            (claim.paper, claim.artefact, claim.text, claim.source, found.verdict, found.leaning, found.detail)
        )
    return pd.DataFrame(lines, columns=COLUMNS)


def _join(found: list[Verdict]) -> Verdict:
    verdict = min((v.verdict for v in found), key=VERDICTS.index)
    deciding = [v for v in found if v.verdict == verdict]
    # all are needed for "holds"; one is enough against it, so one that three seeds are behind makes it firm
    one_seed = any(v.one_seed for v in deciding) if verdict == "holds" else all(v.one_seed for v in deciding)
    facts = [fact for v in deciding if v.one_seed == one_seed or verdict == "holds" for fact in v.detail.split("; ")]
    return Verdict(verdict, "; ".join(dict.fromkeys(facts)), one_seed)


def _one_seed(*rows: Row) -> bool:
    return any(row.seeds == 1 for row in rows)


def compare(a: Row, b: Row, by: float = 0.0) -> str:
    """The verdict on "a is larger than b by more than `by`"."""
    gap = a.value - b.value - by
    if gap - hypot(_below(a), _above(b)) > 1e-9:
        return "holds"
    no_interval = _half(a) == 0 and _half(b) == 0
    return "fails" if no_interval or gap + hypot(_above(a), _below(b)) < 0 else "inconclusive"


def _below(row: Row) -> float:
    return 0.0 if isnan(row.low) else max(row.value - row.low, 0.0)


def _above(row: Row) -> float:
    return 0.0 if isnan(row.high) else max(row.high - row.value, 0.0)


def _half(row: Row) -> float:
    return max(_below(row), _above(row))


def _show(row: Row) -> str:
    return f"{row.value:.4g}" + ("" if isnan(row.low) else f" [{row.low:.4g}, {row.high:.4g}]")


def _look_up(rows: Sequence[Row], cell: Cell) -> Row | None:
    wanted = (cell.method, cell.setting, cell.metric)
    return next((row for row in rows if row[:3] == wanted and not isnan(row.value)), None)


def _series(rows: Sequence[Row], method: str, metric: str) -> list[Row]:
    return [row for row in rows if row.method == method and row.metric == metric and not isnan(row.value)]


def _others(rows: Sequence[Row], cell: Cell, but: Sequence[str]) -> list[Cell]:
    """The other methods of the cell's setting and metric, those without a value too."""
    left_out = (cell.method, *but)
    chosen = [row for row in rows if (row.setting, row.metric) == (cell.setting, cell.metric)]
    return [Cell(*row[:3]) for row in chosen if row.method not in left_out]


def _against_settings(cell: Cell, judge_pair: Callable[[Cell, Cell], Check], among: Sequence[str]) -> Check:
    def check(rows: Sequence[Row]) -> Verdict:
        settings = dict.fromkeys([row.setting for row in _series(rows, cell.method, cell.metric)])
        others = [setting for setting in {**settings, **dict.fromkeys(among)} if setting != cell.setting]
        if not settings.keys() - {cell.setting}:
            return Verdict("not measured", f"no other setting than ({cell})")
        return all_of(*(judge_pair(cell, Cell(cell.method, setting, cell.metric)) for setting in others))(rows)

    return check


def _with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    if "seed" in rows.columns:
        if rows.profile.nunique() > 1:
            raise results.ResultsError(
                f"Claims are judged within one profile, found {sorted(rows.profile.unique())}: choose one."
            )
        return results.merge_seeds(rows)
    return rows.assign(low=float("nan"), high=float("nan"), seeds=0)
