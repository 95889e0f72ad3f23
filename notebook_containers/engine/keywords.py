"""The public keywords of ``containers.create`` and ``containers.run``: names and meaning are docker-py's, a few are Docker's flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from notebook_containers.engine.mount_words import Volumes


class ProcessKeywords(TypedDict, total=False):
    """What runs, as whom, and what becomes of it."""

    name: str | None
    entrypoint: str | Sequence[str] | None
    environment: Mapping[str, str | None] | Sequence[str] | None
    working_dir: str | None
    user: str | int | None
    group_add: Sequence[str | int] | None
    tty: bool
    stdin_open: bool
    init: bool | None
    labels: Mapping[str, str] | Sequence[str] | None
    annotations: Mapping[str, str] | Sequence[str] | None
    restart_policy: Mapping[str, object] | None
    stop_signal: str | None
    stop_timeout: int | None
    auto_remove: bool
    healthcheck: Mapping[str, object] | None
    log_config: Mapping[str, object] | None
    pull: str | None
    platform: str | None
    runtime: str | None


class ResourceKeywords(TypedDict, total=False):
    """What it may use of the machine."""

    mem_limit: str | int | None
    mem_reservation: str | int | None
    memswap_limit: str | int | None
    mem_swappiness: int | None
    oom_kill_disable: bool | None
    oom_score_adj: int | None
    nano_cpus: int | None
    cpu_shares: int | None
    cpu_period: int | None
    cpu_quota: int | None
    cpu_rt_period: int | None
    cpu_rt_runtime: int | None
    cpuset_cpus: str | None
    cpuset_mems: str | None
    pids_limit: int | None
    shm_size: str | int | None
    ulimits: Sequence[str | Mapping[str, object]] | None
    blkio_weight: int | None
    blkio_weight_device: Sequence[str | Mapping[str, object]] | None
    device_read_bps: Sequence[str | Mapping[str, object]] | None
    device_write_bps: Sequence[str | Mapping[str, object]] | None
    device_read_iops: Sequence[str | Mapping[str, object]] | None
    device_write_iops: Sequence[str | Mapping[str, object]] | None
    cgroup_parent: str | None
    storage_opt: Mapping[str, str] | None


class IsolationKeywords(TypedDict, total=False):
    """What it sees of the machine, and what it may do."""

    cap_add: Sequence[str] | None
    cap_drop: Sequence[str] | None
    privileged: bool
    security_opt: Sequence[str] | None
    sysctls: Mapping[str, str] | Sequence[str] | None
    devices: Sequence[str] | None
    device_cgroup_rules: Sequence[str] | None
    device_requests: str | Sequence[Mapping[str, object]] | None
    pid_mode: str | None
    ipc_mode: str | None
    uts_mode: str | None
    userns_mode: str | None
    cgroupns: str | None


class StorageKeywords(TypedDict, total=False):
    """What is mounted into it."""

    volumes: Volumes | None
    mounts: Sequence[str | Mapping[str, object]] | None
    tmpfs: Mapping[str, str] | None
    volumes_from: Sequence[str] | None
    volume_driver: str | None
    read_only: bool


class EndpointKeywords(TypedDict, total=False):
    """What it is in one network: docker-py's ``create_endpoint_config``, and the rank of its gateway (the highest is the way out)."""

    aliases: Sequence[str] | None
    ipv4_address: str | None
    ipv6_address: str | None
    mac_address: str | None
    link_local_ips: Sequence[str] | None
    driver_opt: Mapping[str, str] | None
    gw_priority: int | None
    links: Mapping[str, str] | Sequence[str] | None


class NetworkKeywords(TypedDict, total=False):
    """Its names, its networks (``networking_config``: name to what it is there) and its ports."""

    hostname: str | None
    domainname: str | None
    network: str | None
    network_mode: str | None
    networking_config: Mapping[str, EndpointKeywords | None] | None
    mac_address: str | None
    ports: Mapping[str | int, object] | Sequence[str] | None
    publish_all_ports: bool
    extra_hosts: Mapping[str, str | Sequence[str]] | None
    dns: Sequence[str] | None
    dns_search: Sequence[str] | None
    dns_opt: Sequence[str] | None
    expose: Sequence[str | int] | None


class CreateKeywords(ProcessKeywords, ResourceKeywords, IsolationKeywords, StorageKeywords, NetworkKeywords, total=False):
    """Every keyword."""
