"""Put the outputs of an executed notebook into the committed one, so that equal runs give equal files."""

import copy
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat

from reid_lib.datasets import names
from reid_lib.digest import parsed
from reid_lib.files import write_text


def check(dataset: str, changed: Mapping[str, Mapping[str, object]]) -> None:  # decision RUN-3
    """Refuse what must not get into ``notebooks/``.

    Args:
        dataset: the data set that was run.
        changed: for each notebook, the parameters that are not its own.

    Raises:
        ValueError: pictures of real people, or other parameters than a notebook's own.
    """
    if not names.is_synthetic(dataset):
        raise ValueError(
            f"outputs measured on {dataset} are not written into notebooks/: they may show real people; "
            "the executed copies are under results/"
        )
    for name, parameters in changed.items():
        if parameters:
            raise ValueError(
                f"notebooks/ holds outputs of the notebooks' own parameters, but {', '.join(parameters)} "
                f"would differ in {name}: leave them out or leave --write-back out"
            )


def write(root: Path, path: Path, executed: Path) -> None:
    """Put the outputs of the ``executed`` copy into the notebook ``path``; see `transplant`."""
    result = transplant(nbformat.read(path, as_version=4), nbformat.read(executed, as_version=4), root)
    write_text(path, nbformat.writes(result) + "\n")


# decision RUN-2
def transplant(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode, root: Path) -> nbformat.NotebookNode:
    """Return ``notebook`` with the outputs of its ``executed`` copy.

    The source, the tags and the cells' ids stay as they are; papermill's cell of injected parameters, its
    metadata and the cells' times do not come over. Execution counts are 1, 2, ... over the code
    cells that are not empty.

    Raises:
        ValueError: the code of the two differs; comments, docstrings and layout may.
    """
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    cells = [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    result = copy.deepcopy(notebook)
    own = [cell for cell in result.cells if cell.cell_type == "code"]
    if [parsed(cell.source) for cell in own] != [parsed(cell.source) for cell in cells]:
        raise ValueError("the notebook's code has changed since it was run: run it again before writing outputs back")
    count = 0
    for cell, done in zip(own, cells, strict=True):
        empty = not cell.source.strip()
        count += not empty
        cell.execution_count = None if empty else count
        cell.outputs = _normalised_outputs(done.outputs, cell.execution_count, root)
    for cell in result.cells:
        cell.metadata = {key: cell.metadata[key] for key in ("tags", "jupyter") if key in cell.metadata}
    result.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.from_dict(result)


def _normalised_outputs(outputs: list, count: int | None, root: Path) -> list:
    kept: list = []
    for output in copy.deepcopy(outputs):
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            continue  # a progress bar; its state is not in the file
        if output.output_type == "display_data" and _is_empty(output.data):
            continue  # what a line of progress leaves when it is done (`status`)
        if output.output_type == "stream":
            output.text = _clean(_without_progress(output.text), root)
            if not output.text.strip():
                continue
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text
                continue
        for mime, content in output.get("data", {}).items():
            if mime.startswith("text/") or mime == "image/svg+xml":
                output.data[mime] = _clean(content, root)
        if output.output_type == "execute_result":
            output.execution_count = count
        kept.append(output)
    return kept


def _is_empty(data: Mapping[str, str]) -> bool:
    return data.keys() <= {"text/plain"} and not data.get("text/plain", "").strip()


def _without_progress(text: str) -> str:
    """Drop the lines of progress bars, and what a carriage return has overwritten."""
    kept = []
    for line in text.split("\n"):
        last = line.rsplit("\r", 1)[-1]
        overwritten = "\r" in line and not last.strip()
        if not overwritten and not re.search(r"\d+%\|.*\||(^| )\d+it \[", last):
            kept.append(last)
    return "\n".join(kept)


def _clean(text: str, root: Path) -> str:
    """Replace what differs from machine to machine or run to run: folders, addresses, generated ids."""
    text = re.sub(r"\S*ipykernel_\d+/\d+\.py", "cell", text)
    for folder, short in (
        (root.resolve(), "."),
        (Path(sys.prefix).resolve(), "<python>"),
        (Path.home(), "~"),
    ):
        if str(folder) != "/":
            text = text.replace(str(folder), short)
    text = re.sub(r"(?<![\w+/])0x[0-9a-f]{6,}", "0x...", text)  # not within a picture in base64
    ids = {name: f"T_{i}" for i, name in enumerate(dict.fromkeys(re.findall(r"T_[0-9a-f]{5}(?=[_\" ])", text)))}
    return re.sub(r"T_[0-9a-f]{5}(?=[_\" ])", lambda match: ids[match.group()], text)
