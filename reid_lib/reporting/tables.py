"""Published numbers beside measured ones, for one artefact.

A difference is taken only where both are about the same images. `synth` is not MLR-CUHK03: its numbers
stand beside the published ones, are never subtracted from them, and only the order of the methods is
compared.
"""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from reid_lib.reporting import claims, results
from reid_lib.reporting.artefacts import Artefact

# measured data set -> the papers' names for the same images
SAME_DATA = {
    "viper": ("MLR-VIPeR", "VIPeR"),
    "caviar": ("CAVIAR",),
    "cuhk03": ("MLR-CUHK03", "CUHK03"),
    "market1501": ("MLR-Market-1501", "Market-1501"),
    "dukemtmc": ("MLR-DukeMTMC-reID",),
    "msmt17": ("MLR-MSMT17",),
}
# which published column stands beside a built-in data set: the one most like it comes first
_BESIDE = {"synth-caviar": ("CAVIAR",), "synth-thermal": ("RegDB",)}
_USUAL = ("MLR-CUHK03", "MLR-Market-1501", "Market-1501", "CAVIAR")
METRICS = {
    "rank1": "Rank-1",
    "rank1_gain": "Rank-1 gain",
    "rank1_over_control_gain": "Rank-1 gain over control",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "rank20": "Rank-20",
    "map": "mAP",
    "ssim": "SSIM",
    "psnr": "PSNR (dB)",
    "lpips": "LPIPS",
    "lpips_squeeze": "LPIPS (SqueezeNet)",
}
ONE_FIELD = "One field"  # the artefact of methods trained alike: same network, start, images and schedule
PROTOCOLS = ("genuine LR", "MLR {2,3,4}")  # a data set's own protocol is the first that was measured on it
_SETTINGS = ("HR->HR", "HR->HR, same camera", "r = 2", "r = 3", "r = 4", "r = 8", *PROTOCOLS)
_GAINS = {"rank1_over_control_gain": "gain over control", "rank1_gain": "gain over HR + LR"}
NOT_AVAILABLE = "not available"  # LPIPS without AlexNet's weights, in a line with other measured numbers
# "63.6", "40.0 [38.5, 41.5]", "-3.6 lower"
_NUMERIC = re.compile(r"[+-]?\d[\d.,]*( \[.*\])?( (agrees|higher|lower|no interval))?")
PROFILE_NOTES = {
    "smoke": "Profile smoke: a few steps of a tiny network, to test the code; its numbers mean nothing.",
    "demo": "Profile demo: a small network trained for minutes, not the paper's setting.",
    "paper": "",
}


@dataclass(frozen=True)
class Comparison:
    """Published against measured rows of one artefact; shows itself in a notebook.

    Attributes:
        artefact: what is compared.
        frame: method, setting, metric, published, measured, low, high, difference, verdict. verdict is
        "agrees" (the
            published value lies in the measured interval), "higher", "lower" (than published), "no interval",
            "other data", "not measured" or "not published".
        dataset: the measured data set; against: the published one ("" when the artefact has no published
        numbers). same_data: whether both are the same images; only then is there a difference. note: what a
        reader must know before comparing.
    """

    artefact: Artefact
    frame: pd.DataFrame
    dataset: str
    against: str
    same_data: bool
    note: str

    def _repr_html_(self) -> str:
        note = f"<p><strong>{html.escape(self.note)}</strong></p>" if self.note else ""
        return note + to_html(wide(self))

    def _repr_markdown_(self) -> str:
        return (f"**{self.note}**\n\n" if self.note else "") + to_markdown(wide(self))


