from pathlib import Path

import pytest

from reid_lib.reporting import agreement, artefacts, before, papers, results, verdicts
from reid_lib.reporting.papers import CLAIMS

TABLE = {"IDE + Verif": 40.0, "w/o mask": 45.0, "w/o val": 46.0, "w/o val (end-to-end)": 44.0, "mask + val": 60.0}
NUMBER = iter(range(1000))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def save(values: dict = TABLE, seeds: tuple = (0, 1, 2), **more: object) -> None:
    """Rows of LRAR's Table II on synth, as a new run measures them."""
    rows = [
        {"artefact": "Table II", "method": m, "metric": "rank1", "value": v, "low": v - 1, "high": v + 1, "trials": 10}
        | {"seed": seed, **more}
        for m, v in values.items()
        for seed in seeds
    ]
    results.write(rows, "demo", "synth", "lrar", {"commit": "a", "time": str(next(NUMBER)), "parameters": {}})


def told() -> list[str]:
    return before.told("demo", "synth", CLAIMS)


def test_the_rows_of_before_are_compared_with_those_of_now(root: Path):
    save()
    old = (root / "demo/synth/lrar.csv").read_text()
    before.keep("demo", "synth")
    save({"mask + val": 43.0, "w/o mask": 45.5}, seeds=(0, 1, 2))
    first, *others = told()
    assert first == (
        "Rows that stood here and were measured again: 2; 1 agree (0 exactly), 1 do not; verdicts that changed: 1"
    )
    assert others[0].startswith("  differs: synth, lrar, Table II, mask + val, rank1: 43.0 [")
    assert ", before 60.0 [" in others[0]
    assert others[1].startswith("  verdict: lrar, Table II, ")
    assert others[1].endswith(": fails, before holds")
    command = "reid-lib verify --against {0}/before --only demo/synth"
    assert others[2:] == [f"  in full: REID_LIB_RESULTS={root} " + command.format(root)]
    before.close("demo", "synth")
    assert (root / "before/demo/synth/lrar.csv").read_text() == old
    found = agreement.compare(root, root / "before", CLAIMS, "demo/synth")
    assert (len(found.compared), int(found.verdicts.changed.sum())) == (2, 1)


def test_only_a_few_of_many_are_named_and_a_path_is_as_short_as_it_can_be(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(root.parent)
    save()
    before.keep("demo", "synth")
    save({method: value - 20 for method, value in TABLE.items()})
    lines = told()
    assert [line.split(":")[0] for line in lines[1:5]] == ["  differs"] * 3 + ["  and 2 more"]
    assert lines[-1].endswith("--against results/before --only demo/synth")


def test_rows_without_interval_and_rows_that_are_new_or_gone_are_counted():
    save()
    plain = {"low": None, "high": None}
    save({"LRAR, z": 0.4, "LRAR, v_1": 0.3}, (0,), metric="silhouette_rate", **plain)
    before.keep("demo", "synth")
    save({"LRAR, z": 0.5}, (0,), metric="silhouette_rate", **plain)
    save({"LRAR, v_1": 0.3}, (0,), metric="silhouette_identity", **plain)
    assert told()[0] == (
        "Rows that stood here and were measured again: 1; 0 agree (0 exactly), 0 do not; "
        "1 have no interval; 1 new, 1 gone; verdicts that changed: 0"
    )


def test_a_seed_that_is_measured_again_is_compared_with_itself():
    save()
    before.keep("demo", "synth")
    save({"mask + val": 63.0}, seeds=(0,))  # merged with the two that stay it would be near
    assert "0 agree (0 exactly), 1 do not" in told()[0]


def test_other_seeds_are_new():
    save(seeds=(0,))
    before.keep("demo", "synth")
    save({"ours": 50.0}, seeds=(0,))
    assert told() == ["Rows that stood here and were measured again with the same seed: none; 1 new"]


def test_nothing_is_told_where_nothing_was_there_or_nothing_was_measured(root: Path):
    assert told() == []
    before.keep("demo", "synth")
    save()
    assert told() == []
    before.close("demo", "synth")
    assert not (root / "before/demo/synth").exists()
    before.keep("demo", "synth")
    assert told() == []
    before.close("demo", "synth")
    assert not (root / "before/demo/synth").exists()


def test_what_was_kept_first_stays_until_a_run_has_ended_whole(root: Path):
    save()
    before.keep("demo", "synth")
    save({"mask + val": 43.0})
    before.keep("demo", "synth")  # the first run was interrupted
    assert "measured again: 1; 0 agree" in told()[0]
    save({"w/o mask": 45.0})
    assert "measured again: 2; 1 agree" in told()[0]
    before.close("demo", "synth")
    assert told() == []
    before.keep("demo", "synth")
    save({"mask + val": 43.0})
    assert "measured again: 1; 1 agree" in told()[0]


def test_what_an_interrupted_first_run_measured_is_not_before(root: Path):
    before.keep("demo", "synth")
    save()
    before.keep("demo", "synth")
    save()
    assert told() == []


def test_damaged_rows_are_said(root: Path):
    save()
    before.keep("demo", "synth")
    (root / "demo/synth/lrar.csv").write_text("paper\n")
    (line,) = told()
    assert line.startswith("The rows of now cannot be compared with those of before: ")


def test_nothing_is_kept_of_smoke(root: Path):
    row = {"artefact": "Table II", "method": "m", "metric": "rank1", "value": 1.0}
    results.write([row], "smoke", "synth", "lrar", {"commit": "", "parameters": {}})
    before.keep("smoke", "synth")
    before.close("smoke", "synth")
    assert before.told("smoke", "synth", CLAIMS) == []
    assert not (root / "before").exists()


def test_nothing_that_reads_results_takes_the_folder_for_a_profile(root: Path):
    save()
    all_of_it = results.available(), verdicts.folders(), len(results.read_all())
    files = [path for entry in papers.ARTEFACTS for path in artefacts.files(entry)]
    assert files
    before.keep("demo", "synth")
    assert (root / "before/demo/synth/lrar.csv").is_file()
    assert (results.available(), verdicts.folders(), len(results.read_all())) == all_of_it
    assert [path for entry in papers.ARTEFACTS for path in artefacts.files(entry)] == files
    with pytest.raises(results.ResultsError, match="unknown profile 'before'"):
        results.folder("before", "demo")


def test_git_ignores_the_folder():
    assert "/results/before/" in (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
