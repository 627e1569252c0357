import re
from pathlib import Path

import nbformat
import pytest

from reid_lib.site import render
from reid_lib.site.links import SiteError

FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![$\\])\$([^$]+?)\$", re.DOTALL)
ROOT = Path(__file__).parents[2]


def markdown(text: str) -> str:
    return render.MarkdownWithMath(renderer=render.Renderer()).render(text)


def test_a_formula_becomes_mathml() -> None:
    shown = markdown("The loss $\\lambda x^2$ is\n\n$$\\frac{a}{b}$$\n")
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">' in shown
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in shown
    assert '<div class="formula"><math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in shown
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in shown
    assert "$" not in shown
    assert "<mo>arg</mo>" in markdown(r"$G^* = \arg\min_G x$")
    assert "<mtable>" in markdown("\\begin{matrix}a & b\\end{matrix}")


@pytest.mark.parametrize(
    ("formula", "said"),
    [(r"\unknown x", r"cannot be shown: \\unknown"), (r"\left( x", "cannot be read"), ("x_a_b", "cannot be read")],
)
def test_a_formula_that_cannot_be_shown_is_refused(formula: str, said: str) -> None:
    with pytest.raises(SiteError, match=said):
        render.formula(formula, "inline")


def test_headings_have_the_ids_of_github() -> None:
    title = "REPORT-6 (2026-11-25): An interval over seeds counts seeds and trials"
    assert render.slug(title) == "report-6-2026-11-25-an-interval-over-seeds-counts-seeds-and-trials"
    assert render.slug("Do I get your numbers?") == "do-i-get-your-numbers"
    assert '<h2 id="the-code-of-it">The <code>code</code> of it' in markdown("## The `code` of it")


def test_a_page_needs_a_title() -> None:
    assert render.first_heading("text\n# The `one` title\n") == "The one title"
    with pytest.raises(SiteError, match="a heading of level 1"):
        render.first_heading("## a section")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "reid_lib" / "losses").mkdir(parents=True)
    for name in ("LICENSE", "docs/b.md", "reid_lib/losses/lrar.py", "reid_lib/losses/__init__.py"):
        (tmp_path / name).write_text("# B\n\n## Part one\n")
    return tmp_path


def written(project: Path, text: str) -> str:
    """The page of docs/a.md with this text."""
    page = project / "docs" / "a.md"
    page.write_text(f"# A\n\n{text}\n")
    sources = {page, project / "docs" / "b.md"}
    render.Writer(project, project / "out", [("index.html", "Overview")], sources).document(page)
    return (project / "out" / "docs" / "a.html").read_text()


def test_links_of_a_document_stay_in_the_site(project: Path) -> None:
    (project / "out" / "api" / "reid_lib" / "losses").mkdir(parents=True)
    for name in ("losses.html", "losses/lrar.html"):
        (project / "out" / "api" / "reid_lib" / name).touch()
    text = written(
        project,
        "[b](b.md#part-one) [code](../reid_lib/losses/lrar.py) [room](../reid_lib/losses) [terms](../LICENSE) "
        "[net](https://example.org)",
    )
    assert '<a href="b.html#part-one">b</a>' in text
    assert '<a href="../api/reid_lib/losses/lrar.html">code</a>' in text
    assert '<a href="../api/reid_lib/losses.html">room</a>' in text
    assert '<a href="../LICENSE">terms</a>' in text
    assert (project / "out" / "LICENSE").is_file()
    assert '<a href="https://example.org">net</a>' in text
    assert '<a href="../index.html">Overview</a>' in text
    assert text.count("<h1") == 1


def test_without_an_api_its_links_are_words(project: Path) -> None:
    assert "<p>see code</p>" in written(project, "see [code](../reid_lib/losses/lrar.py)")


def test_a_link_to_nothing_is_refused(project: Path) -> None:
    with pytest.raises(SiteError, match=r"docs/a\.md links to c\.md, which is not there"):
        written(project, "[c](c.md)")
    with pytest.raises(SiteError, match="links to"):
        written(project, "[outside](../../outside.md)")


def test_a_wide_table_scrolls_by_itself(project: Path) -> None:
    text = written(project, "| a |\n|---|\n| 1 |\n")
    assert re.search(r'<div class="scroll"[^>]*><table>.*</table></div>', text, re.DOTALL)


def test_a_notebook_shows_the_outputs_that_it_holds(project: Path) -> None:
    cell = nbformat.v4.new_code_cell("print(1)", execution_count=3)
    cell.outputs = [
        nbformat.v4.new_output("stream", text="never run here\n"),
        nbformat.v4.new_output("display_data", {"image/png": "AAAA"}, metadata={"image/png": {"alt": "two curves"}}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title\n\n$x$ [b](b.md)"), cell])
    path = project / "docs" / "n.ipynb"
    writer = render.Writer(project, project / "out", [], {path, project / "docs" / "b.md"})
    writer.notebook(path, notebook, "Title", [None, project / "docs" / "o.ipynb"])
    text = (project / "out" / "docs" / "n.html").read_text()
    assert "never run here" in text
    assert 'alt="two curves"' in text
    assert "<math" in text
    assert '<a href="b.html">b</a>' in text
    assert '<a href="o.html">o →</a>' in text
    assert "<script" not in text


def test_every_formula_of_the_notebooks_can_be_shown() -> None:
    found = [
        formula
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
        for formula in FORMULA.findall(cell.source)
    ]
    assert len(found) > 40
    for block, inline in found:
        assert render.formula(block or inline, "block").startswith("<math")
