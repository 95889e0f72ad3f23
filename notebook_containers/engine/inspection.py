"""Containers and images in the shape of ``docker inspect`` (Engine API), and a container's processes as ``docker top`` shows them."""

from __future__ import annotations

from collections.abc import Sequence

from notebook_containers.engine import health
from notebook_containers.engine.documents import ContainerDocument, Endpoint
from notebook_containers.engine.log_words import LogOptions, effective_health
from notebook_containers.engine.network_words import Attachment
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.posture import MASKED_PATHS, READONLY_PATHS
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import MANIFEST
from notebook_containers.oci.runtime import DeviceRule, Rlimit
from notebook_containers.runtime.state import ContainerState
from notebook_containers.store.images import ImageRecord


def container(parts: Parts, document: ContainerDocument, name: str, state: ContainerState) -> dict[str, JSON]:
    """Return one container in the Engine API's shape."""
    return {
        "Id": document.id,
        "Created": rfc3339(document.created),
        "Path": document.args[0],
        "Args": list(document.args[1:]),
        "State": _state(state),
        "Image": document.image_id,
        "Name": f"/{name}",
        "RestartCount": state.restart_count,
        "LogPath": str(parts.bundle_path(document.id) / "container.log"),
        "ResolvConfPath": str(parts.bundle_path(document.id) / "resolv.conf"),
        "HostnamePath": str(parts.bundle_path(document.id) / "hostname"),
        "HostsPath": str(parts.bundle_path(document.id) / "hosts"),
        "HostConfig": _host_config(document),
        "Mounts": [
            {
                "Type": p.kind,
                **({"Name": p.volume, "Driver": "local"} if p.volume else {"Name": ""}),
                "Source": p.source,
                "Destination": p.target,
                "Mode": "ro" if p.read_only else "",
                "RW": not p.read_only,
                "Propagation": (p.propagation or "rprivate") if p.kind == "bind" else "",
            }
            for p in document.mounts
        ],
        "Config": _config(document),
        "NetworkSettings": _network(document, name, running=state.status in ("running", "paused")),
        "Warnings": list(dict.fromkeys((*document.warnings, *state.warnings))),
    }


def _state(state: ContainerState) -> dict[str, JSON]:
    word = "exited" if state.status == "stopped" else state.status
    return {
        "Status": word,
        "Running": word in ("running", "paused"),
        "Paused": word == "paused",
        "Restarting": word == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": False,
        "Pid": state.pid if word in ("running", "paused") else 0,
        "ExitCode": state.exit_code or 0,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_at),
        "FinishedAt": rfc3339(state.finished_at),
        **health.inspected(state),
    }


def _host_config(document: ContainerDocument) -> dict[str, JSON]:
    options = document.options
    return {
        "NetworkMode": options.network,
        "PortBindings": port_map(options.ports),
        "RestartPolicy": {"Name": options.restart, "MaximumRetryCount": options.restart_max},
        "AutoRemove": options.auto_remove,
        "Runtime": options.runtime or "nbc",
        "Memory": options.memory_bytes,
        "MemoryReservation": options.memory_reservation_bytes,
        "MemorySwap": options.memory_swap_bytes,
        "MemorySwappiness": options.memory_swappiness,
        "OomKillDisable": options.oom_kill_disable,
        "OomScoreAdj": options.oom_score_adj or 0,
        "NanoCpus": options.nano_cpus,
        "CpuShares": options.cpu_shares,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpuRealtimePeriod": options.cpu_rt_period,
        "CpuRealtimeRuntime": options.cpu_rt_runtime,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "BlkioWeight": options.blkio_weight,
        "BlkioWeightDevice": [{"Path": d.path, "Weight": d.value} for d in options.blkio_weight_devices],
        "BlkioDeviceReadBps": [{"Path": d.path, "Rate": d.value} for d in options.device_read_bps],
        "BlkioDeviceWriteBps": [{"Path": d.path, "Rate": d.value} for d in options.device_write_bps],
        "BlkioDeviceReadIOps": [{"Path": d.path, "Rate": d.value} for d in options.device_read_iops],
        "BlkioDeviceWriteIOps": [{"Path": d.path, "Rate": d.value} for d in options.device_write_iops],
        "CgroupParent": options.cgroup_parent,
        "Ulimits": [_ulimit(limit) for limit in options.ulimits],
        "PidsLimit": options.pids_limit,
        "ShmSize": options.shm_bytes,
        "CapAdd": list(options.cap_add),
        "CapDrop": list(options.cap_drop),
        "Privileged": options.privileged,
        "ReadonlyRootfs": options.read_only,
        "Init": options.init,
        "GroupAdd": list(options.group_add),
        "Sysctls": dict(options.sysctls),
        "Devices": [{"PathOnHost": d.source, "PathInContainer": d.target, "CgroupPermissions": d.access} for d in options.devices],
        "DeviceCgroupRules": [_rule(r) for r in options.device_rules],
        "DeviceRequests": _gpus(options.gpus),
        "PidMode": options.pid_mode,
        "IpcMode": options.ipc_mode or "private",
        "UTSMode": options.uts_mode,
        "UsernsMode": options.userns,
        "CgroupnsMode": options.cgroupns_mode or "private",
        "VolumesFrom": list(options.volumes_from),
        "LogConfig": _log(options.log),
        "Annotations": dict(options.annotations),
        "MaskedPaths": list(MASKED_PATHS) if options.masked_paths else [],
        "ReadonlyPaths": list(READONLY_PATHS) if options.masked_paths else [],
        "SecurityOpt": [f"no-new-privileges={str(options.no_new_privileges).lower()}", f"seccomp={options.seccomp}"],
        "ExtraHosts": [f"{name}:{address}" for name, joined in options.extra_hosts.items() for address in joined.split(",")],
        "Dns": list(options.dns),
        "DnsSearch": list(options.dns_search),
        "DnsOptions": list(options.dns_options),
        "Tmpfs": dict(options.tmpfs),
    }


