"""Each container's place in its networks: an address leased from the store, a link made when it starts, both given back when it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Protocol, Self

from notebook_containers import network as net
from notebook_containers.engine.documents import Endpoint, way_out
from notebook_containers.engine.network_document import NetworkDocument, choose, config_of, parse
from notebook_containers.engine.network_words import DEFAULT, Attachment
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.engine.specgen import capability_set
from notebook_containers.engine.turns import OnceForAll
from notebook_containers.errors import Conflict, ContainerNotFound, NetworkNotFound
from notebook_containers.lean import dataclass, replace
from notebook_containers.network import names as net_names
from notebook_containers.network.config import NetworkConfig

if TYPE_CHECKING:
    from notebook_containers.engine.host import Host
    from notebook_containers.engine.options import ContainerOptions
    from notebook_containers.network.shared import Held, SharedBridges

_CLAIMS = 20
_LOCK = "networks.lock"
_ATTACHING = 4  # the kernel makes one link at a time


class Bridges(Protocol):
    """What makes bridges and takes them away: this process for root, the process that keeps an ordinary user's namespace for others."""

    def ensure(self, config: NetworkConfig, /) -> tuple[str, ...]:
        """Make the bridge and the firewall."""

    def detach(self, config: NetworkConfig, /, *, container_id: str) -> None:
        """Take a container's link away."""

    def remove(self, config: NetworkConfig, /) -> None:
        """Take the bridge away."""

    def set_way_out(self, pid: int, interface: str, gateways: Sequence[str], /) -> None:
        """Choose a container's default routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a container may do in its networks beyond others: reach services of this machine; ``may_forge`` packets, and is walled in."""

    reaches_host: bool = False
    may_forge: bool = False

    @classmethod
    def of(cls, options: ContainerOptions, host: Host) -> Self:
        """Return what the caller's options give."""
        capabilities = capability_set(options, host)
        return cls(
            reaches_host=net_names.HOST_GATEWAY in options.extra_hosts.values(),
            may_forge="CAP_NET_RAW" in capabilities or "CAP_NET_ADMIN" in capabilities,
        )


_NONE = Rights()


