"""Something to move: what a query's ranked list, and the resolution direction, do while the resolution changes.

Explorer(matchers, trial).show()

In JupyterLab there are controls above the picture. Where nobody can move them (papermill, nbval, HTML, GitHub) there
is the picture alone. decision NOTE-1
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.mlr import Trial
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.directions import resolution_direction
from reid_lib.evaluation.ranking import Matcher, check_trials, embed_gallery, embed_queries
from reid_lib.reporting import moving
from reid_lib.reporting.figures import png
from reid_lib.status import VARIABLE

RATES = tuple(range(1, 11))
DEPTH = 5
_SERVER_VARIABLE = "JPY_SESSION_NAME"  # Jupyter's server sets it for the kernels of opened notebooks
_WIDGET = "application/vnd.jupyter.widget-view+json"
# A notebook that is opened again has no widgets: JupyterLab then writes an error where the controls were. That output
# alone has text and no element. The line that says what to do is there while the controls are not.
_AGAIN = """<style>
.jp-OutputArea:has(.reid-lib-again) .jp-OutputArea-output:not(:has(*)) { display: none }
.jp-OutputArea:has(.reid-lib-controls) .reid-lib-again { display: none }
</style><p class="reid-lib-again">To move this picture, run the cell in JupyterLab.</p>"""


# ---- A query and its ranked list -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Look:
    """A query at one rate, in the eyes of one method.

    Attributes:
        query: the image as the method gets it, uint8 (H, W, 3).
        recovered: the image that the method makes of it, uint8 (H, W, 3), or None: it makes none.
        nearest: int (k,), places in the trial's gallery of the nearest images, nearest first. Of equally near images
            those of other persons come first, as in `ranking.rank_metrics`.
        images: those images, uint8 (k, H, W, 3).
        right: bool (k,), whether each shows the query's person.
        distances: float (k,).
        rank: that of the first image of the query's person, from 1; None: the gallery has none.
        place: (2,), where the query's feature lies on the method's map.
    """

    query: np.ndarray
    recovered: np.ndarray | None
    nearest: np.ndarray
    images: np.ndarray
    right: np.ndarray
    distances: np.ndarray
    rank: int | None
    place: np.ndarray


@dataclass(frozen=True, eq=False)
class _Gallery:
    """What no slider changes: one method's features (n, d), their two principal components, and the points (n, 2)."""

    features: torch.Tensor
    plane: PCA
    points: np.ndarray


