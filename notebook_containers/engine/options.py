"""What a caller may ask of a new container: docker-py's keywords in, one frozen value out.

:class:`CreateKeywords` are the public keywords; :func:`container_options` checks and normalises them into
:class:`ContainerOptions`, which is also what is kept on disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from notebook_containers.engine.quantities import parse_bytes
from notebook_containers.errors import InvalidArgument
from notebook_containers.linux.capabilities import NAMES as CAPABILITY_NAMES
from notebook_containers.network.ports import PortMapping, parse as parse_port
from notebook_containers.oci.documents import Document

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}\Z")
_ENV_NAME = re.compile(r"[^=\0]+\Z")
_SIGNAL = re.compile(r"(SIG)?[A-Z]+[0-9]*([+-][0-9]+)?\Z|[0-9]{1,2}\Z")

DEFAULT_PIDS_LIMIT = 4096
RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")


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
    security_opt: Sequence[str] | None
    restart_policy: Mapping[str, object] | None
    stop_signal: str | None
    stop_timeout: int | None
    auto_remove: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount(Document):
    """One ``-v``: ``source`` is an absolute host path (bind), a volume name, or empty (anonymous volume)."""

    kind: str
    source: str
    target: str
    read_only: bool = False


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
    no_new_privileges, seccomp = _security(given.get("security_opt") or ())
    restart, restart_max = _restart(given.get("restart_policy") or {}, auto_remove=given.get("auto_remove", False))
    return ContainerOptions(
        name=_name(given.get("name")),
        command=_words(command),
        entrypoint=_words(given.get("entrypoint")),
        environment=environment_list(given.get("environment")),
        working_dir=_working_dir(given.get("working_dir")),
        user="" if given.get("user") is None else str(given["user"]),
        hostname=_hostname(given.get("hostname")),
        tty=given.get("tty", False),
        stdin_open=given.get("stdin_open", False),
        volumes=_volumes(given.get("volumes")),
        tmpfs=dict(given.get("tmpfs") or {}),
        read_only=given.get("read_only", False),
        ports=_ports(given.get("ports")),
        publish_all=given.get("publish_all_ports", False),
        network=given.get("network") or given.get("network_mode") or "bridge",
        extra_hosts=dict(given.get("extra_hosts") or {}),
        dns=tuple(given.get("dns") or ()),
        labels=label_map(given.get("labels")),
        memory_bytes=_memory(given.get("mem_limit")),
        memory_reservation_bytes=parse_bytes(given.get("mem_reservation") or 0, what="memory reservation"),
        memory_swap_bytes=parse_bytes(given.get("memswap_limit") or 0, what="swap limit"),
        nano_cpus=_not_negative("nano_cpus", given.get("nano_cpus")),
        cpu_shares=_not_negative("cpu_shares", given.get("cpu_shares")),
        cpu_period=_not_negative("cpu_period", given.get("cpu_period")),
        cpu_quota=given.get("cpu_quota") or 0,
        cpuset_cpus=given.get("cpuset_cpus") or "",
        pids_limit=_pids(given.get("pids_limit")),
        shm_bytes=parse_bytes(given.get("shm_size") or 0, what="shm size"),
        cap_add=_capabilities(given.get("cap_add") or ()),
        cap_drop=_capabilities(given.get("cap_drop") or ()),
        privileged=given.get("privileged", False),
        no_new_privileges=no_new_privileges and not given.get("privileged", False),
        seccomp="unconfined" if given.get("privileged", False) else seccomp,
        restart=restart,
        restart_max=restart_max,
        stop_signal=_signal(given.get("stop_signal")),
        stop_timeout_s=10 if given.get("stop_timeout") is None else _not_negative("stop_timeout", given.get("stop_timeout")),
        auto_remove=given.get("auto_remove", False),
    )


def environment_list(given: Mapping[str, str | None] | Sequence[str] | None) -> tuple[str, ...]:
    """Return ``NAME=value`` entries from a mapping or from such entries; raises InvalidArgument for a name that is none."""
    if given is None:
        return ()
    pairs = [f"{k}={'' if v is None else v}" for k, v in given.items()] if isinstance(given, Mapping) else [str(e) for e in given]
    for entry in pairs:
        name, equals, value = entry.partition("=")
        if not equals or not _ENV_NAME.match(name) or "\0" in value:
            raise InvalidArgument(f"{entry!r} is no environment entry", hint="write NAME=value")
    return tuple(pairs)


def label_map(given: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Return labels from a mapping or from ``name=value`` entries."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(k): str(v) for k, v in given.items()}
    return {entry.partition("=")[0]: entry.partition("=")[2] for entry in given}


def parse_volume(text: str, *, cwd: Path | None = None) -> VolumeMount:
    """Parse ``[source:]target[:options]`` as Docker's ``-v``; raises InvalidArgument for anything else."""
    parts = text.split(":")
    if len(parts) == 1:
        return _volume_mount("", parts[0], "", text, cwd)
    if len(parts) > 3 or not parts[0]:
        raise InvalidArgument(f"{text!r} is no volume", hint="write SOURCE:/path/inside[:ro]")
    return _volume_mount(parts[0], parts[1], parts[2] if len(parts) == 3 else "", text, cwd)


