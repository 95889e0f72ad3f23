"""The files of a container that the engine writes and binds over the image's: hosts, hostname, resolv.conf, passwd.

They are written in place, because a bind mount shows the file that was there when it was made.
"""

from __future__ import annotations

from pathlib import Path

from notebook_containers.engine import neighbours, words
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.network_words import DEFAULT
from notebook_containers.engine.parts import Parts
from notebook_containers.network import names
from notebook_containers.oci.runtime import Mount


def write(parts: Parts, document: ContainerDocument, directory: Path, passwd: bytes | None) -> list[Mount]:
    """Write all of them to ``directory`` and return their mounts; where a volume stands in the way there is none."""
    (directory / "hostname").write_text(document.hostname + "\n")
    write_hosts(document, directory)
    write_resolver(document, directory)
    generated = ["hostname", "hosts", "resolv.conf"]
    if passwd is not None:
        (directory / "passwd").write_bytes(passwd)
        generated.append("passwd")
    for name in generated:
        (directory / name).chmod(0o644)
    # who is in another's network has its names and resolver too, as they change
    shared = parts.bundle_path(neighbours.network_owner(parts, document).id)
    taken = {point.target for point in document.mounts}
    targets = {f"/etc/{name}": (directory if name == "passwd" else shared) / name for name in generated}
    options = ("rbind", "rprivate", "rw", "nosuid", "nodev", "noexec")
    return [Mount(destination=t, type="bind", source=str(s), options=options) for t, s in targets.items() if t not in taken]


def write_hosts(document: ContainerDocument, directory: Path) -> None:
    """Write the container's hosts file in place (it is bind mounted), with its addresses where it has some."""
    addresses = [address for place in document.endpoints for address in (place.address, place.address6) if address]
    domain = document.options.domainname
    full = [(f"{document.hostname}.{domain}", addresses[0] if addresses else "127.0.1.1")] if domain else []
    extra = words.each_host(document.options.extra_hosts, gateway=_host_address(document))
    text = names.hosts_file(document.hostname, addresses, [*full, *extra])
    with open(directory / "hosts", "w", encoding="utf-8") as handle:
        handle.write(text)


def rewrite(document: ContainerDocument, directory: Path) -> None:
    """Make hosts and resolv.conf true again after the container's networks have changed, also while it runs."""
    write_hosts(document, directory)
    write_resolver(document, directory)


def _host_address(document: ContainerDocument) -> str:
    """Return this machine's address as the container sees it; one that is in no network yet has its own machine's."""
    place = document.way_out or document.endpoint
    return (place.gateway if place else "") or "127.0.0.1"


def write_resolver(document: ContainerDocument, directory: Path) -> None:
    """Write the container's resolver configuration in place: the caller's servers, its network's own, or the machine's."""
    options, own = document.options, _own_resolver(document)
    servers = own if own == (names.RESOLVER,) else options.dns or own
    host = names.without_ndots(host_resolver()) if own == (names.RESOLVER,) else host_resolver()
    text = names.resolv_conf(host, servers=servers, search=options.dns_search, options=options.dns_options)
    with open(directory / "resolv.conf", "w", encoding="utf-8") as handle:
        handle.write(text)


def _own_resolver(document: ContainerDocument) -> tuple[str, ...]:
    """Return the name server of its networks: ours where it has a name, which asks the caller's and the machine's for the rest."""
    if any(place.network != DEFAULT and place.network_id for place in document.endpoints):
        return (names.RESOLVER,)
    return tuple(place.resolver for place in document.endpoints if place.resolver)


def host_resolver() -> str:
    """Return the machine's resolver configuration, or an empty text."""
    try:
        return Path("/etc/resolv.conf").read_text()
    except OSError:
        return ""
