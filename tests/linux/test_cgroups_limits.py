"""Limits that bite, in the real kernel, on whichever version has the controllers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.linux import cgroups
from notebook_containers.linux.cgroups import files, parent
from notebook_containers.linux.cgroups.protocol import Cgroup
from tests.linux.conftest import Groups
from tests.needs import need

pytestmark = pytest.mark.root

MIB = 1 << 20
EAT = (sys.executable, "-c", "import sys; data = bytearray(int(sys.argv[1]) << 20); print('ate it', flush=True)")
FORK = """
import os, time
count = 0
try:
    while True:
        if not os.fork():
            time.sleep(60)
        count += 1
except OSError as error:
    print(error.errno, count, flush=True)
"""


@pytest.fixture
def groups(make_groups: Callable[[str], Groups]) -> Groups:
    return make_groups("v2" if cgroups.detect().version == "v2" else "v1")


@pytest.fixture
def group(groups: Groups) -> Cgroup:
    return groups.create()


def limits_v1(group: Cgroup) -> tuple[int | None, int | None]:
    """Return the limits of memory, and of memory with swap."""
    directory = group.locations()["memory"]
    return tuple(files.read_integer(f"{directory}/memory.{name}limit_in_bytes") for name in ("", "memsw."))  # type: ignore[return-value]


def test_memory_limit_kills_and_is_counted(groups: Groups, group: Cgroup) -> None:
    assert group.apply({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}) == []
    small = groups.start(group, *EAT, "16")
    assert small.communicate(timeout=20)[0] == "ate it\n"
    assert group.oom_kills() == 0
    large = groups.start(group, *EAT, "256")
    assert large.wait(20) == -9
    assert group.oom_kills() == 1
    stats = group.stats()
    assert stats["memory_limit_bytes"] == 64 * MIB
    assert 32 * MIB < stats["memory_peak_bytes"] <= 64 * MIB
    assert stats["memory_usage_bytes"] < 64 * MIB


def test_oom_kill_in_a_group_below_is_counted(make_groups: Callable[[str], Groups]) -> None:
    """Version 2 counts groups below by itself."""
    groups = make_groups("v1")
    group = groups.create()
    group.apply({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}})
    inner = f"{group.locations()['memory']}/inner"
    os.mkdir(inner)
    move = f"open('{inner}/cgroup.procs', 'w').write('0'); bytearray(256 << 20)"
    assert groups.start(group, sys.executable, "-c", move).wait(20) == -9
    assert group.oom_kills() == 1


def test_pids_limit(groups: Groups, group: Cgroup) -> None:
    assert group.apply({"pids": {"limit": 5}}) == []
    process = groups.start(group, sys.executable, "-c", FORK)
    assert process.stdout is not None
    assert process.stdout.readline() == "11 4\n"
    assert group.stats()["pids_limit"] == 5
    assert group.stats()["pids_current"] == 5
    group.apply({"pids": {"limit": 0}})
    assert "pids_limit" not in group.stats()


def test_cpu_quota(groups: Groups, group: Cgroup) -> None:
    """A fifth of one processor, measured over half a second."""
    assert group.apply({"cpu": {"quota": 10_000, "period": 50_000}}) == []
    groups.start(group, sys.executable, "-c", "while True: pass")
    deadline = time.monotonic() + 20
    while not group.stats()["cpu_throttled_periods"]:
        assert time.monotonic() < deadline, "never held back"
        time.sleep(0.05)
    before, start = group.stats()["cpu_usage_ns"], time.monotonic_ns()
    time.sleep(0.5)
    stats = group.stats()
    assert 0 < (stats["cpu_usage_ns"] - before) / (time.monotonic_ns() - start) < 0.3
    assert stats["cpu_throttled_ns"] > 0


def test_cpu_set_also_for_who_is_there_already(groups: Groups, group: Cgroup) -> None:
    early = groups.start(group, "sleep", "60")
    need(not cgroups.detect().usable()["cpuset"], "cpuset controller")
    last = max(os.sched_getaffinity(0))
    assert group.apply({"cpu": {"cpus": str(last), "mems": "0"}}) == []
    late = groups.start(group, "sleep", "60")
    assert os.sched_getaffinity(early.pid) == {last}
    assert os.sched_getaffinity(late.pid) == {last}


def test_cpu_set_of_a_group_that_another_process_made(groups: Groups, group: Cgroup) -> None:
    """An update: cpuset was not asked for when the container was made, and is not in its group yet."""
    process = groups.start(group, "sleep", "60")
    need(not cgroups.detect().usable()["cpuset"], "cpuset controller")
    again = cgroups.restore_cgroup(f"{groups.parent}/one", group.locations())
    last = max(os.sched_getaffinity(0))
    assert again.apply({"cpu": {"cpus": str(last)}}) == []
    assert os.sched_getaffinity(process.pid) == {last}


def test_devices_deny_all_but(groups: Groups, group: Cgroup) -> None:
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    assert group.apply({"devices": rules}) == []
    script = "for name in null zero; do head -c0 /dev/$name && echo $name; done; mknod x c 1 3 || echo refused"
    assert groups.start(group, "sh", "-c", script).communicate(timeout=20)[0].split() == ["null", "refused"]
    if groups.version == "v1":
        assert Path(group.locations()["devices"], "devices.list").read_text() == "c 1:3 rw\n"


def test_rt18_an_update_of_other_limits_leaves_the_devices(groups: Groups, group: Cgroup) -> None:
    group.apply({"devices": [{"allow": False, "access": "rwm"}]})
    group.apply({"pids": {"limit": 7}})
    assert groups.start(group, "sh", "-c", "head -c0 /dev/zero || echo refused").communicate(timeout=20)[0] == "refused\n"


def disk_of(path: Path) -> tuple[int, int]:
    """Return the number of the whole disk that a file lies on: throttles are for those only."""
    number = path.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    need(device.exists(), "temporary directory on a disk")
    whole = device.resolve().parent if (device / "partition").exists() else device
    major, minor = files.read(f"{whole}/dev").split(":")
    return int(major), int(minor)


READ_DISK = """
import mmap, os, sys, time
disk, buffer = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
start = time.monotonic()
for _ in range(int(sys.argv[2])):
    os.readv(disk, [buffer])
