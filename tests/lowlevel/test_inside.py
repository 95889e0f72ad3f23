"""A container judges itself against its own config.json (``inside.py``): made by us and by runc, and nothing differs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lowlevel.bundles import Change, Low, Spec, listing, section
from tests.lowlevel.test_bundles import change, mount, without_namespace
from tests.needs import need

pytestmark = pytest.mark.root

PYTHON = "/usr/bin/python3"
NAMESPACES = ("pid", "net", "ipc", "uts", "mnt", "cgroup", "user", "time")
CAPS = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_CHECKPOINT_RESTORE"]
Run = Callable[[Path], str]


@pytest.fixture
def tree(low: Low) -> Low:
    """Bundles whose root has the machine's Python and the judge."""
    need(Path(PYTHON).exists(), PYTHON)
    low.rootfs = low.directory / "rootfs"
    for name in ("usr", "proc", "dev", "sys", "tmp", "judge", "scratch", "data"):
        (low.rootfs / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (low.rootfs / name).symlink_to(f"usr/{name}")
    for name in ("data", "judge"):
        (low.directory / name).mkdir()
    (low.directory / "data/sentinel").touch()
    shutil.copy(Path(__file__).with_name("inside.py"), low.directory / "judge")
    for path in (low.directory, *low.directory.parents):  # another user is to come in from a user namespace
        if path.stat().st_mode & 0o001 == 0 and path.is_relative_to(low.directory.parent.parent):
            path.chmod(path.stat().st_mode | 0o011)
    return low


@pytest.fixture(params=["nbc", "runc"])
def run(request: pytest.FixtureRequest, tree: Low) -> Run:
    words = [*tree.words(), "run"] if request.param == "nbc" else [request.param, "--root", str(tree.directory / "theirs"), "run"]

    def ran(bundle: Path) -> str:
        command = [*words, "--bundle", str(bundle), "judged"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=tree.environment,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout

    return ran


def judged(low: Low, *changes: Change) -> Path:
    """Return a bundle whose command judges it."""
    binds = (
        mount("/usr", "bind", "/usr", "rbind", "ro"),
        mount("/judge", "bind", str(low.directory / "judge"), "bind", "ro", "nosuid", "nodev", "noexec", "rprivate"),
    )
    bundle = low.bundle([PYTHON, "-ISB", "/judge/inside.py", "/judge/config.json"], outside, *binds, *changes)
    shutil.copy(bundle / "config.json", low.directory / "judge")
    return bundle


def outside(spec: Spec) -> None:
    """Say what the judge cannot find out, and set what must not be left to a runtime."""
    spec["annotations"] = {f"outside.{name}": os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES}
    section(spec, "process").update(oomScoreAdj=321, env=["PATH=/usr/bin:/bin", "HOME=/", "LC_ALL=C.UTF-8", "EMPTY=", "TWO=a=b"])
    section(spec, "process", "capabilities").pop("ambient")  # which needs the inheritable ones that runc's own example lacks


def filtered(spec: Spec) -> None:
    rules = [
        {"names": ["getpriority", "getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
        {"names": ["sched_getaffinity"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78, "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]},
    ]
    section(spec, "linux")["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}


RESOURCES = {
    "memory": {"limit": 128 << 20, "reservation": 64 << 20},
    "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
    "pids": {"limit": 77},
    "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "major": 7, "minor": 201, "access": "r"}],
}
DEVICES = [
    {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o604, "uid": 1000, "gid": 4},
    {"path": "/dev/sub/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o666, "uid": 0, "gid": 6},
    {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
]
SYSCTL = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "net.ipv4.ping_group_range": "0 100", "fs.mqueue.msg_max": "33"}
RLIMITS = [("NOFILE", 50, 60), ("CORE", 0, 0), ("STACK", 1 << 23, 1 << 24), ("MEMLOCK", 1 << 16, 1 << 16), ("NPROC", 500, 600)]


def test_a_user_with_everything_set(tree: Low, run: Run) -> None:
    caps = {"bounding": [*CAPS, "CAP_KILL"], "permitted": CAPS, "effective": CAPS[:3], "inheritable": CAPS[1:], "ambient": CAPS[1:3]}
    bundle = judged(
        tree,
        change(
            "process",
            user={"uid": 1000, "gid": 1001, "additionalGids": [4, 5, 4242], "umask": 0o27},
            cwd="/tmp",
            capabilities=caps,
            rlimits=[{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, soft, hard in RLIMITS],
        ),
        lambda spec: spec.update(hostname="judged.example"),
        change("linux", sysctl=SYSCTL, devices=DEVICES, resources=RESOURCES),
        filtered,
        mount("/scratch", "tmpfs", "tmpfs", "size=1024k", "mode=0711", "nosuid", "noexec"),
        mount("/data", "bind", str(tree.directory / "data"), "rbind", "ro", "nodev", "noatime", "nodiratime", "rslave"),
        change("linux", namespaces=[{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")]),
    )
    assert run(bundle) == "no difference\n"


def test_root_in_joined_namespaces_with_a_writable_root(tree: Low, run: Run) -> None:
    keeper = subprocess.Popen(["unshare", "--net", "--ipc", "sleep", "100"])
    try:
        while os.readlink(f"/proc/{keeper.pid}/ns/ipc") == os.readlink("/proc/self/ns/ipc"):
            pass
        joined = {kind: f"/proc/{keeper.pid}/ns/{file}" for kind, file in (("network", "net"), ("ipc", "ipc"))}
        bundle = judged(
            tree,
            *(without_namespace(kind, path) for kind, path in joined.items()),
            lambda spec: section(spec, "annotations").update({f"joined.{Path(p).name}": os.readlink(p) for p in joined.values()}),
            change("root", readonly=False),
            change("process", noNewPrivileges=False, capabilities={"bounding": CAPS, "effective": CAPS, "permitted": CAPS}),
            change("linux", rootfsPropagation="private", resources={}),
            mount("/data", "bind", str(tree.directory / "data"), "bind", "nosuid", "private"),
        )
        assert run(bundle) == "no difference\n"
    finally:
        keeper.kill()
        keeper.wait()


def test_root_of_a_user_namespace(tree: Low, run: Run) -> None:
    maps = [{"containerID": 0, "hostID": 300_000, "size": 1000}, {"containerID": 1000, "hostID": 500_000, "size": 10}]
    bundle = judged(
        tree,
        change("linux", uidMappings=maps, gidMappings=maps[:1], resources={"pids": {"limit": 55}, "devices": RESOURCES["devices"]}),
        lambda spec: listing(spec, "linux", "namespaces").extend([{"type": "user"}, {"type": "cgroup"}]),
        filtered,
    )
    assert run(bundle) == "no difference\n"


@pytest.mark.parametrize("run", ["nbc"], indirect=True)
def test_what_debians_runc_does_not_know_yet(tree: Low, run: Run) -> None:
    """A shared root with a private mount in it (runc leaves the root as it found it), a domain name and a time namespace."""
    bundle = judged(
        tree,
        lambda spec: spec.update(hostname="judged", domainname="example.org"),
        change("linux", rootfsPropagation="shared"),
        lambda spec: listing(spec, "linux", "namespaces").append({"type": "time"}),
        mount("/data", "bind", str(tree.directory / "data"), "bind", "private"),
    )
    assert run(bundle) == "no difference\n"


def test_the_judge_sees_a_difference(tree: Low, run: Run) -> None:
    """What is run is not what it is judged by: each difference is told by name."""
    bundle = judged(tree)
    told = json.loads((tree.directory / "judge/config.json").read_text())
    told["hostname"] = "another"
    told["process"]["user"]["gid"] = 7
    told["process"]["capabilities"]["inheritable"] = ["CAP_KILL"]
    told["process"]["rlimits"][0]["soft"] = 1000
    told["linux"]["namespaces"] = told["linux"]["namespaces"][1:]
    told["mounts"].append({"destination": "/missing", "type": "tmpfs", "source": "tmpfs"})
    told["linux"]["maskedPaths"].append("/judge/inside.py")
    told["linux"]["seccomp"] = {"syscalls": [{"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}
    (tree.directory / "judge/config.json").write_text(json.dumps(told))
    said = {line.partition(":")[0] for line in run(bundle).splitlines()}
    assert said == {
        "hostname",
        "gid",
        "capabilities.inheritable",
        "RLIMIT_NOFILE",
        "a pid namespace of its own",
        "mount /missing",
        "masked /judge/inside.py",
        "seccomp mode",
        "seccomp getsid",
    }
