"""EXPOSE: ports and ranges with their protocols; the base's stay."""

from __future__ import annotations

import pytest

from .conftest import Builds


def test_ports_ranges_protocols_and_variables(builds: Builds) -> None:
    builds("FROM base\nEXPOSE 22\n", tag="parent")
    built = builds("FROM parent\nENV PORTS='7000-7001/udp 9'\nEXPOSE 80 443/udp 8000-8001\nEXPOSE $PORTS\n")
    wanted = ["22/tcp", "80/tcp", "443/udp", "8000/tcp", "8001/tcp", "7000/udp", "7001/udp", "9/tcp"]
    assert sorted(built.config["ExposedPorts"]) == sorted(wanted)  # type: ignore[call-overload]
    assert built.layers == []


@pytest.mark.parametrize("port", ["0", "99999", "8001-8000", "80/icmp", "http", "80:web"])
def test_what_is_no_port(builds: Builds, port: str) -> None:
    refused = builds.refused(f"FROM base\nEXPOSE {port}\n")
    assert (refused.message, refused.line) == (f"{port!r} is no port", 2)


def test_a_mapping_is_a_matter_of_run(builds: Builds) -> None:
    built = builds("FROM base\nEXPOSE 8080:80 53/UDP\n")
    assert sorted(built.config["ExposedPorts"]) == ["53/udp", "80/tcp"]  # type: ignore[call-overload]
    assert [rule for _line, rule, _words in built.warnings] == ["ExposeInvalidFormat", "ExposeProtoCasing"]
