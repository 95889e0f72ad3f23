"""``engine.networks``: the default network, made on first use, and the user's own; docker-py's verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_containers import network as net
from notebook_containers.engine import leaving
from notebook_containers.engine.endpoints import Endpoints
from notebook_containers.engine.network import Network
from notebook_containers.engine.network_document import NetworkDocument, parse
from notebook_containers.engine.network_words import BUILT_IN, DEFAULT, attachment
from notebook_containers.engine.quantities import new_id
from notebook_containers.engine.words import check_name
from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument, NetworkNotFound, Unsupported
from notebook_containers.oci.documents import JSON

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.options import ContainerOptions
    from notebook_containers.engine.tracing import Hop
    from notebook_containers.store.records import NetworkRow

_SHORTEST_ID = 4


class Networks(Endpoints):
    """The networks of one engine."""

    def list(
        self,
        names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        filters: Mapping[str, object] | None = None,
    ) -> list[Network]:
        """Return networks: host and none, which always exist, the default one and the user's own.

        ``names`` and ``ids`` (or their beginnings) choose some; ``filters`` are docker-py's:
        driver, id, label, name, scope, type, dangling.
        """
        from notebook_containers.engine.network_listing import chosen

        found = [self._network(row) for row in self._parts.store.records.networks()]
        if not any(n.name == DEFAULT for n in found):
            found.insert(0, Network(id="", name=DEFAULT, driver="bridge", networks=self))
        found += [Network(id="", name=name, driver=driver, networks=self) for name, driver in (("host", "host"), ("none", "null"))]
        return chosen(found, names, ids, filters)

    def _network(self, row: NetworkRow) -> Network:
        d = parse(row.document)
        return Network(
            id=d.id,
            name=d.name,
            driver=d.driver,
            subnet=d.subnet,
            gateway=d.gateway,
            internal=d.internal,
            ipv6=bool(d.subnet6),
            created=row.created,
            labels=d.labels,
            networks=self,
        )

    def get(self, name: str) -> Network:
        """Return one network by name, id or id prefix; raises NetworkNotFound, or Conflict when a prefix fits several."""
        every = self.list()
        exact = [network for network in every if name in (network.name, network.id) and name]
        fitting = exact or [network for network in every if len(name) >= _SHORTEST_ID and network.id.startswith(name)]
        if len(fitting) > 1:
            raise Conflict(f"network id {name!r} is ambiguous: {len(fitting)} networks begin so", hint="give more digits, or the name")
        if not fitting:
            raise NetworkNotFound(f"no such network: {name}", hint="see nbc network ls, or make it with nbc network create")
        return fitting[0]

    def create(
        self,
        name: str,
        driver: str = DEFAULT,
        *,
        options: Mapping[str, str] | None = None,
        ipam: Mapping[str, object] | None = None,
        subnet: str | Sequence[str] = (),
        gateway: str | Sequence[str] = (),
        ip_range: str | Sequence[str] = (),
        aux_addresses: Mapping[str, str] | None = None,
        internal: bool = False,
        labels: Mapping[str, str] | None = None,
        enable_ipv6: bool = False,
        attachable: bool = False,
    ) -> Network:
        """Make a user-defined network; its subnet is chosen when none is named, so that it overlaps no other and no route of the host.

        ``ipam`` is docker-py's ``IPAMConfig``; ``subnet``, ``gateway``, ``ip_range`` and ``aux_addresses`` (name to address) say the same.
        Raises Conflict when the name or the subnet is taken, InvalidArgument, Unsupported for a driver that is not here.
        """
        from notebook_containers.engine.network_options import network_document

        check_name(name)
        if name in (*BUILT_IN, "default"):
            raise Conflict(f"network {name!r} always exists", hint="choose another name")
        wanted = NetworkDocument(
            id=new_id(),
            name=name,
            driver=driver or DEFAULT,
            subnet="",
            gateway="",
            link="",
            internal=internal,
            attachable=attachable,
            labels=dict(labels or {}),
            options=dict(options or {}),
        )
        given = {"subnet": subnet, "gateway": gateway, "ip_range": ip_range, "aux_addresses": aux_addresses}
        if driver not in ("", DEFAULT) and self._parts.host.rootless:
            raise Unsupported(f"{driver} networks need root: they are part of the machine's own links", hint="use a bridge network")
        self.finish_removals()  # its subnet may be wanted
        document = self.subnets.add(network_document(wanted, ipam, given, ipv6=enable_ipv6))
        return self.get(document.id)

    def remove(self, name: str) -> None:
        """Remove a user-defined network that no container is in."""
        network = self.get(name)
        if network.name in BUILT_IN:
            raise InvalidArgument(f"network {network.name!r} cannot be removed", hint="it is built in: remove one of your own")
        with self._alone() as alone:
            if alone:
                self._release_ended(network.id)
        try:
            leaving.forget(self._parts, network.id)
        except Conflict as err:
            names = self._holders(network.id)
            raise Conflict(f"network {network.name} is used by {', '.join(names)}", hint=f"stop it first: nbc stop {names[0]}") from err
        leaving.finish(self._parts, self._bridges, network.id)
        self._parts.emit("network", "destroy", network.id, {"name": network.name, "type": network.driver})

    def finish_removals(self) -> None:
        """Take away what a process that was killed while it removed a network left of it; ``create`` and ``prune`` do so too."""
        leaving.finish_all(self._parts, self._bridges)

    def prune(self, filters: Mapping[str, object] | None = None) -> dict[str, object]:
        """Remove the user's networks that no container is in or will be in when it starts; returns ``NetworksDeleted`` (names).

        ``filters`` are docker-py's: ``{"until": "24h", "label": ["stage=test"], "label!": "keep"}``; all must fit.
        """
        from notebook_containers.engine.filters import prune_test
        from notebook_containers.engine.network_listing import wanted_by_containers

        fits, kept, gone = prune_test(filters), wanted_by_containers(self._parts), list[str]()
        self.finish_removals()
        for network in self.list():
            if network.name not in BUILT_IN and network.name not in kept and fits(network.created, network.labels):
                try:
                    self.remove(network.id)
                except (Conflict, NetworkNotFound):  # somebody came in, or was quicker
                    continue
                gone.append(network.name)
        self._parts.emit("network", "prune", "", {"reclaimed": 0})
        return {"NetworksDeleted": gone}

    def connect(
        self,
        network: str,
        container: str | Container,
        *,
        aliases: Sequence[str] | None = None,
        links: Mapping[str, str] | Sequence[str] | None = None,
        ipv4_address: str | None = None,
        ipv6_address: str | None = None,
        link_local_ips: Sequence[str] | None = None,
        driver_opt: Mapping[str, str] | None = None,
        mac_address: str | None = None,
        gw_priority: int = 0,
    ) -> None:
        """Put a container into one more network: at once when it runs, and at each start from now on.

        The others of that network find it by its name and the ``aliases``; ``links`` (``{CONTAINER: NAME}``) are names for it alone.
        Of the gateways of its networks the one with the highest
        ``gw_priority`` is its way out. Raises Conflict when it is in it already, when an address is taken, or when the container has no
        network namespace of its own (``--network host``, ``none``, ``container:``).
        """
        from notebook_containers.engine import connecting

        found = self.get(network)
        if found.name in BUILT_IN and found.name != DEFAULT:
            words = f"network {found.name} is entered when a container is made"
            raise Conflict(words, hint=f"make another one: nbc run --network {found.name}")
        wanted = attachment(
            found.name,
            {
                "aliases": aliases,
                "links": links,
                "ipv4_address": ipv4_address,
                "ipv6_address": ipv6_address,
                "link_local_ips": link_local_ips,
                "driver_opt": driver_opt,
                "mac_address": mac_address,
                "gw_priority": gw_priority,
            },
        )
        connecting.connect(self._parts, self, self._container_id(container), wanted)

    def disconnect(self, network: str, container: str | Container, *, force: bool = False) -> None:
        """Take a container out of a network: at once when it runs, and it is not in it at its next start.

        Raises Conflict when it is not in it; with ``force`` that is no error, nor is a container or network that is gone.
        """
        from notebook_containers.engine import connecting

        try:
            connecting.disconnect(self._parts, self, self._container_id(container), self.get(network).name)
        except (Conflict, ContainerNotFound, NetworkNotFound):
            if not force:
                raise

    def inspect(self, name: str) -> dict[str, JSON]:
        """Return one network in the shape of ``docker network inspect``."""
        from notebook_containers.engine.network_listing import inspected

        network = self.get(name)
        row = self._parts.store.records.network(network.id) if network.id else None
        return inspected(self._parts, network, parse(row.document) if row else None)

    def outward(self) -> str:
        """Return in words how packets leave a bridge network that is not internal."""
        if not self._parts.host.rootless:
            return "outward through the host"
        tool = net.userland.find()
        return f"outward by {tool.name}" if tool else "no way out: neither pasta nor slirp4netns can be used"

    def trace(self, source: str, target: str) -> Sequence[Hop]:
        """Return hop by hop how a packet goes from a running container to ``NAME[:PORT][/udp]`` and where it stops.

        The last hop is the first that does not pass, or the connection. Raises Conflict when the container does not run.
        """
        from notebook_containers.engine.tracing import trace

        return trace(self._parts, self, source, target)

    def members(self, name: str) -> Sequence[str]:
        """Return the names of the running containers in a network."""
        from notebook_containers.engine.network_listing import members

        network = self.get(name)
        return [member.name for member in members(self._parts, network.id)] if network.id else []

    def check(self, options: ContainerOptions) -> None:
        """Raise NetworkNotFound when a network that a new container is to be in does not exist, Unsupported for what a user cannot have."""
        own = [place.network for place in options.attachments if place.network != DEFAULT]
        for network in own:
            self.subnets.document(network)
        if own and self._parts.host.rootless:
            if len(own) < len(options.attachments):
                raise Unsupported("an ordinary user's default network cannot be combined with others", hint="name your own networks only")
            if self._parts.host.kept_ids(options.userns):
                raise Unsupported(f"--userns {options.userns} cannot be used in a network of your own", hint="use the default network")

    def _container_id(self, container: str | Container) -> str:
        return self._parts.store.records.find_container(container).id if isinstance(container, str) else container.id

    def _holders(self, network_id: str) -> Sequence[str]:
        ids = self._parts.store.records.addresses(network_id)
        return [row.name for row in self._parts.store.records.containers() if row.id in ids] or ["a build"]
