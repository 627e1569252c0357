import pandas as pd
import pytest

from reid_lib.reporting import headline, results, tables

OSNET = " (OSNet x0.25)"
MLR = "MLR {2,3,4}"


def row(method: str, value: float, metric: str = "rank1_gain", half: float = 1.0, **changes) -> dict:
    usual = {"paper": "lrar", "artefact": "One field", "dataset": "synth", "setting": MLR, "profile": "demo"}
    number = {"value": value, "low": value - half, "high": value + half, "seed": 0, "trials": 10}
    return usual | {"method": method, "metric": metric} | number | changes


def measured(*rows: dict) -> pd.DataFrame:
    """The rows as `results.read_all` gives them; a folder is called as its data set."""
    frame = results.check_rows(pd.DataFrame(rows).reindex(columns=list(results.COLUMNS)))
    return headline.measured(frame.assign(folder_dataset=frame.dataset.str.removeprefix("MLR-").str.lower()))


def block(*rows: dict) -> list[str]:
    return headline.text(measured(*rows), "x.png").splitlines()


def test_one_training_is_indicative_and_three_are_counted():
    one = block(row("LRAR", -2.0))
    assert one[0] == "![Gains over HR + LR on synth](x.png)"
    assert one[2:5] == ["| Method | synth |", "| --- | --- |", "| LRAR | -2.0 [-3.0, -1.0]◔ |"]
    assert one[-1].endswith("own protocol. ◔ one seed: indicative.")
    three = block(*(row("LRAR", value, seed=seed) for seed, value in enumerate((4.0, 5.0, 6.0))))
    assert three[4].startswith("| LRAR | +5.0 [+")
    assert "◔" not in "".join(three)
    assert three[-1].endswith("In the figure, of the gains with several trainings: 1 above zero, 0 below, 0 undecided.")


def test_words_follow_the_rows():
    cells = (("CAD-Net", -9.0, "cadnet"), ("LRAR", 0.2, "lrar"), ("HR only + VPFA", 8.0, "vpfa"))
    rows = [row(m, value + seed / 10, paper=paper, seed=seed) for m, value, paper in cells for seed in range(3)]
    said = block(*rows, row("HR + LR + VPFA", 0.1, paper="vpfa"))[-1]
    assert "1 above zero, 1 below, 1 undecided. ◔ one seed: indicative." in said


def test_data_sets_are_columns_and_a_missing_one_leaves_its_cell_empty():
    far = {"dataset": "CAVIAR", "setting": "genuine LR"}
    rows = [
        row("LRAR", 1.0, **far),
        row("LRAR", 7.0, **far | {"setting": "HR->HR, same camera"}),  # not the protocol
        row("LRAR, masks alone", 3.0),
        row("HR only + VPFA", 2.0, paper="vpfa"),
        row("LRAR" + OSNET, 5.0, **far),
    ]
    assert block(*rows)[2:6] == [
        "| Method | synth | CAVIAR, OSNet x0.25 |",  # a published network first, where there is one
        "| --- | --- | --- |",
        "| LRAR |  | +5.0 [+4.0, +6.0]◔ |",
        "| HR only + VPFA | +2.0 [+1.0, +3.0]◔ |  |",
    ]
    assert block(*rows, row("LRAR", 2.0, dataset="MLR-VIPeR", setting="HR->HR")) == block(*rows)
    assert block(*rows[:-1])[4] == "| LRAR |  | +1.0 [+0.0, +2.0]◔ |"


def test_the_whole_table_has_networks_yardstick_and_control():
    viper = {"dataset": "MLR-VIPeR", "paper": "cadnet"}
    found = headline.table(
        measured(
            row("HR + LR", 30.0, "rank1", **viper),
            row("CAD-Net", 28.0, "rank1", **viper),
            row("CAD-Net", -2.0, **viper),
            row("CAD-Net", 1.5, "rank1_over_control_gain", **viper),
            row("CAD-Net (paper recipe)", 20.0, "rank1", **viper),
            row("HR + LR" + OSNET, 60.0, "rank1", **viper),
            row("CAD-Net" + OSNET, 61.0, "rank1", **viper),
            row("CAD-Net" + OSNET, 1.0, **viper),
            row("HR + LR", 50.0, "rank1", paper="lrar"),
            row("LRAR", 52.0, "rank1", paper="lrar"),  # no gain was measured
        )
    )
    viper, gained = "MLR-VIPeR, MLR {2,3,4}", "-2.0 [-3.0, -1.0]◔"
    lines = [
        "synth, MLR {2,3,4} | small network | LRAR | 1 | 50.0 [49.0, 51.0] | 52.0 [51.0, 53.0] |  |  | ",
        f"{viper} | small network | CAD-Net | 1 | 30.0 [29.0, 31.0] | 28.0 [27.0, 29.0] | {gained} | E and C alone"
        " | +1.5 [+0.5, +2.5]◔",
        f"{viper} | OSNet x0.25 | CAD-Net | 1 | 60.0 [59.0, 61.0] | 61.0 [60.0, 62.0] | +1.0 [+0.0, +2.0]◔ |  | ",
    ]
    assert [" | ".join(line) for line in found.to_numpy()] == lines
    assert list(found.columns)[4:] == ["HR + LR", "Rank-1", "Gain over HR + LR", "Control", "Gain over control"]


