"""A project on an engine: up, down, start, stop, restart, build, ps, logs. Containers carry Compose's own labels, so others know them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from notebook_containers.compose import loader, model, reading, values
from notebook_containers.engine.container import Container
from notebook_containers.engine.engine import Engine
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import InvalidArgument

FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
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
            "restart_policy": values.restart(service.restart or "no"),
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


def _config_hash(service: model.Service, image_id: str) -> str:
    return hashlib.sha256(json.dumps([asdict(service), image_id], sort_keys=True).encode()).hexdigest()


def open_project(
    engine: Engine,
    *,
    text: str | None = None,
    file: Path | None = None,
    directory: Path | None = None,
    name: str = "",
    variables: Mapping[str, str] | None = None,
) -> ComposeProject:
    """Return the project of a compose file (or of text); variables come from ``.env`` beside it, the environment wins."""
    base = (directory or (file.parent if file else Path.cwd())).absolute()
    if text is None:
        path = file or _found(base)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as err:
            raise InvalidArgument(f"compose file {str(path)!r} cannot be read: {err.strerror}", hint="name it with -f") from err
        shown = path.name
    else:
        shown = "compose cell"
    values = {**_dot_env(base), **(os.environ if variables is None else variables)}
    source = loader.load(text, name=shown, variables=values)
    return ComposeProject(engine, reading.build_project(source, directory=base, name=_project_name(name or base.name)), base)


def _found(directory: Path) -> Path:
    for name in FILES:
        if (directory / name).is_file():
            return directory / name
    raise InvalidArgument(f"no compose file in {directory}", hint="there is none of " + ", ".join(FILES) + "; name one with -f")


def _dot_env(directory: Path) -> dict[str, str]:
    try:
        lines = (directory / ".env").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = [line.removeprefix("export ").partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#")]
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _project_name(text: str) -> str:
    return "".join(ch for ch in text.lower() if ch.isalnum() or ch in "_-").strip("_-") or "default"
