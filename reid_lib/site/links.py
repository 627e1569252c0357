"""Is a built site whole? Every link inside it leads somewhere, nothing comes from the net, pictures have words."""

import posixpath
import re
from collections.abc import Collection, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# what a browser loads by itself: attribute -> elements; the href of <a> waits for a click
_LOADED = {
    "src": {"img", "script", "iframe", "source", "video", "audio", "embed", "input", "track"},
    "href": {"link"},
    "srcset": {"img", "source"},
    "data": {"object"},
    "poster": {"video"},
}
_IN_STYLES = re.compile(r"""url\(\s*['"]?([^'")\s]+)|@import\s+['"]([^'"]+)""")
_IN_SCRIPTS = re.compile(r"""(?:import\s*\(|from\s+|fetch\s*\(|importScripts\s*\(|\.src\s*=)\s*['"](https?:)?//""")


class SiteError(ValueError):
    """The site cannot be built as it should be; the message says what is wrong, and where."""


class Page(HTMLParser):
    """One page, read.

    Attributes:
        links: targets of <a>.
        loaded: addresses that a browser loads by itself.
        ids: places that a fragment may name.
        without_words: addresses of pictures that have no alternative text.
        scripts: text of the scripts that stand in the page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.without_words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element names."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self.loaded += [given[name] for name, tags in _LOADED.items() if tag in tags and given.get(name)]
        self.loaded += _styled(given.get("style", ""))
        if tag == "img" and (not given.get("alt", "").strip() or "No description" in given["alt"]):
            self.without_words.append(given.get("src", "")[:60])
        self._inside = tag if tag in ("style", "script") else ""

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Read styles and scripts."""
        if self._inside == "style":
            self.loaded += _styled(data)
        elif self._inside == "script":
            self.scripts.append(data)


def problems(folder: Path, unread: str = "") -> list[str]:
    """One sentence for each dead link, each thing that a page loads from the net, each picture without words.

    Pages below the folder `unread` ("api") of the site are there to be linked to, and are not read themselves.
    """
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    read = sorted(name for name in files if not (unread and name.startswith(f"{unread}/")))
    pages = {name: Page((folder / name).read_text(encoding="utf-8")) for name in read if name.endswith(".html")}
    found = []
    for name, page in pages.items():
        for target in dict.fromkeys([*page.links, *page.loaded]):
            said = _of_target(target, name, pages, files, loaded=target in page.loaded)
            found += [f"{name}: {said}"] if said else []
        found += [f"{name}: the picture {source} has no alternative text" for source in page.without_words]
        found += [f"{name}: a script loads from the net" for script in page.scripts if _IN_SCRIPTS.search(script)]
    for name in (name for name in read if name.endswith(".css")):
        for target in _styled((folder / name).read_text(encoding="utf-8")):
            said = _of_target(target, name, pages, files, loaded=True)
            found += [f"{name}: {said}"] if said else []
    return found


def _styled(text: str) -> list[str]:
    return [first or second for first, second in _IN_STYLES.findall(text)]


def _of_target(target: str, name: str, pages: Mapping[str, Page], files: Collection[str], *, loaded: bool) -> str:
    """What is wrong with a target of the page `name`, "" when nothing is."""
    if target.startswith("data:"):
        return ""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return f"{target[:80]} is loaded from the net" if loaded else ""
    if parts.path.startswith("/"):
        return f"the link {target} starts at the root of a server"
    there = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path))) if parts.path else name
    if there not in files:
        return f"the link {target} {'leaves the site' if there.startswith('..') else 'is dead'}"
    if there in pages and parts.fragment and unquote(parts.fragment) not in pages[there].ids:
        return f"the link {target} names a place that is not there"
    return ""
