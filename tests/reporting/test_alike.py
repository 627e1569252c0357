import pandas as pd
import pytest

from reid_lib.reporting import alike, artefacts, headline, papers, results, tables

TABLE = artefacts.find("LRAR Table II", papers.ARTEFACTS)
MLR, FAR = "MLR {2,3,4}", "genuine LR"
SIX = "MLR {2,3,4,5,6,7}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))


def save(method: str, *, artefact: str = "Table II", setting: str = "", seed: int = 0, paper: str = "lrar", **run):
    """One row of a run with these parameters."""
    row = {"artefact": artefact, "method": method, "setting": setting, "metric": "rank1", "value": 40.0, "seed": seed}
    results.write([row], "demo", "synth", paper, {"commit": "a", "parameters": run})


def read() -> pd.DataFrame:
    return alike.with_fields(results.read_all())


def test_rows_of_one_field_stand_in_one_table():
    save("IDE + Verif", epochs=8, field={"batch": 32}, seeds=[0], threads=1)
    save("mask + val", epochs=8, field={"batch": 32}, seeds=[1], threads=2)  # these two decide no field
    save("mask + val (OSNet x0.25)", epochs=24, backbone="osnet_x0_25")  # a network of its own, and it says so
    assert len(tables.measured_lines(tables.compare(TABLE, read()))) == 3


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"epochs": 8}, {"epochs": 24}, r"one value of epochs .* epochs 24 \(mask \+ val, seed 0\) and epochs 8 \(IDE"),
        ({"backbone": ""}, {"backbone": "resnet50"}, "one value of backbone .* backbone none .* and backbone resnet50"),
        ({"start_weights": "synth"}, {"start_weights": "x.pth"}, "one value of start_weights is expected"),
        (
            {"field": {"batch": 32}},
            {"field": {"batch": 8}},
            "one value of field .* field batch=32 .* and field batch=8",
        ),
    ],
)
def test_rows_of_two_fields_are_refused(one, other, message):
    save("IDE + Verif", **one)
    save("mask + val", **other)
    with pytest.raises(alike.MixedError, match=f"LRAR Table II: {message}") as refused:
        tables.compare(TABLE, read())
    assert "reid-lib reproduce --force" in str(refused.value)


def test_seeds_of_two_fields_are_refused():
    save("mask + val", seed=0, epochs=8)
    save("mask + val", seed=1, epochs=24)
    with pytest.raises(alike.MixedError, match="mask \\+ val, seed 0"):
        tables.compare(TABLE, read())


def test_what_no_run_recorded_is_no_difference():
    save("IDE + Verif", epochs=8)
    save("mask + val")
    assert len(tables.compare(TABLE, read()).frame.dropna(subset=["measured"])) == 2
    (results.results_root() / "demo" / "synth" / "lrar.run.json").unlink()
    assert set(read().field) == {"{}"}
    (results.results_root() / "demo" / "synth" / "lrar.run.json").write_text("{")
    assert set(read().field) == {"{}"}


@pytest.mark.parametrize("other", [FAR, SIX])
def test_methods_under_different_protocols_are_refused(other):
    save("IDE + Verif", setting=MLR)
    save("mask + val", setting=MLR)
    tables.compare(TABLE, read())
    save("w/o mask", setting=other)
    with pytest.raises(alike.MixedError, match="one protocol is expected for all methods, found") as refused:
        tables.compare(TABLE, read())
    assert f"{other} (w/o mask)" in str(refused.value)
    assert f"{MLR} (IDE + Verif, mask + val)" in str(refused.value)
    save("w/o mask", setting=MLR)  # in another run
    for method in ("IDE + Verif", "mask + val"):
        save(method, setting=MLR)
    assert len(tables.measured_lines(tables.compare(TABLE, read()))) == 3


def test_a_protocol_that_all_methods_have_may_have_others_beside_it():
    rows = [
        {"artefact": "Table II", "method": method, "setting": setting, "metric": "rank1", "value": 40.0}
        for method, setting in (("IDE + Verif", MLR), ("mask + val", MLR), ("mask + val", SIX))
    ]
    results.write(rows, "demo", "synth", "lrar", {"parameters": {}})
    assert len(tables.measured_lines(tables.compare(TABLE, read()))) == 3


def test_the_table_of_one_field_refuses_them_too():
    save("LRAR", artefact="One field", setting=MLR, epochs=8)
    save("HR + LR", artefact="One field", setting=FAR, epochs=8)
    save("HR only", artefact="One field", setting=MLR, epochs=24)
    with pytest.raises(alike.MixedError, match="One field: one protocol"):
        tables.field_table(read(), {"LRAR": {}, "HR + LR": {}})
    with pytest.raises(alike.MixedError, match="One field: one value of epochs"):
        tables.field_table(read(), {"LRAR": {}, "HR only": {}})
    assert tables.field_table(read(), {"LRAR": {}}).method.tolist() == ["LRAR"]


def test_the_headline_compares_papers_of_one_protocol_and_field():
    save("LRAR", artefact="One field", setting=MLR, epochs=8, field={"batch": 32})
    save("CAD-Net", artefact="One field", setting=MLR, epochs=24, field={"batch": 32}, paper="cadnet")
    assert headline.measured(read()).method.tolist() == ["CAD-Net", "LRAR"]  # a gain is over HR + LR as long trained
    save("INTACT", artefact="One field", setting=MLR, field={"batch": 8}, paper="intact")
    with pytest.raises(alike.MixedError, match="One field on synth: one value of field is expected"):
        headline.measured(read())
    save("INTACT", artefact="One field", setting=FAR, field={"batch": 32}, paper="intact")
    with pytest.raises(alike.MixedError, match="One field on synth: one protocol is expected"):
        headline.measured(read())
