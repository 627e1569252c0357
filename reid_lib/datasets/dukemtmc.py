"""DukeMTMC-reID (Ristani et al., ECCV Workshops 2016; Zheng et al., ICCV 2017): withdrawn by its authors."""

from pathlib import Path

from reid_lib.datasets.market1501 import EXPECTED, check_roles, read_roles, split_of
from reid_lib.datasets.records import DatasetError, ReIDDataset, check_root
from reid_lib.values import boolean

SOURCE = "DukeMTMC-reID was withdrawn by its authors in 2019 and is no longer given out"
COUNTS = {"train": (16522, 702), "query": (2228, 702), "gallery": (17661, 1110)}


def dukemtmc(
    root: str | Path | None = None,
    accept_withdrawn: bool = False,
    size: tuple[int, int] = (256, 128),
    check: bool = True,
) -> ReIDDataset:
    """Load DukeMTMC-reID in its official layout, ``bounding_box_train/PPPP_cC_fFFFFFFF.jpg`` and so on.

    The table is as `market1501`'s. One split: 702 training and 702 test identities; 408 identities seen by one camera
    only are distractors, in the gallery's role, but belong to no part.

    Args:
        root: the folder that holds bounding_box_train, or the one that holds DukeMTMC-reID.
        accept_withdrawn: say True to use a set whose subjects had not agreed and whose authors took it back.
        size: (H, W) in pixels at which an HR image stands; the originals have many sizes.
        check: False accepts a partial copy.

    Raises:
        DatasetError: the opt-in is missing, a folder is missing, a name is unexpected, or the counts are wrong.
    """
    if not boolean(accept_withdrawn, "dukemtmc: accept_withdrawn", DatasetError):
        raise DatasetError(
            "dukemtmc: expected the option accept_withdrawn=True, found none: its authors withdrew the set because the "
            "people in it had not agreed (see DATA.md). Use another set, or give the option if your own rules allow it"
        )
    root = check_root("dukemtmc", root, EXPECTED, SOURCE)
    inner = root / "DukeMTMC-reID"
    root = inner if inner.is_dir() else root
    table = read_roles("dukemtmc", root, r"(\d{4})_c(\d)_f\d{7}\.jpg")
    if check:
        check_roles("dukemtmc", table, COUNTS)
    return ReIDDataset("dukemtmc", table, (split_of(table),), tuple(size), root=root)
