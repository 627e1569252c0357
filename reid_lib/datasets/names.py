"""The names of the data sets and what they mean. Nothing is loaded here."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

NAMES = (
    "viper",
    "caviar",
    "cuhk03",
    "market1501",
    "dukemtmc",
    "msmt17",
    "regdb",
    "synth",
    "synth-caviar",
    "synth-thermal",
    "table",
)
"""Every name that `datasets.load` takes; ``table`` also with a word of your own behind it, ``table-people``."""

_PUBLISHED = {
    "viper": "MLR-VIPeR",
    "caviar": "CAVIAR",
    "cuhk03": "MLR-CUHK03",
    "market1501": "MLR-Market-1501",
    "dukemtmc": "MLR-DukeMTMC-reID",
    "regdb": "RegDB",
}


def is_synthetic(name: str) -> bool:
    """Return whether the people of this set are drawn, not photographed."""
    return name.split("-")[0] == "synth"


def loader(name: str) -> str:
    """Return the one of `NAMES` that reads a set: "table" for "table-people"."""
    return "table" if re.fullmatch(r"table-[a-z0-9_-]+", name) else name


def published(name: str) -> str:
    """Return the set's name in the papers' tables ("MLR-CUHK03"); its own where they have none."""
    return _PUBLISHED.get(name, name)


def check(name: str, error: type[Exception] = ValueError) -> None:
    """Raise ``error`` for a data set that does not exist."""
    if loader(name) not in NAMES:
        raise error(f"unknown data set {name!r}{nearest(name, NAMES)}; known are {', '.join(NAMES)}")


def nearest(word: object, known: Iterable[str]) -> str:
    """Return " (did you mean 'viper'?)" with the known word that is nearest to ``word``; "" if none is near."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
