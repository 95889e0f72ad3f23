"""``engine.networks``: the default bridge, made on first use, and each container's place in it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_network

from notebook_containers import network as net
from notebook_containers.engine.documents import Endpoint
from notebook_containers.engine.namespace_words import JOIN
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.engine.turns import OnceForAll
from notebook_containers.engine.words import check_name
from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument, NetworkNotFound, Unsupported
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.network.config import NetworkConfig
from notebook_containers.oci.documents import Document, untrusted_json

DEFAULT = "bridge"
_ATTACHING = 4  # the kernel makes one link at a time
BUILT_IN = ("bridge", "host", "none")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class NetworkDocument(Document):
    """A network's row."""

    id: str
    name: str
    subnet: str
    gateway: str
    link: str
    internal: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network as the caller sees it; ``driver`` is bridge, host or null."""

    id: str
    name: str
    driver: str
    subnet: str = ""
    gateway: str = ""
    containers: tuple[str, ...] = ()

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self.id[:12]


class Networks:
    """The networks of one engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ready: dict[str, OnceForAll] = {}
        self._attaching = threading.BoundedSemaphore(_ATTACHING)

    def list(self) -> list[Network]:
        """Return every network: host and none, which always exist, the default bridge and the user's own."""
        rows = [_parse(row.document) for row in self._parts.store.records.networks()]
        found = [Network(id=d.id, name=d.name, driver="bridge", subnet=d.subnet, gateway=d.gateway) for d in rows]
        if not any(n.name == DEFAULT for n in found):
            found.insert(0, Network(id="", name=DEFAULT, driver="bridge"))
        return [*found, Network(id="", name="host", driver="host"), Network(id="", name="none", driver="null")]

    def get(self, name: str) -> Network:
        """Return one network by name or id prefix; raises NetworkNotFound."""
        for network in self.list():
            if name == network.name or (network.id and len(name) >= 4 and network.id.startswith(name)):
                return network
        raise NetworkNotFound(f"no such network: {name}", hint="see nbc network ls, or make it with nbc network create")

    def create(self, name: str, *, internal: bool = False, labels: Mapping[str, str] | None = None) -> Network:
        """Make a user-defined bridge network; raises Conflict when the name is taken, Unsupported for an ordinary user."""
        check_name(name)
        if name in BUILT_IN:
            raise Conflict(f"network {name!r} always exists", hint="choose another name")
        if self._parts.host.rootless:
            raise Unsupported("user-defined networks need root here", hint="use the default network; published ports work")
        document = self._add(name, internal=internal, labels=labels or {})
        return self.get(document.name)

    def remove(self, name: str) -> None:
        """Remove a user-defined network that no container uses."""
        network = self.get(name)
        if network.name in BUILT_IN:
            raise InvalidArgument(f"network {network.name!r} cannot be removed")
        with self._alone() as alone:
            if alone:
                self._release_ended(network.id)
        document = _parse(self._parts.store.records.network(network.id).document)
        try:
            self._parts.store.records.remove_network(network.id)
        except Conflict as err:
            names = self._holders(network.id)
            raise Conflict(f"network {network.name} is used by {', '.join(names)}", hint=f"stop it first: nbc stop {names[0]}") from err
        net.bridge.remove(_config(document))
        self._parts.emit("network", "destroy", network.id, {"name": network.name, "type": "bridge"})

    def _holders(self, network_id: str) -> Sequence[str]:
        ids = self._parts.store.records.addresses(network_id)
        return [row.name for row in self._parts.store.records.containers() if row.id in ids] or ["a build"]

    def _release_ended(self, network_id: str) -> None:
        """Give the addresses of containers back that ended by themselves; nobody may be starting one meanwhile."""
        for container_id in self._parts.store.records.addresses(network_id):
            try:
                ended = self._parts.runtime.state(container_id).status == "stopped"
            except ContainerNotFound:
                ended = True
            if ended:
                self._parts.store.records.release_addresses(container_id)

    def lease(self, name: str, container_id: str) -> Endpoint | None:
        """Reserve the container's place in the network ``name``: an address on a bridge, none for host, none and ordinary users.

        The bridge need not be there yet: see :meth:`making_ready`.
        """
        if name in ("host", "none") or name.startswith(JOIN):
            return None
        if self._parts.host.rootless:
            self._known(name)
            return Endpoint(network=name, resolver=self._resolver())
        document = self._document(name)
        address = self._parts.store.records.lease_address(
            document.id, container_id, lambda taken: net.ipam.choose_address(document.subnet, document.gateway, taken)
        )
        prefix = ip_network(document.subnet).prefixlen
        return Endpoint(
            network=name,
            network_id=document.id,
            address=address,
            prefix=prefix,
            gateway=document.gateway,
            mac=net.ipam.mac_for(address),
        )

    @contextmanager
    def making_ready(self, endpoint: Endpoint | None) -> Iterator[None]:
        """Make the endpoint's bridge and firewall ready while the block runs, which waits for a monitor most of the time.

        Ready when the block has ended; its own error goes before one of the network's.
        """
        if endpoint is None or not endpoint.address:
            yield
            return
        config = _config(_parse(self._parts.store.records.network(endpoint.network_id).document))
        failures: list[BaseException] = []

        def ensure() -> None:
            try:
                self._ready.setdefault(config.id, OnceForAll()).run(lambda: net.bridge.ensure(config))
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

    @staticmethod
    def _resolver() -> str:
        tool = net.userland.find()
        return tool.resolver if tool else ""

    def attach(self, endpoint: Endpoint, *, pid: int, container_id: str, while_pid: int = 0, reaches_host: bool = False) -> None:
        """Give the network namespace of process ``pid`` its way out: a link to the bridge, or a user-space carrier where there is one.

        A carrier ends with the process ``while_pid`` (``pid`` when 0): a container's monitor, which outlives its restarts.
        ``reaches_host`` lets the container connect to services of this machine.
        """
        if self._parts.host.rootless:
            if endpoint.resolver:
                net.userland.start(pid, while_pid=while_pid)
            return
        document = _parse(self._parts.store.records.network(endpoint.network_id).document)
        config, admitted = _config(document), self._parts.run / "admitted" / endpoint.address
        with self._attaching:
            if admitted.exists():  # the address was that of a container that might reach the host, and is gone
                net.bridge.forget_admission(config, address=endpoint.address)
                admitted.unlink(missing_ok=True)
            net.bridge.attach(config, pid=pid, container_id=container_id, address=endpoint.address, mac=endpoint.mac)
            if reaches_host:
                admitted.parent.mkdir(mode=0o700, exist_ok=True)
                admitted.touch()
                net.bridge.admit(config, container_id=container_id, address=endpoint.address)

    def release(self, container_id: str) -> None:
        """Give the container's addresses back."""
        if not self._parts.host.rootless:
            self._parts.store.records.release_addresses(container_id)

    def _known(self, name: str) -> None:
        if name != DEFAULT:
            raise NetworkNotFound(f"no such network: {name}", hint="an ordinary user has bridge, host and none here")

    def _document(self, name: str) -> NetworkDocument:
        for row in self._parts.store.records.networks():
            if name in (row.name, row.id):
                document = _parse(row.document)
                return self._settled(document) if row.name == DEFAULT else document
        if name != DEFAULT:
            raise NetworkNotFound(f"no such network: {name}", hint="see nbc network ls, or make it with nbc network create")
        try:
            return self._add(DEFAULT, internal=False, labels={})
        except Conflict:
            return self._document(name)

    def _settled(self, document: NetworkDocument) -> NetworkDocument:
        """Return the default network, in another subnet when its own is somebody else's by now and no container is in it."""
        records = self._parts.store.records
        if os.path.exists(f"/sys/class/net/{document.link}") or not net.machine.taken(document.subnet):
            return document
        used = [_parse(row.document).subnet for row in records.networks()]
        subnet = net.ipam.choose_subnet(used, net.machine.host_routes())
        with records.transaction() as connection:
            (text,) = connection.execute("SELECT document FROM networks WHERE id = ?", (document.id,)).fetchone()
            current = _parse(text)
            if current.subnet != document.subnet or records.addresses(document.id):
                return current  # another process was quicker, or a container came in
            moved = replace(current, subnet=subnet, gateway=net.ipam.gateway_of(subnet))
            connection.execute("UPDATE networks SET document = ? WHERE id = ?", (moved.to_bytes().decode(), document.id))
        return moved

    def _add(self, name: str, *, internal: bool, labels: Mapping[str, str]) -> NetworkDocument:
        used = [_parse(row.document).subnet for row in self._parts.store.records.networks()]
        subnet = net.ipam.choose_subnet(used, net.machine.host_routes())
        network_id = new_id()
        link = f"nbc-{network_id[:8]}"
        gateway = str(next(ip_network(subnet).hosts()))
        document = NetworkDocument(id=network_id, name=name, subnet=subnet, gateway=gateway, link=link, internal=internal, labels=labels)
        self._parts.store.records.add_network(id=network_id, name=name, document=document.to_bytes().decode())
        self._parts.emit("network", "create", network_id, {"name": name, "type": "bridge"})
        return document

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every process from tidying networks away between a lease and the link that needs it."""
        with open(self._parts.root / "networks.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def tidy(self) -> None:
        """Take the bridges (and with the last one the firewall table) of networks away that no container is in; they come back when needed.

        Called when an engine closes. Nothing happens while another process is attaching a container.
        """
        if self._parts.host.rootless:
            return
        with self._alone() as alone:
            for row in self._parts.store.records.networks() if alone else ():
                config = _config(_parse(row.document))
                if os.path.exists(f"/sys/class/net/{config.link}"):
                    self._release_ended(row.id)
                    if not self._parts.store.records.addresses(row.id):
                        net.bridge.remove(config)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Tell whether no process is attaching a container, and keep it so."""
        with open(self._parts.root / "networks.lock", "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def _parse(text: str) -> NetworkDocument:
    return NetworkDocument.from_json(untrusted_json(text.encode(), what="network record"))


def _config(document: NetworkDocument) -> NetworkConfig:
    return NetworkConfig(
        id=document.id,
        name=document.name,
        driver="bridge",
        subnet=document.subnet,
        gateway=document.gateway,
        link=document.link,
        internal=document.internal,
        labels=dict(document.labels),
    )
