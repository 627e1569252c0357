"""Who imports whom in this room: arrows go one way, and down."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import reid_lib
from reid_lib.reporting.papers import PAPERS

PACKAGE = Path(reid_lib.__file__).parent
ROOM = "reid_lib.reporting"
GROUND = {f"reid_lib.{name}" for name in ("digest", "files", "intervals", "profiles", "seeds", "status")}
FILES = sorted((PACKAGE / "reporting").rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(("reid_lib", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module(path): path for path in FILES}


def imported(path: Path) -> set[str]:
    """The modules that a file imports, also within functions; of this room the files, not their folder."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            files = {name for name in below if name in MODULES or name in GROUND}
            found |= files or {node.module}
    return found


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_file_imports_its_room_and_the_ground_floor(path):
    own = {name for name in imported(path) if name.split(".")[0] == "reid_lib"}
    assert own <= {*MODULES, *GROUND}
    if path.stem != "architecture":  # it draws modules
        assert not {name for name in imported(path) if name.split(".")[0] in ("torch", "torchvision")}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_no_two_files_import_each_other():
    graph = {name: imported(path) & set(MODULES) for name, path in MODULES.items()}
    assert graph["reid_lib.reporting.papers"] >= {f"{ROOM}.papers.lrar", f"{ROOM}.papers.vpfa"}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_papers_file_reaches_no_other_papers():
    papers = {f"{ROOM}.papers.{key}" for key in PAPERS}
    for name in papers:
        assert not imported(MODULES[name]) & {f"{ROOM}.papers", *papers}
