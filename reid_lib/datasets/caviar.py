"""CAVIAR4REID (Cheng et al., BMVC 2011): a near and a far camera; genuine low resolution."""

from pathlib import Path

import pandas as pd

from reid_lib.datasets.partitions import read_halves
from reid_lib.datasets.records import (
    ReIDDataset,
    check_counts,
    check_root,
    match_names,
    native_size,
    random_splits,
)

EXPECTED = "the folder that holds 0001001.jpg and so on"
SOURCE = (
    "CAVIAR4REID is given out by its authors: look for 'CAVIAR4REID' of the paper 'Custom Pictorial "
    "Structures for Re-identification' (Cheng, Cristani, Stoppa, Bazzani, Murino; University of Verona)"
)


def caviar(root: str | Path | None = None, partition: str | Path | None = None, check: bool = True) -> ReIDDataset:
    """Load CAVIAR4REID in its official layout, ``PPPPIII.jpg``.

    The table is sorted by pid and image; pid = PPPP; III 001-010 is the near camera (camid 1), 011-020 the
    far one (camid 2), whose images are low-resolution by nature; ``height`` and ``width`` are the image's
    own. Ten splits of the 50 identities seen by both cameras, 25 for training and 25 for the test: seeded, or
    the published ones of ``partition``. The other 22 identities are seen by one camera only and are in no
    part ("unused").

    Args:
        root: the folder that holds the images, or the one that holds CAVIAR4REID.
        partition: ``Partition_caviar.mat``, ten published random splits; the k-th identity of its list is
            taken to be the k-th of the 50 in ascending order.
        check: False accepts a partial copy (fewer identities or images), split in halves.

    Raises:
        DatasetError: the folder is missing, a name is unexpected, an image has no readable header, or the
            counts are wrong.
    """
    root = check_root("caviar", root, EXPECTED, SOURCE)
    if (root / "CAVIAR4REID").is_dir():
        root = root / "CAVIAR4REID"
    rows = []
    for match in match_names("caviar", root, r"(\d{4})(0(?:0[1-9]|1\d|20))\.jpg", "0001001.jpg"):
        camid = 1 if int(match[2]) <= 10 else 2
        rows.append((match[0], int(match[1]), camid, *native_size(root / match[0])))
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "height", "width"])
    if check:
        check_counts("caviar", table, images=1220, identities=72, cameras=2)
    seen = table.groupby("pid")["camid"].nunique()
    both = seen[seen == 2].index.tolist()
    if partition is None:
        splits = random_splits(both, len(both) // 2, n=10, seed=0, name="caviar")
    else:
        splits = read_halves(partition, "caviar", both)
    return ReIDDataset("caviar", table, splits, size=(128, 64), root=root, genuine_lr_camid=2)
