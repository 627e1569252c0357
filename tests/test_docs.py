"""README, CONTRIBUTING and docs/: links, decisions, commands, code blocks, length and words."""

import contextlib
import importlib
import io
import re
import shlex
import sys
import types
from datetime import date
from pathlib import Path

import pytest

from reid_lib import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "DATA.md", *sorted(DOCS.rglob("*.md"))]
AREAS = sorted(set((DOCS / "decisions").glob("*.md")) - {DOCS / "decisions" / "README.md"})
CODE = sorted((ROOT / "reid_lib").rglob("*.py"))
AVOID = ("makes small", "right verdict", "cut off from", "nobody tells", "told r =", "a game that is not even")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def decisions(path: Path) -> list[tuple[str, str, str, str]]:
    """Return (id, date, title, text) of every decision in a file."""
    parts = re.split(r"^## (.+)$", read(path), flags=re.MULTILINE)[1:]
    found = []
    for head, text in zip(parts[::2], parts[1::2], strict=True):
        match = re.fullmatch(r"([A-Z]+-\d+) \((\d{4}-\d\d-\d\d)\): (.+)", head)
        assert match, f"{name(path)}: expected 'ID (YYYY-MM-DD): title', found {head!r}"
        found.append((*match.groups(), text.strip()))
    return found


ALL = [decision for path in AREAS for decision in decisions(path)]
IDS = [decision[0] for decision in ALL]


# --- decisions ------------------------------------------------------------------------------------


def test_ids_are_unique_and_counted_from_one_in_each_file() -> None:
    assert len(IDS) == len(set(IDS)) > 80
    for path in AREAS:
        prefixes, numbers = zip(*(decision[0].split("-") for decision in decisions(path)), strict=True)
        assert len(set(prefixes)) == 1, name(path)
        assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1)), name(path)
        assert f"| [{path.name}]({path.name}) | `{prefixes[0]}` |" in read(DOCS / "decisions" / "README.md")


def test_decisions_are_dated_and_short() -> None:
    for identity, day, title, text in ALL:
        assert date.fromisoformat(day) >= date(2026, 11, 21), identity
        assert not title.endswith("."), identity
        assert 1 <= len([line for line in text.splitlines() if line]) <= 9, identity


def test_decisions_that_are_named_exist() -> None:
    prefixes = "|".join(sorted({identity.split("-")[0] for identity in IDS}))
    patterns = {".py": r"decisions? ([A-Z]+-\d+(?:(?:, | and )[A-Z]+-\d+)*)", ".md": rf"\b(?:{prefixes})-\d+"}
    for path in [*CODE, *PAGES]:
        pattern = patterns[path.suffix]
        named = re.findall(r"[A-Z]+-\d+", " ".join(re.findall(pattern, read(path))))
        assert set(named) <= set(IDS), f"{name(path)} names {set(named) - set(IDS)}"


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^()\s]+)\)", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL))
    for target in targets:
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{name(page)} links to {target}"


def test_every_document_is_reachable_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        found = [(page.parent / t).resolve() for t in re.findall(r"\]\(([^()\s#]+\.md)\)", read(page))]
        waiting += [path for path in found if path not in seen and path.is_file()]
    assert set(PAGES) <= seen


def test_every_scenario_has_its_test_and_its_thread() -> None:
    page = read(DOCS / "robustness.md").partition("## Faults")[0]  # counts: `test_faults`
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines]
    rows = [row for row in rows if row[0] not in ("Scenario",)]
    assert len(rows) >= 40
    for scenario, threads, here, test in rows:
        assert scenario
        assert here
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", thread) for thread in threads.split(", ") if thread), threads
        file, _, function = test.strip("`").partition("::")
        assert re.search(rf"^def {function}\(", read(ROOT / file), re.MULTILINE), f"{scenario}: there is no test {test}"


def test_the_readme_is_one_page() -> None:
    text = read(ROOT / "README.md")
    typed = re.sub(r"<!-- [\w ]+: begin -->.*?<!-- [\w ]+: end -->", "", text, flags=re.DOTALL)
    assert len(typed.split()) <= 780  # what is built from results comes to it
    assert len(text.split()) <= 1050
    assert all(command in text for command in ("make reproduce", "make test", "make lab"))


