"""VPFA on features (Algorithm 1): estimators that pan LR features to where HR ones would be, and its Matcher.

`VectorPanning` is the paper's method; `MeanShift` and `RidgeMap` are yardsticks that the paper lacks, fitted on the
same pairs. All three follow scikit-learn's conventions and work on features of any model::

    panning = VectorPanning().fit(lr_features, hr_features, pids)
    pseudo_hr = panning.transform(query_features)

`fit_to_bank` fits one on the training identities of a data set under the MLR protocol.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from reid_lib.datasets.image_store import cache_folder
from reid_lib.datasets.mlr import MLR_RATES, Trial
from reid_lib.datasets.records import ReIDDataset
from reid_lib.devices import pick_device
from reid_lib.digest import code_digest, keyed
from reid_lib.evaluation.features import FeatureBank, evaluate_features
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.evaluation.ranking import Evaluation, summarise
from reid_lib.losses.vpfa import identity_mean_pairs, sample_pairs, vector_panning_loss
from reid_lib.networks.vpfa import Shift, VectorPanningModule
from reid_lib.profiles import PROFILES
from reid_lib.seeds import numpy_generator, torch_generator
from reid_lib.training.run import Run, initialise

FORMAT = 1  # of the files that `save` writes; a change that old code cannot read raises it
PAIRINGS = ("identity_mean", "image")
_NOT_KEPT = ("device", "progress")  # parameters that say nothing about what is learned
ALL_RATES = 0  # key of the one map when there is not one per rate
_ROWS = {"cpu": 1024, "cuda": 32768}  # features mapped at a time: on a CPU what its cache holds is faster

Features = np.ndarray | torch.Tensor
Pids = ArrayLike | tuple[ArrayLike, ArrayLike]


class _FeatureMap(TransformerMixin, BaseEstimator):
    """What the estimators share: checks, pairs, one map or one per rate, save and load."""

    def fit(
        self, lr_features: Features, hr_features: Features, pids: Pids | None = None, rates: ArrayLike | None = None
    ) -> Self:
        """Fit on LR and HR features of the training identities.

        Features may have any scale: what is fitted on is what `transform` takes. (The authors' scripts use features
        before the BN neck, not normalised.)

        Args:
            lr_features: (N, d) array or tensor.
            hr_features: (M, d); for ``pairing="image"`` row i shows the same image as row i of ``lr_features``.
            pids: identities of the rows, (N,) when both have the same rows, else a tuple (LR pids (N,), HR pids (M,)).
                Needed for ``pairing="identity_mean"``.
            rates: down-sampling rates (N,) of the LR rows, integers >= 1. Needed for ``per_rate=True``.

        Returns:
            The estimator itself, with ``maps_`` ({rate: module}, or {0: module}), ``n_features_in_`` and ``n_pairs_``
            ({rate: different pairs}).

        Raises:
            ValueError: parameters or features that do not fit (the message says what was expected).
            reid_lib.training.run.TrainingError: the loss became NaN or infinite.
        """
        self._check_parameters()
        device = _device(self.device)
        lr, hr = (
            _tensor(f, name).to(device) for f, name in ((lr_features, "lr_features"), (hr_features, "hr_features"))
        )
        if lr.shape[1] != hr.shape[1]:
            raise ValueError(
                f"lr_features and hr_features must be equally wide, found {lr.shape[1]} and {hr.shape[1]}: "
                "take both from the same model"
            )
        lr_pids, hr_pids = self._pids(pids, len(lr), len(hr), device)
        rates = None if rates is None else _rates(rates, len(lr))
        if self.per_rate and rates is None:
            raise ValueError("per_rate=True needs the rate of every LR feature, found rates=None: pass rates")
        maps, counts = {}, {}
        for rate in np.unique(rates).tolist() if self.per_rate else [ALL_RATES]:
            rows = torch.arange(len(lr)) if rate == ALL_RATES else torch.from_numpy(np.flatnonzero(rates == rate))
            pairs = self._pairs(lr, hr, lr_pids, hr_pids, rows.to(device), rate)
            counts[rate] = len(pairs[0])
            maps[rate] = self._fit_map(*self._sampled(*pairs, rate), rate).eval().requires_grad_(False)
        self.n_features_in_, self.maps_, self.n_pairs_ = lr.shape[1], maps, counts
        return self

    def transform(self, features: Features, rates: ArrayLike | None = None) -> Features:
        """Map LR features (N, d) to pseudo-HR features (N, d) of the same kind, dtype and device (Eq. 3).

        The work is done in the maps' own precision, float32.

        Args:
            features: (N, d) array or tensor.
            rates: their rates (N,); needed, and used, only if ``per_rate``.

        Raises:
            sklearn.exceptions.NotFittedError: not fitted yet.
            ValueError: another width than fitted, NaN or infinite features, a rate that was not fitted.
        """
        check_is_fitted(self, "maps_")
        inputs = _tensor(features, "features", self.n_features_in_)
        panned = torch.empty_like(inputs)
        for map_, rows in self._groups(len(inputs), rates):
            weight = next(map_.parameters())
            with torch.no_grad():
                for some in rows.split(_ROWS.get(weight.device.type, 32768)):
                    # a whole range is read and written without an index: no copy on the way
                    at = slice(int(some[0]), int(some[-1]) + 1) if some[-1] - some[0] == len(some) - 1 else some
                    panned[at] = map_(inputs[at].to(weight.device, weight.dtype)).to(panned.device, panned.dtype)
        if isinstance(features, torch.Tensor):
            return panned.to(features.dtype) if features.is_floating_point() else panned
        dtype = np.asarray(features).dtype
        return panned.cpu().numpy().astype(dtype if dtype.kind == "f" else np.float32, copy=False)

    def fit_transform(
        self, lr_features: Features, hr_features: Features, pids: Pids | None = None, rates: ArrayLike | None = None
    ) -> Features:
        """Fit, and return the pseudo-HR features of ``lr_features``."""
        return self.fit(lr_features, hr_features, pids, rates).transform(lr_features, rates)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator as one .safetensors file, whole or not at all.

        The file's metadata hold the class, the format's version and all parameters except ``device`` and ``progress``.

        Raises:
            sklearn.exceptions.NotFittedError: not fitted yet.
            OSError: the file cannot be written.
        """
        check_is_fitted(self, "maps_")
        path = Path(path)
        kept = {name: value for name, value in self.get_params().items() if name not in _NOT_KEPT}
        fitted = {"n_features_in": self.n_features_in_, "n_pairs": self.n_pairs_}
        tensors = {
            f"{rate}.{name}": tensor.contiguous()
            for rate, map_ in self.maps_.items()
            for name, tensor in map_.state_dict().items()
        }
        metadata = {
            "class": type(self).__name__,
            "format": str(FORMAT),
            "parameters": json.dumps(kept),
            "fitted": json.dumps(fitted),
        }
        part = path.with_name(path.name + ".part")
        try:
            save_file(tensors, part, metadata)
            part.replace(path)
        except (SafetensorError, OSError) as error:
            raise OSError(f"cannot write {path} ({error}): check that its folder exists and has space") from error
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> Self:
        """Return the estimator that `save` wrote; loading executes no code from the file.

        Args:
            path: the file.
            device: where its maps go; None: the CUDA device if there is one, else the CPU.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not such a file, damaged, or of another class or format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except SafetensorError as error:
            raise ValueError(f"{path} is not a whole .safetensors file ({error}): save it again") from error
        cls._check_metadata(path, metadata)
        try:
            return cls._restored(metadata, tensors, device)
        except (KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} does not hold what a {cls.__name__} needs ({reason}): save it again") from error

    @classmethod
    def _check_metadata(cls, path: Path, metadata: dict[str, str]) -> None:
        if "class" not in metadata:
            raise ValueError(f"{path} was not written by {cls.__name__}.save: it names no class in its metadata")
        if metadata["class"] != cls.__name__:
            raise ValueError(
                f"{path} holds a {metadata['class']}, asked for a {cls.__name__}: use {metadata['class']}.load"
            )
        if metadata.get("format") != str(FORMAT):
            raise ValueError(
                f"{path} has format {metadata.get('format')}, this version of reid_lib reads format {FORMAT}: "
                "use the version that wrote it, or fit again"
            )

    @classmethod
    def _restored(
        cls, metadata: dict[str, str], tensors: dict[str, torch.Tensor], device: str | torch.device | None
    ) -> Self:
        fitted = json.loads(metadata["fitted"])
        estimator = cls(**json.loads(metadata["parameters"]), device=device)
        estimator.n_features_in_ = fitted["n_features_in"]
        estimator.n_pairs_ = {int(rate): count for rate, count in fitted["n_pairs"].items()}
        estimator.maps_ = {}
        for rate in estimator.n_pairs_:
            map_ = estimator._new_map(estimator.n_features_in_)
            own = {n.partition(".")[2]: tensor for n, tensor in tensors.items() if n.partition(".")[0] == str(rate)}
            map_.load_state_dict(own)
            estimator.maps_[rate] = map_.to(_device(device)).eval().requires_grad_(False)
        return estimator

    def _new_map(self, dim: int) -> nn.Module:
        raise NotImplementedError

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        """Return the map fitted on pairs (N, d), (N, d) of one rate (or of all)."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        if self.pairing not in PAIRINGS:
            raise ValueError(f"pairing must be one of {', '.join(PAIRINGS)}, found {self.pairing!r}")
        if self.n_pairs is not None and self.n_pairs < 1:
            raise ValueError(f"n_pairs must be at least 1, or None for every pair once, found {self.n_pairs}")
        if self.min_images < 1:
            raise ValueError(f"min_images must be at least 1, found {self.min_images}")

    def _pids(
        self, pids: Pids | None, n: int, m: int, device: torch.device
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return integer identities of the LR and the HR rows."""
        if pids is None:
            if self.pairing == "identity_mean":
                raise ValueError(
                    'pairing="identity_mean" needs the identity of every feature, found pids=None: pass pids'
                )
            self._check_same_rows(n, m)
            return None, None
        both = [_array(p) for p in (pids if isinstance(pids, tuple) and len(pids) == 2 else (pids, pids))]
        for found, rows, name in zip(both, (n, m), ("lr_features", "hr_features"), strict=True):
            if found.shape != (rows,):
                raise ValueError(
                    f"pids must name the identity of each of the {rows} rows of {name}, found shape {found.shape}: "
                    "pass one array, or the tuple (LR pids, HR pids)"
                )
        if self.pairing == "image":
            self._check_same_rows(n, m)
            differ = np.flatnonzero(both[0] != both[1])
            if len(differ):
                raise ValueError(
                    'pairing="image" needs the same image in row i of lr_features and of hr_features, found identities '
                    f"{both[0][differ[0]]} and {both[1][differ[0]]} in row {differ[0]}: put both in the same order"
                )
        _, numbers = np.unique(np.concatenate(both), return_inverse=True)
        numbers = torch.from_numpy(numbers).to(device)
        return numbers[:n], numbers[n:]

    def _check_same_rows(self, n: int, m: int) -> None:
        if n != m:
            raise ValueError(
                'pairing="image" needs the same image in row i of lr_features and of hr_features, '
                f'found {n} and {m} rows: pass the same images, or use pairing="identity_mean"'
            )

    def _pairs(
        self,
        lr: torch.Tensor,
        hr: torch.Tensor,
        lr_pids: torch.Tensor | None,
        hr_pids: torch.Tensor | None,
        rows: torch.Tensor,
        rate: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all pairs of the LR ``rows``, (P, d) and (P, d)."""
        where = f" at rate {rate}" if rate != ALL_RATES else ""
        if self.pairing == "image":
            count = len(rows) if lr_pids is None else len(torch.unique(lr_pids[rows]))
            if count < 2:
                what = "pairs" if lr_pids is None else "identities"
                raise ValueError(f"at least two {what} are needed{where}, found {count}: pass more training features")
            return lr[rows], hr[rows]
        pairs = identity_mean_pairs(lr[rows], hr, lr_pids[rows], hr_pids, self.min_images)
        if len(pairs[2]) < 2:
            raise ValueError(
                f"at least two identities with {self.min_images} or more images each in LR and in HR are needed"
                f"{where}, found {len(pairs[2])} of {len(torch.unique(lr_pids[rows]))}: pass more training features, "
                "or lower min_images"
            )
        return pairs[:2]

    def _sampled(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.n_pairs is None:
            return lr, hr
        rows = sample_pairs(len(lr), self.n_pairs, torch_generator(self.seed, "pairs", rate)).to(lr.device)
        return lr[rows], hr[rows]

    def _groups(self, n: int, rates: ArrayLike | None) -> Iterator[tuple[nn.Module, torch.Tensor]]:
        """Yield each map with the numbers of the rows that it takes."""
        if not self.per_rate:
            if rates is not None:
                _rates(rates, n)
            yield self.maps_[ALL_RATES], torch.arange(n)
            return
        if rates is None:
            raise ValueError("this estimator has one map per rate, found rates=None: pass the rate of every feature")
        rates = _rates(rates, n)
        unknown = sorted(set(rates.tolist()) - self.maps_.keys())
        if unknown:
            raise ValueError(
                f"rate {unknown[0]} was never fitted, only {', '.join(map(str, self.maps_))}: "
                "fit it too, give those rows the nearest fitted rate, or use per_rate=False"
            )
        for rate in np.unique(rates).tolist():
            yield self.maps_[rate], torch.from_numpy(np.flatnonzero(rates == rate))


class VectorPanning(_FeatureMap):
    """Vector Panning based Feature Alignment (VPFA): pans LR features of any re-ID model to pseudo-HR ones.

    The defaults are the paper's settings (Section 5.2). Training runs in bfloat16 where it is safe (master weights
    stay float32), `transform` in float32. The same parameters, features, machine and number of threads give the same
    estimator.

    Args:
        pairing: "identity_mean" (paper): mean LR and mean HR feature of each identity (Eq. 2); "image" (released
            scripts): LR and HR feature of the same image, no identity needed.
        per_rate: one module for each rate, which is then needed at test time too (released scripts); the paper has one
            for all.
        hidden, blocks: width and number of the VP blocks.
        residual: whether the input is added to the output (Eq. 3).
        init_std: standard deviation of the weights' start; None for PyTorch's own (released scripts).
        n_pairs: pairs in an epoch (per module), sampled once; fewer different ones are repeated in turn. None: every
            pair once.
        min_images: with "identity_mean", an identity needs so many LR and so many HR images (of the rate, if
            ``per_rate``).
        epochs, batch_size: length of the training and pairs in a step.
        learning_rate, weight_decay: of Adam; the learning rate is halved after each quarter of the epochs (every 30 of
            120 in the released scripts; the paper only says "fixed schedule").
        seed: of every draw, an integer >= 0.
        device: where maps and training live; None: the CUDA device if there is one, else the CPU.
        progress: whether to show progress bars.
    """

    def __init__(
        self,
        *,
        pairing: str = "identity_mean",
        per_rate: bool = False,
        hidden: int = 2048,
        blocks: int = 3,
        residual: bool = True,
        init_std: float | None = 1e-3,
        n_pairs: int | None = 5000,
        min_images: int = 2,
        epochs: int = 120,
        batch_size: int = 32,
        learning_rate: float = 2e-4,
        weight_decay: float = 1e-5,
        seed: int = 0,
        device: str | torch.device | None = None,
        progress: bool = True,
    ) -> None:
        self.pairing = pairing
        self.per_rate = per_rate
        self.hidden = hidden
        self.blocks = blocks
        self.residual = residual
        self.init_std = init_std
        self.n_pairs = n_pairs
        self.min_images = min_images
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed
        self.device = device
        self.progress = progress

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "VectorPanning":
        """Return the estimator with the settings of a profile: a smaller one trains for fewer steps.

        Raises:
            ValueError: unknown profile.
        """
        small = {
            "smoke": {"hidden": 16, "n_pairs": 32, "epochs": 2},
            "demo": {"n_pairs": 640, "epochs": 12},
            "paper": {},
        }
        if profile not in small:
            raise ValueError(f"unknown profile {profile!r}: expected one of {', '.join(PROFILES)}")
        return cls(**small[profile] | changes)

    def fit(
        self, lr_features: Features, hr_features: Features, pids: Pids | None = None, rates: ArrayLike | None = None
    ) -> Self:
        self.history_: dict[int, list[dict[str, float]]] = {}
        return super().fit(lr_features, hr_features, pids, rates)

    fit.__doc__ = _FeatureMap.fit.__doc__

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("hidden", "blocks", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, found {self.learning_rate}")

    def _new_map(self, dim: int) -> nn.Module:
        return VectorPanningModule(dim, self.hidden, self.blocks, self.residual, self.init_std)

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        module = initialise(lambda: self._new_map(lr.shape[1]), self.seed, lr.device)
        with torch.random.fork_rng(devices=[]):  # the loop seeds torch; the caller's own draws go on as they were
            self.history_[rate] = train(
                module,
                lr,
                hr,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                seed=self.seed,
                progress=self.progress,
            )
        return module


def train(
    module: VectorPanningModule,
    lr: torch.Tensor,
    hr: torch.Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a VP module on pairs of features (N, d), (N, d) on its device (Algorithm 1, stage 2); return the history.

    The history has a row per epoch: epoch, loss, seconds and pairs (``images``) per second.
    """
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 4), gamma=0.5)
    run = Run(None, {}, seed, {"module": module, "optimizer": optimizer}, lr.device, progress)
    for _ in run.epochs(epochs):
        order = torch.randperm(len(lr), generator=run.generator).to(lr.device)
        for rows in run.batches(order.split(batch_size)):
            with run.autocast():
                panned = module(lr[rows])
                loss = vector_panning_loss(panned, hr[rows])
            run.step(optimizer, {"loss": loss}, len(rows))
        schedule.step()
    return run.history


class MeanShift(_FeatureMap):
    """Yardstick: adds the mean of (HR - LR) over the pairs, one vector (or one per rate), to every LR feature.

    The parameters are those of `VectorPanning`.
    """

    def __init__(
        self,
        *,
        pairing: str = "identity_mean",
        per_rate: bool = False,
        n_pairs: int | None = 5000,
        min_images: int = 2,
        seed: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        self.pairing = pairing
        self.per_rate = per_rate
        self.n_pairs = n_pairs
        self.min_images = min_images
        self.seed = seed
        self.device = device

    def _new_map(self, dim: int) -> nn.Module:
        return Shift(dim)

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        map_ = self._new_map(lr.shape[1])
        map_.offset.data = (hr.double() - lr.double()).mean(0).float()
        return map_


class RidgeMap(_FeatureMap):
    """Yardstick: the linear map that ridge regression finds from the LR to the HR features of the pairs.

    It predicts HR - LR from LR minus its mean, so that a strong penalty leaves the mean shift, not zero.

    Args:
        alpha: the penalty on the squared weights, in units of the mean variance of an LR feature's numbers times the
            number of pairs, so that it does not depend on scale or sample size. The default is the best of 0.1 to 1000
            on held-out training identities of VIPeR (OSNet x0.25), with identity means.

    The other parameters are those of `VectorPanning`.
    """

    def __init__(
        self,
        *,
        pairing: str = "identity_mean",
        per_rate: bool = False,
        alpha: float = 10.0,
        n_pairs: int | None = 5000,
        min_images: int = 2,
        seed: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        self.pairing = pairing
        self.per_rate = per_rate
        self.alpha = alpha
        self.n_pairs = n_pairs
        self.min_images = min_images
        self.seed = seed
        self.device = device

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, found {self.alpha}")

    def _new_map(self, dim: int) -> nn.Module:
        return nn.Linear(dim, dim)

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        lr, offsets = lr.double(), hr.double() - lr.double()
        centre, shift = lr.mean(0), offsets.mean(0)
        centred = lr - centre
        covariance = centred.T @ centred / len(lr)
        eye = torch.eye(len(covariance), dtype=torch.float64, device=lr.device)
        penalty = self.alpha * covariance.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
        slope = torch.linalg.solve(covariance + penalty * eye, centred.T @ (offsets - shift) / len(lr))
        map_ = self._new_map(lr.shape[1])
        map_.weight.data = (eye + slope.T).float()
        map_.bias.data = (shift - slope.T @ centre).float()
        return map_


def fit_to_bank(
    panning: _FeatureMap,
    bank: FeatureBank,
    split: int = 0,
    rates: Sequence[int] = MLR_RATES,
    identities: int | None = None,
    folder: str | Path | None = None,
) -> _FeatureMap:
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
            only with a bank that has a folder itself.

    Raises:
        ValueError: the model was trained on another split; more identities than there are; what ``fit`` refuses.
    """
    if bank.split not in (None, split):
        raise ValueError(f"the frozen model was trained on split {bank.split}, found split {split}: take the same")
    file = None
    if folder is not None and bank.folder is not None:
        settings = {name: value for name, value in panning.get_params().items() if name not in _NOT_KEPT}
        # not the split's number: another partition of the same images has the same fingerprint
        people = bank.dataset.part("train", split)["pid"].unique().tolist()
        decisive = type(panning).__name__, settings, bank.folder.name, people, tuple(rates), identities
        file = keyed(folder, "vpfa", *decisive, code_digest(__name__)).with_suffix(".safetensors")
    if file is None or not _loaded(panning, file):
        _fit_to_bank(panning, bank, split, rates, identities)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            panning.save(file)
    panning.split_, panning.fitted_on_ = split, bank.dataset.fingerprint()
    return panning


def _loaded(panning: _FeatureMap, file: Path) -> bool:
    """Take over the fit that is kept in a file; False where there is none, or a damaged one."""
    try:
        kept = type(panning).load(file, panning.device)
    except (FileNotFoundError, ValueError):
        return False
    vars(panning).update(vars(kept) | panning.get_params())
    return True


def _fit_to_bank(
    panning: _FeatureMap, bank: FeatureBank, split: int, rates: Sequence[int], identities: int | None
) -> None:
    table = bank.dataset.part("train", split)
    if identities is not None:
        table = table[table["pid"].isin(_drawn(table["pid"].unique(), identities, panning.seed, bank.dataset.name))]
    far = table["camid"] == bank.dataset.genuine_lr_camid
    genuine = bank.dataset.genuine_lr_camid is not None
    hr = table[~far]
    lr, at = (table[far], (1,)) if genuine and panning.pairing == "identity_mean" else (hr, rates)
    lr_rates = np.repeat(at, len(lr))
    lr_features, lr_pids = bank(np.tile(lr.index, len(at)), lr_rates), np.tile(lr["pid"], len(at))
    # image pairs need the HR image once for each rate; in a mean, copies would count as images
    copies = len(at) if panning.pairing == "image" else 1
    hr_features, hr_pids = bank(hr.index).repeat(copies, 1), np.tile(hr["pid"], copies)
    panning.fit(lr_features, hr_features, (lr_pids, hr_pids), lr_rates)


def _drawn(pids: np.ndarray, n: int, seed: int, name: str) -> np.ndarray:
    if not 2 <= n <= len(pids):
        raise ValueError(f"identities must be within 2 and the {len(pids)} training identities, found {n}")
    return numpy_generator(seed, "vpfa identities", name).permutation(np.sort(pids))[:n]


def fit_and_evaluate(
    make: Callable[[], _FeatureMap] | None, bank: FeatureBank, settings: Mapping[str, Sequence[Trial]], **options: Any
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


def _takes(panning: _FeatureMap | None, trials: Sequence[Trial]) -> bool:
    if panning is None or not panning.per_rate:
        return True
    return all(set(trial.query["rate"]) <= panning.maps_.keys() for trial in trials)


def frozen_features(
    matcher: FeatureMatcher, dataset: ReIDDataset, kernel: str = "bicubic", progress: bool = True
) -> FeatureBank:
    """Return the bank of a network's features of a data set, kept in the cache folder.

    A network is known by its weights: the same one finds its features again, be it in another notebook.

    Args:
        matcher: its ``embed`` is a module, or a method of one.
        dataset: the data set.
        kernel: down-sampling kernel.
        progress: whether to show progress bars.
    """
    network = getattr(matcher.embed, "__self__", matcher.embed)
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    how = [repr(network), getattr(matcher.embed, "__name__", ""), matcher.input_size, matcher.device.type]
    what = [dataset.fingerprint(times=True), dataset.size, kernel]
    # this module is no part of what a frozen network gives
    module = FeatureMatcher.__module__
    folder = keyed(cache_folder() / "features", dataset.name, digest.hexdigest(), *how, *what, code_digest(module))
    return FeatureBank(matcher, dataset, kernel=kernel, folder=folder, progress=progress)


def _device(device: str | torch.device | None) -> torch.device:
    return pick_device() if device is None else torch.device(device)


def _array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _tensor(features: Features, name: str, width: int | None = None) -> torch.Tensor:
    """Return features as a float32 tensor (N, d), where they are, after looking at their shape and values."""
    if not isinstance(features, torch.Tensor):
        features = np.asarray(features)
        if features.dtype.kind not in "fiu":
            raise ValueError(f"{name} must be numbers, found an array of {features.dtype}: pass (rows, width) floats")
        with np.errstate(over="ignore"):  # told below, with the row
            features = torch.tensor(features.astype(np.float32, copy=False))
    features = features.detach().float()
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"{name} must have the shape (rows, width), both above 0, found {tuple(features.shape)}")
    if width is not None and features.shape[1] != width:
        raise ValueError(
            f"{name} must be {width} wide, as those of the fit, found {features.shape[1]}: "
            "take them from the same model"
        )
    finite = features.isfinite().all(1)
    if not finite.all():
        raise ValueError(
            f"{name} must be finite in float32, found NaN or infinity in {int((~finite).sum())} of {len(finite)} rows, "
            f"first in row {int((~finite).nonzero()[0])}: leave those rows out"
        )
    return features


def _rates(rates: ArrayLike, n: int) -> np.ndarray:
    found = _array(rates)
    if found.shape != (n,):
        raise ValueError(f"rates must name the rate of each of {n} features, found shape {found.shape}")
    if found.dtype.kind not in "fiu" or (found < 1).any() or (found != np.floor(found)).any():
        raise ValueError("rates must be integers >= 1 (2 for half the height and width), found others")
    return found.astype(np.int64)
