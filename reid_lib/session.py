"""What a notebook or a command opens: check the parameters, load the data, say what numbers mean, keep results.

run = start("02_metrics_and_baselines", **parameters(globals()))
run.banner()
...
run.save(rows, "baselines")
run.figure(fig, "baselines_fig_cmc")
...
run.finish()
"""

import ast
import html
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from reid_lib import datasets
from reid_lib.datasets import names
from reid_lib.datasets.mlr import Trial
from reid_lib.datasets.records import ReIDDataset
from reid_lib.devices import pick_device, precision, usable_cores
from reid_lib.digest import plain
from reid_lib.evaluation.ranking import Evaluation, Matcher, evaluate_settings, with_gain
from reid_lib.files import A_DAY, remove_parts, write_text
from reid_lib.listing import listing
from reid_lib.reporting import figures, provenance, results
from reid_lib.reporting.alt import alt_text
from reid_lib.training.field import FIELDS

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure

PROFILE_VARIABLE = "REID_LIB_PROFILE"

# What a smaller profile changes in the built-in data; `datasets.load` has the defaults.
SYNTH_OPTIONS = {
    "smoke": {"identities": 24, "size": (64, 32)},
    "demo": {},
    "paper": {"size": (256, 128)},
}

_WORDS = {"true": True, "false": False}
_LIKE = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    tuple: "one value or several, like [0, 1]",
    dict: 'names and values, like {"layout": "flat"}',
}
_MEANING = {
    "smoke": "A smoke run: everything is computed, on so little data that the numbers mean nothing.",
    "demo": "A demo run: small networks, few epochs. Compare its methods with one another, not with a paper.",
    "paper": "The papers' own settings.",
}


