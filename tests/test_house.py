"""How the code is built: arrows downwards, short files, nothing written twice. See CONTRIBUTING.md."""

import ast
import io
import keyword
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

from reid_lib.digest import PACKAGE, imports

FLOORS = [
    {"files", "intervals", "profiles", "seeds", "digest", "devices", "status", "listing", "values"},
    {"datasets", "networks", "losses", "reporting"},
    {"evaluation"},
    {"training"},
    {"session", "reproduce", "cluster", "jobs", "execute", "writeback", "explore", "site", "export"},
    {"cli", "__main__"},
]
STRANGERS = FLOORS[1]  # rooms of one floor that do not know one another
LINES_OF_A_FILE, LINES_OF_A_METHOD, LINES_OF_THE_BASELINE = 500, 600, 300
ROOMS = ("networks", "losses", "training")
SHARED_LINES = 12

FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
IMPORTS = {module: set(imports(path.read_text(encoding="utf-8"))) for module, path in FILES.items()}
PAPERS = sorted(
    path.stem for path in (PACKAGE / "networks").glob("[a-z]*.py") if (PACKAGE / "training" / path.name).exists()
)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def floor(module: str) -> int:
    return next((n for n, rooms in enumerate(FLOORS) if room(module) in rooms), -1)


def length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def test_every_room_has_a_floor() -> None:
    assert [module for module in FILES if module != "reid_lib" and floor(module) < 0] == []


@pytest.mark.parametrize("module", [module for module in FILES if module != "reid_lib"])
def test_no_import_goes_upwards(module: str) -> None:
    others = {name for name in IMPORTS[module] if room(name) != room(module)}
    assert {name for name in others if floor(name) > floor(module)} == set()
    if floor(module) == 0:
        assert others <= {f"reid_lib.{name}" for name in FLOORS[0]}
    if room(module) in STRANGERS:
        assert {name for name in others if room(name) in STRANGERS} == set()


def test_no_two_files_import_each_other() -> None:
    def reached(start: str) -> set[str]:
        found, waiting = set(), [start]
        while waiting:
            for name in IMPORTS[waiting.pop()] - found:
                found.add(name)
                waiting.append(name)
        return found

    assert [module for module in FILES if module in reached(module)] == []


def test_reporting_needs_no_torch() -> None:
    for module, path in FILES.items():
        if room(module) == "reporting" and module != "reid_lib.reporting.architecture":
            assert "import torch" not in path.read_text(encoding="utf-8"), module


def test_no_file_is_too_long() -> None:
    assert {module: n for module, path in FILES.items() if (n := length(path)) > LINES_OF_A_FILE} == {}


def test_a_method_can_be_read_in_half_an_hour(capsys: pytest.CaptureFixture) -> None:
    lines = {paper: [length(PACKAGE / room / f"{paper}.py") for room in ROOMS] for paper in PAPERS}
    # the baseline's losses are those that all share, and its loop is the synthetic start's too
    lines["baseline"][1:] = [
        length(PACKAGE / "losses" / "common.py"),
        sum(length(PACKAGE / "training" / name) for name in ("baseline.py", "identity_triplet.py")),
    ]
    with capsys.disabled():
        print(f"\n{'lines':12}" + "".join(f"{room:>10}" for room in (*ROOMS, "together")))
        for paper, found in lines.items():
            print(f"{paper:12}" + "".join(f"{n:10}" for n in (*found, sum(found))))
    assert {"baseline", "cadnet", "cyclegan", "drfm", "intact", "lrar", "vpfa"} <= lines.keys()
    allowed = {paper: LINES_OF_THE_BASELINE if paper == "baseline" else LINES_OF_A_METHOD for paper in lines}
    assert {paper: sum(found) for paper, found in lines.items() if sum(found) > allowed[paper]} == {}


def shape(source: str) -> list[tuple[int, str]]:
    """Return the lines of code with their numbers; names, strings and numbers become one sign of each kind.

    The settings of a dataclass do not count: they are a list of values, and every method has its own.
    """
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    settings = {line.lineno for node in classes for line in node.body if isinstance(line, ast.AnnAssign)}
    lines: dict[int, list[str]] = defaultdict(list)
    at_start = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind, text, (line, _), *_ = token
        if kind == tokenize.STRING and at_start:  # a docstring
            continue
        if kind in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.COMMENT):
            at_start = True
            continue
        at_start = False
        sign = {tokenize.STRING: "S", tokenize.NUMBER: "0"}.get(kind, text)
        lines[line].append("N" if kind == tokenize.NAME and not keyword.iskeyword(text) else sign)
    code = [(line, " ".join(signs)) for line, signs in sorted(lines.items()) if any(signs) and line not in settings]
    return [(line, text) for line, text in code if not text.startswith(("import", "from"))]


def test_shapes_tell_copies_from_others() -> None:
    one = shape('def f(x):\n    """What."""\n    return {"a": x + 1}  # why\n')
    assert [text for _, text in one] == [text for _, text in shape("def g(y):\n\n    return {'b': y + 2}\n")]
    assert [text for _, text in one] != [text for _, text in shape("def g(y):\n    return {'b': y - 2}\n")]


def test_no_two_places_in_training_share_twelve_lines() -> None:
    seen: dict[tuple[str, ...], tuple[str, int, int]] = {}
    for path in sorted((PACKAGE / "training").glob("*.py")):
        code = shape(path.read_text(encoding="utf-8"))
        for start in range(len(code) - SHARED_LINES + 1):
            window = code[start : start + SHARED_LINES]
            name, line, first = seen.setdefault(tuple(text for _, text in window), (path.name, window[0][0], start))
            itself = name == path.name and start - first < SHARED_LINES  # a run of like lines
            assert itself, f"{SHARED_LINES} lines from {name}:{line} stand again at {path.name}:{window[0][0]}"


def test_every_optimiser_steps_through_the_run() -> None:
    """So that several processes and the guard cover GANs as well (decision HOUSE-4)."""
    for path in (PACKAGE / "training").glob("*.py"):
        if path.name != "run.py":
            calls = [
                node.func
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Call)
            ]
            names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
            assert not names & {"backward", "zero_grad"}, path.name
