"""Init made ahead: a process in namespaces of its own that waits to be told which container it is the first process of.

An engine says that it is about to start a container when it begins to write the bundle (:mod:`.expected`). The process that will be
the monitor makes init then, on the machine's other processor, so that the start need not wait for it, and passes on what it hears of
the container: its root is mounted, its cgroup made and entered, and once the bundle is written everything else is done, up to the
moment before its command. Nothing depends on it: a container that needs other namespaces, or an engine that says nothing, has init made
when it is asked for (:mod:`.container`). One is made after every container too, since where one was run the next is often not far; what
is not used within seconds is ended, for its age would be the container's.

The mount namespace is made last, when the container is known: a copy of the mounts must not be older than the container. The root is
mounted before that, detached.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import time
from collections.abc import Callable

from notebook_containers.errors import RuntimeFailure, StartFailed
from notebook_containers.linux import capabilities, cgroups, mounts, namespaces, process as processes, syscalls
from notebook_containers.linux.processors import Processors
from notebook_containers.runtime import container, document, init, limits, rootfs, wire
from notebook_containers.runtime.document import PlainBundle, Table

KEPT_S, LASTS_S = 1.0, 10.0  # after a container was announced, and after one was made
_MADE = ("pid", "network", "ipc", "uts")
_POSSIBLE = frozenset((*_MADE, "mount", "cgroup"))
_NEEDED = _POSSIBLE - {"cgroup"}
_REHEARSED = json.dumps({"mounts": [{"type": "bind", "options": ["ro"], "names": [str(number)]} for number in range(200)]}).encode()


class Ahead:
    """One such init, a child of this process; used once by :meth:`become`, or ended by :meth:`drop`."""

    __slots__ = ("_begun", "_bundle", "_group", "_rooted", "_until", "channel", "pid", "processors")

    def __init__(self, lasts_s: float, processors: Processors) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._until = time.monotonic() + lasts_s
        self.processors = processors  # which it may use once it is somebody's; the one of who asks for it is left to that one until then
        self._bundle, self._begun, self._rooted = "", False, False
        self._group: limits.Limits | None = None
        try:
            flags = sum(namespaces.FLAGS[kind] for kind in _MADE)
            self.pid = namespaces.spawn(lambda: _be_ready(theirs, processors), new=flags)
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()

    def left_s(self) -> float:
        """Return for how many seconds it may still be used."""
        return self._until - time.monotonic()

    def hear(self, message: bytes) -> None:
        """Take in what the engine tells of the container (:class:`.expected.Expected`); of a second container nothing is heard.

        Nor of a bundle whose root it was not told of, because the process before this one was: it would mount the bundle's very own, which
        can be mounted only once, and may yet have to give way to another container.
        """
        word, bundle, text = _parts(message)
        if self._begun or self._bundle not in ("", bundle) or (word == b"bundle" and not self._rooted):
            return
        self._bundle = bundle
        self._rooted = self._rooted or word == b"root"
        if word == b"group":
            told = wire.parse(text)
            self._make_group(document.text(told, "path"), document.table(told, "resources"))
        else:
            self._begun = word == b"bundle"
            self._pass_on(message)

    def _make_group(self, path: str, resources: Table) -> None:
        self._group = limits.Limits(path, resources)
        try:
            self._group.create()
        except (OSError, ValueError):  # the monitor tries it again, and tells
            self._leave_group()
        else:
            if self._group.locations:
                self._pass_on(b"group \n" + json.dumps({"cgroup": self._group.path, "cgroupLocations": self._group.locations}).encode())

    def _leave_group(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.remove()

    def give_group(self, wanted: limits.Limits) -> None:
        """Let ``wanted`` be the cgroup that was made for the container, if it is the same one."""
        if self._group is not None and wanted.take_over(self._group):
            self._group = None

    def begin(self, bundle: str) -> None:
        """Let it begin with the bundle ``bundle``, if it has not; when that needs other namespaces, or is not what was told, it ends."""
        if self._bundle not in ("", bundle):
            self.give_way()
        elif not self._begun:
            self._bundle, self._begun = bundle, True
            self._pass_on(b"bundle %s\n" % os.fsencode(bundle))

    def _pass_on(self, message: bytes) -> None:
        try:
            self.channel.send(message)
        except OSError:  # somebody killed it
            self.drop()

    def become(
        self, bundle: PlainBundle, kept: container.Kept, group: limits.Limits, *, start: bool, meanwhile: Callable[[int], None]
    ) -> container.Life | None:
        """Make it the first process of the container and wait until it has built everything; None when it cannot be, and has ended.

        With ``start`` it does not wait to be started when it is ready. ``meanwhile`` is called with its pid while it builds: whoever slept
        then would be woken on the processor that it goes on working on (:mod:`..linux.processors`). Errors as of :func:`.container.create`.
        The caller has the cgroup made. What was this object's is the life's from now on.
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
            container.keep(life, kept, bundle, own=_kinds(bundle), joined=frozenset())  # now: a moment after its start it may be gone
            if start:
                life.start()
            meanwhile(life.pid)
            container.await_ready(life)
        except BaseException as err:
            container.abandon(life)
            kept.drop()  # this is the first life: there was nothing of another
            killed = isinstance(err, (ConnectionError, FileNotFoundError, RuntimeFailure)) and not isinstance(err, StartFailed)
            if killed:
                return None
            raise
        finally:
            for fd in stdio:
                os.close(fd)
        return life

    def give_way(self) -> None:
        """End it for another container's sake. The cgroup stays, for its own may be made elsewhere by now; its engine minds it."""
        self._group = None
        self.drop()

    def drop(self) -> None:
        """End it. Idempotent; nothing happens once it is a container's."""
        if self.pid:
            self.channel.close()
            processes.kill_and_reap(self.pid)
            self.pid = 0
        self._leave_group()


