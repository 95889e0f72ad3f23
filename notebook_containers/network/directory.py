"""Who is called what in which network: the names a container may look up, as plain values; no socket and no wire format here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from notebook_containers.lean import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A container in one network: every name it has there (lower case, its own first), its addresses, and the network's subnets.

    ``links`` are names that it alone knows, and what each is another name of.
    """

    network: str
    title: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    subnets: tuple[str, ...]
    internal: bool
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A running container: its places, and the name servers it is to use for everything else (none: the host's)."""

    id: str
    places: tuple[Place, ...]
    servers: tuple[str, ...] = ()

    @property
    def reaches_outside(self) -> bool:
        """Whether one of its networks has a way out; a container without one must not reach out by looking up names either."""
        return any(not place.internal for place in self.places)


class Directory:
    """The running containers that have names, and the look-ups by name and by address."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._by_name: dict[str, dict[str, tuple[str, ...]]] = {}
        self._by_address: dict[str, dict[str, str]] = {}

    def put(self, member: Member) -> None:
        """Add a container, or replace what is known of it."""
        self._members[member.id] = member
        self._index()

    def drop(self, member_id: str) -> None:
        """Forget a container; that it is not known is no error."""
        if self._members.pop(member_id, None):
            self._index()

    def member(self, member_id: str) -> Member | None:
        """Return what is known of a container."""
        return self._members.get(member_id)

    def addresses(self, asker: Member, name: str) -> tuple[str, ...] | None:
        """Return what a name stands for in the first of the asker's networks that has it, None when none has.

        What the asker links comes first. ``NAME.NETWORK`` asks in that network alone.
        """
        for place in asker.places:
            linked = self._by_name.get(place.network, {}).get(place.links.get(name, ""))
            if linked is not None:
                return linked
        for place in asker.places:
            found = self._by_name.get(place.network, {}).get(name)
            if found is not None:
                return found
        for place in asker.places:
            if name.endswith(f".{place.title}"):
                found = self._by_name.get(place.network, {}).get(name.removesuffix(f".{place.title}"))
                if found is not None:
                    return found
        return None

    def name_of(self, asker: Member, address: str) -> str | None:
        """Return ``NAME.NETWORK`` of an address in the asker's networks; None when nobody there has it."""
        for place in asker.places:
            found = self._by_address.get(place.network, {}).get(address)
            if found is not None:
                return found
        return None

    @staticmethod
    def covers(asker: Member, address: str) -> bool:
        """Tell whether an address lies in one of the asker's networks: nobody outside knows its name better."""
        wanted = ipaddress.ip_address(address)
        return any(wanted in ipaddress.ip_network(subnet) for place in asker.places for subnet in place.subnets)

    def _index(self) -> None:
        names: dict[str, dict[str, list[str]]] = {}
        self._by_address = {}
        for member in self._members.values():
            for place in member.places:
                for name in place.names:
                    names.setdefault(place.network, {}).setdefault(name, []).extend(place.addresses)
                known = self._by_address.setdefault(place.network, {})
                known.update(dict.fromkeys(place.addresses, f"{place.names[0]}.{place.title}"))
        self._by_name = {network: {name: tuple(found) for name, found in known.items()} for network, known in names.items()}


def member_from(words: Mapping[str, object]) -> Member:
    """Return a member as the control socket's message has it; ValueError for what is none."""
    places = words.get("places")
    return Member(
        id=str(words["id"]),
        places=tuple(_place(place) for place in places if isinstance(place, dict)) if isinstance(places, list) else (),
        servers=_texts(words.get("servers")),
    )


def message_of(member: Member) -> dict[str, object]:
    """Return the member as plain JSON, which :func:`member_from` reads."""
    fields = ("network", "title", "names", "addresses", "subnets", "internal", "links")
    return {
        "id": member.id,
        "servers": list(member.servers),
        "places": [{name: getattr(place, name) for name in fields} for place in member.places],
    }


def _place(words: Mapping[str, object]) -> Place:
    links = words.get("links")
    return Place(
        network=str(words["network"]),
        title=str(words["title"]).lower(),
        names=tuple(name.lower() for name in _texts(words["names"])),
        addresses=_texts(words["addresses"]),
        subnets=_texts(words["subnets"]),
        internal=words["internal"] is True,
        links={str(name): str(target) for name, target in links.items()} if isinstance(links, Mapping) else {},
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
