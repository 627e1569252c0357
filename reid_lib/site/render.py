"""Notebooks and documents as pages: Markdown, formulas as MathML, code in colour, links that stay in the site."""

import re
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from reid_lib.reporting import pages
from reid_lib.site.links import SiteError

_UNKNOWN = re.compile(r"\\[A-Za-z]+|&#x0005C;[A-Za-z]+")  # a command that came through as it was
_ARG = re.compile(r"\\arg(?![A-Za-z])")  # the one common command that the converter lacks


class Writer:
    """Writes the pages of notebooks and documents.

    Args:
        root: the project's folder.
        out: the site's folder, with result pages and API in it already: links to a module lead to its page there.
        nav: links above each page (`html.navigation`).
        sources: the notebooks and documents that get a page.
    """

    def __init__(self, root: Path, out: Path, nav: Sequence[tuple[str, str]], sources: Collection[Path]) -> None:
        self.root, self.out, self.nav, self.sources = root, out, nav, sources

    def notebook(
        self, path: Path, notebook: nbformat.NotebookNode, title: str, around: Sequence[Path | None] = (None, None)
    ) -> None:
        """Write a notebook's page from the outputs that it holds, with links to the ones before and after it."""
        text, _ = _Exporter(self._renderer(path)).from_notebook_node(notebook)
        signs = ("← {}", "{} →")
        near = [
            f'<a href="{one.stem}.html">{sign.format(one.stem)}</a>'
            for one, sign in zip(around, signs, strict=True)
            if one is not None
        ]
        style = f"<style>{_CODE}</style>"
        self._write(path, title, f'{style}<div class="notebook">{text}</div><p>{" · ".join(near)}</p>')

    def document(self, path: Path) -> None:
        """Write the page of a Markdown file."""
        text = path.read_text(encoding="utf-8")
        body = MarkdownWithMath(renderer=self._renderer(path)).render(text)
        self._write(path, first_heading(text), f'<style>{_CODE}</style><div class="document">{body}</div>')

    def _write(self, path: Path, title: str, body: str) -> None:
        place = path.relative_to(self.root).with_suffix(".html").as_posix()
        body = re.sub(r"<h1[ >].*?</h1>", "", body, count=1, flags=re.DOTALL)  # the frame has it
        body = body.replace("<table", f"{_OPENED}<table").replace("</table>", "</table></div>")
        target = self.out / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(pages.page(title, body, where=place, nav=self.nav), encoding="utf-8")

    def _renderer(self, path: Path) -> "Renderer":
        return Renderer(lambda target: self._link(target, path))

    def _link(self, target: str, path: Path) -> str:
        """Where a link of a source leads in the site; "" where the site has nothing for it."""
        parts = urlsplit(target)
        if parts.scheme or parts.netloc or not parts.path:
            return target
        there = (path.parent / parts.path).resolve()
        if not there.exists() or not there.is_relative_to(self.root.resolve()):
            raise SiteError(f"{path.relative_to(self.root)} links to {target}, which is not there")
        inside = there.relative_to(self.root.resolve())
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        if self.root / inside in self.sources:
            place = inside.with_suffix(".html").as_posix()
        elif inside.parts[0] == "reid_lib":
            place = f"api/{inside.with_suffix('').as_posix().removesuffix('/__init__')}.html"
            place = place if (self.out / place).is_file() else ""
        elif there.is_file():
            place = inside.as_posix()
            (self.out / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(there, self.out / place)
        else:
            place = ""
        where = path.relative_to(self.root).as_posix()
        return f"{pages.relative(place, where)}{fragment}" if place else ""


class Renderer(IPythonRenderer):
    """Markdown to HTML as a notebook's, with formulas as MathML and ids of headings as GitHub makes them."""

    def __init__(self, link: Callable[[str], str] = lambda target: target) -> None:
        super().__init__(escape=False)
        self._target = link

    def block_math(self, body: str) -> str:
        """A formula on its own line."""
        return f'<div class="formula">{formula(body, "block")}</div>'

    def inline_math(self, body: str) -> str:
        """A formula in a sentence."""
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        """A LaTeX environment on its own line."""
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link, or its words where the site has nothing for it."""
        target = self._target(url)
        return super().link(text, target, title) if target else text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A picture."""
        return super().image(text, self._target(url), title)

    def heading(self, text: str, level: int, **attrs: object) -> str:
        """A heading that can be linked to."""
        identity = slug(re.sub(r"<[^>]+>", "", text))
        link = f'<a class="anchor" href="#{identity}" aria-label="link to this heading">¶</a>'
        return f'<h{level} id="{identity}">{text} {link}</h{level}>\n'


class _Exporter(HTMLExporter):
    """nbconvert's plain template, with our Markdown."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__(template_name="basic")
        self._renderer = renderer
        self.register_filter("markdown2html", lambda source: MarkdownWithMath(renderer=renderer).render(source))


def formula(text: str, display: str) -> str:
    """LaTeX as MathML. Raises SiteError when it cannot be read, or has a command that the converter does not know."""
    try:
        shown = convert(_ARG.sub(r"\\operatorname{arg}", text.strip()), display=display)
    except Exception as error:  # the converter has a class for each fault, without a common one
        raise SiteError(f"the formula {text.strip()!r} cannot be read: {type(error).__name__}") from error
    unknown = _UNKNOWN.search(shown)
    if unknown:
        raise SiteError(f"the formula {text.strip()!r} has a command that cannot be shown: {unknown.group()}")
    return shown


def slug(heading: str) -> str:
    """The id that GitHub gives a heading: "REPORT-6 (2026-11-25): An x" becomes "report-6-2026-11-25-an-x"."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def first_heading(markdown: str) -> str:
    """The text of the first heading of level 1. Raises SiteError when there is none."""
    found = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    if found is None:
        raise SiteError(f"a page needs a heading of level 1, found {markdown[:60]!r}")
    return found[1].strip().replace("`", "")


_OPENED = '<div class="scroll" role="region" tabindex="0" aria-label="table">'
_CODE = f"""
{HtmlFormatter().get_style_defs(".highlight")}
.highlight, .highlight pre, .output_subarea pre, .document pre {{ background: #f6f8f9; color: #1c2328; }}
pre {{ overflow-x: auto; padding: .6rem .8rem; border-radius: 6px; line-height: 1.4; margin: .5rem 0;
  font: .84rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }}
pre code {{ border: 0; padding: 0; background: none; font-size: 1em; }}
.prompt {{ color: var(--soft); font: .72rem ui-monospace, monospace; }} .text_cell .prompt {{ display: none; }}
.output_subarea {{ background: #fff; color: #1c2328; border-radius: 6px; }}
.output_html table:not(.rows) {{ border-collapse: collapse; font-size: .86rem; }}
.output_html table:not(.rows) :is(th, td) {{ padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }}
.document table {{ border-collapse: collapse; font-size: .9rem; }}
.document :is(th, td) {{ padding: .32rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }}
.formula {{ overflow: auto hidden; padding: .45rem 0; }} math {{ font-size: 1.08em; }}
.notebook, .document {{ max-width: 62rem; }} .anchor {{ opacity: .35; text-decoration: none; font-size: .8em; }}
"""
