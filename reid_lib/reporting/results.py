"""Tidy results and their provenance.

One row is one number. Measured rows live in `results/<profile>/<dataset>/<paper>.csv`; what was run to get
them is in `<paper>.run.json` beside it, which is written last: a CSV without a matching run.json is an
unfinished run. The papers' own numbers are in `results/published.csv` (the first seven columns).
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from reid_lib import files
from reid_lib.digest import file_digest
from reid_lib.intervals import seeds_interval, standard_error
from reid_lib.profiles import PROFILES, check_profile
from reid_lib.reporting.record import fault
from reid_lib.status import counted

PUBLISHED_COLUMNS = ("paper", "artefact", "dataset", "method", "setting", "metric", "value")
COLUMNS = (*PUBLISHED_COLUMNS, "profile", "seed", "trials", "low", "high")
KEY = ("paper", "artefact", "dataset", "method", "setting", "metric", "profile", "seed")

VERDICTS_FILE = "claims"  # beside the measured files: the verdicts on them (`reporting.verdicts`)
FROZEN_MODEL = "frozen model"  # the role of the model behind which VPFA stands

_TEXT = ("paper", "artefact", "dataset", "method", "setting", "metric", "profile")
_NUMBERS = ("value", "low", "high")
_COUNTS = ("seed", "trials")
_PERCENT = re.compile(r"rank\d+|map")

Rows = pd.DataFrame | Sequence[Mapping[str, object]]
Group = tuple[str, str, str, int | None]  # artefact, data set, method, seed: what one run measures, or measures again


class ResultsError(ValueError):
    """A result file or a row is not what it must be; the message says what to do."""


# --- where ----------------------------------------------------------------------------------------


def project_root() -> Path | None:
    """The folder that holds this project's pyproject.toml beside the package, or None for an installed copy."""
    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    # careless wheels of others leave theirs in site-packages
    return file.parent if file.is_file() and 'name = "reid-lib"' in file.read_text(encoding="utf-8") else None


def results_root() -> Path:
    """REID_LIB_RESULTS if set, else `results` beside the package's pyproject.toml, else ./results."""
    if os.environ.get("REID_LIB_RESULTS"):
        return Path(os.environ["REID_LIB_RESULTS"])
    return (project_root() or Path()) / "results"


def folder(profile: str, dataset: str) -> Path:
    """results/<profile>/<dataset>. Raises ResultsError for an unknown profile or an impossible name."""
    check_profile(profile, ResultsError)
    return results_root() / profile / _plain_name(dataset, "data set")


def check_writable(folder: Path) -> None:
    """Create `folder` and try to write there: call it before long work. Raises ResultsError when it fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.try_writing(folder)
    except OSError as error:
        raise ResultsError(
            f"Cannot write results to {folder} ({error.strerror}): make it writable, free some space, or "
            "name another folder (REID_LIB_RESULTS, or the option -o)."
        ) from error


# --- read -----------------------------------------------------------------------------------------


def published() -> pd.DataFrame:
    """The papers' own numbers: PUBLISHED_COLUMNS, text columns as str ("" when empty), value as float."""
    places = [results_root(), (project_root() or Path()) / "results"]
    for place in places:
        if (place / "published.csv").is_file():
            return read_csv(place / "published.csv", PUBLISHED_COLUMNS)
    raise ResultsError(f"published.csv not found in {places[0]}: run from a checkout of the project.")


def read(profile: str, dataset: str, paper: str) -> pd.DataFrame:
    """Measured rows (COLUMNS; seed and trials are Int64). Raises ResultsError when there are none."""
    path = folder(profile, dataset) / f"{_plain_name(paper, 'paper')}.csv"
    if not path.is_file():
        raise ResultsError(
            f"No measured rows for {paper} on {dataset} under profile {profile} ({path} is not there): run "
            f"`reid-lib reproduce --profile {profile} --dataset {dataset}`."
        )
    return read_csv(path, COLUMNS)


def read_run(profile: str, dataset: str, paper: str) -> dict:
    """The provenance that `write` stored last, and `complete`: True when it belongs to the CSV as it is."""
    path = folder(profile, dataset) / f"{paper}.run.json"
    run, rows = record(path), path.with_name(f"{paper}.csv")
    return run | {"complete": rows.is_file() and run.get("csv_sha256") == file_digest(rows)}


