"""Damaged files of every kind that is read: each is refused in a sentence that names it, or read rightly.

A draw with a fixed seed damages sound files. What is accepted must be what a plain reading of the damaged file gives,
or, for files that know what they must hold, what the sound file gives.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat
from torch import nn

from reid_lib import cli
from reid_lib.cli.features import _write_arrays, read_arrays
from reid_lib.datasets import load
from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.mlr import Trial, trials
from reid_lib.datasets.partitions import read_halves, read_new_protocol, read_testsets
from reid_lib.datasets.records import ReIDDataset, Split, read_image
from reid_lib.networks.weights import load_weights
from reid_lib.reporting import results
from reid_lib.seeds import numpy_generator
from reid_lib.training.run import Run, initialise
from reid_lib.training.vpfa import VectorPanning

SIZE = (16, 8)
STRANGE = (
    "",
    "x",
    "-1",
    "-7",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "9" * 30,
    "\x00",
    '"',
    "ä",
    "../0.png",
    "0.png",
    "TRUE",
    "1,2",
)
PERSONS = (843, 440, 77, 58, 49)  # of CUHK03's camera pairs
TRIES = 3  # of each damage that is drawn


@dataclass(frozen=True)
class Kind:
    """A kind of file: its sound content, what reads it, and what a damaged one may give besides the sound result."""

    file: str
    content: bytes
    read: Callable[[Path], object]
    plain: Callable[[bytes], object] | None = None  # None: only the sound result is right


# --- damages --------------------------------------------------------------------------------------


def flipped(content: bytes, draw: np.random.Generator) -> bytes:
    found = bytearray(content)
    found[draw.integers(len(found))] ^= 1 << draw.integers(8)
    return bytes(found)


def overwritten(content: bytes, draw: np.random.Generator) -> bytes:
    at = draw.integers(len(content))
    return content[:at] + draw.bytes(16) + content[at + 16 :]


def without_a_part(content: bytes, draw: np.random.Generator) -> bytes:
    start, stop = sorted(draw.integers(len(content) + 1, size=2))
    return content[:start] + content[stop:]


def strange_value(content: bytes, draw: np.random.Generator) -> bytes:
    """Put a strange value in place of what stands between two commas, quotes or line ends."""
    marks = [at for at, byte in enumerate(content) if byte in b',"\n'] or [0]
    start = int(draw.choice(marks))
    stop = min((at for at in marks if at > start), default=len(content))
    return content[: start + 1] + str(draw.choice(STRANGE)).encode() + content[stop:]


def twice(content: bytes, draw: np.random.Generator) -> bytes:
    lines = content.splitlines(keepends=True)
    at = draw.integers(len(lines))
    return b"".join([*lines[: at + 1], *lines[at:]])


DRAWN = {
    "cut short": lambda content, draw: content[: draw.integers(len(content))],
    "a bit flipped": flipped,
    "bytes overwritten": overwritten,
    "a part is missing": without_a_part,
    "a strange value": strange_value,
    "a line twice": twice,
    "noise": lambda content, draw: draw.bytes(len(content)),
}
FIXED = {
    "empty": lambda content: b"",
    "the first line alone": lambda content: content.splitlines(keepends=True)[0],
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "Latin-1 made UTF-8": lambda content: content.decode("latin-1").encode("utf-8"),
    "zeros": lambda content: bytes(len(content)),
    "a text": lambda content: b"<html>404 not found</html>\n",
    "null": lambda content: b"null\n",
    "a list": lambda content: b"[1, 2]\n",
}


def damaged(name: str, content: bytes, others: dict[str, bytes]) -> list[tuple[str, bytes]]:
    found = [(damage, how(content)) for damage, how in FIXED.items()]
    for damage, how in DRAWN.items():
        draws = (numpy_generator(0, "fuzz", name, damage, number) for number in range(TRIES))
        found += [(damage, how(content, draw)) for draw in draws]
    found += [(f"it is {other}", bytes_) for other, bytes_ in others.items() if other != name]
    return [(damage, bytes_) for damage, bytes_ in found if bytes_ != content]


# --- kinds ----------------------------------------------------------------------------------------


def cells(content: bytes) -> list[dict[str, str]]:
    """Read a CSV by Python's own reader."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    header, *rows = [row for row in csv.reader(text, strict=True) if row]
    return [dict(zip(map(str.strip, header), map(str.strip, row), strict=True)) for row in rows]


