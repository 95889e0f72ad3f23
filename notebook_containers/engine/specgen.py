"""Options and image config to a runtime Spec: pure, no kernel and no disk (runtime-spec 1.2; HARDENING's default posture).

Everything that depends on the machine enters as :class:`Host`; everything that was looked up (ids, addresses, files) as :class:`Resolved`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from notebook_containers.engine import limit_words, namespace_words
from notebook_containers.engine.device_words import DeviceWord
from notebook_containers.engine.host import Host
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.posture import DEFAULT_CAPABILITIES, MASKED_PATHS, PATH, READONLY_PATHS
from notebook_containers.engine.resources import resources
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import dataclass, field
from notebook_containers.linux.idmaps import IdMaps, Line
from notebook_containers.oci.image import ContainerConfig
from notebook_containers.oci.runtime import (
    SPEC_VERSION,
    BlockIO,
    Capabilities,
    Device,
    DeviceRule,
    IDMapping,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
    User,
)

CGROUP_PARENT = "notebook-containers"
_KINDS = ("mount", "pid", "ipc", "uts", "cgroup", "network")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What was looked up for this container: numeric ids, mounts of volumes and of the generated files, the seccomp profile.

    ``devices`` are the host's nodes with the words that asked for them; ``joined`` is, by kind, the file of another's namespace.
    """

    id: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    mounts: tuple[Mount, ...]
    network: str
    hostname: str
    seccomp: Mapping[str, object] | None
    devices: Sequence[tuple[Device, DeviceWord]] = ()
    block_io: BlockIO | None = None
    joined: Mapping[str, str] = field(default_factory=dict)
    maps: IdMaps | None = None
    """The ids given to a container of root; None for the host's own way."""


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
    base = [PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if options.tty else [])]
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
    """Return the Spec of one container; raises InvalidArgument or Unsupported for what this caller or machine cannot have."""
    _check(options, host)
    capabilities = capability_set(options, host)
    process = Process(
        terminal=options.tty,
        user=User(uid=resolved.uid, gid=resolved.gid, additional_gids=resolved.groups, umask=0o022),
        args=arguments(options, config),
        env=environment(options, config, hostname=resolved.hostname, home=resolved.home),
        cwd=options.working_dir or config.working_dir or "/",
        capabilities=Capabilities(bounding=capabilities, effective=capabilities, permitted=capabilities),
        rlimits=_rlimits(options),
        oom_score_adj=options.oom_score_adj,
        no_new_privileges=options.no_new_privileges,
    )
    return Spec(
        oci_version=SPEC_VERSION,
        process=process,
        root=Root(path="rootfs", readonly=options.read_only),
        hostname="" if options.uts_mode else resolved.hostname,
        domainname="" if options.uts_mode else options.domainname,
        mounts=(
            *_system_mounts(options, resolved, host),
            *_ipc_mounts(options, resolved, host),
            *_device_mounts(resolved, host),
            *sorted((*_tmpfs_mounts(options), *resolved.mounts), key=_depth),
        ),
        annotations=options.annotations,
        linux=_linux(options, resolved, host),
    )


def _maps(options: ContainerOptions, resolved: Resolved, host: Host) -> IdMaps | None:
    return resolved.maps or host.container_maps(options.userns)


def _depth(mount: Mount) -> int:
    """How deep a mount's place lies: what lies inside another comes after it, else it would be covered (Docker's order too)."""
    return len([part for part in mount.destination.split("/") if part not in ("", ".")])


def _check(options: ContainerOptions, host: Host) -> None:
    limit_words.check_ulimits(options.ulimits, host.ulimits)
    if (
        options.oom_score_adj is not None
        and options.oom_score_adj < host.oom_score_adj
        and (host.rootless or "CAP_SYS_RESOURCE" not in host.capabilities)
    ):
        raise InvalidArgument(
            f"--oom-score-adj {options.oom_score_adj} is below this notebook's own {host.oom_score_adj}, which needs CAP_SYS_RESOURCE",
            hint=f"choose {host.oom_score_adj} to 1000",
        )
    if host.rootless and options.device_rules:
        raise Unsupported("--device-cgroup-rule needs root: an ordinary user has no device rules", hint="give nodes with --device")