def record(path: Path) -> dict:
    """What a run.json holds. Raises ResultsError when it is missing, damaged or no record."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path} is missing: the run did not finish; run it again.") from None
    except (OSError, ValueError) as error:  # neither text nor JSON are ValueErrors both
        raise ResultsError(f"{path} is damaged ({error}): delete it and run again.") from error
    if said := fault(found):
        raise ResultsError(f"{path} is no record of a run ({said}): delete it and run again.")
    return found


def doubt(profile: str, dataset: str, paper: str) -> str:
    """Why the rows of a CSV cannot be trusted, as a sentence without folders of the machine; "" when they can.

    They can when its run.json was written for the file as it is.
    """
    name, again = f"{profile}/{dataset}/{paper}", "run it again"
    try:
        if read_run(profile, dataset, paper)["complete"]:
            return ""
    except ResultsError:
        return f"{name}.csv has no readable run.json beside it: its run did not finish; {again}."
    return f"{name}.csv is not what its run.json was written for (it was edited, or a run did not finish): {again}."


def available(root: Path | None = None, where: str = "*/*") -> list[tuple[str, str, str]]:
    """(profile, dataset, paper) of every measured CSV under a results folder (default: `results_root`), sorted.

    `where` chooses folders: "demo/synth".
    """
    root = root or results_root()
    found = (path.relative_to(root) for path in root.glob(f"{where}/*.csv") if path.stem != VERDICTS_FILE)
    return sorted((p.parts[0], p.parts[1], p.stem) for p in found if p.parts[0] in PROFILES)


def read_all(root: Path | None = None, where: str = "*/*") -> pd.DataFrame:
    """All measured rows (COLUMNS) of what is `available`, with `folder_dataset`.

    `folder_dataset` is the data set that the run was asked for. Raises ResultsError when a file is damaged.
    """
    root = root or results_root()
    frames = [
        read_csv(root.joinpath(*key).with_suffix(".csv"), COLUMNS).assign(folder_dataset=key[1])
        for key in available(root, where)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*COLUMNS, "folder_dataset"])


def as_roles(rows: pd.DataFrame) -> pd.DataFrame:  # decision REPORT-2
    """Rows whose methods name the role of VPFA's frozen model, not the model: it is another one here than in the paper.

    "TransReID + VPFA" becomes "frozen model + VPFA", so that published and measured rows line up while no measured row
    carries the name of a network that was not run. Rows of other papers stay.
    """
    named = rows.method.str.replace(r"^(TransReID|SAAI|IRRA)(?= \+ VPFA|$)", FROZEN_MODEL, regex=True)
    return rows.assign(method=rows.method.where(rows.paper != "vpfa", named))


# --- write ----------------------------------------------------------------------------------------


def write(  # decision HOUSE-9
    rows: Rows,
    profile: str,
    dataset: str,
    paper: str,
    run: Mapping[str, object],
    written: Collection[Group] = (),
) -> Path:
    """Merge `rows` into results/<profile>/<dataset>/<paper>.csv, then write <paper>.run.json.

    Rows belong to groups: one artefact, data set, method and seed (`groups`). A group that is not in `written` is
    new to this run: all its older rows go, those of other settings and metrics too, because other parameters may have
    produced them. A group in `written` was begun by an earlier write of the same run: rows with the same KEY are
    replaced, its other rows stay. Rows of all other groups stay, and the runs that produced them stay in `earlier`: one
    seed, measured again, never costs the evidence of the others (REPORT-9; `mixed` says where seeds differ). Only a
    group with a seed and one without cannot stand together: either something was trained or nothing was.

    Both files are replaced atomically, under a lock of the folder, so that two runs at once lose nothing. Order:
    natural order of KEY. Numbers: at most six decimals, no trailing zeros. `run` is what `provenance.provenance`
    returns. The columns paper, profile, dataset, setting, seed, trials, low and high may be left out; a row's dataset
    may differ from the folder's (a cross-domain test set). Returns the CSV's path. Raises ResultsError for rows that
    break the schema; nothing is written then.
    """
    target = folder(profile, dataset)
    new = check_rows(_complete(rows, profile, dataset, _plain_name(paper, "paper")))
    for column, expected in (("paper", paper), ("profile", profile)):
        if set(new[column]) != {expected}:
            raise ResultsError(
                f"Rows for {paper} under {profile} must have {column} = {expected}, found "
                f"{sorted(set(new[column]))}: write each {column} to its own file."
            )
    check_writable(target)
    path = target / f"{paper}.csv"
    covers = groups(new)
    with _locked(target):
        for name in (path.name, f"{paper}.run.json"):
            files.remove_parts(target, name)
        old = read_csv(path, COLUMNS) if path.is_file() else new[:0]
        own = group_of_each(old)
        begun = covers - set(written)
        kept = [group not in begun and not _contradicts(group, begun) for group in own]
        rows = pd.concat([old.loc[kept], new], ignore_index=True)
        rows = _sorted(rows.drop_duplicates(list(KEY), keep="last"))
        text, found = _csv(rows), set(group_of_each(rows))
        mine = (covers | set(written)) & found  # one entry for a run, in however many steps it writes
        record = dict(run) | {
            "covers": [list(group) for group in sorted(mine, key=str)],
            "csv_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "earlier": _earlier_runs(target / f"{paper}.run.json", found - mine),
        }
        json_text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n"
        replace_text(path, text)
        replace_text(target / f"{paper}.run.json", json_text)
    return path


def groups(rows: Rows, dataset: str = "") -> set[Group]:
    """The groups of `rows`: (artefact, data set, method, seed), seed None where nothing is random.

    A run that writes the rows of a group in several steps keeps the groups of what it has written, one set for each
    paper, and gives them to `write`. `dataset` stands for the data set of rows that name none, as in `write`. Raises
    ResultsError when a row has none.
    """
    frame = _complete(rows, "", dataset, "")
    if (frame.dataset == "").any():
        raise ResultsError("A row names no data set: give the one that `write` gets.")
    return set(group_of_each(frame))


def group_of_each(rows: pd.DataFrame) -> list[Group]:
    """The group of each row (COLUMNS)."""
    seeds = [None if seed is None or seed is pd.NA or seed != seed else int(seed) for seed in rows.seed.astype(object)]
    return list(zip(rows.artefact, rows.dataset, rows.method, seeds, strict=True))


def _contradicts(group: Group, begun: Collection[Group]) -> bool:
    """Whether a new group is about the same numbers, and one of the two has a seed while the other has none."""
    return any(new[:3] == group[:3] and (new[3] is None) != (group[3] is None) for new in begun)


def check_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with COLUMNS in order and their types. Raises ResultsError naming the first bad row.

    Text columns must not be empty, except `setting`; value, low and high are finite or empty; rank* and map
    are percents (0 to 100); low <= value <= high; seed is an integer >= 0 or empty (nothing random); trials
    is an integer >= 1 or empty; no two rows share KEY.
    """
    unknown, missing = set(rows.columns) - set(COLUMNS), set(COLUMNS) - set(rows.columns)
    if unknown or missing or rows.empty:
        raise ResultsError(
            f"Rows need the columns {', '.join(COLUMNS)}; found {len(rows)} rows, missing columns "
            f"{sorted(missing) or 'none'}, unknown columns {sorted(unknown) or 'none'}."
        )
    rows = rows.loc[:, list(COLUMNS)].reset_index(drop=True).copy()
    for column in _TEXT:
        rows[column] = rows[column].fillna("").astype(str)
        if column != "setting":
            _refuse(rows, rows[column].str.strip() == "", f"has an empty {column}")
        _refuse(rows, rows[column].str.contains(r"[\r\n]"), f"has a line break in {column}")
    for column in (*_NUMBERS, *_COUNTS):
        numbers = pd.to_numeric(rows[column].replace("", None), errors="coerce").astype(float)
        given = rows[column].notna() & (rows[column].astype(str) != "")
        _refuse(rows, given & ~np.isfinite(numbers), f"needs a finite number or nothing in {column}")
        rows[column] = numbers
    percent = rows.metric.map(lambda name: _PERCENT.fullmatch(name) is not None)
    for column in _NUMBERS:
        outside = percent & ((rows[column] < 0) | (rows[column] > 100))
        _refuse(rows, outside, f"must have a percent between 0 and 100 in {column}")
    disorder = (rows.low > rows.value + 1e-6) | (rows.value > rows.high + 1e-6)
    _refuse(rows, disorder, "must have low <= value <= high")
    for column, least in (("seed", 0), ("trials", 1)):
        bad = rows[column].notna() & ((rows[column] < least) | (rows[column] % 1 != 0))
        _refuse(rows, bad, f"needs an integer >= {least} or nothing in {column}")
        rows[column] = rows[column].astype("Int64")
    _refuse(
        rows,
        rows.duplicated(list(KEY)),
        "is there twice (same paper, artefact, method, setting, metric, seed)",
    )
    return rows


