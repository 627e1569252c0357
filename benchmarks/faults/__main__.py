"""The command line: ``python -m benchmarks.faults [FAULT ...] [--tries N] [-o FILE]``."""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported: no thread may run when a child is forked

import pandas as pd

from benchmarks import faults
from benchmarks.faults.victims import FAULTS
from reid_lib.files import folder_locked, write_text
from reid_lib.seeds import numpy_generator

ROOT = Path(__file__).parents[2]
FILE, PAGE = ROOT / "results" / "faults.csv", ROOT / "docs" / "robustness.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the named faults, or all; write the table, and return 1 if one was not survived."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=faults.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="FAULT", help=f"which: {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--tries", type=int, default=50, help="of each fault on each victim (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of every moment and place")
    parser.add_argument("-o", "--output", type=Path, default=FILE, help="the CSV to write; by default the page too")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in FAULTS]
    if unknown or given.tries < 1:
        parser.error(f"expected tries >= 1 and faults of {', '.join(FAULTS)}, found {given.tries} and {unknown}")
    rows = []
    logging.disable()  # what a damaged file is told with
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        os.environ["REID_LIB_CACHE"] = f"{folder}/cache"
        for name in given.names or FAULTS:
            place = Path(folder) / name
            place.mkdir()
            started = time.monotonic()
            for row in FAULTS[name](place, given.tries, numpy_generator(given.seed, "faults", name)):
                print(f"{row.fault:24} {row.victim:28} {row.survived:4} of {row.tried} survived", flush=True)
                rows.append(row)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    found = merged(pd.DataFrame(rows), given.output)
    return int((found["tried"] != found["survived"]).any())


def merged(rows: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Write rows into a file, and into the page if it is the committed one; other faults and victims stay there."""
    key = ["fault", "victim"]
    with folder_locked(file.parent):
        old = pd.read_csv(file) if file.is_file() else rows[:0]
        found = pd.concat([old, rows]).drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)
        write_text(file, found.to_csv(index=False, lineterminator="\n"))
        if file == FILE:
            write_text(PAGE, faults.renewed(PAGE.read_text(encoding="utf-8"), found))
    return found


if __name__ == "__main__":
    sys.exit(main())
