"""Device rules as the version 1 devices controller writes them (cgroup-v1/devices.rst); pure."""

from __future__ import annotations

from notebook_containers.linux.cgroups.resources import integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def lines(rules: Iterable[Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """Yield (interface file, line) for each OCI device rule, in order."""
    for rule in rules:
        kind = text(rule, "type") or "a"
        access = text(rule, "access") or "rwm"
        line = "a" if kind == "a" else f"{kind} {_number(rule, 'major')}:{_number(rule, 'minor')} {access}"
        yield ("devices.allow" if rule.get("allow") is True else "devices.deny"), line


def _number(rule: Mapping[str, object], name: str) -> str:
    """Return a device number, ``*`` when it is absent or -1."""
    return str(integer(rule, name)) if name in rule and integer(rule, name) >= 0 else "*"
