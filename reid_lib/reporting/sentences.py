"""What a table shows, in two or three plain sentences: which of them are said, and their numbers, follow from the rows.

Two methods are compared by the 95 % interval of their difference, as `claims` does it; paired gains have their own.
Rows are measured ones (COLUMNS) of one data set; their seeds are merged here (`results.merge_seeds`).

    Markdown(sentences.ranking(rows, "rank1", ["LRAR", "IDE + Verif", "HR + LR"], yardstick="HR + LR"))
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import hypot, isnan

import pandas as pd

from reid_lib.intervals import is_percentage
from reid_lib.reporting import claims, results, tables
from reid_lib.reporting.alt import listed
from reid_lib.reporting.claims import Row

_LOWER_IS_BETTER = ("lpips", "lpips_squeeze", "distance_before", "distance_after")
_UNDECIDED = "the interval holds 0: undecided"
_ROLES = {"control": "its control", "yardstick": "the yardstick"}
_GAINS = {"control": "rank1_over_control_gain", "yardstick": "rank1_gain"}
_ALONE = ("profile", "dataset", "artefact")
_NAN = float("nan")


def ranking(
    rows: pd.DataFrame, metric: str, names: Sequence[str], yardstick: str | None = None, setting: str | None = None
) -> str:
    """Say who is first, by how much over the second and over the yardstick, and whether the intervals decide it.

    Args:
        rows: measured rows; those of other metrics take no part.
        metric: "rank1", "map", "ssim", "lpips", ...
        names: the methods that compete; a yardstick competes too.
        yardstick: the method that the others must beat.
        setting: of the rows; None where they have one.

    Raises:
        ResultsError: rows of several data sets, profiles or settings.
    """
    names = list(dict.fromkeys([*names, *([yardstick] if yardstick else [])]))
    found = {row.method: row for row in _rows(rows, metric, setting) if row.method in names}
    missing = _missing(names, found)
    if len(found) < 2:
        return " ".join(filter(None, ["There are not two methods to compare.", missing]))
    lower = metric in _LOWER_IS_BETTER
    first, second, *_ = sorted(found.values(), key=lambda row: row.value if lower else -row.value)
    what = tables.METRICS.get(metric, metric)
    said = [f"{first.method} has the {'lowest' if lower else 'highest'} {what}, {_shown(first)}."]
    said.append(_lead(first, second, "the second and the yardstick" if second.method == yardstick else "the second"))
    told = [first, second]
    if first.method == yardstick:
        said.append("It is the yardstick: no other method is above it.")
    elif yardstick in found and second.method != yardstick:
        told.append(found[yardstick])
        said.append(_lead(first, found[yardstick], "the yardstick"))
    return " ".join(filter(None, [*said, _seeds(told), missing]))


def ablation(
    rows: pd.DataFrame,
    full: str,
    metric: str = "rank1",
    without: Sequence[str] | None = None,
    setting: str | None = None,
) -> str:
    """Say which part costs most when it is removed, which costs nothing that can be told, and whether a removal helps.

    Args:
        rows: measured rows.
        full: the method with all parts.
        metric: of which a method should have much, or little (LPIPS).
        without: the methods that lack a part; None: those named "w/o ...".
        setting: of the rows; None where they have one.

    Raises:
        ResultsError: rows of several data sets, profiles or settings.
    """
    found = {row.method: row for row in _rows(rows, metric, setting)}
    without = [name for name in found if name.startswith("w/o ")] if without is None else list(without)
    parts = [found[name] for name in without if name in found]
    missing = _missing([full, *without], found)
    if full not in found or not parts:
        return " ".join(filter(None, [f"What the parts of {full} are worth cannot be told.", missing]))
    told = [*_costs(found[full], parts), *_unclear(found[full], parts), _helps(found[full], parts)]
    return " ".join(filter(None, [*told, _seeds([found[full], *parts]), missing]))


def by_rate(rows: pd.DataFrame, settings: Sequence[str], method: str, metric: str = "rank1") -> str:
    """Say how much a method loses from the first setting to the last, and between which neighbours most.

    Args:
        rows: measured rows.
        settings: in their order, from HR to the lowest resolution.
        method: its name.
        metric: "rank1" or "map".

    Raises:
        ResultsError: rows of several data sets or profiles.
    """
    own = {row.setting: row for row in _rows(rows, metric, any_setting=True) if row.method == method}
    chosen = [own[setting] for setting in settings if setting in own]
    missing = _missing([f"{method} at {setting}" for setting in settings], {f"{method} at {name}" for name in own})
    if len(chosen) < 2:
        return " ".join(filter(None, [f"What {method} loses cannot be told.", missing]))
    what, loss = tables.METRICS.get(metric, metric), _difference(chosen[0], chosen[-1])
    verb = "gains" if loss.value < 0 else "loses"
    said = [
        f"{method} {verb} {_amount(loss if loss.value >= 0 else _turned(loss))} of {what} from {chosen[0].setting} to "
        f"{chosen[-1].setting}{_doubt(loss)}."
    ]
    steps = [(_difference(a, b), a.setting, b.setting) for a, b in pairwise(chosen)]
    step, before, after = max(steps, key=lambda one: one[0].value)
    if len(steps) > 1 and step.value > 0:
        said.append(f"The largest loss of a step is {_amount(step)}, from {before} to {after}{_doubt(step)}.")
    return " ".join(filter(None, [*said, _seeds(chosen), missing]))


def field(rows: pd.DataFrame, method: str, control: str, yardstick: str, setting: str | None = None) -> str:
    """Say what a method gains over its control and over HR + LR, trained alike, and what follows.

    Args:
        rows: measured rows of the artefact "One field"; others take no part.
        method, control, yardstick: names of methods, as in `Session.measure_on_field`.
        setting: None: the data set's own protocol.

    Raises:
        ResultsError: rows of several data sets or profiles.
    """
    gains, names, setting = _on_field(rows, method, control, yardstick, setting)
    lacking = listed(f"{names[role]} ({_role(role, names)})" for role, row in gains.items() if row is None)
    missing = f"Not measured: the gain of {method} over {lacking}." if lacking else ""
    known = [row for row in gains.values() if row is not None]
    if not known:
        return missing
    said = f"{_gained(method, gains, names, setting)}."
    return " ".join(filter(None, [said, _conclusion(gains), _seeds(known), missing]))


def result(rows: pd.DataFrame, method: str, control: str, yardstick: str) -> str:
    """Say in one sentence what a method gains on one field, and in how many trainings: for a notebook's first screen.

    Args:
        rows: all rows of a results folder, or none; those of other artefacts take no part.
        method, control, yardstick: as for `field`.

    Raises:
        ResultsError: rows of several data sets or profiles.
    """
    gains, names, setting = _on_field(rows, method, control, yardstick, None)
    known = [row for row in gains.values() if row is not None]
    if not known:
        return f"What {method} gains is not measured here yet: the cells below do it."
    trainings = min(row.seeds for row in known)
    behind = "one training" if trainings == 1 else f"{trainings} trainings"
    return f"{_gained(method, gains, names, setting)}, in {behind}."


def gradient(rows: pd.DataFrame, critic: str, without: str, loss: str) -> str:
    """Say whether the gradient of a loss in a network's first layers is larger with a critic than without (INTACT).

    Args:
        rows: measured rows; those of the metric "first_gradient" take part.
        critic, without: the methods with and without the critic.
        loss: the setting of the rows to compare.

    Raises:
        ResultsError: rows of several data sets or profiles.
    """
    found = {row.method: row for row in _rows(rows[rows.setting == loss], "first_gradient")}
    missing = _missing([critic, without], found)
    if missing:
        return missing
    a, b = found[critic], found[without]
    what = {
        1: "It is larger with the critic",
        -1: "It is smaller with the critic",
        0: "The intervals do not tell which",
    }
    told = f"The gradient of {loss} in the first layers is {_shown(a)} in {critic} and {_shown(b)} in {without}."
    return " ".join(filter(None, [told, f"{what[_decided(_difference(a, b))]}.", _seeds([a, b])]))


def sign(rows: pd.DataFrame) -> str:
    """Say whether a quantity is smaller where a query is matched right, from its AUC in each setting (INTACT).

    Args:
        rows: measured rows; those of the metric "auc_percent" take part, one setting for each group of queries.
    """
    found = _rows(rows, "auc_percent", any_setting=True)
    if not found:
        return "Not measured: no group of queries has right and wrong matches."
    chance = Row("", "", "auc_percent", 50.0)
    decided = [_decided(_difference(row, chance)) for row in found]
    each = listed(f"{_shown(row)} for {row.setting}" for row in found)
    if min(decided) > 0:
        verdict = "It is above chance everywhere: a small value is a sign of a right match."
    elif max(decided) > 0:
        verdict = "It is above chance in some groups only: a weak sign of a right match."
    else:
        verdict = "It is nowhere above chance: a small value is no sign of a right match."
    return " ".join(filter(None, [f"The AUC is {each} (chance: 50 %).", verdict, _seeds(found)]))


# --- one field -----------------------------------------------------------------------------------


def _on_field(
    rows: pd.DataFrame, method: str, control: str, yardstick: str, setting: str | None
) -> tuple[dict[str, Row | None], dict[str, str], str]:
    """Both gains of a method (None: not measured) and the other's name, by role; and the setting."""
    rows = rows[rows.artefact == tables.ONE_FIELD]
    setting = tables.protocol(rows) if setting is None else setting
    names = {"control": control, "yardstick": yardstick}
    if control == yardstick:
        names = {"yardstick": yardstick}
    gains = {}
    for role in names:
        found = _rows(rows, _GAINS[role], any_setting=True)
        gains[role] = next((row for row in found if (row.method, row.setting) == (method, setting)), None)
    return gains, names, setting


