"""Execute one notebook with papermill, in a process of its own: `reid_lib.jobs` starts this module.

The notebook's kernel is a child of this process and dies with it, and this process ends when the one that started it
closes its standard input or dies. So nothing goes on computing after an interruption.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

import nbformat

FAILED = 3  # exit code: the message is in the order's `failure`
AGAIN = "Mend it and run the same command again: what is done is skipped."

_kernels: list = []  # the managers of those that this process has started


@dataclass(frozen=True)
class Order:
    """What to execute.

    Attributes:
        notebook: its file.
        executed: where the executed copy goes.
        root: the folder that the kernel works in.
        parameters: values for the notebook's parameters, as JSON has them.
        cell: the file that says, while it runs, which cell it is at.
        failure: the file that says in the end why it failed, if it did.
    """

    notebook: str
    executed: str
    root: str
    parameters: Mapping[str, object]
    cell: str
    failure: str

    def line(self) -> str:
        """Return the order as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"


def main() -> int:
    """Execute the order that comes as a line on standard input; return the exit code: 0, or FAILED."""
    for notice in (signal.SIGUSR1, signal.SIGUSR2):  # a cluster gives it to all processes of a job, and one acts on it
        signal.signal(notice, signal.SIG_IGN)
    order = Order(**json.loads(sys.stdin.readline()))
    Thread(target=_end_with_parent, daemon=True).start()
    failure = execute(order)
    if failure:
        Path(order.failure).write_text(failure, encoding="utf-8")
    return FAILED if failure else 0


def execute(order: Order) -> str:
    """Execute a notebook; return "" if it ran through, else what to tell the user."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    path, reached = Path(order.notebook), _Cell(Path(order.notebook), Path(order.cell))
    try:
        papermill.execute_notebook(
            str(path),
            order.executed,
            parameters=dict(order.parameters),
            kernel_name="python3",
            cwd=order.root,
            progress_bar=False,
            kernel_manager_class=_kernel_manager_class(),
            on_cell_start=reached,
        )
    except PapermillExecutionError as error:
        return _failure(path, error)
    except RuntimeError as error:  # nbclient: the kernel died, or it did not start
        return (
            f"notebook {path.stem}: the kernel stopped in {reached} ({error}); most often memory ran out: close other "
            "programs, run fewer notebooks at once (--jobs 1) or take a smaller profile, and run the same command again"
        )
    return ""


class _Cell:
    """The cell that a notebook has reached; it is also written into ``file`` for whoever looks.

    Cells count from 1 as in the notebook itself, where papermill's cell of injected parameters is not.
    """

    def __init__(self, path: Path, file: Path) -> None:
        self.sources = [cell.source for cell in nbformat.read(path, as_version=4).cells]
        self.file, self.number = file, 1

    def __call__(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Note that a cell starts; nbclient calls it."""
        if "injected-parameters" in cell.metadata.get("tags", []):
            return
        left = self.sources[self.number - 1 :]
        self.number += left.index(cell.source) if cell.source in left else 0
        with suppress(OSError):  # nobody must wait for it
            self.file.write_text(f"{self} of {len(self.sources)}", encoding="utf-8")

    def __str__(self) -> str:
        return f"cell {self.number}"


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
            # what the kernel itself logs is of no use to a reader; errors still come through
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict(["--log-level=ERROR"]))

    class OwnKernel(AsyncKernelManager):
        def __init__(self, **options) -> None:
            super().__init__(kernel_spec_manager=OwnKernelSpecs(), **options)
            _kernels.append(self)

    return OwnKernel


def _end_with_parent() -> None:
    """Wait until standard input is closed; then end the kernel and this process at once."""
    sys.stdin.read()
    for kernel in _kernels:
        with suppress(AttributeError, OSError, TypeError):  # it has not started, or it has ended
            os.killpg(kernel.provisioner.pid, signal.SIGKILL)  # it leads a session of its own
    os._exit(1)


def _failure(path: Path, error) -> str:
    """Say which notebook and cell failed, with the cell's first lines and the traceback, without colours."""
    injected = _position(path, error.source)
    cell = f"cell {injected}" if injected else "the cell of injected parameters"
    source = error.source.strip().splitlines()
    lines = [f"notebook {path.stem}, {cell} (In [{error.exec_count}]): {error.ename}: {error.evalue}", ""]
    lines += [f"    {line}" for line in source[:6]] + (["    ..."] if len(source) > 6 else [])
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    return "\n".join([*lines, "", trace, "", AGAIN])


def _position(path: Path, source: str) -> int:
    """Return the number (from 1, counting every cell) of the notebook's cell with this source, or 0."""
    cells = nbformat.read(path, as_version=4).cells
    return next((i for i, cell in enumerate(cells, start=1) if cell.source == source), 0)


if __name__ == "__main__":
    sys.exit(main())
