"""Networks without a bridge: a container's link is a piece of a link of this machine (macvlan, ipvlan), and the LAN sees it as its own.

What is not ours to filter is not filtered: the container is a machine on the LAN. Only the cloud's metadata addresses are closed inside,
and between the container and this machine itself the kernel lets nothing pass.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from notebook_containers.errors import NetworkError, Unsupported
from notebook_containers.linux.netlink import NetlinkSocket, in_network_namespace
from notebook_containers.network import inside, links
from notebook_containers.network.bridge import kernel_of, namespace_of
from notebook_containers.network.ipam import mac_for

if TYPE_CHECKING:
    from notebook_containers.network.config import NetworkConfig

DRIVERS = ("macvlan", "ipvlan")


def ensure(config: NetworkConfig) -> tuple[str, ...]:
    """Check that the network's parent is there; NetworkError names it. Returns no warnings."""
    with kernel_of(f"network {config.name}") as kernel:
        _parent(kernel, config)
    return ()


def attach(
    config: NetworkConfig,
    *,
    pid: int,
    address: str,
    address6: str = "",
    mac: str = "",
    interface: str = "eth0",
    link_local: Sequence[str] = (),
    way_out: bool = True,
) -> None:
    """Give the network namespace of ``pid`` a link of its own on the parent; it goes with the namespace.

    Raises NetworkError, and Unsupported on a kernel without such links.
    """
    with kernel_of(f"network {config.name}") as kernel, namespace_of(pid) as namespace:
        parent = _parent(kernel, config)
        try:
            kernel.execute(
                [
                    links.add_direct(
                        config.driver, config.mode, parent=parent, name=interface, mac=mac or mac_for(address), namespace=namespace
                    )
                ]
            )
        except OSError as err:
            if err.errno != errno.EOPNOTSUPP:
                raise
            hint = "use a bridge network, or a kernel with it"
            raise Unsupported(f"network {config.name}: this kernel has no {config.driver} links", hint=hint) from err
        in_network_namespace(namespace, lambda: inside.configure(config, interface, address, address6, link_local, way_out=way_out))


def detach(config: NetworkConfig, *, pid: int, interface: str) -> None:
    """Take the link away again; that it is not there is no error."""

    def delete() -> None:
        with NetlinkSocket() as kernel:
            link = links.find_link(kernel, interface)
            if link is not None:
                kernel.execute([links.delete_link(link.index, interface)])

    with kernel_of(f"network {config.name}"), namespace_of(pid) as namespace:
        in_network_namespace(namespace, delete)


def _parent(kernel: NetlinkSocket, config: NetworkConfig) -> int:
    link = links.find_link(kernel, config.parent)
    if link is None:
        raise NetworkError(f"network {config.name}: its parent {config.parent} is no link of this machine", hint="see ip link")
    return link.index
