"""Run the notebooks with papermill, side by side: skip what is up to date, say what failed, resume next time.

Every notebook runs in the project's root folder, in a kernel of the interpreter that runs this module, on one thread
(`reid_lib.jobs`), and counts as done when papermill raised no error AND the notebook wrote its ``<name>.run.json``,
which `Session.finish` does last. A killed kernel leaves a notebook that looks executed; it leaves no run.json.
"""

import ast
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from reid_lib import jobs, writeback
from reid_lib.datasets import LOADERS, names
from reid_lib.datasets.synth.sets import GENERATOR_VERSION
from reid_lib.digest import code_digest, digest, file_digest, imports, plain, source_digest
from reid_lib.files import write_text
from reid_lib.reporting import artefacts, before, results
from reid_lib.reporting.papers import ARTEFACTS, CLAIMS
from reid_lib.session import PROFILE_VARIABLE, checked_seeds, load_for
from reid_lib.values import like

GATHERING = 90  # the first number of a notebook that gathers what others have measured


class NotebookFailed(RuntimeError):
    """Notebooks did not finish; the message names each, its cell and the error."""


@dataclass(frozen=True)
class State:
    """What is known of a notebook's last run: `state` is "up to date", "stale" or "missing"."""

    name: str
    state: str
    finished: str = ""
    seconds: float = 0.0
    parameters: str = ""


