"""The built-in set was calibrated on the plain baseline and is fixed since: the committed results must say so."""

import re
from pathlib import Path

import pytest

from reid_lib.reporting import results

DECISIONS = Path(__file__).parents[1] / "docs" / "decisions" / "synth.md"


@pytest.fixture(scope="module")
def rank1() -> dict[str, float]:
    rows = results.read("demo", "synth", "baselines")
    rows = rows[(rows["artefact"] == "Baselines") & (rows["method"] == "HR only") & (rows["metric"] == "rank1")]
    return rows[rows["seed"] == 0].set_index("setting")["value"].to_dict()


def test_resolution_matters(rank1: dict[str, float]) -> None:
    assert 70 <= rank1["HR->HR"] <= 95
    assert rank1["MLR {2,3,4}"] <= rank1["HR->HR"] - 15
    assert rank1["r = 8"] <= 10


def test_the_documented_numbers_are_the_measured_ones(rank1: dict[str, float]) -> None:
    text = " ".join(DECISIONS.read_text(encoding="utf-8").split())
    found = re.search(r"HR->HR ([\d.]+), MLR \{2,3,4\} ([\d.]+), r = 8 ([\d.]+) \(guessing", text)
    assert found
    measured = [f"{rank1[setting]:.1f}" for setting in ("HR->HR", "MLR {2,3,4}", "r = 8")]
    assert list(found.groups()) == measured
