"""Init made ahead: a process in namespaces of its own that waits to be told which container it is the first process of.

An engine says that it is about to start a container (:meth:`Runtime.soon`) when it begins to write the bundle. The process that will be
the monitor makes init then, on the machine's other processor, so that the start need not wait for it. Nothing depends on it: a container
that needs other namespaces, or an engine that says nothing, has init made when it is asked for (:mod:`.container`). What is not used
within KEPT_S is ended, since its age would be the container's.

The mount namespace is made last, when the container is known: a copy of the mounts must not be older than the container.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import time

from notebook_containers.errors import RuntimeFailure, StartFailed
from notebook_containers.linux import cgroups, mounts, namespaces, process as processes, syscalls
from notebook_containers.runtime import container, document, init, limits, wire
from notebook_containers.runtime.document import PlainBundle

KEPT_S = 1.0
_MADE = ("pid", "network", "ipc", "uts")
_POSSIBLE = frozenset((*_MADE, "mount", "cgroup"))
_NEEDED = _POSSIBLE - {"cgroup"}
_REHEARSED = json.dumps({"mounts": [{"type": "bind", "options": ["ro"], "names": [str(number)]} for number in range(200)]}).encode()


class Ahead:
    """One such init, a child of this process; used once by :meth:`become`, or ended by :meth:`drop`."""

    __slots__ = ("_made_at", "channel", "pid")

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._made_at = time.monotonic()
        try:
            flags = sum(namespaces.FLAGS[kind] for kind in _MADE)
            self.pid = namespaces.spawn(lambda: _be_ready(theirs), new=flags)
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()

    def left_s(self) -> float:
        """Return for how many seconds it may still be used."""
        return self._made_at + KEPT_S - time.monotonic()

    def begin(self, bundle: str) -> None:
        """Let it begin with the bundle ``bundle``; when that needs other namespaces, it ends instead."""
        try:
            self.channel.send(os.fsencode(bundle))
        except OSError:  # somebody killed it
            self.drop()

    def become(self, bundle: PlainBundle, kept: container.Kept, group: limits.Limits) -> container.Life | None:
        """Make it the first process of the container and wait until it has built everything; None when it cannot be, and has ended.

        Errors as of :func:`.container.create`. The caller has the cgroup made. What was this object's is the life's from now on.
        """
        if not self.pid or not fits(bundle):
            self.drop()
            return None
        life = container.Life()
        life.channel, life.pid = self.channel, self.pid
        self.pid = 0
        stdio: list[int] = []
        try:
            if not document.flag(bundle.process(), "terminal"):
                stdio = container.pipes(life, with_stdin=document.flag(bundle.options, "stdinOpen"))
            container.adjust_oom(life.pid, bundle)
            orders = json.dumps({"cgroup": group.path, "cgroupLocations": group.locations}).encode()
            processes.send_fds(life.channel, orders, stdio)
            container.await_ready(life)
            container.keep(life, kept, bundle, own=_kinds(bundle), joined=frozenset())
        except BaseException as err:
            container.abandon(life)
            if isinstance(err, (ConnectionError, RuntimeFailure)) and not isinstance(err, StartFailed):  # somebody killed it
                return None
            raise
        finally:
            for fd in stdio:
                os.close(fd)
        return life

    def drop(self) -> None:
        """End it. Idempotent; nothing happens once it is a container's."""
        if self.pid:
            self.channel.close()
            processes.kill_and_reap(self.pid)
            self.pid = 0


def rehearse() -> None:
    """Do once what every monitor and init does first: the pages that it writes to, shared after a fork, are copied now and not then."""
    document.texts(wire.parse(_REHEARSED), "mounts")
    cgroups.open_cgroup("warm/up")
    processes.start_time(os.getpid())
    mounts.Options(("ro", "nosuid", "size=64k"))


def possible() -> bool:
    """Tell whether there may be one here: an ordinary user's namespaces depend on the container's own id map."""
    return os.geteuid() == 0


def fits(bundle: PlainBundle) -> bool:
    """Tell whether a container's namespaces are just those that are made ahead, and init is to be ours."""
    joins = any(document.text(entry, "path") for entry in document.tables(bundle.linux(), "namespaces"))
    return not joins and _NEEDED <= _kinds(bundle) <= _POSSIBLE and not document.text(bundle.options, "runtime")


def _kinds(bundle: PlainBundle) -> frozenset[str]:
    return frozenset(document.text(entry, "type") for entry in document.tables(bundle.linux(), "namespaces"))


def _be_ready(channel: socket.socket) -> None:
    """Wait for :meth:`Ahead.begin` and take init's steps; never returns."""
    gc.disable()
    os.setsid()
    processes.keep_only([channel.fileno()])
    processes.set_name("nbc-init")
    os.umask(0)
    init.die_with_the_monitor(channel)
    init.raise_loopback()
    rehearse()
    path = channel.recv(65536)
    if not path:
        os._exit(0)
    try:
        bundle = PlainBundle(os.fsdecode(path))
    except (OSError, ValueError):
        os._exit(0)  # the monitor reads it too, and tells
    if not fits(bundle):
        os._exit(0)
    plan = init.Plan(bundle, channel, lambda: None)
    plan.made = plan.own = _kinds(bundle)
    init.take_steps(plan, _STEPS)


def _leave_the_mounts(_plan: init.Plan) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)


def _take_orders(plan: init.Plan) -> None:
    """Wait for the monitor to have made the cgroup, and take the standard streams."""
    message, plan.stdio = processes.recv_fds(plan.channel, 65536, 3)
    if not message:
        os._exit(125)
    for number, fd in enumerate(plan.stdio):
        os.dup2(fd, number)
        os.close(fd)
    plan.enter_cgroup = limits.restore(wire.parse(message)).enter


_STEPS = (("leave the host's mounts", _leave_the_mounts), *init.FIRST_STEPS, ("wait for the monitor", _take_orders), *init.LATER_STEPS)
