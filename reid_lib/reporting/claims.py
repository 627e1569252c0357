"""What the papers say in words, as checks on rows.

The same check runs on published rows (does the paper's own table say so?) and on measured rows (does it
happen here?). Verdicts: "holds", "fails", "inconclusive" (the intervals do not decide) and "not measured" (no
rows). A check looks at each data set by itself; over several, a claim holds only if it holds on all.

Two numbers are compared by the 95 % interval of their difference: the root of the sum of squares of the two
half widths that face each other (methods measured on the same trials differ less than that: this errs on the
careful side). Numbers without an interval are compared as they stand, and a tie then fails "greater".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, isnan
from typing import NamedTuple

import pandas as pd

from reid_lib.reporting import results

VERDICTS = ("fails", "inconclusive", "not measured", "holds")
GENUINE_LR = ("CAVIAR", "caviar", "synth-caviar")


@dataclass(frozen=True)
class Verdict:
    """One of VERDICTS and the numbers behind it, in words."""

    verdict: str
    detail: str


class Row(NamedTuple):
    """One number of one data set, with its interval (NaN: none)."""

    method: str
    setting: str
    metric: str
    value: float
    low: float = float("nan")
    high: float = float("nan")


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
    """

    paper: str
    artefact: str
    text: str
    source: str
    check: Check
    datasets: tuple[str, ...] = ()


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
        return Verdict(compare(first, second, by), detail)

    return check


def less(a: Cell, b: Cell) -> Check:
    """a is smaller than b (for LPIPS, distances, losses)."""
    return greater(b, a)


def ordered(*cells: Cell) -> Check:
    """Each cell is larger than the one before it."""
    return all_of(*(greater(after, before) for before, after in pairwise(cells)))


def best(cell: Cell, lowest: bool = False, but: Sequence[str] = ()) -> Check:
    """`cell` is the largest (or lowest) of its metric among all methods of the table but those in `but`."""

    def check(rows: Sequence[Row]) -> Verdict:
        others = _others(rows, cell, but)
        if not others:
            return Verdict("not measured", f"nothing to compare ({cell}) with")
        return all_of(*(less(cell, o) if lowest else greater(cell, o) for o in others))(rows)

    return check


def worst(cell: Cell, but: Sequence[str] = ()) -> Check:
    """`cell` is the smallest of its metric among all methods of the table."""
    return best(cell, lowest=True, but=but)


def best_setting(cell: Cell) -> Check:
    """Among all settings of its method, `cell` has the largest value."""
    return _against_settings(cell, greater)


def worst_setting(cell: Cell) -> Check:
    """Among all settings of its method, `cell` has the smallest value."""
    return _against_settings(cell, less)


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
        return Verdict(verdict, f"{a}: {_show(first)}; {b}: {_show(second)}; at most {within:g} apart")

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
        return Verdict(verdict, f"{b.value - a.value:+.4g} ({first[1]}) against {d.value - c.value:+.4g} ({second[1]})")

    return check


def above(cell: Cell, level: float) -> Check:
    """Every row of the cell's method and metric (all settings when it names none) lies above `level`."""

    def check(rows: Sequence[Row]) -> Verdict:
        chosen = [row for row in _series(rows, cell.method, cell.metric) if cell.setting in ("", row.setting)]
        limit = Row("", "", "", level)
        found = [Verdict(compare(row, limit), f"{row.setting}: {_show(row)}") for row in chosen]
        return _join(found) if found else Verdict("not measured", f"no row for ({cell})")

    return check


def everywhere(a: str, b: str, metric: str, lower: bool = False) -> Check:
    """Method a is larger (lower) than method b in every setting that both have."""

    def check(rows: Sequence[Row]) -> Verdict:
        of = {method: [row.setting for row in _series(rows, method, metric)] for method in (a, b)}
        shared = [setting for setting in of[a] if setting in of[b]]
        if not shared:
            return Verdict("not measured", f"no setting in which both {a} and {b} have {metric}")
        judge = less if lower else greater
        return all_of(*(judge(Cell(a, setting, metric), Cell(b, setting, metric)) for setting in shared))(rows)

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
    """Holds when all hold, fails when one fails; otherwise the weakest verdict counts."""
    return lambda rows: _join([check(rows) for check in checks])


