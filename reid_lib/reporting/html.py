"""results/index.html: everything measured so far on one static page, without scripts and without the network."""

import html
import os
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from reid_lib.reporting import artefacts, audit, claims, mixed, results, tables, verdicts
from reid_lib.reporting.artefacts import Artefact
from reid_lib.reporting.papers import ARTEFACTS, CLAIMS, PAPERS
from reid_lib.reporting.verdicts import SHOWN

# A sign beside each word: nothing is told by colour alone.
_SIGNS = {
    "done": "●", "planned": "○", "missing": "!", "not reproduced": "–",
    "holds": "✓", "fails": "✗", "inconclusive": "≈", "not measured": "·", claims.ONE_SEED: "◔",
    "agrees": "✓", "differs": "✗",
}  # fmt: skip
_KINDS = {
    "done": "good", "holds": "good", "agrees": "good",
    "missing": "bad", "fails": "bad", "differs": "bad", "inconclusive": "open", claims.ONE_SEED: "open",
}  # fmt: skip


def build(notebooks: Path | None = None) -> Path:
    """Write index.html into the results folder, from the rows, figures and run.json files there; return its path.

    The verdicts go into each folder's claims.csv too (`verdicts.write`).

    `notebooks` is the folder that decides each artefact's status. The same files give the same bytes. Raises
    ResultsError when a result file is damaged or the folder cannot be written.
    """
    root = results.results_root()
    notebooks = notebooks or artefacts.notebooks_folder()
    rows = results.read_all()
    rows = rows[rows.profile.isin(SHOWN)]
    results.check_writable(root)
    path = root / "index.html"
    results.replace_text(path, _page(rows, root, notebooks))
    verdicts.write(CLAIMS)
    return path


def _page(rows: pd.DataFrame, root: Path, notebooks: Path) -> str:
    order = ["baselines", *(paper for paper in PAPERS if paper != "baselines")]
    chapters = [(paper, _chapter(paper, rows, root, notebooks)) for paper in order]
    links = "".join(f'<a href="#{paper}">{_e(PAPERS[paper].short)}</a>' for paper, _ in chapters)
    body = "".join(f'<section id="{paper}">{text}</section>' for paper, text in chapters)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Cross-resolution person re-ID: results</title><style>{_CSS}</style></head><body>"
        "<header><h1>Cross-resolution person re-ID</h1>"
        "<p>Five papers under one protocol: what they published, beside what was measured here.</p></header>"
        f'<nav>{links}<a href="#audit">Published audit</a><a href="#runs">Provenance</a></nav>'
        f"<main>{_overview(rows, notebooks)}{body}{_audit()}{_runs(rows)}</main></body></html>\n"
    )


# --- sections ------------------------------------------------------------------------------------


def _overview(rows: pd.DataFrame, notebooks: Path) -> str:
    lines = []
    for key, paper in PAPERS.items():
        states = [artefacts.status(artefact, notebooks) for artefact in ARTEFACTS if artefact.paper == key]
        counts = [states.count(state) for state in artefacts.STATUSES]
        where = sorted(set(rows[rows.paper == key].folder_dataset))
        cells = "".join(f"<td class=number>{count or ''}</td>" for count in counts)
        lines.append(
            f'<tr><td><a href="#{key}">{_e(paper.name)}</a></td>{cells}<td>{_e(", ".join(where) or "–")}</td></tr>'
        )
    head = "".join(f"<th>{_e(state)}</th>" for state in artefacts.STATUSES)
    return (
        "<section><h2>Where it stands</h2><p>Tables and figures by status. <em>Done</em>: the notebook makes it. "
        "<em>Planned</em>: its notebook is not written yet. <em>Not reproduced</em>: a drawing, or a list of "
        "symbols.</p>"
        f'<div class="scroll"><table class="rows"><thead><tr><th>paper</th>{head}<th>measured on</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        "<p class=note>Synthetic people (<code>synth</code>) are not the papers' data: their numbers stand beside the "
        "published ones and are never subtracted from them. Intervals are 95 %.</p></section>"
    )


