from pathlib import Path

import pytest

from reid_lib.reporting import readme, results
from reid_lib.reporting.readme import TABLES, rebuilt

ROOT = Path(__file__).parents[2]
RUN = {"commit": "0123456789abcdef", "time": "2026-01-02T03:04:05Z", "parameters": {}}
EVERY = "".join(f"<!-- {name}: begin -->\n<!-- {name}: end -->\n" for name in TABLES)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    return tmp_path


def save(dataset: str, paper: str, artefact: str, cells: dict[tuple[str, str], float], seed: int = 0, half=1.25):
    """Write Rank-1 {(method, setting): value}, each with the interval value +- half."""
    rows = [
        {"artefact": artefact, "method": method, "setting": setting, "metric": "rank1", "value": value}
        | {"seed": seed, "trials": 10, "low": value - half, "high": value + half}
        for (method, setting), value in cells.items()
    ]
    results.write(rows, "demo", dataset, paper, RUN)


def lines(name: str) -> list[str]:
    """The lines of one table."""
    return rebuilt(EVERY).split(f"<!-- {name}: begin -->\n")[1].split("<!-- ")[0].splitlines()


def test_the_results_table_comes_from_the_results():
    begin, end = "<!-- results: begin -->", "<!-- results: end -->"
    others = "".join(f"<!-- {name}: begin --><!-- {name}: end -->" for name in TABLES if name != "results") + "\n"
    text = f"{others}before\n{begin}\nold\n{end}\nafter\n"
    assert rebuilt(text).count("No results are committed yet.") == len(TABLES)
    save("synth", "baselines", "Baselines", {("HR only", "HR"): 80.5, ("HR only", "r=2"): 60, ("HR + LR", "HR"): 79})
    new = rebuilt(text)
    assert new[new.index("before") :].splitlines() == [
        "before",
        begin,
        "| Data set | Method | HR | r=2 |",
        "| --- | --- | --- | --- |",
        "| synth | HR + LR | 79.0 [77.8, 80.2] |  |",
        "| synth | HR only | 80.5 [79.2, 81.8] | 60.0 [58.8, 61.2] |",
        end,
        "after",
    ]
    assert rebuilt(new) == new
    far = {
        "artefact": "Baselines",
        "dataset": "CAVIAR",
        "method": "HR only",
        "setting": "genuine LR",
        "metric": "rank1",
    }
    results.write([far | {"value": 16}], "demo", "caviar", "baselines", RUN | {"data_note": "a copy"})
    assert "\n\n| Data set | Method | genuine LR |\n" in rebuilt(text)
    assert "| CAVIAR (a copy) | HR only | 16.0 |" in rebuilt(text)
    for broken in (text.replace(end, ""), text.replace(begin, ""), text + begin, f"{end}{begin}", text + end):
        with pytest.raises(ValueError, match="must hold the lines"):
            rebuilt(broken)


def test_a_text_without_tables_stays_and_one_table_alone_is_enough():
    assert rebuilt("no markers") == "no markers"
    alone = "a\n<!-- lrar: begin -->\n<!-- lrar: end -->\nb\n"
    assert rebuilt(alone) == "a\n<!-- lrar: begin -->\nNo results are committed yet.\n<!-- lrar: end -->\nb\n"


def test_the_gains_table_says_what_vpfa_adds():
    row = {"artefact": "Forms and yardsticks", "dataset": "MLR-VIPeR", "seed": 0, "setting": "MLR {2,3,4}"}
    rank1 = row | {"method": "OSNet", "metric": "rank1", "value": 24.64, "low": 23.0, "high": 26.0}
    gain = row | {"method": "OSNet + VPFA", "metric": "rank1_gain", "value": -0.26, "low": -1.0, "high": 0.5}
    shift = gain | {"method": "OSNet + mean shift", "value": 0.7, "low": 0.1, "high": 1.3}
    other = rank1 | {"setting": "HR->HR", "value": 31.4, "low": 31.0, "high": 32.0}
    results.write([rank1, gain, shift, other], "demo", "viper", "vpfa", RUN)
    line = "| MLR-VIPeR, MLR {2,3,4} | OSNet | 24.6 [23.0, 26.0] | -0.3 [-1.0, +0.5] |  | +0.7 [+0.1, +1.3] |  |"
    assert line in lines("gains")


def test_a_papers_variants_stand_in_its_order():
    for seed, values in enumerate(((50.0, 48.0), (52.0, 48.0))):
        save("synth", "lrar", "Table II", {("mask + val", ""): values[0], ("IDE + Verif", ""): values[1]}, seed)
    head, _, line = lines("lrar")
    assert head == "| Data set | Trainings | IDE + Verif | mask + val |"
    assert line.startswith("| synth | 2 | 48.0 [46.8, 49.2] | 51.0 [")  # its trials alone


