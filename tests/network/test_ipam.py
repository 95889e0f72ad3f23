from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, strategies as st

from notebook_containers.errors import Conflict, InvalidArgument, NetworkError
from notebook_containers.network import ipam

SUBNET, GATEWAY = "10.133.0.0/29", "10.133.0.1"


def test_first_subnet_is_free_and_stable() -> None:
    assert ipam.choose_subnet([], []) == ipam.choose_subnet([], ["0.0.0.0/0"]) == "10.133.0.0/24"


@pytest.mark.parametrize(
    ("used", "routes", "expected"),
    [
        (["10.133.0.0/24"], [], "10.133.1.0/24"),
        (["10.133.0.0/24", "10.133.2.0/24"], [], "10.133.1.0/24"),
        ([], ["10.133.0.128/25"], "10.133.1.0/24"),
        ([], ["10.133.0.7"], "10.133.1.0/24"),
        ([], ["10.0.0.0/8"], "172.29.128.0/24"),
        (["10.0.0.0/8"], ["172.16.0.0/12"], "192.168.192.0/24"),
        (["not a network", "fd00::/8"], [], "10.133.0.0/24"),
    ],
)
def test_subnet_avoids_what_is_taken(used: list[str], routes: list[str], expected: str) -> None:
    assert ipam.choose_subnet(used, routes) == expected


def test_all_subnets_are_disjoint_until_none_is_left() -> None:
    used: list[str] = []
    for _ in range(256 + 128 + 64):
        used.append(ipam.choose_subnet(used, []))
    with pytest.raises(NetworkError, match="no free subnet") as caught:
        ipam.choose_subnet(used, [])
    assert "--subnet" in caught.value.hint
    assert len(used) == len(set(used))
    assert all(ipaddress.IPv4Network(subnet).is_private for subnet in used)


_BAD = ["10.1.2.3/24", "10.0.0.0/31", "10.0.0.0/7", "fd00::/64", "x", "", "127.0.0.0/24", "224.0.0.0/8", "169.254.0.0/24", "255.1.0.0/16"]


@pytest.mark.parametrize("text", _BAD)
def test_bad_subnet_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ipam.parse_subnet(text)


def test_overlap_is_named() -> None:
    ipam.check_subnet("10.9.0.0/24", ["10.8.0.0/24"], ["0.0.0.0/0"])
    with pytest.raises(Conflict, match=r"10\.9\.0\.0/16"):
        ipam.check_subnet("10.9.0.0/24", [], ["10.9.0.0/16"])


def test_every_host_of_a_subnet_is_handed_out_once() -> None:
    taken: set[str] = set()
    for _ in range(5):
        taken.add(ipam.choose_address(SUBNET, {GATEWAY, *taken}))
    with pytest.raises(NetworkError, match="no free address"):
        ipam.choose_address(SUBNET, {GATEWAY, *taken})
    assert taken == {f"10.133.0.{n}" for n in range(2, 7)}


@given(st.sets(st.integers(2, 253)))
def test_chosen_address_is_the_lowest_free_one(numbers: set[int]) -> None:
    taken = {f"10.133.0.{n}" for n in numbers}
    chosen = ipam.choose_address("10.133.0.0/24", {GATEWAY, *taken})
    assert int(chosen.rsplit(".", 1)[1]) == min(set(range(2, 255)) - numbers)


def test_gateway_elsewhere_is_not_handed_out() -> None:
    assert ipam.choose_address(SUBNET, {"10.133.0.2", "10.133.0.1"}) == "10.133.0.3"


def test_a_range_is_all_that_is_handed_out() -> None:
    taken = {ipam.choose_address("10.133.0.0/24", {GATEWAY}, ip_range="10.133.0.254/31")}
    assert taken == {"10.133.0.254"}  # 255 is the broadcast address
    with pytest.raises(NetworkError, match=r"range 10\.133\.0\.254/31"):
        ipam.choose_address("10.133.0.0/24", taken, ip_range="10.133.0.254/31")


@pytest.mark.parametrize("address", ["10.133.0.0", "10.133.0.7", "10.134.0.2", "x", "::1", "010.133.0.2"])
def test_wanted_address_must_be_a_host(address: str) -> None:
    with pytest.raises(InvalidArgument):
        ipam.check_address(SUBNET, {GATEWAY}, address)


@pytest.mark.parametrize("address", [GATEWAY, "10.133.0.4"])
def test_wanted_address_must_be_free(address: str) -> None:
    with pytest.raises(Conflict):
        ipam.check_address(SUBNET, {GATEWAY, "10.133.0.4"}, address)
    assert ipam.check_address(SUBNET, {GATEWAY, "10.133.0.4"}, "10.133.0.5") == "10.133.0.5"


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_mac_is_local_unicast_and_one_to_one(first: ipaddress.IPv4Address, second: ipaddress.IPv4Address) -> None:
    mac = ipam.mac_for(str(first))
    assert int(mac[:2], 16) & 0b11 == 0b10
    assert (mac == ipam.mac_for(str(second))) == (first == second)


def test_link_name_fits_the_kernel() -> None:
    assert ipam.link_name("0123456789abcdef") == "nbc-0123456789a"
    assert len(ipam.link_name("f" * 64)) == 15