def _chapter(paper: str, rows: pd.DataFrame, root: Path, notebooks: Path) -> str:
    parts = [f"<h2>{_e(PAPERS[paper].name)}</h2>", _map(paper, root, notebooks)]
    for artefact in ARTEFACTS:
        if artefact.paper == paper:
            parts.append(_artefact(artefact, rows, root))
    parts.append(_claims(paper, rows))
    return "".join(parts)


def _map(paper: str, root: Path, notebooks: Path) -> str:
    lines = []
    for artefact in (a for a in ARTEFACTS if a.paper == paper):
        status, how = artefacts.status(artefact, notebooks), _e(artefact.reason)
        if status == "planned":
            how = f"notebook {_e(artefact.notebook)}, not written yet"
        elif artefact.tag:
            link = quote(os.path.relpath(notebooks / f"{artefact.notebook}.ipynb", root).replace(os.sep, "/"))
            how = f'<a href="{link}">{_e(artefact.notebook)}</a>, '
            how += f"<code>reid-lib reproduce --only &quot;{_e(artefact.title)}&quot;</code>"
        name = _e(artefact.name + (f" ({artefact.alias})" if artefact.alias else ""))
        lines.append(f"<tr><td>{name}</td><td>{_e(artefact.caption)}</td><td>{_pill(status)}</td><td>{how}</td></tr>")
    return (
        "<details open><summary>All tables and figures</summary><div class=scroll><table class=rows><thead><tr>"
        "<th>name</th><th>what it shows</th><th>status</th><th>how</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _artefact(artefact: Artefact, rows: pd.DataFrame, root: Path) -> str:
    """Tables and pictures of one artefact, one block per profile and data set; nothing when there is nothing yet."""
    mine = rows[(rows.paper == artefact.paper) & (rows.artefact == artefact.name)]
    blocks = []
    for (profile, dataset, own), part in mine.groupby(["profile", "folder_dataset", "dataset"], sort=True):
        note = _note(profile, dataset, artefact.paper)
        blocks.append(f"<h4>{_e(own)} <small>profile {_e(profile)}</small></h4>{_numbers(artefact, part, note)}")
    for path in artefacts.files(artefact, root) if artefact.kind == "figure" else ():
        profile, dataset = path.relative_to(root).parts[:2]
        if profile in SHOWN:
            link = quote(path.relative_to(root).as_posix())
            alt = f"{artefact.title}: {artefact.caption}, on {dataset}"
            blocks.append(
                f"<figure><img src='{link}' alt='{_e(alt)}' loading=lazy><figcaption>{_e(dataset)}, profile "
                f"{_e(profile)}</figcaption></figure>"
            )
    if not blocks:
        return ""
    return f"<article><h3>{_e(artefact.name)}</h3><p>{_e(artefact.caption)}</p>{''.join(blocks)}</article>"


def _note(profile: str, dataset: str, paper: str) -> str:
    try:
        return results.read_run(profile, dataset, paper).get("data_note", "")
    except results.ResultsError:  # its message names a folder, and this page may be committed
        return "The run did not finish: its run.json is missing or damaged; run it again."


def _numbers(artefact: Artefact, rows: pd.DataFrame, note: str) -> str:
    comparison = tables.compare(artefact, rows, note=note)
    if not comparison.against:
        said = f"<p class=note>{_e(comparison.note)}</p>" if comparison.note else ""
        return said + _scroll(tables.to_html(tables.measured_table(rows)))
    order = tables.order(comparison)
    said = "; ".join(
        f"{tables.METRICS.get(row.metric, row.metric)}: {row.same} of {row.pairs} pairs of methods in the published "
        f"order, {row.reversed} reversed, {row.undecided} undecided"
        for row in order.itertuples()
    )
    published = f"<p class=note>Published on {_e(comparison.against)}. {_e(comparison.note)}</p>"
    return (
        published
        + _scroll(tables.to_html(tables.measured_lines(comparison)))
        + tables.published_fold(comparison)
        + (f"<p class=note>{_e(said)}{_trainings(rows)}.</p>" if said else "")
    )


def _trainings(rows: pd.DataFrame) -> str:
    return "; one training, so this is indicative" if rows.seed.nunique() == 1 else ""


def _claims(paper: str, rows: pd.DataFrame) -> str:
    chosen = [claim for claim in CLAIMS if claim.paper == paper]
    if not chosen:
        return ""
    judged = {"the paper's tables": claims.evaluate(results.published(), chosen)}
    for profile, dataset in verdicts.folders():
        if ((rows.paper == paper) & (rows.profile == profile) & (rows.folder_dataset == dataset)).any():
            judged[f"{dataset}, {profile}"] = verdicts.judged(chosen, profile, dataset)
    head = "".join(f"<th>{_e(name)}</th>" for name in judged)
    lines = []
    for number, claim in enumerate(chosen):
        cells = "".join(_verdict(found.iloc[number]) for found in judged.values())
        where = claim.artefact if claim.artefact.startswith("Section") else f"{claim.artefact}, Sec. {claim.source}"
        lines.append(f"<tr><td>{_e(claim.text)}</td><td>{_e(where)}</td>{cells}</tr>")
    return (
        "<article><h3>What the paper says</h3><p class=note>The first verdict is on the paper's own tables. "
        f"{_e(claims.EXPLANATION)}</p>"
        f"<div class=scroll><table class=rows><thead><tr><th>claim</th><th>where</th>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></article>"
    )


def _verdict(found: pd.Series) -> str:
    detail = "" if found.verdict in ("holds", "not measured") else f"<br><small>{_e(found.detail)}</small>"
    return f"<td>{_pill(found.verdict)}{detail}</td>"


def _audit() -> str:
    prose = audit.statements().assign(verdict=lambda t: t.agrees.map({True: "agrees", False: "differs"}))
    prose = prose.sort_values("agrees", kind="stable").drop(columns="agrees")
    prose = prose[["paper", "source", "text", "stated", "computed", "verdict", "note"]]
    prose["source"] = [name if name.startswith("Table") else f"Sec. {name}" for name in prose.source]
    means = audit.averages().assign(verdict=lambda t: t.agrees.map({True: "agrees", False: "differs"}))
    means = means.sort_values("agrees", kind="stable").drop(columns="agrees")
    quoted = audit.disagreements().assign(own=lambda t: t.own.map(tables.number))
    return (
        '<section id="audit"><h2>Published audit</h2><p>Do the five papers agree with one another, and with '
        "themselves? Nothing here is measured: it is computed from the published tables.</p>"
        f"{_scroll(tables.to_html(audit.summary()))}"
        "<article><h3>Cells that are quoted with other values</h3>"
        f"<p class=note>own: what the method's own paper prints.</p>{_scroll(tables.to_html(quoted))}</article>"
        f"<article><h3>Averages against their rows</h3>{_scroll(_with_pills(means))}</article>"
        f"<article><h3>Numbers in prose against the tables</h3>{_scroll(_with_pills(prose))}</article>"
        "<article><h3>Two methods with the same numbers</h3><p class=note>Not an error by itself, but worth a look.</p>"
        f"{_scroll(tables.to_html(audit.repeated()))}</article></section>"
    )


def _runs(rows: pd.DataFrame) -> str:
    lines = []
    for profile, dataset, paper in results.available():
        if profile not in SHOWN:
            continue
        try:
            run = results.read_run(profile, dataset, paper)
        except results.ResultsError:
            run = {"complete": False}
        for one in (run, *run.get("earlier", [])):
            versions, hardware = one.get("versions", {}), one.get("hardware", {})
            commit = (one.get("commit") or "")[:10] + (" + changes" if one.get("dirty") else "")
            machine = f"{hardware.get('gpu') or hardware.get('cpu', '')}, {hardware.get('cores', '?')} cores"
            lines.append(
                {
                    "results": f"{profile}/{dataset}/{paper}",
                    "when (UTC)": one.get("time", ""),
                    "commit": commit,
                    "took": f"{one['seconds']:.0f} s" if "seconds" in one else "",
                    "machine": machine if hardware else "",
                    "torch": versions.get("torch", ""),
                    "data": str(one.get("data_fingerprint", ""))[:12],
                    "state": "agrees" if run["complete"] else "differs",
                }
            )
    table = pd.DataFrame(lines)
    text = _scroll(_with_pills(table, "state")) if lines else "<p>Nothing has been measured yet.</p>"
    seeds = "".join(f"<li>{_e(line)}</li>" for line in mixed.mixed_provenance())
    seeds = f"<h3>Seeds that were not measured alike</h3><ul class=note>{seeds}</ul>" if seeds else ""
    return (
        '<section id="runs"><h2>Provenance</h2><p class=note>State: whether the rows are those that the run wrote last.'
        f"</p>{text}{seeds}</section>"
    )


# --- helpers -------------------------------------------------------------------------------------


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)


