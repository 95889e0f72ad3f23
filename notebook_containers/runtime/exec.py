"""A further process in a running container: joins its namespaces and its cgroup, takes the asked-for rights, execve.

One small process per exec stays outside as the command's parent and reports its exit code. The one that is half inside is not dumpable,
so the container can neither trace it nor read what it holds (CVE-2016-9962), and is gone when the command runs; a container that may
trace all the same stands still meanwhile (:mod:`.unseen`).
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import stat

from notebook_containers.errors import Error, RuntimeFailure, StartFailed
from notebook_containers.linux import capabilities, namespaces, process as processes, syscalls
from notebook_containers.runtime import console, container, document, launch, limits, scheduling, unseen, wire
from notebook_containers.runtime.actor import Actor
from notebook_containers.runtime.document import Table

_JOINED = ("mount", "pid", "network", "ipc", "uts", "cgroup", "time")

_REHEARSED = json.dumps(
    {
        "cgroup": "",
        "cgroupLocations": {},
        "process": {
            "args": ["true"],
            "env": [f"NAME{number}=value" for number in range(40)],
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
            "capabilities": {"bounding": ["CAP_CHOWN"]},
            "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
        },
    }
).encode()


def main(conn: socket.socket, stdio: list[int]) -> None:
    """Serve one exec request on ``conn``; the command gets ``stdio``, or a terminal whose master is sent to the caller."""
    processes.keep_only([conn.fileno(), *stdio])
    processes.set_name("nbc-exec")
    os.chdir("/")
    gc.disable()  # it would write to every page shared with the spawner, and there is little to collect
    try:
        request = wire.parse(wire.receive_request(conn))
        pid, master = enter(request, stdio, alone=True)
    except Error as err:
        _tell(conn, wire.json_frame(wire.ANSWER, {"error": wire.error_table(err)}), [])
        return
    except (OSError, ValueError) as err:
        _tell(conn, wire.json_frame(wire.ANSWER, {"error": wire.error_table(RuntimeFailure(f"cannot exec: {err}"))}), [])
        return
    _tell(conn, wire.json_frame(wire.ANSWER, {"pid": pid, "terminal": bool(master)}), master)
    for fd in stdio:
        os.close(fd)
    processes.stdio_to_null()
    if master:
        _mind_terminal(conn, pid, master[0])
    code = processes.exit_code(os.waitpid(pid, 0)[1])
    _tell(conn, wire.json_frame(wire.EXIT, {"exitCode": code}), [])
    if identity := document.text(request, "execId"):
        told = Actor(document.text(request, "run"), document.text(request, "bundle"))
        told.tell("exec_die", {"execID": identity, "exitCode": code})


def rehearse() -> None:
    """Do once what every exec does first, for the reason of :func:`.ahead.rehearse`: it starts nothing."""
    state = wire.parse(_REHEARSED)
    process = _complete(document.table(state, "process"), document.table(state, "process"))
    bundle = document.PlainBundle.told("/", wire.parse(json.dumps({"config": state, "options": {}}).encode()))
    own = os.getpid()
    os.close(processes.open_pidfd(own, processes.start_time(own)))
    namespaces.same_namespace(own, "user")
    limits.restore(state)
    launch.possible_limits(process)
    launch.environment(process)
    capabilities.mask(document.texts(document.table(process, "capabilities"), "bounding"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        _Entry(process, theirs, [], bundle.seccomp, set_groups=_may_trace(bundle))
        processes.send_fds(ours, b"{}", [ours.fileno()])
        for fd in processes.recv_fds(theirs, 16, 1)[1]:
            os.close(fd)


def _mind_terminal(conn: socket.socket, pid: int, master: int) -> None:
    """Hold the command's terminal until it ends: its caller's going is no hang-up, and what it prints from then on is dropped."""
    ended = syscalls.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(conn, select.POLLRDHUP)
    while ended not in (ready := [fd for fd, _event in poll.poll()]):
        if conn.fileno() in ready:
            poll.unregister(conn)
            poll.register(master, select.POLLIN)
        elif not _swallow(master):
            poll.unregister(master)


def _swallow(terminal: int) -> bool:
    try:
        return bool(os.read(terminal, 65536))
    except OSError:  # nobody holds its other side any more
        return False


def _tell(conn: socket.socket, data: bytes, fds: list[int]) -> None:
    try:
        processes.send_fds(conn, data, fds)
    except OSError:
        pass  # nobody is interested any more


def enter(request: Table, stdio: list[int], *, alone: bool = False) -> tuple[int, list[int]]:
    """Start the command of ``request["process"]`` in the container whose state the rest of it is, as a child of this process.

    Returns its pid and the terminal's master, if it has one. StartFailed when it cannot run. ``alone`` as for :func:`join`.
    """
    bundle = document.PlainBundle(document.text(request, "bundle"))
    return join(request, document.table(request, "process"), bundle, stdio, alone=alone)


def join(
    state: Table,
    process: Table,
    bundle: document.PlainBundle,
    stdio: list[int],
    *,
    preserved: int = 0,
    foreign: bool = False,
    alone: bool = False,
) -> tuple[int, list[int]]:
    """Start a command in the container whose ``state`` names its first process and its cgroup, as a child of the caller.

    Returns its pid and the terminal's master, if it has one. ``stdio`` are its three streams, ``preserved`` descriptors from 3 on are
    passed to it. ``foreign``: another runtime's caller asked, HOME and labels are set as it expects. StartFailed when it cannot run.
    ``alone``: the caller has one thread and does nothing else, so it may stay in the container's namespaces, but for its files; that saves
    a process between.
    """
    process = _complete(process, bundle.process())
    init = document.number(state, "pid")
    pidfd = processes.open_pidfd(init, document.number(state, "pidStarted"))
    flags = [namespaces.FLAGS[kind] for kind in _JOINED if not namespaces.same_namespace(init, kind)]
    mapped = not namespaces.same_namespace(init, "user")
    places = [(pidfd, sum(flags) | (syscalls.CLONE_NEWUSER if mapped else 0))]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    entry = _Entry(process, theirs, stdio, bundle.seccomp, set_groups=not mapped or _may_set_groups(init))
    entry.preserved, entry.foreign = preserved, foreign
    if mapped and os.geteuid() == 0:
        entry.become_root = not any(start <= 0 for _, start, _ in namespaces.id_map(init, "uid"))
        _give_streams(init, process, stdio)
    group = limits.restore(state)
    try:
        if not mapped and _may_trace(bundle) and group.can_freeze():
            return _start_unseen(entry, places, group, ours)
        if alone and not mapped:
            return _start_directly(entry, pidfd, sum(flags), group, ours)
        pid = namespaces.spawn(entry.run, new=0, join=places, before_join=group.enter)
        return pid, _follow(pid, ours, theirs)
    finally:
        ours.close()
        theirs.close()
        os.close(pidfd)


def _give_streams(init: int, process: Table, stdio: list[int]) -> None:
    """Give pipes to the command's user before: from inside, the caller's files are nobody's."""
    owner = namespaces.outside(namespaces.id_map(init, "uid"), document.number(document.table(process, "user"), "uid"))
    for fd in stdio:
        if owner >= 0 and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, owner, -1)