print(time.monotonic() - start)
"""


def test_a_throttled_disk_is_slow(groups: Groups, group: Cgroup, tmp_path: Path) -> None:
    """8 MiB at 4 MiB a second, past the page cache."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(8 * MIB))
    major, minor = disk_of(file)
    os.sync()
    assert group.apply({"blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 4 * MIB}]}}) == []
    output, errors = groups.start(group, sys.executable, "-c", READ_DISK, str(file), "8").communicate(timeout=60)
    assert float(output or "0") > 1.2, errors
    assert group.stats()["io_read_bytes"] >= 8 * MIB


def test_block_io_throttles_are_in_force_and_go(groups: Groups, group: Cgroup, tmp_path: Path) -> None:
    major, minor = disk_of(tmp_path)
    device = {"major": major, "minor": minor}
    asked = {"throttleReadBpsDevice": [{**device, "rate": 4 * MIB}], "throttleWriteIOPSDevice": [{**device, "rate": 100}]}
    assert group.apply({"blockIO": asked}) == []
    if groups.version == "v2":
        assert files.read(f"{group.locations()['unified']}/io.max") == f"{major}:{minor} rbps={4 * MIB} wbps=max riops=max wiops=100"
    else:
        assert files.read(f"{group.locations()['blkio']}/blkio.throttle.read_bps_device") == f"{major}:{minor} {4 * MIB}"
        assert files.read(f"{group.locations()['blkio']}/blkio.throttle.write_iops_device") == f"{major}:{minor} 100"
    group.apply({"blockIO": {name: [{**device, "rate": 0}] for name in asked}})
    gone = "io.max" if groups.version == "v2" else "blkio.throttle.read_bps_device"
    assert files.read(f"{group.locations()['unified' if groups.version == 'v2' else 'blkio']}/{gone}") == ""


def test_block_io_weight(groups: Groups, group: Cgroup) -> None:
    warnings = group.apply({"blockIO": {"weight": 500}})
    assert warnings in ([], ["the block io weight has no effect: no disk of this machine uses the bfq scheduler or the io.cost model"])
    where = group.locations()["unified" if groups.version == "v2" else "blkio"]
    present = [text for name in ("blkio.bfq.weight", "io.bfq.weight", "io.weight") if (text := files.read_or(f"{where}/{name}"))]
    assert set(present) <= {"500", "default 500", "default 4950"}
    assert present or warnings


def test_swappiness_and_the_out_of_memory_killer(groups: Groups, group: Cgroup) -> None:
    warnings = group.apply({"memory": {"limit": 64 * MIB, "swappiness": 7, "disableOOMKiller": True}})
    if groups.version == "v2":
        assert len(warnings) == 2
        return
    directory = group.locations()["memory"]
    assert files.read_integer(f"{directory}/memory.swappiness") == 7
    assert files.read_table(f"{directory}/memory.oom_control")["oom_kill_disable"] == 1
    group.apply({"memory": {"disableOOMKiller": False}})
    assert files.read_table(f"{directory}/memory.oom_control")["oom_kill_disable"] == 0


def test_huge_pages_and_other_files_of_version_2(groups: Groups, group: Cgroup) -> None:
    asked: dict[str, object] = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}], "unified": {"memory.high": str(32 * MIB)}}
    warnings = group.apply(asked)
    if groups.version == "v1":
        assert warnings == [f"the limit {name!r} is not enforced: it is supported on cgroup v2 only" for name in asked]
        return
    assert warnings == []
    assert files.read_integer(f"{group.locations()['unified']}/memory.high") == 32 * MIB
    assert files.read_integer(f"{group.locations()['unified']}/hugetlb.2MB.max") == 4 * MIB