@dataclass(eq=False)
class Session:  # decision HOUSE-8
    """One run of a notebook or a command: what it works on, and where its results go.

    Attributes:
        name: the notebook's name without suffix.
        profile: "smoke", "demo" or "paper".
        dataset_name: as `datasets.load` takes it.
        dataset: the loaded data set.
        device: the CUDA device if there is one, else the CPU.
        seeds: at least one, each >= 0.
        folder: results/<profile>/<dataset_name>; it can be written to.
        other: further parameters, kept with the results.
    """

    name: str
    profile: str
    dataset_name: str
    dataset: ReIDDataset
    device: torch.device
    seeds: tuple[int, ...]
    folder: Path
    other: dict[str, object] = field(default_factory=dict)
    # the code that was imported: the working tree may move on while a notebook runs
    _code: dict[str, object] = field(default_factory=provenance.code, repr=False)
    _started: float = field(default_factory=time.monotonic, repr=False)
    _files: set[str] = field(default_factory=set, repr=False)
    _groups: dict[str, set[results.Group]] = field(default_factory=dict, repr=False)

    @property
    def synthetic(self) -> bool:
        """Whether the people are drawn, not photographed."""
        return names.is_synthetic(self.dataset_name)

    @property
    def label(self) -> str:
        """The data set's name in the papers' tables (MLR-CUHK03), where they have it."""
        return names.published(self.dataset_name)

    def banner(self) -> "HTML":
        """Return, for the top of the notebook, on what and how its numbers are measured."""
        from IPython.display import HTML

        lines = [f"<b>Profile {self.profile}, data set {html.escape(self.dataset_name)}.</b>"]
        if self.synthetic:
            lines.append("Measured on synthetic people: no number here is comparable to a benchmark's.")
        note = self.dataset.note
        lines += [_MEANING[self.profile], html.escape(f"Data: {note}." if note else "")]
        style = "border-left: 4px solid #c77700; padding: 0.4em 0.8em; margin: 0.5em 0"
        return HTML(f'<div style="{style}">{" ".join(line for line in lines if line)}</div>')

    def save(self, rows: results.Rows, paper: str) -> None:
        """Write measured rows at once into ``<paper>.csv`` of the folder, with their provenance.

        Rows of the same artefact, data set, method and seed that an earlier session left go, whatever their setting
        and metric: its parameters were other ones. All others stay.

        Raises:
            ResultsError: the rows do not follow the schema; nothing is written then.
        """
        groups = self._groups.setdefault(paper, set())
        path = results.write(rows, self.profile, self.dataset_name, paper, self._provenance(), written=groups)
        groups |= results.groups(rows, self.dataset_name)
        self._files.add(path.name)

    def measure(
        self,
        matcher: Matcher,
        settings: Mapping[str, Sequence[Trial]],
        *,
        paper: str,
        artefact: str,
        method: str,
        seed: int | None = None,
        **options: object,
    ) -> pd.DataFrame:
        """Evaluate a matcher in each setting (`mlr.settings`), save the rows at once, and return them.

        Args:
            matcher: the method.
            settings: trials by the setting's name.
            paper: key of `artefacts.PAPERS`; names the CSV.
            artefact: name of the table or figure in the artefact map.
            method: the method's name in the table.
            seed: seed of the training; None where nothing was trained.
            **options: those of `ranking.evaluate`.
        """
        scores = evaluate_settings(matcher, settings, **options)
        return self.record(scores, paper=paper, artefact=artefact, method=method, seed=seed)

    def record(
        self,
        scores: Mapping[str, Evaluation],
        *,
        paper: str,
        artefact: str,
        method: str,
        seed: int | None = None,
        dataset: str = "",
    ) -> pd.DataFrame:
        """Save scores by the setting's name at once, and return their rows.

        Args:
            scores: as `evaluate_settings` gives them.
            paper, artefact, method, seed: as `measure` takes them.
            dataset: the tested data set's name, if it is another one than the run's.
        """
        fixed = {"paper": paper, "artefact": artefact, "dataset": dataset or self.label, "method": method}
        rows = [
            results.rows_from_summary(score.summary, **fixed, profile=self.profile, setting=setting, seed=seed)
            for setting, score in scores.items()
        ]
        rows = pd.concat(rows, ignore_index=True)
        self.save(rows, paper)
        return rows

    def measured(self, paper: str, artefact: str) -> pd.DataFrame:
        """Return what this session has saved of an artefact, one row per number, averaged over seeds.

        What other sessions left in the CSV takes no part; `results.read` has it all. See `results.merge_seeds`.
        """
        rows = results.read(self.profile, self.dataset_name, paper)
        groups = rows[rows["artefact"] == artefact].groupby(["dataset", "method", "seed"], dropna=False)
        own = [group for _, group in groups if results.groups(group) <= self._groups.get(paper, set())]
        return results.merge_seeds(rows.loc[sorted(place for group in own for place in group.index)])

    def measure_on_field(  # decision FIELD-1
        self,
        matchers: Mapping[str, Matcher],
        settings: Mapping[str, Sequence[Trial]],
        *,
        paper: str,
        control: str,
        yardstick: str,
        seed: int,
    ) -> None:
        """Evaluate methods that share a field, and save their rows as the artefact "One field".

        Each has its gain over ``yardstick`` ("rank1_gain") and over ``control`` ("rank1_over_control_gain"), trial by
        trial.

        Args:
            matchers: by the method's name in the table; the control and the yardstick are among them.
            settings: trials by the setting's name (`mlr.settings`).
            paper: key of `artefacts.PAPERS`.
            control, yardstick: names of the two methods.
            seed: seed of the trainings.
        """
        scores = {method: evaluate_settings(matcher, settings) for method, matcher in matchers.items()}
        for method, found in scores.items():
            for reference, over in ((yardstick, ""), (control, "control")):
                if method != reference:
                    found = {name: with_gain(found[name], scores[reference][name], over=over) for name in found}
            self.record(found, paper=paper, artefact="One field", method=method, seed=seed)

    def figure(self, fig: "Figure", name: str, *, alt: str = "", people: bool = False) -> None:  # decision REPORT-1
        """Show a figure and save it as ``<name>.png`` in the folder.

        Args:
            fig: a matplotlib figure; it is closed.
            name: file name without suffix, `Artefact.stem` for a paper's figure.
            alt: what it shows, in words; "": its labels, legend and titles (`alt_text`).
            people: whether it shows images of persons: real ones are shown here but never saved.
        """
        from IPython.display import Image, display
        from matplotlib import pyplot

        if self.synthetic or not people:
            figures.save(fig, self.folder, name)
            self._files.add(f"{name}.png")
        # as bytes: which backend draws it, and whether pyplot made it, does not matter
        drawn = Image(figures.jpeg(fig), format="jpeg") if people else Image(figures.png(fig))
        drawn.alt = alt or alt_text(fig) or name.replace("_", " ")
        display(drawn)
        pyplot.close(fig)  # else the inline backend shows it a second time

    def finish(self) -> pd.DataFrame:  # decision RUN-1
        """Write ``<name>.run.json``, the sign that the notebook ran through; return it as a table."""
        record = self._provenance() | {"notebook": self.name, "written": sorted(self._files)}
        write_text(self.folder / f"{self.name}.run.json", json.dumps(record, indent=2, sort_keys=True) + "\n")
        versions = record["versions"]
        shown = {
            "commit": (record["commit"] or "not in git")[:12] + (" with changes" if record["dirty"] else ""),
            "profile, data set": f"{self.profile}, {self.dataset_name}",
            "seeds": ", ".join(map(str, self.seeds)),
            "data fingerprint": record["data_fingerprint"],
            "Python, torch": f"{versions['python']}, {versions.get('torch')}",
            "hardware": record["hardware"]["gpu"] or record["hardware"]["cpu"],
            "threads, precision": f"{torch.get_num_threads()}, {record['parameters']['precision']}",
            "seconds": f"{record['seconds']:.0f}",
            "written": f"{len(record['written'])} files in results/{self.profile}/{self.dataset_name}",
        }
        return pd.DataFrame({"value": shown}).rename_axis("provenance")

    def _provenance(self) -> dict[str, object]:
        parameters = {
            "notebook": self.name,
            "profile": self.profile,
            "dataset": self.dataset_name,
            "seeds": list(self.seeds),
            "threads": torch.get_num_threads(),
            "precision": str(precision(self.device)).removeprefix("torch."),
            "field": plain(FIELDS[self.profile]) if self.profile in FIELDS else "the papers' recipes",
            **self.other,
        }
        gpu = torch.cuda.get_device_name() if self.device.type == "cuda" else None
        seconds = time.monotonic() - self._started
        fingerprint, note = self.dataset.fingerprint(), self.dataset.note
        return provenance.provenance(parameters, fingerprint, seconds, gpu, note) | self._code


