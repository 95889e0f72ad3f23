"""The container's first process before it is the container's: ONE straight list of steps that ends in execve.

It starts as a child of the monitor inside the new namespaces and reports through one socket: ``r`` when everything is made and it
waits, then, after the monitor's ``s``, perhaps ``l`` with the seccomp filter's listener, and at last either nothing (the socket closes by
itself on execve) or a JSON object with the step that failed.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Sequence

from notebook_containers.errors import Error, StartFailed
from notebook_containers.linux import process as processes, seccomp_notify, syscalls
from notebook_containers.runtime import console, document, launch, outside, reaper, rootfs
from notebook_containers.runtime.document import PlainBundle, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    AnyPlan = TypeVar("AnyPlan", bound="Plan")

LISTENER = b"l"
"""The message, with a descriptor, from which on the monitor answers what the container's seccomp filter refuses."""

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


class Plan:
    """What init is told by the monitor, and what one step leaves for the next."""

    __slots__ = (
        "become_root", "bundle", "channel", "config", "early", "enter_cgroup", "joined", "made", "mapped", "outside", "own", "reaper",
        "root", "set_groups", "stdio", "telling", "tree",
    )  # fmt: skip

    def __init__(self, bundle: PlainBundle, channel: socket.socket, enter_cgroup: Callable[[], None]) -> None:
        self.bundle, self.channel, self.enter_cgroup = bundle, channel, enter_cgroup
        self.config = bundle.config
        self.made: frozenset[str] = frozenset()  # kinds of the namespaces that are new, not joined
        self.own: frozenset[str] = frozenset()  # those, and those kept from an earlier life of this container
        self.joined: frozenset[str] = frozenset()  # those of another container
        self.early: dict[int, int] = {}  # number of a mount → its descriptor, made before the mounts were isolated
        self.outside: dict[int, int] = {}  # those that the monitor made
        self.root = -1  # its mount, where that was made before the bundle was known
        self.reaper = -1  # the program that stays as first process, with --init
        self.mapped = False  # in a user namespace
        self.become_root = False  # whose root is somebody else than the monitor
        self.set_groups = True
        self.stdio: list[int] = []  # three descriptors, or none when the process gets a terminal
        self.telling = b""  # its seccomp filter in the form that tells the monitor of what it refuses
        self.tree: rootfs.Tree


def run(plan: Plan) -> None:
    """Take every step; never returns."""
    take_steps(plan, _STEPS)


def take_steps(plan: AnyPlan, steps: Sequence[tuple[str, Callable[[AnyPlan], None]]]) -> None:
    """Take ``steps`` one after the other; never returns.

    A failure is reported over the channel with its step's name and ends the process with status 125 to 127.
    """
    gc.disable()  # the collector would write to every page shared with the spawner
    step = ""
    try:
        for name, action in steps:
            step = name
            action(plan)
    except StartFailed as err:
        _report(plan, {"message": err.message, "hint": err.hint, "status": err.exit_status})
    except Error as err:
        _report(plan, {"message": err.message, "hint": err.hint, "status": 125})
    except OSError as err:
        what = f"{err.filename}: " if err.filename and str(err.filename) not in str(err.strerror) else ""
        said = f"cannot {step}{' ' if step == 'mount' else ': '}{what}{err.strerror}"
        hint = (
            "what is mounted must be there, a place in a volume too: make it first" if step == "mount" and err.errno == errno.ENOENT else ""
        )
        _report(plan, {"message": said, "hint": hint, "errno": err.errno or 0, "status": 125})
    except Exception as err:
        _report(plan, {"message": f"cannot {step}: {type(err).__name__}: {err}", "status": 125})
    os._exit(125)


def _report(plan: Plan, failure: Table) -> None:
    plan.channel.sendall(json.dumps(failure).encode())
    os._exit(document.number(failure, "status", 125))


def _wait_for_the_monitor(plan: Plan) -> None:
    while True:
        message, fds = processes.recv_fds(plan.channel, 16, 1)
        if message == b"g":
            break
        if message[:1] != b"m":
            os._exit(125)
        plan.outside[int(message[1:])] = fds[0]
    if plan.become_root:
        plan.enter_cgroup()  # as long as this is the owner of its files
        plan.enter_cgroup = _nothing
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    if "pid" in plan.joined:
        # who is in that namespace can see this process, which still sees the host's files: it must not be traced (CVE-2016-9962)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    die_with_the_monitor(plan.channel)


