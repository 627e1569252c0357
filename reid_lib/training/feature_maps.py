"""What all maps of features share: checks, pairs, one map or one per rate, transform, save and load.

The maps move features of LR images to where those of HR images would be. They are scikit-learn estimators and work on
features of any model::

    map_ = VectorPanning().fit(lr_features, hr_features, pids)
    pseudo_hr = map_.transform(query_features)

In scikit-learn's words X are the LR features and y the HR features, which y is a matrix of as many columns: what is
learned is a regression of y on X, and `transform` predicts y. The identities are a third argument, since rows of X and
of y need not be of the same images.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from reid_lib.devices import pick_device
from reid_lib.digest import contents_digest
from reid_lib.files import whole
from reid_lib.losses.vpfa import identity_mean_pairs, sample_pairs
from reid_lib.seeds import torch_generator
from reid_lib.values import check_parameters, identities_of_both

FORMAT = 1  # of the files that `save` writes; a change that old code cannot read raises it
PAIRINGS = ("identity_mean", "image")
ALL_RATES = 0  # key of the one map when there is not one per rate
ROWS_AT_ONCE = {"cpu": 1024, "cuda": 32768}  # features mapped at a time: on a CPU what its cache holds is faster

Features = np.ndarray | torch.Tensor
Pids = ArrayLike | tuple[ArrayLike, ArrayLike]


class FeatureMap(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """The base of the maps; a subclass has ``_new_map`` and ``_fit_map``, and ``_check_parameters`` for its own.

    Fitted on a data frame, a map knows its columns, as scikit-learn's own transformers do: `transform` refuses others,
    or the same in another order, and the names are those of what comes out.

    Args:
        pairing: "identity_mean": mean LR and mean HR feature of each identity (Eq. 2); "image": LR and HR feature of
            the same image, no identity needed.
        per_rate: one map for each rate, which is then needed in `transform` too.
        n_pairs: how many pairs to fit on (per map), sampled once; fewer different ones are repeated in turn. None:
            every pair once.
        min_images: with "identity_mean", an identity needs so many LR and so many HR images (of the rate, if
            ``per_rate``).
        seed: of every draw, an integer >= 0.
        device: where the maps live; None: the CUDA device if there is one, else the CPU.
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

    def _check_parameters(self) -> None:
        check_parameters(type(self), self.get_params())
        if self.pairing not in PAIRINGS:
            raise ValueError(f"pairing must be one of {', '.join(PAIRINGS)}, found {self.pairing!r}")
        if self.n_pairs is not None and self.n_pairs < 1:
            raise ValueError(f"n_pairs must be at least 1, or None for every pair once, found {self.n_pairs}")
        if self.min_images < 1:
            raise ValueError(f"min_images must be at least 1, found {self.min_images}")

    def _new_map(self, dim: int) -> nn.Module:
        """Return a map of features (N, d) that is not fitted yet; `load` puts the weights of a file into one."""
        raise NotImplementedError

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        """Return the map fitted on pairs (N, d), (N, d) of one rate (or of all); a loop notes ``history_[rate]``."""
        raise NotImplementedError

    def decisive_parameters(self) -> dict[str, Any]:
        """Return the parameters that decide what is learned, all but ``device`` and ``progress``, as Python's own."""
        decisive = {name: value for name, value in self.get_params().items() if name not in ("device", "progress")}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in decisive.items()}

    def fit(
        self, lr_features: Features, hr_features: Features, pids: Pids | None = None, rates: ArrayLike | None = None
    ) -> Self:
        """Fit on LR and HR features of the training identities.

        Features may have any scale: what is fitted on is what `transform` takes. (The authors' scripts use features
        before the BN neck, not normalised.) A fit that fails or is interrupted leaves the estimator as it was.

        Args:
            lr_features: (N, d) array, tensor or data frame of numbers.
            hr_features: (M, d); for ``pairing="image"`` row i shows the same image as row i of ``lr_features``.
            pids: identities of the rows, integers or text, (N,) when both have the same rows, else a tuple (LR pids
                (N,), HR pids (M,)). -1 is junk by convention and refused. Needed for ``pairing="identity_mean"``.
            rates: down-sampling rates (N,) of the LR rows, integers >= 1. Needed for ``per_rate=True``.

        Returns:
            The estimator itself, with ``maps_`` ({rate: module}, or {0: module}), ``n_features_in_``, ``n_pairs_``
            ({rate: different pairs}) and ``history_`` ({rate: a row per epoch}; empty if no loop trains the map).

        Raises:
            ValueError: parameters or features that do not fit (the message says what was expected).
            reid_lib.training.run.TrainingError: the loss became NaN or infinite.
        """
        before = dict(vars(self))
        try:
            return self._fit(lr_features, hr_features, pids, rates)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _fit(self, lr_features: Features, hr_features: Features, pids: Pids | None, rates: ArrayLike | None) -> Self:
        self._check_parameters()
        device = _device(self.device)
        validate_data(self, lr_features, skip_check_array=True)  # notes a data frame's columns
        lr, hr = _tensor(lr_features, "lr_features").to(device), _tensor(hr_features, "hr_features").to(device)
        if lr.shape[1] != hr.shape[1]:
            raise ValueError(
                f"lr_features and hr_features must be equally wide, found {lr.shape[1]} and {hr.shape[1]}: "
                "take both from the same model"
            )
        lr_pids, hr_pids = self._pids(pids, len(lr), len(hr), device)
        rates = None if rates is None else _rates(rates, len(lr))
        if self.per_rate and rates is None:
            raise ValueError("per_rate=True needs the rate of every LR feature, found rates=None: pass rates")
        self.history_: dict[int, list[dict[str, float]]] = {}
        maps, counts = {}, {}
        for rate in np.unique(rates).tolist() if self.per_rate else [ALL_RATES]:
            rows = torch.arange(len(lr)) if rate == ALL_RATES else torch.from_numpy(np.flatnonzero(rates == rate))
            pairs = self._pairs(lr, hr, lr_pids, hr_pids, rows.to(device), rate)
            counts[rate] = len(pairs[0])
            maps[rate] = self._fit_map(*self._sampled(*pairs, rate), rate).eval().requires_grad_(False)
        self.n_features_in_, self.maps_, self.n_pairs_ = lr.shape[1], maps, counts
        return self

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
        given = pids if isinstance(pids, tuple) and len(pids) == 2 else (pids, pids)
        both = identities_of_both(*given, ("the identities of lr_features", "the identities of hr_features"))
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
        _, labels = np.unique(np.concatenate(both), return_inverse=True)
        labels = torch.from_numpy(labels).to(device)
        return labels[:n], labels[n:]

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

    def transform(self, features: Features, rates: ArrayLike | None = None) -> Features:
        """Map LR features (N, d) to pseudo-HR features (N, d) of the same kind, dtype and device.

        The work is done in the maps' own precision, float32.

        Args:
            features: (N, d) array or tensor.
            rates: their rates (N,); needed, and used, only if ``per_rate``.

        Raises:
            sklearn.exceptions.NotFittedError: not fitted yet.
            ValueError: another width than fitted, other columns than those of the data frame that was fitted on, NaN or
                infinite features, a rate that was not fitted.
        """
        check_is_fitted(self, "maps_")
        inputs = _tensor(features, "features", self.n_features_in_)
        validate_data(self, features, reset=False, skip_check_array=True)  # compares a data frame's columns
        mapped = torch.empty_like(inputs)
        for map_, rows in self._groups(len(inputs), rates):
            weight = next(map_.parameters())
            with torch.no_grad():
                for some in rows.split(ROWS_AT_ONCE.get(weight.device.type, 32768)):
                    # a whole range is read and written without an index: no copy on the way
                    at = slice(int(some[0]), int(some[-1]) + 1) if some[-1] - some[0] == len(some) - 1 else some
                    mapped[at] = map_(inputs[at].to(weight.device, weight.dtype)).to(mapped.device, mapped.dtype)
        if isinstance(features, torch.Tensor):
            return mapped.to(features.dtype) if features.is_floating_point() else mapped
        dtype = np.asarray(features).dtype
        return mapped.cpu().numpy().astype(dtype if dtype.kind == "f" else np.float32, copy=False)

    def _groups(self, n: int, rates: ArrayLike | None) -> Iterator[tuple[nn.Module, torch.Tensor]]:  # decision VPFA-4
        """Yield each map with the indices of the rows that it takes."""
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
        tensors = {
            f"{rate}.{name}": tensor.contiguous()
            for rate, map_ in self.maps_.items()
            for name, tensor in map_.state_dict().items()
        }
        metadata = {
            "class": type(self).__name__,
            "format": str(FORMAT),
            "parameters": json.dumps(self.decisive_parameters()),
            "fitted": json.dumps(
                {
                    "n_features_in": self.n_features_in_,
                    "n_pairs": self.n_pairs_,
                    "feature_names": list(getattr(self, "feature_names_in_", [])),
                }
            ),
        }
        metadata["sha256"] = _digest(tensors, metadata)
        try:
            with whole(path) as part:
                save_file(tensors, part, metadata)
        except (SafetensorError, OSError) as error:
            raise OSError(f"cannot write {path} ({error}): check that its folder exists and has space") from error

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
        # a file of before there was a digest has none
        if metadata.get("sha256", "") not in ("", _digest(tensors, metadata)):
            raise ValueError(f"{path} is damaged, its content does not match its checksum: save it again")
        try:
            return cls._restored(metadata, tensors, device)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
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
        if fitted.get("feature_names"):
            estimator.feature_names_in_ = np.array(fitted["feature_names"], dtype=object)
        estimator.n_pairs_ = {int(rate): count for rate, count in fitted["n_pairs"].items()}
        estimator.maps_ = {}
        for rate in estimator.n_pairs_:
            map_ = estimator._new_map(estimator.n_features_in_)
            own = {n.partition(".")[2]: tensor for n, tensor in tensors.items() if n.partition(".")[0] == str(rate)}
            map_.load_state_dict(own)
            estimator.maps_[rate] = map_.to(_device(device)).eval().requires_grad_(False)
        return estimator


