"""The verbs of ``nbc runtime``: a bundle that somebody else wrote becomes a container whose first process is its caller's child.

(OCI runtime-spec, runtime.md, with runc's words for what the specification leaves open.) ``make`` and ``execute`` run in a process that
:mod:`~notebook_containers.runtime.ocimain` replaced by an interpreter nobody can write to; the others look from outside.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from notebook_containers.errors import Conflict, Error, InvalidArgument, RuntimeFailure, StartFailed, Unsupported
from notebook_containers.linux import process as processes, seccomp
from notebook_containers.runtime import (
    container,
    document,
    exec as execution,
    hooks,
    idmapped,
    limits,
    ociinit,
    ocirecord,
    ocispec,
    scheduling,
)
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.ocilog import Log
from notebook_containers.runtime.ocirecord import Record

_KILLED_S = 10.0
_SIGKILL = 9


class Made:
    """A container just made: its record, what is kept of it, and the master of its terminal (-1: none, or given away)."""

    __slots__ = ("kept", "master", "record")

    def __init__(self, record: Record, kept: Table, master: int) -> None:
        self.record, self.kept, self.master = record, kept, master

    @property
    def pid(self) -> int:
        """The first process."""
        return document.number(self.kept, "pid")


class _Birth:
    """A container while it is made; :meth:`undo` takes everything back."""

    def __init__(self, request: Table, record: Record, log: Log) -> None:
        self.request, self.record, self.log = request, record, log
        self.bundle = os.path.realpath(document.text(request, "bundle") or ".")
        self.life = container.Life()
        own = os.getpid()
        self.kept: Table = {"id": record.id, "bundle": self.bundle, "created": time.time(), "creator": own}
        self.kept.update(creatorStarted=processes.start_time(own), status="creating")
        self.limits = limits.Limits("", {})
        self.config: Table = {}
        self.hooked = False

    def run(self) -> Made:
        self._read()
        self._limit()
        self._spawn()
        master = self._converse()
        self.kept["status"] = "created"
        self.record.write(self.kept)
        if path := document.text(self.request, "pidFile"):
            write_pid(path, self.life.pid)
        self.life.channel.close()
        return Made(self.record, self.kept, master)

    def _read(self) -> None:
        completed = ocispec.complete(ocispec.read(self.bundle), self.bundle, self.record.id)
        self.config = completed.config
        add_environment(document.table(self.config, "process"), self.request)
        _check_terminal(self.request, self.config)
        for text in completed.warnings:
            self.log.warn(text)
        linux = document.table(self.config, "linux")
        profile = document.table(linux, "seccomp")
        try:
            if profile:
                with open(os.path.join(self.record.path, "seccomp.bpf"), "wb") as file:
                    file.write(seccomp.compile_profile(profile))
        except ValueError as err:
            raise Unsupported(f"the seccomp profile cannot be used: {err}") from err
        document.write(os.path.join(self.record.path, "config.json"), self.config)
        self.kept.update(ociVersion=document.text(self.config, "ociVersion"), annotations=document.table(self.config, "annotations"))
        self.kept["cgroupLentParents"] = completed.lent_parents
        self.kept["rootfs"] = document.text(document.table(self.config, "root"), "path")
        resources = document.table(linux, "resources")
        self.limits = limits.Limits(completed.cgroup, resources, lent_parents=completed.lent_parents, everywhere=True)
        self.record.write(self.kept)

    def _limit(self) -> None:
        self.limits.create()
        self.kept.update(cgroup=self.limits.path, cgroupLocations=self.limits.locations)
        for text in self.limits.warnings:
            if not self.limits.locations and not document.flag(self.request, "rootless"):
                raise RuntimeFailure(text, hint="with --rootless=true the container is made all the same")
            self.log.warn(text)

    def _spawn(self) -> None:
        bundle = self.record.bundle(self.kept)
        self.life.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _inside(self.record.path) as place:
            listener.bind(f"{place}/{ocirecord.START}")
        listener.listen(1)
        plan = ociinit.Plan(bundle, theirs, listener)
        joins = any(document.text(entry, "path") for entry in document.tables(bundle.linux(), "namespaces"))
        if not joins:
            plan.enter_cgroup = self.limits.enter
        plan.mapped = _in_user_namespace()
        plan.no_pivot, plan.new_keyring = document.flag(self.request, "noPivot"), not document.flag(self.request, "noNewKeyring")
        plan.preserved = document.number(self.request, "preserveFds")
        plan.early = idmapped.make(bundle)
        try:
            container.spawn(self.life, plan, bundle.linux(), container.Kept(), lambda: ociinit.run(plan), before_join=self.limits.enter)
        finally:
            theirs.close()
            listener.close()
            for fd in plan.early.values():
                os.close(fd)
            plan.early = {}
        self.kept.update(pid=self.life.pid, pidStarted=processes.start_time(self.life.pid))
        self.record.write(self.kept)
        container.prepare(self.life, plan, bundle)

    def _converse(self) -> int:
        master = -1
        while True:
            message, fds = processes.recv_fds(self.life.channel, 65536, 1)
            if message == b"t":
                master = self._give_terminal(fds[0])
            elif message == b"h":
                self._run_hooks()
            elif message == b"r":
                return master
            else:
                if master >= 0:
                    os.close(master)
                raise container.failure(message)

    def _give_terminal(self, master: int) -> int:
        path = document.text(self.request, "consoleSocket")
        if not path:
            return master
        send_terminal(path, master)
        os.close(master)
        return -1

    def _run_hooks(self) -> None:
        self.hooked = True
        state = ocirecord.state(self.record, self.kept, "creating")
        for kind in ("prestart", "createRuntime"):
            hooks.run(self.config, kind, state)
        self.life.channel.sendall(document.dump(state))

    def undo(self) -> None:
        if self.life.pid:
            container.abandon(self.life)
        self.limits.kill()
        self.limits.remove()
        self.record.remove()
        if self.hooked:
            for text in hooks.run_all(self.config, "poststop", ocirecord.state(self.record, self.kept, "stopped")):
                self.log.warn(text)


def make(request: Table, log: Log) -> Made:
    """Make the container that ``request`` describes, up to where its command would run; on failure nothing is left.

    Members of the request: ``root``, ``id``, ``bundle``, ``pidFile``, ``consoleSocket``, ``detach``, ``noPivot``, ``noNewKeyring``,
    ``preserveFds`` and ``rootless``.
    """
    birth = _Birth(request, Record.claim(document.text(request, "root"), document.text(request, "id")), log)
    try:
        return birth.run()
    except BaseException:
        birth.undo()
        raise


def start(record: Record, log: Log) -> None:
    """Let the created container's command run; returns when it does. StartFailed with the reason when it cannot, Conflict when it may not.

    Poststart hooks are run then; one that fails is a warning (the specification before 1.2.1).
    """
    with record.locked() as kept:
        status = ocirecord.status(record, kept)
        if status != "created":
            raise Conflict(f"cannot start a container that is {status}: {record.id}")
        _tell_to_start(record)
        state = ocirecord.state(record, kept, "running")
    for text in hooks.run_all(record.config(), "poststart", state):
        log.warn(text)


def _tell_to_start(record: Record) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        with _inside(record.path) as place:
            sock.connect(f"{place}/{ocirecord.START}")
        os.unlink(record.socket())
        sock.sendall(b"s")
        message = b""
        while data := sock.recv(65536):
            message += data
    if message:
        raise container.failure(message)


def kill(record: Record, number: int, *, everyone: bool = False) -> None:
    """Send a signal to the first process, or to every one; Conflict when the container is not running."""
    with record.locked() as kept:
        found = ocirecord.limits_of(kept)
        if everyone and found.pids():
            found.signal(number)
        elif ocirecord.status(record, kept) == "stopped":
            raise Conflict(f"container not running: {record.id}")
        else:
            processes.send_signal(document.number(kept, "pid"), document.number(kept, "pidStarted"), number)
        if number == _SIGKILL and found.frozen():
            found.freeze(frozen=False)


def freeze(record: Record, *, frozen: bool) -> None:
    """Stop or continue every process; Conflict when they already stand still, or do not."""
    with record.locked() as kept:
        status = ocirecord.status(record, kept)
        if status not in (("running", "created") if frozen else ("paused",)):
            raise Conflict(f"container {record.id} is {status}, it cannot be {'paused' if frozen else 'resumed'}")
        ocirecord.limits_of(kept).freeze(frozen=frozen)


def delete(record: Record, log: Log, *, force: bool = False) -> None:
    """Take a stopped or never started container away, and run its poststop hooks; with ``force`` kill it first.

    Conflict when it still runs and ``force`` is not given.
    """
    with record.locked() as kept:
        status = ocirecord.status(record, kept)
        if status not in ("stopped", "created") and not force:
            raise Conflict(f"cannot delete container {record.id} that is not stopped: {status}")
        found, pid, started = ocirecord.limits_of(kept), document.number(kept, "pid"), document.number(kept, "pidStarted")
        if processes.alive(pid, started):
            processes.send_signal(pid, started, _SIGKILL)
        found.kill()
        if not _gone(pid, started):
            raise RuntimeFailure(f"the first process of container {record.id} (pid {pid}) does not end")
        config, state = _config(record), ocirecord.state(record, kept, "stopped")
        if text := found.remove():
            log.warn(text)
        record.remove()
    for text in hooks.run_all(config, "poststop", state):
        log.warn(text)


def _config(record: Record) -> Table:
    try:
        return record.config()
    except OSError:
        return {}  # its creator was killed before it got so far


def _gone(pid: int, started: int) -> bool:
    deadline = time.monotonic() + _KILLED_S
    while pid and processes.alive(pid, started):  # dead but not reaped by its parent is gone for us
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def execute(request: Table, process: Table, log: Log) -> tuple[int, int]:
    """Run a further process in a container, as a child of the caller; returns its pid and the master of its terminal (-1: none)."""
    record = Record(document.text(request, "root"), document.text(request, "id"))
    with record.locked() as kept:
        status = ocirecord.status(record, kept)
        if status not in ("created", "running") and not (status == "paused" and document.flag(request, "ignorePaused")):
            raise Conflict(f"cannot exec in a {status} container: {record.id}")
        _check_terminal(request, {"process": process})
        for text in ocispec.complete_process(process):
            log.warn(text)
        add_environment(process, request)
        bundle = record.bundle(kept)
    scheduling.take_personality(bundle.linux())  # the command inherits it from this process, which does nothing else
    preserved = document.number(request, "preserveFds")
    pid, masters = execution.join(kept, process, bundle, [0, 1, 2], preserved=preserved, foreign=True)
    master = masters[0] if masters else -1
    if path := document.text(request, "pidFile"):
        write_pid(path, pid)
    if master >= 0 and (path := document.text(request, "consoleSocket")):
        send_terminal(path, master)
        os.close(master)
        master = -1
    return pid, master


def update(record: Record, resources: Table, log: Log) -> None:
    """Change the limits of a container."""
    with record.locked() as kept:
        for text in ocirecord.limits_of(kept).update(resources):
            log.warn(text)


def add_environment(process: Table, request: Table) -> None:
    """Add to a process's environment what tells it of the descriptors that are passed on."""
    if more := document.texts(request, "environment"):
        process["env"] = [*document.texts(process, "env"), *more]


