"""What a caller may ask of a new container: docker-py's keywords in, one frozen value out.

:class:`CreateKeywords` are the public keywords; :func:`container_options` checks and normalises them into
:class:`ContainerOptions`, which is also what is kept on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from notebook_containers.engine import device_words, limit_words, log_words, mount_words, namespace_words, network_words, runtimes, words
from notebook_containers.engine.device_words import DeviceValue, DeviceWord
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.engine.log_words import LogOptions
from notebook_containers.engine.mount_words import VolumeMount
from notebook_containers.engine.network_words import Attachment
from notebook_containers.engine.words import DEFAULT_PIDS_LIMIT
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import dataclass, field
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import Document
from notebook_containers.oci.image import Healthcheck
from notebook_containers.oci.runtime import DeviceRule, Rlimit


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ContainerOptions(Document):
    """Checked options; empty text and 0 mean "as the image or the default says"."""

    name: str = ""
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    stdin_open: bool = False
    init: bool = False
    volumes: tuple[VolumeMount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    ports: tuple[PortMapping, ...] = ()
    publish_all: bool = False
    network: str = "bridge"
    attachments: tuple[Attachment, ...] = ()
    """Its places in networks, the first in ``network``; empty for the default network alone, and where it has none of its own."""
    expose: tuple[str, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    """Further names, and the address of each; several are separated by commas."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = DEFAULT_PIDS_LIMIT
    shm_bytes: int = 0
    ulimits: tuple[Rlimit, ...] = ()
    blkio_weight: int = 0
    blkio_weight_devices: tuple[DeviceValue, ...] = ()
    device_read_bps: tuple[DeviceValue, ...] = ()
    device_write_bps: tuple[DeviceValue, ...] = ()
    device_read_iops: tuple[DeviceValue, ...] = ()
    device_write_iops: tuple[DeviceValue, ...] = ()
    cgroup_parent: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = True
    seccomp: str = "default"
    masked_paths: bool = True
    sysctls: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[DeviceWord, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    gpus: str = ""
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    userns: str = ""
    cgroupns_mode: str = ""
    restart: str = "no"
    restart_max: int = 0
    stop_signal: str = ""
    stop_timeout_s: int = 10
    auto_remove: bool = False
    healthcheck: Healthcheck | None = None
    log: LogOptions = field(default_factory=LogOptions)
    pull: str = ""
    platform: str = ""
    runtime: str = ""  # the path of another OCI runtime


def container_options(command: str | Sequence[str] | None, given: CreateKeywords) -> ContainerOptions:
    """Check the keywords; raises InvalidArgument naming the keyword and the value."""
    unknown = set(given) - set(CreateKeywords.__annotations__)
    if unknown:
        raise InvalidArgument(f"unknown option {sorted(unknown)[0]!r}", hint="names are docker-py's, see help(engine.containers.run)")
    _refuse(given)
    no_new_privileges, seccomp, masked = words.security(given.get("security_opt"))
    network = network_words.mode(given)
    mounts, memory_mounts = mount_words.mounts(given.get("mounts"))
    volumes, memory = (*mount_words.volumes(given.get("volumes")), *mounts), mount_words.tmpfs(given.get("tmpfs"))
    mount_words.check_places(volumes, (*memory, *memory_mounts))
    restart, restart_max = words.restart(given.get("restart_policy"), auto_remove=given.get("auto_remove", False))
    options = ContainerOptions(
        name=words.container_name(given.get("name")),
        command=words.command_words(command),
        entrypoint=words.command_words(given.get("entrypoint")),
        environment=words.environment_list(given.get("environment")),
        working_dir=words.working_dir(given.get("working_dir")),
        user=words.user_words(given.get("user")),
        group_add=words.group_words(given.get("group_add")),
        hostname=words.host_name(given.get("hostname")),
        domainname=words.host_name(given.get("domainname")),
        tty=given.get("tty", False),
        stdin_open=given.get("stdin_open", False),
        init=bool(given.get("init")),
        volumes=volumes,
        volumes_from=mount_words.volumes_from(given.get("volumes_from")),
        tmpfs={**memory, **memory_mounts},
        read_only=given.get("read_only", False),
        ports=words.ports(given.get("ports")),
        publish_all=given.get("publish_all_ports", False),
        network=network,
        attachments=network_words.attachments(network, given.get("networking_config"), mac_address=given.get("mac_address")),
        expose=network_words.exposed(given.get("expose")),
        extra_hosts=words.host_lines(given.get("extra_hosts")),
        dns=words.addresses(given.get("dns")),
        dns_search=words.search_domains(given.get("dns_search")),
        dns_options=words.resolver_options(given.get("dns_opt")),
        labels=words.label_map(given.get("labels")),
        annotations=limit_words.annotation_map(given.get("annotations")),
        memory_bytes=words.memory(given.get("mem_limit")),
        memory_reservation_bytes=words.size(given.get("mem_reservation"), what="memory reservation"),
        memory_swap_bytes=words.size(given.get("memswap_limit"), what="swap limit", lowest=-1),
        memory_swappiness=limit_words.swappiness(given.get("mem_swappiness")),
        oom_kill_disable=bool(given.get("oom_kill_disable")),
        oom_score_adj=limit_words.oom_score(given.get("oom_score_adj")),
        nano_cpus=words.at_least("nano_cpus", given.get("nano_cpus")),
        cpu_shares=words.at_least("cpu_shares", given.get("cpu_shares")),
        cpu_period=words.at_least("cpu_period", given.get("cpu_period")),
        cpu_quota=words.at_least("cpu_quota", given.get("cpu_quota"), -1),
        cpu_rt_period=words.at_least("cpu_rt_period", given.get("cpu_rt_period")),
        cpu_rt_runtime=words.at_least("cpu_rt_runtime", given.get("cpu_rt_runtime")),
        cpuset_cpus=words.cpuset(given.get("cpuset_cpus")),
        cpuset_mems=words.cpuset(given.get("cpuset_mems"), what="memory nodes"),
        pids_limit=words.pids(given.get("pids_limit")),
        shm_bytes=words.size(given.get("shm_size"), what="shm size"),
        ulimits=limit_words.ulimits(given.get("ulimits")),
        blkio_weight=device_words.weight(given.get("blkio_weight")),
        blkio_weight_devices=device_words.values("--blkio-weight-device", given.get("blkio_weight_device")),
        device_read_bps=device_words.values("--device-read-bps", given.get("device_read_bps")),
        device_write_bps=device_words.values("--device-write-bps", given.get("device_write_bps")),
        device_read_iops=device_words.values("--device-read-iops", given.get("device_read_iops")),
        device_write_iops=device_words.values("--device-write-iops", given.get("device_write_iops")),
        cgroup_parent=limit_words.cgroup_parent(given.get("cgroup_parent")),
        cap_add=words.capabilities(given.get("cap_add")),
        cap_drop=words.capabilities(given.get("cap_drop")),
        privileged=given.get("privileged", False),
        no_new_privileges=no_new_privileges and not given.get("privileged", False),
        seccomp="unconfined" if given.get("privileged", False) else seccomp,
        masked_paths=masked and not given.get("privileged", False),
        sysctls=limit_words.sysctls(given.get("sysctls")),
        devices=device_words.devices(given.get("devices")),
        device_rules=device_words.rules(given.get("device_cgroup_rules")),
        gpus=device_words.gpus(given.get("device_requests")),
        pid_mode=namespace_words.mode("pid", given.get("pid_mode")),
        ipc_mode=namespace_words.mode("ipc", given.get("ipc_mode")),
        uts_mode=namespace_words.mode("uts", given.get("uts_mode")),
        userns=words.userns(given.get("userns_mode")),
        cgroupns_mode=namespace_words.mode("cgroupns", given.get("cgroupns")),
        restart=restart,
        restart_max=restart_max,
        stop_signal=words.stop_signal(given.get("stop_signal")),
        stop_timeout_s=10 if given.get("stop_timeout") is None else words.at_least("stop_timeout", given.get("stop_timeout"), -1),
        auto_remove=given.get("auto_remove", False),
        healthcheck=log_words.health(given.get("healthcheck")),
        log=log_words.log(given.get("log_config")),
        pull=words.pull_policy(given.get("pull")),
        platform=words.platform(given.get("platform")),
        runtime=runtimes.find(given.get("runtime")),
    )
    if options.nano_cpus and (options.cpu_period or options.cpu_quota):
        raise InvalidArgument("--cpus contradicts --cpu-period and --cpu-quota", hint="give one or the others")
    limit_words.check_cpu(options.cpu_period, options.cpu_quota)
    limit_words.check_memory(options.memory_bytes, options.memory_reservation_bytes, options.memory_swap_bytes)
    namespace_words.check(options)
    runtimes.check(options.runtime, init=options.init)
    limit_words.check_sysctls(options.sysctls, {"network": options.network, "ipc": options.ipc_mode, "uts": options.uts_mode})
    return options


def _refuse(given: CreateKeywords) -> None:
    if given.get("storage_opt"):
        raise Unsupported("--storage-opt is not supported", hint="limit what can be written with --tmpfs /path:size=64m")
    if given.get("volume_driver") not in (None, "", "local"):
        raise Unsupported(f"--volume-driver {given['volume_driver']} is not supported", hint="volumes are local directories")