def _volume_mount(source: str, target: str, mode: str, text: str, cwd: Path | None) -> VolumeMount:
    if not target.startswith("/") or "\0" in text or ".." in target.split("/"):
        raise InvalidArgument(
            f"{text!r} is no volume: {target!r} is not an absolute path inside the container", hint="write SOURCE:/path/inside[:ro]"
        )
    words = [w for w in mode.split(",") if w]
    for word in words:
        if word not in ("ro", "rw", "z", "Z"):
            raise InvalidArgument(f"volume option {word!r} in {text!r} is not supported", hint="use ro or rw")
    kind = "bind" if source.startswith(("/", ".", "~")) else "volume"
    if kind == "bind":
        source = str((cwd or Path.cwd()).joinpath(Path(source).expanduser()).resolve())
    elif source and not _NAME.match(source):
        raise InvalidArgument(f"{source!r} is no volume name", hint="a host directory is written with a leading / or ./")
    return VolumeMount(kind=kind, source=source, target=target, read_only="ro" in words)


def _volumes(given: Mapping[str, Mapping[str, str]] | Sequence[str] | None) -> tuple[VolumeMount, ...]:
    if given is None:
        return ()
    if isinstance(given, Mapping):
        return tuple(_volume_mount(str(s), v["bind"], v.get("mode", "rw"), f"{s}:{v['bind']}", None) for s, v in given.items())
    return tuple(parse_volume(str(entry)) for entry in given)


def _ports(given: Mapping[str | int, object] | Sequence[str] | None) -> tuple[PortMapping, ...]:
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        return tuple(mapping for text in given for mapping in parse_port(text))
    return tuple(port for key, value in given.items() for port in _port_entry(str(key), value))


def _port_entry(key: str, value: object) -> list[PortMapping]:
    """Return the mappings of docker-py's ``{"80/tcp": 8080 | None | ("127.0.0.1", 8080) | [8080, 8081]}``."""
    if isinstance(value, list):
        return [port for item in value for port in _port_entry(key, item)]
    host_ip, host = value if isinstance(value, tuple) else ("", value)
    words = [str(host_ip)] if host_ip else []
    return list(parse_port(":".join([*words, str(host or 0), key])))


def _words(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    if isinstance(given, str):
        import shlex

        try:
            return tuple(shlex.split(given))
        except ValueError as err:
            raise InvalidArgument(f"command {given!r} has an unclosed quote") from err
    words = tuple(str(w) for w in given)
    if any("\0" in w for w in words):
        raise InvalidArgument("a command word holds a NUL byte")
    return words


def check_name(name: str) -> str:
    """Return a container, volume or network name that may be used; raises InvalidArgument otherwise."""
    if not _NAME.match(name):
        raise InvalidArgument(f"{name!r} is no name", hint="use letters, digits, _ . - (two at least, the first a letter or digit)")
    return name


def _name(name: str | None) -> str:
    return check_name(name.removeprefix("/")) if name else ""


def _hostname(name: str | None) -> str:
    if name and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62})", name):
        raise InvalidArgument(f"{name!r} is no host name")
    return name or ""


def _working_dir(path: str | None) -> str:
    if path and not path.startswith("/"):
        raise InvalidArgument(f"working directory {path!r} is not absolute", hint="it is a path inside the container")
    return path or ""


def _memory(value: str | int | None) -> int:
    count = parse_bytes(value or 0, what="memory limit")
    if count and count < 512 * 1024:
        raise InvalidArgument(
            f"memory limit {value!r} is too small", hint="6m is Docker's minimum, 512k ours; did you forget the unit, as in 64m?"
        )
    return count


def _pids(value: int | None) -> int:
    if value is None or value == 0:
        return DEFAULT_PIDS_LIMIT
    return value


def _not_negative(name: str, value: int | None) -> int:
    if value is not None and value < 0:
        raise InvalidArgument(f"{name} {value} is negative")
    return value or 0


def _signal(text: str | None) -> str:
    if text and not _SIGNAL.match(text.upper()):
        raise InvalidArgument(f"{text!r} is no signal", hint="use a name such as SIGTERM or a number")
    return text or ""


def _capabilities(given: Sequence[str]) -> tuple[str, ...]:
    result = []
    for word in given:
        name = word.upper()
        name = name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"
        if name != "ALL" and name not in CAPABILITY_NAMES:
            raise InvalidArgument(f"{word!r} is no capability", hint="see capabilities(7); write NET_RAW or CAP_NET_RAW")
        result.append(name)
    return tuple(result)


def _security(given: Sequence[str]) -> tuple[bool, str]:
    no_new_privileges, seccomp = True, "default"
    for word in given:
        key, _, value = word.replace(":", "=", 1).partition("=")
        if key == "no-new-privileges":
            no_new_privileges = value.lower() in ("", "true")
        elif key == "seccomp":
            seccomp = value
        else:
            raise InvalidArgument(
                f"security option {word!r} is not supported", hint="use no-new-privileges=false, seccomp=unconfined or seccomp=FILE"
            )
    return no_new_privileges, seccomp


def _restart(given: Mapping[str, object], *, auto_remove: bool) -> tuple[str, int]:
    name = str(given.get("Name") or "no")
    if name not in RESTART_POLICIES:
        raise InvalidArgument(f"restart policy {name!r} is unknown", hint="use " + ", ".join(RESTART_POLICIES))
    if name != "no" and auto_remove:
        raise InvalidArgument("a container that is removed at its end cannot have a restart policy", hint="leave out --rm or --restart")
    return name, int(str(given.get("MaximumRetryCount") or 0))