def compare(artefact: Artefact, measured: pd.DataFrame, against: str = "", note: str = "") -> Comparison:
    """Set measured rows (COLUMNS; one profile, one data set; seeds are merged) beside the published ones.

    `against` names the published data set; by default the same images if the artefact has them, else the
    likeliest. `note` is the data set's own (for example that its images are not in original size). Raises
    ResultsError for rows of several profiles or data sets, or an unknown `against`.
    """
    rows = measured[(measured.paper == artefact.paper) & (measured.artefact == artefact.name)]
    _check_alone(rows, artefact.title)
    dataset = rows.dataset.iloc[0] if len(rows) else ""
    profile = rows.profile.iloc[0] if len(rows) else ""
    known = results.as_roles(results.published())
    known = known[(known.paper == artefact.paper) & (known.artefact == artefact.name)]
    against = _choose(artefact, list(known.dataset.unique()), dataset, against)
    same = against in SAME_DATA.get(dataset, ())
    frame = _join(known[known.dataset == against], results.merge_seeds(rows), same)
    warning = ""
    if against and dataset and not same:
        warning = f"Measured on {dataset}, published on {against}: other images, so only the order compares."
    notes = [warning, note and f"Data: {note.rstrip('.')}.", PROFILE_NOTES.get(profile, "")]
    return Comparison(artefact, frame, dataset, against, same, " ".join(filter(None, notes)))


def order(comparison: Comparison) -> pd.DataFrame:
    """Do the methods come in the published order? Per metric: pairs, same, reversed, undecided (by interval).

    A pair counts where the published values differ and both are measured.
    """
    frame = comparison.frame.dropna(subset=["published", "measured"])
    lines = []
    for metric, group in frame.groupby("metric", sort=False):
        found = {"holds": 0, "fails": 0, "inconclusive": 0}
        for (_, a), (_, b) in combinations(group.iterrows(), 2):
            if a.published == b.published:
                continue
            high, low = (a, b) if a.published > b.published else (b, a)
            found[claims.compare(_as_row(high), _as_row(low))] += 1
        if sum(found.values()):
            lines.append((metric, sum(found.values()), *found.values()))
    return pd.DataFrame(lines, columns=["metric", "pairs", "same", "reversed", "undecided"])


def wide(comparison: Comparison) -> pd.DataFrame:
    """For reading: one line per method and setting; per metric published, measured and difference."""
    frame = comparison.frame
    printed = set(frame.dropna(subset=["published"]).metric)
    lines, known = {}, {(row.method, row.setting) for row in frame.dropna(subset=["measured"]).itertuples()}
    for row in frame.itertuples():
        name = ", ".join(part for part in (row.method, row.setting) if part)
        line, metric = lines.setdefault(name, {"method": name}), METRICS.get(row.metric, row.metric)
        if row.metric in printed:
            line[f"{metric} published"] = number(row.published, row.metric)
        measured = with_interval(row.measured, row.low, row.high, row.metric)
        without = row.metric == "lpips" and (row.method, row.setting) in known
        line[f"{metric} measured"] = measured or (NOT_AVAILABLE if without else "")
        if comparison.same_data and row.metric in printed:
            sign = "" if pd.isna(row.difference) else f"{row.difference:+.1f}"
            line[f"{metric} difference"] = f"{sign} {row.verdict}".strip() if sign else ""
    return pd.DataFrame(list(lines.values())).fillna("")


def measured_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Measured rows alone, for reading: one line per method and setting, one column per metric, as text."""
    lines = {}
    for row in results.merge_seeds(rows).itertuples():
        line = lines.setdefault((row.method, row.setting), {"method": row.method, "setting": row.setting})
        line[METRICS.get(row.metric, row.metric)] = with_interval(row.value, row.low, row.high, row.metric)
    for row in rows[(rows.metric == "lpips") & rows.value.isna()].itertuples():
        if (row.method, row.setting) in lines:
            lines[row.method, row.setting].setdefault(METRICS["lpips"], NOT_AVAILABLE)
    table = pd.DataFrame(list(lines.values())).fillna("")
    return table.drop(columns="setting") if len(table) and (table.setting == "").all() else table


def field_table(rows: pd.DataFrame, columns: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Methods trained on one field, for reading: one line for each method of `columns`, in that order, as text.

    `columns` has what a reader must know of each method ({"LRAR": {"images": "14,400", "steps": "450"}}). Then come the
    number of trainings, Rank-1 at every setting that was measured, and under the data set's own protocol the paired
    gains. What was not measured is empty, and so is the gain of a method over itself, which has no row. Rows of other
    artefacts and methods take no part. Raises ResultsError for rows of several profiles or data sets.
    """
    rows = rows[rows.artefact == ONE_FIELD]
    _check_alone(rows, ONE_FIELD)
    merged = results.merge_seeds(rows)
    rank1, own = merged[merged.metric == "rank1"], protocol(merged)
    settings = [setting for setting in _SETTINGS if setting in set(rank1.setting)]
    shown = {
        (row.method, row.setting, row.metric): with_interval(row.value, row.low, row.high, row.metric)
        for row in merged.itertuples()
    }
    lines = []
    for method, facts in columns.items():
        line = {"method": method, **facts, "trainings": trainings(rank1[rank1.method == method])}
        line |= {f"Rank-1, {setting}": shown.get((method, setting, "rank1"), "") for setting in settings}
        lines.append(line | {title: shown.get((method, own, metric), "") for metric, title in _GAINS.items()})
    return pd.DataFrame(lines).fillna("")