def test_memory_limits_up_and_down_in_any_order(make_groups: Callable[[str], Groups]) -> None:
    """Version 1 refuses a limit above that of memory with swap at any moment, so the order of the two writes matters."""
    group = make_groups("v1").create()
    for limit, swap in ((64, 64), (128, 256), (32, 32), (32, 512), (256, 256), (256, -1), (64, 128), (16, 16)):
        assert group.apply({"memory": {"limit": limit * MIB, "swap": swap * MIB if swap > 0 else -1}}) == []
        memory, both = limits_v1(group)
        assert memory == limit * MIB
        assert both == swap * MIB if swap > 0 else both and both > 1 << 60
    group.apply({"memory": {"limit": 300 * MIB}})  # more than before with swap: both grow
    assert limits_v1(group) == (300 * MIB, 300 * MIB)
    group.apply({"memory": {"limit": -1}})
    assert all(limit and limit > 1 << 60 for limit in limits_v1(group))
    assert "memory_limit_bytes" not in group.stats()


def test_reservation_and_shares(groups: Groups, group: Cgroup) -> None:
    assert group.apply({"memory": {"reservation": 32 * MIB}, "cpu": {"shares": 2048}}) == []
    where = group.locations()
    if groups.version == "v1":
        assert files.read_integer(f"{where['memory']}/memory.soft_limit_in_bytes") == 32 * MIB
        assert files.read_integer(f"{where['cpu']}/cpu.shares") == 2048
    else:
        assert files.read_integer(f"{where['unified']}/memory.low") == 32 * MIB
        assert files.read_integer(f"{where['unified']}/cpu.weight") == 174


def test_quota_and_period_inside_a_smaller_parent(groups: Groups, group: Cgroup) -> None:
    """Whichever of the two must go first."""
    group.apply({"cpu": {"quota": 100_000, "period": 100_000}})
    inner = groups.create("one/inner")
    for quota, period in ((50_000, 100_000), (10_000, 10_000), (90_000, 100_000), (1_000, 1_000)):
        assert inner.apply({"cpu": {"quota": quota, "period": period}}) == []
    inner.apply({"cpu": {"period": 2_000}})
    inner.remove()


@pytest.mark.parametrize(
    ("resources", "file"),
    [
        ({"cpu": {"cpus": "4000"}}, "cpuset.cpus"),
        ({"cpu": {"quota": 1, "period": 100_000}}, "cpu."),
        ({"pids": {"limit": 1 << 40}}, "pids.max"),
    ],
)
def test_values_that_the_kernel_refuses(group: Cgroup, resources: dict[str, object], file: str) -> None:
    with pytest.raises(OSError, match=r"write '[0-9 ]+': ") as caught:
        group.apply(resources)
    assert file in str(caught.value.filename)


def test_the_parent_leaves_memory_to_the_notebook(groups: Groups, group: Cgroup) -> None:
    if groups.version == "v1":
        path = f"{os.path.dirname(group.locations()['memory'])}/memory.limit_in_bytes"
        shares = f"{os.path.dirname(group.locations()['cpu'])}/cpu.shares"
        assert files.read_integer(shares) == 512
    else:
        path = f"{os.path.dirname(group.locations()['unified'])}/memory.max"
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = files.read_integer(path)
    assert limit is not None
    assert abs(limit - min(total - total // 10, total - (1 << 30))) < MIB
    files.write(path, str(limit - MIB))
    groups.create("two")
    assert files.read_integer(path) == limit - MIB  # set once


@pytest.mark.parametrize(
    ("total", "limit"), [(64 << 30, (64 << 30) * 9 // 10), (4 << 30, 3 << 30), (1 << 30, 1 << 29), (512 * MIB, 256 * MIB)]
)
def test_what_the_parent_keeps_back(total: int, limit: int) -> None:
    assert abs(parent.memory_limit(total) - limit) <= 1