# --- the logic ------------------------------------------------------------------------------------


def judge(claim: Claim, rows: pd.DataFrame) -> Verdict:
    """The verdict on `rows` (published or measured; seeds are merged first), over all its data sets."""
    rows = rows[(rows.paper == claim.paper) & (rows.artefact == claim.artefact)]
    if claim.datasets:
        rows = rows[rows.dataset.isin(claim.datasets)]
    rows = _with_intervals(results.as_roles(rows))
    if rows.empty:
        where = f" on {', '.join(claim.datasets)}" if claim.datasets else ""
        return Verdict("not measured", f"no rows of {claim.artefact}{where}")
    columns = list(Row._fields)
    parts = {
        name: claim.check([Row(*cells) for cells in part[columns].itertuples(index=False)])
        for name, part in rows.groupby("dataset", sort=False)
    }
    measured = {name: part for name, part in parts.items() if part.verdict != "not measured"} or parts
    joined = _join(list(measured.values()))
    if len(measured) == 1:
        return joined
    decisive = [f"{name}: {part.detail}" for name, part in measured.items() if part.verdict == joined.verdict]
    return Verdict(joined.verdict, "; ".join(decisive) if joined.verdict != "holds" else f"on {', '.join(measured)}")


def evaluate(rows: pd.DataFrame, claims: Sequence[Claim] | None = None) -> pd.DataFrame:
    """One line per claim: paper, artefact, claim, source, verdict, detail."""
    lines = []
    for claim in CLAIMS if claims is None else claims:
        found = judge(claim, rows)
        lines.append((claim.paper, claim.artefact, claim.text, claim.source, found.verdict, found.detail))
    return pd.DataFrame(lines, columns=["paper", "artefact", "claim", "source", "verdict", "detail"])


def _join(found: list[Verdict]) -> Verdict:
    verdict = min((v.verdict for v in found), key=VERDICTS.index)
    facts = [fact for v in found if v.verdict == verdict for fact in v.detail.split("; ")]
    return Verdict(verdict, "; ".join(dict.fromkeys(facts)))


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
    left_out = (cell.method, *but)
    chosen = [row for row in rows if (row.setting, row.metric) == (cell.setting, cell.metric)]
    return [Cell(*row[:3]) for row in chosen if row.method not in left_out]


def _against_settings(cell: Cell, judge_pair: Callable[[Cell, Cell], Check]) -> Check:
    def check(rows: Sequence[Row]) -> Verdict:
        others = [row.setting for row in _series(rows, cell.method, cell.metric) if row.setting != cell.setting]
        if not others:
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
    return rows.assign(low=float("nan"), high=float("nan"))


# --- what the papers say --------------------------------------------------------------------------


