"""Docker's flags, as they were given, to docker-py's keywords."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.commands.flags import REFUSED
from notebook_containers.engine import network_words
from notebook_containers.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from notebook_containers.commands.face import Face
    from notebook_containers.engine.keywords import CreateKeywords

Given = Mapping[str, object]


def keywords(face_: Face, given: Given) -> CreateKeywords:
    """Return the keywords; raises InvalidArgument naming the flag that cannot be understood."""
    _refuse(face_, given)
    found: CreateKeywords = {**_process(face_, given), **_resources(given), **_isolation(given), **_places(face_, given)}
    if given.get("entrypoint") is not None:
        found["entrypoint"] = [text(given, "entrypoint")]
    return found


def _refuse(face_: Face, given: Given) -> None:
    for flag, hint in REFUSED.items():
        if given.get(flag.removeprefix("--").replace("-", "_")):
            raise Unsupported(f"{flag} is not supported", hint=hint)
    if text(given, "isolation") not in ("", "default"):
        raise Unsupported(f"--isolation {text(given, 'isolation')} is not supported", hint="on Linux there is default only")
    if given.get("kernel_memory"):
        face_.note("--kernel-memory has no effect: no kernel limits it apart any more; -m limits it too")


def _process(face_: Face, given: Given) -> CreateKeywords:
    return {
        "name": text(given, "name") or None,
        "stdin_open": wants_stdin(given),
        "tty": bool(given["tty"]),
        "init": bool(given["init"]),
        "environment": environment(face_, given),
        "user": text(given, "user") or None,
        "group_add": many(given, "group_add"),
        "working_dir": text(given, "workdir") or None,
        "labels": [*_label_files(face_, many(given, "label_file")), *many(given, "label")],
        "annotations": many(given, "annotation"),
        "restart_policy": restart_words(text(given, "restart")),
        "stop_signal": text(given, "stop_signal") or None,
        "stop_timeout": number(given, "stop_timeout"),
        "auto_remove": bool(given["rm"]),
        "healthcheck": _health(given),
        "log_config": _log(given),
        "pull": text(given, "pull") or None,
        "platform": text(given, "platform") or None,
        "runtime": text(given, "runtime") or None,
    }


def _resources(given: Given) -> CreateKeywords:
    return {
        "mem_limit": text(given, "memory") or None,
        "mem_reservation": text(given, "memory_reservation") or None,
        "memswap_limit": -1 if text(given, "memory_swap") == "-1" else text(given, "memory_swap") or None,
        "mem_swappiness": number(given, "memory_swappiness"),
        "oom_kill_disable": bool(given["oom_kill_disable"]),
        "oom_score_adj": number(given, "oom_score_adj"),
        "nano_cpus": nano_cpus(given.get("cpus")),
        "cpu_shares": number(given, "cpu_shares"),
        "cpu_period": number(given, "cpu_period"),
        "cpu_quota": number(given, "cpu_quota"),
        "cpu_rt_period": number(given, "cpu_rt_period"),
        "cpu_rt_runtime": number(given, "cpu_rt_runtime"),
        "cpuset_cpus": text(given, "cpuset_cpus") or None,
        "cpuset_mems": text(given, "cpuset_mems") or None,
        "pids_limit": number(given, "pids_limit"),
        "shm_size": text(given, "shm_size") or None,
        "ulimits": many(given, "ulimit"),
        "blkio_weight": number(given, "blkio_weight"),
        "blkio_weight_device": many(given, "blkio_weight_device"),
        "device_read_bps": many(given, "device_read_bps"),
        "device_write_bps": many(given, "device_write_bps"),
        "device_read_iops": many(given, "device_read_iops"),
        "device_write_iops": many(given, "device_write_iops"),
        "cgroup_parent": text(given, "cgroup_parent") or None,
        "storage_opt": dict.fromkeys(many(given, "storage_opt"), ""),
    }


def _isolation(given: Given) -> CreateKeywords:
    return {
        "cap_add": many(given, "cap_add"),
        "cap_drop": many(given, "cap_drop"),
        "privileged": bool(given["privileged"]),
        "security_opt": many(given, "security_opt"),
        "read_only": bool(given["read_only"]),
        "sysctls": many(given, "sysctl"),
        "devices": many(given, "device"),
        "device_cgroup_rules": many(given, "device_cgroup_rule"),
        "device_requests": text(given, "gpus") or None,
        "userns_mode": text(given, "userns") or None,
        "pid_mode": text(given, "pid") or None,
        "ipc_mode": text(given, "ipc") or None,
        "uts_mode": text(given, "uts") or None,
        "cgroupns": text(given, "cgroupns") or None,
    }


def _places(face_: Face, given: Given) -> CreateKeywords:
    return {
        "volumes": [_volume(face_, word) for word in many(given, "volume")],
        "mounts": [_mount(face_, word) for word in many(given, "mount")],
        "tmpfs": {word.partition(":")[0]: word.partition(":")[2] for word in many(given, "tmpfs")},
        "volumes_from": many(given, "volumes_from"),
        "volume_driver": text(given, "volume_driver") or None,
        "hostname": text(given, "hostname") or None,
        "domainname": text(given, "domainname") or None,
        "ports": many(given, "publish"),
        "publish_all_ports": bool(given["publish_all"]),
        "extra_hosts": host_lines(_host_line(word) for word in many(given, "add_host")),
        "dns": many(given, "dns"),
        "dns_search": many(given, "dns_search"),
        "dns_opt": many(given, "dns_option"),
        "expose": many(given, "expose"),
        **_networks(given),
    }


def _networks(given: Given) -> CreateKeywords:
    """Return ``--network``, as often as it stands, and the flags that say what the container is in the first of them."""
    places = [network_words.parse(word) for word in many(given, "network")] or [(network_words.DEFAULT, {})]
    flags: dict[str, object] = {
        "aliases": many(given, "network_alias"),
        "ipv4_address": text(given, "ip"),
        "ipv6_address": text(given, "ip6"),
        "link_local_ips": many(given, "link_local_ip"),
        "mac_address": text(given, "mac_address"),
    }
    name, first = places[0]
    for key, value in flags.items():
        if value and key in first:
            raise InvalidArgument(f"--network {name} says {key} already", hint="say it once: in --network, or in a flag of its own")
    first |= {key: value for key, value in flags.items() if value}
    if len({place for place, _ in places}) < len(places):
        raise InvalidArgument("a --network is named twice", hint="name each network once")
    config = {place: network_words.keywords(words) for place, words in places}
    return {"network": name, "networking_config": config if len(places) > 1 or first else None}


def text(given: Given, name: str) -> str:
    """Return a flag's text, empty when it was not given."""
    value = given.get(name)
    return "" if value is None else str(value)


