"""From data to the typed project: what keys mean, near names of unknown ones, order and cycles, and what is not honoured."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.compose.loading import Request, load
from notebook_containers.compose.model import Link, Port, Project, Service, ServiceMount
from notebook_containers.errors import ComposeError

HERE = Path("/project/demo")


def project(text: str) -> Project:
    return load(Request(cwd=HERE, text=text, environment={"GIVEN": "v"}, everything=True)).project


def service(body: str) -> Service:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (found,) = project(f"services:\n  web:\n    image: x\n{lines}\nvolumes: {{data: }}\n").services
    return found


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ("command: echo 'a b'", "command", ("echo", "a b")),
        ("command: [echo, a b]", "command", ("echo", "a b")),
        ("entrypoint: /x", "entrypoint", ("/x",)),
        ("environment: {A: 1, B: true, C: , GIVEN: , E: ''}", "environment", {"A": "1", "B": "true", "C": None, "GIVEN": "v", "E": ""}),
        ("environment: [A=1, B=2=3, C, GIVEN]", "environment", {"A": "1", "B": "2=3", "C": None, "GIVEN": "v"}),
        ('ports: ["8080:80", 81]', "ports", (Port(target=80, published="8080"), Port(target=81))),
        (
            "ports: [{target: 80, published: 8080, protocol: udp, host_ip: 0.0.0.0}]",
            "ports",
            (Port(target=80, published="8080", protocol="udp", host_ip="0.0.0.0"),),
        ),
        ("ports: [{target: 80}]", "ports", (Port(target=80),)),
        (
            "volumes: [./d:/d:ro, data:/e, /f]",
            "volumes",
            (
                ServiceMount(type="bind", source="/project/demo/d", target="/d", read_only=True),
                ServiceMount(type="volume", source="data", target="/e"),
                ServiceMount(type="volume", target="/f"),
            ),
        ),
        ("tmpfs: /t", "tmpfs", ("/t",)),
        ("tmpfs: [/t, /u]", "tmpfs", ("/t", "/u")),
        ("extra_hosts: [a:10.0.0.1, b=10.0.0.2]", "extra_hosts", {"a": ("10.0.0.1",), "b": ("10.0.0.2",)}),
        ("extra_hosts: {a: 10.0.0.1}", "extra_hosts", {"a": ("10.0.0.1",)}),
        ("labels: {a: b}", "labels", {"a": "b"}),
        ("container_name: one", "container_name", "one"),
        ("cap_add: [NET_RAW]", "cap_add", ("NET_RAW",)),
        ("tty: true", "tty", True),
        ("mem_limit: 64m", "mem_limit", 64 << 20),
    ],
)
def test_a_key_is_understood(body: str, field: str, expected: object) -> None:
    assert getattr(service(body), field) == expected


def test_build_sections() -> None:
    text = "services:\n  a: {build: ./a}\n  b: {build: {context: b, dockerfile: D, target: t, args: {X: 1}}}\n"
    a, b = project(text).services
    assert a.build is not None
    assert a.build.context == "/project/demo/a"
    assert b.build is not None
    assert (b.build.context, b.build.dockerfile, b.build.target, b.build.args) == ("/project/demo/b", "D", "t", {"X": "1"})


@pytest.mark.parametrize(
    ("body", "line", "says", "hint"),
    [
        ("imagee: x", 4, "services.web.imagee", "'image'"),
        ("port: [80]", 4, "services.web.port", "'ports'"),
        ("comand: x", 4, "services.web.comand", "'command'"),
        ("ports: 80", 4, "services.web.ports", ""),
        ("ports: [{published: 80}]", 4, "ports[0]", ""),
        ("environment: 5", 4, "services.web.environment", ""),
        ("volumes: x", 4, "services.web.volumes", ""),
        ("volumes: [[x]]", 4, "services.web.volumes", ""),
        ('command: "echo \'open"', 4, "services.web.command", ""),
        ("build: 5", 4, "services.web.build", ""),
        ("depends_on: [nobody]", 4, "nobody", ""),
        ("pids_limit: many", 4, "services.web.pids_limit", ""),
        ("cpus: half", 4, "services.web.cpus", ""),
        ("mem_limit: 64x", 4, "services.web.mem_limit", ""),
        ("tty: perhaps", 4, "services.web.tty", ""),
        ("restart: sometimes", 4, "services.web.restart", ""),
        ("restart: on-failure:x", 4, "services.web.restart", ""),
        ("stop_grace_period: soon", 4, "services.web.stop_grace_period", "1m30s"),
        ("cap_add: [FLY]", 4, "services.web.cap_add[0]", ""),
        ("hostname: [a]", 4, "services.web.hostname", ""),
        ('ports: ["x:y"]', 4, "services.web.ports[0]", ""),
        ("volumes: [a:b]", 4, "services.web.volumes[0]", ""),
        ("image: Bad Name", 0, "services.web.image", ""),
    ],
)
def test_a_wrong_key_or_value_is_told_at_its_place(body: str, line: int, says: str, hint: str) -> None:
    text = f"services:\n  web:\n    image: x\n    {body}\n" if line else f"services:\n  web:\n    {body}\n"
    with pytest.raises(ComposeError) as caught:
        project(text)
    assert says in caught.value.message
    assert caught.value.line == (line or 3)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("service: {}\n", "service"),
        ("services: {}\n", "services"),
        ("services: []\n", "services"),
        ("services: {web: x}\n", "services.web"),
        ("services: {web: {}}\n", "neither image nor build"),
        ("volumes: {a: }\n", "services"),
        ("services: {web: {image: x}}\nvolumes: [a]\n", "volumes"),
    ],
)
def test_a_wrong_file_is_told(text: str, says: str) -> None:
    with pytest.raises(ComposeError, match=says):
        project(text)


def test_dependencies_come_first_and_a_cycle_is_named() -> None:
    text = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: {c: {condition: service_started}}}\n  c: {image: x}\n"
    assert [s.name for s in project(text).services] == ["c", "b", "a"]
    with pytest.raises(ComposeError, match="a -> b -> a"):
        project("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, links: [a]}\n")
    with pytest.raises(ComposeError, match="a -> a"):
        project("services:\n  a: {image: x, depends_on: [a]}\n")


def test_names_of_the_project() -> None:
    assert project("name: mine\nservices: {a: {image: x}}\n").name == "mine"
    assert project("services: {a: {image: x}}\n").name == "demo"


def test_links_are_dependencies_with_another_name() -> None:
    web = project("services:\n  web: {image: x, links: [db:database, cache]}\n  db: {image: x}\n  cache: {image: x}\n").services[-1]
    assert set(web.depends_on) == {"db", "cache"}
    assert web.links == (Link(target="db", alias="database"), Link(target="cache", alias="cache"))
