"""Every exercise of a paper's notebook, and of notebook 90, has its solution in a fold, and the code in it runs."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WITH_EXERCISES = sorted(path.stem for path in NOTEBOOKS.glob("[19]*.ipynb"))
FOLD = re.compile(r"<details><summary>Solution</summary>\n\n(.+?)\n\n</details>", re.DOTALL)
CODE = re.compile(r"```python\n(.+?)```", re.DOTALL)


def exercises(name: str) -> str:
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    (found,) = [cell.source for cell in cells if cell.cell_type == "markdown" and "## Exercises" in cell.source]
    return found


SOLUTIONS = [
    pytest.param(code, id=f"{name}-{number}")
    for name in WITH_EXERCISES
    for number, code in enumerate(CODE.findall(exercises(name)), start=1)
]


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_every_exercise_has_a_solution_in_a_fold(name: str) -> None:
    text = exercises(name)
    questions = re.findall(r"^\*\*\d+\.\*\* ", text, re.MULTILINE)
    assert len(questions) >= 3
    assert len(FOLD.findall(text)) == len(questions)
    assert len(CODE.findall(text)) >= 2
    assert all("assert " in code for code in CODE.findall(text))


@pytest.mark.parametrize("code", SOLUTIONS)
def test_a_solution_runs(code: str) -> None:
    exec(compile(code, "solution", "exec"), {})