def number(given: Given, name: str) -> int | None:
    """Return a flag's number, None when it was not given."""
    value = given.get(name)
    return value if isinstance(value, int) else None


def many(given: Given, name: str) -> list[str]:
    """Return every text of a flag that may be repeated."""
    value = given.get(name)
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else []


def wants_stdin(given: Given) -> bool:
    """Tell whether standard input is to be connected."""
    return bool(given["interactive"]) or "stdin" in attached(given)


def attached(given: Given) -> frozenset[str]:
    """Return the streams that ``--attach`` names, in lower case; all three when it was not given; InvalidArgument for another word."""
    words = frozenset(word.lower() for word in many(given, "attach"))
    for word in words - {"stdin", "stdout", "stderr"}:
        raise InvalidArgument(f"--attach {word!r} is no stream", hint="use stdin, stdout or stderr")
    return words


def nano_cpus(value: object) -> int | None:
    """Return ``--cpus`` in billionths, 0 for no limit; InvalidArgument for more than the machine has."""
    if not isinstance(value, float):
        return None
    cores = os.cpu_count() or 1
    if not 0 <= value <= cores:
        raise InvalidArgument(f"--cpus {value:g} is not possible: this machine has {cores}", hint=f"choose 0.01 to {cores}")
    return int(value * 1_000_000_000)


