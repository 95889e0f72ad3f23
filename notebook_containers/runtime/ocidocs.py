"""Documents of the low-level runtime: its features (runtime-spec, features.md) and a Spec to start from. Pure."""

from __future__ import annotations

from notebook_containers import __version__
from notebook_containers.linux import capabilities, mounts, namespaces
from notebook_containers.runtime import hooks, idmapped
from notebook_containers.runtime.document import Table

VERSION_MIN, VERSION_MAX = "1.0.0", "1.2.0"

_ACTIONS = ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP")
_OPERATORS = ("EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE")
_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_QUIET = ("nosuid", "noexec", "nodev")
_MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", (*_QUIET, "mode=1777", "size=65536k")),
    ("/dev/mqueue", "mqueue", "mqueue", _QUIET),
    ("/sys", "sysfs", "sysfs", (*_QUIET, "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", (*_QUIET, "relatime", "ro")),
)
_MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def features() -> Table:
    """Return the features document."""
    return {
        "ociVersionMin": VERSION_MIN,
        "ociVersionMax": VERSION_MAX,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted({*mounts.WORDS, *idmapped.WORDS}),
        "linux": {
            "namespaces": sorted(namespaces.FLAGS),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": False},
            "seccomp": {
                "enabled": True,
                "actions": [f"SCMP_ACT_{word}" for word in _ACTIONS],
                "operators": [f"SCMP_CMP_{word}" for word in _OPERATORS],
                "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64"],
                "knownFlags": [],
                "supportedFlags": [],
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {"notebook-containers.version": __version__},
        "potentiallyUnsafeConfigAnnotations": [],
    }


def spec(*, rootless: bool = False, euid: int = 0, egid: int = 0) -> Table:
    """Return a Spec of a shell in ``rootfs``; with ``rootless`` in a user namespace where root is ``euid``:``egid`` outside."""
    kinds = ["pid", *([] if rootless else ["network"]), "ipc", "uts", "mount", "cgroup", *(["user"] if rootless else [])]
    maps = {"uidMappings": [_single(euid)], "gidMappings": [_single(egid)]} if rootless else {}
    devices = {} if rootless else {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}
    return {
        "ociVersion": VERSION_MAX,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "nbc",
        "mounts": [_mount(*entry, rootless=rootless) for entry in _MOUNTS],
        "linux": {
            **devices,
            **maps,
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def _single(number: int) -> Table:
    return {"containerID": 0, "hostID": number, "size": 1}


def _mount(destination: str, kind: str, source: str, words: tuple[str, ...], *, rootless: bool) -> Table:
    if rootless and kind == "sysfs":
        # a new sysfs belongs to the owner of the network namespace, which is the host's here
        kind, source, words = "none", "/sys", ("rbind", *_QUIET, "ro")
    options = [word for word in words if not (rootless and word.startswith("gid="))]
    return {"destination": destination, "type": kind, "source": source, **({"options": options} if options else {})}
