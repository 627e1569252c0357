"""Published train/test partitions, read from the files that their authors distribute."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy.io import loadmat

from reid_lib.datasets.records import DatasetError, Split

CUHK03_PAIRS = (843, 440, 77, 58, 49)
"""Persons in each of CUHK03's five camera pairs, 1,467 in all."""


def cuhk03_pid(pair: int, person: int) -> int:
    """Return CUHK03's identity 0..1466 of a person: the rank of (camera pair, person), both counted from 1.

    Raises:
        DatasetError: there is no such pair or person.
    """
    if not 1 <= pair <= 5 or not 1 <= person <= CUHK03_PAIRS[pair - 1]:
        raise DatasetError(
            f"cuhk03 has camera pairs 1 to 5 of {CUHK03_PAIRS} persons, found person {person} of pair {pair}"
        )
    return sum(CUHK03_PAIRS[: pair - 1]) + person - 1


def read_halves(path: str | Path, name: str, pids: Sequence[int]) -> tuple[Split, ...]:  # decision PROTOCOL-8
    """Read ``Partition_viper.mat`` or ``Partition_caviar.mat``: ten splits of the identities in halves.

    In these MATLAB 7.3 files ``partition.idx_train`` marks the training rows of a list that holds one row per
    identity of the first camera and then one per identity of the second, identities in ascending order; the
    two halves of the list are equal.

    Args:
        path: the file.
        name: the data set's name, for messages.
        pids: all identities that the list is about.

    Raises:
        DatasetError: the file is missing, is something else, or is about another number of identities.
    """
    pids, splits = np.sort(np.asarray(pids)), []
    with _reading(path, "a MATLAB 7.3 file with partition.idx_train"), h5py.File(path) as file:
        for (reference,) in file["partition/idx_train"][:]:
            first, second = file[reference][:].astype(bool).reshape(2, -1)
            if len(first) != len(pids) or (first != second).any():
                raise DatasetError(
                    f"{name}: expected a partition of {len(pids)} identities in two cameras, found "
                    f"{len(first)} in {path}; take the file made for {name}, and the complete set"
                )
            splits.append(Split(tuple(pids[first].tolist()), tuple(pids[~first].tolist())))
    return tuple(splits)


def read_testsets(path: str | Path, pids: Sequence[int], n: int = 10) -> tuple[Split, ...]:
    """Read the first ``n`` of the 20 official test sets (100 identities each) from ``cuhk-03.mat``.

    All other identities are for training.

    Raises:
        DatasetError: the file is missing or is something else.
    """
    splits = []
    with _reading(path, "cuhk-03.mat with its testsets"), h5py.File(path) as file:
        for reference in file["testsets"][:].ravel()[:n]:
            test = {cuhk03_pid(int(pair), int(person)) for pair, person in file[reference][:].T}
            splits.append(Split(tuple(sorted(set(pids) - test)), tuple(sorted(test))))
    return tuple(splits)


def read_new_protocol(path: str | Path, keys: pd.Index) -> pd.Series:
    """Read ``cuhk03_new_protocol_config_*.mat``: the 767/700 protocol of Zhong et al., CVPR 2017.

    Args:
        path: the file (``detected`` or ``labeled``, as the images).
        keys: (identity, number 0..9) of each image of the data set.

    Returns:
        "train", "query" or "gallery" of each image, in the order of ``keys``.

    Raises:
        DatasetError: the file is missing, is something else, or names other images than the data set has.
    """
    with _reading(path, "cuhk03_new_protocol_config_detected.mat or ..._labeled.mat"):
        with open(path, "rb") as file:
            config = loadmat(file, squeeze_me=True)
        files = [str(file) for file in config["filelist"]]
        roles = pd.Series("", index=pd.MultiIndex.from_tuples([_key(file) for file in files]))
        numbers = {role: np.atleast_1d(config[f"{role}_idx"]) for role in ("train", "query", "gallery")}
        if sorted(np.concatenate(list(numbers.values())).tolist()) != list(range(1, len(files) + 1)):
            raise ValueError("its lists of train, query and gallery do not name each image once")
        for role, number in numbers.items():
            roles.iloc[number.astype(int) - 1] = role
    for what, missing in (
        ("this copy lacks", roles.index.difference(keys)),
        ("it lacks", keys.difference(roles.index)),
    ):
        if len(missing):
            raise DatasetError(
                f"cuhk03: {path} lists {len(roles):,} images, the data set has {len(keys):,}: {what} "
                f"{len(missing):,} of them, the first is image {missing[0][1]} of identity {missing[0][0]}; "
                "take the file made for these boxes, and the complete set"
            )
    return roles.loc[keys]


def _key(file: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d)_(\d{3})_[12]_(\d\d)\.png", file)
    if match is None:
        raise ValueError(f"its file list has {file}, not names like 1_001_1_01.png")
    pair, person, number = (int(text) for text in match.groups())
    return cuhk03_pid(pair, person), number - 1


@contextmanager
def _reading(path: str | Path, expected: str) -> Iterator[None]:
    try:
        yield
    except DatasetError as error:
        if str(path) in str(error):
            raise
        raise DatasetError(f"partition file {path}: {error}") from None
    except FileNotFoundError:
        raise DatasetError(f"partition file missing: {path}; expected {expected}") from None
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything: zlib.error, RuntimeError, struct.error
        reason = " ".join(str(error).split())
        raise DatasetError(f"partition file cannot be read: {path} ({reason}); expected {expected}") from None