def test_rank1_has_one_line_for_each_method_measured_on_synth():
    baselines = {("HR only", "HR->HR"): 80, ("HR only", "r = 2"): 25, ("HR only", "r = 8"): 7}
    save("synth", "baselines", "Baselines", {**baselines, ("one model per rate", "HR->HR"): 80})
    save("viper", "baselines", "Baselines", {("HR + LR", "HR->HR"): 33})
    save("synth", "cadnet", "Table 1", {("CAD-Net", ""): 40})
    save("synth", "cadnet", "Table 2", {("CAD-Net", "unseen r=8"): 23, ("CycleGAN", "unseen r=8"): 5})
    assert lines("rank1") == [
        "| Method | Trainings | HR->HR | MLR {2,3,4} | r = 8 |",
        "| --- | --- | --- | --- | --- |",
        "| HR only | 1 | 80.0 [78.8, 81.2] |  | 7.0 [5.8, 8.2] |",
        "| CAD-Net | 1 |  | 40.0 [38.8, 41.2] | 23.0 [21.8, 24.2] |",
    ]


def test_a_line_of_rank1_does_not_mix_numbers_of_trainings():
    for seed in (0, 1):
        save("synth", "lrar", "Table II", {("mask + val", ""): 46}, seed)
    save("synth", "lrar", "Estimated level", {("true rate", "HR->HR"): 71})
    assert lines("rank1")[0] == "| Method | Trainings | MLR {2,3,4} |"
    save("synth", "lrar", "Estimated level", {("true rate", "HR->HR"): 71}, seed=1)
    assert lines("rank1")[0] == "| Method | Trainings | HR->HR | MLR {2,3,4} |"


def save_one_field(dataset: str, name: str, setting: str, suffix: str = ""):
    """Write both gains and Rank-1 of all methods of the headline, in one training."""
    methods = {"cadnet": ["CAD-Net"], "lrar": ["LRAR"], "vpfa": ["HR only + VPFA", "HR + LR + VPFA"]}
    for paper, own in methods.items():
        rows = [
            {"artefact": "One field", "dataset": name, "method": method + suffix, "setting": setting, "metric": metric}
            | {"value": 20.0, "low": 19.0, "high": 21.0, "seed": 0, "trials": 10}
            for method in ["HR + LR", *own]
            for metric in ("rank1", "rank1_gain", "rank1_over_control_gain")[: 1 if method == "HR + LR" else 3]
        ]
        results.write(rows, "demo", dataset, paper, RUN)


def test_the_headline_is_what_methods_gain_on_one_field():
    assert lines("headline") == lines("field") == ["No results are committed yet."]
    assert readme.headline_figure() is None
    save_one_field("caviar", "CAVIAR", "genuine LR")
    save_one_field("caviar", "CAVIAR", "genuine LR", " (OSNet x0.25)")
    save_one_field("synth", "synth", "MLR {2,3,4}")
    picture, _, head, _, first, *_ = lines("headline")
    assert picture == "![Gains over HR + LR on synth, CAVIAR](results/demo/headline.png)"
    assert head == "| Method | synth | CAVIAR, OSNet x0.25 |"
    assert first == "| CAD-Net | +20.0 [+19.0, +21.0]◔ | +20.0 [+19.0, +21.0]◔ |"
    assert len(lines("field")) == 2 + 4 + 8
    assert [axis.get_title() for axis in readme.headline_figure().axes] == ["synth", "CAVIAR"]
    assert rebuilt(rebuilt(EVERY)) == rebuilt(EVERY)


def test_the_readme_stays_one_page_with_every_data_set():
    for dataset, name in (("synth", "synth"), ("viper", "MLR-VIPeR"), ("cuhk03", "MLR-CUHK03")):
        save_one_field(dataset, name, "MLR {2,3,4}")
    save_one_field("caviar", "CAVIAR", "genuine LR")
    assert len(rebuilt((ROOT / "README.md").read_text(encoding="utf-8")).split()) <= 1050


def test_what_is_committed_is_up_to_date(monkeypatch):
    monkeypatch.delenv("REID_LIB_RESULTS")
    found = [ROOT / name for name in readme.FILES if (ROOT / name).is_file()]
    assert found
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert rebuilt(text) == text, f"{path.name}: `reid-lib readme`"
    there = readme.headline_figure() is not None
    assert (readme.PICTURE in (ROOT / "README.md").read_text(encoding="utf-8")) is there
