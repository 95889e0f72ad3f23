"""Each container's place in its networks: an address leased from the store, a link made when it starts, both given back when it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from ipaddress import ip_network
from typing import TYPE_CHECKING

from notebook_containers import network as net
from notebook_containers.engine.bridges import LOCK, Bridges, shared_bridges
from notebook_containers.engine.documents import Endpoint, way_out
from notebook_containers.engine.network_document import choose, config_of, parse
from notebook_containers.engine.network_words import DEFAULT, Attachment
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.readiness import Readiness
from notebook_containers.engine.rights import NO_RIGHTS, Rights
from notebook_containers.engine.subnets import Subnets
from notebook_containers.errors import ContainerNotFound
from notebook_containers.network.config import NetworkConfig

if TYPE_CHECKING:
    from notebook_containers.engine.host import Host
    from notebook_containers.network.shared import Held, SharedBridges

_ATTACHING = 4  # the kernel makes one link at a time


class Endpoints:
    """The places of an engine's containers in its networks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.subnets = Subnets(parts)
        self._readiness = Readiness(parts.run)
        self._attaching = threading.BoundedSemaphore(_ATTACHING)

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
        document = self.subnets.claimed(name)
        leased = self._parts.store.records.lease_address(document.id, container_id, lambda taken: choose(document, wanted, taken))
        address, _, address6 = leased.partition(",")
        return Endpoint(
            network=name,
            network_id=document.id,
            interface=interface,
            aliases=wanted.aliases,
            links=wanted.links,
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

    @contextmanager
    def leasing(self, wanted: Sequence[Attachment], container_id: str) -> Iterator[tuple[Endpoint, ...]]:
        """Reserve all places of a container, ``eth0`` and on, in one transaction with what the block writes of them."""
        for place in wanted:
            if not (self._parts.host.rootless and place.network == DEFAULT):
                self.subnets.claimed(place.network)  # makes a bridge, for which no transaction is to wait
        with self._parts.store.records.transaction():
            yield tuple(self.lease(place, container_id, interface=f"eth{number}") for number, place in enumerate(wanted))

    def making_ready(self, endpoints: Sequence[Endpoint], *, lasting: bool = False) -> AbstractContextManager[None]:
        """Make the endpoints' bridges and firewall ready while the block runs; see :meth:`.Readiness.making`."""
        configs = [self.subnets.config(place.network_id) for place in endpoints if place.address]
        return self._readiness.making(configs, self._bridges, watched=self._shared is None, lasting=lasting)

    def close(self) -> None:
        """End the watch of this process; twice is harmless."""
        self._readiness.close()

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
        rights: Rights = NO_RIGHTS,
        way_out: bool = True,
    ) -> None:
        """Give the network namespace of process ``pid`` its way out: a link to the bridge, or a user-space carrier where there is one.

        A carrier ends with the process ``while_pid`` (``pid`` when 0): a container's monitor, which outlives its restarts.
        Without ``way_out`` the link is no default route.
        """
        if not endpoint.address:
            if endpoint.resolver:
                net.userland.start(pid, while_pid=while_pid)
            return
        config = self.subnets.config(endpoint.network_id)
        if config.driver != DEFAULT:
            self._attach_direct(config, endpoint, pid=pid, way_out=way_out)
            return
        bridges: Bridges = self._shared.kept_while(while_pid) if self._shared else net.bridge
        with self._attaching:
            if self._shared is None:
                self._forget_admission(config, endpoint)
            bridges.attach(
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
            if self._shared is None and rights.reaches_host:
                self._admit(config, endpoint, container_id)

    def _forget_admission(self, config: NetworkConfig, endpoint: Endpoint) -> None:
        """Take back what a container that might reach the host, and is gone, had with this address."""
        admitted = self._parts.run / "admitted" / endpoint.address
        if admitted.exists():
            net.bridge.forget_admission(config, address=endpoint.address)
            admitted.unlink(missing_ok=True)

    def _admit(self, config: NetworkConfig, endpoint: Endpoint, container_id: str) -> None:
        admitted = self._parts.run / "admitted" / endpoint.address
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

    def attach_all(
        self, endpoints: Sequence[Endpoint], *, pid: int, container_id: str, while_pid: int = 0, rights: Rights = NO_RIGHTS
    ) -> None:
        """Attach a container that is about to start to all its networks; the one whose gateway ranks highest is its way out."""
        first = way_out(endpoints)
        for place in endpoints:
            self.attach(place, pid=pid, container_id=container_id, while_pid=while_pid, rights=rights, way_out=place is first)

    def detach(self, endpoint: Endpoint, container_id: str) -> None:
        """Take the container's link to a network away; that there is none is no error."""
        config = self.subnets.config(endpoint.network_id)
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

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every process from tidying networks away between a lease and the link that needs it."""
        with open(self._parts.root / LOCK, "ab") as lock:
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
        with open(self._parts.root / LOCK, "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
