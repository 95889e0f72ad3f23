"""What one part of a project says of another, checked: names that are not there, circles, keys that exclude each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from notebook_containers.compose.nodes import Fields, Node, joined, member, near
from notebook_containers.compose.resolving import BECAUSE
from notebook_containers.errors import ComposeError

_BUILT_IN_MODES = ("none", "host", "bridge", "default")


def check(root: Node) -> None:
    """Raise ComposeError at the first thing that does not fit."""
    services = member(root, "services")
    if services is None or not services.fields:
        raise root.error("services", "a compose file needs services", hint="begin with 'services:'")
    for name, node in services.fields.items():
        _Service(root, services.fields, joined("services", name), node).check()
    _check_circles(services.fields)
    for section in ("secrets", "configs"):
        for name, node in _section(root, section).items():
            _check_origin(node, joined(section, name), section)
    for section in ("networks", "volumes"):
        for name, node in _section(root, section).items():
            _check_external(node, joined(section, name))


def _section(root: Node, name: str) -> Fields:
    node = member(root, name)
    return node.fields if node else {}


class _Service:
    """Checks one service against the whole."""

    def __init__(self, root: Node, services: Mapping[str, Node], path: str, node: Node) -> None:
        self._root, self._services, self._path, self._node = root, services, path, node

    def check(self) -> None:
        node = self._node
        if not any(self._given(key) for key in ("image", "build", "provider")):
            raise node.key_error(self._path, "the service has neither image nor build", hint="give it image: or build:")
        self._exclude("network_mode", "networks")
        self._same("scale", "deploy.replicas")
        self._same("mem_limit", "deploy.resources.limits.memory")
        self._same("mem_reservation", "deploy.resources.reservations.memory")
        self._same("cpus", "deploy.resources.limits.cpus")
        self._same("pids_limit", "deploy.resources.limits.pids")
        self._names_of("networks", "networks", "network")
        self._names_of("models", "models", "model")
        self._named_sources("secrets", "secrets", "secret")
        self._named_sources("build.secrets", "secrets", "secret")
        self._named_sources("configs", "configs", "config")
        self._volumes()
        self._needed_services()
        self._single_name()
        self._build()
        self._check_healthcheck()

    def _at(self, key: str) -> Node | None:
        return member(self._node, *key.split("."))

    def _given(self, key: str) -> bool:
        node = self._at(key)
        return node is not None and node.value not in (None, "")

    def _exclude(self, one: str, other: str) -> None:
        first, second = self._at(one), self._at(other)
        if first is not None and first.text() and second is not None and second.fields:
            hint = "keep one of them: a mode is a network of its own"
            raise first.key_error(f"{self._path}.{one}", f"{one} and {other} exclude each other", hint=hint)

    def _same(self, one: str, other: str) -> None:
        first, second = self._at(one), self._at(other)
        if first is not None and second is not None and first.text() != second.text():
            message = f"{first.text()} is another value than that of {other}, {second.text()}"
            raise first.error(f"{self._path}.{one}", message, hint="give one of them, or both the same")

    def _names_of(self, key: str, section: str, what: str) -> None:
        node, known = self._at(key), _section(self._root, section)
        for name, one in (node.fields if node else {}).items():
            if name not in known:
                names = [*known, "default"] if section == "networks" else known
                hint = near(name, names) + f"; they stand under {section}: in the file"
                raise one.key_error(joined(f"{self._path}.{key}", name), f"there is no {what} {name!r}", hint=hint)

    def _named_sources(self, key: str, section: str, what: str) -> None:
        node, known = self._at(key), _section(self._root, section)
        for index, one in enumerate(node.items if node else []):
            path, source = f"{self._path}.{key}[{index}]", member(one, "source")
            if source is None:
                raise one.place.error(path, f"source: says which {what}")
            if source.text() not in known:
                raise source.place.error(path, f"there is no {what} {source.text()!r}", hint=near(source.text(), known))

    def _volumes(self) -> None:
        node, known = self._at("volumes"), _section(self._root, "volumes")
        for index, one in enumerate(node.items if node else []):
            kind, source, path = member(one, "type"), member(one, "source"), f"{self._path}.volumes[{index}]"
            if kind is not None and kind.value == "volume" and source is not None and source.text() not in known:
                hint = near(source.text(), known) if known else "name it under volumes: at the end of the file, or write ./ for a path"
                raise source.place.error(path, f"there is no volume {source.text()!r}", hint=hint)

    def _needed_services(self) -> None:
        node = self._at("depends_on")
        for name, one in (node.fields if node else {}).items():
            required = member(one, "required")
            if name not in self._services and not (required is not None and required.value is False):
                _, implied, key = one.place.reason.partition(BECAUSE)
                path = f"{self._path}.{key}" if implied else joined(f"{self._path}.depends_on", name)
                raise (one.place if implied else one).error(path, f"there is no service {name!r}", hint=near(name, self._services))

    def _single_name(self) -> None:
        name, count = self._at("container_name"), self._at("scale") or self._at("deploy.replicas")
        if name is not None and count is not None and isinstance(count.value, int) and count.value > 1:
            message = f"{count.value} containers cannot all be called {name.text()!r}"
            raise name.error(f"{self._path}.container_name", message, hint="leave container_name out, or run one")

    def _build(self) -> None:
        inline, file = self._at("build.dockerfile_inline"), self._at("build.dockerfile")
        if inline is not None and file is not None:
            raise inline.key_error(f"{self._path}.build.dockerfile_inline", "dockerfile and dockerfile_inline exclude each other")
        contexts = self._at("build.additional_contexts")
        for name, one in (contexts.fields if contexts else {}).items():
            other = one.text().removeprefix("service:")
            if other != one.text() and other not in self._services:
                path = joined(f"{self._path}.build.additional_contexts", name)
                raise one.error(path, f"there is no service {other!r}", hint=near(other, self._services))

    def _check_healthcheck(self) -> None:
        interval, start = self._at("healthcheck.start_interval"), self._at("healthcheck.start_period")
        if interval is not None and start is None:
            raise interval.key_error(f"{self._path}.healthcheck.start_interval", "start_interval means something with start_period only")


def _check_origin(node: Node, path: str, section: str) -> None:
    external = member(node, "external")
    given = [key for key in ("file", "environment", "content") if member(node, key) is not None]
    own = external is not None and external.value is True
    if own and given:
        raise node.key_error(path, f"an external one has no {given[0]}:", hint="leave one of them out")
    if not own and len(given) != 1 and not member(node, "driver"):
        choice = "file:, environment: or content:" if section == "configs" else "file: or environment:"
        raise node.key_error(path, f"exactly one of {choice} says what it holds" + (f", not {len(given)}" if given else ""))


def _check_external(node: Node, path: str) -> None:
    external = member(node, "external")
    if external is None or external.value is not True:
        return
    for key, one in node.fields.items():
        if key not in ("name", "external") and not key.startswith("x-") and one.value not in (None, {}):
            raise one.key_error(f"{path}.{key}", f"an external one is as it is: {key} cannot be given", hint="leave it out")


def _check_circles(services: Mapping[str, Node]) -> None:
    """Raise ComposeError at the first service whose dependencies lead back to it."""

    def needs(name: str) -> Iterator[str]:
        node = member(services[name], "depends_on")
        yield from (other for other in (node.fields if node else {}) if other in services)

    circle = find_circle(services, needs)
    if circle:
        raise _circle_error(services, circle)


def _circle_error(services: Mapping[str, Node], circle: list[str]) -> ComposeError:
    node = member(services[circle[0]], "depends_on", circle[1])
    path = joined("services", circle[0])
    return (node or services[circle[0]]).error(path, "the dependencies form a cycle: " + " -> ".join(circle), hint="leave one of them out")


def find_circle(names: Mapping[str, object], needs: Callable[[str], Iterator[str]]) -> list[str]:
    """Return the names of one circle, its first again at its end, or an empty list; as deep as a file may go."""
    done: set[str] = set()
    for first in names:
        way: list[tuple[str, Iterator[str]]] = [] if first in done else [(first, needs(first))]
        on_way = {first}
        while way:
            name, others = way[-1]
            other = next((one for one in others if one not in done), None)
            if other is None:
                done.add(name)
                on_way.discard(name)
                way.pop()
            elif other in on_way:
                walked = [step for step, _ in way]
                return [*walked[walked.index(other) :], other]
            else:
                on_way.add(other)
                way.append((other, needs(other)))
    return []
