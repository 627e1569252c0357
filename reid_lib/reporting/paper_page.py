"""The page of one paper: its tables and figures, measured beside published, claims with verdicts, audit notes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from reid_lib.reporting import alike, artefacts, audit, claims, results, tables
from reid_lib.reporting.artefacts import Artefact
from reid_lib.reporting.claims import Claim
from reid_lib.reporting.pages import escape, pill, relative, rows, scroll, with_pills
from reid_lib.reporting.papers import ARTEFACTS, CLAIMS, PAPERS
from reid_lib.reporting.verdicts import SHOWN


@dataclass
class Site:
    """What all pages are made from.

    Attributes:
        rows: measured rows (`results.read_all`) of the profiles that are shown.
        root: the results folder.
        notebooks: the folder that decides each artefact's status.
        rendered: stem -> title of each notebook that has a page.
        judged: (profile, data set) -> verdicts of its folder (`verdicts.judged`).
        figures: the pictures that pages show, counted from the results folder; pages add theirs.
    """

    rows: pd.DataFrame
    root: Path
    notebooks: Path
    rendered: Mapping[str, str]
    judged: Mapping[tuple[str, str], pd.DataFrame]
    figures: set[str] = field(default_factory=set)

    @cached_property
    def prose(self) -> pd.DataFrame:
        """Numbers in the papers' prose against their tables: paper, source, text, stated, computed, verdict, note."""
        found = worded(audit.statements())
        found["source"] = [name if name.startswith(("Table", "abstract")) else f"Sec. {name}" for name in found.source]
        return found[["paper", "source", "text", "stated", "computed", "verdict", "note"]]

    @cached_property
    def averages(self) -> pd.DataFrame:
        """Printed averages against the mean of their rows (`audit.averages`), with a verdict."""
        return worded(audit.averages())

    @cached_property
    def quoted(self) -> pd.DataFrame:
        """Cells that papers print with other values (`audit.disagreements`), as text."""
        return audit.disagreements().assign(own=lambda t: t.own.map(tables.number))

    def status(self, artefact: Artefact) -> str:
        """One of `artefacts.STATUSES`."""
        return artefacts.status(artefact, self.notebooks, self.root)

    def notebook(self, stem: str, where: str, words: str = "") -> str:
        """A link from the page at `where` to a rendered notebook, its name alone where it has no page."""
        words = escape(words or stem)
        return f'<a href="{relative(f"notebooks/{stem}.html", where)}">{words}</a>' if stem in self.rendered else words

    def image(self, name: str, alt: str, where: str) -> str:
        """A picture of the results folder, on the page at `where`."""
        self.figures.add(name)
        return f'<img src="{relative(f"results/{quote(name)}", where)}" alt="{escape(alt)}" loading="lazy">'


def worded(found: pd.DataFrame) -> pd.DataFrame:
    """`agrees` as a verdict in words, what differs first."""
    found = found.sort_values("agrees", kind="stable")
    return found.assign(verdict=found.agrees.map({True: "agrees", False: "differs"})).drop(columns="agrees")


def place(paper: str) -> str:
    """Where a paper's page stands in the site."""
    return f"papers/{paper}.html"


def body(site: Site, paper: str) -> str:
    """The page's HTML, without its frame. Raises ResultsError when a result file is damaged."""
    found = "".join(_artefact(site, artefact) for artefact in ARTEFACTS if artefact.paper == paper)
    parts = {
        "artefacts": ("Tables and figures", _map(site, paper) + found),
        "claims": ("What the paper says", _claims(site, paper)),
        "audit": (f"Audit notes on {PAPERS[paper].short}", _audit(site, paper)),
    }
    parts = {place: part for place, part in parts.items() if part[1]}
    links = " · ".join(f'<a href="#{place}">{escape(title)}</a>' for place, (title, _) in parts.items())
    sections = (
        f"<section><h2 id={place}>{escape(title)}</h2>{text}</section>" for place, (title, text) in parts.items()
    )
    return f"<p>{links}</p>{''.join(sections)}"


def claims_of(paper: str) -> list[Claim]:
    """What the paper says in words."""
    return [claim for claim in CLAIMS if claim.paper == paper]


# --- tables and figures --------------------------------------------------------------------------


def _map(site: Site, paper: str) -> str:
    lines = []
    for artefact in (a for a in ARTEFACTS if a.paper == paper):
        status, how = site.status(artefact), escape(artefact.reason)
        if status == "planned":
            how = f"notebook {escape(artefact.notebook)}, not written yet"
        elif artefact.tag:
            how = f"{site.notebook(artefact.notebook, place(paper))}, "
            how += f"<code>reid-lib reproduce --only &quot;{escape(artefact.title)}&quot;</code>"
        name = escape(artefact.name + (f" ({artefact.alias})" if artefact.alias else ""))
        lines.append(
            f"<tr><td>{name}</td><td>{escape(artefact.caption)}</td><td>{pill(status)}</td><td>{how}</td></tr>"
        )
    found = rows(("name", "what it shows", "status", "how"), lines, "all tables and figures")
    return f"<details open><summary>All tables and figures</summary>{found}</details>"