def rows_from_summary(
    summary: pd.DataFrame,
    *,
    paper: str,
    artefact: str,
    dataset: str,
    method: str,
    profile: str,
    setting: str = "",
    seed: int | None = None,
    metrics: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows (COLUMNS) from an evaluation's summary: index metric; columns mean, low, high, trials.

    `metrics` chooses and orders them (default: all). Raises ResultsError when the summary has another shape.
    """
    missing = {"mean", "low", "high", "trials"} - set(summary.columns)
    absent = set(metrics or ()) - set(summary.index)
    if missing or absent:
        raise ResultsError(
            "A summary needs the columns mean, low, high, trials and the metrics asked for as its index; "
            f"missing: {sorted(missing | absent)}."
        )
    chosen = summary.loc[list(metrics) if metrics is not None else list(summary.index)]
    rows = pd.DataFrame(
        {
            "metric": list(chosen.index),
            "value": chosen["mean"].to_numpy(float),
            "low": chosen["low"].to_numpy(float),
            "high": chosen["high"].to_numpy(float),
            "trials": chosen["trials"].to_numpy(),
        }
    ).assign(
        paper=paper,
        artefact=artefact,
        dataset=dataset,
        method=method,
        setting=setting,
        profile=profile,
        seed=seed,
    )
    return check_rows(rows)


def merge_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per number over its seeds: COLUMNS (seed empty, trials summed) and `seeds`.

    `seeds` is the number of trainings behind the number, 0 where nothing was trained. With two seeds or more low and
    high are the 95 % interval over seeds and trials (`intervals.seeds_interval`; percents cut to 0..100); with one
    seed its own interval (over trials) stays. Empty values are left out. Rows that are merged already come back as
    they are.
    """
    if "seeds" in rows:
        return rows
    key = [column for column in KEY if column != "seed"]
    rows = rows.dropna(subset=["value"]).reset_index(drop=True)
    several = rows.duplicated(key, keep=False)  # most numbers have one row: they need no loop
    merged = []
    for names, group in rows[several].groupby(key, sort=False, dropna=False):
        low, high = _over_seeds(group)
        if _PERCENT.fullmatch(names[key.index("metric")]):
            low, high = max(low, 0.0), min(high, 100.0)
        trials = group.trials.sum() if group.trials.notna().any() else pd.NA
        numbers = {"value": group.value.mean(), "seed": pd.NA, "trials": trials, "low": low, "high": high}
        merged.append(dict(zip(key, names, strict=True)) | numbers | {"seeds": group.seed.notna().sum()})
    types = {"value": float, "low": float, "high": float, "seed": "Int64", "trials": "Int64", "seeds": int}
    columns = [*COLUMNS, "seeds"]
    alone = rows[~several].assign(seeds=lambda own: own.seed.notna().astype(int), seed=pd.NA)[columns].astype(types)
    first = rows.index[several & ~rows.duplicated(key)]  # so that each stands where its first row stood
    frame = pd.DataFrame(merged, columns=columns, index=first).astype(types)
    return pd.concat([part for part in (alone, frame) if len(part)] or [frame]).sort_index().reset_index(drop=True)


def _over_seeds(rows: pd.DataFrame) -> tuple[float, float]:
    trials = rows.trials.to_numpy(float, na_value=np.nan)
    errors = [standard_error(*cells) for cells in zip(rows.value, rows.low, rows.high, trials, strict=True)]
    return seeds_interval(rows.value, errors, np.nanmin(trials) if not np.isnan(trials).all() else np.nan)


# --- helpers --------------------------------------------------------------------------------------


def _plain_name(name: str, what: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ResultsError(
            f"{name!r} cannot name a {what} in the results folder: use letters, digits, '-', '_' and '.'."
        )
    return name


def _complete(rows: Rows, profile: str, dataset: str, paper: str) -> pd.DataFrame:
    frame = rows.copy() if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    for column, value in (("paper", paper), ("profile", profile), ("dataset", dataset), ("setting", "")):
        frame[column] = frame[column].fillna(value) if column in frame else value
    for column in ("seed", "trials", "low", "high"):
        if column not in frame:
            frame[column] = None
    return frame


def _refuse(rows: pd.DataFrame, bad: pd.Series, what: str) -> None:
    bad = bad.fillna(False).to_numpy(bool)
    if bad.any():
        number = int(bad.argmax())
        row = ", ".join(
            f"{name}={rows.iloc[number][name]!r}" for name in ("artefact", "method", "setting", "metric", *_NUMBERS)
        )
        raise ResultsError(f"Row {number} ({row}) {what}; {counted(int(bad.sum()), 'such row')}.")


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV whose columns are exactly `columns`, typed as rows are. Raises ResultsError when it is not one."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ResultsError(f"{path} cannot be read as a table of results ({reason}): restore or delete it.") from error
    if tuple(frame.columns) != tuple(columns):
        raise ResultsError(f"{path} must have the columns {', '.join(columns)}; found {', '.join(frame.columns)}.")
    try:
        for column in set(columns) & {*_NUMBERS, *_COUNTS}:
            frame[column] = pd.to_numeric(frame[column].replace("", None)).astype(
                "Int64" if column in _COUNTS else float
            )
    except (ValueError, TypeError, OverflowError) as error:
        raise ResultsError(
            f"{path} has a cell in {column} that is no number ({error}): restore or delete it."
        ) from error
    return frame


@cache
def _natural(text: str) -> tuple:
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((1, float(part), part) if part[:1].isdecimal() else (0, 0.0, part) for part in parts if part)


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    columns = [[_natural(text) for text in rows[name].astype(str)] for name in KEY[:-1]]
    keys = list(zip(*columns, rows["seed"].fillna(-1).astype(int), strict=True))
    return rows.iloc[sorted(range(len(rows)), key=keys.__getitem__)].reset_index(drop=True)


def _number(value: float) -> str:
    if pd.isna(value):
        return ""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _csv(rows: pd.DataFrame) -> str:
    text = rows.copy()
    for column in _NUMBERS:
        text[column] = text[column].map(_number)
    for column in _COUNTS:
        text[column] = text[column].map(lambda number: "" if pd.isna(number) else str(int(number)))
    return text.to_csv(index=False, lineterminator="\n")


def _earlier_runs(path: Path, left: Collection[Group]) -> list[dict]:
    """The runs before this one whose rows are among the groups `left` in the file; `covers` says which of them."""
    try:
        last = record(path)
    except ResultsError:
        return []
    kept = []
    for run in [*last.pop("earlier", []), last]:
        covered = set(map(tuple, run.get("covers", [])))
        covers = sorted((group for group in left if covered.intersection(_names_of(group))), key=str)
        if covers:
            run = {name: value for name, value in run.items() if name != "csv_sha256"}
            kept.append(run | {"covers": [list(group) for group in covers]})
    return kept


def is_covered(group: Group, cover: Sequence) -> bool:
    """Whether an entry of `covers` means the group; older files name (artefact, method, seed) or (artefact, seed)."""
    return tuple(cover) in _names_of(group)


def _names_of(group: Group) -> tuple[tuple, ...]:
    artefact, _, method, seed = group
    return group, (artefact, method, seed), (artefact, seed)


def replace_text(path: Path, text: str) -> None:
    """Write a file all at once: readers see the old text or the new, never a part. Raises ResultsError."""
    try:
        files.write_text(path, text)
    except OSError as error:
        raise ResultsError(f"Could not write {path} ({error.strerror}); what was there before is unchanged.") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:  # decision RUN-22
    """Hold the folder for one writer; the lock goes with the process, so a killed run leaves none behind."""
    with files.locked(folder / ".lock", lambda process: None):
        yield