def _check_terminal(request: Table, config: Table) -> None:
    terminal = document.flag(document.table(config, "process"), "terminal")
    path, detach = document.text(request, "consoleSocket"), document.flag(request, "detach")
    if terminal and detach and not path:
        raise InvalidArgument("cannot allocate tty if detached without a console socket", hint="set --console-socket")
    if path and not terminal:
        raise InvalidArgument("a console socket is given, but the process asks for no terminal", hint='set "terminal": true')


def send_terminal(path: str, master: int) -> None:
    """Send a terminal's master to the unix socket at ``path``, with the name of its other end."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            with _inside(os.path.dirname(os.path.abspath(path))) as place:
                sock.connect(f"{place}/{os.path.basename(path)}")
            processes.send_fds(sock, b"/dev/pts/console", [master])
    except OSError as err:
        raise RuntimeFailure(f"cannot send the terminal to {path}: {err.strerror}") from err


def write_pid(path: str, pid: int) -> None:
    """Write a pid file so that a reader sees all of it or nothing."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(str(pid))
        os.rename(temporary, path)
    except OSError as err:
        raise RuntimeFailure(f"cannot write the pid file {path}: {err.strerror}") from err


class _inside:  # noqa: N801 a verb in a with statement
    """A short path of a directory (a socket's address must not be long), valid within the block."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_unused: object) -> None:
        os.close(self._fd)


def _in_user_namespace() -> bool:
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def words_for(err: BaseException) -> str:
    """Return an error as the words by which callers of OCI runtimes know it (podman and containerd look for some of them)."""
    if isinstance(err, StartFailed) and err.exit_status == 127:
        return f"{err.one_line()}: executable file not found in $PATH: no such file or directory"
    if isinstance(err, StartFailed) and err.exit_status == 126 and "permission" in err.message:
        return f"{err.one_line()}: permission denied"
    if isinstance(err, Error):
        return err.one_line()
    if isinstance(err, OSError) and err.errno == errno.ESRCH:
        return "container not running"
    return str(err)