class Explorer:
    """Shows one query at any rate: the image, its ranked list, and its feature on a map of the gallery.

    Args:
        matchers: the methods by their names in tables.
        trial: its queries can be chosen, by their place in ``trial.query``; the rate is the slider's, not the trial's.
        depth: length of the ranked list.
        kernel: down-sampling kernel.

    Raises:
        ValueError: no method, a gallery of fewer than two images, or a method that was trained on another split.
    """

    def __init__(
        self, matchers: Mapping[str, Matcher], trial: Trial, *, depth: int = DEPTH, kernel: str = "bicubic"
    ) -> None:
        if not matchers or len(trial.gallery) < 2:
            raise ValueError(
                "an explorer needs one method or more, and two gallery images or more, found "
                f"{len(matchers)} and {len(trial.gallery)}"
            )
        for matcher in matchers.values():
            check_trials([trial], getattr(matcher, "split", None))
        self.matchers, self.trial, self.depth, self.kernel = dict(matchers), trial, depth, kernel
        self.store = open_store(trial.dataset)
        self._rows = trial.gallery.index.to_numpy()
        self._pids = trial.gallery["pid"].to_numpy()
        self._galleries: dict[str, _Gallery] = {}

    def look(self, query: int, rate: int, method: str) -> Look:
        """Return what ``method`` makes of a query that is down-sampled by ``rate``.

        Args:
            query: its number in ``trial.query``, from 0.
            rate: down-sampling rate r, an integer >= 1 (1 leaves the image as it is).
            method: one of the names of ``matchers``.

        Raises:
            ValueError: a number that no query has, a rate that `degrade` refuses, or an unknown method; a method
                without one feature for each image, of the same length for query and gallery: it has no map.
        """
        self._check(query, method)
        matcher, row = self.matchers[method], self.trial.query.index[query]
        seen = degrade(self.store.batch([row]), rate, self.kernel)
        gallery = self._gallery(method)
        feature = embed_queries(matcher, self.store, [row], [rate], self.kernel)
        if feature.shape[1:] != gallery.features.shape[1:]:
            raise ValueError(_no_map(method, f"{tuple(feature.shape[1:])} and {tuple(gallery.features.shape[1:])}"))
        distances = matcher.distance(feature, gallery.features)[0].double().cpu().numpy()
        own = self._own(query)
        nearest = np.lexsort((own, distances))[: self.depth]
        return Look(
            query=_images(seen)[0],
            recovered=_recovered(matcher, seen),
            nearest=nearest,
            images=self.store.images[self._rows[nearest]],
            right=own[nearest],
            distances=distances[nearest],
            rank=int((~own & (distances <= distances[own].min())).sum()) + 1 if own.any() else None,
            place=gallery.plane.transform(_numbers(feature))[0],
        )

    def picture(self, query: int = 0, rate: int = 4, method: str = "") -> Figure:
        """Draw what `look` returns; method "" is the first one."""
        method = method or next(iter(self.matchers))
        look, gallery = self.look(query, rate, method), self._gallery(method)
        versions = {f"query, r = {rate}": look.query}
        if look.recovered is not None:
            versions["recovered"] = look.recovered
        rank = "is not in the gallery" if look.rank is None else f"at rank {look.rank} of {len(self._pids)}"
        place = moving.Map(gallery.points, look.place, self._own(query), look.nearest, _axis_names(gallery.plane))
        title = f"{method}: the right person {rank}"
        return moving.query_and_list(versions, look.images, look.right, look.distances, place, title)

    def show(self, query: int = 0, rate: int = 4, method: str = "", *, live: bool | None = None) -> None:
        """Show the picture, with controls above it where somebody can move them (`show_moving`).

        Raises:
            ValueError: as `look`.
        """
        people = self.trial.query.reset_index(drop=True)
        first = people.drop_duplicates("pid")
        first = first if query in first.index else people.loc[[*first.index, query]]
        rates = [r for r in RATES if r <= min(self.trial.dataset.size)]
        controls = {
            "query": Control("person", [(f"{p}, camera {c}", n) for n, p, c in first[["pid", "camid"]].itertuples()]),
            "rate": Control("r", [(str(r), r) for r in sorted({*rates, rate})], slider=True),
            "method": Control("method", [(name, name) for name in self.matchers]),
        }
        start = {"query": query, "rate": rate, "method": method or next(iter(self.matchers))}
        show_moving(self.picture, controls, start, alt="a query, its ranked list and its place on a map", live=live)

    def _own(self, query: int) -> np.ndarray:
        return self._pids == self.trial.query["pid"].iloc[query]

    def _gallery(self, method: str) -> _Gallery:
        """Embed the gallery and fit its map, once for each method."""
        if method not in self._galleries:
            features = embed_gallery(self.matchers[method], self.store, self._rows)
            if features.ndim != 2:
                raise ValueError(_no_map(method, f"{tuple(features.shape[1:])} for a gallery image"))
            plane = _plane(features)
            self._galleries[method] = _Gallery(features, plane, plane.transform(_numbers(features)))
        return self._galleries[method]

    def _check(self, query: int, method: str) -> None:
        if method not in self.matchers:
            raise ValueError(f"method must be one of {', '.join(self.matchers)}, found {method!r}")
        last = len(self.trial.query) - 1
        if isinstance(query, bool) or not isinstance(query, int | np.integer) or not 0 <= query <= last:
            raise ValueError(f"query must be a whole number from 0 to {last}, found {query!r}")


