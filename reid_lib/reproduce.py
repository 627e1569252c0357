"""Run the notebooks in order with papermill: skip what is up to date, stop where one fails, resume next time.

Every notebook runs in the project's root folder, in a kernel of the interpreter that runs this module, and
counts as done when papermill raised no error AND the notebook wrote its ``<name>.run.json``, which
`Session.finish` does last. A killed kernel leaves a notebook that looks executed; it leaves no run.json.
"""

import ast
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from reid_lib import writeback
from reid_lib.datasets import LOADERS, names
from reid_lib.datasets.synth.sets import GENERATOR_VERSION
from reid_lib.digest import code_digest, digest, file_digest, imports, plain, source_digest
from reid_lib.files import write_text
from reid_lib.reporting import artefacts, results
from reid_lib.reporting.papers import ARTEFACTS
from reid_lib.session import profile_variable


class NotebookFailed(RuntimeError):
    """A notebook did not finish; the message names it, the cell and the error."""


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
    say: Callable[[str], None] = print,
) -> list[str]:
    """Run the notebooks of the project in ``root`` and return the names of those that were run.

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
        say: takes each line of progress.

    Raises:
        ValueError: no notebook, an unknown data set, notebook, artefact or parameter, or write_back not allowed.
        ResultsError: an unknown profile, or a results folder that cannot be written.
        NotebookFailed: a cell raised, the kernel died, or no run.json was written; earlier ones stay done.
    """
    folder = results.folder(profile, dataset) / "notebooks"
    _check_data(dataset, data_root)
    wanted = {"profile": profile, "dataset": dataset, "data_root": _absolute(data_root), **(overrides or {})}
    if seeds is not None:
        wanted["seeds"] = list(seeds)
    chosen = select(artefacts.numbered_notebooks(root), only)
    changed = {path.stem: changed_parameters(path, wanted) for path in chosen}  # refuse before anything runs
    if write_back:
        writeback.check(dataset, changed)
    results.check_writable(folder)

    ran = []
    for number, path in enumerate(chosen, start=1):
        prefix = f"[{number}/{len(chosen)}] {path.stem}"
        inputs = inputs_digest(root, path, wanted)
        if not force and _stamp(folder, path.stem).get("digest") == inputs:
            say(f"{prefix}: up to date")
        else:
            say(f"{prefix}: running ({profile}, {dataset})")
            seconds = _run(root, path, folder, changed[path.stem], profile)
            _write_stamp(folder, path.stem, inputs, wanted, seconds)
            ran.append(path.stem)
            say(f"{prefix}: done in {seconds:.0f} s")
        if write_back:
            writeback.write(root, path, folder / path.name)
            say(f"{prefix}: outputs written into notebooks/{path.name}")
    return ran


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
        ValueError: the notebook has no parameter of that name (papermill itself only warns).
    """
    from papermill import inspect_notebook

    known = {name: _literal(entry["default"]) for name, entry in inspect_notebook(str(path)).items()}
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"notebook {path.stem} has no parameter {name!r}{names.nearest(name, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
    return {name: value for name, value in wanted.items() if plain(value) != plain(known[name])}


def inputs_digest(root: Path, path: Path, parameters: Mapping[str, object]) -> str:  # decision RUN-4
    """Return a digest of what a run depends on: parameters, published.csv, and the code that its cells reach.

    Docstrings and comments do not count. `datasets.load` reaches every loader; of these count those whose data set the
    parameters name, and those that a cell imports itself. How `synth` draws reaches networks on any data set through
    ``weights="synth"``: there it counts by its version.
    """
    cells = _python_cells(path)
    loaders = {name: loader.__module__ for name, loader in LOADERS.items()}
    rooms = {_room(module) for module in loaders.values()}
    text = json.dumps(plain(parameters))
    own = {module for name, module in loaders.items() if f'"{name}"' in text}
    own |= {module for cell in cells for module in imports(cell) if _room(module) in rooms}
    published = root / "results" / "published.csv"
    return digest(
        parameters,
        source_digest(cells, skip=sorted(rooms)),
        [code_digest(module) for module in sorted(own)],
        GENERATOR_VERSION,
        file_digest(published) if published.is_file() else None,
    )


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


# --- one notebook ---


def _run(root: Path, path: Path, folder: Path, parameters: dict[str, object], profile: str) -> float:
    """Execute one notebook into ``folder`` and return the seconds it took."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    _stamp_path(folder, path.stem).unlink(missing_ok=True)
    provenance = folder.parent / f"{path.stem}.run.json"
    before = _mtime(provenance)
    started = time.monotonic()
    executed = folder / path.name
    try:
        with profile_variable(profile):
            papermill.execute_notebook(
                str(path),
                str(executed),
                parameters=plain(parameters),  # it would inject a tuple as text
                kernel_name="python3",
                cwd=str(root),
                progress_bar=sys.stderr.isatty(),
                kernel_manager_class=_kernel_manager_class(),
            )
    except PapermillExecutionError as error:
        raise NotebookFailed(_failure(path, error)) from None
    except RuntimeError as error:  # nbclient: the kernel died, or it did not start
        raise NotebookFailed(
            f"notebook {path.stem}: the kernel stopped in {_last_cell(executed)} ({error}); most often "
            "memory ran out: close other programs or take a smaller profile, and run the same command again"
        ) from None
    if _mtime(provenance) == before:
        raise NotebookFailed(
            f"notebook {path.stem} ran through but wrote no {provenance.name} into {folder.parent}: its "
            "last code cell must call run.finish(), and `start` must be given the notebook's own name"
        )
    return time.monotonic() - started


