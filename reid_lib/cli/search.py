"""`reid-lib search`: images of a person looked for among others."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from reid_lib.cli.data import Assigned, Folder, OnDataSet, data_options, load
from reid_lib.cli.features import read_arrays
from reid_lib.cli.matchers import find_matcher
from reid_lib.status import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from reid_lib.datasets.records import ReIDDataset
    from reid_lib.evaluation.ranking import Matcher

IN_A_PICTURE = 8  # queries


@dataclass(frozen=True, kw_only=True)
class Search(OnDataSet):
    queries: Annotated[Positional[tuple[Path, ...]], arg(metavar="QUERY [QUERY ...]", help_behavior_hint="(required)")]
    """Images, or folders of them."""
    gallery: Path
    """A folder of images, or a feature file of the model (`reid-lib features`; only for a weight file as model)."""
    model: Annotated[
        str,
        arg(
            help='A file of OSNet x0.25 weights, or a method (cadnet, lrar, "HR + LR", ...) trained on --dataset under '
            "--profile."
        ),
    ]
    output: Annotated[Path, arg(aliases=["-o"])]
    """The folder for ranked.csv and the pictures."""
    depth: int = 10
    """Gallery images in a ranked list."""
    rate: Annotated[
        int,
        arg(
            help="The queries' down-sampling rate, for methods that are told it; 0: estimated from a query's height "
            "against the gallery's median."
        ),
    ] = 0
    false_match_rate: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Choose a threshold: the share of pairs of different people that it calls a match; needs --calibrate."""
    calibrate: Annotated[str, arg(help_behavior_hint="")] = ""
    """The data set on whose test part the threshold is chosen."""
    calibrate_root: Folder = ""
    """The folder of the data set that --calibrate names."""
    calibrate_options: Annotated[
        Assigned, arg(help="Options of its loader (DATA.md); layout=NAME names the layout.")
    ] = ()
    pictured: int = 40
    """Queries that are drawn, the first ones; 0: no picture."""
    seed: int = 0
    """Seed of the training, and of the calibration's draws."""

    def run(self) -> int:
        from reid_lib.evaluation import search
        from reid_lib.files import write_text
        from reid_lib.reporting import results

        self._check()
        files = search.image_files(self.queries, "queries")
        arrays = read_arrays(self.gallery) if self.gallery.is_file() else None
        names = _rows(arrays, self.gallery) if arrays else search.image_files([self.gallery], "gallery")
        results.check_writable(self.output)
        calibration = self._calibration()
        matcher, size = self._matcher()
        rates = self._rates(files, None if arrays else names)
        query = search.embed_files(matcher, files, size, rates)
        gallery = search.embed_files(matcher, names, size) if arrays is None else _features(arrays, matcher, query)
        distances = matcher.distance(query, gallery).cpu().numpy()
        found = _ranked(distances, files, names, rates, self.depth)
        found = self._with_matches(found, matcher, calibration)
        write_text(self.output / "ranked.csv", found.to_csv(index=False, lineterminator="\n"))
        drawn = 0 if arrays else self._draw(found, size)
        asked, among = counted(len(files), "query", "queries"), counted(len(names), "image")
        print(f"{self.output}: ranked.csv with {asked} against {among}, {counted(drawn, 'picture')}")
        if arrays:
            print("a feature file has no images: nothing is drawn")
        return 0

    def _check(self) -> None:
        if not self.queries:
            raise ValueError("a search needs a query: name an image, or a folder of images")
        if bool(self.calibrate) != (self.false_match_rate is not None):
            raise ValueError(
                "a threshold needs both --false-match-rate and --calibrate: give the other one, or neither"
            )
        if self.depth < 1 or self.rate < 0 or self.pictured < 0:
            raise ValueError(
                f"expected depth >= 1, rate >= 0 and pictured >= 0, found {self.depth}, {self.rate}, {self.pictured}"
            )
        if self.gallery.is_file() and not Path(self.model).is_file():
            raise ValueError("a feature file as gallery goes with a weight file as model: give a folder of images")
        if self.gallery.is_file() and self.gallery.suffix not in (".npz", ".safetensors"):
            raise ValueError(
                f"the gallery must be a folder of images or a feature file (.npz, .safetensors), found {self.gallery}"
            )

    def _calibration(self) -> "ReIDDataset | None":
        """Return the data set of the threshold; refuse, before anything is trained or embedded, what it cannot give."""
        from reid_lib.evaluation.search import check_calibration

        if not self.calibrate:
            return None
        dataset = load(self.calibrate, self.calibrate_root, "", self.calibrate_options)
        check_calibration(dataset, self.false_match_rate, seed=self.seed)
        return dataset

    def _matcher(self) -> "tuple[Matcher, tuple[int, int]]":
        """Return the Matcher and the size at which images are read for it."""
        from reid_lib.evaluation.matchers import pretrained
        from reid_lib.session import profile_variable, start

        if Path(self.model).is_file():
            matcher = pretrained(self.model)
            return matcher, matcher.input_size
        with profile_variable(self.profile):
            options = data_options(self.layout, self.options)
            where = {"dataset": self.dataset, "data_root": self.data_root, "data_options": options}
            run = start("search", profile=self.profile, seeds=(self.seed,), **where)
        matcher = find_matcher(self.model, run, self.seed)[1]
        if hasattr(matcher, "genuine_rate"):
            matcher.genuine_rate = 1  # rates are given here, on a set with genuine LR images too
        return matcher, run.dataset.size

    def _rates(self, files: list[Path], gallery: list[Path] | None) -> list[int]:
        """Return each query's rate, and say where it comes from."""
        from reid_lib.datasets.records import native_size
        from reid_lib.evaluation.search import estimated_rates

        if self.rate or gallery is None:
            how = "as given" if self.rate else "not estimated: the gallery's heights are not known"
            print(f"rate of the queries: {self.rate or 1} ({how})")
            return [self.rate or 1] * len(files)
        heights = [[native_size(file)[0] for file in some] for some in (files, gallery)]
        rates = estimated_rates(*heights)
        said = ", ".join(f"{rate} ({rates.count(rate)})" for rate in sorted(set(rates)))
        print(f"rates of the queries (how many), by height against the gallery's median: {said}")
        return rates

    def _with_matches(self, found: "pd.DataFrame", matcher: "Matcher", dataset: "ReIDDataset | None") -> "pd.DataFrame":
        """Add the columns threshold and match, if asked for; one threshold for each rate."""
        from reid_lib.evaluation.search import calibrate

        if dataset is None:
            return found
        limits = {}
        for rate in sorted(found["rate"].unique()):
            chosen = calibrate(matcher, dataset, self.false_match_rate, int(rate), self.seed)
            limits[rate] = chosen.distance
            cameras = "different cameras" if chosen.cross_camera else "any camera"
            print(
                f"threshold at rate {rate}: distance {chosen.distance:.4g}, false-match rate "
                f"{self.false_match_rate:g} on {chosen.pairs} pairs of different identities ({chosen.identities} "
                f"people, {cameras}) of {dataset.name}'s test part"
            )
        limit = found["rate"].map(limits)
        return found.assign(threshold=limit, match=found["distance"] < limit)

    def _draw(self, found: "pd.DataFrame", size: tuple[int, int]) -> int:
        """Draw the first queries' lists, and return the number of pictures."""
        from reid_lib.reporting import figures

        lists = list(found.groupby("query", sort=False))[: self.pictured]
        starts = range(0, len(lists), IN_A_PICTURE)
        for number, start in enumerate(starts, start=1):
            figures.save(_picture(lists[start : start + IN_A_PICTURE], size), self.output, f"ranked-{number}")
        return len(starts)


