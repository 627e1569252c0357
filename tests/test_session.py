"""The set-up and provenance cells' part of a notebook, called as a notebook calls them."""

import html
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
import torch
from matplotlib import pyplot

from reid_lib.datasets import mlr
from reid_lib.evaluation.ranking import evaluate
from reid_lib.reporting import provenance, results
from reid_lib.session import Session, parameters, profile_variable, source, start

ROW = {"artefact": "Baselines", "method": "tiny", "metric": "rank1", "value": 41.5, "trials": 10}


@pytest.fixture(autouse=True)
def results_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path))
    monkeypatch.delenv("REID_LIB_PROFILE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with matplotlib.rc_context():
        matplotlib.use("agg")
        yield tmp_path
    pyplot.close("all")


@pytest.fixture
def run() -> Session:
    return start("02_x", profile="smoke", dataset="synth", seeds=[0, 1], epochs=3)


def _figure() -> pyplot.Figure:
    fig, axes = pyplot.subplots()
    axes.plot([0, 1], [1, 0])
    return fig


def test_a_run_holds_what_the_notebook_works_on(run: Session, results_folder: Path) -> None:
    assert (run.profile, run.dataset_name, run.seeds) == ("smoke", "synth", (0, 1))
    assert run.folder == results_folder / "smoke" / "synth"
    assert run.dataset.table["pid"].nunique() == 24
    assert run.dataset.size == (64, 32)
    assert run.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert run.synthetic


def test_the_environment_replaces_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REID_LIB_PROFILE", "smoke")
    assert start("02_x", profile="paper", dataset="synth").profile == "smoke"


def test_options_of_the_loader_are_passed_on_and_kept(results_folder: Path) -> None:
    run = start("02_x", profile="smoke", dataset="synth", data_options={"identities": 12})
    assert run.dataset.table["pid"].nunique() == 12
    run.finish()
    record = json.loads((run.folder / "02_x.run.json").read_text())
    assert record["parameters"]["data_options"] == {"identities": 12}


def test_the_banner_says_what_the_numbers_are(run: Session) -> None:
    text = run.banner().data
    assert "synthetic people" in text
    assert "Profile smoke" in text
    assert "mean nothing" in text


def test_rows_figures_and_provenance_are_written(run: Session) -> None:
    run.save([ROW | {"seed": seed} for seed in run.seeds], "baselines")
    run.figure(_figure(), "baselines_fig_cmc")
    table = run.finish()

    assert len(results.read("smoke", "synth", "baselines")) == 2
    assert (run.folder / "baselines_fig_cmc.png").read_bytes().startswith(b"\x89PNG")
    assert not pyplot.get_fignums()
    record = json.loads((run.folder / "02_x.run.json").read_text())
    assert record["written"] == ["baselines.csv", "baselines_fig_cmc.png"]
    assert record["parameters"]["epochs"] == 3
    assert record["parameters"]["seeds"] == [0, 1]
    assert record["data_fingerprint"] == run.dataset.fingerprint()
    assert table.loc["written", "value"] == "2 files in results/smoke/synth"
    assert not list(run.folder.glob("*.part"))


def test_pictures_of_real_people_are_shown_but_not_saved(run: Session) -> None:
    run.dataset_name = "viper"
    run.figure(_figure(), "people", people=True)
    run.figure(_figure(), "curve")
    assert [path.name for path in run.folder.glob("*.png")] == ["curve.png"]


def test_pictures_of_synthetic_people_are_saved(run: Session) -> None:
    run.figure(_figure(), "people", people=True)
    assert (run.folder / "people.png").is_file()


@pytest.mark.parametrize(
    ("label", "alt", "said"), [("Rank-1 (%)", "", "Rank-1 (%)"), ("Rank-1 (%)", "a curve", "a curve"), ("", "", "a b")]
)
def test_a_figure_has_an_alternative_text(
    run: Session, monkeypatch: pytest.MonkeyPatch, label: str, alt: str, said: str
) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    fig = _figure()
    fig.axes[0].set_ylabel(label)
    run.figure(fig, "a_b", alt=alt)
    assert [image.alt for image in shown] == [said]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "fast"}, r"profile 'fast'.*smoke, demo, paper"),
        ({"dataset": "synht"}, "synth"),
        ({"dataset": "viper"}, "viper"),
        ({"dataset": "viper", "data_root": "/nowhere"}, "/nowhere"),
        ({"data_root": "/somewhere"}, "/somewhere"),
        ({"data_options": {"layout": "flat"}}, "synth has no option 'layout'"),
        ({"seeds": ()}, r"seeds must be one or more integers >= 0, .*found \(\)"),
        ({"seeds": 3}, "found 3"),
        ({"seeds": (0, -1)}, "found"),
        ({"seeds": (0.5,)}, "found"),
        ({"seeds": (1, 1)}, "differ"),
    ],
)
def test_bad_parameters_are_refused(change: dict, message: str, results_folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        start("02_x", **({"profile": "smoke", "dataset": "synth"} | change))
    assert not list(results_folder.iterdir())


def test_the_paper_profile_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r'needs a CUDA GPU .* choose "demo"'):
        start("02_x", profile="paper", dataset="synth")


