"""The MLR (multiple low resolution) protocol: which images are queries, at which rate, and which are the gallery.

MLR was introduced with SING and all five papers follow it: the images of one camera are down-sampled by a rate r drawn
uniformly from {2, 3, 4}, those of the other cameras stay HR; LR images are the queries, the gallery holds one HR image
per identity, drawn from another camera than the query's (single-shot); results are means over 10 trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from reid_lib.datasets.records import DatasetError, ReIDDataset
from reid_lib.seeds import numpy_generator

MLR_RATES = (2, 3, 4)
MLRPRO_RATES = (2, 3, 4, 5, 6, 7)


@dataclass(frozen=True, eq=False)
class Trial:
    """One draw of the protocol.

    Attributes:
        dataset: the data set whose images the tables name.
        query: columns ``path``, ``pid``, ``camid``, ``rate``; index = image number in ``dataset.table``.
        gallery: columns ``path``, ``pid``, ``camid``; index likewise; one image per identity.
        split: number of the train/test split.
        number: number of the trial.
    """

    dataset: ReIDDataset = field(repr=False)
    query: pd.DataFrame
    gallery: pd.DataFrame
    split: int = 0
    number: int = 0

    def to_csv(self, path: str | Path) -> None:
        """Write the trial: columns ``dataset, split, trial, role, path, pid, camid, rate`` (gallery: rate 1)."""
        both = {"query": self.query, "gallery": self.gallery.assign(rate=1)}
        rows = pd.concat([table.assign(role=role) for role, table in both.items()])
        rows = rows.assign(dataset=self.dataset.name, split=self.split, trial=self.number)
        rows[["dataset", "split", "trial", "role", "path", "pid", "camid", "rate"]].to_csv(path, index=False)

    @classmethod
    def from_csv(cls, path: str | Path, dataset: ReIDDataset) -> "Trial":
        """Read a trial that `to_csv`, or another code base, wrote.

        Raises:
            DatasetError: the file is no CSV in UTF-8, or empty, a column is missing, a number is none, the trial is of
                another data set, or it names an image, identity or camera that ``dataset`` does not have.
        """
        rows = _read_csv(path)
        missing = [c for c in ("dataset", "split", "trial", "role", "path", "pid", "camid", "rate") if c not in rows]
        if missing:
            raise DatasetError(f"{path}: a trial needs the column {missing[0]}; write trials with Trial.to_csv")
        if rows.empty:
            raise DatasetError(f"{path} has no image, only the names of columns; write the trial again")
        rows = _with_integers(path, rows)
        if set(rows["dataset"]) != {dataset.name}:
            found = ", ".join(map(str, rows["dataset"].unique()))
            raise DatasetError(f"{path}: expected a trial of {dataset.name}, found one of {found}")
        numbers = pd.Series(dataset.table.index, index=dataset.table["path"])
        absent = rows["path"][~rows["path"].isin(numbers.index)]
        if len(absent):
            raise DatasetError(f"{path}: {len(absent)} images are not in {dataset.name}, the first is {absent.iloc[0]}")
        rows.index = pd.Index(numbers[rows["path"]].to_numpy())
        _check_roles(path, rows)
        known = dataset.table.loc[rows.index]
        other = rows[(rows["pid"] != known["pid"]) | (rows["camid"] != known["camid"])]
        if len(other):
            raise DatasetError(
                f"{path}: identity or camera of {other['path'].iloc[0]} differ from those in {dataset.name}"
            )
        query = rows[rows["role"] == "query"][["path", "pid", "camid", "rate"]]
        gallery = rows[rows["role"] == "gallery"][["path", "pid", "camid"]]
        return cls(dataset, query, gallery, int(rows["split"].iloc[0]), int(rows["trial"].iloc[0]))


def _read_csv(path: str | Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{path} is not UTF-8; save the trial again as CSV in UTF-8") from None
    except pd.errors.EmptyDataError:
        raise DatasetError(f"{path} is empty; write the trial again, with Trial.to_csv") from None
    except pd.errors.ParserError as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path} cannot be read as CSV ({reason}); write the trial again") from None


def _with_integers(path: str | Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with integers where a trial has some; elsewhere 2 may have been written as 2.0."""
    for column in ("split", "trial", "pid", "camid", "rate"):
        numbers = pd.to_numeric(rows[column], errors="coerce")
        wrong = rows[~(numbers % 1 == 0)]
        if len(wrong):
            raise DatasetError(
                f"{path}: column {column} must hold integers, found {wrong[column].iloc[0]} in {len(wrong)} rows, "
                f"first for {wrong['path'].iloc[0]}"
            )
        rows = rows.assign(**{column: numbers.astype(int)})
    return rows


