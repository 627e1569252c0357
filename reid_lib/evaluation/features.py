"""Features of a frozen model, embedded once for every image and rate that anyone asks for, and trials scored on them.

What stands behind a frozen model (VPFA, an analysis of its features) needs the model once, not once per variant::

    bank = frozen_features(matcher, dataset)  # kept in the cache folder; FeatureBank(matcher, dataset) is in memory
    lr, hr = bank(rows, 2), bank(rows, 1)
    scores = evaluate_features(bank, trials, panning)
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.functional import normalize

from reid_lib.datasets.image_store import ImageStore, cache_folder, open_store
from reid_lib.datasets.mlr import Trial
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.devices import images_at_once
from reid_lib.digest import NOT_DECISIVE, code_digest, contents_digest, keyed, weights_digest
from reid_lib.evaluation.matchers import FeatureMatcher, Map
from reid_lib.evaluation.ranking import (
    RANKS,
    Evaluation,
    check_trials,
    different_queries,
    euclidean,
    indices_of,
    score,
)
from reid_lib.files import A_DAY, remove_parts, whole
from reid_lib.status import bar

KEEP_EVERY = 60.0  # seconds: what an interruption loses at most


class FrozenModel(Protocol):
    """A model whose features are taken as they are; `matchers.FeatureMatcher` is one.

    Attributes:
        device: where its images go.
        split: the split on whose training identities it was trained; None: on no identity of the data set.
    """

    device: torch.device
    split: int | None

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, H, W) to features (n, d), of any length."""
        ...


class FeatureBank:  # decision EVAL-8
    """The features of a data set's images at any rate; each is embedded when it is first asked for.

    Args:
        model: the frozen model.
        dataset: the data set.
        kernel: down-sampling kernel (`resolution.degrade`).
        folder: where features are kept, one file per rate, and found again; it must be this model's, data set's and
            kernel's own (`frozen_features` names one). None keeps them in memory alone.
        batch_size: images embedded at a time; None: `devices.images_at_once`.
        progress: whether to show progress bars.
    """

    def __init__(
        self,
        model: FrozenModel,
        dataset: ReIDDataset,
        *,
        kernel: str = "bicubic",
        folder: str | Path | None = None,
        batch_size: int | None = None,
        progress: bool = True,
    ) -> None:
        self.model, self.dataset, self.kernel = model, dataset, kernel
        self.folder = None if folder is None else Path(folder)
        self.batch_size, self.progress = (
            batch_size or images_at_once(getattr(model, "device", torch.device("cpu"))),
            progress,
        )
        self._kept: dict[int, dict[str, torch.Tensor]] = {}

    @property
    def split(self) -> int | None:
        """The split on whose training identities the model was trained."""
        return self.model.split

    def __call__(self, rows: ArrayLike, rates: ArrayLike = 1) -> torch.Tensor:
        """Return the features (n, d), float32 on the CPU, of images down-sampled by their rates.

        Args:
            rows: (n,) indices of images in the data set's table.
            rates: one rate for all, or (n,); 1 is HR.

        Raises:
            ValueError: no row, a rate below 1 or not whole, or a model that gives NaN or infinite features.
        """
        rows = np.asarray(rows)
        rates = np.broadcast_to(np.asarray(rates), rows.shape)
        if not len(rows) or (rates % 1 != 0).any():
            raise ValueError(f"expected one or more images, at integer rates, found {len(rows)} at {np.unique(rates)}")
        parts = {int(rate): self._at_rate(rows[rates == rate], int(rate)) for rate in np.unique(rates)}
        features = torch.empty(len(rows), next(iter(parts.values())).shape[1])
        for rate, part in parts.items():
            features[torch.from_numpy(np.flatnonzero(rates == rate))] = part
        return features

    def _at_rate(self, rows: np.ndarray, rate: int) -> torch.Tensor:
        kept = self._kept.get(rate) or self._read(rate)
        missing = np.unique(rows if kept is None else rows[~kept["done"][rows].numpy()])
        batches = [missing[start : start + self.batch_size] for start in range(0, len(missing), self.batch_size)]
        store, written = open_store(self.dataset) if batches else None, time.monotonic()
        hidden = not (self.progress and batches)
        for number, batch in enumerate(bar(batches, what=f"features, r = {rate}", unit="batches", hidden=hidden), 1):
            found = self._embed(store, batch, rate)
            if kept is None:
                done = torch.zeros(len(self.dataset), dtype=torch.bool)
                kept = {"features": found.new_zeros(len(self.dataset), found.shape[1]), "done": done}
            kept["features"][batch], kept["done"][batch] = found, True
            if number == len(batches) or time.monotonic() - written >= KEEP_EVERY:
                self._write(kept, rate)
                written = time.monotonic()
        self._kept[rate] = kept
        return kept["features"][rows]

    @torch.inference_mode()
    def _embed(self, store: ImageStore, rows: np.ndarray, rate: int) -> torch.Tensor:
        images = store.batch(rows).to(self.model.device)
        images = degrade(images, torch.full((len(rows),), rate), self.kernel)
        features = self.model.features(images).float().cpu()
        if not features.isfinite().all():
            bad = rows[(~features.isfinite().all(1)).numpy()]
            raise ValueError(
                f"the model gives NaN or infinite features for {len(bad)} of {len(rows)} images of "
                f"{self.dataset.name} at rate {rate}, first for image {bad[0]}: look at its weights"
            )
        return features

    def _file(self, rate: int) -> Path:
        return self.folder / f"r{rate}.safetensors"

    def _read(self, rate: int) -> dict[str, torch.Tensor] | None:
        if self.folder is None or not self._file(rate).is_file():
            return None
        try:
            with safe_open(self._file(rate), "pt") as file:
                kept, metadata = {name: file.get_tensor(name) for name in ("features", "done")}, file.metadata() or {}
        except SafetensorError:  # cut short: made again
            return None
        # a file without the digest is one of before there was any
        whole_file = metadata.get("sha256", _digest(kept)) == _digest(kept)
        return kept if whole_file and len(kept["features"]) == len(kept["done"]) == len(self.dataset) else None

    def _write(self, kept: dict[str, torch.Tensor], rate: int) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_parts(self.folder, age=A_DAY)
        with whole(self._file(rate)) as part:
            save_file(kept, part, {"sha256": _digest(kept)})


