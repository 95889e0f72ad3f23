from __future__ import annotations

import pytest

from notebook_containers.errors import InvalidArgument
from notebook_containers.network.names import FALLBACK_SERVERS, hosts_file, resolv_conf


def test_servers_search_and_options_are_kept() -> None:
    text = "# c\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch old\nsearch example.org lab\noptions ndots:2 edns0\n"
    assert resolv_conf(text) == "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch example.org lab\noptions ndots:2 edns0\n"


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.53", "::1", "0.0.0.0", "fe80::1%eth0", "nonsense"])
def test_a_server_that_only_the_host_reaches_is_left_out_and_said(server: str) -> None:
    text = resolv_conf(f"nameserver {server}\n")
    assert server not in text.split()
    assert text.startswith("# the host names no server that a container can reach")
    assert [line.split()[1] for line in text.splitlines()[1:]] == list(FALLBACK_SERVERS)


def test_the_servers_behind_a_loopback_resolver_are_found() -> None:
    text = resolv_conf("nameserver 127.0.0.53\n", upstream_text="nameserver 192.0.2.9\n")
    assert text == "# the host's resolver listens on loopback only; these are the servers it asks\nnameserver 192.0.2.9\n"


def test_three_servers_at_most() -> None:
    assert resolv_conf("".join(f"nameserver 192.0.2.{n}\n" for n in range(1, 6))).count("nameserver") == 3


def test_own_servers_and_search_win() -> None:
    text = resolv_conf("nameserver 192.0.2.1\nsearch a\n", servers=["192.0.2.5"], search=["b"])
    assert text == "nameserver 192.0.2.5\nsearch b\n"
    with pytest.raises(InvalidArgument):
        resolv_conf("", servers=["192.0.2.5\nnameserver 6.6.6.6"])


def test_search_words_from_the_host_are_checked() -> None:
    assert "search good.example\n" in resolv_conf("nameserver 192.0.2.1\nsearch good.example bad;name\n")


def test_hosts_file() -> None:
    text = hosts_file("web", ["10.133.0.2", "fd00::2"], [("host.docker.internal", "10.133.0.1"), ("host.docker.internal", "fd00::1")])
    assert text.splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.133.0.2\tweb",
        "fd00::2\tweb",
        "10.133.0.1\thost.docker.internal",
        "fd00::1\thost.docker.internal",
    ]
    assert "127.0.1.1\tweb" in hosts_file("web", (), [])


@pytest.mark.parametrize(
    ("name", "address"),
    [
        *(("a b", "10.0.0.1"), ("a\nb", "10.0.0.1"), ("-a", "10.0.0.1"), ("", "10.0.0.1"), ("localhost", "10.0.0.1")),
        *(("LocalHost", "10.0.0.1"), ("a", "10.0.0.1\n6.6.6.6 bank"), ("a", "x")),
    ],
)
def test_net11_no_line_can_be_smuggled_into_hosts(name: str, address: str) -> None:
    with pytest.raises(InvalidArgument):
        hosts_file("web", (), [(name, address)])
