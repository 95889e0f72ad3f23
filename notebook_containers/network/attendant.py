"""The process that starts pasta or slirp4netns for one container and ends it with the container. Standard library and ``linux`` only."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

from notebook_containers.linux import syscalls
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network.links import addresses_of, all_links, all_routes, close_address

_READY_TIMEOUT_S = 10.0
_METADATA = ("169.254.169.254", "168.63.129.16")


def main(text: str) -> None:
    """Read the plan, start the tool, wait for the network, say "ready <pid>" or "failed <why>", and stay until the container ends."""
    plan = json.loads(text)
    if os.fork():  # the starter reaps this one at once, and init the one that stays
        os._exit(0)
    words = os.memfd_create("words")  # what the tool says: no file that could stay, no pipe that could fill
    tool = _spawn(plan["command"], words)
    tool_fd = os.pidfd_open(tool)
    failure = _prepare(plan["pid"], plan["pidfd"], tool_fd)
    if failure:
        _end(tool)
        said = os.pread(words, 4000, 0).decode("utf-8", "replace")
        sys.stdout.write(f"failed {failure}: {' '.join(said.split()[-60:])}\n")
        return
    os.write(1, f"ready {os.getpid()}\n".encode())
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    select.select([plan["alive"], tool_fd], [], [])
    _end(tool)


def _spawn(command: list[str], output: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program inherits that (pasta refuses to)
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        syscalls.close_range(3, flags=syscalls.CLOSE_RANGE_CLOEXEC)
        os.execve(command[0], command, {"PATH": "/usr/bin:/bin", "LC_ALL": "C"})  # noqa: S606  # a list, an absolute path, no shell
    finally:
        os._exit(127)


def _end(tool: int) -> None:
    os.kill(tool, signal.SIGKILL)
    os.waitpid(tool, 0)


def _prepare(pid: int, pidfd: int, tool_fd: int) -> str:
    """Wait inside the container until its way out is there, and close the metadata addresses; return what went wrong, or nothing."""
    child = os.fork()
    if not child:
        os._exit(_inside(pid, pidfd, tool_fd))
    _, status = os.waitpid(child, 0)
    return {0: "", 2: "it ended", 3: "no network came within ten seconds"}.get(
        os.waitstatus_to_exitcode(status), "the namespace cannot be joined"
    )


def _inside(pid: int, pidfd: int, tool_fd: int) -> int:
    try:
        own_user = os.path.samestat(os.stat(f"/proc/{pid}/ns/user"), os.stat("/proc/self/ns/user"))
        syscalls.setns(pidfd, syscalls.CLONE_NEWNET | (0 if own_user else syscalls.CLONE_NEWUSER))
        deadline = time.monotonic() + _READY_TIMEOUT_S
        with NetlinkSocket() as kernel:
            while not _has_way_out(kernel):
                if select.select([tool_fd], [], [], 0.01)[0]:
                    return 2
                if time.monotonic() > deadline:
                    return 3
            kernel.execute([close_address(address) for address in _METADATA])
    except OSError:
        return 1
    return 0


def _has_way_out(kernel: NetlinkSocket) -> bool:
    ready = [link.index for link in all_links(kernel) if link.name != "lo" and link.up and addresses_of(kernel, link.index)]
    return any(route.destination == "0.0.0.0/0" and route.link in ready for route in all_routes(kernel))
