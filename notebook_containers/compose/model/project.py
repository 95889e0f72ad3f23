"""The whole file: services in the order of their dependencies, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from notebook_containers.compose.model.networks import Network
from notebook_containers.compose.model.process import LanguageModel
from notebook_containers.compose.model.service import Service
from notebook_containers.compose.model.storage import Secret, Volume
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project: ``services`` are those whose profiles are active, dependencies before dependents; ``disabled`` are the others.

    ``directory`` is the absolute path where relative ones start; ``files`` and ``environment_files`` are absolute paths of what was read
    (empty for a cell's text). The mappings' keys are the names in the file; the project's default network is ``networks["default"]`` and
    stands there only when a service is in it. ``environment`` is what variables were filled with. ``notes`` say, one line each, what of
    the file is not honoured and why. With the ``policy`` "restricted" nothing is made that asks for more than an ordinary container.
    """

    name: str
    services: tuple[Service, ...]
    disabled: tuple[Service, ...] = ()
    directory: str = "/"
    files: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    configs: Mapping[str, Secret] = field(default_factory=dict)
    models: Mapping[str, LanguageModel] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    policy: str = ""

    def service(self, name: str) -> Service:
        """Return a service, active or not; raises InvalidArgument with the names there are."""
        for service in (*self.services, *self.disabled):
            if service.name == name:
                return service
        names = ", ".join(service.name for service in (*self.services, *self.disabled))
        raise InvalidArgument(f"no such service: {name}", hint=f"services: {names}")

    def with_services(self, names: Sequence[str]) -> Project:
        """Return the project with the named services active whatever their profiles: who names a service wants it.

        The profiles of a named service become active, so that what it depends on in the same profile is there too.
        """
        chosen = [self.service(name) for name in names]
        active = {*self.profiles, *(profile for service in chosen if service in self.disabled for profile in service.profiles)}
        wanted = {service.name for service in chosen}
        everyone = in_order((*self.services, *self.disabled))
        on = [s for s in everyone if s.name in wanted or is_active(s, active)]
        awake = {service.name for service in on}
        off = [s for s in everyone if s.name not in awake]
        return replace(self, services=tuple(on), disabled=tuple(off), profiles=tuple(sorted(active)))


def is_active(service: Service, profiles: set[str]) -> bool:
    """Tell whether a service takes part when these profiles are active (``*`` is every one)."""
    return not service.profiles or "*" in profiles or bool(profiles.intersection(service.profiles))


def in_order(services: Sequence[Service]) -> tuple[Service, ...]:
    """Return the services with every one behind those it depends on, else in the order given; a cycle is for the reader to refuse."""
    by_name, ordered, begun = {service.name: service for service in services}, dict[str, Service](), set[str]()
    waiting = list(reversed(services))  # a stack of our own: a chain of dependencies may be longer than Python's
    while waiting:
        service = waiting.pop()
        if service.name in ordered:
            continue
        before = [by_name[name] for name in service.depends_on if name in by_name and name not in ordered and name not in begun]
        begun.add(service.name)
        if before:
            waiting += [service, *reversed(before)]
        else:
            ordered[service.name] = service
    return tuple(ordered.values())
