"""What was measured, kept beside the other results: on which machine, with which versions, from which commit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import NO_BOUND, Measurement
from reid_lib.files import whole
from reid_lib.reporting.provenance import provenance


def machine() -> dict[str, object]:
    """What a value depends on besides the code: one column each. A commit with "+" had changes in reid_lib on top."""
    made = provenance({}, "", 0.0, torch.cuda.get_device_name() if torch.cuda.is_available() else None)
    hardware, versions = made["hardware"], made["versions"]
    return {
        "cpu": hardware["cpu"],
        "cores": hardware["cores"],
        "threads": torch.get_num_threads(),
        "gpu": hardware["gpu"] or "",
        **{name: versions[name] for name in ("python", "torch", "numpy")},
        "date": made["time"][:10],
        "commit": f"{(made['commit'] or '')[:10]}{'+' if made['dirty'] else ''}",
    }


def rows(name: str, measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Return a row for each measurement of the benchmark ``name``; ``met`` is empty where there is no goal."""
    return pd.DataFrame(
        {
            "benchmark": name,
            "what": one.what,
            "value": shown(one.value),
            "unit": one.unit,
            "goal": one.bound,
            "met": "" if one.bound == NO_BOUND else "yes" if one.kept else "no",
            "note": one.detail,
            **machine(),
        }
        for one in measurements
    )


def shown(value: float) -> str:
    """Return a value as it is kept, with four digits."""
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")


def keep(path: Path, found: pd.DataFrame) -> None:
    """Write rows into a CSV, where they replace those of the same benchmarks; all others stay as they are."""
    found = found.astype(str)
    if path.is_file():
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
        found = pd.concat([old[~old["benchmark"].isin(found["benchmark"])], found])
    with whole(path) as part:
        found.sort_values("benchmark", kind="stable").to_csv(part, index=False, lineterminator="\n")