def _role(role: str, names: Mapping[str, str]) -> str:
    return _ROLES[role] if len(names) > 1 else "its control and yardstick"


def _gained(method: str, gains: Mapping[str, Row | None], names: Mapping[str, str], setting: str) -> str:
    """The sentence on the gains that are measured, without its full stop."""
    told = [_above(row, names[role], _role(role, names)) for role, row in gains.items() if row is not None]
    return f"{f'Under {setting}, the' if setting else 'The'} Rank-1 of {method} is {' and '.join(told)}"


# --- numbers -------------------------------------------------------------------------------------


def _rows(rows: pd.DataFrame, metric: str, setting: str | None = None, any_setting: bool = False) -> list[Row]:
    """Merged rows of a metric; ResultsError when they are of several data sets or, unless any is wanted, settings."""
    rows = rows[rows.metric == metric]
    rows = rows if setting is None else rows[rows.setting == setting]
    for column in _ALONE if any_setting else (*_ALONE, "setting"):
        if rows[column].nunique() > 1:
            raise results.ResultsError(
                f"Sentences are about one {column} at a time, found {sorted(rows[column].unique())}: choose one."
            )
    merged = results.merge_seeds(rows).dropna(subset=["value"])
    return [Row(*cells) for cells in merged[list(Row._fields)].itertuples(index=False)]