def reproduce(
    root: Path,
    *,
    profile: str = "demo",
    dataset: str = "synth",
    data_root: str = "",
    seeds: Sequence[int] | None = None,
    only: str = "",
    overrides: Mapping[str, object] | None = None,
    force: bool = False,
    write_back: bool = False,
    count: int | None = None,
    screen: jobs.Log | None = None,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Run the notebooks of the project in ``root`` and return the names of those that were run, in the order of ends.

    The end says whether the rows that stood in the results folder before agree with those of now (`reporting.before`).

    Args:
        root: the project's folder (it holds ``notebooks``); results go where `reporting.results` says.
        profile: "smoke", "demo" or "paper".
        dataset: a name that `reid_lib.datasets.load` takes.
        data_root: the benchmark's folder; empty for the synthetic sets.
        seeds: replaces the notebooks' own seeds; None leaves them.
        only: a notebook ("13_lrar", "lrar", "13") or an artefact ("Baselines Kernel sensitivity"); empty runs all.
        overrides: further notebook parameters by name.
        force: run also what is up to date.
        write_back: put the outputs, normalised, into ``notebooks/``; only for the notebooks' own parameters.
        count: how many run at once, each on one thread; None: `jobs.default_count`. Results do not depend on it.
        screen: shows progress; None makes a `jobs.Log` of ``say``.
        say: takes each line of progress.

    Raises:
        ValueError: no notebook, an unknown notebook, artefact or parameter, a parameter of another kind than the
            notebook's, seeds that are none or the same twice, or write_back not allowed.
        DatasetError: the data set is unknown or cannot be loaded.
        ResultsError: an unknown profile, or a results folder that cannot be written.
        NotebookFailed: a cell raised, the kernel died, or no run.json was written; the others were run and stay done.
    """
    screen, count = screen or jobs.Log(say), count or jobs.default_count()
    batch = plan(
        root,
        screen,
        profile=profile,
        dataset=dataset,
        data_root=data_root,
        seeds=seeds,
        only=only,
        overrides=overrides,
        write_back=write_back,
    )
    ran, failures = [], []
    for group in groups(batch.titled()):
        waiting = batch.waiting(group, force)
        if waiting:
            before.keep(profile, dataset)
        done, failed = batch.run(_in_order(waiting, batch.folder, count), count)
        ran, failures = ran + done, failures + failed
    batch.conclude(failures)
    return ran


def plan(
    root: Path,
    screen: jobs.Log,
    *,
    profile: str = "demo",
    dataset: str = "synth",
    data_root: str = "",
    seeds: Sequence[int] | None = None,
    only: str = "",
    overrides: Mapping[str, object] | None = None,
    write_back: bool = False,
) -> "Batch":
    """Check what `reproduce` is asked for, and return it; nothing has run then. Arguments and errors as there."""
    folder = results.folder(profile, dataset) / "notebooks"
    _check_data(dataset, data_root)
    wanted = {"profile": profile, "dataset": dataset, "data_root": _absolute(data_root), **(overrides or {})}
    if seeds is not None:
        wanted["seeds"] = list(checked_seeds(seeds))
    chosen = select(artefacts.numbered_notebooks(root), only)
    changed = {path.stem: changed_parameters(path, wanted) for path in chosen}  # refuse before anything runs
    if write_back:
        writeback.check(dataset, changed)
    load_for(profile, dataset, _absolute(data_root), (overrides or {}).get("data_options", {}))  # else each would fail
    results.check_writable(folder)
    return Batch(root, folder, wanted, changed, screen, write_back, tuple(chosen))


@dataclass(frozen=True)
class Batch:
    """The notebooks of one call, and what they have in common.

    Attributes:
        root: the project's folder.
        folder: where the executed copies go, and the stamps of those that are done.
        wanted: the parameters that were asked for.
        changed: by the notebook's name, those of them that differ from its own.
        screen: shows progress.
        write_back: whether outputs go into ``notebooks/``.
        chosen: the notebooks.
    """

    root: Path
    folder: Path
    wanted: Mapping[str, object]
    changed: Mapping[str, Mapping[str, object]]
    screen: jobs.Log
    write_back: bool
    chosen: tuple[Path, ...]
    _inputs: dict[str, str] = field(default_factory=dict)  # the digests of those that were started
    _before: dict[str, int] = field(default_factory=dict)  # when their run.json was last written

    def titled(self) -> list[tuple[Path, str]]:
        """Return each notebook with what stands before its lines."""
        count = len(self.chosen)
        return [(path, f"[{number}/{count}] {path.stem}") for number, path in enumerate(self.chosen, start=1)]

    def up_to_date(self, path: Path) -> bool:
        """Return whether a notebook was run with these parameters and the code as it is."""
        return _stamp(self.folder, path.stem).get("digest") == inputs_digest(self.root, path, self.wanted)

    def waiting(self, group: Sequence[tuple[Path, str]], force: bool) -> list[tuple[Path, str]]:
        """Return those of a group that must run, and say of the others that they need not."""
        found = []
        for path, title in group:
            if not force and self.up_to_date(path):
                self.screen.say(f"{title}: up to date")
                self.put_back(path, title)
            else:
                found.append((path, title))
        return found

    def put_back(self, path: Path, title: str) -> None:
        """Write outputs into ``notebooks/`` if that is asked for."""
        if self.write_back:
            writeback.write(self.root, path, self.folder / path.name)
            self.screen.say(f"{title}: outputs written into notebooks/{path.name}")

    def run(self, waiting: Sequence[tuple[Path, str]], count: int) -> tuple[list[str], list[str]]:
        """Run notebooks; return the names of those that ran through, in the order of ends, and why others failed."""
        ran, failures = [], []
        with closing(jobs.run(self._tasks(waiting), count, self.screen.show)) as ends:
            for end in ends:
                failure = self._end(end)
                failures += [failure] if failure else []
                ran += [] if failure else [end.task.notebook.stem]
        return ran, failures

    def conclude(self, failures: Sequence[str]) -> None:
        """Say whether the rows agree with those of before; NotebookFailed if there are failures."""
        profile, dataset = self.wanted["profile"], self.wanted["dataset"]
        for line in before.told(profile, dataset, CLAIMS):
            self.screen.say(line)
        if failures:
            raise NotebookFailed(_together(failures, len(self.chosen)))
        before.close(profile, dataset)

    def _tasks(self, waiting: Sequence[tuple[Path, str]]) -> Iterator[jobs.Task]:
        """Yield each notebook's task when its turn comes."""
        profile, dataset = self.wanted["profile"], self.wanted["dataset"]
        for path, title in waiting:
            self._inputs[path.stem] = inputs_digest(self.root, path, self.wanted)
            self._before[path.stem] = _mtime(self._provenance(path))
            _stamp_path(self.folder, path.stem).unlink(missing_ok=True)
            self.screen.say(f"{title}: running ({profile}, {dataset})")
            parameters = plain(self.changed[path.stem])  # papermill would inject a tuple as text
            environment = {PROFILE_VARIABLE: profile}  # decision RUN-6
            yield jobs.Task(title, path, self.folder / path.name, self.root, parameters, environment)

    def _end(self, ended: jobs.Ended) -> str:  # decision RUN-1
        """Keep what a notebook did that has ended; return why it failed, or ""."""
        path, failure = ended.task.notebook, ended.failure
        provenance = self._provenance(path)
        if not failure and _mtime(provenance) == self._before[path.stem]:
            failure = (
                f"notebook {path.stem} ran through but wrote no {provenance.name} into {provenance.parent}: its "
                "last code cell must call run.finish(), and `start` must be given the notebook's own name"
            )
        if failure:
            self.screen.say(f"{ended.task.title}: failed after {ended.seconds:.0f} s")
            return failure
        _write_stamp(self.folder, path.stem, self._inputs[path.stem], self.wanted, ended.seconds)
        self.screen.say(f"{ended.task.title}: done in {ended.seconds:.0f} s")
        self.put_back(path, ended.task.title)
        return ""

    def _provenance(self, path: Path) -> Path:
        return self.folder.parent / f"{path.stem}.run.json"


def groups(titled: Sequence[tuple[Path, str]]) -> list[list[tuple[Path, str]]]:
    """Return the notebooks, and apart from them those that gather: whether these must run is known after the others."""
    return [[one for one in titled if gathers(one[0]) == late] for late in (False, True)]


def _in_order(waiting: list[tuple[Path, str]], folder: Path, count: int) -> list[tuple[Path, str]]:
    """Return the notebooks in the order in which they start.

    One at a time they keep the order of their numbers. Side by side the longest starts first, so that none is left to
    run alone in the end; how long it takes is known from its last run, the committed one included.
    """
    return waiting if count == 1 else sorted(waiting, key=lambda one: -_last_seconds(folder, one[0].stem))


def _last_seconds(folder: Path, name: str) -> float:
    try:
        return float(json.loads((folder.parent / f"{name}.run.json").read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _together(failures: Sequence[str], of: int) -> str:
    if len(failures) == 1:
        return failures[0]
    return "\n\n".join([f"{len(failures)} of {of} notebooks failed.", *failures])


def select(paths: Sequence[Path], only: str) -> list[Path]:
    """Return the notebooks that ``only`` names: a stem, its number or its name, or an artefact of a paper.

    Raises:
        ValueError: nothing has that name; the message lists what comes near.
    """
    if not only:
        return list(paths)
    wanted = only.removesuffix(".ipynb")
    chosen = [path for path in paths if wanted in (path.stem, path.stem[:2], path.stem[3:])]
    if chosen:
        return chosen
    try:
        artefact = artefacts.find(only, ARTEFACTS)
    except artefacts.ArtefactError as error:
        near = names.nearest(wanted, [name for path in paths for name in (path.stem, path.stem[3:])])
        known = ", ".join(path.stem for path in paths)
        raise ValueError(f"no notebook is called {only!r}{near}, they are {known}. {error}") from None
    if not artefact.notebook:
        raise ValueError(f"{artefact.title} is not reproduced: {artefact.reason}")
    chosen = [path for path in paths if path.stem == artefact.notebook]
    if not chosen:
        raise ValueError(f"{artefact.title} belongs to notebook {artefact.notebook}, which is not written yet")
    return chosen


def changed_parameters(path: Path, wanted: Mapping[str, object]) -> dict[str, object]:
    """Return those of ``wanted`` whose value differs from the one in the notebook's parameters cell.

    Raises:
        ValueError: the notebook has no parameter of that name (papermill itself only warns), or it is a boolean or a
            number there and something else here.
    """
    from papermill import inspect_notebook

    known = {name: _literal(entry["default"]) for name, entry in inspect_notebook(str(path)).items()}
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"notebook {path.stem} has no parameter {name!r}{names.nearest(name, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
    given = {name: like(value, known[name], f"{path.stem}: {name}") for name, value in wanted.items()}
    return {name: value for name, value in given.items() if plain(value) != plain(known[name])}


def gathers(path: Path) -> bool:  # decision RUN-19
    """Return whether a notebook shows what the others have measured: it runs after them, and depends on their files."""
    return path.stem[:2].isdigit() and int(path.stem[:2]) >= GATHERING


def inputs_digest(root: Path, path: Path, parameters: Mapping[str, object]) -> str:  # decision RUN-4
    """Return a digest of what a run depends on: parameters, published.csv, and the code that its cells reach.

    A notebook that gathers depends on the tables and figures in the results folder too, and one that runs on a user's
    own table depends on that file.

    Docstrings and comments do not count. `datasets.load` reaches every loader; of these count those whose data set the
    parameters name, and those that a cell imports itself. How `synth` draws reaches networks on any data set through
    ``weights="synth"``: there it counts by its version.
    """
    cells = _python_cells(path)
    loaders = {name: loader.__module__ for name, loader in LOADERS.items()}
    rooms = {_room(module) for module in loaders.values()}
    text = json.dumps(plain(parameters))
    own = {module for name, module in loaders.items() if f'"{name}"' in text}
    own |= {loaders["table"] for name in [str(parameters.get("dataset"))] if names.loader(name) == "table"}
    own |= {module for cell in cells for module in imports(cell) if _room(module) in rooms}
    published = root / "results" / "published.csv"
    return digest(
        parameters,
        source_digest(cells, skip=sorted(rooms)),
        [code_digest(module) for module in sorted(own)],
        GENERATOR_VERSION,
        file_digest(published) if published.is_file() else None,
        *([_gathered(str(parameters["profile"]), str(parameters["dataset"]))] if gathers(path) else []),
        *_own_table(parameters),
    )


def _own_table(parameters: Mapping[str, object]) -> list[str]:
    """Return the digest of a user's own table, which changes as no benchmark does; [] where there is none."""
    options = parameters.get("data_options")
    name = options.get("table") if isinstance(options, Mapping) else None
    file = Path(str(parameters.get("data_root") or ".")) / Path(str(name)).expanduser()
    return [file_digest(file)] if name and file.is_file() else []


def _gathered(profile: str, dataset: str) -> dict[str, str]:
    """Return the digest of each table and figure of a results folder; its verdicts follow from the tables."""
    found = sorted(path for path in results.folder(profile, dataset).glob("*.*") if path.suffix in (".csv", ".png"))
    return {path.name: file_digest(path) for path in found if path.stem != results.VERDICTS_FILE}


def _python_cells(path: Path) -> list[str]:
    """Return a notebook's code as Python: a magic becomes the call that it stands for."""
    from IPython.core.inputtransformer2 import TransformerManager

    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [TransformerManager().transform_cell(cell) for cell in cells]


def _room(module: str) -> str:
    """Return reid_lib.datasets.synth for reid_lib.datasets.synth.sets."""
    return ".".join(module.split(".")[:3])


def states(root: Path, profile: str, dataset: str) -> list[State]:
    """Return whether each notebook's last run of ``profile`` on ``dataset`` is up to date.

    Raises:
        ValueError: an unknown data set.
        ResultsError: an unknown profile.
    """
    folder = results.folder(profile, dataset) / "notebooks"
    names.check(dataset)
    found = []
    for path in artefacts.numbered_notebooks(root):
        stamp = _stamp(folder, path.stem)
        if not stamp:
            found.append(State(path.stem, "missing"))
            continue
        fresh = stamp["digest"] == inputs_digest(root, path, stamp["parameters"])
        extra = {k: v for k, v in stamp["parameters"].items() if k not in ("profile", "dataset") and v != ""}
        shown = ", ".join(f"{name}={value}" for name, value in extra.items())
        found.append(State(path.stem, "up to date" if fresh else "stale", stamp["finished"], stamp["seconds"], shown))
    return found


# --- stamps ---


def _stamp_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.stamp.json"


def _stamp(folder: Path, name: str) -> dict:
    """Return what the last finished run recorded; {} if there is none, it is damaged or a file of it is gone.

    Its files: the executed copy, the run.json, and every result that this names as written.
    """
    try:
        stamp = json.loads(_stamp_path(folder, name).read_text())
        record = results.record(folder.parent / f"{name}.run.json")
    except (OSError, ValueError):  # no text is a ValueError, as no JSON and no record are
        return {}
    kinds = {"digest": str, "parameters": dict, "finished": str, "seconds": int | float}
    if not (isinstance(stamp, dict) and all(isinstance(stamp.get(name), kind) for name, kind in kinds.items())):
        return {}
    files = [folder / f"{name}.ipynb", *(folder.parent / str(file) for file in record.get("written", []))]
    return stamp if all(file.is_file() for file in files) else {}


def _write_stamp(folder: Path, name: str, inputs: str, parameters: Mapping[str, object], seconds: float) -> None:
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    stamp = {
        "digest": inputs,
        "parameters": plain(parameters),
        "finished": finished,
        "seconds": round(seconds, 1),
    }
    write_text(_stamp_path(folder, name), json.dumps(stamp, indent=1) + "\n")


# --- parameters ---


def _check_data(dataset: str, data_root: str) -> None:
    names.check(dataset)
    # a file may be a root (cuhk-03.mat): what it must be, the loader says
    if not names.is_synthetic(dataset) and not Path(data_root or "/nowhere").expanduser().exists():
        raise ValueError(
            f"{dataset} is not built in: name its folder with --data-root (found {data_root!r}); "
            "DATA.md says where to get it"
        )


def _literal(text: str) -> object:
    """Return the value of a parameter's default as papermill shows it, which is source text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _absolute(data_root: str) -> str:
    # a folder given relative to where the command was typed; the kernel works in the project's root
    return str(Path(data_root).expanduser().resolve()) if data_root else ""


def _mtime(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0
