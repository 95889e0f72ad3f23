"""Ten thousand look-ups of a container's name, asked from another container of its network as many at once as a busy program does."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import dns.message

from notebook_containers.engine.container import Container
from notebook_containers.linux.namespaces import open_namespace
from notebook_containers.linux.netlink import in_network_namespace
from tests.bench.bench import Bench
from tests.bench.measure import Contender, Row, Unavailable, at_most, contest, within
from tests.bench.ours import IMAGE
from tests.bench.peers.tool import Tool

_LOOKUPS, _AT_ONCE, _NETWORK = 10_000, 64, "bench-names"
_SERVER = ("127.0.0.11", 53)


def rows(bench: Bench) -> list[Row]:
    """Time it against Docker's resolver, in a network of two containers each."""
    engine = bench.ours.engine
    engine.networks.create(_NETWORK)
    try:
        made = [engine.containers.run(IMAGE, ["sleep", "1000"], detach=True, network=_NETWORK, name=name) for name in ("db", "app")]
        app = made[1]
        assert isinstance(app, Container)
        with _Docker(bench.docker) as docker:
            ours = Contender(act=_asking(app.state.pid), target=at_most(1000))
            peers = {"docker": Contender(act=docker.ask, target=within(1))}
            return contest(f"{_LOOKUPS:,} look-ups of a container's name", ours, peers, repeat=min(bench.repeat, 5))
    finally:
        for container in engine.containers.list(all=True):
            container.remove(force=True)
        engine.networks.remove(_NETWORK)


class _Docker:
    """The same network and containers at Docker; gone at the end."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self.ask: Callable[[], object] = self._cannot

    def __enter__(self) -> _Docker:
        try:
            self._tool.call("network", "create", _NETWORK)
            for name in ("db", "app"):
                self._tool.call("run", "-d", "--network", _NETWORK, "--name", name, IMAGE, "sleep", "1000")
            self.ask = _asking(int(self._tool.call("inspect", "--format", "{{.State.Pid}}", "app")))
        except Unavailable as err:
            self._reason = str(err)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Unavailable):
            self._tool.call("rm", "--force", "db", "app")
        with suppress(Unavailable):
            self._tool.call("network", "rm", _NETWORK)

    def _cannot(self) -> None:
        raise Unavailable(self._reason)


def _asking(pid: int) -> Callable[[], object]:
    """Return what asks in the network namespace of a process; Unavailable when an answer does not come."""

    def ask() -> None:
        namespace = open_namespace(pid, "network")
        try:
            in_network_namespace(namespace, _ask)
        finally:
            os.close(namespace)

    return ask


def _ask() -> None:
    question = dns.message.make_query("db", "A").to_wire()[2:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(_SERVER)
        sock.settimeout(5)
        sent = 0
        for received in range(_LOOKUPS):
            while sent < min(_LOOKUPS, received + _AT_ONCE):
                sock.send(struct.pack(">H", sent & 0xFFFF) + question)
                sent += 1
            try:
                answer = sock.recv(512)
            except TimeoutError:
                raise Unavailable(f"answer {received} did not come") from None
            if answer[7] != 1:  # the number of answers in it
                raise Unavailable("the name is not known")