def test_an_unwritable_results_folder_is_found_before_the_work(results_folder: Path) -> None:
    (results_folder / "smoke").write_text("a file in the way")
    with pytest.raises(ValueError, match="Cannot write results"):
        start("02_x", profile="smoke", dataset="synth")


def test_one_thread_unless_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        start("02_x", profile="smoke", dataset="synth")  # OMP_NUM_THREADS is set here: nothing changes
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        session = start("02_x", profile="smoke", dataset="synth")
        assert torch.get_num_threads() == 1
        session.finish()
        record = json.loads((session.folder / "02_x.run.json").read_text())
        assert record["parameters"]["threads"] == 1
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # else "paper" refuses
        monkeypatch.setattr("reid_lib.session.pick_device", lambda: torch.device("cpu"))
        monkeypatch.setattr("reid_lib.session.usable_cores", lambda: 3)
        start("02_x", profile="paper", dataset="synth", data_options={"identities": 8, "size": (64, 32)})
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


class Shades:
    """A matcher that compares mean colours."""

    device = torch.device("cpu")

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        return torch.cdist(query, gallery)


def test_measure_evaluates_saves_and_returns_rows(run: Session, results_folder: Path) -> None:
    settings = mlr.settings(run.dataset, rates=(1, 4), n=2)
    fixed = {"paper": "baselines", "artefact": "Baselines", "method": "shades", "progress": False}
    first, second = (run.measure(Shades(), settings, seed=seed, **fixed) for seed in (0, 1))
    assert set(first["setting"]) == {"HR->HR", "r = 4", "MLR {2,3,4}"}
    assert set(first["dataset"]) == {"synth"}
    assert len(results.read("smoke", "synth", "baselines")) == len(first) + len(second)
    measured = run.measured("baselines", "Baselines").set_index(["setting", "metric"])
    expected = evaluate(Shades(), settings["r = 4"], progress=False).summary.loc["rank1", "mean"]
    assert measured.loc[("r = 4", "rank1"), "value"] == pytest.approx(expected)
    assert set(measured["seeds"]) == {2}
    alone = start("02_x", profile="smoke", dataset="synth", seeds=[1])
    assert alone.measured("baselines", "Baselines").empty
    again = alone.measure(Shades(), settings, seed=1, **fixed)
    assert set(alone.measured("baselines", "Baselines")["seeds"]) == {1}
    assert len(results.read("smoke", "synth", "baselines")) == len(first) + len(again)


def _save(session: Session, *numbers: tuple[str, int, str, float]) -> None:
    for method, seed, metric, value in numbers:
        session.save([ROW | {"method": method, "seed": seed, "metric": metric, "value": value}], "baselines")


