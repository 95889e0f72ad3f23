"""A process's terminal joined with the one this command was typed in: bytes both ways, raw mode, window size."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import tty

from notebook_containers.linux import process as processes, syscalls


def run(pid: int, master: int) -> None:
    """Relay until the terminal ends with its last process; standard input that ends earlier is left alone. Closes ``master``."""
    own = os.isatty(0)
    saved = termios.tcgetattr(0) if own else None
    previous = signal.signal(signal.SIGWINCH, lambda _number, _frame: _resize(master))
    try:
        _resize(master)
        if own:
            tty.setraw(0)
        _relay(pid, master)
    finally:
        signal.signal(signal.SIGWINCH, previous)
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        os.close(master)


def _resize(master: int) -> None:
    try:
        rows, columns, _x, _y = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return  # not typed in a terminal
    processes.set_window(master, rows, columns)


def _relay(pid: int, master: int) -> None:
    ended = syscalls.pidfd_open(pid)
    poll = select.poll()
    for fd in (master, 0, ended):
        poll.register(fd, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll())
            if master in ready and not _copy(master, 1):
                return
            if 0 in ready and not _copy(0, master):
                poll.unregister(0)
            if ended in ready and master not in ready:
                return  # it is over, and what it wrote was shown; others may hold the terminal open for ever
    finally:
        os.close(ended)


def _copy(source: int, target: int) -> bool:
    try:
        data = os.read(source, 65536)
    except OSError:
        return False  # a terminal without any process left answers EIO
    while data:
        data = data[os.write(target, data) :]
        if not data:
            return True
    return False