def _no_map(method: str, found: str) -> str:
    return (
        f"method {method!r} has no map: expected one feature for each image, of the same length for query and "
        f"gallery, found {found}; leave this method out"
    )


def _recovered(matcher: Matcher, seen: torch.Tensor) -> np.ndarray | None:
    """Return the image that a method makes of a query, itself (CAD-Net) or before it matches (`RecoveredMatcher`)."""
    maker = matcher if hasattr(matcher, "recover") else getattr(matcher, "recoverer", None)
    return None if maker is None else _images(maker.recover(seen.to(maker.device)))[0]


def _images(images: torch.Tensor) -> np.ndarray:
    """Turn (n, 3, H, W) into (n, H, W, 3)."""
    return images.permute(0, 2, 3, 1).cpu().numpy()


def _numbers(features: torch.Tensor) -> np.ndarray:
    return features.double().cpu().numpy()


def _plane(features: torch.Tensor) -> PCA:
    """Fit the two main components of features (n, d), d >= 2; the signs are always the same."""
    with np.errstate(invalid="ignore"):  # a network that sees no difference has shares of 0 / 0
        return PCA(2, svd_solver="full").fit(_numbers(features))


def _axis_names(plane: PCA) -> tuple[str, str]:
    one, two = np.nan_to_num(100 * plane.explained_variance_ratio_)
    return f"component 1 ({one:.0f} % of the variance)", f"component 2 ({two:.0f} % of the variance)"


# ---- The resolution direction ----------------------------------------------------------------------------------------


