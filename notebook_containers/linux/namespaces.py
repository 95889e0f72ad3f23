"""Namespaces: a process born in new ones, or in those of another process; id maps (namespaces(7), clone(2), user_namespaces(7)).

Standard library only. Failures are OSError. Callers are single-threaded: the child shares nothing with threads that do not exist in it.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable

from notebook_containers.linux import syscalls

FLAGS = {
    "mount": syscalls.CLONE_NEWNS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "user": syscalls.CLONE_NEWUSER,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
    "time": syscalls.CLONE_NEWTIME,
}
FILES = {"mount": "mnt", "cgroup": "cgroup", "uts": "uts", "ipc": "ipc", "user": "user", "pid": "pid", "network": "net", "time": "time"}

_CLONE_PARENT = 0x8000
HELPER_PATH = "/usr/bin:/bin:/usr/local/bin:/run/wrappers/bin"


def open_namespace(pid: int, kind: str) -> int:
    """Return a descriptor that keeps the namespace of ``pid`` alive; ``kind`` is a key of FLAGS. The caller closes it."""
    return os.open(f"/proc/{pid}/ns/{FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)


def same_namespace(pid: int, kind: str) -> bool:
    """Tell whether ``pid`` and the caller are in the same namespace of this kind."""
    return os.stat(f"/proc/{pid}/ns/{FILES[kind]}").st_ino == os.stat(f"/proc/self/ns/{FILES[kind]}").st_ino


def beside(pid: int) -> list[int]:
    """Return the processes in the pid namespace of ``pid``, sorted, as this process counts them."""
    wanted = os.stat(f"/proc/{pid}/ns/pid").st_ino
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == wanted:
                found.append(int(name))
        except OSError:
            continue
    return sorted(found)


def spawn(
    child: Callable[[], None], *, new: int, join: Iterable[tuple[int, int]] = (), before_join: Callable[[], None] | None = None
) -> int:
    """Run ``child`` in a new process, in the new namespaces ``new`` and the joined ones, and return its pid: the caller is its parent.

    ``join`` holds pairs of descriptor (a namespace file, or a pidfd) and flags, joined in this order; ``before_join`` is called in a
    process between, whose cgroup and the like the child inherits, and only when there is something to join. ``child`` must not return;
    when it does, or raises, the process ends with status 125.
    """
    pairs = list(join)
    if not pairs:
        return _clone(child, new, parent=False)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    middle = os.fork()
    if middle == 0:
        _middle(child, new, pairs, writing, before_join)
    os.close(writing)
    answer = os.read(reading, 4096)  # not to the end: the child holds the other side too
    os.close(reading)
    os.waitpid(middle, 0)
    if not answer.startswith(b"+"):
        number, _, text = answer.decode().partition(" ")
        raise OSError(int(number or 71), text or "the process between died")
    return int(answer[1:])


def _middle(child: Callable[[], None], new: int, pairs: list[tuple[int, int]], writing: int, before: Callable[[], None] | None) -> None:
    # A joined pid namespace holds children only, and a user namespace must be joined before others are made inside it: hence a process
    # between, whose child (CLONE_PARENT) is born as the caller's own.
    try:
        if any(flags != syscalls.CLONE_NEWUSER for _, flags in pairs):
            # Who is in there must not be able to trace us while we are half inside (CVE-2016-9962). A user namespace alone shows us to
            # nobody, and whoever makes our links must be able to find our namespaces.
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        if before is not None:
            before()
        for fd, flags in pairs:
            syscalls.setns(fd, flags)
        os.write(writing, b"+%d" % _outer_clone(child, new))
    except OSError as err:
        os.write(writing, f"{err.errno} {err.strerror}".encode())
    except BaseException as err:
        os.write(writing, f"71 {err}".encode())
    finally:
        os._exit(0)


def _outer_clone(child: Callable[[], None], new: int) -> int:
    # clone's result is the pid as the pid namespace of this process sees it: for all callers here that is the outer one.
    return _clone(child, new, parent=True)


def _clone(child: Callable[[], None], new: int, *, parent: bool) -> int:
    flags, exit_signal = (new | _CLONE_PARENT, 0) if parent else (new, int(signal.SIGCHLD))
    pid = clone3(flags, exit_signal)
    if pid == 0:
        try:
            child()
        finally:
            os._exit(125)
    return pid


def clone3(flags: int, exit_signal: int) -> int:
    """clone3(2) as fork(2) with flags: 0 in the child, its pid in the parent.

    PyDLL keeps the interpreter lock over the call, so the child owns it; Python's own after-fork work concerns threads, of which the
    caller has none.
    """
    arguments = (ctypes.c_uint64 * 11)(flags, 0, 0, 0, exit_signal)
    library = ctypes.PyDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    pid = library.syscall(ctypes.c_long(435), arguments, ctypes.c_size_t(ctypes.sizeof(arguments)))
    return syscalls.check("clone3", int(pid))


def outside(lines: Iterable[tuple[int, int, int]], number: int) -> int:
    """Return what an inside id is outside by the lines of a map, or -1 when it does not exist inside."""
    return next((start + number - inside for inside, start, count in lines if inside <= number < inside + count), -1)


def id_map(pid: int, kind: str) -> list[tuple[int, int, int]]:
    """Return the map of a process's user namespace as this process sees it; ``kind`` is uid or gid."""
    with open(f"/proc/{pid}/{kind}_map", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return [(int(inside), int(start), int(count)) for inside, start, count in rows]


def write_id_maps(pid: int, uids: list[tuple[int, int, int]], gids: list[tuple[int, int, int]]) -> None:
    """Write the id maps of a new user namespace from its parent: triples of inside id, outside id, count.

    One line that maps the caller's own id needs no privilege (setgroups is denied then); wider maps need CAP_SETUID here, or the
    setuid helpers newuidmap(1) and newgidmap(1) with an entry in /etc/subuid and /etc/subgid: PermissionError has their words.
    """
    own = len(uids) == len(gids) == 1 and uids[0][1:] == (os.geteuid(), 1) and gids[0][1:] == (os.getegid(), 1)
    if own and os.geteuid() != 0:
        _write(f"/proc/{pid}/setgroups", "deny")
    if own or os.geteuid() == 0:
        _write(f"/proc/{pid}/uid_map", _lines(uids))
        _write(f"/proc/{pid}/gid_map", _lines(gids))
    else:
        _helper("newuidmap", pid, uids)
        _helper("newgidmap", pid, gids)


def _lines(maps: list[tuple[int, int, int]]) -> str:
    return "".join(f"{inside} {outside} {size}\n" for inside, outside, size in maps)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _helper(program: str, pid: int, maps: list[tuple[int, int, int]]) -> None:
    words = [program, str(pid), *(str(number) for line in maps for number in line)]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, writing, 2)]
        child = os.posix_spawn(helper(program), words, {"PATH": HELPER_PATH, "LC_ALL": "C"}, file_actions=actions)
    except OSError as err:
        os.close(reading)
        raise PermissionError(err.errno, f"{program} cannot be started: {err.strerror}", program) from err
    finally:
        os.close(writing)
    with open(reading, "rb") as file:
        said = file.read(4096).decode("utf-8", "replace").strip()
    if os.waitpid(child, 0)[1]:
        raise PermissionError(1, f"{program} refused the id map: {said or 'it gave no reason'}", program)


def helper(program: str) -> str:
    """Return the path of newuidmap or newgidmap; FileNotFoundError when it is not installed. The caller's PATH is not asked."""
    for directory in HELPER_PATH.split(":"):
        if os.access(f"{directory}/{program}", os.X_OK):
            return f"{directory}/{program}"
    raise FileNotFoundError(2, f"{program} is not installed", program)