def _nothing() -> None:
    return


def die_with_the_monitor(channel: socket.socket) -> None:
    """End this process when its parent ends, or has ended, whose end of ``channel`` only it holds."""
    # a container without its monitor has no log and no exit code: it ends with it. A change of ids clears this, so it is set twice.
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    poll = select.poll()
    poll.register(channel, select.POLLHUP)
    if any(event & select.POLLHUP for _, event in poll.poll(0)):
        os._exit(125)


def _lead_a_session(plan: Plan) -> None:
    # first of all: this copy of the monitor holds the other end of the channel, and must not keep it open
    os.setsid()
    keep = [plan.channel.fileno(), *plan.stdio]
    if plan.stdio:
        for number, fd in enumerate(plan.stdio):
            os.dup2(fd, number)
    processes.keep_only(keep[:1])
    os.umask(0)


def enter_cgroup(plan: Plan) -> None:
    """Put it into its cgroup, and make that the root of its cgroup namespace."""
    plan.enter_cgroup()
    if "cgroup" in plan.made:  # only now: the new namespace's root is the cgroup that this process is in
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)


def _set_host_name(plan: Plan) -> None:
    if "uts" in plan.made and document.text(plan.config, "hostname"):
        syscalls.sethostname(document.text(plan.config, "hostname"))
    if "uts" in plan.made and document.text(plan.config, "domainname"):
        syscalls.setdomainname(document.text(plan.config, "domainname"))


def bring_up_loopback(plan: Plan) -> None:
    """Let it reach itself over the network."""
    if "network" in plan.made:
        raise_loopback()


def raise_loopback() -> None:
    """Bring up the loopback interface of this process's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def bind_from_outside(plan: Plan) -> None:
    """Bind what must be bound before the host's mounts are cut off."""
    if plan.outside:
        plan.early = {number: tree for number, tree in plan.outside.items() if number != outside.ROOT}
    else:
        plan.early |= rootfs.bind_early(list(document.tables(plan.config, "mounts")), but=plan.early)


def isolate_mounts(plan: Plan) -> None:
    """Cut the mount namespace off from the host."""
    rootfs.isolate(document.text(plan.bundle.linux(), "rootfsPropagation"))


def mount_root(plan: Plan) -> None:
    """Mount the root filesystem."""
    if plan.outside:
        plan.tree = rootfs.take_root(plan.outside[outside.ROOT])
        return
    path = os.path.join(plan.bundle.path, document.text(document.table(plan.config, "root"), "path", "rootfs"))
    if plan.root >= 0:
        plan.tree = rootfs.attach_root(path, plan.root)
        return
    plan.tree = rootfs.mount_root(path, plan.bundle.root_mounts, mapped=plan.mapped, single=not plan.set_groups)


def mount_everything(plan: Plan) -> None:
    """Mount the Spec's mounts."""
    rootfs.mount_all(plan.tree, list(document.tables(plan.config, "mounts")), plan.early)


def make_devices(plan: Plan) -> None:
    """Fill /dev."""
    rootfs.make_devices(plan.tree, list(document.tables(plan.bundle.linux(), "devices")))


def open_terminal(plan: Plan) -> None:
    """Make its terminal, send the master to who asked, take the slave as standard streams."""
    process = plan.bundle.process()
    if document.flag(process, "terminal"):
        master, slave = console.open_pty(plan.tree.pts)
        console.set_up(slave, document.table(process, "consoleSize"), document.number(document.table(process, "user"), "uid"))
        rootfs.bind_console(plan.tree, slave)
        processes.send_fds(plan.channel, b"t", [master])
        os.close(master)
        processes.take_terminal(slave)


def set_kernel_settings(plan: Plan) -> None:
    """Write the sysctls."""
    settings = document.table(plan.bundle.linux(), "sysctl")
    rootfs.write_sysctls(plan.tree, settings, own=plan.own)


def protect_paths(plan: Plan) -> None:
    """Mask and make read-only what the Spec says."""
    linux = plan.bundle.linux()
    rootfs.protect(plan.tree, document.texts(linux, "maskedPaths"), document.texts(linux, "readonlyPaths"))


