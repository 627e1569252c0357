import subprocess
import sys
from pathlib import Path

import pytest

from reid_lib.datasets import LOADERS, names


def test_every_name_has_a_loader() -> None:
    assert tuple(LOADERS) == names.NAMES


@pytest.mark.parametrize(
    ("name", "synthetic", "published"),
    [("synth", True, "synth"), ("synth-caviar", True, "synth-caviar"), ("cuhk03", False, "MLR-CUHK03")],
)
def test_what_a_name_means(name: str, synthetic: bool, published: str) -> None:
    assert names.is_synthetic(name) is synthetic
    assert names.published(name) == published


def test_a_name_that_only_begins_like_a_synthetic_one_is_not_synthetic() -> None:
    assert not names.is_synthetic("synthesis")


def test_an_unknown_name_is_refused_with_the_callers_error() -> None:
    names.check("viper", KeyError)
    with pytest.raises(KeyError, match="did you mean 'synth'"):
        names.check("synht", KeyError)


def test_only_a_near_word_is_offered() -> None:
    assert names.nearest("seed", ["profile", "seeds"]) == " (did you mean 'seeds'?)"
    assert names.nearest(7, ["profile", "seeds"]) == ""


def test_the_names_need_no_other_module() -> None:
    alone = f"import runpy, sys; runpy.run_path({names.__file__!r})"
    code = f"{alone}; print({{'torch', 'pandas', 'reid_lib'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert done.stdout.strip() == "set()"
