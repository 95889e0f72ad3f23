"""``nbc doctor``: every kernel feature that containers use, whether this caller has it, how that is known, what is lost and what to do.

Works where no engine can be opened; changes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import notebook_containers
from notebook_containers.engine.parts import default_root
from notebook_containers.lean import dataclass
from notebook_containers.linux import cgroups, delegation, idmaps
from notebook_containers.network import userland
from notebook_containers.oci.documents import JSON

_PROGRAM = "import sys; sys.path[:0] = {paths!r}; from notebook_containers.engine.probes import main; main()"
_USERNS = "sysctl -w user.max_user_namespaces=15000"
_NEWER = "run a kernel that is newer: Linux {} or later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One feature: ``available`` is yes, no, or partly; ``how`` is the call and the kernel's answer.

    ``lost`` says what does not work without it, ``todo`` the exact line for an administrator, or what else helps; both are empty when
    it is available. ``needed`` tells whether containers cannot run at all without it.
    """

    feature: str
    available: str
    how: str
    lost: str = ""
    todo: str = ""
    needed: bool = False

    def row(self) -> Mapping[str, JSON]:
        """As a row of a table."""
        return {
            "feature": self.feature,
            "available": self.available,
            "how": self.how,
            "lost": self.lost,
            "todo": self.todo,
            "needed": self.needed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    lost: str
    todo: str
    needed: bool = False
    who: str = "all"  # all, root or user


_LOSSES: Mapping[str, _Loss] = {
    "user namespace": _Loss(lost="an ordinary user cannot run containers at all", todo="", needed=True, who="user"),
    "mount namespace": _Loss(lost="containers", todo="grant CAP_SYS_ADMIN to what this runs in", needed=True),
    "pid namespace": _Loss(lost="containers", todo="grant CAP_SYS_ADMIN to what this runs in", needed=True),
    "network namespace": _Loss(lost="networks of their own: only --network host is left", todo="a kernel with CONFIG_NET_NS"),
    "ipc namespace": _Loss(lost="containers", todo="a kernel with CONFIG_IPC_NS", needed=True),
    "uts namespace": _Loss(lost="host names of their own", todo="a kernel with CONFIG_UTS_NS", needed=True),
    "cgroup namespace": _Loss(lost="containers", todo="a kernel with CONFIG_CGROUPS", needed=True),
    "time namespace": _Loss(lost="clocks of their own, which must be asked for", todo=_NEWER.format("5.6")),
    "overlay": _Loss(lost="images and builds", todo="modprobe overlay; as an ordinary user Linux 5.11 or later", needed=True),
    "layers one by one": _Loss(
        lost="nothing, but many layers are mounted by the old call, whose option text is limited", todo=_NEWER.format("6.5")
    ),
    "mount interface": _Loss(lost="containers", todo=_NEWER.format("5.12"), needed=True),
    "owners shown otherwise": _Loss(
        lost="--userns auto", todo="put NBC_ROOT on ext4, xfs, btrfs or tmpfs, and run Linux 5.19 or later (tmpfs: 6.3)", who="root"
    ),
    "own children traced": _Loss(
        lost="exec in containers with --cap-add SYS_PTRACE", todo="grant CAP_SYS_PTRACE to what this runs in", who="root"
    ),
    "mount copies": _Loss(lost="bind mounts", todo=_NEWER.format("5.2"), needed=True),
    "proc": _Loss(
        lost="containers: the kernel gives a fresh proc only where the caller's own is not covered",
        todo="inside another container: start that one with --security-opt systempaths=unconfined",
        needed=True,
    ),
    "sysfs": _Loss(
        lost="a sysfs of their own: the machine's is shown read-only", todo="start the outer container with its /sys not covered"
    ),
    "devpts": _Loss(lost="terminals (-t)", todo="a kernel with CONFIG_UNIX98_PTYS", needed=True),
    "mqueue": _Loss(lost="POSIX message queues", todo="a kernel with CONFIG_POSIX_MQUEUE", needed=True),
    "paths held inside": _Loss(lost="containers", todo=_NEWER.format("5.6"), needed=True),
    "descriptors closed": _Loss(lost="containers", todo=_NEWER.format("5.11"), needed=True),
    "processes by descriptor": _Loss(lost="containers", todo=_NEWER.format("5.3"), needed=True),
    "system call filter": _Loss(lost="the seccomp filter", todo="a kernel with CONFIG_SECCOMP_FILTER", needed=True),
    "refused calls named": _Loss(
        lost="the name of a call that seccomp refuses, where the program's own words do not tell it",
        todo="Linux 5.0 or later; inside another container: start that one with --security-opt seccomp=unconfined",
    ),
    "keyrings": _Loss(lost="nothing: without keyrings there are no keys to hide", todo=""),
    "layer attributes": _Loss(
        lost="deletions of directories in layers", todo="put NBC_ROOT on ext4, xfs, btrfs or tmpfs (Linux 6.6)", needed=True
    ),
    "whole renames": _Loss(lost="the store", todo="put NBC_ROOT on a local file system, not NFS", needed=True),
    "bridge": _Loss(lost="networks: --network host and none are left", todo="modprobe bridge", who="root"),
    "virtual cable": _Loss(lost="networks: --network host and none are left", todo="modprobe veth", who="root"),
    "firewall": _Loss(lost="translation outward, published ports and isolation between networks", todo="modprobe nf_tables", who="root"),
    "tunnel device": _Loss(lost="connections outward (pasta, slirp4netns)", todo="modprobe tun; chmod 666 /dev/net/tun", who="user"),
}


def examine(root: Path | None = None) -> list[Check]:
    """Return every feature, those that are missing and needed first; ``root`` is the store's directory, for what depends on its disk."""
    root = root or default_root()
    found = [*_kernel(root), *_ids(), *_limits(), *_outward()]
    order = {"no": 0, "partly": 1, "yes": 2}
    return sorted(found, key=lambda check: (order[check.available], not check.needed))


def summary(checks: list[Check]) -> str:
    """Say in one line what the table means."""
    missing = [check.feature for check in checks if check.available == "no" and check.needed]
    if missing:
        return f"containers cannot run here: {', '.join(missing)}"
    weaker = sum(check.available != "yes" for check in checks)
    return (
        f"containers run here; {weaker} of {len(checks)} features are missing or weaker" if weaker else "containers run here; all is there"
    )


def _kernel(root: Path) -> Iterator[Check]:
    rootless = os.geteuid() != 0
    for name, (works, how) in _probed(root).items():
        loss = _LOSSES[name]
        if loss.who not in ("all", "user" if rootless else "root"):
            continue
        todo = loss.todo or (_user_namespace_line() if name == "user namespace" else "")
        yield Check(
            feature=name,
            available="yes" if works else "no",
            how=how,
            lost="" if works else loss.lost,
            todo="" if works else todo,
            needed=loss.needed,
        )


def _probed(root: Path) -> dict[str, tuple[bool, str]]:
    with tempfile.TemporaryDirectory(prefix="nbc-doctor-", dir=_scratch_place(root)) as scratch:
        paths = [str(Path(notebook_containers.__file__).parents[1]), *[path for path in sys.path if path]]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-E", "-c", _PROGRAM.format(paths=paths), scratch],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            cwd="/",
            capture_output=True,
            check=False,
        )
        _clear_work(Path(scratch))
    if done.returncode:
        tail = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return dict.fromkeys(_LOSSES, (False, f"could not be tried: {tail[:200]}"))
    return {name: (bool(works), str(how)) for name, (works, how) in json.loads(done.stdout).items()}


