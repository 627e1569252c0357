"""What the explorer says of a query is what evaluation measures; and who sees controls, and who a picture alone."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from IPython import display as ipython
from matplotlib.figure import Figure

from reid_lib import explore
from reid_lib.datasets import load, mlr
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation import ranking
from reid_lib.evaluation.directions import identity_means, resolution_direction
from reid_lib.evaluation.matchers import FeatureMatcher, PerRateMatcher
from reid_lib.evaluation.recovery import AsItIs, RecoveredMatcher
from reid_lib.explore import Control, DirectionExplorer, Explorer, show_moving

CPU = torch.device("cpu")
PNG = b"\x89PNG"
WIDGET = "application/vnd.jupyter.widget-view+json"


class Recovering(FeatureMatcher):
    """Makes an image's negative, as CAD-Net makes an HR image."""

    def recover(self, images: torch.Tensor) -> torch.Tensor:
        return 255 - images


def colours(images: torch.Tensor) -> torch.Tensor:
    """A network without weights: the mean colour of every eighth of an image's height, (n, 24)."""
    return torch.nn.functional.adaptive_avg_pool2d(images, (8, 1)).flatten(1)


@pytest.fixture(scope="module")
def trial() -> mlr.Trial:
    return mlr.trials(load("synth", identities=24, images_per_camera=2, size=(32, 24)), n=1)[0]


@pytest.fixture(scope="module")
def explorer(trial: mlr.Trial) -> Explorer:
    plain = FeatureMatcher(colours, (32, 16), CPU)
    recovered = RecoveredMatcher(plain, AsItIs(CPU))
    matchers = {"plain": plain, "recovering": Recovering(colours, (32, 16), CPU), "on recovered": recovered}
    return Explorer(matchers, trial)


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1, 3, 10])
def test_the_list_is_that_of_the_evaluation(explorer: Explorer, trial: mlr.Trial, rate: int) -> None:
    matcher, store = explorer.matchers["plain"], open_store(trial.dataset)
    gallery = ranking.embed_gallery(matcher, store, trial.gallery.index)
    for number in (0, 5, len(trial.query) - 1):
        look, chosen = explorer.look(number, rate, "plain"), trial.query.iloc[[number]]
        distances = matcher.distance(ranking.embed_queries(matcher, store, chosen.index, [rate]), gallery)
        metrics = ranking.rank_metrics(distances, chosen["pid"], trial.gallery["pid"], ranks=range(1, 13))
        assert [look.rank <= k for k in range(1, 13)] == [metrics[f"rank{k}"] == 100 for k in range(1, 13)]
        values, order = distances[0].sort(stable=True)
        assert look.nearest.tolist() == order[:5].tolist()
        assert look.distances == pytest.approx(values[:5].numpy())
        pids = trial.gallery["pid"].to_numpy()[order[:5]]
        assert look.right.tolist() == (pids == chosen["pid"].item()).tolist()
        assert (look.images == store.images[trial.gallery.index[order[:5]]]).all()


def test_of_equally_near_images_the_wrong_one_comes_first(trial: mlr.Trial) -> None:
    blind = FeatureMatcher(lambda images: torch.ones(len(images), 3), (32, 16), CPU)
    look = Explorer({"blind": blind}, trial, depth=len(trial.gallery)).look(0, 2, "blind")
    assert look.rank == len(trial.gallery)
    assert look.right.tolist() == [False] * (len(trial.gallery) - 1) + [True]
    assert "0 %" in Explorer({"blind": blind}, trial).picture(0, 2).axes[1].get_xlabel()


def test_the_query_is_seen_as_the_method_gets_it(explorer: Explorer, trial: mlr.Trial) -> None:
    image = open_store(trial.dataset).batch(trial.query.index[2:3])
    look = explorer.look(2, 4, "recovering")
    assert (look.query == degrade(image, 4)[0].permute(1, 2, 0).numpy()).all()
    assert (look.recovered == 255 - look.query).all()
    assert look.recovered.shape == (*trial.dataset.size, 3)
    assert (explorer.look(2, 4, "on recovered").recovered == look.query).all()
    assert explorer.look(2, 4, "plain").recovered is None


