"""The command line: `reid-lib COMMAND --help` shows what each command takes.

Exit codes: 0 all is well, 1 a check or a notebook failed, 2 wrong usage or bad input, 130 interrupted. Heavy
imports stand in the functions that need them, so that help comes at once.
"""

import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Union

import tyro
from tyro.conf import Positional, arg, subcommand

PUBLISHED_SHA256 = "4ae9a96e66c97836023aadc7da2951febd9f187fc17786ff52505e40932d627a"
DEBUG_VARIABLE = "REID_LIB_DEBUG"
_FILE_PARAMETERS = ("weights", "other_weights", "start_weights", "lpips_weights", "partition")
_GAINS = ("VPFA", "VPFA, released form", "mean shift", "ridge")
README_TABLES = ("results", "gains", "cadnet", "lrar")  # each between <!-- NAME: begin --> and <!-- NAME: end -->


@dataclass(frozen=True)
class Reproduce:
    profile: str = "demo"
    """smoke (a check, seconds), demo (minutes on a CPU) or paper (the papers' settings, needs CUDA)."""
    dataset: str = "synth"
    """Data set: synth, synth-caviar, viper, caviar, cuhk03, ... (DATA.md)."""
    data_root: str = ""
    """The benchmark's folder; not for the built-in sets."""
    layout: str = ""
    """Which of the folder variants that DATA.md names; empty: the official one."""
    options: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = field(default=())
    """Further options of the data set's loader (DATA.md)."""
    only: str = ""
    """One notebook (13_lrar, lrar, 13) or one table or figure ("Baselines Kernel sensitivity")."""
    seeds: Annotated[tuple[int, ...] | None, arg(metavar="INT [INT ...]")] = None
    """Seeds, in place of the notebooks' own."""
    set: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = field(default=())
    """Further notebook parameters."""
    force: bool = False
    """Run also what is up to date."""
    write_back: bool = False
    """Put the outputs, normalised, into notebooks/ (built-in data and the notebooks' own parameters only)."""

    def run(self) -> int:
        from reid_lib.reporting import html
        from reid_lib.reproduce import NotebookFailed, reproduce

        root = _root()
        try:
            reproduce(
                root,
                profile=self.profile,
                dataset=self.dataset,
                data_root=self.data_root,
                seeds=self.seeds,
                only=self.only,
                overrides=self._overrides(),
                force=self.force,
                write_back=self.write_back,
                say=lambda line: print(line, flush=True),
            )
        except NotebookFailed as error:
            print(error, file=sys.stderr)
            return 1
        print(f"all results on one page: {html.build(notebooks=root / 'notebooks')}")
        return 0

    def _overrides(self) -> dict[str, object]:
        options = _data_options(self.layout, self.options)
        return ({"data_options": options} if options else {}) | _assignments(self.set)


@dataclass(frozen=True)
class List:
    paper: str = ""
    """Only this paper: cadnet, intact, lrar, drfm, vpfa or baselines."""

    def run(self) -> int:
        from reid_lib.reporting import artefacts

        if self.paper and self.paper not in artefacts.PAPERS:
            raise ValueError(f"paper must be one of {', '.join(artefacts.PAPERS)}, found {self.paper!r}")
        chosen = [a for a in artefacts.ARTEFACTS if self.paper in ("", a.paper)]
        rows = [(a.title, artefacts.status(a), a.notebook or "-", a.caption) for a in chosen]
        _print_table(("artefact", "status", "notebook", "what it shows"), rows)
        return 0


