"""JupyterLab in headless Chromium, driven through its DevTools protocol. Tests that ask for it skip where it is not.

A test module says which notebooks JupyterLab opens (`work`) and what its kernels find in the environment (`kernels`).
"""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 240.0  # seconds for one step; on a free machine it takes a few, on a busy one many times that
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ROOT = Path(__file__).parents[2]


def until(found: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.2) -> Any:
    """What `found` returns as soon as it is true; the test fails after `patience` seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with suppress(OSError):
            if value := found():
                return value
        time.sleep(pause)
    pytest.fail(f"waited {patience:.0f} s for {what}")


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that runs."""

    address: str
    token: str

    def ask(self, path: str, method: str = "GET") -> Any:
        """What the server answers."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.address}/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def url(self, notebook: str) -> str:
        """The page with this notebook alone."""
        return f"{self.address}/lab/tree/{notebook}?reset&token={self.token}"

    def end_kernels(self) -> None:
        """End every kernel."""
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", "DELETE")


class Tab:
    """One tab of the browser."""

    CELL = "document.querySelector('.jp-CodeCell')"
    NOTEBOOK = "window.jupyterapp?.shell.currentWidget"
    _ACTIVATE = (
        "[...window.jupyterapp.shell.widgets('main')].forEach(one => window.jupyterapp.shell.activateById(one.id))"
    )

    def __init__(self, port: int) -> None:
        import websocket

        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as answer:
            pages = json.loads(answer.read())
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self.number = 0

    until = staticmethod(until)

    def call(self, method: str, **parameters: Any) -> dict:
        """What a method of the DevTools protocol returns."""
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
        """Open a notebook in JupyterLab and wait for its kernel."""
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)  # commands are for the notebook with the focus
        self.call("Page.navigate", url=address)
        until(lambda: self.js(f"!!{self.CELL}"), "the notebook")
        self.js(self._ACTIVATE)
        kernel = f"{self.NOTEBOOK}?.sessionContext?.session?.kernel?.connectionStatus"
        until(lambda: self.js(kernel) == "connected", "its kernel")

    def command(self, name: str, **arguments: Any) -> None:
        """Start one of JupyterLab's commands, and do not wait for it."""
        self.js(f"void window.jupyterapp.commands.execute('{name}', {json.dumps(arguments)})")

    def press(self, key: str, code: int) -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that JupyterLab opens: empty."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def kernels() -> dict[str, str]:
    """What kernels find in the environment besides what is there: nothing."""
    return {}


@pytest.fixture(scope="module")
def browser() -> str:
    """The browser's program, or a skip."""
    pytest.importorskip("websocket", reason="websocket-client is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or pytest.skip("Chromium is not installed: on Debian, apt install chromium")


@pytest.fixture(scope="module")
def lab(browser: str, work: Path, kernels: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, with settings of its own and this interpreter as kernel."""
    folder, port = tmp_path_factory.mktemp("lab"), _free_port()
    found = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16))
    own = {f"JUPYTER_{name}": str(folder / name) for name in ("CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR")}
    own |= {f"JUPYTERLAB_{name}_DIR": str(folder / name) for name in ("SETTINGS", "WORKSPACES")}
    here = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env = os.environ | own | {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": here, "OMP_NUM_THREADS": "1"} | kernels
    env.pop("REID_LIB_STATUS", None)
    options = ["--no-browser", "--allow-root", f"--IdentityProvider.token={found.token}"]
    options += [f"--ServerApp.root_dir={work}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += ["--LabApp.expose_app_in_browser=True"]
    with (folder / "lab.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        until(lambda: found.ask("api"), "JupyterLab")
        yield found
        found.end_kernels()
    finally:
        _end(process)


@pytest.fixture(scope="module")
def tab(browser: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of a browser of its own."""
    profile = tmp_path_factory.mktemp("browser")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--window-size=1300,900", "about:blank"]
    process = subprocess.Popen([browser, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        active = profile / "DevToolsActivePort"
        port = int(until(lambda: active.read_text().split()[0], "Chromium"))
        tab = until(lambda: Tab(port), "a tab")
        yield tab
        tab.socket.close()
    finally:
        _end(process)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
