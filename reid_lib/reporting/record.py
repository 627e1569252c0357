"""What a run.json holds, of which kind: a file that was edited by hand is refused in a sentence, by every reader."""

KINDS = {
    "commit": (str, type(None)),
    "dirty": (bool, type(None)),
    "time": (str,),
    "parameters": (dict,),
    "versions": (dict,),
    "hardware": (dict,),
    "seconds": (int, float),
    "written": (list,),
    "covers": (list,),
    "earlier": (list,),
    "csv_sha256": (str,),
    "data_note": (str,),
}
"""Fields that are read, with their types in JSON; one that is absent is no fault: older runs lack some."""


def fault(run: object) -> str:
    """Return what is wrong with the content of a run.json, "seconds is 'x'", or "" where it can be read."""
    if not isinstance(run, dict):
        return f"it holds {run!r:.40}"
    for name, kinds in KINDS.items():
        if name in run and type(run[name]) not in kinds:
            return f"{name} is {run[name]!r:.40}"
    for cover in run.get("covers", []):
        if not isinstance(cover, list):
            return f"covers has {cover!r:.40}"
    return next(filter(None, map(fault, run.get("earlier", []))), "")
