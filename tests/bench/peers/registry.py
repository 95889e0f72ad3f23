"""A registry that everybody pushes to and pulls from: Debian's docker-registry on the stage's loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.machine import SEARCH
from tests.bench.measure import Unavailable

_START_S = 20
_CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
"""


class Registry:
    """Where it listens, and what it keeps."""

    def __init__(self, address: str, data: Path) -> None:
        self.address, self._data = address, data

    def forget(self) -> None:
        """Take away everything that was pushed; the registry keeps nothing in memory."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()


@contextmanager
def registry(place: Path) -> Iterator[Registry]:
    """Start an empty registry; it is stopped, and its files are gone, at the end. Raises Unavailable where it is not installed."""
    program = shutil.which("docker-registry", path=SEARCH)
    if program is None:
        raise Unavailable("docker-registry is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    home = place / "registry"
    (home / "data").mkdir(parents=True)
    (home / "config.yml").write_text(_CONFIG.format(data=home / "data", address=address))
    with open(home / "log", "wb") as log:
        process = subprocess.Popen([program, "serve", home / "config.yml"], stdout=log, stderr=log, env={"PATH": SEARCH})
    try:
        _await(address)
        yield Registry(address, home / "data")
    finally:
        process.terminate()
        process.wait(timeout=20)
        shutil.rmtree(home)


def _await(address: str) -> None:
    host, _, port = address.partition(":")
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Unavailable("docker-registry does not start")
