"""A real JupyterLab and a real chromium, driven through playwright-core by ``drive.mjs``.

On a machine without node, chromium or the packages of ``labextension`` these tests skip; with ``CI=true`` the packages are installed
afresh, and what is missing fails. Pictures go to the directory that ``NBC_PICTURES`` names, else to pytest's temporary one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from notebook_containers import Engine
from tests.needs import need

HERE = Path(__file__).parent
TREE = HERE.parents[1]
SOURCE = TREE / "labextension"
BUILT = TREE / "notebook_containers" / "labextension"
START_S = 40

Step = tuple[str, object]


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), "")
    need(found, "chromium")
    return found


@pytest.fixture(scope="session")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ``labextension`` with its node packages, beside an empty ``notebook_containers`` for its output."""
    need(shutil.which("npm"), "npm")
    copy = tmp_path_factory.mktemp("frontend") / "labextension"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("node_modules", "lib", "*.tsbuildinfo"))
    (copy.parent / "notebook_containers").mkdir()
    if os.environ.get("CI") == "true":
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=copy, check=True, timeout=100)
    else:
        need((SOURCE / "node_modules").is_dir(), "labextension/node_modules (npm ci)")
        shutil.copytree(SOURCE / "node_modules", copy / "node_modules", symlinks=True, copy_function=linked)
    return copy


def linked(source: str, target: str) -> None:
    """Make a hard link, for thousands of files; a copy where that cannot be. A symbolic link of the whole would show in the build."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A running JupyterLab: where it answers, its token, the directory it shows, and its engine's places."""

    url: str
    token: str
    notebooks: Path
    root: Path
    run: Path


@contextmanager
def running_lab(top: Path, *, root: Path, run: Path) -> Iterator[Lab]:
    """Start JupyterLab from this tree as an installation would have it, and stop it at the end."""
    notebooks, port, token = top / "notebooks", free_port(), secrets.token_hex(16)
    notebooks.mkdir()
    environment = installed(top) | {"NBC_ROOT": str(root), "NBC_RUN": str(run)}
    arguments = {
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.root_dir": notebooks,
        "ServerApp.base_url": "/a%40b/",
        "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,
    }
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in arguments.items())]
    with (top / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=TREE, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            lab = Lab(url=f"http://127.0.0.1:{port}/a%40b/", token=token, notebooks=notebooks, root=root, run=run)
            wait_for(lab, server, top / "lab.log")
            yield lab
        finally:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            server.terminate()
            server.wait(timeout=20)
            wait_for_end(children)


def installed(top: Path) -> dict[str, str]:
    """Return an environment in which Jupyter finds the tree's extension where pip would have put it, and nothing of the person's."""
    data, config, settings = top / "share", top / "etc", top / "home" / ".jupyter" / "lab" / "user-settings"
    (data / "labextensions").mkdir(parents=True)
    (data / "labextensions" / "notebook-containers").symlink_to(BUILT)
    shutil.copytree(TREE / "notebook_containers" / "jupyter-config", config)
    quiet = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "NBC_", "XDG_"))}
    return kept | {"HOME": str(top / "home"), "JUPYTER_PATH": str(data), "JUPYTER_CONFIG_PATH": str(config), "PYTHONPATH": str(TREE)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast("int", probe.getsockname()[1])


def wait_for(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{lab.url}api/status?token={lab.token}", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")


def wait_for_end(processes: list[str]) -> None:
    """Wait for processes that end by themselves when the server is gone (the engine's spawner)."""
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        assert time.monotonic() < deadline, f"still there: {processes}"
        time.sleep(0.02)


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary directory with a name short enough for sockets."""
    top = Path(tempfile.mkdtemp(prefix="nbc-"))
    yield top
    shutil.rmtree(top)


@pytest.fixture
def lab(short: Path) -> Iterator[Lab]:
    """A JupyterLab with an empty store."""
    with running_lab(short, root=short / "root", run=short / "run") as lab:
        yield lab


@pytest.fixture
def engine(lab: Lab) -> Iterator[Engine]:
    """The engine of a notebook on the same places; its containers and networks are removed at the end."""
    with Engine(root=lab.root, run=lab.run) as made:
        yield made
        for container in made.containers.list(all=True):
            container.remove(force=True)
        for network in made.networks.list():
            if network.name not in ("bridge", "host", "none"):
                made.networks.remove(network.name)


class Browser:
    """Plays scenarios of ``scenarios/``."""

    def __init__(self, *, chromium: str, modules: Path, pictures: Path) -> None:
        self.chromium, self.modules, self.pictures = chromium, modules, pictures

    def play(self, scenario: str, lab: Lab) -> Iterator[Step]:
        """Yield a scenario's steps; it waits at each until the next is asked for.

        At the end nothing may have been fetched from elsewhere, no script have failed, and nothing hostile have run.
        """
        with tempfile.TemporaryDirectory(prefix="nbc-chromium-") as profile:
            options = {
                "url": f"{lab.url}?token={lab.token}",
                "modules": str(self.modules),
                "chromium": self.chromium,
                "profile": profile,
                "artifacts": str(self.pictures),
            }
            command = ["node", str(HERE / "drive.mjs"), str(HERE / "scenarios" / f"{scenario}.mjs")]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
                try:
                    yield from self._steps(driver, options)
                    driver.wait(timeout=20)
                finally:
                    driver.terminate()

    def _steps(self, driver: subprocess.Popen[str], options: Mapping[str, str]) -> Iterator[Step]:
        assert driver.stdin
        assert driver.stdout
        print(json.dumps(options), file=driver.stdin, flush=True)
        for line in driver.stdout:
            step = cast("dict[str, object]", json.loads(line))
            name, value = str(step["step"]), step["value"]
            if name == "failed":
                pytest.fail(f"{value}\n(a picture is in {self.pictures / 'failed.png'})")
            if name == "end":
                assert value == {"foreign": [], "complaints": [], "pwned": None}
                return
            yield name, value
            print("null", file=driver.stdin, flush=True)
        pytest.fail("the browser's driver ended without a word")


@pytest.fixture(scope="session")
def browser(chromium: str, frontend: Path, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    wanted = os.environ.get("NBC_PICTURES")
    pictures = Path(wanted) if wanted else tmp_path_factory.mktemp("pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    return Browser(chromium=chromium, modules=frontend, pictures=pictures)
