"""A bridge a network, a veth pair a container: made by netlink in this process, no fork and no helper program."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import ipaddress
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress

from notebook_containers.errors import Conflict, NetworkError, Unsupported
from notebook_containers.linux import exhausted
from notebook_containers.linux.netlink import NetlinkSocket, in_network_namespace
from notebook_containers.network import firewall, forwarding, inside, links, owned
from notebook_containers.network.config import Endpoint, NetworkConfig
from notebook_containers.network.forwarding import write
from notebook_containers.network.ipam import mac_for
from notebook_containers.network.links import Link
from notebook_containers.network.owned import OwnBridge, own_bridges

_DEFAULT_MTU = 1500
_MOST_ALONE_S = 2.0


def ensure(config: NetworkConfig) -> tuple[str, ...]:
    """Make the bridge with its addresses, put the firewall up, switch forwarding on. Idempotent, and repairs what others removed.

    Returns warnings in words: a firewall of the host's own that will keep the containers from the outside.
    Raises Conflict when a link of that name is not ours or the subnet is routed elsewhere, Unsupported without the privilege,
    NetworkError for anything else the kernel refuses.
    """
    with kernel_of(f"network {config.name}") as kernel:
        _claim(kernel, config)
        warnings = firewall.ensure(kernel)  # before forwarding, so that nothing is forwarded that the rules would not let pass
        if not config.internal:
            forwarding.switch_on(config)
        return () if config.internal else warnings


def claim(config: NetworkConfig) -> None:
    """Make the bridge with its addresses alone, so that nobody else takes the subnet; the rest is for :func:`ensure`, as are its errors."""
    with kernel_of(f"network {config.name}") as kernel:
        _claim(kernel, config)


def attach(
    config: NetworkConfig,
    *,
    pid: int,
    container_id: str,
    address: str,
    address6: str = "",
    mac: str = "",
    interface: str = "eth0",
    link_local: Sequence[str] = (),
    way_out: bool = True,
    guarded: bool = False,
) -> Endpoint:
    """Give the network namespace of ``pid`` an interface with the addresses, the MAC (default: the address's own) and a default route.

    The bridge must be there (:func:`ensure`). The host's end goes when the namespace goes. An internal network gives no default route,
    nor does one that is not to be the ``way_out``. A ``guarded`` container, which may forge packets, gets none through that are not its
    own. Raises NetworkError naming the step; then nothing is left behind.
    """
    mac = mac or mac_for(address)
    port = port_name(config, container_id)
    with kernel_of(f"network {config.name}") as kernel, namespace_of(pid) as namespace:
        bridge = _find(kernel, config)
        if bridge is None:
            raise NetworkError(f"network {config.name} has no bridge {config.link}", hint="start a container in it, or make it again")
        _delete(kernel, port)  # of an earlier life of this container, whose namespace the kernel has not yet swept up
        kernel.execute([links.add_veth(port, bridge=bridge, peer=interface, peer_mac=mac, peer_namespace=namespace)])
        try:
            write(f"/proc/sys/net/ipv6/conf/{port}/disable_ipv6", "1")
            if guarded or not config.icc:
                _wall(kernel, config, owned.Guarded(port, mac, address, address6) if guarded else None, port)
            in_network_namespace(namespace, lambda: inside.configure(config, interface, address, address6, link_local, way_out=way_out))
            inside.settle(kernel, port)
        except BaseException:
            _delete(kernel, port)
            raise
    length = ipaddress.IPv4Network(config.subnet).prefixlen
    return Endpoint(
        network=config.name,
        interface=interface,
        link=port,
        address=address,
        prefix_length=length,
        gateway=config.gateway,
        mac=mac,
        address6=address6,
    )


def set_way_out(pid: int, interface: str, gateways: Sequence[str]) -> None:
    """Make the gateways behind an interface the only default routes of the network namespace of ``pid``; without one there is none."""
    with kernel_of(f"process {pid}"), namespace_of(pid) as namespace:
        in_network_namespace(namespace, lambda: inside.set_way_out(interface, gateways))


def admit(config: NetworkConfig, *, container_id: str, address: str) -> None:
    """Let a container that is in the network reach the host's services; it ends with the container's link and :func:`ensure`."""
    with kernel_of(f"network {config.name}") as kernel:
        link = links.find_link(kernel, port_name(config, container_id))
        if link is not None:
            known = next((one for one in owned.guarded([link])), None)
            kernel.execute([links.set_link(link.index, alias=owned.port_alias(admits=address, guards=known))])
            firewall.ensure(kernel)


def forget_admission(config: NetworkConfig, *, address: str) -> None:
    """Take back what :func:`admit` gave a container that had this address before, whatever is left of it. Idempotent."""
    with kernel_of(f"network {config.name}") as kernel:
        for link in links.all_links(kernel):
            if owned.admitted([link]) == [address]:
                _delete(kernel, link.name)
        firewall.ensure(kernel)


def detach(config: NetworkConfig, *, container_id: str) -> None:
    """Take the container out of the network; that it is not in it is no error."""
    with kernel_of(f"network {config.name}") as kernel:
        _delete(kernel, port_name(config, container_id))


def remove(config: NetworkConfig) -> None:
    """Delete the bridge with its ports and firewall rules; after the last one the table goes, and forwarding is as it was. Idempotent."""
    with kernel_of(f"network {config.name}") as kernel:
        bridge = _find(kernel, config)
        known = OwnBridge.of(bridge) if bridge else None
        if bridge:
            for port in [link for link in links.all_links(kernel) if link.master == bridge.index]:
                _delete(kernel, port.name)
            _delete(kernel, config.link)
        firewall.ensure(kernel)
        forwarding.switch_back(kernel, known)


def own_links() -> list[str]:
    """Return the names of all bridges of this package in this network namespace: what a check for leftovers compares."""
    with kernel_of("networks") as kernel:
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


def _claim(kernel: NetlinkSocket, config: NetworkConfig) -> None:
    found = _find(kernel, config)
    with nullcontext() if found else _alone():
        bridge = found or _find(kernel, config) or _make(kernel, config)
        before = OwnBridge.of(bridge)
        switched = before.switched if before else forwarding.switches(kernel, config)
        switched6 = before.switched6 if before else forwarding.switches6(kernel, config)
        _complete(kernel, config, bridge, switched=switched, switched6=switched6)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep every other process from making a bridge in this network namespace: two could find one subnet free at the same time.

    The lock is the namespace's own file, and goes with this process. Anybody in the namespace may hold it, for ever if he likes: after a
    while it goes on without.
    """
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    deadline = time.monotonic() + _MOST_ALONE_S
    try:
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(namespace, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.001)
        yield
    finally:
        os.close(namespace)


def _make(kernel: NetlinkSocket, config: NetworkConfig) -> Link:
    routes = links.all_routes(kernel)
    routes6 = links.all_routes(kernel, version=6) if config.subnet6 else []
    for subnet, known in ((config.subnet, routes), (config.subnet6, routes6)):
        taken = _overlapped(subnet, known) if subnet else ""
        if taken:
            if made := _find(kernel, config):  # by another process since we looked: the route is its own
                return made
            raise Conflict(f"subnet {subnet} of network {config.name} overlaps the route to {taken}", hint="choose another subnet")
    outward = {route.link for route in routes if route.destination == "0.0.0.0/0"}
    mtu = min([link.mtu for link in links.all_links(kernel) if link.index in outward], default=_DEFAULT_MTU)
    with suppress(FileExistsError):  # another process may make the same network in this very moment
        kernel.execute([links.add_bridge(config.link, mac=mac_for(config.gateway), mtu=config.mtu or min(mtu, _DEFAULT_MTU))])
    bridge = _find(kernel, config)
    if bridge is None:
        raise NetworkError(f"bridge {config.link} vanished while it was made")
    return bridge


def _overlapped(subnet: str, routes: Sequence[links.Route]) -> str:
    """Return the route's destination that a subnet overlaps, empty for none; default, link-local and multicast routes do not count."""
    wanted = ipaddress.ip_network(subnet)
    for route in routes:
        destination = ipaddress.ip_network(route.destination, strict=False)
        if destination.prefixlen > 0 and not destination.is_link_local and not destination.is_multicast and destination.overlaps(wanted):
            return str(destination)
    return ""


def _complete(kernel: NetlinkSocket, config: NetworkConfig, bridge: Link, *, switched: bool, switched6: bool) -> None:
    # Without IPv6 none on the host's side: its link-local address would be one more way in. Router advertisements never (CVE-2020-13401).
    settings = f"/proc/sys/net/ipv6/conf/{config.link}"
    write(f"{settings}/accept_ra", "0")
    write(f"{settings}/disable_ipv6", "0" if config.subnet6 else "1")
    requests = [links.set_link(bridge.index, alias=owned.alias(config, switched=switched, switched6=switched6))]
    requests.append(links.add_address(bridge.index, config.gateway, config.subnet))
    if config.subnet6:
        requests.append(links.add_address(bridge.index, config.gateway6, config.subnet6))
    kernel.execute(requests)


def _wall(kernel: NetlinkSocket, config: NetworkConfig, guarded: owned.Guarded | None, port: str) -> None:
    """Keep a port from others before its container is there: from forging what is theirs, or from all of them."""
    index = _index(kernel, port)
    requests = [links.set_port(index, isolated=not config.icc, floods=guarded is None)]
    if guarded:
        requests.append(links.set_link(index, alias=owned.port_alias(guards=guarded)))
    kernel.execute(requests)
    if guarded:
        firewall.ensure(kernel)


def _index(kernel: NetlinkSocket, name: str) -> int:
    link = links.find_link(kernel, name)
    if link is None:
        raise NetworkError(f"link {name} vanished while it was made")
    return link.index


def _delete(kernel: NetlinkSocket, name: str) -> None:
    link = links.find_link(kernel, name)
    if link is not None:
        try:
            kernel.execute([links.delete_link(link.index, name)])
        except OSError as err:
            if err.errno != errno.ENODEV:
                raise


@contextmanager
def kernel_of(what: str) -> Iterator[NetlinkSocket]:
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
def namespace_of(pid: int) -> Iterator[int]:
    """Give the network namespace of a process, which must not be the caller's; NetworkError when the process has ended."""
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
