"""What the faults happen to, and which fault to what."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import psutil
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from tqdm.std import tqdm

from benchmarks.faults import Child, Row, Victim, damaged, full, killed, row_edited, together
from reid_lib import cli
from reid_lib.cli.features import read_arrays
from reid_lib.datasets import load
from reid_lib.datasets.build import BuildSettings, build
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import read_image
from reid_lib.digest import NOT_DECISIVE, code_digest
from reid_lib.export import PACKAGES
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.networks.weights import load_state
from reid_lib.reporting import results
from reid_lib.seeds import torch_generator
from reid_lib.training.methods import METHODS
from reid_lib.training.run import Run, initialise
from reid_lib.training.vpfa import VectorPanning

CPU, SIZE = torch.device("cpu"), (64, 32)
PEOPLE = load("synth", identities=16, images_per_camera=2, size=SIZE)
PIXELS = {path: PEOPLE.read(path) for path in PEOPLE.table["path"]}
DRAWN = replace(PEOPLE, reader=lambda path, size: PIXELS[path])  # for work that is not the drawing of people
SHORTER = {"cadnet": {"steps": 2}, "cyclegan": {"steps": 2}, "drfm": {"steps": 2}}  # than under smoke
NOTEBOOK = "00_start_here"
LAUNCHER = 5.0  # seconds after which a launcher ends what is left of a training
SLOW = 5  # one try of a fault that takes seconds for so many kills
Draw = np.random.Generator
Rows = Iterator[Row]

tqdm.monitor_interval = 0  # its thread would be one too many when a child is forked
torch.set_num_threads(1)


# --- victims --------------------------------------------------------------------------------------


def contents(folder: Path, pattern: str = "*") -> dict[str, object]:
    """Return what every file below a folder holds, by its path; a lock names the last process that wrote."""
    files = (path for path in folder.rglob(pattern) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def trained(folder: Path) -> dict[str, object]:
    """Return what trainings leave in a folder: the bits of every last checkpoint, and the names of all other files."""
    found: dict[str, object] = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.name == "last.pt":
            state = torch.load(path, weights_only=True)
            found[name] = state["epoch"], bits(state["parts"])
        elif path.suffix == ".safetensors":
            found[name] = bits(load_file(path))
        elif path.suffix != ".part" or (path.parent / "lock").exists():  # elsewhere a part stays for a day
            found[name] = "a file"
    return found


def bits(value: object) -> object:
    """Return nested containers with tensors as what can be compared."""
    if isinstance(value, dict):
        return {name: bits(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [bits(one) for one in value]
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return value


def training(name: str) -> Victim:
    """Return the training of a method of METHODS on a few drawn people, with what it keeps in the cache."""
    method = METHODS[name]
    config = method.config.for_profile("smoke", **SHORTER.get(name, {}))

    def work(folder: Path) -> None:
        os.environ["REID_LIB_CACHE"] = str(folder / "cache")
        method.train(config, DRAWN, device=CPU, folder=folder / "runs", progress=False)

    return Victim(f"training of {name}", work, lambda folder: trained(folder / "runs"))


class Large(nn.Module):
    """32 MB of weights, so that a kill meets the writing of a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1 << 23))


def write_checkpoints(folder: Path, make: Callable[[], nn.Module] = Large, epochs: int = 6) -> None:
    """Do next to nothing but write checkpoints."""
    network = initialise(make, 0, CPU)
    run = Run(folder / "run", {}, 0, {"network": network}, CPU, progress=False)
    for _ in run.epochs(epochs):
        for _ in run.batches([0]):
            step = torch.rand((), generator=run.generator)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter += step
            run.note({"step": step}, images=1)


def write_results(folder: Path) -> None:
    """Write a table in steps, as a notebook does."""
    os.environ["REID_LIB_RESULTS"] = str(folder)
    written: set = set()
    for seed in range(10):
        cells = {"artefact": "Table II", "seed": seed, "trials": 10}
        rows = [
            cells | {"method": f"m{number}", "metric": metric, "value": 50.125 + number + seed}
            for number in range(8)
            for metric in ("rank1", "map")
        ]
        results.write(rows, "demo", "synth", "lrar", {"commit": "abc", "parameters": {"seed": 0}}, written)
        written |= results.groups(rows, "synth")


