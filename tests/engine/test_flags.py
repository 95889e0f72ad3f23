"""Every flag of ``run`` on the real kernel: what it changes inside, and one clear line where it cannot."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.engine.parts import read_host
from notebook_containers.errors import Conflict, ContainerError, ImageNotFound, InvalidArgument, StartFailed
from notebook_containers.linux import cgroups
from notebook_containers.store.images import PlatformNotHere
from tests import groups
from tests.home import BASE
from tests.needs import need

pytestmark = pytest.mark.root


def inside(engine: Engine, script: str, given: CreateKeywords | None = None) -> list[str]:
    """Run a script and return its lines, both streams."""
    options: CreateKeywords = {"network": "none", **(given or {})}
    output = engine.containers.run(BASE, ["sh", "-c", script], remove=True, stderr=True, **options)
    assert isinstance(output, bytes)
    return output.decode().splitlines()


def started(engine: Engine, command: list[str], given: CreateKeywords | None = None) -> Container:
    options: CreateKeywords = {"network": "none", "stop_timeout": 0, **(given or {})}
    container = engine.containers.run(BASE, command, detach=True, **options)
    assert isinstance(container, Container)
    return container


def v1(controller: str) -> Path:
    """Return where a version 1 controller is mounted, or skip."""
    place = Path("/sys/fs/cgroup") / controller
    usable = (place / "cgroup.clone_children").exists() and not cgroups.usable().get(controller)
    need(usable, f"version 1 {controller} controller")
    return place


def group_of(container: Container, controller: str) -> Path:
    base = v1(controller)
    for line in Path(f"/proc/{container.state.pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return base / path.lstrip("/")
    raise AssertionError(controller)


# process ----------------------------------------------------------------------------------------------------------------------------


def test_init_reaps_and_passes_signals_on(engine: Engine) -> None:
    script = "tr '\\0' ' ' < /proc/1/cmdline; (sleep 0.05 &); sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z '; true"
    assert inside(engine, script, {"init": True}) == ["init 2 0"]
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    container = started(engine, ["sh", "-c", script], {"init": True, "stop_timeout": 10})
    while b"ready" not in container.logs():
        time.sleep(0.02)
    before = time.monotonic()
    container.stop()
    assert time.monotonic() - before < 5
    assert container.exit_code == 7
    with pytest.raises(StartFailed, match="nothing: not found"):
        engine.containers.run(BASE, ["nothing"], network="none", init=True, remove=True)


def test_groups_are_added_to_the_images(engine: Engine) -> None:
    assert inside(engine, "id -G", {"group_add": ["44", "tty"]}) == ["0 5 44"]
    assert inside(engine, "id -G", {"user": "1000:7", "group_add": [8]}) == ["7 8"]
    with pytest.raises(InvalidArgument, match="'nosuchgroup' is not known"):
        inside(engine, "id", {"group_add": ["nosuchgroup"]})


def test_annotations_are_carried(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["true"], annotations={"a": "b"}, network="none")
    config = container.attrs["HostConfig"]
    assert isinstance(config, dict)
    assert config["Annotations"] == {"a": "b"}


def test_a_domain_name(engine: Engine) -> None:
    lines = inside(
        engine, "cat /proc/sys/kernel/domainname; hostname; grep box /etc/hosts", {"hostname": "box", "domainname": "example.org"}
    )
    assert lines == ["example.org", "box", "127.0.1.1\tbox", "127.0.1.1\tbox.example.org"]


def test_health_is_stored(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["true"], network="none", healthcheck={"test": "true", "interval": "1m"})
    config = container.attrs["Config"]
    assert isinstance(config, dict)
    assert config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "true"],
        "Interval": 60 * 10**9,
        "Timeout": 30 * 10**9,
        "StartInterval": 5 * 10**9,
        "Retries": 3,
    }


def test_a_log_is_bounded_or_none(engine: Engine) -> None:
    script = "i=0; while [ $i -lt 30000 ]; do echo line number $i; i=$((i+1)); done"
    container = started(engine, ["sh", "-c", script], {"log_config": {"Config": {"max-size": "200k", "max-file": "2"}}})
    container.wait(timeout=60)
    directory = Path(str(container.attrs["LogPath"])).parent
    files = [path for path in directory.iterdir() if path.name.startswith("container.log")]
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) <= 2 * (200 * 1024) + 2 * 65536 * 3
    assert container.logs(tail=1) == b"line number 29999\n"
    silent = started(engine, ["echo", "x"], {"log_config": {"Type": "none"}})
    silent.wait(timeout=20)
    with pytest.raises(Conflict, match="keeps no log"):
        silent.logs()


def test_pull_and_platform(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def pull(name: str, *, platform: str = "", progress: object = None) -> object:
        del progress
        asked.append(f"{name} {platform}")
        return engine.images.find(BASE)

    inside(engine, "true")
    monkeypatch.setattr(engine.images, "pull", pull)
    assert inside(engine, "echo a", {"pull": "never"}) == ["a"]
    assert inside(engine, "echo b", {"pull": "missing"}) == ["b"]
    assert asked == []
    assert inside(engine, "echo c", {"pull": "always"}) == ["c"]
    assert asked == [f"{BASE} "]
    with pytest.raises(PlatformNotHere, match="not here for linux/s390x"):
        inside(engine, "true", {"platform": "linux/s390x"})
    engine.images.tag(BASE, "example.org/thing:1")
    try:
        engine.containers.create("example.org/thing:1", ["true"], platform="linux/s390x", network="none")
        assert asked[-1] == "example.org/thing:1 linux/s390x"
        with pytest.raises(PlatformNotHere, match="not here for linux/s390x"):
            engine.containers.create("example.org/thing:1", ["true"], platform="linux/s390x", pull="never")
    finally:
        engine.images.remove("example.org/thing:1", force=True)
    engine.containers.create("example.org/other:1", ["true"], network="none")
    assert asked[-1] == "example.org/other:1 "
    with pytest.raises(ImageNotFound):
        engine.containers.create("example.org/other:1", ["true"], pull="never")


# resources --------------------------------------------------------------------------------------------------------------------------


def test_ulimits(engine: Engine) -> None:
    limits = {"ulimits": ["nofile=100:200", "core=0", "memlock=65536", {"Name": "locks", "Soft": 5, "Hard": 6}]}
    lines = inside(engine, "cat /proc/self/limits", limits)  # type: ignore[arg-type]
    found = {line[:26].strip(): line[26:].split()[:2] for line in lines[1:]}
    assert found["Max open files"] == ["100", "200"]
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max locked memory"] == ["65536", "65536"]
    assert found["Max file locks"] == ["5", "6"]
    most = read_host().ulimits["RLIMIT_NOFILE"]
    with pytest.raises(InvalidArgument, match=f"--ulimit nofile: {most + 1} is more than the {most}"):
        inside(engine, "true", {"ulimits": [f"nofile={most + 1}"]})


def test_a_score_for_the_out_of_memory_killer(engine: Engine) -> None:
    assert inside(engine, "cat /proc/self/oom_score_adj", {"oom_score_adj": 500}) == ["500"]
    own = int(Path("/proc/self/oom_score_adj").read_text())
    if "CAP_SYS_RESOURCE" in read_host().capabilities:
        assert inside(engine, "cat /proc/self/oom_score_adj", {"oom_score_adj": -200}) == ["-200"]
    else:
        with pytest.raises(InvalidArgument, match=f"--oom-score-adj {own - 1} is below this notebook's own {own}"):
            inside(engine, "true", {"oom_score_adj": own - 1})


def test_memory_words_of_version_1(engine: Engine) -> None:
    given: CreateKeywords = {"mem_limit": "64m", "mem_swappiness": 10, "oom_kill_disable": True}
    group = group_of(started(engine, ["sleep", "100"], given), "memory")
    assert (group / "memory.swappiness").read_text() == "10\n"
    assert "oom_kill_disable 1" in (group / "memory.oom_control").read_text()
    warned = engine.containers.create(BASE, ["true"], oom_kill_disable=True, network="none").warnings
    assert any("no memory limit" in text for text in warned)


def test_real_time_and_memory_nodes(engine: Engine) -> None:
    container = started(engine, ["sleep", "100"], {"cpu_rt_runtime": 2000, "cpu_rt_period": 500000, "cpuset_mems": "0", "cpuset_cpus": "0"})
    cpu, cpuset = group_of(container, "cpu"), group_of(container, "cpuset")
    if (cpu / "cpu.rt_runtime_us").exists():
        assert (cpu / "cpu.rt_runtime_us").read_text() == "2000\n"
        assert (cpu / "cpu.rt_period_us").read_text() == "500000\n"
    assert (cpuset / "cpuset.mems").read_text() == "0\n"


def test_disks(engine: Engine) -> None:
    disks = [path for path in Path("/sys/block").iterdir() if not path.name.startswith(("loop", "ram", "zram"))]
    need(disks and Path(f"/dev/{disks[0].name}").exists(), "disk")
    disk = f"/dev/{disks[0].name}"
    number = (disks[0] / "dev").read_text().strip()
    given: CreateKeywords = {
        "blkio_weight": 300,
        "blkio_weight_device": [f"{disk}:200"],
        "device_read_bps": [f"{disk}:1mb"],
        "device_write_bps": [f"{disk}:2mb"],
        "device_read_iops": [f"{disk}:100"],
        "device_write_iops": [f"{disk}:200"],
    }
    container = started(engine, ["sleep", "100"], given)
    group = group_of(container, "blkio")
    assert (group / "blkio.throttle.read_bps_device").read_text() == f"{number} 1048576\n"
    assert (group / "blkio.throttle.write_bps_device").read_text() == f"{number} 2097152\n"
    assert (group / "blkio.throttle.read_iops_device").read_text() == f"{number} 100\n"
    assert (group / "blkio.throttle.write_iops_device").read_text() == f"{number} 200\n"
    scheduler = (disks[0] / "queue/scheduler").read_text()
    assert "[bfq]" in scheduler or any("weight" in text for text in container.warnings)
    with pytest.raises(InvalidArgument, match="/dev/null is no block device"):
        inside(engine, "true", {"device_read_bps": ["/dev/null:1mb"]})


def test_rt17_a_group_to_make_its_group_in(engine: Engine) -> None:
    container = started(engine, ["sleep", "100"], {"cgroup_parent": "course/students"})
    path = Path(f"/proc/{container.state.pid}/cgroup").read_text()
    assert f"/notebook-containers/course/students/{container.id}\n" in path
    if not cgroups.usable().get("memory") and Path("/sys/fs/cgroup/memory").is_dir():
        top = Path("/sys/fs/cgroup/memory/notebook-containers/memory.limit_in_bytes")
        assert int(top.read_text()) < 1 << 62
    container.remove(force=True)
    assert groups.named(lambda name: name == "course") == []


# isolation --------------------------------------------------------------------------------------------------------------------------


def test_rt19_sysctls_of_its_own_namespaces(engine: Engine) -> None:
    given: CreateKeywords = {
        "sysctls": {"net.core.somaxconn": "77", "kernel.shmmax": "12345", "fs.mqueue.msg_max": "20", "kernel.domainname": "d"}
    }
    script = "cd /proc/sys; cat net/core/somaxconn kernel/shmmax fs/mqueue/msg_max kernel/domainname"
    assert inside(engine, script, given) == ["77", "12345", "20", "d"]
    assert Path("/proc/sys/net/core/somaxconn").read_text() != "77\n"
    with pytest.raises(StartFailed, match=r"net\.core\.nothing"):
        inside(engine, "true", {"sysctls": {"net.core.nothing": "1"}})


def test_devices(engine: Engine) -> None:
    lines = inside(engine, "stat -c '%t:%T %a' /dev/z; head -c 1 /dev/z | wc -c; (echo > /dev/z) 2>&1", {"devices": ["/dev/zero:/dev/z:r"]})
    assert lines[:2] == [f"1:5 {stat.S_IMODE(os.stat('/dev/zero').st_mode):o}", "1"]
    if Path("/dev/fuse").exists():
        assert inside(engine, "exec 3<>/dev/fuse && echo open", {"devices": ["/dev/fuse"]}) == ["open"]
        assert inside(engine, "ls /dev/fuse 2>&1 | grep -c 'No such'") == ["1"]
        with pytest.raises(ContainerError):
            inside(engine, "exec 3>/dev/f", {"devices": ["/dev/fuse:/dev/f:r"]})
    for path, words in (("/etc/passwd", "is no device"), ("/dev/nothing", "no such file")):
        with pytest.raises(InvalidArgument, match=words):
            inside(engine, "true", {"devices": [path]})


def test_rt18_device_rules(engine: Engine) -> None:
    v1("devices")
    script = "mknod /dev/x c 10 229 2>/dev/null && (exec 3<>/dev/x) && echo open; true"
    need(Path("/dev/fuse").exists(), "/dev/fuse")
    assert inside(engine, script, {"cap_add": ["MKNOD"], "device_cgroup_rules": ["c 10:229 rwm"]}) == ["open"]
    assert inside(engine, script, {"cap_add": ["MKNOD"], "device_cgroup_rules": ["c 10:1 rwm"]}) == []


def test_privileged_has_the_machines_devices(engine: Engine) -> None:
    names = {name for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat(f"/dev/{name}").st_mode)}
    assert names <= set(inside(engine, "ls /dev", {"privileged": True}))


def test_no_gpu_is_said(engine: Engine) -> None:
    need(not Path("/dev/nvidia0").exists(), "machine without a GPU")
    with pytest.raises(InvalidArgument, match="no NVIDIA device"):
        inside(engine, "true", {"device_requests": "all"})


def test_kernel_paths_unmasked(engine: Engine) -> None:
    script = "wc -c < /proc/interrupts; (echo > /proc/sys/kernel/hostname) 2>/dev/null && echo writable; true"
    assert inside(engine, script) == ["0"]
    lines = inside(engine, script, {"security_opt": ["systempaths=unconfined"]})
    assert lines[0] != "0"
    assert lines[1:] == ["writable"]


@pytest.mark.parametrize(("keyword", "kind", "value"), [("pid_mode", "pid", "host"), ("ipc_mode", "ipc", "host"), ("uts_mode", "uts", "host"), ("cgroupns", "cgroup", "host")])  # fmt: skip # noqa: E501
def test_rt13_the_hosts_namespace_is_only_joined_when_asked(engine: Engine, keyword: str, kind: str, value: str) -> None:
    own, hosts = f"readlink /proc/self/ns/{kind}", os.readlink(f"/proc/self/ns/{kind}")
    given: CreateKeywords = {keyword: value}  # type: ignore[misc]
    assert inside(engine, own) != [hosts]
    assert inside(engine, own, given) == [hosts]


def test_what_the_hosts_namespaces_show(engine: Engine) -> None:
    assert inside(engine, "cat /proc/1/comm", {"pid_mode": "host"}) == [Path("/proc/1/comm").read_text().strip()]
    assert inside(engine, "hostname", {"uts_mode": "host"}) == [os.uname().nodename]
    marker = Path("/dev/shm") / f"nbc-{os.getpid()}"
    marker.write_text("seen\n")
    try:
        assert inside(engine, f"cat {marker}", {"ipc_mode": "host"}) == ["seen"]
        assert inside(engine, "ls /dev/shm | wc -l") == ["0"]
    finally:
        marker.unlink()
    assert inside(engine, "ls -d /dev/shm 2>/dev/null; true", {"ipc_mode": "none"}) == []


def test_rt16_the_hosts_cgroups_are_read_only(engine: Engine) -> None:
    script = "find /sys/fs/cgroup -maxdepth 2 -type d | while read d; do mkdir $d/x 2>/dev/null && echo $d; done; true"
    assert inside(engine, script, {"cgroupns": "host"}) == []


def test_without_a_pid_namespace_nothing_is_left_running(engine: Engine) -> None:
    token = f"987{os.getpid()}"
    container = started(engine, ["sh", "-c", f"(sleep {token} &); sleep 0.3"], {"pid_mode": "host"})
    container.wait(timeout=20)
    found = subprocess.run(["pgrep", "-f", f"sleep {token}"], capture_output=True, check=False).stdout
    assert found == b""


# the command line -------------------------------------------------------------------------------------------------------------------


def test_the_cli_passes_signals_on_and_chooses_streams(engine: Engine, home: object, tree_environment: dict[str, str]) -> None:
    from tests.home import Home

    assert isinstance(home, Home)
    environment = {**tree_environment, **home.variables()}
    nbc = [sys.executable, "-m", "notebook_containers", "run", "--rm", "--network", "none"]
    script = "trap 'echo got; exit 3' USR1; echo ready; echo noise >&2; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [*nbc, "-a", "stdout", BASE, "sh", "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(10)
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("got\n", "", 3)
    assert engine.containers.list(all=True) == []
