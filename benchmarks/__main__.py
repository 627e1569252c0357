"""The command line: ``python -m benchmarks [NAME ...]``."""

import argparse

import benchmarks
from benchmarks.clustering import clustering
from benchmarks.datasets import image_store, synth
from benchmarks.evaluation import cca, ranking
from benchmarks.growth import growth
from benchmarks.intact import intact
from benchmarks.loops import loops
from benchmarks.records import keep, rows
from benchmarks.training import baseline, cadnet, engine, vpfa
from reid_lib.reporting import results

BENCHMARKS = {
    "ranking": ranking,
    "image_store": image_store,
    "synth": synth,
    "baseline": baseline,
    "engine": engine,
    "cadnet": cadnet,
    "intact": intact,
    "cca": cca,
    "clustering": clustering,
    "vpfa": vpfa,
    "loops": loops,
    "growth": growth,
}


def main() -> None:
    """Run the named benchmarks, or all, and print what they found; each keeps it when it ends."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=benchmarks.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}: expected {', '.join(BENCHMARKS)}")
    results.check_writable(results.results_root())
    for name in names:
        found = BENCHMARKS[name]()
        keep(results.results_root() / "benchmarks.csv", rows(name, found))
        for measurement in found:
            print(measurement, flush=True)


if __name__ == "__main__":
    main()
