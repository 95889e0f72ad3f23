"""A bridge a network, a veth pair a container: made by netlink in this process, no fork and no helper program."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from notebook_containers.errors import Conflict, NetworkError, Unsupported
from notebook_containers.linux import exhausted
from notebook_containers.linux.netlink import NetlinkSocket, in_network_namespace
from notebook_containers.network import firewall, links, owned
from notebook_containers.network.config import Endpoint, NetworkConfig
from notebook_containers.network.ipam import mac_for
from notebook_containers.network.links import Link
from notebook_containers.network.owned import OwnBridge, own_bridges

_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_DEFAULT_MTU = 1500
_LINK_LOCAL = "169.254.0.0/16"
_SETTLE_TIMEOUT_S = 2.0
# Another program that routes makes links of these kinds: while one is there, forwarding may be its need too.
_ROUTING_KINDS = frozenset({"bridge", "veth", "tun", "wireguard", "macvlan", "ipvlan"})


def ensure(config: NetworkConfig) -> tuple[str, ...]:
    """Make the bridge with its address, put the firewall up, switch IPv4 forwarding on. Idempotent, and repairs what others removed.

    Returns warnings in words: a firewall of the host's own that will keep the containers from the outside.
    Raises Conflict when a link of that name is not ours or the subnet is routed elsewhere, Unsupported without the privilege,
    NetworkError for anything else the kernel refuses.
    """
    with _kernel(f"network {config.name}") as kernel:
        bridge = _find(kernel, config) or _make(kernel, config)
        before = OwnBridge.of(bridge)
        switched = before.switched if before else _switches_forwarding(kernel, config)
        _complete(kernel, config, bridge, switched=switched)
        warnings = firewall.ensure(kernel)  # before forwarding, so that nothing is forwarded that the rules would not let pass
        if not config.internal and _read(_FORWARD) == "0":
            _write(_FORWARD, "1")
        return () if config.internal else warnings


def attach(
    config: NetworkConfig,
    *,
    pid: int,
    container_id: str,
    address: str,
    mac: str = "",
    interface: str = "eth0",
    link_local: Sequence[str] = (),
    way_out: bool = True,
) -> Endpoint:
    """Give the network namespace of ``pid`` an interface with the address, the MAC (default: the address's own) and a default route.

    The bridge must be there (:func:`ensure`). The host's end goes when the namespace goes. An internal network gives no default route,
    nor does one that is not to be the ``way_out``. Raises NetworkError naming the step; then nothing is left behind.
    """
    mac = mac or mac_for(address)
    port = port_name(config, container_id)
    with _kernel(f"network {config.name}") as kernel, _namespace_of(pid) as namespace:
        bridge = _find(kernel, config)
        if bridge is None:
            raise NetworkError(f"network {config.name} has no bridge {config.link}", hint="start a container in it, or make it again")
        _delete(kernel, port)  # of an earlier life of this container, whose namespace the kernel has not yet swept up
        kernel.execute([links.add_veth(port, bridge=bridge, peer=interface, peer_mac=mac, peer_namespace=namespace)])
        try:
            _write(f"/proc/sys/net/ipv6/conf/{port}/disable_ipv6", "1")
            in_network_namespace(namespace, lambda: _configure(config, interface, (address, *link_local), way_out=way_out))
            _settle(kernel, port)
        except BaseException:
            _delete(kernel, port)
            raise
    length = ipaddress.IPv4Network(config.subnet).prefixlen
    return Endpoint(
        network=config.name, interface=interface, link=port, address=address, prefix_length=length, gateway=config.gateway, mac=mac
    )


def set_way_out(pid: int, interface: str, gateway: str) -> None:
    """Make the gateway behind an interface the only default route of the network namespace of ``pid``; without one there is none."""

    def inside() -> None:
        with NetlinkSocket() as kernel:
            link = links.find_link(kernel, interface) if interface else None
            for route in links.all_routes(kernel):
                if route.destination == "0.0.0.0/0" and (link is None or route.link != link.index):
                    kernel.execute([links.delete_default_route(route.link)])
            if link is not None:
                kernel.execute([links.set_default_route(link.index, gateway)])

    with _kernel(f"process {pid}"), _namespace_of(pid) as namespace:
        in_network_namespace(namespace, inside)


def admit(config: NetworkConfig, *, container_id: str, address: str) -> None:
    """Let a container that is in the network reach the host's services; it ends with the container's link and :func:`ensure`."""
    with _kernel(f"network {config.name}") as kernel:
        link = links.find_link(kernel, port_name(config, container_id))
        if link is not None:
            kernel.execute([links.set_link(link.index, alias=owned.admission(address))])
            firewall.ensure(kernel)


def forget_admission(config: NetworkConfig, *, address: str) -> None:
    """Take back what :func:`admit` gave a container that had this address before, whatever is left of it. Idempotent."""
    with _kernel(f"network {config.name}") as kernel:
        for link in links.all_links(kernel):
            if link.alias == owned.admission(address):
                _delete(kernel, link.name)
        firewall.ensure(kernel)


def detach(config: NetworkConfig, *, container_id: str) -> None:
    """Take the container out of the network; that it is not in it is no error."""
    with _kernel(f"network {config.name}") as kernel:
        _delete(kernel, port_name(config, container_id))


def remove(config: NetworkConfig) -> None:
    """Delete the bridge with its ports and firewall rules; after the last one the table goes, and forwarding is as it was. Idempotent."""
    with _kernel(f"network {config.name}") as kernel:
        bridge = _find(kernel, config)
        known = OwnBridge.of(bridge) if bridge else None
        if bridge:
            for port in [link for link in links.all_links(kernel) if link.master == bridge.index]:
                _delete(kernel, port.name)
            _delete(kernel, config.link)
        firewall.ensure(kernel)
        if known and known.switched and not _others_route(kernel):
            _write(_FORWARD, "0")


def own_links() -> list[str]:
    """Return the names of all bridges of this package in this network namespace: what a check for leftovers compares."""
    with _kernel("networks") as kernel:
        return [bridge.name for bridge in own_bridges(kernel)]


def port_name(config: NetworkConfig, container_id: str) -> str:
    """Return the name of the host's end of a container's pair: the same container and network, the same name."""
    return "nbv" + hashlib.sha256(f"{config.id}/{container_id}".encode()).hexdigest()[:11]


def _find(kernel: NetlinkSocket, config: NetworkConfig) -> Link | None:
    found = links.find_link(kernel, config.link)
    if found is None:
        return None
    known = OwnBridge.of(found)
    # A process that died between making the bridge and naming it left one without an alias, but with our MAC.
    ours = known.network_id == config.id if known else not found.alias and found.mac == mac_for(config.gateway)
    if found.kind != "bridge" or not ours:
        raise Conflict(f"link {config.link} exists and is not network {config.name}'s", hint="remove it, or make the network anew")
    return found


def _make(kernel: NetlinkSocket, config: NetworkConfig) -> Link:
    routes = links.all_routes(kernel)
    wanted = ipaddress.IPv4Network(config.subnet)
    for route in routes:
        destination = ipaddress.IPv4Network(route.destination, strict=False)
        if destination.prefixlen > 0 and destination.overlaps(wanted):
            if made := _find(kernel, config):  # by another process since we looked: the route is its own
                return made
            words = f"subnet {config.subnet} of network {config.name} overlaps the route to {destination}"
            raise Conflict(words, hint="choose another subnet")
    outward = {route.link for route in routes if route.destination == "0.0.0.0/0"}
    mtu = min([link.mtu for link in links.all_links(kernel) if link.index in outward], default=_DEFAULT_MTU)
    with suppress(FileExistsError):  # another process may make the same network in this very moment
        kernel.execute([links.add_bridge(config.link, mac=mac_for(config.gateway), mtu=min(mtu, _DEFAULT_MTU))])
    bridge = _find(kernel, config)
    if bridge is None:
        raise NetworkError(f"bridge {config.link} vanished while it was made")
    return bridge


def _complete(kernel: NetlinkSocket, config: NetworkConfig, bridge: Link, *, switched: bool) -> None:
    # No IPv6 on the host's side: its link-local address would be one more way in, router advertisements another (CVE-2020-13401).
    _write(f"/proc/sys/net/ipv6/conf/{config.link}/disable_ipv6", "1")
    named = links.set_link(bridge.index, alias=owned.alias(config, switched=switched))
    kernel.execute([named, links.add_address(bridge.index, config.gateway, config.subnet)])


def _switches_forwarding(kernel: NetlinkSocket, config: NetworkConfig) -> bool:
    if config.internal:
        return False
    return _read(_FORWARD) == "0" or any(bridge.switched for bridge in own_bridges(kernel))


def _others_route(kernel: NetlinkSocket) -> bool:
    """Return whether anybody may still need forwarding: another network of ours, or a link such as another container engine makes."""
    everything = links.all_links(kernel)
    ours = [OwnBridge.of(link) for link in everything]
    if any(bridge and not bridge.internal for bridge in ours):
        return True
    uplinks = {route.link for route in links.all_routes(kernel) if route.destination == "0.0.0.0/0"}
    own_ports = {link.index for link, bridge in zip(everything, ours, strict=True) if bridge}
    return any(
        link.kind in _ROUTING_KINDS and link.index not in uplinks | own_ports and link.master not in own_ports for link in everything
    )


def _configure(config: NetworkConfig, interface: str, addresses: Sequence[str], *, way_out: bool) -> None:
    # Runs in a thread inside the container's network namespace; /proc/sys/net shows the namespace of the thread that opens it.
    _write(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", "1")
    with NetlinkSocket() as inside:
        link = links.find_link(inside, interface)
        if link is None:
            raise NetworkError(f"interface {interface} vanished from the container")
        ranges = (config.subnet, *(_LINK_LOCAL for _ in addresses[1:]))
        requests = [links.add_address(link.index, address, subnet) for address, subnet in zip(addresses, ranges, strict=True)]
        inside.execute([*requests, links.set_link(link.index)])
        _settle(inside, interface)
        if way_out and not config.internal:
            inside.execute([links.set_default_route(link.index, config.gateway)])


def _settle(kernel: NetlinkSocket, name: str) -> None:
    """Wait until a link that was brought up carries packets: the kernel sees to it in a worker, half a millisecond later as a rule.

    Without it a container's first packet can be lost, and the next attempt comes a second later.
    """
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while (link := links.find_link(kernel, name)) and not link.ready and time.monotonic() < deadline:
        time.sleep(0.0002)


def _delete(kernel: NetlinkSocket, name: str) -> None:
    link = links.find_link(kernel, name)
    if link is not None:
        try:
            kernel.execute([links.delete_link(link.index, name)])
        except OSError as err:
            if err.errno != errno.ENODEV:
                raise


@contextmanager
def _kernel(what: str) -> Iterator[NetlinkSocket]:
    """Give a route socket; turn what the kernel refuses into this package's errors, naming the network."""
    try:
        with NetlinkSocket() as kernel:
            yield kernel
    except PermissionError as err:
        hint = "run as root, or use --network none; published ports work for an ordinary user too"
        raise Unsupported(f"{what}: bridge networks need the privilege to make links ({err.strerror or err})", hint=hint) from err
    except OSError as err:
        lacking = "this kernel may lack bridge or veth links" if err.errno == errno.EOPNOTSUPP else ""
        reason, hint = exhausted.words(err) or (err.strerror or str(err), lacking)
        raise NetworkError(f"{what}: {reason}", hint=hint) from err


@contextmanager
def _namespace_of(pid: int) -> Iterator[int]:
    try:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as err:
        raise NetworkError(f"process {pid} has ended before its network was made", hint="see the container's logs") from err
    try:
        if os.path.samestat(os.fstat(namespace), os.stat("/proc/thread-self/ns/net")):
            raise NetworkError(f"process {pid} has no network namespace of its own")
        yield namespace
    finally:
        os.close(namespace)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _write(path: str, value: str) -> None:
    with suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:  # absent: a kernel without IPv6
        file.write(value)
