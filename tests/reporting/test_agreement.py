import shutil

import numpy as np
import pytest

from reid_lib.reporting import agreement, papers, results

RUN = {"commit": "0" * 40, "parameters": {}}
TABLE = {"IDE + Verif": 40.0, "w/o mask": 45.0, "w/o val": 46.0, "w/o val (end-to-end)": 44.0, "mask + val": 60.0}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two results folders; `save(name, values, seeds)` fills one with LRAR's Table II on synth, in a run of its own."""

    def save(
        name: str,
        values: dict,
        seeds: int | tuple = 3,
        metric: str = "rank1",
        half: float | None = 1.0,
        dataset: str = "synth",
        **record: object,
    ) -> None:
        monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / name))
        interval = lambda v: {} if half is None else {"low": v - half, "high": v + half, "trials": 10}  # noqa: E731
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            more = (seed or 0) / 10
            rows = [
                {"artefact": "Table II", "method": m, "metric": metric, "value": v + more, "seed": seed}
                | interval(v + more)
                for m, v in values.items()
            ]
            run = RUN | {"time": f"in {name}"} | record
            results.write(rows, "demo", dataset, "lrar", run, written=results.groups(rows, dataset))

    save.compare = lambda *where: agreement.compare(tmp_path / "here", tmp_path / "there", papers.CLAIMS, *where)
    save.root = tmp_path
    return save


def test_the_same_numbers_agree(folders):
    for name in ("here", "there"):
        folders(name, TABLE)
    found = folders.compare()
    assert (found.percent, len(found.compared), found.agrees) == (100, 5, True)
    assert found.tables() == {}
    assert found.summary().endswith("Verdicts that changed: 0, to the opposite: 0. The results agree.")


def simulated(folders, name, seeds, methods=200, shift=0.0, deviation=2.0, error=0.5):
    """Trainings of `methods` that spread by `deviation`; noise of trials with `error`, the same for all seeds."""
    random = np.random.default_rng([len(name), *seeds])
    noise, half = error * random.normal(size=methods), 2.262 * error  # t with 9 degrees of freedom
    for seed in seeds:
        values = dict(enumerate(50 + shift + noise + deviation * random.normal(size=methods)))
        folders(name, {f"m{i}": v - seed / 10 for i, v in values.items()}, seeds=(seed,), half=half)


@pytest.mark.parametrize(("here", "deviation"), [((0,), 2.0), ((0, 1, 2), 2.0), ((0,), 0.0)])
def test_trainings_of_one_distribution_agree_in_about_95_percent(folders, here, deviation):
    """Decision RUN-17: one seed against three and three against three; 200 rows, so give or take 3 percent."""
    simulated(folders, "there", (0, 1, 2), deviation=deviation)
    simulated(folders, "here", here, deviation=deviation)
    found = folders.compare()
    assert len(found.compared) == 200
    assert found.compared.deviation.unique() == pytest.approx(deviation, abs=0.2)
    assert 92 <= found.percent <= (98 if deviation else 100)  # half widths by t: 97.6 where only trials count


@pytest.mark.parametrize(("here", "most"), [((0,), 65), ((0, 1, 2), 10)])
def test_a_shift_of_three_standard_deviations_is_found(folders, here, most):
    """The difference of two trainings spreads by 1.41 of them, so three are found in 57 %; of three seeds in 96 %."""
    simulated(folders, "there", (0, 1, 2))
    simulated(folders, "here", here, shift=6.0)
    assert folders.compare().percent < most


def test_a_shift_of_seed_0_beside_the_old_seeds_does_not_excuse_itself(folders, tmp_path):
    simulated(folders, "there", (0, 1, 2))
    shutil.copytree(tmp_path / "there", tmp_path / "here")
    simulated(folders, "here", (0,), shift=12.0)
    found = folders.compare()
    assert found.compared.deviation.unique() == pytest.approx(2.0, abs=0.2)
    assert found.percent < 5


def test_one_real_difference_among_rows_that_differ_by_chance_is_found(folders):
    simulated(folders, "there", (0, 1, 2), methods=40)
    simulated(folders, "here", (0,), methods=40)
    folders("there", {"ours": 60.0})
    folders("here", {"ours": 70.0}, seeds=1)
    listed = folders.compare().tables()["Rows that do not agree"]
    assert "ours" in listed.method.tolist()
    assert len(listed) < 6