def _kernel_manager_class() -> type:  # decision RUN-5
    """Return a kernel manager whose python3 is the interpreter that runs this process.

    Jupyter looks a kernel up by name, in the user's folders and those of JUPYTER_PATH too: "python3" may be
    another environment's Python, in which reid_lib is missing or of another version.
    """
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    class OwnKernelSpecs(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            # the kernel's own log would mix with the progress shown here; errors still come through
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict(["--log-level=ERROR"]))

    class OwnKernel(AsyncKernelManager):
        def __init__(self, **options) -> None:
            super().__init__(kernel_spec_manager=OwnKernelSpecs(), **options)

    return OwnKernel


def _failure(path: Path, error) -> str:
    """Say which notebook and cell failed, with the cell's first lines and the traceback, without colours."""
    injected = _position(path, error.source)
    cell = f"cell {injected}" if injected else "the cell of injected parameters"
    source = error.source.strip().splitlines()
    lines = [f"notebook {path.stem}, {cell} (In [{error.exec_count}]): {error.ename}: {error.evalue}", ""]
    lines += [f"    {line}" for line in source[:6]] + (["    ..."] if len(source) > 6 else [])
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    return "\n".join([*lines, "", trace, "", "Mend it and run the same command again: what is done is skipped."])


def _position(path: Path, source: str) -> int:
    """Return the number (from 1, counting every cell) of the notebook's cell with this source, or 0."""
    cells = nbformat.read(path, as_version=4).cells
    return next((i for i, cell in enumerate(cells, start=1) if cell.source == source), 0)


def _last_cell(executed: Path) -> str:
    try:
        cells = nbformat.read(executed, as_version=4).cells
    except OSError:
        return "the first cell"
    # papermill marks the cell in which the kernel died as completed; the ones after it are still pending
    reached = [i for i, cell in enumerate(cells, start=1) if _status(cell) not in (None, "pending")]
    return f"cell {max(reached, default=1)}"


def _status(cell: nbformat.NotebookNode) -> str | None:
    return cell.metadata.get("papermill", {}).get("status")


# --- stamps ---


def _stamp_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.stamp.json"


def _stamp(folder: Path, name: str) -> dict:
    """Return what the last finished run recorded; {} if there is none, it is damaged or a file of it is gone.

    Its files: the executed copy, the run.json, and every result that this names as written.
    """
    try:
        stamp = json.loads(_stamp_path(folder, name).read_text())
        record = json.loads((folder.parent / f"{name}.run.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    complete = {"digest", "parameters", "finished", "seconds"} <= stamp.keys()
    files = [folder / f"{name}.ipynb", *(folder.parent / file for file in record.get("written", []))]
    return stamp if complete and all(file.is_file() for file in files) else {}


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
    if not names.is_synthetic(dataset) and not Path(data_root or "/nowhere").expanduser().is_dir():
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