def _cadnet() -> list[Claim]:
    full, f_only, g_only = (Cell(name) for name in ("CAD-Net", "CAD-Net (f only)", "CAD-Net (g only)"))
    seen, unseen = "seen r in {2,3,4}", "unseen r=8"
    no_di, no_df, no_rec, no_cls = (Cell(f"w/o {loss}") for loss in ("L_adv^DI", "L_adv^DF", "L_rec", "L_cls"))
    return [
        Claim(
            "cadnet",
            "Table 1",
            "Best Rank-1 of all compared methods",
            "4.4",
            best(full, but=(f_only.method, g_only.method)),
        ),
        Claim(
            "cadnet",
            "Table 1",
            "The joint representation [f, g] beats f alone and g alone",
            "4.4",
            all_of(greater(full, f_only), greater(full, g_only)),
        ),
        Claim(
            "cadnet",
            "Table 1",
            "f only beats g only where low resolution is genuine (CAVIAR)",
            "4.4",
            greater(f_only, g_only),
            GENUINE_LR,
        ),
        Claim(
            "cadnet",
            "Table 2",
            "At seen rates: best Rank-1 and LPIPS, though CSR-GAN has the higher SSIM and PSNR",
            "4.5",
            all_of(
                best(Cell("CAD-Net", seen)),
                best(Cell("CAD-Net", seen, "lpips"), lowest=True),
                greater(Cell("CSR-GAN", seen, "ssim"), Cell("CAD-Net", seen, "ssim")),
                greater(Cell("CSR-GAN", seen, "psnr"), Cell("CAD-Net", seen, "psnr")),
            ),
        ),
        Claim(
            "cadnet",
            "Table 2",
            "At r = 8, unseen: best SSIM, PSNR, LPIPS and Rank-1",
            "4.5",
            all_of(
                *(best(Cell("CAD-Net", unseen, m), lowest=m == "lpips") for m in ("ssim", "psnr", "lpips", "rank1"))
            ),
        ),
        Claim("cadnet", "Table 3", "Removing any loss lowers Rank-1", "4.6", best(full)),
        Claim(
            "cadnet",
            "Table 3",
            "Removing L_cls costs the most Rank-1",
            "4.6",
            costs_most(no_cls, (no_di, no_df, no_rec)),
        ),
        Claim(
            "cadnet",
            "Table 3",
            "L_adv^DF, L_rec and L_cls are crucial, L_adv^DI only helps: it costs the least",
            "4.6",
            all_of(*(greater(no_di, other) for other in (no_df, no_rec, no_cls))),
        ),
        Claim(
            "cadnet",
            "Table 3",
            "Without L_cls images are still recovered (SSIM above that without L_adv^DF or L_rec)",
            "4.6",
            all_of(*(greater(Cell(no_cls.method, "", "ssim"), Cell(o.method, "", "ssim")) for o in (no_df, no_rec))),
        ),
    ]


def _lrar() -> list[Claim]:
    full, base, no_mask = Cell("mask + val"), Cell("IDE + Verif"), Cell("w/o mask")
    no_val, no_val_end = Cell("w/o val"), Cell("w/o val (end-to-end)")
    assigned = {"1/3 seen": ("1/3->1/2", "1/3->1/4"), "1/6 seen": ("1/6->1/4", "1/6->1/8")}
    return [
        Claim("lrar", "Table I", "Best Rank-1 of all compared methods", "V-D.1", best(Cell("LRAR"))),
        Claim(
            "lrar",
            "Table I",
            "Consistently better than earlier methods (Rank-1, Rank-5 and Rank-10)",
            "V-D.1 (and the caption)",
            all_of(*(best(Cell("LRAR", "", metric)) for metric in ("rank1", "rank5", "rank10"))),
        ),
        Claim(
            "lrar",
            "Table II",
            "Masks and varying length together are best; each one removed costs",
            "V-E.2",
            best(full),
        ),
        Claim(
            "lrar",
            "Table II",
            "Either mechanism alone improves on IDE + Verif",
            "V-E.2",
            all_of(greater(no_mask, base), greater(no_val, base)),
        ),
        Claim(
            "lrar",
            "Table II",
            "Progressive mask training beats end-to-end (masks only)",
            "V-E.2",
            greater(no_val, no_val_end),
        ),
        Claim(
            "lrar",
            "Table III",
            "One model per resolution < end-to-end < progressive",
            "V-E.1",
            ordered(Cell("naive: one model per resolution"), Cell("LRAR (end-to-end)"), Cell("LRAR (progressive)")),
        ),
        Claim("lrar", "Table IV", "Both losses are needed", "V-E.3", best(Cell("LRAR"))),
        Claim(
            "lrar",
            "Table V",
            "An unseen rate loses some Rank-1 against the same rate seen in training",
            "V-F",
            all_of(
                *(
                    greater(Cell(m, seen), Cell(m, s))
                    for m in ("progressive", "end-to-end")
                    for seen, two in assigned.items()
                    for s in two
                )
            ),
        ),
        Claim(
            "lrar",
            "Table V",
            "Either neighbouring level does about as well (within 2 points of Rank-1)",
            "V-F",
            all_of(
                *(close(Cell(m, a), Cell(m, b), 2) for m in ("progressive", "end-to-end") for a, b in assigned.values())
            ),
        ),
        Claim(
            "lrar",
            "Table V",
            "Progressive beats end-to-end in every setting",
            "V-F",
            everywhere("progressive", "end-to-end", "rank1"),
        ),
    ]


