"""Tries the kernel features that containers use, each in a process of its own, and says what the kernel answered.

Run as a program by :mod:`.doctor`, because trying means entering namespaces, which a process with threads (a notebook) cannot do.
Nothing stays: mounts are never attached, links die with their namespace, files lie in a scratch directory that the caller removes.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TypeAlias

from notebook_containers.engine import user_ranges
from notebook_containers.lean import dataclass
from notebook_containers.linux import mounts, namespaces, process as processes, syscalls

Work: TypeAlias = Callable[[str], None]
_ALLOW_ALL = bytes.fromhex("060000000000ff7f")  # one instruction: return SECCOMP_RET_ALLOW
_NEW_SESSION_KEYRING = 1
_TABLE = "notebook_containers_probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One trial: the ``call`` in words, and what makes it (given the scratch directory), raising OSError when it is refused.

    ``inside``: in a user namespace of the caller's, as an ordinary user's containers are; ``new`` are further namespaces around it.
    """

    call: str
    work: Work
    inside: bool = True
    new: int = 0


def _namespace(flag: int) -> Work:
    return lambda _scratch: syscalls.unshare(flag)


def _mount(fstype: str, *words: str) -> Work:
    return lambda _scratch: os.close(mounts.create(fstype, fstype, words))


def _overlay(scratch: str) -> None:
    base = os.path.join(scratch, "overlay")
    for name in ("a", "b", "upper", "work"):
        os.makedirs(f"{base}/{name}", exist_ok=True)
    extra = [] if os.geteuid() == 0 and _is_first_user_namespace() else ["userxattr"]
    words = [f"lowerdir={base}/a:{base}/b", f"upperdir={base}/upper", f"workdir={base}/work", "metacopy=off", *extra]
    tree = mounts.create("overlay", "overlay", words)
    os.mkdir("written", dir_fd=tree)
    os.close(tree)


def _many_layers(scratch: str) -> None:
    os.makedirs(f"{scratch}/layer", exist_ok=True)
    context = syscalls.fsopen("overlay")
    syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, "lowerdir+", f"{scratch}/layer")


def _shown_owners(scratch: str) -> None:
    pid = namespaces.spawn(signal.pause, new=syscalls.CLONE_NEWUSER)
    try:
        line = (0, user_ranges.FIRST, 1)
        namespaces.write_id_maps(pid, [line], [line])
        user, tree = namespaces.open_namespace(pid, "user"), mounts.create("bind", scratch, ["bind"])
        mounts.show_owners(tree, user)
    finally:
        processes.kill_and_reap(pid)


def _tracing(_scratch: str) -> None:
    pid = namespaces.spawn(signal.pause, new=0)
    try:
        syscalls.ptrace(syscalls.PTRACE_SEIZE, pid, syscalls.PTRACE_O_EXITKILL)
    finally:
        processes.kill_and_reap(pid)


def _mount_attributes(_scratch: str) -> None:
    tree = mounts.create("tmpfs", "tmpfs", [])
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, set_=syscalls.MOUNT_ATTR_RDONLY)


def _clone_tree(_scratch: str) -> None:
    os.close(syscalls.open_tree(syscalls.AT_FDCWD, "/", syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE))


def _openat2(scratch: str) -> None:
    directory = os.open(scratch, os.O_PATH | os.O_DIRECTORY)
    os.close(syscalls.openat2(directory, ".", os.O_PATH, resolve=syscalls.RESOLVE_IN_ROOT))


def _pidfd(_scratch: str) -> None:
    os.close(os.pidfd_open(os.getpid()))


def _seccomp(_scratch: str) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.seccomp_set_filter(_ALLOW_ALL)


def _seccomp_listener(_scratch: str) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    os.close(syscalls.seccomp_listen(_ALLOW_ALL))


def _keyring(_scratch: str) -> None:
    syscalls.syscall("keyctl", _NEW_SESSION_KEYRING, None)


def _attribute(scratch: str) -> None:
    path = os.path.join(scratch, "attribute")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    os.setxattr(path, "trusted.overlay.nbc" if os.geteuid() == 0 else "user.overlay.nbc", b"y")


def _rename(scratch: str) -> None:
    for name in ("old", "new"):
        os.makedirs(f"{scratch}/{name}", exist_ok=True)
    try:
        syscalls.renameat2(syscalls.AT_FDCWD, f"{scratch}/old", syscalls.AT_FDCWD, f"{scratch}/new", syscalls.RENAME_NOREPLACE)
    except FileExistsError:
        return


def _tun(_scratch: str) -> None:
    os.close(os.open("/dev/net/tun", os.O_RDWR))


def _link(kind: str) -> Work:
    def work(_scratch: str) -> None:
        from notebook_containers.linux import netlink

        header = b"\0" * 16  # struct ifinfomsg
        info = netlink.nested(18, netlink.attribute(1, kind))  # IFLA_LINKINFO, IFLA_INFO_KIND
        payload = header + netlink.attribute(3, "nbcprobe0") + info  # IFLA_IFNAME
        request = netlink.Request(16, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, payload, what=f"add a {kind} link")  # RTM_NEWLINK
        with netlink.NetlinkSocket() as sock:
            sock.execute([request])

    return work


def _firewall(_scratch: str) -> None:
    from notebook_containers.linux import netlink
    from notebook_containers.network import nftables

    with netlink.NetlinkSocket(netlink.NETLINK_NETFILTER) as sock:
        nftables.commit(sock, [nftables.add_table(_TABLE, "probe")], expected=nftables.generation(sock))