def test_a_query_lies_on_the_map_where_its_feature_is(trial: mlr.Trial) -> None:
    """Both images of a person at r = 1, one as query and one in the gallery, by a network that sees no difference."""
    generator = torch.Generator().manual_seed(0)
    known = torch.rand(1000, 6, generator=generator)
    by_image = {
        bytes(open_store(trial.dataset).batch([row]).numpy()): pid for row, pid in trial.dataset.table.pid.items()
    }

    class Person(FeatureMatcher):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            return known[[by_image[bytes(image[None].numpy())] for image in images]]

    explorer = Explorer({"person": Person(colours, (32, 16), CPU)}, trial)
    look, points = explorer.look(3, 1, "person"), explorer._gallery("person").points
    assert look.rank == 1
    assert look.place == pytest.approx(points[look.nearest[0]], abs=1e-6)
    assert points.mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert points[:, 0].var() > points[:, 1].var() > 0


def test_the_gallery_is_embedded_once(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer.look(0, 2, "plain")
    monkeypatch.setattr(explore, "embed_gallery", lambda *_: pytest.fail("embedded again"))
    explorer.look(1, 3, "plain")


def test_a_query_whose_person_is_absent_has_no_rank(trial: mlr.Trial) -> None:
    pid = trial.query["pid"].iloc[0]
    without = mlr.Trial(trial.dataset, trial.query, trial.gallery[trial.gallery["pid"] != pid])
    explorer = Explorer({"plain": FeatureMatcher(colours, (32, 16), CPU)}, without)
    assert explorer.look(0, 2, "plain").rank is None
    assert "not in the gallery" in explorer.picture(0, 2).texts[0].get_text()


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, "other"), "method must be one of plain, recovering, on recovered, found 'other'"),
        ((0, 0, "plain"), r"rate must lie between 1 and the shorter side, 24 pixels, found 0\.\.0"),
        ((0, 25, "plain"), r"found 25\.\.25"),
        ((0, 2.5, "plain"), "rate must be an integer"),
        ((-1, 2, "plain"), r"query must be a whole number from 0 to \d+, found -1"),
        ((10_000, 2, "plain"), "found 10000"),
        ((1.5, 2, "plain"), r"found 1\.5"),
        ((True, 2, "plain"), "found True"),
    ],
)
def test_bad_input_is_refused(explorer: Explorer, arguments: tuple, message: str) -> None:
    for call in (explorer.look, explorer.picture):
        with pytest.raises(ValueError, match=message):
            call(*arguments)


def test_an_explorer_needs_methods_that_have_not_seen_the_people(trial: mlr.Trial) -> None:
    with pytest.raises(ValueError, match=r"one method or more.*found 0 and"):
        Explorer({}, trial)
    with pytest.raises(ValueError, match="trained on split 1"):
        Explorer({"other split": FeatureMatcher(colours, (32, 16), CPU, split=1)}, trial)


def test_a_method_with_several_features_of_an_image_has_no_map(trial: mlr.Trial) -> None:
    plain = FeatureMatcher(colours, (32, 16), CPU)
    explorer = Explorer({"per rate": PerRateMatcher({1: plain, 2: plain})}, trial)
    with pytest.raises(ValueError, match=r"'per rate' has no map.*\(2, 24\)"):
        explorer.look(0, 2, "per rate")


# ---- the direction ---------------------------------------------------------------------------------------------------


