"""A build's steps as places to look at and work in: any step of an image, and the one that failed.

Running in one makes an image without a name of its layers (the same for the same step), which goes when its container has gone, or, where
the container stays, with ``image prune`` like any other image without a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Unpack

from notebook_containers.build import kept
from notebook_containers.build.platforms import host_platform
from notebook_containers.engine.container import Container
from notebook_containers.engine.containers import Containers
from notebook_containers.engine.image import Image
from notebook_containers.engine.images import Images
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.engine.networks import Networks
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.volumes import Volumes
from notebook_containers.errors import BuildError, Error, NotFound
from notebook_containers.lean import replace
from notebook_containers.oci.image import ContainerConfig, Digest, History, ImageConfig
from notebook_containers.store.changes import Change

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_MOST_LISTED = 12


class OpenedStep:
    """One step: what it did, and its files as it left them.

    ``line`` and ``instruction`` are the Dockerfile's, ``layers`` are bottom first, ``config`` is what its command saw or the image's then.
    """

    def __init__(self, parts: Parts, *, line: int, instruction: str, layers: Sequence[Digest], own: bool, config: ContainerConfig) -> None:
        self._parts, self._own = parts, own
        self.line, self.instruction, self.layers, self.config = line, instruction, tuple(layers), config

    def changes(self) -> Sequence[Change]:
        """Return what the step changed on the filesystem; nothing where it made no layer."""
        self._check()
        return self._parts.store.snapshots.layer_changes(self.layers) if self._own else []

    def diff(self) -> Sequence[Change]:
        """Return :meth:`changes`, under the name that containers have for it."""
        return self.changes()

    def run(
        self, command: str | Sequence[str] | None = None, *, detach: bool | None = None, **options: Unpack[CreateKeywords]
    ) -> bytes | Container:
        """Run a command on the step's files, with its environment, user and directory; what it writes is thrown away.

        A shell alone (or no command) opens a container that stays: it is returned, running, and is gone once it has ended. Another
        command's output is returned, and ContainerError raised for an exit status other than 0. ``detach`` chooses for itself.
        The mounts of a RUN (caches, secrets) are not there.
        """
        words = [command] if isinstance(command, str) else list(command or ())
        stays = not words or (len(words) == 1 and words[0].rpartition("/")[2] in _SHELLS)
        image = self.image()
        containers = Containers(self._parts, Images(self._parts, Networks(self._parts)), Networks(self._parts), Volumes(self._parts))
        try:
            if stays if detach is None else detach:
                options = {"tty": True, "stdin_open": True, **options}
                return containers.run(image.id, command, detach=True, remove=True, **options)
            return containers.run(image.id, command, remove=True, stderr=True, **options)
        finally:
            self.forget(image)

    def image(self) -> Image:
        """Return the step as an image without a name; raises NotFound when its layers are no longer in the store."""
        self._check()
        platform = host_platform()
        config = replace(self.config, volumes={}, healthcheck=None, on_build=())
        if not config.cmd and not config.entrypoint:
            config = replace(config, cmd=config.shell[:1] or ("/bin/sh",))
        store = self._parts.store
        whole = ImageConfig(
            architecture=platform.architecture, variant=platform.variant, os=platform.os, config=config,
            history=tuple(History(created_by=f"a layer below {self.instruction[:200]}") for _ in self.layers),
        )  # fmt: skip
        with store.lease():
            return Image(self._parts, store.images.put(whole, store.layers.get_all(self.layers)))

    def forget(self, image: Image) -> None:
        """Take the image of :meth:`image` away again, unless it was given a name or a container uses it."""
        from notebook_containers.engine import removal

        with suppress(Error):
            image.reload()
            if not image.tags:
                removal.remove(self._parts, image.id, force=False, no_prune=True)

    def _check(self) -> None:
        if missing := [layer for layer in self.layers if not self._parts.store.layers.has(layer)]:
            hint = "build again: the build cache was pruned"
            raise NotFound(
                f"the files of {self.instruction[:60]} (line {self.line}) are no longer here: layer {missing[0].short}", hint=hint
            )

    def __repr__(self) -> str:
        """Line and instruction in one line."""
        return f"<{type(self).__name__} line {self.line}: {self.instruction}>"


class FailedStep(OpenedStep):
    """A RUN that failed, as its command left it: ``exit_status``, the ``verdict`` on it and the end of its ``output``."""

    def __init__(self, parts: Parts, failure: kept.KeptFailure) -> None:
        super().__init__(
            parts, line=failure.line, instruction=failure.text, layers=failure.layers, own=failure.layer is not None, config=failure.config
        )
        self.exit_status, self.verdict, self.output = failure.exit_status, failure.verdict, failure.output
        self._failure = failure

    @property
    def before(self) -> OpenedStep:
        """The same place before the command ran."""
        failure = self._failure
        return OpenedStep(self._parts, line=failure.line, instruction=failure.text, layers=failure.before, own=False, config=failure.config)


@contextmanager
def opening(parts: Parts) -> Iterator[None]:
    """Give a BuildError that leaves the block the step that failed, and tell how to open it."""
    try:
        yield
    except BuildError as err:
        if err.kept:
            err.step = failed(parts, err.kept)
            err.hint = "; ".join(
                filter(None, (err.hint, "open it where it stopped: nbc shell --failed, in a notebook %container_shell --failed"))
            )
        raise


def failed(parts: Parts, key: str = "") -> FailedStep:
    """Return the step of a row that keeps one, or the one that failed last of all; NotFound when there is none."""
    found = kept.failure(parts.store.records, key or kept.last_failure(parts.store.records))
    if found is None:
        raise NotFound("no step of a build failed", hint="a failed step is kept until the next build of the same Dockerfile")
    return FailedStep(parts, found)


def step(parts: Parts, image: Image, number: int) -> OpenedStep:
    """Return a step of an image by its number: as in the log of its build, or for an image from elsewhere by the lines of its history.

    NotFound for a number there is not, telling those there are.
    """
    known = {one.index: one for one in kept.steps(parts.store.records, image.record.id) or _from_history(image)}
    found = known.get(number)
    if found is None:
        listed = [f"{one.index} ({one.text[:40]})" for one in known.values()]
        more = f", … {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
        name = image.tags[0] if image.tags else image.short_id
        raise NotFound(f"image {name} has no step {number}", hint="it has " + ", ".join(listed[:_MOST_LISTED]) + more)
    return OpenedStep(parts, line=found.line, instruction=found.text, layers=found.layers, own=found.own, config=found.config)


def _from_history(image: Image) -> list[kept.KeptStep]:
    """Number the lines of a history; it does not tell what the config was then, so each has the image's."""
    config, steps = image.record.config, []
    height = 0
    for number, entry in enumerate(config.history, 1):
        height += not entry.empty_layer
        layers = tuple(image.layers[:height])
        text = " ".join(entry.created_by.split())
        steps.append(
            kept.KeptStep(index=number, line=0, text=text, stage=0, layers=layers, own=not entry.empty_layer, config=config.config)
        )
    return steps
