"""Data sets: one checked table of images per set, and `load`, which finds them by name.

`records` holds the table and its checks, `names` says what a name means, one module per benchmark reads it in its
official layout, `table` reads your own, `synth` draws the built-in sets, `image_store` decodes a set once;
`resolution`, `mlr` and `sampling` make low resolution, trials and batches.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reid_lib.datasets import caviar, cuhk03, dukemtmc, market1501, msmt17, names, regdb, synth, table, viper
from reid_lib.datasets.records import DatasetError, ReIDDataset, checked_size
from reid_lib.values import like

LOADERS: dict[str, Callable[..., ReIDDataset]] = {
    "viper": viper.viper,
    "caviar": caviar.caviar,
    "cuhk03": cuhk03.cuhk03,
    "market1501": market1501.market1501,
    "dukemtmc": dukemtmc.dukemtmc,
    "msmt17": msmt17.msmt17,
    "regdb": regdb.regdb,
    "synth": synth.synth,
    "synth-caviar": synth.synth_caviar,
    "synth-thermal": synth.synth_thermal,
    "table": table.table,
}


def load(name: str, root: str | Path | None = None, **options: object) -> ReIDDataset:
    """Load a data set by name.

    Args:
        name: one of `names.NAMES`, or ``table-`` and a word of your own, which keeps results of your tables apart.
        root: the folder of a benchmark; the synthetic sets are drawn and take none.
        **options: options of the set's own loader, for example ``partition`` of VIPeR or ``identities`` of
            synth.

    Raises:
        DatasetError: the name or an option is unknown, a boolean option is no boolean, a number is text, or the set is
            not what it should be.
    """
    names.check(name, DatasetError)
    loader = LOADERS[names.loader(name)]
    parameters = inspect.signature(loader).parameters
    known = [option for option in parameters if option != "root"]
    for option in options:
        if option not in known:
            raise DatasetError(
                f"{name} has no option {option!r}{names.nearest(option, known)}; it has {', '.join(known)}"
            )
    given = {o: like(value, parameters[o].default, f"{name}: {o}", DatasetError) for o, value in options.items()}
    if given.get("size") is not None:
        given["size"] = checked_size(name, given["size"])
    dataset = loader(root=root, **given)
    return dataset if dataset.name == name else replace(dataset, name=name)
