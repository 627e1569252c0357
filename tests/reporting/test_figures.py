import matplotlib as mpl
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from reid_lib.reporting import figures
from reid_lib.reporting.figures import FigureError

IMAGES = np.arange(4 * 8 * 4 * 3, dtype=np.uint8).reshape(4, 8, 4, 3)
CURVE = pd.DataFrame({"value": [80, 60, 20], "low": [78, 57, 17], "high": [82, 63, 23]}, index=[1, 2, 4])


def test_image_grid_shows_the_images_in_order():
    figure = figures.image_grid(IMAGES, 2, 2, ["HR", "r = 4"], ["cam 1", "cam 2"], "title")
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert all((one == image).all() for one, image in zip(shown, IMAGES, strict=True))
    assert [axis.get_title() for axis in figure.axes[:2]] == ["cam 1", "cam 2"]
    assert [figure.axes[i].get_ylabel() for i in (0, 2)] == ["HR", "r = 4"]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:3], (), "2 x 2 = 4 images, found 3"),
        (IMAGES.astype(float), (), "uint8"),
        (IMAGES.transpose(0, 3, 1, 2), (), "uint8 .n, H, W, 3"),
        (IMAGES, ("one",), "2 row labels, found 1"),
    ],
)
def test_image_grid_refuses(images, labels, message):
    with pytest.raises(FigureError, match=message):
        figures.image_grid(images, 2, 2, labels)


def test_ranked_list_marks_are_not_by_colour_alone():
    correct = np.array([[True, False, True]])
    figure = figures.ranked_list(IMAGES[:1], IMAGES[None, 1:], correct, ["r = 2"])
    signs = [axis.texts[0].get_text() for axis in figure.axes[1:]]
    assert signs == ["✓", "✗", "✓"]
    lines = [axis.spines["top"].get_linestyle() for axis in figure.axes[1:]]
    assert lines[0] == lines[2] != lines[1]
    assert [axis.get_title() for axis in figure.axes] == ["query", "1", "2", "3"]
    with pytest.raises(FigureError, match="Expected galleries"):
        figures.ranked_list(IMAGES[:1], IMAGES[None, 1:], correct[:, :2])


def test_ranked_list_without_knowledge_has_captions_and_no_frames():
    captions = [["0.1", "0.2 match", "0.3"]]
    figure = figures.ranked_list(IMAGES[:1], IMAGES[None, 1:], np.full((1, 3), None), captions=captions)
    assert [axis.get_xlabel() for axis in figure.axes[1:]] == captions[0]
    assert not any(axis.texts or axis.spines["top"].get_visible() for axis in figure.axes)


def test_curves_differ_by_more_than_colour():
    figure = figures.curve_with_interval({"HR only": CURVE, "HR + LR": CURVE[["value"]]})
    axis = figure.axes[0]
    assert axis.get_xlabel() == "down-sampling rate r of the query"
    assert axis.get_ylabel() == "Rank-1 (%)"
    looks = {(line.get_marker(), line.get_linestyle()) for line in axis.lines}
    assert len(looks) == 2
    assert len(axis.collections) == 1  # one band: the other has no interval
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "2", "4"]
    with pytest.raises(FigureError, match="low and high together"):
        figures.curve_with_interval({"x": CURVE[["value", "low"]]})


def test_curves_over_names_stand_at_equal_distances():
    named = CURVE.set_axis(["HR->HR", "r = 2", "r = 4"])
    axis = figures.curve_with_interval({"HR only": named, "HR + LR": named.iloc[1:]}).axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["HR->HR", "r = 2", "r = 4"]
    assert [line.get_xdata().tolist() for line in axis.lines] == [[0, 1, 2], [1, 2]]


def test_cmc_curve():
    figure = figures.cmc_curve({"plain": np.array([50.0, 75.0, 100.0])})
    assert list(figure.axes[0].lines[0].get_xdata()) == [1, 2, 3]
    assert "Rank-1 50.0" in figure.legends[0].get_texts()[0].get_text()
    with pytest.raises(FigureError, match="never fall"):
        figures.cmc_curve({"plain": np.array([50.0, 40.0])})


def test_bars():
    figure = figures.bars(CURVE.set_axis(["a", "b", "c"]))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [80, 60, 20]


def test_save_gives_the_same_bytes_twice(tmp_path):
    paths = [
        figures.save(figures.curve_with_interval({"HR only": CURVE}), tmp_path / name, "baselines_fig_rank1_by_rate")
        for name in ("a", "b")
    ]
    assert paths[0].name == "baselines_fig_rank1_by_rate.png"
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "a").iterdir()] == [paths[0].name]
    (tmp_path / "file").write_text("")
    with pytest.raises(FigureError, match="Cannot write"):
        figures.save(figures.bars(CURVE), tmp_path / "file" / "x", "name")


