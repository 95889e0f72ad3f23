"""The firewall of our networks: one nftables table of our own."""

from __future__ import annotations

from notebook_containers.linux.netlink import NetlinkSocket


def ensure(kernel: NetlinkSocket) -> None:
    """Make the table say what the bridges of this package need, or remove it when there is none."""
