"""The process that keeps an ordinary user's network namespace and does there what :mod:`.bridge` does, asked through a socket.

Started by :mod:`~notebook_containers.network.shared`. It lives as long as a container is in one of the networks, or is about to be; then
the kernel takes bridges, firewall and all away with it. One thread, no privilege outside its own namespaces.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import sys
from contextlib import suppress

from notebook_containers import errors
from notebook_containers.linux import namespaces, process as processes, syscalls
from notebook_containers.linux.idmaps import IdMaps
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import bridge, links, naming
from notebook_containers.network.config import NetworkConfig

SOCKET = "holder"
REQUEST_BYTES = ANSWER_BYTES = 1 << 16
_NEEDLESS_S = 0.5
_PATIENCE_S = 10.0


def main(text: str) -> None:
    """Read the plan, make the namespaces, say "ready <pid>" (or "failed <why>"), and serve while anybody needs them."""
    plan = json.loads(text)
    made_here, made_there = os.pipe()
    mapped_there, mapped_here = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(made_here)
        os.close(mapped_here)
        _stay(plan, made_there, mapped_there)
        os._exit(0)
    os.close(made_there)
    os.close(mapped_there)
    try:
        if os.read(made_here, 1) != b"+":
            raise OSError(1, "the kernel refuses user namespaces to this user")
        maps = IdMaps.from_json(plan["maps"])
        namespaces.write_id_maps(child, list(maps.uids), list(maps.gids))
        os.write(mapped_here, b"+")
        answer = os.read(made_here, 1000).decode("utf-8", "replace")
    except (OSError, ValueError) as err:
        answer = f"failed {getattr(err, 'strerror', None) or err}"
        processes.kill_and_reap(child)
    sys.stdout.write(f"{answer}\n")


def _stay(plan: dict[str, object], made: int, mapped: int) -> None:
    directory, lock = plan["directory"], plan["lock"]
    try:
        processes.set_name("nbc-networks")
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
        os.write(made, b"+")
        if os.read(mapped, 1) != b"+" or not isinstance(directory, int) or not isinstance(lock, int):
            return
        with NetlinkSocket() as kernel:
            kernel.execute([links.set_link(1)])
        listener = _listen(directory)
        os.write(made, f"ready {os.getpid()}".encode())
    except OSError as err:
        os.write(made, f"failed {err.strerror or err}".encode())
        return
    processes.stdio_to_null()
    os.close(made)
    Holder(listener, directory, lock).serve()


def _listen(directory: int) -> socket.socket:
    path = f"/proc/self/fd/{directory}/{SOCKET}"
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    return listener


class Holder:
    """Serves one request after the other; ends when it is needed no longer."""

    def __init__(self, listener: socket.socket, directory: int, lock: int) -> None:
        self._listener, self._directory, self._lock = listener, directory, lock
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._clients: dict[int, socket.socket] = {}
        self._needed: set[int] = set()  # descriptors of processes

    def serve(self) -> None:
        """Answer until no container is in a network, and none is about to be."""
        while True:
            happened = self._poll.poll(None if self._needed or self._clients else _NEEDLESS_S * 1000)
            for number, _event in happened:
                if number == self._listener.fileno():
                    self._accept()
                elif number in self._clients:
                    self._answer(self._clients[number])
                else:
                    self._forget(number)
            if not happened and self._nobody_comes():
                return

    def _nobody_comes(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # who is starting a container has it; it goes with this process
        except OSError:
            return False
        with suppress(OSError):
            os.unlink(SOCKET, dir_fd=self._directory)
        return True

    def _accept(self) -> None:
        with suppress(OSError):
            client, _ = self._listener.accept()
            client.settimeout(_PATIENCE_S)
            self._clients[client.fileno()] = client
            self._poll.register(client, select.POLLIN)

    def _forget(self, number: int) -> None:
        self._poll.unregister(number)
        self._needed.discard(number)
        client = self._clients.pop(number, None)
        if client is not None:
            client.close()
        else:
            os.close(number)

    def _answer(self, client: socket.socket) -> None:
        try:
            data, descriptors = processes.recv_fds(client, REQUEST_BYTES, 1)
            for pidfd in descriptors:
                self._needed.add(pidfd)
                self._poll.register(pidfd, select.POLLIN)
            if not data:
                self._forget(client.fileno())
                return
            sockets: list[socket.socket] = []
            try:
                processes.send_fds(client, json.dumps(_done(data, sockets)).encode(), [sock.fileno() for sock in sockets])
            finally:
                for sock in sockets:
                    sock.close()
        except OSError:
            self._forget(client.fileno())


def _done(data: bytes, sockets: list[socket.socket]) -> dict[str, object]:
    try:
        return _do(json.loads(data), sockets)
    except errors.Error as err:
        return {"error": type(err).__name__, "message": err.message, "hint": err.hint}
    except Exception as err:  # whatever it is, it is told, and the networks of running containers stay
        return {"error": "NetworkError", "message": f"{type(err).__name__}: {err}"}


def _do(request: dict[str, object], sockets: list[socket.socket]) -> dict[str, object]:
    """Do what is asked and return what is to be answered; ``sockets`` that are made go along with it."""
    given = request["with"]
    if not isinstance(given, dict):
        raise errors.NetworkError("a request without values")
    if request["do"] == "set_way_out":
        bridge.set_way_out(given["pid"], given["interface"], given["gateways"])
        return {}
    if request["do"] == "sockets":
        sockets += naming.sockets_inside(given["pid"])
        return {}
    config = NetworkConfig.from_json(request["config"])  # type: ignore[arg-type]
    match request["do"]:
        case "ensure":
            warnings = bridge.ensure(config)
            with NetlinkSocket() as kernel:
                outside = any(route.destination == "0.0.0.0/0" for route in links.all_routes(kernel))
            return {"warnings": list(warnings), "way out": outside}
        case "attach":
            bridge.attach(config, **given)
        case "detach":
            bridge.detach(config, container_id=given["container_id"])
        case "remove":
            bridge.remove(config)
        case verb:
            raise errors.NetworkError(f"{verb!r} is no verb")
    return {}
