import pandas as pd
import pytest

from reid_lib.reporting import artefacts, claims, papers, results, tables

ARTEFACT = artefacts.find("LRAR Table II", papers.ARTEFACTS)
PAPER = {"IDE + Verif": 60.0, "w/o mask": 66.0, "mask + val": 70.0}


def measured(dataset: str, values: dict = PAPER, half: float | None = 1.0, **changes) -> pd.DataFrame:
    rows = [
        {"method": m, "metric": "rank1", "value": v} | ({} if half is None else {"low": v - half, "high": v + half})
        for m, v in values.items()
    ]
    frame = pd.DataFrame(rows).assign(
        paper="lrar", artefact="Table II", dataset=dataset, setting="", profile="demo", **changes
    )
    return results.check_rows(frame.reindex(columns=list(results.COLUMNS)))


def rank1(comparison: tables.Comparison) -> pd.DataFrame:
    return comparison.frame[comparison.frame.metric == "rank1"].set_index("method")


def test_same_images_are_subtracted_and_judged():
    values = {"IDE + Verif": 33.0, "w/o mask": 50.0, "w/o val": 60.0}
    comparison = tables.compare(ARTEFACT, measured("caviar", values))
    assert comparison.same_data
    assert comparison.against == "CAVIAR"
    found = rank1(comparison)
    assert found.verdict.to_dict() == {
        "IDE + Verif": "agrees",  # 33.2 lies in 33 +- 1
        "w/o mask": "lower",
        "w/o val": "higher",
        "w/o val (end-to-end)": "not measured",
        "mask + val": "not measured",
    }
    assert found.difference["w/o mask"] == pytest.approx(50 - 57.4)
    assert "no difference" not in comparison.note
    alone = rank1(tables.compare(ARTEFACT, measured("caviar", values, half=None)))
    assert alone.verdict["w/o mask"] == "no interval"


def test_other_images_are_never_subtracted():
    comparison = tables.compare(ARTEFACT, measured("synth"))
    assert not comparison.same_data
    assert comparison.against == "MLR-CUHK03"
    assert comparison.frame.difference.isna().all()
    assert set(rank1(comparison).verdict) == {"other data", "not measured"}
    assert "Measured on synth, published on MLR-CUHK03: other images" in comparison.note
    assert "Profile demo" in comparison.note
    assert "to published" not in " ".join(tables.measured_lines(comparison).columns)
    assert tables.compare(ARTEFACT, measured("synth-caviar")).against == "CAVIAR"
    assert tables.compare(ARTEFACT, measured("synth"), against="CAVIAR").against == "CAVIAR"


def test_the_note_of_the_data_set_is_shown():
    comparison = tables.compare(ARTEFACT, measured("cuhk03"), note="CUHK03 at 128x64.")
    assert comparison.same_data
    assert "CUHK03 at 128x64." in comparison._repr_html_()
    assert comparison._repr_markdown_().startswith("**Data: CUHK03 at 128x64. Profile demo")


def test_order_of_the_methods():
    same = tables.order(tables.compare(ARTEFACT, measured("synth"))).set_index("metric")
    assert same.loc["rank1"].tolist() == [3, 3, 0, 0]
    wrong = {"IDE + Verif": 70.0, "w/o mask": 66.0, "mask + val": 66.5}
    other = tables.order(tables.compare(ARTEFACT, measured("synth", wrong))).set_index("metric")
    assert other.loc["rank1"].tolist() == [3, 0, 2, 1]


def test_methods_that_the_paper_does_not_have_come_last():
    comparison = tables.compare(ARTEFACT, measured("synth", PAPER | {"HR only": 50.0}))
    assert comparison.frame.method.iloc[-1] == "HR only"
    assert comparison.frame.verdict.iloc[-1] == "not published"
    assert list(comparison.frame.method.unique()[:5]) == [
        "IDE + Verif", "w/o mask", "w/o val", "w/o val (end-to-end)", "mask + val"
    ]  # fmt: skip


def test_several_seeds_are_merged_other_things_are_not():
    seeds = pd.concat([measured("synth", half=None, seed=s) for s in (0, 1)], ignore_index=True)
    assert rank1(tables.compare(ARTEFACT, seeds)).low["mask + val"] == 70.0
    with pytest.raises(results.ResultsError, match="one dataset at a time"):
        tables.compare(ARTEFACT, pd.concat([measured("synth"), measured("viper")]))
    with pytest.raises(results.ResultsError, match=r"no published numbers on 'synth': choose from \['CAVIAR'"):
        tables.compare(ARTEFACT, measured("synth"), against="synth")