def test_the_standard_deviation_is_that_of_rows_of_the_same_metric_and_data_set(folders):
    """By hand: the variances over seeds are 0.01 and 4; of the metrics map and of viper they are others."""
    for name in ("there", "here"):
        folders(name, {"a": 50.0}, seeds=3 if name == "there" else 1)
        folders(name, {"a": 50.0}, metric="map", seeds=1)
        folders(name, {"a": 50.0}, dataset="viper", seeds=1)
    for seed, value in enumerate((48.0, 49.9, 51.8)):  # the fixture adds 0.1 for each seed
        folders("there", {"b": value}, seeds=(seed,))
    found = folders.compare().compared.set_index(["folder_dataset", "metric"]).deviation
    assert found["synth", "rank1"] == pytest.approx(((0.01 + 4) / 2) ** 0.5)
    assert found[["viper"]].isna().all()
    assert np.isnan(found["synth", "map"])
    half = (2 + 2.7764**2 * 2.005 * 2) ** 0.5  # trials 1 and 1, t with 4 degrees of freedom
    for gap, agrees in ((half - 0.01, True), (half + 0.01, False)):
        folders("here", {"a": 50.0 + gap}, seeds=1)
        assert folders.compare("demo/synth").compared.set_index(["method", "metric"]).agrees["a", "rank1"] == agrees
    said = folders.compare().summary()
    assert "A training's standard deviation in Rank-1 is taken to be 1.4, from rows of several seeds." in said
    assert "For 2 rows no side has several seeds, which would tell how far trainings differ" in said


def test_without_several_seeds_only_trials_count(folders):
    folders("there", TABLE, seeds=1)
    folders("here", {name: value + 1.4 for name, value in TABLE.items()}, seeds=1)
    found = folders.compare()
    assert found.percent == 100
    assert "For 5 rows no side has several seeds" in found.summary()
    assert "standard deviation" not in found.summary()
    folders("here", {name: value + 1.5 for name, value in TABLE.items()}, seeds=1)
    assert folders.compare().percent == 0


def test_rows_that_no_training_made_have_no_deviation(folders):
    for name, value in (("there", 50.0), ("here", 51.5)):
        folders(name, {"ours": 50.0})
        folders(name, {"Bicubic": value}, seeds=(None,))
    found = folders.compare()
    row = found.compared.set_index("method").loc["Bicubic"]
    assert (row.agrees, row.deviation) == (False, 0)
    assert "no side has several seeds" not in found.summary()


def test_rows_that_are_the_exactly_the_same_are_counted(folders):
    for name in ("there", "here"):
        folders(name, TABLE)
    folders("here", {"w/o mask": 45.01})
    assert "5 of 5 rows agree (100.0 %, needed: 85 %), 4 exactly; " in folders.compare().summary()


def test_it_is_said_when_the_two_sides_ran_on_different_machines(folders):
    one = {
        "hardware": {"cpu": "AMD", "gpu": None},
        "versions": {"torch": "2.9"},
        "parameters": {"precision": "float32"},
    }
    other = {"hardware": {"cpu": "Intel", "gpu": None}, "versions": {"torch": "2.8"}, "parameters": {}}
    folders("there", TABLE, **one)
    folders("here", TABLE, **one)
    assert folders.compare().set_up == ""
    folders("here", TABLE, **other)
    assert "The two sides differ in CPU (Intel against AMD), torch (2.8 against 2.9). " in folders.compare().summary()
    folders("here", TABLE, seeds=1, **one | {"parameters": {"precision": "bfloat16"}})
    assert folders.compare().set_up == (
        "The two sides differ in CPU (AMD and Intel against AMD), torch (2.8 and 2.9 against 2.9), "
        "precision (bfloat16 against float32)."
    )
    folders("there", TABLE)
    assert folders.compare().set_up == ""


def test_numbers_within_both_intervals_agree_and_others_are_listed(folders):
    folders("here", TABLE)
    folders("there", TABLE | {"IDE + Verif": 40.9, "mask + val": 63.0})
    found = folders.compare()
    assert found.percent == 80
    assert not found.agrees
    (line,) = found.tables()["Rows that do not agree"].to_dict("records")
    assert {name: line[name] for name in ("data set", "paper", "artefact", "method", "setting", "metric")} == {
        "data set": "synth", "paper": "lrar", "artefact": "Table II", "method": "mask + val", "setting": "",
        "metric": "rank1",
    }  # fmt: skip
    assert line["here"].startswith("60.1 [")
    assert line["there"].startswith("63.1 [")


def test_a_changed_verdict_is_no_agreement(folders):
    folders("here", TABLE)
    folders("there", TABLE | {"mask + val": 43.0})
    found = folders.compare()
    (line,) = found.tables()["Verdicts that changed"].to_dict("records")
    assert (line["here"], line["there"]) == ("holds", "fails")
    assert "best" in line["claim"]
    assert not found.agrees