def _numbers(rows: pd.DataFrame, *columns: str) -> set[tuple]:
    return set(rows[list(columns)].itertuples(index=False, name=None))


def test_results_hold_only_what_this_sessions_parameters_gave(run: Session) -> None:
    earlier = [
        ("tiny", 0, "rank1", 40.0),
        ("tiny", 0, "lpips", 0.3),
        ("tiny", 1, "lpips", 0.4),
        ("old", 0, "map", 30.0),
    ]
    _save(run, *earlier)
    assert _numbers(run.measured("baselines", "Baselines"), "method", "metric", "seeds") == {
        ("tiny", "rank1", 1),
        ("tiny", "lpips", 2),
        ("old", "map", 1),
    }

    later = start("02_x", profile="smoke", dataset="synth", seeds=[0, 1])
    _save(later, ("tiny", 0, "rank1", 50.0))
    assert _numbers(later.measured("baselines", "Baselines"), "metric", "value", "seeds") == {("rank1", 50.0, 1)}
    _save(later, ("tiny", 0, "map", 35.0))  # more of the same group: the first write stays
    assert _numbers(later.measured("baselines", "Baselines"), "metric", "value") == {("rank1", 50.0), ("map", 35.0)}
    kept = {("tiny", 0, "rank1", 50.0), ("tiny", 0, "map", 35.0), *earlier[2:]}
    assert _numbers(results.read("smoke", "synth", "baselines"), "method", "seed", "metric", "value") == kept


def test_rows_without_a_seed_and_of_another_data_set_are_a_sessions_own(run: Session) -> None:
    run.save([ROW | {"metric": "rank5"}, ROW | {"dataset": "synth-thermal"}], "baselines")
    later = start("02_x", profile="smoke", dataset="synth")
    later.save([ROW], "baselines")
    assert _numbers(later.measured("baselines", "Baselines"), "dataset", "metric") == {("synth", "rank1")}
    later.save([ROW | {"dataset": "synth-thermal", "value": 1.0}], "baselines")
    assert _numbers(later.measured("baselines", "Baselines"), "dataset", "value") == {
        ("synth", 41.5),
        ("synth-thermal", 1.0),
    }
    assert len(results.read("smoke", "synth", "baselines")) == 2


