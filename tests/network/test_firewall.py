from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import bridge, links
from tests.needs import need
from tests.network.stage import ROOT, Place, link, network, program, reaches, serving

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]


def joined(place: Place, number: int = 1, last: int = 2, *, internal: bool = False) -> str:
    config = network(number, internal=internal)
    bridge.ensure(config)
    return bridge.attach(config, pid=place.pid, container_id=f"c{place.pid}", address=f"10.133.{number}.{last}").address


def nft(*words: str) -> str:
    return program("nft", *words)


def add_address(name: str, address: str) -> None:
    with NetlinkSocket() as kernel:
        kernel.execute([links.add_address(link(kernel, name).index, address, f"{address}/32")])


def add_route(words: str, place: Place | None = None) -> None:
    def work() -> None:
        program("ip", "route", "add", *words.split())

    work() if place is None else place.run(work)


def ping(address: str) -> bool:
    """Send one ICMP echo request and say whether the answer comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(0.5)
        body = struct.pack(">HH", os.getpid() & 0xFFFF, 1)
        total = 0x0800 + sum(struct.unpack(">HH", body))
        total = (total & 0xFFFF) + (total >> 16)
        raw.sendto(struct.pack(">BBH", 8, 0, ~total & 0xFFFF) + body, (address, 0))
        try:
            return any(raw.recv(200)[20] == 0 for _ in range(3))
        except TimeoutError:
            return False


def test_outward_traffic_carries_the_hosts_address(lan: Place, place: Make) -> None:
    container = place()
    joined(container)
    with lan.listening() as port:

        def greeting() -> bytes:
            with socket.create_connection(("198.51.100.2", port), timeout=3) as connection:
                return connection.recv(100)

        assert container.run(greeting) == b"hello from 198.51.100.1 "


def test_net02_the_lan_does_not_reach_a_container_by_its_address(lan: Place, place: Make) -> None:
    container = place()
    address = joined(container)
    add_route("10.133.1.0/24 via 198.51.100.1", lan)
    with container.listening() as port:
        assert lan.blocked(address, port)
        nft("delete", "table", "inet", "notebook_containers")
        assert lan.reaches(address, port)  # so it was the firewall
        bridge.ensure(network())
        assert lan.blocked(address, port)


def test_net03_no_service_of_the_host_is_reached_from_a_container(lan: Place, place: Make) -> None:
    container = place()
    joined(container)
    with serving(socket.create_server(("0.0.0.0", 0))) as port:
        assert lan.reaches("198.51.100.1", port)
        for address in ("10.133.1.1", "198.51.100.1"):
            assert reaches(address, port)
            assert container.blocked(address, port)
    assert container.run(lambda: ping("10.133.1.1"))


def test_net04_metadata_is_not_reached_but_its_names_are(lan: Place, place: Make) -> None:
    container = place()
    joined(container)
    lan.run(lambda: add_address("lo", "169.254.169.254"))
    with lan.listening("169.254.169.254", 80), lan.listening("169.254.169.254", 53):
        assert reaches("169.254.169.254", 80)
        assert container.blocked("169.254.169.254", 80)
        assert container.reaches("169.254.169.254", 53)


def test_net04_metadata_on_the_host_itself_is_not_reached(place: Make) -> None:
    container = place()
    joined(container)
    add_address("lo", "169.254.169.254")
    with serving(socket.create_server(("169.254.169.254", 80))):
        assert reaches("169.254.169.254", 80)
        assert container.blocked("169.254.169.254", 80)


def test_net05_two_networks_do_not_reach_each_other(place: Make) -> None:
    first, second = place(), place()
    joined(first, 1)
    address = joined(second, 2)
    with second.listening() as port:
        assert reaches(address, port)
        assert first.blocked(address, port)
        assert not first.run(lambda: ping(address))


def test_net06_a_forged_source_does_not_get_out(lan: Place, place: Make) -> None:
    container = place()
    joined(container)
    container.run(lambda: add_address("lo", "203.0.113.9"))
    add_route("203.0.113.9 via 198.51.100.1", lan)
    add_route(f"203.0.113.9 dev {network().link}")
    seen: list[bytes] = []
    with lan.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("198.51.100.2", 0))
        listener.settimeout(0.4)
        target = listener.getsockname()

        def send(source: str) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((source, 0))
                sender.sendto(source.encode(), target)

        container.run(lambda: send("203.0.113.9"))
        container.run(lambda: send("10.133.1.2"))
        seen.append(listener.recv(100))
        with pytest.raises(TimeoutError):
            listener.recv(100)
    assert seen == [b"10.133.1.2"]


def test_net07_an_internal_network_reaches_its_own_only(lan: Place, place: Make) -> None:
    first, second = place(), place()
    joined(first, internal=True)
    address = joined(second, last=3, internal=True)
    bridge.ensure(network(2))  # forwarding is on, for another network's sake
    add_route("default via 10.133.1.1", first)
    with lan.listening() as port:
        assert first.blocked("198.51.100.2", port)
    with second.listening() as port:
        assert first.reaches(address, port)
    assert not first.run(lambda: ping("10.133.1.1"))


@pytest.mark.parametrize(
    "damage", ["flush ruleset", "flush table inet notebook_containers", "flush chain inet notebook_containers forward"]
)
def test_net08_rules_that_others_flushed_come_back(machine: None, damage: str) -> None:
    bridge.ensure(network())
    before = nft("list", "ruleset")
    nft(*damage.split())
    assert nft("list", "ruleset") != before
    bridge.ensure(network())
    assert nft("list", "ruleset") == before


def test_an_unchanged_table_is_not_touched(machine: None) -> None:
    bridge.ensure(network())
    before = nft("-a", "list", "ruleset")  # with handles: a table made anew has new ones
    bridge.ensure(network())
    assert nft("-a", "list", "ruleset") == before


def test_foreign_tables_stay_and_ours_goes_with_the_last_network(machine: None) -> None:
    nft("add table ip other; add chain ip other c { type filter hook input priority 0 ; } ; add rule ip other c counter drop")
    foreign = nft("-a", "list", "table", "ip", "other")
    bridge.ensure(network(1))
    bridge.ensure(network(2))
    bridge.remove(network(1))
    listing = nft("list", "table", "inet", "notebook_containers")
    assert network(1).link not in listing
    assert network(2).link in listing
    bridge.remove(network(2))
    assert nft("list", "tables") == "table ip other\n"
    assert nft("-a", "list", "table", "ip", "other") == foreign


def test_the_rules_as_the_nft_program_reads_them(machine: None) -> None:
    program("ip", "link", "add", "ifb7", "type", "ifb")
    bridge.ensure(network(1))
    bridge.ensure(network(3, internal=True))
    listing = re.sub(r'comment "made by notebook_containers, [0-9a-f]{16}"', "COMMENT", nft("list", "ruleset"))
    assert listing.split() == _RULES.split()


_RULES = """
table inet notebook_containers {
    COMMENT
    set bridges { type ifname
        elements = { "nbc-00000001000", "nbc-00000003000" } }
    set internal { type ifname
        elements = { "nbc-00000003000" } }
    set same { type ifname . ifname
        elements = { "nbc-00000001000" . "nbc-00000001000", "nbc-00000003000" . "nbc-00000003000" } }
    set closed { type ifname
        elements = { "ifb7" } }
    set subnets { type ipv4_addr
        flags interval
        elements = { 10.133.1.0/24, 10.133.3.0/24 } }
    set metadata { type ipv4_addr
        flags interval
        elements = { 168.63.129.16, 169.254.0.0/16 } }
    chain forward {
        type filter hook forward priority filter; policy accept;
        iifname . oifname @same accept
        iifname @bridges oifname @bridges drop
        iifname @internal drop
        oifname @internal drop
        oifname @bridges ct state established,related accept
        oifname @bridges ct status dnat accept
        oifname @bridges drop
        iifname @bridges meta nfproto != ipv4 drop
        iifname @bridges ip saddr != @subnets drop
        iifname @bridges ip daddr @metadata udp dport 53 accept
        iifname @bridges ip daddr @metadata tcp dport 53 accept
        iifname @bridges ip daddr @metadata drop
        iifname @closed oifname @closed drop
    }
    chain input {
        type filter hook input priority filter; policy accept;
        iifname @bridges ct state established,related accept
        iifname @internal drop
        iifname @bridges meta l4proto icmp accept
        iifname @bridges drop
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr @subnets oifname != @bridges masquerade
    }
}
"""


def test_interfaces_that_were_apart_before_stay_apart(machine: None) -> None:
    """Switching forwarding on for containers must not turn the machine into a router between its networks."""
    with tunnel("tun5", "10.77.5.1/24") as left, tunnel("tun6", "10.77.6.1/24") as right:
        bridge.ensure(network())
        assert not passes(left, right)
        nft("delete", "table", "inet", "notebook_containers")
        assert passes(left, right)  # the machine is a router now: so it was the firewall
        bridge.ensure(network())
        assert not passes(left, right)


@contextmanager
def tunnel(name: str, address: str) -> Iterator[int]:
    """Make an interface whose other end is the descriptor: what is written there comes in, what goes out can be read there."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    program("ip", "addr", "add", address, "dev", name)
    program("ip", "link", "set", name, "up")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def passes(left: int, right: int) -> bool:
    """Send a UDP packet in at the left and say whether it comes out at the right."""
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 32, 7, 0, 64, 17, 0, bytes([10, 77, 5, 2]), bytes([10, 77, 6, 2]))
    total = sum(struct.unpack(">10H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    os.write(left, header[:10] + struct.pack(">H", checksum) + header[12:] + struct.pack(">HHHH", 9, 9, 12, 0) + b"over")
    while select.select([right], [], [], 0.3)[0]:
        if os.read(right, 2000).endswith(b"over"):
            return True
    return False


def test_a_forward_policy_of_the_hosts_own_is_said(machine: None) -> None:
    assert bridge.ensure(network()) == ()
    nft("add table ip fw; add chain ip fw FORWARD { type filter hook forward priority 0 ; policy drop ; }")
    (warning,) = bridge.ensure(network())
    assert "chain ip fw FORWARD" in warning
    for command in warning.partition("let them pass: ")[2].split("; "):
        program(*command.replace("'", "").split())  # the remedy is a command that works
    assert bridge.ensure(network(2, internal=True)) == ()


def test_a_forward_policy_of_legacy_iptables_is_said(machine: None) -> None:
    program = next((p for p in ("/usr/sbin/iptables-legacy", "/sbin/iptables-legacy") if os.path.exists(p)), "")
    need(program, "iptables-legacy")
    subprocess.run([program, "-A", "FORWARD", "-p", "tcp", "-m", "tcp", "--dport", "80", "-j", "ACCEPT"], check=True)
    assert bridge.ensure(network()) == ()
    subprocess.run([program, "-P", "FORWARD", "DROP"], check=True)
    (warning,) = bridge.ensure(network())
    assert warning.startswith("the host's iptables drop forwarded packets")


@pytest.mark.user
def test_an_ordinary_user_is_told_what_works(machine: None) -> None:
    script = """
import sys
sys.path.append(sys.argv[1])
from notebook_containers.errors import Unsupported
from notebook_containers.network import bridge
from notebook_containers.network.config import NetworkConfig
config = NetworkConfig(id="ab", name="web", subnet="10.133.9.0/24", gateway="10.133.9.1", link="nbc-ab")
try:
    bridge.ensure(config)
except Unsupported as err:
    print(err.one_line())
print(bridge.own_links())
"""
    python = sys.executable if os.path.realpath(sys.executable).startswith("/usr/") else "/usr/bin/python3"
    done = subprocess.run(
        [python, "-I", "-S", "-c", script, str(ROOT)], user=64231, group=64231, extra_groups=[], capture_output=True, text=True, check=False
    )
    first, second = done.stdout.splitlines() or ["", done.stderr]
    assert first.startswith("network web: bridge networks need the privilege to make links"), done.stderr
    assert "--network none" in first
    assert second == "[]"
