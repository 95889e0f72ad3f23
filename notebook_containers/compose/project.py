"""A project on an engine: up, down, start, stop, restart, build, ps, logs. Containers carry Compose's own labels, so others know them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from notebook_containers.compose import loading, model
from notebook_containers.engine.container import Container
from notebook_containers.engine.engine import Engine
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import InvalidArgument

_PREFIX = "com.docker.compose"


class ComposeProject:
    """One compose file on one engine; every verb may be called again and converges."""

    def __init__(self, engine: Engine, project: model.Project, directory: Path) -> None:
        self._engine, self.project, self.directory = engine, project, directory

    @property
    def name(self) -> str:
        """The project's name."""
        return self.project.name

    def containers(self, service: str | None = None) -> list[Container]:
        """Return the project's containers, running or not."""
        found = [c for c in self._engine.containers.list(all=True) if c.labels.get(f"{_PREFIX}.project") == self.name]
        return [c for c in found if service is None or c.labels.get(f"{_PREFIX}.service") == service]

    def up(self, services: Sequence[str] = (), *, build: bool = False, told: Callable[[str], None] = lambda _line: None) -> list[Container]:
        """Make and start what is missing or changed, dependencies first; what is right already is left alone."""
        running = []
        for service in self._chosen(services, with_dependencies=True):
            running.append(self._converge(service, build=build, told=told))
            self._share_names()
        return running

    def _converge(self, service: model.Service, *, build: bool, told: Callable[[str], None]) -> Container:
        image = self._image(service, build=build, told=told)
        digest = _config_hash(service, self._engine.images.get(image).id)
        for container in self.containers(service.name):
            if container.labels.get(f"{_PREFIX}.config-hash") == digest:
                if container.status != "running":
                    container.start()
                    told(f"{container.name}  started")
                else:
                    told(f"{container.name}  running")
                return container
            container.remove(force=True)
        container = self._engine.containers.create(image, service.command, **self._keywords(service, digest))
        container.start()
        told(f"{container.name}  started")
        return container

    def _image(self, service: model.Service, *, build: bool, told: Callable[[str], None]) -> str:
        name = service.image or f"{self.name}-{service.name}"
        if service.build is None:
            return name
        known = any(name in (tag, tag.removesuffix(":latest")) for image in self._engine.images.list() for tag in image.tags)
        if build or not known:
            told(f"{service.name}  building")
            self._build(service, name)
        return name

    def _build(self, service: model.Service, name: str) -> None:
        if service.build is not None:
            build = service.build
            file = Path(build.context) / build.dockerfile
            self._engine.images.build(build.context, dockerfile=file, tag=name, buildargs=build.args, target=build.target)

    def build(self, services: Sequence[str] = ()) -> list[str]:
        """Build the images of services that have ``build``; returns their names."""
        names = []
        for service in self._chosen(services):
            if service.build is not None:
                name = service.image or f"{self.name}-{service.name}"
                self._build(service, name)
                names.append(name)
        return names

    def _keywords(self, service: model.Service, digest: str) -> CreateKeywords:
        labels = {
            **service.labels,
            f"{_PREFIX}.project": self.name,
            f"{_PREFIX}.service": service.name,
            f"{_PREFIX}.config-hash": digest,
            f"{_PREFIX}.container-number": "1",
            f"{_PREFIX}.oneoff": "False",
            f"{_PREFIX}.project.working_dir": str(self.directory),
        }
        return {
            "name": service.container_name or f"{self.name}-{service.name}-1",
            "entrypoint": service.entrypoint,
            "environment": {name: value for name, value in service.environment.items() if value is not None},
            "ports": [str(port) for port in service.ports],
            "volumes": [self._volume(mount) for mount in service.volumes],
            "tmpfs": {word.partition(":")[0]: word.partition(":")[2] for word in service.tmpfs},
            "extra_hosts": {host: addresses[0] for host, addresses in service.extra_hosts.items()},
            "labels": labels,
            "working_dir": service.working_dir or None,
            "user": service.user or None,
            "hostname": service.hostname or None,
            "network": service.network_mode or None,
            "mem_limit": service.mem_limit,
            "shm_size": service.shm_size,
            "pids_limit": service.pids_limit,
            "nano_cpus": None if service.cpus is None else int(service.cpus * 1e9),
            "stop_timeout": None if service.stop_grace_period is None else math.ceil(service.stop_grace_period),
            "stop_signal": service.stop_signal or None,
            "restart_policy": _restart(service.restart),
            "tty": service.tty,
            "stdin_open": service.stdin_open,
            "privileged": service.privileged,
            "read_only": service.read_only,
            "cap_add": service.cap_add,
            "cap_drop": service.cap_drop,
            "security_opt": service.security_opt,
        }

    def _volume(self, mount: model.ServiceMount) -> str:
        known = self.project.volumes.get(mount.source)
        source = known.name if known else mount.source
        return (f"{source}:" if source else "") + mount.target + (":ro" if mount.read_only else "")

    def _share_names(self) -> None:
        """Write every service's name and address into the hosts file of the project's running containers."""
        running = {c.labels[f"{_PREFIX}.service"]: c for c in self.containers() if c.status == "running"}
        addresses = {
            name: c.document.endpoint.address for name, c in running.items() if c.document.endpoint and c.document.endpoint.address
        }
        by_name = {service.name: service for service in self.project.services}
        for name, container in running.items():
            links = by_name[name].links if name in by_name else ()
            extra = {**addresses, **{link.alias: addresses[link.target] for link in links if link.target in addresses}}
            container.set_host_names(extra)

    def down(self, *, volumes: bool = False, told: Callable[[str], None] = lambda _line: None) -> None:
        """Stop and remove the project's containers, dependents first; ``volumes`` removes its named volumes too."""
        order = {service.name: i for i, service in enumerate(self.project.services)}
        for container in sorted(self.containers(), key=lambda c: -order.get(c.labels[f"{_PREFIX}.service"], len(order))):
            container.stop()
            container.remove(v=True)
            told(f"{container.name}  removed")
        if volumes:
            existing = {v.name for v in self._engine.volumes.list()}
            for volume in self.project.volumes.values():
                if volume.name in existing and not volume.external:
                    self._engine.volumes.remove(volume.name)
                    told(f"{volume.name}  removed")

    def start(self, services: Sequence[str] = ()) -> list[Container]:
        """Start the containers that exist."""
        return self._each(services, Container.start)

    def stop(self, services: Sequence[str] = ()) -> list[Container]:
        """Stop the running containers, dependents first."""
        return self._each(services, Container.stop, backwards=True)

    def restart(self, services: Sequence[str] = ()) -> list[Container]:
        """Stop and start the containers that exist."""
        return self._each(services, Container.restart)

    def _each(self, services: Sequence[str], act: Callable[[Container], None], *, backwards: bool = False) -> list[Container]:
        done = []
        for service in self._chosen(services)[:: -1 if backwards else 1]:
            for container in self.containers(service.name):
                act(container)
                done.append(container)
        self._share_names()
        return done

    def _chosen(self, names: Sequence[str], *, with_dependencies: bool = False) -> list[model.Service]:
        known = {service.name: service for service in self.project.services}
        for name in names:
            if name not in known:
                raise InvalidArgument(f"no such service: {name}", hint="services: " + ", ".join(known))
        wanted = set(names or known)
        if with_dependencies:
            for service in reversed(self.project.services):
                if service.name in wanted:
                    wanted.update(service.depends_on)
        return [service for service in self.project.services if service.name in wanted]


def _restart(word: str) -> dict[str, object]:
    """Return docker-py's restart policy of ``on-failure:3``."""
    name, _, count = word.partition(":")
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def _config_hash(service: model.Service, image_id: str) -> str:
    return hashlib.sha256(json.dumps([asdict(service), image_id], sort_keys=True).encode()).hexdigest()


def open_project(
    engine: Engine,
    *,
    text: str | None = None,
    file: Path | None = None,
    files: Sequence[str | Path] = (),
    directory: Path | None = None,
    name: str = "",
    profiles: Sequence[str] = (),
    env_files: Sequence[str | Path] = (),
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> ComposeProject:
    """Return the project of compose files (or of text); variables come from ``.env`` beside it, the environment wins.

    Raises ComposeError with the place of what is wrong in a file, InvalidArgument for a file that cannot be read.
    """
    request = loading.Request(
        cwd=(cwd or directory or Path.cwd()).absolute(),
        text=text,
        files=[*([file] if file else []), *files],
        directory=directory,
        name=name,
        profiles=profiles,
        env_files=env_files,
        environment=variables,
    )
    loaded = loading.load(request)
    return ComposeProject(engine, loaded.project, Path(loaded.project.directory))
