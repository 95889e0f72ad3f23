"""One service and a number become the keywords of one container."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from notebook_containers import __version__
from notebook_containers.compose import grants, labels, places
from notebook_containers.compose.model import SERVICE_PREFIX, DeviceRate, Service, ServiceMount
from notebook_containers.compose.site import Site
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import InvalidArgument

_NANO = 1e9


def keywords(site: Site, service: Service, number: int, config_hash: str, image_id: str, *, one_off: bool = False) -> CreateKeywords:
    """Return what container ``number`` of a service is made with; one that is ``one_off`` does not answer to the service's names."""
    return {
        **_process(site, service, number),
        **_resources(service),
        **_isolation(site, service),
        **_storage(site, service),
        **places.keywords(site, service, number, one_off=one_off),
        "labels": own_labels(site, service, number, config_hash, image_id),
    }


def own_labels(site: Site, service: Service, number: int, config_hash: str, image_id: str, *, one_off: bool = False) -> dict[str, str]:
    """Return a container's labels: the service's, and those by which the project knows it."""
    depends = (f"{name}:{on.condition}:{str(on.restart).lower()}" for name, on in service.depends_on.items())
    return {
        **service.labels,
        labels.PROJECT: site.name,
        labels.SERVICE: service.name,
        labels.NUMBER: str(number),
        labels.ONE_OFF: str(one_off),
        labels.CONFIG_HASH: config_hash,
        labels.IMAGE: image_id,
        labels.DEPENDS_ON: ",".join(depends),
        labels.WORKING_DIR: site.project.directory,
        labels.CONFIG_FILES: ",".join(site.project.files),
        labels.VERSION: __version__,
    }


def _process(site: Site, service: Service, number: int) -> CreateKeywords:
    return {
        "name": site.container_name(service, number),
        "entrypoint": service.entrypoint,
        "environment": {name: value for name, value in service.environment.items() if value is not None},
        "working_dir": service.working_dir or None,
        "user": service.user or None,
        "group_add": service.group_add,
        "tty": service.tty,
        "stdin_open": service.stdin_open,
        "init": service.init,
        "annotations": service.annotations,
        "restart_policy": _restart(service.restart),
        "stop_signal": service.stop_signal or None,
        "stop_timeout": None if service.stop_grace_period is None else math.ceil(service.stop_grace_period),
        "healthcheck": _health(service),
        "log_config": {"Type": service.logging.driver, "Config": service.logging.options} if service.logging else None,
        "platform": service.platform or None,
        "runtime": service.runtime or None,
        "pull": "never",  # images are there before containers are made
    }


def _restart(word: str) -> dict[str, object]:
    """Return docker-py's restart policy of ``on-failure:3``."""
    name, _, count = word.partition(":")
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def _health(service: Service) -> dict[str, object] | None:
    check = service.healthcheck
    if check is None:
        return None
    if check.disable or check.test[:1] == ("NONE",):
        return {"test": ["NONE"]}
    names = ("interval", "timeout", "start_period", "start_interval")
    times = {name: round(seconds * _NANO) for name in names if (seconds := getattr(check, name)) is not None}
    return {"test": list(check.test) or None, "retries": check.retries or 0, **times}


def _resources(service: Service) -> CreateKeywords:
    most = service.deploy.limits if service.deploy else None
    least = service.deploy.reservations if service.deploy else None
    cpus = service.cpus if service.cpus is not None else most.cpus if most else None
    if cpus is None and service.cpu_count:
        cpus = float(service.cpu_count)
    if cpus is None and service.cpu_percent:
        cpus = service.cpu_percent / 100 * (os.cpu_count() or 1)
    requests = (*service.gpus, *(least.devices if least else ()))
    block = service.blkio_config
    return {
        "nano_cpus": None if cpus is None else round(cpus * _NANO),
        "cpu_shares": service.cpu_shares,
        "cpu_period": service.cpu_period,
        "cpu_quota": service.cpu_quota,
        "cpu_rt_period": service.cpu_rt_period,
        "cpu_rt_runtime": service.cpu_rt_runtime,
        "cpuset_cpus": service.cpuset or None,
        "mem_limit": service.mem_limit if service.mem_limit is not None else most.memory if most else None,
        "mem_reservation": service.mem_reservation if service.mem_reservation is not None else least.memory if least else None,
        "memswap_limit": service.memswap_limit,
        "mem_swappiness": service.mem_swappiness,
        "oom_kill_disable": service.oom_kill_disable or None,
        "oom_score_adj": service.oom_score_adj,
        "pids_limit": service.pids_limit if service.pids_limit is not None else most.pids if most else None,
        "shm_size": service.shm_size,
        "ulimits": [{"Name": name, "Soft": limit.soft, "Hard": limit.hard} for name, limit in service.ulimits.items()],
        "blkio_weight": block.weight or None if block else None,
        "blkio_weight_device": [{"Path": one.path, "Weight": one.rate} for one in block.weight_device] if block else None,
        "device_read_bps": _rates(block.device_read_bps) if block else None,
        "device_write_bps": _rates(block.device_write_bps) if block else None,
        "device_read_iops": _rates(block.device_read_iops) if block else None,
        "device_write_iops": _rates(block.device_write_iops) if block else None,
        "cgroup_parent": service.cgroup_parent or None,
        "storage_opt": service.storage_opt or None,
        "device_requests": [
            {
                "Driver": one.driver, "Count": one.count or 0, "DeviceIDs": list(one.device_ids),
                "Capabilities": [list(one.capabilities)], "Options": dict(one.options),
            }
            for one in requests
        ] or None,
    }  # fmt: skip