def _difference(a: Row, b: Row, sign: int = 1) -> Row:
    """a - b (sign -1: b - a) as a row, with the interval of `claims`: half widths that face each other, squared."""
    if sign < 0:
        a, b = b, a
    value, seeds = a.value - b.value, min(a.seeds, b.seeds)
    if isnan(a.low) and isnan(b.low):
        return Row("", "", a.metric, value, seeds=seeds)
    below = hypot(_side(a.value - a.low), _side(b.high - b.value))
    above = hypot(_side(a.high - a.value), _side(b.value - b.low))
    return Row("", "", a.metric, value, value - below, value + above, seeds)


def _side(half: float) -> float:
    return 0.0 if isnan(half) else max(half, 0.0)


def _turned(difference: Row) -> Row:
    return difference._replace(value=-difference.value, low=-difference.high, high=-difference.low)


def _decided(difference: Row) -> int:
    """1: above 0; -1: below 0; 0: the interval holds 0. Without an interval the number stands as it is."""
    low, high = (difference.value if isnan(end) else end for end in (difference.low, difference.high))
    return 1 if low > 0 else -1 if high < 0 else 0


def _cost(full: Row, part: Row) -> Row:
    """What is lost without the part: above 0 where `full` is better."""
    return _difference(full, part, -1 if full.metric in _LOWER_IS_BETTER else 1)


# --- words ---------------------------------------------------------------------------------------


def _shown(row: Row) -> str:
    return tables.with_interval(row.value, row.low, row.high, row.metric)


