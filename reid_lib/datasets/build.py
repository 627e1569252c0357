"""An MLR set on disk: the LR images at their own size, the HR images, lists of both, every trial, and checksums.

Nobody gives out MLR sets; whoever measures on one makes it anew. The same data set, settings and versions make the same
bytes, so `SHA256SUMS` tells whether two people have the same set.
"""

import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from reid_lib.datasets import mlr
from reid_lib.datasets.names import is_synthetic
from reid_lib.datasets.records import DatasetError, ReIDDataset
from reid_lib.datasets.resolution import degrade, downsample
from reid_lib.datasets.table import table
from reid_lib.digest import file_digest
from reid_lib.files import folder_locked, remove_parts, try_writing, whole, write_text
from reid_lib.seeds import numpy_generator
from reid_lib.status import bar

SETTINGS, SUMS, JOURNAL = "settings.json", "SHA256SUMS", "unfinished.sums"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass(frozen=True)
class BuildSettings:
    """What is built.

    Attributes:
        kernel: down-sampling kernel, one of `resolution.KERNELS`.
        rates: down-sampling rates; 2, 3, 4 is MLR, 2 to 7 MLRpro.
        quality: of JPEG, 1 to 100; 0 writes PNG.
        split: number of the train/test split.
        trials: draws of the protocol.
        seed: of every draw.
    """

    kernel: str = "bicubic"
    rates: tuple[int, ...] = mlr.MLR_RATES
    quality: int = 0
    split: int = 0
    trials: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise ValueError(f"the quality of JPEG must be 1 to 100, or 0 for PNG, found {self.quality}")