@contextmanager
def profile_variable(profile: str) -> Iterator[None]:
    """Set REID_LIB_PROFILE, which wins over a notebook's parameter: a value left in the shell changes nothing."""
    before = os.environ.get(PROFILE_VARIABLE)
    os.environ[PROFILE_VARIABLE] = profile
    try:
        yield
    finally:
        if before is None:
            del os.environ[PROFILE_VARIABLE]
        else:
            os.environ[PROFILE_VARIABLE] = before


def source(function: Callable) -> "HTML":
    """Return a function's source for display, so that a notebook's text stands beside the code that runs.

    Without docstring and argument checks; ValueError for more than 25 lines (`listing.listing`).
    """
    from IPython.display import HTML

    # HTML with its own style: a page made of a notebook shows Markdown's code in a font that is not monospaced
    style = HtmlFormatter(noclasses=True, nobackground=True, prestyles="font-family: monospace; line-height: 1.35")
    return HTML(highlight(listing(function), PythonLexer(), style))


def parameters(namespace: dict[str, Any]) -> dict[str, Any]:  # decision RUN-14
    """Return a notebook's parameters by name, each of the type that its parameters cell gives it.

    What a command line or a reader gives in another form is converted, in ``namespace`` too: one number or word for a
    tuple, the text "[0, 1]" or "false".

    Args:
        namespace: the notebook's ``globals()``; its annotated names, ``seeds: tuple = (0,)``, are the parameters.

    Raises:
        ValueError: the parameters cell was not run, or a value is not of its parameter's type.
    """
    kinds = namespace.get("__annotations__")
    if not kinds:
        raise ValueError(
            "no parameters are set: first run the notebook's cell that begins with 'profile: str = \"...\"'"
        )
    found = {name: _of_kind(name, namespace[name], kind) for name, kind in kinds.items()}
    namespace.update(found)
    return found


