"""What every cgroup version promises, in the real kernel (on a hybrid machine version 2 has no limits, but all the rest)."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from notebook_containers.linux import cgroups, syscalls
from notebook_containers.linux.cgroups.processes import kill_all
from notebook_containers.linux.cgroups.protocol import Cgroup
from tests.linux.conftest import Groups, unified_beside_v1
from tests.needs import need

pytestmark = pytest.mark.root

NOBODY = 65534
SLEEP = ("sleep", "60")
STUBBORN = (sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)")
# Each process makes the next one and ends: whoever lists the group sees numbers that are gone at once.
RUNNER = (sys.executable, "-c", "import os\nwhile True:\n    if os.fork(): os._exit(0)")


@pytest.fixture(params=["v1", "v2"])
def groups(request: pytest.FixtureRequest, make_groups: Callable[[str], Groups]) -> Groups:
    return make_groups(str(request.param))


@pytest.fixture
def group(groups: Groups) -> Cgroup:
    return groups.create()


def wait_for(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def test_enter_moves_the_process_and_its_children(groups: Groups, group: Cgroup) -> None:
    process = groups.start(group, "sh", "-c", "sleep 60 & sleep 60; true")
    assert wait_for(lambda: len(group.pids()) == 3)
    assert process.pid in group.pids()
    assert os.getpid() not in group.pids()
    seen = Path(f"/proc/{process.pid}/cgroup").read_text()
    assert all(f":/{groups.parent}/one\n" in seen for _ in group.locations())
    assert seen.count(groups.parent) == (1 if groups.version == "v2" else len(group.locations()) - 1)  # cpuset was not asked for


def test_add_moves_another_process(group: Cgroup) -> None:
    with subprocess.Popen(SLEEP) as process:
        group.add(process.pid)
        assert group.pids() == [process.pid]
        process.kill()
    with pytest.raises(OSError, match=r"cgroup\.procs"):
        group.add(process.pid)


def test_kill_leaves_none_and_no_stranger_dies(groups: Groups, group: Cgroup) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        process = groups.start(group, *STUBBORN)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        group.kill()
        assert group.pids() == []
        assert process.wait(5) == -9
        assert stranger.poll() is None
        stranger.kill()


def test_kill_reaches_frozen_processes(groups: Groups, group: Cgroup) -> None:
    process = groups.start(group, *SLEEP)
    group.freeze()
    start = time.monotonic()
    group.kill()
    assert process.wait(5) == -9
    assert time.monotonic() - start < 2


def test_a_kill_that_runs_out_of_descriptors_leaves_nobody_frozen(groups: Groups, group: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others in this process may take the last ones while it stands still; a frozen process of version 1 could not even be killed."""
    process = groups.start(group, *SLEEP)
    taken: list[int] = []

    def none_left(_members: object) -> None:
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        raise OSError(errno.EMFILE, "none is left")

    monkeypatch.setattr("notebook_containers.linux.cgroups.processes.kill_members", none_left)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with pytest.raises(OSError, match="none is left"):
            kill_all(group, timeout_s=5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert not group.frozen()
    process.kill()
    assert process.wait(5) == -9


def test_kill_catches_what_forks_all_the_time(groups: Groups, group: Cgroup) -> None:
    groups.start(group, *RUNNER)
    time.sleep(0.05)
    assert group.pids()
    group.kill()
    time.sleep(0.05)
    assert group.pids() == []


def test_kill_of_nobody(groups: Groups, group: Cgroup) -> None:
    group.kill()
    groups.open("never-made").kill()
    assert group.pids() == []


def test_freeze_and_thaw(groups: Groups, group: Cgroup, tmp_path: Path) -> None:
    path = tmp_path / "ticks"
    loop = "import sys, time\nwhile True:\n    open(sys.argv[1], 'a').write('x'); time.sleep(0.002)"
    groups.start(group, sys.executable, "-c", loop, str(path))
    assert wait_for(lambda: path.exists() and path.stat().st_size > 2)
    group.freeze()
    size = path.stat().st_size
    time.sleep(0.1)
    assert path.stat().st_size == size
    group.thaw()
    group.thaw()
    assert wait_for(lambda: path.stat().st_size > size)


def test_remove_names_who_holds_the_group(groups: Groups, group: Cgroup) -> None:
    process = groups.start(group, *SLEEP)
    with pytest.raises(TimeoutError, match=f"process {process.pid}"):
        group.remove(timeout_s=0.05)
    group.kill()
    group.remove()
    group.remove()
    assert not groups.left()


def test_remove_takes_groups_below(groups: Groups, group: Cgroup) -> None:
    for directory in group.locations().values():
        if os.path.exists(directory):
            os.makedirs(f"{directory}/a/b", exist_ok=True)
            if groups.version == "v1":
                break
    group.remove()
    assert not groups.left()


def test_processes_of_groups_below_count(groups: Groups, group: Cgroup) -> None:
    """A container with its own groups (systemd inside) is killed as a whole."""
    directories = [d for d in group.locations().values() if os.path.exists(d)]
    process = groups.start(group, *SLEEP)
    for directory in directories:
        os.mkdir(f"{directory}/inner")
        Path(f"{directory}/inner/cgroup.procs").write_text(str(process.pid))
    assert group.pids() == [process.pid]
    group.kill()
    assert process.wait(5) == -9
    group.remove()


def test_the_parent_goes_with_the_last_child(groups: Groups) -> None:
    first, second = groups.create("first"), groups.create("second")
    first.remove()
    assert groups.left()
    second.remove()
    assert not groups.left()


def test_groups_come_and_go_at_the_same_time(groups: Groups) -> None:
    """The last one out removes the parent while another one comes in."""
    failures: list[OSError] = []

    def come_and_go(name: str) -> None:
        group = groups.open(name)
        try:
            for _ in range(60):
                group.create()
                assert all(os.path.isdir(d) for n, d in group.locations().items() if n != "cpuset")
                group.remove()
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go, args=(f"g{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not groups.left()


def test_another_process_finds_the_group_by_its_locations(groups: Groups, group: Cgroup) -> None:
    process = groups.start(group, *SLEEP)
    locations = json.loads(json.dumps(group.locations()))
    again = cgroups.restore_cgroup(f"{groups.parent}/one", locations)
    assert again.locations() == locations
    assert again.pids() == [process.pid]
    again.kill()
    assert process.wait(5) == -9
    again.remove()
    assert not groups.left()


def test_create_twice(groups: Groups, group: Cgroup) -> None:
    group.create()
    group.remove()
    assert not groups.left()


def test_stats_have_whole_numbers(groups: Groups, group: Cgroup) -> None:
    groups.start(group, *SLEEP)
    stats = group.stats()
    assert stats["cpu_usage_ns"] >= 0
    assert all(type(value) is int for value in stats.values())
    assert group.oom_kills() == 0
    group.kill()
    group.remove()
    assert group.stats() == {}


def test_clone_into_the_group(make_groups: Callable[[str], Groups]) -> None:
    """clone3(2) with the descriptor: the process is in the group from its first instruction."""
    groups = make_groups("v2")
    group = groups.create()
    descriptor = group.clone_descriptor()
    assert descriptor is not None
    arguments = (ctypes.c_uint64 * 11)(0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, descriptor)
    pid = syscalls.syscall("clone3", arguments, ctypes.sizeof(arguments))
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    os.close(descriptor)
    try:
        assert group.pids() == [pid]
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


DELEGATED = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from notebook_containers.linux import cgroups
group = cgroups.open_cgroup("mine/one")
group.create()
warnings = group.apply({"memory": {"limit": 32 << 20}, "pids": {"limit": 3}})
pid = os.fork()
if pid == 0:
    group.enter()
    time.sleep(60)
while not group.pids():
    pass
found = group.pids() == [pid], group.stats().get("pids_limit")
group.freeze()
group.kill()
os.waitpid(pid, 0)
group.remove()
print(json.dumps([warnings, found, group.locations(), os.geteuid()]))
"""


def test_an_ordinary_user_limits_inside_what_is_delegated(make_groups: Callable[[str], Groups]) -> None:
    """Everything works below a group that root gave away, and nothing outside is asked for."""
    groups = make_groups("v2" if cgroups.detect().version == "v2" else "v1")
    outer, root = groups.create("outer"), str(Path(__file__).resolve().parents[2])
    inside = groups.create("outer/inside") if groups.version == "v2" else outer  # a version 2 group that gives limits holds no process
    reads = subprocess.run(["/usr/bin/python3", "-c", "import sys; open(sys.argv[1])", __file__], user=NOBODY, check=False)
    need(reads.returncode == 0, "tree that another user can read")
    for group in (outer, inside):
        for directory in group.locations().values():
            for path in (directory, *map(str, Path(directory).glob("cgroup.*")), f"{directory}/tasks"):
                if os.path.exists(path):
                    os.chown(path, NOBODY, NOBODY)

    def become() -> None:
        inside.enter()
        os.setresuid(NOBODY, NOBODY, NOBODY)

    command = ["/usr/bin/python3", "-c", DELEGATED, root]
    done = subprocess.run(command, preexec_fn=become, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    warnings, found, locations, user = json.loads(done.stdout)
    assert (warnings, found, user) == ([], [True, 3], NOBODY)
    assert all(f"/{groups.parent}/outer/mine/one" in directory for directory in locations.values())
    assert not any(os.path.exists(f"{directory}/mine") for directory in outer.locations().values())
    if inside is not outer:
        inside.remove()


def test_a_hybrid_machine_uses_version_1() -> None:
    if unified_beside_v1():
        assert "memory" in cgroups.open_cgroup("a/b").locations()
        assert cgroups.open_cgroup("a/b").clone_descriptor() is None
