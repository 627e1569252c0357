"""The site: results, rendered notebooks, documents and the API as static pages that need no network.

It is laid out as the repository is, so that relative links between documents, notebooks and figures stay as they are:
README.md becomes README.html, notebooks/13_lrar.ipynb becomes notebooks/13_lrar.html.
"""

import os
import shutil
import warnings
from pathlib import Path

import nbformat

from reid_lib.reporting import artefacts, html, pages
from reid_lib.site import api, links, render
from reid_lib.site.links import SiteError
from reid_lib.status import counted

_MARK = ".reid-lib-site"  # in a folder that may be replaced
_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "DATA.md", "docs")


def build(root: Path, out: Path, *, with_api: bool = True) -> Path:  # decision REPORT-15
    """Build the site of the project in `root` into the folder `out`, and return its first page.

    Nothing is executed: notebooks show the outputs that they hold. What stood in `out` is replaced when all is built;
    an API that was there stays when none is made.

    Args:
        root: the project's folder.
        out: a folder that is not there, is empty, or holds an older site.
        with_api: whether the API is made, which imports the whole package.

    Raises:
        SiteError: `out` holds something else; a formula, link or picture is not right; a library warns.
        ResultsError: a result file is damaged.
    """
    _check_replaceable(out)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        (part / _MARK).touch()
        _build_into(part, root, out / "api", with_api)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out / html.INDEX


def _build_into(part: Path, root: Path, old_api: Path, with_api: bool) -> None:
    try:
        if with_api:
            api.build(part / "api")
        elif old_api.is_dir():
            shutil.copytree(old_api, part / "api")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _build_pages(root, part)
    except Warning as warning:
        raise SiteError(f"a library warned while the site was built: {type(warning).__name__}: {warning}") from warning
    found = links.problems(part, unread="" if with_api else "api")
    if found:
        raise SiteError("\n".join([f"the site has {counted(len(found), 'problem')}:", *found]))


def _build_pages(root: Path, out: Path) -> None:
    notebooks = {path: nbformat.read(path, as_version=4) for path in artefacts.numbered_notebooks(root)}
    titles = {path.stem: _title(notebook) for path, notebook in notebooks.items()}
    documents = [path for name in _DOCUMENTS for path in (sorted((root / name).rglob("*.md")) or [root / name])]
    others = [(f"{html.INDEX}#{html.NOTEBOOKS}", "Notebooks"), ("docs/index.html", "Documents")]
    if (out / "api").is_dir():
        others.append((api.FIRST, "API"))
    html.build(out, root / "notebooks", titles, others)
    writer = render.Writer(root, out, html.navigation(others), {*notebooks, *documents})
    order = list(notebooks)
    for number, (path, notebook) in enumerate(notebooks.items()):
        around = [order[place] if 0 <= place < len(order) else None for place in (number - 1, number + 1)]
        writer.notebook(path, notebook, titles[path.stem], around)
    for path in documents:
        writer.document(path)
    _list_documents(root, out, documents, html.navigation(others))


def _list_documents(root: Path, out: Path, documents: list[Path], nav: list[tuple[str, str]]) -> None:
    where, lines = "docs/index.html", []
    for path in documents:
        place = path.relative_to(root).with_suffix(".html").as_posix()
        title = pages.escape(render.first_heading(path.read_text(encoding="utf-8")))
        lines.append(f'<li><a href="{pages.relative(place, where)}">{title}</a></li>')
    text = pages.page("Documents", f"<ul>{''.join(lines)}</ul>", where=where, nav=nav)
    (out / where).write_text(text, encoding="utf-8")


def _title(notebook: nbformat.NotebookNode) -> str:
    return render.first_heading("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"))


def _check_replaceable(out: Path) -> None:
    if out.exists() and not (out / _MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise SiteError(f"{out} is not empty and holds no site of this project: name another folder, or remove it")
