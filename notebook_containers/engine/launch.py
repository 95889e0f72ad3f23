"""Making a container on disk and starting it: the steps between an image and a running process, and their undoing.

``create`` leaves a record, a snapshot and a bundle; ``start`` adds the monitor, the network and the published ports. A step that fails
undoes the ones before it, so nothing half-made remains.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from notebook_containers import network as net
from notebook_containers.build.platforms import host_platform, platform_text
from notebook_containers.engine import (
    actors,
    describing,
    generated,
    limit_words,
    namespace_words,
    neighbours,
    publishing,
    specgen,
    user_ranges,
    words,
)
from notebook_containers.engine.documents import ContainerDocument, MountPoint
from notebook_containers.engine.mount_points import Made, check_volumes, mount_points, volume_notes
from notebook_containers.engine.network_words import DEFAULT, is_own
from notebook_containers.engine.networks import Networks
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id, new_name
from notebook_containers.engine.rights import Rights
from notebook_containers.engine.volumes import Volumes
from notebook_containers.errors import Conflict, ContainerNotFound, Unsupported
from notebook_containers.lean import replace
from notebook_containers.linux import cgroups
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.oci.image import Digest
from notebook_containers.runtime.bundle import Bundle
from notebook_containers.runtime.expected import Expected
from notebook_containers.runtime.sessions import Session
from notebook_containers.runtime.state import LOST, LOST_TEXT, ContainerState, read_exit
from notebook_containers.store.images import ImageRecord

_NAME_TRIES = 20
_STARTED = "started"


def create(
    parts: Parts,
    volumes: Volumes,
    image: ImageRecord,
    image_name: str,
    options: ContainerOptions,
    *,
    inherited: Sequence[MountPoint] = (),
    images: Mapping[str, Sequence[Digest]] | None = None,
    expected: Expected | None = None,
) -> ContainerDocument:
    """Write a new container's snapshot, bundle and record, with the mounts it ``inherited``; raises Conflict when the name is taken.

    ``images`` are the layers of those that it mounts, by the names given. The record comes last: who is killed before it leaves only
    garbage. The caller holds the store's lease.
    """
    if parts.host.rootless and options.network != "host" and words.wants_host(options.extra_hosts):
        raise Unsupported("--add-host NAME:host-gateway is not possible for an ordinary user's network", hint="use --network host")
    limit_words.check_cpus(options.cpuset_cpus, os.cpu_count() or 1)
    container_id = new_id()
    config = image.config.config
    document = ContainerDocument(
        id=container_id,
        created=time.time(),
        image=image_name,
        image_id=image.id,
        layers=image.config.rootfs.diff_ids,
        args=specgen.arguments(options, config),
        config=config,
        options=options,
        hostname=_host_name(parts, options, container_id),
        labels={**config.labels, **options.labels},
        warnings=(
            *_platform_note(image, image_name),
            *_group_note(options),
            *specgen.notes(options, parts.host),
            *_network_note(parts, options),
        ),
    )
    with ExitStack() as choice, ExitStack() as undo:
        if options.userns == "auto":
            choice.enter_context(user_ranges.choosing(parts.store.disk.root))
            document = replace(document, first_id=user_ranges.free(_ranges(parts)))
        directory = parts.bundle_path(container_id)
        directory.mkdir(mode=0o700, parents=True)
        undo.callback(_remove_tree, directory)
        if expected is not None:
            found = specgen.group(
                options, parts.host, container_id, devices=describing.devices(options, parts.host), block_io=describing.block_io(options)
            )
            expected.group(directory, *found)
        parts.store.snapshots.prepare(container_id, document.layers, volatile=options.auto_remove)
        undo.callback(parts.store.snapshots.remove, container_id)
        if expected is not None:
            expected.root(parts.store.snapshots.mounts(container_id, volatile=options.auto_remove))
        made = Made()
        undo.callback(made.undo, parts, volumes)
        points = mount_points(parts, volumes, document, images or {}, made=made, inherited=inherited)
        document = replace(document, mounts=tuple(points), warnings=(*document.warnings, *volume_notes(parts, points)))
        describing.write_bundle(parts, document, describing.describe(parts, document), expected=expected)
        if not options.auto_remove:
            parts.store.disk.force(directory)
        undo.callback(_forget_record, parts, container_id)
        name = _reserve(parts, document)
        check_volumes(parts, document.mounts)
        choice.close()
        undo.pop_all()
    actors.introduce(parts, document, name)
    return document


def _ranges(parts: Parts) -> list[int]:
    documents = (untrusted_json(row.document.encode(), what="container record") for row in parts.store.records.containers())
    return [ContainerDocument.from_json(document).first_id for document in documents]


def _remove_tree(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


def _forget_record(parts: Parts, container_id: str) -> None:
    with suppress(ContainerNotFound):  # it was not written yet
        parts.store.records.remove_container(container_id)


def _host_name(parts: Parts, options: ContainerOptions, container_id: str) -> str:
    if options.uts_mode == "host":
        return parts.host.hostname
    if options.network == "host" and not options.hostname and not options.uts_mode:
        return parts.host.hostname
    joined = namespace_words.joined(options)
    other = joined.get("uts") or joined.get("network")
    return neighbours.document(parts, other).hostname if other else options.hostname or container_id[:12]


def _platform_note(image: ImageRecord, name: str) -> tuple[str, ...]:
    own = host_platform()
    if image.config.architecture in ("", own.architecture):
        return ()
    return (f"image {name} is for {image.config.os}/{image.config.architecture}, and this machine is {platform_text(own)}",)


def _network_note(parts: Parts, options: ContainerOptions) -> tuple[str, ...]:
    return net.userland.notes() if parts.host.rootless and is_own(options.network) else ()


def _group_note(options: ContainerOptions) -> tuple[str, ...]:
    reasons = cgroups.usable() if options.cgroup_parent else {}
    if not reasons or not all(reasons.values()):
        return ()
    return (f"--cgroup-parent {options.cgroup_parent} has no effect: {next(iter(reasons.values()))}",)


def text_of(document: ContainerDocument) -> str:
    """Return the document's JSON text for its row."""
    return document.to_bytes().decode()


