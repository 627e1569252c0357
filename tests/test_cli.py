"""The command line, called as a shell would, without starting kernels."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from reid_lib import cli, datasets, reporting, session
from reid_lib.cli import project
from reid_lib.cli.data import assignments
from reid_lib.cli.train import Train
from reid_lib.datasets.resolution import degrade
from reid_lib.devices import pick_device
from reid_lib.networks.inputs import normalise
from reid_lib.networks.osnet import osnet_x0_25
from reid_lib.reporting import results
from reid_lib.reporting.artefacts import numbered_notebooks
from reid_lib.training import baseline
from reid_lib.training.lrar import LRARConfig
from reid_lib.training.methods import METHODS
from reid_lib.training.run import initialise

ROOT = Path(__file__).parents[1]
RUN = {"commit": "0123456789abcdef", "time": "2026-01-02T03:04:05Z", "parameters": {}}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REID_LIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("REID_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REID_LIB_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def small_synth(monkeypatch: pytest.MonkeyPatch) -> datasets.ReIDDataset:
    small = datasets.load("synth", identities=12, cameras=2, images_per_camera=1, size=(64, 32))
    monkeypatch.setattr(datasets, "load", lambda name, root=None, **options: small)
    return small


@pytest.fixture
def network(folders: Path) -> torch.nn.Module:
    """A random OSNet whose weights are the file w.pth."""
    network = initialise(osnet_x0_25, 0, torch.device("cpu")).eval()
    torch.save(network.state_dict(), folders / "w.pth")
    return network


def _save_rows(profile: str = "demo", dataset: str = "synth") -> Path:
    rows = [
        {
            "artefact": "Baselines",
            "method": method,
            "setting": setting,
            "metric": "rank1",
            "value": value,
            "seed": 0,
            "trials": 10,
            "low": value - 1.25,
            "high": value + 1.25,
        }
        for method, setting, value in (("HR only", "HR", 80.5), ("HR only", "r=2", 60), ("HR + LR", "HR", 79))
    ]
    return results.write(rows, profile, dataset, "baselines", RUN)


@pytest.mark.parametrize(
    "command",
    ["", "reproduce", "list", "status", "verify", "data check", "data trials", "train", "features", "readme"],
)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command.split(), "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: reid-lib {command}".rstrip() in shown
    assert "Example" in shown


EVERY_COMMAND = [
    *(name for name in cli.COMMANDS if name not in ("data", "vpfa")),
    *("data check", "data trials", "data build", "vpfa fit", "vpfa apply"),
]


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_help_explains_every_option(
    command: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    shown = re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out)  # the frame is of other letters where these are not known
    entries = [
        re.fullmatch(r"(.+?)(?: {2,}| *\n {4,})(\S.*)", e, re.DOTALL) for e in re.split(r"\n  (?=\S)", shown)[1:]
    ]
    explained = {e[1]: " ".join(e[2].split()) for e in entries if e and re.match(r"-[-a-z]|[A-Z]+\b", e[1])}
    assert any(head.startswith("-h") for head in explained)
    for head, text in explained.items():
        assert len(text.split()) > 2, head
        assert head not in ("STR", "PATH", "INT")  # an argument has a name
        assert "None" not in head
        assert not re.search(r"\(default: (''|None|)\)", text), head
        if head.startswith("--no-"):
            assert text.startswith("Do not"), head
    for option in re.findall(r"--[a-z-]+", shown.partition("\n")[0]):
        assert any(option in head for head in explained), option


def test_help_comes_without_the_heavy_imports() -> None:
    code = "import sys, reid_lib.cli; print([m for m in ('torch', 'pandas', 'papermill') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["reproduce", "--sedes", "1"])
    assert stopped.value.code == 2
    assert "--seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "check", "viperr"], "unknown data set 'viperr' (did you mean 'viper'?)"),
        (["data", "check", "viper", "--root", "/nowhere"], "/nowhere"),
        (["data", "check", "synth", "--options", "identitys=12"], "synth has no option 'identitys'"),
        (["data", "check", "synth", "--layout", "flat"], "synth has no option 'layout'"),
        (["data", "trials", "synth", "-o", "/nowhere/x.csv"], "the folder of /nowhere/x.csv does not exist"),
        (["features", "synth", "--weights", "w.pth", "-o", "x.csv"], "must end in .npz or .safetensors"),
        (
            ["features", "synth", "--weights", "/nowhere.pth", "-o", "x.npz"],
            "weight file missing: /nowhere.pth",
        ),
        (
            ["features", "synth", "--weights", "w", "-o", "x.npz", "--network", "vgg"],
            "osnet_x0_25, osnet_x1_0",
        ),
        (
            ["features", "synth", "--weights", "w", "-o", "x.npz", "--batch-size", "-1"],
            "at least 1, or 0 for the usual",
        ),
        (["data", "trials", "synth", "-o", "t.csv", "--rates", "1000"], "the shorter side, 64 pixels"),
        (["data", "check", "synth", "--options", "size=128"], "size must be (height, width) in pixels"),
        (["score", "one.npz", "one.npz"], "it is one array, a .npy file under another name): write it again"),
        (["score", "empty.npz", "one.npz"], "empty.npz cannot be read as a feature file"),
        (["features", "synth", "--weights", "w", "-o", "x.npz", "--rates", "0", "2"], "found 0..2"),
        (["features", "synth", "--weights", "w", "-o", "x.npz", "--rates", "2", "65"], "64 pixels, found 2..65"),
        (["features", "synth", "--weights", "w", "-o", "x.npz", "--rates"], "at least one down-sampling rate"),
        (["features", "synth", "--weights", "w", "-o", "x.npz", "--kernel", "box"], "bicubic, bilinear, area, lanczos"),
        (["features", "synth", "--weights", "w", "-o", "x.npz", "--part", "val"], "\"test\", found 'val'"),
        (
            ["features", "synth", "--weights", "w", "-o", "x.npz", "--part", "test", "--split", "10"],
            "synth has splits 0..9, found split=10",
        ),
        (["features", "synth", "--weights", "w", "-o", "x.npz", "--split", "1"], "add --part train or --part test"),
        (["features", "synth", "--weights", "none", "-o", "x.npz"], "'none' is a random network"),
        (["train", "lrr"], "method must be one of baseline, cadnet, cluster_contrast, cyclegan, drfm"),
        (["train", "lrar", "--profile", "quick"], "smoke, demo, paper"),
        (["train", "lrar", "--dataset", "viperr", "--profile", "smoke"], "unknown data set 'viperr'"),
        (["train", "lrar", "--set", "epoch=3"], "lrar has no setting 'epoch', it has network, width,"),
        (["train", "lrar", "--set", "epochs=three"], "epochs must be a value like 8, found 'three'"),
        (["train", "lrar", "--set", "recipe=printed"], "recipe must be one of field, paper, found 'printed'"),
        (["train", "baseline", "--set", "recipe=paper"], "baseline has no setting 'recipe'"),
        (["train", "lrar", "--set", "rates=[1,2]"], "rates must be a value like (1, 2, 3, 4), found [1, 2]"),
        (["train", "lrar", "--set", "varying_length=perhaps"], "varying_length must be true or false"),
        (["train", "lrar", "--set", "epochs=True"], "epochs must be a value like 8, found True"),
        (["train", "baseline", "--set", "width=0"], "width must be at least 1, found 0"),
        (["train", "baseline", "--set", "warmup=-1"], "warmup must be at least 0, found -1"),
        (["compare", "lrar"], "a comparison needs two matchers or more, found 1"),
        (["data", "trials", "synth", "-o", "empty.npz/t.csv"], "the folder of empty.npz/t.csv is a file"),
        (["search", "--gallery", ".", "--model", "w.pth", "-o", "x"], "a search needs a query: name an image"),
        (["reproduce", "--seeds", "0", "0"], "seeds must differ"),
        (["train", "baseline", "--dataset", "dukemtmc", "--options", "accept_withdrawn=no"], "authors withdrew"),
        (["data", "check", "dukemtmc", "--options", "accept_withdrawn=Off"], "authors withdrew"),
        (["data", "check", "dukemtmc", "--options", "accept_withdrawn=nope"], "must be true or false"),
        (["train", "lrar", "--set", "masks=all"], "masks must be one of progressive"),
        (["train", "baseline", "--seeds", "0", "0"], "seeds must differ"),
        (["status", "--dataset", "nosuch"], "unknown data set 'nosuch'"),
        (["status", "--profile", "quick"], "smoke, demo, paper"),
        (["list", "--paper", "lrarr"], "paper must be one of cadnet"),
        (["reproduce", "--profile", "quick"], "smoke, demo, paper"),
        (["reproduce", "--set", "epochs"], "NAME=VALUE, found 'epochs'"),
        (["verify", "--only", "demo/synth"], "--only belongs to --against"),
        (["verify", "--against", "there", "--only", "demo"], "one profile and data set, like demo/synth, found 'demo'"),
        (["reproduce", "--set", "dataset=viper"], "no option of its own: use --dataset"),
        (["reproduce", "--set", "data_root=x", "epochs=1"], "use --data-root"),
        (["reproduce", "--set", 'data_options={"layout": "flat"}'], "use --options"),
        (["data", "check", "synth", "--options", "identities=12", "identities=13"], "identities is set twice"),
        (["reproduce", "--layout", "flat"], "synth has no option 'layout'"),
        (["reproduce", "--options", "identities=-3"], "identities"),
        (["verify", "--against", "there", "--only", "before/synth"], "unknown profile 'before'"),
        (["verify", "--against", "there", "--only", "demo/*"], "'*' cannot name a data set"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    folders: Path,
) -> None:
    monkeypatch.chdir(folders)
    with open("one.npz", "wb") as file:
        np.save(file, np.zeros(3))
    Path("empty.npz").touch()
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("reid-lib: ")
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1


def test_debug_shows_where_it_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown data set"):
        cli.main(["--debug", "data", "check", "viperr"])
    monkeypatch.setenv("REID_LIB_DEBUG", "1")
    with pytest.raises(ValueError, match="unknown data set"):
        cli.main(["data", "check", "viperr"])


def test_a_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.List, "run", lambda self: {}["fault"])
    with pytest.raises(KeyError):
        cli.main(["list"])


def test_an_interruption_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(self: cli.List) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.List, "run", interrupted)
    assert cli.main(["list"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_list_shows_artefacts(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["list", "--paper", "lrar"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["artefact", "status", "notebook"]
    assert any(line.startswith("LRAR Table II ") and "13_lrar" in line for line in lines)
    assert not any("CAD-Net Table" in line for line in lines)


def test_outside_a_checkout_list_says_that_results_are_not_here(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "project_root", lambda: None)
    assert cli.main(["list", "--paper", "lrar"]) == 0
    *rows, _, said = capsys.readouterr().out.splitlines()
    assert {re.split(r"  +", row)[1] for row in rows[2:]} == {"-"}
    assert said == "status unknown: notebooks and results are in a checkout of the project, and this is none"


def test_a_narrow_terminal_gets_help_that_can_be_read(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in ("1", "20"):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit):
            cli.main(["list", "--help"])
        assert "show this help message" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_is_not_utf_8_ends_no_command(encoding: str) -> None:
    program = "import sys; from reid_lib.cli import main; print('before'); main(['list']); print('\u03bb \u2192')"
    shown = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.decode(encoding).splitlines()[-1] == "? ?"


@pytest.mark.parametrize("line", ["list", "--help"])
def test_output_into_a_closed_pipe_ends_without_a_word(line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # without it short output is written when all is over
    for unbuffered in (environment, {name: value for name, value in environment.items() if "UNBUFFERED" not in name}):
        done = subprocess.run(
            [sys.executable, "-m", "reid_lib", line], stdout=writer, stderr=subprocess.PIPE, env=unbuffered, cwd=ROOT
        )
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writer)


def test_output_that_goes_nowhere() -> None:
    listing = f"{shlex.quote(sys.executable)} -m reid_lib list"
    closed = subprocess.run(f"{listing} >&-", shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (closed.returncode, closed.stderr) == (0, "")
    if Path("/dev/full").exists():
        full = subprocess.run(f"{listing} > /dev/full", shell=True, cwd=ROOT, capture_output=True, text=True)
        assert (full.returncode, full.stderr) == (
            2,
            "reid-lib: No space left on device; make room there, or name another place\n",
        )


WRITERS = {
    "data trials": "data trials synth -o {}/t.csv",
    "features": "features synth --weights w.pth -o {}/f.npz",
    "vpfa fit": "vpfa fit --lr f.npz --hr f.npz -o {}/m.safetensors",
    "vpfa apply": "vpfa apply m.safetensors f.npz -o {}/p.npz",
    "score": "score f.npz f.npz -o {}/s.csv",
    "export": "export lrar -o {}/m.onnx",
    "data build": "data build synth -o {}/built",
    "search": "search q.png --gallery g --model w.pth -o {}/found",
    "compare": "compare lrar cadnet -o {}/compared",
    "site": "site --out {}/site",
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_target_that_cannot_be_written_is_told_before_the_work(
    command: str, folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folders)
    for name in ("f.npz", "m.safetensors", "w.pth", "q.png", "g/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    locked = "/proc/self/fdinfo"  # nobody, not even root, can write there
    for work in ("reid_lib.datasets.image_store.open_store", "reid_lib.training.roster.train_all"):
        module, _, name = work.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), name, lambda *_, **__: pytest.fail("the work began"))
    assert cli.main(WRITERS[command].format(locked).split()) == 2
    said = capsys.readouterr().err
    assert re.search(r"[Cc]annot (write|be written)|cannot be written|Permission|No such file", said), said
    assert len(said.strip().splitlines()) == 1


def test_data_check_prints_a_summary(small_synth: datasets.ReIDDataset, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["data", "check", "synth"]) == 0
    shown = capsys.readouterr().out
    assert "10 splits, images at 64x32" in shown
    assert small_synth.fingerprint() in shown


def test_data_check_names_unreadable_images(
    small_synth: datasets.ReIDDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def read(self: datasets.ReIDDataset, path: str) -> None:
        raise datasets.DatasetError(f"image cannot be read: {path}")

    monkeypatch.setattr(datasets.ReIDDataset, "read", read)
    assert cli.main(["data", "check", "synth"]) == 1
    shown = capsys.readouterr()
    assert f"{len(small_synth)} of {len(small_synth)} images are bad: image cannot be read" in shown.err
    assert "fingerprint" not in shown.out


def test_data_trials_writes_files_that_read_back(small_synth: datasets.ReIDDataset, folders: Path) -> None:
    output = folders / "t.csv"
    assert cli.main(["data", "trials", "synth", "-o", str(output), "--rates", "2", "3"]) == 0
    trial = datasets.mlr.Trial.from_csv(output, small_synth)
    assert set(trial.query["rate"]) <= {2, 3}
    assert cli.main(["data", "trials", "synth", "-o", str(output), "--n", "2", "--seed", "1"]) == 0
    assert sorted(path.name for path in folders.glob("t*")) == ["t-0.csv", "t-1.csv", "t.csv"]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_features_embeds_a_set(
    small_synth: datasets.ReIDDataset, network: torch.nn.Module, folders: Path, suffix: str
) -> None:
    output = folders / f"f{suffix}"
    arguments = [
        "features",
        "synth",
        "--weights",
        str(folders / "w.pth"),
        "-o",
        str(output),
        "--batch-size",
        "5",
    ]
    assert cli.main(arguments) == 0

    if suffix == ".npz":
        with np.load(output) as file:
            found = dict(file)
        assert found["path"].tolist() == small_synth.table["path"].tolist()
    else:
        from safetensors.numpy import load_file

        found = load_file(output)
    assert found["features"].shape == (24, 512)
    assert found["features"].dtype == np.float32
    assert found["pid"].tolist() == small_synth.table["pid"].tolist()
    assert found["rate"].tolist() == [1] * 24
    assert np.isfinite(found["features"]).all()
    assert not list(folders.glob("*.part"))


def test_interrupted_features_go_on_where_they_stopped(
    small_synth: datasets.ReIDDataset, network: torch.nn.Module, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reid_lib.evaluation import features

    monkeypatch.setattr(features, "KEEP_EVERY", 0.0)
    embedded, real = [], features.FeatureBank._embed

    def until_stopped(self: object, store: object, rows: np.ndarray, rate: int) -> torch.Tensor:
        if len(embedded) == 5:
            embedded.append(-1)
            raise KeyboardInterrupt
        embedded.append(len(rows))
        return real(self, store, rows, rate)

    monkeypatch.setattr(features.FeatureBank, "_embed", until_stopped)
    line = f"features synth --weights {folders / 'w.pth'} -o {folders / 'f.npz'} --batch-size 3".split()
    assert cli.main(line) == 130
    assert not (folders / "f.npz").exists()
    assert cli.main(line) == 0
    assert embedded == [3] * 5 + [-1] + [3] * 3  # the five batches were kept
    whole = features.FeatureBank(features.FeatureMatcher(network, network.input_size, torch.device("cpu")), small_synth)
    with np.load(folders / "f.npz") as file:
        assert np.allclose(file["features"], whole(small_synth.table.index), rtol=1e-4, atol=1e-5)


def test_features_of_a_part_at_rates(
    small_synth: datasets.ReIDDataset, network: torch.nn.Module, folders: Path, capsys: pytest.CaptureFixture
) -> None:
    output = folders / "f.npz"
    line = f"features synth --weights {folders / 'w.pth'} -o {output} --batch-size 5 --kernel area"
    assert cli.main(f"{line} --part test --split 1 --rates 8 1 2 8".split()) == 0
    table = small_synth.part("test", 1)
    n = len(table)
    assert f"{output}: {n} images at rate 1, 2, 8: {3 * n} features, 512 numbers each" in capsys.readouterr().out
    with np.load(output) as file:
        found = dict(file)
    assert found["rate"].dtype == np.int64
    assert found["rate"].tolist() == [1] * n + [2] * n + [8] * n
    for name in ("pid", "camid", "path"):
        assert found[name].tolist() == table[name].tolist() * 3

    def alone(path: str, rate: int, kernel: str) -> np.ndarray:
        image = torch.from_numpy(small_synth.read(path)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return network(normalise(degrade(image, rate, kernel), network.input_size))[0].numpy()

    def distance(kernel: str) -> float:
        rows = zip(found["path"], found["rate"].tolist(), strict=True)
        expected = np.stack([alone(path, rate, kernel) for path, rate in rows])
        return np.abs(found["features"] - expected).max() / np.abs(expected).max()

    assert distance("area") < 1e-4
    assert distance("lanczos") > 1e-3


def test_status_lists_results(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    _project(folders, monkeypatch)
    _save_rows()
    assert cli.main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "00_start_here  missing" in shown
    assert "0123456789ab" in shown
    assert "2026-01-02T03:04:05Z" in shown
    assert "not to be trusted" not in shown


def test_status_says_which_rows_were_edited(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, folders: Path
) -> None:
    _project(folders, monkeypatch)
    path = _save_rows()
    path.write_text(path.read_text().replace("rank1", "rank5", 1))
    assert cli.main(["status"]) == 0
    assert "not to be trusted: demo/synth/baselines.csv is not what its run.json" in capsys.readouterr().out
    path.with_name("baselines.run.json").unlink()
    assert cli.main(["status"]) == 0
    assert "not to be trusted: demo/synth/baselines.csv has no readable run.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ("{}", "1 - - no"),
        ('{"commit": null}', "1 - - no"),
        ('{"commit": 3}', "1 - - no run.json"),
        ("null", "1 - - no run.json"),
    ],
)
def test_status_of_a_record_that_lacks_fields(
    record: str, row: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, folders: Path
) -> None:
    _project(folders, monkeypatch)
    cell = {"artefact": "Baselines", "method": "HR only", "metric": "rank1", "value": 50, "trials": 10}
    results.write([cell], "demo", "synth", "baselines", RUN).with_suffix(".run.json").write_text(record)
    assert cli.main(["status"]) == 0
    shown = re.sub(r" +", " ", capsys.readouterr().out)
    assert f"demo synth baselines {row}\n" in shown


def _project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout with one notebook."""
    cell = nbformat.v4.new_code_cell("1", execution_count=1)
    (folder / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "notebooks" / "00_start_here.ipynb")
    monkeypatch.setattr(project, "project_root", lambda: folder)