def command(*arguments: object) -> None:
    """Run a command; raise what it said, as one that is broken where it is more than a sentence."""
    said = StringIO()
    with redirect_stdout(StringIO()), redirect_stderr(said):
        code = cli.main([str(argument) for argument in arguments])
    if code:
        text = said.getvalue().split("\r")[-1].strip()  # a progress bar writes carriage returns
        raise ValueError(text.removeprefix("reid-lib: "))


CHECKPOINT = Victim("checkpoint write", write_checkpoints, lambda folder: trained(folder / "run"))
STORE = Victim("image store", lambda folder: open_store(PEOPLE, folder), partial(contents, pattern="*.npy"))
BUILD = Victim(
    "data build", lambda folder: build(PEOPLE, folder / "set", BuildSettings(trials=3), progress=False), contents
)
RESULTS = Victim("results file", write_results, contents)


def commands(folder: Path) -> list[Victim]:
    """Return the commands that write one file, in place of an older one; what they read is written into ``folder``."""
    weights, images = folder / "osnet.pth", folder / "images"
    torch.save(initialise(osnet_x0_25, 0, CPU).state_dict(), weights)
    images.mkdir()
    for number, path in enumerate(PEOPLE.table["path"][:6]):
        Image.fromarray(PEOPLE.read(path)).save(images / f"{number}.png")
    on_people = ("synth", "--options", "identities=12", "images_per_camera=1", "size=(32,16)")
    embed = ("features", *on_people, "--weights", weights, "--part", "train", "-o")
    for rates, name in (((1,), "hr"), ((2,), "lr")):
        command(*embed, folder / f"{name}.npz", "--rates", *rates)
    fit = ("vpfa", "fit", "--lr", folder / "lr.npz", "--hr", folder / "hr.npz", "--hidden", 8, "--epochs", 1)
    lines = {
        "features (.npz)": (*embed, "out.npz"),
        "features (.safetensors)": (*embed, "out.safetensors"),
        "VPFA's module": (*fit, "-o", "out.safetensors"),
        "features panned": ("vpfa", "apply", folder / "vpfa.safetensors", folder / "lr.npz", "-o", "out.npz"),
        "trials": ("data", "trials", *on_people, "-o", "out.csv"),
        "search": ("search", images, "--gallery", images, "--model", weights, "--pictured", 1, "-o", "."),
    }
    if all(find_spec(package) for package in PACKAGES):
        lines["export (.onnx)"] = ("export", weights, "-o", "out.onnx")
    command(*fit, "-o", folder / "vpfa.safetensors")

    def work(line: tuple, place: Path) -> None:
        target = place / line[-1]
        os.environ["REID_LIB_CACHE"] = str(place.parent / "cache")
        if target.suffix and not target.exists():
            target.write_bytes(b"old")
        before = target.suffix and target.read_bytes()
        try:
            command(*line[:-1], target)
        except ValueError as error:
            if target.suffix and target.read_bytes() != before:
                raise RuntimeError(f"what was there is lost: {error}") from error
            raise

    def left(place: Path) -> dict:
        found = {path.name: path for path in place.iterdir()}
        return {n: bits(load_file(p)) if p.suffix == ".safetensors" else p.read_bytes() for n, p in found.items()}

    return [Victim(name, partial(work, line), left) for name, line in lines.items()]


# --- faults ---------------------------------------------------------------------------------------


