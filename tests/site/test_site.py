"""The whole site is built from what is committed, and a few sites of small projects that are not as they should be."""

import warnings
from pathlib import Path

import nbformat
import pytest

from reid_lib import cli, site
from reid_lib.reporting import papers
from reid_lib.site import SiteError, api, links

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this project; warnings are errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REID_LIB_RESULTS", raising=False)
        return site.build(ROOT, tmp_path_factory.mktemp("site") / "site").parent


def test_everything_has_its_page(built: Path) -> None:
    pages = {path.relative_to(built).as_posix() for path in built.rglob("*.html")}
    sources = [*ROOT.glob("notebooks/[0-9]*.ipynb"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]
    assert {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in sources} <= pages
    assert {f"papers/{key}.html" for key in papers.PAPERS} <= pages
    modules = [path for path in (ROOT / "reid_lib").rglob("*.py") if path.stem not in ("__init__", "__main__")]
    modules = [path for path in modules if path.parent.name != "synth"]  # its page is its __all__
    assert {f"api/{path.relative_to(ROOT).with_suffix('.html').as_posix()}" for path in modules} <= pages


def test_no_link_is_dead_and_nothing_comes_from_the_net(built: Path) -> None:
    assert links.problems(built) == []


def test_every_page_is_reached_from_the_first(built: Path) -> None:
    seen, waiting = set(), [built / "index.html"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        targets = links.Page(page.read_text(encoding="utf-8")).links
        found = {(page.parent / t.partition("#")[0]).resolve() for t in targets if "://" not in t and t[0] != "#"}
        waiting += [path for path in found - seen - set(waiting) if path.suffix == ".html"]
    assert {path.resolve() for path in built.rglob("*.html")} - {built / "api" / "index.html"} <= seen
    assert built / "index.html" in {
        (built / "api" / t).resolve() for t in links.Page((built / api.FIRST).read_text()).links
    }


def test_formulas_need_no_script(built: Path) -> None:
    text = (built / "notebooks" / "13_lrar.html").read_text(encoding="utf-8")
    assert text.count("<math") > 10
    assert "MathJax" not in text
    assert "<script" not in text


def test_docstrings_are_in_the_api(built: Path) -> None:
    pages = built / "api" / "reid_lib"
    assert "zero-padded features (n_query, d)" in (pages / "losses" / "lrar.html").read_text(encoding="utf-8")
    assert "Draw image" in (pages / "datasets" / "synth.html").read_text(encoding="utf-8")


# --- small projects -------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one notebook and one document."""
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    for name in ("README.md", "CONTRIBUTING.md", "DATA.md", "docs/a.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# A document\n")
    (tmp_path / "notebooks").mkdir()
    cell = nbformat.v4.new_markdown_cell("# A notebook")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "13_lrar.ipynb")
    return tmp_path


def test_an_older_site_is_replaced_and_its_api_stays(small: Path) -> None:
    out = small / "build" / "site"
    first = site.build(small, out, with_api=False)
    assert first == out / "index.html"
    assert "api/" not in first.read_text()
    (out / "old.html").write_text("x")
    (out / "api").mkdir()
    (out / api.FIRST).write_text("made before")
    site.build(small, out, with_api=False)
    assert not (out / "old.html").exists()
    assert (out / api.FIRST).read_text() == "made before"
    assert f'href="{api.FIRST}"' in first.read_text()
    assert [path.name for path in out.parent.iterdir()] == ["site"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("docs/a.md", "# A\n\n[b](b.md)", "docs/a.md links to b.md, which is not there"),
        ("docs/a.md", "# A\n\n$\\unknown$", "cannot be shown"),
        ("docs/a.md", "no title", "a heading of level 1"),
        ("docs/a.md", "# A\n\n[b](a.md#there)", "docs/a.html: the link a.html#there names a place that is not there"),
        ("docs/a.md", "# A\n\n![](https://example.org/x.png)", "is loaded from the net"),
    ],
)
def test_a_fault_stops_the_build_and_the_older_site_stays(small: Path, name: str, text: str, said: str) -> None:
    out = small / "site"
    page = site.build(small, out, with_api=False)
    before = page.read_text()
    (small / name).write_text(text)
    with pytest.raises(SiteError, match=said.replace(".", r"\.")):
        site.build(small, out, with_api=False)
    assert page.read_text() == before
    assert not (small / "site.part").exists()


def test_a_picture_without_words_stops_the_build(small: Path) -> None:
    path = small / "notebooks" / "13_lrar.ipynb"
    notebook = nbformat.read(path, as_version=4)
    output = nbformat.v4.new_output("display_data", {"image/png": "AAAA"})
    notebook.cells.append(nbformat.v4.new_code_cell("1", execution_count=1, outputs=[output]))
    nbformat.write(notebook, path)
    with pytest.raises(SiteError, match="has no alternative text"):
        site.build(small, small / "site", with_api=False)


def test_a_warning_stops_the_build(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.html, "build", lambda *arguments: warnings.warn("old", DeprecationWarning, stacklevel=1))
    with pytest.raises(SiteError, match="a library warned while the site was built: DeprecationWarning: old"):
        site.build(small, small / "site", with_api=False)
    assert not (small / "site.part").exists()


def test_a_folder_with_other_things_is_spared(small: Path) -> None:
    with pytest.raises(SiteError, match="holds no site of this project: name another folder"):
        site.build(small, small / "docs", with_api=False)
    assert (small / "docs" / "a.md").is_file()
    with pytest.raises(SiteError, match="holds no site"):
        site.build(small, small / "README.md", with_api=False)


def test_the_api_needs_pdoc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pdoc", None)
    with pytest.raises(SiteError, match=r"need pdoc: pip install -e '\.\[dev\]'"):
        api.build(tmp_path)


# --- the command -----------------------------------------------------------------------------------


def test_site_goes_where_it_is_told_and_spares_what_is_no_site(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert cli.main(["site", "--out", str(tmp_path)]) == 2
    assert "holds no site of this project" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "dear"

    monkeypatch.setattr("reid_lib.site.build", lambda root, out: out / "index.html")
    assert cli.main(["site", "--out", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'new' / 'index.html'}\n"