def table_kind(root: Path, through_cli: bool) -> Kind:
    people = [(f"{n}.png", f"Mänsch {n // 4}", f"c{n % 2}", ("train", "test")[n % 8 // 4]) for n in range(16)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("path", "pid", "camid", "split"), *people])

    def read(path: Path) -> object:
        if through_cli:
            command(["data", "check", "table", "--root", str(root), "--options", f"table={path}", "size=(16,8)"])
        table = load("table", root, table=path, size=SIZE).table
        persons, cameras = (table.get(text, table[number]) for text, number in (("person", "pid"), ("camera", "camid")))
        return sorted(zip(table["path"], map(str, persons), map(str, cameras), table["split"], strict=True))

    def plain(content: bytes) -> object:
        rows = [row for row in cells(content) if row["pid"] != "-1"]
        return sorted((r["path"], r["pid"], r["camid"], r.get("split") or "unused") for r in rows)

    return Kind("people.csv", text.getvalue().encode(), read, plain)


def trial_kind(folder: Path, dataset: ReIDDataset) -> Kind:
    trials(dataset, n=1)[0].to_csv(folder / "sound")

    def read(path: Path) -> object:
        trial = Trial.from_csv(path, dataset)
        rows = [("query", *row) for row in trial.query[["path", "pid", "camid", "rate"]].itertuples(index=False)]
        rows += [("gallery", *row, 1) for row in trial.gallery[["path", "pid", "camid"]].itertuples(index=False)]
        return trial.split, trial.number, sorted(rows)

    def plain(content: bytes) -> object:
        rows = cells(content)
        named = sorted((r["role"], r["path"], *(int(float(r[c])) for c in ("pid", "camid", "rate"))) for r in rows)
        return int(float(rows[0]["split"])), int(float(rows[0]["trial"])), named

    return Kind("trial.csv", (folder / "sound").read_bytes(), read, plain)


def command(arguments: list[str]) -> None:
    """Run a command; raise what it said if it refused."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", said)
        patch.setattr("sys.stdout", io.StringIO())
        code = cli.main(arguments)
    if code:
        # a check that failed is 1, bad input 2; progress bars write carriage returns
        lines = said.getvalue().split("\r")[-1].strip().splitlines()
        assert len(lines) == 1, f"{code}: {said.getvalue()}"
        raise ValueError(lines[0])


def feature_arrays() -> dict[str, np.ndarray]:
    features = numpy_generator(0, "fuzz", "features").normal(size=(12, 4)).astype(np.float32)
    return {"features": features, "pid": np.arange(12) // 4, "camid": np.arange(12) % 2, "rate": np.full(12, 2)}


def as_bytes(arrays: dict[str, np.ndarray]) -> dict[str, tuple]:
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}


def feature_kinds(folder: Path) -> dict[str, Kind]:
    kinds = {}
    for suffix in (".npz", ".safetensors"):
        _write_arrays(folder / f"sound{suffix}", feature_arrays())
        content = (folder / f"sound{suffix}").read_bytes()
        kinds[f"features{suffix}"] = Kind(f"q{suffix}", content, lambda path: as_bytes(read_arrays(path)))

    def score(path: Path) -> object:
        command(["score", str(path), str(folder / "sound.npz"), "-o", str(folder / "score.csv")])
        return (folder / "score.csv").read_bytes()

    kinds["features scored"] = Kind("scored.npz", (folder / "sound.npz").read_bytes(), score)
    return kinds


def in_order(content: bytes) -> bytes:
    """Sort the header of a .safetensors file: its metadata are written in another order each time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def small_network() -> nn.Module:
    return initialise(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), 0, torch.device("cpu"))


def of_state(state: dict[str, torch.Tensor]) -> dict[str, tuple]:
    return as_bytes({name: tensor.numpy() for name, tensor in state.items()})


def weight_kinds(folder: Path) -> dict[str, Kind]:
    """Weights to start from. A .pth has checksums; the form of before PyTorch 1.6 and .safetensors have none."""
    state = {name: tensor.contiguous() for name, tensor in small_network().state_dict().items()}
    torch.save(state, folder / "w.pth")
    torch.save(state, folder / "w.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / "w.safetensors")

    def read(path: Path) -> object:
        network = initialise(small_network, 1, torch.device("cpu"))
        load_weights(network, path)
        return of_state(network.state_dict())

    def old(content: bytes) -> object:
        return of_state(torch.load(io.BytesIO(content), weights_only=True))

    plain = {".pth": None, ".pt": old, ".safetensors": lambda content: of_state(safetensors.torch.load(content))}
    return {f"weights{s}": Kind(f"start{s}", (folder / f"w{s}").read_bytes(), read, plain[s]) for s in plain}


def checkpoint_kind(folder: Path) -> Kind:
    """The one checkpoint of a training, which goes on from it or begins anew."""

    def train(folder: Path, epochs: int = 3) -> object:
        network = small_network()
        run = Run(folder, {}, 0, {"network": network}, torch.device("cpu"), progress=False)
        for _ in run.epochs(epochs):
            run.step(torch.optim.SGD(network.parameters(), lr=0.1), {"loss": network[0].weight.square().sum()}, 1)
        return of_state(network.state_dict()), [row["loss"] for row in run.history]

    def read(path: Path) -> object:
        (path.parent / "previous.pt").unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stderr", io.StringIO())
            return train(path.parent)

    train(folder / "run", 1)
    return Kind("last.pt", (folder / "run" / "last.pt").read_bytes(), read)


def parquet_kind(root: Path) -> Kind:
    rows = [(f"{n}.png", n // 4, n % 2, ("train", "test")[n % 8 // 4]) for n in range(16)]
    content = io.BytesIO()
    pd.DataFrame(rows, columns=["path", "pid", "camid", "split"]).to_parquet(content)

    def plain(content: bytes) -> object:
        found = pd.read_parquet(io.BytesIO(content)).astype(str)
        return sorted((r.path, r.pid, r.camid, r.split or "unused") for r in found.itertuples() if r.pid != "-1")

    return Kind("people.parquet", content.getvalue(), table_kind(root, False).read, plain)


def mat_kind(folder: Path) -> Kind:
    """A small cuhk-03.mat: cells of cells of images, and the test sets."""
    pixels = numpy_generator(0, "fuzz", "mat").integers(0, 256, (2, 2, 2, 3, 8, 16), np.uint8)
    with h5py.File(folder / "mat", "w") as file:

        def put(data: np.ndarray, **kind: object) -> h5py.Reference:
            return file.create_dataset(f"#refs#/{len(file.require_group('#refs#'))}", data=data, **kind).ref

        empty, pairs = put(np.zeros(2, np.uint64)), []
        for pair in range(2):
            cells = np.full((10, 2), empty, dtype=h5py.ref_dtype)
            for person, camera in np.ndindex(2, 2):
                cells[5 * camera, person] = put(pixels[pair, person, camera])
            pairs.append(put(cells, dtype=h5py.ref_dtype))
        file.create_dataset("detected", data=np.array([pairs], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
        tests = [put(np.array([[1, 1], [2, 1 + i % 2]], float).T) for i in range(10)]
        file.create_dataset("testsets", data=np.array([tests], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)

    def read(path: Path) -> object:
        people = load("cuhk03", path, check=False, size=SIZE)
        return [people.read(p).tobytes() for p in people.table["path"]], [s.test_pids for s in people.splits]

    def plain(content: bytes) -> object:
        images, first = [], np.cumsum((0, *PERSONS))
        with h5py.File(io.BytesIO(content)) as file:
            for reference in file["detected"][0]:
                for reference_of_image in file[reference][:].T.ravel():
                    image = file[reference_of_image][:].T
                    if image.ndim == 3:
                        shown = Image.fromarray(image).resize((8, 16), Image.Resampling.BILINEAR)
                        images.append(shown.tobytes())
            tests = [file[reference][:].T.astype(int) for reference in file["testsets"][0]]
        return images, [tuple(sorted(int(first[a - 1]) + int(b) - 1 for a, b in test)) for test in tests]

    return Kind("cuhk-03.mat", (folder / "mat").read_bytes(), read, plain)


def module_kinds(folder: Path) -> dict[str, Kind]:
    arrays = feature_arrays()
    panning = VectorPanning(hidden=8, blocks=1, epochs=1, n_pairs=4, batch_size=2)
    panning.fit(arrays["features"], arrays["features"] + 1, arrays["pid"]).save(folder / "module.safetensors")
    content = in_order((folder / "module.safetensors").read_bytes())

    def pan(path: Path) -> object:
        found = VectorPanning.load(path, "cpu")
        return found.decisive_parameters(), found.n_pairs_, found.transform(arrays["features"]).tobytes()

    def apply(path: Path) -> object:
        command(["vpfa", "apply", str(path), str(folder / "sound.npz"), "-o", str(folder / "panned.npz")])
        return as_bytes(read_arrays(folder / "panned.npz"))

    return {"module": Kind("vpfa.safetensors", content, pan), "module applied": Kind("v.safetensors", content, apply)}


def image_kinds() -> dict[str, Kind]:
    pixels = numpy_generator(0, "fuzz", "image").integers(0, 256, (16, 8, 3), np.uint8)

    def plain(content: bytes) -> object:
        with Image.open(io.BytesIO(content)) as image:
            shown = image.convert("RGB").resize((8, 16), Image.Resampling.BILINEAR)
        return shown.tobytes()

    kinds = {}
    for name in ("PNG", "JPEG", "BMP"):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, name)
        # a JPEG or a BMP has no checksum: whether its pixels are those that were meant, nobody can know
        read = Kind(f"i.{name.lower()}", content.getvalue(), lambda p: read_image(p, SIZE).tobytes(), plain)
        kinds[name] = read
    return kinds


def store_kind(folder: Path, dataset: ReIDDataset) -> Kind:
    store = open_store(dataset, folder / "stores")
    content = store.path.read_bytes()
    return Kind(store.path.name, content, lambda path: open_store(dataset, path.parent).images.tobytes())


def partition_kinds(folder: Path) -> dict[str, Kind]:
    rows = numpy_generator(0, "fuzz", "halves").permuted(np.tile([1, 0], (10, 4)), axis=1).astype(np.uint8)
    with h5py.File(folder / "halves", "w") as file:
        refs = [[file.create_dataset(f"#refs#/{i}", data=np.r_[row, row][:, None]).ref] for i, row in enumerate(rows)]
        file.create_dataset("partition/idx_train", data=np.array(refs), dtype=h5py.ref_dtype)
    with h5py.File(folder / "tests", "w") as file:
        pairs = [file.create_dataset(f"#refs#/{i}", data=np.array([[1, 1], [2 + i, 1]], float).T).ref for i in range(3)]
        file.create_dataset("testsets", data=np.array([pairs]), dtype=h5py.ref_dtype)
    names = np.array([f"1_{p:03d}_{1 + (n > 5)}_{n:02d}.png" for p in (1, 2, 3) for n in (1, 6)], dtype=object)
    parts = {"train_idx": [1, 2], "query_idx": [3, 5], "gallery_idx": [4, 6]}
    savemat(folder / "protocol", {"filelist": names, **parts}, do_compression=True)
    content = (folder / "protocol").read_bytes()
    (folder / "protocol").write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + content[116:])  # without the date
    keys = pd.MultiIndex.from_product([(0, 1, 2), (0, 5)])

    def plain_halves(content: bytes) -> object:
        with h5py.File(io.BytesIO(content)) as file:
            marks = [file[reference][:8, 0].astype(bool) for (reference,) in file["partition/idx_train"][:]]
        return [Split(*(tuple(np.flatnonzero(part).tolist()) for part in (own, ~own))) for own in marks]

    def plain_tests(content: bytes) -> object:
        with h5py.File(io.BytesIO(content)) as file:
            sets = [file[reference][:] for reference in file["testsets"][:].ravel()]
        return [sorted(sum(PERSONS[: int(a) - 1]) + int(b) - 1 for a, b in people.T) for people in sets]

    readers = {
        "halves": (lambda path: list(read_halves(path, "viper", range(8))), plain_halves),
        "tests": (lambda path: [list(s.test_pids) for s in read_testsets(path, range(1467))], plain_tests),
        "protocol": (lambda path: read_new_protocol(path, keys).tolist(), None),
    }
    return {n: Kind(f"{n}.mat", (folder / n).read_bytes(), *read) for n, read in readers.items()}


def results_kinds(folder: Path) -> dict[str, Kind]:
    """A file of results is right as well where the project says that it is not to be trusted."""
    row = {"artefact": "Table II", "method": "mask, val", "metric": "rank1", "trials": 10, "low": 60.25, "high": 67.0}
    rows = [row | {"value": 63.5 + seed, "seed": seed} for seed in range(3)]
    home = folder / "results" / "demo" / "synth"
    path = results.write(rows, "demo", "synth", "lrar", {"commit": "abc", "time": "2026", "parameters": {"seed": 0}})
    sound = {p.name: p.read_bytes() for p in (path, home / "lrar.run.json")}

    def restored(name: str) -> None:
        for other, content in sound.items():
            if other != name:
                (home / other).write_bytes(content)

    def read_rows(damaged: Path) -> object:
        restored(damaged.name)
        if said := results.doubt("demo", "synth", "lrar"):
            check_status(said)
            results.read("demo", "synth", "lrar")  # may be read, or refused in a sentence
            raise results.ResultsError(said)
        return results.read("demo", "synth", "lrar").to_csv(index=False)

    def read_run(damaged: Path) -> object:
        restored(damaged.name)
        return {name: value for name, value in results.read_run("demo", "synth", "lrar").items() if name != "complete"}

    def check_status(said: str) -> None:
        shown = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", shown)
            assert cli.main(["status"]) in (0, 2)

    kinds = {"results": Kind("lrar.csv", sound["lrar.csv"], read_rows)}
    return kinds | {"run": Kind("lrar.run.json", sound["lrar.run.json"], read_run, json.loads)}


# --- the run --------------------------------------------------------------------------------------


def verdict(kind: Kind, path: Path, content: bytes, sound: object) -> str:
    """Read one damaged file: refused, right, or what is wrong with the answer."""
    path.write_bytes(content)
    try:
        found = kind.read(path)
    except Exception as error:
        own = type(error) is ValueError or isinstance(error, OSError) or type(error).__module__.startswith("reid_lib.")
        said = str(error)
        named = path.name.partition(".")[0] in said or path.name in said
        wrong = [] if own else [f"raw {type(error).__name__}"]
        wrong += [] if named else ["does not name the file"]
        wrong += [f"{len(said.splitlines())} lines"] if len(said.splitlines()) != 1 else []
        return f"{', '.join(wrong)}: {said[:300]}" if wrong else "refused"
    if found == sound:
        return "right"
    try:
        plain = kind.plain(content) if kind.plain else sound
    except Exception as error:
        return f"silently taken, a plain reading fails: {type(error).__name__} {error}"
    return "right" if found == plain else f"silently wrong: {str(found)[:300]} for {str(plain)[:300]}"


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kind]:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("REID_LIB_DEBUG", raising=False)
    root = tmp_path / "images"
    root.mkdir()
    for number in range(16):
        Image.new("RGB", (8, 16), (number, 0, 9)).save(root / f"{number}.png")
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(16)], "pid": np.arange(16) // 4})
    splits = (Split((0, 1), (2, 3)),)
    dataset = ReIDDataset("own", table.assign(camid=np.arange(16) % 2 + 1), splits, SIZE, root)
    return {
        "table": table_kind(root, False),
        "table checked": table_kind(root, True),
        "trial": trial_kind(tmp_path, dataset),
        **feature_kinds(tmp_path),
        **module_kinds(tmp_path),
        **image_kinds(),
        "store": store_kind(tmp_path, dataset),
        **partition_kinds(tmp_path),
        **weight_kinds(tmp_path),
        "checkpoint": checkpoint_kind(tmp_path),
        "mat": mat_kind(tmp_path),
        **({"parquet": parquet_kind(root)} if find_spec("pyarrow") else {}),  # an extra that the table asks for
        **results_kinds(tmp_path),
    }


def test_damaged_files_are_refused_or_read_rightly(kinds: dict[str, Kind], tmp_path: Path, capsys: object) -> None:
    counts, faults = Counter(), []
    others = {name: kind.content for name, kind in kinds.items()}
    for name, kind in kinds.items():
        home = tmp_path / ("results/demo/synth" if name in ("results", "run") else f"damaged {name}")
        home.mkdir(parents=True, exist_ok=True)
        path = home / kind.file
        path.write_bytes(kind.content)
        sound = kind.read(path)
        for damage, content in damaged(name, kind.content, others):
            found = verdict(kind, path, content, sound)
            counts[found if found in ("refused", "right") else "fault"] += 1
            faults += [] if found in ("refused", "right") else [f"{name}, {damage}: {found}"]
    with capsys.disabled():
        print(f"\ndamaged files: {counts.total()} tried, {counts['refused']} refused, {counts['right']} read rightly")
    assert faults == [], "\n".join(faults)
    assert counts["fault"] == 0
    assert min(counts["refused"], counts["right"]) > 20
    assert counts.total() >= 200


# --- arrays that are no features ------------------------------------------------------------------

WRONG = {
    "features": {
        "one row": lambda a: a[0],
        "three dimensions": lambda a: a[None],
        "no row": lambda a: a[:0],
        "no column": lambda a: a[:, :0],
        "a row less": lambda a: a[1:],
        "complex": lambda a: a.astype(complex),
        "text": lambda a: a.astype(str),
        "bytes": lambda a: a.astype(str).astype(bytes),
        "truth values": lambda a: a > 0,
        "dates": lambda a: a.astype("datetime64[s]"),
        "records": lambda a: np.zeros(len(a), [("x", float)]),
        "NaN": lambda a: np.where(a == a.max(), np.nan, a),
        "infinite": lambda a: np.where(a == a.max(), np.inf, a),
        "beyond float32": lambda a: a.astype(float) * 1e300,
    },
    "pid": {
        "a number": lambda a: a[0],
        "two dimensions": lambda a: a[:, None],
        "an entry less": lambda a: a[1:],
        "fractions": lambda a: a + 0.5,
        "NaN": lambda a: np.where(a == 1, np.nan, a),
        "complex": lambda a: a + 1j,
        "dates": lambda a: a.astype("datetime64[s]"),
        "records": lambda a: np.zeros(len(a), [("x", int)]),
        "below -1": lambda a: a - 9,
        "text, beside numbers": lambda a: np.char.add("p", a.astype(str)),
    },
    "rate": {
        "a number": lambda a: a[0],
        "two dimensions": lambda a: a[:, None],
        "an entry less": lambda a: a[1:],
        "zero": lambda a: a * 0,
        "negative": lambda a: -a,
        "fractions": lambda a: a + 0.5,
        "NaN": lambda a: a * np.nan,
        "text": lambda a: np.full(len(a), "far"),
        "complex": lambda a: a + 1j,
        "dates": lambda a: a.astype("datetime64[s]"),
    },
}
RIGHT = {
    "features": {
        "float64": lambda a: a.astype(np.float64),
        "another byte order": lambda a: a.astype(">f4"),
        "columns first": np.asfortranarray,
    },
    "pid": {"floats": lambda a: a.astype(float), "small integers": lambda a: a.astype(np.int8)},
    "rate": {"floats": lambda a: a.astype(float), "small integers": lambda a: a.astype(np.int8)},
}
USED = {"score": ("features", "pid"), "fit": ("features", "pid", "rate"), "apply": ("features", "rate")}


def test_arrays_of_a_wrong_type_or_shape_in_a_sound_file(tmp_path: Path) -> None:
    sound, changed = tmp_path / "sound.npz", tmp_path / "changed.npz"
    _write_arrays(sound, feature_arrays())
    hr = tmp_path / "hr.npz"
    _write_arrays(hr, feature_arrays() | {"rate": np.ones(12, int)})
    module = tmp_path / "module.safetensors"
    fit = ["--hr", str(hr), "--per-rate", "--hidden", "4", "--epochs", "1", "--n-pairs", "4"]
    command(["vpfa", "fit", "--lr", str(sound), *fit, "-o", str(module)])

    def use(what: str, file: Path) -> object:
        out = tmp_path / {"score": "out.csv", "fit": "out.safetensors", "apply": "out.npz"}[what]
        lines = {
            "score": ["score", str(file), str(sound)],
            "fit": ["vpfa", "fit", "--lr", str(file), *fit],
            "apply": ["vpfa", "apply", str(module), str(file)],
        }
        out.unlink(missing_ok=True)
        command([*lines[what], "-o", str(out)])
        return (
            out.read_bytes()
            if what == "score"
            else read_arrays(out)["features"]
            if what == "apply"
            else in_order(out.read_bytes())
        )

    tried, faults = 0, []
    for what, names in USED.items():
        expected = use(what, sound)
        for name in names:
            for variants, wanted in ((WRONG, "refused"), (RIGHT, "right")):
                for variant, change in variants[name].items():
                    _write_arrays(changed, feature_arrays() | {name: np.asarray(change(feature_arrays()[name]))})
                    tried += 1
                    try:
                        found = use(what, changed)
                        said = "right" if np.array_equal(found, expected) else "taken, another answer"
                    except ValueError:
                        said = "refused"
                    except Exception as error:
                        said = f"raw {type(error).__name__}: {error}"
                    if said != wanted:
                        faults.append(f"{what}, {name}, {variant}: {said}")
    assert faults == [], "\n".join(faults)
    assert tried > 70


def test_names_of_a_matcher_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    (tmp_path / "own_matcher.py").write_text("number = 3\ndef nothing(dataset):\n    return None\n")
    names = ("own_matcher:number", "own_matcher:nothing", "own_matcher:absent", "own_matcher:", ":x", "..:x", "a b:c")
    names += ("math:pi", "no_such_module:x", "own_matcher:nothing:x", "own_matcher.py:nothing", "", " ", "\x00", "ä")
    for name in names:
        with pytest.raises(ValueError, match=r"\w"):
            command(["compare", name, "own_matcher:nothing", "--profile", "smoke", "-o", str(tmp_path / "out")])