PROBES: dict[str, Probe] = {
    "user namespace": Probe(call="clone3(CLONE_NEWUSER) and one line in its uid_map", work=lambda _s: None),
    "mount namespace": Probe(call="unshare(CLONE_NEWNS)", work=_namespace(syscalls.CLONE_NEWNS)),
    "pid namespace": Probe(call="unshare(CLONE_NEWPID)", work=_namespace(syscalls.CLONE_NEWPID)),
    "network namespace": Probe(call="unshare(CLONE_NEWNET)", work=_namespace(syscalls.CLONE_NEWNET)),
    "ipc namespace": Probe(call="unshare(CLONE_NEWIPC)", work=_namespace(syscalls.CLONE_NEWIPC)),
    "uts namespace": Probe(call="unshare(CLONE_NEWUTS)", work=_namespace(syscalls.CLONE_NEWUTS)),
    "cgroup namespace": Probe(call="unshare(CLONE_NEWCGROUP)", work=_namespace(syscalls.CLONE_NEWCGROUP)),
    "time namespace": Probe(call="unshare(CLONE_NEWTIME)", work=_namespace(syscalls.CLONE_NEWTIME)),
    "overlay": Probe(call="mount of an overlay of two layers, written to", work=_overlay),
    "layers one by one": Probe(call='fsconfig(overlay, "lowerdir+")', work=_many_layers),
    "mount interface": Probe(call="fsopen(tmpfs), fsmount, mount_setattr", work=_mount_attributes),
    "owners shown otherwise": Probe(call="mount_setattr(MOUNT_ATTR_IDMAP) in the store", work=_shown_owners),
    "own children traced": Probe(call="ptrace(PTRACE_SEIZE)", work=_tracing, inside=False),
    "mount copies": Probe(call="open_tree(OPEN_TREE_CLONE)", work=_clone_tree),
    "proc": Probe(call="mount of a fresh proc", work=_mount("proc", "nosuid", "noexec", "nodev"), new=syscalls.CLONE_NEWPID),
    "sysfs": Probe(call="mount of a fresh sysfs", work=_mount("sysfs", "nosuid", "noexec", "nodev", "ro"), new=syscalls.CLONE_NEWNET),
    "devpts": Probe(call="mount of a fresh devpts", work=_mount("devpts", "newinstance", "ptmxmode=0666")),
    "mqueue": Probe(call="mount of a fresh mqueue", work=_mount("mqueue"), new=syscalls.CLONE_NEWIPC),
    "paths held inside": Probe(call="openat2(RESOLVE_IN_ROOT)", work=_openat2, inside=False),
    "descriptors closed": Probe(call="close_range", work=lambda _s: syscalls.close_range(1000, 1001), inside=False),
    "processes by descriptor": Probe(call="pidfd_open", work=_pidfd, inside=False),
    "system call filter": Probe(call="seccomp(SECCOMP_SET_MODE_FILTER)", work=_seccomp, inside=False),
    "refused calls named": Probe(call="seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)", work=_seccomp_listener, inside=False),
    "keyrings": Probe(call="keyctl(KEYCTL_JOIN_SESSION_KEYRING)", work=_keyring, inside=False),
    "layer attributes": Probe(call="setxattr(overlay's attribute) in the store", work=_attribute, inside=False),
    "whole renames": Probe(call="renameat2(RENAME_NOREPLACE) in the store", work=_rename, inside=False),
    "bridge": Probe(call="netlink: add a bridge", work=_link("bridge"), new=syscalls.CLONE_NEWNET),
    "virtual cable": Probe(call="netlink: add a veth pair", work=_link("veth"), new=syscalls.CLONE_NEWNET),
    "firewall": Probe(call="nftables: add a table", work=_firewall, new=syscalls.CLONE_NEWNET),
    "tunnel device": Probe(call="open(/dev/net/tun)", work=_tun, inside=False),
}


def main() -> None:
    """Try everything in the scratch directory named by the first argument; prints JSON: name → [available, how that is known]."""
    found = {name: attempt(probe, sys.argv[1]) for name, probe in PROBES.items()}
    json.dump(found, sys.stdout)


def attempt(probe: Probe, scratch: str) -> tuple[bool, str]:
    """Try one feature in a child process; tells whether it works, and the call with the kernel's answer."""
    told, say = os.pipe2(os.O_CLOEXEC)
    wait, go = os.pipe2(os.O_CLOEXEC)
    user = syscalls.CLONE_NEWUSER if probe.inside and os.geteuid() != 0 else 0
    new = probe.new | ((user | syscalls.CLONE_NEWNS) if probe.inside else 0)

    def child() -> None:
        os.close(go)
        os.read(wait, 1)
        os.write(say, _try(probe.work, scratch).encode())
        os._exit(0)

    pid = -1
    try:
        pid = namespaces.spawn(child, new=new)
        if user:
            namespaces.write_id_maps(pid, [(0, os.geteuid(), 1)], [(0, os.getegid(), 1)])
        failure = ""
    except OSError as err:
        failure = f"a user namespace for it: {_name(err)}" if user else _name(err)
    for fd in (say, wait, go):
        os.close(fd)
    with open(told, "rb") as file:
        answer = file.read().decode()
    if pid > 0:
        os.waitpid(pid, 0)
    failure = failure or (answer if answer != "+" else "") or ("" if answer else "the process died")
    return not failure, f"{probe.call}: {failure or 'works'}"


def _try(work: Work, scratch: str) -> str:
    try:
        work(scratch)
    except OSError as err:
        return _name(err)
    except Exception as err:
        return f"{type(err).__name__}: {err}"
    return "+"


def _name(err: OSError) -> str:
    return f"{errno.errorcode.get(err.errno or 0, err.errno)} ({(err.strerror or str(err)).rpartition(': ')[2].lower()})"


def _is_first_user_namespace() -> bool:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() == ["0", "0", "4294967295"]


if __name__ == "__main__":
    main()
