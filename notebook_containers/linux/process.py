"""Processes by identity: pid and start time, pidfds, exit codes, descriptors over sockets, terminals.

A pid alone names nobody (it is reused); pid with start time, or a pidfd, does. Standard library only. Failures are OSError.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import time
from contextlib import suppress

from notebook_containers.linux import syscalls

TIOCGPTPEER = 0x5441
_FD_BYTES = array.array("i").itemsize
_LONGEST_COMMAND = 60


def start_time(pid: int) -> int:
    """Return the start time of ``pid`` in clock ticks since boot (proc(5), stat field 22), or 0 when there is no such process.

    A zombie still has its start time: see :func:`alive`.
    """
    return _stat(pid)[1]


def alive(pid: int, started: int) -> bool:
    """Tell whether the process with this pid and start time exists and is no zombie."""
    state, ticks = _stat(pid)
    return pid > 0 and ticks == started and state not in ("", "Z", "X")


def _stat(pid: int, place: str = "/proc") -> tuple[str, int]:
    try:
        with open(f"{place}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return "", 0  # any other error (no descriptor is to be had) must not mean that it is gone
    return (fields[0].decode(), int(fields[19])) if len(fields) > 19 else ("", 0)


def states(pid: int) -> set[str]:
    """Return the states of the threads of a process as proc(5) names them (R, S, D, Z, …); none when it is gone."""
    try:
        return {_stat(int(name), f"/proc/{pid}/task")[0] for name in os.listdir(f"/proc/{pid}/task")}
    except (FileNotFoundError, ProcessLookupError):
        return set()


def open_pidfd(pid: int, started: int) -> int:
    """Return a pidfd of exactly the process with this pid and start time; ProcessLookupError when it is gone. The caller closes it."""
    fd = syscalls.pidfd_open(pid)
    try:
        if alive(pid, started):
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"pid {pid}")


def send_signal(pid: int, started: int, number: int) -> None:
    """Send a signal to exactly this process, never to a later holder of its pid; ProcessLookupError when it is gone."""
    fd = open_pidfd(pid, started)
    try:
        signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


def wait_gone(pid: int, started: int, timeout_s: float | None) -> bool:
    """Wait until this process has ended (it may be a stranger's child); False when ``timeout_s`` (None: no limit) passed first."""
    try:
        fd = open_pidfd(pid, started) if pid > 0 else -1
    except ProcessLookupError:
        fd = -1
    if fd < 0:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else max(timeout_s, 0) * 1000))
    finally:
        os.close(fd)


def kill_and_reap(pid: int) -> None:
    """Kill a child of this process and wait for it; nothing happens when it is already reaped."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def kill_children(timeout_s: float) -> None:
    """Kill and reap every child of this process, and what is orphaned by that and comes to it.

    Left are those that it may not kill, and after ``timeout_s`` those that the kernel does not let end.
    """
    deadline = time.monotonic() + timeout_s
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        while (reaped := _reap()) == 0 and time.monotonic() < deadline:
            time.sleep(0.002)
        if reaped == 0:
            return


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return []


def _reap() -> int:
    """Return a child that had ended and is reaped now, 0 when none has ended, -1 when there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return -1


def exit_code(status: int) -> int:
    """Return a wait status as a shell tells it: the exit code, or 128 plus the signal."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def reset_signals() -> None:
    """Give every signal its default action and block none: Python ignores SIGPIPE and SIGXFSZ, and a program must not inherit that."""
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def keep_only(fds: list[int]) -> None:
    """Close every descriptor above 2 that is not in ``fds``."""
    first = 3
    for fd in sorted(set(fds)):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = max(first, fd + 1)
    syscalls.close_range(first)


def set_name(name: str) -> None:
    """Give this process the name (15 bytes of it) that ps(1) shows."""
    with open("/proc/self/comm", "wb", buffering=0) as file:
        file.write(name.encode()[:15])


def name_of(pid: int) -> str:
    """Return the name of a process as ps(1) shows it, or an empty text when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def command_of(pid: int) -> str:
    """Return the first words of a process's command line, fit for one line of text, or an empty text when it cannot be seen."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).decode("utf-8", "replace").split("\0")[:5]
    except OSError:
        return ""
    shown = " ".join([words[0].rpartition("/")[2], *words[1:]])
    return "".join(c if c.isprintable() else "?" for c in shown).strip()[:_LONGEST_COMMAND]


def stdio_to_null() -> None:
    """Point 0, 1 and 2 at /dev/null."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def send_fds(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    """Send ``data`` (not empty) in one message with ``fds`` attached."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
    sock.sendmsg([data], rights)


def hear_no_more(sock: socket.socket) -> None:
    """Read nothing from a connected Unix socket any more, before the last message is sent on it by somebody who is about to end.

    The kernel expects who sends to sleep soon, and wakes the reader on the sender's processor, where it would wait for that end. This wakes
    the reader a moment before, where it was.
    """
    with suppress(OSError):  # the peer is gone
        sock.shutdown(socket.SHUT_RD)


def recv_fds(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Receive one message and up to ``most`` descriptors (close-on-exec, the caller closes them); empty bytes at the end."""
    data, ancillary, _flags, _address = sock.recvmsg(size, socket.CMSG_LEN(most * _FD_BYTES), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _FD_BYTES])
    return data, list(fds)


def open_peer(master: int) -> int:
    """Return the slave of a pty by its master (TIOCGPTPEER), so that no path can lie about it (CVE-2025-52565)."""
    return fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_window(fd: int, rows: int, columns: int) -> None:
    """Set a terminal's size in character cells."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def unlock_master(master: int) -> None:
    """Make a fresh pty's slave usable (TIOCSPTLCK 0)."""
    fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))


def take_terminal(slave: int) -> None:
    """Make ``slave`` the controlling terminal of this session and its 0, 1 and 2; the caller is a session leader."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)
