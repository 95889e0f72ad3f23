"""The networks and volumes of a project: made when they are missing, recognised by their labels, removed only when they are its own."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext, suppress

from notebook_containers.compose import labels
from notebook_containers.compose.model import Network, Service, Volume
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site
from notebook_containers.engine.network_words import BUILT_IN
from notebook_containers.errors import Conflict, NetworkNotFound, NotFound, VolumeNotFound


def ensure(site: Site, services: Collection[Service]) -> None:
    """Make the networks and named volumes of the services that are missing."""
    ensure_networks(site, services)
    ensure_volumes(site, services)


def ensure_networks(site: Site, services: Collection[Service]) -> None:
    """Make the networks the services are in and that are missing; NetworkNotFound for an external one that is not there."""
    keys = dict.fromkeys(key for service in services if not service.network_mode for key in service.networks)
    wanted = [site.project.networks[key] for key in keys if key in site.project.networks]
    there = {network.name: network for network in site.engine.networks.list()} if wanted else {}
    for network in wanted:
        if network.name not in there:
            _make_network(site, network)
        elif not network.external and network.name not in BUILT_IN and there[network.name].labels.get(labels.PROJECT, "") != site.name:
            owner = there[network.name].labels.get(labels.PROJECT, "")
            whose = f"belongs to the project {owner}" if owner else "was not made by compose"
            text = f"it is there already and {whose}: it is used, and down leaves it; 'external: true' says that this is wanted"
            site.tell(Told(kind="network", name=network.name, phase="warning", text=text))


def _make_network(site: Site, network: Network) -> None:
    if network.external:
        raise NetworkNotFound(f"the external network {network.name} is not there", hint=f"make it: nbc network create {network.name}")
    site.tell(Told(kind="network", name=network.name, phase="creating"))
    pools = network.pools
    with suppress(Conflict) if not any(pool.subnet for pool in pools) else nullcontext():  # another up was quicker
        site.engine.networks.create(
            network.name,
            network.driver or "bridge",
            options=network.driver_opts,
            subnet=[pool.subnet for pool in pools if pool.subnet],
            gateway=[pool.gateway for pool in pools if pool.gateway],
            ip_range=[pool.ip_range for pool in pools if pool.ip_range],
            aux_addresses={name: address for pool in pools for name, address in pool.aux_addresses.items()},
            internal=network.internal,
            labels=labels.of_network(site.name, network),
            enable_ipv6=bool(network.enable_ipv6),
            attachable=network.attachable,
        )
    site.tell(Told(kind="network", name=network.name, phase="created"))


def ensure_volumes(site: Site, services: Collection[Service]) -> None:
    """Make the named volumes that the services mount and that are missing; VolumeNotFound for an external one that is not there."""
    keys = dict.fromkeys(mount.source for service in services for mount in service.volumes if mount.type == "volume")
    for volume in [site.project.volumes[key] for key in keys if key in site.project.volumes]:
        _ensure_volume(site, volume)


def _ensure_volume(site: Site, volume: Volume) -> None:
    try:
        found = site.engine.volumes.get(volume.name)
    except VolumeNotFound:
        if volume.external:
            raise VolumeNotFound(
                f"the external volume {volume.name} is not there", hint=f"make it: nbc volume create {volume.name}"
            ) from None
        site.tell(Told(kind="volume", name=volume.name, phase="creating"))
        site.engine.volumes.create(volume.name, labels=labels.of_volume(site.name, volume))
        site.tell(Told(kind="volume", name=volume.name, phase="created"))
        return
    owner = found.labels.get(labels.PROJECT, "")
    if not volume.external and owner != site.name:
        whose = f"belongs to the project {owner}" if owner else "was not made by compose"
        text = f"it is there already and {whose}: it is used, and down -v leaves it; 'external: true' says that this is wanted"
        site.tell(Told(kind="volume", name=volume.name, phase="warning", text=text))


def own_volumes(site: Site) -> list[str]:
    """Return the names of the volumes that this project made: its label says so, and no image can have given it."""
    return [volume.name for volume in site.engine.volumes.list() if volume.labels.get(labels.PROJECT) == site.name]


def remove_volumes(site: Site) -> None:
    """Remove the volumes that this project made; one that somebody else's container has stays, and is told."""
    for name in own_volumes(site):
        site.tell(Told(kind="volume", name=name, phase="removing"))
        try:
            site.engine.volumes.remove(name)
        except Conflict as err:
            site.tell(Told(kind="volume", name=name, phase="warning", text=f"it stays: {err.message}"))
        except NotFound:
            continue  # another process was quicker
        else:
            site.tell(Told(kind="volume", name=name, phase="removed"))


def remove_networks(site: Site) -> None:
    """Remove the networks that this project made; one that somebody else's container is in stays, and is told."""
    site.engine.networks.finish_removals()  # a down that was killed may have left half of one
    for network in site.engine.networks.list():
        if network.labels.get(labels.PROJECT) != site.name:
            continue
        site.tell(Told(kind="network", name=network.name, phase="removing"))
        try:
            site.engine.networks.remove(network.id)
        except Conflict as err:
            site.tell(Told(kind="network", name=network.name, phase="warning", text=f"it stays: {err.message}"))
        except NotFound:
            continue  # another process was quicker
        else:
            site.tell(Told(kind="network", name=network.name, phase="removed"))