def _features(width: int = 5) -> tuple[torch.Tensor, dict[int, torch.Tensor], np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    hr = torch.randn(30, width, generator=generator)
    shift = torch.linspace(1, 2, width)
    pids = np.array([0] * 2 + [1] * 5 + [2] * 10 + [7] * 13)  # not equally many images each
    return hr, {r: hr - r * shift + 0.1 * torch.randn(30, width, generator=generator) for r in (2, 4)}, pids


def test_the_arrow_goes_from_the_mean_of_lr_to_that_of_hr() -> None:
    hr, lr, pids = _features()
    explorer = DirectionExplorer(hr, lr, pids)
    for rate, features in lr.items():
        start, end = explorer.arrow(rate)
        for found, whole in ((start, features), (end, hr)):
            mean = identity_means(whole, pids)[0].mean(0, keepdim=True).numpy()
            assert found == pytest.approx(explorer.plane.transform(mean)[0], abs=1e-5)
        shift = resolution_direction(features, hr, pids).numpy()
        assert explorer.share(rate) == pytest.approx(np.linalg.norm(end - start) / np.linalg.norm(shift))
    assert np.linalg.norm(explorer.shifts[4]) > np.linalg.norm(explorer.shifts[2])


def test_a_plane_of_two_numbers_holds_the_whole_shift() -> None:
    hr, lr, pids = _features(width=2)
    assert DirectionExplorer(hr, lr, pids).share(2) == pytest.approx(1)


def test_points_are_of_the_people_asked_for_and_nothing_leaves_the_picture() -> None:
    hr, lr, pids = _features()
    explorer = DirectionExplorer(hr, lr, pids, shown=2)
    assert set(explorer.pids.tolist()) == {0, 2}
    axes = [explorer.picture(rate).axes[0] for rate in lr]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    (low, high), points = axes[0].get_xlim(), np.vstack([explorer.hr, *explorer.lr.values()])[:, 0]
    assert low < points.min() <= points.max() < high


def test_the_direction_refuses_other_rates() -> None:
    explorer = DirectionExplorer(*_features())
    with pytest.raises(ValueError, match="rate must be one of 2, 4, found 3"):
        explorer.picture(3)
    with pytest.raises(ValueError, match="rate must be one of 2, 4, found 3"):
        explorer.show(3)
    with pytest.raises(ValueError, match="one rate or more, found none"):
        DirectionExplorer(torch.zeros(2, 2), {}, [0, 1])


# ---- controls, and the picture alone ---------------------------------------------------------------------------------


class Cell:
    """Takes the place of a notebook's output."""

    def __init__(self) -> None:
        self.outputs: list[dict] = []

    def display(self, shown: object, raw: bool = False, display_id: bool | None = None) -> "Cell":
        self.outputs.append(shown if raw else {"image/png": shown.data})
        return self

    def update(self, shown: ipython.Image) -> None:
        self.outputs[-1] = {"image/png": shown.data}


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    from ipywidgets import Widget

    found = Cell()
    monkeypatch.setattr(ipython, "display", found.display)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("REID_LIB_STATUS", raising=False)
    yield found
    Widget.close_all()


def _boxes(cell: Cell) -> dict:
    from ipywidgets import widget

    row = widget._instances[cell.outputs[1][WIDGET]["model_id"]]
    return {box.description: box for box in row.children}


def test_where_nothing_can_be_moved_there_is_one_picture(explorer: Explorer, cell: Cell) -> None:
    explorer.show()
    DirectionExplorer(*_features()).show()
    assert [output.keys() for output in cell.outputs] == [{"image/png"}] * 2
    assert all(output["image/png"].startswith(PNG) for output in cell.outputs)


@pytest.mark.parametrize(("server", "status", "live"), [(1, 0, True), (1, 1, False), (0, 0, False), (0, 1, False)])
def test_controls_are_for_an_open_notebook(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, server: int, status: int, live: bool
) -> None:
    for name, wanted in (("JPY_SESSION_NAME", server), ("REID_LIB_STATUS", status)):
        if wanted:
            monkeypatch.setenv(name, "x")
    DirectionExplorer(*_features()).show()
    assert any(WIDGET in output for output in cell.outputs) == live


def test_what_is_chosen_is_drawn(explorer: Explorer, cell: Cell) -> None:
    explorer.show(query=1, rate=4, live=True)
    note, controls, picture = cell.outputs
    assert controls.keys() == {WIDGET, "text/html", "text/plain"}  # without widgets: an empty line
    assert "run the cell in JupyterLab" in note["text/html"]
    boxes = _boxes(cell)
    assert boxes.keys() == {"person", "r", "method"}
    seen = {picture["image/png"]}
    boxes["r"].value = 9
    assert cell.outputs[-1]["image/png"] == explore.png(explorer.picture(1, 9, "plain"))
    seen.add(cell.outputs[-1]["image/png"])
    boxes["method"].value = "recovering"
    seen.add(cell.outputs[-1]["image/png"])
    boxes["person"].index = 0
    seen.add(cell.outputs[-1]["image/png"])
    assert len(seen) == 4
    assert len(cell.outputs) == 3


def test_the_slider_goes_to_ten_or_as_far_as_the_image(explorer: Explorer, cell: Cell) -> None:
    explorer.show(query=1, rate=12, live=True)
    boxes = _boxes(cell)
    assert [value for _, value in boxes["r"].options] == [*range(1, 11), 12]
    assert boxes["person"].value == 1
    people = explorer.trial.query["pid"].nunique()
    assert len(boxes["person"].options) in (people, people + 1)  # query 1 may be a person's second


def test_any_figure_can_be_moved(cell: Cell) -> None:
    drawn = []

    def draw(number: int) -> Figure:
        drawn.append(number)
        return Figure(figsize=(1, 1))

    controls = {"number": Control("n", [("one", 1), ("two", 2)])}
    show_moving(draw, controls, {"number": 2}, alt="nothing", live=True)
    _boxes(cell)["n"].value = 1
    assert drawn == [2, 1]