def _artefact(site: Site, artefact: Artefact) -> str:
    """Tables and pictures of one artefact, one block per profile and data set; what is not there is said."""
    mine = site.rows[(site.rows.paper == artefact.paper) & (site.rows.artefact == artefact.name)]
    blocks = []
    for (profile, dataset, own), part in mine.groupby(["profile", "folder_dataset", "dataset"], sort=True):
        note = _note(profile, dataset, artefact.paper)
        blocks.append(
            f"<h4>{escape(own)} <small>profile {escape(profile)}</small></h4>{_numbers(artefact, part, note)}"
        )
    for path in artefacts.files(artefact, site.root) if artefact.kind == "figure" else ():
        profile, dataset = path.relative_to(site.root).parts[:2]
        if profile in SHOWN:
            alt = f"{artefact.title}: {artefact.caption}, on {dataset}"
            picture = site.image(path.relative_to(site.root).as_posix(), alt, place(artefact.paper))
            blocks.append(
                f"<figure>{picture}<figcaption>{escape(dataset)}, profile {escape(profile)}</figcaption></figure>"
            )
    if artefact.tag and artefact.kind in ("table", "text"):
        blocks += _not_measured(site, artefact, mine)
    if not blocks:
        return ""
    return f"<article><h3>{escape(artefact.name)}</h3><p>{escape(artefact.caption)}</p>{''.join(blocks)}</article>"


def _not_measured(site: Site, artefact: Artefact, mine: pd.DataFrame) -> list[str]:
    """That no folder has rows of an artefact, with its published ones; else which folders of its paper have none."""
    command = f"<code>reid-lib reproduce --only &quot;{escape(artefact.title)}&quot;</code>"
    if not len(mine):
        printed = tables.published_fold(tables.compare(artefact, mine))
        return [f"<p class=note>{pill('not measured')} No rows of it are in the results: {command}.</p>{printed}"]
    folders = site.rows[site.rows.paper == artefact.paper][["profile", "folder_dataset"]].drop_duplicates()
    here = set(zip(mine.profile, mine.folder_dataset, strict=True))
    without = [
        f"{dataset} ({profile})"
        for profile, dataset in folders.itertuples(index=False, name=None)
        if (profile, dataset) not in here
    ]
    return [f"<p class=note>Not measured on {escape(', '.join(without))}.</p>"] if without else []


def _note(profile: str, dataset: str, paper: str) -> str:
    doubt = results.doubt(profile, dataset, paper)
    if doubt:
        return f"Not to be trusted: {doubt}"
    return results.read_run(profile, dataset, paper).get("data_note", "")


def _numbers(artefact: Artefact, measured: pd.DataFrame, note: str) -> str:
    try:
        comparison = tables.compare(artefact, measured, note=note)
    except alike.MixedError as error:
        return f"<p class=note>{pill('differs', 'not shown')} {escape(error)}</p>"
    shown = scroll(tables.to_html(tables.measured_lines(comparison)), artefact.title)
    if not comparison.against:
        return (f"<p class=note>{escape(comparison.note)}</p>" if comparison.note else "") + shown
    order = tables.order(comparison)
    said = "; ".join(
        f"{tables.METRICS.get(row.metric, row.metric)}: {row.same} of {row.pairs} pairs of methods in the published "
        f"order, {row.reversed} reversed, {row.undecided} undecided"
        for row in order.itertuples()
    )
    one = "; one training, so this is indicative" if measured.seed.nunique() == 1 else ""
    return (
        f"<p class=note>Published on {escape(comparison.against)}. {escape(comparison.note)}</p>"
        + shown
        + tables.published_fold(comparison)
        + (f"<p class=note>{escape(said)}{one}.</p>" if said else "")
    )


# --- what it says, and how its numbers agree -----------------------------------------------------


def _claims(site: Site, paper: str) -> str:
    chosen = claims_of(paper)
    if not chosen:
        return ""
    judged = {"the paper's tables": claims.evaluate(results.published(), chosen)}
    for (profile, dataset), found in site.judged.items():
        own = found[found.paper == paper]
        if len(own):
            judged[f"{dataset}, {profile}"] = own
    lines = []
    for number, claim in enumerate(chosen):
        cells = "".join(_verdict(found.iloc[number]) for found in judged.values())
        where = claim.artefact if claim.artefact.startswith("Section") else f"{claim.artefact}, Sec. {claim.source}"
        lines.append(f"<tr><td>{escape(claim.text)}</td><td>{escape(where)}</td>{cells}</tr>")
    return (
        "<p class=note>The first verdict is on the paper's own tables. "
        f"{escape(claims.EXPLANATION)}</p>{rows(('claim', 'where', *judged), lines, 'claims and verdicts')}"
    )


def _verdict(found: pd.Series) -> str:
    detail = "" if found.verdict in ("holds", "not measured") else f"<br><small>{escape(found.detail)}</small>"
    return f"<td>{pill(found.verdict)}{detail}</td>"


def _audit(site: Site, paper: str) -> str:
    """What the published audit finds about this paper: its prose, its averages, its cells as others quote them."""
    prose, means = (found[found.paper == paper].drop(columns="paper") for found in (site.prose, site.averages))
    quoted = site.quoted[site.quoted["values"].str.contains(rf"\b{paper} ")]
    parts = {}
    if len(prose):
        parts["Numbers in prose against the tables"] = with_pills(prose)
    if len(means):
        parts["Averages against their rows"] = with_pills(means)
    if len(quoted):
        parts["Cells that papers print with other values (own: what the method's own paper prints)"] = tables.to_html(
            quoted
        )
    text = "<p class=note>Nothing here is measured: it is computed from the published tables.</p>"
    articles = "".join(f"<article><h3>{escape(t)}</h3>{scroll(table, t)}</article>" for t, table in parts.items())
    return text + articles if parts else ""
