"""Which network has which subnet: the records of a store's networks, and subnets that nobody else on the machine has."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network

from notebook_containers import network as net
from notebook_containers.engine.network_document import NetworkDocument, config_of, parse
from notebook_containers.engine.network_words import DEFAULT
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.errors import Conflict, NetworkNotFound
from notebook_containers.lean import replace
from notebook_containers.network.config import NetworkConfig

_CLAIMS = 20


class Subnets:
    """The recorded networks of a store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def config(self, network_id: str) -> NetworkConfig:
        """Return what the kernel is told of a network; NetworkNotFound when there is none."""
        return config_of(parse(self._parts.store.records.network(network_id).document))

    def owner(self, address: str) -> str:
        """Return the name of the network that an address belongs to, or an empty text."""
        for row in self._parts.store.records.networks():
            document = parse(row.document)
            if any(subnet and ip_address(address) in ip_network(subnet) for subnet in (document.subnet, document.subnet6)):
                return row.name
        return ""

    def claimed(self, name: str) -> NetworkDocument:
        """Return a network in a subnet that is its own: its bridge is there before the first address is handed out.

        Else another store could take the subnet between the two.
        """
        for _ in range(_CLAIMS):
            document = self.document(name)
            if self._parts.host.maps or not document.chosen or os.path.exists(f"/sys/class/net/{document.link}"):
                return document
            try:
                net.bridge.claim(config_of(document))
            except Conflict:  # another store was quicker: the next look moves the network
                continue
            return document
        raise Conflict(f"network {name} finds no subnet: others take them", hint="try again, or name one with --subnet")

    def document(self, name: str) -> NetworkDocument:
        """Return a network by name or id, the default one made when it is not there yet; NetworkNotFound."""
        for row in self._parts.store.records.networks():
            if name in (row.name, row.id):
                document = parse(row.document)
                return self._settled(document) if row.name == DEFAULT or document.chosen else document
        if name != DEFAULT:
            raise NetworkNotFound(f"no such network: {name}", hint="see nbc network ls, or make it with nbc network create")
        try:
            return self.add(NetworkDocument(id=new_id(), name=DEFAULT, subnet="", gateway="", link="", chosen=True))
        except Conflict:
            return self.document(name)

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

    def add(self, wanted: NetworkDocument) -> NetworkDocument:
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
