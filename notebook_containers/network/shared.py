"""One ordinary user's private machine for networks: a user and a network namespace that bridges lie in, kept by one process of ours.

Without root no link can be made in the machine's own network namespace. So the networks that a user makes lie in one namespace that is
the user's (:mod:`.holder` keeps it), and containers that are in them share its user namespace: who has the rights of root there may make
links between it and them. Everything else is as for root: the same bridges, the same firewall, the same addresses. What goes outside goes
through one pasta or slirp4netns for all.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_containers import errors
from notebook_containers.errors import Conflict, NetworkError
from notebook_containers.lean import dataclass
from notebook_containers.linux import namespaces, process as processes, syscalls
from notebook_containers.linux.idmaps import IdMaps
from notebook_containers.network import userland
from notebook_containers.network.config import NetworkConfig
from notebook_containers.network.holder import ANSWER_BYTES, SOCKET
from notebook_containers.network.spawn import spawn

_TIMEOUT_S = 30.0
_CREDENTIALS = struct.Struct("=iII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The namespaces while somebody needs them: the holder's process id, and a descriptor that tells of its end."""

    pid: int
    pidfd: int

    @property
    def user_namespace(self) -> str:
        """The file of the user namespace that containers are to join."""
        return f"/proc/{self.pid}/ns/{namespaces.FILES['user']}"

    def check(self) -> None:
        """Raise Conflict when the holder has ended: whoever joined by its number may have joined a stranger's."""
        if select.select([self.pidfd], [], [], 0)[0]:
            raise Conflict("the process that keeps your networks ended meanwhile", hint="try again")


