"""Were the rows of one column measured alike? Those that were not are refused, not set one above the other.

Alike means: under one protocol, and for each network on one field, as far as the run.json of the rows tells. Another
commit is no refusal: most commits decide no number, and `mixed` says where they differ (decisions REPORT-9, REPORT-17).
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from reid_lib.reporting import results

FIELD = ("field", "backbone", "start_weights")  # parameters that say how all methods of a notebook are trained
DECISIVE = (*FIELD, "epochs")
_AGAIN = "Measure them in one way: `reid-lib reproduce --force` with the same parameters."
_PROTOCOL = re.compile(r"genuine LR|MLR \{[\d,]+\}")
_NETWORK = re.compile(r"\((OSNet [^(),]+)[^()]*\)$")  # "LRAR (OSNet x0.25)", "C alone (OSNet x0.25, as it is)"


class MixedError(results.ResultsError):
    """Rows that were not measured alike; the message says what was expected, what was found and what to do."""


def runs_of(rows: pd.DataFrame, record: Mapping) -> dict[results.Group, dict]:
    """The run that measured each group of `rows`, as the content of their run.json tells; what it does not is left out.

    A run is as `results.write` got it, with what that adds.
    """
    runs, found = [record, *record.get("earlier", [])], {}
    for group in results.groups(rows):
        run = next((r for r in runs if any(results.is_covered(group, cover) for cover in r.get("covers", []))), None)
        if run is not None:
            found[group] = run
    return found


def with_fields(rows: pd.DataFrame, root: Path | None = None) -> pd.DataFrame:
    """Measured rows (`results.read_all`) with a column `field`: DECISIVE of the run that measured each, as JSON.

    It is "{}" where no run.json under `root` tells. `check_field` reads it.
    """
    root, parts = root or results.results_root(), []
    for (profile, dataset, paper), own in rows.groupby(["profile", "folder_dataset", "paper"], sort=False):
        runs = runs_of(own, _record(root / profile / dataset / f"{paper}.run.json"))
        told = {group: _decisive(run.get("parameters", {})) for group, run in runs.items()}
        parts.append(own.assign(field=[told.get(group, "{}") for group in results.group_of_each(own)]))
    return pd.concat(parts).loc[rows.index] if parts else rows.assign(field="")


def check_protocol(rows: pd.DataFrame, title: str) -> None:
    """Raise MixedError when two methods of `rows` were measured under different protocols and under no common one.

    A protocol is a setting such as "MLR {2,3,4}" or "genuine LR". Rows at one rate, or without a setting, take no part.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows[["method", "setting"]].drop_duplicates().itertuples():
        if _PROTOCOL.fullmatch(row.setting):
            found[row.setting].add(row.method)
    everyone = set().union(*found.values())
    if len(found) > 1 and not any(methods == everyone for methods in found.values()):
        raise MixedError(f"{title}: one protocol is expected for all methods, found {_listed(found)}. {_AGAIN}")


def check_field(rows: pd.DataFrame, title: str, names: Sequence[str] = DECISIVE) -> None:
    """Raise MixedError when rows of one network come from runs whose parameters `names` differ.

    Only rows with `field` (`with_fields`) are looked at, and of these the parameters that their runs recorded.
    """
    if "field" not in rows:
        return
    network = rows.method.str.extract(_NETWORK)[0].fillna("")
    for _, own in rows.groupby(network):
        found: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in names}
        for row in own[["method", "seed", "field"]].drop_duplicates().itertuples():
            seed = "" if pd.isna(row.seed) else f", seed {row.seed}"
            for name, value in json.loads(row.field).items():
                found.get(name, defaultdict(set))[f"{name} {_short(value)}"].add(f"{row.method}{seed}")
        for name, values in found.items():
            if len(values) > 1:
                said = f"one value of {name} is expected for all rows, found {_listed(values)}"
                raise MixedError(f"{title}: {said}. {_AGAIN}")


def check(rows: pd.DataFrame, title: str) -> None:
    """`check_protocol` and `check_field`: rows that a table sets one above the other."""
    check_protocol(rows, title)
    check_field(rows, title)


# --- helpers -------------------------------------------------------------------------------------


def _record(path: Path) -> dict:
    try:
        return results.record(path)
    except results.ResultsError:  # `results.doubt` says so
        return {}


def _decisive(parameters: Mapping[str, object]) -> str:
    return json.dumps({name: parameters[name] for name in DECISIVE if name in parameters}, sort_keys=True)


def _short(value: object) -> str:
    """A parameter in words: a field as its settings."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={setting}" for name, setting in value.items())
    return str(value) if value != "" else "none"


def _listed(found: Mapping[str, set[str]]) -> str:
    """ "MLR {2,3,4} (A, B and 3 more) and genuine LR (C)"."""
    said = []
    for what, who in sorted(found.items()):
        names = sorted(who)
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        said.append(f"{what} ({', '.join(names[:2])}{more})")
    return " and ".join(said)
