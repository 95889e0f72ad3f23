"""A container's references to others: whose namespaces it shares, and whose mounts it gets.

Names become ids when the container is made, so that renaming changes nothing. At each start the other's first process is looked up; after
its namespaces were joined it is checked that it lives still, for its number could have gone to a stranger meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.engine.documents import ContainerDocument, MountPoint
from notebook_containers.engine.namespace_words import JOIN, joined
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument
from notebook_containers.lean import replace
from notebook_containers.linux import namespaces, process as processes
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.runtime.state import ContainerState

if TYPE_CHECKING:
    from notebook_containers.network.shared import Held

Find: TypeAlias = Callable[[str], ContainerDocument]
_FIELDS: Mapping[str, str] = {"network": "network", "pid": "pid_mode", "ipc": "ipc_mode", "uts": "uts_mode"}


def refer(options: ContainerOptions, find: Find) -> ContainerOptions:
    """Return the options with names of other containers as ids; ContainerNotFound for one that is not there."""
    for kind, name in joined(options).items():
        other = find(name)
        if kind == "ipc" and other.options.ipc_mode != "shareable":
            raise InvalidArgument(f"container {name} does not share its IPC namespace", hint="make that one with --ipc shareable")
        options = replace(options, **{_FIELDS[kind]: JOIN + other.id})  # type: ignore[arg-type]
    return options


def inherited(options: ContainerOptions, find: Find) -> list[MountPoint]:
    """Return the mounts of the containers in ``--volumes-from``; of two at one place the later counts."""
    found: dict[str, MountPoint] = {}
    for word in options.volumes_from:
        name, _, mode = word.partition(":")
        for point in find(name).mounts:
            found[point.target] = replace(point, read_only=point.read_only or mode == "ro")
    return list(found.values())


def taken_over(options: ContainerOptions, old: ContainerDocument, declared: Iterable[str]) -> tuple[ContainerOptions, Sequence[MountPoint]]:
    """Return the anonymous volumes of ``old`` that the new container wants at the same places, and the options without these wishes."""
    asked = {mount.target for mount in options.volumes if mount.kind == "volume" and not mount.source}
    wanted = asked | {"/" + target.strip("/") for target in declared}
    taken = [point for point in old.mounts if point.anonymous and point.target in wanted]
    places = {point.target for point in taken}
    rest = tuple(mount for mount in options.volumes if not (mount.target in places and mount.target in asked))
    return replace(options, volumes=rest), taken


def document(parts: Parts, container_id: str) -> ContainerDocument:
    """Return another container's document; ContainerNotFound when it was removed."""
    row = parts.store.records.container(container_id)
    return ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))


def network_owner(parts: Parts, own: ContainerDocument) -> ContainerDocument:
    """Return the container whose network this one is in, at the end of the chain; itself when it has its own."""
    for _ in range(_LONGEST_CHAIN):
        if not own.options.network.startswith(JOIN):
            return own
        own = document(parts, own.options.network.removeprefix(JOIN))
    raise InvalidArgument("the containers share each other's network in a circle")


class Neighbours:
    """The running containers whose namespaces one container is to share, by kind; an ordinary user's networks are in a shared one too."""

    def __init__(self, parts: Parts, options: ContainerOptions, networks: Held | None = None) -> None:
        self._states = {kind: _running(parts, kind, other) for kind, other in joined(options).items()}
        if parts.host.rootless and len({state.id for state in self._states.values()}) > 1:
            raise InvalidArgument(
                "an ordinary user's container can share namespaces with one other container only",
                hint="name the same container in --network, --pid, --ipc and --uts",
            )
        if parts.host.rootless and self._states:
            # the right to join a namespace is the right of root in the user namespace that it belongs to
            self._states["user"] = next(iter(self._states.values()))
        self._networks = networks
        if networks and (user := self._states.get("user")) and not os.path.samefile(f"/proc/{user.pid}/ns/user", networks.user_namespace):
            raise InvalidArgument(
                "an ordinary user's container in a network can share namespaces with containers in a network only",
                hint="put the other one into a network of yours too",
            )

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._states or self._networks)

    @property
    def paths(self) -> dict[str, str]:
        """The namespaces' files, by kind."""
        found = {kind: f"/proc/{state.pid}/ns/{namespaces.FILES[kind]}" for kind, state in self._states.items()}
        return {**found, "user": self._networks.user_namespace} if self._networks else found

    def check(self) -> None:
        """Raise Conflict unless the processes that were looked up are still there.

        Called after their namespaces were joined by their numbers: who lives now had its number then too, so no stranger's were joined.
        """
        if self._networks:
            self._networks.check()
        for kind, state in self._states.items():
            if not processes.alive(state.pid, state.pid_started):
                raise Conflict(f"container {state.id[:12]} ended while its {kind} namespace was joined", hint="start it, then try again")


_LONGEST_CHAIN = 20


def _running(parts: Parts, kind: str, container_id: str) -> ContainerState:
    from notebook_containers.engine.launch import state as look

    try:
        row = parts.store.records.container(container_id)
    except ContainerNotFound as err:
        raise Conflict(
            f"cannot join the {kind} namespace of container {container_id[:12]}: it was removed", hint="make this container anew"
        ) from err
    state = look(parts, container_id)
    if state.status not in ("running", "paused") or not state.pid:
        raise Conflict(
            f"cannot join the {kind} namespace of container {row.name}: it is {state.status}", hint=f"start it first: nbc start {row.name}"
        )
    return state
