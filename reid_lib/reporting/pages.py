"""What all pages of the site share: frame, navigation, style, and small pieces of HTML. No scripts, no network."""

import html
import os
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from reid_lib.reporting import claims, tables

STYLE = "style.css"  # written once, beside index.html
# A sign beside each word: nothing is told by colour alone.
SIGNS = {
    "done": "●", "planned": "○", "missing": "!", "not reproduced": "–",
    "holds": "✓", "fails": "✗", "inconclusive": "≈", "not measured": "·", claims.ONE_SEED: "◔",
    "agrees": "✓", "differs": "✗", "open": "≈",
}  # fmt: skip
_KINDS = {
    "done": "good", "holds": "good", "agrees": "good",
    "missing": "bad", "fails": "bad", "differs": "bad", "inconclusive": "open", claims.ONE_SEED: "open",
}  # fmt: skip


def page(title: str, body: str, *, where: str, nav: Sequence[tuple[str, str]], lead: str = "") -> str:
    """One whole page.

    Args:
        title: of the page; plain text.
        body: its HTML.
        where: its place in the site, "papers/lrar.html"; links from it are relative.
        nav: (place in the site, words) of each link above; the page's own is marked.
        lead: a line of HTML below the title.
    """
    links = "".join(
        f'<a href="{relative(place, where)}"{" aria-current=page" if place == where else ""}>{escape(words)}</a>'
        for place, words in nav
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{relative(STYLE, where)}"></head><body>'
        f'<nav aria-label="Pages">{links}</nav>'
        f"<header><h1>{escape(title)}</h1>{f'<p>{lead}</p>' if lead else ''}</header>"
        f"<main>{body}</main></body></html>\n"
    )


def relative(place: str, where: str) -> str:
    """The link from the page at `where` to `place`, both counted from the site's folder."""
    return os.path.relpath(place, str(PurePosixPath(where).parent)).replace(os.sep, "/")


def escape(text: object) -> str:
    """`text` for HTML, in quotes too."""
    return html.escape(str(text), quote=True)


def pill(word: str, text: str = "") -> str:
    """A status or verdict with its sign, and in its colour; `text` stands in place of the word."""
    return f'<span class="pill {_KINDS.get(word, "plain")}">{SIGNS.get(word, "")} {escape(text or word)}</span>'


def with_pills(frame: pd.DataFrame, column: str = "verdict") -> str:
    """A table in which the words of one column are pills."""
    text = tables.to_html(frame)
    for word in frame[column].unique():
        text = text.replace(f"<td>{escape(word)}</td>", f"<td>{pill(word)}</td>")
    return text


def scroll(table: str, name: str = "table") -> str:
    """A table that scrolls sideways by itself where the screen is narrow, with a bar to see and reach by key."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">{table}</div>'


def rows(head: Sequence[str], lines: Sequence[str], name: str = "table") -> str:
    """A table of the site's look; `head` is plain text, `lines` are whole <tr> elements."""
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    return scroll(f'<table class="rows"><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table>', name)


CSS = """
:root { --ink: #1c2328; --soft: #56626b; --paper: #ffffff; --card: #f6f8f9; --line: #d9dfe3; --link: #00598f;
  --bar: #8a97a0; --good: #00664b; --good-bg: #dff3ec; --bad: #9c3d00; --bad-bg: #fde9dd;
  --open: #6b5200; --open-bg: #fbf1cf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaed; --soft: #a3afb8; --paper: #14191d; --card: #1c2328;
  --line: #35404a; --link: #6cc0f5; --bar: #75828c; --good: #7fdcbf; --good-bg: #123a2f; --bad: #ffb48a;
  --bad-bg: #472410; --open: #f0d679; --open-bg: #3b3210; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper); overflow-wrap: break-word;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.4rem; } header p { margin: .3rem 0 .6rem; color: var(--soft); font-size: 1.05rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.4rem; margin: 1.6rem 0 .5rem; } h3 { font-size: 1.1rem; margin: 0 0 .2rem; }
h4 { font-size: .95rem; margin: 1rem 0 .3rem; } small { color: var(--soft); font-weight: 400; }
nav { background: var(--card); border-bottom: 1px solid var(--line); display: flex; flex-wrap: wrap;
  gap: .2rem 1.1rem; justify-content: center; padding: .55rem 1rem; }
nav a { text-decoration: none; font-weight: 550; } nav a[aria-current] { color: var(--ink);
  border-bottom: 2px solid var(--ink); }
a { color: var(--link); text-underline-offset: .15em; } a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
section { padding: 1rem 0 .6rem; border-bottom: 1px solid var(--line); } section:last-child { border: 0; }
section h2:first-child { margin-top: .4rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.1rem;
  margin: 1rem 0; }
article > p { margin: 0 0 .6rem; } .note { color: var(--soft); font-size: .9rem; margin: .35rem 0; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--link); font-weight: 550; }
.scroll, .output_subarea { overflow-x: auto; }
.scroll::-webkit-scrollbar, .output_subarea::-webkit-scrollbar, pre::-webkit-scrollbar { height: 11px; width: 11px; }
.scroll::-webkit-scrollbar-track, .output_subarea::-webkit-scrollbar-track, pre::-webkit-scrollbar-track {
  background: var(--line); border-radius: 6px; }
.scroll::-webkit-scrollbar-thumb, .output_subarea::-webkit-scrollbar-thumb, pre::-webkit-scrollbar-thumb {
  background: var(--bar); border-radius: 6px; }
@supports not selector(::-webkit-scrollbar) { .scroll, .output_subarea, pre {
  scrollbar-width: auto; scrollbar-color: var(--bar) var(--line); } }
table.rows { border-collapse: collapse; font-size: .88rem; margin: .4rem 0; }
.rows th, .rows td { padding: .32rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
.rows th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
.rows td:first-child { min-width: 9rem; } .rows tbody tr:last-child td { border-bottom: 0; }
.rows td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pill { display: inline-block; border-radius: 999px; padding: 0 .6em; font-size: .82rem; white-space: nowrap;
  border: 1px solid var(--line); color: var(--soft); }
.good { color: var(--good); background: var(--good-bg); border-color: transparent; }
.bad { color: var(--bad); background: var(--bad-bg); border-color: transparent; }
.open { color: var(--open); background: var(--open-bg); border-color: transparent; }
code { font: .84em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--card);
  padding: .08em .3em; border-radius: 4px; border: 1px solid var(--line); }
figure { margin: .8rem 0; } img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { color: var(--soft); font-size: .85rem; }
@media print { nav { display: none; } details > * { display: block; } }
"""
