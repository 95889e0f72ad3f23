"""``--filter`` of ``ps`` and docker-py's ``containers.list(filters=…)``: which containers are listed, by Docker's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from notebook_containers.engine.filters import values
from notebook_containers.errors import InvalidArgument

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container

Filters = Mapping[str, object]
Test = Callable[["Container", str], bool]

STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_LIVE = ("running", "paused")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z", re.ASCII)


class Chosen:
    """What filters ask for: every key must fit, and of one key's values one is enough (of labels all). InvalidArgument for an unknown one.

    ``find`` gives the container that ``before`` and ``since`` name, ``image_layers`` the layers of the image that ``ancestor`` names.
    """

    def __init__(
        self, filters: Filters | None, *, find: Callable[[str], Container], image_layers: Callable[[str], tuple[str, ...] | None]
    ) -> None:
        self._wanted = {key: values(given) for key, given in (filters or {}).items()}
        self._find, self._image_layers = find, image_layers
        self._tests: Mapping[str, Test] = {
            **_TESTS,
            "ancestor": self._ancestor,
            "before": lambda c, value: c.created < self._find(value).created,
            "since": lambda c, value: c.created > self._find(value).created,
        }
        for key, given in self._wanted.items():
            if key not in self._tests:
                raise InvalidArgument(f"filter {key!r} is not understood", hint="write KEY=VALUE with " + ", ".join(sorted(self._tests)))
            for value in given:
                _check(key, value)
                if key in ("before", "since"):
                    self._find(value)

    @property
    def ended_too(self) -> bool:
        """Whether containers that do not run are asked for by their state."""
        return "status" in self._wanted

    def fits(self, container: Container) -> bool:
        """Tell whether a container passes every filter."""
        return all(
            (all if key == "label" else any)(self._tests[key](container, value) for value in given) for key, given in self._wanted.items()
        )

    def _ancestor(self, container: Container, value: str) -> bool:
        if container.image in (value, f"{value}:latest"):
            return True
        layers = self._image_layers(value)
        return bool(layers) and tuple(container.document.layers[: len(layers or ())]) == layers


def _check(key: str, value: str) -> None:
    allowed = {"status": STATES, "health": _HEALTH, "is-task": ("true", "false", "1", "0")}.get(key)
    if allowed and value not in allowed:
        raise InvalidArgument(f"filter '{key}={value}' is not understood", hint="use " + ", ".join(allowed))
    if key == "exited" and not re.fullmatch(r"-?\d+", value, re.ASCII):
        raise InvalidArgument(f"filter 'exited={value}' is no exit status", hint="write a number, as exited=0")
    if key in ("publish", "expose") and not _PORTS.match(value):
        raise InvalidArgument(f"filter '{key}={value}' is no port", hint="write 80, 80/udp or 8000-8080")


def _matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern fits somewhere; one that is no regular expression is taken as it is written."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _label(container: Container, value: str) -> bool:
    name, equals, wanted = value.partition("=")
    return name in container.labels and (not equals or container.labels[name] == wanted)


def _network(container: Container, value: str) -> bool:
    ids = {place.network_id for place in container.document.endpoints}
    return value in container.networks or value in ids or (len(value) >= 4 and any(known.startswith(value) for known in ids))


def _volume(container: Container, value: str) -> bool:
    return any(value in (point.volume, point.target.rstrip("/")) for point in container.document.mounts)


def _among(value: str, port: int, protocol: str) -> bool:
    match = _PORTS.match(value)
    return match is not None and int(match[1]) <= port <= int(match[2] or match[1]) and protocol == (match[3] or "tcp")


def _published(container: Container, value: str) -> bool:
    return any(_among(value, port.host_port, port.protocol) for port in container.ports)


def _exposed(container: Container, value: str) -> bool:
    words = [word.partition("/") for word in (*container.document.config.exposed_ports, *container.document.options.expose)]
    known = [(port, protocol or "tcp") for port, _, protocol in words if port.isdigit()]
    known += [(str(port.container_port), port.protocol) for port in container.document.options.ports]
    return any(_among(value, int(port), protocol) for port, protocol in known)


_TESTS: Mapping[str, Test] = {
    "exited": lambda c, value: c.status == "exited" and c.exit_code == int(value),
    "expose": _exposed,
    "health": lambda c, value: value == (c.health if c.status in _LIVE else "none"),
    "id": lambda c, value: _matches(value, c.id),
    "is-task": lambda _c, value: value in ("false", "0"),
    "isolation": lambda _c, value: value in ("", "default"),
    "label": _label,
    "name": lambda c, value: _matches(value, c.name) or _matches(value, f"/{c.name}"),
    "network": _network,
    "publish": _published,
    "status": lambda c, value: c.status == value,
    "volume": _volume,
}