def build(  # decision PROTOCOL-14
    dataset: ReIDDataset, output: str | Path, settings: BuildSettings | None = None, progress: bool = True
) -> pd.DataFrame:
    """Write the MLR set of one split into a folder, or finish one that was begun there; return its list of images.

    Images of the LR camera (`mlr.lr_camera`) are stored at floor(H/r) x floor(W/r) pixels, all others at H x W. A
    training image has one rate, with seed 0 the one that `training.mlr_set` draws; a query is stored once at each rate
    that some trial draws for it. Where the LR camera is drawn for each identity, LR images get a camera number of their
    own, and ``sources.csv`` keeps the true one. Genuine LR images stay as they are.

    Args:
        dataset: the data set.
        output: an empty or new folder, or one that a killed run left.
        settings: what is built; None: MLR as PNG.
        progress: whether progress is shown.

    Returns:
        ``images.csv`` as it was written: columns ``path``, ``pid``, ``camid``, ``split``, ``rate`` (and
        ``genuine_lr``); `datasets.table` reads it.

    Raises:
        ValueError: an option is out of its range.
        DatasetError: the folder cannot be written or holds something else (found before the work), or an image cannot
            be read.
    """
    settings, output = settings or BuildSettings(), Path(output).expanduser()
    # a black image: what degrade refuses is told before the first real one is read
    black = torch.zeros(len(settings.rates), 3, *dataset.size, dtype=torch.uint8)
    drawn = mlr.trials(dataset, settings.split, settings.rates, settings.trials, settings.seed)
    degrade(black, torch.tensor(settings.rates), settings.kernel)
    record, rows = _record(dataset, settings), _rows(dataset, settings, drawn)
    with _held(output):
        done = _open(output, record)
        sums = _write_images(dataset, output, rows, settings, done, progress)
        _write_lists(dataset, output, rows, drawn, record)
        others = [SETTINGS, "README.md", "images.csv", "sources.csv", *(_trial_name(trial) for trial in drawn)]
        sums |= {name: file_digest(output / name) for name in others}
        write_text(output / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
        (output / JOURNAL).unlink(missing_ok=True)
    return _listed(rows)


def name_of(dataset: ReIDDataset) -> str:
    """Return the name under which `datasets.load` reads a built set, "table-synth-mlr"; its trials carry it."""
    return f"table-{re.sub(r'[^a-z0-9_-]', '-', dataset.name.lower())}-mlr"


# --- what ---


def _rows(dataset: ReIDDataset, settings: BuildSettings, drawn: Sequence[mlr.Trial]) -> pd.DataFrame:
    """Return one row per stored image: number, part, rate, whether it is LR, and its path."""
    train, test = (dataset.part(part, settings.split).sort_values("path") for part in ("train", "test"))
    low = (train["camid"] == mlr.lr_camera(dataset, train, settings.split, settings.seed)).to_numpy()
    # the stream of `training.mlr_set`: at seed 0 its training images and these are the same
    stream = numpy_generator(settings.seed, dataset.name, "rates of the training images", settings.split)
    rate = np.where(low, stream.choice(settings.rates, size=len(low)), 1)
    if dataset.genuine_lr_camid is not None:
        rate = np.ones_like(rate)
    queries = pd.concat([trial.query["rate"].rename_axis("number").reset_index() for trial in drawn]).drop_duplicates()
    high = test.index.difference(queries["number"])
    rows = pd.concat(
        [
            pd.DataFrame({"number": train.index, "part": "train", "rate": rate, "low": low}),
            pd.DataFrame({"number": high, "part": "test", "rate": 1, "low": False}),
            queries.assign(part="test", low=True),
        ]
    ).sort_values(["number", "rate"], ignore_index=True)
    source = dataset.table.loc[rows["number"]].reset_index(drop=True)
    rows = rows.assign(pid=source["pid"], source=source["path"], source_camid=source["camid"])
    cameras = sorted(dataset.table["camid"].unique())
    own = dataset.genuine_lr_camid or (cameras[0] if len(cameras) <= 2 else max(cameras) + 1)
    rows["camid"] = np.where(rows["low"], own, rows["source_camid"])
    if dataset.genuine_lr_camid is not None:
        rows["genuine_lr"] = rows["low"].astype(int)
    ending = "jpg" if settings.quality else "png"
    rows["path"] = [
        f"{row.part}/{row.pid:04d}_c{row.camid}_{row.number:06d}_r{row.rate}.{ending}" for row in rows.itertuples()
    ]
    return rows


def _record(dataset: ReIDDataset, settings: BuildSettings) -> dict:
    versions = {name: version(name) for name in ("numpy", "pillow", "torch")}
    made_of = {"dataset": dataset.name, "fingerprint": dataset.fingerprint(), "size": list(dataset.size)}
    return {
        **made_of,
        "reads_as": name_of(dataset),
        **vars(settings),
        "rates": list(settings.rates),
        "versions": versions,
    }


def _listed(rows: pd.DataFrame) -> pd.DataFrame:
    more = ["genuine_lr"] * ("genuine_lr" in rows)
    return rows.rename(columns={"part": "split"})[["path", "pid", "camid", "split", "rate", *more]]


# --- write ---


@contextmanager
def _held(output: Path) -> Iterator[None]:  # decision RUN-23
    """Make the folder and hold it while the block runs: two processes would remove each other's files.

    Raises:
        DatasetError: the folder cannot be written, be it before or while the set is written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        try_writing(output)
        with folder_locked(output, lambda: print(f"waits for another process that writes {output}", file=sys.stderr)):
            yield
    except OSError as error:
        raise DatasetError(f"{output} cannot be written ({error}); name another folder, or make room") from None


def _open(output: Path, record: dict) -> dict[str, str]:
    """Return the digests of what is already there; begin with the settings where nothing is.

    Raises:
        DatasetError: the folder holds something else.
    """
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    try:
        remove_parts(output)
        there = sorted(path.name for path in output.iterdir())
        begun = (output / SETTINGS).read_text(encoding="utf-8") if SETTINGS in there else ""
        if begun != text and there:
            found = "a set with other settings" if begun else f"{len(there)} files, the first is {there[0]}"
            raise DatasetError(
                f"{output}: expected an empty folder, or one with a set of the same data, settings and versions; found "
                f"{found}; name another folder"
            )
        if not there:
            write_text(output / SETTINGS, text)
        for part in ("train", "test", "trials"):
            (output / part).mkdir(exist_ok=True)
            remove_parts(output / part)
        return _sums(output / SUMS) | _sums(output / JOURNAL)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{output} cannot be written ({error}); name another folder, or make room") from None


def _sums(path: Path) -> dict[str, str]:
    """Read digests by path; a line that a kill has torn does not count."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    matches = [_LINE.fullmatch(line) for line in lines]
    return {match[2]: match[1] for match in matches if match}


def _write_images(
    dataset: ReIDDataset,
    output: Path,
    rows: pd.DataFrame,
    settings: BuildSettings,
    done: dict[str, str],
    progress: bool,
) -> dict[str, str]:
    """Write every image that is not there with its digest; return the digests by path."""
    sums, threads, last = {}, torch.get_num_threads(), (-1, torch.empty(0))
    torch.set_num_threads(1)  # the last bit of a sum depends on how many threads share it, and so may a grey level
    try:
        with (output / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write("\n")  # ends a torn line
            for row in bar(
                list(rows.itertuples()), what=f"{dataset.name}, writing", unit="images", hidden=not progress
            ):
                file = output / row.path
                if row.path in done and file.is_file() and file_digest(file) == done[row.path]:
                    sums[row.path] = done[row.path]
                    continue
                if last[0] != row.number:
                    last = row.number, torch.from_numpy(dataset.read(row.source).copy()).permute(2, 0, 1)[None]
                with whole(file) as part:
                    part.write_bytes(_encoded(last[1], row.rate, settings))
                sums[row.path] = file_digest(file)
                journal.write(f"{sums[row.path]}  {row.path}\n")
                journal.flush()
    finally:
        torch.set_num_threads(threads)
    return sums


def _encoded(image: torch.Tensor, rate: int, settings: BuildSettings) -> bytes:
    if rate > 1:
        height, width = image.shape[2:]
        image = downsample(image, (height // rate, width // rate), settings.kernel)
    file, pixels = io.BytesIO(), Image.fromarray(image[0].permute(1, 2, 0).contiguous().numpy())
    if settings.quality:
        pixels.save(file, format="JPEG", quality=settings.quality, subsampling=0)
    else:
        pixels.save(file, format="PNG")
    return file.getvalue()


def _write_lists(
    dataset: ReIDDataset, output: Path, rows: pd.DataFrame, drawn: Sequence[mlr.Trial], record: dict
) -> None:
    write_text(output / "images.csv", _listed(rows).to_csv(index=False, lineterminator="\n"))
    sources = rows[["path", "source", "source_camid"]].rename(columns={"source_camid": "camid"})
    write_text(output / "sources.csv", sources.to_csv(index=False, lineterminator="\n"))
    write_text(output / "README.md", _readme(dataset, rows, record))
    built = replace(table(output, "images.csv", dataset.size), name=name_of(dataset))
    by_path = pd.Series(built.table.index, index=built.table["path"])
    stored = rows.set_index(["number", "rate"])["path"]
    for trial in drawn:
        query = [by_path[stored[key]] for key in trial.query["rate"].items()]
        gallery = [by_path[stored[number, 1]] for number in trial.gallery.index]
        columns = built.table[["path", "pid", "camid"]]
        # rate 1: the images are LR as they are, and whoever reads them must not down-sample them again
        again = mlr.Trial(built, columns.loc[query].assign(rate=1), columns.loc[gallery], trial.split, trial.number)
        with whole(output / _trial_name(trial)) as part:
            again.to_csv(part)


def _trial_name(trial: mlr.Trial) -> str:
    return f"trials/trial-{trial.number}.csv"


def _readme(dataset: ReIDDataset, rows: pd.DataFrame, record: dict) -> str:
    height, width = dataset.size
    counts = rows.groupby("part").size()
    options = f'--options table=images.csv "size=({height},{width})"'
    people = (
        "The people are drawn."
        if is_synthetic(dataset.name)
        else "The images show real people: the licence of the source decides whether they may be passed on."
    )
    rates = ", ".join(str(rate) for rate in record["rates"])
    kept = f"are down-sampled by {rates} ({record['kernel']}) and stored at their own size"
    if dataset.genuine_lr_camid is not None:
        kept = "are LR by nature and stand as they are"
    return f"""# {record["reads_as"]}: the MLR set of {dataset.name}, split {record["split"]}

{counts["train"]} training and {counts["test"]} test images. HR images have {height}x{width} pixels (height x width), LR
images {kept}.
{people}

- `images.csv`: path, identity, camera, part and rate of every image. LR images have one camera number;
  `sources.csv` has the true camera and the image that each was made of.
- `trials/`: {record["trials"]} trials, queries and gallery. Their rate is 1: queries are LR as they are stored, at the
  rate that `images.csv` names. A query that trials draw at several rates is stored at each: measure on these trials,
  and not on all test images.
- `{SETTINGS}`: seed, settings, the data set's fingerprint and the versions that made this set.
- `{SUMS}`: `sha256sum -c {SUMS}` checks every file.

An LR image is resized to {height}x{width} bilinearly; reid-lib does it to the last bit when it reads the set:

    reid-lib data check {record["reads_as"]} --root . {options}
"""
