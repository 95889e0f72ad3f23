"""The monitor: one small single-threaded process per container, which depends on nobody and outlives whoever asked for it.

It makes the container, pumps its output into the log and to attached clients, answers the control socket, restarts by policy, and
writes ``exit.json`` durably before it ends. When the monitor is killed, the container's first process dies with it (PR_SET_PDEATHSIG),
so nothing runs unwatched; whoever asks next finds no exit.json and says 137, lost.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from contextlib import suppress

from notebook_containers.errors import Conflict, Error, RuntimeFailure
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.linux.boot import boot_id
from notebook_containers.runtime import ahead, borrowed, children, container, document, ending, init, logfile, wire
from notebook_containers.runtime.actor import Actor
from notebook_containers.runtime.clients import STALL_S, Client, Clients
from notebook_containers.runtime.denials import Denials
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.health import Health
from notebook_containers.runtime.limits import Limits
from notebook_containers.runtime.loop import READ, Loop
from notebook_containers.runtime.memory import MemoryWatch
from notebook_containers.runtime.pump import Pump
from notebook_containers.runtime.restarts import Restarts
from notebook_containers.runtime.stuck import SOON_S

_CREDENTIALS = struct.Struct("3i")

_REHEARSED = json.dumps({"config": {"linux": {"resources": {"pids": {"limit": 1}}}}, "options": {"logPath": "", "restart": "no"}}).encode()


def rehearse() -> None:
    """Make a monitor of nothing and close it again, for the reason of :func:`.ahead.rehearse`."""
    Monitor("rehearsal", document.PlainBundle.told("/", wire.parse(_REHEARSED)), "/").close()


class Monitor:
    """What the process does; ``state`` is what state.json says."""

    def __init__(self, identity: str, bundle: document.PlainBundle, run: str, first: ahead.Ahead | None = None) -> None:
        self.id = identity
        self._first = first
        self._run = run
        self._bundle = bundle
        self._options = bundle.options
        self._kept = container.Kept()
        self._loop = Loop()
        self._clients = Clients(self._loop, self._answer, self._take_input)
        self._log = logfile.open_log(bundle.path, self._options)
        self._pump = Pump(self._loop, self._clients, self._log)
        self._limits = Limits(document.text(bundle.linux(), "cgroupsPath"), document.table(bundle.linux(), "resources"))
        other = document.text(self._options, "runtime")
        self._borrowed = borrowed.Place(other, run, identity) if other else None
        self._life: container.Life | None = None
        self._starters: list[Client] = []
        self._exit: int | None = None
        self._holders = 0
        self._failed = 0  # the exit status of a command that could not start
        self._on_purpose = False  # ended by a caller: not restarted
        self._unwanted = False  # nobody is left who knows of it
        self._restart_at = 0.0
        self._restarts = Restarts()
        self._actor = Actor(run, bundle.path)
        self._health = Health(document.table(self._options, "health"), self._loop, self._checked)
        self._memory = MemoryWatch(self._loop, self._limits, self._memory_ran_out)
        self._denials = Denials(self._loop)
        own = os.getpid()
        self.state: Table = {"id": identity, "bundle": bundle.path, "status": "creating", "created": time.time(), "restartCount": 0}
        self.state.update(monitorPid=own, monitorStarted=processes.start_time(own), boot=boot_id())

    def close(self) -> None:
        """Let go of what was opened for it, when nothing is made of it."""
        self._loop.close()

    # -- making it -----------------------------------------------------------------------------------------------------------------

    def create(self, conn: socket.socket, *, start: bool = False) -> None:
        """Make the container up to the point where its command would start, and open the control socket.

        With ``start`` it is going to be started at once, and may begin as soon as it is ready.
        """
        children.watch(self._loop, self._died, self._end)
        if document.flag(self._options, "tied"):
            self._tie(conn)
        if self._first is not None:
            self._first.give_group(self._limits)
        self._limits.create()
        self._be_born(start=start)
        self._clients.listen(self._run)
        self.state.update(cgroup=self._limits.path, cgroupLocations=self._limits.locations, warnings=[*self._limits.warnings])
        self._save(status="created")

    def greet(self, conn: socket.socket, request: Table) -> None:
        """Go on with whoever asked for the container as with any client: answer with the state, or ``start`` at once and then answer."""
        client = self._clients.adopt(conn)
        if document.flag(request, "start"):
            self._start(client, request)
        else:
            self._clients.send(client, wire.json_frame(wire.ANSWER, {"state": self.state}))

    def undo(self) -> None:
        """Take back what :meth:`create` made before it failed."""
        if self._life is not None:
            self._life.close()
            processes.kill_and_reap(self._life.pid)
        self._limits.kill()
        self._forget_borrowed()
        self._limits.remove()

    def _forget_borrowed(self) -> None:
        if self._borrowed is not None:
            borrowed.forget(self._borrowed)

    def _be_born(self, *, start: bool = False) -> None:
        first, self._first = self._first, None
        life = None
        if first is not None:
            life = first.become(self._bundle, self._kept, self._limits, start=start, meanwhile=self._expect)
            first.processors.give_back([0])
        if life is None and self._borrowed is not None:
            life = borrowed.create(self._borrowed, self._bundle, self._kept)
        self._life = life = life or container.create(self._bundle, self._kept, self._limits.enter)
        if self.state.get("pid") != life.pid:
            self._note_pid(life.pid)
        self._pump.connect(life)
        self._loop.watch(life.channel.fileno(), READ, self._started)

    def _expect(self, pid: int) -> None:
        self._note_pid(pid)
        self._clients.listen(self._run)

    def _note_pid(self, pid: int) -> None:
        self.state.update(pid=pid, pidStarted=processes.start_time(pid))

    def _tie(self, conn: socket.socket) -> None:
        """Let the container end when the process that asked for it on ``conn`` does."""
        credentials = conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self._loop.watch(syscalls.pidfd_open(_CREDENTIALS.unpack(credentials)[0]), READ, self._orphaned)

    def _orphaned(self, fd: int) -> None:
        self._loop.unwatch(fd)
        os.close(fd)
        self._unwanted = True
        self._end()

    def _save(self, **changes: object) -> None:
        self.state.update(changes)
        document.write(os.path.join(self._run, "state.json"), self.state)

    # -- the loop ------------------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer, pump and watch until the container is over and everybody has been told."""
        while self.state["status"] != "stopped" or any(client.pending() for client in self._clients.all()):
            self._loop.turn(self._timeout())
            now = time.monotonic()
            self._pump.balance(now)
            if self._exit is not None and self._pump.drained(now):
                self._ended(self._exit)
            if self._restart_at and self._restart_at <= now:
                self._restart()
            if 0.0 < self._memory.due() <= now:
                self._memory.look()
            if 0.0 < self._denials.due() <= now:
                self._denials.go_on()
            if 0.0 < self._health.due() <= now:
                self._health.start(self.state, self._bundle.process())
            if self.state["status"] == "stopped":
                for client in self._clients.all():
                    if client.stalled(now=now):
                        self._clients.drop(client)

    def _timeout(self) -> float | None:
        now = time.monotonic()
        times = [self._pump.drained_at()] if self._exit is not None else []
        times += [moment for moment in (self._restart_at, self._health.due(), self._memory.due(), self._denials.due()) if moment]
        times += [now + STALL_S / 10] if any(client.pending() for client in self._clients.all()) else []
        return max(0.0, min(times) - now) if times else None

    def _take_input(self, data: bytes) -> None:
        self._pump.take(data)

    # -- requests ------------------------------------------------------------------------------------------------------------------

    def _answer(self, client: Client, request: Table) -> Table | None:
        op = document.text(request, "op")
        try:
            return self._operation(op, client, request)
        except Error as err:
            return {"error": wire.error_table(err)}
        except OSError as err:
            return {"error": wire.error_table(RuntimeFailure(f"cannot {op} container {self.id[:12]}: {err.strerror}"))}

    def _operation(self, op: str, client: Client, request: Table) -> Table | None:
        if op == "start":
            return self._start(client, request)
        if op == "wait":
            client.waits = True
        if op == "attach":
            self._attach(client, request)
            return {"terminal": self._has_terminal(), "log": self._log.position() if self._log else {}}
        if op == "hold":
            self._hold(client)
        if op == "update":
            self._options.update(restart=document.text(request, "restart"), restartMax=document.number(request, "restartMax"))
        if op == "detach":
            client.ends_input = False
            self._actor.tell("detach")
        if op == "kill":
            ending.note_request(self.state, client, request)
            self._kill(document.number(request, "signal"), everyone=document.flag(request, "all"))
        elif op in ("pause", "resume"):
            self._freeze(frozen=op == "pause")
        elif op == "resize":
            self._resize(document.number(request, "rows"), document.number(request, "cols"))
        return {}

    def _resize(self, rows: int, columns: int) -> None:
        if self._life is not None and self._life.master >= 0:
            processes.set_window(self._life.master, rows, columns)
            self._actor.tell("resize", {"height": rows, "width": columns})

    def _has_terminal(self) -> bool:
        return document.flag(self._bundle.process(), "terminal")

    def _attach(self, client: Client, request: Table) -> None:
        client.waits = client.attached = True
        self._actor.tell("attach")
        client.sends_input = document.flag(request, "stdin")
        client.ends_input = client.sends_input and not self._has_terminal()  # a terminal outlives whoever looks at it

    def _start(self, client: Client, request: Table) -> Table | None:
        if self.state["status"] != "created" or self._life is None or self._exit is not None:
            raise Conflict(f"container {self.id[:12]} is {self.state['status']}, not created")
        if document.flag(request, "attach"):
            self._attach(client, request)
        self._starters.append(client)
        if len(self._starters) == 1:
            self._life.start()
        return None

    def _kill(self, number: int, *, everyone: bool) -> None:
        if number in (signal.SIGKILL, document.number(self._options, "stopSignalNumber", signal.SIGTERM)):
            self._on_purpose = True
            self.state["manual"] = True
        if self._restart_at:
            self._finish()
            return
        if self._life is None or self._exit is not None:
            raise Conflict(f"container {self.id[:12]} is not running")
        if "started" in self.state:
            self._actor.tell("kill", {"signal": number})
        if number == signal.SIGKILL:
            self._limits.oom_killed()  # whoever was killed for want of memory until now: that is not this end
        if everyone and self._limits.path:
            self._limits.signal(number)
        else:
            os.kill(self._life.pid, number)  # our own child, not yet reaped: nobody else has its pid
        if number == signal.SIGKILL and (self.state["status"] == "paused" or self._holders):
            self._limits.freeze(frozen=False)

    def _freeze(self, *, frozen: bool) -> None:
        wanted = "running" if frozen else "paused"
        if self.state["status"] != wanted:
            raise Conflict(f"container {self.id[:12]} is {self.state['status']}, not {wanted}")
        if not self._holders:
            self._limits.freeze(frozen=frozen)
        if frozen:
            self._health.pause()
        else:
            self._health.resume()
        self._save(status="paused" if frozen else "running")
        self._actor.tell("pause" if frozen else "unpause")

    def _hold(self, client: Client) -> None:
        """Let the container stand still for as long as this client is connected, also when it is killed: nobody else would let it go on."""
        if self._life is None or self._exit is not None or client.on_gone is not None:
            raise Conflict(f"container {self.id[:12]} is {self.state['status']}, not running")
        if not self._holders and self.state["status"] == "running":
            self._limits.freeze(frozen=True)
        self._holders += 1
        client.on_gone = self._let_go

    def _let_go(self) -> None:
        self._holders -= 1
        if not self._holders and self._life is not None and self.state["status"] != "paused":
            self._limits.freeze(frozen=False)

    # -- life and death ------------------------------------------------------------------------------------------------------------

    def _started(self, fd: int) -> None:
        """The channel to init is ready: it closed on execve, or carries why that was impossible."""
        if self._life is None or self._life.channel.fileno() != fd:
            return
        message, listeners = processes.recv_fds(self._life.channel, 65536, 1)
        if message == init.LISTENER:
            for listener in listeners:  # none when this process has no descriptor left: such calls are answered ENOSYS then
                self._denials.listen(listener)
            return
        self._loop.unwatch(fd)
        starters, self._starters = self._starters, []
        answer: Table = {"terminal": self._has_terminal()}
        if message:
            err = container.failure(message)
            answer = {"error": wire.error_table(err)}
            self.state.update(error=err.one_line(), startFailed=True)
            self._failed = err.exit_status
            self._on_purpose = True  # a command that cannot start will not start the next time either
        elif starters or self.state["status"] == "restarting":
            self._live()
        for client in starters:
            self._clients.send(client, wire.json_frame(wire.ANSWER, answer))

    def _live(self) -> None:
        """The command runs."""
        self.state.pop("exitCode", None)  # that of the life before
        self._health.begin()
        if self._health.exists():
            self.state["health"] = self._health.table()
        self._save(status="running", started=time.time())
        self._actor.mount_volumes()
        self._actor.tell("start")
        self._memory.begin()

    def _memory_ran_out(self, kills: int) -> None:
        self._actor.tell("oom")
        self._save(oomKills=kills)

    def _checked(self, status: str) -> None:
        self._save(health=self._health.table())
        if status:
            self._actor.tell(f"health_status: {status}")

    def vanish(self) -> None:
        """Take the run directory away when nobody is left who would, or when nothing came of the container."""
        if self._unwanted or self.state["status"] == "creating":
            import shutil

            shutil.rmtree(self._run, ignore_errors=True)

    # -- the end -------------------------------------------------------------------------------------------------------------------

    def _died(self, pid: int, status: int) -> None:
        if self._life is not None and pid == self._life.pid:
            self._exit = status
            self._pump.begin_draining()

    def _end(self) -> None:
        if self._life is not None and self._exit is None:
            self._on_purpose = True
            os.kill(self._life.pid, signal.SIGKILL)

    def _ended(self, status: int) -> None:
        self._exit = None
        pid = document.number(self.state, "pid")
        if self._life is not None:
            while self._loop.watches(self._life.channel.fileno()):
                self._started(self._life.channel.fileno())
            self._pump.disconnect()
            self._life.close()
        self._life = None
        self._health.end()
        if self._failed:  # it ends by itself with this status; whoever kills it a moment before changes nothing
            status = self._failed << 8
        code = processes.exit_code(status)
        found = ending.facts(pid, status, self._limits, self._bundle.path, log_full=self._log is not None and self._log.full())
        self._memory.count(document.number(found, "oomKills"))
        self.state.update(found)
        self.state.update(self._denials.end())
        self.state.update(pid=0, pidStarted=0, exitCode=code, finished=time.time())
        ran_s = time.time() - document.real(self.state, "started") if "started" in self.state else 0.0
        if "started" in self.state or "startFailed" in self.state:
            self._actor.tell("die", {"exitCode": code, "execDuration": int(ran_s)})
        self._actor.unmount_volumes()
        if not self._on_purpose and "started" in self.state and self._restarts.wanted(self._options, code):
            self._restart_at = time.monotonic() + self._restarts.next(ran_s)
            self._save(status="restarting", restartCount=self._restarts.count)
        else:
            self._finish()

    def _restart(self) -> None:
        self._restart_at = 0.0
        self.state.pop("requests", None)  # they were for the life before
        try:
            self._limits.kill()
            self._forget_borrowed()
            self._be_born()
        except (Error, OSError, ValueError) as err:
            self.state.update(error=err.one_line() if isinstance(err, Error) else str(err), startFailed=True)
            self._finish()
        else:
            if self._life is not None:
                self._life.start()

    def _kill_the_rest(self) -> str:
        """Kill what the first process left; returns a warning when the kernel does not let something end: whoever deletes tries again."""
        try:
            self._limits.kill(timeout_s=SOON_S)
        except OSError as err:
            return err.strerror or str(err)
        processes.kill_children(SOON_S)  # without a pid namespace and a cgroup of its own, what the command left came to us
        return ""

    def _finish(self) -> None:
        """Leave nothing behind, make the exit code durable, and only then tell anybody."""
        self._restart_at = 0.0
        left = self._kill_the_rest()
        self._forget_borrowed()
        self._memory.end()
        self._actor.leave_networks()
        left = left or self._limits.remove()
        if not left:
            self.state.update(cgroup="", cgroupLocations={})  # nobody need look for it again
        warnings = [*document.texts(self.state, "warnings"), *filter(None, [left])]
        if self._log is not None:
            self._log.close()
        self.state.update(status="stopped", warnings=warnings)
        path = os.path.join(self._bundle.path, document.text(self._options, "exitPath", "exit.json"))
        try:
            document.write(path, self.state, durable=not document.flag(self._options, "volatile"))
        except OSError as err:
            self.state["warnings"] = [*warnings, f"{path} cannot be written: {err.strerror}"]
        with suppress(OSError):  # somebody removed the run directory: those who wait are told all the same
            self._save()
        self._clients.stop_listening(self._run)
        for client in self._clients.all():
            if client.waits:
                client.say_lost()
                self._clients.send_last(client, wire.json_frame(wire.EXIT, {"exitCode": document.number(self.state, "exitCode")}))
