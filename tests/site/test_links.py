from pathlib import Path

import pytest

from reid_lib.site import links


def site(folder: Path, body: str, **others: str) -> list[str]:
    """The problems of a site whose first page has `body`."""
    (folder / "index.html").write_text(f"<html><body>{body}</body></html>")
    for name, text in {"docs_a.html": '<p id="here">x</p>', **others}.items():
        file = folder / name.replace("_", "/", 1)
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return links.problems(folder)


@pytest.mark.parametrize(
    "body",
    [
        '<a href="docs/a.html">a</a> <a href="docs/a.html#here">b</a> <a href="docs/../docs/a.html">c</a>',
        '<a href="https://example.org/x">waits for a click</a>',
        '<p id="x"></p><a href="#x">here</a>',
        '<img src="data:image/png;base64,AAAA" alt="a person">',
        "<style>p { background: url(data:image/png;base64,AAAA) }</style>",
        "<script>const where = 'https://example.org'</script>",
    ],
)
def test_a_whole_page_has_no_problem(tmp_path: Path, body: str) -> None:
    assert site(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="docs/b.html">b</a>', "the link docs/b.html is dead"),
        ('<a href="docs">a folder</a>', "the link docs is dead"),
        ('<a href="docs/a.html#there">a</a>', "the link docs/a.html#there names a place that is not there"),
        ('<a href="#there">a</a>', "the link #there names a place that is not there"),
        ('<a href="../notes.html">a</a>', "the link ../notes.html leaves the site"),
        ('<a href="/docs/a.html">a</a>', "the link /docs/a.html starts at the root of a server"),
        ('<img src="gone.png" alt="x">', "the link gone.png is dead"),
        ('<img src="data:," alt=" ">', "the picture data:, has no alternative text"),
        ('<img src="data:,">', "the picture data:, has no alternative text"),
        (
            '<img src="data:," alt="No description has been provided for this image">',
            "the picture data:, has no alternative text",
        ),
        ('<img src="https://e.org/x.png" alt="x">', "https://e.org/x.png is loaded from the net"),
        ('<script src="//e.org/x.js"></script>', "//e.org/x.js is loaded from the net"),
        ('<link rel="stylesheet" href="https://e.org/x.css">', "https://e.org/x.css is loaded from the net"),
        ("<style>@import 'https://e.org/x.css';</style>", "https://e.org/x.css is loaded from the net"),
        ('<p style="background: url(http://e.org/x)">x</p>', "http://e.org/x is loaded from the net"),
        ("<script>fetch('https://e.org/x')</script>", "a script loads from the net"),
        ("<script>import x from 'https://e.org/x.js'</script>", "a script loads from the net"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, body: str, said: str) -> None:
    assert site(tmp_path, body) == [f"index.html: {said}"]


def test_styles_are_read_too(tmp_path: Path) -> None:
    found = site(tmp_path, "", **{"style.css": "body { background: url('https://e.org/x.png') }"})
    assert found == ["style.css: https://e.org/x.png is loaded from the net"]


def test_pages_that_are_not_read_can_be_linked_to(tmp_path: Path) -> None:
    dead = {"api_x.html": '<a href="gone.html">x</a>'}
    assert site(tmp_path, '<a href="api/x.html#y">x</a>', **dead)
    assert links.problems(tmp_path, unread="api") == []
