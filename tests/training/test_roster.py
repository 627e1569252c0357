"""Who stands side by side."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reid_lib.datasets import load
from reid_lib.evaluation.comparison import compare
from reid_lib.reporting.compared import FIVE
from reid_lib.reporting.headline import CONTROLS
from reid_lib.training import baseline, lrar
from reid_lib.training.field import FIELDS
from reid_lib.training.roster import YARDSTICK, find, named, roster, train_all, training_seconds


def test_the_five_and_their_controls_are_there() -> None:
    known = roster("demo")
    assert set(FIVE) <= known.keys()
    assert YARDSTICK in known
    assert {CONTROLS["LRAR"], CONTROLS["DRFM"], CONTROLS["HR only + VPFA"]} <= known.keys()
    assert [name for name, one in known.items() if not one.labels] == ["CC", "DRFM"]
    assert [name for name, one in known.items() if one.knows_rate] == ["one model per rate", "LRAR"]
    assert "one model per rate" not in roster("demo", genuine_lr=True)


def test_all_are_on_the_field() -> None:
    for name, one in roster("demo").items():
        told = one.described()
        assert told["images"] == f"{FIELDS['demo'].images:,}" if one.batches == 1 else True, name
        assert (told["backbone"], told["start"]) == ("tiny, width 16", "synth"), name
    assert all(one.described()["steps"] == "640" for one in roster("demo", epochs=16).values())


def test_settings_are_those_of_the_notebooks() -> None:
    known = roster("demo")
    assert known["LRAR"].config == lrar.LRARConfig.for_profile("demo")
    assert known["HR + LR"].config == baseline.BaselineConfig.for_profile("demo", rates=(1, 2, 3, 4))
    assert known["HR only + VPFA"].config.frozen == known["HR only"].config
    tuned = roster("demo", network="osnet_x0_25", weights="none")
    assert tuned["LRAR"].config.network == "osnet_x0_25"
    assert tuned["LRAR"].config.learning_rate == tuned["INTACT"].config.critic_learning_rate == 1e-3
    assert tuned["DRFM"].config.learning_rate == known["DRFM"].config.learning_rate


def test_names_however_they_are_spelt() -> None:
    known = roster("smoke")
    assert list(find(["cadnet", "hr+lr", "VPFA", "IDE+Verif"], known)) == [
        "CAD-Net", "HR + LR", "HR only + VPFA", "IDE + Verif",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"method must be one of HR only, HR \+ LR, .* found 'resnet'"):
        find(["resnet"], known)
    with pytest.raises(ValueError, match="found 'naive'"):
        find(["naive"], roster("smoke", genuine_lr=True))
    assert named("HR only + VPFA", " (OSNet x0.25)") == "HR only (OSNet x0.25) + VPFA"


def test_all_are_trained_compared_and_found_again(tmp_path: Path) -> None:
    people = load("synth", identities=24, images_per_camera=2, size=(64, 32))
    known = roster("smoke")
    matchers = train_all(known, people, folder=tmp_path, device=torch.device("cpu"), end=" (x)")
    assert list(matchers) == [named(name, " (x)") for name in known]
    from reid_lib.datasets import mlr

    found = compare(matchers, mlr.settings(people, rates=(1, 8), n=1), progress=False)  # LRAR takes r = 8 too
    assert found.methods == list(matchers)
    seconds = {name: training_seconds(one, 0, tmp_path) for name, one in known.items()}
    assert all(value > 0 for value in seconds.values()), seconds
    assert seconds["one model per rate"] > seconds["HR only"]
    other = replace(known["LRAR"], config=replace(known["LRAR"].config, learning_rate=1.0))
    assert training_seconds(other, 0, tmp_path) != training_seconds(other, 0, tmp_path)  # NaN: never trained
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("history.csv")}
    train_all(find(["lrar", "drfm"], known), people, folder=tmp_path, device=torch.device("cpu"))
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("history.csv")}
