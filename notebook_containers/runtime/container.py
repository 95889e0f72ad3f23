"""One life of a container as its monitor holds it: init in its namespaces, the streams, the channel to it.

A restart makes a new one that joins the network (and user) namespace of the last, so that links and addresses survive.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

from notebook_containers.errors import RuntimeFailure, StartFailed, Unsupported
from notebook_containers.linux import namespaces, process as processes
from notebook_containers.runtime import clocks, document, init, outside
from notebook_containers.runtime.document import PlainBundle, Table


class Kept:
    """Namespaces that outlive a life of the container: kind → descriptor."""

    __slots__ = ("fds",)

    def __init__(self) -> None:
        self.fds: dict[str, int] = {}

    def take(self, pid: int, own: frozenset[str], joined: frozenset[str]) -> None:
        """Hold the container's own user and network namespaces, and every one of another's: that container may restart under a new pid."""
        for kind in ((own & {"user", "network"}) | joined) - self.fds.keys():
            self.fds[kind] = namespaces.open_namespace(pid, kind)

    def drop(self) -> None:
        """Hold nothing any more. Idempotent."""
        while self.fds:
            os.close(self.fds.popitem()[1])


class Life:
    """Init (later the command) as a child of this process; the descriptors are closed by :meth:`close`."""

    __slots__ = ("_started", "channel", "master", "outputs", "pid", "stdin")

    def __init__(self) -> None:
        self.pid = 0
        self.channel: socket.socket
        self.outputs: dict[int, str] = {}  # read end → stream
        self.stdin = -1
        self.master = -1
        self._started = False

    def start(self) -> None:
        """Let the command be executed once everything is built. Idempotent."""
        if not self._started:
            self._started = True
            self.channel.send(b"s")

    def close(self) -> None:
        """Close every descriptor that is left."""
        self.channel.close()
        for fd in {*self.outputs, self.stdin, self.master} - {-1}:
            os.close(fd)
        self.outputs, self.stdin, self.master = {}, -1, -1


def create(bundle: PlainBundle, kept: Kept, enter_cgroup: Callable[[], None]) -> Life:
    """Make the namespaces with init in them and wait until it has built everything; nothing is left when it fails.

    ``enter_cgroup`` is called by init itself before it does anything else. Raises RuntimeFailure (or StartFailed) that says which step
    failed, Unsupported when the kernel refuses the namespaces.
    """
    life = Life()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    life.channel = ours
    plan = init.Plan(bundle, theirs, enter_cgroup)
    try:
        if not document.flag(bundle.process(), "terminal"):
            plan.stdio = pipes(life, with_stdin=document.flag(bundle.options, "stdinOpen"))
        spawn(life, plan, bundle.linux(), kept, lambda: init.run(plan))
        _close_all(plan, theirs)
        prepare(life, plan, bundle)
        await_ready(life)
        keep(life, kept, bundle, own=plan.own, joined=plan.joined)
    except BaseException:
        _close_all(plan, theirs)
        abandon(life)
        raise
    return life


def keep(life: Life, kept: Kept, bundle: PlainBundle, *, own: frozenset[str], joined: frozenset[str]) -> None:
    """Hold the namespaces that a next life is to have too, where the container may have one."""
    if document.text(bundle.options, "restart", "no") != "no":
        kept.take(life.pid, own, joined)


def pipes(life: Life, *, with_stdin: bool) -> list[int]:
    """Make the pipes of a life; returns the process's three ends, which the caller closes."""
    if with_stdin:
        reading, life.stdin = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(life.stdin, False)
    else:
        reading = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    fds = [reading]
    for stream in ("stdout", "stderr"):
        output, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        life.outputs[output] = stream
        fds.append(writing)
    return fds


