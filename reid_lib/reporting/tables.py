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

from reid_lib.reporting import alike, claims, results
from reid_lib.reporting.artefacts import Artefact

# measured data set -> the papers' names for the same images
SAME_DATA = {
    "viper": ("MLR-VIPeR", "VIPeR"),
    "caviar": ("CAVIAR",),
    "cuhk03": ("MLR-CUHK03", "CUHK03"),
    "market1501": ("MLR-Market-1501", "Market-1501"),
    "dukemtmc": ("MLR-DukeMTMC-reID",),
    "msmt17": ("MLR-MSMT17",),
    "regdb": ("RegDB",),
}
# which published column stands beside a built-in data set: the one most like it comes first
_BESIDE = {"synth-caviar": ("CAVIAR",), "synth-thermal": ("RegDB",)}
_USUAL = ("MLR-CUHK03", "MLR-Market-1501", "Market-1501", "CAVIAR")
METRICS = {
    "rank1": "Rank-1",
    "rank1_gain": "Rank-1 gain",
    "rank1_over_control_gain": "Rank-1 gain over control",
    "rank1_over_seen_gain": "Rank-1 gain over seen",
    "rank1_over_down_sampled_gain": "Rank-1 gain over down-sampled",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "rank20": "Rank-20",
    "map": "mAP",
    "ssim": "SSIM",
    "psnr": "PSNR (dB)",
    "lpips": "LPIPS",
    "lpips_squeeze": "LPIPS (SqueezeNet)",
    "level_accuracy": "level accuracy (%)",
    "rate_accuracy": "rate accuracy (%)",
    "silhouette_identity": "silhouette by identity",
    "silhouette_rate": "silhouette by rate",
    **{f"cca{number}": f"canonical correlation {number}" for number in (1, 2, 3)},
    "pearson_mean": "Pearson's r, mean",
    "pearson_std": "Pearson's r, standard deviation",
    "percent_above_0.4": "Pearson's r above 0.4 (%)",
    "f_score": "F-score (%)",
    "distance_same": "distance, one resolution",
    "distance_cross": "distance, across resolutions",
    "distance_gap": "gap",
    "largest_weight_percent": "largest weight (%)",
    "mean_weight_percent": "mean weight, 1/d (%)",
    "distance_before": "distance before",
    "distance_after": "distance after",
    "reduction_percent": "reduction (%)",
    "parameters_million": "parameters (million)",
    "inference_samples_per_second": "inference (samples per second)",
    "place": "mean place (1 is best)",
    "lost_percent": "people lost (%)",
    "multiply_adds_million": "multiply-adds of a query (million)",
    "milliseconds": "time of a query (ms)",
    "training_seconds": "training (s)",
}
_OTHER_RANKS = ("rank5", "rank10", "rank20")  # in the CSV, and not shown beside Rank-1
ONE_FIELD = "One field"  # the artefact of methods trained alike: same network, start, images and schedule
PROTOCOLS = ("genuine LR", "MLR {2,3,4}")  # a data set's own protocol is the first that was measured on it
_SETTINGS = ("HR->HR", "HR->HR, same camera", "r = 2", "r = 3", "r = 4", "r = 8", *PROTOCOLS)
_GAINS = {"rank1_over_control_gain": "gain over control", "rank1_gain": "gain over HR + LR"}
NOT_AVAILABLE = "not available"  # LPIPS without AlexNet's weights, in a line with other measured numbers
_PERCENT = re.compile("percent|accuracy")
_WITHIN_ONE = re.compile("ssim|lpips|silhouette|cosine|cca|pearson")
# "63.6", "40.0 [38.5, 41.5]", "-3.6 lower"
_NUMERIC = re.compile(r"[+-]?\d[\d.,]*(\s\[.*\])?(\s(agrees|higher|lower|no\sinterval))?")
# A notebook sets all cells to the right. GitHub takes no style, so a number's spaces do not break either.
NOTEBOOK_STYLE = (
    "<style>table.rows td, table.rows th { text-align: left; vertical-align: top } "
    "table.rows td.number { text-align: right; white-space: nowrap }</style>"
)
PROFILE_NOTES = {
    "smoke": "Profile smoke: a few steps of a tiny network, to test the code; its numbers mean nothing.",
    "demo": "Profile demo: a small network trained for minutes, not the paper's setting.",
    "paper": "",
}


