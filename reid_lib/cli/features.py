"""`reid-lib features` and `reid-lib vpfa`: features of any re-ID model, as files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from reid_lib.cli.data import DataSetName, Folder, Layout, Options, Output, check_output, load
from reid_lib.files import whole
from reid_lib.status import counted


@dataclass(frozen=True)
class Features:
    name: DataSetName
    """Data set."""
    weights: str
    """A weight file (.safetensors, .pth, .pt) of the network."""
    output: Output
    """The file to write: .npz (features, pid, camid, rate, path) or .safetensors (without path)."""
    root: Folder = ""
    """The benchmark's folder."""
    layout: Layout = ""
    options: Options = ()
    network: str = "osnet_x0_25"
    """osnet_x0_25, osnet_x1_0, resnet50 or transreid."""
    part: Annotated[str, arg(help_behavior_hint="")] = ""
    """train or test: the images of this part of the split; without it all images."""
    split: int = 0
    """Number of the train/test split; with --part."""
    rates: tuple[int, ...] = (1,)
    """Down-sampling rates; every image is embedded once at each, in ascending order; 1 is HR."""
    kernel: str = "bicubic"
    """Down-sampling kernel: bicubic, bilinear, area or lanczos."""
    batch_size: int = 0
    """Images embedded at a time; 0: 32 on a CPU, 128 on a GPU."""

    def run(self) -> int:
        _check_feature_file(self.output)
        if self.batch_size < 0:
            raise ValueError(f"the batch size must be at least 1, or 0 for the usual one, found {self.batch_size}")
        if self.weights == "none":
            raise ValueError("features need trained weights, 'none' is a random network: name a weight file")
        check_output(self.output)
        dataset = load(self.name, self.root, self.layout, self.options)
        rows = self._rows(dataset)
        network = _network(self.network, self.weights)
        features = _embed(network, dataset, rows, self.kernel, self.batch_size)
        arrays = {name: rows[name].to_numpy() for name in ("pid", "camid", "rate")}
        _write_arrays(self.output, {"features": features, **arrays, "path": rows["path"].to_numpy(str)})
        rates = ", ".join(str(rate) for rate in rows["rate"].unique())
        print(
            f"{self.output}: {counted(rows.index.nunique(), 'image')} at rate {rates}: "
            f"{counted(features.shape[0], 'feature')}, {features.shape[1]} numbers each"
        )
        return 0

    def _rows(self, dataset):
        """Return the data set's rows that are asked for, once at each rate, with the column ``rate``."""
        import pandas as pd
        import torch

        from reid_lib.datasets.resolution import degrade

        if not self.rates:
            raise ValueError("rates must name at least one down-sampling rate (1 is HR), found none")
        if self.split and not self.part:
            raise ValueError(f"split {self.split} needs the part of it to embed: add --part train or --part test")
        rates, most = sorted(set(self.rates)), min(dataset.size)
        if rates[0] < 1 or rates[-1] > most:
            raise ValueError(
                f"rate must lie between 1 and the shorter side, {most} pixels, found {rates[0]}..{rates[-1]}"
            )
        # black images: what degrade refuses is told before the first real one is read
        degrade(torch.zeros(len(rates), 3, *dataset.size, dtype=torch.uint8), torch.tensor(rates), self.kernel)
        table = dataset.part(self.part, self.split) if self.part else dataset.table
        return pd.concat([table.assign(rate=rate) for rate in rates])