def environment(face_: Face, given: Given) -> list[str]:
    """Return ``--env-file`` and ``--env`` as NAME=VALUE; a name alone takes its value from here, and is left out when there is none."""
    return [*_env_files(face_, many(given, "env_file")), *(entry for word in many(given, "env") for entry in _env_word(word))]


def _env_word(word: str) -> list[str]:
    if "=" in word:
        return [word]
    value = os.environ.get(word)
    return [] if value is None else [f"{word}={value}"]


def _lines(face_: Face, path: str, what: str) -> list[str]:
    try:
        lines = (face_.cwd / path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as err:
        reason = (err.strerror or str(err)).lower()
        raise InvalidArgument(f"{what} file {path!r} cannot be read: {reason}", hint="it is a path on this machine") from err
    except UnicodeDecodeError as err:
        raise InvalidArgument(f"{what} file {path!r} is not UTF-8 text", hint="save it as UTF-8, one NAME=VALUE a line") from err
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _env_files(face_: Face, paths: list[str]) -> list[str]:
    return [entry for path in paths for line in _lines(face_, path, "environment") for entry in _env_word(line)]


def _label_files(face_: Face, paths: list[str]) -> list[str]:
    return [line for path in paths for line in _lines(face_, path, "label")]


def _volume(face_: Face, word: str) -> str:
    if word.startswith((".", "~")):
        source, colon, rest = word.partition(":")
        return f"{(face_.cwd / Path(source).expanduser()).resolve()}{colon}{rest}"
    return word


def _mount(face_: Face, word: str) -> str:
    """Return the word with a source that begins with ``.`` or ``~`` made absolute."""
    parts = word.split(",")
    for index, part in enumerate(parts):
        key, equals, value = part.partition("=")
        if equals and key.strip().lower() in ("source", "src") and value.startswith((".", "~")):
            parts[index] = f"{key}={(face_.cwd / Path(value).expanduser()).resolve()}"
    return ",".join(parts)


def host_lines(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the addresses of each name; a name that stands several times has several."""
    found: dict[str, list[str]] = {}
    for name, address in pairs:
        found.setdefault(name, []).append(address)
    return found


def _host_line(word: str) -> tuple[str, str]:
    name, separator, address = word.partition("=" if "=" in word else ":")
    if not separator or not name or not address:
        raise InvalidArgument(f"--add-host {word!r} is not understood", hint="write NAME:ADDRESS")
    return name, address


def restart_words(word: str) -> dict[str, object]:
    """Return docker-py's form of ``--restart``."""
    name, _, count = word.partition(":")
    if count and (not count.isdigit() or name != "on-failure"):
        raise InvalidArgument(f"restart policy {word!r} is not understood", hint="write on-failure:5")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _health(given: Given) -> dict[str, object] | None:
    flags = {"test": "health_cmd", "interval": "health_interval", "timeout": "health_timeout", "start_period": "health_start_period"}
    flags |= {"start_interval": "health_start_interval", "retries": "health_retries"}
    found = {key: given[flag] for key, flag in flags.items() if given.get(flag) not in (None, "")}
    if not given["no_healthcheck"]:
        return found or None
    if found:
        raise InvalidArgument("--no-healthcheck contradicts the other --health flags", hint="leave out one or the others")
    return {"test": ["NONE"]}


def _log(given: Given) -> dict[str, object] | None:
    options = {}
    for word in many(given, "log_opt"):
        name, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(f"--log-opt {word!r} is not understood", hint="write NAME=VALUE, as max-size=10m")
        options[name] = value
    driver = text(given, "log_driver")
    return {"Type": driver or "json-file", "Config": options} if driver or options else None
