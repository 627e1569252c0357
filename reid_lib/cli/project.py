"""`reid-lib reproduce`, `list`, `status`, `verify`, `readme` and `site`: the project as a whole."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from reid_lib.cli.data import Assigned, OnDataSet, assignments, data_options
from reid_lib.status import counted

SITE = Path("build") / "site"  # in the project's folder


@dataclass(frozen=True, kw_only=True)
class Reproduce(OnDataSet):
    only: Annotated[str, arg(help_behavior_hint="")] = ""
    """One notebook (13_lrar, lrar, 13) or one table or figure ("Baselines Kernel sensitivity")."""
    seeds: Annotated[tuple[int, ...] | None, arg(metavar="INT [INT ...]", help_behavior_hint="")] = None
    """Seeds, in place of the notebooks' own."""
    set: Assigned = ()
    """Further notebook parameters."""
    jobs: Annotated[
        str,
        arg(
            metavar="N",
            help="How many notebooks run side by side, one thread each. Results do not depend on it.",
            help_behavior_hint="(default: as many as there are cores, or as many as there are GPUs)",
        ),
    ] = ""
    executor: str = "local"
    """local, or slurm: as jobs of the cluster on whose login machine this is typed (docs/cluster.md)."""
    slurm: Annotated[Assigned, arg(metavar="KEY=VALUE")] = ()
    """With --executor slurm, options of sbatch by their long names, "_" for "-": partition=gpu gpus_per_node=1 time=720
    (minutes)."""
    force: bool = False
    """Run also what is up to date."""
    write_back: bool = False
    """Put the outputs, normalised, into notebooks/ (built-in data and the notebooks' own parameters only)."""

    def run(self) -> int:
        from reid_lib import jobs, site
        from reid_lib.reporting import papers, verdicts
        from reid_lib.reproduce import NotebookFailed

        root = project_root()
        run = self._runner()
        try:
            with jobs.termination_interrupts():
                ran = run(
                    root,
                    profile=self.profile,
                    dataset=self.dataset,
                    data_root=self.data_root,
                    seeds=self.seeds,
                    only=self.only,
                    overrides=self._overrides(),
                    force=self.force,
                    write_back=self.write_back,
                    screen=jobs.Terminal(sys.stdout) if sys.stdout.isatty() else None,
                    say=lambda line: print(line, flush=True),
                )
        except NotebookFailed as error:
            print(error, file=sys.stderr)
            return 1
        verdicts.write(papers.CLAIMS)
        if not ran and (root / SITE / "index.html").is_file():
            print(f"nothing ran: the pages in {root / SITE} are those of before; `reid-lib site` makes them anew")
            return 0
        try:
            print(f"results, and the committed notebooks as pages: {site.build(root, root / SITE, with_api=False)}")
        except site.SiteError as error:  # the numbers are there: a page that cannot be made is no reason to fail
            print(f"the pages were not made anew: {error}")
        return 0

    def _runner(self) -> Callable[..., list[str]]:
        """Return what runs the notebooks: here, or on a cluster."""
        from reid_lib import cluster, jobs, reproduce

        if self.executor not in ("local", "slurm"):
            raise ValueError(f"executor must be local or slurm, found {self.executor!r}")
        count = jobs.parse_count(self.jobs)
        if self.executor == "local":
            if self.slurm:
                raise ValueError("--slurm belongs to --executor slurm: without it notebooks run on this machine")
            return partial(reproduce.reproduce, count=count)
        if count:
            raise ValueError("--jobs is for this machine: with --executor slurm the cluster says how many run at once")
        return partial(cluster.reproduce, slurm_options=assignments(self.slurm))

    def _overrides(self) -> dict[str, object]:
        options, given = data_options(self.layout, self.options), assignments(self.set)
        own = {"profile", "dataset", "data_root", "seeds"} & given.keys()
        if own or "data_options" in given:
            name = min(own, default="options")
            raise ValueError(f"--set takes what has no option of its own: use --{name.replace('_', '-')}")
        return ({"data_options": options} if options else {}) | given


@dataclass(frozen=True)
class List:
    paper: Annotated[str, arg(help_behavior_hint="")] = ""
    """Only this paper: cadnet, intact, lrar, drfm, vpfa or baselines."""

    def run(self) -> int:
        from reid_lib.reporting import artefacts, papers, results

        if self.paper and self.paper not in papers.PAPERS:
            raise ValueError(f"paper must be one of {', '.join(papers.PAPERS)}, found {self.paper!r}")
        chosen = [a for a in papers.ARTEFACTS if self.paper in ("", a.paper)]
        here = results.project_root() is not None
        rows = [(a.title, artefacts.status(a) if here else "-", a.notebook or "-", a.caption) for a in chosen]
        _print_table(("artefact", "status", "notebook", "what it shows"), rows)
        if not here:
            print("\nstatus unknown: notebooks and results are in a checkout of the project, and this is none")
        return 0


