"""A stack as people have it, of nginx, PHP, MySQL and Redis from a file of version 2: built, up, killed, stopped, down and up again.

The images are built by our builder from a small Debian (``NBC_TEST_DEBIAN``, the archive that .ci/debian makes) and its packages; the
ordinary user loads them. Everything is asked over real sockets.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.needs import need
from tests.people import Person, person

pytestmark = [pytest.mark.user, pytest.mark.timeout(600)]

LESSONS = Path(__file__).parents[2] / "notebooks"
SERVICES = ("nginx", "php", "mysql", "redis")
IMAGES = ("nginx", "php:7.2-fpm", "mysql", "redis")
LONG_S = 60


@contextmanager
def root() -> Iterator[Person]:
    home = Path(tempfile.mkdtemp(prefix="nbcp-", dir="/tmp"))
    home.chmod(0o755)
    try:
        yield Person(name="root", uid=0, gid=0, home=home)
    finally:
        shutil.rmtree(home)


class Stack:
    """The project in a person's directories."""

    def __init__(self, who: Person) -> None:
        self._who, self.place = who, who.home / "stack"
        shutil.copytree(LESSONS / "stack", self.place)
        web = who.home / "data" / "web"
        web.mkdir(parents=True)
        shutil.copy(self.place / "index.php", web)
        self.port = free_port()
        ports = f"HTTP_PORT={self.port}\nMYSQL_PORT={free_port()}\nREDIS_PORT={free_port()}\n"
        (self.place / "here.env").write_text(f"DATA={who.home}/data\n{ports}")
        for directory, _names, files in [*os.walk(self.place), *os.walk(who.home / "data")]:
            for name in [directory, *(os.path.join(directory, file) for file in files)]:
                os.chown(name, who.uid, who.gid)

    def compose(self, *words: str) -> str:
        files = ("-f", self.place / "docker-compose.yml", "-f", self.place / "here.yml", "--env-file", self.place / "here.env")
        return self._who.nbc("compose", *files, *words, timeout_s=400)

    def visit(self) -> dict[str, int]:
        """Ask for the page until it is there; returns what MySQL and Redis have."""
        deadline = time.monotonic() + LONG_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as answer:
                    found: dict[str, int] = json.load(answer)
                    return {"mysql": found["mysql"], "redis": found["redis"]}
            except (OSError, ValueError, urllib.error.URLError):
                assert time.monotonic() < deadline, self.compose("logs", "--tail", "20")
                time.sleep(0.2)

    def inspect(self, service: str, template: str) -> str:
        return self._who.nbc("inspect", "-f", template, f"stack-{service}-1").strip()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def builder() -> Iterator[Person]:
    """Root, with the images, and their archive in its home."""
    debian = os.environ.get("NBC_TEST_DEBIAN", "")
    need(debian, "archive of a Debian (NBC_TEST_DEBIAN)")
    with root() as who:
        who.nbc("import", debian, "debian:stack", timeout_s=120)
        built = Stack(who).compose("build", "--quiet")
        assert sorted(built.split()) == sorted(IMAGES)
        who.nbc("save", "-o", who.home / "images.tar", *IMAGES, timeout_s=120)
        (who.home / "images.tar").chmod(0o644)
        shutil.rmtree(who.home / "stack")
        shutil.rmtree(who.home / "data")
        yield who


@pytest.fixture(params=["root", "ordinary user"])
def stack(request: pytest.FixtureRequest, builder: Person, no_leaks: None) -> Iterator[Stack]:
    if request.param == "root":
        yield Stack(builder)
        return
    with person(lent=True) as who:
        who.nbc("load", "-i", builder.home / "images.tar", timeout_s=120)
        made = Stack(who)
        yield made
        # what the containers wrote belongs to lent ids
        who.nbc("run", "--rm", "--network", "none", "-v", f"{who.home}/data:/data", "redis", "rm", "-rf", "/data/mysql", "/data/redis")


def test_data_is_kept_whatever_happens_to_the_containers(stack: Stack) -> None:
    stack.compose("up", "-d")
    seen = stack.visit()

    def more() -> None:
        nonlocal seen
        now = stack.visit()
        assert now["mysql"] > seen["mysql"] >= 1
        assert now["redis"] > seen["redis"] >= 1
        seen = now

    more()
    for service in SERVICES:
        os.kill(int(stack.inspect(service, "{{.State.Pid}}")), signal.SIGKILL)
    deadline = time.monotonic() + LONG_S
    while any(stack.inspect(service, "{{.RestartCount}} {{.State.Status}}") != "1 running" for service in SERVICES):
        assert time.monotonic() < deadline, stack.compose("ps", "-a")
    more()
    stack.compose("stop")
    assert stack.compose("ps", "-q") == ""
    stack.compose("start")
    more()
    stack.compose("restart")
    more()
    stack.compose("down")
    assert stack.compose("ps", "-a", "-q") == ""
    stack.compose("up", "-d")
    more()
    stack.compose("down")


def test_the_lesson_runs(builder: Person, no_leaks: None) -> None:
    """Root's images are in the cache already."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(LESSONS / "07_compose.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(LESSONS)}})
    environment = {**builder.environment, "PATH": os.environ["PATH"], "DEBIAN_TAR": os.environ["NBC_TEST_DEBIAN"]}
    client.execute(env=environment)
    texts = [str(out.get("data", {}).get("text/plain", "")) for cell in notebook.cells for out in cell.get("outputs", ())]
    pages = [json.loads(text.replace("'", '"')) for text in texts if text.startswith("{'mysql'")]
    assert [page["redis"] for page in pages] == [1, 2, 3]
    assert builder.nbc("compose", "ls", "-a", "-q") == ""