@dataclass(frozen=True)
class VpfaFit:
    lr: Path
    """Features of LR training images: .npz or .safetensors with features, pid and, for --per-rate, rate."""
    hr: Path
    """Features of HR training images, by the same model; a rate other than 1 is refused."""
    output: Output
    """The .safetensors file to write."""
    pairing: Annotated[
        str,
        arg(
            help="identity_mean (the paper's) or image: row i of both files is the same image, or the LR file has the "
            "HR file's rows once for each rate, one rate after the other."
        ),
    ] = "identity_mean"
    per_rate: bool = False
    """One module for each rate."""
    hidden: int = 2048
    """Width of the blocks."""
    blocks: int = 3
    """Number of blocks."""
    residual: Annotated[bool, arg(help_behavior_hint="(default: it is added)")] = True
    """Do not add the input to the output."""
    n_pairs: int = 5000
    """Pairs in an epoch."""
    min_images: int = 2
    """Identities with fewer LR or fewer HR images are left out (identity_mean)."""
    epochs: int = 120
    """Length of the training, in epochs."""
    batch_size: int = 32
    """Pairs in a step."""
    learning_rate: float = 2e-4
    """Step size of Adam; halved after each quarter of the epochs."""
    weight_decay: float = 1e-5
    """Weight decay of Adam."""
    seed: int = 0
    """Seed of every draw."""

    def run(self) -> int:
        if self.output.suffix != ".safetensors":
            raise ValueError(f"the output must end in .safetensors, found {self.output.name}")
        check_output(self.output)
        lr, hr = read_arrays(self.lr), read_arrays(self.hr)
        missing = [path for path, arrays in ((self.lr, lr), (self.hr, hr)) if "pid" not in arrays]
        if missing and self.pairing == "identity_mean":
            raise ValueError(f"{missing[0]} has no array 'pid', which --pairing identity_mean needs: add it")
        if self.per_rate and "rate" not in lr:
            raise ValueError(f"{self.lr} has no array 'rate', which --per-rate needs: add it")
        far = sorted(set(hr["rate"].ravel().tolist()) - {1}) if "rate" in hr else []
        if far:
            raise ValueError(f"{self.hr} has features of rate {far[0]}, --hr takes those of rate 1: leave others out")
        if self.pairing == "image":
            hr = _once_per_rate(hr, lr)

        from reid_lib.training.vpfa import VectorPanning

        parameters = {name: value for name, value in vars(self).items() if name not in ("lr", "hr", "output")}
        panning = VectorPanning(**parameters)
        pids = None if missing else (lr["pid"], hr["pid"])
        panning.fit(lr["features"], hr["features"], pids, lr["rate"] if self.per_rate else None)
        panning.save(self.output)
        pairs = ", ".join(str(count) for count in panning.n_pairs_.values())
        modules = counted(len(panning.maps_), "module")
        print(f"{self.output}: {modules} for features of {panning.n_features_in_}, {pairs} pairs")
        return 0


@dataclass(frozen=True)
class VpfaApply:
    module: Positional[Annotated[Path, arg(metavar="MODULE")]]
    """The file that `reid-lib vpfa fit` (or VectorPanning.save) wrote."""
    features: Positional[Annotated[Path, arg(metavar="FEATURES")]]
    """Features of LR images: .npz or .safetensors with features and, for a module per rate, rate."""
    output: Output
    """The .npz or .safetensors to write: the same arrays with the features panned (.safetensors: numbers only)."""

    def run(self) -> int:
        _check_feature_file(self.output)
        check_output(self.output)
        arrays = read_arrays(self.features)

        from reid_lib.training.vpfa import VectorPanning

        panning = VectorPanning.load(self.module)
        if panning.per_rate and "rate" not in arrays:
            raise ValueError(f"{self.features} has no array 'rate', and {self.module} has a module for each: add it")
        panned = panning.transform(arrays["features"], arrays["rate"] if panning.per_rate else None)
        _write_arrays(self.output, arrays | {"features": panned})
        print(f"{self.output}: {counted(panned.shape[0], 'feature')} panned, {panned.shape[1]} numbers each")
        return 0


@dataclass(frozen=True)
class Vpfa:
    command: (
        Annotated[
            VpfaFit,
            subcommand(
                "fit",
                description="Fit VPFA's module on features of any re-ID model.\n\n"
                "Example: reid-lib vpfa fit --lr lr.npz --hr hr.npz -o vpfa.safetensors",
            ),
        ]
        | Annotated[
            VpfaApply,
            subcommand(
                "apply",
                description="Pan features of LR images to where those of HR images would be.\n\n"
                "Example: reid-lib vpfa apply vpfa.safetensors queries.npz -o panned.npz",
            ),
        ]
    )

    def run(self) -> int:
        return self.command.run()