def _config(document: ContainerDocument) -> dict[str, JSON]:
    options, config = document.options, document.config
    health = effective_health(options.healthcheck, config.healthcheck)
    return {
        "Hostname": document.hostname,
        "Domainname": options.domainname,
        "User": options.user or config.user,
        "Tty": options.tty,
        "OpenStdin": options.stdin_open,
        "Env": [*config.env, *options.environment],
        "Cmd": list(options.command or config.cmd or ()),
        "Entrypoint": list(options.entrypoint if options.entrypoint is not None else config.entrypoint or ()),
        "Image": document.image,
        "WorkingDir": options.working_dir or config.working_dir or "/",
        "Labels": dict(document.labels),
        "StopSignal": options.stop_signal or config.stop_signal or "SIGTERM",
        "StopTimeout": options.stop_timeout_s,
        "ExposedPorts": {name: {} for name in (*config.exposed_ports, *options.expose)},
        "Volumes": {name: {} for name in config.volumes},
        "Healthcheck": health.to_json() if health else None,
    }


def _ulimit(limit: Rlimit) -> dict[str, JSON]:
    return {"Name": limit.type.removeprefix("RLIMIT_").lower(), "Soft": _signed(limit.soft), "Hard": _signed(limit.hard)}


def _gpus(wanted: str) -> list[JSON]:
    ids: list[JSON] = [] if wanted == "all" else list(wanted.split(","))
    return [{"Driver": "nvidia", "DeviceIDs": ids}] if wanted else []


def _log(log: LogOptions) -> dict[str, JSON]:
    config: dict[str, JSON] = {"max-size": str(log.max_bytes), "max-file": str(log.max_files)}
    return {"Type": log.driver, "Config": config if log.driver != "none" else {}}


def _signed(value: int) -> int:
    return -1 if value >= 2**63 else value


def _rule(rule: DeviceRule) -> str:
    numbers = ":".join("*" if number < 0 else str(number) for number in (rule.major, rule.minor))
    return f"{rule.type} {numbers} {rule.access}"


def _network(document: ContainerDocument, name: str, *, running: bool) -> dict[str, JSON]:
    here = {place.network: place for place in document.endpoints} if running else {}
    first = document.endpoint if running else None
    networks: dict[str, JSON] = {}
    for wanted in document.wanted():
        networks[wanted.network] = _endpoint(document, name, wanted, here.get(wanted.network) or Endpoint(network=wanted.network))
    return {
        "Ports": port_map(document.ports) if running else {},
        "IPAddress": first.address if first else "",
        "IPPrefixLen": first.prefix if first else 0,
        "Gateway": first.gateway if first else "",
        "MacAddress": first.mac if first else "",
        "GlobalIPv6Address": first.address6 if first else "",
        "GlobalIPv6PrefixLen": first.prefix6 if first else 0,
        "IPv6Gateway": first.gateway6 if first else "",
        "Networks": networks,
    }


def _endpoint(document: ContainerDocument, name: str, wanted: Attachment, place: Endpoint) -> dict[str, JSON]:
    """Return a container's place in a network; of one that does not run only what was asked for."""
    asked: dict[str, JSON] = {"IPv4Address": wanted.address, "IPv6Address": wanted.address6, "LinkLocalIPs": list(wanted.link_local)}
    return {
        "IPAMConfig": {key: value for key, value in asked.items() if value} or None,
        "Links": [f"{target}:{link}" for link, target in wanted.links.items()] or None,
        "Aliases": list(wanted.aliases) or None,
        "DriverOpts": dict(wanted.driver_options) or None,
        "GwPriority": wanted.gw_priority,
        "NetworkID": place.network_id,
        "EndpointID": place.id_for(document.id) if place.network_id else "",
        "Gateway": place.gateway,
        "IPAddress": place.address,
        "IPPrefixLen": place.prefix,
        "IPv6Gateway": place.gateway6,
        "GlobalIPv6Address": place.address6,
        "GlobalIPv6PrefixLen": place.prefix6,
        "MacAddress": place.mac or wanted.mac,
        "DNSNames": list(document.names_in(place, name)) or None,
    }


def port_map(ports: Sequence[PortMapping]) -> dict[str, JSON]:
    """Return ports as ``{"80/tcp": [{"HostIp": …, "HostPort": "8080"}]}``."""
    result: dict[str, list[JSON]] = {}
    for port in ports:
        key = f"{port.container_port}/{port.protocol}"
        result.setdefault(key, []).append({"HostIp": port.host_ip, "HostPort": str(port.host_port) if port.host_port else ""})
    return dict(result)


def image(record: ImageRecord) -> dict[str, JSON]:
    """Return one image in the Engine API's shape."""
    config = record.config
    return {
        "Id": record.id,
        "RepoTags": list(record.tags),
        "RepoDigests": list(record.digests),
        "Created": config.created or rfc3339(record.created),
        "Author": config.author,
        "Comment": config.history[-1].comment if config.history else "",
        "Architecture": config.architecture,
        **({"Variant": config.variant} if config.variant else {}),
        "Os": config.os,
        "Size": record.size,
        "Config": config.config.to_json(),
        "RootFS": {"Type": "layers", "Layers": list(config.rootfs.diff_ids)},
        "Descriptor": {"mediaType": record.manifest.media_type or MANIFEST, "digest": record.manifest_digest},
    }