def _of_kind(name: str, value: Any, kind: type) -> Any:
    """Return a parameter's value as its type."""
    given = value
    if kind is not str and isinstance(value, str):  # papermill -p gives what it cannot read as text
        with suppress(ValueError, SyntaxError):
            value = _WORDS[value.lower()] if value.lower() in _WORDS else ast.literal_eval(value)
    if kind is tuple and not isinstance(value, (dict, type(None))):
        value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if type(value) is not kind:
        raise ValueError(f"{name} must be {_LIKE[kind]}, found {given!r}")
    return value


def start(  # decision PROTOCOL-9, decision RUN-6, decision RUN-8, decision RUN-11
    name: str,
    *,
    profile: str,
    dataset: str,
    data_root: str = "",
    data_options: Mapping[str, object] | None = None,
    seeds: Sequence[int] = (0,),
    **other: object,
) -> Session:
    """Check a notebook's parameters and load its data.

    Args:
        name: the notebook's name without suffix; `Session.finish` names its file after it.
        profile: "smoke", "demo" or "paper"; the environment variable REID_LIB_PROFILE, when set, wins.
        dataset: a name that `datasets.load` takes.
        data_root: the benchmark's folder; empty for the synthetic sets.
        data_options: options of the set's loader, for example {"layout": "flat"} of cuhk03.
        seeds: one or more integers >= 0.
        other: further parameters of the notebook, kept with its results.

    Raises:
        ValueError: a parameter is not what it should be.
        DatasetError: the data set is unknown or not complete.
        ResultsError: the results folder cannot be written (found now, not after the work).
    """
    profile = os.environ.get(PROFILE_VARIABLE) or profile
    folder = results.folder(profile, dataset)
    seeds = checked_seeds(seeds)
    loaded = load_for(profile, dataset, data_root, data_options or {})
    results.check_writable(folder)
    remove_parts(folder, age=A_DAY)
    if "OMP_NUM_THREADS" not in os.environ:
        # sums depend on how many threads share them: one gives the same numbers on every CPU of a kind. Under "paper"
        # the GPU makes the numbers, and the CPU only reads images. The provenance records how many there were.
        torch.set_num_threads(usable_cores() if profile == "paper" else 1)
    other = {"data_options": dict(data_options or {}), **other}
    return Session(name, profile, dataset, loaded, pick_device(), seeds, folder, other)


def load_for(profile: str, dataset: str, data_root: str, data_options: Mapping[str, object]) -> ReIDDataset:
    """Load a data set as a profile has it; parameters as `start` takes them.

    Raises:
        ValueError: the profile is "paper" and there is no GPU.
        DatasetError: the data set is unknown or not complete.
    """
    if profile == "paper" and not torch.cuda.is_available():
        raise ValueError('profile "paper" needs a CUDA GPU and none was found: choose "demo", which runs on a CPU')
    options = SYNTH_OPTIONS[profile] if names.is_synthetic(dataset) else {}
    return datasets.load(dataset, data_root or None, **{**options, **data_options})


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return seeds as a tuple; ValueError unless they are one or more integers >= 0, each once."""
    if isinstance(seeds, int) or not seeds or any(not isinstance(s, int) or s < 0 for s in seeds):
        raise ValueError(f"seeds must be one or more integers >= 0, for example (0, 1, 2), found {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must differ from one another, found {tuple(seeds)}")
    return tuple(seeds)
