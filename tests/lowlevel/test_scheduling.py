"""CPU policy, I/O priority, execution domain, clocks of its own and binds that show other owners: what the kernel then says of them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.lowlevel.bundles import Change, Low, Spec, listing, section
from tests.lowlevel.test_bundles import change, without_namespace

pytestmark = pytest.mark.root

PRINT_POLICY = "cut -d' ' -f19,40,41 /proc/self/stat"  # nice, real-time priority, policy (proc_pid_stat(5))


def scheduler(**values: object) -> Change:
    return change("process", scheduler=values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"policy": "SCHED_BATCH", "nice": 7}, "7 0 3"),
        ({"policy": "SCHED_IDLE"}, "0 5"),
        ({"policy": "SCHED_OTHER", "nice": -3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, "-3 0 0"),
    ],
)
def test_the_cpu_policy_is_the_kernels(low: Low, values: Spec, expected: str) -> None:
    code, output = low.run(["cut", "-d", " ", "-f19,40,41", "/proc/self/stat"], scheduler(**values))
    assert (code, output[-len(expected) - 1 :]) == (0, f"{expected}\n")  # what is idle keeps the nice value it was born with


def test_a_real_time_policy_is_taken_or_the_kernels_refusal_is_named(low: Low) -> None:
    code, output = low.run(["cut", "-d", " ", "-f40,41", "/proc/self/stat"], scheduler(policy="SCHED_RR", priority=5))
    # a group of a cpu hierarchy of version 1 has no real-time budget of its own until somebody gives it one (CONFIG_RT_GROUP_SCHED)
    assert (code, output) == (0, "5 2\n") or "process.scheduler: sched_setattr: Operation not permitted" in output


def test_a_further_process_is_scheduled_as_the_container_but_where_it_says_otherwise(low: Low) -> None:
    low.create(
        "one", low.bundle(["sleep", "60"], scheduler(policy="SCHED_BATCH", nice=4), change("linux", personality={"domain": "LINUX32"}))
    )
    low.nbc("start", "one")
    assert low.nbc("exec", "one", "sh", "-c", f"{PRINT_POLICY}; uname -m").splitlines()[0] == "4 0 3"
    assert low.nbc("exec", "one", "uname", "-m") == f"{thirty_two_bits()}\n"
    own = low.directory / "process.json"
    own.write_text(
        json.dumps({"args": ["sh", "-c", PRINT_POLICY], "cwd": "/", "env": ["PATH=/bin"], "scheduler": {"policy": "SCHED_IDLE"}})
    )
    assert low.nbc("exec", "--process", str(own), "one")[-5:] == " 0 5\n"


@pytest.mark.parametrize(("class_", "priority", "expected"), [("IOPRIO_CLASS_BE", 6, 2 << 13 | 6), ("IOPRIO_CLASS_IDLE", 0, 3 << 13)])
def test_the_io_priority_is_the_kernels(low: Low, class_: str, priority: int, expected: int) -> None:
    low.create("one", low.bundle(["sleep", "60"], change("process", ioPriority={"class": class_, "priority": priority})))
    low.nbc("start", "one")
    assert io_priority(int(str(low.state("one")["pid"]))) == expected


def io_priority(pid: int) -> int:
    import ctypes

    number = {"x86_64": 252, "aarch64": 31}[os.uname().machine]
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(number), ctypes.c_long(1), ctypes.c_long(pid)))


def thirty_two_bits() -> str:
    """Return what uname(2) says of the machine in the execution domain of 32 bits."""
    command = ["setarch", "linux32", "uname", "-m"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_execution_domain_is_taken(low: Low) -> None:
    assert low.run(["uname", "-m"], change("linux", personality={"domain": "LINUX32"})) == (0, f"{thirty_two_bits()}\n")
    assert low.run(["uname", "-m"], change("linux", personality={"domain": "LINUX"})) == (0, f"{os.uname().machine}\n")


@pytest.mark.parametrize("kind", ["plain", "user namespace"])
def test_clocks_of_its_own(low: Low, kind: str) -> None:
    day = 86_400
    offsets = {"boottime": {"secs": 1000 * day}, "monotonic": {"secs": -1, "nanosecs": 5}}
    changes = [change("linux", timeOffsets=offsets), lambda spec: listing(spec, "linux", "namespaces").append({"type": "time"})]
    if kind != "plain":
        changes.append(in_a_user_namespace(low))
    low.create("one", low.bundle(["sleep", "60"], *changes))
    low.nbc("start", "one")
    pid = low.state("one")["pid"]
    lines = [line.split() for line in Path(f"/proc/{pid}/timens_offsets").read_text().splitlines()]
    assert lines == [["monotonic", "-1", "5"], ["boottime", str(1000 * day), "0"]]
    inside = float(low.nbc("exec", "one", "cat", "/proc/uptime").split()[0])
    outside = float(Path("/proc/uptime").read_text().split()[0])
    assert 999 * day < inside - outside < 1001 * day
    assert os.readlink(f"/proc/{pid}/ns/time") != os.readlink("/proc/self/ns/time")
    assert os.readlink(f"/proc/{pid}/ns/time") == os.readlink(f"/proc/{pid}/ns/time_for_children")


def in_a_user_namespace(low: Low) -> Change:
    for above in (low.rootfs, *low.rootfs.parents, low.directory, *low.directory.parents):
        if above.stat().st_mode & 0o711 != 0o711:  # root of the container is nobody here, and must reach its files
            above.chmod(0o711)

    def change(spec: Spec) -> None:
        listing(spec, "linux", "namespaces").append({"type": "user"})
        line = {"containerID": 0, "hostID": 200_000, "size": 65_536}
        section(spec, "linux").update(uidMappings=[line], gidMappings=[line])

    return change


def owned(directory: Path, uid: int) -> Path:
    """Return a directory of user 1000 with a file of ``uid``, on a file system that knows idmapped mounts."""
    directory.mkdir(mode=0o755)
    os.chown(directory, 1000, 1000)
    (directory / "file").write_text("words")
    os.chown(directory / "file", uid, uid)
    return directory


def bind(source: Path, *words: str, maps: tuple[int, int] | None = None) -> Change:
    line = [] if maps is None else [{"containerID": maps[0], "hostID": maps[1], "size": 10}]
    entry: Spec = {"destination": "/shown", "type": "bind", "source": str(source), "options": ["bind", *words]}
    if line:
        entry.update(uidMappings=line, gidMappings=line)
    return lambda spec: listing(spec, "mounts").append(entry)


@pytest.mark.parametrize("words", [("idmap",), ("rbind", "ridmap"), ()])
def test_a_bind_shows_other_owners(low: Low, words: tuple[str, ...]) -> None:
    source = owned(low.directory / "owned", 1003)
    script = "stat -c '%u %g' /shown/file; echo made >/shown/new"
    user = change("process", user={"uid": 5000, "gid": 5004})
    assert low.sh(script, bind(source, *words, maps=(1000, 5000)), user) == (0, "5003 5003\n")
    made = (source / "new").stat()
    assert (made.st_uid, made.st_gid, (source / "file").stat().st_uid) == (1000, 1004, 1003)


def test_a_bind_takes_the_containers_ids(low: Low) -> None:
    source, mapped = owned(low.directory / "owned", 7), in_a_user_namespace(low)
    assert low.sh("stat -c '%u %g' /shown/file", bind(source), mapped) == (0, "65534 65534\n")
    assert low.sh("stat -c '%u %g' /shown/file", bind(source, "idmap"), mapped) == (0, "7 7\n")
    shown = low.sh("stat -c '%u %g' /shown/file", bind(source, maps=(0, 200_100)), mapped)
    assert shown == (0, "107 107\n")


def test_a_file_system_that_cannot_show_other_owners_is_named(low: Low) -> None:
    code, output = low.sh("true", bind(Path("/proc/sys"), "idmap", maps=(0, 5000)))
    assert code == 1
    assert "the mount on /shown cannot show other ids (idmap): mount_setattr: Invalid argument" in output


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        (("process",), {"scheduler": {"policy": "SCHED_MOON"}}, "process.scheduler.policy 'SCHED_MOON' does not exist"),
        (("process",), {"scheduler": {"nice": 3}}, "process.scheduler.policy '' does not exist"),
        (("process",), {"scheduler": {"policy": "SCHED_ISO"}}, "no Linux kernel has it"),
        (("process",), {"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, "process.scheduler.nice is 20, it must be from -20 to 19"),
        (("process",), {"scheduler": {"policy": "SCHED_OTHER", "priority": 2}}, "is for SCHED_FIFO and SCHED_RR, not for SCHED_OTHER"),
        (("process",), {"scheduler": {"policy": "SCHED_RR", "period": 2}}, "process.scheduler.period is for SCHED_DEADLINE"),
        (("process",), {"scheduler": {"policy": "SCHED_RR", "flags": ["X"]}}, "process.scheduler.flags 'X' does not exist"),
        (("process",), {"ioPriority": {"class": "IOPRIO_CLASS_X"}}, "process.ioPriority.class 'IOPRIO_CLASS_X' does not exist"),
        (("process",), {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}, "process.ioPriority.priority is 8"),
        (("process",), {"execCPUAffinity": {"initial": "0"}}, "process.execCPUAffinity is not supported"),
        (("linux",), {"personality": {"domain": "BSD"}}, "linux.personality.domain 'BSD' does not exist"),
        (("linux",), {"personality": {"domain": "LINUX", "flags": ["X"]}}, "linux.personality.flags is not supported"),
        (("linux",), {"timeOffsets": {"boottime": {"secs": 9}}}, "no new time namespace"),
        (("linux",), {"timeOffsets": {"realtime": {"secs": 9}}}, "linux.timeOffsets.realtime does not exist"),
        (("linux",), {"timeOffsets": {"boottime": {"nanosecs": -1}}}, "linux.timeOffsets.boottime.nanosecs must be from 0 to 999999999"),
        (("linux",), {"memoryPolicy": {"mode": "MPOL_BIND"}}, "linux.memoryPolicy is not supported"),
        (("linux",), {"netDevices": {"eth9": {}}}, "linux.netDevices is not supported"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(low: Low, path: tuple[str, ...], values: Spec, said: str) -> None:
    code, output = low.sh("true", change(*path, **values))
    assert code == 1
    assert said in output


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "bind", "source": "/usr", "options": ["bind", "idmap"]}, "but there is no user namespace"),
        ({"type": "tmpfs", "source": "x", "options": ["idmap"]}, "which only binds can have"),
        ({"type": "bind", "source": "/usr", "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}, "has uidMappings only"),
    ],
)
def test_a_bind_that_cannot_show_other_owners_is_refused(low: Low, entry: Spec, said: str) -> None:
    code, output = low.sh("true", lambda spec: listing(spec, "mounts").append({"destination": "/shown", **entry}))
    assert code == 1
    assert said in output


def test_the_features_say_what_is_done(low: Low) -> None:
    found = json.loads(low.nbc("features"))
    assert found["linux"]["mountExtensions"]["idmap"]["enabled"] is True
    assert {"idmap", "ridmap"} <= set(found["mountOptions"])
    assert "time" in found["linux"]["namespaces"]
    assert low.sh("true", without_namespace("cgroup"))[0] == 0
