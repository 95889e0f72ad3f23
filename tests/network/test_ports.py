from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given, strategies as st

from notebook_containers.errors import Conflict, InvalidArgument, NetworkError
from notebook_containers.network import ports
from notebook_containers.network.ports import PortMapping


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", "127.0.0.1:0->80/tcp"),
        (":80", "127.0.0.1:0->80/tcp"),
        ("8080:80", "127.0.0.1:8080->80/tcp"),
        ("8080:80/udp", "127.0.0.1:8080->80/udp"),
        ("8080:80/TCP", "127.0.0.1:8080->80/tcp"),
        ("127.0.0.1:8080:80/udp", "127.0.0.1:8080->80/udp"),
        ("0.0.0.0:8080:80", "0.0.0.0:8080->80/tcp"),
        ("0.0.0.0::80", "0.0.0.0:0->80/tcp"),
        ("localhost:8080:80", "127.0.0.1:8080->80/tcp"),
        ("[::1]:8080:80", "[::1]:8080->80/tcp"),
        ("8000-8002:80-82", "127.0.0.1:8000->80/tcp 127.0.0.1:8001->81/tcp 127.0.0.1:8002->82/tcp"),
        ("8080:80/sctp", "127.0.0.1:8080->80/sctp"),
        ("8000-8010:80", "127.0.0.1:8000-8010->80/tcp"),
        ("80-81", "127.0.0.1:0->80/tcp 127.0.0.1:0->81/tcp"),
    ],
)
def test_published_ports_are_read_as_docker_writes_them(text: str, expected: str) -> None:
    assert " ".join(map(str, ports.parse(text))) == expected


_BAD = [
    *("", "a", "80:", "0", "99999", "8080:0", "1:2:3:4", "8080:80/dccp", "8080:80/", "8080-8081:80-82", "82-80", "1.2.3.4:80"),
    *("300.1.1.1:1:2", "[x]:1:2", "٨٠", "-1", "80 80", "[::1:8080:80", "::1:8080:80", "+80", "8_0", "80\n81"),
]


@pytest.mark.parametrize("text", _BAD)
def test_bad_port_is_one_clear_line(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ports.parse(text)
    assert repr(text) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


@given(st.text(max_size=30))
def test_any_text_is_a_mapping_or_an_invalid_argument(text: str) -> None:
    try:
        found = ports.parse(text)
    except InvalidArgument:
        return
    assert all(1 <= m.container_port <= 65535 and 0 <= m.host_port <= 65535 for m in found)


def test_mapping_has_a_json_form() -> None:
    mapping = ports.parse("8080:80/udp")[0]
    assert PortMapping.from_json(mapping.to_json()) == mapping


def test_port_zero_becomes_a_real_one_and_listens() -> None:
    sockets, mappings = ports.reserve(ports.parse("80") + ports.parse("53/udp"))
    try:
        assert [m.container_port for m in mappings] == [80, 53]
        assert all(m.host_port > 0 for m in mappings)
        with socket.create_connection(("127.0.0.1", mappings[0].host_port), timeout=2):
            pass
        assert mappings[1].host_port == sockets[1].getsockname()[1]
    finally:
        for bound in sockets:
            bound.close()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_taken_port_names_port_and_holder(protocol: str) -> None:
    sockets, mappings = ports.reserve(ports.parse(f"80/{protocol}"))
    port = mappings[0].host_port
    try:
        with pytest.raises(Conflict) as caught:
            ports.reserve(ports.parse("81") + mappings)
        assert f"port {port}/{protocol} on 127.0.0.1 is in use, held by " in caught.value.message
        assert f"(pid {os.getpid()})" in caught.value.message
    finally:
        sockets[0].close()
    again, _ = ports.reserve(mappings)  # the failed attempt left nothing bound
    again[0].close()


def test_a_range_is_all_or_nothing() -> None:
    taken, mappings = ports.reserve(ports.parse("80"))
    first = mappings[0].host_port
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Conflict):
        ports.reserve((PortMapping(container_port=79), *mappings))
    assert len(os.listdir("/proc/self/fd")) == before
    taken[0].close()
    assert ports.holder(first) == ""


def test_foreign_address_is_named() -> None:
    with pytest.raises(NetworkError, match=r"a free port/tcp on 192\.0\.2\.77.*not this host's"):
        ports.reserve(ports.parse("192.0.2.77:0:80"))