def _start_directly(entry: _Entry, pidfd: int, flags: int, group: limits.Limits, ours: socket.socket) -> tuple[int, list[int]]:
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    entry.entrances = group.entrances()
    try:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # nobody may trace what is half inside (CVE-2016-9962)
        syscalls.setns(pidfd, flags)
        try:
            pid = namespaces.spawn(entry.run, new=0)
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNS)
    finally:
        for fd in (own, *entry.entrances):
            os.close(fd)
    return pid, _follow(pid, ours, entry.channel)


def _follow(pid: int, ours: socket.socket, theirs: socket.socket) -> list[int]:
    theirs.close()
    ours.sendall(b"g")
    try:
        return _await_start(ours)
    except BaseException:
        processes.kill_and_reap(pid)
        raise


def _start_unseen(entry: _Entry, places: list[tuple[int, int]], group: limits.Limits, ours: socket.socket) -> tuple[int, list[int]]:
    with unseen.standing_still(group):
        pid = namespaces.spawn(entry.run, new=0, join=places, before_join=group.enter_unfrozen)
        try:
            unseen.hold(pid)
            master = _follow(pid, ours, entry.channel)
            stands = unseen.executed(pid)
            if stands:
                group.add(pid)
        except BaseException:
            processes.kill_and_reap(pid)
            raise
    if stands:
        unseen.let_go(pid)
    return pid, master


