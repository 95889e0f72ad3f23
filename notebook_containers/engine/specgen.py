"""Options and image config to a runtime Spec: pure, no kernel and no disk (runtime-spec 1.2; HARDENING's default posture).

Everything that depends on the machine enters as :class:`Host`; everything that was looked up (ids, addresses, files) as :class:`Resolved`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from notebook_containers.engine.options import ContainerOptions
from notebook_containers.errors import InvalidArgument
from notebook_containers.linux.idmaps import IdMaps, Line, keep_id
from notebook_containers.oci.image import ContainerConfig
from notebook_containers.oci.runtime import (
    SPEC_VERSION,
    Capabilities,
    Cpu,
    DeviceRule,
    IDMapping,
    Linux,
    Memory,
    Mount,
    Namespace,
    Pids,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
    User,
)

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CGROUP_PARENT = "notebook-containers"

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
)

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/bootconfig",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/pagetypeinfo",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/class/dmi",
    "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the Spec needs to know of the machine and of the caller."""

    euid: int
    egid: int
    memory_bytes: int
    capabilities: tuple[str, ...]
    ids: IdMaps | None = None

    @property
    def rootless(self) -> bool:
        """Whether the caller is an ordinary user."""
        return self.euid != 0

    @property
    def maps(self) -> IdMaps | None:
        """The ids an ordinary user's containers have (its own one alone unless ``ids`` says more), None for root: all there are."""
        own = IdMaps(uids=((0, self.euid, 1),), gids=((0, self.egid, 1),))
        return (self.ids or own) if self.rootless else None

    @property
    def single(self) -> bool:
        """Whether only one user id exists inside."""
        return self.maps is not None and self.maps.single

    def container_maps(self, userns: str) -> IdMaps | None:
        """Return the ids of a container with ``--userns userns``."""
        return keep_id(self.maps, self.euid, self.egid) if self.maps and userns == "keep-id" else self.maps


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What was looked up for this container: numeric ids, mounts of volumes and of the generated files, the seccomp profile."""

    id: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    mounts: tuple[Mount, ...]
    network: str
    hostname: str
    seccomp: Mapping[str, object] | None


def arguments(options: ContainerOptions, config: ContainerConfig) -> tuple[str, ...]:
    """Return the argument vector: Docker's rules for ENTRYPOINT and CMD; raises InvalidArgument when nothing is there to run."""
    if options.entrypoint is not None:
        words = (*(w for w in options.entrypoint if w), *(options.command or ()))
    else:
        words = (*(config.entrypoint or ()), *(options.command or config.cmd or ()))
    if not words:
        raise InvalidArgument("no command given, and the image has none", hint="add a command, or CMD [...] in the Dockerfile")
    return words


def environment(options: ContainerOptions, config: ContainerConfig, *, hostname: str, home: str) -> tuple[str, ...]:
    """Return the environment: PATH, HOSTNAME, HOME and TERM as Docker sets them, the image's, then the caller's; later wins."""
    base = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if options.tty else [])]
    image = [e for e in config.env if "=" in e and not e.startswith("=") and "\0" not in e]
    merged: dict[str, str] = {}
    for entry in (*base, *image, *options.environment):
        name, _, value = entry.partition("=")
        merged[name] = value
    merged.setdefault("HOME", home)
    return tuple(f"{k}={v}" for k, v in merged.items())


def capability_set(options: ContainerOptions, host: Host) -> tuple[str, ...]:
    """Return the names a container's root has: the default eleven, plus and minus what was asked; all of the host's when privileged."""
    chosen = set(host.capabilities if options.privileged or "ALL" in options.cap_add else DEFAULT_CAPABILITIES)
    if "ALL" in options.cap_drop:
        chosen = set()
    chosen = (chosen | {c for c in options.cap_add if c != "ALL"}) - set(options.cap_drop)
    return tuple(name for name in host.capabilities if name in chosen)


def generate(options: ContainerOptions, config: ContainerConfig, resolved: Resolved, host: Host) -> Spec:
    """Return the Spec of one container."""
    capabilities = capability_set(options, host)
    process = Process(
        terminal=options.tty,
        user=User(uid=resolved.uid, gid=resolved.gid, additional_gids=resolved.groups, umask=0o022),
        args=arguments(options, config),
        env=environment(options, config, hostname=resolved.hostname, home=resolved.home),
        cwd=options.working_dir or config.working_dir or "/",
        capabilities=Capabilities(bounding=capabilities, effective=capabilities, permitted=capabilities),
        rlimits=(
            Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=524288),
            Rlimit(type="RLIMIT_CORE", soft=0, hard=0),
        ),
        no_new_privileges=options.no_new_privileges,
    )
    return Spec(
        oci_version=SPEC_VERSION,
        process=process,
        root=Root(path="rootfs", readonly=options.read_only),
        hostname=resolved.hostname if resolved.network != "host" else "",
        mounts=(*_system_mounts(options, resolved, host), *_tmpfs_mounts(options), *resolved.mounts),
        linux=_linux(options, resolved, host),
    )