def notes(options: ContainerOptions, host: Host) -> tuple[str, ...]:
    """Return in words what was asked for and is weaker or riskier than it looks."""
    found = []
    if options.oom_kill_disable and not options.memory_bytes:
        found.append("the out-of-memory killer is off and there is no memory limit: the machine can run out of memory")
    if host.rootless and any(set(word.access) & {"r", "w"} != {"r", "w"} for word in options.devices):
        found.append("device access is not narrowed: an ordinary user has no device rules, the node's own mode decides")
    if options.userns == "auto" and any(volume.source.startswith("/") for volume in options.volumes):
        found.append("--userns auto: files of the host's directories belong to nobody inside; files of volumes have their owners")
    if options.gpus:
        found.append("--gpus gives the device nodes; the driver's libraries must be in the image, in the version of this machine's driver")
    if _rules_cgroups(options, host):
        found.append(
            "with SYS_ADMIN and --cgroupns host the container's root is the machine's for cgroups: on cgroup v1 it can have the kernel run "
            "programs outside (release_agent); without --cgroupns host it cannot"
        )
    if options.cpu_rt_runtime and "CAP_SYS_NICE" not in options.cap_add and not options.privileged:
        found.append("a real-time budget is of use only with --cap-add SYS_NICE (and --ulimit rtprio)")
    return tuple(found)


def _rules_cgroups(options: ContainerOptions, host: Host) -> bool:
    """Whether the container's root is the machine's for cgroups: it may mount version 1 hierarchies, and sees their tops."""
    if not host.cgroup_v1 or host.rootless or options.userns == "auto" or options.cgroupns_mode != "host":
        return False
    return "CAP_SYS_ADMIN" in capability_set(options, host)


def _rlimits(options: ContainerOptions) -> tuple[Rlimit, ...]:
    base = (Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=524288), Rlimit(type="RLIMIT_CORE", soft=0, hard=0))
    return tuple({limit.type: limit for limit in (*base, *options.ulimits)}.values())


def _system_mounts(options: ContainerOptions, resolved: Resolved, host: Host) -> Sequence[Mount]:
    maps = _maps(options, resolved, host)
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
    )


def _ipc_mounts(options: ContainerOptions, resolved: Resolved, host: Host) -> Sequence[Mount]:
    quiet = ("nosuid", "noexec", "nodev")
    shm = options.shm_bytes or min((options.memory_bytes or host.memory_bytes) // 2, 1 << 30)
    # the host's message queues cannot be mounted anew by an ordinary user
    queue = Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=quiet)
    mounts = [] if host.rootless and options.ipc_mode == "host" else [queue]
    if options.ipc_mode == "host":
        return [*mounts, Mount(destination="/dev/shm", type="bind", source="/dev/shm", options=("rbind", "rprivate", *quiet, "rw"))]
    if "ipc" in resolved.joined:
        source = resolved.joined["ipc"].removesuffix("/ns/ipc") + "/root/dev/shm"
        return [*mounts, Mount(destination="/dev/shm", type="bind", source=source, options=("rbind", "rprivate", *quiet, "rw"))]
    if options.ipc_mode == "none":
        return mounts
    return [*mounts, Mount(destination="/dev/shm", type="tmpfs", source="shm", options=(*quiet, "mode=1777", f"size={shm}"))]


def _device_mounts(resolved: Resolved, host: Host) -> Sequence[Mount]:
    """In a user namespace nodes cannot be made: the host's are bound."""
    if not host.rootless and resolved.maps is None:
        return []
    options = ("bind", "rprivate", "nosuid", "noexec", "rw")
    return [Mount(destination=node.path, type="bind", source=word.source, options=options) for node, word in resolved.devices]


