"""Images and archives that move, on a terminal and in a pipe: bars, lines that follow, nothing with ``-q``."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import tarfile
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE
from tests.registry.conftest import scripted  # noqa: F401 - a fixture
from tests.registry.images import serve_layers
from tests.registry.scripted import Scripted

pytestmark = pytest.mark.root


@pytest.fixture
def slow(nbc: Nbc, scripted: Callable[..., Scripted]) -> Iterator[str]:  # noqa: F811
    name = serve_layers(scripted(), os.urandom(400_000), os.urandom(900_000), bytes_per_s=500_000)
    yield name
    nbc("container", "prune", "-f")
    nbc("rmi", name)
    nbc("image", "prune", "-f")


def on_a_terminal(nbc: Nbc, *words: str, columns: int = 100) -> tuple[int, str, str]:
    """Run with standard error on a terminal; returns the status, standard output, and what the terminal got."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    process = subprocess.Popen(
        nbc.command(*words), stdout=subprocess.PIPE, stderr=slave, stdin=subprocess.DEVNULL, text=True, cwd=nbc.cwd,
        env={**nbc.environment, "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    got = b""
    try:
        while data := os.read(master, 65536):
            got += data
    except OSError:
        pass  # the process has ended
    out, _ = process.communicate(timeout=30)
    os.close(master)
    return process.returncode, out, got.decode()


def test_a_pull_on_a_terminal_moves_its_bars(nbc: Nbc, slow: str) -> None:
    status, out, shown = on_a_terminal(nbc, "pull", slow)
    assert status == 0
    assert out.splitlines()[1] == f"Status: Downloaded newer image for {slow}"
    assert shown.count(f"Pulling {slow}") > 4
    assert re.search(r"  downloading  \[=+> +\]  \d+ kB of 911 kB +\d+ kB/s", shown)
    last = shown[shown.rindex("\x1b[2A" if "\x1b[2A" in shown else "\x1b[3A") :]
    assert last.count("  done         [========================]") == 2
    assert f"Pulled {slow} in " in last
    assert "2 layers, 1.32 MB" in last
    assert all(len(line) < 100 for line in re.split(r"\x1b\[\w+|[\r\n]+", shown))


def test_a_pull_in_a_pipe_is_lines(nbc: Nbc, slow: str) -> None:
    done = nbc("pull", slow)
    assert done.status == 0
    assert "\x1b" not in done.err
    assert "\r" not in done.err
    first, *layers, last = done.err.splitlines()
    assert first == f"Pulling {slow} (linux/amd64)"
    assert sorted(line.split(": ")[1].split()[0] for line in layers) == ["done", "done", "downloading", "downloading"]
    assert last.startswith(f"Pulled {slow} in ")
    again = nbc("pull", slow)
    assert again.err.splitlines()[-1] == f"{slow} is up to date: 2 layers"
    assert [line.split(": ")[1].split()[0] for line in again.err.splitlines()[1:-1]] == ["exists", "exists"]


def test_run_shows_the_pull_that_it_needs(nbc: Nbc, slow: str) -> None:
    done = nbc("create", "--name", "pulled", slow, "/file0")
    assert done.status == 0
    assert len(done.out.strip()) == 64
    assert done.err.splitlines()[0] == f"Pulling {slow} (linux/amd64)"
    assert done.err.splitlines()[-1].startswith(f"Pulled {slow} in ")
    assert nbc("create", slow, "/file0").err == ""
    assert nbc("create", "-q", "--pull", "always", slow, "/file0").err == ""
    status, _out, shown = on_a_terminal(nbc, "create", "--pull", "always", slow, "/file0")
    assert status == 0
    assert f"{slow} is up to date: 2 layers" in shown


def test_quiet_shows_nothing(nbc: Nbc, slow: str) -> None:
    assert nbc("pull", "-q", slow).err == ""
    assert nbc("save", "-q", "-o", "a.tar", slow).err == ""
    assert nbc("load", "-q", "-i", "a.tar").err == ""
    assert nbc("import", "-q", "a.tar", "quiet:1").err == ""
    nbc.ok("rmi", "quiet:1")


def test_a_failure_is_one_line_also_on_a_terminal(nbc: Nbc) -> None:
    status, out, shown = on_a_terminal(nbc, "pull", "127.0.0.1:1/a")
    assert (status, out) == (1, "")
    assert "nbc: cannot reach registry 127.0.0.1:1" in shown
    (nbc.cwd / "bad.tar").write_bytes(b"no tar at all" * 100)
    done = nbc("load", "-i", "bad.tar")
    assert done.status == 1
    assert done.line.startswith("nbc: ")
    done = nbc("import", "bad.tar", "x:1")
    assert done.status == 1
    assert done.line.startswith("nbc: ")


def test_save_load_and_import_tell_how_far_they_are(nbc: Nbc) -> None:
    nbc.ok("tag", BASE, "progress:1")
    done = nbc("save", "-o", "a.tar", "progress:1")
    assert done.status == 0, done
    first, writing, layer, last = done.err.splitlines()
    assert first == "Saving progress:1"
    assert re.fullmatch(r"[0-9a-f]{12}: writing [\d.]+ MB", writing)
    assert re.fullmatch(r"[0-9a-f]{12}: done [\d.]+ MB in [\d.]+s", layer)
    assert last.startswith("Saved progress:1 in ")
    nbc.ok("rmi", "progress:1")
    done = nbc("load", "-i", "a.tar")
    assert "Loaded image: progress:1" in done.out.splitlines()
    assert done.err.splitlines()[-1].startswith(("Loaded progress:1 in ", "progress:1 is up to date: "))
    status, out, shown = on_a_terminal(nbc, "load", "-i", "a.tar")
    assert status == 0
    assert "Loaded image: progress:1" in out.splitlines()
    assert re.search(r"a\.tar +done", shown)
    status, out, shown = on_a_terminal(nbc, "import", "a.tar", "progress:2", columns=60)
    assert status == 0
    assert "Imported progress:2 in " in shown
    nbc.ok("rmi", "progress:1", "progress:2")


def test_an_archive_in_a_pipe_stays_clean(nbc: Nbc) -> None:
    """Progress never mixes with the archive on standard output."""
    with (nbc.cwd / "out.tar").open("wb") as file:
        done = subprocess.run(nbc.command("save", BASE), stdout=file, stderr=subprocess.PIPE, env=nbc.environment, check=True)
    assert done.stderr.startswith(b"Saving localhost/base")
    with tarfile.open(Path(nbc.cwd / "out.tar")) as tar:
        assert "manifest.json" in tar.getnames()


def test_a_build_fetches_the_image_that_it_needs_and_shows_it(nbc: Nbc, slow: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {slow}\nLABEL a=b\n")
    status, out, shown = on_a_terminal(nbc, "build", "-t", "fetched", str(tmp_path))
    assert (status, out.startswith("sha256:")) == (0, True), shown
    assert re.search(rf"=> fetching {re.escape(slow)} [0-9a-f]{{12}} \d+ kB of 911 kB", shown)
    again = nbc("build", "--progress", "plain", "-t", "fetched", str(tmp_path))
    assert "#0 " not in again.err, "it is here now"
    nbc("rmi", "fetched")
    nbc("rmi", slow)
    told = nbc("build", "--progress", "plain", "-t", "fetched", str(tmp_path))
    assert re.search(rf"#0 fetched {re.escape(slow)} [0-9a-f]{{12}} 911 kB\n", told.err)
    pulled = nbc("build", "--pull", "-q", "-t", "fetched", str(tmp_path))
    assert (pulled.out.strip(), pulled.err) == (told.out.strip(), "")
    nbc("rmi", "fetched")


def test_a_build_whose_image_is_nowhere_says_why(nbc: Nbc, scripted: Callable[..., Scripted], tmp_path: Path) -> None:  # noqa: F811
    name = f"{scripted().host}/none:1"
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\n")
    done = nbc("build", str(tmp_path))
    assert done.status == 1
    last = done.err.splitlines()[-1]
    assert last.startswith(f"nbc: no image {name!r}, and it cannot be fetched: ")
    assert done.err.count("cannot be fetched") == 2, "at its step, and at the end"


def test_a_commit_and_an_export_are_shown(nbc: Nbc, tmp_path: Path) -> None:
    box = nbc.ok("create", "--network", "none", BASE, "true")
    (tmp_path / "big").write_bytes(os.urandom(400_000))
    nbc.ok("cp", str(tmp_path / "big"), f"{box}:/big")
    done = nbc("commit", box, "shown")
    assert done.out.startswith("sha256:")
    assert re.fullmatch(r"Committed shown in [^\n]+\n", done.err), done.err
    status, _, shown = on_a_terminal(nbc, "commit", box, "shown")
    assert (status, "Committed shown in " in shown) == (0, True)
    done = nbc("export", "-o", str(tmp_path / "box.tar"), box)
    assert re.fullmatch(rf"Exported {box} in [^\n]+\n", done.err), done.err
    nbc.ok("rm", box)
    nbc.ok("rmi", "shown")
