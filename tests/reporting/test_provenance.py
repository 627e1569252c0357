import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from reid_lib.reporting import provenance


def test_provenance_says_what_was_run_and_hides_folders():
    run = provenance.provenance(
        {"data_root": Path("/home/me/data"), "rates": (2, 3), "lr": np.float64(0.1)}, "f00", 12.34
    )
    assert run["parameters"] == {"data_root": ".../data", "rates": [2, 3], "lr": 0.1}
    assert run["versions"]["pandas"] == pd.__version__
    assert run["hardware"]["gpu"] is None
    assert run["hardware"]["cores"] >= 1
    assert run["seconds"] == 12.3
    assert datetime.strptime(run["time"], "%Y-%m-%dT%H:%M:%SZ").year >= 2024
    json.dumps(run)


def test_outside_git_there_is_no_commit(monkeypatch):
    assert set(provenance.code()) == {"commit", "dirty"}
    monkeypatch.setattr(provenance, "project_root", lambda: None)
    assert provenance.code() == {"commit": None, "dirty": None}
