"""Reading images: the image store, and the built-in pedestrians."""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import Measurement, at_least, seconds
from reid_lib.datasets import load
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset, read_image
from reid_lib.seeds import numpy_generator


def image_store() -> list[Measurement]:
    """An epoch in batches of 64, decoded from JPEG each time or read from the image store."""
    with tempfile.TemporaryDirectory() as temporary:
        dataset = _cuhk03() or _synthetic_jpegs(Path(temporary))
        store, order = open_store(dataset), numpy_generator(0, "epoch").permutation(len(dataset))
        batches = [order[i : i + 64] for i in range(0, len(order), 64)]
        paths = [Path(dataset.root) / path for path in dataset.table["path"]]

        def decode() -> None:
            for batch in batches:
                images = np.stack([read_image(paths[row], dataset.size) for row in batch])
                torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

        def read() -> None:
            for batch in batches:
                store.batch(batch)

        plain, ours = seconds(decode), seconds(read, repeat=3)
        detail = f"{dataset.name}, {len(dataset):,} images, {ours:.2f} s"
        return [at_least("an epoch: CPU of decoding JPEGs / image store", plain / ours, "times", 10, detail)]


def _cuhk03() -> ReIDDataset | None:
    root = Path(os.environ.get("REID_LIB_DATA", "")) / "cuhk03_detected_64x128"
    return load("cuhk03", root, layout="flat") if "REID_LIB_DATA" in os.environ and root.is_dir() else None


def _synthetic_jpegs(folder: Path) -> ReIDDataset:
    synthetic = load("synth", identities=100)
    table = synthetic.table[["path", "pid", "camid"]].assign(path=[f"{row:05d}.jpg" for row in range(len(synthetic))])
    for source, target in zip(synthetic.table["path"], table["path"], strict=True):
        Image.fromarray(synthetic.read(source)).save(folder / target, quality=90)
    return ReIDDataset("synthetic-jpegs", table, synthetic.splits, synthetic.size, folder)


def synth() -> list[Measurement]:
    """Synthetic pedestrians on one core."""
    dataset = load("synth")
    paths = dataset.table["path"].sample(200, random_state=0).tolist()
    dataset.read(paths[0])
    taken = seconds(lambda: [dataset.read(path) for path in paths])
    return [at_least("synth at 128 x 64, one core", len(paths) / taken, "images/s", 150)]