@dataclass(frozen=True)
class Status:
    profile: str = "demo"
    """Profile whose runs are looked at."""
    dataset: str = "synth"
    """Data set whose runs are looked at."""

    def run(self) -> int:
        from reid_lib import reproduce
        from reid_lib.reporting import results

        states = reproduce.states(project_root(), self.profile, self.dataset)
        print(f"Notebooks, profile {self.profile}, data set {self.dataset}")
        columns = ("notebook", "last run", "finished", "seconds", "parameters")
        rows = [(s.name, s.state, s.finished or "-", f"{s.seconds:.0f}", s.parameters or "-") for s in states]
        _print_table(columns, rows)
        print("\nResults")
        rows = [(*key, *_run_columns(*key)) for key in results.available()]
        _print_table(("profile", "data set", "paper", "rows", "time", "commit", "complete"), rows)
        for said in filter(None, (results.doubt(*key) for key in results.available())):
            print(f"not to be trusted: {said}")
        return 0


@dataclass(frozen=True)
class Verify:
    against: Annotated[
        Path | None,
        arg(
            metavar="FOLDER",
            help="Another results folder: say how far the numbers and verdicts here agree with those there, in place "
            "of checking what is committed.",
            help_behavior_hint="",
        ),
    ] = None
    only: Annotated[str, arg(help_behavior_hint="(default: all)")] = ""
    """With --against: one profile and data set, for example demo/synth."""

    def run(self) -> int:
        if self.against is not None:
            return self._compare(self.against)
        if self.only:
            raise ValueError("--only belongs to --against: without it all that is committed is checked")
        from reid_lib.reporting.mixed import mixed_provenance
        from reid_lib.reporting.verify import verify

        problems, checked = verify(project_root())
        for problem in problems:
            print(problem)
        for note in mixed_provenance() if not problems else ():
            print(f"note: seeds measured differently: {note}")
        print(counted(len(problems), "problem") if problems else f"all is well: {checked}")
        return 1 if problems else 0

    def _compare(self, there: Path) -> int:
        from reid_lib.reporting import agreement, papers, results

        if self.only:
            profile, slash, dataset = self.only.partition("/")
            if not slash:
                raise ValueError(f"--only names one profile and data set, like demo/synth, found {self.only!r}")
            results.folder(profile, dataset)  # refuses what cannot be one
        found = agreement.compare(results.results_root(), there, papers.CLAIMS, self.only or agreement.ALL)
        for title, table in found.tables().items():
            print(title)
            _print_table(list(table.columns), table.to_numpy().tolist())
            print()
        print(found.summary())
        return 0 if found.agrees else 1


@dataclass(frozen=True)
class Readme:
    check: bool = False
    """Only say whether the table is up to date (exit code 1 if not)."""

    def run(self) -> int:
        from reid_lib.files import write_text
        from reid_lib.reporting import audit, figures, papers, readme, results, verdicts

        if not self.check:
            verdicts.write(papers.CLAIMS)
            audit.write(project_root() / "results")
            figure = readme.headline_figure()
            if figure is not None:
                figures.save(figure, results.results_root() / "demo", "headline")
        stale = 0
        for path in (project_root() / name for name in readme.FILES):
            if not path.is_file():
                continue
            old = path.read_text(encoding="utf-8")
            new = readme.rebuilt(old)
            stale += new != old
            if self.check:
                state = "up to date" if new == old else "out of date: run `reid-lib readme`"
                print(f"{path.name} is {state}")
            elif new != old:
                write_text(path, new)
        return int(self.check and stale > 0)


@dataclass(frozen=True)
class Site:
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint=f"(default: {SITE})")] = None
    """Where to build it. A folder that is there is replaced when it holds an older site."""

    def run(self) -> int:
        from reid_lib import site

        root = project_root()
        print(site.build(root, self.out or root / SITE))
        return 0


def project_root() -> Path:
    from reid_lib.reporting import results

    root = results.project_root()
    if root is None:
        raise ValueError(
            "this command works on the project's own notebooks and results, and this reid_lib was installed without "
            "them: clone the project, and run `pip install -e .` in its folder"
        )
    return root


def _run_columns(profile: str, dataset: str, paper: str) -> tuple[str, str, str, str]:
    from reid_lib.reporting import results

    rows = str(len(results.read(profile, dataset, paper)))
    try:
        run = results.read_run(profile, dataset, paper)
    except results.ResultsError:
        return rows, "-", "-", "no run.json"
    return rows, str(run.get("time", "-")), str(run.get("commit") or "-")[:12], "yes" if run["complete"] else "no"


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, ["-" * width for width in widths], *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
