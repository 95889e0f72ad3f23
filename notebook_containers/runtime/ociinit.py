"""The first process of a container that a foreign caller made: as :mod:`~notebook_containers.runtime.init`, but without a monitor.

It has the caller's standard streams or a terminal whose master goes to the caller. When everything is done short of running the command
(the command found, the rights given up) it says so and waits on a socket in its record directory, which ``start`` connects to; on
that connection it answers with the reason when the command cannot be executed, and with nothing, the end of the stream, when it can.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable

from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import clocks, console, document, hooks, init, launch, pivot, rootfs, scheduling
from notebook_containers.runtime.document import PlainBundle, Table


class Plan(init.Plan):
    """What such an init is told besides: the socket to wait on, the descriptors it passes on, and how to enter its root."""

    __slots__ = ("command", "label", "listener", "new_keyring", "no_pivot", "preserved", "state")

    def __init__(self, bundle: PlainBundle, channel: socket.socket, listener: socket.socket) -> None:
        super().__init__(bundle, channel, lambda: None)
        self.listener = listener
        self.preserved = 0  # descriptors from 3 on that the command gets
        self.no_pivot = False
        self.new_keyring = True
        self.label = -1
        self.command = ""
        self.state: Table = {}


def run(plan: Plan) -> None:
    """Take every step; never returns."""
    init.take_steps(plan, _STEPS)


def _lead_a_session(plan: Plan) -> None:
    os.setsid()
    processes.keep_only([plan.channel.fileno(), plan.listener.fileno(), *plan.early.values(), *range(3, 3 + plan.preserved)])
    os.umask(0)


def _wait_for_the_creator(plan: Plan) -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if plan.channel.recv(1) != b"g":
        os._exit(125)
    if plan.joined:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # who lives in those namespaces must not look into us (CVE-2016-9962)


def _set_clocks(plan: Plan) -> None:
    if "time" in plan.made:
        clocks.set_offsets(clocks.offsets(plan.bundle.linux()))


def _become_root(plan: Plan) -> None:
    # only now: its cgroup belongs to the caller's root, not to the container's
    if plan.become_root:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _set_names(plan: Plan) -> None:
    kinds = plan.made | plan.joined
    if "uts" in kinds and (name := document.text(plan.config, "hostname")):
        syscalls.sethostname(name)
    if "uts" in kinds and (name := document.text(plan.config, "domainname")):
        syscalls.setdomainname(name)


def _mount_root(plan: Plan) -> None:
    if "mount" in plan.joined:
        plan.tree = rootfs.Tree(-1, mapped=plan.mapped)
    else:
        init.mount_root(plan)


def _make_devices(plan: Plan) -> None:
    places = [document.text(entry, "destination").rstrip("/") for entry in document.tables(plan.config, "mounts")]
    if plan.tree.dev < 0 and "/dev" not in places:
        plan.tree.dev = rootfs.open_dev(plan.tree)
    init.make_devices(plan)


def _hear_of_hooks(plan: Plan) -> None:
    # the runtime's own hooks run between this message and its answer, which carries the state that the container's hooks are told
    plan.channel.sendall(b"h")
    answer = plan.channel.recv(1 << 20)
    if not answer:
        os._exit(125)
    plan.state = json.loads(answer)
    hooks.run(plan.config, "createContainer", {**plan.state, "pid": os.getpid()})


def _open_label(plan: Plan) -> None:
    plan.label = launch.open_label(plan.bundle.process())  # the host's procfs is still there


def _enter_root(plan: Plan) -> None:
    if plan.no_pivot:
        pivot.move(plan.tree)
    else:
        rootfs.enter(plan.tree)
    if "shared" in document.text(plan.bundle.linux(), "rootfsPropagation"):
        syscalls.mount("", "/", "", syscalls.MS_SHARED)  # not what lies in it: a mount may have asked to be private


def _enter_ready_root(plan: Plan) -> None:
    if "mount" not in plan.joined:
        return
    path = document.text(document.table(plan.config, "root"), "path")
    os.chroot(path)
    os.chdir("/")


def _take_identity(plan: Plan) -> None:
    process = plan.bundle.process()
    early = b"" if document.flag(process, "noNewPrivileges") else plan.bundle.seccomp
    scheduling.take_personality(plan.bundle.linux())
    init.set_limits(plan)
    # a program that opens /dev/stdout again as its own user must be allowed to, also when the caller made the pipe
    if (uid := document.number(document.table(process, "user"), "uid")) and not document.flag(process, "terminal"):
        console.give_pipes(uid)
    launch.take_identity(process, early, may_set_groups=plan.set_groups, new_keyring=plan.new_keyring)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _find_command(plan: Plan) -> None:
    process = plan.bundle.process()
    launch.add_home(process)
    environment = launch.environment(process)
    plan.command = launch.find(document.texts(process, "args")[0], environment.get("PATH", launch.DEFAULT_PATH))


def _wait_for_start(plan: Plan) -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)  # from here on it outlives its creator
    plan.channel.sendall(b"r")
    plan.channel.close()
    plan.channel, _ = plan.listener.accept()
    plan.listener.close()
    if plan.channel.recv(1) != b"s":
        os._exit(125)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _run_start_hooks(plan: Plan) -> None:
    hooks.run(plan.config, "startContainer", {**plan.state, "status": "created", "pid": os.getpid()})


def _execute(plan: Plan) -> None:
    process = plan.bundle.process()
    if plan.label >= 0:
        launch.set_label(plan.label, process)
    late = plan.bundle.seccomp if document.flag(process, "noNewPrivileges") else b""
    launch.execute(process, path=plan.command, preserved=plan.preserved, seccomp=late)


def _alone(step: Callable[[Plan], None]) -> Callable[[Plan], None]:
    """Return a step that is left out where the mount namespace is another's."""

    def taken(plan: Plan) -> None:
        if "mount" not in plan.joined:
            step(plan)

    return taken


_STEPS = (
    ("lead a session", _lead_a_session),
    ("wait for its creator", _wait_for_the_creator),
    ("set its clocks", _set_clocks),
    ("enter its cgroup", init.enter_cgroup),
    ("become root in its user namespace", _become_root),
    ("set the host name", _set_names),
    ("bring up the loopback interface", init.bring_up_loopback),
    ("mount", _alone(init.bind_from_outside)),
    ("isolate its mounts", _alone(init.isolate_mounts)),
    ("mount the root filesystem", _mount_root),
    ("mount", _alone(init.mount_everything)),
    ("make the devices", _alone(_make_devices)),
    ("open its terminal", init.open_terminal),
    ("set kernel settings", init.set_kernel_settings),
    ("run its hooks", _hear_of_hooks),
    ("open its label", _open_label),
    ("protect the kernel's paths", _alone(init.protect_paths)),
    ("enter its root", _alone(_enter_root)),
    ("enter its root", _enter_ready_root),
    ("enter its working directory", init.enter_directory),
    ("make its root read-only", _alone(init.make_root_readonly)),
    ("take its user and rights", _take_identity),
    ("find its command", _find_command),
    ("wait for the start", _wait_for_start),
    ("run its hooks", _run_start_hooks),
    ("execute its command", _execute),
)