def _digest(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> str:
    texts = (metadata.get(name, "") for name in ("class", "format", "parameters", "fitted"))
    return contents_digest({name: tensor.cpu().float().numpy() for name, tensor in tensors.items()}, *texts)


def _device(device: str | torch.device | None) -> torch.device:
    return pick_device() if device is None else torch.device(device)


def _array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _tensor(features: Features, name: str, width: int | None = None) -> torch.Tensor:
    """Return features as a float32 tensor (N, d), where they are, after looking at their shape and values."""
    if issparse(features):
        raise ValueError(f"{name} must be dense, sparse input is not supported: pass features.toarray()")
    if not isinstance(features, torch.Tensor):
        features = torch.tensor(_floats(np.asarray(features), name))
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


def _floats(array: np.ndarray, name: str) -> np.ndarray:
    """Return numbers of any kind, byte order and memory layout as contiguous float32."""
    if array.dtype.kind not in "fiuO":
        raise ValueError(f"{name} must be numbers, found an array of {array.dtype}: pass (rows, width) floats")
    if array.dtype.kind == "O" and any(isinstance(one, str | bytes | complex) for one in array.ravel()):
        raise ValueError(f"{name} must be numbers, found text or complex numbers among them: pass (rows, width) floats")
    try:
        with np.errstate(over="ignore"):  # told by the caller, with the row
            # not ascontiguousarray, which leaves negative strides on axes of length 1 (numpy issue 23349)
            return np.array(array, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, found others ({error}): pass (rows, width) floats") from None


def _rates(rates: ArrayLike, n: int) -> np.ndarray:
    found = _array(rates)
    if found.shape != (n,):
        raise ValueError(f"rates must name the rate of each of {n} features, found shape {found.shape}")
    if found.dtype.kind not in "fiu" or (found < 1).any() or (found != np.floor(found)).any():
        raise ValueError("rates must be integers >= 1 (2 for half the height and width), found others")
    return found.astype(np.int64)
