"""The result pages of the site: an overview, one page for each paper, the published audit, and provenance."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from reid_lib.reporting import (
    alike,
    artefacts,
    audit,
    claims,
    headline,
    mixed,
    paper_page,
    results,
    tables,
    verdicts,
)
from reid_lib.reporting.pages import CSS, STYLE, escape, page, pill, rows, scroll, with_pills
from reid_lib.reporting.paper_page import Site
from reid_lib.reporting.papers import ARTEFACTS, CLAIMS, PAPERS
from reid_lib.reporting.verdicts import SHOWN

INDEX = "index.html"
_OWN = ("comparison", "baselines")  # of this project
_FIVE = tuple(paper for paper in PAPERS if paper not in _OWN)
_OPEN = ("inconclusive", claims.ONE_SEED, "not measured")
NOTEBOOKS = "notebooks"  # id of the list of notebooks on the overview
_OPEN_SAID = "Open: the interval does not decide, one training stands behind it, or a row is missing."
_PICTURE = "demo/headline.png"  # as `readme.PICTURE`, counted from the results folder


def build(  # decision REPORT-14
    out: Path,
    notebooks: Path | None = None,
    rendered: Mapping[str, str] = MappingProxyType({}),
    others: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the result pages into the folder `out`, with the figures that they show; return the overview's path.

    The same results give the same bytes.

    Args:
        out: a folder; it is made.
        notebooks: the folder that decides each artefact's status.
        rendered: stem -> title of each notebook that has a page at notebooks/<stem>.html.
        others: (place in the site, words) of further pages for the navigation.

    Raises:
        ResultsError: a result file is damaged, or the folder cannot be written.
    """
    site = _read(notebooks or artefacts.notebooks_folder(), rendered)
    nav = navigation(others)
    texts = {INDEX: page("Cross-resolution person re-ID", _overview(site), where=INDEX, nav=nav, lead=_LEAD)}
    for key, paper in PAPERS.items():
        where, lead = paper_page.place(key), _lead(site, key)
        texts[where] = page(paper.name, paper_page.body(site, key), where=where, nav=nav, lead=lead)
    texts["audit.html"] = page("Published audit", _audit(site), where="audit.html", nav=nav, lead=_AUDIT)
    texts["runs.html"] = page("Provenance", _runs(), where="runs.html", nav=nav, lead=_RUNS)
    for place, text in {**texts, STYLE: CSS}.items():
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        results.replace_text(out / place, text)
    for name in sorted(site.figures):
        (out / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(site.root / name, out / "results" / name)
    return out / INDEX


def navigation(others: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """(place, words) of every link above a page."""
    papers = [(paper_page.place(key), PAPERS[key].short) for key in (*_FIVE, *_OWN)]
    return [(INDEX, "Overview"), *papers, *others, ("audit.html", "Published audit"), ("runs.html", "Provenance")]


def _read(notebooks: Path, rendered: Mapping[str, str]) -> Site:
    measured = alike.with_fields(results.read_all())
    judged = {place: verdicts.judged(CLAIMS, *place) for place in verdicts.folders()}
    judged = dict(sorted(judged.items(), key=lambda part: (not part[0][1].startswith("synth"), part[0])))
    return Site(measured[measured.profile.isin(SHOWN)], results.results_root(), notebooks, rendered, judged)


# --- the overview --------------------------------------------------------------------------------

_LEAD = "Five papers under one protocol: what they published, beside what was measured here."


def _overview(site: Site) -> str:
    rows, refused = site.rows[site.rows.profile == "demo"], ""
    try:
        found = headline.measured(rows)
    except alike.MixedError as error:
        found, refused = headline.measured(rows[:0]), f"<p>{pill('differs', 'gains not shown')} {escape(error)}</p>"
    parts = [_doubts() + refused, _methods(site, headline.shown(found)), _gains_figure(site, found), _claims(site)]
    parts += [_notebooks(site), _where(site)]
    return "".join(f"<section>{part}</section>" for part in parts if part)


def _doubts() -> str:
    """Which files hold rows that are not those of their run, above everything made from them; "" where none does."""
    said = [results.doubt(*key) for key in results.available() if key[0] in SHOWN]
    lines = "".join(f"<li>{escape(one)}</li>" for one in said if one)
    return f"<p>{pill('differs', 'not to be trusted')} Numbers here come from:</p><ul>{lines}</ul>" if lines else ""


def _methods(site: Site, gains: pd.DataFrame) -> str:
    """The first screen: the five methods, their gains over the yardstick, and what holds of what they say."""
    columns = list(dict.fromkeys(gains.column))
    lines = []
    for key in _FIVE:
        own = gains[gains.paper == key]
        names = [name for name in headline.CONTROLS if name in set(own.method)] or [""]
        for number, name in enumerate(names):
            shown = own[own.method == name].set_index("column")
            cells = "".join(_gain(shown.loc[column] if column in shown.index else None) for column in columns)
            if not name:
                cells = f"<td colspan={max(1, len(columns))}>{_why_nothing(site, key)}</td>"
            first = f'<a href="{paper_page.place(key)}">{escape(PAPERS[key].name)}</a>'
            first += f"<br><small>{escape(name)}</small>" if name not in ("", PAPERS[key].short) else ""
            last = f"<td rowspan={len(names)}>{_counts(site, key, 'demo', 'synth')}</td>" if number == 0 else ""
            lines.append(f"<tr><td>{first}</td>{cells}{last}</tr>")
    head = ("method", *(columns or ["gain"]), "its claims, on synth")
    one = f" {headline.INDICATIVE} {claims.ONE_SEED}." if (gains.seeds < 2).any() else ""
    return (
        f"<h2>Gain in Rank-1 over {headline.YARDSTICK}, and what holds</h2>{rows(head, lines, 'the five methods')}"
        f"<p class=note>Points of Rank-1 over {headline.YARDSTICK} of the same network, start and schedule, under each "
        f"set's own protocol, with the 95 % interval of paired differences.{one} {_OPEN_SAID} Synthetic people "
        "(<code>synth</code>) are not the papers' data: their numbers are never subtracted from published ones.</p>"
    )


def _why_nothing(site: Site, paper: str) -> str:
    there = (site.notebooks / f"{PAPERS[paper].notebook}.ipynb").is_file()
    return pill("not measured") if there else pill("planned", "not yet")


def _counts(site: Site, paper: str, profile: str, dataset: str) -> str:
    """How many of a paper's claims hold, fail and are open in one folder; "" where it has no rows of the paper."""
    found = site.judged.get((profile, dataset))
    own = found[found.paper == paper].verdict if found is not None else pd.Series(dtype=str)
    if not len(own):
        return ""
    counts = {"holds": (own == "holds").sum(), "fails": (own == "fails").sum(), "inconclusive": own.isin(_OPEN).sum()}
    words = {"holds": "hold", "fails": "fail", "inconclusive": "open"}
    return " ".join(pill(word, f"{number} {words[word]}") for word, number in counts.items())


def _claims(site: Site) -> str:
    """Every folder's counts, one line for each paper that claims something and one column for each data set."""
    lines = []
    for key in _FIVE:
        cells = "".join(f"<td>{_counts(site, key, *folder)}</td>" for folder in site.judged)
        lines.append(f'<tr><td><a href="{paper_page.place(key)}">{escape(PAPERS[key].name)}</a></td>{cells}</tr>')
    head = ("paper", *(dataset if profile == "demo" else f"{dataset}, {profile}" for profile, dataset in site.judged))
    table = rows(head, lines, "claims by data set")
    return f"<h2>Claims by data set</h2><p class=note>{_OPEN_SAID}</p>{table}" if site.judged else ""


def _gain(row: pd.Series | None) -> str:
    if row is None:
        return "<td></td>"
    decided = "bad" if row.high < 0 else "good" if row.low > 0 else "plain"
    look = decided if row.seeds > 1 else "plain"
    return f'<td class=number><span class="pill {look}">{escape(row.text)}</span></td>'


def _gains_figure(site: Site, found: pd.DataFrame) -> str:
    if not (site.root / _PICTURE).is_file():
        return ""
    alt = f"Gains over {headline.YARDSTICK} on {', '.join(dict.fromkeys(found.dataset))}"
    caption = "All gains, also with the small network on photographs; hollow: one training."
    return f"<figure>{site.image(_PICTURE, alt, INDEX)}<figcaption>{caption}</figcaption></figure>"


def _where(site: Site) -> str:
    lines = []
    for key, paper in PAPERS.items():
        states = [site.status(artefact) for artefact in ARTEFACTS if artefact.paper == key]
        counts = [states.count(state) for state in artefacts.STATUSES]
        where = sorted(set(site.rows[site.rows.paper == key].folder_dataset))
        cells = "".join(f"<td class=number>{count or ''}</td>" for count in counts)
        link = f'<a href="{paper_page.place(key)}">{escape(paper.name)}</a>'
        lines.append(f"<tr><td>{link}</td>{cells}<td>{escape(', '.join(where) or '–')}</td></tr>")
    return (
        "<h2>Tables and figures</h2><p><em>Done</em>: the notebook makes it. <em>Planned</em>: its notebook is not "
        "written yet. <em>Not reproduced</em>: the paper's page says why.</p>"
        + rows(("paper", *artefacts.STATUSES, "measured on"), lines, "tables and figures by status")
    )


def _notebooks(site: Site) -> str:
    """The rendered notebooks, in order."""
    lines = [f"<li>{site.notebook(stem, INDEX)}: {escape(title)}</li>" for stem, title in site.rendered.items()]
    return f"<h2 id={NOTEBOOKS}>Notebooks</h2><ul>{''.join(lines)}</ul>" if lines else ""


def _lead(site: Site, paper: str) -> str:
    own = PAPERS[paper].notebook
    names = dict.fromkeys([own, *(a.notebook for a in ARTEFACTS if a.paper == paper)])
    links = [site.notebook(name, paper_page.place(paper)) for name in names if name in site.rendered]
    return f"Notebooks: {', '.join(links)}" if links else "Its notebook is not written yet." * (paper in _FIVE)


# --- audit and provenance ------------------------------------------------------------------------

_AUDIT = (
    "Do the five papers agree with one another, and with themselves? Nothing here is measured: it is computed from the "
    "published tables."
)
_RUNS = "Which code measured what, where and when. State: whether the rows are those that the run wrote last."


def _audit(site: Site) -> str:
    own, firsts, order = (paper_page.worded(found) for found in (audit.own_cells(), audit.firsts(), audit.orders()))
    own = own.drop(columns="spread")
    firsts[["own", "best"]] = firsts[["own", "best"]].map(tables.number)
    parts = {
        "Cells that are quoted with other values (own: what the method's own paper prints)": tables.to_html(
            site.quoted
        ),
        "Numbers in prose against the tables": with_pills(site.prose),
        "Is the paper's own method the best, where it says so?": with_pills(firsts),
        "One paper's cell in several of its own tables": with_pills(own),
        "Averages against their rows": with_pills(site.averages),
        "Two methods with the same numbers: no error by itself, but worth a look": tables.to_html(audit.repeated()),
        "Rank-1 <= Rank-5 <= Rank-10 <= Rank-20 in every row": with_pills(order),
        "Values that their metric cannot have": with_pills(paper_page.worded(audit.ranges())),
        "Entries of a split as counts of its queries": with_pills(paper_page.worded(audit.counts())),
    }
    articles = "".join(f"<article><h3>{escape(t)}</h3>{scroll(table, t)}</article>" for t, table in parts.items())
    note = "<p class=note>Every check, those that agree too: <code>results/audit.csv</code>.</p>"
    return scroll(tables.to_html(audit.summary()), "summary") + note + articles


def _runs() -> str:
    lines = [line for key in results.available() if key[0] in SHOWN for line in _run_lines(*key)]
    text = "<p>Nothing has been measured yet.</p>"
    if lines:
        text = scroll(with_pills(pd.DataFrame(lines), "state"), "runs")
    seeds = "".join(f"<li>{escape(line)}</li>" for line in mixed.mixed_provenance())
    return text + (f"<h2>Seeds that were not measured alike</h2><ul class=note>{seeds}</ul>" if seeds else "")


def _run_lines(profile: str, dataset: str, paper: str) -> list[dict[str, str]]:
    """One line for each run whose rows a file still has."""
    try:
        run = results.read_run(profile, dataset, paper)
    except results.ResultsError:
        run = {"complete": False}
    lines = []
    for one in (run, *run.get("earlier", [])):
        versions, hardware = one.get("versions", {}), one.get("hardware", {})
        machine = f"{hardware.get('gpu') or hardware.get('cpu', '')}, {hardware.get('cores', '?')} cores"
        lines.append(
            {
                "results": f"{profile}/{dataset}/{paper}",
                "when (UTC)": one.get("time", ""),
                "commit": (one.get("commit") or "")[:10] + (" + changes" if one.get("dirty") else ""),
                "took": f"{one['seconds']:.0f} s" if "seconds" in one else "",
                "machine": machine if hardware else "",
                "torch": versions.get("torch", ""),
                "data": str(one.get("data_fingerprint", ""))[:12],
                "state": "agrees" if run["complete"] else "differs",
            }
        )
    return lines
