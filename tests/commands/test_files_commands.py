"""cp, export, commit, import, save, load, stats, update, top, df on the command line, against the real engine."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.commands.files import split
from notebook_containers.commands.formatting import binary_size
from notebook_containers.errors import InvalidArgument
from tests.home import BASE, Home

Nbc = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def nbc(home: Home, no_leaks: None, tree_environment: dict[str, str]) -> Nbc:
    def run(*words: str, input: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:  # noqa: A002
        command = [sys.executable, "-m", "notebook_containers", *words]
        done = subprocess.run(
            command, input=input, capture_output=True, env={**tree_environment, **home.variables()}, timeout=60, check=False
        )
        assert done.returncode == 0 or not check, done.stderr.decode()
        return done

    return run


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("web:/a", ("web", "/a")),
        ("./a:b", ("", "./a:b")),
        ("/a:b", ("", "/a:b")),
        ("file", ("", "file")),
        ("-", ("", "-")),
        ("c:a:b", ("c", "a:b")),
    ],
)
def test_a_containers_path_is_told_from_a_local_one(word: str, expected: tuple[str, str]) -> None:
    assert split(word) == expected


def test_half_a_path_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="CONTAINER:PATH"):
        split("web:")


def test_memory_is_shown_in_dockers_units() -> None:
    assert [binary_size(n) for n in (0, 1023, 1536, 2087321600)] == ["0B", "1023B", "1.5KiB", "1.944GiB"]


@pytest.mark.root
def test_the_files_journey(nbc: Nbc, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note").write_text("hello")
    nbc("run", "-d", "--name", "box", "--network", "none", "-m", "64m", BASE, "sleep", "1000")
    try:
        assert b"Successfully copied" in nbc("cp", f"{tmp_path}/in", "box:/tmp/out").stderr
        assert nbc("exec", "box", "cat", "/tmp/out/note").stdout == b"hello"
        stream = nbc("cp", "box:/tmp/out", "-").stdout
        assert tarfile.open(fileobj=io.BytesIO(stream)).getnames() == ["out", "out/note"]
        nbc("exec", "box", "mkdir", "/tmp/second")
        nbc("cp", "-", "box:/tmp/second", input=stream)
        nbc("cp", "box:/tmp/second/out/note", str(tmp_path / "back"))
        assert (tmp_path / "back").read_text() == "hello"
        failed = nbc("cp", "box:/nowhere", str(tmp_path), check=False)
        assert failed.returncode == 1 or failed.returncode == 125
        assert b"there is no /nowhere" in failed.stderr
        assert b"one of source and destination" in nbc("cp", "a", "b", check=False).stderr

        nbc("export", "-o", str(tmp_path / "all.tar"), "box")
        nbc("import", "-c", "CMD cat /tmp/out/note", str(tmp_path / "all.tar"), "flat:1")
        assert nbc("run", "--rm", "--network", "none", "flat:1").stdout == b"hello"
        nbc("commit", "-m", "said", "-a", "Ada", "-c", "CMD cat /tmp/out/note", "--no-pause", "box", "mine:1")
        nbc("save", "-o", str(tmp_path / "saved.tar"), "mine:1")
        nbc("rmi", "mine:1", "flat:1")
        assert nbc("load", "-i", str(tmp_path / "saved.tar")).stdout == b"Loaded image: mine:1\n"
        assert nbc("run", "--rm", "--network", "none", "mine:1").stdout == b"hello"

        table = nbc("stats", "--no-stream").stdout.decode().splitlines()
        headings = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
        assert re.split(r" {3,}", table[0]) == headings
        assert "/ 64MiB" in table[1]
        assert nbc("update", "-m", "128m", "--restart", "on-failure:3", "box").stdout == b"box\n"
        assert nbc("stats", "--no-stream", "--format", "{{.MemUsage}}", "box").stdout.rstrip().endswith(b"/ 128MiB")
        assert b"nothing to change" in nbc("update", "box", check=False).stderr
        assert nbc("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "box").stdout == b"on-failure\n"
        assert nbc("top", "box", "-o", "pid,args").stdout.splitlines()[0].split() == [b"PID", b"COMMAND"]
        assert nbc("system", "df").stdout.decode().splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
        assert b"Total reclaimed space: 0B" in nbc("container", "prune", "-f", "--filter", "label=never").stdout
    finally:
        nbc("rm", "-f", "box", check=False)
        nbc("rmi", "-f", "mine:1", "flat:1", check=False)