def _system_mounts(options: ContainerOptions, resolved: Resolved, host: Host) -> Sequence[Mount]:
    shm = options.shm_bytes or min((options.memory_bytes or host.memory_bytes) // 2, 1 << 30)
    maps = host.container_maps(options.userns)
    pts_group = ("gid=5",) if maps is None or maps.has(0, 5) else ()
    sys_mode = "rw" if options.privileged else "ro"
    quiet = ("nosuid", "noexec", "nodev")
    if host.rootless and resolved.network == "host":
        sysfs = Mount(destination="/sys", type="bind", source="/sys", options=("rbind", "nosuid", "noexec", "nodev", "ro"))
    else:
        sysfs = Mount(destination="/sys", type="sysfs", source="sysfs", options=(*quiet, sys_mode))
    return (
        Mount(destination="/proc", type="proc", source="proc", options=quiet),
        Mount(destination="/dev", type="tmpfs", source="tmpfs", options=("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount(
            destination="/dev/pts",
            type="devpts",
            source="devpts",
            options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *pts_group),
        ),
        sysfs,
        Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=(*quiet, "relatime", sys_mode)),
        Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=quiet),
        Mount(destination="/dev/shm", type="tmpfs", source="shm", options=(*quiet, "mode=1777", f"size={shm}")),
    )


def _tmpfs_mounts(options: ContainerOptions) -> Sequence[Mount]:
    words = ("nosuid", "nodev", "noexec")
    return [
        Mount(destination=path, type="tmpfs", source="tmpfs", options=(*words, *(w for w in extra.split(",") if w)))
        for path, extra in options.tmpfs.items()
    ]


def _linux(options: ContainerOptions, resolved: Resolved, host: Host) -> Linux:
    kinds = ["mount", "pid", "ipc", "uts", "cgroup"]
    if resolved.network != "host":
        kinds.append("network")
    if host.rootless:
        kinds.append("user")
    masked = () if options.privileged else MASKED_PATHS
    maps = host.container_maps(options.userns)
    return Linux(
        namespaces=tuple(Namespace(type=kind) for kind in kinds),
        uid_mappings=_mappings(maps.uids) if maps else (),
        gid_mappings=_mappings(maps.gids) if maps else (),
        cgroups_path=f"{CGROUP_PARENT}/{resolved.id}",
        resources=resources(options, host),
        rootfs_propagation="private",
        masked_paths=masked,
        readonly_paths=() if options.privileged else READONLY_PATHS,
        sysctl=_sysctls(resolved, maps),
        seccomp=resolved.seccomp,
    )


def _mappings(lines: Sequence[Line]) -> tuple[IDMapping, ...]:
    return tuple(IDMapping(container_id=inside, host_id=outside, size=count) for inside, outside, count in lines)


def _sysctls(resolved: Resolved, maps: IdMaps | None) -> dict[str, str]:
    if resolved.network == "host":
        return {}
    groups = _ping_groups(maps)
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": groups}


def _ping_groups(maps: IdMaps | None) -> str:
    """Return the groups that may ping: the kernel takes only a range whose ends exist inside."""
    if maps is None:
        return "0 2147483647"
    return f"{min(line[0] for line in maps.gids)} {max(line[0] + line[2] for line in maps.gids) - 1}"


def resources(options: ContainerOptions, host: Host) -> Resources:
    """Return the cgroup's part: the limits that were asked for, and (as root) devices denied but for the harmless ones.

    In an ordinary user's namespace the kernel lets nobody make device nodes, so there is nothing to deny.
    """
    quota, period = options.cpu_quota, options.cpu_period
    if options.nano_cpus:
        period = 100_000
        quota = max(options.nano_cpus * period // 1_000_000_000, 1000)
    cpu = Cpu(shares=options.cpu_shares, quota=quota, period=period, cpus=options.cpuset_cpus)
    swap = options.memory_swap_bytes or options.memory_bytes
    memory = Memory(limit=options.memory_bytes, reservation=options.memory_reservation_bytes, swap=swap)
    return Resources(
        devices=() if host.rootless else _device_rules(options),
        memory=memory if memory != Memory() else None,
        cpu=cpu if cpu != Cpu() else None,
        pids=Pids(limit=options.pids_limit),
    )


def _device_rules(options: ContainerOptions) -> tuple[DeviceRule, ...]:
    if options.privileged:
        return (DeviceRule(allow=True, access="rwm"),)
    allowed = [DeviceRule(allow=True, type="c", major=major, minor=minor, access="rwm") for major, minor in _DEVICES]
    return (DeviceRule(allow=False, access="rwm"), *allowed)