def test_nothing_measured_shows_the_published_numbers():
    comparison = tables.compare(ARTEFACT, measured("synth")[:0])
    assert set(comparison.frame.verdict) == {"not measured"}
    assert len(tables.measured_lines(comparison)) == 0
    assert len(tables.published_lines(comparison)) == 5
    for text in (comparison._repr_html_(), comparison._repr_markdown_(), repr(comparison)):
        assert "Nothing was measured." in text
        assert "Published rows (MLR-CUHK03)" in text


def test_reading_forms():
    comparison = tables.compare(ARTEFACT, measured("caviar", {"mask + val": 63.0}))
    assert tables.measured_lines(comparison).to_dict("records") == [
        {"method": "mask + val", "Rank-1": "63.0 [62.0, 64.0]", "Rank-1 to published": "-0.6 agrees"}
    ]
    printed = tables.published_lines(comparison).set_index("method")
    assert printed.loc["mask + val", "Rank-1"] == "63.6"
    assert list(printed.columns) == ["Rank-1", "Rank-5", "Rank-10"]
    frame = pd.DataFrame({"a <b>": ["x|y", "<script>"], "n": ["1.5", "-2"]})
    assert "<th>a &lt;b&gt;</th>" in tables.to_html(frame)
    assert "<script>" not in tables.to_html(frame)
    assert "<td class=number>-2</td>" in tables.to_html(frame)
    prose = tables.to_html(pd.DataFrame({"x": ["94.7 in cadnet Table 1", "40.0 [38.5, 41.5]"]}))
    assert prose.count("class=number") == 1
    assert tables.to_markdown(frame).splitlines() == [
        "| a <b> | n |",
        "| --- | --- |",
        "| x/y | 1.5 |",
        "| <script> | -2 |",
    ]
    assert list(tables.measured_table(measured("synth")).columns) == ["method", "Rank-1"]


def test_measured_rows_stand_first_and_published_ones_in_a_fold():
    rows = measured("synth", PAPER | {"HR + LR": 50.0})
    more = [rows.assign(metric=metric) for metric in ("rank5", "rank20", "map", "rank1_gain")]
    comparison = tables.compare(ARTEFACT, pd.concat([rows, *more], ignore_index=True))
    own = tables.measured_lines(comparison)
    assert own.method.tolist() == ["IDE + Verif", "w/o mask", "mask + val", "HR + LR"]  # the yardstick is among them
    assert list(own.columns) == ["method", "Rank-1", "mAP", "Rank-1 gain"]
    assert list(tables.measured_table(pd.concat([rows, *more])).columns) == ["method", "Rank-1", "mAP", "Rank-1 gain"]
    shown = comparison._repr_html_()
    before, fold = shown.split("<details><summary>Published rows (MLR-CUHK03)</summary>")
    assert "50.0\N{NO-BREAK SPACE}[49.0,\N{NO-BREAK SPACE}51.0]" in before  # an interval on one line
    assert "<td class=number>50.0" in before
    assert "w/o val (end-to-end)" not in before
    assert "w/o val (end-to-end)" in fold
    assert fold.endswith("</table></div></details>")
    text = comparison._repr_markdown_()
    assert "| HR + LR | 50.0 [49.0, 51.0] | 50.0 [49.0, 51.0] | +50.0 [+49.0, +51.0] |" in text
    assert "<details><summary>Published rows (MLR-CUHK03)</summary>\n\n| method | Rank-1 | Rank-5" in text


def test_the_plain_form_is_a_table_too():
    lines = repr(tables.compare(ARTEFACT, measured("synth", {"mask + val": 70.0, "HR + LR": 5.0}))).splitlines()
    assert lines[0].startswith("Measured on synth, published on MLR-CUHK03")
    assert lines[2:6] == [
        "method      Rank-1",
        "mask + val  70.0 [69.0, 71.0]",
        "HR + LR        5.0 [4.0, 6.0]",
        "",
    ]
    assert lines[6:8] == ["Published rows (MLR-CUHK03):", "method                Rank-1  Rank-5  Rank-10"]


def test_ranks_are_shown_where_there_is_no_other_metric():
    rows = measured("synth").assign(metric="rank5")
    assert list(tables.measured_lines(tables.compare(ARTEFACT, rows)).columns) == ["method", "Rank-5"]


def test_an_artefact_of_our_own_has_no_fold():
    own = artefacts.find("LRAR Length by rate", papers.ARTEFACTS)
    rows = measured("synth").assign(artefact=own.name, setting="r = 2")
    comparison = tables.compare(own, rows)
    assert "<details>" not in comparison._repr_html_() + comparison._repr_markdown_()
    assert "Published" not in repr(comparison)
    assert list(tables.measured_lines(comparison).columns) == ["method", "setting", "Rank-1"]


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (63.649, "rank1", "63.6"),
        (0.4826, "cca1", "0.483"),
        (4424371.3, "speed", "4,424,371"),
        (None, "map", ""),
        (94.54, "percent_above_0.4", "94.5"),
        (0.26, "rank1_gain", "+0.3"),
        (-1.0, "rank1_gain", "-1.0"),
    ],
)
def test_numbers(value, metric, text):
    assert tables.number(float("nan") if value is None else value, metric) == text


