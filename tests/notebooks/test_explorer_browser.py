"""The explorer in JupyterLab, in a real browser: the slider moves the picture, and a notebook opened again has it.

Chromium is driven through its DevTools protocol. The network has random weights: nothing is trained.
"""

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest

websocket = pytest.importorskip("websocket", reason="websocket-client is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed: on Debian, apt install chromium")

PATIENCE = 240.0  # seconds for one step; on a free machine it takes a few, on a busy one many times that
TOKEN = secrets.token_hex(16)
NOTEBOOK = """
import torch
from reid_lib.datasets import load, mlr
from reid_lib.evaluation.matchers import FeatureMatcher
from reid_lib.explore import Explorer
from reid_lib.networks.tiny import tiny
trial = mlr.trials(load("synth", identities=8, images_per_camera=2, size=(64, 32)), n=1)[0]
torch.manual_seed(0)
matcher = FeatureMatcher(tiny(8).eval(), (64, 32), torch.device("cpu"))
Explorer({"random weights": matcher}, trial).show()
"""
CELL = "document.querySelector('.jp-CodeCell')"
CURRENT = "window.jupyterapp?.shell.currentWidget"
ACTIVATE = "[...window.jupyterapp.shell.widgets('main')].forEach(one => window.jupyterapp.shell.activateById(one.id))"
PICTURE = "[...document.querySelectorAll('.jp-OutputArea img')].map(image => image.src).join()"
HANDLE = "document.querySelector('.reid-lib-controls .noUi-handle')"
OUTPUT = f"{CELL}.querySelector('.jp-OutputArea').innerText"  # what can be read, without what is hidden


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until(found: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError):
            if value := found():
                return value
        time.sleep(0.2)
    pytest.fail(f"waited {PATIENCE:.0f} s for {what}")


def _ask(address: str, method: str = "GET") -> Any:
    """What Jupyter's server answers."""
    request = urllib.request.Request(address, method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read() or "null")


class Tab:
    """One tab of the browser."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as answer:
            pages = json.loads(answer.read())
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self.number = 0

    def call(self, method: str, **parameters: Any) -> dict:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.number:
            pass  # an event
        return answer["result"]

    def js(self, expression: str) -> Any:
        """The value of an expression, or of the promise that it is; None where it throws."""
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        return self.call("Runtime.evaluate", **options)["result"].get("value")

    def open(self, address: str) -> None:
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)  # commands are for the notebook with the focus
        self.call("Page.navigate", url=address)
        _until(lambda: self.js(f"!!{CELL}"), "the notebook")
        self.js(ACTIVATE)
        kernel = f"{CURRENT}?.sessionContext?.session?.kernel?.connectionStatus"
        _until(lambda: self.js(kernel) == "connected", "its kernel")

    def command(self, name: str, **arguments: Any) -> None:
        """Start one of JupyterLab's commands, and do not wait for it."""
        self.js(f"void window.jupyterapp.commands.execute('{name}', {json.dumps(arguments)})")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cell = nbformat.v4.new_code_cell(NOTEBOOK.strip())
    # less than this, and JupyterLab asks which kernel to take
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "one.ipynb")
    return tmp_path


@pytest.fixture
def lab(folder: Path) -> Iterator[str]:
    """JupyterLab's address, with settings of its own and this interpreter as kernel."""
    port, names = _free_port(), ("CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR")
    own = {f"JUPYTER_{name}": str(folder / name) for name in names} | {"JUPYTER_PREFER_ENV_PATH": "1"}
    own |= {f"JUPYTERLAB_{name}_DIR": str(folder / name) for name in ("SETTINGS", "WORKSPACES")}
    here = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    env = os.environ | own | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1"}
    env.pop("REID_LIB_STATUS", None)
    options = [
        "--no-browser",
        "--allow-root",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={folder / 'work'}",
    ]
    options += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"]
    with (folder / "lab.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _until(lambda: _ask(f"{address}/api"), "JupyterLab")
        yield address
    finally:
        _end(process)


@pytest.fixture
def tab(folder: Path) -> Iterator[Tab]:
    profile = folder / "browser"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--window-size=1300,900", "about:blank"]
    process = subprocess.Popen([BROWSER, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        active = profile / "DevToolsActivePort"
        port = int(_until(lambda: active.read_text().split()[0], "Chromium"))
        tab = _until(lambda: Tab(port), "a tab")
        yield tab
        tab.socket.close()
    finally:
        _end(process)


def _end_kernels(lab: str) -> None:
    for session in _ask(f"{lab}/api/sessions"):
        _ask(f"{lab}/api/sessions/{session['id']}", "DELETE")


def test_the_slider_moves_the_picture_and_a_notebook_opened_again_has_it(lab: str, tab: Tab, folder: Path) -> None:
    tab.open(f"{lab}/lab/tree/one.ipynb?token={TOKEN}")
    tab.command("notebook:run-all-cells")
    _until(lambda: tab.js(f"!!{HANDLE}"), "the slider")
    first = tab.js(PICTURE)
    assert first.count("data:image/png") == 1

    tab.js(f"{HANDLE}.focus()")
    tab.press("ArrowRight", 39)
    moved = _until(lambda: (now := tab.js(PICTURE)) != first and now, "another picture")
    assert moved.count("data:image/png") == 1  # in place of the first
    assert "run the cell in JupyterLab" not in tab.js(OUTPUT)
    tab.command("docmanager:save")

    def saved() -> str:
        outputs = nbformat.read(folder / "work" / "one.ipynb", as_version=4).cells[0].outputs
        return outputs[-1].data["image/png"].strip() if outputs else ""

    assert _until(saved, "the saved notebook") == moved.split(",", 1)[1].strip()  # what was seen last
    assert base64.b64decode(saved()).startswith(b"\x89PNG")

    tab.command("application:close")
    _until(lambda: not tab.js(f"!!{CELL}"), "the notebook to close")
    _end_kernels(lab)
    tab.command("docmanager:open", path="one.ipynb")
    _until(lambda: "model not found" in tab.js("document.body.textContent"), "JupyterLab to look for its widgets")
    assert tab.js(PICTURE) == moved
    assert "To move this picture, run the cell in JupyterLab." in tab.js(OUTPUT)
    assert "widget" not in tab.js(OUTPUT)