@dataclass(frozen=True, repr=False)
class Comparison:  # decision REPORT-13
    """Published against measured rows of one artefact; shows itself in a notebook, measured rows first.

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
        own = measured_lines(self)
        table = to_html(own.map(_unbroken)) if len(own) else "<p>Nothing was measured.</p>"
        return NOTEBOOK_STYLE + note + table + published_fold(self)

    def _repr_markdown_(self) -> str:
        own, printed = measured_lines(self), published_lines(self)
        parts = [f"**{self.note}**\n" if self.note else ""]
        parts.append(to_markdown(own) if len(own) else "Nothing was measured.\n")
        if len(printed):
            title = html.escape(_published_title(self))
            parts.append(f"<details><summary>{title}</summary>\n\n{to_markdown(printed)}\n</details>\n")
        return "\n".join(filter(None, parts))

    def __repr__(self) -> str:
        own, printed = measured_lines(self), published_lines(self)
        parts = [self.note, to_plain(own) if len(own) else "Nothing was measured."]
        parts += [f"{_published_title(self)}:\n{to_plain(printed)}"] if len(printed) else []
        return "\n\n".join(filter(None, parts))


def compare(artefact: Artefact, measured: pd.DataFrame, against: str = "", note: str = "") -> Comparison:
    """Set measured rows (COLUMNS; one profile, one data set; seeds are merged) beside the published ones.

    `against` names the published data set; by default the same images if the artefact has them, else the
    likeliest. `note` is the data set's own (for example that its images are not in original size). Raises
    ResultsError for rows of several profiles or data sets, or an unknown `against`, and alike.MixedError for rows of
    several protocols or fields.
    """
    rows = measured[(measured.paper == artefact.paper) & (measured.artefact == artefact.name)]
    check_alone(rows, artefact.title)
    alike.check(rows, artefact.title)
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


def measured_lines(comparison: Comparison) -> pd.DataFrame:
    """What was measured, as text: one line per method and setting, one column per metric.

    Of the ranks there is only Rank-1. On the published images each metric has its difference to the published value.
    """
    lines, frame = _Lines(), comparison.frame
    for row in _shown(frame[frame.measured.notna()]).itertuples():
        name = METRICS.get(row.metric, row.metric)
        lines.add(row.method, row.setting, name, with_interval(row.measured, row.low, row.high, row.metric))
        if not pd.isna(row.difference):
            lines.add(row.method, row.setting, f"{name} to published", f"{_signed(row)} {row.verdict}")
    return _ordered(_with_lpips(lines.table(), frame))


def published_lines(comparison: Comparison) -> pd.DataFrame:
    """What the paper printed, as text: one line per method and setting, one column per metric, in its order."""
    lines = _Lines()
    for row in comparison.frame.dropna(subset=["published"]).itertuples():
        lines.add(row.method, row.setting, METRICS.get(row.metric, row.metric), number(row.published, row.metric))
    return lines.table()


def published_fold(comparison: Comparison) -> str:
    """The published rows in a block of HTML that a reader opens; "" when the paper printed none."""
    printed = published_lines(comparison)
    if not len(printed):
        return ""
    title = html.escape(_published_title(comparison))
    return f'<details><summary>{title}</summary><div class="scroll">{to_html(printed)}</div></details>'


def measured_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Measured rows alone, for reading: one line per method and setting, one column per metric, as text.

    Of the ranks there is only Rank-1.
    """
    lines = _Lines()
    for row in _shown(results.merge_seeds(rows)).itertuples():
        text = with_interval(row.value, row.low, row.high, row.metric)
        lines.add(row.method, row.setting, METRICS.get(row.metric, row.metric), text)
    return _ordered(_with_lpips(lines.table(), rows))