def _amount(difference: Row, signed: bool = False) -> str:
    """ "2.1 points [0.9, 3.2]", with the metric's unit."""
    metric = difference.metric
    points = is_percentage(metric) or metric.endswith("_gain")
    unit = " points" if points else " dB" if metric == "psnr" else ""
    ends = [tables.with_interval(end, _NAN, _NAN, "rank1" if points else metric) for end in difference[3:6]]
    start = "+" if signed and difference.value > 0 else ""
    return f"{start}{ends[0]}{unit}" + (f" [{ends[1]}, {ends[2]}]" if ends[1] else "")


def _lead(first: Row, other: Row, role: str) -> str:
    lead = _difference(first, other, -1 if first.metric in _LOWER_IS_BETTER else 1)
    return f"It leads {other.method}, {role}, by {_amount(lead)}{_doubt(lead)}."


def _costs(full: Row, parts: Sequence[Row]) -> list[str]:
    """The parts whose removal costs something, the dearest first."""
    what, worse = tables.METRICS.get(full.metric, full.metric), "rises" if full.metric in _LOWER_IS_BETTER else "falls"
    dear = sorted((part for part in parts if _decided(_cost(full, part)) == 1), key=lambda p: -_cost(full, p).value)
    if not dear:
        return [f"No part of {full.method} costs {what} when it is removed, as far as the intervals can tell."]
    most, *others = (f"{_without(part.method)}, by {_amount(_cost(full, part))}" for part in dear)
    return [f"{what} {worse} most {most}{f'; it also {worse} {listed(others)}' if others else ''}."]


def _unclear(full: Row, parts: Sequence[Row]) -> list[str]:
    """The parts of which the interval cannot tell whether they count, with what changes without them."""
    open_ = [part for part in parts if _decided(_cost(full, part)) == 0]
    if not open_:
        return []
    changes = listed(f"{_without(part.method)} ({_amount(_difference(part, full), signed=True)})" for part in open_)
    holds = "the interval holds 0" if len(open_) == 1 else "the intervals hold 0"
    return [f"Whether {tables.METRICS.get(full.metric, full.metric)} changes {changes} cannot be told: {holds}."]


def _helps(full: Row, parts: Sequence[Row]) -> str:
    """The parts without which the method is better."""
    better = "falls" if full.metric in _LOWER_IS_BETTER else "rises"
    helped = listed(
        f"{_without(part.method)}, by {_amount(_turned(_cost(full, part)))}"
        for part in parts
        if _decided(_cost(full, part)) == -1
    )
    return f"It {better} {helped}: there a removal helps." if helped else "No removal is seen to help."


def _above(gain: Row, name: str, role: str) -> str:
    """ "2.1 points [0.9, 3.2] above that of IDE + Verif (its control)"."""
    where, shown = ("above", gain) if gain.value >= 0 else ("below", _turned(gain))
    doubt = f"; {_UNDECIDED}" if _doubt(gain) else ""
    return f"{_amount(shown)} {where} that of {name} ({role}{doubt})"


def _doubt(difference: Row) -> str:
    """What follows an amount that its interval does not decide."""
    return f" ({_UNDECIDED})" if _decided(difference) == 0 and not isnan(difference.low) else ""


def _conclusion(gains: dict[str, Row | None]) -> str:
    """What the gains together say of the method; "" where one is missing or has one training behind it."""
    if any(row is None or row.seeds == 1 for row in gains.values()):
        return ""
    over = {role: _decided(row) for role, row in gains.items()}
    pays = {
        1: "What the method adds pays",
        0: "Whether what the method adds pays cannot be told",
        -1: "What the method adds costs Rank-1",
    }
    stands = {
        1: "and it is better than a plain network trained alike",
        0: "and whether it is better than a plain network trained alike cannot be told",
        -1: "and a plain network trained alike is better",
    }
    if "control" not in over:
        return f"{pays[over['yardstick']]}."
    return f"{pays[over['control']]}, {stands[over['yardstick']]}."


def _seeds(rows: Sequence[Row]) -> str:
    """A sentence where a row has one training behind it."""
    return f"{claims.ONE_SEED.capitalize()}." if any(row.seeds == 1 for row in rows) else ""


def _missing(names: Sequence[str], found: Sequence[str]) -> str:
    absent = [name for name in names if name not in found]
    return f"Not measured: {listed(absent)}." if absent else ""


def _without(name: str) -> str:
    return f"without {name.removeprefix('w/o ')}" if name.startswith("w/o ") else f"for {name}"
