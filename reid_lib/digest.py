"""Digests decide what is done again: of code without its words, of values, of files.

A docstring or a comment decides no number, so a mended sentence costs no run. A changed line costs exactly the runs
and notebooks whose imports reach it.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name

# what decides no weight and no feature (decision HOUSE-1); how `synth` draws is in its images' paths, as a version
NOT_DECISIVE = ("reid_lib.reporting", "reid_lib.digest", "reid_lib.files", "reid_lib.status", "reid_lib.datasets.synth")


def plain(value: Any) -> Any:
    """Return ``value`` as JSON gives it back: a dataclass as a dict, a tuple as a list, anything unknown as text."""
    value = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.loads(json.dumps(value, default=str))


def digest(*values: Any) -> str:
    """Return the sha256, in hexadecimal, of values that `plain` can write."""
    return hashlib.sha256(json.dumps([plain(value) for value in values], sort_keys=True).encode()).hexdigest()


def keyed(parent: str | Path, name: str, *decisive: Any) -> Path:
    """Return ``parent / name-digest`` of everything that decides what is kept there: another value, another place."""
    return Path(parent) / f"{name}-{digest(*decisive)[:10]}"


def file_digest(path: str | Path) -> str:
    """Return the sha256 of a file, in hexadecimal; OSError if it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents_digest(arrays: Mapping[str, np.ndarray], *texts: str) -> str:
    """Return a digest of arrays by name, of their types, shapes and bits in any order of names, and of texts."""
    found = hashlib.sha256(json.dumps(texts).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name}|{array.dtype.str}|{array.shape}|".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def weights_digest(weights: Mapping[str, Any]) -> str:
    """Return a digest of tensors by name (a ``state_dict``), of all their bits."""
    found = hashlib.sha256()
    for name, tensor in weights.items():
        found.update(name.encode() + np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return found.hexdigest()


def code_digest(module: str, skip: Sequence[str] = ()) -> str:  # decision HOUSE-1
    """Return a digest of a module of this package and of all modules of it that it imports, be it through another one.

    Args:
        module: "reid_lib.training.cadnet".
        skip: modules and packages that do not count ("reid_lib.reporting").

    Raises:
        ValueError: there is no such module.
    """
    if _file(module) is None:
        raise ValueError(f"there is no module {module} in {PACKAGE}")
    return digest(parsed(f"import {module}"), *_reached([module], skip).items())


def source_digest(sources: Iterable[str], skip: Sequence[str] = ()) -> str:
    """Return a digest of Python sources (a notebook's cells) and of the modules of this package that they reach."""
    code = [parsed(source) for source in sources]
    imported = [name for source in sources for name in imports(source)]
    return digest(code, *_reached(imported, skip).items())


def parsed(source: str) -> str:
    """Return Python source in a form without comments, docstrings and layout; what is no Python comes back as it is."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, name, None), list):
                setattr(node, name, [line for line in block if not _is_text(line)])
    return ast.dump(tree)


def imports(source: str) -> Iterator[str]:
    """Yield the modules of this package that a source names in its imports, wherever they stand in it."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _file(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                # `from reid_lib.datasets import mlr` needs mlr alone, not all that the package's own file imports
                below = f"{node.module}.{alias.name}"
                found = below if _file(below) else node.module
                if _file(found):
                    yield found


def _reached(modules: Iterable[str], skip: Sequence[str]) -> dict[str, str]:
    """Return the digest of the parsed code of the modules and of all that they import, by name, alphabetically."""
    found, waiting = {}, list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and not any(f"{module}.".startswith(f"{left_out}.") for left_out in skip):
            found[module], imported = _look(PACKAGE, _file(module).read_text(encoding="utf-8"))
            waiting += imported
    return dict(sorted(found.items()))


@lru_cache(maxsize=1024)
def _look(package: Path, source: str) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a source's parsed code and its imports from ``package``; one look serves all notebooks."""
    return digest(parsed(source)), tuple(imports(source))


def _file(module: str) -> Path | None:
    """Return the file of a module of this package; None for anything else."""
    name, *parts = module.split(".")
    if name != NAME:
        return None
    path = PACKAGE.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