def test_colours_are_distinct():
    assert len(set(figures.OKABE_ITO)) == len(figures.OKABE_ITO) == 7


def dots(*cells: tuple, series: str = "small") -> pd.DataFrame:
    rows = pd.DataFrame(cells, columns=["name", "value", "low", "high", "hollow"])
    return rows.assign(series=series)


DOTS = {
    "synth": pd.concat([dots(("a", 2.0, 1.0, 3.0, False)), dots(("a", -4.0, -5.0, -3.0, True), series="large")]),
    **{f"set {i}": dots(("b", 1.0, float("nan"), float("nan"), False)) for i in range(4)},
}


def test_dots_differ_by_more_than_colour():
    figure = figures.dots_with_interval(DOTS, ["a", "b"], "zero", "one seed", "gain (points)")
    first = figure.axes[0]
    zero, solid, hollow = first.lines[0], *(box.lines[0] for box in first.containers)
    assert zero.get_xdata() == [0, 0]
    assert (solid.get_xdata(), hollow.get_xdata()) == ([2.0], [-4.0])
    assert solid.get_marker() != hollow.get_marker()
    assert solid.get_color() != hollow.get_color()
    assert (solid.get_mfc(), hollow.get_mfc()) == (solid.get_color(), "white")
    assert -0.5 < solid.get_ydata()[0] < 0 < hollow.get_ydata()[0] < 0.5
    assert [axis.get_title() for axis in figure.axes] == list(DOTS)  # no empty panel is left
    assert len({axis.get_xlim() for axis in figure.axes}) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["zero", "small", "large", "one seed"]


def test_dots_keep_legend_and_labels_inside_and_off_the_panels(tmp_path):
    figure = figures.dots_with_interval(DOTS, ["a", "b"], "zero", "one seed", "gain (points)")
    image = mpl.image.imread(figures.save(figure, tmp_path, "dots"))
    assert all((edge == 1).all() for edge in (image[0], image[-1], image[:, 0], image[:, -1]))
    legend = figure.legends[0].get_window_extent()
    label = figure.texts[0].get_window_extent()
    for axis in figure.axes:
        assert not legend.overlaps(axis.get_tightbbox())
        assert not label.overlaps(axis.get_tightbbox())


def test_dots_of_one_series_need_no_name():
    alone = {"synth": dots(("a", 2.0, 1.0, 3.0, False))}
    figure = figures.dots_with_interval(alone, ["a"], "zero", "one seed", "gain (points)")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["zero"]


def test_histograms_add_up_to_a_hundred_percent():
    figure = figures.histograms({"a": np.arange(10.0), "b": np.full(5, 3.0)}, "cosine (no unit)", "images")
    assert [round(patch.get_data().values.sum(), 6) for patch in figure.axes[0].patches] == [100, 100]
    assert figure.axes[0].get_ylabel() == "images (%)"
    assert figure.axes[0].patches[0].get_linestyle() != figure.axes[0].patches[1].get_linestyle()


def test_matrix_shows_every_number():
    table = pd.DataFrame([[1.0, 0.25], [-0.5, 1.0]], index=["r = 2", "r = 4"], columns=["r = 3", "r = 8"])
    figure = figures.matrix(table, "cosine (no unit)")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "0.25", "-0.50", "1.00"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["r = 2", "r = 4"]
    assert figure.axes[1].get_ylabel() == "cosine (no unit)"


def test_matrix_keeps_its_labels_inside(tmp_path):
    table = pd.DataFrame(np.eye(4), index=["HR->HR", "r = 2", "r = 3", "r = 4"], columns=["a", "b", "c", "d"])
    image = mpl.image.imread(figures.save(figures.matrix(table, "share of queries", low=0.0), tmp_path, "matrix"))
    assert all((edge == 1).all() for edge in (image[0], image[-1], image[:, 0], image[:, -1]))