def _rates(rates: Sequence[DeviceRate]) -> list[str | Mapping[str, object]]:
    return [{"Path": one.path, "Rate": one.rate} for one in rates]


def _isolation(site: Site, service: Service) -> CreateKeywords:
    return {
        "cap_add": service.cap_add,
        "cap_drop": service.cap_drop,
        "privileged": service.privileged,
        "security_opt": service.security_opt,
        "sysctls": service.sysctls,
        "devices": [_device(one.source, one.target, one.permissions) for one in service.devices],
        "device_cgroup_rules": service.device_cgroup_rules,
        "pid_mode": namespace(site, service.pid),
        "ipc_mode": namespace(site, service.ipc),
        "uts_mode": namespace(site, service.uts),
        "userns_mode": service.userns_mode or None,
        "cgroupns": service.cgroup or None,
    }


def _device(source: str, target: str, permissions: str) -> str:
    return ":".join([source, *filter(None, (target, permissions))])


def namespace(site: Site, word: str) -> str | None:
    """Return ``service:NAME`` as the service's first container, every other word as it is."""
    if not word.startswith(SERVICE_PREFIX):
        return word or None
    other = word.removeprefix(SERVICE_PREFIX)
    found = site.of(other)
    if not found:
        raise InvalidArgument(f"{word} names a service that has no container", hint=f"start it first: nbc compose up {other}")
    return f"container:{found[0].container.id}"


def _storage(site: Site, service: Service) -> CreateKeywords:
    return {
        "mounts": [*(_mount(site, mount) for mount in service.volumes), *grants.mounts(site, service)],
        "tmpfs": {word.partition(":")[0]: word.partition(":")[2] for word in service.tmpfs},
        "volumes_from": [_others(site, word) for word in service.volumes_from],
        "read_only": service.read_only,
    }


def _mount(site: Site, mount: ServiceMount) -> Mapping[str, object]:
    known = site.project.volumes.get(mount.source) if mount.type == "volume" else None
    # should a down take the volume before the container is there, the one that is made with it is the project's again
    own = labels.of_volume(site.name, known) if known is not None and not known.external else {}
    found: dict[str, object] = {
        "Type": mount.type, "Source": known.name if known else mount.source, "Target": mount.target, "ReadOnly": mount.read_only,
    }  # fmt: skip
    if mount.type == "bind":
        found["BindOptions"] = {
            "Propagation": mount.propagation,
            "CreateMountpoint": mount.create_host_path,
            "NonRecursive": mount.recursive == "disabled",
            "ReadOnlyNonRecursive": mount.recursive == "writable",
            "ReadOnlyForceRecursive": mount.recursive == "readonly",
        }
    if mount.type == "image":
        found["ImageOptions"] = {"Subpath": mount.subpath}
    if mount.type == "volume":
        found["VolumeOptions"] = {"NoCopy": mount.nocopy, "Subpath": mount.subpath, "Labels": {**mount.labels, **own}}
    if mount.type == "tmpfs":
        found["TmpfsOptions"] = {"SizeBytes": mount.size, "Mode": mount.mode}
    return found


def _others(site: Site, word: str) -> str:
    """Return ``service:ro`` or ``container:NAME:ro`` as ``--volumes-from`` takes it."""
    if word.startswith("container:"):
        return word.removeprefix("container:")
    name, _, mode = word.partition(":")
    found = site.of(name)
    if not found:
        raise InvalidArgument(f"volumes_from: {name} has no container", hint=f"start it first: nbc compose up {name}")
    return found[0].container.id + (f":{mode}" if mode else "")
