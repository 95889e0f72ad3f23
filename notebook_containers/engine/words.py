"""Single words of a caller's options, checked and normalised: names, entries, volumes, ports, limits, signals, capabilities.

Every function raises InvalidArgument that names the option or shows the word as it was given.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from notebook_containers.engine.quantities import parse_bytes
from notebook_containers.errors import InvalidArgument
from notebook_containers.linux.capabilities import NAMES as CAPABILITY_NAMES
from notebook_containers.network import names
from notebook_containers.network.ports import PortMapping, parse as parse_port
from notebook_containers.oci.documents import Document
from notebook_containers.runtime.bundle import RESTART_POLICIES, signal_number

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}\Z")
_ENV_NAME = re.compile(r"[^=\0]+\Z")
_HOSTNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}\Z")
_CPUSET = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\Z", re.ASCII)
_TMPFS = re.compile(r"(size|mode|uid|gid|nr_inodes|nr_blocks)=[0-9]+[kmgKMG%]?\Z", re.ASCII)
_TMPFS_WORDS = (
    "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "noatime", "relatime", "strictatime", "nodiratime", "diratime",
)  # fmt: skip
_SMALLEST_MEMORY = 512 * 1024

DEFAULT_PIDS_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount(Document):
    """One ``-v``: ``source`` is an absolute host path (bind), a volume name, or empty (anonymous volume)."""

    kind: str
    source: str
    target: str
    read_only: bool = False


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
    if not target.strip("/."):
        raise InvalidArgument(f"{text!r} is no volume: the root itself cannot be one", hint="choose a directory inside the container")
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


def volumes(given: Mapping[str, Mapping[str, str]] | Sequence[str] | None) -> tuple[VolumeMount, ...]:
    """Return the mounts of docker-py's mapping (source to ``bind`` and ``mode``) or of ``-v`` texts."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        return tuple(parse_volume(str(entry)) for entry in given)
    return tuple(_mapped_volume(str(source), value) for source, value in given.items())


def _mapped_volume(source: str, value: object) -> VolumeMount:
    if not isinstance(value, Mapping) or not isinstance(value.get("bind"), str):
        raise InvalidArgument(f"volume {source!r} has no 'bind'", hint='write {"/host/path": {"bind": "/inside", "mode": "ro"}}')
    return _volume_mount(source, value["bind"], str(value.get("mode", "rw")), f"{source}:{value['bind']}", None)