def test_measured_numbers_of_a_metric_have_the_same_decimals():
    assert tables.with_interval(0.39, 0.26, 0.519, "lpips_squeeze") == "0.390 [0.260, 0.519]"
    assert tables.with_interval(0.5, float("nan"), float("nan"), "cosine") == "0.500"
    assert tables.with_interval(float("nan"), float("nan"), float("nan"), "ssim") == ""
    assert tables.with_interval(20, 19.5, 20.5, "psnr") == "20.0 [19.5, 20.5]"


def test_published_rows_of_another_network_line_up_by_their_role():
    rows = pd.DataFrame(
        [
            {"method": method, "metric": "rank1", "value": value, "low": value - 1, "high": value + 1}
            for method, value in (("frozen model", 20.0), ("frozen model + VPFA", 24.0))
        ]
    ).assign(paper="vpfa", artefact="Table 4a", dataset="synth", setting="", profile="demo")
    rows = results.check_rows(rows.reindex(columns=list(results.COLUMNS)))
    found = rank1(tables.compare(artefacts.find("VPFA Table 4a", papers.ARTEFACTS), rows))
    assert found.published["frozen model"] == 90.3
    assert found.published["frozen model + VPFA"] == 94.1
    assert found.measured["frozen model + VPFA"] == 24
    assert found.verdict["w/o residual"] == "not measured"
    claim = next(c for c in papers.CLAIMS if c.paper == "vpfa" and c.text.startswith("VPFA improves the frozen"))
    assert claims.judge(claim, results.published()).verdict == "holds"


def test_roles_leave_other_papers_and_other_names_alone():
    rows = pd.DataFrame(
        {"paper": ["vpfa", "vpfa", "vpfa", "lrar"], "method": ["SAAI", "TransReID-SSL", "VPFA", "IRRA"]}
    )
    assert list(results.as_roles(rows).method) == ["frozen model", "TransReID-SSL", "VPFA", "IRRA"]


def test_a_published_number_without_a_data_set_stands_beside_the_measured_one():
    rows = pd.DataFrame({"method": ["VPFA"], "metric": ["inference_samples_per_second"], "value": [1000.0]})
    rows = rows.assign(paper="vpfa", artefact="Section 5.4", dataset="synth", setting="", profile="demo")
    rows = results.check_rows(rows.reindex(columns=list(results.COLUMNS)))
    comparison = tables.compare(artefacts.find("VPFA Section 5.4", papers.ARTEFACTS), rows)
    speed = "inference (samples per second)"
    assert tables.measured_lines(comparison).to_dict("records") == [{"method": "VPFA", speed: "1,000"}]
    (line,) = tables.published_lines(comparison).to_dict("records")
    assert (line[speed], line["parameters (million)"]) == ("4,424,371", "24.1")


def test_lpips_without_weights_is_not_available():
    quality = artefacts.find("CAD-Net Table 2", papers.ARTEFACTS)
    seen = "seen r in {2,3,4}"
    rows = pd.DataFrame(
        [
            {"method": method, "metric": metric, "value": value}
            for method, lpips in (("CycleGAN", None), ("CAD-Net", 0.2))
            for metric, value in (("psnr", 14.0), ("lpips", lpips), ("lpips_squeeze", 0.3))
        ]
    ).assign(paper="cadnet", artefact="Table 2", dataset="synth", setting=seen, profile="demo")
    rows = results.check_rows(rows.reindex(columns=list(results.COLUMNS)))
    table = tables.measured_table(rows).set_index("method")
    assert table.LPIPS.to_dict() == {"CycleGAN": "not available", "CAD-Net": "0.200"}
    assert table["LPIPS (SqueezeNet)"].tolist() == ["0.300", "0.300"]
    comparison = tables.compare(quality, rows)
    own = tables.measured_lines(comparison).set_index("method")
    assert own.LPIPS.to_dict() == {"CycleGAN": "not available", "CAD-Net": "0.200"}
    assert set(own.setting) == {seen}
    printed = tables.published_lines(comparison).set_index(["method", "setting"])
    assert printed.loc[("CycleGAN", seen), "LPIPS"] == "0.31"
    assert ("SING", seen) in printed.index
    alone = tables.measured_table(rows[rows.metric == "lpips"])
    assert alone.method.tolist() == ["CAD-Net"]
