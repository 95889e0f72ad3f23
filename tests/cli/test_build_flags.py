"""``nbc build``: the flags that reach RUN, the labels, and ``--progress``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE

pytestmark = pytest.mark.root

TOLD = """
echo "files $(ulimit -n)"
set -- $(stat -f -c '%b %s' /dev/shm); echo "shm $(($1 * $2))"
echo "host $(sed -n 's/[ \t]db$//p' /etc/hosts)"
echo "memory $(cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max)"
cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max
"""
LIMITS = ["--ulimit", "nofile=77:77", "--shm-size", "1m", "--memory", "64m", "--cpus", "0.5", "--add-host", "db:10.9.8.7"]


def test_limits_and_hosts_reach_run(nbc: Nbc, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nRUN <<'END'{TOLD}END\n")
    done = nbc("build", "--progress", "plain", "--network", "none", *LIMITS, "-t", "limited", str(tmp_path))
    assert done.status == 0, done.err
    said = [line.split(" ", 2)[2] for line in done.err.splitlines() if re.match(r"#2 \d+\.\d\d ", line)]
    assert said[:4] == ["files 77", f"shm {1 << 20}", "host 10.9.8.7", f"memory {64 << 20}"]
    quota, period = map(int, " ".join(said[4:]).split())
    assert quota * 2 == period
    nbc.ok("rmi", "limited")


def test_labels_are_the_images(nbc: Nbc, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=file b=file\n")
    nbc.ok("build", "-q", "--label", "b=given", "--label", "empty", "-t", "labelled", str(tmp_path))
    (document,) = json.loads(nbc.ok("image", "inspect", "labelled"))
    assert document["Config"]["Labels"] == {"a": "file", "b": "given", "empty": ""}
    nbc.ok("rmi", "labelled")


def test_progress_by_word_and_by_the_environment(nbc: Nbc, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    raw = nbc("build", "--progress", "rawjson", str(tmp_path))
    assert [set(json.loads(line)) for line in raw.err.splitlines()] == [{"vertexes"}] * len(raw.err.splitlines())
    assert nbc("build", str(tmp_path), env={"BUILDKIT_PROGRESS": "rawjson"}).err.startswith('{"vertexes":')
    assert nbc("build", "--progress", "quiet", str(tmp_path)).err == ""
    assert nbc("build", str(tmp_path)).err.startswith("#1 [1/2] FROM scratch\n")
    refused = nbc("build", "--progress", "tty", str(tmp_path))
    assert (refused.status, refused.line) == (
        1, "nbc: --progress tty: there is no terminal that can move its cursor; use --progress plain",
    )  # fmt: skip
    assert nbc("build", "--progress", "fancy", str(tmp_path)).status == 125
    nbc.ok("image", "prune", "-f")


@pytest.mark.parametrize("option", ["--iidfile", "--metadata-file"])
@pytest.mark.parametrize(("word", "said"), [("missing/x", "no file can be written there"), (".", "that is a directory")])
def test_a_file_that_cannot_be_written_is_told_before_the_build(nbc: Nbc, tmp_path: Path, option: str, word: str, said: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    done = nbc("build", option, word, "-t", "not-built", str(tmp_path))
    assert done.status == 1
    assert f"{option} {word}: {said}" in done.err
    assert "Traceback" not in done.err
    assert nbc("image", "inspect", "not-built").status == 1


def test_a_cache_that_is_not_there_is_told_and_done_without(nbc: Nbc, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    done = nbc("build", "--cache-from", "type=local,src=nowhere", "-t", "without", str(tmp_path))
    assert done.status == 0, done.err
    assert re.search("the cache .*nowhere is not used: there is no directory", done.err)
    nbc.ok("rmi", "without")


@pytest.mark.parametrize("words", [("--platform", "linux/amd64,linux/arm64"), ("--platform", "linux/amd64", "--platform", "linux/arm64")])
def test_several_platforms_are_refused_and_none_is_dropped(nbc: Nbc, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    for more in ((), ("--check",)):
        done = nbc("build", *words, *more, str(tmp_path))
        assert (done.status, done.line) == (
            1, "nbc: --platform linux/amd64,linux/arm64: a build is for one platform; build once for each of them, with a name of its own",
        )  # fmt: skip


def test_one_platform_may_stand_twice(nbc: Nbc, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    nbc.ok("build", "-q", "--platform", "linux/s390x", "--platform", "linux/s390x", "-t", "foreign", str(tmp_path))
    assert json.loads(nbc.ok("image", "inspect", "foreign"))[0]["Architecture"] == "s390x"
    nbc.ok("rmi", "foreign")
