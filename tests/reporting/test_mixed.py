import json
from pathlib import Path

import pytest

from reid_lib.reporting import mixed, results
from reid_lib.reporting.mixed import mixed_provenance

COMMITTED = Path(__file__).parents[2] / "results"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))


def save(seeds: tuple, commit: str, method: str = "LRAR", **parameters: object) -> None:
    """Rows of Table I, one for each seed, of one run."""
    rows = [
        {"artefact": "Table I", "method": method, "metric": "rank1", "value": 40.0 + seed, "seed": seed}
        for seed in seeds
    ]
    run = {"commit": commit * 40, "parameters": {"seeds": list(seeds)} | parameters, "data_fingerprint": "f00d"}
    results.write(rows, "demo", "synth", "lrar", run)


def test_seeds_of_one_run_are_not_mixed():
    save((0, 1, 2), "a")
    assert mixed_provenance() == []


def test_seeds_of_two_runs_with_the_same_code_and_parameters_are_not_mixed():
    save((0,), "a", threads=1)
    save((1, 2), "a", threads=1)
    assert mixed_provenance() == []


def test_one_seed_measured_again_leaves_the_others_and_is_said():
    save((0, 1, 2), "a", threads=1)
    save((0,), "b", threads=2)
    assert len(results.read("demo", "synth", "lrar")) == 3
    (line,) = mixed_provenance()
    assert line == (
        "demo/synth/lrar, Table I (LRAR): seed 0: commit bbbbbbbb, threads 2; seeds 1, 2: commit aaaaaaaa, threads 1"
    )


def test_parameters_alone_are_a_difference_and_many_methods_are_counted():
    for method in "abcd":
        save((0,), "a", method)
        save((1,), "a", method, epochs=9)
    (line,) = mixed_provenance()
    assert line == "demo/synth/lrar, Table I (a, b and 2 more): seed 0: epochs not set; seed 1: epochs 9"


def test_a_number_has_a_seed_or_none_not_both():
    row = {"artefact": "Table I", "method": "LRAR", "metric": "rank1", "value": 40.0}
    run = {"commit": "a", "parameters": {}}
    results.write([row], "demo", "synth", "lrar", run)
    results.write([row | {"seed": seed} for seed in (0, 1)], "demo", "synth", "lrar", run)
    assert results.read("demo", "synth", "lrar").seed.tolist() == [0, 1]
    results.write([row], "demo", "synth", "lrar", run)
    assert results.read("demo", "synth", "lrar").seed.isna().tolist() == [True]


def test_every_committed_row_names_its_field_and_precision() -> None:
    """Or the published network behind which nothing but modules was trained (FIELD-1, FIELD-3)."""
    lacking = []
    for profile, dataset, paper in results.available(COMMITTED, "demo/*"):
        path = COMMITTED / profile / dataset / f"{paper}.csv"
        rows, record = results.read_csv(path, results.COLUMNS), json.loads(path.with_suffix(".run.json").read_text())
        runs = mixed.runs_of(rows, record)
        for group in results.groups(rows):
            parameters = runs.get(group, {}).get("parameters", {})
            if not ({"field", "precision"} <= set(parameters) or parameters.get("weights")):
                lacking.append((dataset, paper, *group))
    assert lacking == []
