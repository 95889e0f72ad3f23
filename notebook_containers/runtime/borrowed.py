"""A life of a container that another OCI runtime makes (``--runtime runc``): our bundle, our monitor, log and exit code; their isolation.

A driver, forked from the monitor, mounts the root filesystem in a mount namespace of its own (nothing of it is left when the driver and the
container are gone) and runs their ``create`` there. Their first process is adopted by the monitor, which is a subreaper, so that its exit
status comes to us. The driver then talks to the monitor as init does: ``r`` when the container waits, ``s`` to have it started, and either
nothing or a JSON object with the reason.

A killed monitor does not take such a container along: it goes on without a log until it is killed.
"""

from __future__ import annotations

import json
import os
import select
import socket
from contextlib import suppress

from notebook_containers.errors import Error, StartFailed, Unsupported
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import container, document, launch, rootfs
from notebook_containers.runtime.container import Kept, Life
from notebook_containers.runtime.document import PlainBundle, Table

_VERSION = "1.0.2"  # of the specification: the oldest that has all we write, since older releases of other runtimes refuse newer ones
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_UNIFIED = "/sys/fs/cgroup/unified"
_OWN_WORDS = ("subpath=",)


class Place:
    """Where a container of another runtime lives: its ``program``, and the directory (in the container's run directory) that is theirs."""

    __slots__ = ("directory", "identity", "program")

    def __init__(self, program: str, run: str, identity: str) -> None:
        self.program, self.directory, self.identity = program, os.path.join(run, "borrowed"), identity

    def words(self, *words: str) -> list[str]:
        """Return a command line of theirs."""
        log = os.path.join(self.directory, "log")
        return [self.program, "--root", os.path.join(self.directory, "state"), "--log", log, "--log-format", "json", *words]

    def path(self, name: str) -> str:
        """Return a path in the directory."""
        return os.path.join(self.directory, name)

    def said(self) -> str:
        """Return the last error in their log."""
        try:
            with open(self.path("log"), encoding="utf-8", errors="replace") as file:
                entries = [json.loads(line) for line in file if line.startswith("{")]
        except (OSError, ValueError):
            return ""
        return next((str(entry.get("msg")) for entry in reversed(entries) if entry.get("level") == "error"), "")


def create(place: Place, bundle: PlainBundle, kept: Kept) -> Life:
    """Let the other runtime make the container; RuntimeFailure or StartFailed with its words when it cannot."""
    if os.geteuid() != 0:
        raise Unsupported("another runtime needs root", hint="leave out --runtime: the own one runs as you")
    life = Life()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    life.channel = ours
    terminal = document.flag(bundle.process(), "terminal")
    stdio = [] if terminal else container.pipes(life, with_stdin=document.flag(bundle.options, "stdinOpen"))
    try:
        os.makedirs(place.directory, mode=0o700, exist_ok=True)
        config = config_for(bundle, kept)
        document.write(place.path("program.json"), {"program": place.program})
        if os.fork() == 0:
            _Driver(place, bundle, config, theirs, stdio).run()
        theirs.close()
        for fd in stdio:
            os.close(fd)
        stdio = []
        container.await_ready(life)
        if document.text(bundle.options, "restart", "no") != "no":
            own = frozenset(
                document.text(entry, "type") for entry in document.tables(bundle.linux(), "namespaces") if not entry.get("path")
            )
            kept.take(life.pid, own, frozenset())
    except BaseException:
        theirs.close()
        for fd in stdio:
            os.close(fd)
        container.abandon(life)
        forget(place)
        raise
    return life


def config_for(bundle: PlainBundle, kept: Kept) -> Table:
    """Return the Spec as another runtime needs it: absolute paths, the namespaces of an earlier life, the version it knows."""
    config, linux = {**bundle.config}, {**bundle.linux()}
    if any(document.text(entry, "type") == "user" for entry in document.tables(linux, "namespaces")):
        # its root could not reach its tree in the store, and crun would give it the machine's /dev/null, which is its standard input
        raise Unsupported("a user namespace of its own needs the own runtime", hint="leave out --runtime or --userns")
    for entry in document.tables(config, "mounts"):
        if any(word.startswith(_OWN_WORDS) for word in document.texts(entry, "options")):
            raise Unsupported(f"the mount on {document.text(entry, 'destination')} needs the own runtime", hint="leave out --runtime")
    root = document.table(config, "root")
    config["root"] = {**root, "path": os.path.join(bundle.path, document.text(root, "path", "rootfs"))}
    linux["namespaces"] = [
        {**entry, "path": f"/proc/{os.getpid()}/fd/{kept.fds[kind]}"} if (kind := document.text(entry, "type")) in kept.fds else entry
        for entry in document.tables(linux, "namespaces")
    ]
    if group := document.text(linux, "cgroupsPath"):
        linux["cgroupsPath"] = "/" + group.lstrip("/")
    config.update(linux=linux, ociVersion=_VERSION)
    return config