class SharedBridges:
    """What :mod:`.bridge` does, done in the user's shared namespace; ``directory`` is private and lasts until a restart of the machine.

    ``lock`` is a file whose shared lock the caller holds from :meth:`held` to :meth:`attach`: while anybody has it, the holder stays.
    """

    def __init__(self, directory: Path, lock: Path, maps: IdMaps, *, while_pid: int = 0) -> None:
        self._directory, self._lock, self._maps, self._while_pid = directory, lock, maps, while_pid

    def kept_while(self, pid: int) -> SharedBridges:
        """Return the same, where the namespaces stay at least while a process lives: that of the container that is attached when 0."""
        return SharedBridges(self._directory, self._lock, self._maps, while_pid=pid)

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Give the namespaces, made now when there are none. Raises NetworkError when the kernel refuses them."""
        with self._connection() as connection:
            pid, _uid, _gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            pidfd = syscalls.pidfd_open(pid)
            try:
                yield Held(pid=pid, pidfd=pidfd)
            finally:
                os.close(pidfd)

    def ensure(self, config: NetworkConfig) -> tuple[str, ...]:
        """Make the network's bridge and the firewall, and the way outside where there is a program for it (:func:`.bridge.ensure`)."""
        answer = self._ask("ensure", config, {})
        if not config.internal and not answer["way out"] and userland.find() is not None:
            with self.held() as held, self._alone("outside"):
                if not self._ask("ensure", config, {})["way out"]:  # nobody was quicker
                    userland.start(held.pid)
        warnings = answer["warnings"]
        return tuple(str(text) for text in warnings) if isinstance(warnings, list) else ()

    def attach(
        self,
        config: NetworkConfig,
        *,
        pid: int,
        container_id: str,
        address: str,
        address6: str = "",
        mac: str = "",
        interface: str = "eth0",
        link_local: Sequence[str] = (),
        way_out: bool = True,
        guarded: bool = False,
    ) -> None:
        """Give a container a place in the network (:func:`.bridge.attach`); see :meth:`kept_while` for how long the namespaces stay."""
        given = {
            "pid": pid,
            "container_id": container_id,
            "address": address,
            "address6": address6,
            "link_local": list(link_local),
            "mac": mac,
            "interface": interface,
            "way_out": way_out,
            "guarded": guarded,
        }
        self._ask("attach", config, given, alive=self._while_pid or pid)

    def detach(self, config: NetworkConfig, *, container_id: str) -> None:
        """Take a container out of the network; see :func:`.bridge.detach`."""
        self._ask_if_there("detach", config, {"container_id": container_id})

    def remove(self, config: NetworkConfig) -> None:
        """Take the network's bridge away; see :func:`.bridge.remove`."""
        self._ask_if_there("remove", config, {})

    def set_way_out(self, pid: int, interface: str, gateways: Sequence[str]) -> None:
        """Choose a container's default routes; see :func:`.bridge.set_way_out`."""
        self._ask("set_way_out", None, {"pid": pid, "interface": interface, "gateways": list(gateways)})

    def sockets(self, pid: int) -> tuple[socket.socket, socket.socket]:
        """Make the sockets at which a container asks for names; see :func:`.naming.sockets_inside`."""
        with self._connection() as connection:
            self._tell(connection, "sockets", None, {"pid": pid})
            data, descriptors = processes.recv_fds(connection, ANSWER_BYTES, 2)
        _answered(data)
        datagrams, streams = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        return datagrams, streams

    def running(self) -> bool:
        """Tell whether the namespaces are there."""
        connection = self._connect()
        if connection is not None:
            connection.close()
        return connection is not None

    def _ask_if_there(self, verb: str, config: NetworkConfig, given: Mapping[str, object]) -> None:
        try:
            if self.running():
                self._ask(verb, config, given)
        except NetworkError:
            if self.running():  # else it ended meanwhile, and with it everything that was to be undone
                raise

    def _ask(self, verb: str, config: NetworkConfig | None, given: Mapping[str, object], *, alive: int = 0) -> dict[str, object]:
        with self._connection() as connection:
            try:
                self._tell(connection, verb, config, given, alive=alive)
                data = connection.recv(ANSWER_BYTES)
            except OSError as err:
                raise NetworkError(f"the process that keeps your networks does not answer: {err.strerror or err}") from err
        return _answered(data)

    @staticmethod
    def _tell(connection: socket.socket, verb: str, config: NetworkConfig | None, given: Mapping[str, object], *, alive: int = 0) -> None:
        request = {"do": verb, "config": config.to_json() if config else None, "with": given}
        pidfds = [syscalls.pidfd_open(alive)] if alive else []
        try:
            processes.send_fds(connection, json.dumps(request).encode(), pidfds)
        finally:
            for pidfd in pidfds:
                os.close(pidfd)

    @contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        connection = self._connect()
        if connection is None:
            with self._alone("start"):
                connection = self._connect() or self._start()
        with connection:
            yield connection

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._directory / f"{what}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.settimeout(_TIMEOUT_S)
            place = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                connection.connect(f"/proc/self/fd/{place}/{SOCKET}")
            finally:
                os.close(place)
        except OSError:
            connection.close()
            return None
        return connection

    def _start(self) -> socket.socket:
        place = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        lock = os.open(self._lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            plan = {"directory": place, "lock": lock, "maps": self._maps.to_json()}
            spawn("notebook_containers.network.holder", plan, descriptors=[place, lock], what="your networks' namespace could not be made")
        finally:
            with suppress(OSError):
                os.close(place)
            os.close(lock)
        connection = self._connect()
        if connection is None:
            raise NetworkError("the process that keeps your networks ended at once", hint="try again")
        return connection


def _answered(data: bytes) -> dict[str, object]:
    """Return what the holder answered; raises the error that it met."""
    answer = json.loads(data or b'{"error": "NetworkError", "message": "the process that keeps your networks ended"}')
    if not isinstance(answer, dict):
        raise NetworkError("the process that keeps your networks answers in riddles")
    if "error" in answer:
        kind = getattr(errors, str(answer["error"]), NetworkError)
        raise kind(str(answer.get("message", "")), hint=str(answer.get("hint", "")))
    return answer
