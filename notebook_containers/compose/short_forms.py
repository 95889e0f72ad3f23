"""The short forms of a compose file's words, each brought into its long form: ports, volumes, devices, hosts, grants, limits."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from notebook_containers.compose.nodes import Fields, Node, default
from notebook_containers.compose.shapes import Setting, absolute, kind, pairs, text, wrong
from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.reference import Reference

_PORT = re.compile(
    r"(?:(?P<ip>\[[^\]]*\]|[^:\[\]]*):)?(?:(?P<host>[^:\[\]]*):)?(?P<inside>[^:/\[\]]+)(?:/(?P<protocol>[A-Za-z0-9]+))?", re.ASCII
)
_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?", re.ASCII)
_PORT_HINT = 'write it as "8080:80", "127.0.0.1:8080:80/udp", "8000-8002:80-82" or "80"'
_VOLUME_HINT = "write it as SOURCE:/target[:ro], or /target alone"
_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z", re.ASCII)
_MOST_PORTS = 65536


def port_items(setting: Setting, node: Node, path: str) -> Iterator[Node]:
    """Yield the long forms that one item of ``ports`` in the short form stands for: a range is several ports."""
    word = text(setting, node, path).text()
    if setting.passes(node):
        yield node
        return
    match = _PORT.fullmatch(word.strip())
    if match is None:
        raise node.error(path, f"{word!r} is no port mapping", hint=_PORT_HINT)
    address, host = match["ip"], match["host"]
    if host is None and address is not None and not address.startswith("["):  # "8080:80": one colon parts ports
        address, host = None, address
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise node.error(path, f"{word!r}: {protocol!r} is no protocol of ports", hint="tcp, udp and sctp are")
    inside = _port_range(node, path, match["inside"])
    ip = _host_ip(node, path, address)
    for target, published in zip(inside, _published(node, path, host, len(inside)), strict=True):
        found: Fields = {"mode": default("ingress", node.place, "default")}
        if ip:
            found["host_ip"] = _at(node, ip)
        found["target"] = _at(node, target)
        if published:
            found["published"] = _at(node, published)
        found["protocol"] = _at(node, protocol) if match["protocol"] else default("tcp", node.place, "default")
        yield Node(value=found, place=node.place, mark=node.mark)


def _at(node: Node, value: str | int | bool) -> Node:
    return Node(value=value, place=node.place)


def _port_range(node: Node, path: str, word: str) -> range:
    match = _RANGE.fullmatch(word)
    first, last = (int(match["first"]), int(match["last"] or match["first"])) if match else (1, 0)
    if not 0 <= first <= last < _MOST_PORTS:
        raise node.error(path, f"{word!r} is no port", hint=_PORT_HINT)
    return range(first, last + 1)


def _published(node: Node, path: str, word: str | None, count: int) -> list[str]:
    """Return a host port for each container port; a range for one container port stays a range, to choose from."""
    if not word:
        return [""] * count
    found = _port_range(node, path, word)
    if count == 1:
        return [word]
    if len(found) != count:
        raise node.error(path, f"{len(found)} host ports for {count} container ports", hint=_PORT_HINT)
    return [str(port) for port in found]


def _host_ip(node: Node, path: str, word: str | None) -> str:
    if not word:
        return ""
    address = word.strip("[]")
    if address == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as err:
        raise node.error(path, f"{address!r} is no address of this host", hint=_PORT_HINT) from err


def volume(setting: Setting, node: Node, path: str) -> Node:
    """``SOURCE:/target:options`` or ``/target`` as a long form."""
    word = text(setting, node, path).text()
    if setting.passes(node):
        return node
    parts = word.split(":")
    if len(parts) > 3 or not all(parts):
        raise node.error(path, f"{word!r} is no volume", hint=_VOLUME_HINT)
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    if not target.startswith("/"):
        raise node.error(path, f"{word!r}: the target {target!r} is no absolute path", hint=_VOLUME_HINT)
    binds = source.startswith((".", "/", "~"))
    if source and not binds and not _VOLUME_NAME.match(source):
        raise node.error(path, f"{word!r}: {source!r} is neither a volume's name nor a path", hint="a relative path begins with ./")
    found: Fields = {"type": _at(node, "bind" if binds else "volume")}
    if source:
        found["source"] = _at(node, absolute(setting, node, path, source) if binds else source)
    found["target"] = _at(node, target)
    return node.with_value({**found, **_volume_options(node, path, binds, parts[2] if len(parts) == 3 else "")})


def _volume_options(node: Node, path: str, binds: bool, words: str) -> Fields:
    found: Fields = {}
    detail: Fields = {"create_host_path": default(True, node.place, "default of the short form")} if binds else {}
    for word in filter(None, words.split(",")):
        if word in ("ro", "rw"):
            found["read_only"] = _at(node, word == "ro")
        elif word == "nocopy" and not binds:
            detail["nocopy"] = _at(node, True)
        elif word in ("z", "Z"):
            detail["selinux"] = _at(node, word)
        elif word in _PROPAGATIONS and binds:
            detail["propagation"] = _at(node, word)
        elif word in ("cached", "delegated", "consistent"):
            found["consistency"] = _at(node, word)
        else:
            raise node.error(path, f"{word!r} is no option of this volume", hint="ro, rw, nocopy, z, Z, " + ", ".join(_PROPAGATIONS))
    if not binds:
        detail.pop("selinux", None)
    return {**found, "bind" if binds else "volume": node.with_value(detail)}


def device(setting: Setting, node: Node, path: str) -> Node:
    """``/dev/x:/dev/y:rwm``, or a CDI name, as a long form."""
    word = text(setting, node, path).text()
    if setting.passes(node):
        return node
    parts = word.split(":")
    if len(parts) > 3 or not all(parts):
        raise node.error(path, f"{word!r} is no device", hint="write /dev/x:/dev/y:rwm")
    found: Fields = {"source": _at(node, parts[0])}
    if not parts[0].startswith("/") and "=" in parts[0]:
        return node.with_value(found)
    found["target"] = _at(node, parts[1] if len(parts) > 1 else parts[0])
    found["permissions"] = _at(node, parts[2]) if len(parts) > 2 else default("rwm", node.place, "default")
    return node.with_value(found)


def grant(setting: Setting, node: Node, path: str) -> Node:
    """A secret's or config's name as a long form."""
    found = text(setting, node, path)
    return node.with_value({"source": Node(value=found.value, place=node.place)})


def ulimit(setting: Setting, node: Node, path: str) -> Node:
    """One number for both limits as a long form."""
    from notebook_containers.compose.shapes import integer

    if isinstance(node.value, list):
        raise node.error(path, f"a number, or soft and hard, is wanted here, this is {kind(node)}")
    return integer(setting, node, path)


def extra_hosts(setting: Setting, node: Node, path: str) -> Node:
    """Host names with their addresses: ``name=address`` or ``name:address`` items, or a mapping; one name may have several."""
    found: Fields = {}
    if isinstance(node.value, list):
        for index, one in enumerate(node.value):
            name, address = _host(setting, one, f"{path}[{index}]")
            found[name] = found[name].with_value([*found[name].items, address]) if name in found else one.with_value([address])
        return node.with_value(found)
    if not isinstance(node.value, dict):
        raise wrong(node, path, "a mapping or a list of NAME=address")
    for name, one in node.value.items():
        where = f"{path}.{name}"
        given = one.items if isinstance(one.value, list) else [one]
        found[name] = one.with_value([_address(text(setting, address, where), where) for address in given])
    return node.with_value(found)


def _host(setting: Setting, node: Node, path: str) -> tuple[str, Node]:
    word = text(setting, node, path).text()
    sign = "=" if "=" in word else ":"
    name, parted, address = word.partition(sign)
    if not parted or not name or not address:
        raise node.error(path, f"{word!r} is no host with its address", hint="write NAME=address")
    return name, _address(Node(value=address, place=node.place), path)


def _address(node: Node, path: str) -> Node:
    word = node.text()
    bare = word[1:-1] if word.startswith("[") and word.endswith("]") else word
    if bare == "host-gateway" or "$" in bare:
        return node.with_value(bare)
    try:
        return node.with_value(str(ipaddress.ip_address(bare)))
    except ValueError as err:
        raise node.error(path, f"{word!r} is no IP address", hint="write NAME=10.0.0.5, or NAME=host-gateway") from err


def ssh(setting: Setting, node: Node, path: str) -> Node:
    """``default``, ``id=socket`` or a list of them, as a mapping."""
    if isinstance(node.value, (dict, list)):
        return pairs(empty="")(setting, node, path)
    return pairs(empty="")(setting, node.with_value([Node(value=node.value, place=node.place)]), path)


def image(word: str) -> None:
    """Raise InvalidArgument for a text that is no image's name; an id is one."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", word):
        Reference.parse(word)


def pull_policy(word: str) -> None:
    """Raise InvalidArgument for a word that is no pull policy."""
    from notebook_containers.compose import units

    known = ("always", "never", "missing", "if_not_present", "build", "refresh", "daily", "weekly")
    if word.startswith("every_"):
        units.nanoseconds(word.removeprefix("every_"))
    elif word not in known:
        raise InvalidArgument(f"{word!r} is no pull policy", hint=", ".join(known) + " or every_12h")
