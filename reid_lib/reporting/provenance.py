"""What was run to get a result, and on what: the content of a run.json."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PurePath

import numpy as np

from reid_lib.reporting.results import project_root

_PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "pillow",
    "matplotlib",
    "torch",
    "torchvision",
    "torchmetrics",
    "timm",
)


def provenance(
    parameters: Mapping[str, object],
    fingerprint: str,
    seconds: float,
    gpu: str | None = None,
    note: str = "",
) -> dict[str, object]:
    """What a run.json holds: commit, parameters, versions, hardware, wall time, data fingerprint, UTC time.

    `seconds` is the wall time; `gpu` the accelerator's name (torch.cuda.get_device_name()) or None; `note`
    what every number from these data must say (the data set's `note`: "CUHK03 at 128x64"). Paths in
    `parameters` are cut to their last part, so that a committed file tells nothing about somebody's
    folders.
    """
    return code() | {
        "parameters": {name: _without_folders(value) for name, value in parameters.items()},
        "versions": {"python": platform.python_version(), "reid-lib": _version("reid-lib")}
        | {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "hardware": {"cpu": _cpu(), "cores": os.cpu_count(), "gpu": gpu, "system": platform.system()},
        "seconds": round(float(seconds), 1),
        "data_fingerprint": fingerprint,
        "data_note": note,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def code() -> dict[str, object]:
    """`commit` of the working tree, and `dirty`: True when reid_lib or pyproject.toml had uncommitted changes.

    Both are None outside git.
    """
    changes = _git("status", "--porcelain", "--", "reid_lib", "pyproject.toml")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if changes is None else changes != ""}


def _without_folders(value: object) -> object:
    """`value` as JSON takes it, every absolute path cut to its last part: "/home/me/data" becomes ".../data"."""
    if isinstance(value, PurePath) or (isinstance(value, str) and os.path.isabs(value)):
        return f".../{PurePath(value).name}"
    if isinstance(value, Mapping):
        return {str(name): _without_folders(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _git(*arguments: str) -> str | None:
    root = project_root()
    if root is None:
        return None
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