def _scratch_place(root: Path) -> str | None:
    """Return the nearest directory at or above the store's that can be written: the trials shall meet the store's own disk."""
    for place in (root, *root.parents):
        if place.is_dir():
            return str(place) if os.access(place, os.W_OK | os.X_OK) else None
    return None


def _clear_work(scratch: Path) -> None:
    """Open overlay's work directory, which the kernel leaves with mode 000, so that it can be deleted."""
    inner = scratch / "overlay" / "work" / "work"
    if inner.is_dir():
        inner.chmod(0o700)


def _user_namespace_line() -> str:
    known = {
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": ("1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        "/proc/sys/user/max_user_namespaces": ("0", _USERNS),
    }
    lines = [line for path, (bad, line) in known.items() if _read(path) == bad]
    return "; ".join(lines) or "inside another container its owner must allow clone(CLONE_NEWUSER) (its seccomp profile or security module)"


def _ids() -> Iterator[Check]:
    if os.geteuid() == 0:
        yield Check(feature="user ids", available="yes", how="the caller is root: all ids are there")
        return
    from notebook_containers.store.idmap import best

    maps, why = best()
    if not why:
        yield Check(feature="user ids", available="yes", how=f"newuidmap and newgidmap wrote {maps.describe()}")
        return
    missing = idmaps.helpers_missing()
    todo = "apt-get install uidmap" if "not installed" in missing else ""
    if idmaps.wide_map(idmaps.lent_ids()) is None:
        todo = "; ".join(word for word in (todo, idmaps.line_for_administrator()) if word)
    yield Check(
        feature="user ids",
        available="partly",
        how=f"one id only: {why}",
        lost="USER other than root, and the owners of files in images; installers are told that chown and setuid are done",
        todo=todo or "allow the setuid programs newuidmap and newgidmap to work",
    )


