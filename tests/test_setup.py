"""pyproject.toml, environment.yml, the Makefile and the README say the same."""

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
pins = runpy.run_path(str(ROOT / "tests" / "oldest.py"))["pins"]
CONDA_NAMES = {"torch": "pytorch", "build": "python-build"}  # where conda-forge's name differs
ONLY_CONDA = {"pip"}


def _bounds(requirements: list[str]) -> dict[str, str]:
    """Return {name: version bounds} of requirements like "torch>=2.8"."""
    split = [re.fullmatch(r"([A-Za-z0-9_.-]+?)\s*([<>=!~].*)?", text).groups() for text in requirements]
    return {name: bound or "" for name, bound in split}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_conda_environment_has_the_same_dependencies(project: dict) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = _bounds([entry for entry in environment["dependencies"] if isinstance(entry, str)])
    python = conda.pop("python")
    wanted = _bounds(
        project["dependencies"] + project["optional-dependencies"]["dev"] + project["optional-dependencies"]["onnx"]
    )
    wanted = {CONDA_NAMES.get(name, name): bound for name, bound in wanted.items()}

    assert python == project["requires-python"]
    assert {name: bound for name, bound in conda.items() if name not in ONLY_CONDA} == wanted
    assert environment["channels"] == ["conda-forge"]
    assert {"pip": ["-e ."]} in environment["dependencies"]


def test_the_extras_of_the_design_exist(project: dict) -> None:
    assert set(project["optional-dependencies"]) == {"dev", "vit", "sr", "slurm", "onnx"}


@pytest.mark.parametrize("target", ["reproduce", "test", "dist", "lint", "lab", "site", "clean", "benchmarks"])
def test_the_makefile_has_the_target(target: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make", "-n", target, "VENV=.venv"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ".venv" in done.stdout or target == "clean"


def test_an_old_python_is_refused_with_a_clear_message(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    old = tmp_path / "oldpython"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.6;; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = subprocess.run(["make", "lint", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr
    assert "is Python 3.9.6" in done.stderr
    assert "make lint PYTHON=python3.13" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_oldest_versions_are_the_lower_bounds(project: dict) -> None:
    assert "torch==2.8" in pins(project)
    of_all = _bounds([text for part in project["optional-dependencies"].values() for text in part])
    bounds = _bounds(project["dependencies"]) | of_all
    assert _bounds(pins(project)) == {name: bound.replace(">=", "==") for name, bound in bounds.items()}
    with pytest.raises(ValueError, match="written NAME>=VERSION, found numpy, scipy>=1,<2"):
        pins({"dependencies": ["numpy", "torch>=2"], "optional-dependencies": {"dev": ["scipy>=1,<2"]}})


def test_continuous_integration_runs_make_test() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    assert "make test" in run.read_text()
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)


def _commands(job: dict) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


def _settings(job: dict, name: str) -> list[object]:
    return [step["with"][name] for step in job["steps"] if name in step.get("with", {})]


def test_the_workflow_covers_what_pyproject_allows(project: dict) -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    allowed = SpecifierSet(project["requires-python"])
    pythons = [python for python in (f"3.{minor}" for minor in range(30)) if allowed.contains(f"{python}.1")]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert jobs["test"]["strategy"]["matrix"] == {"os": ["ubuntu-latest", "macos-latest"], "python": pythons}
    assert "make test" in _commands(jobs["test"])
    assert _settings(jobs["oldest"], "python-version") == pythons[:1]
    assert "make oldest" in _commands(jobs["oldest"])
    assert "make oldest" in (ROOT / "CONTRIBUTING.md").read_text()
    assert _settings(jobs["conda"], "environment-file") == ["environment.yml"]
    assert "pytest" in _commands(jobs["conda"])
    assert "python -m build" in _commands(jobs["wheel"])


def test_make_oldest_makes_test_with_the_oldest_versions() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # -n shows the commands; a line with $(MAKE) is run all the same, and shows those of `test`
    done = subprocess.run(["make", "-n", "oldest"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tests/oldest.py > build/oldest.txt" in done.stdout
    assert f"PIP_CONSTRAINT={ROOT}/build/oldest.txt" in done.stdout
    assert "build/oldest/bin/python -m pytest" in done.stdout


def test_the_citation_names_the_version(project: dict) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "rank1" in capsys.readouterr().out
