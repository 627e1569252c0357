"""`reid-lib compare`: methods of this project, and your own, on the same trials."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from reid_lib.cli.data import OnDataSet, Seeds, data_options
from reid_lib.cli.matchers import find_matcher, title

if TYPE_CHECKING:
    import pandas as pd

    from reid_lib.evaluation.comparison import Comparison
    from reid_lib.session import Session


@dataclass(frozen=True, kw_only=True)
class Compare(OnDataSet):
    names: Annotated[
        Positional[tuple[str, ...]],
        arg(
            metavar="NAME NAME [NAME ...]",
            help='Two or more of: cadnet, intact, lrar, drfm, vpfa, cc, "HR only", "HR + LR", ... (each trained as its '
            "notebook does), a file of OSNet x0.25 weights (as it is), and module:name for your own: a Matcher, or a "
            "function of the data set that returns one.",
            help_behavior_hint="(required)",
        ),
    ]
    seeds: Seeds = (0,)
    """One training for each seed; what is not trained is measured once for each."""
    reference: Annotated[str, arg(help_behavior_hint="")] = ""
    """The method over which gains are counted; without it the last one named."""
    trials: int = 10
    """Draws of the protocol."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="FOLDER", help_behavior_hint="")] = None
    """A folder for comparison.csv and the pictures."""

    def run(self) -> int:
        from reid_lib.datasets import mlr
        from reid_lib.reporting import results, tables
        from reid_lib.session import profile_variable, start

        if len(self.names) < 2:  # before one is trained
            raise ValueError(f"a comparison needs two matchers or more, found {len(self.names)}")
        if self.output is not None:
            results.check_writable(self.output)
        with profile_variable(self.profile):
            run = start(
                "compare",
                profile=self.profile,
                dataset=self.dataset,
                data_root=self.data_root,
                data_options=data_options(self.layout, self.options),
                seeds=self.seeds,
            )
        settings = mlr.settings(run.dataset, n=self.trials)
        reference = self._reference([title(name, run) for name in self.names])
        found = {seed: self._compare(run, settings, seed) for seed in run.seeds}
        first = next(iter(found.values()))
        protocol = _protocol(settings)
        rows = results.merge_seeds(_rows(found, reference, run))
        shown = tables.measured_table(rows[rows["metric"].isin(("rank1", "map", "rank1_gain"))])
        print(f"{run.label}, profile {self.profile}; gains over {reference}")
        print(tables.to_plain(shown))
        if self.output is not None:
            self._write(rows, first, protocol, reference)
        return 0

    def _compare(self, run: "Session", settings: dict, seed: int) -> "Comparison":
        from reid_lib.evaluation.comparison import compare

        return compare(dict(find_matcher(name, run, seed) for name in self.names), settings)

    def _reference(self, titles: list[str]) -> str:
        """Return the title of the method over which gains are counted; each name may stand for another method only."""
        from reid_lib.training.roster import letters

        for number, method in enumerate(titles):
            if method in titles[:number]:
                raise ValueError(f"{method} is named twice: name each method once")
        known = {letters(method): method for method in titles}
        known["vpfa"] = next((m for m in titles if m.endswith("+ VPFA")), "")
        if self.reference and not known.get(letters(self.reference)):
            raise ValueError(f"reference must be one of {', '.join(titles)}, found {self.reference!r}")
        return known[letters(self.reference)] if self.reference else titles[-1]

    def _write(self, rows: "pd.DataFrame", first: "Comparison", protocol: str, reference: str) -> None:
        from reid_lib.files import write_text
        from reid_lib.reporting import figures

        write_text(self.output / "comparison.csv", rows.to_csv(index=False, lineterminator="\n"))
        for name, figure in first.pictures(protocol, reference).items():
            figures.save(figure, self.output, name)
        print(f"comparison.csv and {len(first.pictures(protocol, reference))} pictures in {self.output}")


def _protocol(settings: dict) -> str:
    """The data set's own protocol among its settings: genuine LR as it is, or MLR, which comes last."""
    return "genuine LR" if "genuine LR" in settings else list(settings)[-1]


def _rows(found: "dict[int, Comparison]", reference: str, run: "Session") -> "pd.DataFrame":
    """Return a comparison's rows (`results.COLUMNS`), of every seed."""
    import pandas as pd

    from reid_lib.reporting import results

    fixed = {"paper": "comparison", "artefact": "compare", "dataset": run.label, "profile": run.profile}
    parts = []
    for seed, comparison in found.items():
        for (method, setting), part in comparison.table(reference).groupby(["method", "setting"], sort=False):
            own = {"method": method, "setting": setting, "seed": seed}
            parts.append(results.rows_from_summary(part.set_index("metric"), **fixed, **own))
    return pd.concat(parts, ignore_index=True)
