"""The same moment twice: a genuine LR image, and its HR truth to be down-sampled.

What results on down-sampled images say of genuinely low resolution can be asked of drawn people alone: a camera that is
far never took the HR image.
"""

from collections.abc import Sequence
from dataclasses import replace

from reid_lib.datasets.mlr import Trial
from reid_lib.datasets.records import DatasetError, ReIDDataset
from reid_lib.datasets.synth.sets import truth_path


def truths(dataset: ReIDDataset) -> ReIDDataset:  # decision EVAL-17
    """Return `synth_caviar`'s set with the HR truth in place of each genuine LR image, row by row.

    Raises:
        DatasetError: the set has no drawn images at a distance.
    """
    if "distance" not in dataset.table or dataset.genuine_lr_camid is None:
        raise DatasetError(f"{dataset.name} has no HR truths: only the genuine LR images of synth-caviar have them")
    table = dataset.table.assign(path=dataset.table["path"].map(truth_path))
    return replace(dataset, name=f"{dataset.name}-truths", table=table, genuine_lr_camid=None)


def twin_trials(trials: Sequence[Trial], of: ReIDDataset, rate: int | None = None) -> list[Trial]:
    """Return trials with the HR truths of the same queries, each to be down-sampled by its distance, rounded.

    Query, pose, camera and gallery are the same: what differs is how resolution was lost.

    Args:
        trials: of `synth_caviar` with its queries as they are.
        of: the `truths` of their data set.
        rate: another rate for all queries; 1 leaves them HR. None: the distance, rounded.

    Raises:
        DatasetError: trials of another data set.
    """
    if any(not trial.dataset.table["pid"].equals(of.table["pid"]) for trial in trials):
        raise DatasetError(f"expected trials of the set whose truths {of.name} has, found {trials[0].dataset.name}")
    found = []
    for trial in trials:
        rows = of.table.loc[trial.query.index]
        rates = rows["distance"].round().astype(int).clip(lower=1) if rate is None else rate
        query = trial.query.assign(path=rows["path"], rate=rates)
        found.append(replace(trial, dataset=of, query=query))
    return found