def _limits() -> Iterator[Check]:
    hierarchy = cgroups.detect()
    for name, reason in hierarchy.usable().items():
        works = reason or "a group can be made"
        yield Check(
            feature=f"{name} limits",
            available="no" if reason else "yes",
            how=f"cgroup {hierarchy.version}, access(its directory, W_OK): {works}",
            lost=f"limits by the {name} controller" if reason else "",
            todo=_limits_line(hierarchy.version, name) if reason else "",
        )
    if os.geteuid() != 0:
        state = delegation.look()
        yield Check(
            feature="delegated cgroups",
            available="yes" if state.available else "no",
            how=state.how,
            lost="" if state.available else "limits for an ordinary user's containers",
            todo="" if state.available else state.todo,
        )


def _limits_line(version: str, name: str) -> str:
    if version == "none":
        return "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    if version in ("v1", "hybrid"):
        if os.geteuid() != 0:
            return "boot with systemd.unified_cgroup_hierarchy=1: version 1 cannot be delegated safely"
        return f"mkdir -p /sys/fs/cgroup/{name}; mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}"
    return delegation.DELEGATE_LINE


def _outward() -> Iterator[Check]:
    if os.geteuid() == 0:
        return
    tool = userland.find()
    open_tun = os.access("/dev/net/tun", os.R_OK | os.W_OK)
    yield Check(
        feature="connections outward",
        available="yes" if tool else "no",
        how=f"access({tool.path}, X_OK): works"
        if tool
        else f"access({'/usr/bin/pasta, X_OK' if open_tun else '/dev/net/tun, R_OK | W_OK'}): refused",
        lost="" if tool else "the outside cannot be reached without --network host",
        todo="" if tool else "apt-get install passt" if open_tun else "modprobe tun; chmod 666 /dev/net/tun",
    )
    first = _read("/proc/sys/net/ipv4/ip_unprivileged_port_start") or "1024"
    low = first.isdigit() and int(first) > 80
    yield Check(
        feature="low published ports",
        available="partly" if low else "yes",
        how=f"net.ipv4.ip_unprivileged_port_start is {first}",
        lost=f"publishing on ports below {first}" if low else "",
        todo="sysctl -w net.ipv4.ip_unprivileged_port_start=80" if low else "",
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
