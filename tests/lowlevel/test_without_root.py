"""The same as an ordinary user: a rootless bundle, with records in a place of the user's own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.people import Person, person
from tests.runtime.boxes import make_root

pytestmark = [pytest.mark.root, pytest.mark.user]


@pytest.fixture(scope="module")
def somebody() -> Iterator[Person]:
    with person(lent=False) as made:
        make_root(made.home / "bundle/rootfs")
        subprocess.run(["chown", "-R", f"{made.uid}:{made.gid}", str(made.home)], check=True)
        yield made


def bundle(somebody: Person, *args: str) -> Path:
    path = somebody.home / "bundle"
    (path / "config.json").unlink(missing_ok=True)
    somebody.nbc("runtime", "spec", "--rootless", "--bundle", path)
    spec = json.loads((path / "config.json").read_text())
    spec["process"].update(terminal=False, args=list(args))
    (path / "config.json").write_text(json.dumps(spec))
    return path


def test_a_rootless_bundle_runs(somebody: Person) -> None:
    path = bundle(somebody, "sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '; echo x >/dev/null; ls /sys | grep -c kernel")
    output = somebody.nbc("runtime", "--root", somebody.home / "records", "run", "--bundle", path, "one")
    assert output == f"0\n 0 {somebody.uid} 1\n1\n"
    assert os.listdir(somebody.home / "records") == []


def test_every_verb_works(somebody: Person) -> None:
    words = ("runtime", "--root", somebody.home / "records")
    path = bundle(somebody, "sleep", "100")
    code = """
import json, subprocess, sys
words = [sys.executable, "-m", "notebook_containers", *sys.argv[1:]]
for more in (["create", "--bundle", sys.argv.pop(), "one"], ["start", "one"]):
    subprocess.run([*words[:-1], *more], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(json.dumps("started"))
"""
    assert somebody.python(code, *words, path) == "started"
    assert json.loads(somebody.nbc(*words, "state", "one"))["status"] == "running"
    assert somebody.nbc(*words, "exec", "one", "id", "-u") == "0\n"
    somebody.nbc(*words, "kill", "one", "KILL")
    somebody.nbc(*words, "delete", "--force", "one")


def test_limits_that_cannot_be_set_are_an_error_only_when_asked(somebody: Person) -> None:
    path = bundle(somebody, "true")
    spec = json.loads((path / "config.json").read_text())
    spec["linux"]["resources"] = {"pids": {"limit": 20}}
    (path / "config.json").write_text(json.dumps(spec))
    done = somebody.run(
        "/usr/bin/python3",
        "-m",
        "notebook_containers",
        "runtime",
        "--root",
        somebody.home / "records",
        "--rootless",
        "true",
        "run",
        "--bundle",
        path,
        "one",
    )
    assert done.returncode == 0
    assert 'level=warning msg="pids limit 20 is not enforced: ' in done.stderr
    assert "not enforced" in somebody.refused(
        "runtime", "--root", somebody.home / "records", "--rootless", "false", "run", "--bundle", path, "one"
    )