def field_table(rows: pd.DataFrame, columns: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Methods trained on one field, for reading: one line for each method of `columns`, in that order, as text.

    First come the paired gains under the data set's own protocol, Rank-1 under it and at every other setting, and the
    number of trainings, then what `columns` says of each method ({"LRAR": {"images": "10,240", "steps": "320"}}). What
    was not measured is empty, and so is the gain of a method over itself, which has no row. Rows of other artefacts and
    methods take no part. Raises ResultsError for rows of several profiles or data sets, alike.MixedError for rows of
    several protocols or fields.
    """
    rows = rows[(rows.artefact == ONE_FIELD) & rows.method.isin(list(columns))]
    check_alone(rows, ONE_FIELD)
    alike.check(rows, ONE_FIELD)
    merged = results.merge_seeds(rows)
    rank1, own = merged[merged.metric == "rank1"], protocol(merged)
    settings = [setting for setting in dict.fromkeys((own, *_SETTINGS)) if setting in set(rank1.setting)]
    shown = {
        (row.method, row.setting, row.metric): with_interval(row.value, row.low, row.high, row.metric)
        for row in merged.itertuples()
    }
    lines = []
    for method, facts in columns.items():
        line = {"method": method}
        line |= {title: shown.get((method, own, metric), "") for metric, title in _GAINS.items()}
        line |= {f"Rank-1, {setting}": shown.get((method, setting, "rank1"), "") for setting in settings}
        lines.append(line | {"trainings": trainings(rank1[rank1.method == method]), **facts})
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
    if metric.startswith("rank") or metric in ("map", "psnr") or _PERCENT.search(metric):
        return f"{value:.1f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def with_interval(value: float, low: float, high: float, metric: str = "rank1") -> str:
    """ "63.6 [60.0, 67.0]", or the value alone when there is no interval.

    What is measured within -1 and 1 has three decimals everywhere; a paper prints fewer.
    """
    shown = [
        f"{one:.3f}" if _WITHIN_ONE.match(metric) and not pd.isna(one) else number(one, metric)
        for one in (value, low, high)
    ]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" if shown[0] and shown[1] else shown[0]


def to_html(frame: pd.DataFrame) -> str:
    """A plain HTML table (class "rows"), everything escaped, numbers to the right."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in frame.itertuples(index=False))
    return f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def to_markdown(frame: pd.DataFrame) -> str:
    """A pipe table for README and docs."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines) + "\n"


def to_plain(frame: pd.DataFrame) -> str:
    """A table in columns of equal width, numbers to the right, for where there is only text."""
    cells = [list(map(str, frame.columns)), *([str(cell) for cell in line] for line in frame.itertuples(index=False))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        [
            cell.rjust(width) if _NUMERIC.fullmatch(cell) else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)
        ]
        for line in cells
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


# --- helpers -------------------------------------------------------------------------------------


class _Lines:
    """Cells of a table as they come: a line per method and setting, a column per metric."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], dict[str, str]] = {}

    def add(self, method: str, setting: str, column: str, text: str) -> None:
        self.known.setdefault((method, setting), {"method": method, "setting": setting})[column] = text

    def table(self) -> pd.DataFrame:
        """All lines; without settings no column of them."""
        table = pd.DataFrame(list(self.known.values())).fillna("")
        return table.drop(columns="setting") if len(table) and (table.setting == "").all() else table


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` without the other ranks where there is Rank-1."""
    return rows[~rows.metric.isin(_OTHER_RANKS)] if (rows.metric == "rank1").any() else rows


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rank-1 and mAP before the other columns."""
    first = [name for start in (METRICS["rank1"], METRICS["map"]) for name in (start, f"{start} to published")]
    first = ["method", "setting", *first]
    return table[sorted(table.columns, key=lambda name: first.index(name) if name in first else len(first))]


def _with_lpips(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """`table`, in which LPIPS is not available where image quality was measured without it, if `rows` name it."""
    quality = [METRICS[metric] for metric in ("ssim", "psnr") if METRICS[metric] in table]
    if not quality or not (rows.metric == "lpips").any():
        return table
    lpips = table.get(METRICS["lpips"], pd.Series("", table.index))
    without = (lpips == "") & (table[quality] != "").any(axis=1)
    return table.assign(**{METRICS["lpips"]: lpips.mask(without, NOT_AVAILABLE)})


def _published_title(comparison: Comparison) -> str:
    return "Published rows" + (f" ({comparison.against})" if comparison.against else "")


def _signed(row) -> str:
    text = number(row.difference, row.metric)
    return text if text.startswith(("-", "+")) else f"+{text}"


def _unbroken(text: str) -> str:
    """A number whose interval stays on its line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}") if _NUMERIC.fullmatch(text) else text


def check_alone(rows: pd.DataFrame, title: str) -> None:
    """Raise ResultsError, naming the table, for rows of several profiles or data sets."""
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
