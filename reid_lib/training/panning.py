"""Maps behind a frozen model: fitted on a data set's training identities (MLR protocol), ranked on its trials."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from reid_lib.datasets.mlr import MLR_RATES, Trial
from reid_lib.devices import main_says, pick_device, precision
from reid_lib.digest import NOT_DECISIVE, code_digest, keyed
from reid_lib.evaluation.features import FeatureBank, evaluate_features
from reid_lib.evaluation.ranking import Evaluation, summarise
from reid_lib.files import A_DAY, remove_parts
from reid_lib.seeds import numpy_generator
from reid_lib.training.feature_maps import FeatureMap


def fit_to_bank(  # decision VPFA-7
    panning: FeatureMap,
    bank: FeatureBank,
    split: int = 0,
    rates: Sequence[int] = MLR_RATES,
    identities: int | None = None,
    folder: str | Path | None = None,
) -> FeatureMap:
    """Fit an estimator on a frozen model's features of a split's training identities, and return it.

    Every training image is seen at HR and at each of ``rates``. On a set with genuine LR images,
    ``pairing="identity_mean"`` pairs the means of the LR camera's images, as they are (rate 1), and of the HR camera's;
    ``pairing="image"`` down-samples the HR camera's images: nobody has an HR version of a genuine LR image.

    Args:
        panning: a `VectorPanning`, `MeanShift` or `RidgeMap`; it gets ``split_`` and ``fitted_on_``, by which
            `evaluate_features` refuses to test it on what it was fitted on.
        bank: features of the data set.
        split: number of the train/test split.
        rates: down-sampling rates of the LR images.
        identities: how many training identities to take, drawn with the estimator's seed; None: all.
        folder: where the fitted estimator is kept and, if it is there for the same features and settings, taken from;
            only with a bank that has a folder itself, and for an estimator of this package: its code counts too.

    Raises:
        ValueError: the model was trained on another split; more identities than there are; what ``fit`` refuses.
    """
    if bank.split not in (None, split):
        raise ValueError(f"the frozen model was trained on split {bank.split}, found split {split}: take the same")
    file = None
    module = type(panning).__module__
    if folder is not None and bank.folder is not None and module.startswith("reid_lib."):
        # not the split's number: another partition of the same images has the same fingerprint
        pids = bank.dataset.part("train", split)["pid"].unique().tolist()
        what = type(panning).__name__, panning.decisive_parameters(), bank.folder.name, pids, tuple(rates), identities
        computed = [code_digest(name, NOT_DECISIVE) for name in (module, __name__)]
        computed.append(str(precision(torch.device(panning.device or pick_device()))))  # decision FIELD-3
        file = keyed(folder, "vpfa", *what, *computed).with_suffix(".safetensors")
    # the main process looks for all: where only some found it, the others would wait for them in the loop
    if file is None or not main_says(file.is_file()) or not _loaded(panning, file):
        _fit(panning, bank, split, rates, identities)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            remove_parts(file.parent, file.name, A_DAY)
            panning.save(file)
    panning.split_, panning.fitted_on_ = split, bank.dataset.fingerprint()
    return panning


def _loaded(panning: FeatureMap, file: Path) -> bool:
    """Take over the fit that is kept in a file; False where there is none, or a damaged one."""
    try:
        kept = type(panning).load(file, panning.device)
    except (FileNotFoundError, ValueError):
        return False
    vars(panning).update(vars(kept) | panning.get_params())
    return True


def _fit(panning: FeatureMap, bank: FeatureBank, split: int, rates: Sequence[int], identities: int | None) -> None:
    table = bank.dataset.part("train", split).sort_values(["pid", "path"])  # sums depend on the order of rows
    if identities is not None:
        table = table[table["pid"].isin(_drawn(table["pid"].unique(), identities, panning.seed, bank.dataset.name))]
    is_lr = table["camid"] == bank.dataset.genuine_lr_camid  # nowhere, on a set without genuine LR images
    hr = table[~is_lr]
    if bank.dataset.genuine_lr_camid is not None and panning.pairing == "identity_mean":
        lr, rates = table[is_lr], (1,)
    else:
        lr = hr
    lr_rates = np.repeat(rates, len(lr))
    lr_features, lr_pids = bank(np.tile(lr.index, len(rates)), lr_rates), np.tile(lr["pid"], len(rates))
    # image pairs need the HR image once for each rate; in a mean, copies would count as images
    copies = len(rates) if panning.pairing == "image" else 1
    hr_features, hr_pids = bank(hr.index).repeat(copies, 1), np.tile(hr["pid"], copies)
    panning.fit(lr_features, hr_features, (lr_pids, hr_pids), lr_rates)


def _drawn(pids: np.ndarray, n: int, seed: int, name: str) -> np.ndarray:
    if not 2 <= n <= len(pids):
        raise ValueError(f"identities must be within 2 and the {len(pids)} training identities, found {n}")
    return numpy_generator(seed, "vpfa identities", name).permutation(np.sort(pids))[:n]


def fit_and_evaluate(
    make: Callable[[], FeatureMap] | None, bank: FeatureBank, settings: Mapping[str, Sequence[Trial]], **options: Any
) -> dict[str, Evaluation]:
    """Fit an estimator on each split that the trials are of, and rank the trials of that split with it.

    Args:
        make: returns a new estimator; None: the frozen model as it is.
        bank: features of the data set.
        settings: trials by the setting's name (`mlr.settings`). Those whose queries have a rate that an estimator per
            rate was not fitted on are left out.
        **options: those of `fit_to_bank` except ``split``.
    """
    chosen = [(name, trial) for name, trials in settings.items() for trial in trials]
    parts: dict[str, list[pd.DataFrame]] = {}
    for split in sorted({trial.split for _, trial in chosen}):
        panning = None if make is None else fit_to_bank(make(), bank, split, **options)
        own = [(name, trial) for name, trial in chosen if trial.split == split and _takes(panning, settings[name])]
        together = evaluate_features(bank, [trial for _, trial in own], panning).per_trial
        for name in dict.fromkeys(name for name, _ in own):
            parts.setdefault(name, []).append(together[[name == other for other, _ in own]])
    per_trial = {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}
    return {name: Evaluation(table, summarise(table)) for name, table in per_trial.items()}


def _takes(panning: FeatureMap | None, trials: Sequence[Trial]) -> bool:
    if panning is None or not panning.per_rate:
        return True
    return all(set(trial.query["rate"]) <= panning.maps_.keys() for trial in trials)