def _intact() -> list[Claim]:
    intact, sole, sr_id = Cell("INTACT"), Cell("Sole SR"), Cell("SR + ID")
    steps = [Cell("MSE+ID"), Cell("MSE+ID+GAN"), Cell("MSE+ID+GAN+Association")]
    designs = [Cell("Common space"), Cell("D-to-R"), Cell("R-to-D")]
    return [
        Claim("intact", "Table 1", "Best Rank-1 of all compared methods", "4.4", best(intact)),
        Claim(
            "intact",
            "Table 2",
            "Super-resolution alone has the best SSIM and PSNR",
            "4.5 (1)",
            all_of(best(Cell("Sole SR", "", "ssim")), best(Cell("Sole SR", "", "psnr"))),
        ),
        Claim("intact", "Table 2", "... and the worst Rank-1", "4.5 (2)", worst(sole)),
        Claim(
            "intact",
            "Table 2",
            "What helps re-ID lowers fidelity: INTACT over SR + ID in Rank-1, under it in SSIM and PSNR",
            "4.5 (4)",
            all_of(
                greater(intact, sr_id),
                *(less(Cell("INTACT", "", metric), Cell("SR + ID", "", metric)) for metric in ("ssim", "psnr")),
            ),
        ),
        Claim("intact", "Table 3", "Each loss term adds: MSE+ID < +GAN < +Association", "4.6", ordered(*steps)),
        Claim(
            "intact",
            "Table 3",
            "The association loss adds more than the GAN loss",
            "4.6 (2), (3)",
            gains_more((steps[1], steps[2]), (steps[0], steps[1])),
        ),
        Claim("intact", "Table 4", "R-to-D is the best association", "4.6", best(designs[2])),
        Claim(
            "intact",
            "Table 4",
            "The designs perform fairly similarly (all within 2 points of Rank-1)",
            "4.6",
            all_of(
                close(designs[0], designs[1], 2),
                close(designs[1], designs[2], 2),
                close(designs[0], designs[2], 2),
            ),
        ),
        Claim(
            "intact",
            "Table 5",
            "The bridge constraint helps",
            "4.6",
            greater(Cell("with bridge"), Cell("w/o bridge")),
        ),
    ]


def _drfm() -> list[Claim]:
    step = [Cell(f"A{i}") for i in range(9)]
    return [
        Claim(
            "drfm",
            "Table 2",
            "Better than every unsupervised method at Rank-1, Rank-5 and Rank-10",
            "4.4",
            all_of(*(best(Cell("DRFM", "unsupervised", metric)) for metric in ("rank1", "rank5", "rank10"))),
        ),
        Claim(
            "drfm",
            "Table 2",
            "Purification is the best of the existing unsupervised methods (Rank-1)",
            "4.4",
            best(Cell("Purification", "unsupervised"), but=("DRFM",)),
        ),
        Claim(
            "drfm",
            "Table 3",
            "Every step helps: A1 < A2 < A3 < A4 < A5 < A6",
            "4.5.1, 4.5.2",
            ordered(*step[1:7]),
        ),
        Claim(
            "drfm",
            "Table 3",
            "L_cc beats L_sc: A7 over A2, A8 over A6",
            "4.5.3",
            all_of(greater(step[7], step[2]), greater(step[8], step[6])),
        ),
        Claim("drfm", "Table 3", "L_ps helps and the full DRFM is best", "4.5.3", best(Cell("DRFM"))),
        Claim("drfm", "Fig. 4", "lambda = 1.5 is best", "4.3.1", best_setting(Cell("DRFM", "lambda=1.5"))),
        Claim("drfm", "Fig. 4", "lambda = 0 is worst", "4.3.1", worst_setting(Cell("DRFM", "lambda=0"))),
        Claim("drfm", "Fig. 5", "t too large or too small does worse", "4.3.2", peak_inside("DRFM")),
        Claim(
            "drfm",
            "Fig. 6",
            "CPG gives better pseudo-labels: the F-score of A3 is above that of A1 and A2 at every epoch",
            "4.5.1",
            all_of(everywhere("A3", "A1", "f_score"), everywhere("A3", "A2", "f_score")),
        ),
        Claim(
            "drfm",
            "Fig. 7",
            "CRFF brings the two distance distributions closer than a plain FC layer (A6 under A5)",
            "4.5.2",
            less(Cell("A6", "", "distance_gap"), Cell("A5", "", "distance_gap")),
        ),
    ]


