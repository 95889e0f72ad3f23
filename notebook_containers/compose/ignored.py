"""Keys of the specification that mean nothing on one machine without a daemon: each is told once, with the reason, and passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from notebook_containers.compose.nodes import Node, joined, member

_SWARM = "only a swarm of machines has that"
_WINDOWS = "only containers of Windows have that"
SERVICE: Mapping[str, str] = {
    "deploy.endpoint_mode": f"{_SWARM}; services are found by their names",
    "deploy.labels": f"{_SWARM}: they are the service's labels, not its containers'",
    "deploy.placement": f"{_SWARM}: there is one place to be",
    "deploy.resources.reservations.cpus": f"{_SWARM}: nothing else asks for reserved CPUs",
    "deploy.resources.reservations.generic_resources": _SWARM,
    "deploy.rollback_config": f"{_SWARM}: nothing is rolled back",
    "deploy.update_config": f"{_SWARM}: what changed is replaced by the next up",
    "deploy.restart_policy.window": f"{_SWARM}; a container that runs again counts at once",
    "credential_spec": _WINDOWS,
    "isolation": _WINDOWS,
    "build.isolation": _WINDOWS,
    "cpu_count": _WINDOWS + "; write cpus or cpuset",
    "cpu_percent": _WINDOWS + "; write cpus",
    "models": "running language models is another program's work; run one as a service of its own",
    "volume_driver": "it is of the format's second version; a volume says its driver under volumes:",
    "pre_start": "it is in the specification's text, and no program runs it yet; post_start and pre_stop are run",
}
FILE: Mapping[str, str] = {
    "version": "the files of every version are read by the same rules now; leave it out",
    "models": "running language models is another program's work; run one as a service of its own",
}
_MODES = {"global": f"{_SWARM}: one container runs", "global-job": f"{_SWARM}: one container runs", "replicated-job": _SWARM}
_MOUNTS = {"cluster": _SWARM, "npipe": _WINDOWS}


def notes(root: Node) -> Iterator[str]:
    """Yield one line for each key that is passed over: where it stands, its path, and why."""
    for key, reason in FILE.items():
        node = member(root, key)
        if node is not None:
            yield _note(node, key, reason)
    services = member(root, "services")
    for name, service in (services.fields if services else {}).items():
        path = joined("services", name)
        for key, reason in SERVICE.items():
            node = member(service, *key.split("."))
            if node is not None and node.value not in (None, {}, []):
                yield _note(node, f"{path}.{key}", reason)
        yield from _of_values(service, path)
    for section in ("secrets", "configs"):
        shared = member(root, section)
        for name, one in (shared.fields if shared else {}).items():
            for key in ("driver", "driver_opts", "template_driver"):
                node = member(one, key)
                if node is not None:
                    yield _note(node, f"{joined(section, name)}.{key}", _SWARM)


def _of_values(service: Node, path: str) -> Iterator[str]:
    mode = member(service, "deploy", "mode")
    if mode is not None and mode.text() in _MODES:
        yield _note(mode, f"{path}.deploy.mode", _MODES[mode.text()])
    volumes = member(service, "volumes")
    for index, one in enumerate(volumes.items if volumes else []):
        kind = member(one, "type")
        if kind is not None and kind.text() in _MOUNTS:
            yield _note(kind, f"{path}.volumes[{index}]", _MOUNTS[kind.text()])


def _note(node: Node, path: str, reason: str) -> str:
    place = node.key or node.place
    return f"{place.text.name}:{place.line}: {path} is ignored: {reason}"
