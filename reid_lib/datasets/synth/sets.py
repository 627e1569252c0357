"""The data sets `synth`, `synth_caviar`, `synth_thermal`: tables of virtual paths, and the reader that draws them."""

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reid_lib.datasets.records import DatasetError, ReIDDataset, Split, random_splits
from reid_lib.datasets.synth.cameras import MODALITIES, native_size
from reid_lib.datasets.synth.people import DEFAULT, Calibration, is_count
from reid_lib.datasets.synth.render import check_size, render
from reid_lib.seeds import numpy_generator

GENERATOR_VERSION = 2  # part of every path: raise it with every change of a pixel, so that stores are made anew

_PATH = re.compile(
    r"(?P<folder>.+)/p(?P<pid>\d+)_c(?P<camid>\d+)(?P<thermal>t?)_i(?P<index>\d+)(?:_d(?P<distance>\d+))?\.png"
)


@dataclass(frozen=True)
class SynthReader:
    """Renders the virtual paths of a synthetic set; can be pickled."""

    seed: int = 0
    calibration: Calibration = DEFAULT

    @property
    def folder(self) -> str:
        """First part of every path: another generator version, seed or calibration gives other paths."""
        settings = repr(sorted(asdict(self.calibration).items()))
        return f"synth-v{GENERATOR_VERSION}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}/s{self.seed}"

    def path(self, pid: int, camid: int, index: int, modality: str = "visible", distance: float = 1.0) -> str:
        """Return the virtual path of an image; ``distance`` is kept to 1/100."""
        far = "" if distance == 1 else f"_d{round(100 * distance)}"
        return f"{self.folder}/p{pid:04d}_c{camid}{'t' if modality == 'thermal' else ''}_i{index:02d}{far}.png"

    def __call__(self, path: str, size: tuple[int, int]) -> np.ndarray:
        """Render ``path`` at ``size`` = (H, W): uint8 (H, W, 3).

        Raises:
            DatasetError: the path is not one of this generator's, with this seed and calibration.
        """
        match = _PATH.fullmatch(str(path))
        if match is None or match["folder"] != self.folder:
            raise DatasetError(
                f"synth has no image {path}; expected a path like {self.path(3, 2, 1)}, taken from the table"
            )
        modality = "thermal" if match["thermal"] else "visible"
        distance = int(match["distance"] or 100) / 100
        image = (int(match["pid"]), int(match["camid"]), int(match["index"]))
        return render(*image, size, self.seed, modality, distance, self.calibration)


def truth_path(path: str) -> str:
    """Return the path of the HR truth of a genuine LR image (the same path for an HR image)."""
    return re.sub(r"_d\d+\.png$", ".png", path)


def synth(
    identities: int = 400,
    cameras: int = 4,
    images_per_camera: int = 3,
    seed: int = 0,
    size: tuple[int, int] = (128, 64),
    calibration: Calibration = DEFAULT,
    root: str | Path | None = None,
) -> ReIDDataset:
    """Build the synthetic data set: every identity seen by every camera, 10 random splits in halves.

    The table is sorted by pid, camid and index. Splits keep the identities of one look group together, so
    that an identity's look-alikes are always in the same part.

    Args:
        identities: number of identities, at least 2 look groups.
        cameras: number of cameras, at least 2.
        images_per_camera: images of each identity in each camera.
        seed: which population, cameras and splits.
        size: (H, W) in pixels of an image.
        calibration: how hard the set is.
        root: must stay None: nothing is on disk.

    Raises:
        DatasetError: an option is out of its range, or a root is given.
    """
    reader = _check_options("synth", root, identities, cameras, images_per_camera, seed, size, calibration)
    rows = [
        (reader.path(pid, camid, index), pid, camid)
        for pid in range(identities)
        for camid in range(1, cameras + 1)
        for index in range(images_per_camera)
    ]
    return _dataset("synth", reader, rows, ("path", "pid", "camid"), size)


