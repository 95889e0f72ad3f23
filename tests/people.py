"""Ordinary users made for a test, with and without lent ids, and programs run as them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parents[1]
_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An ordinary user with a directory of its own (``home``, reachable by everybody)."""

    name: str
    uid: int
    gid: int
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{TREE}:{sysconfig.get_paths()['purelib']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.home),
            "NBC_ROOT": str(self.home / "root"),
            "NBC_RUN": str(self.home / "run"),
        }

    def run(self, *words: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program as this user."""
        return subprocess.run(
            [str(word) for word in words],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            env=self.environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def nbc(self, *words: str | Path, timeout_s: float = 60) -> str:
        """Run a command line and return what it printed; it must succeed."""
        done = self.run(_PYTHON, "-m", "notebook_containers", *words, timeout_s=timeout_s)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *words: str | Path) -> str:
        """Run a command line that must fail; returns what it said."""
        done = self.run(_PYTHON, "-m", "notebook_containers", *words)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def processes(self) -> list[str]:
        """The names of this user's processes."""
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{name}").st_uid == self.uid:
                    found.append(Path(f"/proc/{name}/comm").read_text().strip())
            except OSError:
                continue
        return found

    def python(self, code: str, *arguments: str | Path) -> object:
        """Run Python code and return the JSON value it printed; it must succeed."""
        done = self.run(_PYTHON, "-c", code, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        value: object = json.loads(done.stdout)
        return value


@contextmanager
def person(*, lent: bool) -> Iterator[Person]:
    """Make an ordinary user, with 65536 lent ids or with none; everything of it is gone afterwards."""
    name = f"nbct{'w' if lent else 's'}{os.getpid() % 1000000}"
    count = "65536" if lent else "0"
    words = ["useradd", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/sh"]
    _account([*words, "-K", f"SUB_UID_COUNT={count}", "-K", f"SUB_GID_COUNT={count}", name])
    home = Path(tempfile.mkdtemp(prefix="nbcp-", dir="/tmp"))
    try:
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        os.chmod(home, 0o755)
        made = Person(name=name, uid=entry.pw_uid, gid=entry.pw_gid, home=home)
        yield made
        deadline = time.monotonic() + 30
        while left := made.processes():  # what ends by itself has its time; an account cannot go before its processes
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
    finally:
        shutil.rmtree(home)
        _account(["userdel", name])


def _account(words: list[str]) -> None:
    for _ in range(20):  # another test may hold the lock of the account files
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if "lock" not in done.stderr:
            break
        time.sleep(0.25)
    raise AssertionError(done.stderr)
