"""Single words of a caller's options, checked and normalised: names, entries, volumes, ports, limits, signals, capabilities.

Every function raises InvalidArgument that names the option or shows the word as it was given.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence

from notebook_containers.engine.quantities import parse_bytes
from notebook_containers.errors import InvalidArgument
from notebook_containers.linux.capabilities import NAMES as CAPABILITY_NAMES
from notebook_containers.network import names
from notebook_containers.network.ports import PortMapping, parse as parse_port
from notebook_containers.runtime.bundle import RESTART_POLICIES, signal_number

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}\Z")
_ENV_NAME = re.compile(r"[^=\0]+\Z")
_HOSTNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}\Z")
_CPUSET = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\Z", re.ASCII)
_KEEP = re.compile(r"keep-id:(uid|gid)=[0-9]{1,9}(,(?!\1)(uid|gid)=[0-9]{1,9})?", re.ASCII)
_RESOLVER_OPTION = re.compile(r"[a-z][a-z0-9-]*(:[0-9]+)?", re.ASCII)
_SMALLEST_MEMORY = 512 * 1024

DEFAULT_PIDS_LIMIT = 4096
PULL_POLICIES = ("always", "missing", "never")
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}


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
    """Return labels from a mapping or from ``name=value`` entries; raises InvalidArgument for one without a name."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(k): str(v) for k, v in given.items()}
    if bad := [entry for entry in given if not entry.partition("=")[0].strip()]:
        raise InvalidArgument(f"{bad[0]!r} has no name", hint="write NAME=VALUE")
    return {entry.partition("=")[0]: entry.partition("=")[2] for entry in given}


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
    return names.check_alias(check_name(name.removeprefix("/"))) if name else ""


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


def group_words(given: Sequence[str | int] | None) -> tuple[str, ...]:
    """Return further groups, names or numbers; the image decides later whether a name exists."""
    found = tuple(str(word) for word in given or ())
    for word in found:
        if not word or any(not ch.isprintable() or ch == ":" for ch in word):
            raise InvalidArgument(f"--group-add {word!r} is no group name or number")
    return found


def pull_policy(word: str | None) -> str:
    """Return when an image is fetched: always, missing (which empty means too) or never."""
    if word and word not in PULL_POLICIES:
        raise InvalidArgument(f"--pull {word!r} is not understood", hint="use " + ", ".join(PULL_POLICIES))
    return word or ""


def platform(word: str | None) -> str:
    """Return ``os/architecture[/variant]`` in lower case, with Docker's other names for the same architectures."""
    text = (word or "").lower()
    if not text:
        return ""
    parts = text.split("/") if "/" in text else ["linux", text]
    if parts[0] != "linux" or not 2 <= len(parts) <= 3 or not all(re.fullmatch(r"[a-z0-9_.-]+", part, re.ASCII) for part in parts):
        raise InvalidArgument(f"--platform {word!r} is not possible here", hint="containers are Linux, as linux/amd64 or linux/arm64")
    parts[1] = _ARCHITECTURES.get(parts[1], parts[1])
    return "/".join(parts[:2] if tuple(parts[1:]) == ("arm64", "v8") else parts)


def host_lines(given: Mapping[str, str | Sequence[str]] | None) -> dict[str, str]:
    """Return further lines of the hosts file, name to address, or to several that are separated by commas."""
    found = {str(name): at if isinstance(at, str) else ",".join(at) for name, at in (given or {}).items() if isinstance(at, str) or at}
    names.hosts_file("localhost", (), each_host(found, gateway="127.0.0.1"))
    return found


def each_host(found: Mapping[str, str], *, gateway: str) -> list[tuple[str, str]]:
    """Return what :func:`host_lines` returned as one pair for each address, with an address for ``host-gateway``."""
    pairs = [(name, address) for name, joined in found.items() for address in joined.split(",")]
    return [(name, gateway if address == names.HOST_GATEWAY else address) for name, address in pairs]