def test_an_unsupervised_method_stands_after_the_supervised_ones_and_beside_its_peer():
    rows = [row("HR only + VPFA", 2.0, paper="vpfa"), row("DRFM", -20.0, paper="drfm"), row("LRAR", 1.0)]
    assert [line.split(" | ")[0] for line in block(*rows)[4:7]] == ["| LRAR", "| DRFM", "| HR only + VPFA"]
    gained = row("DRFM", 3.0, "rank1_over_control_gain", paper="drfm")
    (line,) = headline.table(measured(row("DRFM", 30.0, "rank1", paper="drfm"), gained)).itertuples(index=False)
    assert line[-2:] == ("CC", "+3.0 [+2.0, +4.0]◔")


def test_the_figure_tells_networks_and_single_trainings_apart():
    rows = [row("LRAR", value, seed=seed) for seed, value in enumerate((4.0, 5.0, 6.0))]
    viper = {"dataset": "MLR-VIPeR"}
    figure = headline.figure(
        measured(*rows, row("CAD-Net" + OSNET, -3.0, paper="cadnet", **viper), row("LRAR", -1.0, **viper))
    )
    assert [axis.get_title() for axis in figure.axes] == ["synth", "MLR-VIPeR"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["CAD-Net", "LRAR"]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["HR + LR (same field)", "small network", "OSNet x0.25", "one seed: indicative"]
    figure.canvas.draw()


def test_without_rows_there_is_nothing():
    nothing = headline.measured(pd.DataFrame(columns=[*results.COLUMNS, "folder_dataset"]))
    for found in (nothing, measured(row("HR only", 20.0, "rank1", setting="HR->HR"))):
        assert headline.text(found, "x.png") == ""
        assert headline.figure(found) is None
        assert headline.table(found).empty


FACTS = {
    "HR + LR": {"images": "14,400", "rate known": "no"},
    "LRAR": {"images": "14,400", "rate known": "yes"},
    "LRAR" + OSNET: {"images": "720"},
}


def field(*rows: dict) -> pd.DataFrame:
    return tables.field_table(
        results.check_rows(pd.DataFrame(rows).reindex(columns=list(results.COLUMNS))), FACTS
    ).set_index("method")


def test_the_table_of_one_field_has_gains_first_and_facts_last():
    table = field(
        row("HR + LR", 50.0, "rank1"),
        row("HR + LR", 60.0, "rank1", setting="HR->HR"),
        row("HR + LR", 40.0, "rank1", setting="r = 8", half=float("nan")),
        *(row("LRAR", 51.0 + seed, "rank1", seed=seed) for seed in range(3)),
        *(row("LRAR", -1.0 + seed, seed=seed) for seed in range(3)),
        row("LRAR", 9.0, setting="r = 8"),  # a gain that is not under the protocol
        row("LRAR", 2.0, "rank1_over_control_gain"),
        row("other", 1.0, "rank1", setting="r = 2", artefact="Table II"),
    )
    numbers = ["gain over control", "gain over HR + LR", f"Rank-1, {MLR}", "Rank-1, HR->HR", "Rank-1, r = 8"]
    assert list(table.columns) == [*numbers, "trainings", "images", "rate known"]
    assert table.index.tolist() == list(FACTS)
    yardstick = ["", "", "50.0 [49.0, 51.0]", "60.0 [59.0, 61.0]", "40.0", "1", "14,400", "no"]
    assert table.loc["HR + LR"].tolist() == yardstick
    line = table.loc["LRAR"]
    assert (line["trainings"], line["gain over control"]) == ("3", "+2.0 [+1.0, +3.0]")
    assert line["gain over HR + LR"].startswith("+0.0 [-")
    assert table.loc["LRAR" + OSNET].tolist() == [*[""] * 6, "720", ""]  # not measured


def test_the_table_of_one_field_stands_on_genuine_lr_as_well():
    far = {"dataset": "CAVIAR", "setting": "genuine LR"}
    table = field(
        row("LRAR", 20.0, "rank1", **far),
        row("LRAR", -3.0, **far),
        row("LRAR", 80.0, "rank1", **far | {"setting": "HR->HR, same camera", "seed": 1}),
        row("LRAR", 81.0, "rank1", **far | {"setting": "HR->HR, same camera", "seed": 2}),
    )
    assert table.loc["LRAR", "gain over HR + LR"] == "-3.0 [-4.0, -2.0]"
    assert table.loc["LRAR", "trainings"] == "1 to 2"
    with pytest.raises(results.ResultsError, match=r"One field: one dataset at a time, found \['CAVIAR', 'synth'\]"):
        field(row("LRAR", 20.0, "rank1", **far), row("LRAR", 20.0, "rank1"))
    empty = tables.field_table(pd.DataFrame(columns=[*results.COLUMNS, "seeds"]), FACTS)
    assert empty["trainings"].tolist() == ["", "", ""]
