"""The resolved project as ``docker compose config`` prints it: the same keys in the same order, what is empty left out; YAML and JSON.

What is shown is a tree of nodes still, so that every line can say where it comes from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from notebook_containers.compose import keys
from notebook_containers.compose.loading import Loaded, used
from notebook_containers.compose.nodes import Node, Place, Text, default, plain, with_fields
from notebook_containers.compose.yamltext import means_text

_PORT = ("name", "mode", "host_ip", "target", "published", "protocol", "app_protocol")
_MOUNT = ("type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs", "image")
_GRANT = ("source", "target", "uid", "gid", "mode")
_REQUEST = ("capabilities", "driver", "count", "device_ids", "options")
_HOOK = ("command", "user", "privileged", "working_dir", "environment")
_LIMITS = ("cpus", "memory", "pids", "devices", "generic_resources")
_SHARED = ("name", "file", "environment", "content", "driver", "driver_opts", "external", "labels", "template_driver")
_UPDATE = ("parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order")
_RATE = ("path", "rate", "weight")
_ORDERS: Mapping[str, Sequence[str]] = {
    "": ("name", "services", "networks", "volumes", "secrets", "configs", "models"),
    "services.*": tuple(keys.SERVICE),
    "services.*.build": tuple(keys.BUILD),
    "services.*.build.secrets[]": _GRANT,
    "services.*.blkio_config": ("weight", "weight_device", "device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops"),
    "services.*.depends_on.*": ("condition", "restart", "required"),
    "services.*.deploy": tuple(keys.DEPLOY),
    "services.*.deploy.placement": ("constraints", "preferences", "max_replicas_per_node"),
    "services.*.deploy.resources": ("limits", "reservations"),
    "services.*.deploy.resources.limits": _LIMITS,
    "services.*.deploy.resources.reservations": _LIMITS,
    "services.*.deploy.resources.reservations.devices[]": _REQUEST,
    "services.*.deploy.restart_policy": ("condition", "delay", "max_attempts", "window"),
    "services.*.deploy.rollback_config": _UPDATE,
    "services.*.deploy.update_config": _UPDATE,
    "services.*.develop": ("watch",),
    "services.*.provider": ("type", "options"),
    "services.*.develop.watch[]": ("path", "action", "target", "exec", "include", "ignore", "initial_sync"),
    "services.*.develop.watch[].exec": _HOOK,
    "services.*.devices[]": ("source", "target", "permissions"),
    "services.*.gpus[]": _REQUEST,
    "services.*.healthcheck": ("test", "timeout", "interval", "retries", "start_period", "start_interval", "disable"),
    "services.*.logging": ("driver", "options"),
    "services.*.ports[]": _PORT,
    "services.*.post_start[]": _HOOK,
    "services.*.pre_stop[]": _HOOK,
    "services.*.secrets[]": _GRANT,
    "services.*.configs[]": _GRANT,
    "services.*.volumes[]": _MOUNT,
    "services.*.volumes[].bind": ("selinux", "propagation", "create_host_path", "recursive"),
    "services.*.volumes[].volume": ("labels", "nocopy", "subpath"),
    "services.*.volumes[].tmpfs": ("size", "mode"),
    "services.*.ulimits.*": ("soft", "hard"),
    "services.*.build.ulimits.*": ("soft", "hard"),
    **{f"services.*.blkio_config.{name}[]": _RATE for name in ("weight_device", "device_read_bps", "device_write_bps")},
    "networks.*": ("name", "driver", "driver_opts", "ipam", "external", "internal", "attachable", "labels", "enable_ipv4", "enable_ipv6"),
    "networks.*.ipam": ("driver", "config", "options"),
    "networks.*.ipam.config[]": ("subnet", "gateway", "ip_range", "aux_addresses"),
    "volumes.*": ("name", "driver", "driver_opts", "external", "labels"),
    "secrets.*": _SHARED,
    "configs.*": _SHARED,
    "models.*": ("name", "model", "context_size", "runtime_flags"),
}
_KEPT_EMPTY = re.compile(
    r"services\.\*\.(?:command|entrypoint|init|attach|scale|networks\.\*|healthcheck\.(?:test|retries)|depends_on\.\*\.required"
    r"|volumes\[\]\.(?:bind(?:\.create_host_path)?|volume)|deploy\..*(?:replicas|parallelism|max_attempts))"
    r"|(?:networks|volumes|secrets|configs)\.\*|networks\.\*\.enable_ipv[46]"
    r"|(?:.*\.)?(?:environment|labels|annotations|sysctls|options|driver_opts|args)\.\*|(?:.*\.)?x-.*"
)
_PLAIN = re.compile(r"[A-Za-z0-9_/.~$(+^-][^\x00-\x1f\x7f-\x9f\ufeff\u2028\u2029]*\Z")
_MEANS_MORE = re.compile(r": |:\Z| #|\s\Z|\A- |\A-\Z")
_NOT_PRINTED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


def shown(loaded: Loaded, *, services: Sequence[str] = (), everything: bool = False, filled: bool = True, worked_in: bool = True) -> Node:
    """Return the tree as it is shown: active services (or the named ones) in the order of their names, and what they use.

    ``worked_in`` says that the variables of ``env_file`` stand in ``environment``.
    """
    tree = loaded.tree
    active = [one.name for one in loaded.project.services] if filled else list(tree.fields["services"].fields)
    names = sorted(name for name in active if not services or name in services)
    found = {"services": tree.fields["services"].with_value({name: _worked_in(tree, name, filled and worked_in) for name in names})}
    wanted = used(one for one in loaded.project.services if one.name in names)
    for section in ("networks", "volumes", "secrets", "configs"):
        if section not in tree.fields:
            continue
        entries = tree.fields[section].fields
        kept = {key: one for key, one in entries.items() if everything or not filled or key in wanted[section]}
        found[section] = tree.fields[section].with_value(kept)
    return _ordered(with_fields(tree, found), "")


def _worked_in(tree: Node, name: str, filled: bool) -> Node:
    """Return a service without the files whose variables and labels stand in it already."""
    service = tree.fields["services"].fields[name]
    gone = ("env_file", "label_file") if filled else ()
    return service.with_value({key: one for key, one in service.fields.items() if key not in gone})


def _ordered(node: Node, pattern: str) -> Node:
    node = _as_printed(node, pattern)
    if isinstance(node.value, list):
        return node.with_value([_ordered(one, f"{pattern}[]") for one in node.value])
    if not isinstance(node.value, dict):
        return node
    order = _ORDERS.get(pattern)
    words = sorted(key for key in node.value if order is None or (key not in order and key.startswith("x-")))
    found = {}
    for key in [*(key for key in order or () if key in node.value), *words]:
        below = f"{pattern}.{key if order and key in order else key if key.startswith('x-') else '*'}".lstrip(".")
        made = _ordered(node.value[key], below)
        if made.value not in ("", None, False, 0, [], {}) or _KEPT_EMPTY.fullmatch(below):
            found[key] = made
    return node.with_value(found)


def _as_printed(node: Node, pattern: str) -> Node:
    special = _SPECIAL.get(pattern)
    return special(node) if special else node


def _host_list(node: Node) -> Node:
    items = [one.with_value(f"{name}={one.text()}") for name, addresses in sorted(node.fields.items()) for one in addresses.items]
    return node.with_value(items) if isinstance(node.value, dict) else node


def _ssh_list(node: Node) -> Node:
    return node.with_value([one.with_value(f"{name}={one.text()}" if one.text() else name) for name, one in sorted(node.fields.items())])


def _network(node: Node) -> Node:
    return node if node.fields else default(None, node.place, node.place.reason)


def _bind(node: Node) -> Node:
    """Leave out what is the default: a missing directory of the host is made."""
    return node.with_value({key: one for key, one in node.fields.items() if key != "create_host_path" or one.value is False})


def _option(node: Node) -> Node:
    return node.with_value(node.text()) if not isinstance(node.value, (dict, list)) and node.value is not None else node


_SPECIAL: Mapping[str, Callable[[Node], Node]] = {
    "services.*.extra_hosts": _host_list,
    "services.*.build.extra_hosts": _host_list,
    "services.*.build.ssh": _ssh_list,
    "services.*.networks.*": _network,
    "services.*.volumes[].bind": _bind,
    "services.*.logging.options.*": _option,
}


def escaped(node: Node) -> Node:
    """Return a tree that may be read again when printed: the dollar signs of its values are no variables (keys have none)."""
    if isinstance(node.value, dict):
        return node.with_value({key: escaped(one) for key, one in node.value.items()})
    if isinstance(node.value, list):
        return node.with_value([escaped(one) for one in node.value])
    return node.with_value(node.value.replace("$", "$$")) if isinstance(node.value, str) and "$" in node.value else node


_NOTHING = Node(value=None, place=Place(text=Text(name="")))
_UNSAID: Mapping[str, Node] = {"command": _NOTHING, "entrypoint": _NOTHING}


def json_text(node: Node) -> str:
    """Return the tree as JSON, two spaces a level; a service says there that it has no command and no entrypoint of its own."""
    services = node.fields["services"]
    whole = {name: with_fields(one, {**_UNSAID, **one.fields}) for name, one in services.fields.items()}
    return json.dumps(plain(with_fields(node, {"services": services.with_value(whole)})), indent=2, ensure_ascii=False) + "\n"


def yaml_text(node: Node) -> str:
    """Return the tree as YAML."""
    return "".join(f"{line}\n" for line, _node in yaml_lines(node))


def yaml_lines(node: Node, indent: int = 0) -> Iterator[tuple[str, Node | None]]:
    """Yield the lines of the tree in YAML, each with the node whose value begins in it."""
    space = " " * indent
    if isinstance(node.value, list):
        for one in node.value:
            yield from _entry(f"{space}- ", one, indent + 2, in_list=True)
    else:
        for key, one in node.fields.items():
            yield from _entry(f"{space}{_scalar(key)}:", one, indent + 2, in_list=False)


def _entry(head: str, node: Node, indent: int, *, in_list: bool) -> Iterator[tuple[str, Node | None]]:
    if isinstance(node.value, (dict, list)) and node.value:
        lines = yaml_lines(node, indent)
        if in_list:  # the first member stands behind the dash
            first, origin = next(lines)
            yield head + first[indent:], origin
        else:
            yield head, None
        yield from lines
        return
    gap = "" if in_list else " "
    if isinstance(node.value, str) and _is_block(node.value):
        yield f"{head}{gap}|{'' if node.value.endswith(chr(10)) else '-'}", node
        for line in node.value.removesuffix("\n").split("\n"):
            yield (" " * indent + line).rstrip(" ") if not line else " " * indent + line, None
        return
    yield f"{head}{gap}{_scalar(node.value)}", node


def _is_block(text: str) -> bool:
    lines = text.split("\n")
    return (
        len(lines) > 1 and not _NOT_PRINTED.search(text) and bool(lines[0]) and not lines[0].startswith(" ") and not text.endswith("\n\n")
    )


def _scalar(value: object) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:g}"
    if not isinstance(value, str):
        return json.dumps(value)
    if _NOT_PRINTED.search(value) or "\n" in value:
        return json.dumps(value)
    if _PLAIN.match(value) and not _MEANS_MORE.search(value):
        return value if means_text(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False) if not value else "'" + value.replace("'", "''") + "'"
