"""The flags of ``run`` as an ordinary user with one id: what works, and the one line where it cannot."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.user]

NAME = f"nbcfl{os.getpid() % 100000}"
PROJECT = Path(__file__).resolve().parents[2]

CASES: list[tuple[str, dict[str, object], str, str]] = [
    # script, keywords, what it prints, or what the error says
    ("tr '\\0' ' ' < /proc/1/cmdline; readlink /proc/1/exe", {"init": True}, "init 2 /memfd:nbc-init (deleted)", ""),
    ("true", {"user": "1000"}, "", "an ordinary user has one here"),
    ("true", {"group_add": ["5"]}, "", "--group-add 5 is not possible"),
    ("echo x > /dev/n; stat -c %t:%T /dev/n", {"devices": ["/dev/null:/dev/n"]}, "1:3", ""),
    ("true", {"devices": ["/dev/kmsg:w"]}, "", "may not open it"),
    ("true", {"device_cgroup_rules": ["c 1:3 r"]}, "", "--device-cgroup-rule needs root"),
    ("ulimit -Hn", {"ulimits": ["nofile=100:200"]}, "200", ""),
    ("true", {"ulimits": ["nofile=100000000"]}, "", "--ulimit nofile: 100000000 is more than"),
    ("cat /proc/sys/net/core/somaxconn", {"sysctls": {"net.core.somaxconn": "77"}}, "77", ""),
    ("cat /proc/self/oom_score_adj", {"oom_score_adj": 900}, "900", ""),
    ("true", {"oom_score_adj": -900}, "", "--oom-score-adj -900 is below"),
    ("readlink /proc/self/ns/pid", {"pid_mode": "host"}, os.readlink("/proc/self/ns/pid"), ""),
    ("readlink /proc/self/ns/ipc", {"ipc_mode": "host"}, os.readlink("/proc/self/ns/ipc"), ""),
    ("readlink /proc/self/ns/uts", {"uts_mode": "host"}, os.readlink("/proc/self/ns/uts"), ""),
    ("readlink /proc/self/ns/cgroup", {"cgroupns": "host"}, os.readlink("/proc/self/ns/cgroup"), ""),
    ("cat /proc/sys/kernel/domainname", {"domainname": "d"}, "d", ""),
    ("stat -f -c %T /t", {"mounts": ["type=tmpfs,target=/t"]}, "tmpfs", ""),
    ("true", {"volumes": ["/tmp:/x:rshared"]}, "", "rshared needs root"),
    ("true", {"userns_mode": "host"}, "", "--userns host is not possible"),
]  # fmt: skip

PROGRAM = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from notebook_containers import Engine
from notebook_containers.errors import Error
found = []
with Engine(root=sys.argv[2] + "/root", run=sys.argv[2] + "/run") as engine:
    for script, given in json.load(sys.stdin):
        try:
            done = engine.containers.run("localhost/base", ["sh", "-c", script], network="none", remove=True, stderr=True, **given)
            found.append([done.decode().strip(), ""])
        except Error as err:
            found.append(["", err.one_line()])
    web = engine.containers.run("localhost/base", ["sleep", "100"], network="none", ipc_mode="shareable", detach=True, stop_timeout=0)
    links = "for n in user net pid ipc uts; do readlink /proc/self/ns/$n; done; echo x > /dev/shm/both"
    joined = {name: "container:" + web.name for name in ("network", "pid_mode", "ipc_mode", "uts_mode")}
    inside = engine.containers.run("localhost/base", ["sh", "-c", links], remove=True, **joined)
    seen = web.exec_run(["sh", "-c", links + "; cat /dev/shm/both"]).output
    web.remove(force=True)
print(json.dumps({"cases": found, "inside": inside.decode(), "seen": seen.decode()}))
"""


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, object]]:
    """Run every case once, as an ordinary user without lent ids."""
    none_lent = ["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"]
    subprocess.run(["useradd", "--no-create-home", "--home-dir", "/nonexistent", *none_lent, NAME], check=True)
    place = Path(tempfile.mkdtemp(prefix="nbc-flags-", dir="/tmp"))
    try:
        user = pwd.getpwnam(NAME)
        os.chown(place, user.pw_uid, user.pw_gid)
        needed = place / "site"
        spec = importlib.util.find_spec("elftools")
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, needed / "elftools")
        done = subprocess.run(
            ["/usr/bin/python3", "-B", "-c", PROGRAM, json.dumps([str(PROJECT), str(needed)]), str(place)],
            input=json.dumps([case[:2] for case in CASES]),
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            env={"PATH": "/usr/bin:/bin", "HOME": str(place)},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield json.loads(done.stdout)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["userdel", NAME], check=True)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[" ".join(case[1]) + str(i) for i, case in enumerate(CASES)])
def test_a_flag_works_or_says_why_not(answers: dict[str, object], number: int) -> None:
    _script, _given, prints, says = CASES[number]
    cases = answers["cases"]
    assert isinstance(cases, list)
    output, error = cases[number]
    if says:
        assert says in error
        assert "\n" not in error
    else:
        assert (" ".join(output.split()), error) == (prints, "")


def test_namespaces_of_one_other_container_are_joined(answers: dict[str, object]) -> None:
    inside, seen = answers["inside"], answers["seen"]
    assert isinstance(inside, str)
    assert len(inside.split()) == 5
    assert seen == inside + "x\n"
