"""``docker commit``: a container's changes become a layer, and with its settings an image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from notebook_containers.build import instructions as ins
from notebook_containers.build.build import source_date_epoch
from notebook_containers.build.expanding import Scope, expand_step
from notebook_containers.build.interpret import read
from notebook_containers.build.platforms import host_platform
from notebook_containers.engine import launch
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.errors import ImageNotFound, InvalidArgument, Unsupported
from notebook_containers.lean import replace
from notebook_containers.oci.image import ContainerConfig, History, ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.progress import Report, StreamMeter, silent
from notebook_containers.runtime.bundle import Bundle
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.layers import Layer

_ALLOWED = (
    ins.Cmd, ins.Entrypoint, ins.Env, ins.Expose, ins.HealthCheck, ins.Label,
    ins.OnBuild, ins.StopSignal, ins.User, ins.Volume, ins.Workdir,
)  # fmt: skip
_NAMES = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR"


def commit(
    parts: Parts,
    document: ContainerDocument,
    *,
    tags: Sequence[Reference],
    message: str = "",
    author: str = "",
    pause: bool = True,
    changes: Sequence[str] = (),
    report: Report = silent,
) -> ImageRecord:
    """Make an image of the container as it is now, running or not; what is mounted in it (volumes, tmpfs) is no part of it.

    ``pause`` lets a running container stand still meanwhile, so that the files are of one moment; where it cannot (no cgroup), they are
    as after a power cut. With SOURCE_DATE_EPOCH in the environment the same changes give the same image. ``changes`` are lines of a
    Dockerfile; ``report`` hears how much is packed. Raises DockerfileError for those, DiskFull, StoreError.
    """
    config, epoch = apply_changes(container_config(document), changes), source_date_epoch()
    with parts.store.lease():
        layer = _layer(parts, document, pause=pause, epoch=epoch, report=report)
        base = _base(parts, document)
        layers = [parts.store.layers.get(diff_id) for diff_id in document.layers]
        made = _image_config(document, base, config, layer, said=History(author=author, comment=message), epoch=epoch)
        return parts.store.images.put(made, [*layers, *([layer] if layer else [])], tags=tags)


def _layer(parts: Parts, document: ContainerDocument, *, pause: bool, epoch: int | None, report: Report) -> Layer | None:
    meter = StreamMeter(report, document.id[:12], 0 if report is silent else parts.store.snapshots.usage(document.id))
    spec = Bundle(path=parts.bundle_path(document.id)).spec()
    with ExitStack() as held:
        if pause and launch.state(parts, document.id).status == "running":
            try:
                held.enter_context(parts.runtime.held(document.id))
            except Unsupported:
                pass  # no cgroup to freeze it: as with pause=False
        ignore = [mount.destination for mount in spec.mounts]
        meter.phase("reading")
        layer = parts.store.snapshots.copy(document.id, ignore=ignore, epoch=epoch, packed=meter.add)
        meter.phase("done")
        return layer


def _base(parts: Parts, document: ContainerDocument) -> ImageConfig | None:
    try:
        return parts.store.images.resolve(document.image_id).config
    except ImageNotFound:
        return None


def container_config(document: ContainerDocument) -> ContainerConfig:
    """Return what a container was started with, as an image's config: the image's own, and what ``run`` was told over it."""
    options, config = document.options, document.config
    env = {entry.partition("=")[0]: entry for entry in (*config.env, *options.environment)}
    replaced = options.entrypoint is not None
    cmd = options.command if options.command is not None else None if replaced else config.cmd
    return replace(
        config,
        user=options.user or config.user,
        env=tuple(env.values()),
        cmd=cmd,
        entrypoint=options.entrypoint or None if replaced else config.entrypoint,
        working_dir=options.working_dir or config.working_dir,
        labels=dict(document.labels),
        stop_signal=options.stop_signal or config.stop_signal,
        exposed_ports={**config.exposed_ports, **{f"{p.container_port}/{p.protocol}": {} for p in options.ports}},
        volumes={**config.volumes, **{m.target: {} for m in document.mounts if m.anonymous}},
    )


def apply_changes(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """Return the config after lines of a Dockerfile; DockerfileError shows the word that is wrong, in its line."""
    if not changes:
        return config
    text = "\n".join(changes)
    scope = Scope(config=config, outer={}, given={})
    for instruction in read(text, name="--change")[1]:
        if not isinstance(instruction, _ALLOWED):
            raise instruction.node.error(f"{instruction.node.keyword} is no change of an image's settings", hint=f"use {_NAMES}")
        expand_step(instruction, scope, {})
    return scope.config


def _image_config(
    document: ContainerDocument, base: ImageConfig | None, config: ContainerConfig, layer: Layer | None, *, said: History, epoch: int | None
) -> ImageConfig:
    created = rfc3339(time.time() if epoch is None else epoch)
    entry = replace(said, created=created, created_by=" ".join(document.args), empty_layer=layer is None)
    if base is None:
        history = tuple(History(created=created, created_by="unknown") for _ in document.layers)
        here = host_platform()
        base = ImageConfig(architecture=here.architecture, variant=here.variant, os=here.os, history=history)
    return replace(base, created=created, author=said.author or base.author, config=config, history=(*base.history, entry))


def target(repository: str | None, tag: str | None) -> list[Reference]:
    """Return the name that a commit or an import gives, if any."""
    if not repository:
        if tag:
            raise InvalidArgument(f"the tag {tag!r} has no repository", hint="write NAME:TAG")
        return []
    return [Reference.parse(f"{repository}:{tag}" if tag else repository).new_tag()]