def _tmpfs_mounts(options: ContainerOptions) -> Sequence[Mount]:
    words = ("nosuid", "nodev", "noexec")
    return [
        Mount(destination=path, type="tmpfs", source="tmpfs", options=(*words, *(w for w in extra.split(",") if w)))
        for path, extra in options.tmpfs.items()
    ]


def group(
    options: ContainerOptions, host: Host, container_id: str, *, devices: Sequence[tuple[Device, DeviceWord]], block_io: BlockIO | None
) -> tuple[str, Resources]:
    """Return the path of the container's cgroup and its limits."""
    # init makes the node inside the cgroup, which takes the m that the word may lack; it gives no access that the node does not
    rules = [
        DeviceRule(allow=True, type=node.type, major=node.major, minor=node.minor, access="".join(dict.fromkeys(f"{word.access}m")))
        for node, word in (() if host.rootless else devices)
    ]
    parent = f"{CGROUP_PARENT}/{options.cgroup_parent}" if options.cgroup_parent else CGROUP_PARENT
    return f"{parent}/{container_id}", resources(options, host, devices=rules, block_io=block_io)


def _linux(options: ContainerOptions, resolved: Resolved, host: Host) -> Linux:
    devices = [] if host.rootless else resolved.devices
    bound = bool(resolved.maps)  # in a user namespace nodes cannot be made: they are bound, and the rules decide
    maps = _maps(options, resolved, host)
    path, limits = group(options, host, resolved.id, devices=devices, block_io=resolved.block_io)
    return Linux(
        namespaces=_namespaces(options, resolved, host),
        uid_mappings=_mappings(maps.uids) if maps else (),
        gid_mappings=_mappings(maps.gids) if maps else (),
        devices=() if bound else tuple(node for node, _word in devices),
        cgroups_path=path,
        resources=limits,
        rootfs_propagation="private",
        masked_paths=MASKED_PATHS if options.masked_paths else (),
        readonly_paths=READONLY_PATHS if options.masked_paths else (),
        sysctl={**_sysctls(resolved, maps), **options.sysctls},
        seccomp=resolved.seccomp,
    )


def _namespaces(options: ContainerOptions, resolved: Resolved, host: Host) -> tuple[Namespace, ...]:
    """The container's own ones have no path; the host's are left out."""
    modes = {
        "pid": options.pid_mode,
        "ipc": options.ipc_mode,
        "uts": options.uts_mode,
        "cgroup": options.cgroupns_mode,
        "network": resolved.network,
    }
    kinds = [kind for kind in (*_KINDS, *(["user"] if host.rootless or resolved.maps else [])) if modes.get(kind) != "host"]
    for kind, mode in modes.items():
        if mode.startswith(namespace_words.JOIN) and kind not in resolved.joined:
            raise InvalidArgument(f"the {kind} namespace of {mode.removeprefix(namespace_words.JOIN)[:12]} was not looked up")
    return tuple(Namespace(type=kind, path=resolved.joined.get(kind, "")) for kind in kinds)


def _mappings(lines: Sequence[Line]) -> tuple[IDMapping, ...]:
    return tuple(IDMapping(container_id=inside, host_id=outside, size=count) for inside, outside, count in lines)


def _sysctls(resolved: Resolved, maps: IdMaps | None) -> dict[str, str]:
    if resolved.network == "host" or "network" in resolved.joined:
        return {}
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": _ping_groups(maps)}


def _ping_groups(maps: IdMaps | None) -> str:
    """Return the groups that may ping: the kernel takes only a range whose ends exist inside."""
    if maps is None:
        return "0 2147483647"
    return f"{min(line[0] for line in maps.gids)} {max(line[0] + line[2] for line in maps.gids) - 1}"