def wants_host(found: Mapping[str, str]) -> bool:
    """Tell whether a name of these stands for this machine (``host-gateway``)."""
    return any(names.HOST_GATEWAY in joined.split(",") for joined in found.values())


def addresses(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return addresses of name servers."""
    for text in given or ():
        try:
            ipaddress.ip_address(text)
        except ValueError as err:
            raise InvalidArgument(f"name server {text!r} is no IP address", hint="write it as 10.0.0.53 or 2001:db8::53") from err
    return tuple(given or ())


def search_domains(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the domains that ``--dns-search`` names; one dot alone means none."""
    for text in given or ():
        if text != ".":
            names.check_domain(text)
    return tuple(given or ())


def resolver_options(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the words of ``--dns-option``, as resolv.conf(5) has them."""
    for text in given or ():
        if not _RESOLVER_OPTION.fullmatch(text):
            raise InvalidArgument(f"--dns-option {text!r} is no resolver option", hint="for example ndots:2 or timeout:1")
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


def cpuset(text: str | None, *, what: str = "CPUs") -> str:
    """Return a list of CPUs (or of memory nodes) as ``0-1,3``."""
    if text and not _CPUSET.match(text):
        raise InvalidArgument(f"{text!r} is no list of {what}", hint="write 0-1 or 0,2")
    return text or ""


def pids(value: int | None) -> int:
    """Return the most processes; -1 is without limit, and none given is the default."""
    if value is None or value == 0:
        return DEFAULT_PIDS_LIMIT
    return at_least("pids_limit", value, -1)


def at_least(name: str, value: int | None, lowest: int = 0) -> int:
    """Return a number that may not be below ``lowest``."""
    if value is not None and value < lowest:
        hint = "0 is no limit" if lowest == 0 else "-1 is without limit"
        raise InvalidArgument(f"{name} {value} is {'negative' if lowest == 0 else 'below ' + str(lowest)}", hint=hint)
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


def security(given: Sequence[str] | None) -> tuple[bool, str, bool]:
    """Return whether new privileges are off, the seccomp profile (default, unconfined or a file), and whether kernel paths are masked."""
    no_new_privileges, seccomp, masked = True, "default", True
    for word in given or ():
        key, _, value = word.replace(":", "=", 1).partition("=")
        if key == "no-new-privileges" and value.lower() in ("", "true", "false"):
            no_new_privileges = value.lower() != "false"
        elif key == "seccomp" and value:
            seccomp = value
        elif (key, value) == ("systempaths", "unconfined"):
            masked = False
        elif (key, value) not in (("apparmor", "unconfined"), ("label", "disable")):  # those two are so anyway: neither confines us
            raise InvalidArgument(
                f"--security-opt {word!r} is not supported",
                hint="use no-new-privileges=false, seccomp=unconfined, seccomp=FILE or systempaths=unconfined",
            )
    return no_new_privileges, seccomp, masked


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
    """Return ``keep-id`` (with the ids the caller is to have inside), ``auto`` (for root only), or empty text for the default.

    InvalidArgument for anything else.
    ``host`` is Docker's word for "without a user namespace of its own", which is root's default here, and impossible for others;
    ``private`` means one of its own, which an ordinary user's containers have anyway, as ``auto`` does.
    """
    word = value or ""
    if word in ("", "keep-id"):
        return word
    if _KEEP.fullmatch(word):
        if os.geteuid() == 0:
            raise InvalidArgument(f"--userns {word}: root is root inside", hint="use --user, or --userns auto")
        return word
    if word in ("auto", "private"):
        return "auto" if os.geteuid() == 0 else ""
    if word == "host":
        if os.geteuid() == 0:
            return ""
        raise InvalidArgument(
            "--userns host is not possible for an ordinary user: without a user namespace nothing may be mounted",
            hint="leave it out (root inside is you outside), or use --userns keep-id (you are yourself inside)",
        )
    raise InvalidArgument(f"--userns {word!r} is not known", hint="use auto, private, keep-id (keep-id:uid=N,gid=N) or host")