def synth_caviar(
    identities: int = 120,
    images_per_camera: int = 8,
    distances: tuple[float, float] = (2.0, 4.0),
    seed: int = 0,
    size: tuple[int, int] = (128, 64),
    calibration: Calibration = DEFAULT,
    root: str | Path | None = None,
) -> ReIDDataset:
    """Build the CAVIAR-like set: camera 1 is near (HR), camera 2 far, with genuine optical low resolution.

    The table also has ``height`` and ``width``, the native size in pixels, and ``distance``.
    ``read(truth_path(path))`` is the HR truth of an LR image.

    Args:
        distances: smallest and largest distance of the far camera, between 1.05 and 16; drawn per image.
        (others): as `synth`.

    Raises:
        DatasetError: an option is out of its range, or a root is given.
    """
    reader = _check_options("synth-caviar", root, identities, 2, images_per_camera, seed, size, calibration)
    if len(distances) != 2 or not 1.05 <= distances[0] <= distances[1] <= 16:
        raise DatasetError(
            f"synth-caviar: distances must be two ascending numbers between 1.05 and 16, found {distances}"
        )
    rows = []
    for pid in range(identities):
        far = numpy_generator(seed, "synth-caviar", "distance", pid).uniform(*distances, images_per_camera)
        for camid, distance in ((1, np.ones(images_per_camera)), (2, far.round(2))):
            for index, d in enumerate(distance.tolist()):
                rows.append((reader.path(pid, camid, index, distance=d), pid, camid, *native_size(size, d), d))
    columns = ("path", "pid", "camid", "height", "width", "distance")
    return _dataset("synth-caviar", reader, rows, columns, size, genuine_lr_camid=2)


def synth_thermal(
    identities: int = 120,
    cameras: int = 4,
    images_per_camera: int = 3,
    seed: int = 0,
    size: tuple[int, int] = (128, 64),
    calibration: Calibration = DEFAULT,
    root: str | Path | None = None,
) -> ReIDDataset:
    """Build the cross-modality set: the first half of the cameras is visible, the second half thermal.

    The table also has ``modality`` ("visible" or "thermal"). Options as `synth`.

    Raises:
        DatasetError: an option is out of its range, or a root is given.
    """
    reader = _check_options("synth-thermal", root, identities, cameras, images_per_camera, seed, size, calibration)
    rows = []
    for pid in range(identities):
        for camid in range(1, cameras + 1):
            modality = MODALITIES[camid > cameras // 2]
            rows += [(reader.path(pid, camid, i, modality), pid, camid, modality) for i in range(images_per_camera)]
    return _dataset("synth-thermal", reader, rows, ("path", "pid", "camid", "modality"), size)


def _dataset(name, reader, rows, columns, size, **options) -> ReIDDataset:
    table = pd.DataFrame(rows, columns=list(columns))
    splits = _splits(name, sorted(set(table["pid"])), reader)
    return ReIDDataset(
        name, table, splits, tuple(size), reader=reader, note="synthetic images, no real person", **options
    )


def _splits(name: str, pids: list[int], reader: SynthReader) -> tuple[Split, ...]:
    """Ten random splits of the look groups in halves, as splits of identities."""
    groups: dict[int, list[int]] = {}
    for pid in pids:
        groups.setdefault(pid // reader.calibration.identities_per_look, []).append(pid)

    def members(looks: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(pid for look in looks for pid in groups[look])

    drawn = random_splits(list(groups), len(groups) // 2, 10, reader.seed, name)
    return tuple(Split(members(s.train_pids), members(s.test_pids)) for s in drawn)


def _check_options(name, root, identities, cameras, images_per_camera, seed, size, calibration) -> SynthReader:
    if root is not None:
        raise DatasetError(f"{name} is drawn, not read from disk: expected no root, found {root}; leave root out")
    if not isinstance(calibration, Calibration):
        raise DatasetError(f"{name}: calibration must be a Calibration, found {calibration!r}")
    least = 2 * calibration.identities_per_look
    wanted = (
        ("identities", identities, least),
        ("cameras", cameras, 2),
        ("images_per_camera", images_per_camera, 1),
        ("seed", seed, 0),
    )
    for option, value, minimum in wanted:
        if not is_count(value, minimum):
            raise DatasetError(f"{name}: {option} must be an integer >= {minimum}, found {value!r}")
    check_size(size)
    return SynthReader(seed, calibration)