def _check_roles(path: str | Path, rows: pd.DataFrame) -> None:
    """Refuse a trial's rows that are several trials, have other roles, or rates that are no rates."""
    if len(rows[["split", "trial"]].drop_duplicates()) != 1 or not rows["path"].is_unique:
        raise DatasetError(f"{path}: expected one trial of one split, each image once; write one file per trial")
    if set(rows["role"]) != {"query", "gallery"}:
        found = ", ".join(sorted(map(str, set(rows["role"]))))
        raise DatasetError(f"{path}: expected rows with role query and rows with role gallery, found {found}")
    if rows["rate"].min() < 1:
        raise DatasetError(f"{path}: every rate must be an integer r >= 1 (the image becomes H/r x W/r)")


def trials(
    dataset: ReIDDataset,
    split: int = 0,
    rates: Sequence[int] = MLR_RATES,
    n: int = 10,
    seed: int = 0,
    simulate: bool | None = None,
) -> list[Trial]:
    """Draw ``n`` trials of the MLR protocol on the test identities of one split.

    The LR camera is the genuine one where the set has one, else camera 1 of a two-camera set, else one camera per
    identity, drawn once per split (not per trial). All its images of test identities are queries. Each trial draws one
    rate per query and one gallery image per identity, among the images of its other cameras. The draws of rates and of
    gallery images do not share a stream: the same seed gives the same gallery for other ``rates``.

    Args:
        dataset: the data set.
        split: number of the train/test split.
        rates: down-sampling rates, drawn uniformly per query; (1,) leaves the queries HR.
        n: number of trials.
        seed: the seed of every draw.
        simulate: whether queries are down-sampled. None: unless the set has genuine LR images, which then keep rate 1.

    Raises:
        ValueError: no rate, a rate below 1 or above the shorter side in pixels, ``n`` below 1, or rates for genuine LR
            images, which keep rate 1.
        DatasetError: a test identity is not seen by the LR camera and another one.
    """
    rates = [int(rate) for rate in rates]
    if not rates or min(rates) < 1 or max(rates) > min(dataset.size):
        raise ValueError(
            f"rates must be integers >= 1 and at most the shorter side, {min(dataset.size)} pixels, one or more, found "
            f"{rates}"
        )
    if n < 1:
        raise ValueError(f"the number of trials n must be at least 1, found {n}")
    if simulate is None:
        simulate = dataset.genuine_lr_camid is None
        if not simulate and rates not in ([1], list(MLR_RATES)):
            raise ValueError(
                f"{dataset.name} has genuine LR images, down-sampled only with simulate=True; found rates {rates}"
            )
    test = dataset.part("test", split)
    is_query = test["camid"] == lr_camera(dataset, test, split, seed)
    query, others = test[is_query][["path", "pid", "camid"]], test[~is_query][["path", "pid", "camid"]]
    _check_cameras(dataset, test, query, others)
    drawn = []
    for number in range(n):
        draw = numpy_generator(seed, dataset.name, "rates", split, number)
        rate = draw.choice(rates, size=len(query)) if simulate else np.ones(len(query), int)
        gallery = _single_shot(others, numpy_generator(seed, dataset.name, "gallery", split, number))
        drawn.append(Trial(dataset, query.assign(rate=rate), gallery, split, number))
    return drawn


def split_trials(  # decision PROTOCOL-7
    dataset: ReIDDataset, rates: Sequence[int] = MLR_RATES, seed: int = 0, simulate: bool | None = None
) -> list[Trial]:
    """One trial on each split of the data set: what "10 random splits" means in the papers' tables."""
    return [trials(dataset, split, rates, 1, seed, simulate)[0] for split in range(len(dataset.splits))]