def test_features_before_and_after_stand_on_the_same_axes():
    points = np.arange(12.0).reshape(6, 2)
    pids, lr = np.array([7, 7, 7, 9, 9, 9]), np.array([False, False, True] * 2)
    figure = figures.features_before_after({"before": points, "after": points + 1}, pids, lr)
    before, after = figure.axes
    assert before.get_xlim() == after.get_xlim()
    assert [text.get_text() for text in before.texts] == ["7", "9"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["HR image", "LR image"]
    hr, low = before.collections[:2]
    assert (hr.get_offsets() == points[:2]).all()
    assert (low.get_offsets() == points[2:3]).all()
    assert len(low.get_facecolors()) == 0  # open: told apart by more than colour
    with pytest.raises(FigureError, match="n = 5"):
        figures.features_before_after({"before": points}, pids[:5], lr[:5])


def test_points_by_group_tell_many_groups_apart_by_name_and_few_by_legend():
    points, pids = np.arange(40.0).reshape(20, 2), np.repeat(np.arange(10, 20), 2)
    figure = figures.points_by_group(points, {"by identity": pids, "by rate": np.tile([1, 4], 10)})
    many, few = figure.axes
    assert [text.get_text() for text in many.texts] == [str(pid) for pid in range(10, 20)]
    assert many.get_legend() is None
    looks = {(tuple(c.get_facecolors()[0]), len(c.get_paths()[0].vertices)) for c in many.collections}
    assert len({colour for colour, _ in looks}) == 7  # colours come again, with other markers
    assert len(looks) == 10
    assert [text.get_text() for text in few.get_legend().get_texts()] == ["1", "4"]
    assert (few.collections[1].get_offsets() == points[1::2]).all()
    assert many.texts[0].xy in points[:2]
    assert many.get_xlim() == few.get_xlim()
    with pytest.raises(FigureError, match=r"found points \(20, 2\)"):
        figures.points_by_group(points, {"by rate": pids[:5]})


def looks(axis: mpl.axes.Axes) -> list[tuple]:
    """Colour and form of each group of points."""
    return [
        (tuple(c.get_edgecolors()[0]), tuple(map(tuple, c.get_paths()[0].vertices)))
        for c in axis.collections
        if len(c.get_facecolors())
    ]


def test_no_two_groups_of_points_look_alike():
    groups = np.arange(49).repeat(2)
    points = np.arange(196.0).reshape(98, 2)
    both = (
        figures.points_by_group(points, {"by identity": groups}),
        figures.features_before_after({"before": points}, groups, np.tile([False, True], 49)),
    )
    for figure in both:
        found = looks(figure.axes[0])
        assert len(found) == len(set(found)) == 49
        assert len({colour for colour, _ in found}) == 7
    many, more = np.arange(50), np.zeros((50, 2))
    with pytest.raises(FigureError, match="at most 49 groups, found 50"):
        figures.points_by_group(more, {"by identity": many})
    with pytest.raises(FigureError, match="at most 49 groups, found 50"):
        figures.features_before_after({"before": more}, many, many < 0)


def legends(figure: mpl.figure.Figure) -> list:
    return [*figure.legends, *filter(None, (axis.get_legend() for axis in figure.axes))]


NAMES = ["HR only", "HR + LR", "one model per rate", "IDE + Verif", "HR + LR + VPFA", "ridge, released form", "x"]
WITH_LEGEND = {
    "curves": lambda: figures.curve_with_interval(dict.fromkeys(NAMES, CURVE), title="a title"),
    "two curves": lambda: figures.curve_with_interval(dict.fromkeys(["gradient_generator " * 3, "b"], CURVE)),
    "cmc": lambda: figures.cmc_curve(dict.fromkeys(NAMES, np.array([50.0, 75.0]))),
    "histograms": lambda: figures.histograms(dict.fromkeys(NAMES, np.arange(9.0)), "cosine", "images"),
    "points": lambda: figures.points_by_group(np.eye(7)[:, :2], {"by name": np.array(NAMES), "r": np.arange(7) % 2}),
    "features": lambda: figures.features_before_after({"a": np.eye(4)[:, :2]}, np.ones(4), np.arange(4) < 2),
}


@pytest.mark.parametrize("name", WITH_LEGEND)
def test_legends_stand_beside_the_data_and_inside_the_figure(name, tmp_path):
    figure = WITH_LEGEND[name]()
    image = mpl.image.imread(figures.save(figure, tmp_path, "x"))
    assert all((edge == 1).all() for edge in (image[0], image[-1], image[:, 0], image[:, -1]))
    assert legends(figure)
    for legend in legends(figure):
        for axis in figure.axes:
            box = legend.get_window_extent()
            assert not box.overlaps(axis.get_window_extent())
            assert not box.overlaps(axis.xaxis.get_tightbbox())
            assert not axis.get_title() or not box.overlaps(axis.title.get_window_extent())


def test_strips_share_one_scale():
    panels = {"stage 1": np.array([[0.1, 0.5], [0.2, 0.3]]), "stage 2": np.array([[0.9], [0.4]])}
    figure = figures.strips(panels, ["r = 1", "r = 2"], "channel", "scale (no unit)")
    first, second, bar = figure.axes
    assert (first.images[0].get_array() == panels["stage 1"]).all()
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0.1, 0.9)
    assert [label.get_text() for label in first.get_yticklabels()] == ["r = 1", "r = 2"]
    assert (second.get_title(), second.get_xlabel(), bar.get_ylabel()) == ("stage 2", "channel", "scale (no unit)")
    with pytest.raises(FigureError, match="Expected 3 rows in every panel, found"):
        figures.strips(panels, ["r = 1", "r = 2", "r = 3"], "channel", "scale (no unit)")
