"""The spawner: one warm, single-threaded Python process per engine that forks monitors, so that nobody waits for an interpreter to start.

The engine (a notebook's kernel, with threads, sockets and secrets in its memory) never forks. It starts this process with an empty
environment and one end of a socket pair. Each message is a word with descriptors: ``create`` with a connection on which the request
comes, ``exec`` with a connection and three standard streams.

Forking takes its time too, so one process is forked ahead: the spare waits for a message on the same socket, in the spawner's
place. Who takes one becomes what it asks for, a monitor or an exec's parent, and the spawner forks the next spare. The message ``soon``
says that a ``create`` is about to come: the spare makes its init (:mod:`.ahead`) and waits on, and is told more and more of the container
(:mod:`.expected`), or with ``never`` that none will come. The first message, ``ready``, is for the spawner itself: until then its engine
may still be moving it to the cgroup that everything forked here inherits.
The spawner and its spare end when the engine does; what they became or started does not.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from contextlib import suppress

from notebook_containers.errors import Error, RuntimeFailure
from notebook_containers.linux import cgroups, process as processes, processors, syscalls
from notebook_containers.linux.processors import Processors
from notebook_containers.runtime import ahead, exec as execution, monitor, supervise, wire

READY = b"ready"
SOON, NEVER = b"soon", b"never"
_HINTS = (SOON, NEVER, b"group", b"root", b"bundle")

_MOST_BYTES, _MOST_FDS = wire.MOST_HINT_BYTES, 4
_START_S = 0.01
_CREATE, _OTHER = b"c", b"o"  # what a spare says that it has taken


def main(fd: int) -> None:
    """Keep a spare at the socket ``fd`` until the engine closes its end; never returns."""
    server = socket.socket(fileno=fd)
    processes.stdio_to_null()
    processes.keep_only([fd])
    processes.set_name("nbc-spawner")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # the first process of a killed monitor is reaped here too
    _warm_up()
    if server.recv(64) == READY:
        taken: bytes | None = b""
        while taken is not None:
            taken = _spare(server, after=taken)
    os._exit(0)  # at once: the engine may be waiting, and there is nothing to tidy up


def _warm_up() -> None:
    cgroups.open_cgroup("warm/up")  # imports what this machine's version needs, once here and not in every monitor
    gc.collect()
    gc.freeze()  # what is imported now is shared with every monitor for ever: the collector must not write to those pages


def _spare(server: socket.socket, after: bytes) -> bytes | None:
    """Fork a spare and wait until it has taken a message (which is returned) or has died (empty); None at the end of the engine.

    At that end the spare has ended too. It follows on one that took ``after``, but later, unless there is something to do for it, since
    what that one makes needs the processors more. When nothing was, and it was a container, another may soon come.

    The spare is a child of this process while this process lives, and nobody's concern afterwards: SIGCHLD is ignored here, so the kernel
    reaps it at once. (As orphans they would stay zombies wherever the machine's first process does not reap, as in many containers.)
    """
    idle = not after or _stays_idle(server)
    expecting = idle and after == _CREATE
    spawner = os.getpid()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _fork_when_needed(server)
    except OSError as err:
        os.close(reading)
        os.close(writing)
        return b"" if _refuse(server, err) else None
    if pid == 0:
        try:
            _be_spare(server, spawner, writing, idle=idle, expecting=expecting)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        return _outlived(server, reading, pid)
    finally:
        os.close(reading)


def _fork_when_needed(server: socket.socket) -> int:
    """Fork now, or when no process is to be had now, once there is something to do."""
    try:
        return os.fork()
    except OSError:
        select.select([server], [], [])
        return os.fork()


def _refuse(server: socket.socket, err: OSError) -> bool:
    """Answer one message that no process can be made for it; False at the end of the engine."""
    word, fds = processes.recv_fds(server, _MOST_BYTES, _MOST_FDS)
    if not word or _is_hint(word):
        return bool(word)
    failure = RuntimeFailure(f"no process can be made for the container: {err.strerror}", hint="raise the limit of processes (ulimit -u)")
    with suppress(OSError), socket.socket(fileno=os.dup(fds[0])) as conn:
        conn.sendall(wire.json_frame(wire.ANSWER, {"error": wire.error_table(failure)}))
    for fd in fds:
        os.close(fd)
    return True


def _outlived(server: socket.socket, reading: int, pid: int) -> bytes | None:
    """Wait for the end of the spare's waiting, or of the engine; return what it took, None when the engine is gone."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(server, 0)  # hang-ups are always told
    gone = any(fd == server.fileno() for fd, _event in poll.poll())
    if not gone:
        return os.read(reading, 1)
    if not os.read(reading, 1):
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass
    return None


def _be_spare(server: socket.socket, spawner: int, writing: int, *, idle: bool, expecting: bool) -> None:
    """Wait for a message and become what it asks for; when one is to be expected soon, make its init now."""
    processes.set_name("nbc-spare")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # while it waits, it lives no longer than the spawner
    if os.getppid() != spawner:
        return
    if idle:
        with suppress(OSError, Error, ValueError):  # whoever needs what fails here tells
            execution.rehearse()
    own = Processors()
    word, fds, first = _await_message(server, own, _make_ahead(ahead.LASTS_S, own) if expecting else None)
    if not word:
        return
    if first is None:
        own.give_back([0])
    else:
        own.leave(processors.current(), [0])  # init goes on where it is
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)
    os.write(writing, _CREATE if word == b"create" else _OTHER)
    os.close(writing)
    server.close()
    conn = socket.socket(fileno=fds[0])
    if word == b"create":
        supervise.main(conn, first)
    elif word == b"exec":
        execution.main(conn, fds[1:])


def _stays_idle(server: socket.socket) -> bool:
    """Tell whether nobody asks for anything while a command starts."""
    return not select.select([server], [], [], _START_S)[0]


def _await_message(server: socket.socket, own: Processors, first: ahead.Ahead | None) -> tuple[bytes, list[int], ahead.Ahead | None]:
    """Wait for a message that asks for something; returns it with the init that was made ahead for it, if there is one.

    Both keep off the processor of who says that something is to be expected; ``own`` are those of this process.
    """
    poll = select.poll()
    poll.register(server, select.POLLIN)
    while True:
        if first is not None and not poll.poll(max(0.0, first.left_s()) * 1000):
            first.drop()
            first = None
        word, fds = processes.recv_fds(server, _MOST_BYTES, _MOST_FDS)
        if word.startswith(SOON):
            own.leave(int(word[len(SOON) :]), [0, *([first.pid] if first else [])])
            first = first or _make_ahead(ahead.KEPT_S, own)
        elif first is None or word == b"create":
            if not _is_hint(word):
                return word, fds, first
        elif word != NEVER and _is_hint(word):
            first.hear(word)
        elif word == NEVER or not word:
            first.drop()
            first = None
            if not word:
                return word, fds, None
        else:
            first.give_way()
            return word, fds, None


def _is_hint(word: bytes) -> bool:
    return word.partition(b" ")[0] in _HINTS


def _make_ahead(lasts_s: float, own: Processors) -> ahead.Ahead | None:
    try:
        return ahead.Ahead(lasts_s, own) if ahead.possible() else None
    except OSError:
        return None  # whoever needs the namespaces says what the kernel refuses
    finally:
        ahead.rehearse()
        monitor.rehearse()
