"""The typed project alone: order, profiles, services asked for by name."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from notebook_containers.compose.model import Dependency, Port, Project, Service, in_order
from notebook_containers.errors import InvalidArgument


def service(name: str, *needs: str, profiles: tuple[str, ...] = ()) -> Service:
    return Service(name=name, image="x", profiles=profiles, depends_on={other: Dependency() for other in needs})


def names(services: tuple[Service, ...]) -> list[str]:
    return [one.name for one in services]


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({"a": "", "b": "", "c": ""}, "a b c"),
        ({"a": "b", "b": "c", "c": ""}, "c b a"),
        ({"a": "c d", "b": "c", "c": "d", "d": ""}, "d c a b"),
        ({"a": "nobody", "b": ""}, "a b"),
    ],
)
def test_dependencies_come_first(needs: Mapping[str, str], expected: str) -> None:
    assert names(in_order([service(name, *others.split()) for name, others in needs.items()])) == expected.split()


def test_a_long_chain_is_put_in_order() -> None:
    chain = [service(str(i), str(i + 1)) for i in range(5000)]
    assert names(in_order(chain))[0] == "4999"


def test_who_names_a_service_wants_it_and_what_is_in_its_profile() -> None:
    project = Project(
        name="p",
        services=(service("web"),),
        disabled=(service("db", profiles=("debug",)), service("tool", "db", profiles=("debug",)), service("off", profiles=("x",))),
    )
    found = project.with_services(["tool"])
    assert names(found.services) == ["web", "db", "tool"]
    assert (names(found.disabled), found.profiles) == (["off"], ("debug",))
    assert project.with_services(["web"]) == project
    with pytest.raises(InvalidArgument, match="no such service: nobody") as caught:
        project.with_services(["nobody"])
    assert "tool" in caught.value.hint


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (Port(target=80), "0:80/tcp"),
        (Port(target=80, published="8080"), "8080:80/tcp"),
        (Port(target=53, published="53", host_ip="::1", protocol="udp"), "[::1]:53:53/udp"),
    ],
)
def test_a_port_as_it_is_published(port: Port, expected: str) -> None:
    assert str(port) == expected