def forget(place: Place) -> None:
    """Have the other runtime take its container away, alive or not; nothing happens when it knows none."""
    if os.path.isdir(place.path("state")):
        _wait(_start(place.words("delete", "--force", place.identity), []))
        # beside version 1 they make a group in the version 2 tree as well, where we have none, and leave its parent
        with suppress(OSError):
            linux = document.table(document.read(place.path("config.json")), "linux")
            os.rmdir(_UNIFIED + os.path.dirname(document.text(linux, "cgroupsPath")))


def forget_in(run: str, identity: str) -> None:
    """Do so for the container whose run directory this is, when its monitor could not; nothing happens for one of our own runtime."""
    try:
        program = document.text(document.read(os.path.join(run, "borrowed", "program.json")), "program")
    except OSError:
        return
    forget(Place(program, run, identity))


def _start(words: list[str], stdio: list[int]) -> int:
    # what goes wrong is in their log; a line on a standard stream would be the container's
    fds = stdio or [os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)] * 3
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
    try:
        return os.posix_spawn(words[0], words, _ENVIRONMENT, file_actions=actions)
    except OSError as err:
        raise StartFailed(f"cannot execute {words[0]}: {err.strerror}") from err
    finally:
        if not stdio:
            os.close(fds[0])


def _wait(pid: int) -> int:
    return processes.exit_code(os.waitpid(pid, 0)[1])


class _Driver:
    """The process that calls the other runtime; :meth:`run` never returns."""

    def __init__(self, place: Place, bundle: PlainBundle, config: Table, channel: socket.socket, stdio: list[int]) -> None:
        self._place, self._bundle, self._config, self._channel, self._stdio = place, bundle, config, channel, stdio

    def run(self) -> None:
        """Take every step and report."""
        try:
            os.setsid()
            processes.keep_only([self._channel.fileno(), *self._stdio])
            processes.set_name("nbc-driver")
            self._mount_root()
            process = document.table(self._config, "process")
            self._config["process"] = {**process, "rlimits": launch.possible_limits(process)}  # where ours are lowered, theirs fail
            document.write(self._place.path("config.json"), self._config)
            self._create()
            self._channel.sendall(b"r")
            for fd in self._stdio:
                os.close(fd)
            processes.stdio_to_null()
            if self._channel.recv(1) == b"s" and _wait(_start(self._place.words("start", self._place.identity), [])):
                raise self._failure("start")
        except Error as err:
            self._report(err.message, err.hint, err.exit_status)
        except OSError as err:
            self._report(f"cannot prepare the container for {self._place.program}: {err.strerror}", "", 125)
        os._exit(0)

    def _report(self, message: str, hint: str, status: int) -> None:
        try:
            self._channel.sendall(json.dumps({"message": message, "hint": hint, "status": status}).encode())
        except OSError:
            pass  # the monitor has given up
        os._exit(1)

    def _mount_root(self) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        rootfs.isolate("")
        path = document.text(document.table(self._bundle.config, "root"), "path", "rootfs")
        os.close(rootfs.mount_root(os.path.join(self._bundle.path, path), self._bundle.root_mounts, mapped=False).root)

    def _create(self) -> None:
        place, more = self._place, []
        listener = None
        if not self._stdio:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            os.chdir(place.directory)  # the path may be longer than a socket's address
            listener.bind("console")
            listener.listen(1)
            more = ["--console-socket", place.path("console")]
        words = place.words("create", "--bundle", place.directory, "--pid-file", place.path("pid"), *more, place.identity)
        # a command that is not found was said on their log; their own complaints must not get into the container's output
        pid = _start(words, self._stdio)
        if listener is not None:
            self._await_terminal(listener, pid)
        if _wait(pid):
            raise self._failure("create")
        with open(place.path("pid"), encoding="utf-8") as file:
            self._channel.sendall(b"p" + file.read().strip().encode())

    def _await_terminal(self, listener: socket.socket, pid: int) -> None:
        ended = syscalls.pidfd_open(pid)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(ended, select.POLLIN)
        ready = dict(poll.poll())
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            _name, fds = processes.recv_fds(connection, 4096, 1)
            connection.close()
            if fds:
                size = document.table(self._bundle.process(), "consoleSize")
                rows, columns = document.number(size, "height", 24) or 24, document.number(size, "width", 80) or 80
                processes.set_window(fds[0], rows, columns)
                processes.send_fds(self._channel, b"t", fds)
                os.close(fds[0])
        os.close(ended)
        listener.close()

    def _failure(self, verb: str) -> StartFailed:
        said = self._place.said() or "it gave no reason"
        status = 127 if "not found" in said or "no such file" in said else 126 if "permission denied" in said else 125
        hint = "use --runtime runc, or the own one" if "hybrid" in said else ""
        return StartFailed(f"{os.path.basename(self._place.program)} {verb}: {said}", hint=hint, exit_status=status)