def test_provenance_names_the_code_that_was_imported(run: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_git", lambda *arguments: "another commit")
    run.finish()
    record = json.loads((run.folder / "02_x.run.json").read_text())
    assert record["commit"] != "another commit"


def test_the_profile_variable_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with profile_variable("smoke"):
        assert start("02_x", profile="demo", dataset="synth").profile == "smoke"
    assert "REID_LIB_PROFILE" not in os.environ
    monkeypatch.setenv("REID_LIB_PROFILE", "demo")
    with profile_variable("smoke"):
        assert os.environ["REID_LIB_PROFILE"] == "smoke"
    assert os.environ["REID_LIB_PROFILE"] == "demo"


def test_source_shows_the_function_that_runs() -> None:
    shown = source(mlr.split_trials).data
    assert "font-family: monospace" in shown
    text = html.unescape(re.sub(r"<[^>]+>", "", shown))
    assert text.startswith("def split_trials(")
    assert '"""' not in text


def test_record_takes_scores_of_another_data_set(run: Session) -> None:
    scores = {"": evaluate(Shades(), mlr.trials(run.dataset, n=2), progress=False)}
    rows = run.record(scores, paper="vpfa", artefact="Table 11", method="VPFA", seed=0, dataset="synth-thermal")
    assert set(rows["dataset"]) == {"synth-thermal"}
    assert set(run.measured("vpfa", "Table 11")["dataset"]) == {"synth-thermal"}


CELL = {
    "profile": ("demo", str),
    "seeds": ((0,), tuple),
    "data_options": ({}, dict),
    "networks": (True, bool),
    "trials": (10, int),
}


def _namespace(**changes: object) -> dict[str, object]:
    """A notebook's globals after its parameters cell, with what papermill has injected below it."""
    values = {name: value for name, (value, _) in CELL.items()}
    return {"__annotations__": {name: kind for name, (_, kind) in CELL.items()}, "other": 1, **values, **changes}


def test_parameters_are_the_annotated_names_of_the_parameters_cell() -> None:
    assert parameters(_namespace()) == {name: value for name, (value, _) in CELL.items()}


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("seeds", 3, (3,)),
        ("seeds", [0, 1], (0, 1)),
        ("seeds", "[0, 1]", (0, 1)),
        ("seeds", "(0, 1)", (0, 1)),
        ("seeds", "4", (4,)),
        ("seeds", "II", ("II",)),
        ("networks", "false", False),
        ("networks", "True", True),
        ("trials", "3", 3),
        ("data_options", '{"layout": "flat"}', {"layout": "flat"}),
        ("profile", "smoke", "smoke"),
    ],
)
def test_a_parameter_is_converted_to_the_type_of_its_cell(name: str, given: object, taken: object) -> None:
    namespace = _namespace(**{name: given})
    assert parameters(namespace)[name] == namespace[name] == taken
    assert type(namespace[name]) is type(taken)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("networks", "no way", "networks must be true or false, found 'no way'"),
        ("networks", 1, "networks must be true or false, found 1"),
        ("trials", 2.5, "trials must be a whole number, found 2.5"),
        ("trials", True, "trials must be a whole number, found True"),
        ("trials", "ten", "trials must be a whole number, found 'ten'"),
        ("profile", 3, "profile must be a text, found 3"),
        ("seeds", None, r"seeds must be one value or several, like \[0, 1\], found None"),
        ("seeds", {"a": 1}, "seeds must be one value or several"),
        ("data_options", "flat", "data_options must be names and values, like .*, found 'flat'"),
    ],
)
def test_a_parameter_of_a_wrong_type_is_refused(name: str, given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters(_namespace(**{name: given}))


def test_a_notebook_without_its_parameters_cell_is_told_so() -> None:
    with pytest.raises(ValueError, match="no parameters are set: first run the notebook's cell that begins with"):
        parameters({"profile": "demo"})


def test_methods_on_one_field_have_their_gain_over_control_and_yardstick(run: Session) -> None:
    class Noisy:
        device = torch.device("cpu")

        def __init__(self, noise: float) -> None:
            self.noise = noise

        def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
            return images.float().mean((2, 3))

        def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
            wrong = torch.randn(len(images), 3, generator=torch.Generator().manual_seed(0))
            return self.embed_gallery(images) + self.noise * wrong

        def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
            return torch.cdist(query, gallery)

    matchers = {"new": Noisy(0.0), "IDE": Noisy(20.0), "HR + LR": Noisy(5.0)}
    trials = {"MLR {2,3,4}": mlr.trials(run.dataset, n=4)}
    run.measure_on_field(matchers, trials, paper="lrar", control="IDE", yardstick="HR + LR", seed=0)
    rows = results.read("smoke", "synth", "lrar").set_index(["method", "metric"])
    assert set(rows["artefact"]) == {"One field"}
    rank1 = {m: evaluate(matcher, trials["MLR {2,3,4}"], progress=False) for m, matcher in matchers.items()}
    for over, reference in (("rank1_gain", "HR + LR"), ("rank1_over_control_gain", "IDE")):
        found = rows.xs(over, level="metric")
        assert set(found.index) == set(matchers) - {reference}
        for method in found.index:
            difference = rank1[method].per_trial["rank1"] - rank1[reference].per_trial["rank1"]
            assert found.loc[method, "value"] == pytest.approx(difference.mean(), abs=1e-5)
            assert found.loc[method, "trials"] == 4
    assert rows.loc[("new", "rank1"), "seed"] == 0
