"""Bundles as other tools write them, and ``nbc runtime`` (or runc) run on them as a caller would."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from notebook_containers.linux import process as processes
from tests.conftest import TREE

Spec = dict[str, object]
Change = Callable[[Spec], None]


def section(spec: Spec, *path: str) -> Spec:
    """Return the object at ``path``, made when missing."""
    found = spec
    for name in path:
        found = found.setdefault(name, {})  # type: ignore[assignment]
    return found


def listing(spec: Spec, *path: str) -> list[object]:
    """Return the list at ``path``, made when missing."""
    found = section(spec, *path[:-1]).setdefault(path[-1], [])
    assert isinstance(found, list)
    return found


class Low:
    """One ``--root`` and the bundles made for it; :meth:`close` deletes every container."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        self.directory, self.rootfs, self.root = directory, rootfs, directory / "state"
        self._count = 0
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(TREE), "LC_ALL": "C.UTF-8"}

    def bundle(self, args: Sequence[str], *changes: Change, terminal: bool = False) -> Path:
        """Write a bundle by ``runc spec`` (the file every tool's bundle descends from), changed, with the shared root filesystem."""
        self._count += 1
        path = self.directory / f"bundle{self._count}"
        path.mkdir()
        subprocess.run(["runc", "spec", "--bundle", str(path)], check=True)
        spec: Spec = json.loads((path / "config.json").read_text())
        section(spec, "process").update(args=list(args), terminal=terminal)
        section(spec, "root")["path"] = str(self.rootfs)
        for change in changes:
            change(spec)
        (path / "config.json").write_text(json.dumps(spec))
        return path

    def words(self, *words: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "notebook_containers", "runtime", "--root", str(self.root), *words]

    def nbc(self, *words: str, check: bool = True, stdin: str = "", environment: dict[str, str] | None = None) -> str:
        """Run one command and return what it printed on both streams; ``check`` that it succeeds."""
        done = self.done(*words, stdin=stdin, environment=environment)
        assert not check or done.returncode == 0, (words, done.returncode, done.stdout)
        return done.stdout

    def done(self, *words: str, stdin: str = "", environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        return subprocess.run(
            self.words(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            input=stdin,
            env={**self.environment, **(environment or {})},
            check=False,
            timeout=60,
        )

    def run(self, args: Sequence[str], *changes: Change) -> tuple[int, str]:
        """Run a bundle to its end."""
        done = self.done("run", "--bundle", str(self.bundle(args, *changes)), f"c{self._count}")
        return done.returncode, done.stdout

    def sh(self, script: str, *changes: Change) -> tuple[int, str]:
        """Run a shell script to its end."""
        return self.run(["sh", "-c", script], *changes)

    def create(self, identity: str, bundle: Path, *options: str) -> Path:
        """Create a container with its output in a file, which is returned: nobody else holds its streams."""
        output = self.directory / f"{identity}.out"
        with open(output, "wb") as file:
            words = self.words("create", "--bundle", str(bundle), *options, identity)
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.environment, check=False, timeout=60)
        assert done.returncode == 0, output.read_text()
        return output

    def state(self, identity: str) -> Spec:
        """Return the state."""
        found: Spec = json.loads(self.nbc("state", identity))
        return found

    def wait_for(self, identity: str, status: str) -> Spec:
        """Wait until the container has this status."""
        deadline = time.monotonic() + 10
        while (found := self.state(identity))["status"] != status:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def close(self) -> None:
        """Delete everything."""
        for identity in os.listdir(self.root) if self.root.is_dir() else []:
            self.nbc("delete", "--force", identity)
        assert not self.root.is_dir() or not os.listdir(self.root)
        shutil.rmtree(self.directory, ignore_errors=True)


class Console:
    """A console socket as conmon or a containerd shim offers it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(1)
        self._socket.settimeout(20)

    def master(self) -> int:
        """Return the terminal's master that was sent."""
        connection, _ = self._socket.accept()
        with connection:
            _name, fds = processes.recv_fds(connection, 4096, 1)
        self._socket.close()
        return fds[0]


def read_all(fd: int) -> str:
    """Read a terminal to its end."""
    output = b""
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            os.close(fd)
            return output.decode()
        output += data