def _digest(kept: dict[str, torch.Tensor]) -> str:
    return contents_digest({name: tensor.numpy() for name, tensor in kept.items()})


def frozen_features(
    matcher: FeatureMatcher, dataset: ReIDDataset, kernel: str = "bicubic", progress: bool = True
) -> FeatureBank:
    """Return the bank of a network's features of a data set, kept in the cache folder.

    A network is known by its weights and its code: the same one finds its features again, be it in another notebook.
    Of code outside this package (a network defined in a notebook) only the weights and the printed form count.

    Args:
        matcher: its ``embed`` is a module, or a method of one.
        dataset: the data set.
        kernel: down-sampling kernel.
        progress: whether to show progress bars.
    """
    network = getattr(matcher.embed, "__self__", matcher.embed)
    how = [repr(network), getattr(matcher.embed, "__name__", ""), matcher.input_size, matcher.device.type]
    what = [dataset.fingerprint(times=True), dataset.size, kernel]
    code = _code_of(matcher, *network.modules())
    folder = keyed(cache_folder() / "features", dataset.name, weights_digest(network.state_dict()), *how, *what, *code)
    return FeatureBank(matcher, dataset, kernel=kernel, folder=folder, progress=progress)


def _code_of(*objects: object) -> list[str]:
    """Return digests of this module's code and of the modules of this package in which the objects' classes stand."""
    modules = {cls.__module__ for one in objects for cls in type(one).__mro__} | {__name__}
    return [code_digest(module, NOT_DECISIVE) for module in sorted(modules) if module.startswith("reid_lib.")]


def trial_features(bank: FeatureBank, trial: Trial, panning: Map | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return query features (n_query, d), panned if there is a map, and gallery features (n_gallery, d)."""
    rates = trial.query["rate"].to_numpy()
    query = bank(trial.query.index, rates)
    return query if panning is None else panning.transform(query, rates), bank(trial.gallery.index)


def evaluate_features(
    bank: FeatureBank, trials: Sequence[Trial], panning: Map | None = None, ranks: Sequence[int] = RANKS
) -> Evaluation:
    """Rank trials by the cosine of features, those of the queries panned by ``panning``; a query is panned once.

    It gives what `ranking.evaluate` gives for a `matchers.PannedMatcher`, and embeds no image twice.

    Args:
        bank: features of the trials' data set.
        trials: trials of one data set; of the split on which the model, and the map (its ``split_``), were trained.
        panning: a fitted map, or None for the frozen model as it is.
        ranks: the k of Rank-k.

    Raises:
        ValueError: no trial; trials of another data set, or of a split whose test identities the model or the map has
            seen in training.
    """
    check_trials(trials, bank.split)
    if trials[0].dataset is not bank.dataset:
        raise ValueError(f"expected trials of the bank's own {bank.dataset.name}, found {trials[0].dataset.name}")
    if getattr(panning, "fitted_on_", None) == bank.dataset.fingerprint():
        check_trials(trials, panning.split_)

    queries = different_queries(trials)
    rates = queries["rate"].to_numpy()
    query = bank(queries["row"], rates)
    query = normalize(query if panning is None else panning.transform(query, rates))

    rows = np.unique(np.concatenate([trial.gallery.index for trial in trials]))
    gallery = normalize(bank(rows))

    def distances(trial: Trial) -> torch.Tensor:
        return euclidean(query[indices_of(trial, queries)], gallery[np.searchsorted(rows, trial.gallery.index)])

    return score(trials, (distances(trial) for trial in trials), ranks)