def seldom(tries: int) -> int:
    """Return how often a slow fault is tried."""
    return max(2, tries // SLOW)


def warm() -> None:
    """Import and look at all that a child would have to, so that a kill meets the work."""
    for name in METHODS:
        code_digest(METHODS[name].train.__module__, NOT_DECISIVE)
    weight = nn.Parameter(torch.zeros(()))
    torch.optim.Adam([weight]).step()  # imports


def trainings(folder: Path, tries: int, draw: Draw) -> Rows:
    """Kill the training of every method."""
    warm()
    for name in METHODS:
        yield killed(training(name), folder, tries, draw)


def kills(folder: Path, tries: int, draw: Draw) -> Rows:
    """Kill what writes files."""
    warm()
    for victim in (CHECKPOINT, STORE, BUILD, RESULTS):
        yield killed(victim, folder, tries, draw)


def interruptions(folder: Path, tries: int, draw: Draw) -> Rows:
    """Interrupt work as Ctrl-C does, and end it as a scheduler does."""
    warm()
    for sent in (signal.SIGINT, signal.SIGTERM):
        for victim in (training("baseline"), STORE, BUILD, RESULTS):
            yield killed(victim, folder, seldom(tries), draw, sent)


def notebooks(folder: Path, tries: int, draw: Draw) -> Rows:
    """Kill one of the processes of `reid-lib reproduce`: its own, the notebook's, or the kernel."""
    line = [sys.executable, "-m", "reid_lib", "reproduce", "--profile", "smoke", "--only", NOTEBOOK]

    def start(place: Path) -> subprocess.Popen:
        own = {"REID_LIB_RESULTS": str(place / "results"), "REID_LIB_CACHE": str(place / "cache")}
        null = subprocess.DEVNULL
        return subprocess.Popen(line, env=os.environ | own, stdout=null, stderr=null, start_new_session=True)

    def left(place: Path) -> dict:
        tables = (place / "results" / "smoke" / "synth").glob("*.csv")  # not what is timed, below checkpoints
        return {path.name: path.read_bytes() for path in tables}

    sound, started = folder / "sound", time.monotonic()
    if start(sound).wait() or not left(sound):
        raise RuntimeError(f"the undisturbed notebook did not end: {' '.join(line)}")
    seconds, expected = time.monotonic() - started, left(sound)
    survived = 0
    for number in range(seldom(tries)):
        place = folder / str(number)
        running = start(place)
        time.sleep(draw.uniform(0, seconds))
        with suppress(psutil.NoSuchProcess):
            tree = [psutil.Process(running.pid)]
            tree += tree[0].children(recursive=True)
            tree[draw.integers(len(tree))].kill()
        running.wait()
        gone = not psutil.wait_procs(tree, timeout=30)[1]
        again = start(place).wait()
        same = left(place) == expected
        if not (gone and again == 0 and same):
            print(f"notebook: processes gone {gone}, then exit code {again}, the same tables {same}", file=sys.stderr)
        survived += gone and again == 0 and same
        rmtree(place)
    yield Row("SIGKILL", "notebook", seldom(tries), survived)


def damages(folder: Path, tries: int, draw: Draw) -> Rows:
    """Damage every kind of file that knows what it must hold, and edit rows of results."""
    small = partial(nn.Linear, 3, 3)
    sound, place = folder / "trained", folder / "resumed"
    write_checkpoints(sound, small)

    def resumed() -> object:
        rmtree(place, ignore_errors=True)
        copytree(sound, place)
        with redirect_stderr(StringIO()):
            write_checkpoints(place, small)
        return trained(place)

    yield from damaged("checkpoint", sound / "run" / "last.pt", resumed, tries, draw)
    image = folder / "image.png"
    Image.fromarray(PEOPLE.read(PEOPLE.table["path"][0])).save(image)
    yield from damaged("image (PNG)", image, lambda: read_image(image, SIZE).tobytes(), tries, draw)
    store = open_store(DRAWN, folder / "store").path

    def stored() -> bytes:
        with redirect_stderr(StringIO()):
            return bytes(open_store(DRAWN, folder / "store").images)

    yield from damaged("image store", store, stored, tries, draw)
    weights, arrays = folder / "weights.pth", folder / "features"
    torch.save(small().state_dict(), weights)
    yield from damaged("weights (.pth)", weights, lambda: bits(load_state(weights)), tries, draw)
    features = torch.rand(24, 4, generator=torch_generator(0, "faults")).numpy()
    values = {"features": features, "pid": np.arange(24) // 4}
    for suffix in (".npz", ".safetensors"):
        file = arrays.with_suffix(suffix)
        cli.features._write_arrays(file, values)
        read = partial(lambda file: {name: a.tobytes() for name, a in read_arrays(file).items()}, file)
        yield from damaged(f"features ({suffix})", file, read, tries, draw)
    module = folder / "module.safetensors"
    panning = VectorPanning(hidden=8, blocks=1, epochs=1, n_pairs=4, batch_size=2, progress=False)
    panning.fit(features, features + 1, values["pid"]).save(module)
    panned = lambda: VectorPanning.load(module, CPU).transform(features).tobytes()  # noqa: E731
    yield from damaged("VPFA's module", module, panned, tries, draw)
    yield from _damaged_results(folder / "results", tries, draw)
    yield from _damaged_build(folder / "build", tries, draw)


def _damaged_results(folder: Path, tries: int, draw: Draw) -> Rows:
    folder.mkdir()
    write_results(folder)
    file = folder / "demo" / "synth" / "lrar.csv"

    def rows() -> str:
        if said := results.doubt("demo", "synth", "lrar"):
            raise results.ResultsError(said)
        return results.read("demo", "synth", "lrar").to_csv()

    yield from damaged("results file", file, rows, tries, draw)
    yield from damaged("results row", file, rows, tries, draw, edited_by_hand=row_edited)


def _damaged_build(folder: Path, tries: int, draw: Draw) -> Rows:
    BUILD.work(folder)
    expected = contents(folder)
    images = sorted(folder.rglob("*.png"))

    def again() -> bool:
        BUILD.work(folder)
        return contents(folder) == expected

    yield from damaged("built set", images[draw.integers(len(images))], again, tries, draw)


def disks(folder: Path, tries: int, draw: Draw) -> Rows:
    """Fill the disk of all that writes."""
    warm()
    for victim in (training("baseline"), CHECKPOINT, STORE, BUILD, RESULTS, *commands(folder)):
        yield full(victim, folder, seldom(tries), draw)


def pairs(folder: Path, tries: int, draw: Draw) -> Rows:
    """Let two processes do the same at once."""
    warm()
    for victim in (training("baseline"), CHECKPOINT, STORE, BUILD, RESULTS):
        yield together(victim, folder, seldom(tries), draw)


def workers(folder: Path, tries: int, draw: Draw) -> Rows:
    """Kill one of two processes that train together; the other one is ended as a launcher does it, and both go on.

    A process that still waits for the dead one to come would wait for half an hour.
    """
    warm()
    method = METHODS["baseline"]
    config = method.config.for_profile("smoke")

    def work(place: Path, rank: int, port: int) -> None:
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        own |= {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true", "REID_LIB_CACHE": place / "cache"}
        os.environ.update({name: str(value) for name, value in own.items()})
        method.train(config, DRAWN, device=CPU, folder=place / "runs", progress=False)
        torch.distributed.destroy_process_group()

    def both(place: Path) -> list[Child]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return [Child(partial(work, place, rank, port)) for rank in (0, 1)]

    sound, started = folder / "sound", time.monotonic()
    codes = [child.end().code for child in both(sound)]
    seconds, expected = time.monotonic() - started, trained(sound / "runs")
    tried = survived = 0
    while codes == [0, 0] and tried < seldom(tries):
        place = folder / str(tried)
        children = both(place)
        dies = int(draw.integers(2))
        if children[dies].end(draw.uniform(0, seconds)).code == 0:
            children[1 - dies].end()
            rmtree(place)
            continue
        other = children[1 - dies].end(LAUNCHER, signal.SIGTERM)
        again = [child.end() for child in both(place)]
        good = [one.code for one in again] == [0, 0] and trained(place / "runs") == expected
        if not good:
            print(f"one of two processes dies: {other}, then {again}", file=sys.stderr)
        rmtree(place)
        tried, survived = tried + 1, survived + good
    yield Row("SIGKILL", "one of two processes that train", tried, survived)


FAULTS = {
    "trainings": trainings,
    "kills": kills,
    "interruptions": interruptions,
    "notebooks": notebooks,
    "workers": workers,
    "pairs": pairs,
    "disks": disks,
    "damages": damages,
}
