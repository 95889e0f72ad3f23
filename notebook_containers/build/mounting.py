"""The mounts of one RUN: what of them goes into its cache key, and how they are made ready on disk while it runs.

Files of the context and of other layers are seen through layers of their own (BLD-07): no path of this machine that the Dockerfile
names is ever bound, what is written there is thrown away, and each tree is copied out of the context once, however many builds use it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from notebook_containers.build import keys, plan
from notebook_containers.build.execution import SecretFile
from notebook_containers.build.layering import INSIDE, context_layer
from notebook_containers.build.lent import Lent
from notebook_containers.build.stages import Origin
from notebook_containers.build.taking import Taken, error_at, takes_from_context
from notebook_containers.build.view import View
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import Digest
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.store import Store


@dataclass(slots=True, kw_only=True)
class Ready:
    """Mounts that are ready: ``binds`` in order, ``secrets`` and ``env`` beside them."""

    binds: list[Mount] = field(default_factory=list)
    secrets: list[SecretFile] = field(default_factory=list)
    env: list[str] = field(default_factory=list)


class Mounting:
    """The mounts of a RUN at its place; ``taken`` is what they take from the context, in their order."""

    def __init__(
        self, step: plan.Step, mounts: tuple[plan.RunMount, ...], taken: Taken | None, *, store: Store, lent: Lent,
        below: Callable[[Origin | None], keys.Below],
    ) -> None:  # fmt: skip
        self._store, self._lent, self._step, self._mounts = store, lent, step, mounts
        self.taken, self._below = taken, below
        taking = [mount for mount in mounts if takes_from_context(mount)]
        self._pieces = {id(mount): pieces for mount, pieces in zip(taking, taken.mounts if taken is not None else (), strict=True)}

    def material(self) -> list[JSON]:
        """Return what the mounts add to the step's key: never a secret's value, never what a cache holds."""
        return [self._one(mount) for mount in self._mounts]

    @contextmanager
    def ready(self) -> Iterator[Ready]:
        """Make the mounts ready for the block; raises DockerfileError for what is required and not there."""
        made = Ready()
        with ExitStack() as undo:
            for mount in self._mounts:
                self._prepare(mount, made, undo)
            yield made

    def _one(self, mount: plan.RunMount) -> JSON:
        match mount:
            case plan.BindMount():
                return ["bind", mount.target, mount.readonly, self._stands_for(mount), mount.source]
            case plan.CacheDirectory():
                return ["cache", mount.target, mount.readonly, mount.id, mount.mode, mount.uid, mount.gid]
            case plan.MemoryMount():
                return ["tmpfs", mount.target, mount.size]
            case plan.Secret():
                return ["secret", mount.id, mount.target, mount.env, mount.mode, mount.uid, mount.gid]
            case plan.Agent():
                return ["ssh", mount.id, mount.target]

    def _stands_for(self, mount: plan.BindMount) -> str:
        if takes_from_context(mount):
            return " ".join(piece.tree.digest for piece in self._pieces[id(mount)])
        return self._below(mount.origin).chain

    def _prepare(self, mount: plan.RunMount, made: Ready, undo: ExitStack) -> None:
        match mount:
            case plan.BindMount():
                made.binds.append(self._bind(mount, undo))
            case plan.CacheDirectory():
                made.binds.append(self._cache(mount, undo))
            case plan.MemoryMount():
                size = (f"size={mount.size}",) if mount.size else ()
                options = ("nosuid", "nodev", "mode=1777", *size)
                made.binds.append(Mount(destination=mount.target, type="tmpfs", source="tmpfs", options=options))
            case plan.Secret():
                self._secret(mount, made)
            case plan.Agent():
                self._agent(mount, made)

    # files

    def _bind(self, mount: plan.BindMount, undo: ExitStack) -> Mount:
        layers, inside = self._layers(mount)
        if not layers:
            raise error_at(self._step, f"no such file {mount.source or '/'} in what from names", hint="the stage is empty")
        if mount.readonly:
            (view,) = self._store.snapshots.view(layers)
        else:
            key = f"mount-{os.urandom(8).hex()}"
            self._store.snapshots.prepare(key, layers, volatile=True)
            undo.callback(self._store.snapshots.remove, key)
            (view,) = self._store.snapshots.mounts(key, volatile=True)
        part = (f"subpath={inside}",) if inside else ()
        return Mount(destination=mount.target, type=view.type, source=view.source, options=(*view.options, "nosuid", "nodev", *part))

    def _layers(self, mount: plan.BindMount | plan.CacheDirectory) -> tuple[tuple[Digest, ...], str]:
        """The layers that hold what a mount takes, and the place in them."""
        if takes_from_context(mount):
            return tuple(context_layer(self._store, p.context, p.source, p.tree) for p in self._pieces[id(mount)]), INSIDE
        layers = self._below(mount.origin).layers
        with View(self._store.layers, layers) as view:
            place = view.resolve(posixpath.join("/", mount.source)) if layers else None
        if layers and place is None:
            raise error_at(self._step, f"no such file {mount.source or '/'} in what from names", hint="check the path with 'nbc run'")
        return layers, place.path.strip("/") if place is not None else ""

    def _cache(self, mount: plan.CacheDirectory, undo: ExitStack) -> Mount:
        attributes = (mount.mode, mount.uid, mount.gid)
        path = undo.enter_context(self._store.cache_mounts.hold(mount.id, mount.sharing, attributes, lambda path: self._fill(mount, path)))
        options = ("bind", "ro" if mount.readonly else "rw", "nosuid", "nodev")
        return Mount(destination=mount.target, type="bind", source=str(path), options=options)

    def _fill(self, mount: plan.CacheDirectory, path: Path) -> None:
        if not mount.source and mount.origin is None:
            return
        layers, inside = self._layers(mount)
        if layers:
            self._store.snapshots.copy_out(layers, f"/{inside}", path)

    # what the caller lends

    def _secret(self, mount: plan.Secret, made: Ready) -> None:
        value = self._lent.secrets.get(mount.id)
        if value is None:
            if mount.required:
                raise error_at(self._step, f"the secret {mount.id} is required and not given", hint=f"--secret id={mount.id},src=FILE")
            return
        if mount.target:
            made.secrets.append(SecretFile(path=mount.target, data=value, mode=mount.mode, uid=mount.uid, gid=mount.gid))
        if mount.env:
            made.env.append(f"{mount.env}={value.decode('utf-8', 'surrogateescape')}")

    def _agent(self, mount: plan.Agent, made: Ready) -> None:
        socket = self._lent.agents.get(mount.id)
        if socket is None:
            if mount.required:
                raise error_at(self._step, f"the SSH agent {mount.id} is required and not given", hint=f"--ssh {mount.id}=SOCKET")
            return
        made.binds.append(Mount(destination=mount.target, type="bind", source=socket, options=("bind", "ro", "nosuid", "nodev", "noexec")))
        if not any(entry.startswith("SSH_AUTH_SOCK=") for entry in made.env):
            made.env.append(f"SSH_AUTH_SOCK={mount.target}")


def mount_points(mounts: Iterable[plan.RunMount]) -> frozenset[str]:
    """Return the places where mounts are put, and the directories above them: what a runtime may have to make."""
    found: set[str] = set()
    for mount in mounts:
        path = mount.target
        while path not in ("", "/"):
            found.add(path)
            path = path.rpartition("/")[0]
    return frozenset(found)