class Endpoints:
    """The places of an engine's containers in its networks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ready: dict[str, OnceForAll] = {}
        self._attaching = threading.BoundedSemaphore(_ATTACHING)
        self._watch: threading.Thread | None = None
        self._watching = threading.Lock()
        self._stop = os.eventfd(0)

    @property
    def machine(self) -> Host:
        """What is known of this machine and this user."""
        return self._parts.host

    @cached_property
    def _shared(self) -> SharedBridges | None:
        """Where an ordinary user's networks are; None for root, whose networks are the machine's."""
        return shared_bridges(self._parts)

    @property
    def _bridges(self) -> Bridges:
        return self._shared or net.bridge

    @contextmanager
    def namespaces(self, endpoints: Sequence[Endpoint]) -> Iterator[Held | None]:
        """Give the namespaces that a container of an ordinary user must share to have these places; None when there are none to share."""
        if self._shared is None or not any(place.address for place in endpoints):
            yield None
            return
        with self._shared.held() as held:
            yield held

    def lease(self, wanted: Attachment, container_id: str, *, interface: str = "eth0") -> Endpoint:
        """Reserve the container's place in a network: an address on a bridge, none in an ordinary user's default network.

        The bridge need not be there yet: see :meth:`making_ready`.
        """
        name = wanted.network
        if self._parts.host.rootless and name == DEFAULT:
            return Endpoint(network=name, resolver=self._resolver())
        document = self._claimed(name)
        leased = self._parts.store.records.lease_address(document.id, container_id, lambda taken: choose(document, wanted, taken))
        address, _, address6 = leased.partition(",")
        return Endpoint(
            network=name,
            network_id=document.id,
            interface=interface,
            aliases=wanted.aliases,
            gw_priority=wanted.gw_priority,
            link_local=wanted.link_local,
            address=address,
            prefix=ip_network(document.subnet).prefixlen,
            gateway=document.gateway,
            address6=address6,
            prefix6=ip_network(document.subnet6).prefixlen if address6 else 0,
            gateway6=document.gateway6 if address6 else "",
            mac=wanted.mac or net.ipam.mac_for(address),
            resolver="" if self._shared is None or document.internal else self._resolver(),
            internal=document.internal,
        )

    def _claimed(self, name: str) -> NetworkDocument:
        """Return a network in a subnet that is its own: its bridge is there before the first address is handed out.

        Else another store could take the subnet between the two.
        """
        for _ in range(_CLAIMS):
            document = self._document(name)
            if self._shared is not None or not document.chosen or os.path.exists(f"/sys/class/net/{document.link}"):
                return document
            try:
                net.bridge.claim(config_of(document))
            except Conflict:  # another store was quicker: the next look moves the network
                continue
            return document
        raise Conflict(f"network {name} finds no subnet: others take them", hint="try again, or name one with --subnet")

    def lease_all(self, wanted: Sequence[Attachment], container_id: str) -> tuple[Endpoint, ...]:
        """Reserve all places of a container, ``eth0`` and on."""
        return tuple(self.lease(place, container_id, interface=f"eth{number}") for number, place in enumerate(wanted))

    @contextmanager
    def making_ready(self, endpoints: Sequence[Endpoint], *, lasting: bool = False) -> Iterator[None]:
        """Make the endpoints' bridges and firewall ready while the block runs, which waits for a monitor most of the time.

        Ready when the block has ended; its own error goes before one of the network's. From then on this process keeps watch over the
        firewall, and for a ``lasting`` container, which outlives it, a process of its own.
        """
        bridged = [self._config_of(place) for place in endpoints if place.address]
        if not bridged:
            yield
            return
        failures: list[BaseException] = []

        def ensure() -> None:
            try:
                for config in bridged:
                    self._ready.setdefault(config.id, OnceForAll()).run(lambda config=config: self._ensure(config))  # type: ignore[misc]
                watched = self._shared is None and any(config.driver == DEFAULT for config in bridged)
                if watched:
                    self._keep_watch()
                if lasting and watched:
                    net.guard.start(self._parts.run, [config.link for config in bridged])
            except BaseException as err:  # raised below, in the thread of the caller
                failures.append(err)

        thread = threading.Thread(target=ensure, name="nbc-bridge")
        try:
            thread.start()
        except RuntimeError:  # no process is to be had: then now
            ensure()
        try:
            yield
        finally:
            if thread.ident is not None:
                thread.join()
        if failures:
            raise failures[0]

    def _ensure(self, config: NetworkConfig) -> None:
        if config.driver == DEFAULT:
            self._bridges.ensure(config)
        else:
            net.direct.ensure(config)

    def _keep_watch(self) -> None:
        """Let a thread of this process keep the firewall whole while there is a bridge; one for the engine."""
        with self._watching:
            if self._watch is None or not self._watch.is_alive():
                self._watch = threading.Thread(target=_watched, args=(self._stop,), name="nbc-firewall", daemon=True)
                self._watch.start()

    def close(self) -> None:
        """End the watch of this process; twice is harmless."""
        with self._watching:
            if self._stop < 0:
                return
            os.eventfd_write(self._stop, 1)
            if self._watch is not None:
                self._watch.join()
            os.close(self._stop)
            self._stop = -1

    @staticmethod
    def _resolver() -> str:
        tool = net.userland.find()
        return tool.resolver if tool else ""

    def attach(
        self,
        endpoint: Endpoint,
        *,
        pid: int,
        container_id: str,
        while_pid: int = 0,
        rights: Rights = _NONE,
        way_out: bool = True,
    ) -> None:
        """Give the network namespace of process ``pid`` its way out: a link to the bridge, or a user-space carrier where there is one.

        A carrier ends with the process ``while_pid`` (``pid`` when 0): a container's monitor, which outlives its restarts.
        Without ``way_out`` the link is no default route.
        """
        if self._shared is not None:
            self._attach_shared(
                self._shared, endpoint, pid=pid, container_id=container_id, while_pid=while_pid, way_out=way_out, rights=rights
            )
            return
        config, admitted = self._config_of(endpoint), self._parts.run / "admitted" / endpoint.address
        if config.driver != DEFAULT:
            self._attach_direct(config, endpoint, pid=pid, way_out=way_out)
            return
        with self._attaching:
            if admitted.exists():  # the address was that of a container that might reach the host, and is gone
                net.bridge.forget_admission(config, address=endpoint.address)
                admitted.unlink(missing_ok=True)
            net.bridge.attach(
                config,
                pid=pid,
                container_id=container_id,
                address=endpoint.address,
                address6=endpoint.address6,
                mac=endpoint.mac,
                interface=endpoint.interface,
                link_local=endpoint.link_local,
                way_out=way_out,
                guarded=rights.may_forge,
            )
            if rights.reaches_host:
                admitted.parent.mkdir(mode=0o700, exist_ok=True)
                admitted.touch()
                net.bridge.admit(config, container_id=container_id, address=endpoint.address)

    @staticmethod
    def _attach_direct(config: NetworkConfig, endpoint: Endpoint, *, pid: int, way_out: bool) -> None:
        net.direct.attach(
            config,
            pid=pid,
            address=endpoint.address,
            address6=endpoint.address6,
            mac=endpoint.mac,
            interface=endpoint.interface,
            link_local=endpoint.link_local,
            way_out=way_out,
        )

    def _attach_shared(
        self, shared: SharedBridges, endpoint: Endpoint, *, pid: int, container_id: str, while_pid: int, way_out: bool, rights: Rights
    ) -> None:
        if not endpoint.address:
            if endpoint.resolver:
                net.userland.start(pid, while_pid=while_pid)
            return
        shared.attach(
            self._config_of(endpoint),
            pid=pid,
            container_id=container_id,
            address=endpoint.address,
            address6=endpoint.address6,
            mac=endpoint.mac,
            interface=endpoint.interface,
            link_local=endpoint.link_local,
            way_out=way_out,
            guarded=rights.may_forge,
            while_pid=while_pid,
        )

    def attach_all(self, endpoints: Sequence[Endpoint], *, pid: int, container_id: str, while_pid: int = 0, rights: Rights = _NONE) -> None:
        """Attach a container that is about to start to all its networks; the one whose gateway ranks highest is its way out."""
        first = way_out(endpoints)
        for place in endpoints:
            self.attach(place, pid=pid, container_id=container_id, while_pid=while_pid, rights=rights, way_out=place is first)

    def detach(self, endpoint: Endpoint, container_id: str) -> None:
        """Take the container's link to a network away; that there is none is no error."""
        config = self._config_of(endpoint)
        if config.driver == DEFAULT:
            self._bridges.detach(config, container_id=container_id)
        else:
            net.direct.detach(config, pid=self._parts.runtime.state(container_id).pid, interface=endpoint.interface)

    def choose_way_out(self, endpoints: Sequence[Endpoint], *, pid: int) -> None:
        """Make the gateway that ranks highest the default route of a running container, after its networks have changed."""
        place = way_out(endpoints)
        if place is None:
            self._bridges.set_way_out(pid, "", ())
        else:
            self._bridges.set_way_out(pid, place.interface, [gateway for gateway in (place.gateway, place.gateway6) if gateway])

    def release(self, container_id: str, *, network_id: str | None = None) -> None:
        """Give the container's addresses back, in one network or in all."""
        self._parts.store.records.release_addresses(container_id, network=network_id)

    def config(self, network_id: str) -> NetworkConfig:
        """Return what the kernel is told of a network; NetworkNotFound when there is none."""
        return config_of(parse(self._parts.store.records.network(network_id).document))

    def subnet_owner(self, address: str) -> str:
        """Return the name of the network that an address belongs to, or an empty text."""
        for row in self._parts.store.records.networks():
            subnet = parse(row.document).subnet
            if subnet and ip_address(address) in ip_network(subnet):
                return row.name
        return ""

    def _config_of(self, endpoint: Endpoint) -> NetworkConfig:
        return config_of(parse(self._parts.store.records.network(endpoint.network_id).document))

    def _document(self, name: str) -> NetworkDocument:
        for row in self._parts.store.records.networks():
            if name in (row.name, row.id):
                document = parse(row.document)
                return self._settled(document) if row.name == DEFAULT or document.chosen else document
        if name != DEFAULT:
            raise NetworkNotFound(f"no such network: {name}", hint="see nbc network ls, or make it with nbc network create")
        try:
            return self._add(NetworkDocument(id=new_id(), name=DEFAULT, subnet="", gateway="", link="", chosen=True))
        except Conflict:
            return self._document(name)

    def _settled(self, document: NetworkDocument) -> NetworkDocument:
        """Return a network whose subnet was chosen here, in another subnet when its own is somebody else's by now and it is empty."""
        records = self._parts.store.records
        if os.path.exists(f"/sys/class/net/{document.link}") or not net.machine.taken(document.subnet):
            return document
        routes = net.machine.host_routes()
        with records.transaction() as connection:
            (text,) = connection.execute("SELECT document FROM networks WHERE id = ?", (document.id,)).fetchone()
            current = parse(text)
            if current.subnet != document.subnet or records.addresses(document.id):
                return current  # another process was quicker, or a container came in
            subnet = net.ipam.choose_subnet([parse(row.document).subnet for row in records.networks()], routes)
            moved = replace(current, subnet=subnet, gateway=net.ipam.gateway_of(subnet))
            connection.execute("UPDATE networks SET document = ? WHERE id = ?", (moved.to_bytes().decode(), document.id))
        return moved

    def _add(self, wanted: NetworkDocument) -> NetworkDocument:
        """Record a network, with a subnet that no other network of the store and no route of the host has: both in one transaction."""
        records, routes = self._parts.store.records, net.machine.host_routes()
        with records.transaction():
            rows = [parse(row.document) for row in records.networks()]
            used = [row.subnet for row in rows]
            if wanted.subnet6:
                net.ipam.check_subnet6(wanted.subnet6, [row.subnet6 for row in rows if row.subnet6])
            if wanted.subnet:
                net.ipam.check_subnet(wanted.subnet, used, routes if wanted.driver == DEFAULT else ())  # a LAN's is routed already
            subnet = wanted.subnet or net.ipam.choose_subnet(used, routes)
            gateway = wanted.gateway or ("" if wanted.options.get("mode", "").startswith("l3") else net.ipam.gateway_of(subnet))
            document = replace(wanted, subnet=subnet, gateway=gateway, link=f"nbc-{wanted.id[:8]}")
            records.add_network(id=document.id, name=document.name, document=document.to_bytes().decode())
        self._parts.emit("network", "create", document.id, {"name": document.name, "type": document.driver})
        return document

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every process from tidying networks away between a lease and the link that needs it."""
        with open(self._parts.root / _LOCK, "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def tidy(self) -> None:
        """Take the bridges (and with the last one the firewall table) of networks away that no container is in; they come back when needed.

        Called when an engine closes. Nothing happens while another process is attaching a container.
        """
        with self._alone() as alone:
            for row in self._parts.store.records.networks() if alone else ():
                config = config_of(parse(row.document))
                if self._shared is not None:
                    self._release_ended(row.id)  # the bridges go with the namespace that they are in
                elif os.path.exists(f"/sys/class/net/{config.link}"):
                    self._release_ended(row.id)
                    if not self._parts.store.records.addresses(row.id):
                        net.bridge.remove(config)

    def _release_ended(self, network_id: str) -> None:
        """Give the addresses of containers back that ended by themselves; nobody may be starting one meanwhile."""
        for container_id in self._parts.store.records.addresses(network_id):
            try:
                ended = self._parts.runtime.state(container_id).status == "stopped"
            except ContainerNotFound:
                ended = True
            if ended:
                self._parts.store.records.release_addresses(container_id)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Tell whether no process is attaching a container, and keep it so."""
        with open(self._parts.root / _LOCK, "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def shared_bridges(parts: Parts) -> SharedBridges | None:
    """Return where an ordinary user's networks are; None for root, whose networks are the machine's."""
    maps = parts.host.maps
    return net.shared.SharedBridges(parts.run / "networks", parts.root / _LOCK, maps) if maps else None


def _watched(stop: int) -> None:
    """Keep watch; what goes wrong with that is found again, and said, when the next container is started."""
    with suppress(OSError):
        net.guard.watch(stop)
