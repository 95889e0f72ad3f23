"""Hooks: programs that a bundle asks to have run at six points of a container's life, with its state on their standard input.

(OCI runtime-spec, config.md "POSIX-platform hooks".) Nothing is imported while they run: two of the six run in the container's
namespaces, where the files of the interpreter's library would be the container's.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time

from notebook_containers.errors import InvalidArgument, RuntimeFailure
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

_MOST_OUTPUT = 64 * 1024
_TICK_S = 0.02


def check(config: Table) -> None:
    """InvalidArgument for a hook without an absolute path or with a timeout that is none; what kinds are unknown is ignored."""
    table = document.table(config, "hooks")
    for kind in KINDS:
        for hook in document.tables(table, kind):
            path = document.text(hook, "path")
            if not path.startswith("/"):
                raise InvalidArgument(f"the path of a {kind} hook must be absolute, not {path!r}")
            if "timeout" in hook and document.number(hook, "timeout") <= 0:
                raise InvalidArgument(f"the timeout of {kind} hook {path} must be greater than zero")


def named(config: Table, kind: str) -> list[Table]:
    """Return the hooks of one kind in their order."""
    return list(document.tables(document.table(config, "hooks"), kind))


def run(config: Table, kind: str, state: Table) -> None:
    """Run the hooks of one kind, one after the other; RuntimeFailure at the first that fails, with what it printed."""
    for hook in named(config, kind):
        _run(hook, kind, json.dumps(state).encode())


def run_all(config: Table, kind: str, state: Table) -> list[str]:
    """Run the hooks of one kind to the last, whatever becomes of each; return a sentence for every one that failed."""
    failures = []
    for hook in named(config, kind):
        try:
            _run(hook, kind, json.dumps(state).encode())
        except RuntimeFailure as err:
            failures.append(err.one_line())
    return failures


def _run(hook: Table, kind: str, state: bytes) -> None:
    path = document.text(hook, "path")
    reading, state_end = os.pipe2(os.O_CLOEXEC)
    output, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError as err:
        for fd in (reading, state_end, output, writing):
            os.close(fd)
        raise RuntimeFailure(f"{kind} hook {path} cannot be started: {err.strerror}") from err
    if pid == 0:
        _become(hook, reading, writing)
    os.close(reading)
    os.close(writing)
    seconds = document.number(hook, "timeout")
    watch = _Watch(pid, state_end, output, state)
    try:
        status = watch.wait(time.monotonic() + seconds if seconds else None)
    finally:
        watch.close()
    said = f": {watch.said()}" if watch.said() else ""
    if status is None:
        raise RuntimeFailure(f"{kind} hook {path} did not end within its {seconds} s{said}")
    if code := processes.exit_code(status):
        raise RuntimeFailure(f"{kind} hook {path} failed with status {code}{said}")


def _become(hook: Table, reading: int, writing: int) -> None:
    path = document.text(hook, "path")
    try:
        os.setsid()
        for number, fd in enumerate((reading, writing, writing)):
            os.dup2(fd, number)
        syscalls.close_range(3, flags=syscalls.CLOSE_RANGE_CLOEXEC)
        processes.reset_signals()
        environment = dict(entry.partition("=")[::2] for entry in document.texts(hook, "env") if "=" in entry)
        os.execve(path, document.texts(hook, "args") or [path], environment)  # noqa: S606 this is what a hook is
    except OSError as err:
        os.write(2, (err.strerror or "cannot be executed").encode())
    finally:
        os._exit(127)


class _Watch:
    """A running hook: feeds it its state, keeps what it prints, waits for its end."""

    __slots__ = ("_input", "_left", "_output", "_pid", "_said")

    def __init__(self, pid: int, state_end: int, output: int, state: bytes) -> None:
        self._pid, self._input, self._output, self._left = pid, state_end, output, state
        self._said = b""
        os.set_blocking(state_end, False)
        os.set_blocking(output, False)

    def wait(self, deadline: float | None) -> int | None:
        """Return the wait status, or None when the deadline came first: the hook and its session are killed then."""
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._listen()
                return status
            if deadline is not None and time.monotonic() >= deadline:
                self._kill()
                return None
            self._turn()

    def _turn(self) -> None:
        poll = select.poll()
        if self._output >= 0:
            poll.register(self._output, select.POLLIN)
        if self._left:
            poll.register(self._input, select.POLLOUT)
        poll.poll(_TICK_S * 1000)
        self._feed()
        self._listen()

    def _feed(self) -> None:
        if not self._left:
            self._close_input()
            return
        previous = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            self._left = self._left[os.write(self._input, self._left) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = b""  # it does not want to know
        finally:
            signal.signal(signal.SIGPIPE, previous)
        if not self._left:
            self._close_input()

    def _listen(self) -> None:
        while self._output >= 0:
            try:
                data = os.read(self._output, 65536)
            except BlockingIOError:
                return
            if not data:
                os.close(self._output)
                self._output = -1
            self._said = (self._said + data)[-_MOST_OUTPUT:]

    def said(self) -> str:
        """Return what it printed, as one line."""
        return " ".join(self._said.decode(errors="replace").split())

    def _kill(self) -> None:
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._listen()

    def _close_input(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def close(self) -> None:
        """Let go of the pipes."""
        self._close_input()
        if self._output >= 0:
            os.close(self._output)
            self._output = -1