def test_a_verdict_that_becomes_undecided_is_told_and_does_not_count(folders):
    folders("here", TABLE)
    folders("there", TABLE | {"mask + val": 47.0})
    found = folders.compare()
    assert found.verdicts.changed.any()
    assert not found.verdicts.opposite.any()
    assert found.agrees == (found.percent >= agreement.NEEDED)


def test_one_seed_changes_a_verdict_only_to_its_opposite(folders):
    folders("here", TABLE, seeds=1)
    folders("there", TABLE)
    found = folders.compare()
    assert not found.verdicts.changed.any()
    assert set(found.verdicts.here) >= {"one seed: indicative, leans to holds"}
    assert found.agrees
    folders("here", TABLE | {"mask + val": 43.0}, seeds=1)
    assert folders.compare().verdicts.changed.any()


def test_rows_of_one_side_and_rows_without_interval_and_of_time_do_not_count(folders):
    for name in ("here", "there"):
        folders(name, TABLE)
        folders(name, {"LRAR, z": 0.4 if name == "here" else 0.9}, metric="silhouette_rate", half=None, seeds=1)
        speed = {"LRAR, z": 10.0 if name == "here" else 99.0}
        folders(name, speed, metric="inference_samples_per_second", half=0.1, seeds=1)
    folders("here", {"ours": 50.0})
    found = folders.compare()
    assert found.agrees
    assert (len(found.compared), found.without_interval) == (5, 1)
    assert found.only_here.method.tolist() == ["ours"]
    assert found.tables()["Rows only here"].to_dict("records") == [
        {"profile": "demo", "data set": "synth", "paper": "lrar", "artefact": "Table II", "rows": 1}
    ]


def test_a_seed_is_compared_with_the_same_seed(folders):
    """Decision RUN-16: one seed that is far off is not hidden by two others, nor by those that only one side has."""
    folders("there", {"mask + val": 60.0})
    folders("here", {"mask + val": 60.0}, seeds=1)
    assert (
        folders.compare().compared.here.tolist() == folders.compare().compared.there.tolist() == ["60.0 [59.0, 61.0]"]
    )
    folders("there", {"mask + val": 57.5}, seeds=(1, 2))
    assert folders.compare().agrees
    folders("there", {"mask + val": 57.5}, seeds=1)
    found = folders.compare()
    assert (len(found.compared), found.percent) == (1, 0)
    assert found.compared.there.tolist() == ["57.5 [56.5, 58.5]"]


def test_other_seeds_are_no_second_measurement(folders):
    folders("there", TABLE)
    folders("here", TABLE, seeds=(3, 4))
    found = folders.compare()
    assert (len(found.compared), len(found.only_here), len(found.only_there)) == (0, 5, 5)


def test_what_one_run_measured_is_compared_with_itself_only_where_its_numbers_differ(folders, tmp_path):
    folders("there", TABLE)
    shutil.copytree(tmp_path / "there", tmp_path / "here")
    found = folders.compare()
    assert (len(found.compared), found.same_run, found.agrees) == (0, 5, False)
    assert "5 come from the same run on both sides" in found.summary()
    assert found.summary().endswith("Nothing was measured twice.")

    folders("here", {"mask + val": 63.0}, seeds=1)  # the two other seeds are those of there
    found = folders.compare()
    assert (len(found.compared), found.same_run) == (1, 4)
    assert found.compared.here.tolist() == ["63.0 [62.0, 64.0]"]

    file = tmp_path / "here" / "demo" / "synth" / "lrar.csv"
    file.write_text(file.read_text().replace("w/o mask,,rank1,45,", "w/o mask,,rank1,44.5,"))
    assert set(folders.compare().compared.method) == {"mask + val", "w/o mask"}


def test_a_file_without_a_record_is_compared(folders, tmp_path):
    for name in ("here", "there"):
        folders(name, TABLE)
        (tmp_path / name / "demo" / "synth" / "lrar.run.json").unlink()
    assert len(folders.compare().compared) == 5


def test_one_data_set_can_be_chosen(folders):
    for name in ("here", "there"):
        folders(name, TABLE)
        folders(name, TABLE, dataset="viper")
    assert len(folders.compare().compared) == 10
    assert set(folders.compare("demo/viper").compared.folder_dataset) == {"viper"}
    with pytest.raises(results.ResultsError, match=r"here.demo.cuhk03 holds no results"):
        folders.compare("demo/cuhk03")


def test_nothing_to_compare_is_no_agreement(folders):
    folders("here", TABLE)
    folders("there", {"somebody": 1.0})
    assert not folders.compare().agrees


def test_a_folder_without_results_is_said(folders):
    folders("here", TABLE)
    with pytest.raises(results.ResultsError, match="there holds no results"):
        folders.compare()
