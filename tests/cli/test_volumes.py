"""Volumes on the command line: options, filters, formats, backup through a pipe, and what is not done without a word of consent."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE

pytestmark = pytest.mark.root


def test_volumes_are_made_listed_and_removed(nbc: Nbc) -> None:
    assert nbc.ok("volume", "create", "--label", "stage=test", "one") == "one"
    assert nbc.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "mem") == "mem"
    assert len(nbc.ok("volume", "create")) == 64
    assert nbc.ok("volume", "ls", "-q", "--filter", "label=stage=test") == "one"
    assert nbc.ok("volume", "ls", "-q", "-f", "name=one", "-f", "dangling=true") == "one"
    assert json.loads(nbc.ok("volume", "ls", "-f", "name=one", "--format", "json"))["Links"] == "0"
    assert nbc.ok("volume", "inspect", "-f", "{{.Options.o}} {{.Scope}}", "mem") == "size=1m local"
    document = json.loads(nbc.ok("inspect", "--type", "volume", "one"))[0]
    assert (document["Labels"], document["UsageData"]["RefCount"]) == ({"stage": "test"}, 0)
    refused = nbc("volume", "prune", "--all")
    assert refused.status != 0
    assert "--force" in refused.err
    assert nbc.ok("volume", "prune").startswith("Deleted Volumes:\n")
    assert nbc.ok("volume", "ls", "-q").split() == ["mem", "one"]
    assert nbc.ok("volume", "rm", "-f", "mem", "gone").split() == ["mem", "gone"]
    assert "one" in nbc.ok("volume", "prune", "-a", "-f")
    wrong = nbc("volume", "create", "-o", "colour=red", "bad")
    assert (wrong.status, wrong.out) == (1, "")
    assert "invalid volume option 'colour'" in wrong.err


def test_a_backup_goes_through_a_file_and_comes_back(nbc: Nbc) -> None:
    nbc.ok("run", "--rm", "--network", "none", "-v", "data:/v", BASE, "sh", "-c", "echo kept > /v/x; chown 5:6 /v/x")
    nbc.ok("volume", "export", "-o", "backup.tar", "data")
    with tarfile.open(nbc.cwd / "backup.tar") as tar:
        assert {member.name.removeprefix("./"): (member.uid, member.gid) for member in tar if member.isfile()} == {"x": (5, 6)}
    assert nbc.ok("volume", "import", "copy", "backup.tar") == "copy"
    assert nbc.ok("run", "--rm", "--network", "none", "-v", "copy:/v:ro", BASE, "sh", "-c", "cat /v/x; stat -c %u:%g /v/x") == "kept\n5:6"
    (nbc.cwd / "none.tar").write_bytes(b"no archive")
    assert nbc("volume", "import", "copy", "none.tar").status != 0
    assert nbc("volume", "import", "copy", "missing.tar").status != 0
    assert nbc("volume", "export", "missing").status == 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("y")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"y\n"))
    (nbc.cwd / "more.tar.gz").write_bytes(buffer.getvalue())
    nbc.ok("volume", "import", "copy", "more.tar.gz")
    mountpoint = nbc.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "copy")
    assert subprocess.run(["ls", mountpoint], check=True, capture_output=True, text=True).stdout.split() == ["x", "y"]