def _picture(lists: "list[tuple[str, pd.DataFrame]]", size: tuple[int, int]):
    """Draw some queries' lists; who is shown is not known, so no image has a frame."""
    import numpy as np

    from reid_lib.datasets.records import read_image
    from reid_lib.reporting import figures

    depth = min(len(own) for _, own in lists)
    queries = np.stack([read_image(Path(query), size) for query, _ in lists])
    shown = [[read_image(Path(path), size) for path in own["gallery"][:depth]] for _, own in lists]
    captions = [[_caption(row) for row in own[:depth].itertuples()] for _, own in lists]
    unknown = np.full((len(lists), depth), None)
    labels = [Path(query).name[-16:] for query, _ in lists]
    return figures.ranked_list(queries, np.array(shown), unknown, labels, captions=captions)


def _caption(row) -> str:
    return f"{row.distance:.3f}" + (" match" if getattr(row, "match", False) else "")


def _rows(arrays: dict, file: Path) -> list[str]:
    """Return the names of a feature file's rows; refuse features of LR images."""
    import numpy as np

    if "rate" in arrays and set(np.unique(arrays["rate"])) != {1}:
        raise ValueError(f"{file} has features of down-sampled images, a gallery is of rate 1: write it with --rates 1")
    return [str(name) for name in arrays.get("path", np.arange(len(arrays["features"])))]


def _features(arrays: dict, matcher: "Matcher", query: "torch.Tensor") -> "torch.Tensor":
    """Return a feature file's features as the Matcher of the network gives them: of length 1."""
    import numpy as np
    import torch

    features = torch.from_numpy(np.asarray(arrays["features"], np.float32)).to(query.device)
    if features.ndim != 2 or features.shape[1] != query.shape[1] or not features.isfinite().all():
        raise ValueError(
            f"the gallery's features must be finite and {query.shape[1]} numbers wide, as the model's are, found "
            f"{tuple(features.shape)}: write them with the same weights"
        )
    return torch.nn.functional.normalize(features)


def _ranked(distances: "np.ndarray", files: list[Path], names: list, rates: list[int], depth: int) -> "pd.DataFrame":
    """Return columns query, rate, rank, gallery, distance; a query's own file is left out of its list."""
    import numpy as np
    import pandas as pd

    places = {Path(name).resolve(): number for number, name in enumerate(names) if isinstance(name, Path)}
    parts, own = [], 0
    for file, rate, row in zip(files, rates, distances, strict=True):
        order, same = np.argsort(row, kind="stable"), places.get(file.resolve())
        own += same is not None
        order = order[order != same][:depth] if same is not None else order[:depth]
        columns = {"query": str(file), "rate": rate, "rank": np.arange(1, len(order) + 1)}
        parts.append(pd.DataFrame(columns | {"gallery": [str(names[i]) for i in order], "distance": row[order]}))
    if own:
        said = counted(own, "query is a gallery image", "queries are gallery images")
        print(f"{said} too, {'each ' * (own > 1)}left out of its own list")
    found = pd.concat(parts, ignore_index=True)
    if found.empty:
        raise ValueError("the gallery holds nothing but the query itself: give one with other images")
    return found