def _pill(word: str) -> str:
    return f'<span class="pill {_KINDS.get(word, "plain")}">{_SIGNS.get(word, "")} {_e(word)}</span>'


def _with_pills(frame: pd.DataFrame, column: str = "verdict") -> str:
    text = tables.to_html(frame)
    for word in frame[column].unique():
        text = text.replace(f"<td>{_e(word)}</td>", f"<td>{_pill(word)}</td>")
    return text


def _scroll(table: str) -> str:
    return f'<div class="scroll">{table}</div>'


_CSS = """
:root { --ink: #1c2328; --soft: #5a6670; --paper: #ffffff; --card: #f6f8f9; --line: #d9dfe3; --link: #00598f;
  --good: #00664b; --good-bg: #dff3ec; --bad: #9c3d00; --bad-bg: #fde9dd; --open: #6b5200; --open-bg: #fbf1cf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaed; --soft: #a3afb8; --paper: #14191d;
  --card: #1c2328;
  --line: #35404a; --link: #6cc0f5; --good: #7fdcbf; --good-bg: #123a2f; --bad: #ffb48a; --bad-bg: #472410;
  --open: #f0d679; --open-bg: #3b3210; } }
* { box-sizing: border-box; }
body { margin: 0;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: var(--paper); }
header, main { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.2rem; } h1 { font-size: 1.9rem; margin: 0; letter-spacing: -0.01em; }
header p { margin: .3rem 0 1rem; color: var(--soft); font-size: 1.08rem; }
nav { position: sticky; top: 0; background: var(--paper); border-block: 1px solid var(--line); z-index: 1;
  display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; justify-content: center; padding: .55rem 1rem; }
a { color: var(--link); text-underline-offset: .15em; } nav a { text-decoration: none; font-weight: 550; }
a:hover { text-decoration: underline; } :focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
section { padding: 1.6rem 0 .6rem; border-bottom: 1px solid var(--line); scroll-margin-top: 2.5rem; }
section:last-child { border: 0; } h2 { font-size: 1.4rem; margin: 0 0 .5rem; } h3 { font-size: 1.1rem;
  margin: 0 0 .2rem; }
h4 { font-size: .95rem; margin: 1rem 0 .3rem; } small { color: var(--soft); font-weight: 400; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.1rem;
  margin: 1rem 0; }
article > p { margin: 0 0 .6rem; } .note { color: var(--soft); font-size: .9rem; margin: .35rem 0; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--link); font-weight: 550; }
.scroll { overflow-x: auto; } table.rows { border-collapse: collapse; font-size: .88rem; margin: .4rem 0; }
.rows th, .rows td { padding: .32rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
.rows th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
.rows td:first-child { min-width: 9rem; }
  .rows tbody tr:last-child td { border-bottom: 0; }
.rows td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pill { display: inline-block; border-radius: 999px; padding: 0 .6em; font-size: .82rem; white-space: nowrap;
  border: 1px solid var(--line); color: var(--soft); }
.good { color: var(--good); background: var(--good-bg); border-color: transparent; }
.bad { color: var(--bad); background: var(--bad-bg); border-color: transparent; }
.open { color: var(--open); background: var(--open-bg); border-color: transparent; }
code { font: .84em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--card);
  padding: .08em .3em;
  border-radius: 4px; border: 1px solid var(--line); }
figure { margin: .8rem 0; } figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { color: var(--soft); font-size: .85rem; }
@media print { nav { display: none; } details > * { display: block; } }
"""