def rehearse() -> None:
    """Do once what every monitor and init does first: the pages that it writes to, shared after a fork, are copied now and not then."""
    document.texts(wire.parse(_REHEARSED), "mounts")
    cgroups.open_cgroup("warm/up")
    processes.start_time(os.getpid())
    mounts.Options(("ro", "nosuid", "size=64k"))


def _rehearse_building() -> None:
    """Do the like for what init alone does: a /dev that nobody sees, a look at the capabilities, a message with a descriptor."""
    try:
        tree = rootfs.Tree(mounts.create("tmpfs", "tmpfs", ["mode=755", "size=64k"]), mapped=False)
        tree.dev = mounts.open_target(tree.root, "/dev", directory=True)
        rootfs.make_devices(tree, [])
        os.close(tree.dev)
        os.close(tree.root)
    except OSError:
        pass  # the monitor tells, if it is needed
    capabilities.limit_bounding((1 << 64) - 1)
    capabilities.mask(["CAP_CHOWN"])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        processes.send_fds(ours, b"{}", [ours.fileno()])
        for fd in processes.recv_fds(theirs, 16, 1)[1]:
            os.close(fd)


def possible() -> bool:
    """Tell whether there may be one here: an ordinary user's namespaces depend on the container's own id map."""
    return os.geteuid() == 0


def fits(bundle: PlainBundle) -> bool:
    """Tell whether a container's namespaces are just those that are made ahead, and init is to be ours."""
    joins = any(document.text(entry, "path") for entry in document.tables(bundle.linux(), "namespaces"))
    return not joins and _NEEDED <= _kinds(bundle) <= _POSSIBLE and not document.text(bundle.options, "runtime")


def _kinds(bundle: PlainBundle) -> frozenset[str]:
    return frozenset(document.text(entry, "type") for entry in document.tables(bundle.linux(), "namespaces"))


def _be_ready(channel: socket.socket, processors: Processors) -> None:
    """Wait for :meth:`Ahead.begin` and take init's steps; never returns."""
    gc.disable()
    os.setsid()
    processes.keep_only([channel.fileno()])
    processes.set_name("nbc-init")
    os.umask(0)
    init.die_with_the_monitor(channel)
    init.raise_loopback()
    rehearse()
    _rehearse_building()
    init.take_steps(_listen(channel, processors), _STEPS)


class _Plan(init.Plan):
    """``new``: whether there is time to make the new filesystems one by one, before it is asked for.

    ``entered``: it is in its cgroup. ``ordered``: it has its streams.
    """

    __slots__ = ("entered", "new", "ordered", "processors")

    def __init__(self, bundle: PlainBundle, channel: socket.socket, processors: Processors, *, new: bool, entered: bool) -> None:
        super().__init__(bundle, channel, _nothing)
        self.processors = processors
        self.new, self.entered, self.ordered = new, entered, False


def _listen(channel: socket.socket, processors: Processors) -> _Plan:
    """Take its cgroup and mount its root if they are told first, and wait for the bundle; ends this process when it is no container's."""
    root, entered = -1, False
    try:
        while message := channel.recv(wire.MOST_HINT_BYTES):
            word, path, text = _parts(message)
            if word == b"group":
                limits.restore(wire.parse(text)).enter()
                entered = True
            elif word == b"root":
                root = rootfs.open_root(list(document.tables(wire.parse(text), "mounts")))
            else:
                bundle = PlainBundle.told(path, wire.parse(text)) if text else PlainBundle(path)
                if not fits(bundle):
                    break
                plan = _Plan(bundle, channel, processors, new=bool(text), entered=entered)
                plan.root, plan.made, plan.own = root, _kinds(bundle), _kinds(bundle)
                return plan
    except (OSError, ValueError):
        pass  # the monitor does it all again, and tells
    os._exit(0)


def _parts(message: bytes) -> tuple[bytes, str, bytes]:
    """Return the word, the bundle's path and the rest of a message."""
    line, _, rest = message.partition(b"\n")
    word, _, path = line.partition(b" ")
    return word, os.fsdecode(path), rest


def _nothing() -> None:
    return


def _make_filesystems(plan: _Plan) -> None:
    if plan.new:
        plan.early = rootfs.make_filesystems(list(document.tables(plan.config, "mounts")))


def _leave_the_mounts(_plan: _Plan) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)


def _find_its_cgroup(plan: _Plan) -> None:
    """Wait for the cgroup, if need be: it was made ahead, or is made when the container is asked for, and the streams come with it."""
    if not plan.entered:
        message = _take(plan)
        plan.ordered = not message.startswith(b"group ")
        plan.enter_cgroup = limits.restore(wire.parse(message if plan.ordered else _parts(message)[2])).enter


def _take(plan: _Plan) -> bytes:
    plan.processors.give_back([0])
    message, plan.stdio = processes.recv_fds(plan.channel, wire.MOST_HINT_BYTES, 3)
    if not message:
        os._exit(125)
    for number, fd in enumerate(plan.stdio):
        os.dup2(fd, number)
        os.close(fd)
    return message


def _take_streams(plan: _Plan) -> None:
    if not plan.ordered:
        _take(plan)


_STEPS = (
    ("mount", _make_filesystems),
    ("leave the host's mounts", _leave_the_mounts),
    *init.FIRST_STEPS,
    ("find its cgroup", _find_its_cgroup),
    *init.BUILDING_STEPS,
    ("wait for the monitor", _take_streams),
    *init.LAST_STEPS,
)