def _reserve(parts: Parts, document: ContainerDocument) -> str:
    given = document.options.name
    for attempt in range(_NAME_TRIES):
        name = given or (new_name() if attempt < _NAME_TRIES // 2 else f"{new_name()}{attempt}")
        try:
            parts.store.records.add_container(
                id=document.id, name=name, image=document.image_id, document=text_of(document), volatile=_is_volatile(document)
            )
        except Conflict:
            if given:
                raise
            continue
        return name
    raise Conflict("no free name was found for the container", hint="give one with --name")


def _is_volatile(document: ContainerDocument) -> bool:
    """Tell whether a restart of the machine may take the record away; not while it alone knows which volumes go with the container."""
    return document.options.auto_remove and not any(point.anonymous for point in document.mounts)


def start(
    parts: Parts, networks: Networks, document: ContainerDocument, *, attach: bool = False, stdin: bool = False
) -> tuple[ContainerDocument, Session | None]:
    """Start a created or ended container, whose lock the caller holds, with ``attach`` so that no byte of its output is missed.

    Returns the document with its address and ports, and the session if asked for. On failure the monitor, the links and the ports are
    gone again.
    """
    with ExitStack() as undo:
        sockets, mappings = publishing.reserve(parts, document, publishing.wanted(document))
        for bound in sockets:
            undo.callback(bound.close)
        held = undo.enter_context(ExitStack())
        held.enter_context(networks.held())
        undo.callback(networks.release, document.id)
        named = any(place.network != DEFAULT for place in document.wanted())
        if named:
            from notebook_containers.engine import announcing

            held.enter_context(announcing.expected(parts, document))
        with networks.leasing(document.wanted(), document.id) as endpoints:
            changed = replace(document, endpoints=endpoints, ports=tuple(mappings))
            if changed != document:
                parts.store.records.update_container(document.id, document=text_of(changed))
        if changed != document:
            generated.rewrite(changed, parts.bundle_path(document.id))
        marker = parts.bundle_path(document.id) / _STARTED
        marker.touch(mode=0o600)
        undo.callback(marker.unlink, missing_ok=True)
        check_volumes(parts, document.mounts)
        others = neighbours.Neighbours(parts, document.options, held.enter_context(networks.namespaces(endpoints)))
        bundle = Bundle(path=parts.bundle_path(document.id))
        if others:
            bundle = describing.write_bundle(parts, changed, describing.describe(parts, changed, joined=others.paths))
        if endpoints or others or sockets:
            with networks.making_ready(endpoints, lasting=not attach):
                made = undo.enter_context(parts.runtime.make(document.id, bundle))
                undo.callback(forget, parts, document.id)
            others.check()
            state = made.state
            if endpoints:
                rights = Rights.of(document.options, parts.host)
                networks.attach_all(endpoints, pid=state.pid, container_id=document.id, while_pid=state.monitor_pid, rights=rights)
                actors.join(parts, changed, endpoints)
                if named:
                    announcing.announce(parts, changed, state)
            if sockets:
                changed = _warned(parts, changed, publishing.carry(parts, changed, sockets, state))
            session = made.start(attach=attach, stdin=stdin)
        else:  # nothing is to be done between its making and its start
            session = parts.runtime.run(document.id, bundle, attach=attach, stdin=stdin)
        held.close()
        undo.pop_all()
    return changed, session


def _warned(parts: Parts, document: ContainerDocument, warnings: Sequence[str]) -> ContainerDocument:
    """Keep what could be done in a weaker way only, for whoever looks."""
    more = [text for text in warnings if text not in document.warnings]
    if more:
        document = replace(document, warnings=(*document.warnings, *more))
        parts.store.records.update_container(document.id, document=text_of(document))
    return document


def state(parts: Parts, container_id: str) -> ContainerState:
    """Return the runtime's word on a container; one that was never started, or whose command could not be, is ``created``.

    Whoever is the first to see that a monitor was killed writes the event that it could not.
    """
    directory = parts.bundle_path(container_id)
    try:
        found = parts.runtime.state(container_id)
    except ContainerNotFound:
        if (directory / _STARTED).exists():
            return parts.runtime.state(container_id, directory)
        failed = read_exit(directory)
        if failed is not None and failed.start_failed:
            return replace(failed, status="created")
        return ContainerState(id=container_id, status="created", bundle=str(directory))
    if found.error == LOST_TEXT and not found.live():
        _tell_lost(parts, container_id)
    return found


def _tell_lost(parts: Parts, container_id: str) -> None:
    with suppress(OSError):
        os.close(os.open(parts.run / "c" / container_id[:12] / "lost", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        actors.tell(parts, container_id, "die", {"exitCode": LOST})


def forget(parts: Parts, container_id: str) -> None:
    """Kill what runs of a container and take it out of the runtime; nothing happens when the runtime does not know it."""
    with suppress(ContainerNotFound):
        parts.runtime.delete(container_id, force=True)


def remove(parts: Parts, container_id: str, more: Iterable[str] = ()) -> None:
    """Take everything of a container away: processes, addresses, record, writable layer, bundle; the caller holds its lock.

    ``more`` are the keys of other snapshots that are its own.

    The record goes first, so that a crash leaves only garbage, which the next collection frees.
    """
    destroyed = actors.farewell(parts, container_id)
    parts.runtime.abandon(
        container_id, parts.bundle_path(container_id)
    )  # first: what a killed caller's monitor is still making may run a moment later

    def remove_rest() -> None:
        parts.store.records.remove_container(container_id)  # and its addresses, in one transaction
        parts.store.snapshots.remove(container_id, *more, beside=[parts.bundle_path(container_id)])

    try:
        parts.runtime.delete(container_id, force=True, meanwhile=remove_rest)
    except ContainerNotFound:
        remove_rest()
    destroyed()
