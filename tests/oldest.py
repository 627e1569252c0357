"""Print the oldest versions that pyproject.toml allows, as constraints for pip: `make oldest` tests with them."""

import tomllib
from pathlib import Path


def pins(project: dict) -> list[str]:
    """Return "torch==2.8" for "torch>=2.8", of a project's dependencies and of all its extras, each once.

    Raises:
        ValueError: a requirement is not NAME>=VERSION.
    """
    extras = project["optional-dependencies"].values()
    found = {text for part in (project["dependencies"], *extras) for text in part}
    odd = sorted(text for text in found if text.count(">=") != 1 or "," in text)
    if odd:
        raise ValueError(f"a requirement is written NAME>=VERSION, found {', '.join(odd)}")
    return sorted(text.replace(">=", "==") for text in found)


if __name__ == "__main__":
    print(*pins(tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]), sep="\n")