def protocol(rows: pd.DataFrame) -> str:
    """The setting of a data set's own protocol, "" when it was not measured."""
    return next((setting for setting in PROTOCOLS if setting in set(rows.setting)), "")


def trainings(merged: pd.DataFrame) -> str:
    """How many trainings stand behind merged rows: "3", "1 to 3" where they differ, "" without rows."""
    return " to ".join(f"{seeds}" for seeds in sorted({merged.seeds.min(), merged.seeds.max()})) if len(merged) else ""


def number(value: float, metric: str = "rank1") -> str:
    """One number as text, "" when absent: percents and PSNR to 0.1, others to three significant digits."""
    if pd.isna(value):
        return ""
    if metric.endswith("_gain"):
        return f"{value:+.1f}"
    if metric.startswith("rank") or metric in ("map", "psnr"):
        return f"{value:.1f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def with_interval(value: float, low: float, high: float, metric: str = "rank1") -> str:
    """ "63.6 [60.0, 67.0]", or the value alone when there is no interval."""
    if pd.isna(value) or pd.isna(low):
        return number(value, metric)
    return f"{number(value, metric)} [{number(low, metric)}, {number(high, metric)}]"


def to_html(frame: pd.DataFrame) -> str:
    """A plain HTML table (class "rows"), everything escaped, numbers to the right."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in frame.itertuples(index=False))
    return f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def to_markdown(frame: pd.DataFrame) -> str:
    """A pipe table for README and docs."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines) + "\n"


# --- helpers -------------------------------------------------------------------------------------


def _check_alone(rows: pd.DataFrame, title: str) -> None:
    for column in ("profile", "dataset"):
        if rows[column].nunique() > 1:
            raise results.ResultsError(f"{title}: one {column} at a time, found {sorted(rows[column].unique())}.")


def _choose(artefact: Artefact, published: list[str], dataset: str, against: str) -> str:
    if against and against not in published:
        raise results.ResultsError(
            f"{artefact.title} has no published numbers on {against!r}: choose from {published or 'none'}."
        )
    wanted: Iterable[str] = (*SAME_DATA.get(dataset, ()), *_BESIDE.get(dataset, ()), *_USUAL, *published)
    return against or next((name for name in wanted if name in published), "")


def _join(published: pd.DataFrame, measured: pd.DataFrame, same: bool) -> pd.DataFrame:
    key = ["method", "setting", "metric"]
    left = published[[*key, "value"]].rename(columns={"value": "published"})
    right = measured[[*key, "value", "low", "high"]].rename(columns={"value": "measured"})
    frame = left.merge(right, how="outer", on=key)
    order = pd.concat([left[key], right[key]]).drop_duplicates()  # the paper's order, then what only we have
    frame = order.merge(frame, on=key).reset_index(drop=True)
    frame["difference"] = frame.measured - frame.published if same else float("nan")
    frame["verdict"] = [_verdict(row, same) for row in frame.itertuples()]
    return frame


def _verdict(row, same: bool) -> str:
    if pd.isna(row.measured):
        return "not measured"
    if pd.isna(row.published):
        return "not published"
    if not same:
        return "other data"
    if pd.isna(row.low):
        return "no interval"
    return "higher" if row.low > row.published else "lower" if row.high < row.published else "agrees"


def _as_row(row: pd.Series) -> claims.Row:
    return claims.Row(row.method, row.setting, row.metric, row.measured, row.low, row.high)


def _cell(value: object) -> str:
    text = "" if value is None or value != value else str(value)
    numeric = _NUMERIC.fullmatch(text)
    return f"<td{' class=number' if numeric else ''}>{html.escape(text)}</td>"