class DirectionExplorer:
    """Shows the mean shift from LR to HR features at any rate, in the plane of the HR features' two main components.

    The plane and the arrow are those of all people; points are drawn of a few. An arrow in a plane is shorter than
    the shift itself: the title says which share of its length is seen.

    Args:
        hr: (n, d).
        lr: (n, d) by the rate, row i from the same image as row i of ``hr``.
        pids: (n,) identities.
        shown: of how many people there are points.

    Raises:
        ValueError: no rate, or what `resolution_direction` refuses.
    """

    def __init__(self, hr: torch.Tensor, lr: Mapping[int, torch.Tensor], pids: Sequence[int], shown: int = 6) -> None:
        if not lr:
            raise ValueError("expected LR features of one rate or more, found none")
        pids = np.asarray(pids)
        self.shifts = {rate: _numbers(resolution_direction(features, hr, pids)) for rate, features in lr.items()}
        self.plane = _plane(hr)
        names, number, counts = np.unique(pids, return_inverse=True, return_counts=True)
        weights = 1 / counts[number] / len(names)  # of each image in a mean over identities
        self._end = self.plane.transform(_numbers(hr)).T @ weights
        few = np.isin(pids, names[:: max(1, len(names) // shown)][:shown])
        self.pids = pids[few]
        self.hr = self.plane.transform(_numbers(hr)[few])
        self.lr = {rate: self.plane.transform(_numbers(features)[few]) for rate, features in sorted(lr.items())}
        arrows = [self.arrow(rate)[0] for rate in self.lr]
        points = np.vstack([self.hr, *self.lr.values(), *arrows, self._end])
        low, high = points.min(0), points.max(0)
        margin = 0.05 * (high - low)
        self._limits = tuple(zip(low - margin, high + margin, strict=True))

    def arrow(self, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where in the plane the arrow starts, the LR features' mean (2,), and ends, the HR features' (2,).

        Raises:
            ValueError: a rate of which there are no features.
        """
        return self._end - self.plane.components_ @ self._shift(rate), self._end

    def share(self, rate: int) -> float:
        """Return the share of the shift's length that is seen in the plane, 0 to 1."""
        shift = self._shift(rate)
        return float(np.linalg.norm(self.plane.components_ @ shift) / max(np.linalg.norm(shift), 1e-12))

    def picture(self, rate: int) -> Figure:
        """Draw the points at a rate, and the arrow from the mean of LR features to that of HR ones."""
        title = f"r = {rate}: {100 * self.share(rate):.0f} % of the shift's length lies in this plane"
        points = self.hr, self.lr[rate], self.pids
        return moving.shift_of_people(*points, self.arrow(rate), self._limits, _axis_names(self.plane), title)

    def show(self, rate: int | None = None, *, live: bool | None = None) -> None:
        """Show the picture, with a slider above it where somebody can move it (`show_moving`); None: the middle rate.

        Raises:
            ValueError: a rate of which there are no features.
        """
        rates = list(self.lr)
        controls = {"rate": Control("r", [(str(r), r) for r in rates], slider=True)}
        start = {"rate": rates[len(rates) // 2] if rate is None else rate}
        show_moving(self.picture, controls, start, alt="the resolution direction as an arrow", live=live)

    def _shift(self, rate: int) -> np.ndarray:
        if rate not in self.shifts:
            raise ValueError(f"rate must be one of {', '.join(map(str, self.shifts))}, found {rate!r}")
        return self.shifts[rate]


# ---- The controls ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Control:
    """What a reader can choose: a slider or a list.

    Attributes:
        label: what stands before it.
        options: (text, value) of each choice.
        slider: whether it is a slider.
    """

    label: str
    options: Sequence[tuple[str, Any]]
    slider: bool = False


def can_be_moved() -> bool:
    """Whether the kernel belongs to a notebook that is open in JupyterLab, and `reid-lib reproduce` does not run it."""
    return _SERVER_VARIABLE in os.environ and not os.environ.get(VARIABLE)


def show_moving(  # decision NOTE-1
    draw: Callable[..., Figure],
    controls: Mapping[str, Control],
    start: Mapping[str, Any],
    *,
    alt: str,
    live: bool | None = None,
) -> None:
    """Show a picture, and controls above it that draw it again.

    The picture is an ordinary output, image/png, which every move replaces: what is saved is what was seen last.

    Args:
        draw: takes the names of ``controls``, and returns a figure.
        controls: by the name of ``draw``'s argument.
        start: what is chosen at first.
        alt: the picture in words, for those who do not see it.
        live: whether there are controls; None: where somebody can move them (`can_be_moved`).
    """
    from IPython.display import Image, display

    def image(values: Mapping[str, Any]) -> Image:
        return Image(png(draw(**values)), alt=alt)

    first = image(start)
    if not (can_be_moved() if live is None else live):
        display(first)
        return
    boxes = {name: _box(control, start[name]) for name, control in controls.items()}
    display({"text/html": _AGAIN, "text/plain": ""}, raw=True)
    display(_bundle(list(boxes.values())), raw=True)
    handle = display(first, display_id=True)
    for box in boxes.values():
        box.observe(partial(_moved, boxes, lambda values: handle.update(image(values))), "value")


def _box(control: Control, value: Any) -> Any:
    import ipywidgets

    kind = ipywidgets.SelectionSlider if control.slider else ipywidgets.Dropdown
    return kind(options=list(control.options), value=value, description=control.label)


def _bundle(boxes: Sequence[Any]) -> dict[str, Any]:
    """Return the controls as an output of which nothing is seen where there are no widgets."""
    import ipywidgets

    row = ipywidgets.HBox(list(boxes), layout={"flex_flow": "row wrap"})
    row.add_class("reid-lib-controls")
    return {_WIDGET: row._repr_mimebundle_()[_WIDGET], "text/html": "<span></span>", "text/plain": ""}


def _moved(boxes: Mapping[str, Any], show: Callable[[Mapping[str, Any]], None], _: object) -> None:
    show({name: box.value for name, box in boxes.items()})
