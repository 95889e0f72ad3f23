"""Two canonical trees into one, by Compose's rules: mappings by key, lists one behind the other, the later scalar wins.

What has an identity stands once, the later in the earlier's place: ports by address, ports and protocol; volumes and devices by target;
secrets and configs by target; watch rules by path and action; files of variables and texts by themselves. Commands and health tests are
replaced whole. ``!reset`` takes away, ``!override`` replaces whole. Of a logging section with another driver nothing stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from notebook_containers.compose.nodes import Items, Node, joined
from notebook_containers.lean import replace

_WHOLE = re.compile(r"services\.[^.]+\.(?:command|entrypoint|healthcheck\.test|(?:build\.)?ulimits\.[^.]+)|(?:.*\.)?x-[^.]*", re.DOTALL)
_LISTS = re.compile(r"services\.[^.]+\.([a-z_.]+)\Z")


def merged(base: Node, over: Node, path: str = "") -> Node:
    """Return the tree with what ``over`` says laid over ``base``; ``!reset`` marks stay until :func:`settled`."""
    if over.mark == "reset":
        return over
    if over.mark == "override" or base.mark == "reset" or _WHOLE.fullmatch(path):
        return over
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        if path.endswith(".logging") and _driver(base) and _driver(over) and _driver(base) != _driver(over):
            return over
        found = dict(base.value)
        for key, node in over.value.items():
            found[key] = merged(found[key], node, joined(path, key)) if key in found else node
        return replace(over, value=found, mark=base.mark)
    if isinstance(base.value, list) and isinstance(over.value, list):
        return replace(over, value=_once(path, [*base.value, *over.value]), mark=base.mark)
    return over


def settled(node: Node) -> Node:
    """Return the tree without what is to be reset, and without marks."""
    if isinstance(node.value, dict):
        kept = {key: settled(one) for key, one in node.value.items() if one.mark != "reset"}
        return replace(node, value=kept, mark="")
    if isinstance(node.value, list):
        return replace(node, value=[settled(one) for one in node.value if one.mark != "reset"], mark="")
    return replace(node, mark="") if node.mark else node


def once(root: Node) -> Node:
    """Return the tree with every list's doublets gone (one file may say a thing twice); ``root`` is a whole file."""

    def walk(node: Node, path: str) -> Node:
        if isinstance(node.value, dict):
            return node.with_value({key: walk(one, joined(path, key)) for key, one in node.value.items()})
        if isinstance(node.value, list):
            return node.with_value(_once(path, node.value))
        return node

    return walk(root, "")


def _driver(node: Node) -> str:
    driver = node.fields.get("driver")
    return driver.text() if driver else ""


def _once(path: str, items: Items) -> Items:
    match = _LISTS.match(path)
    identity = _IDENTITIES.get(match[1]) if match else None
    if identity is None:
        return items
    found: dict[str, Node] = {}
    for index, node in enumerate(items):
        found[identity(node) or f"\0{index}"] = node
    return list(found.values())


def _member(node: Node, *keys: str) -> Iterator[str]:
    for key in keys:
        one = node.fields.get(key)
        yield one.text() if one else ""


def _port(node: Node) -> str:
    address, published, target, protocol = _member(node, "host_ip", "published", "target", "protocol")
    return f"{address or 'every'}:{published}:{target}/{protocol}" if target else node.text()


def _target(node: Node) -> str:
    (target,) = _member(node, "target")
    return target.rstrip("/") or target or node.text()


def _granted(directory: str) -> Callable[[Node], str]:
    def identity(node: Node) -> str:
        source, target = _member(node, "source", "target")
        return target if target.startswith("/") else f"{directory}/{target or source}"

    return identity


def _rule(node: Node) -> str:
    return "\0".join(_member(node, "path", "action", "target"))


def _file(node: Node) -> str:
    (path,) = _member(node, "path")
    return path


_SECRETS, _CONFIGS = _granted("/run/secrets"), _granted("")
_IDENTITIES: dict[str, Callable[[Node], str]] = {
    "ports": _port,
    "volumes": _target,
    "devices": _target,
    "secrets": _SECRETS,
    "build.secrets": _SECRETS,
    "configs": _CONFIGS,
    "develop.watch": _rule,
    "env_file": _file,
    **dict.fromkeys(
        (
            "build.cache_from", "build.cache_to", "build.entitlements", "build.platforms", "build.tags", "cap_add", "cap_drop",
            "device_cgroup_rules", "dns", "dns_opt", "dns_search", "expose", "external_links", "group_add", "label_file", "links",
            "profiles", "security_opt", "tmpfs", "volumes_from",
        ),
        Node.text,
    ),
}  # fmt: skip