def _stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    """Put a module with these members in the place of reporting's."""
    module = types.SimpleNamespace(**members)
    monkeypatch.setitem(sys.modules, f"reid_lib.reporting.{name}", module)
    monkeypatch.setattr(reporting, name, module, raising=False)


@pytest.mark.parametrize(
    ("problems", "code", "lines"),
    [
        ([], 0, ["all is well: 1 result file with 3 rows, 1 notebook"]),
        (["one thing", "another"], 1, ["one thing", "another", "2 problems"]),
    ],
)
def test_verify_says_what_was_found(
    problems: list[str], code: int, lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def verify(root: Path) -> tuple[list[str], str]:
        assert root == ROOT
        return problems, "1 result file with 3 rows, 1 notebook"

    _stand_in(monkeypatch, "verify", verify=verify)
    assert cli.main(["verify"]) == code
    assert capsys.readouterr().out.splitlines() == lines


def test_verify_notes_seeds_that_were_measured_differently(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _stand_in(monkeypatch, "verify", verify=lambda root: ([], "1 result file"))
    _stand_in(monkeypatch, "mixed", mixed_provenance=lambda: ["demo/synth/lrar, Table I"])
    assert cli.main(["verify"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "note: seeds measured differently: demo/synth/lrar, Table I",
        "all is well: 1 result file",
    ]


def test_verify_against_another_folder(folders: Path, capsys: pytest.CaptureFixture) -> None:
    row = {"artefact": "Baselines", "method": "HR only", "metric": "rank1", "seed": 0, "trials": 10}
    row |= {"value": 50, "low": 49, "high": 51}
    results.write([row], "demo", "synth", "baselines", {"commit": "", "time": "one", "parameters": {}})
    there = folders / "there"
    shutil.copytree(folders / "results", there)
    assert cli.main(["verify", "--against", str(there)]) == 1
    assert capsys.readouterr().out.endswith("Nothing was measured twice.\n")
    results.write([row], "demo", "synth", "baselines", {"commit": "", "time": "two", "parameters": {}})
    for only in ([], ["--only", "demo/synth"]):
        assert cli.main(["verify", "--against", str(there), *only]) == 0
        assert capsys.readouterr().out.startswith("1 of 1 rows agree (100.0 %, needed: 85 %)")
    assert cli.main(["verify", "--against", str(there), "--only", "demo/viper"]) == 2
    assert "demo/viper holds no results" in capsys.readouterr().err
    file = there / "demo" / "synth" / "baselines.csv"
    file.write_text(file.read_text().replace("50,demo,0,10,49,51", "60,demo,0,10,59,61"))
    assert cli.main(["verify", "--against", str(there)]) == 1
    shown = capsys.readouterr().out
    assert "Rows that do not agree\ndata set  paper" in shown
    row = r"synth\s+baselines\s+Baselines\s+HR only\s+rank1\s+50\.0 \[49\.0, 51\.0\]\s+60\.0 \[59\.0, 61\.0\]"
    assert re.search(row, shown)
    assert cli.main(["verify", "--against", str(folders / "nowhere")]) == 2
    assert "nowhere holds no results" in capsys.readouterr().err


def test_readme_rebuilds_the_files_that_are_there(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(project, "project_root", lambda: folders)
    drawn = []
    files = ("README.md", "docs/results.md", "absent.md")
    _stand_in(monkeypatch, "readme", FILES=files, rebuilt=str.upper, headline_figure=lambda: "a figure")
    monkeypatch.setattr(reporting.figures, "save", lambda *args: drawn.append(args))
    (folders / "docs").mkdir()
    (folders / "README.md").write_text("OLD\n")
    (folders / "docs" / "results.md").write_text("new\n")
    assert cli.main(["readme", "--check"]) == 1
    assert (folders / "docs" / "results.md").read_text() == "new\n"
    assert drawn == []
    assert capsys.readouterr().out.splitlines() == [
        "README.md is up to date",
        "results.md is out of date: run `reid-lib readme`",
    ]
    assert cli.main(["readme"]) == 0
    assert (folders / "docs" / "results.md").read_text() == "NEW\n"
    assert (folders / "results" / "audit.csv").read_text().startswith("kind,paper,artefact,")
    assert [(figure, folder.name, name) for figure, folder, name in drawn] == [("a figure", "demo", "headline")]
    assert cli.main(["readme", "--check"]) == 0
    _stand_in(monkeypatch, "readme", FILES=files, rebuilt=str.upper, headline_figure=lambda: None)  # nothing measured
    assert cli.main(["readme"]) == 0
    assert len(drawn) == 1


def test_parameters_are_literals_or_text() -> None:
    found = assignments(["rate=1e-3", "rates=(2, 3)", "name=bicubic", "on=True"])
    assert found == {"rate": 1e-3, "rates": (2, 3), "name": "bicubic", "on": True}


def test_only_parameters_that_name_files_become_paths(monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    monkeypatch.chdir(folders)
    monkeypatch.setenv("HOME", str(folders))
    for name in ("detected", "w.pth"):
        (folders / name).touch()
    assert assignments(["boxes=detected", "weights=w.pth", "start_weights=~/w.pth", "partition=detected"]) == {
        "boxes": "detected",
        "weights": str(folders / "w.pth"),
        "start_weights": str(folders / "w.pth"),
        "partition": str(folders / "detected"),
    }
    assert assignments(["weights=imagenet", "start_weights=~/absent.pth"]) == {
        "weights": "imagenet",
        "start_weights": "~/absent.pth",
    }


def test_the_example_of_one_artefact_names_a_notebook_that_exists() -> None:
    from reid_lib import reproduce

    examples = [cli.COMMANDS["reproduce"][1], (ROOT / "README.md").read_text(encoding="utf-8")]
    named = [name for text in examples for name in re.findall(r'--only "([^"]+)"', text)]
    assert len(named) == 2
    for name in named:
        assert reproduce.select(numbered_notebooks(ROOT), name)


def test_a_failed_notebook_exits_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from reid_lib import reproduce

    def failing(*arguments: object, **options: object) -> None:
        assert options["overrides"] == {"data_options": {"layout": "flat", "boxes": "labeled"}, "epochs": 3}
        raise reproduce.NotebookFailed("notebook 13_lrar, cell 4 (In [3]): KeyError: 'x'")

    monkeypatch.setattr(reproduce, "reproduce", failing)
    assert cli.main(["reproduce", "--layout", "flat", "--options", "boxes=labeled", "--set", "epochs=3"]) == 1
    assert "13_lrar, cell 4" in capsys.readouterr().err


def test_reproduce_ends_with_the_site(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, folders: Path
) -> None:
    monkeypatch.setattr("reid_lib.reproduce.reproduce", lambda root, **options: ["00_start_here"])
    monkeypatch.setattr("reid_lib.site.build", lambda root, out, with_api: f"{out} {with_api}")
    assert cli.main(["reproduce"]) == 0
    assert capsys.readouterr().out == f"results, and the committed notebooks as pages: {ROOT / 'build/site'} False\n"


def test_where_nothing_ran_the_pages_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, folders: Path
) -> None:
    built: list[Path] = []
    monkeypatch.setattr("reid_lib.reproduce.reproduce", lambda root, **options: [])
    monkeypatch.setattr("reid_lib.site.build", lambda root, out, with_api: built.append(out))
    monkeypatch.setattr(project, "SITE", str(folders))  # a folder without pages
    assert cli.main(["reproduce"]) == 0
    (folders / "index.html").write_text("")
    assert cli.main(["reproduce"]) == 0
    assert len(built) == 1
    assert "nothing ran: the pages in" in capsys.readouterr().out


def test_pages_that_cannot_be_made_do_not_fail_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, folders: Path
) -> None:
    from reid_lib import site

    def broken(*arguments: object, **options: object) -> None:
        raise site.SiteError("a page needs a heading of level 1")

    monkeypatch.setattr("reid_lib.reproduce.reproduce", lambda root, **options: ["00_start_here"])
    monkeypatch.setattr(site, "build", broken)
    assert cli.main(["reproduce"]) == 0
    assert capsys.readouterr().out == "the pages were not made anew: a page needs a heading of level 1\n"


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reid_lib", "list", "--paper", "x"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert json.dumps(done.stderr).count("Traceback") == 0


def test_train_leaves_networks_where_a_notebook_finds_them(
    folders: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REID_LIB_PROFILE", "demo")  # left in the shell
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = ["--profile", "smoke", "--options", "identities=12", "--seeds", "3", "4", "--set", "epochs=1", "margin=1"]
    assert cli.main(["train", "baseline", *options]) == 0
    folder = folders / "results" / "smoke" / "synth" / "checkpoints"
    device = pick_device()
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: baseline, seed {seed}, 1 process on {device.type}" for seed in (3, 4)
    ]
    trained = {path: path.stat().st_mtime_ns for path in folder.rglob("last.pt")}
    assert len(trained) == 2
    assert os.environ["REID_LIB_PROFILE"] == "demo"  # left as it was

    monkeypatch.delenv("REID_LIB_PROFILE")
    run = session.start("02_x", profile="smoke", dataset="synth", data_options={"identities": 12}, seeds=(3, 4))
    config = baseline.BaselineConfig.for_profile("smoke", epochs=1, margin=1.0)
    for seed in run.seeds:
        baseline.train(config, run.dataset, seed=seed, folder=run.folder / "checkpoints", device=run.device)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("last.pt")} == trained


def test_train_takes_a_papers_recipe() -> None:
    def config(*settings: str) -> object:
        return Train(method="lrar", set=settings)._method()[0]

    assert config("recipe=paper").learning_rate == LRARConfig().learning_rate != config().learning_rate
    assert config("recipe=paper", "learning_rate=1").learning_rate == 1.0
    assert config().varying_length is True
    assert config("varying_length=no").varying_length is config("varying_length=False").varying_length is False


def test_every_method_that_can_be_trained_has_settings_for_each_profile() -> None:
    for name, method in METHODS.items():
        assert method.train.__module__ == method.config.__module__, name
        smoke, demo, paper = (method.config.for_profile(profile).epochs for profile in ("smoke", "demo", "paper"))
        assert smoke <= demo < paper
