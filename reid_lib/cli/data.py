"""`reid-lib data`: check a data set, write trials or an MLR set; and what every command takes that works on one."""

import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from reid_lib.files import try_writing, whole
from reid_lib.status import counted

FILE_PARAMETERS = ("weights", "other_weights", "start_weights", "lpips_weights", "partition")

DataSetName = Positional[Annotated[str, arg(metavar="DATASET")]]
Folder = Annotated[str, arg(metavar="FOLDER", help_behavior_hint="")]
Layout = Annotated[
    str,
    arg(help="Which of the folder variants that DATA.md names; without it the official one.", help_behavior_hint=""),
]
Assigned = Annotated[tuple[str, ...], arg(metavar="NAME=VALUE", help_behavior_hint="")]
Options = Annotated[Assigned, arg(help="Further options of the data set's loader (DATA.md).")]
Output = Annotated[Path, arg(aliases=["-o"])]
Seeds = Annotated[tuple[int, ...], arg(metavar="INT [INT ...]")]


@dataclass(frozen=True, kw_only=True)
class OnDataSet:
    """What `reproduce` and `train` take alike."""

    profile: str = "demo"
    """smoke (a check, seconds), demo (minutes on a CPU) or paper (the papers' settings, needs CUDA)."""
    dataset: str = "synth"
    """Data set: synth, synth-caviar, viper, caviar, cuhk03, ... (DATA.md)."""
    data_root: Folder = ""
    """The benchmark's folder; not for the built-in sets."""
    layout: Layout = ""
    options: Options = ()


@dataclass(frozen=True)
class DataCheck:
    name: DataSetName
    """Data set: synth, synth-caviar, viper, caviar, cuhk03, ... (DATA.md)."""
    root: Folder = ""
    """The folder as its owners distribute it; not for the built-in sets."""
    layout: Layout = ""
    options: Options = ()

    def run(self) -> int:
        from reid_lib.datasets.records import DatasetError, check_images

        dataset = load(self.name, self.root, self.layout, self.options)
        height, width = dataset.size
        print(f"{dataset.name}: {counted(len(dataset.splits), 'split')}, images at {height}x{width} (height x width)")
        print(dataset.summary().to_string())
        if dataset.note:
            print(f"note: {dataset.note}")
        try:
            check_images(dataset)
        except DatasetError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"every image can be read; fingerprint {dataset.fingerprint()}")
        return 0


@dataclass(frozen=True)
class DataTrials:  # decision PROTOCOL-10
    name: DataSetName
    """Data set."""
    output: Output
    """The CSV to write; with several trials, trial 3 of trials.csv is trials-3.csv."""
    root: Folder = ""
    """The benchmark's folder."""
    layout: Layout = ""
    options: Options = ()
    split: int = 0
    """Number of the train/test split."""
    rates: tuple[int, ...] = (2, 3, 4)
    """Down-sampling rates, drawn uniformly per query; 1 is HR."""
    n: int = 1
    """Number of trials."""
    seed: int = 0
    """Seed of every draw."""

    def run(self) -> int:
        from reid_lib.datasets import mlr

        dataset = load(self.name, self.root, self.layout, self.options)
        check_output(self.output)
        for trial in mlr.trials(dataset, split=self.split, rates=self.rates, n=self.n, seed=self.seed):
            path = self.output
            if self.n > 1:
                path = path.with_name(f"{path.stem}-{trial.number}{path.suffix}")
            with whole(path) as part:
                trial.to_csv(part)
            print(f"{path}: {counted(len(trial.query), 'query', 'queries')}, {len(trial.gallery)} in the gallery")
        return 0


@dataclass(frozen=True)
class DataBuild:
    name: DataSetName
    """Data set."""
    output: Output
    """The folder to write: new, empty, or one that the same command has begun."""
    root: Folder = ""
    """The benchmark's folder."""
    layout: Layout = ""
    options: Options = ()
    kernel: str = "bicubic"
    """Down-sampling kernel: bicubic, bilinear, area or lanczos."""
    rates: tuple[int, ...] = (2, 3, 4)
    """Down-sampling rates; 2 3 4 is MLR, 2 3 4 5 6 7 is MLRpro."""
    quality: int = 0
    """Quality of JPEG, 1 to 100; 0 writes PNG."""
    split: int = 0
    """Number of the train/test split."""
    trials: int = 10
    """Draws of the protocol; a query is stored at each rate that one of them draws."""
    seed: int = 0
    """Seed of every draw."""

    def run(self) -> int:
        from reid_lib.datasets.build import SUMS, BuildSettings, build

        settings = BuildSettings(self.kernel, self.rates, self.quality, self.split, self.trials, self.seed)
        images = build(load(self.name, self.root, self.layout, self.options), self.output, settings)
        parts = ", ".join(f"{count:,} {part}" for part, count in images["split"].value_counts().sort_index().items())
        print(
            f"{self.output}: {len(images):,} images ({parts}), {counted(self.trials, 'trial')}; {SUMS} has every file"
        )
        return 0


@dataclass(frozen=True)
class Data:
    command: (
        Annotated[
            DataCheck,
            subcommand(
                "check",
                description="Load a data set, compare it with the documented counts, read every image.\n\n"
                "Example: reid-lib data check viper --root ~/data/VIPeR",
            ),
        ]
        | Annotated[
            DataTrials,
            subcommand(
                "trials",
                description="Write trials of the MLR protocol as CSV, image by image.\n\n"
                "Example: reid-lib data trials cuhk03 --root ~/data/cuhk03 -o trials.csv --n 10",
            ),
        ]
        | Annotated[
            DataBuild,
            subcommand(
                "build",
                description="Write an MLR set to disk: images, lists, trials, checksums. A killed run goes on.\n\n"
                "Example: reid-lib data build viper --root ~/data/VIPeR -o mlr-viper",
            ),
        ]
    )

    def run(self) -> int:
        return self.command.run()


def load(name: str, root: str, layout: str, options: Sequence[str]):
    from reid_lib import datasets

    return datasets.load(name, root or None, **data_options(layout, options))


def data_options(layout: str, options: Sequence[str]) -> dict[str, object]:
    return ({"layout": layout} if layout else {}) | assignments(options)


def check_output(path: Path) -> None:
    """Raise ValueError, before any work, where a file cannot be written."""
    folder = path.resolve().parent
    if not folder.is_dir():
        fault = "is a file" if folder.exists() else "does not exist: make it first"
        raise ValueError(f"the folder of {path} {fault}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file")
    try:
        try_writing(folder)
    except OSError as error:
        raise ValueError(
            f"cannot write into {folder} ({error.strerror}): name another folder, or free some space"
        ) from None


def assignments(texts: Sequence[str]) -> dict[str, object]:
    """Return {name: value} of texts like "epochs=3"; a value that is no Python literal is a string.

    A file given to one of FILE_PARAMETERS gets its full path: notebooks run in the project's root.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"a parameter is set as NAME=VALUE, found {text!r}")
        if name in found:
            raise ValueError(f"{name} is set twice: name each parameter once")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            file = Path(value).expanduser() if name in FILE_PARAMETERS else None
            found[name] = str(file.resolve()) if file and file.is_file() else value
    return found
