"""VIPeR (Gray, Brennan and Tao, PETS 2007): 632 identities, one 48x128 image in each of two cameras."""

from pathlib import Path

import pandas as pd

from reid_lib.datasets.partitions import read_halves
from reid_lib.datasets.records import (
    DatasetError,
    ReIDDataset,
    check_counts,
    check_root,
    match_names,
    random_splits,
)

EXPECTED = "the folder that holds cam_a and cam_b"
SOURCE = (
    "VIPeR is given out by its authors: look for 'VIPeR: Viewpoint Invariant Pedestrian Recognition', "
    "Computer Vision lab, University of California, Santa Cruz"
)


def viper(root: str | Path | None = None, partition: str | Path | None = None, check: bool = True) -> ReIDDataset:
    """Load VIPeR in its official layout, ``cam_a/PPP_ANGLE.bmp`` and ``cam_b/PPP_ANGLE.bmp``.

    The table is sorted by pid and camid; pid = PPP, camid 1 = cam_a, 2 = cam_b. Ten splits, 316 identities
    for training and 316 for the test: seeded, or the published ones of ``partition``.

    Args:
        root: the folder that holds cam_a and cam_b, or the one that holds VIPeR.
        partition: ``Partition_viper.mat``, ten published random splits.
        check: False accepts a partial copy (fewer identities), split in halves.

    Raises:
        DatasetError: a folder is missing, a name is unexpected, an identity has not one image in each camera,
            or the counts are wrong.
    """
    root = check_root("viper", root, EXPECTED, SOURCE)
    if not (root / "cam_a").is_dir() and (root / "VIPeR").is_dir():
        root = root / "VIPeR"
    rows = []
    for camid, camera in ((1, "cam_a"), (2, "cam_b")):
        matches = match_names("viper", root / camera, r"(\d{3})_\d{1,3}\.bmp", "000_45.bmp")
        rows += [(f"{camera}/{match[0]}", int(match[1]), camid) for match in matches]
    table = pd.DataFrame(rows, columns=["path", "pid", "camid"]).sort_values(["pid", "camid"], ignore_index=True)
    if check:
        check_counts("viper", table, images=1264, identities=632, cameras=2)
    _check_pairs(table)
    pids = sorted(set(table["pid"]))
    if partition is None:
        splits = random_splits(pids, len(pids) // 2, n=10, seed=0, name="viper")
    else:
        splits = read_halves(partition, "viper", pids)
    return ReIDDataset("viper", table, splits, size=(128, 48), root=root)


def _check_pairs(table: pd.DataFrame) -> None:
    seen = table.groupby("pid")["camid"].agg(list)
    wrong = seen[seen.map(lambda cameras: cameras != [1, 2])]
    if len(wrong):
        raise DatasetError(
            f"viper: expected one image in cam_a and one in cam_b of every identity, found {len(wrong)} "
            f"identities without, the first is {wrong.index[0]:03d} (cameras {wrong.iloc[0]}); unpack the "
            "official archive again"
        )