def _vpfa() -> list[Claim]:
    width = [Cell("VPFA", f"hidden={size}") for size in (512, 1048, 2048, 3840)]
    blocks = [Cell("VPFA", f"blocks={number}") for number in (1, 2, 3, 4)]
    metrics = ("rank1", "rank5", "rank10")
    cca = [(f"r={rate}", f"cca{i}") for rate in (2, 3, 4) for i in (1, 2, 3)]
    return [
        Claim(
            "vpfa",
            "Section 1",
            "The mean HR - LR shift has a stable direction (cosine above 0.8)",
            "1",
            above(Cell("mean shift", "", "cosine"), 0.8),
        ),
        Claim(
            "vpfa",
            "Table 2a",
            "LR and HR features correlate more than random ones do",
            "3.2",
            all_of(*(greater(Cell("cross-resolution", s, m), Cell("random", s, m)) for s, m in cca)),
        ),
        Claim(
            "vpfa",
            "Table 2b",
            "The correlation with the global shift grows with the resolution gap",
            "3.2",
            ordered(*(Cell("grouped Pearson", f"r={rate}", "pearson_mean") for rate in (2, 3, 4))),
        ),
        Claim("vpfa", "Table 3", "Best Rank-1 of all compared methods", "5.3 (1)", best(Cell("VPFA"))),
        Claim(
            "vpfa",
            "Table 4a",
            "VPFA improves the frozen backbone at Rank-1, Rank-5 and Rank-10",
            "5.5",
            all_of(*(greater(Cell("frozen model + VPFA", "", m), Cell("frozen model", "", m)) for m in metrics)),
        ),
        Claim(
            "vpfa",
            "Table 4a",
            "The residual connection is needed",
            "5.5",
            greater(Cell("with residual"), Cell("w/o residual")),
        ),
        Claim(
            "vpfa",
            "Table 4b",
            "Wider is better up to 2048, then worse",
            "5.5",
            all_of(ordered(*width[:3]), greater(width[2], width[3])),
        ),
        Claim(
            "vpfa",
            "Table 4b",
            "One to three blocks improve, a fourth costs",
            "5.5",
            all_of(ordered(*blocks[:3]), greater(blocks[2], blocks[3])),
        ),
        Claim(
            "vpfa",
            "Table 5",
            "VPFA helps under MLR and under MLRpro",
            "A.2",
            all_of(*(greater(Cell("frozen model + VPFA", s), Cell("frozen model", s)) for s in ("MLR", "MLRpro"))),
        ),
        Claim(
            "vpfa",
            "Table 7",
            "HR and LR centres come closer for every identity",
            "A.4",
            above(Cell("VPFA", "", "reduction_percent"), 0),
        ),
    ]


CLAIMS: tuple[Claim, ...] = (*_cadnet(), *_lrar(), *_intact(), *_drfm(), *_vpfa())
