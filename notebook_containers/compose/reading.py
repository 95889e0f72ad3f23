"""From a compose file's data to the typed project; keys that are not honoured yet are named, never skipped in silence."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from notebook_containers.compose import values
from notebook_containers.compose.loader import Source
from notebook_containers.compose.model import (
    Attachment,
    Build,
    Dependency,
    Link,
    Network,
    Port,
    Project,
    Service,
    ServiceMount,
    Volume,
    in_order,
)
from notebook_containers.engine import quantities
from notebook_containers.errors import InvalidArgument
from notebook_containers.network.ports import LOOPBACK, PortMapping, parse as parse_port
from notebook_containers.oci.documents import JSON

HONOURED = (
    "build", "cap_add", "cap_drop", "command", "container_name", "cpus", "depends_on", "entrypoint", "environment", "expose",
    "extra_hosts", "hostname", "image", "labels", "links", "mem_limit", "network_mode", "pids_limit", "ports", "privileged", "read_only",
    "restart", "security_opt", "shm_size", "stdin_open", "stop_grace_period", "stop_signal", "tmpfs", "tty", "user", "volumes",
    "working_dir",
)  # fmt: skip
KNOWN = (
    "annotations", "attach", "blkio_config", "cgroup", "cgroup_parent", "configs", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota",
    "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpuset", "credential_spec", "deploy", "develop", "device_cgroup_rules", "devices",
    "dns", "dns_opt", "dns_search", "domainname", "env_file", "extends", "external_links", "gpus", "group_add", "healthcheck", "init",
    "ipc", "isolation", "label_file", "logging", "mac_address", "mem_reservation", "mem_swappiness", "memswap_limit", "models", "networks",
    "oom_kill_disable", "oom_score_adj", "pid", "platform", "post_start", "pre_stop", "profiles", "provider", "pull_policy", "runtime",
    "scale", "secrets", "storage_opt", "sysctls", "ulimits", "use_api_socket", "userns_mode", "uts", "volumes_from",
)  # fmt: skip
TOP_LEVEL = ("configs", "include", "models", "name", "networks", "secrets", "services", "version", "volumes")


def build_project(source: Source, *, directory: Path, name: str) -> Project:
    """Return the typed project; raises ComposeError at the first key that is unknown or of a wrong type, and for a cycle."""
    notes: list[str] = []
    for key in source.data:
        if key not in TOP_LEVEL and not key.startswith("x-"):
            raise source.error(key, "unknown key", hint=_near(key, TOP_LEVEL))
        if key in ("configs", "include", "models", "networks", "secrets"):
            notes.append(f"{source.name}: {key}: not supported yet, ignored")
    services = source.data.get("services")
    if not isinstance(services, dict) or not services:
        raise source.error("services", "a compose file needs services", hint="begin with 'services:'")
    read = _Services(source, directory, notes)
    found = {key: read.service(key, value) for key, value in services.items()}
    volumes = source.data.get("volumes")
    if not isinstance(volumes, (dict, type(None))):
        raise source.error("volumes", "volumes is a mapping of names")
    ordered, name = _in_order(source, found), str(source.data.get("name") or name)
    return Project(
        name=name,
        services=ordered,
        directory=str(directory),
        networks={"default": Network(key="default", name=f"{name}_default")} if any(s.networks for s in ordered) else {},
        volumes={key: Volume(key=key, name=f"{name}_{key}") for key in volumes or ()},
        notes=tuple(notes),
    )


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(known[:12]) + ", …"


def _in_order(source: Source, services: Mapping[str, Service]) -> tuple[Service, ...]:
    visiting: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        if name in done:
            return
        if name in visiting:
            raise source.error(
                f"services.{name}", "the dependencies form a cycle: " + " -> ".join([*visiting[visiting.index(name) :], name])
            )
        visiting.append(name)
        for other in services[name].depends_on:
            if other not in services:
                raise source.error(f"services.{name}.depends_on", f"there is no service {other!r}", hint=_near(other, list(services)))
            visit(other)
        visiting.pop()
        done.add(name)

    for name in services:
        visit(name)
    return in_order(tuple(services.values()))


def _halves(word: str) -> tuple[str, str, str]:
    return word.partition(":")


def _port(mapping: PortMapping, text: str) -> Port:
    published = str(mapping.host_port) if mapping.host_port else ""
    host = "" if mapping.host_ip == LOOPBACK and LOOPBACK not in text else mapping.host_ip
    return Port(target=mapping.container_port, published=published, host_ip=host, protocol=mapping.protocol)


class _Services:
    """Reads services one by one."""

    def __init__(self, source: Source, directory: Path, notes: list[str]) -> None:
        self._source, self._directory, self._notes = source, directory, notes

    def service(self, name: str, raw: JSON) -> Service:
        path = f"services.{name}"
        if not isinstance(raw, dict):
            raise self._source.error(path, "a service is a mapping", hint="give at least image: or build:")
        for key in raw:
            if key in KNOWN:
                self._notes.append(f"{path}.{key}: not supported yet, ignored")
            elif key not in HONOURED and not key.startswith("x-"):
                raise self._source.error(f"{path}.{key}", "unknown key", hint=_near(key, (*HONOURED, *KNOWN)))
        if not raw.get("image") and not raw.get("build"):
            raise self._source.error(path, "the service has neither image nor build")
        self._check_values(raw, path)
        links = [Link(target=w.partition(":")[0], alias=w.partition(":")[2] or w) for w in self._words(raw, path, "links")]
        depends = [*self._words(raw, path, "depends_on"), *(link.target for link in links)]
        text = {k: str(raw[k]) for k in _TEXT if raw.get(k) is not None}
        return Service(
            name=name,
            image=str(raw.get("image") or ""),
            build=self._build(raw.get("build"), f"{path}.build"),
            command=self._command(raw, path, "command"),
            entrypoint=self._command(raw, path, "entrypoint"),
            environment=self._variables(raw, path, "environment"),
            ports=tuple(self._ports(raw, path)),
            volumes=tuple(self._volume(word) for word in self._words(raw, path, "volumes")),
            tmpfs=self._words(raw, path, "tmpfs"),
            depends_on={other: Dependency() for other in dict.fromkeys(depends)},
            links=tuple(links),
            networks={} if "network_mode" in text else {"default": Attachment()},
            network_mode=text.get("network_mode", ""),
            extra_hosts={host: (address,) for host, address in self._hosts(raw, path).items()},
            labels=self._mapping(raw, path, "labels"),
            container_name=str(raw.get("container_name") or ""),
            hostname=text.get("hostname", ""),
            working_dir=text.get("working_dir", ""),
            user=text.get("user", ""),
            cpus=float(text["cpus"]) if "cpus" in text else None,
            mem_limit=quantities.parse_bytes(text["mem_limit"]) if "mem_limit" in text else None,
            shm_size=quantities.parse_bytes(text["shm_size"]) if "shm_size" in text else None,
            pids_limit=int(text["pids_limit"]) if "pids_limit" in text else None,
            restart=text.get("restart", ""),
            stop_signal=text.get("stop_signal", ""),
            stop_grace_period=values.seconds(text["stop_grace_period"]) if "stop_grace_period" in text else None,
            tty=raw.get("tty") is True,
            stdin_open=raw.get("stdin_open") is True,
            privileged=raw.get("privileged") is True,
            read_only=raw.get("read_only") is True,
            cap_add=self._words(raw, path, "cap_add"),
            cap_drop=self._words(raw, path, "cap_drop"),
            security_opt=self._words(raw, path, "security_opt"),
            expose=self._words(raw, path, "expose"),
        )

    def _build(self, raw: JSON, path: str) -> Build | None:
        if raw is None:
            return None
        if isinstance(raw, str):
            return Build(context=str(self._directory / raw))
        if not isinstance(raw, dict):
            raise self._source.error(path, "build is a directory or a mapping")
        for key in raw:
            if key not in ("context", "dockerfile", "target", "args"):
                self._notes.append(f"{path}.{key}: not supported yet, ignored")
        return Build(
            context=str(self._directory / str(raw.get("context") or ".")),
            dockerfile=str(raw.get("dockerfile") or "Dockerfile"),
            target=str(raw.get("target") or ""),
            args=self._variables(raw, path, "args"),
        )

    def _command(self, raw: Mapping[str, JSON], path: str, key: str) -> tuple[str, ...] | None:
        value = raw.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                return tuple(shlex.split(value))
            except ValueError as err:
                raise self._source.error(f"{path}.{key}", "a quote is not closed") from err
        return self._words(raw, path, key)

    def _words(self, raw: Mapping[str, JSON], path: str, key: str) -> tuple[str, ...]:
        value = raw.get(key)
        if value is None:
            return ()
        if isinstance(value, str) and key == "tmpfs":
            return (value,)
        if isinstance(value, dict) and key == "depends_on":
            return tuple(value)
        if not isinstance(value, list) or any(isinstance(item, (dict, list)) for item in value):
            raise self._source.error(f"{path}.{key}", f"{key} is a list of texts")
        return tuple(str(item) for item in value)

    def _check_values(self, raw: Mapping[str, JSON], path: str) -> None:
        """Raise ComposeError at the first value that the engine would refuse, where the file can be pointed at."""
        for key, check in values.CHECKS.items():
            if raw.get(key) is not None:
                self._checked(f"{path}.{key}", check, raw[key])
        for key, check in values.ITEM_CHECKS.items():
            items = raw.get(key)
            for index, item in enumerate(items if isinstance(items, list) else ()):
                if not isinstance(item, (dict, list)):
                    self._checked(f"{path}.{key}[{index}]", check, item)

    def _checked(self, path: str, check: values.Check, value: JSON) -> None:
        try:
            check(value)
        except InvalidArgument as err:
            raise self._source.error(path, err.message, hint=err.hint) from err

    def _variables(self, raw: Mapping[str, JSON], path: str, key: str) -> dict[str, str]:
        """Read a mapping in which a name without a value means the variable of that name, where there is one."""
        value, known = raw.get(key), self._source.variables
        bare = {str(w) for w in value if "=" not in str(w)} if isinstance(value, list) else set()
        if isinstance(value, dict):
            bare = {name for name, item in value.items() if item is None}
        found = self._mapping(raw, path, key)
        return {name: known.get(name, "") if name in bare else text for name, text in found.items() if name not in bare or name in known}

    def _mapping(self, raw: Mapping[str, JSON], path: str, key: str) -> dict[str, str]:
        value = raw.get(key)
        if value is None:
            return {}
        if isinstance(value, list):
            return {str(w).partition("=")[0]: str(w).partition("=")[2] for w in value}
        if not isinstance(value, dict):
            raise self._source.error(f"{path}.{key}", f"{key} is a mapping or a list of NAME=value")
        return {k: "" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for k, v in value.items()}

    def _ports(self, raw: Mapping[str, JSON], path: str) -> list[Port]:
        value = raw.get("ports") or []
        if not isinstance(value, list):
            raise self._source.error(f"{path}.ports", "ports is a list")
        found = []
        for index, item in enumerate(value):
            if isinstance(item, dict):
                if "target" not in item:
                    raise self._source.error(f"{path}.ports[{index}]", "a port needs a target")
                host, protocol = str(item.get("host_ip") or ""), str(item.get("protocol") or "tcp")
                published = str(item.get("published") or "")
                found.append(Port(target=int(str(item["target"])), published=published, host_ip=host, protocol=protocol))
            else:
                found += [_port(mapping, str(item)) for mapping in parse_port(str(item))]
        return found

    def _volume(self, word: str) -> ServiceMount:
        source, _, rest = word.rpartition(":") if word.count(":") == 1 else ("", "", word) if ":" not in word else _halves(word)
        target, _, mode = rest.partition(":")
        if source.startswith((".", "~")):
            source = str((self._directory / Path(source).expanduser()).resolve())
        kind = "bind" if source.startswith("/") else "volume"
        return ServiceMount(type=kind, source=source, target=target, read_only="ro" in mode.split(","))

    def _hosts(self, raw: Mapping[str, JSON], path: str) -> dict[str, str]:
        value = raw.get("extra_hosts") or []
        if isinstance(value, dict):
            return {k: str(v) for k, v in value.items()}
        return {
            w.partition("=" if "=" in w else ":")[0]: w.partition("=" if "=" in w else ":")[2]
            for w in self._words(raw, path, "extra_hosts")
        }


_TEXT = ("cpus", "hostname", "mem_limit", "network_mode", "pids_limit", "restart", "shm_size", "stop_grace_period", "stop_signal", "user", "working_dir")  # fmt: skip # noqa: E501