@dataclass(frozen=True)
class Status:
    profile: str = "demo"
    """Profile whose runs are looked at."""
    dataset: str = "synth"
    """Data set whose runs are looked at."""

    def run(self) -> int:
        from reid_lib import reproduce
        from reid_lib.reporting import results

        states = reproduce.states(_root(), self.profile, self.dataset)
        print(f"Notebooks, profile {self.profile}, data set {self.dataset}")
        columns = ("notebook", "last run", "finished", "seconds", "parameters")
        rows = [(s.name, s.state, s.finished or "-", f"{s.seconds:.0f}", s.parameters or "-") for s in states]
        _print_table(columns, rows)
        print("\nResults")
        rows = [(*key, *_run_columns(*key)) for key in results.available()]
        _print_table(("profile", "data set", "paper", "rows", "time", "commit", "complete"), rows)
        return 0


@dataclass(frozen=True)
class Verify:
    def run(self) -> int:
        problems, checked = verify(_root())
        for problem in problems:
            print(problem)
        print(f"{len(problems)} problems" if problems else f"all is well: {checked}")
        return 1 if problems else 0


@dataclass(frozen=True)
class DataCheck:
    name: Positional[str]
    """Data set: synth, synth-caviar, viper, caviar, cuhk03, ... (DATA.md)."""
    root: str = ""
    """The folder as its owners distribute it; not for the built-in sets."""
    layout: str = ""
    """Which of the folder variants that DATA.md names; empty: the official one."""
    options: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = field(default=())
    """Further options of the data set's loader (DATA.md)."""

    def run(self) -> int:
        from reid_lib.datasets.records import DatasetError, check_images

        dataset = _load(self.name, self.root, self.layout, self.options)
        height, width = dataset.size
        print(f"{dataset.name}: {len(dataset.splits)} splits, images at {height}x{width} (height x width)")
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
class DataTrials:
    name: Positional[str]
    """Data set."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The CSV to write; with several trials, trial 3 of trials.csv is trials-3.csv."""
    root: str = ""
    """The benchmark's folder."""
    layout: str = ""
    """Which of the folder variants that DATA.md names; empty: the official one."""
    options: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = field(default=())
    """Further options of the data set's loader (DATA.md)."""
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

        dataset = _load(self.name, self.root, self.layout, self.options)
        _check_output(self.output)
        for trial in mlr.trials(dataset, split=self.split, rates=self.rates, n=self.n, seed=self.seed):
            path = self.output
            if self.n > 1:
                path = path.with_name(f"{path.stem}-{trial.number}{path.suffix}")
            _written_whole(path, trial.to_csv)
            print(f"{path}: {len(trial.query)} queries, {len(trial.gallery)} in the gallery")
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
    )

    def run(self) -> int:
        return self.command.run()


@dataclass(frozen=True)
class Train:
    method: Positional[str]
    """baseline, lrar, ...: a method with a training loop; an unknown name lists them."""
    profile: str = "demo"
    """smoke, demo or paper (needs CUDA): the method's settings."""
    dataset: str = "synth"
    """Data set: synth, synth-caviar, viper, caviar, cuhk03, ... (DATA.md)."""
    data_root: str = ""
    """The benchmark's folder; not for the built-in sets."""
    layout: str = ""
    """Which of the folder variants that DATA.md names; empty: the official one."""
    options: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = field(default=())
    """Further options of the data set's loader (DATA.md)."""
    seeds: Annotated[tuple[int, ...], arg(metavar="INT [INT ...]")] = (0,)
    """One training for each seed."""
    set: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = field(default=())
    """Settings other than the profile's (fields of the method's configuration)."""

    def run(self) -> int:
        from reid_lib.devices import processes
        from reid_lib.session import profile_variable, start

        config, train = self._method()
        with profile_variable(self.profile):
            run = start(
                f"train {self.method}",
                profile=self.profile,
                dataset=self.dataset,
                data_root=self.data_root,
                data_options=_data_options(self.layout, self.options),
                seeds=self.seeds,
            )
        folder = run.folder / "checkpoints"  # where a notebook of this profile and data set looks
        together = processes()
        count = together.num_processes if together else 1
        for seed in run.seeds:
            train(config, run.dataset, seed=seed, folder=folder, device=run.device)
            if not together or together.is_main_process:
                print(f"{folder}: {self.method}, seed {seed}, {count} process(es) on {run.device.type}", flush=True)
        if together:
            together.destroy_process_group()
        return 0

    def _method(self) -> tuple[object, Callable]:
        """Return the method's configuration and its training."""
        methods = _methods()
        if self.method not in methods:
            raise ValueError(f"method must be one of {', '.join(methods)}, found {self.method!r}")
        for_profile, train = methods[self.method]
        usual, changes = vars(for_profile(self.profile)), _assignments(self.set)
        for name, value in changes.items():
            if name not in usual:
                raise ValueError(f"{self.method} has no setting {name!r}, it has {', '.join(usual)}")
            if isinstance(usual[name], float) and isinstance(value, int):
                changes[name] = float(value)  # 1 and 1.0 would be two configurations
            elif None not in (usual[name], value) and type(value) is not type(usual[name]):
                raise ValueError(f"{name} must be a value like {usual[name]!r}, found {value!r}")
        return for_profile(self.profile, **changes), train


