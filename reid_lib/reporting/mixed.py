"""Numbers whose seeds were not measured by the same code with the same parameters: it is said, not hidden.

A run replaces the rows of its own seeds and leaves those of others (decision HOUSE-9), so that three seeds are never
overwritten by one. The seeds of a number may then come from different commits. Whether the code between them matters
is for a reader to judge; that they differ is for us to say (decision REPORT-9).
"""

from collections import defaultdict

from reid_lib.reporting import results
from reid_lib.reporting.alike import runs_of
from reid_lib.reporting.verdicts import SHOWN


def mixed_provenance() -> list[str]:
    """One sentence for each table whose seeds differ in commit, parameters or data: which seeds come from what.

    Read from each run.json under `results.results_root`; a file without one is left to `verify`. Raises ResultsError
    when a result file is damaged.
    """
    found = []
    for key in results.available():
        if key[0] not in SHOWN:
            continue
        rows = results.read(*key)
        try:
            last = results.read_run(*key)
        except results.ResultsError:
            continue
        seeds: dict[tuple, dict[int, dict]] = defaultdict(dict)
        for group, run in runs_of(rows, last).items():
            if group[3] is not None:
                seeds[group[:3]][group[3]] = _origin(run)
        tables = defaultdict(list)
        for (artefact, _, method), origins in sorted(seeds.items()):
            said = _differing(origins)
            if said:
                tables[artefact, said].append(method)
        found += [f"{'/'.join(key)}, {a} ({_few(methods)}): {said}" for (a, said), methods in tables.items()]
    return found


def _origin(run: dict) -> dict[str, object]:
    """What must be the same for all seeds of a number."""
    commit = (run.get("commit") or "none")[:8] + (" with changes" if run.get("dirty") else "")
    parameters = {name: value for name, value in run.get("parameters", {}).items() if name != "seeds"}
    return {"commit": commit, "data": str(run.get("data_fingerprint", ""))[:12], **parameters}


def _differing(origins: dict[int, dict]) -> str:
    """ "seed 0: commit 1a2b, threads 2; seeds 1, 2: commit 3c4d, threads 1", or "" where all agree."""
    names = dict.fromkeys(name for origin in origins.values() for name in origin)
    changed = [n for n in names if len({str(origin.get(n)) for origin in origins.values()}) > 1]
    by_text = defaultdict(list)
    for seed, origin in sorted(origins.items()):
        by_text[", ".join(f"{name} {origin.get(name, 'not set')}" for name in changed)].append(seed)
    if not changed:
        return ""
    return "; ".join(f"seed{'s' * (len(s) > 1)} {', '.join(map(str, s))}: {text}" for text, s in by_text.items())


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"
