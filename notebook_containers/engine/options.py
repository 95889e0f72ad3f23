"""What a caller may ask of a new container: docker-py's keywords in, one frozen value out.

:class:`CreateKeywords` are the public keywords; :func:`container_options` checks and normalises them into
:class:`ContainerOptions`, which is also what is kept on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from notebook_containers.engine import words
from notebook_containers.engine.words import DEFAULT_PIDS_LIMIT, VolumeMount
from notebook_containers.errors import InvalidArgument
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import Document


class CreateKeywords(TypedDict, total=False):
    """Keywords of ``containers.create`` and ``containers.run``; names and meaning are docker-py's."""

    name: str | None
    entrypoint: str | Sequence[str] | None
    environment: Mapping[str, str | None] | Sequence[str] | None
    working_dir: str | None
    user: str | int | None
    hostname: str | None
    tty: bool
    stdin_open: bool
    volumes: Mapping[str, Mapping[str, str]] | Sequence[str] | None
    tmpfs: Mapping[str, str] | None
    read_only: bool
    ports: Mapping[str | int, object] | Sequence[str] | None
    publish_all_ports: bool
    network: str | None
    network_mode: str | None
    extra_hosts: Mapping[str, str] | None
    dns: Sequence[str] | None
    labels: Mapping[str, str] | Sequence[str] | None
    mem_limit: str | int | None
    mem_reservation: str | int | None
    memswap_limit: str | int | None
    nano_cpus: int | None
    cpu_shares: int | None
    cpu_period: int | None
    cpu_quota: int | None
    cpuset_cpus: str | None
    pids_limit: int | None
    shm_size: str | int | None
    cap_add: Sequence[str] | None
    cap_drop: Sequence[str] | None
    privileged: bool
    userns_mode: str | None
    security_opt: Sequence[str] | None
    restart_policy: Mapping[str, object] | None
    stop_signal: str | None
    stop_timeout: int | None
    auto_remove: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions(Document):
    """Checked options; empty text and 0 mean "as the image or the default says"."""

    name: str = ""
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    tty: bool = False
    stdin_open: bool = False
    volumes: tuple[VolumeMount, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    ports: tuple[PortMapping, ...] = ()
    publish_all: bool = False
    network: str = "bridge"
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swap_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    pids_limit: int = DEFAULT_PIDS_LIMIT
    shm_bytes: int = 0
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = True
    seccomp: str = "default"
    userns: str = ""
    restart: str = "no"
    restart_max: int = 0
    stop_signal: str = ""
    stop_timeout_s: int = 10
    auto_remove: bool = False


def container_options(command: str | Sequence[str] | None, given: CreateKeywords) -> ContainerOptions:
    """Check the keywords; raises InvalidArgument naming the keyword and the value."""
    unknown = set(given) - set(CreateKeywords.__annotations__)
    if unknown:
        raise InvalidArgument(f"unknown option {sorted(unknown)[0]!r}", hint="names are docker-py's, see help(engine.containers.run)")
    no_new_privileges, seccomp = words.security(given.get("security_opt"))
    restart, restart_max = words.restart(given.get("restart_policy"), auto_remove=given.get("auto_remove", False))
    return ContainerOptions(
        name=words.container_name(given.get("name")),
        command=words.command_words(command),
        entrypoint=words.command_words(given.get("entrypoint")),
        environment=words.environment_list(given.get("environment")),
        working_dir=words.working_dir(given.get("working_dir")),
        user=words.user_words(given.get("user")),
        hostname=words.host_name(given.get("hostname")),
        tty=given.get("tty", False),
        stdin_open=given.get("stdin_open", False),
        volumes=words.volumes(given.get("volumes")),
        tmpfs=words.tmpfs(given.get("tmpfs")),
        read_only=given.get("read_only", False),
        ports=words.ports(given.get("ports")),
        publish_all=given.get("publish_all_ports", False),
        network=given.get("network") or given.get("network_mode") or "bridge",
        extra_hosts=words.host_lines(given.get("extra_hosts")),
        dns=words.addresses(given.get("dns")),
        labels=words.label_map(given.get("labels")),
        memory_bytes=words.memory(given.get("mem_limit")),
        memory_reservation_bytes=words.size(given.get("mem_reservation"), what="memory reservation"),
        memory_swap_bytes=words.size(given.get("memswap_limit"), what="swap limit", lowest=-1),
        nano_cpus=words.at_least("nano_cpus", given.get("nano_cpus")),
        cpu_shares=words.at_least("cpu_shares", given.get("cpu_shares")),
        cpu_period=words.at_least("cpu_period", given.get("cpu_period")),
        cpu_quota=words.at_least("cpu_quota", given.get("cpu_quota"), -1),
        cpuset_cpus=words.cpuset(given.get("cpuset_cpus")),
        pids_limit=words.pids(given.get("pids_limit")),
        shm_bytes=words.size(given.get("shm_size"), what="shm size"),
        cap_add=words.capabilities(given.get("cap_add")),
        cap_drop=words.capabilities(given.get("cap_drop")),
        privileged=given.get("privileged", False),
        no_new_privileges=no_new_privileges and not given.get("privileged", False),
        seccomp="unconfined" if given.get("privileged", False) else seccomp,
        userns=words.userns(given.get("userns_mode")),
        restart=restart,
        restart_max=restart_max,
        stop_signal=words.stop_signal(given.get("stop_signal")),
        stop_timeout_s=10 if given.get("stop_timeout") is None else words.at_least("stop_timeout", given.get("stop_timeout")),
        auto_remove=given.get("auto_remove", False),
    )
