"""A service's container on the network: its names, its places in the project's networks, its ports."""

from __future__ import annotations

from notebook_containers.compose import creating
from notebook_containers.compose.model import Port, Service
from notebook_containers.compose.site import Site
from notebook_containers.engine.keywords import CreateKeywords, EndpointKeywords
from notebook_containers.errors import InvalidArgument


def keywords(site: Site, service: Service, number: int, *, one_off: bool) -> CreateKeywords:
    """Return the network keywords of container ``number``; one that is ``one_off`` has no alias and no port."""
    return {
        "hostname": service.hostname or None,
        "domainname": service.domainname or None,
        **_networks(site, service, one_off=one_off),
        "ports": [published(service, port, max(number, 1)) for port in service.ports],
        "extra_hosts": service.extra_hosts,
        "dns": service.dns,
        "dns_search": service.dns_search,
        "dns_opt": service.dns_opt,
        "expose": service.expose,
        "mac_address": service.mac_address or None,
    }


def _networks(site: Site, service: Service, *, one_off: bool) -> CreateKeywords:
    """Return the container's places, that of the highest priority first; others find it there by its service's name and its aliases."""
    if service.network_mode:
        return {"network": creating.namespace(site, service.network_mode)}
    keys = sorted(service.networks, key=lambda key: (-service.networks[key].priority, list(service.networks).index(key)))
    names = {key: site.project.networks[key].name for key in keys}
    if not names:
        return {}
    given = {names[key]: _place(service, key, one_off=one_off) for key in keys}
    return {"network": names[keys[0]], "networking_config": given}


def _place(service: Service, key: str, *, one_off: bool) -> EndpointKeywords:
    wanted = service.networks[key]
    aliases = [] if one_off else [service.name, *wanted.aliases]
    return {
        "aliases": list(dict.fromkeys(aliases)),
        "ipv4_address": None if one_off else wanted.ipv4_address or None,
        "ipv6_address": None if one_off else wanted.ipv6_address or None,
        "mac_address": wanted.mac_address or None,
        "link_local_ips": wanted.link_local_ips or None,
        "driver_opt": wanted.driver_opts or None,
        "gw_priority": wanted.gw_priority or None,
        "links": [f"{link.target}:{link.alias}" for link in (*service.links, *service.external_links) if link.alias != link.target] or None,
    }


def published(service: Service, port: Port, number: int) -> str:
    """Return a port's word for ``-p``; of a range of the host's ports (``8000-8010``) container ``number`` has the one of its number."""
    first, dash, last = port.published.partition("-")
    if not dash:
        return str(port)
    chosen = int(first) + number - 1
    if chosen > int(last):
        raise InvalidArgument(
            f"service {service.name}: container {number} has no port left in {port.published}",
            hint="widen the range, or leave the host's port out",
        )
    host = f"[{port.host_ip}]:" if ":" in port.host_ip else f"{port.host_ip}:" if port.host_ip else ""
    return f"{host}{chosen}:{port.target}/{port.protocol}"
