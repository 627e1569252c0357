"""Notebook 23 on a set of genuine LR images whose HR camera has one image of each person."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from reid_lib import compare
from reid_lib.datasets import mlr
from reid_lib.datasets.records import ReIDDataset, Split
from reid_lib.reporting import compared

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "23_unified_comparison.ipynb"


class Pixels:
    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().flatten(1)

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        return self.embed_gallery(images)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return torch.cdist(query, gallery)


@pytest.mark.parametrize("of_the_hr_camera", [1, 2])
def test_who_is_lost_is_not_measured_without_a_query_at_hr(
    of_the_hr_camera: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from PIL import Image

    table = pd.DataFrame(
        [
            (f"{p}_{c}_{n}.png", p, c)
            for p in range(4)
            for c in (1, 2)
            for n in range(of_the_hr_camera if c == 2 else 1)
        ],
        columns=["path", "pid", "camid"],
    )
    for row in table.itertuples():
        grey = np.full((16, 8, 3), 60 * row.pid + row.camid, np.uint8)
        Image.fromarray(grey).save(tmp_path / row.path)
    dataset = ReIDDataset("own", table, (Split((0, 1), (2, 3)),), (16, 8), tmp_path, genuine_lr_camid=1)
    settings = mlr.settings(dataset, n=2)
    matchers = {"one": Pixels(), "two": Pixels()}
    saved, recorded = [], []
    names = {
        "genuine": True,
        "settings": settings,
        "protocol": "genuine LR",
        "untrained": {},
        "compared": compared,
        "found": {0: compare(matchers, settings, progress=False)},
        "run": SimpleNamespace(
            label="own",
            save=lambda rows, paper: saved.append(rows),
            record=lambda scores, **row: recorded.append(row),
        ),
    }
    cells = nbformat.read(NOTEBOOK, 4).cells
    (cell,) = [cell.source for cell in cells if cell.cell_type == "code" and "comparison.lost(" in cell.source]
    exec(compile(cell, NOTEBOOK.name, "exec"), names)
    said = capsys.readouterr().out
    assert [row["artefact"] for row in recorded] == ["Lost people"]
    if of_the_hr_camera == 1:
        assert "HR->HR, same camera" not in settings
        assert saved == []
        assert "who is lost is not measured" in said
    else:
        assert set(saved[0]["setting"]) == {"HR->HR, same camera to genuine LR"}
        assert said == ""