def test_the_readme_lists_the_notebooks_as_they_are() -> None:
    row = r"^\| \[(\d\d_\w+)\]\(([\w/.]+)\) \|.+\|$"
    rows = re.findall(row, read(ROOT / "README.md"), re.MULTILINE)
    assert all(target == f"notebooks/{notebook}.ipynb" for notebook, target in rows)
    assert [notebook for notebook, _ in rows] == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("paths", [PAGES, CODE], ids=["pages", "code"])
def test_words_to_avoid(paths: list[Path]) -> None:
    texts = {name(path): " ".join(read(path).split()).lower() for path in paths}
    assert [(file, words) for file, text in texts.items() for words in AVOID if words in text] == []


def test_no_path_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|tmp|root|Users)/", read(page)), name(page)


def test_functions_in_the_glossary_exist() -> None:
    named = re.findall(r"`((?:datasets|evaluation|losses|networks|training)\.\w+)\.(\w+)", read(DOCS / "glossary.md"))
    assert len(named) > 30
    for module, attribute in named:
        assert hasattr(importlib.import_module(f"reid_lib.{module}"), attribute), f"{module}.{attribute}"


def test_attributes_in_the_glossary_exist() -> None:
    sources = {found: path for path in CODE for found in re.findall(r"^class (\w+)", read(path), re.MULTILINE)}
    named = re.findall(r"\b([A-Z]\w+)(?:\.|\()(\w+)", " ".join(re.findall(r"`([^`]+)`", read(DOCS / "glossary.md"))))
    assert len(named) > 40
    for found, attribute in named:
        # a method, a field, an attribute that __init__ sets, or an argument of it
        pattern = rf"def {attribute}\(|^ +{attribute}: |self\.{attribute}\b.*=|self\.\w+ = .*\bself\.{attribute}\b"
        assert re.search(pattern, read(sources[found]), re.MULTILINE), f"{found}.{attribute}"


# --- commands -------------------------------------------------------------------------------------


def commands() -> dict[tuple[str, ...], set[str]]:
    """Return the options that pages show for every command, by the command's words."""
    found: dict[tuple[str, ...], set[str]] = {}
    for page in PAGES:
        text = read(page).replace("\\\n", " ")
        lines = re.findall(r"^ {4}(reid-lib .+)$", text, re.M) + re.findall(r"`(reid-lib [a-z][^`]*)`", text)
        for line in lines:
            words = shlex.split(" ".join(line.split()), comments=True)[1:]
            nested = words[0] in ("data", "vpfa") and len(words) > 1
            found.setdefault(tuple(words[: 1 + nested]), set()).update(w for w in words if w.startswith("-"))
    return found


@pytest.mark.parametrize(("command", "options"), commands().items(), ids=[" ".join(c) for c in commands()])
def test_commands_and_their_options_exist(command: tuple[str, ...], options: set[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit) as left:
        cli.main([*command, "--help"])
    assert left.value.code == 0
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", shown.getvalue()))
    assert options <= known | {"--debug"}


# --- code blocks ----------------------------------------------------------------------------------


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", read(page), re.DOTALL | re.MULTILINE)


def execute(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute a page's blocks in order: as the file that the first line names, or as a script.

    The functions ``test_...`` of a file below tests/ are called.
    """
    for block in blocks(page):
        file = re.match(r"# ((?:reid_lib|tests)/[\w/]+)\.py\n", block)
        module = types.ModuleType(file[1].replace("/", ".") if file else "__main__")
        if file and file[1].startswith("reid_lib/"):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(block, name(page), "exec"), module.__dict__)
        if file and file[1].startswith("tests/"):
            tests = [value for key, value in vars(module).items() if key.startswith("test_")]
            assert tests
            for test in tests:
                test()


PAGES_WITH_CODE = [page for page in PAGES if blocks(page) and page.name != "README.md"]  # README: test_setup.py


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=name)
def test_code_runs(page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    execute(page, monkeypatch)
    assert "rank1" in capsys.readouterr().out


def test_the_worked_example_is_among_them() -> None:
    assert DOCS / "add_a_method.md" in PAGES_WITH_CODE
    assert len(blocks(DOCS / "add_a_method.md")) >= 4