def _may_trace(bundle: document.PlainBundle) -> bool:
    """Whether the container's root may trace what it sees (see :mod:`.unseen`)."""
    caps = document.table(bundle.process(), "capabilities")
    return "CAP_SYS_PTRACE" in (*document.texts(caps, "bounding"), *document.texts(caps, "permitted"))


def _may_set_groups(pid: int) -> bool:
    with open(f"/proc/{pid}/setgroups", encoding="ascii") as file:
        return file.read().strip() == "allow"


def _complete(process: Table, own: Table) -> Table:
    """Fill in from the container's process what an exec request leaves out; it never gets more rights by silence."""
    inherited: Table = {key: own[key] for key in ("capabilities", "rlimits", *scheduling.MEMBERS) if key in own and key not in process}
    locked: Table = {"noNewPrivileges": True} if document.flag(own, "noNewPrivileges") else {}
    return {**process, **inherited, **locked}


def _await_start(channel: socket.socket) -> list[int]:
    master: list[int] = []
    while True:
        message, fds = processes.recv_fds(channel, 65536, 1)
        if message == b"t":
            master = fds
        elif not message:
            return master
        else:
            for fd in master:
                os.close(fd)
            raise container.failure(message)


class _Entry:
    """The process that enters the container; its namespaces are the container's from birth."""

    __slots__ = ("_process", "_seccomp", "_set_groups", "_stdio", "become_root", "channel", "entrances", "foreign", "preserved")

    def __init__(self, process: Table, channel: socket.socket, stdio: list[int], seccomp: bytes, *, set_groups: bool) -> None:
        self._process, self.channel, self._stdio = process, channel, stdio
        self._seccomp, self._set_groups = seccomp, set_groups
        self.preserved, self.foreign = 0, False
        self.become_root = False
        self.entrances: list[int] = []  # of its cgroup, when it was not born there

    def run(self) -> None:
        """Take every step; never returns."""
        step = "enter the container"
        try:
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # until the command runs: half a process helps nobody
            for fd in self.entrances:
                os.write(fd, b"0")
            if self.channel.recv(1) != b"g":  # not before our parent watches, if it does
                os._exit(125)
            os.setsid()
            if self.become_root:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # a change of ids resets both
                syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
            step = "set up its streams"
            self._connect()
            self._enter_directory()
            step = "set its limits"
            launch.set_limits(self._process)
            label = launch.open_label(self._process) if self.foreign else -1
            step = "take its user and rights"
            launch.take_identity(self._process, self._seccomp, may_set_groups=self._set_groups)
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)
            step = "execute its command"
            if self.foreign:
                launch.add_home(self._process)
            if label >= 0:
                launch.set_label(label, self._process)
            launch.execute(self._process, preserved=self.preserved)
        except StartFailed as err:
            self._report({"message": err.message, "hint": err.hint, "status": err.exit_status})
        except Exception as err:
            self._report({"message": f"cannot {step}: {err}", "status": 125})
        os._exit(125)

    def _enter_directory(self) -> None:
        path = document.text(self._process, "cwd", "/")
        try:
            launch.enter_directory(path, make=False)
        except OSError as err:
            text = f"cannot enter the working directory {path}: {(err.strerror or str(err)).rpartition(': ')[2].lower()}"
            raise StartFailed(text, hint="it must be there already: make it first, or leave out -w", exit_status=126) from err

    def _connect(self) -> None:
        for number, fd in enumerate(self._stdio):
            os.dup2(fd, number)
        processes.keep_only([self.channel.fileno(), *range(3, 3 + self.preserved)])
        uid = document.number(document.table(self._process, "user"), "uid")
        if not document.flag(self._process, "terminal"):
            console.give_pipes(uid)
            return
        pts = syscalls.openat2(syscalls.AT_FDCWD, "/dev/pts", os.O_PATH | os.O_DIRECTORY, resolve=syscalls.RESOLVE_NO_SYMLINKS)
        master, slave = console.open_pty(pts)
        console.set_up(slave, document.table(self._process, "consoleSize"), uid)
        processes.send_fds(self.channel, b"t", [master])
        os.close(master)
        processes.take_terminal(slave)

    def _report(self, failure: Table) -> None:
        self.channel.sendall(json.dumps(failure).encode())
        os._exit(document.number(failure, "status", 125))
