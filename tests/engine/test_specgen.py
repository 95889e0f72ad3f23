"""The Spec, without a kernel: the posture as a golden value, and what each option changes in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from notebook_containers.engine import specgen
from notebook_containers.engine.device_words import DeviceWord
from notebook_containers.engine.host import Host
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.engine.options import ContainerOptions, container_options
from notebook_containers.engine.posture import PATH
from notebook_containers.engine.specgen import Resolved
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.linux.capabilities import NAMES
from notebook_containers.oci.image import ContainerConfig
from notebook_containers.oci.runtime import Cpu, Device, DeviceRule, Linux, Memory, Mount, Process, Spec

ROOT = Host(euid=0, egid=0, memory_bytes=8 << 30, capabilities=tuple(NAMES))
USER = Host(euid=1000, egid=1001, memory_bytes=8 << 30, capabilities=tuple(NAMES))
CONFIG = ContainerConfig(cmd=("true",))
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_SETFCAP",
)


def resolved(**changes: object) -> Resolved:
    base = Resolved(id="f" * 64, uid=0, gid=0, groups=(), home="/root", mounts=(), network="bridge", hostname="box", seccomp={"a": 1})
    return replace(base, **changes)  # type: ignore[arg-type]


def made(given: CreateKeywords | None = None, *, host: Host = ROOT, config: ContainerConfig = CONFIG, **changes: object) -> Spec:
    options = container_options(None, given or {})
    return specgen.generate(options, config, resolved(network=options.network, **changes), host)


def process_of(spec: Spec) -> Process:
    assert spec.process is not None
    return spec.process


def linux_of(spec: Spec) -> Linux:
    assert spec.linux is not None
    return spec.linux


def mount_at(spec: Spec, target: str) -> Mount:
    found = [mount for mount in spec.mounts if mount.destination == target]
    assert len(found) == 1
    return found[0]


def test_the_default_posture_is_this() -> None:
    spec = made()
    process, linux = process_of(spec), linux_of(spec)
    assert process.capabilities is not None
    for name in ("bounding", "effective", "permitted"):
        assert getattr(process.capabilities, name) == DEFAULT
    assert process.capabilities.inheritable == () == process.capabilities.ambient
    assert process.no_new_privileges
    assert process.user.umask == 0o022
    assert process.cwd == "/"
    assert {(r.type, r.soft, r.hard) for r in process.rlimits} == {("RLIMIT_NOFILE", 1024, 524288), ("RLIMIT_CORE", 0, 0)}
    assert {ns.type for ns in linux.namespaces} == {"mount", "pid", "ipc", "uts", "cgroup", "network"}
    assert not any(ns.path for ns in linux.namespaces)
    assert linux.uid_mappings == () == linux.gid_mappings
    assert linux.seccomp == {"a": 1}
    assert linux.rootfs_propagation == "private"
    assert linux.cgroups_path == "notebook-containers/" + "f" * 64
    assert linux.sysctl == {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    assert linux.resources is not None
    assert linux.resources.pids is not None
    assert linux.resources.pids.limit == 4096
    assert linux.resources.memory is None
    assert linux.resources.cpu is None
    assert spec.root is not None
    assert not spec.root.readonly
    assert spec.hostname == "box"


@pytest.mark.parametrize(
    "path",
    [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/security", "/proc/kallsyms",
        "/proc/kmsg", "/sys/fs/bpf", "/sys/kernel/debug", "/sys/kernel/tracing",
    ],
)  # fmt: skip
def test_rt20_what_docker_masks_and_more_is_masked(path: str) -> None:
    assert path in linux_of(made()).masked_paths


@pytest.mark.parametrize("path", ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
def test_rt20_what_docker_makes_read_only_is_read_only(path: str) -> None:
    assert path in linux_of(made()).readonly_paths


def test_devices_are_denied_but_for_the_harmless_ones() -> None:
    resources = linux_of(made()).resources
    assert resources is not None
    first, *rest = resources.devices
    assert not first.allow
    assert (first.type, first.major, first.minor, first.access) == ("", -1, -1, "rwm")
    assert all(rule.allow and rule.type == "c" for rule in rest)
    assert {(rule.major, rule.minor) for rule in rest} == {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1)}


@pytest.mark.parametrize("target", ["/proc", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"])
def test_system_mounts_give_no_rights(target: str) -> None:
    options = mount_at(made(), target).options
    assert "nosuid" in options
    assert "noexec" in options
    assert ("ro" in options) == target.startswith("/sys")


@pytest.mark.parametrize(
    ("given", "host", "size"),
    [
        ({}, ROOT, 1 << 30),
        ({"mem_limit": "64m"}, ROOT, 32 << 20),
        ({"mem_limit": "64m", "shm_size": "48m"}, ROOT, 48 << 20),
        ({}, replace(ROOT, memory_bytes=1 << 30), 1 << 29),
    ],
)
def test_shared_memory_is_half_the_limit_and_a_gigabyte_at_most(given: CreateKeywords, host: Host, size: int) -> None:
    assert f"size={size}" in mount_at(made(given, host=host), "/dev/shm").options


def test_an_ordinary_user_is_mapped_to_root_alone() -> None:
    spec = made(host=USER)
    linux = linux_of(spec)
    assert [(m.container_id, m.host_id, m.size) for m in linux.uid_mappings] == [(0, 1000, 1)]
    assert [(m.container_id, m.host_id, m.size) for m in linux.gid_mappings] == [(0, 1001, 1)]
    assert "user" in {ns.type for ns in linux.namespaces}
    assert linux.sysctl["net.ipv4.ping_group_range"] == "0 0"
    assert not any(word.startswith("gid=") for word in mount_at(spec, "/dev/pts").options)


def test_the_hosts_network_brings_no_namespace_and_no_sysctls() -> None:
    spec = made({"network": "host"})
    assert "network" not in {ns.type for ns in linux_of(spec).namespaces}
    assert linux_of(spec).sysctl == {}
    rootless = made({"network": "host"}, host=USER)
    assert mount_at(rootless, "/sys").type == "bind"
    assert "ro" in mount_at(rootless, "/sys").options


@pytest.mark.parametrize(
    ("given", "plus", "minus"),
    [
        ({"cap_add": ["NET_RAW"]}, {"CAP_NET_RAW"}, set()),
        ({"cap_drop": ["CHOWN"]}, set(), {"CAP_CHOWN"}),
        ({"cap_drop": ["ALL"]}, set(), set(DEFAULT)),
        ({"cap_drop": ["ALL"], "cap_add": ["CHOWN"]}, set(), set(DEFAULT) - {"CAP_CHOWN"}),
        ({"cap_add": ["ALL"]}, set(NAMES) - set(DEFAULT), set()),
        ({"cap_add": ["ALL"], "cap_drop": ["SYS_ADMIN"]}, set(NAMES) - set(DEFAULT) - {"CAP_SYS_ADMIN"}, set()),
        ({"privileged": True}, set(NAMES) - set(DEFAULT), set()),
    ],
)
def test_capabilities_are_added_and_dropped(given: CreateKeywords, plus: set[str], minus: set[str]) -> None:
    capabilities = process_of(made(given)).capabilities
    assert capabilities is not None
    assert set(capabilities.bounding) == (set(DEFAULT) | plus) - minus
    assert capabilities.bounding == capabilities.effective == capabilities.permitted


def test_a_capability_the_caller_lacks_is_not_given() -> None:
    poor = replace(ROOT, capabilities=("CAP_CHOWN",))
    capabilities = process_of(made({"cap_add": ["SYS_ADMIN"]}, host=poor)).capabilities
    assert capabilities is not None
    assert capabilities.bounding == ("CAP_CHOWN",)


def test_privileged_lifts_masks_and_devices() -> None:
    spec = made({"privileged": True})
    linux = linux_of(spec)
    assert linux.masked_paths == () == linux.readonly_paths
    assert linux.resources is not None
    assert [r.allow for r in linux.resources.devices] == [True]
    assert "rw" in mount_at(spec, "/sys").options
    assert not process_of(spec).no_new_privileges


def test_limits_become_resources() -> None:
    given: CreateKeywords = {"mem_limit": "64m", "mem_reservation": "32m", "nano_cpus": 500_000_000, "cpu_shares": 512, "pids_limit": 7}
    resources = linux_of(made({**given, "cpuset_cpus": "0"})).resources
    assert resources is not None
    assert resources.memory is not None
    assert resources.cpu is not None
    assert resources.pids is not None
    assert (resources.memory.limit, resources.memory.swap, resources.memory.reservation) == (64 << 20, 64 << 20, 32 << 20)
    assert (resources.cpu.quota, resources.cpu.period, resources.cpu.shares, resources.cpu.cpus) == (50_000, 100_000, 512, "0")
    assert resources.pids.limit == 7


@pytest.mark.parametrize(("swap", "expected"), [(None, 64 << 20), (-1, -1), ("128m", 128 << 20)])
def test_swap_is_no_more_than_the_memory_unless_asked_for(swap: str | int | None, expected: int) -> None:
    resources = linux_of(made({"mem_limit": "64m", "memswap_limit": swap})).resources
    assert resources is not None
    assert resources.memory is not None
    assert resources.memory.swap == expected


def test_a_sliver_of_a_cpu_is_at_least_a_millisecond() -> None:
    resources = linux_of(made({"nano_cpus": 1})).resources
    assert resources is not None
    assert resources.cpu is not None
    assert resources.cpu.quota == 1000


@pytest.mark.parametrize(
    ("entrypoint", "command", "image_entrypoint", "image_cmd", "expected"),
    [
        (None, None, None, ("c",), ("c",)),
        (None, None, ("e",), ("c",), ("e", "c")),
        (None, ("x",), ("e",), ("c",), ("e", "x")),
        (None, ("x",), None, ("c",), ("x",)),
        (("n",), None, ("e",), ("c",), ("n",)),
        (("n",), ("x",), ("e",), ("c",), ("n", "x")),
        (("",), ("x",), ("e",), ("c",), ("x",)),
        (None, (), ("e",), ("c",), ("e", "c")),
    ],
)
def test_entrypoint_and_command_follow_dockers_rules(
    entrypoint: tuple[str, ...] | None,
    command: tuple[str, ...] | None,
    image_entrypoint: tuple[str, ...] | None,
    image_cmd: tuple[str, ...] | None,
    expected: tuple[str, ...],
) -> None:
    options = ContainerOptions(entrypoint=entrypoint, command=command)
    assert specgen.arguments(options, ContainerConfig(entrypoint=image_entrypoint, cmd=image_cmd)) == expected


@pytest.mark.parametrize("entrypoint", [None, ("",)])
def test_nothing_to_run_is_an_error(entrypoint: tuple[str, ...] | None) -> None:
    with pytest.raises(InvalidArgument, match="no command given"):
        specgen.arguments(ContainerOptions(entrypoint=entrypoint), ContainerConfig())


def test_rt30_the_environment_is_the_images_and_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "PYTHONPATH", "HTTP_PROXY", "AWS_SECRET_ACCESS_KEY", "JPY_API_TOKEN"):
        monkeypatch.setenv(name, "leak")
    env = process_of(made({"environment": ["A=1"]}, config=ContainerConfig(cmd=("x",), env=("A=0", "B=2")))).env
    assert env == (PATH, "HOSTNAME=box", "A=1", "B=2", "HOME=/root")


def test_rt31_entries_of_an_image_that_are_none_are_never_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-57231, CVE-2021-3602, CVE-2020-14370."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leak")
    monkeypatch.setenv("A", "leak")
    config = ContainerConfig(cmd=("x",), env=("AWS_SECRET_ACCESS_KEY", "*", "=x", "A", "B=1=2", "\0", "C=\0", "LD_*"))
    assert process_of(made(config=config)).env == (PATH, "HOSTNAME=box", "B=1=2", "HOME=/root")


def test_rt31_two_containers_do_not_see_each_others_environment() -> None:
    made({"environment": ["SECRET=1"]})
    assert not any("SECRET" in entry for entry in process_of(made()).env)


def test_terminal_home_and_path_can_be_chosen() -> None:
    env = process_of(made({"tty": True, "environment": ["PATH=/x", "HOME=/h"]})).env
    assert env == ("PATH=/x", "HOSTNAME=box", "TERM=xterm", "HOME=/h")


def test_users_working_directory_and_read_only_root_reach_the_spec() -> None:
    spec = made({"working_dir": "/w", "read_only": True}, uid=7, gid=8, groups=(9,))
    user = process_of(spec).user
    assert (user.uid, user.gid, user.additional_gids) == (7, 8, (9,))
    assert process_of(spec).cwd == "/w"
    assert spec.root is not None
    assert spec.root.readonly
    assert process_of(made(config=ContainerConfig(cmd=("x",), working_dir="/i"))).cwd == "/i"


def test_a_tmpfs_is_closed_unless_its_options_open_it() -> None:
    spec = made({"tmpfs": {"/t": "size=1m,exec"}})
    assert mount_at(spec, "/t").options == ("nosuid", "nodev", "noexec", "size=1m", "exec")


FUSE = (Device(type="c", path="/dev/f", major=10, minor=229, file_mode=0o600), DeviceWord(source="/dev/fuse", target="/dev/f", access="r"))


def test_devices_are_made_and_allowed_or_bound() -> None:
    spec = made({"device_cgroup_rules": ["b 7:* m"]}, devices=[FUSE])
    linux = linux_of(spec)
    assert linux.devices == (FUSE[0],)
    assert linux.resources is not None
    assert linux.resources.devices[0] == DeviceRule(allow=False, access="rwm")
    assert linux.resources.devices[-2:] == (
        DeviceRule(allow=True, type="c", major=10, minor=229, access="rm"),
        DeviceRule(allow=True, type="b", major=7, minor=-1, access="m"),
    )
    spec = made(host=USER, devices=[FUSE])
    assert linux_of(spec).devices == ()
    assert mount_at(spec, "/dev/f") == Mount(
        destination="/dev/f", type="bind", source="/dev/fuse", options=("bind", "rprivate", "nosuid", "noexec", "rw")
    )
    with pytest.raises(Unsupported, match="--device-cgroup-rule needs root"):
        made({"device_cgroup_rules": ["b 7:* m"]}, host=USER)


def test_namespaces_are_own_the_hosts_or_anothers() -> None:
    every = {"pid_mode": "host", "ipc_mode": "host", "uts_mode": "host", "cgroupns": "host", "network": "host"}
    linux = linux_of(made(every))  # type: ignore[arg-type]
    assert [ns.type for ns in linux.namespaces] == ["mount"]
    given: CreateKeywords = {"pid_mode": "container:x", "ipc_mode": "container:x", "network": "container:x"}
    joined = {"pid": "/proc/7/ns/pid", "ipc": "/proc/7/ns/ipc", "network": "/proc/7/ns/net"}
    spec = made(given, joined=joined)
    assert {ns.type: ns.path for ns in linux_of(spec).namespaces if ns.path} == joined
    assert linux_of(spec).sysctl == {}
    assert mount_at(spec, "/dev/shm").source == "/proc/7/root/dev/shm"
    spec = made(given, joined={**joined, "user": "/proc/7/ns/user"}, host=USER)
    assert {ns.type: ns.path for ns in linux_of(spec).namespaces}["user"] == "/proc/7/ns/user"
    with pytest.raises(InvalidArgument, match="pid namespace of x was not looked up"):
        made(given)


def test_dev_shm_follows_the_ipc_mode() -> None:
    assert mount_at(made({"ipc_mode": "shareable"}), "/dev/shm").type == "tmpfs"
    assert mount_at(made({"ipc_mode": "host"}), "/dev/shm").source == "/dev/shm"
    assert "/dev/shm" not in {mount.destination for mount in made({"ipc_mode": "none"}).mounts}
    assert "/dev/mqueue" not in {mount.destination for mount in made({"ipc_mode": "host"}, host=USER).mounts}


def test_limits_and_words_of_the_process() -> None:
    given: CreateKeywords = {
        "ulimits": ["nofile=1:2", "nproc=5"],
        "oom_score_adj": 7,
        "mem_swappiness": 0,
        "oom_kill_disable": True,
        "cpu_rt_runtime": 5,
        "cpuset_mems": "0",
        "cgroup_parent": "a/b",
        "sysctls": {"net.ipv4.ip_unprivileged_port_start": "80"},
        "annotations": {"x": "y"},
        "domainname": "d",
    }
    spec = made(given)
    process, linux = process_of(spec), linux_of(spec)
    assert {(r.type, r.soft, r.hard) for r in process.rlimits} == {("RLIMIT_NOFILE", 1, 2), ("RLIMIT_CORE", 0, 0), ("RLIMIT_NPROC", 5, 5)}
    assert process.oom_score_adj == 7
    assert linux.resources is not None
    assert linux.resources.memory == Memory(swappiness=0, disable_oom_killer=True)
    assert linux.resources.cpu == Cpu(realtime_runtime=5, mems="0")
    assert linux.cgroups_path == "notebook-containers/a/b/" + "f" * 64
    assert linux.sysctl["net.ipv4.ip_unprivileged_port_start"] == "80"
    assert (spec.domainname, dict(spec.annotations)) == ("d", {"x": "y"})
    with pytest.raises(InvalidArgument, match="--oom-score-adj 6 is below this notebook's own 7"):
        made({"oom_score_adj": 6}, host=replace(USER, oom_score_adj=7))
    with pytest.raises(InvalidArgument, match="--ulimit nproc: unlimited is more than the 5"):
        made({"ulimits": ["nproc=-1"]}, host=replace(USER, ulimits={"RLIMIT_NPROC": 5}))
