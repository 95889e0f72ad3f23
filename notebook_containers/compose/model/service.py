"""One service with every key of the Compose specification."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.compose.model.build import Build, Watch
from notebook_containers.compose.model.networks import Attachment, Port
from notebook_containers.compose.model.process import (
    CredentialSpec,
    Dependency,
    EnvironmentFile,
    Healthcheck,
    Hook,
    Link,
    Logging,
    ModelUse,
    Provider,
)
from notebook_containers.compose.model.resources import BlockIO, Deploy, DeviceMapping, DeviceRequest, Ulimit
from notebook_containers.compose.model.storage import Grant, ServiceMount
from notebook_containers.lean import dataclass, field

SERVICE_PREFIX = "service:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, its fields named as the keys of the file.

    Everything is resolved: ``extends``, ``env_file`` and ``label_file`` are worked in, short forms are long ones, host paths are absolute,
    sizes are bytes, times seconds, ``depends_on`` has what links, ``volumes_from`` and ``service:`` namespaces need, and what only
    ``deploy`` limits is limited here too. "", (), {} and None are "not said", and the image or the engine decides; a command or
    entrypoint of () says "none".

    ``environment`` has None for a variable that the file names and nobody sets: the container has it not.
    ``networks`` is empty for a ``network_mode`` and else has at least ``default``; its keys are those of :attr:`Project.networks`.
    ``volumes`` holds named volumes by their key in :attr:`Project.volumes`; ``tmpfs`` is as ``--tmpfs`` takes it. ``replicas`` is of
    ``scale`` or ``deploy.replicas``. ``restart`` is Docker's policy (``on-failure:3``), out of ``deploy.restart_policy`` where that is all
    there is. ``pull_policy`` is always, never, missing or build, or refresh, then ``pull_refresh_after`` is an image's greatest age.
    """

    name: str
    profiles: tuple[str, ...] = ()
    # what runs
    image: str = ""
    build: Build | None = None
    platform: str = ""
    pull_policy: str = ""
    pull_refresh_after: float | None = None
    provider: Provider | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    env_file: tuple[EnvironmentFile, ...] = ()
    working_dir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    tty: bool = False
    stdin_open: bool = False
    init: bool | None = None
    attach: bool = True
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    # its names
    container_name: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    label_file: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    # how it lives
    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    replicas: int = 1
    deploy: Deploy | None = None
    restart: str = ""
    stop_signal: str = ""
    stop_grace_period: float | None = None
    healthcheck: Healthcheck | None = None
    logging: Logging | None = None
    watch: tuple[Watch, ...] = ()
    # its networks
    networks: Mapping[str, Attachment] = field(default_factory=dict)
    network_mode: str = ""
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    external_links: tuple[Link, ...] = ()
    extra_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    mac_address: str = ""
    # its files
    volumes: tuple[ServiceMount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    read_only: bool = False
    secrets: tuple[Grant, ...] = ()
    configs: tuple[Grant, ...] = ()
    storage_opt: Mapping[str, str] = field(default_factory=dict)
    use_api_socket: bool = False
    # what it may use
    cpus: float | None = None
    cpu_count: int | None = None
    cpu_percent: float | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_shares: int | None = None
    cpuset: str = ""
    mem_limit: int | None = None
    mem_reservation: int | None = None
    mem_swappiness: int | None = None
    memswap_limit: int | None = None
    shm_size: int | None = None
    pids_limit: int | None = None
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None
    blkio_config: BlockIO | None = None
    ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    devices: tuple[DeviceMapping, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    gpus: tuple[DeviceRequest, ...] = ()
    cgroup_parent: str = ""
    # what it sees and may do
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    privileged: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    cgroup: str = ""
    ipc: str = ""
    pid: str = ""
    uts: str = ""
    userns_mode: str = ""
    runtime: str = ""
    isolation: str = ""
    credential_spec: CredentialSpec | None = None
    models: Mapping[str, ModelUse] = field(default_factory=dict)
