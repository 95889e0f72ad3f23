"""A container that may forge packets forges none that get anywhere, and overhears nothing: each attack is seen to work without the wall."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from time import monotonic

import pytest

from notebook_containers.lean import replace
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import bridge, links
from notebook_containers.network.ipam import mac_for
from tests.network.stage import Place, link, network, program

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]
CONFIG = replace(network(), subnet6="fd00:1::/64", gateway6="fd00:1::1")
ATTACKER, VICTIM, OTHER = "10.133.1.2", "10.133.1.3", "10.133.1.4"
_ALL = 3  # ETH_P_ALL
_MINE, _THEIRS = (bytes.fromhex(mac_for(address).replace(":", "")) for address in (ATTACKER, OTHER))
_EVERYBODY = b"\xff" * 6


def frame(kind: int, body: bytes, *, source: bytes = _MINE) -> bytes:
    return _EVERYBODY + source + struct.pack(">H", kind) + body


def arp(*, sender: bytes = _MINE, address: str = ATTACKER) -> bytes:
    """An answer that nobody asked for: this address is at that MAC."""
    return struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, sender, socket.inet_aton(address), _EVERYBODY, socket.inet_aton(VICTIM))


def ip(source: str, *, port: int = 9) -> bytes:
    fields = (0x45, 0, 32, 7, 0, 64, 17)
    ends = socket.inet_aton(source), socket.inet_aton(VICTIM)
    total = sum(struct.unpack(">10H", struct.pack(">BBHHHBBH4s4s", *fields, 0, *ends)))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack(">BBHHHBBH4s4s", *fields, checksum, *ends) + struct.pack(">HHHH", port, 9, 12, 0) + b"over"


def ip6(kind: int, *, source: str = "fd00:1::2", about: str = "fd00:1::2") -> bytes:
    """An ICMPv6 message of the kind, about an address."""
    body = struct.pack(">BBHI", kind, 0, 0, 0) + socket.inet_pton(socket.AF_INET6, about)
    return (
        struct.pack(">IHBB", 6 << 28, len(body), 58, 255)
        + socket.inet_pton(socket.AF_INET6, source)
        + socket.inet_pton(socket.AF_INET6, "ff02::1")
        + body
    )


FORGED = {
    "another's MAC address": frame(0x0800, ip(ATTACKER), source=_THEIRS),
    "another's IPv4 address": frame(0x0800, ip(OTHER)),
    "an ARP answer for another": frame(0x0806, arp(address=OTHER)),
    "an ARP answer for the gateway": frame(0x0806, arp(address="10.133.1.1")),
    "an ARP answer of another": frame(0x0806, arp(sender=_THEIRS)),
    "a DHCP server": frame(0x0800, ip(ATTACKER, port=67)),
    "a router": frame(0x86DD, ip6(134)),
    "a redirection": frame(0x86DD, ip6(137)),
    "another's IPv6 address": frame(0x86DD, ip6(128, source="fd00:1::4")),
    "a neighbour's place": frame(0x86DD, ip6(136, about="fd00:1::4")),
    "a VLAN": frame(0x8100, struct.pack(">HH", 5, 0x0800) + ip(ATTACKER)),
    "what is no IP": frame(0x88CC, b"\x02\x07\x04" + b"x" * 40),
}
HONEST = {
    "IPv4": frame(0x0800, ip(ATTACKER)),
    "ARP": frame(0x0806, arp()),
    "IPv6": frame(0x86DD, ip6(128)),
    "a neighbour's answer about itself": frame(0x86DD, ip6(136)),
}


def arrives(attacker: Place, victim: Place, sent: bytes, *, waits_s: float) -> bool:
    """Return whether the attacker's frame comes to the victim."""

    def opened() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        sock.bind(("eth0", _ALL))
        return sock

    with attacker.run(opened) as out, victim.run(opened) as heard:
        out.send(sent)
        deadline = monotonic() + waits_s
        while (left := deadline - monotonic()) > 0:
            heard.settimeout(left)
            try:
                if heard.recv(2000)[12:].startswith(sent[12:]):
                    return True
            except TimeoutError:
                return False
    return False


@pytest.fixture
def pair(place: Make) -> tuple[Place, Place]:
    """An attacker that is walled in, and its victim."""
    attacker, victim = place(), place()
    bridge.ensure(CONFIG)
    bridge.attach(CONFIG, pid=attacker.pid, container_id="bad", address=ATTACKER, address6="fd00:1::2", guarded=True)
    bridge.attach(CONFIG, pid=victim.pid, container_id="good", address=VICTIM, address6="fd00:1::3")
    return attacker, victim


def test_net06_nothing_forged_gets_into_the_bridge(pair: tuple[Place, Place]) -> None:
    for what, sent in HONEST.items():
        assert arrives(*pair, sent, waits_s=20), what
    for what, sent in FORGED.items():
        assert not arrives(*pair, sent, waits_s=0.1), what
    program("nft", "delete", "table", "bridge", "notebook_containers")
    for what, sent in FORGED.items():
        if "VLAN" not in what:  # the receiving kernel takes the tag off
            assert arrives(*pair, sent, waits_s=20), what  # so it was the wall
    bridge.ensure(CONFIG)
    assert not arrives(*pair, FORGED["a router"], waits_s=0.1)


def test_net06_what_is_for_others_is_not_overheard(pair: tuple[Place, Place], place: Make) -> None:
    attacker, victim = pair
    sent = b"\x02\x00\x00\x00\x00\x99" + bytes.fromhex(mac_for(VICTIM).replace(":", "")) + struct.pack(">H", 0x0800) + ip(VICTIM)
    bystander = place()
    bridge.attach(CONFIG, pid=bystander.pid, container_id="near", address=OTHER)
    assert arrives(victim, bystander, sent, waits_s=20)  # nobody knows where that is: it is flooded
    assert not arrives(victim, attacker, sent, waits_s=0.2)


def test_the_walls_go_with_the_container_and_admissions_stay(place: Make) -> None:
    attacker = place()
    bridge.ensure(CONFIG)
    bridge.attach(CONFIG, pid=attacker.pid, container_id="bad", address=ATTACKER, guarded=True)
    bridge.admit(CONFIG, container_id="bad", address=ATTACKER)
    listing = program("nft", "list", "ruleset")
    assert "table bridge notebook_containers" in listing
    assert "ip saddr @admitted accept" in listing
    bridge.detach(CONFIG, container_id="bad")
    bridge.ensure(CONFIG)
    assert "table bridge" not in program("nft", "list", "ruleset")
    with NetlinkSocket() as kernel:
        assert links.find_link(kernel, bridge.port_name(CONFIG, "bad")) is None
        assert link(kernel, CONFIG.link).up