def _enter_root(plan: Plan) -> None:
    rootfs.enter(plan.tree)


def enter_directory(plan: Plan) -> None:
    """Change to the working directory."""
    launch.enter_directory(document.text(plan.bundle.process(), "cwd", "/"))


def make_root_readonly(plan: Plan) -> None:
    """Make the root read-only, when the Spec says so."""
    if document.flag(document.table(plan.config, "root"), "readonly"):
        syscalls.mount_setattr(syscalls.AT_FDCWD, "/", 0, set_=syscalls.MOUNT_ATTR_RDONLY)


def _prepare_reaper(plan: Plan) -> None:
    if document.flag(plan.bundle.options, "init"):
        plan.reaper = reaper.open_program()


def _prepare_filter(plan: Plan) -> None:
    plan.telling = seccomp_notify.telling(plan.bundle.seccomp)


def _wait_for_start(plan: Plan) -> None:
    plan.channel.sendall(b"r")
    if plan.channel.recv(1) != b"s":
        os._exit(125)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def set_limits(plan: Plan) -> None:
    """Set the resource limits."""
    launch.set_limits(plan.bundle.process())


def give_stdio(plan: Plan) -> None:
    """Let its user open its standard streams again."""
    # a program that opens /dev/stdout again as its own user must be allowed to (a pipe belongs to who made it)
    uid = document.number(document.table(plan.bundle.process(), "user"), "uid")
    if plan.stdio and uid:
        console.give_pipes(uid)


def _leave_reaper_behind(plan: Plan) -> None:
    if plan.reaper < 0:
        return
    reaper.block_signals()
    child = os.fork()
    if child:
        launch.take_identity(plan.bundle.process(), plan.bundle.seccomp, may_set_groups=plan.set_groups)
        die_with_the_monitor(plan.channel)
        reaper.become(plan.reaper, child)
    # the command leads its own process group, so that a terminal's Ctrl-C reaches it once and not again through the reaper
    os.setpgid(0, 0)
    if document.flag(plan.bundle.process(), "terminal"):
        os.tcsetpgrp(0, os.getpid())


def _take_identity(plan: Plan) -> None:
    launch.take_identity(
        plan.bundle.process(), plan.bundle.seccomp, may_set_groups=plan.set_groups, install=lambda program: _install_filter(plan, program)
    )
    die_with_the_monitor(plan.channel)


def _install_filter(plan: Plan, program: bytes) -> None:
    if plan.telling:
        try:
            listener = syscalls.seccomp_listen(plan.telling)
        except OSError:  # a kernel before 5.0, somebody listens to a filter around us already, or no descriptor is left
            pass
        else:
            processes.send_fds(plan.channel, LISTENER, [listener])
            os.close(listener)
            return
    syscalls.seccomp_set_filter(program)


def _execute(plan: Plan) -> None:
    launch.execute(plan.bundle.process())


FIRST_STEPS = (
    ("set the host name", _set_host_name),
    ("mount", bind_from_outside),
    ("isolate its mounts", isolate_mounts),
    ("mount the root filesystem", mount_root),
)
"""What can be done before it is in its cgroup, by who need not wait for the monitor."""

BUILDING_STEPS = (
    ("enter its cgroup", enter_cgroup),
    ("mount", mount_everything),
    ("make the devices", make_devices),
    ("open its terminal", open_terminal),
    ("set kernel settings", set_kernel_settings),
    ("protect the kernel's paths", protect_paths),
    ("enter its root", _enter_root),
    ("enter its working directory", enter_directory),
    ("make its root read-only", make_root_readonly),
    ("prepare its init", _prepare_reaper),
    ("prepare its seccomp filter", _prepare_filter),
)
"""Everything of the container but its process."""

LAST_STEPS = (
    ("wait for the start", _wait_for_start),
    ("set its limits", set_limits),
    ("give it its standard streams", give_stdio),
    ("leave its init behind", _leave_reaper_behind),
    ("take its user and rights", _take_identity),
    ("execute its command", _execute),
)
"""From the start to the command."""

_STEPS = (
    ("lead a session", _lead_a_session),
    ("wait for the monitor", _wait_for_the_monitor),
    ("bring up the loopback interface", bring_up_loopback),
    *FIRST_STEPS,
    *BUILDING_STEPS,
    *LAST_STEPS,
)