@dataclass(frozen=True)
class Features:
    name: Positional[str]
    """Data set."""
    weights: str
    """A weight file (.safetensors, .pth, .pt) of the network."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The file to write: .npz (features, pid, camid, rate, path) or .safetensors (without path)."""
    root: str = ""
    """The benchmark's folder."""
    layout: str = ""
    """Which of the folder variants that DATA.md names; empty: the official one."""
    options: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = field(default=())
    """Further options of the data set's loader (DATA.md)."""
    network: str = "osnet_x0_25"
    """osnet_x0_25, osnet_x1_0, resnet50 or transreid."""
    part: str = ""
    """train or test: the images of this part of the split; empty: all images."""
    split: int = 0
    """Number of the train/test split; with --part."""
    rates: tuple[int, ...] = (1,)
    """Down-sampling rates; every image is embedded once at each, in ascending order; 1 is HR."""
    kernel: str = "bicubic"
    """Down-sampling kernel: bicubic, bilinear, area or lanczos."""
    batch_size: int = 128
    """Images embedded at a time."""

    def run(self) -> int:
        _check_feature_file(self.output)
        if self.batch_size < 1:
            raise ValueError(f"the batch size must be at least 1, found {self.batch_size}")
        if self.weights == "none":
            raise ValueError("features need trained weights, 'none' is a random network: name a weight file")
        _check_output(self.output)
        dataset = _load(self.name, self.root, self.layout, self.options)
        rows = self._rows(dataset)
        network = _network(self.network, self.weights)
        features = _embed(network, dataset, rows, self.kernel, self.batch_size)
        _written_whole(self.output, lambda path: _write_features(path, features, rows))
        rates = ", ".join(str(rate) for rate in rows["rate"].unique())
        print(
            f"{self.output}: {rows.index.nunique()} images at rate {rates}: "
            f"{features.shape[0]} features, {features.shape[1]} numbers each"
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
        rates = sorted(set(self.rates))
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
    output: Annotated[Path, arg(aliases=["-o"])]
    """The .safetensors file to write."""
    pairing: str = "identity_mean"
    """identity_mean (the paper's) or image: row i of both files is the same image, or the LR file has the HR file's
    rows once for each rate, one rate after the other."""
    per_rate: bool = False
    """One module for each rate."""
    hidden: int = 2048
    """Width of the blocks."""
    blocks: int = 3
    """Number of blocks."""
    residual: bool = True
    """Add the input to the output."""
    n_pairs: int = 5000
    """Pairs in an epoch."""
    min_images: int = 2
    """Identities with fewer LR or fewer HR images are left out (identity_mean)."""
    epochs: int = 120
    """Length of the training."""
    batch_size: int = 32
    """Pairs in a step."""
    learning_rate: float = 2e-4
    """Of Adam; halved after each quarter of the epochs."""
    weight_decay: float = 1e-5
    """Of Adam."""
    seed: int = 0
    """Seed of every draw."""

    def run(self) -> int:
        if self.output.suffix != ".safetensors":
            raise ValueError(f"the output must end in .safetensors, found {self.output.name}")
        _check_output(self.output)
        lr, hr = _read_arrays(self.lr), _read_arrays(self.hr)
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
        print(f"{self.output}: {len(panning.maps_)} module(s) for features of {panning.n_features_in_}, {pairs} pairs")
        return 0


@dataclass(frozen=True)
class VpfaApply:
    module: Positional[Path]
    """The file that `reid-lib vpfa fit` (or VectorPanning.save) wrote."""
    features: Positional[Path]
    """Features of LR images: .npz or .safetensors with features and, for a module per rate, rate."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The .npz or .safetensors to write: the same arrays with the features panned (.safetensors: numbers only)."""

    def run(self) -> int:
        _check_feature_file(self.output)
        _check_output(self.output)
        arrays = _read_arrays(self.features)

        from reid_lib.training.vpfa import VectorPanning

        panning = VectorPanning.load(self.module)
        if panning.per_rate and "rate" not in arrays:
            raise ValueError(f"{self.features} has no array 'rate', and {self.module} has a module for each: add it")
        panned = panning.transform(arrays["features"], arrays["rate"] if panning.per_rate else None)
        _written_whole(self.output, lambda path: _write_arrays(path, arrays | {"features": panned}))
        print(f"{self.output}: {panned.shape[0]} features panned, {panned.shape[1]} numbers each")
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


@dataclass(frozen=True)
class Readme:
    check: bool = False
    """Only say whether the table is up to date (exit code 1 if not)."""

    def run(self) -> int:
        path = _root() / "README.md"
        old = path.read_text(encoding="utf-8")
        new = readme_with_results(old)
        if self.check:
            print("README.md is up to date" if new == old else "README.md is out of date: run `reid-lib readme`")
            return int(new != old)
        path.write_text(new, encoding="utf-8")
        return 0


COMMANDS = {
    "reproduce": (
        Reproduce,
        "Run the notebooks in order; skip what is up to date, stop where one fails, resume next time.\n\n"
        'Examples:\n\nreid-lib reproduce\n\nreid-lib reproduce --only "Baselines Kernel sensitivity"\n\n'
        "reid-lib reproduce --dataset viper --data-root ~/data/VIPeR --seeds 0 1 2",
    ),
    "list": (
        List,
        "List every table and figure of the papers, its notebook, and whether it is done.\n\n"
        "Example: reid-lib list --paper lrar",
    ),
    "status": (
        Status,
        "Show which notebooks are up to date, and which results are there.\n\nExample: reid-lib status",
    ),
    "verify": (
        Verify,
        "Read all committed results and notebooks again and check that they hold together.\n\nExample: reid-lib verify",
    ),
    "data": (Data, "Check a data set, or write trials.\n\nExample: reid-lib data check synth"),
    "train": (
        Train,
        "Train a method as its notebook does, into the folder where the notebook finds it: in several processes or on "
        "several GPUs, which a notebook cannot.\n\n"
        "Examples:\n\nreid-lib train lrar --dataset viper --data-root ~/data/VIPeR --seeds 0 1 2\n\n"
        "accelerate launch --multi_gpu --num_processes 2 -m reid_lib train lrar --profile paper",
    ),
    "features": (
        Features,
        "Embed the images of a data set with a network, down-sampled if asked, and write the features.\n\n"
        "Examples:\n\nreid-lib features viper --root ~/data/VIPeR --weights osnet_x0_25_msmt17.pth -o viper.npz\n\n"
        "reid-lib features viper --root ~/data/VIPeR --weights osnet_x0_25_msmt17.pth --part train --rates 2 3 4 "
        "-o lr.npz",
    ),
    "vpfa": (
        Vpfa,
        "Fit VPFA on feature files of any re-ID model, or apply it.\n\n"
        "Example: reid-lib vpfa fit --lr lr.npz --hr hr.npz -o vpfa.safetensors",
    ),
    "readme": (
        Readme,
        "Rebuild the tables of results in README.md.\n\nExample: reid-lib readme --check",
    ),
}


DESCRIPTION = (
    "Five papers on cross-resolution person re-identification, reproduced.\n\n"
    "reid-lib COMMAND --help shows what a command takes. Exit codes: 0 all is well, 1 a check or a notebook "
    "failed, 2 wrong usage or bad input. --debug shows tracebacks."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; bad input is one sentence on stderr.

    ``--debug`` anywhere, or REID_LIB_DEBUG=1, shows the traceback instead.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    try:
        command = _parse([argument for argument in arguments if argument != "--debug"])
        code = command.run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output, for example `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("reid-lib: interrupted; the same command goes on from what is done", file=sys.stderr)
        return 130
    except Exception as error:
        own = type(error).__module__.startswith("reid_lib.")
        if debug or not (own or isinstance(error, ValueError | OSError | ImportError)):
            raise  # a fault of the program, not of its input
        print(f"reid-lib: {_sentence(error)}", file=sys.stderr)
        return 2


def verify(root: Path) -> tuple[list[str], str]:
    """Read results and notebooks again; return one sentence per problem, and what was read.

    Checked: published.csv by its hash, the schema of every measured file and its run.json, every artefact
    that is done, and that each committed notebook was run to its end.
    """
    from reid_lib import reproduce
    from reid_lib.reporting import artefacts, results

    problems, rows = [], 0
    published = root / "results" / "published.csv"
    if not published.is_file():
        problems.append(f"{published} is missing: restore it from git")
    elif _sha256(published) != PUBLISHED_SHA256:
        problems.append(f"{published} differs from the papers' transcribed numbers: restore it from git")
    for key in results.available():
        try:
            rows += len(results.check_rows(results.read(*key)))
            if not results.read_run(*key)["complete"]:
                problems.append(f"{'/'.join(key)}.csv is not what its run.json was written for: run it again")
        except results.ResultsError as error:
            problems.append(f"{'/'.join(key)}: {error}")
    problems += artefacts.problems(root / "notebooks")
    paths = reproduce.notebooks(root)
    for path in paths:
        problems += _notebook_problems(path)
    counted = f"{len(results.available())} result files with {rows} rows, {len(paths)} notebooks"
    return problems, counted


def _notebook_problems(path: Path) -> list[str]:
    import nbformat

    from reid_lib.reporting import results

    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    found = []
    if any(cell.execution_count is None for cell in cells if cell.source.strip()):
        found.append(f"{path.name} has code cells that were not run: `reid-lib reproduce --write-back`")
    record = results.folder("demo", "synth") / f"{path.stem}.run.json"
    if not record.is_file():
        found.append(f"{path.name} was not run to its end, {record} is missing: `reid-lib reproduce`")
    return found


def readme_with_results(text: str) -> str:
    """Return README.md's ``text`` with its tables rebuilt from results/demo/*/*.csv.

    Raises:
        ValueError: the markers of a table are not there, once each and in order.
    """
    tables = _results_table(), _gains_table(), _rank1_table("cadnet", "Table 1"), _rank1_table("lrar", "Table II")
    for name, table in zip(README_TABLES, tables, strict=True):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, *rest = text.split(begin)
        tail = rest[0].split(end) if len(rest) == 1 else ()
        if len(tail) != 2:
            raise ValueError(f"README.md must hold the lines {begin} and {end}, once each")
        text = f"{head}{begin}\n{table}{end}{tail[1]}"
    return text


def _gains_table() -> str:
    """What each map behind a frozen model adds to its Rank-1 under the data set's own protocol."""
    import pandas as pd

    from reid_lib.reporting import results, tables

    rows = results.read_all()
    rows = rows[(rows["profile"] == "demo") & (rows["artefact"] == "Forms and yardsticks")]
    lines = []
    for _, own in rows.groupby("folder_dataset"):
        setting = next(s for s in ("genuine LR", "MLR {2,3,4}") if s in set(own["setting"]))
        own = results.merge_seeds(own[own["setting"] == setting]).set_index(["method", "metric"])
        shown = {key: tables.with_interval(row.value, row.low, row.high, key[1]) for key, row in own.iterrows()}
        panned = (method for method, metric in shown if metric == "rank1_gain" and method.endswith(" + VPFA"))
        for frozen in sorted(method.removesuffix(" + VPFA") for method in panned):
            start = {"Data set": f"{own['dataset'].iloc[0]}, {setting}", "Frozen model": frozen}
            line = start | {"Rank-1": shown[frozen, "rank1"]}
            lines.append(line | {f"+ {m}": shown.get((f"{frozen} + {m}", "rank1_gain"), "") for m in _GAINS})
    return tables.to_markdown(pd.DataFrame(lines)) if lines else "No results are committed yet.\n"


def _rank1_table(paper: str, artefact: str) -> str:
    """Rank-1 of a paper's own variants, one line for each data set, in the order of its table."""
    import pandas as pd

    from reid_lib.reporting import results, tables

    rows, printed = results.read_all(), results.published()
    for column, value in {"profile": "demo", "paper": paper, "artefact": artefact, "metric": "rank1"}.items():
        rows = rows[rows[column] == value]
    printed = printed[(printed["paper"] == paper) & (printed["artefact"] == artefact)]
    methods = [method for method in printed["method"].unique() if method in set(rows["method"])]
    lines = []
    for _, own in rows.groupby("folder_dataset"):
        own = results.merge_seeds(own).set_index("method")
        shown = {m: tables.with_interval(*own.loc[m, ["value", "low", "high"]]) for m in methods if m in own.index}
        seeds = rows.loc[rows["dataset"] == own["dataset"].iloc[0], "seed"].nunique()
        lines.append({"Data set": own["dataset"].iloc[0], "Trainings": str(seeds)} | shown)
    return tables.to_markdown(pd.DataFrame(lines).fillna("")) if lines else "No results are committed yet.\n"


def _results_table() -> str:
    """One table of Rank-1 for the sets with simulated LR, one for those with genuine LR: their columns differ."""
    import pandas as pd

    from reid_lib.reporting import results, tables

    rows = results.read_all()
    wanted = {"profile": "demo", "paper": "baselines", "artefact": "Baselines", "metric": "rank1"}
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        return "No results are committed yet.\n"
    notes = {
        name: results.read_run("demo", name, "baselines").get("data_note", "") for name in set(rows["folder_dataset"])
    }
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for name, own in rows.groupby("folder_dataset"):
        note = "" if name.startswith("synth") or not notes[name] else f" ({notes[name]})"
        for row in results.merge_seeds(own).itertuples():
            start = {"Data set": f"{row.dataset}{note}", "Method": row.method}
            line = lines.setdefault((row.dataset, row.method), start)
            line[row.setting] = tables.with_interval(row.value, row.low, row.high)
    genuine = ["genuine LR" in line for line in lines.values()]
    parts = [[line for line, far in zip(lines.values(), genuine, strict=True) if far is kind] for kind in (False, True)]
    return "\n".join(tables.to_markdown(pd.DataFrame(part).fillna("")) for part in parts if part)


def _root() -> Path:
    from reid_lib.reporting import results

    root = results.project_root()
    if root is None:
        raise ValueError("this command works in a checkout of the project, and reid_lib is installed outside one")
    return root


def _load(name: str, root: str, layout: str, options: Sequence[str]):
    from reid_lib import datasets

    return datasets.load(name, root or None, **_data_options(layout, options))


def _data_options(layout: str, options: Sequence[str]) -> dict[str, object]:
    return ({"layout": layout} if layout else {}) | _assignments(options)


def _methods() -> dict[str, tuple[Callable, Callable]]:
    """Return what `reid-lib train` can train: the settings of a profile, and the training."""
    from reid_lib.training import baseline, cadnet, lrar

    return {
        "baseline": (baseline.BaselineConfig.for_profile, baseline.train),
        "cadnet": (cadnet.CADNetConfig.for_profile, cadnet.train),
        "lrar": (lrar.LRARConfig.for_profile, lrar.train),
    }


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
    """Return float32 features (N, dim) of ``rows``, whose index is the image's number and ``rate`` its rate."""
    import torch

    from reid_lib.devices import pick_device
    from reid_lib.evaluation.features import FeatureBank
    from reid_lib.evaluation.matchers import FeatureMatcher

    device = pick_device()
    network = network.to(device, memory_format=torch.channels_last).eval()
    model = FeatureMatcher(network, network.input_size, device)
    return FeatureBank(model, dataset, kernel=kernel, batch_size=batch_size)(rows.index, rows["rate"]).numpy()


def _write_features(path: Path, features, rows) -> None:
    arrays = {name: rows[name].to_numpy() for name in ("pid", "camid", "rate")}
    _write_arrays(path, {"features": features, **arrays, "path": rows["path"].to_numpy(str)})


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
    """Write named arrays; a .safetensors file takes only those that hold numbers."""
    import numpy as np

    if ".npz" in path.suffixes:
        with path.open("wb") as file:
            np.savez(file, **arrays)
    else:
        from safetensors.numpy import save_file

        numbers = {name: array for name, array in arrays.items() if array.dtype.kind in "fiub"}
        save_file({name: np.ascontiguousarray(array) for name, array in numbers.items()}, path)


def _read_arrays(path: Path) -> dict:
    """Return the named arrays of a feature file."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    _check_feature_file(path)
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        else:
            arrays = load_file(path)
    except (zipfile.BadZipFile, ValueError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as a feature file ({error}): write it again") from error
    if "features" not in arrays:
        raise ValueError(f"{path} has no array 'features', only {', '.join(arrays) or 'nothing'}: name it so")
    return arrays


def _check_feature_file(path: Path) -> None:
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"a feature file must end in .npz or .safetensors, found {path.name}")


def _written_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path`` and put it in place when it is complete."""
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_output(path: Path) -> None:
    if not path.resolve().parent.is_dir():
        raise ValueError(f"the folder of {path} does not exist: make it first")


def _assignments(texts: Sequence[str]) -> dict[str, object]:
    """Return {name: value} of texts like "epochs=3"; a value that is no Python literal is a string.

    A file given to one of _FILE_PARAMETERS gets its full path: notebooks run in the project's root.
    """
    import ast

    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"a parameter is set as NAME=VALUE, found {text!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            file = Path(value).expanduser() if name in _FILE_PARAMETERS else None
            found[name] = str(file.resolve()) if file and file.is_file() else value
    return found


def _run_columns(profile: str, dataset: str, paper: str) -> tuple[str, str, str, str]:
    from reid_lib.reporting import results

    rows = str(len(results.read(profile, dataset, paper)))
    try:
        run = results.read_run(profile, dataset, paper)
    except results.ResultsError:
        return rows, "-", "-", "no run.json"
    return rows, run["time"], (run["commit"] or "-")[:12], "yes" if run["complete"] else "no"


def _parse(arguments: list[str]):
    choices = [Annotated[kind, subcommand(name, description=text)] for name, (kind, text) in COMMANDS.items()]
    return tyro.cli(
        Union[tuple(choices)],  # noqa: UP007 - made from the table of commands
        prog="reid-lib",
        description=DESCRIPTION,
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, ["-" * width for width in widths], *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error) or type(error).__name__


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
