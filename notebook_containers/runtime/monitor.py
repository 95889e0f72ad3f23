"""The monitor: one small single-threaded process per container, which depends on nobody and outlives whoever asked for it.

It makes the container, pumps its output into the log and to attached clients, answers the control socket, restarts by policy, and
writes ``exit.json`` durably before it ends. When the monitor is killed, the container's first process dies with it (PR_SET_PDEATHSIG),
so nothing runs unwatched; whoever asks next finds no exit.json and says 137, lost.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

from notebook_containers.errors import Conflict, Error, RuntimeFailure
from notebook_containers.linux import process as processes, syscalls
from notebook_containers.runtime import container, document, logfile, wire
from notebook_containers.runtime.clients import STALL_S, Client
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.limits import Limits

_CHUNK = 65536
_INPUT_BYTES = 65536
_DRAIN_S = 0.5
_BACKOFF_FIRST_S, _BACKOFF_MOST_S, _GOOD_RUN_S = 0.1, 60.0, 10.0


def main(conn: socket.socket) -> None:
    """Serve the container that the request on ``conn`` describes, in this process, until it is over; never returns."""
    _leave_the_caller(conn)
    try:
        request = wire.parse(read_request(conn))
        monitor = Monitor(document.text(request, "id"), document.text(request, "bundle"), document.text(request, "run"))
    except (OSError, ValueError) as err:
        _tell(conn, {"error": wire.error_table(RuntimeFailure(f"cannot read the bundle: {err}"))})
        os._exit(1)
    try:
        monitor.create()
    except Error as err:
        monitor.undo()
        _tell(conn, {"error": wire.error_table(err)})
        os._exit(1)
    except (OSError, ValueError) as err:
        monitor.undo()
        _tell(conn, {"error": wire.error_table(RuntimeFailure(f"cannot create container {monitor.id[:12]}: {err}"))})
        os._exit(1)
    _tell(conn, {"state": monitor.state})
    conn.close()
    monitor.serve()
    os._exit(0)


def _leave_the_caller(conn: socket.socket) -> None:
    processes.stdio_to_null()
    processes.keep_only([conn.fileno()])
    os.chdir("/")
    os.umask(0o077)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()


def read_request(conn: socket.socket) -> bytes:
    """Return the payload of the one frame the engine sends; ValueError when it hangs up first."""
    reader = wire.Reader()
    while data := conn.recv(_CHUNK):
        reader.feed(data)
        for _kind, payload in reader.frames():
            return payload
    raise ValueError("no request came")


def _tell(conn: socket.socket, value: Table) -> None:
    try:
        conn.sendall(wire.json_frame(wire.ANSWER, value))
    except OSError:
        pass  # the engine is gone; the container is there all the same


class Monitor:
    """The loop and its state; ``state`` is what state.json says."""

    def __init__(self, identity: str, bundle: str, run: str) -> None:
        self.id = identity
        self._run = run
        self._bundle = container.Bundle(bundle)
        self._options = self._bundle.options
        self._kept = container.Kept()
        self._clients: dict[int, Client] = {}
        self._starters: list[Client] = []
        self._input = bytearray()
        self._input_ends = False
        self._paused_reading = False
        self._manual = False
        self._restart_at = self._drain_until = 0.0
        self._backoff = _BACKOFF_FIRST_S / 2
        self._exit: int | None = None
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._life: container.Life | None = None
        self._listener: socket.socket | None = None
        self._limits = Limits(document.text(self._bundle.linux(), "cgroupsPath"), document.table(self._bundle.linux(), "resources"))
        log_path = os.path.join(bundle, document.text(self._options, "logPath", "container.log"))
        most, files = document.number(self._options, "logMaxBytes", 10_000_000), document.number(self._options, "logMaxFiles", 3)
        self._log = logfile.LogFile(log_path, max_bytes=most, max_files=files) if document.text(self._options, "logPath", "-") else None
        self.state: Table = {
            "id": identity,
            "bundle": bundle,
            "status": "creating",
            "pid": 0,
            "monitorPid": os.getpid(),
            "monitorStarted": processes.start_time(os.getpid()),
            "created": time.time(),
            "restartCount": 0,
        }

    # -- making it -----------------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the container up to the point where its command would start, and open the control socket."""
        self._watch_children()
        self._limits.create()
        self._be_born()
        self._listen()
        if self._limits.warnings:
            self.state["warnings"] = [*self._limits.warnings]
        self.state["cgroup"], self.state["cgroupLocations"] = self._limits.path, self._limits.locations
        self._save(status="created")

    def undo(self) -> None:
        """Take back what :meth:`create` made before it failed."""
        if self._life is not None:
            self._life.close()
            processes.kill_and_reap(self._life.pid)
        self._limits.remove()

    def _be_born(self) -> None:
        self._life = container.create(self._bundle, self._kept, self._limits.enter)
        pid = self._life.pid
        self.state.update(pid=pid, pidStarted=processes.start_time(pid))
        for fd in self._life.outputs:
            self._watch(fd, select.EPOLLIN, self._pump)
        self._watch(self._life.channel.fileno(), select.EPOLLIN, self._started)

    def _listen(self) -> None:
        # a relative name: the path of the run directory may be longer than a socket address
        os.chdir(self._run)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind("ctl")
        os.chdir("/")
        listener.listen(64)
        self._listener = listener
        self._watch(listener.fileno(), select.EPOLLIN, self._accept)

    def _watch_children(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)
        self._watch(reading, select.EPOLLIN, self._signalled)

    def _save(self, **changes: object) -> None:
        self.state.update(changes)
        document.write(os.path.join(self._run, "state.json"), self.state)

    # -- the loop ------------------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer, pump and watch until the container is over and everybody has been told."""
        while self.state["status"] != "stopped" or any(client.pending() for client in self._clients.values()):
            self._turn()

    def _turn(self) -> None:
        for fd, _event in self._epoll.poll(self._timeout()):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(fd)
        now = time.monotonic()
        self._balance(now)
        if self._exit is not None and (not self._outputs() or (self._drain_until <= now and not self._paused_reading)):
            self._ended(self._exit)
        if self._restart_at and self._restart_at <= now:
            self._restart()
        for client in [client for client in self._clients.values() if self.state["status"] == "stopped" and client.stalled(now=now)]:
            self._drop(client)

    def _timeout(self) -> float | None:
        times = []
        if self._exit is not None:
            times.append(self._drain_until)
        if self._restart_at:
            times.append(self._restart_at)
        now = time.monotonic()
        if any(client.pending() for client in self._clients.values()):
            times.append(now + STALL_S / 10)
        return max(0.0, min(times) - now) if times else None

    def _watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def _unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def _outputs(self) -> dict[int, str]:
        return self._life.outputs if self._life is not None else {}

    # -- output --------------------------------------------------------------------------------------------------------------------

    def _pump(self, fd: int) -> None:
        life = self._life
        if life is None or fd not in life.outputs:
            return
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last holder of the terminal is gone
            data = b""
        if not data:
            self._unwatch(fd)
            os.close(fd)
            del life.outputs[fd]
            return
        stream = life.outputs[fd]
        if self._log is not None:
            self._log.write(stream, data)
        kind = wire.STDOUT if stream == "stdout" else wire.STDERR
        for client in [client for client in self._clients.values() if client.attached]:
            self._guarded(client, lambda client=client: client.output(kind, data))  # type: ignore[misc]
        if self._exit is not None:
            self._drain_until = time.monotonic() + _DRAIN_S

    def _balance(self, now: float) -> None:
        attached = [client for client in self._clients.values() if client.attached]
        if not self._paused_reading and any(client.full(now=now) for client in attached):
            self._paused_reading = True
        elif self._paused_reading and all(client.drained() or not client.full(now=now) for client in attached):
            self._paused_reading = False
        else:
            return
        for fd in self._outputs():
            self._epoll.modify(fd, 0 if self._paused_reading else select.EPOLLIN)

    # -- input ---------------------------------------------------------------------------------------------------------------------

    def _take_input(self, data: bytes) -> None:
        if not data and self._life is not None and self._life.master >= 0:
            data = b"\x04"  # a terminal has no other end of input than its character for it
        self._input += data
        self._input_ends = self._input_ends or not data
        self._feed()

    def _feed(self, _fd: int = -1) -> None:
        life = self._life
        target = -1 if life is None else life.master if life.master >= 0 else life.stdin
        if life is None or target < 0:
            self._input.clear()
            return
        try:
            while self._input:
                del self._input[: os.write(target, self._input[:_CHUNK])]
        except BlockingIOError:
            if target not in self._handlers:
                self._watch(target, select.EPOLLOUT, self._feed)
            return
        except OSError:
            self._input.clear()  # the container closed its input
        self._unwatch(target)
        if self._input_ends and life.stdin >= 0:
            os.close(life.stdin)
            life.stdin = -1
        for client in self._clients.values():
            self._interest(client)

    # -- clients -------------------------------------------------------------------------------------------------------------------

    def _accept(self, _fd: int) -> None:
        if self._listener is None:
            return
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return
        client = Client(sock)
        if not client.trusted():
            sock.close()
            return
        self._clients[sock.fileno()] = client
        self._watch(sock.fileno(), select.EPOLLIN, self._hear)

    def _interest(self, client: Client) -> None:
        reading = select.EPOLLIN if not (client.sends_input and len(self._input) > _INPUT_BYTES) else 0
        self._epoll.modify(client.sock.fileno(), reading | (select.EPOLLOUT if client.pending() else 0))

    def _hear(self, fd: int) -> None:
        client = self._clients[fd]
        try:
            client.flush()
            data = client.sock.recv(_CHUNK)
        except BlockingIOError:
            self._interest(client)
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        try:
            client.reader.feed(data)
            for kind, payload in client.reader.frames():
                self._dispatch(client, kind, payload)
        except (ValueError, KeyError):
            self._drop(client)
        if fd in self._clients:
            self._interest(client)

    def _drop(self, client: Client) -> None:
        fd = client.sock.fileno()
        if self._clients.pop(fd, None) is None:
            return
        self._unwatch(fd)
        client.sock.close()
        if client in self._starters:
            self._starters.remove(client)
        if client.sends_input and not document.flag(self._bundle.process(), "terminal"):
            self._take_input(b"")  # who fed the input is gone: it ends

    def _guarded(self, client: Client, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError:
            self._drop(client)
            return
        if client.sock.fileno() in self._clients:
            self._interest(client)

    def _dispatch(self, client: Client, kind: int, payload: bytes) -> None:
        if kind == wire.STDIN and client.sends_input:
            self._take_input(payload)
        elif kind == wire.REQUEST:
            request = wire.parse(payload)
            try:
                answer = self._operation(client, request)
            except Error as err:
                answer = {"error": wire.error_table(err)}
            except OSError as err:
                answer = {"error": wire.error_table(RuntimeFailure(f"cannot {request.get('op')}: {err.strerror}"))}
            if answer is not None:
                client.answer(answer)

    def _operation(self, client: Client, request: Table) -> Table | None:
        op = document.text(request, "op")
        if op == "start":
            return self._start(client)
        if op == "wait":
            client.waits = True
        elif op == "attach":
            return self._attach(client, request)
        elif op == "kill":
            self._kill(document.number(request, "signal"), everyone=document.flag(request, "all"))
        elif op in ("pause", "resume"):
            self._freeze(frozen=op == "pause")
        elif op == "resize" and self._life is not None and self._life.master >= 0:
            processes.set_window(self._life.master, document.number(request, "rows"), document.number(request, "cols"))
        return {}

    def _start(self, client: Client) -> Table | None:
        if self.state["status"] != "created" or self._life is None:
            raise Conflict(f"container {self.id[:12]} is {self.state['status']}, not created")
        self._starters.append(client)
        if len(self._starters) == 1:
            self._life.channel.send(b"s")
        return None

    def _attach(self, client: Client, request: Table) -> Table:
        client.attached = client.waits = True
        client.sends_input = document.flag(request, "stdin")
        return {"terminal": document.flag(self._bundle.process(), "terminal"), "log": self._log.position() if self._log is not None else {}}

    def _kill(self, number: int, *, everyone: bool) -> None:
        stop = document.number(self._options, "stopSignalNumber", signal.SIGTERM)
        if number in (signal.SIGKILL, stop):
            self._manual = True
        if self._restart_at:
            self._restart_at = 0.0
            self._finish(document.number(self.state, "exitCode"))
            return
        if self._life is None or self._exit is not None:
            raise Conflict(f"container {self.id[:12]} is not running")
        if everyone and self._limits.path:
            self._limits.signal(number)
        else:
            os.kill(self._life.pid, number)  # our own child, not yet reaped: the pid is its
        if number == signal.SIGKILL and self.state["status"] == "paused":
            self._freeze(frozen=False)

    def _freeze(self, *, frozen: bool) -> None:
        wanted = "running" if frozen else "paused"
        if self.state["status"] != wanted:
            raise Conflict(f"container {self.id[:12]} is {self.state['status']}, not {wanted}")
        self._limits.freeze(frozen=frozen)
        self._save(status="paused" if frozen else "running")

    # -- life and death ------------------------------------------------------------------------------------------------------------

    def _started(self, fd: int) -> None:
        life = self._life
        if life is None or life.channel.fileno() != fd:
            return
        message = life.channel.recv(65536)
        self._unwatch(fd)
        starters, self._starters = self._starters, []
        answer: Table = {}
        if message:
            err = container.failure(message)
            answer = {"error": wire.error_table(err)}
            self.state["error"] = err.one_line()
            self._manual = True  # a command that cannot start will not start the next time either
        elif self.state["status"] == "created" and starters or self.state["status"] == "restarting":
            self._save(status="running", started=time.time())
        for client in starters:
            self._guarded(client, lambda client=client: client.answer(answer))  # type: ignore[misc]

    def _signalled(self, fd: int) -> None:
        numbers = os.read(fd, 4096)
        if signal.SIGTERM in numbers and self._life is not None and self._exit is None:
            self._manual = True
            os.kill(self._life.pid, signal.SIGKILL)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._life is not None and pid == self._life.pid:
                self._exit = processes.exit_code(status)
                self._drain_until = time.monotonic() + _DRAIN_S

    def _ended(self, code: int) -> None:
        self._exit = None
        if self._life is not None:
            if self._life.channel.fileno() in self._handlers:
                self._started(self._life.channel.fileno())
            for fd in [*self._life.outputs, self._life.stdin, self._life.master]:
                self._unwatch(fd)
            self._life.close()
        self._life = None
        self._input.clear()
        self._input_ends = False
        started = document.real(self.state, "started")
        oom = self._limits.oom_killed() and code == 128 + signal.SIGKILL
        self.state.update(pid=0, pidStarted=0, exitCode=code, finished=time.time(), oomKilled=oom)
        if self._should_restart(code):
            ran = time.time() - started
            count = document.number(self.state, "restartCount") + 1
            self._backoff = _BACKOFF_FIRST_S if ran >= _GOOD_RUN_S else min(_BACKOFF_MOST_S, self._backoff * 2)
            self._restart_at = time.monotonic() + self._backoff
            self._save(status="restarting", restartCount=count)
        else:
            self._finish(code)

    def _should_restart(self, code: int) -> bool:
        policy = document.text(self._options, "restart", "no")
        if self._manual or policy == "no" or "started" not in self.state:
            return False
        most = document.number(self._options, "restartMax")
        if policy == "on-failure":
            return code != 0 and (most <= 0 or document.number(self.state, "restartCount") < most)
        return True

    def _restart(self) -> None:
        self._restart_at = 0.0
        self._limits.kill()
        try:
            self._be_born()
        except (Error, OSError, ValueError) as err:
            self.state["error"] = err.one_line() if isinstance(err, Error) else str(err)
            self._finish(document.number(self.state, "exitCode"))
            return
        if self._life is not None:
            self._life.channel.send(b"s")

    def _finish(self, code: int) -> None:
        """Leave nothing behind, make the exit code durable, and only then tell anybody."""
        self._limits.kill()
        warning = self._limits.remove()
        if warning:
            self.state["warnings"] = [*document.texts(self.state, "warnings"), warning]
        if self._log is not None:
            self._log.close()
            self._log = None
        self.state["status"] = "stopped"
        path = os.path.join(self._bundle.path, document.text(self._options, "exitPath", "exit.json"))
        try:
            document.write(path, self.state, durable=True)
            self._save()
        except OSError as err:
            print(err, file=sys.stderr)
        if self._listener is not None:
            self._unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
            os.unlink(os.path.join(self._run, "ctl"))
        for client in list(self._clients.values()):
            if client.waits:
                self._guarded(client, lambda client=client: client.exit({"exitCode": code}))  # type: ignore[misc]
