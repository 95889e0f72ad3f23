"""Networks, a service's place in them, and its published ports."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.lean import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Addresses of a network: a subnet, the part that is given out, the gateway, and addresses that are others'."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux_addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network: ``key`` is its name in the file, ``name`` its name on the engine (``project_key`` unless the file gives one).

    An ``external`` one exists already, is never made and never removed.
    """

    key: str
    name: str
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    ipam_driver: str = ""
    pools: tuple[Pool, ...] = ()
    external: bool = False
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A service's place in one network; its name and its containers' names are aliases always and stand not here."""

    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    mac_address: str = ""
    interface_name: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    gw_priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One published port of a service: ``published`` is a port of the host, a range to choose from (``8000-8010``) or "" for any.

    ``host_ip`` "" is the engine's own choice. ``name`` and ``app_protocol`` are words for people and proxies.
    """

    target: int
    published: str = ""
    host_ip: str = ""
    protocol: str = "tcp"
    mode: str = "ingress"
    name: str = ""
    app_protocol: str = ""

    def __str__(self) -> str:
        """The port as ``-p`` takes it."""
        host = f"[{self.host_ip}]:" if ":" in self.host_ip else f"{self.host_ip}:" if self.host_ip else ""
        return f"{host}{self.published or 0}:{self.target}/{self.protocol}"