def settings(  # decision PROTOCOL-6
    dataset: ReIDDataset,
    rates: Sequence[int] = (1, 2, 3, 4, 8),
    mlr_rates: Sequence[int] = MLR_RATES,
    n: int = 10,
    seed: int = 0,
    every_split: bool = False,
) -> dict[str, list[Trial]]:
    """Return the trials of each setting that a robustness table has: one rate for all queries, and MLR.

    The names are "HR->HR" (rate 1), "r = 2", ... and "MLR {2,3,4}". All settings share their gallery images. On a set
    with genuine LR images the LR camera's images are the queries throughout: "genuine LR" leaves them as they are (the
    papers' protocol for CAVIAR), "genuine LR, r = 2" and the like down-sample them further; no HR image of another
    camera exists there, so its "HR->HR, same camera" takes other images of the HR camera and is easier than any real
    task; where the HR camera has one image of each identity there are none, and this setting is left out.

    Args:
        dataset: the data set.
        rates: rates of the settings with one rate; 1 is HR.
        mlr_rates: rates of the MLR setting.
        n: trials on the first split; not used with ``every_split``.
        seed: seed of every draw.
        every_split: one trial on each split instead of ``n`` on the first.
    """

    def draw(drawn_rates: Sequence[int], simulate: bool = True) -> list[Trial]:
        if every_split:
            return split_trials(dataset, drawn_rates, seed, simulate)
        return trials(dataset, 0, drawn_rates, n, seed, simulate)

    if dataset.genuine_lr_camid is None:
        named = {"HR->HR" if rate == 1 else f"r = {rate}": draw((rate,)) for rate in rates}
        return {**named, f"MLR {{{','.join(map(str, mlr_rates))}}}": draw(mlr_rates)}
    genuine = draw((1,), simulate=False)
    further = {f"genuine LR, r = {rate}": draw((rate,)) for rate in rates if rate > 1}
    further[f"genuine LR, MLR {{{','.join(map(str, mlr_rates))}}}"] = draw(mlr_rates)
    same = [_same_camera(trial) for trial in genuine]
    high = {"HR->HR, same camera": same} if all(len(trial.query) for trial in same) else {}
    return {**high, "genuine LR": genuine, **further}


def _same_camera(trial: Trial) -> Trial:
    """Replace the queries of a trial by the HR camera's images that are not in its gallery."""
    test = trial.dataset.part("test", trial.split)
    hr = test[test["camid"] != trial.dataset.genuine_lr_camid].drop(index=trial.gallery.index)
    return replace(trial, query=hr[["path", "pid", "camid"]].assign(rate=1))


# decision PROTOCOL-5
def lr_camera(dataset: ReIDDataset, table: pd.DataFrame, split: int = 0, seed: int = 0) -> pd.Series:
    """Return, for each row of ``table``, the LR camera of its identity (see `trials` for the rule)."""
    if dataset.genuine_lr_camid is not None:
        return pd.Series(dataset.genuine_lr_camid, index=table.index)
    cameras = sorted(dataset.table["camid"].unique())
    if len(cameras) <= 2:
        return pd.Series(cameras[0], index=table.index)
    seen = table.groupby("pid")["camid"].unique()
    draw = numpy_generator(seed, dataset.name, "lr camera", split)
    chosen = {pid: sorted(camids)[draw.integers(len(camids))] for pid, camids in seen.sort_index().items()}
    return table["pid"].map(chosen)


def _single_shot(table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Draw one row per identity."""
    shuffled = table.iloc[generator.permutation(len(table))]
    return shuffled.drop_duplicates("pid").sort_values("pid")


def _check_cameras(dataset: ReIDDataset, test: pd.DataFrame, query: pd.DataFrame, others: pd.DataFrame) -> None:
    pids = set(test["pid"])
    lonely = sorted((pids - set(query["pid"])) | (pids - set(others["pid"])))
    if lonely:
        cameras = sorted(test[test["pid"] == lonely[0]]["camid"].unique().tolist())
        raise DatasetError(
            f"{dataset.name}: {len(lonely)} of {len(pids)} test identities are not seen by both the LR camera "
            f"and another one, the first is identity {lonely[0]} (cameras {cameras}); leave them out of the split "
            "(your own table: --options single_camera=drop)"
        )
