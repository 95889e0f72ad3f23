"""Every key of the Compose specification with the shape of its value: those of a file, those of a service, and all below them."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.compose import long_forms as long, short_forms as short, values
from notebook_containers.compose.shapes import (
    Shape,
    anything,
    checked,
    command,
    converted,
    duration,
    either,
    expanded,
    fields,
    flag,
    integer,
    list_of,
    mapping_of,
    mode,
    names_or,
    number,
    one_of,
    pairs,
    path_text,
    scalar,
    size,
    text,
    text_or_texts,
    texts,
)
from notebook_containers.engine import words

_LABELS = pairs(empty="")
_COUNT = converted(values.integer(values.count), "a whole number")
_ADDRESS = checked(values.address, "an address")
_SUBNET = checked(values.subnet, "a subnet")
_MAC = long.not_empty(checked(values.mac, "a MAC address"))
_OPTIONS = mapping_of(scalar)
_ULIMITS = mapping_of(either(short.ulimit, fields({"soft": integer, "hard": integer})))
_GRANT = fields({"source": text, "target": checked(values.granted, "a path"), "uid": text, "gid": text, "mode": mode})
_GRANTS = list_of(either(short.grant, _GRANT))
_RATES = list_of(fields({"path": text, "rate": long.rate}, extensions=False))
_REQUESTS = list_of(fields(long.DEVICE_REQUEST))
_UPDATE = fields(
    {
        "parallelism": integer,
        "delay": duration,
        "failure_action": text,
        "monitor": duration,
        "max_failure_ratio": number,
        "order": one_of("start-first", "stop-first"),
    }
)

BUILD: Mapping[str, Shape] = {
    "context": long.context,
    "dockerfile": long.inner_path,
    "dockerfile_inline": text,
    "entitlements": texts,
    "args": pairs(),
    "provenance": scalar,
    "sbom": scalar,
    "ssh": short.ssh,
    "labels": _LABELS,
    "cache_from": texts,
    "cache_to": texts,
    "no_cache": flag,
    "no_cache_filter": text_or_texts,
    "additional_contexts": pairs(value=long.context),
    "pull": flag,
    "extra_hosts": short.extra_hosts,
    "isolation": text,
    "network": text,
    "target": text,
    "secrets": _GRANTS,
    "shm_size": size,
    "tags": texts,
    "ulimits": _ULIMITS,
    "platforms": texts,
    "privileged": flag,
}

DEPLOY: Mapping[str, Shape] = {
    "mode": one_of("replicated", "global", "replicated-job", "global-job"),
    "replicas": _COUNT,
    "labels": _LABELS,
    "update_config": _UPDATE,
    "rollback_config": _UPDATE,
    "resources": fields(
        {
            "limits": fields({"cpus": long.cpus, "memory": size, "pids": integer}),
            "reservations": fields(
                {
                    "cpus": long.cpus,
                    "memory": size,
                    "devices": _REQUESTS,
                    "generic_resources": list_of(fields({"discrete_resource_spec": fields({"kind": text, "value": number})})),
                }
            ),
        }
    ),
    "restart_policy": fields(
        {"condition": one_of("none", "on-failure", "any"), "delay": duration, "max_attempts": integer, "window": duration}
    ),
    "placement": fields(
        {"constraints": texts, "preferences": list_of(fields({"spread": text})), "max_replicas_per_node": integer},
    ),
    "endpoint_mode": one_of("vip", "dnsrr"),
}

SERVICE: Mapping[str, Shape] = {
    "profiles": texts,
    "annotations": _LABELS,
    "attach": flag,
    "build": either(long.build, fields(BUILD)),
    "develop": fields({"watch": list_of(long.watch)}, nullable=True),
    "blkio_config": fields(
        {
            "weight": integer,
            "weight_device": list_of(fields({"path": text, "weight": integer}, extensions=False)),
            "device_read_bps": _RATES,
            "device_read_iops": _RATES,
            "device_write_bps": _RATES,
            "device_write_iops": _RATES,
        },
        extensions=False,
    ),
    "cap_add": list_of(checked(lambda word: words.capabilities([word]), "a capability"), unique=True),
    "cap_drop": list_of(checked(lambda word: words.capabilities([word]), "a capability"), unique=True),
    "cgroup_parent": text,
    "cgroup": one_of("host", "private"),
    "cpu_count": integer,
    "cpu_percent": number,
    "cpu_period": long.microseconds,
    "cpu_quota": long.microseconds,
    "cpu_rt_period": long.microseconds,
    "cpu_rt_runtime": long.microseconds,
    "cpus": long.cpus,
    "cpuset": long.not_empty(checked(values.cpus, "numbers of CPUs")),
    "cpu_shares": integer,
    "command": command,
    "configs": _GRANTS,
    "container_name": checked(words.check_name, "a name"),
    "credential_spec": fields({"config": text, "file": path_text, "registry": text}),
    "depends_on": names_or(
        mapping_of(
            fields(
                {
                    "condition": one_of("service_started", "service_healthy", "service_completed_successfully"),
                    "restart": flag,
                    "required": flag,
                }
            ),
            name=long.key_name,
        ),
        long.needed,
    ),
    "deploy": fields(DEPLOY, nullable=True),
    "device_cgroup_rules": list_of(checked(values.device_rule, "a rule"), unique=True),
    "devices": list_of(either(short.device, fields({"source": text, "target": text, "permissions": text}))),
    "dns": list_of(_ADDRESS, single=True, unique=True),
    "dns_opt": texts,
    "dns_search": text_or_texts,
    "domainname": text,
    "entrypoint": command,
    "provider": fields({"type": text, "options": mapping_of(long.provider_option)}),
    "environment": pairs(),
    "env_file": list_of(either(long.env_file, long.env_file_long), single=True),
    "expose": list_of(checked(values.exposed, "a port"), unique=True),
    "extends": long.extends,
    "external_links": texts,
    "extra_hosts": short.extra_hosts,
    "group_add": list_of(text, unique=True),
    "gpus": long.gpus,
    "hostname": long.not_empty(checked(words.host_name, "a host name")),
    "healthcheck": fields(
        {
            "test": long.health_test,
            "timeout": duration,
            "interval": duration,
            "retries": _COUNT,
            "start_period": duration,
            "start_interval": duration,
            "disable": flag,
        }
    ),
    "image": long.not_empty(checked(short.image, "an image's name")),
    "init": flag,
    "ipc": text,
    "isolation": text,
    "labels": _LABELS,
    "label_file": list_of(path_text, single=True),
    "links": texts,
    "logging": fields({"driver": text, "options": mapping_of(scalar)}),
    "mem_limit": size,
    "mem_reservation": size,
    "memswap_limit": size,
    "mem_swappiness": converted(values.integer(values.swappiness), "a whole number"),
    "mac_address": _MAC,
    "models": long.models,
    "network_mode": text,
    "networks": names_or(
        mapping_of(
            fields(
                {
                    "aliases": texts,
                    "driver_opts": _OPTIONS,
                    "gw_priority": integer,
                    "interface_name": text,
                    "ipv4_address": checked(values.address4, "an address"),
                    "ipv6_address": checked(values.address6, "an address"),
                    "link_local_ips": list_of(_ADDRESS, unique=True),
                    "mac_address": _MAC,
                    "priority": integer,
                },
                nullable=True,
            ),
            name=long.key_name,
        ),
        lambda one: one.with_value({}),
    ),
    "oom_kill_disable": flag,
    "oom_score_adj": converted(values.integer(values.oom_score), "a whole number"),
    "pid": long.nullable(text),
    "pids_limit": integer,
    "platform": long.not_empty(checked(values.platform, "a platform")),
    "ports": expanded(long.port),
    "post_start": list_of(long.hook),
    "pre_start": list_of(anything),
    "pre_stop": list_of(long.hook),
    "privileged": flag,
    "pull_policy": long.not_empty(checked(short.pull_policy, "a pull policy")),
    "pull_refresh_after": duration,
    "read_only": flag,
    "restart": long.not_empty(checked(long.restart, "a restart policy")),
    "runtime": text,
    "scale": _COUNT,
    "secrets": _GRANTS,
    "security_opt": list_of(checked(lambda word: words.security([word]), "a security option"), unique=True),
    "shm_size": size,
    "stdin_open": flag,
    "stop_grace_period": duration,
    "stop_signal": long.not_empty(checked(words.stop_signal, "a signal")),
    "storage_opt": mapping_of(scalar),
    "sysctls": pairs(empty=""),
    "tmpfs": list_of(checked(values.tmpfs, "a path"), single=True, unique=True),
    "tty": flag,
    "ulimits": _ULIMITS,
    "use_api_socket": flag,
    "user": long.not_empty(checked(words.user_words, "a user")),
    "userns_mode": text,
    "uts": text,
    "volume_driver": text,
    "volumes": list_of(either(short.volume, long.mount)),
    "volumes_from": texts,
    "working_dir": long.not_empty(checked(words.working_dir, "a directory")),
}

ONE_SERVICE = fields(SERVICE)
NETWORK = long.relocated(
    fields(
        {
            "name": long.named,
            "driver": text,
            "driver_opts": _OPTIONS,
            "ipam": fields(
                {
                    "driver": text,
                    "config": list_of(
                        fields({"subnet": _SUBNET, "ip_range": _SUBNET, "gateway": _ADDRESS, "aux_addresses": mapping_of(_ADDRESS)}),
                    ),
                    "options": mapping_of(scalar),
                }
            ),
            "external": long.external,
            "internal": flag,
            "attachable": flag,
            "enable_ipv4": flag,
            "enable_ipv6": flag,
            "labels": _LABELS,
        },
        nullable=True,
    )
)
VOLUME = long.bound_device(
    long.relocated(
        fields({"name": long.named, "driver": text, "driver_opts": _OPTIONS, "external": long.external, "labels": _LABELS}, nullable=True)
    )
)
_OBJECT: Mapping[str, Shape] = {
    "name": long.named,
    "environment": text,
    "file": path_text,
    "external": long.external,
    "labels": _LABELS,
    "template_driver": text,
}
SECRET = long.relocated(fields({**_OBJECT, "driver": text, "driver_opts": _OPTIONS}))
CONFIG = long.relocated(fields({**_OBJECT, "content": text}))
MODEL = fields({"name": text, "model": text, "context_size": integer, "runtime_flags": texts})
INCLUDE = either(
    lambda setting, node, path: node.with_value({"path": node.with_value([long.context(setting, node, path)])}),
    fields(
        {"path": list_of(long.context, single=True), "env_file": list_of(path_text, single=True), "project_directory": path_text},
        extensions=False,
    ),
)
FILE: Mapping[str, Shape] = {
    "version": text,
    "name": text,
    "include": list_of(INCLUDE),
    "services": mapping_of(ONE_SERVICE, name=long.key_name),
    "networks": mapping_of(NETWORK, name=long.key_name),
    "volumes": mapping_of(VOLUME, name=long.key_name),
    "secrets": mapping_of(SECRET, name=long.key_name),
    "configs": mapping_of(CONFIG, name=long.key_name),
    "models": mapping_of(MODEL, name=long.key_name),
}
DOCUMENT = long.whole(fields(FILE))