def tmpfs(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return where to mount empty directories in memory, with their mount options."""
    for target, text in (given or {}).items():
        if not target.startswith("/") or "\0" in target or ".." in target.split("/") or not target.strip("/."):
            raise InvalidArgument(f"tmpfs {target!r} is not an absolute path inside the container", hint="write /path[:size=64m]")
        for word in filter(None, (text or "").split(",")):
            if word not in _TMPFS_WORDS and not _TMPFS.match(word):
                raise InvalidArgument(f"tmpfs option {word!r} for {target} is not supported", hint="use size=64m, mode=1777, exec, ro")
    return {target: text or "" for target, text in (given or {}).items()}


def ports(given: Mapping[str | int, object] | Sequence[str] | None) -> tuple[PortMapping, ...]:
    """Return the mappings of docker-py's mapping (``{"80/tcp": 8080}``) or of ``-p`` texts."""
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


def command_words(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the words of a command; a text is split as a shell does."""
    if given is None:
        return None
    if isinstance(given, str):
        import shlex

        try:
            found = tuple(shlex.split(given))
        except ValueError as err:
            raise InvalidArgument(f"command {given!r} has an unclosed quote") from err
    else:
        found = tuple(str(w) for w in given)
    if any("\0" in w for w in found):
        raise InvalidArgument("a command word holds a NUL byte")
    return found


def check_name(name: str) -> str:
    """Return a container, volume or network name that may be used."""
    if not _NAME.match(name):
        raise InvalidArgument(f"{name!r} is no name", hint="use letters, digits, _ . - (two at least, the first a letter or digit)")
    return name


def container_name(name: str | None) -> str:
    """Return the name without Docker's leading slash; empty when none is given."""
    return check_name(name.removeprefix("/")) if name else ""


def user_words(user: str | int | None) -> str:
    """Return ``user[:group]`` as text; the image decides later whether it exists."""
    text = "" if user is None else str(user)
    if any(not ch.isprintable() for ch in text):
        raise InvalidArgument(f"user {text!r} holds a character that no name has")
    return text


def host_name(name: str | None) -> str:
    """Return a host name."""
    if name and not _HOSTNAME.match(name):
        raise InvalidArgument(f"{name!r} is no host name", hint="use letters, digits, dots and dashes, 63 at most")
    return name or ""


def host_lines(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return further lines of the hosts file, name to address."""
    found = {str(name): str(address) for name, address in (given or {}).items()}
    names.hosts_file("localhost", "", found)
    return found


def addresses(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return addresses of name servers."""
    for text in given or ():
        try:
            ipaddress.ip_address(text)
        except ValueError as err:
            raise InvalidArgument(f"name server {text!r} is no IP address") from err
    return tuple(given or ())


def working_dir(path: str | None) -> str:
    """Return an absolute path inside the container."""
    if path and (not path.startswith("/") or "\0" in path):
        raise InvalidArgument(f"working directory {path!r} is not absolute", hint="it is a path inside the container")
    return path or ""


def size(value: str | int | None, *, what: str, lowest: int = 0) -> int:
    """Return bytes of a size that may not be below ``lowest``."""
    count = parse_bytes(value or 0, what=what)
    if count < lowest:
        raise InvalidArgument(f"{what} {value!r} is negative")
    return count


def memory(value: str | int | None) -> int:
    """Return the memory limit in bytes; 0 is none."""
    count = size(value, what="memory limit")
    if count and count < _SMALLEST_MEMORY:
        raise InvalidArgument(
            f"memory limit {value!r} is too small", hint="6m is Docker's minimum, 512k ours; did you forget the unit, as in 64m?"
        )
    return count


def cpuset(text: str | None) -> str:
    """Return a list of CPUs as ``0-1,3``."""
    if text and not _CPUSET.match(text):
        raise InvalidArgument(f"{text!r} is no list of CPUs", hint="write 0-1 or 0,2")
    return text or ""


def pids(value: int | None) -> int:
    """Return the most processes; -1 is without limit, and none given is the default."""
    if value is None or value == 0:
        return DEFAULT_PIDS_LIMIT
    return at_least("pids_limit", value, -1)


def at_least(name: str, value: int | None, lowest: int = 0) -> int:
    """Return a number that may not be below ``lowest``."""
    if value is not None and value < lowest:
        raise InvalidArgument(f"{name} {value} is {'negative' if lowest == 0 else 'below ' + str(lowest)}")
    return value or 0


def stop_signal(text: str | None) -> str:
    """Return a signal's name or number as it was given."""
    if text:
        signal_number(text)
    return text or ""


def capabilities(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return ``CAP_…`` names, and ``ALL``."""
    result = []
    for word in given or ():
        name = word.upper()
        name = name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"
        if name != "ALL" and name not in CAPABILITY_NAMES:
            raise InvalidArgument(f"{word!r} is no capability", hint="see capabilities(7); write NET_RAW or CAP_NET_RAW")
        result.append(name)
    return tuple(result)


def security(given: Sequence[str] | None) -> tuple[bool, str]:
    """Return whether new privileges are off, and the seccomp profile: default, unconfined or a file."""
    no_new_privileges, seccomp = True, "default"
    for word in given or ():
        key, _, value = word.replace(":", "=", 1).partition("=")
        if key == "no-new-privileges" and value.lower() in ("", "true", "false"):
            no_new_privileges = value.lower() != "false"
        elif key == "seccomp" and value:
            seccomp = value
        else:
            raise InvalidArgument(
                f"security option {word!r} is not supported", hint="use no-new-privileges=false, seccomp=unconfined or seccomp=FILE"
            )
    return no_new_privileges, seccomp


def restart(given: Mapping[str, object] | None, *, auto_remove: bool) -> tuple[str, int]:
    """Return the restart policy's name and its most retries."""
    name = str((given or {}).get("Name") or "no")
    if name not in RESTART_POLICIES:
        raise InvalidArgument(f"restart policy {name!r} is unknown", hint="use " + ", ".join(RESTART_POLICIES))
    if name != "no" and auto_remove:
        raise InvalidArgument("a container that is removed at its end cannot have a restart policy", hint="leave out --rm or --restart")
    count = (given or {}).get("MaximumRetryCount") or 0
    if not isinstance(count, int) or count < 0:
        raise InvalidArgument(f"restart count {count!r} is no number of times", hint="write on-failure:5")
    return name, count


def userns(value: str | None) -> str:
    """Return ``keep-id``, or empty text for the default; raises InvalidArgument for anything else.

    ``host`` means Docker's word for "without a user namespace of its own", which is root's default here, and impossible for others.
    """
    word = value or ""
    if word in ("", "keep-id"):
        return word
    if word == "host":
        if os.geteuid() == 0:
            return ""
        raise InvalidArgument(
            "--userns host is not possible for an ordinary user: without a user namespace nothing may be mounted",
            hint="leave it out (root inside is you outside), or use --userns keep-id (you are yourself inside)",
        )
    raise InvalidArgument(f"--userns {word!r} is not known", hint="keep-id and host are")