def _network(name: str, weights: str):
    from reid_lib.networks import osnet, resnet, transreid

    makers = {
        "osnet_x0_25": osnet.osnet_x0_25,
        "osnet_x1_0": osnet.osnet_x1_0,
        "resnet50": resnet.resnet50,
        "transreid": transreid.transreid,
    }
    if name not in makers:
        raise ValueError(f"network must be one of {', '.join(makers)}, found {name!r}")
    return makers[name](weights=weights)


def _embed(network, dataset, rows, kernel: str, batch_size: int):
    """Return float32 features (N, dim) of ``rows``, whose index is the image's number and ``rate`` its rate.

    They are kept in the cache folder as they are made: what is interrupted goes on there.
    """
    import torch

    from reid_lib.devices import pick_device
    from reid_lib.evaluation.features import frozen_features
    from reid_lib.evaluation.matchers import FeatureMatcher

    device = pick_device()
    network = network.to(device, memory_format=torch.channels_last).eval()
    model = FeatureMatcher(network, network.input_size, device)
    bank = frozen_features(model, dataset, kernel)
    bank.batch_size = batch_size or bank.batch_size
    return bank(rows.index, rows["rate"]).numpy()


def _once_per_rate(hr: dict, lr: dict) -> dict:
    """Return the HR arrays once for each rate of an LR file that has their rows at one rate after the other.

    Where it has others, or it cannot be seen, ``hr`` comes back as it is.
    """
    import numpy as np

    if "rate" not in lr or hr["features"].ndim != 2:
        return hr
    rates = np.unique(lr["rate"])
    arrays = {name: np.tile(hr[name], len(rates)) for name in ("pid", "camid", "path") if name in hr}
    expected = arrays | {"rate": np.repeat(rates, len(hr["features"]))}
    same = all(np.array_equal(array, lr[name]) for name, array in expected.items() if name in lr)
    return arrays | {"features": np.tile(hr["features"], (len(rates), 1))} if same else hr


def _write_arrays(path: Path, arrays: dict) -> None:
    """Write named arrays, whole or not at all; a .safetensors file takes only those that hold numbers."""
    import numpy as np
    from safetensors.numpy import save_file

    from reid_lib.digest import contents_digest

    numbers = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array.dtype.kind in "fiub"}
    with whole(path) as part:
        if path.suffix == ".npz":
            with part.open("wb") as file:
                np.savez(file, **arrays)
        else:
            save_file(numbers, part, {"sha256": contents_digest(numbers)})


def read_arrays(path: Path) -> dict:
    """Return the named arrays of a feature file; ValueError where it is absent, unreadable, or has no features."""
    _check_feature_file(path)
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    try:
        arrays = _of_npz(path) if path.suffix == ".npz" else _of_safetensors(path)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything: BadZipFile, zlib.error, RuntimeError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a feature file ({reason}): write it again") from error
    if "features" not in arrays:
        raise ValueError(f"{path} has no array 'features', only {', '.join(arrays) or 'nothing'}: name it so")
    return arrays


def _of_npz(path: Path) -> dict:
    import numpy as np

    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it is one array, a .npy file under another name")
        # an array's header may claim less than is there: only what is read to its end is compared with its checksum
        if loaded.zip.testzip() is not None:
            raise ValueError("an array does not match its checksum")
        return dict(loaded)


def _of_safetensors(path: Path) -> dict:
    """Return the arrays, those in bfloat16 and the like, which NumPy has not, as float32."""
    import torch
    from safetensors import safe_open

    from reid_lib.digest import contents_digest

    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        digest = (file.metadata() or {}).get("sha256")
    known = (torch.float16, torch.float32, torch.float64)
    foreign = {name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.dtype not in known}
    arrays = {name: (t.float() if name in foreign else t).numpy() for name, t in tensors.items()}
    if "features" in arrays and digest is not None and digest != contents_digest(arrays):
        raise ValueError("its content does not match its checksum")
    return arrays


def _check_feature_file(path: Path) -> None:
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"a feature file must end in .npz or .safetensors, found {path.name}")
