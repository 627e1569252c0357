"""The wheel and the source archive: built from the files that git has, and used outside a checkout."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.training.run import initialise

ROOT = Path(__file__).parents[1]
NEEDS_A_CHECKOUT = ("reproduce", "status", "verify", "readme", "site")

# the same commands in one process, each with what it said
DRIVER = """
import contextlib, io, json, sys
from pathlib import Path
import reid_lib
from reid_lib.cli import main

found = {"file": reid_lib.__file__, "is a class": isinstance(reid_lib.VectorPanning, type)}
for line in json.loads(sys.stdin.read()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line.split())
    found[line] = [code, out.getvalue(), err.getvalue()]
Path("found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files that git has."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("what belongs to the package is what git has: run this in a clone")
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in found.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that is built from it."""
    for package in ("build", "setuptools", "pip"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install -e '.[dev]'")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked:  # a copy: an old build/ or egg-info of the checkout must not be looked at
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_wheel_is_the_package_and_nothing_else(built: Path, tracked: list[str]) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        files = file.namelist()
        (metadata,) = [name for name in files if name.endswith(".dist-info/METADATA")]
        said = file.read(metadata).decode()
    own = [name for name in files if ".dist-info/" not in name]
    assert sorted(own) == sorted(name for name in tracked if name.startswith("reid_lib/"))
    assert any(name.endswith("licenses/LICENSE") for name in files)
    assert "Requires-Python: <3.14,>=3.11" in said
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_source_archive_is_what_builds_the_wheel(built: Path, tracked: list[str]) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in (m.name for m in file.getmembers() if m.isfile())}
    written = {"PKG-INFO", "setup.cfg"} | {name for name in names if name.startswith("reid_lib.egg-info/")}
    needed = {"pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"}
    assert names - written == needed | {name for name in tracked if name.startswith("reid_lib/")}


@pytest.fixture(scope="module")
def outside(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder outside the checkout, and the environment in which the wheel is installed."""
    target = tmp_path_factory.mktemp("installed")
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REID_LIB_")}
    home = tmp_path_factory.mktemp("a user's home")
    own = {"PYTHONPATH": str(target), "HOME": str(home), "REID_LIB_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    return tmp_path_factory.mktemp("Leute im Flur, größer"), kept | own


def test_the_command_runs_outside_a_checkout(outside: tuple[Path, dict[str, str]]) -> None:
    folder, environment = outside
    command = Path(environment["PYTHONPATH"]) / "bin" / "reid-lib"
    shown = {
        word: subprocess.run([command, word], cwd=folder, env=environment, capture_output=True, text=True, check=True)
        for word in ("--help", "list")
    }
    assert "usage: reid-lib" in shown["--help"].stdout
    assert "LRAR Table II" in shown["list"].stdout
    assert shown["list"].stdout.endswith("are in a checkout of the project, and this is none\n")
    assert list(folder.iterdir()) == []


def test_the_wheel_is_used_outside_a_checkout(outside: tuple[Path, dict[str, str]]) -> None:
    folder, environment = outside
    for person in range(4):
        for camera in range(2):
            Image.new("RGB", (16, 32), (60 * person, 90 * camera, 50)).save(folder / f"{person}_{camera}.png")
    rows = [f"{p}_{c}.png,{p},{c},{'train' if p < 2 else 'test'}" for p in range(4) for c in range(2)]
    (folder / "people.csv").write_text("\n".join(["path,pid,camid,split", *rows]) + "\n")
    torch.save(initialise(osnet_x0_25, 0, torch.device("cpu")).state_dict(), folder / "w.pth")
    table = "--root . --options table=people.csv size=(32,16)"
    check, features = f"data check table {table}", f"features table --weights w.pth {table} -o f.npz"
    train = "train baseline --profile smoke --options identities=12 --set epochs=1"
    work = [check, train, features, "score f.npz f.npz"]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        env=environment,
        input=json.dumps([*work, *NEEDS_A_CHECKOUT]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "found.json").read_text())
    assert Path(found["file"]).is_relative_to(environment["PYTHONPATH"])
    assert found["is a class"]
    assert [found[line][0] for line in work] == [0] * 4, found
    assert "every image can be read" in found[check][1]
    assert np.load(folder / "f.npz")["features"].shape == (8, 512)
    assert "8 of 8 queries have their person in the gallery" in found["score f.npz f.npz"][1]
    assert list((folder / "results").glob("smoke/synth/checkpoints/*/last.pt"))
    for line in NEEDS_A_CHECKOUT:
        code, out, err = found[line]
        assert (code, out) == (2, ""), line
        assert "clone the project, and run `pip install -e .` in its folder" in err
        assert len(err.splitlines()) == 1