def spawn(
    life: Life, plan: init.Plan, linux: Table, kept: Kept, child: Callable[[], None], *, before_join: Callable[[], None] | None = None
) -> None:
    """Run ``child`` in the namespaces that ``linux`` asks for, and note in ``plan`` which those are.

    ``plan.mapped`` set before says that the caller is in a user namespace itself. ``before_join`` is called for the child while it still
    sees the caller's files, and only when it joins a namespace. Unsupported when the kernel refuses.
    """
    new, joins, made, foreign = 0, [], set(), set()
    for entry in document.tables(linux, "namespaces"):
        kind, path = document.text(entry, "type"), document.text(entry, "path")
        if kind not in namespaces.FLAGS:
            raise Unsupported(f"a {kind} namespace is not supported")
        if path:
            foreign.add(kind)
        if kind in kept.fds:
            joins.append((kind, os.dup(kept.fds[kind])))
        elif path:
            joins.append((kind, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        else:
            made.add(kind)
            # its own cgroup must be entered first, and clocks are set between the making and the entering of their namespace
            late = kind == "cgroup" or (kind == "time" and clocks.offsets(linux))
            new |= 0 if late else namespaces.FLAGS[kind]
    plan.made, plan.joined = frozenset(made), frozenset(foreign)
    plan.own = frozenset(document.text(entry, "type") for entry in document.tables(linux, "namespaces")) - plan.joined
    plan.mapped = plan.mapped or any(document.text(entry, "type") == "user" for entry in document.tables(linux, "namespaces"))
    plan.set_groups = not plan.mapped or not _single(linux)
    plan.become_root = plan.mapped and not _keeps_caller(linux)
    joins.sort(key=lambda pair: pair[0] != "user")  # the user namespace first: it gives the right to join the others
    try:
        places = [(fd, namespaces.FLAGS[kind]) for kind, fd in joins]
        life.pid = namespaces.spawn(child, new=new, join=places, before_join=before_join)
    except OSError as err:
        raise Unsupported(f"the kernel refuses the container's namespaces: {err.strerror}", hint=_namespace_hint()) from err
    finally:
        for _kind, fd in joins:
            os.close(fd)


def _single(linux: Table) -> bool:
    return sum(document.number(entry, "size") for entry in document.tables(linux, "gidMappings")) == 1


def _keeps_caller(linux: Table) -> bool:
    """Whether this process's own id exists inside: then init stays what it is (as with --userns keep-id, not root)."""
    own = os.geteuid()
    return any(outside <= own < outside + size for _, outside, size in document.id_map(linux, "uidMappings"))


def _namespace_hint() -> str:
    if os.geteuid() == 0:
        return "CAP_SYS_ADMIN is needed; inside another container it must be granted by that container's owner"
    return "user namespaces must be allowed for ordinary users: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone"


def prepare(life: Life, plan: init.Plan, bundle: PlainBundle) -> None:
    """Write what only the parent can write for a new process, and let it begin."""
    linux = bundle.linux()
    if "user" in plan.made:
        namespaces.write_id_maps(life.pid, document.id_map(linux, "uidMappings"), document.id_map(linux, "gidMappings"))
    adjust_oom(life.pid, bundle)
    if plan.become_root and os.geteuid() == 0 and bundle.root_mounts and bundle.options:
        for fd in {*life.outputs, life.stdin} - {-1}:  # its root may open its streams again
            os.fchown(
                fd,
                namespaces.outside(document.id_map(linux, "uidMappings"), 0),
                namespaces.outside(document.id_map(linux, "gidMappings"), 0),
            )
        outside.send(bundle, life.pid, life.channel)
    life.channel.send(b"g")


def adjust_oom(pid: int, bundle: PlainBundle) -> None:
    """Write what the Spec says of how soon the kernel kills it for memory."""
    if "oomScoreAdj" in bundle.process():
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(document.number(bundle.process(), "oomScoreAdj")))


def await_ready(life: Life) -> None:
    """Wait until the container is made, taking its terminal's master; what went wrong is raised."""
    while True:
        message, fds = processes.recv_fds(life.channel, 65536, 1)
        if message == b"t":
            life.master = fds[0]
            os.set_blocking(life.master, False)
            life.outputs = {os.dup(life.master): "stdout"}
        elif message[:1] == b"p":
            life.pid = int(message[1:])
        elif message == b"r":
            return
        else:
            raise failure(message)


def failure(message: bytes) -> RuntimeFailure:
    """Return the error init reported; an empty message says that it died without one."""
    if not message:
        return RuntimeFailure("the container's first process died while it was set up", hint="it may have been killed for its memory limit")
    value = json.loads(message)
    return StartFailed(
        document.text(value, "message"), hint=document.text(value, "hint"), exit_status=document.number(value, "status", 125)
    )


def _close_all(plan: init.Plan, theirs: socket.socket) -> None:
    theirs.close()
    for fd in plan.stdio:
        os.close(fd)
    plan.stdio = []


def abandon(life: Life) -> None:
    """Kill and reap init and let go of everything."""
    life.close()
    if life.pid:
        processes.kill_and_reap(life.pid)
