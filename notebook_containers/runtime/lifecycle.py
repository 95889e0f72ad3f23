"""The verbs of a container: create, start, state, wait, kill, pause, resume, exec, attach, delete (runtime.md, "Operations").

A :class:`Runtime` holds no state of its own but the spawner: everything else is on disk and in the monitors, so any process with the
same run directory sees and controls the same containers.
"""

from __future__ import annotations

import errno
import os
import signal as signals
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument, RuntimeFailure
from notebook_containers.linux import cgroups, namespaces, process as processes
from notebook_containers.oci.runtime import Process, Resources
from notebook_containers.runtime import control, orphans, rundir, stuck, wire
from notebook_containers.runtime.bundle import Bundle
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.expected import Expectations, Expected
from notebook_containers.runtime.logs import read_until as read_log
from notebook_containers.runtime.pipes import Pipes
from notebook_containers.runtime.sessions import AttachSession, Connection, ExecSession, Made
from notebook_containers.runtime.starter import Starter
from notebook_containers.runtime.state import LOST, ContainerState, lost_state, read_exit, read_state
from notebook_containers.runtime.stuck import SOON_S

_GONE_S = 10.0
_MAKING_S = 3.0


class Runtime:
    """The runtime of one engine over a run directory, which is made 0700 and must belong to the caller. Thread-safe.

    ``starter`` is a spawner's end that was made before, perhaps warm already; it belongs to the runtime from now on.
    """

    def __init__(self, run_dir: Path, *, starter: Starter | None = None) -> None:
        self._containers = run_dir / "c"
        self._starter = starter or Starter()
        self._expectations = Expectations(self._starter.hint, orphans.forget_group)
        rundir.make_private(run_dir)
        rundir.make_private(self._containers)

    def warm(self) -> None:
        """Start the spawner now rather than with the first container."""
        self._starter.warm()

    def soon(self) -> Expected:
        """Say that a container is about to be made and started: much of it can be made meanwhile. Only speed needs it."""
        return self._expectations.begin()

    def enforced(self) -> dict[str, str]:
        """Return each kind of limit with an empty text when it holds for containers started here, or why it does not."""
        return cgroups.usable(self._starter.pid())

    def create(self, id: str, bundle: Bundle) -> ContainerState:
        """Make the container: its monitor runs and its first process waits in its namespaces, everything mounted.

        Conflict when one with this id is not over yet. On failure nothing is left; RuntimeFailure or StartFailed says which step it was.
        """
        with self.make(id, bundle) as made:
            return made.state

    def make(self, id: str, bundle: Bundle) -> Made:
        """Make the container as :meth:`create` does, and keep the connection to its monitor to start it on."""
        connection, answer = self._born(id, bundle, {})
        return Made(connection, ContainerState.from_json(answer["state"]), lambda: self._exit_code(id))  # type: ignore[arg-type]

    def run(self, id: str, bundle: Bundle, *, attach: bool = False, stdin: bool = False) -> AttachSession | None:
        """Make and start the container in one request, attached if asked for; errors as of :meth:`create` and :meth:`start`."""
        connection, answer = self._born(id, bundle, {"start": True, "attach": attach, "stdin": stdin})
        return Made(connection, None, lambda: self._exit_code(id)).session(answer, attach=attach)

    @limit_named()
    def _born(self, identity: str, bundle: Bundle, more: Table) -> tuple[Connection, Table]:
        directory = self._claim(identity)
        request: Table = {"id": identity, "bundle": os.fspath(bundle.path), "run": os.fspath(directory), **more}
        try:
            (bundle.path / "exit.json").unlink(missing_ok=True)
            return self._converse(b"create", request, [])
        except BaseException:
            with suppress(ContainerNotFound):  # it was made, but could not start
                self.delete(identity, force=True)
            orphans.sweep(bundle.path)
            rundir.remove(directory)
            raise

    def ids(self) -> list[str]:
        """Return the ids of all containers this run directory knows, over or not."""
        states = [read_state(directory) for directory in rundir.containers(self._containers)]
        return [state.id for state in states if state is not None]

    def start(self, id: str) -> None:
        """Let the created container's command run; returns when it does.

        StartFailed with ``exit_status`` 127 (no such command), 126 (it cannot be executed, and why) or 125; Conflict when the container is
        not just created.
        """
        self._ask(id, {"op": "start"})

    @limit_named()
    def state(self, id: str, bundle: Path | None = None) -> ContainerState:
        """Return the truth about a container, also when its monitor or the machine died.

        ``bundle`` is where to look when the run directory does not know the container any more (after a restart of the machine): its
        exit.json, or else exit code 137 and an error that says lost. Without it, ContainerNotFound.
        """
        found = read_state(self._directory(id))
        if found is not None:
            return found
        if bundle is None:
            raise ContainerNotFound(f"no container {id[:12]} is known to the runtime")
        return read_exit(bundle) or lost_state(id, bundle)

    @limit_named()
    def wait(self, id: str, timeout_s: float | None = None) -> int:
        """Wait until the container is over and return its exit code; TimeoutError after ``timeout_s``. Does not poll."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            connection = control.connect(self._directory(id), id)
        except (RuntimeFailure, Conflict):
            return self._exit_code(id, deadline)
        try:
            connection.ask({"op": "wait"})
            while received := connection.receive(_left(deadline)):
                if received[0] == wire.EXIT:
                    break
        except RuntimeFailure:
            pass  # the monitor ended in between: the state tells
        finally:
            connection.close()
        return self._exit_code(id, deadline)

    def wait_killed(self, id: str) -> None:
        """Wait until a container that was killed is over; StuckProcess, soon, when the kernel holds a process of it."""
        for seconds in (SOON_S, _GONE_S - SOON_S):
            try:
                self.wait(id, timeout_s=seconds)
            except TimeoutError:
                if held := stuck.held(self.pids(id)):
                    raise stuck.error(id, held) from None
            else:
                return
        raise stuck.error(id, self.pids(id))

    def kill(self, id: str, signal: int = signals.SIGTERM, *, all: bool = False, why: str = "") -> None:
        """Send a signal to the container's first process, or with ``all`` to every one. Conflict when it is not running.

        ``why`` is the verb that the caller was given (stop, kill, rm), for who asks later how it ended.
        SIGKILL and the container's stop signal also end its restarts. A paused container is killed without being resumed first.
        """
        if not 0 < signal <= 64:
            raise InvalidArgument(f"{signal} is no signal")
        try:
            self._ask(id, {"op": "kill", "signal": int(signal), "all": all, "why": why})
        except (Conflict, RuntimeFailure):
            state = self.state(id)
            if not state.live():  # it ended while we asked
                raise Conflict(f"container {id[:12]} is {state.status}, not running") from None
            if processes.alive(state.monitor_pid, state.monitor_started):
                raise
            orphans.signal(state, signal)

    def pause(self, id: str) -> None:
        """Freeze every process of a running container; returns when all stand still."""
        self._ask(id, {"op": "pause"})

    def resume(self, id: str) -> None:
        """Let a paused container go on."""
        self._ask(id, {"op": "resume"})

    @contextmanager
    def held(self, id: str) -> Iterator[None]:
        """Let a running container stand still while the block runs; it goes on at its end, also when this process is killed.

        Its state does not change. Unsupported where it has no cgroup that can freeze, Conflict when it does not run.
        """
        connection = control.connect(self._directory(id), id)
        try:
            connection.ask({"op": "hold"})
            yield
        finally:
            connection.close()

    def update(self, id: str, resources: Resources) -> list[str]:
        """Change the limits of a container that is not over; returns in words what cannot be enforced.

        InvalidArgument for a value that the kernel refuses (a memory limit below what is used); limits before it in order are then set.
        """
        limits_now = resources.to_json()
        limits_now.pop("devices", None)  # a rule at a time would leave a moment without rules
        try:
            return orphans.limits_of(self.state(id)).change({**limits_now})
        except OSError as err:
            name = os.path.basename(err.filename or "") or "a limit"
            raise InvalidArgument(
                f"cannot change the limits of container {id[:12]}: {name}: {(err.strerror or str(err)).lower()}",
                hint=_limit_hint(name, err.errno),
            ) from err

    def set_restart(self, id: str, policy: str, most: int) -> None:
        """Change the restart policy of a container that is not over."""
        self._ask(id, {"op": "update", "restart": policy, "restartMax": most})

    def resize(self, id: str, rows: int, cols: int) -> None:
        """Tell the terminal of the first process its size; nothing happens without one."""
        self._ask(id, {"op": "resize", "rows": rows, "cols": cols})

    def attach(self, id: str, *, stdin: bool = False, logs: bool = False) -> AttachSession:
        """Connect to the first process's streams; between create and start, no byte is missed.

        With ``logs`` the session first yields what is already in the log, without gap or overlap.
        """
        connection = control.connect(self._directory(id), id)
        try:
            answer = connection.ask({"op": "attach", "stdin": stdin})
        except BaseException:
            connection.close()
            raise
        before = read_log(answer.get("log")) if logs else iter(())
        return AttachSession(connection, terminal=answer.get("terminal") is True, before=before, ended=lambda: self._exit_code(id))

    @limit_named()
    def exec(self, id: str, process: Process, *, stdin: bool = False, detach: bool = False, exec_id: str = "") -> ExecSession | None:
        """Run a further process in a running container; None when detached. With ``exec_id`` its end becomes an event.

        What ``process`` leaves out of capabilities and limits is the container's own; no-new-privileges and the seccomp filter are always
        the container's. StartFailed as :meth:`start`; Conflict when the container is not running.
        """
        state = self.state(id)
        if state.status != "running":
            raise Conflict(f"container {id[:12]} is {state.status}, not running")
        request: Table = {**state.to_json(), "process": process.to_json(), "execId": exec_id, "run": os.fspath(self._directory(id))}
        if process.capabilities is not None:
            request["process"] = {**process.to_json(), "capabilities": process.capabilities.to_json()}
        pipes = Pipes(terminal=process.terminal or detach, stdin=stdin)
        try:
            connection, _answer = self._converse(b"exec", request, pipes.theirs)
        except BaseException as err:
            pipes.close_all()
            if isinstance(err, RuntimeFailure) and not processes.alive(state.pid, state.pid_started):
                raise Conflict(f"container {id[:12]} is not running: it ended a moment ago") from err
            raise
        pipes.close_theirs()
        if detach:
            for fd in connection.fds:
                os.close(fd)
            connection.close()
            return None
        if process.terminal:
            master = connection.fds[0]
            return ExecSession(connection, {master: "stdout"}, master, terminal=True)
        return ExecSession(connection, pipes.outputs, pipes.stdin, terminal=False)

    @limit_named()
    def pids(self, id: str) -> list[int]:
        """Return the host's numbers of the container's processes, sorted."""
        state = self.state(id)
        if not state.pid:
            return []
        return orphans.limits_of(state).pids() or namespaces.beside(state.pid)

    @limit_named()
    def delete(self, id: str, *, force: bool = False, meanwhile: Callable[[], None] | None = None) -> None:
        """Forget a container that is over; with ``force`` kill it first. The bundle stays. Returns when its processes are gone.

        ``meanwhile`` is called when all but its monitor are, which is ending. Conflict when it is not over and ``force`` is not given;
        ContainerNotFound when there is none.
        """
        directory = self._directory(id)
        state = read_state(directory)
        if state is None:
            if directory.is_dir() and rundir.abandoned(directory):
                rundir.remove(directory)
            raise ContainerNotFound(f"no container {id[:12]} is known to the runtime")
        if state.live():
            if not force:
                raise Conflict(f"container {id[:12]} is {state.status}", hint="stop it first, or force its removal")
            self._kill_for_ever(state)
        orphans.remove_cgroup(state)
        if meanwhile is not None:
            meanwhile()
        if not processes.wait_gone(state.monitor_pid, state.monitor_started, _GONE_S):
            raise stuck.error(id, [state.monitor_pid])
        if (directory / "borrowed").is_dir():
            from notebook_containers.runtime import borrowed  # brings all of init along, which no engine needs otherwise

            borrowed.forget_in(os.fspath(directory), id)
        rundir.remove(directory)

    @limit_named()
    def abandon(self, id: str, bundle: Path) -> None:
        """Take away what somebody who was killed left of a container that never started; nothing happens when there is nothing.

        The caller knows that nobody else is starting it. A monitor that is still making it is waited for.
        """
        directory = self._directory(id)
        while (state := read_state(directory)) is None and not rundir.abandoned(directory, _MAKING_S):
            if not directory.is_dir():
                return
            time.sleep(0.01)
        if state is None:
            orphans.sweep(bundle)  # who was interrupted while killing may have left it frozen, and its monitor waits for it
            rundir.remove(directory)
        elif state.status == "created":
            self.delete(id, force=True)

    def collect(self) -> None:
        """Take away what the killed left: places where nothing came to be, and what is over and has no bundle any more."""
        rundir.sweep(self._containers)
        for directory in rundir.containers(self._containers):
            state = read_state(directory)
            if state is None and rundir.abandoned(directory):
                rundir.remove(directory)
            elif state is not None and not state.live() and not os.path.isdir(state.bundle):
                with suppress(ContainerNotFound):  # somebody else was quicker
                    self.delete(state.id)

    def close(self) -> None:
        """End the spawner. Containers go on. Idempotent."""
        self._starter.close()

    # -- inside --------------------------------------------------------------------------------------------------------------------

    def _directory(self, identity: str) -> Path:
        if not identity or not identity.isascii() or not identity.replace("-", "").replace("_", "").isalnum():
            raise InvalidArgument(f"{identity!r} is no container id")
        return self._containers / identity[:12]

    def _claim(self, identity: str) -> Path:
        directory = self._directory(identity)
        for _ in range(2):
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                state = read_state(directory)
                if state is not None and not state.live():
                    self.delete(identity)
                elif state is None and rundir.abandoned(directory):
                    rundir.remove(directory)
                else:
                    raise Conflict(f"container {identity[:12]} exists and is {state.status if state else 'being created'}") from None
            else:
                return directory
        raise Conflict(f"container {identity[:12]} is being created by another process")

    def _converse(self, word: bytes, request: Table, fds: list[int]) -> tuple[Connection, Table]:
        ours, theirs = socket.socketpair()
        connection = Connection(ours)
        try:
            self._starter.send(word, [theirs.fileno(), *fds])
            theirs.close()
            with suppress(RuntimeFailure):  # it may have refused before it heard the request: then its answer says why
                connection.send(wire.REQUEST, request)
            return connection, connection.answer()
        except BaseException:
            connection.close()
            raise
        finally:
            theirs.close()

    def _ask(self, identity: str, request: Table) -> Table:
        connection = control.connect(self._directory(identity), identity)
        try:
            return connection.ask(request)
        finally:
            connection.close()

    def _exit_code(self, identity: str, deadline: float | None = None) -> int:
        state = self.state(identity)
        if state.live():
            # the monitor was killed and init is dying, or refused to die with it: nobody else can tell when it ends
            if not processes.wait_gone(state.pid, state.pid_started, _left(deadline)):
                raise TimeoutError
            state = self.state(identity)
        return state.exit_code if state.exit_code is not None else LOST

    def _kill_for_ever(self, state: ContainerState) -> None:
        try:
            self.kill(state.id, signals.SIGKILL, why="rm")
        except Conflict:
            return
        self.wait_killed(state.id)


def _limit_hint(name: str, number: int | None) -> str:
    """Return the next step for a limit that the kernel refused."""
    if number == errno.EBUSY:
        return "a memory limit cannot go below what is used now"
    return f"this machine has CPUs 0-{(os.cpu_count() or 1) - 1}" if name.startswith("cpuset.cpus") else ""


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else deadline - time.monotonic()
